"""What a run leaves beside its stores and its page: scores.parquet and metrics.json."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from sciml.core.urls import join, write_bytes
from sciml.report.page import Page, Section, write_page


@dataclass(frozen=True, eq=False)
class Finding:
    """What one experiment adds to a run's report.

    table: rows of scores.parquet, with columns experiment, model, unit and any scores; scores: model -> key -> value,
    ready for JSON; sections: parts of the page, whose first paragraphs make up the page's summary.
    """

    experiment: str
    table: pd.DataFrame
    scores: Mapping[str, Mapping[str, Any]]
    sections: Sequence[Section]


def write_report(
    run_url: str,
    pipeline: str,
    title: str,
    findings: Sequence[Finding],
    facts: Mapping[str, Any],
    more: Sequence[Section] = (),
) -> str:
    """scores.parquet, the page and metrics.json of a run; returns the page's URL.

    facts: from `sciml.report.page.provenance`; more: sections that belong to no experiment, last on the page.
    """
    write_scores(run_url, pd.concat([found.table for found in findings], ignore_index=True))
    sections = [section for found in findings for section in found.sections] + list(more)
    summary = [section.paragraphs[0] for section in sections if section.paragraphs]
    url = write_page(run_url, Page(title, summary, sections, facts))
    write_metrics(run_url, pipeline, {found.experiment: found.scores for found in findings}, facts)
    return url


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
