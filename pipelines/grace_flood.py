"""The flood part of `grace_downscale`: flood potential of basins and of half-degree cells against reported floods."""

from collections.abc import Mapping

import numpy as np

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from sciml.data.months import MONTH
from sciml.data.readers import counties, precipitation, storm_events
from sciml.data.stores import open_store
from sciml.generated import earth_store, floods
from sciml.generated.earth import EarthConfig
from sciml.grace import basin_report, flood_cases, flood_report
from sciml.grace.basin_nets import Prepared, Setup
from sciml.grace.config import GraceConfig
from sciml.grace.flood import KINDS
from sciml.grace.gridded_report import Results
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


def basins(
    config: GraceConfig, setup: Setup, models: tuple[str, ...], members_url: str, mascons_url: str
) -> list[Finding]:
    """Basins of the table that hold reports. members_url: store of all basins' members; mascons_url: or ""."""
    ready, reports = setup.prepare(), _reports(config)
    store = open_store(members_url)["storage"]
    storage = {
        model: store.isel(model=number).values.mean(axis=1, dtype=np.float64)
        for number, model in enumerate(models)
        if model not in NO_STORAGE
    }
    if mascons_url:
        storage["mascon"] = np.full((len(ready.data.names), len(ready.data.months)), np.nan)
        storage["mascon"][ready.placed] = basin_report.mascon_storage(ready, mascons_url, ready.placed)
    case, basin = flood_cases.of_basins(ready, storage, reports, config.precipitation, setup.train, setup.test)
    where = "Basins of the table with reports of the NCEI Storm Events Database"
    return flood_report.findings(case, _basin_map(ready, basin), _points(reports), where)


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
    if planted_url:
        store = open_store(planted_url).load()
        source = problem.layout.source[problem.layout.real]
        reported = {kind: store[kind].values[source] == 1 for kind in KINDS}
        covered = np.ones(reported["flood"].shape, bool)
        notes = [
            "The Earth is generated: floods are planted from the daily runoff and rivers of the truth, one in four goes"
            " unreported, and rain is known with an error of a quarter."
        ]
        points = _cell_points(reported, land.latitude, land.longitude, problem.months)
        where = "On the generated Earth"
    else:
        reports = _reports(config)
        reported, covered, notes = flood_cases.reports_on_cells(problem, reports)
        points, where = _points(reports), "Half-degree cells with reports of the NCEI Storm Events Database"
    rain = flood_cases.cell_rain(problem, config.precipitation)
    case, kept = flood_cases.of_cells(problem, results.downscaled, rain, reported, covered, notes)
    near = Cells(
        land.latitude[kept],
        land.longitude[kept],
        flood_cases.resolution(land.latitude),
        land_latitude=land.latitude,
        land_longitude=land.longitude,
        borders=land.parent[kept],
    )
    return flood_report.findings(case, (near, np.arange(len(kept))), points, where)


def _reports(config: GraceConfig) -> storm_events.Reports:
    centers = counties.read(config.county_centers) if config.county_centers else None
    return storm_events.read(config.flood_reports, centers)


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
    near = Cells(latitude[shown], longitude[shown], flood_cases.resolution(latitude), borders=parent[shown])
    return near, first[parent][shown]
