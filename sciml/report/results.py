"""What a run leaves beside its stores and its page: scores.parquet and metrics.json."""

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from sciml.core.urls import join, write_bytes


def write_scores(run_url: str, table: pd.DataFrame) -> None:
    """RUN/scores.parquet: experiment, model, unit, n and each score, one row a unit."""
    buffer = io.BytesIO()
    table.assign(unit=table["unit"].astype(str)).to_parquet(buffer, index=False)
    write_bytes(join(run_url, "scores.parquet"), buffer.getvalue())


def write_metrics(run_url: str, pipeline: str, scores: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """RUN/metrics.json, the last file of a complete run.

    scores: experiment -> model -> key -> value; facts: from `sciml.report.page.provenance`.
    """
    plain = {name.lower().replace(" ", "_"): value for name, value in facts.items() if name != "Configuration"}
    metrics = {"pipeline": pipeline, "created": datetime.now(UTC).isoformat(), **plain, "scores": scores}
    write_bytes(join(run_url, "metrics.json"), json.dumps(metrics, indent=1, allow_nan=False).encode())
