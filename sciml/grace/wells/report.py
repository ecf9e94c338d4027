"""Scores and the report of the well job: every model on the same wells and months, none of which it had seen."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sciml.data.months import MONTH
from sciml.data.stores import open_store
from sciml.grace.config import GraceConfig
from sciml.grace.wells import figures
from sciml.grace.wells.table import PREDICTORS, Wells, anomalies, out_of_sample
from sciml.metrics.table import score_units, summarise_all, yearly_statistics
from sciml.report.comparison import Column, comparison_table
from sciml.report.page import Illustration, Section, Table, provenance
from sciml.report.results import Finding

EXPERIMENT = "wells"
BASELINES = ("mascon", "ridge")
FOLLOWED, NOT_FOLLOWED = 0.6, 0.3  # correlations that the page calls one or the other
COLUMNS = (
    Column("r_deseasonalised_median", "r, deseason. and detrended", "high"),
    Column("r_median", "r, deseason.", "high"),
    Column("nse_median", "NSE", "high"),
    Column("rmse_median", "RMSE [m]", "low"),
    Column("crps_median", "CRPS [m]", "low"),
    Column("coverage90", "coverage of 90 % interval", 0.9, digits=0, percent=True),
)


def finding(wells: Wells, models: tuple[str, ...], folds_url: str, members_url: str) -> Finding:
    """Every model on every observed month of every well, predicted when both were left out.

    folds_url, members_url: stores of `sciml.grace.well_steps`.
    """
    members = {name: open_store(members_url)["level"].isel(model=number).values for number, name in enumerate(models)}
    observed = out_of_sample(wells, wells.cells)
    mask = np.isfinite(observed) & np.all([np.isfinite(m).all(axis=1) for m in members.values()], axis=0)
    scored = mask.any(axis=1)
    months = wells.months.astype(MONTH)
    start, stop = months.astype("datetime64[s]"), (months + 1).astype("datetime64[s]")
    shared: dict[str, Any] = {
        "observed": np.where(mask, observed, 0.0)[scored],
        "time": start + (stop - start) // 2,
        "climatology": np.zeros((int(scored.sum()), 12)),  # each cell's own was taken out of both
        "mask": mask[scored],
    }
    labels = {"unit": wells.names[scored], "region": wells.region[scored]}
    frames, yearly = [], {}
    for name, values in members.items():
        known = np.nan_to_num(values[scored])
        frames.append(score_units(members=known, experiment=EXPERIMENT, model=name, **shared, **labels))
        yearly[EXPERIMENT, name] = yearly_statistics(members=known, **shared)
    table = pd.concat(frames, ignore_index=True)
    season = [name for name in table if name.startswith(("amplitude", "phase"))]  # there is none left to compare
    found = summarise_all(table, yearly=yearly)[EXPERIMENT]
    scores = {
        name: {key: value for key, value in summary.items() if not key.startswith(("amplitude", "phase"))}
        for name, summary in found.items()
    }
    section = _section(wells, table, scores, members, np.where(mask, observed, np.nan), folds_url)
    return Finding(EXPERIMENT, table.drop(columns=season), scores, [section])


def facts(config: GraceConfig, wells: Wells, stores: Mapping[str, str]) -> dict[str, Any]:
    """Provenance of the page and of metrics.json. stores: stage -> store."""
    return provenance(
        data={"wells": config.wells, "predictors": ", ".join(PREDICTORS)},
        split={
            "left out together": f"{len(np.unique(wells.region))} regions of wells x {config.folds} blocks of years",
            "months": f"{wells.months[0]} to {wells.months[-1]}",
        },
        sample_size={
            "wells": len(wells.names),
            "months": len(wells.months),
            "levels": int(np.isfinite(wells.level).sum()),
        },
        seed=config.seed,
        stores=stores,
        config=config.model_dump(mode="json"),
    )


def storage_and_depth(wells: Wells) -> float:
    """Median over wells of the correlation of GRACE storage with depth to water, both less the climatology of all
    months: negative, since depth falls when storage rises."""
    everything = np.ones(len(wells.months), bool)
    storage = anomalies(wells.predictors[..., PREDICTORS.index("twsa")], wells.months, everything)
    depth = anomalies(-wells.level, wells.months, everything)
    found = []
    for a, b in zip(storage, depth, strict=True):
        known = np.isfinite(a) & np.isfinite(b)
        if known.sum() > 2:
            found.append(np.corrcoef(a[known], b[known])[0, 1])
    return float(np.median(found))


def _section(
    wells: Wells,
    table: pd.DataFrame,
    scores: Mapping[str, Mapping[str, Any]],
    members: Mapping[str, np.ndarray],
    observed: np.ndarray,
    folds_url: str,
) -> Section:
    labels = figures.LABELS
    options: dict[str, Any] = {"baselines": BASELINES, "labels": labels, "reference": "mascon", "columns": COLUMNS}
    shown: list[Illustration | Table] = [
        comparison_table(scores, caption="Wells and years left out together: skill by well.", **options),
        figures.skill_maps(wells, table),
        figures.against_storage(table),
        figures.series(wells, table, observed, members),
    ]
    return Section("Groundwater at wells never seen", _paragraphs(wells, table, scores, folds_url), shown)


def _paragraphs(
    wells: Wells, table: pd.DataFrame, scores: Mapping[str, Mapping[str, Any]], folds_url: str
) -> list[str]:
    ours, storage = scores["selected"], scores["mascon"]
    store = open_store(folds_url)
    names = store.attrs["models"].split(", ")
    chosen = pd.Series([names[k] for k in store["choice"].values]).value_counts()
    each = table[table["model"] == "selected"]["r_deseasonalised"]
    better = ours["fraction_better_r_deseasonalised"]["mascon"]
    low, high = ours["fraction_better_r_deseasonalised_ci"]["mascon"]
    choices = ", ".join(f"{figures.LABELS[name]} in {n}" for name, n in chosen.items())
    return [
        f"At wells and in years that no model had seen, the model chosen by inner folds follows the deseasonalised"
        f" groundwater level with median r {_with_interval(ours, 'r_deseasonalised_median')}; GRACE storage alone"
        f" reaches {_with_interval(storage, 'r_deseasonalised_median')}. The model has the higher r at {better:.0%} of"
        f" {ours['n']} wells (95 % interval {low:.0%} to {high:.0%}).",
        f"For decisions: {int((each >= FOLLOWED).sum())} wells are followed well (r of {FOLLOWED} or more),"
        f" {int((each < NOT_FOLLOWED).sum())} hardly at all (below {NOT_FOLLOWED}); the map shows where. The 90 % bands"
        f" hold {ours['coverage90']:.0%} of the observed months.",
        "Level is positive upwards, in metres, less the well's mean of each calendar month. The table the data come"
        " from gives depth to water, which has the opposite sign: over all months GRACE storage and depth have a median"
        f" r of {storage_and_depth(wells):.2f}.",
        "What of a left-out well is used: its predictors; the mean depth to water of its training years, which says how"
        " slowly it responds (the plain ridge does without, and so does GRACE alone, one factor from storage to level"
        " at all wells); and for metres, bands and errors its training-year climatology and deviation. Not one"
        " level of the years left out, at any well, is used.",
        f"Settings and the model were chosen again for each of {store.sizes['fold']} cells, by cells left out within"
        f" the training wells and years: {choices}. The LSTM of a single unit cannot speak of a well it was not trained"
        " on, so it is absent.",
    ]


def _with_interval(summary: Mapping[str, Any], key: str) -> str:
    low, high = summary[f"{key}_ci"]
    return f"{summary[key]:.2f} ({low:.2f} to {high:.2f})"
