"""The flood part of `grace_downscale`: flood potential of basins and of half-degree cells against reported floods."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from sciml.core.errors import InputError
from sciml.data.months import MONTH
from sciml.data.readers import counties, precipitation, storm_events
from sciml.data.stores import open_store
from sciml.generated import earth_store, floods
from sciml.generated.earth import EarthConfig
from sciml.grace.basins import report
from sciml.grace.basins.nets import Prepared, Setup
from sciml.grace.config import GraceConfig
from sciml.grace.flood import cases, potential
from sciml.grace.flood import report as flood_report
from sciml.grace.flood.potential import KINDS, FloodCase
from sciml.grace.gridded.report import Results
from sciml.grace.gridded.steps import Problem
from sciml.report.maps import Cells
from sciml.report.results import Finding

NO_STORAGE = ("climatology_trend", "last_year")  # baselines of storage that announce nothing new


def check(config: GraceConfig) -> None:
    """Refuse bad reports or rain before any work."""
    if config.flood_reports:
        for note in _reports(config).notes:
            print(note, flush=True)
    if config.precipitation:
        precipitation.open_precipitation(config.precipitation)


def check_basins(config: GraceConfig, setup: Setup, mascons_url: str) -> None:
    """Refuse reports that leave nothing to score, before hours are spent on the networks. mascons_url: store or ""."""
    potential.check(_basin_case(config, setup, {}, mascons_url)[0], "flood")


def check_cells(config: GraceConfig, problem: Problem, planted_url: str) -> None:
    """As `check_basins`, for half-degree cells, as soon as their predictors stand."""
    reported, covered, notes = _on_cells(config, problem, planted_url)
    rain = cases.cell_rain(problem, config.precipitation)
    potential.check(cases.of_cells(problem, {}, rain, reported, covered, notes)[0], "flood")


def basins(
    config: GraceConfig, setup: Setup, models: tuple[str, ...], members_url: str, mascons_url: str
) -> list[Finding]:
    """Basins of the table that hold reports. members_url: store of all basins' members; mascons_url: or ""."""
    store = open_store(members_url)["storage"]
    storage = {
        model: store.isel(model=number).values.mean(axis=1, dtype=np.float64)
        for number, model in enumerate(models)
        if model not in NO_STORAGE
    }
    case, basin = _basin_case(config, setup, storage, mascons_url)
    where = "Basins of the table with reports of the NCEI Storm Events Database"
    return flood_report.findings(case, _basin_map(setup.prepare(), basin), _points(_reports(config)), where)


def _basin_case(
    config: GraceConfig, setup: Setup, storage: Mapping[str, np.ndarray], mascons_url: str
) -> tuple[FloodCase, np.ndarray]:
    ready, known = setup.prepare(), dict(storage)
    if mascons_url:
        known["mascon"] = np.full((len(ready.data.names), len(ready.data.months)), np.nan)
        known["mascon"][ready.placed] = report.mascon_storage(ready, mascons_url, ready.placed)
    return cases.of_basins(ready, known, _reports(config), config.precipitation, setup.train, setup.test)


def planted(config: GraceConfig, engine: Engine | Plan) -> StoreRef:
    """Reports of the generated Earth."""
    size = config.result_fields("seed", "tiles", "mascon_rows", "mascon_columns")
    earth = EarthConfig(**size)
    items, template = earth_store.tiles(earth), floods.template(earth)
    return engine.stage(Stage("floods", 1, items, template, floods.PlantFloods(earth), config=size, seconds=4.0))


def cells(config: GraceConfig, results: Results, planted_url: str) -> list[Finding]:
    """Half-degree cells of the downscaled product. planted_url: reports of the generated Earth, or "" for files."""
    problem = results.problem
    land = problem.layout.cells
    reported, covered, notes = _on_cells(config, problem, planted_url)
    if planted_url:
        points = _cell_points(reported, land.latitude, land.longitude, problem.months)
        where = "On the generated Earth"
    else:
        points = _points(_reports(config))
        where = "Half-degree cells with reports of the NCEI Storm Events Database"
    rain = cases.cell_rain(problem, config.precipitation)
    case, kept = cases.of_cells(problem, results.downscaled, rain, reported, covered, notes)
    near = Cells(
        land.latitude[kept],
        land.longitude[kept],
        cases.resolution(land.latitude, land.longitude),
        land_latitude=land.latitude,
        land_longitude=land.longitude,
        borders=land.parent[kept],
    )
    return flood_report.findings(case, (near, np.arange(len(kept))), points, where)


def _on_cells(
    config: GraceConfig, problem: Problem, planted_url: str
) -> tuple[Mapping[str, np.ndarray], np.ndarray, Sequence[str]]:
    """Reports and covered months of the real cells, and notes: planted ones, or those of files."""
    if not planted_url:
        return cases.reports_on_cells(problem, _reports(config))
    store, source = open_store(planted_url).load(), problem.layout.source[problem.layout.real]
    reported = {kind: store[kind].values[source] == 1 for kind in KINDS}
    note = (
        "The Earth is generated: floods are planted from the daily runoff and rivers of the truth, one in four goes"
        " unreported, and rain is known with an error of a quarter."
    )
    return reported, np.ones(reported["flood"].shape, bool), [note]


def _reports(config: GraceConfig) -> storm_events.Reports:
    return _read(config.flood_reports, config.county_centers)


@functools.lru_cache(maxsize=1)
def _read(pattern: str, centres: str) -> storm_events.Reports:
    reports = storm_events.read(pattern, counties.read(centres) if centres else None)
    if reports.table.empty:
        raise InputError(
            f"--flood-reports {pattern}: found no flood report with a place; expected events of the types"
            f" {' or '.join(KINDS.values())}, with coordinates or with --county-centers"
        )
    return reports


def _points(reports: storm_events.Reports) -> dict[str, np.ndarray]:
    table = reports.table
    found = {name: table[name].to_numpy() for name in ("latitude", "longitude", "kind")}
    return found | {"month": table["start"].to_numpy().astype(MONTH)}


def _cell_points(
    reported: Mapping[str, np.ndarray], latitude: np.ndarray, longitude: np.ndarray, months: np.ndarray
) -> dict[str, np.ndarray]:
    parts = []
    for kind, name in KINDS.items():
        cell, month = np.nonzero(reported[kind])
        parts.append((latitude[cell], longitude[cell], months[month], np.full(len(cell), name)))
    names = ("latitude", "longitude", "month", "kind")
    return {name: np.concatenate(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)}


def _basin_map(ready: Prepared, basin: np.ndarray) -> tuple[Cells, np.ndarray]:
    """Cells of the basins that are units, and the unit that each shows: the first of its basin."""
    table = ready.table
    parent = table["cell_parent"].values
    first = np.full(len(ready.data.names), -1)
    first[basin[::-1]] = np.arange(len(basin))[::-1]
    shown = first[parent] >= 0
    latitude, longitude = table["cell_lat"].values, table["cell_lon"].values
    near = Cells(latitude[shown], longitude[shown], cases.resolution(latitude, longitude), borders=parent[shown])
    return near, first[parent][shown]
