"""Scores and the page of a fitted emulator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from sciml.data.stores import open_store
from sciml.land import figures, skill
from sciml.land.config import EmulatorFitConfig
from sciml.land.forcing import Record
from sciml.land.registry import MODELS
from sciml.land.source import LandSource, Layout
from sciml.land.steps import WITHOUT
from sciml.land.trials import Trial
from sciml.report.page import Cell, Illustration, Section, Table, provenance
from sciml.report.results import Finding

LABELS = {
    "paper": "the paper's equations, months apart",
    "closed": "the paper's equations, water closed",
    "sciml": "sciml",
    "linear_reservoir": "linear reservoir",
    "climatology": "climatology",
}
NAMES = {
    "snow": "snow",
    "soil_upper": "upper soil",
    "soil_lower": "lower soil",
    "groundwater": "groundwater",
    "runoff": "runoff",
    "evaporation": "evaporation",
}
TITLES = {
    "free_run": "Free runs through years that no fit has seen",
    "planted": "Planted parameters, found again",
    "cross_validation": "Years left out inside training",
    "warmer": "Fitted on cool years, tested on warm ones",
}


class Store(Protocol):
    """A finished store."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True, eq=False)
class Scored:
    """A trial with its scores (`skill.table`), and the stores of parameters and runs of each model."""

    trial: Trial
    table: pd.DataFrame
    runs: Mapping[str, str]
    fits: Mapping[str, str]
    more: Sequence[Illustration | Table] = ()
    keys: Mapping[str, Mapping[str, Any]] | None = None


def scored(
    trial: Trial, source: LandSource, where: Layout, runs: Mapping[str, Store], fits: Mapping[str, Store]
) -> Scored:
    """Scores of all models' free runs on the test years of a trial, block by block of cells."""
    tables = []
    for item in where.items:
        record = item.of(source)
        dates = record.forcing.dates
        tested = trial.test.of(dates)
        if not tested.any():
            continue
        cells = slice(item.cell_start, item.cell_stop)
        found = {
            name: {k: v for k, v in series(run.url, cells, dates, where).items() if k not in WITHOUT.get(name, ())}
            for name, run in runs.items()
        }
        tables.append(skill.table(trial.experiment, record.targets, found, trial.train.of(dates), tested, record.names))
    table = pd.concat(tables, ignore_index=True)
    if trial.experiment == "cross_validation":
        table["unit"] = table["unit"] + " " + trial.label.split()[-1]
    urls = ({name: store.url for name, store in stores.items()} for stores in (runs, fits))
    return Scored(trial, table, *urls)


def series(url: str, cells: slice, dates: np.ndarray, where: Layout) -> dict[str, np.ndarray]:
    """variable -> (time, cell) of a stored run, on the dates of a record."""
    place = (dates - where.dates[0]).astype(int)
    with open_store(url) as store:
        part = store.isel(cell=cells, time=place).load()
    return {str(name): values.values.T.astype(np.float64) for name, values in part.data_vars.items()}


def planted(
    found: Mapping[str, tuple[LandSource, Store, Store]], truth: Mapping[str, np.ndarray], where: Layout, trial: Trial
) -> Scored:
    """Parameters held against planted ones, and the skill of their runs.

    found: model -> source, parameters, run; truth: model -> theta (parameter, month, cell).
    """
    trial = Trial("planted", trial.label, trial.train, trial.test)
    tables, keys, rows = [], {}, []
    for name, (source, fit, run) in found.items():
        one = scored(trial, source, where, {name: run}, {name: fit})
        tables.append(one.table[one.table["model"] == name])
        with open_store(fit.url) as store:
            theta, error, ratio = (store[key].values.transpose(2, 1, 0) for key in ("theta", "standard_error", "ratio"))
        low, high = (np.array([getattr(p, end) for p in MODELS[name].parameters]) for end in ("low", "high"))
        told = ratio < 0.7
        off = np.abs(theta - truth[name])
        keys[name] = {
            "identifiable": float(told.mean()),
            "within_2_sigma": _mean((off <= 2.0 * error)[told]),
            "error_of_range_median": _median((off / (high - low)[:, None, None])[told]),
            "error_of_range_median_unidentifiable": _median((off / (high - low)[:, None, None])[~told]),
        }
        values = keys[name]
        rows.append(
            [Cell(LABELS[name]), Cell(f"{len(low)}"), Cell(f"{values['identifiable']:.0%}")]
            + [Cell("-" if values[key] is None else f"{values[key]:.1%}") for key in list(values)[1:]]
        )
    table = Table(
        "Parameters planted in each model and fitted to its own output: share that the data identify (posterior"
        " deviation below 0.7 of the prior's), share of these within two standard errors of the planted value, and"
        " median error as share of the bounds.",
        ["model", "parameters", "identified", "within 2 sigma", "error, identified", "error, others"],
        rows,
    )
    urls = [{name: stores[place].url for name, stores in found.items()} for place in (2, 1)]
    return Scored(trial, pd.concat(tables, ignore_index=True), *urls, more=[table], keys=keys)


def findings(found: Sequence[Scored], source: LandSource, where: Layout) -> list[Finding]:
    """One for each experiment; the free run has the figures."""
    out = []
    for experiment in dict.fromkeys(one.trial.experiment for one in found):
        group = [one for one in found if one.trial.experiment == experiment]
        table = pd.concat([one.table for one in group], ignore_index=True)
        scores = skill.summary(table)
        for one in group:
            for model, keys in (one.keys or {}).items():
                scores[model] = {**keys, **scores.get(model, {})}
        blocks: list[Illustration | Table] = [skill_table(table), *(block for one in group for block in one.more)]
        if experiment != "planted":
            blocks.append(figures.of_skill(experiment, table))
        if experiment == "free_run":
            blocks += [units_table(table), *figures.of_free_run(group[0].runs, group[0].trial, table, source, where)]
            blocks += figures.of_parameters(group[0].fits, source, where)
        title = TITLES.get(experiment, experiment.replace("_", " ").capitalize())
        out.append(Finding(experiment, table, scores, [Section(title, _words(group, table), blocks)]))
    return out


def _words(group: Sequence[Scored], table: pd.DataFrame) -> list[str]:
    trial = group[0].trial
    units = table["unit"].nunique()
    left_out = f" without {len(trial.train.left_out)} years" if trial.train.left_out else ""
    also = f" without {len(trial.test.left_out)} years" if trial.test.left_out else ""
    told = (
        f"{units} units; parameters fitted to {trial.train.first}-{trial.train.last}{left_out}, free runs scored on"
        f" {trial.test.first}-{trial.test.last}{also}. Skill is 1 - MSE / MSE of the training years' climatology."
    )
    if group[0].trial.experiment == "planted":
        return [told + " Each model is fitted to its own output here: an upper bound, not a skill."]
    medians = table.groupby(["variable", "model"], sort=False)["nse"].median().unstack()
    words = []
    for variable in medians.index:
        ranked = medians.loc[variable].dropna().sort_values(ascending=False)
        if not len(ranked):  # the reference does not vary
            continue
        words.append(f"{NAMES[variable]}: {LABELS[ranked.index[0]]} ({ranked.iloc[0]:.2f})")
    return [told, "Highest median NSE: " + "; ".join(words) + "."]


def skill_table(table: pd.DataFrame) -> Table:
    """Models by variables: median SS, NSE below it."""
    variables = [name for name in NAMES if name in set(table["variable"])]
    medians = table.groupby(["model", "variable"], sort=False)[["ss", "nse"]].median()
    best = {v: medians.xs(v, level="variable")["nse"].max() for v in variables}
    rows = []
    for model in dict.fromkeys(table["model"]):
        cells = [Cell(LABELS[model])]
        for variable in variables:
            if (model, variable) not in medians.index:
                cells.append(Cell("-"))
                continue
            ss, nse = medians.loc[(model, variable)]
            cells.append(Cell(f"{ss:.2f}", f"NSE {nse:.3f}", bool(nse == best[variable])))
        rows.append(cells)
    return Table(
        "Median over units of the skill over climatology, and NSE.", ["model", *(NAMES[v] for v in variables)], rows
    )


def units_table(table: pd.DataFrame, model: str = "sciml", most: int = 40) -> Table:
    """Each unit of one model."""
    model = model if model in set(table["model"]) else str(table["model"].iloc[0])
    rows_of = table[table["model"] == model]
    variables = [name for name in NAMES if name in set(rows_of["variable"])]
    rows = []
    for unit in list(dict.fromkeys(rows_of["unit"]))[:most]:
        cells = [Cell(str(unit))]
        for variable in variables:
            one = rows_of[(rows_of["unit"] == unit) & (rows_of["variable"] == variable)]
            cells.append(
                Cell(f"{one['ss'].iloc[0]:.2f}", f"NSE {one['nse'].iloc[0]:.3f}, KGE {one['kge'].iloc[0]:.2f}")
                if len(one)
                else Cell("-", "too little" if variable == "snow" else "")
            )
        rows.append(cells)
    notes = [f"The first {most} of {rows_of['unit'].nunique()} units."] if rows_of["unit"].nunique() > most else []
    return Table(
        f"{LABELS[model]}: skill over climatology of each unit.", ["unit", *(NAMES[v] for v in variables)], rows, notes
    )


def facts(
    config: EmulatorFitConfig, records: Sequence[Record], stores: Mapping[str, str], trial: Trial, cells: int = 0
) -> dict[str, Any]:
    """Where everything came from. cells: how many there are where the records are not all of them."""
    return provenance(
        data={"source": config.source, "files": config.files or "generated"},
        split={
            "train": f"{trial.train.first}:{trial.train.last}",
            "test": f"{trial.test.first}:{trial.test.last}",
        },
        sample_size={
            "cells": cells or sum(len(record.names) for record in records),
            "days": max(len(record.forcing.dates) for record in records),
        },
        seed=config.seed,
        stores=stores,
        config=config.model_dump(mode="json"),
        packages=("sciml", "numpy", "numba", "scipy", "torch", "xarray", "zarr", "ray"),
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if values.size else None
