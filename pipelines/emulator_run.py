"""Run a fitted land-surface emulator and its rivers: `python pipelines/emulator_run.py [--field value ...]`.

With --parameters (a run of `emulator_fit`) and --forcing the emulator runs through years of weather, cell by cell, and
with --network its runoff runs down the rivers. Without them a generated Earth is fitted on its first years and run.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # from a checkout or a submitted working directory, installed or not
    sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.job import Engine, Plan, run_job
from cluster.ledger import Ledger, read_json, seconds_of
from cluster.run import pipeline_of
from cluster.stages import Stage, StoreRef
from sciml.core.digest import fingerprint
from sciml.core.errors import ConfigError, InputError
from sciml.core.urls import join
from sciml.data.readers.grdc import Stations, read_grdc
from sciml.data.readers.river_network import file_and_variable
from sciml.data.stores import spans
from sciml.generated import land as generated_land
from sciml.generated import rivers as generated
from sciml.land import run_report
from sciml.land.config import EmulatorRunConfig, years_of
from sciml.land.models import Model, Scheme
from sciml.land.search import Method
from sciml.land.simulation import (
    SIMULATION_VERSION,
    CellYear,
    Places,
    RunYear,
    check_outputs,
    check_store,
    dates_of,
    memory_bytes,
    places,
    template,
    weather,
    years_of_run,
)
from sciml.land.source import LandSource, layout
from sciml.land.sources import Demand
from sciml.land.steps import FIT_VERSION, FitCells, Years, fit_template, model_for
from sciml.report.page import provenance
from sciml.report.results import write_report
from sciml.rivers import report as rivers_report
from sciml.rivers.report import Routed
from sciml.rivers.stations import Gauge, watched
from sciml.rivers.steps import (
    ROUTE_VERSION,
    MeanRunoff,
    NetworkSource,
    Rivers,
    RiverYear,
    RouteYear,
    Routing,
    RunYears,
    cut,
    mean_template,
    route_memory,
    route_template,
)

TRAINED_YEARS = 3  # of the generated Earth: enough to show the way in a minute
CELLS_OF_A_FIT = 8
FIT_SECONDS = 0.2  # of one core, for a cell, a year of training and a start
RUN_SECONDS = 2e-4  # of one core, for a cell, a year and a member, with reading and writing
ROUTE_SECONDS = {"linear": 5e-5, "inertial": 3e-4}  # the same


def job(config: EmulatorRunConfig, engine: Engine) -> str:
    """All stages, report."""
    run = _prepare(config, engine)
    land = land_stage(engine, f"land_{config.model}", run.land)
    years = len(run.land.years)
    found = [run_report.findings(land.url, config.model, run.where, speed(engine, land, years))]
    if run.rivers is not None:
        mean, routes = _river_stages(engine, run.land, run.rivers, land)
        routed = Routed(routes.url, mean.url, run.rivers.cut, run.rivers.gauges, config.model, config.routing)
        seconds = speed(engine, routes, years)["worker_seconds_per_year"]
        found += rivers_report.findings(routed, run.rivers.stations, seconds)
    return write_report(
        engine.run.url, config.pipeline, "Land, emulated, and its rivers", found, _facts(config, engine, run)
    )


def plan(config: EmulatorRunConfig, planned: Plan) -> None:
    """Years of blocks of cells, then years of the network; parameters, forcing and network are opened."""
    run = _prepare(config, planned)
    land = land_stage(planned, f"land_{config.model}", run.land)
    if run.rivers is not None:
        _river_stages(planned, run.land, run.rivers, land)


@dataclass(frozen=True, eq=False)
class LandRun:
    """What a stage of the land needs. inputs: what its results depend on beside its options."""

    source: LandSource
    where: Places
    years: range
    model: str
    parameters: StoreRef
    scheme: Scheme
    outputs: tuple[str, ...]
    block: int
    members: int = 0
    spin_up: int = 3
    seed: int = 0
    inputs: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Channels:
    """How water is routed. inputs: what identifies the network."""

    network: NetworkSource
    inputs: Mapping[str, Any]
    routing: Routing = "linear"
    velocity: float = 0.5
    unrouted: float = 0.0
    boundary: str = "sea"


@dataclass(frozen=True, eq=False)
class OpenRivers:
    """A network cut to the cells of a run, and what is watched on it."""

    how: Channels
    stations: Stations | None
    cut: Rivers
    gauges: Sequence[Gauge]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is opened before any year is run."""

    land: LandRun
    rivers: OpenRivers | None
    data: Mapping[str, str]
    trained: str
    notes: tuple[str, ...]

    @property
    def where(self) -> Places:
        return self.land.where


def _prepare(config: EmulatorRunConfig, engine: Engine | Plan) -> Prepared:
    run = _files(config) if config.parameters else _generated(config, engine)
    for note in run.notes:
        print(note, flush=True)
    return run


def _opened(
    config: EmulatorRunConfig,
    network: NetworkSource,
    inputs: Mapping[str, Any],
    stations: Stations | None,
    where: Places,
) -> OpenRivers:
    """inputs: what identifies the network. Raises InputError where it cannot carry the runoff of these cells."""
    rivers = cut(network.open(), where.lat, where.lon, config.unrouted)
    how = Channels(network, inputs, config.routing, config.velocity, config.unrouted)
    return OpenRivers(how, stations, rivers, watched(rivers.network, stations, config.most_gauges))


def _generated(config: EmulatorRunConfig, engine: Engine | Plan) -> Prepared:
    """Parameters are fitted to the first years of model A on all land of the tiles."""
    settings = generated.RiverConfig(config.seed)
    source = LandSource("generated", made=generated.made, settings=settings)
    first = int(settings.first[:4])
    train = Years(first, first + TRAINED_YEARS - 1)
    inputs = {"generated": [generated.VERSION, generated_land.VERSION, asdict(settings)]}
    fit = fit_stage(engine, f"fit_{config.model}", source, config.model, train, inputs, seed=config.seed, starts=1)
    years = years_of_run(dates_of(source), years_of(config.years, "years"), "the generated Earth")
    where = places(source, "")
    outputs = check_outputs(model_for(config.model, source.records()[0].forcing), config.outputs)
    land = LandRun(source, where, years, config.model, fit, "explicit", outputs, len(where.names), config.ensemble,
                   config.spin_up, config.seed, inputs)  # fmt: skip
    network = NetworkSource("generated", generated.network, settings)
    note = f"no --parameters: model {config.model} is fitted to {TRAINED_YEARS} years of a generated Earth"
    rivers = _opened(config, network, inputs, None, where)
    return Prepared(land, rivers, {"source": "generated"}, f"{train.first}:{train.last}", (note,))


def _files(config: EmulatorRunConfig) -> Prepared:
    if (found := pipeline_of(config.parameters)) != "emulator_fit":
        what = "no run" if found is None else f"a run of {found}"
        raise ConfigError(f"--parameters {config.parameters}: found {what}, expected one of emulator_fit: run it first")
    published = read_json(join(config.parameters, "models.json"))
    if config.model not in published["models"]:
        known = ", ".join(published["models"])
        raise ConfigError(f"--model {config.model}: {config.parameters} has {known}; fit it or choose one of these")
    name = published["models"][config.model]
    parameters = StoreRef(join(config.parameters, "stages", name), name.rpartition("-")[2])
    source = LandSource("grid", config.forcing, _demand(config, published))
    where = places(source, parameters.url)
    years = years_of_run(dates_of(source), years_of(config.years, "years"), config.forcing)
    try:
        sky = weather(source, where.forcing[:1], slice(0, 2))
    except InputError as error:
        raise InputError(f"{error}; the parameters of {config.parameters} were fitted with {source.demand}") from error
    model = model_for(config.model, sky)
    check_store(parameters.url, model)
    land = LandRun(
        source, where, years, config.model, parameters, scheme_of(model, published["scheme"]),
        check_outputs(model, config.outputs),
        min(config.cells_per_item, len(where.names)), config.ensemble, config.spin_up, config.seed,
        {"forcing": fingerprint(config.forcing), "demand": source.demand},
    )  # fmt: skip
    rivers = None
    if config.network:
        stations = read_grdc(config.gauges) if config.gauges else None
        rivers = _opened(config, NetworkSource(config.network), network_inputs(config.network), stations, where)
    data = {"parameters": config.parameters, "forcing": config.forcing, "network": config.network or "none",
            "gauges": config.gauges or "none"}  # fmt: skip
    train = published["train"]
    return Prepared(land, rivers, data, f"{train['first']}:{train['last']}", where.notes)


def _demand(config: EmulatorRunConfig, published: Mapping[str, Any]) -> Demand:
    """What drew evaporation in the fit: its parameters mean nothing with another."""
    asked = published.get("demand", "auto")
    if asked == "auto" and "demand_kind" not in published:
        raise InputError(
            f"--parameters {config.parameters}: models.json does not say what demand it was fitted with; expected"
            " demand_kind; run emulator_fit there again"
        )
    return published["demand_kind"] if asked == "auto" else asked


def network_inputs(address: str) -> dict[str, Any]:
    """What identifies a network of files."""
    file, variable = file_and_variable(address)
    return {"network": fingerprint(file), "variable": variable or ""}


def fit_stage(
    engine: Engine | Plan,
    name: str,
    source: LandSource,
    model: str,
    train: Years,
    inputs: Mapping[str, Any],
    *,
    seed: int,
    starts: int,
    weights: tuple[tuple[str, float], ...] = (),
    scheme: Scheme = "explicit",
    method: Method = "best",
) -> StoreRef:
    """Parameters of a record that is in memory."""
    records = source.records()
    where, built = layout(source, CELLS_OF_A_FIT), model_for(model, records[0].forcing)
    scheme = scheme_of(built, scheme)
    config = {"seed": seed, "starts": starts, "weights": weights, "train": asdict(train), "scheme": scheme}
    config |= {"fit": method, "parameters": [asdict(p) for p in built.parameters]}
    work = FitCells(source, model, train, weights, scheme, method, starts, seed)
    years = train.last - train.first + 1
    return engine.stage(
        Stage(
            name, FIT_VERSION, where.items, fit_template(where, built), work, config=config, inputs=inputs,
            seconds=FIT_SECONDS * starts * years * where.block, memory_bytes=600 << 20,
        )
    )  # fmt: skip


def scheme_of(model: Model, wanted: Scheme) -> Scheme:
    """The time step that is wanted, or the only one that a model has."""
    return wanted if wanted in model.steps else "explicit"


def land_stage(engine: Engine | Plan, name: str, run: LandRun) -> StoreRef:
    """Years of blocks of cells, chained over the years."""
    model = model_for(run.model, weather(run.source, run.where.forcing[:1], slice(0, 2)))
    function = RunYear(run.source, run.model, run.parameters.url, run.years[0], run.outputs, run.members, run.scheme,
                       run.spin_up, run.seed)  # fmt: skip
    options = {"scheme": run.scheme, "spin_up": run.spin_up, "first_year": run.years[0], "seed": run.seed}
    return engine.stage(
        Stage(
            name,
            SIMULATION_VERSION,
            cell_years(run),
            template(run.where, run.years, run.outputs, run.members, run.block, model),
            function,
            config=options | {"model": run.model},
            inputs={**(run.inputs or {}), "parameters": run.parameters.digest},
            chain=chain_of_cells,
            seconds=RUN_SECONDS * run.block * (1 + run.members),
            memory_bytes=memory_bytes(run.block, len(run.outputs), len(model.states), run.members),
        )
    )


def cell_years(run: LandRun) -> list[CellYear]:
    """Year by year, so that a run that is cut has whole years."""
    blocks = spans(len(run.where.names), run.block)
    return [CellYear(year, *block) for year in range(len(run.years)) for block in blocks]


def chain_of_cells(item: CellYear) -> str:
    return str(item.cell_start)


def mean_stage(engine: Engine | Plan, name: str, land: StoreRef, run: LandRun) -> StoreRef:
    """Mean runoff of each cell."""
    cells = len(run.where.names)
    item = RunYears(run.years[0], run.years[-1])
    return engine.stage(
        Stage(
            name, ROUTE_VERSION, [item], mean_template(cells), MeanRunoff(land.url), config={},
            inputs={"land": land.digest}, seconds=2e-6 * cells * len(run.years), memory_bytes=4 * 366 * cells * 3,
        )
    )  # fmt: skip


def _river_stages(engine: Engine | Plan, run: LandRun, opened: OpenRivers, land: StoreRef) -> tuple[StoreRef, StoreRef]:
    """Mean runoff of the land, and its rivers."""
    mean = mean_stage(engine, "mean_runoff", land, run)
    cells = tuple(gauge.cell for gauge in opened.gauges)
    name = f"rivers_{opened.how.routing}"
    return mean, river_stage(engine, name, opened.how, opened.cut, cells, land, mean, run)


def river_stage(
    engine: Engine | Plan,
    name: str,
    how: Channels,
    rivers: Rivers,
    gauges: tuple[int, ...],
    land: StoreRef,
    mean: StoreRef,
    run: LandRun,
) -> StoreRef:
    """Years of the whole network, one after the other."""
    cells, members = len(rivers.network), 1 + run.members
    options = {"routing": how.routing, "velocity": how.velocity, "unrouted": how.unrouted, "gauges": gauges}
    options["boundary"] = how.boundary
    return engine.stage(
        Stage(
            name,
            ROUTE_VERSION,
            [RiverYear(year) for year in range(len(run.years))],
            route_template(rivers.network, run.years, members, gauges),
            RouteYear(how.network, land.url, mean.url, gauges, how.routing, how.velocity, how.unrouted, how.boundary),
            config=options,
            inputs={**how.inputs, "land": land.digest, "mean": mean.digest},
            chain=one_chain,
            seconds=ROUTE_SECONDS[how.routing] * cells * members,
            memory_bytes=route_memory(cells, members, how.routing),
        )
    )


def one_chain(item: RiverYear) -> str:
    return "rivers"


def speed(engine: Engine, store: StoreRef, years: int) -> dict[str, float]:
    """Of a finished stage, from its ledger: time of its workers without and with writing, and the largest of them.

    It is time by the clock: on a machine that others use too, more than the work takes.
    """
    entries = Ledger(engine.run.ledger_url(Path(store.url).name)).entries()
    return {
        "worker_seconds_per_year": seconds_of(entries) / years,
        "worker_seconds_per_year_with_writing": sum(entry.total_seconds for entry in entries) / years,
        "peak_memory_gib": max((entry.peak_memory_bytes for entry in entries), default=0) / 2**30,
    }


def _facts(config: EmulatorRunConfig, engine: Engine, run: Prepared) -> dict[str, Any]:
    years = run.land.years
    return provenance(
        data=run.data,
        split={"parameters fitted on": run.trained, "run": f"{years[0]}:{years[-1]}"},
        sample_size={"cells": len(run.where.names), "years": len(years), "members": config.ensemble},
        seed=config.seed,
        stores=engine.run.stores,
        config=config.model_dump(mode="json"),
        packages=("sciml", "numpy", "numba", "torch", "xarray", "zarr", "ray"),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 only if the run is complete."""
    return run_job(EmulatorRunConfig, job, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
