"""What a warmer sky does to each emulator: means of free runs through the test years, warmed and not."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sciml.core.errors import ConfigError
from sciml.data.stores import open_store
from sciml.land.source import Layout
from sciml.land.trials import Trial
from sciml.report.page import Cell, Section, Table
from sciml.report.results import Finding

WARMING = 2.0  # K


def finding(runs: Mapping[str, str], warmed: Mapping[str, str], where: Layout, trial: Trial) -> Finding:
    """Change of each variable's mean under WARMING, in its own unit and as a share of the mean; model -> store."""
    rows = []
    for model, url in runs.items():
        for variable, (before, after) in _means(url, warmed[model], where, trial).items():
            frame = pd.DataFrame({"experiment": "sensitivity", "model": model, "unit": list(where.names)})
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.where(np.abs(before) > 1e-6, (after - before) / before, np.nan)
            rows.append(frame.assign(variable=variable, n=int(trial.test.of(where.dates).sum()), change=after - before,
                                     change_share=share))  # fmt: skip
    if not rows:
        raise ConfigError("--experiment sensitivity: no emulator among --models")
    table = pd.concat(rows, ignore_index=True)
    medians = table.groupby(["model", "variable"], sort=False)[["change", "change_share"]].median()
    variables = list(dict.fromkeys(table["variable"]))
    scores = {
        model: {
            f"{key}_{variable}": float(medians.loc[(model, variable), key])
            for variable in variables
            if (model, variable) in medians.index
            for key in ("change", "change_share")
            if np.isfinite(medians.loc[(model, variable), key])
        }
        | {"n": len(where.names)}
        for model in runs
    }
    lines = []
    for model in runs:
        cells = [Cell(model.replace("_", " "))]
        for variable in variables:
            known = (model, variable) in medians.index
            cells.append(Cell(f"{medians.loc[(model, variable), 'change_share']:+.1%}") if known else Cell("-"))
        lines.append(cells)
    header = ["model", *(variable.replace("_", " ") for variable in variables)]
    text = (
        f"Every day {WARMING:g} K warmer, at the same relative humidity where the demand is a humidity deficit, and"
        " with the potential evaporation left as it is where it is that. No reference was run so: this is how far the"
        " emulators agree, not how right they are."
    )
    section = Section(
        f"Sensitivity to +{WARMING:g} K", [text], [Table("Change of means, median of units.", header, lines)]
    )
    return Finding("sensitivity", table, scores, [section])


def _means(url: str, warmed: str, where: Layout, trial: Trial) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """variable -> (cell,) mean over the test years before and after."""
    days = trial.test.of(where.dates)
    with open_store(url) as one, open_store(warmed) as other:
        return {
            str(name): tuple(
                np.nanmean(store[name].values[:, days], axis=1, dtype=np.float64) for store in (one, other)
            )
            for name in one.data_vars
        }
