"""Scores, report and product of `grace_downscale`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cluster.job import Engine
from cluster.stages import Stage, StoreRef
from sciml.core.grid import unit_vectors
from sciml.core.urls import join
from sciml.data.stores import open_store
from sciml.grace import baselines, calibration, figures, product
from sciml.grace.basin_nets import Prepared, Setup
from sciml.grace.config import GraceConfig
from sciml.grace.ingest import read_mascons
from sciml.grace.interpolation import bilinear, cubic
from sciml.grace.steps import centres
from sciml.metrics.seasonal import climatology
from sciml.metrics.table import score_pooled, score_units, summarise_all, yearly_statistics
from sciml.report.maps import Cells
from sciml.report.page import Illustration, Page, Section, provenance, write_page
from sciml.report.results import write_metrics, write_scores

MAP_ROWS = 24
MEMBERS = 20  # of a point prediction with a calibrated error


def gridded(config: GraceConfig, engine: Engine, outcomes: Mapping[str, Any]) -> str:
    """Score every model at the scale of cells, write scores, map, page and metrics; returns the page's URL."""
    frames, sections = [], []
    for experiment, outcome in outcomes.items():
        score = _score_cells if outcome.problem.truth_url else _score_mascons
        frames.append(score(experiment, outcome))
        if config.preset == "paper":
            frames.append(_score_left_out(f"{experiment}_cross_validation", outcome))
    table = pd.concat(frames, ignore_index=True)
    write_scores(engine.run.url, table)
    scores = summarise_all(table, baselines=figures.BASELINES)
    for experiment, outcome in outcomes.items():
        if f"{experiment}_cross_validation" in scores:
            name = f"{experiment}_cross_validation"
            sections.append(figures.comparison_section(name, table[table["experiment"] == name], scores[name]))
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


def _score_left_out(experiment: str, outcome: Any) -> pd.DataFrame:
    """The paper's score: training years by models that did not see them, mascons against GRACE."""
    problem = outcome.problem
    trained, times = problem.trained, problem.windows.middle
    observed = problem.anomaly()[:, trained]
    options = {"climatology": climatology(observed, times[trained]), "experiment": experiment}
    found = []
    for name, ref in outcome.predicted.items():
        apart = open_store(ref.url)["out_of_fold"].values[:, trained]
        found.append(
            score_units(observed, apart[:, None], times[trained], model=name, mask=np.isfinite(apart), **options)
        )
    return pd.concat(found, ignore_index=True)


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


def basins(
    config: GraceConfig,
    engine: Engine,
    setup: Setup,
    experiments: Mapping[str, tuple[tuple[str, ...], StoreRef]],
    mascons: StoreRef | None,
) -> str:
    """Score the basin experiments on the test months, write scores, page and metrics; returns the page's URL."""
    ready = setup.prepare()
    frames, yearly, sections = [], {}, []
    for experiment, (models, ref) in experiments.items():
        for model, members, options in _basin_predictions(ready, experiment, models, ref, mascons, setup):
            frames.append(score_units(members=members, experiment=experiment, model=model, **options))
            shared = {k: options[k] for k in ("observed", "time", "climatology", "mask", "uncertainty")}
            yearly[experiment, model] = yearly_statistics(members=members, **shared)
    table = pd.concat(frames, ignore_index=True)
    write_scores(engine.run.url, table)
    scores = summarise_all(table, yearly=yearly)
    for experiment, (models, ref) in experiments.items():
        rows = table[table["experiment"] == experiment]
        sections.append(
            figures.comparison_section(
                experiment,
                rows,
                scores[experiment],
                reference="group_mean" if experiment == "regroup" else "ridge",
                ceilings=[name for name in (CEILING,) if name in scores[experiment]],
                paragraphs=NOTES[experiment],
                illustrations=_basin_illustrations(ready, experiment, models, ref),
            )
        )
    if mascons is not None:
        sections.append(_mascon_section(config))
    facts = provenance(
        data={"storage": f"{config.twsa} {config.twsa_variable}", "predictors": ", ".join(config.predictor_family)},
        split={
            "training": f"{config.train_first} to {config.train_last}",
            "test": f"{config.test_first} to {config.test_last}",
        },
        sample_size={
            "basins": len(ready.data.names),
            "basins with a place": len(ready.placed),
            "training months": int(ready.data.train.sum()),
            "test months": int(ready.data.test.sum()),
        },
        seed=config.seed,
        stores=engine.run.stores,
        config=config.model_dump(mode="json"),
    )
    summary = [section.paragraphs[0] for section in sections if section.paragraphs]
    report = write_page(engine.run.url, Page("GRACE on river basins", summary, sections, facts))
    write_metrics(engine.run.url, config.pipeline, scores, facts)
    return report


CEILING = "mascon_ceiling"
NOTES = {
    "basins": [
        "All basins' training years are known to the global net; the test years are new to every model. Storage is the"
        " anomaly to each basin's mean over the training months.",
    ],
    "basins_region_out": [
        "The global net never saw the basin, basins nested with it, or any basin within 500 km; only the basin's own"
        " training-year mean and deviation scale its output. The baselines did see the basin's training years.",
    ],
    "regroup": [
        "Models know the storage of neighbourhoods and never that of a basin; in the test years storage enters only as"
        " the neighbourhood's mean. This validates downscaling at about 3 degrees, not at half a degree.",
    ],
}


def _basin_predictions(
    ready: Prepared,
    experiment: str,
    models: tuple[str, ...],
    ref: StoreRef,
    mascons: StoreRef | None,
    setup: Setup,
) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Model, members (basin, member, month) and arguments of scoring, all on the same test months and basins."""
    data = ready.data
    units = np.arange(len(data.names)) if experiment == "basins" else ready.placed
    train, test = data.train, data.test
    time = data.windows.middle
    store, seen = open_store(ref.url), data.storage[np.ix_(units, train)]
    options = {
        "observed": data.storage[np.ix_(units, test)],
        "time": time[test],
        "climatology": climatology(np.nan_to_num(seen), time[train], np.isfinite(seen)),
        "unit": data.names[units],
        "mask": np.isfinite(data.storage[np.ix_(units, test)]),
        "uncertainty": data.uncertainty[np.ix_(units, test)],
        "region": _regions(ready)[units],
    }
    for number, model in enumerate(models):
        members = store["storage"].isel(model=number).values
        rows = members if len(members) == len(units) else members[units]
        yield model, rows[..., test], options
    if mascons is not None and experiment != "basins":
        yield CEILING, _ceiling(ready, mascons, units)[:, None, test], options


def _regions(ready: Prepared) -> np.ndarray:
    """Block of the bootstrap of each basin: its fold of places, or itself where it has none."""
    label = np.array([f"basin {unit}" for unit in range(len(ready.data.names))], dtype=object)
    for number, (_, valid) in enumerate(ready.regions):
        label[valid] = f"region {number}"
    return label


def _ceiling(ready: Prepared, mascons: StoreRef, units: np.ndarray) -> np.ndarray:
    """Gridded storage averaged over basins: GRACE again, shown as what no model can be asked to beat."""
    table, store = ready.table, open_store(mascons.url).load()
    weights = unit_vectors(table["cell_lat"].values, table["cell_lon"].values)
    nearest = cKDTree(unit_vectors(store["lat"].values, store["lon"].values)).query(weights)[1]
    series = store["twsa"].values[nearest]
    area, parent = table["cell_area_km2"].values, table["cell_parent"].values
    mean = np.stack([np.average(series[parent == unit], axis=0, weights=area[parent == unit]) for unit in units])
    start = store["record_start"].values
    month = (start + (store["record_end"].values - start) / 2).astype("datetime64[M]")
    out = np.full((len(units), len(ready.data.months)), np.nan, np.float32)
    for place, when in enumerate(ready.data.months):
        if (month == when).any():
            out[:, place] = mean[:, month == when].mean(axis=1)
    return out - np.nanmean(np.where(ready.data.train, out, np.nan), axis=1, keepdims=True)


def _basin_illustrations(
    ready: Prepared, experiment: str, models: tuple[str, ...], ref: StoreRef
) -> list[Illustration]:
    data, label = ready.data, experiment.replace("_", "-")
    units = np.arange(len(data.names)) if experiment == "basins" else ready.placed
    store, shown = open_store(ref.url), [name for name in ("global_lstm", "ridge", "group_mean") if name in models]
    members = {}
    for name in shown:
        values = store["storage"].isel(model=models.index(name)).values
        members[name] = values if len(values) == len(units) else values[units]
    period = data.months >= data.months[data.train].min()
    period &= data.months <= data.months[data.test].max()
    largest = np.argsort(-np.nanstd(data.storage[units], axis=1))[[0, len(units) // 3, 2 * len(units) // 3]]
    first = shown[0]
    observed = data.storage[units]
    found = [
        figures.basin_series(
            [str(data.names[units[k]]).title() for k in largest],
            data.windows.middle[period],
            observed[largest][:, period],
            {name: values[largest][..., period] for name, values in members.items() if name in shown[:2]},
            gaps=data.months[period & ~np.isfinite(observed).any(axis=0)],
            split=data.months[data.test].min(),
            name=f"series-{label}",
        ),
        figures.calibration(
            observed[:, data.test],
            {name: values[..., data.test] for name, values in members.items()},
            np.isfinite(observed[:, data.test]),
            name=f"calibration-{label}",
        ),
    ]
    if "climate" in ready.table:
        found.append(
            figures.coverage_by_group(
                observed[:, data.test],
                members[first][..., data.test],
                np.isfinite(observed[:, data.test]),
                climate=figures.climate_class(ready.table["climate"].values[units]),
                model=first,
                name=f"coverage-{label}",
            )
        )
    return found


def _mascon_section(config: GraceConfig) -> Section:
    mascons = read_mascons(config.mascons)
    cells = Cells(mascons["cell_lat"].values, mascons["cell_lon"].values, float(mascons.attrs["resolution_degrees"]))
    values = mascons["twsa"].values
    figure = figures.trend_amplitude_maps(
        cells, values, mascons["time"].values, mascons["cell_parent"].values, mask=np.isfinite(values)
    )
    return Section("All land mascons", [f"{len(values)} land mascons with {values.shape[1]} records."], [figure])
