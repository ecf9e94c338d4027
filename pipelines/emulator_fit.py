"""Fit the land-surface emulator: `python pipelines/emulator_fit.py [--field value ...]`.

Each cell's parameters are fitted to what a land surface model made of its forcing; the emulator then runs freely
through years that no fit has seen, beside climatology and a linear reservoir.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # from a checkout or a submitted working directory, installed or not
    sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.job import Engine, Plan, run_job
from cluster.stages import Stage, StoreRef
from pipelines.emulator_coupled import (
    coupled,
    coupled_gauges,
    coupled_source,
    plan_coupled,
    require_network,
    table_inputs,
)
from pipelines.emulator_discharge import discharge, require_gauges
from sciml.generated import land as generated
from sciml.land import report, sensitivity, speed
from sciml.land.config import EmulatorFitConfig
from sciml.land.source import LandSource, Layout, held_bytes, layout
from sciml.land.steps import FIT_VERSION, RUN_VERSION, FitCells, RunCells, fit_template, model_for, run_template
from sciml.land.trials import Trial, trials
from sciml.report.results import write_report

# of one core, for a cell and a year of training; measured at four starts
SECONDS_PER_CELL_YEAR = {"paper": 1.5, "closed": 0.4, "sciml": 0.5, "linear_reservoir": 0.1}


@dataclass(frozen=True, eq=False)
class Work:
    """What the stages of a job share. inputs: what results depend on beside the options of a stage."""

    config: EmulatorFitConfig
    engine: Engine | Plan
    source: LandSource
    where: Layout
    inputs: Mapping[str, Any]


def job(config: EmulatorFitConfig, engine: Engine) -> str:
    """All stages, scores, report."""
    source = _source(config)
    records = source.outline()
    for note in dict.fromkeys(note for record in records for note in record.notes):
        print(note, flush=True)
    title = "Land surface, emulated"
    first = trials(config, records)[0]
    if config.experiments == ("coupled",) and config.source == "generated":
        rivers = coupled_source(config).records()
        found, trial = [coupled(config, engine)], trials(config, rivers)[0]
        facts = report.facts(config, rivers, engine.run.stores, trial)
        return write_report(engine.run.url, config.pipeline, title, found, facts)
    work = _work(config, engine, source)
    where = work.where
    scored, fitted = [], {}
    for trial in trials(config, records):
        runs, fits = _trial(work, trial)
        fitted.setdefault(trial.experiment, (fits, runs))
        scored.append(report.scored(trial, source, where, runs, fits))
    if "planted" in config.experiments:
        scored.append(_planted(work))
    fits, runs = fitted["free_run"]
    findings = report.findings(scored, source, where)
    if "discharge" in config.experiments:
        findings.append(discharge(engine, source, where, first, runs))
    if "coupled" in config.experiments:
        if config.source == "generated":
            findings.append(coupled(config, engine))
        else:
            findings.append(coupled_gauges(config, engine, source, where, first, runs))
    if "sensitivity" in config.experiments:
        warmed = {name: _warmed(work, name, fit) for name, fit in fits.items()}
        urls = [{name: store.url for name, store in stores.items()} for stores in (runs, warmed)]
        findings.append(sensitivity.finding(*urls, where, first))
    if "speed" in config.experiments:
        models = {name: model_for(name, records[0].forcing) for name in config.emulators}
        findings.append(speed.finding(models, records[0]))
    engine.run.write_json("models.json", _published(config, first, fits))
    facts = report.facts(config, records, engine.run.stores, first, len(where.names))
    return write_report(engine.run.url, config.pipeline, title, findings, facts)


def plan(config: EmulatorFitConfig, planned: Plan) -> None:
    """Fits and runs; the records are read to be counted."""
    if "coupled" in config.experiments and config.source == "generated":
        plan_coupled(config, planned)
    if config.experiments == ("coupled",) and config.source == "generated":
        return
    work = _work(config, planned, _source(config))
    for trial in trials(config, work.source.outline()):
        _trial(work, trial)
    if "planted" in config.experiments:
        _planted_stages(work)
    if "sensitivity" in config.experiments:
        for name in config.emulators:
            _warmed(work, name, StoreRef("", ""))


def _source(config: EmulatorFitConfig) -> LandSource:
    if config.source == "generated":
        return LandSource("generated", made=generated.made, settings=generated.LandConfig(config.seed))
    return LandSource(config.source, config.files, config.demand)


def _inputs(config: EmulatorFitConfig) -> Mapping[str, Any]:
    """What results depend on beside the options of a stage."""
    if config.source == "generated":
        return {"generated": [generated.VERSION, asdict(generated.LandConfig(config.seed))]}
    return {"source": config.source, "demand": config.demand, "files": table_inputs(config.files)}


def _work(config: EmulatorFitConfig, engine: Engine | Plan, source: LandSource) -> Work:
    """Raises InputError where rivers that are asked for have no gauges or network, before anything is fitted."""
    where = layout(source, config.cells_per_item)
    if "discharge" in config.experiments:
        require_gauges(source, where, trials(config, source.outline())[0])
    if "coupled" in config.experiments and config.source != "generated":
        require_network(config, source)
    return Work(config, engine, source, where, _inputs(config))


def _trial(work: Work, trial: Trial) -> tuple[dict[str, StoreRef], dict[str, StoreRef]]:
    """Fit and run every model: model -> store of its run, model -> store of its parameters."""
    runs, fits = {}, {}
    for name in work.config.emulators:
        fits[name], runs[name] = _fit_and_run(work, trial, name)
    return runs, fits


def _fit_and_run(work: Work, trial: Trial, name: str) -> tuple[StoreRef, StoreRef]:
    config, source, where = work.config, work.source, work.where
    records = source.outline()
    model = model_for(name, records[0].forcing, records[0].targets.stamp)
    scheme = config.scheme if config.scheme in model.steps else "explicit"
    years = trial.train.last - trial.train.first + 1 - len(trial.train.left_out)
    fields = config.result_fields("seed", "fit", "starts", "weights") | {
        "scheme": scheme,
        "train": asdict(trial.train),
        "parameters": [asdict(p) for p in model.parameters],
    }
    days = len(where.dates)
    label = f"_{trial.label.replace(' ', '_')}" if trial.label else ""
    fit = work.engine.stage(
        Stage(
            f"fit_{name}{label}",
            FIT_VERSION,
            where.items,
            fit_template(where, model),
            FitCells(source, name, trial.train, config.fitting_weights, scheme, config.fit, config.starts, config.seed),
            config=fields,
            inputs=work.inputs,
            seconds=SECONDS_PER_CELL_YEAR[name] * config.starts / 4 * years * where.block,
            memory_bytes=(600 << 20) + held_bytes(records),
        )
    )
    run = work.engine.stage(
        Stage(
            f"run_{name}{label}",
            RUN_VERSION,
            where.items,
            run_template(where, model),
            RunCells(source, name, fit.url, days, str(where.dates[0]), scheme),
            config={"scheme": scheme},
            inputs={**work.inputs, "fit": fit.digest},
            seconds=0.1,
            memory_bytes=(200 << 20) + held_bytes(records) + 8 * days * where.block * (len(model.outputs) + 8),
        )
    )
    return fit, run


def _warmed(work: Work, name: str, fit: StoreRef) -> StoreRef:
    """The free run of a model under a warmer sky."""
    source, where = work.source, work.where
    forcing, stamp = source.outline()[0].forcing, source.outline()[0].targets.stamp
    model, days = model_for(name, forcing, stamp), len(where.dates)
    scheme = work.config.scheme if work.config.scheme in model.steps else "explicit"
    function = RunCells(source, name, fit.url, days, str(where.dates[0]), scheme, sensitivity.WARMING)
    stage = Stage(
        f"warmed_{name}",
        RUN_VERSION,
        where.items,
        run_template(where, model),
        function,
        config={"scheme": scheme, "warming": sensitivity.WARMING},
        inputs={**work.inputs, "fit": fit.digest},
        seconds=0.1,
    )
    return work.engine.stage(stage)


def _planted_stages(work: Work) -> dict[str, tuple[LandSource, StoreRef, StoreRef]]:
    """model -> source whose truth it is, fitted parameters, free run."""
    config, found = work.config, {}
    for name in config.emulators:
        planted = generated.PlantedConfig(generated.LandConfig(config.seed), name)
        source = LandSource("planted", made=generated.made, settings=planted)
        trial = trials(config, source.records())[0]
        trial = Trial("planted", f"planted in {name}", trial.train, trial.test)
        of = replace(work, source=source, inputs={**work.inputs, "planted": name})
        found[name] = (source, *_fit_and_run(of, trial, name))
    return found


def _planted(work: Work) -> report.Scored:
    config, where, found = work.config, work.where, _planted_stages(work)
    truth = {
        name: generated.planted_theta(model_for(name, source.records()[0].forcing), where.names, config.seed)
        for name, (source, _, _) in found.items()
    }
    return report.planted(found, truth, where, trials(config, next(iter(found.values()))[0].records())[0])


def _published(config: EmulatorFitConfig, trial: Trial, fits: Mapping[str, StoreRef]) -> dict[str, Any]:
    """What `emulator_run` reads: model -> store of its parameters."""
    return {
        "source": config.source,
        "demand": config.demand,
        "demand_kind": _source(config).outline()[0].forcing.demand_kind,
        "scheme": config.scheme,
        "train": asdict(trial.train),
        "models": {name: Path(fit.url).name for name, fit in fits.items()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 only if the run is complete."""
    return run_job(EmulatorFitConfig, job, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
