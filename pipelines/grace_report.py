"""Scores, report and product of `grace_downscale`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cluster.job import Engine
from cluster.stages import Stage
from sciml.core.urls import join
from sciml.data.stores import open_store
from sciml.grace import baselines, calibration, figures, product
from sciml.grace.config import GraceConfig
from sciml.grace.interpolation import bilinear, cubic
from sciml.grace.steps import centres
from sciml.metrics.seasonal import climatology
from sciml.metrics.table import score_pooled, score_units, summarise_all
from sciml.report.maps import Cells
from sciml.report.page import Illustration, Page, provenance, write_page
from sciml.report.results import write_metrics, write_scores

MAP_ROWS = 24
MEMBERS = 20  # of a point prediction with a calibrated error


def gridded(config: GraceConfig, engine: Engine, outcomes: Mapping[str, Any]) -> str:
    """Score every model at the scale of cells, write scores, map, page and metrics; returns the page's URL."""
    frames, sections = [], []
    for experiment, outcome in outcomes.items():
        score = _score_cells if outcome.problem.truth_url else _score_mascons
        frames.append(score(experiment, outcome))
    table = pd.concat(frames, ignore_index=True)
    write_scores(engine.run.url, table)
    scores = summarise_all(table, baselines=figures.BASELINES)
    for experiment, outcome in outcomes.items():
        best = _best(scores[experiment], outcome)
        mapped = _map(experiment, outcome, best, engine)
        product.write_netcdf(mapped.url, join(engine.run.url, f"{experiment}.nc"))
        rows = table[table["experiment"] == experiment]
        illustrations = _illustrations(experiment, outcome, best, rows)
        reference = "cubic_conserved" if outcome.problem.truth_url else "climatology_trend"
        sections.append(
            figures.comparison_section(
                experiment, rows, scores[experiment], reference=reference, illustrations=illustrations
            )
        )
    facts = _facts(config, engine, next(iter(outcomes.values())).problem)
    page = Page("GRACE downscaling", [section.paragraphs[0] for section in sections], sections, facts)
    report = write_page(engine.run.url, page)
    write_metrics(engine.run.url, config.pipeline, scores, facts)
    return report


def _score_cells(experiment: str, outcome: Any) -> pd.DataFrame:
    """Cells against planted truth in the test windows, one row a mascon."""
    problem = outcome.problem
    cells, truth, tested = problem.layout.cells, problem.truth(), problem.tested
    times = problem.windows.middle
    options = {
        "climatology": climatology(truth[:, problem.trained], times[problem.trained]),
        "parent": cells.parent,
        "experiment": experiment,
        "region": {mascon: f"block {mascon // 4}" for mascon in range(cells.mascons)},
    }
    predictions = {
        name: open_store(ref.url)["twsa_member"].values[..., tested] for name, ref in outcome.downscaled.items()
    }
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


def _score_mascons(experiment: str, outcome: Any) -> pd.DataFrame:
    """Mascons against GRACE in the test windows: what is said of the mean where nobody knows the cells."""
    problem = outcome.problem
    observed, months, trained, tested = problem.anomaly(), problem.windows.month, problem.trained, problem.tested
    points = {name: open_store(ref.url)["coarse"].values.mean(axis=1) for name, ref in outcome.predicted.items()}
    sigma = {name: open_store(ref.url)["gap_sigma"].values[0] for name, ref in outcome.shares.items()}
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


def _best(scores: Mapping[str, Mapping[str, Any]], outcome: Any) -> str:
    """The trained model with the highest median NSE."""
    trained = [name for name in outcome.downscaled if name != "cubic_conserved"]
    return max(trained, key=lambda name: scores[name]["nse_median"])


def _map(experiment: str, outcome: Any, model: str, engine: Engine) -> Any:
    windows, grid = outcome.problem.windows, product.map_grid(outcome.problem.layout.cells)
    ref = outcome.downscaled[model]
    template = product.template(grid, windows.start, windows.end, windows.observed, MAP_ROWS)
    function = product.ToMap(ref.url, grid)
    inputs = {"store": ref.digest}
    return engine.stage(Stage(f"map_{experiment}", 1, product.bands(grid, MAP_ROWS), template, function, {}, inputs))


def _illustrations(experiment: str, outcome: Any, model: str, rows: pd.DataFrame) -> list[Illustration]:
    problem, label = outcome.problem, experiment.replace("_", "-")
    land, windows = problem.layout.cells, problem.windows
    cells = Cells(land.latitude, land.longitude, 0.5, borders=land.parent)
    month = int(np.flatnonzero(problem.tested)[np.argmax(np.abs(problem.anomaly()[:, problem.tested]).mean(axis=0))])
    ours, interpolated = (open_store(outcome.downscaled[name].url) for name in (model, "cubic_conserved"))
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


def _mascon_members(members: np.ndarray, land: Any, mascon: int) -> np.ndarray:
    inside = land.parent == mascon
    return np.tensordot(land.area[inside] / land.area[inside].sum(), members[inside].astype(np.float64), axes=1)


def _facts(config: GraceConfig, engine: Engine, problem: Any) -> dict[str, Any]:
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
        stores=engine.run.stores,
        config=config.model_dump(mode="json"),
    )
