"""The experiment `coupled` of `emulator_fit`: one river network driven by emulated and by reference runoff.

On the generated Earth: all land of three tiles with the drainage along which model A routes its water. Emulators are
fitted on the training years alone and run freely through all of them; channels are the reference's for every driver.
On tables of nested gauges: the runoff of their sub-areas over the cells of a real network, from the sea up.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from pipelines.emulator_discharge import nested
from pipelines.emulator_run import (
    Channels,
    LandRun,
    cell_years,
    fit_stage,
    land_stage,
    mean_stage,
    network_inputs,
    river_stage,
    scheme_of,
)
from sciml.core.digest import fingerprint
from sciml.core.errors import InputError
from sciml.core.urls import exists, members
from sciml.data.readers.pcrglobwb import stations_of
from sciml.generated import land as generated_land
from sciml.generated import rivers as generated
from sciml.land.config import EmulatorFitConfig
from sciml.land.report import LABELS
from sciml.land.simulation import SIMULATION_VERSION, Places, ReferenceYear, dates_of, places, template, years_of_run
from sciml.land.source import LandSource, Layout
from sciml.land.steps import Years, model_for
from sciml.land.subareas import SubareaYear
from sciml.land.trials import Trial, periods
from sciml.report.results import Finding
from sciml.rivers.coupled import Coupled, finding
from sciml.rivers.gauges import gauge_cells as gauge_cells_of
from sciml.rivers.network import Network, find_cells
from sciml.rivers.stations import Gauge
from sciml.rivers.steps import NetworkSource, Rivers, cut

LEAST_AREA = 5e9  # m2 upstream of a gauge: two cells at least


def coupled(config: EmulatorFitConfig, engine: Engine) -> Finding:
    """All stages and scores."""
    rivers, gauges, stores, train, test = _stages(config, engine)
    reference = stores.pop("reference")
    driven = {name: store.url for name, store in stores.items()}
    trained = f"{train.first}-{train.last}"
    found = Coupled(reference.url, driven, rivers.network, rivers.land >= 0, gauges, test.first, test.last, trained)
    return finding(found, LABELS)


def plan_coupled(config: EmulatorFitConfig, planned: Plan) -> None:
    """Its stages alone."""
    _stages(config, planned)


def coupled_source(config: EmulatorFitConfig) -> LandSource:
    """The generated Earth that is routed."""
    return LandSource("generated", made=generated.made, settings=generated.RiverConfig(config.seed))


def _stages(
    config: EmulatorFitConfig, engine: Engine | Plan
) -> tuple[Rivers, list[Gauge], dict[str, StoreRef], Years, Years]:
    source = coupled_source(config)
    settings = source.settings
    inputs = {"generated": [generated.VERSION, generated_land.VERSION, asdict(settings)]}
    first, last = periods(config, source.records())
    train, test = Years(*first), Years(*last)
    where = places(source, "")
    years = years_of_run(dates_of(source), None, "the generated Earth")
    network = NetworkSource("generated", generated.network, settings)
    rivers = cut(network.open(), where.lat, where.lon)
    gauges = _gauges(rivers.network)
    cells = tuple(gauge.cell for gauge in gauges)
    # the edge of a tile is no sea, which would drown half of its cells
    routing = Channels(network, inputs, "inertial", boundary="normal")

    def land(name: str, parameters: StoreRef) -> LandRun:
        forcing = source.records()[0].forcing
        scheme = scheme_of(model_for(name, forcing), config.scheme) if name in config.emulators else "explicit"
        return LandRun(source, where, years, name, parameters, scheme, ("runoff",), len(where.names),
                       seed=config.seed, inputs=inputs)  # fmt: skip

    nothing = StoreRef("", "")
    known = {"reference": _reference(engine, land("reference", nothing), None)}
    mean = mean_stage(engine, "coupled_mean_runoff", known["reference"], land("reference", nothing))
    known["climatology"] = _reference(engine, land("climatology", nothing), train)
    for name in config.emulators:
        fit = fit_stage(engine, f"coupled_fit_{name}", source, name, train, inputs, seed=config.seed,
                        starts=config.starts, weights=config.fitting_weights, scheme=config.scheme,
                        method=config.fit)  # fmt: skip
        known[name] = land_stage(engine, f"coupled_land_{name}", land(name, fit))
    stores = {
        name: river_stage(
            engine, f"coupled_rivers_{name}", routing, rivers, cells, store, mean, land("reference", nothing)
        )
        for name, store in known.items()
    }
    return rivers, gauges, stores, train, test


def _reference(engine: Engine | Plan, run: LandRun, usual: Years | None) -> StoreRef:
    function = ReferenceYear(run.source, "", run.years[0], usual)
    options: Mapping[str, Any] = {"first_year": run.years[0], "usual": None if usual is None else asdict(usual)}
    return engine.stage(
        Stage(
            f"coupled_land_{run.model}", SIMULATION_VERSION, cell_years(run),
            template(run.where, run.years, run.outputs, 0, run.block, None), function, config=options,
            inputs=dict(run.inputs or {}), seconds=0.1, memory_bytes=100 << 20,
        )
    )  # fmt: skip


def _gauges(network: Network) -> list[Gauge]:
    found = [
        Gauge(f"{network.lat[cell]:g} N {network.lon[cell]:g} E", cell, float("nan"), float(area), float("nan"))
        for cell, area in enumerate(network.upstream_area.tolist())
        if area >= LEAST_AREA
    ]
    return sorted(found, key=lambda gauge: -gauge.cell_area)


def require_network(config: EmulatorFitConfig, source: LandSource) -> None:
    """Raises InputError where --network does not hold the gauges, before anything is fitted."""
    _nest(config, source, NetworkSource(config.network).open())


def coupled_gauges(
    config: EmulatorFitConfig,
    engine: Engine,
    source: LandSource,
    where: Layout,
    trial: Trial,
    runs: Mapping[str, StoreRef],
) -> Finding:
    """The same for tables of nested gauges: runoff spread over the cells of --network above the lowest gauge."""
    address = NetworkSource(config.network)
    whole = address.open()
    nest, at = _nest(config, source, whole)
    above = np.stack([upstream_of(whole, cell) for cell in at])
    lowest = np.flatnonzero(above[-1])
    sub_area = tuple(int(np.argmax(above[:, cell])) for cell in lowest)
    areas = tuple(float(whole.upstream_area[cell]) for cell in at)
    cells = Places(tuple(f"cell {i}" for i in range(len(lowest))), whole.lat[lowest], whole.lon[lowest],
                   whole.area[lowest] / 1e6, lowest, lowest)  # fmt: skip
    numbers = [next(i for i, r in enumerate(source.records()) if r.names[0] == name) for name in nest]
    first = max(source.records()[i].forcing.dates[0] for i in numbers)
    last = min(source.records()[i].forcing.dates[-1] for i in numbers)
    years = years_of_run(np.arange(first, last + 1), None, config.files)
    rivers = cut(whole, cells.lat, cells.lon)
    gauge_cells = find_cells(rivers.network, whole.lat[list(at)], whole.lon[list(at)])
    gauges = [
        Gauge(name, int(cell), float("nan"), area, float("nan"))
        for name, cell, area in zip(nest, gauge_cells, areas, strict=True)
    ]
    inputs = network_inputs(config.network)
    run = LandRun(source, cells, years, "reference", StoreRef("", ""), "explicit", ("runoff",), len(lowest),
                  inputs={**inputs, "files": table_inputs(config.files)})  # fmt: skip
    rows = tuple(where.names.index(name) for name in nest)
    known = {}
    nothing = StoreRef("", "")
    for name, store in {"reference": nothing, "climatology": nothing, **runs}.items():
        usual = trial.train if name == "climatology" else None
        function = SubareaYear(
            source, tuple(numbers), areas, sub_area, years[0], store.url, rows, str(where.dates[0]), usual
        )
        options = {"first_year": years[0], "areas": areas, "gauges": nest, "usual": usual and asdict(usual)}
        known[name] = engine.stage(
            Stage(
                f"coupled_land_{name}", SIMULATION_VERSION, cell_years(run),
                template(cells, years, run.outputs, 0, run.block, None), function, config=options,
                inputs={**(run.inputs or {}), "run": store.digest}, seconds=0.1, memory_bytes=100 << 20,
            )
        )  # fmt: skip
    mean = mean_stage(engine, "coupled_mean_runoff", known["reference"], run)
    routing = Channels(address, inputs, "inertial")
    watched = tuple(gauge.cell for gauge in gauges)
    stores = {
        name: river_stage(engine, f"coupled_rivers_{name}", routing, rivers, watched, store, mean, run).url
        for name, store in known.items()
    }
    reference = stores.pop("reference")
    trained = f"{trial.train.first}-{trial.train.last}"
    test = trial.test
    return finding(
        Coupled(reference, stores, rivers.network, rivers.land >= 0, gauges[::-1], test.first, test.last, trained),
        LABELS,
    )


def table_inputs(files: str) -> list[tuple[str, dict[str, Any]]]:
    """(name, fingerprint) of each table in order, and of what a folder of PCR-GLOBWB says of its columns and gauges."""
    tables = [file.rstrip("/").rpartition("/") for file in members(files)]
    folders = dict.fromkeys((folder, slash) for folder, slash, _ in tables)
    beside = [(*place, name) for place in folders for name in ("unit.txt", "stationLatLon.csv")]
    found = [*tables, *(parts for parts in beside if exists("".join(parts)))]
    return [(parts[-1], fingerprint("".join(parts))) for parts in found]


def _nest(config: EmulatorFitConfig, source: LandSource, network: Network) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Gauges of the largest river from the highest down, and their cells."""
    known = stations_of(config.files)
    names = {record.names[0] for record in source.records()}
    order = max(nested({name: known[name] for name in names & set(known)}).values(), key=len, default=())
    found = [known[name] for name in order]
    lat, lon, area = (np.array([getattr(s, key) for s in found]) for key in ("lat", "lon", "area_km2"))
    at = gauge_cells_of(network, lat, lon, 1e6 * area)
    if not len(order) or (at < 0).any():
        raise InputError(f"--network {config.network}: no cell for the gauges {', '.join(order) or 'of the tables'}, by"
                         " place and area; give a network of their region")  # fmt: skip
    return order, tuple(int(cell) for cell in at)


def upstream_of(network: Network, cell: int) -> np.ndarray:
    """(cell,) whether each drains through this one, itself too."""
    found = np.zeros(len(network), bool)
    found[cell] = True
    for i in range(cell, -1, -1):  # upstream cells stand before
        found[i] |= network.downstream[i] >= 0 and found[network.downstream[i]]
    return found
