"""The experiment `coupled` of `emulator_fit`: one river network driven by emulated and by reference runoff.

On the generated Earth: all land of three tiles with the drainage along which model A routes its water. Emulators are
fitted on the training years alone and run freely through all of them; channels are the reference's for every driver.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from pipelines.emulator_run import (
    Channels,
    LandRun,
    cell_years,
    fit_stage,
    land_stage,
    mean_stage,
    river_stage,
)
from sciml.generated import land as generated_land
from sciml.generated import rivers as generated
from sciml.land.config import EmulatorFitConfig
from sciml.land.report import LABELS
from sciml.land.simulation import SIMULATION_VERSION, ReferenceYear, dates_of, places, template, years_of_run
from sciml.land.source import LandSource
from sciml.land.steps import Years
from sciml.land.trials import periods
from sciml.report.results import Finding
from sciml.rivers.coupled import Coupled, finding
from sciml.rivers.network import Network
from sciml.rivers.stations import Gauge
from sciml.rivers.steps import NetworkSource, cut

LEAST_AREA = 5e9  # m2 upstream of a gauge: two cells at least


def coupled(config: EmulatorFitConfig, engine: Engine) -> Finding:
    """All stages and scores."""
    network, gauges, stores, train, test = _stages(config, engine)
    reference = stores.pop("reference")
    driven = {name: store.url for name, store in stores.items()}
    trained = f"{train.first}-{train.last}"
    return finding(Coupled(reference.url, driven, network, gauges, test.first, test.last, trained), LABELS)


def plan_coupled(config: EmulatorFitConfig, planned: Plan) -> None:
    """Its stages alone."""
    _stages(config, planned)


def _stages(
    config: EmulatorFitConfig, engine: Engine | Plan
) -> tuple[Network, list[Gauge], dict[str, StoreRef], Years, Years]:
    settings = generated.RiverConfig(config.seed)
    source = LandSource("generated", made=generated.made, settings=settings)
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
        return LandRun(source, where, years, name, parameters, "explicit", ("runoff",), len(where.names),
                       seed=config.seed, inputs=inputs)  # fmt: skip

    nothing = StoreRef("", "")
    known = {"reference": _reference(engine, land("reference", nothing), None)}
    mean = mean_stage(engine, "coupled_mean_runoff", known["reference"], land("reference", nothing))
    known["climatology"] = _reference(engine, land("climatology", nothing), train)
    for name in config.emulators:
        fit = fit_stage(engine, f"coupled_fit_{name}", source, name, train, inputs, seed=config.seed,
                        starts=config.starts, weights=config.fitting_weights)  # fmt: skip
        known[name] = land_stage(engine, f"coupled_land_{name}", land(name, fit))
    stores = {
        name: river_stage(
            engine, f"coupled_rivers_{name}", routing, rivers, cells, store, mean, land("reference", nothing)
        )
        for name, store in known.items()
    }
    return rivers.network, gauges, stores, train, test


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
