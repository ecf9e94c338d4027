"""Scores and the report of the gridded job: models at the scale of cells where truth is planted, else of mascons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sciml.data.stores import open_store
from sciml.grace import baselines, calibration, figures
from sciml.grace.config import GraceConfig
from sciml.grace.downscale import Cells
from sciml.grace.interpolation import bilinear, cubic
from sciml.grace.steps import Problem, centres
from sciml.metrics.seasonal import climatology
from sciml.metrics.table import score_pooled, score_units, summarise_all
from sciml.report import maps
from sciml.report.page import Illustration, provenance
from sciml.report.results import Finding

MEMBERS = 20  # of a point prediction with a calibrated error


@dataclass(frozen=True)
class Results:
    """URLs of the stores of one target by model: predictions of mascons, shares, downscaled members of cells."""

    problem: Problem
    predicted: Mapping[str, str]
    shares: Mapping[str, str]
    downscaled: Mapping[str, str]


def finding(experiment: str, results: Results) -> Finding:
    """Every model on the test windows, with maps and series of the best one."""
    known = bool(results.problem.truth_url)
    table = (_score_cells if known else _score_mascons)(experiment, results)
    scores = summarise_all(table, baselines=figures.BASELINES)[experiment]
    section = figures.comparison_section(
        experiment,
        table,
        scores,
        reference="cubic_conserved" if known else "climatology_trend",
        illustrations=_illustrations(experiment, results, best(scores, results), table),
    )
    return Finding(experiment, table, scores, [section])


def cross_validation(experiment: str, results: Results) -> Finding:
    """The paper's score: training years by models that did not see them."""
    name = f"{experiment}_cross_validation"
    table = _score_left_out(name, results)
    scores = summarise_all(table, baselines=figures.BASELINES)[name]
    return Finding(name, table, scores, [figures.comparison_section(name, table, scores)])


def best(scores: Mapping[str, Mapping[str, Any]], results: Results) -> str:
    """The trained model with the highest median NSE."""
    return max(results.predicted, key=lambda name: scores[name]["nse_median"])


def _score_cells(experiment: str, results: Results) -> pd.DataFrame:
    """Cells against planted truth in the test windows, one row a mascon."""
    problem = results.problem
    cells, truth, tested = problem.layout.cells, problem.truth(), problem.tested
    times = problem.windows.middle
    options = {
        "climatology": climatology(truth[:, problem.trained], times[problem.trained]),
        "parent": cells.parent,
        "experiment": experiment,
        "region": {mascon: f"block {mascon // 4}" for mascon in range(cells.mascons)},
    }
    predictions = {name: open_store(url)["twsa_member"].values[..., tested] for name, url in results.downscaled.items()}
    for name, operator in (("bilinear", bilinear), ("cubic", cubic)):
        matrix = operator(*centres(cells), cells.latitude, cells.longitude)
        predictions[name] = (matrix @ problem.anomaly()[:, tested])[:, None]
    return pd.concat(
        [
            score_pooled(truth[:, tested], members, times[tested], model=name, **options)
            for name, members in predictions.items()
        ],
        ignore_index=True,
    )


def _score_mascons(experiment: str, results: Results) -> pd.DataFrame:
    """Mascons against GRACE in the test windows: what is said of the mean where nobody knows the cells."""
    problem = results.problem
    observed, months, trained, tested = problem.anomaly(), problem.windows.month, problem.trained, problem.tested
    points = {name: open_store(url)["coarse"].values.mean(axis=1) for name, url in results.predicted.items()}
    sigma = {name: open_store(url)["gap_sigma"].values[0] for name, url in results.shares.items()}
    folds = [valid for _, valid in problem.year_folds()]
    for name, fit in (("climatology_trend", baselines.climatology_trend), ("last_year", baselines.last_year)):
        apart = np.full(observed.shape, np.nan)
        for valid in folds:
            apart[:, valid] = fit(observed, months, trained & ~valid)[:, valid]
        points[name] = fit(observed, months, trained)
        sigma[name] = np.sqrt(np.nanmean(np.where(trained, apart - observed, np.nan) ** 2, axis=1))
    reached = tested & np.all([np.isfinite(point).all(axis=0) for point in points.values()], axis=0)
    times = problem.windows.middle
    cycle = climatology(observed[:, trained], times[trained])
    return pd.concat(
        [
            score_units(
                observed[:, reached],
                calibration.members(point[:, reached], sigma[name], MEMBERS, problem.seed),
                times[reached],
                climatology=cycle,
                experiment=experiment,
                model=name,
                uncertainty=problem.series(problem.uncertainty)[:, reached],
            )
            for name, point in points.items()
        ],
        ignore_index=True,
    )


def _score_left_out(experiment: str, results: Results) -> pd.DataFrame:
    """The paper's score: training years by models that did not see them, mascons against GRACE."""
    problem = results.problem
    trained, times = problem.trained, problem.windows.middle
    observed = problem.anomaly()[:, trained]
    options = {"climatology": climatology(observed, times[trained]), "experiment": experiment}
    found = []
    for name, url in results.predicted.items():
        apart = open_store(url)["out_of_fold"].values[:, trained]
        found.append(
            score_units(observed, apart[:, None], times[trained], model=name, mask=np.isfinite(apart), **options)
        )
    return pd.concat(found, ignore_index=True)


def _illustrations(experiment: str, results: Results, model: str, rows: pd.DataFrame) -> list[Illustration]:
    problem, label = results.problem, experiment.replace("_", "-")
    land, windows = problem.layout.cells, problem.windows
    cells = maps.Cells(land.latitude, land.longitude, 0.5, borders=land.parent)
    month = int(np.flatnonzero(problem.tested)[np.argmax(np.abs(problem.anomaly()[:, problem.tested]).mean(axis=0))])
    ours, interpolated = (open_store(results.downscaled[name]) for name in (model, "cubic_conserved"))
    truth = problem.truth()[:, month] if problem.truth_url else None
    sigma = ours["twsa_sigma"].values
    mean, members = ours["twsa"].values, ours["twsa_member"].values
    basins = [0, land.mascons // 2]
    series = {model: np.stack([_mascon_members(members, land, m) for m in basins])}
    when = windows.middle
    return [
        figures.downscaling_maps(
            cells,
            windows.month[month],
            mascon=problem.anomaly()[land.parent, month],
            interpolated=interpolated["twsa"].values[:, month],
            downscaled=mean[:, month],
            truth=truth,
            name=f"maps-{label}",
        ),
        figures.skill_maps(
            cells,
            land.parent,
            rows,
            model=model,
            baseline="cubic_conserved" if problem.truth_url else "climatology_trend",
            name=f"skill-maps-{label}",
        ),
        figures.uncertainty_maps(
            cells,
            np.nanmean(sigma[:, windows.observed], axis=1),
            np.nanmean(sigma[:, ~windows.observed], axis=1),
            name=f"uncertainty-{label}",
        ),
        figures.basin_series(
            [f"mascon {m}" for m in basins],
            when,
            problem.anomaly()[basins],
            series,
            split=problem.test.first,
            name=f"series-{label}",
        ),
    ]


def _mascon_members(members: np.ndarray, land: Cells, mascon: int) -> np.ndarray:
    inside = land.parent == mascon
    return np.tensordot(land.area[inside] / land.area[inside].sum(), members[inside].astype(np.float64), axes=1)


def facts(config: GraceConfig, problem: Problem, stores: Mapping[str, str]) -> dict[str, Any]:
    """Provenance of the page and of metrics.json. stores: stage -> store."""
    return provenance(
        data={"source": config.source, "storage": config.twsa or "generated", "predictors": ", ".join(problem.names)},
        split={
            "training": f"{config.train_first} to {config.train_last}",
            "test": f"{config.test_first} to {config.test_last}",
        },
        sample_size={
            "mascons": problem.layout.mascons,
            "cells": len(problem.layout.cells.parent),
            "training records": int(problem.trained.sum()),
            "test records": int(problem.tested.sum()),
        },
        seed=config.seed,
        stores=stores,
        config=config.model_dump(mode="json"),
    )
