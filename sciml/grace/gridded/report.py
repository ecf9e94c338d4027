"""Scores and the report of the gridded job: models at the scale of cells where truth is planted, else of mascons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.data.stores import open_store
from sciml.grace import baselines, calibration, figures
from sciml.grace.config import GraceConfig
from sciml.grace.gridded.product import Basins
from sciml.grace.gridded.steps import Problem, centres
from sciml.grace.interpolation import bilinear, cubic
from sciml.grace.mascons import border_jump_ratio, mean_operator
from sciml.metrics.ensembles import central_interval
from sciml.metrics.seasonal import calendar_month, climatology
from sciml.metrics.table import score_pooled, score_units, summarise_all
from sciml.report import maps
from sciml.report.page import Cell, Illustration, Table, provenance
from sciml.report.results import Finding

MEMBERS = 20  # of a point prediction with a calibrated error
FEWEST_RECORDS = 24  # of a mascon's training period with any fold left out, to know level, trend and season
JUMP_PROMISED = 1.1  # across mascon borders over inside
ERROR_PROMISED_MM = 1e-4  # of a mascon's mean against what GRACE saw


@dataclass(frozen=True)
class Results:
    """URLs of the stores of one target by model: predictions of mascons, shares, downscaled members of cells.

    climate: (mascon,) label, empty where it is not known.
    """

    problem: Problem
    predicted: Mapping[str, str]
    shares: Mapping[str, str]
    downscaled: Mapping[str, str]
    climate: Sequence[str] = ()


def score(experiment: str, results: Results) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Rows of scores.parquet and their summary by model: skill on the test records, and `quality` of the product."""
    table = (_score_cells if results.problem.truth_url else _score_mascons)(experiment, results)
    scores = summarise_all(table, baselines=figures.BASELINES)[experiment]
    for model, found in quality(results).items():
        scores.setdefault(model, {}).update(found)
    return table, scores


def best(scores: Mapping[str, Mapping[str, Any]], results: Results) -> str:
    """The trained model with the highest median NSE."""
    scored = [name for name in results.predicted if "nse_median" in scores.get(name, {})]
    return max(scored, key=lambda name: scores[name]["nse_median"])


def finding(
    experiment: str,
    results: Results,
    table: pd.DataFrame,
    scores: Mapping[str, Mapping[str, Any]],
    basins: Basins,
    basins_url: str,
) -> Finding:
    """What `score` found, with maps of the best model and series of a few basins (store of `product.ToBasins`)."""
    known = bool(results.problem.truth_url)
    model = best(scores, results)
    section = figures.comparison_section(
        experiment,
        table,
        {name: found for name, found in scores.items() if "n" in found},
        reference="cubic_conserved" if known else "climatology_trend",
        paragraphs=_said(results, model, scores[model]),
        illustrations=[_quality_table(scores), *_illustrations(experiment, results, model, table, basins, basins_url)],
    )
    return Finding(experiment, table, scores, [section])


def cross_validation(experiment: str, results: Results) -> Finding:
    """The paper's score: training years by models that did not see them, mascons against GRACE."""
    name = f"{experiment}_cross_validation"
    problem = results.problem
    trained, times = problem.trained, problem.windows.middle
    observed = problem.anomaly()[:, trained]
    apart = {model: open_store(url)["out_of_fold"].values[:, trained] for model, url in results.predicted.items()}
    keep = np.isfinite(observed) & np.all([np.isfinite(values) for values in apart.values()], axis=0)
    rows = _enough(keep, times[trained], [valid[trained] for _, valid in problem.year_folds()])
    options = {
        "climatology": climatology(observed[rows], times[trained], keep[rows]),
        "experiment": name,
        "unit": rows,
        "mask": keep[rows],
    }
    table = pd.concat(
        [
            score_units(observed[rows], values[rows][:, None], times[trained], model=model, **options)
            for model, values in apart.items()
        ],
        ignore_index=True,
    )
    scores = summarise_all(table, baselines=figures.BASELINES)[name]
    return Finding(name, table, scores, [figures.comparison_section(name, table, scores)])


def quality(results: Results) -> dict[str, dict[str, Any]]:
    """What every model's product keeps, beside its skill: model -> key -> value.

    `border_jump_ratio`: see `mascons.border_jump_ratio`, of the mean of the members; `conservation_error_mm`: largest
    difference of a mascon's area-weighted mean to what GRACE saw. Where truth is planted, shares of the test period's
    cells within the 90 % interval: `coverage90_gap` (months without a record), `coverage90_observed`, and
    `coverage90_by_climate` where climates are known. None where there is nothing to count.
    """
    problem, cells = results.problem, results.problem.layout.cells
    anomaly, truth = problem.anomaly(), problem.truth() if problem.truth_url else None
    months = problem.test.contains(problem.windows.month)
    gap = ~problem.windows.observed
    found: dict[str, dict[str, Any]] = {}
    for model, url in results.downscaled.items():
        store = open_store(url)
        mean = store["twsa"].values
        reached = np.isfinite(mean).all(axis=0)
        error = np.abs(cells.mean(mean[:, reached]) - anomaly[:, reached])
        found[model] = {
            "border_jump_ratio": border_jump_ratio(mean[:, reached], cells.parent, cells.latitude, cells.longitude),
            "conservation_error_mm": float(np.nanmax(error)),
        }
        if truth is None:
            continue
        when = months & reached
        hits = _hits(truth[:, when], store["twsa_member"].isel(window=np.flatnonzero(when)).values)
        found[model] |= {
            "coverage90_gap": _share(hits[:, gap[when]]),
            "coverage90_observed": _share(hits[:, ~gap[when]]),
        }
        if results.climate:
            label = np.asarray(results.climate)[cells.parent]
            found[model]["coverage90_by_climate"] = {str(c): _share(hits[label == c]) for c in np.unique(label)}
    return found


def _hits(truth: np.ndarray, members: np.ndarray) -> np.ndarray:
    low, high = central_interval(members)
    return (truth >= low) & (truth <= high)


def _share(hits: np.ndarray) -> float | None:
    return float(hits.mean()) if hits.size else None


def _score_cells(experiment: str, results: Results) -> pd.DataFrame:
    """Cells against planted truth in the test windows, one row a mascon."""
    problem = results.problem
    cells, truth, tested = problem.layout.cells, problem.truth(), problem.tested
    times = problem.windows.middle
    predictions = {name: open_store(url)["twsa_member"].values[..., tested] for name, url in results.downscaled.items()}
    for name, operator in (("bilinear", bilinear), ("cubic", cubic)):
        matrix = operator(*centres(cells), cells.latitude, cells.longitude)
        predictions[name] = (matrix @ problem.anomaly()[:, tested])[:, None]
    predictions = _predicting(predictions, results)
    options = {
        "climatology": climatology(truth[:, problem.trained], times[problem.trained]),
        "parent": cells.parent,
        "experiment": experiment,
        "region": {mascon: f"block {mascon // 4}" for mascon in range(cells.mascons)},
        "mask": np.all([np.isfinite(members).all(axis=1) for members in predictions.values()], axis=0),
    }
    return pd.concat(
        [
            score_pooled(truth[:, tested], members, times[tested], model=name, **options)
            for name, members in predictions.items()
        ],
        ignore_index=True,
    )


def _score_mascons(experiment: str, results: Results) -> pd.DataFrame:
    """Mascons against GRACE in the test windows: what is said of the mean where nobody knows the cells.

    Mascons that GRACE hardly saw in the training period are left out, and records that no model reaches.
    """
    problem = results.problem
    observed, months, trained, tested = problem.anomaly(), problem.windows.month, problem.trained, problem.tested
    times, folds = problem.windows.middle, [valid for _, valid in problem.year_folds()]
    rows = _enough(np.isfinite(observed) & trained, times, folds)
    points = {name: open_store(url)["coarse"].values.mean(axis=1) for name, url in results.predicted.items()}
    points = {name: point[rows] for name, point in _predicting(points, results, tested).items()}
    sigma = {name: open_store(results.shares[name])["gap_sigma"].values[0][rows] for name in points}
    seen, uncertainty = observed[rows], problem.series(problem.uncertainty)[rows]
    for name, fit in (("climatology_trend", baselines.climatology_trend), ("last_year", baselines.last_year)):
        apart = baselines.out_of_fold(partial(_fitted, fit, months), seen, trained, folds)
        points[name] = fit(seen, months, trained)
        sigma[name] = np.sqrt(np.nanmean((apart - seen) ** 2, axis=1))
    keep = np.isfinite(seen) & np.all([np.isfinite(point) for point in points.values()], axis=0)
    options = {
        "climatology": climatology(seen[:, trained], times[trained], np.isfinite(seen[:, trained])),
        "experiment": experiment,
        "unit": rows,
        "uncertainty": uncertainty[:, tested],
        "mask": keep[:, tested],
    }
    return pd.concat(
        [
            score_units(
                seen[:, tested],
                calibration.members(point[:, tested], sigma[name], MEMBERS, problem.seed),
                times[tested],
                model=name,
                **options,
            )
            for name, point in points.items()
        ],
        ignore_index=True,
    )


def _fitted(fit: Any, months: np.ndarray, storage: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return np.asarray(fit(storage, months, keep))


def _enough(keep: np.ndarray, times: np.ndarray, folds: Sequence[np.ndarray]) -> np.ndarray:
    """Indices of units with enough to know a season from, whichever fold is left out. keep: (unit, record) bool."""
    season = np.stack([keep[:, calendar_month(times) == month].any(axis=1) for month in range(12)]).all(axis=0)
    least = np.min([(keep & ~fold).sum(axis=1) for fold in folds], axis=0)
    rows = np.flatnonzero(season & (least >= FEWEST_RECORDS))
    if not len(rows):
        raise InputError(
            "scores: no mascon has a record of every calendar month in the training period; lengthen it by"
            " --train-first and --train-last"
        )
    return rows


def _predicting(
    predictions: Mapping[str, np.ndarray], results: Results, tested: np.ndarray | slice = slice(None)
) -> dict[str, np.ndarray]:
    """Models that say something of the test period. predictions: model -> (place, ..., window)."""
    found = {name: values for name, values in predictions.items() if np.isfinite(values[..., tested]).any()}
    for name in predictions.keys() - found.keys():
        print(f"{name}: no prediction in the test period, so it is not scored", flush=True)
    if not found.keys() & results.predicted.keys():
        raise InputError(
            "scores: no model predicts a record of the test period; expected predictors of all variables in it; check"
            " --predictors and --test-first"
        )
    return found


def _said(results: Results, model: str, found: Mapping[str, Any]) -> list[str]:
    """What the product is and what it keeps, in words."""
    windows, label = results.problem.windows, figures.MODEL_LABELS.get(model, model)
    product = (
        f"The product is that of {label}: {len(windows)} windows from {windows.month[0]} to {windows.month[-1]};"
        f" {int((~windows.observed).sum())} of them are gap months without a GRACE record."
    )
    if results.problem.truth_url:
        return [product]
    return [
        product,
        "Nobody knows storage at half a degree here, so the scores are of the models' own mascon means in test records"
        " kept from them, as in a gap month; their coverage is that of gap months. In months with a record the product"
        " returns what GRACE saw.",
    ]


def _quality_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = {
        "border_jump_ratio": ("jump across mascon borders / inside", "{:.2f}"),
        "conservation_error_mm": ("largest error of a mascon's mean [mm]", "{:.1e}"),
        "coverage90_observed": ("coverage of 90 % interval, months with a record", "{:.0%}"),
        "coverage90_gap": ("the same, gap months", "{:.0%}"),
    }
    shown = {key: column for key, column in columns.items() if any(key in found for found in scores.values())}
    rows = []
    for model, found in scores.items():
        if "border_jump_ratio" in found:
            cells = [form.format(found[key]) if found.get(key) is not None else "–" for key, (_, form) in shown.items()]
            rows.append([Cell(figures.MODEL_LABELS.get(model, model)), *map(Cell, cells)])
    notes = [
        f"Promised: a ratio of at most {JUMP_PROMISED} (of mean absolute differences of neighbouring cells), and mascon"
        f" means that return GRACE to {ERROR_PROMISED_MM:g} mm in months with a record. Coverage: cells, test period."
    ]
    return Table("What the downscaled fields keep.", ["", *(title for title, _ in shown.values())], rows, notes)


def _illustrations(
    experiment: str, results: Results, model: str, rows: pd.DataFrame, basins: Basins, basins_url: str
) -> list[Illustration]:
    problem, label = results.problem, experiment.replace("_", "-")
    land, windows, anomaly = problem.layout.cells, problem.windows, problem.anomaly()
    cells = maps.Cells(land.latitude, land.longitude, 0.5, borders=land.parent)
    month = int(np.flatnonzero(problem.tested)[np.argmax(np.nanmean(np.abs(anomaly[:, problem.tested]), axis=0))])
    ours, interpolated = (open_store(results.downscaled[name]) for name in (model, "cubic_conserved"))
    truth = problem.truth() if problem.truth_url else None
    sigma = ours["twsa_sigma"].values
    found = [
        figures.downscaling_maps(
            cells,
            windows.month[month],
            mascon=anomaly[land.parent, month],
            interpolated=interpolated["twsa"].values[:, month],
            downscaled=ours["twsa"].values[:, month],
            truth=None if truth is None else truth[:, month],
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
            np.nanmean(sigma[:, ~windows.observed], axis=1) if not windows.observed.all() else None,
            name=f"uncertainty-{label}",
        ),
        _basin_series(results, model, basins, basins_url, f"series-{label}"),
    ]
    if truth is not None:
        when = np.flatnonzero(problem.test.contains(windows.month))
        members = ours["twsa_member"].isel(window=when).values
        climate = np.asarray(results.climate) if results.climate else np.full(land.mascons, "all")
        found.append(
            figures.coverage_by_group(
                truth[:, when],
                members,
                np.isfinite(members).all(axis=1),
                climate=climate[land.parent],
                gap=~windows.observed[when],
                region=land.parent,
                model=model,
                name=f"coverage-{label}",
            )
        )
    return found


def _basin_series(results: Results, model: str, basins: Basins, url: str, name: str) -> Illustration:
    """Three basins, the most and less variable ones: the product's members, and GRACE's mean over their cells."""
    problem, land, store = results.problem, results.problem.layout.cells, open_store(url)
    order = np.argsort(-np.nan_to_num(np.nanstd(store["twsa"].values, axis=1)))
    shown = list(dict.fromkeys(order[[0, len(order) // 3, 2 * len(order) // 3]].tolist()))
    inside = basins.member >= 0
    seen = mean_operator(basins.member[inside], land.area[inside], len(basins.names))[shown]
    return figures.basin_series(
        [str(basins.names[basin]) for basin in shown],
        problem.windows.middle,
        seen @ problem.anomaly()[land.parent[inside]],
        {model: store["twsa_member"].isel(basin=shown).values},
        split=problem.test.first,
        name=name,
    )


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
