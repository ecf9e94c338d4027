"""The basin part of `grace_downscale`: per-basin ensembles and a global net; years, regions, groups left out."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from cluster.train import Training
from pipelines import grace_drought, grace_flood
from sciml.core.digest import digest, fingerprint
from sciml.core.errors import InputError
from sciml.grace import ingest, search
from sciml.grace.basins import models as basin_models
from sciml.grace.basins import nets as basin_nets
from sciml.grace.basins import report
from sciml.grace.basins.models import Assemble, BasinBlock, BasinLstm, Whole
from sciml.grace.basins.nets import Net, NetItem, PredictNets, Prepared, Setup, TrainNets
from sciml.grace.basins.table import FLUXES, BasinSource
from sciml.grace.config import GraceConfig
from sciml.grace.global_lstm import GlobalTraining
from sciml.grace.gridded.lstm import NETS_VERSION
from sciml.report.results import write_report

SECONDS_PER_NET = 12.0  # measured on one core with 164 basins


def job(config: GraceConfig, engine: Engine) -> str:
    """All stages, scores, report."""
    setup, experiments, mascons = _stages(config, engine)
    ready, mascons_url = setup.prepare(), mascons.url if mascons else ""
    findings = [
        report.finding(ready, experiment, models, ref.url, mascons_url)
        for experiment, (models, ref) in experiments.items()
        if experiment.removesuffix("_region_out") in config.experiments
    ]
    if config.preset == "paper" and "basins" in config.experiments:
        models, ref = experiments["basins"]
        findings.append(report.cross_validation(ready, models, ref.url))
    if "flood" in config.experiments:
        models, ref = experiments["basins"]
        findings += grace_flood.basins(config, setup, models, ref.url, mascons_url)
    if "drought" in config.experiments:
        store = grace_drought.stage(config, engine, setup, experiments["basins"][1])
        findings.append(grace_drought.finding(config, setup, store))
    more = [report.mascon_section(config.mascons)] if mascons else []
    facts = report.facts(config, ready, engine.run.stores)
    return write_report(engine.run.url, config.pipeline, "GRACE on river basins", findings, facts, more)


def plan(config: GraceConfig, planned: Plan) -> None:
    """Everything but the scores, which take seconds."""
    setup, experiments, _ = _stages(config, planned)
    if "drought" in config.experiments:
        grace_drought.stage(config, planned, setup, experiments["basins"][1])


def _stages(
    config: GraceConfig, engine: Engine | Plan
) -> tuple[Setup, dict[str, tuple[tuple[str, ...], StoreRef]], StoreRef | None]:
    if "flood" in config.experiments:
        grace_flood.check(config)
    setup, inputs = setup_of(config)
    ready = setup.prepare()
    for note in ready.table.attrs.get("notes", []):
        print(note, flush=True)
    if "drought" in config.experiments:
        grace_drought.check(config, setup)
    mascons = _mascons(config, engine)
    if "flood" in config.experiments:
        grace_flood.check_basins(config, setup, mascons.url if mascons else "")
    fields = config.result_fields(
        "seed",
        "twsa_variable",
        "predictor_family",
        "groups",
        "folds",
        "train_first",
        "train_last",
        "test_first",
        "test_last",
    )
    if config.features:
        fields |= config.result_fields("features")
    settings = _settings(config, setup)
    urls = _models(config, engine, setup, ready, fields, inputs, settings)
    experiments = {}
    for name in _experiments(config, ready):
        models = basin_models.models_of(name, config.models)
        units = len(ready.placed) if name == "regroup" else len(ready.data.names)
        stage = Stage(
            f"members_{name}",
            3,
            [Whole(number) for number in range(len(models))],
            basin_models.members_template(name, models, units, ready.data.months),
            Assemble(setup, name, models, {key: ref.url for key, ref in urls.items()}, settings["lstm"]),
            config=fields | {"models": models, "settings": settings["lstm"]},
            inputs=inputs | {key: ref.digest for key, ref in urls.items()},
            seconds=5.0,
        )
        experiments[name] = (models, engine.stage(stage))
    return setup, experiments, mascons


def setup_of(config: GraceConfig) -> tuple[Setup, dict[str, Any]]:
    """What the experiments are about, and the files that it depends on."""
    for name in config.features:
        search.require_known("--features", name, FLUXES)
    source = BasinSource(
        config.twsa, config.twsa_variable, config.predictor_family, config.real_months, config.basin_mask
    )
    setup = Setup(
        source,
        config.train,
        config.test,
        groups=config.groups,
        folds=config.folds,
        members=config.members,
        global_members=config.global_members,
        lags=config.lags,
        seed=config.seed,
        fluxes=tuple(name for name in FLUXES if name in config.features or not config.features),
    )
    files = {"twsa": config.twsa, "real_months": config.real_months, "mask": config.basin_mask}
    inputs = {name: fingerprint(url) for name, url in files.items() if url}
    return setup, inputs


def _experiments(config: GraceConfig, ready: Prepared) -> list[str]:
    found = []
    if {"basins", "drought", "flood"} & set(config.experiments):
        found.append("basins")
        if "basins" in config.experiments and len(ready.regions):
            found.append("basins_region_out")
    if "regroup" in config.experiments:
        if ready.grouped is None:
            raise InputError(
                f"{config.basin_mask}: {len(ready.placed)} basins with storage have a place, expected more than the"
                f" {config.groups} --groups"
            )
        found.append("regroup")
    return found


def _settings(config: GraceConfig, setup: Setup) -> dict[str, dict[str, Any]]:
    """Of the ensemble of each basin and of each group, and of the global nets: of a search, or the defaults."""
    found = {
        model: search.defaults(model, setup.fluxes, config.members, config.lags, basins=True)
        for model in ("lstm", "global_lstm")
    }
    if config.search_result:
        found |= search.read_result(config.search_result, config.models, setup.fluxes, basins=True)
    return found


def _models(
    config: GraceConfig,
    engine: Engine | Plan,
    setup: Setup,
    ready: Prepared,
    fields: Mapping[str, Any],
    inputs: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, StoreRef]:
    """Stores of per-basin ensembles and of every network's predictions."""
    months, found = ready.data.months, {}
    experiments = _experiments(config, ready)
    if "lstm" in config.models and "basins" in experiments:
        count = len(ready.data.names)
        size = config.mascons_per_item
        blocks = [BasinBlock(k, min(k + size, count)) for k in range(0, count, size)]
        own = dict(fields) | config.result_fields("mascons_per_item") | {"settings": settings["lstm"]}
        template = basin_models.local_template(count, settings["lstm"]["members"], months, size)
        found["lstm"] = engine.stage(
            Stage("basin_lstm", 2, blocks, template, BasinLstm(setup, settings["lstm"]), own, inputs, seconds=5.0)
        )
    if "global_lstm" not in config.models:
        return found
    chosen = search.net_settings(settings["global_lstm"])
    wanted: dict[str, tuple[list[Net], int]] = {}
    if "basins" in experiments:
        wanted["basin_nets"] = (basin_nets.basin_nets(config.global_members, config.folds), len(ready.data.names))
    if "basins_region_out" in experiments:
        wanted["region_nets"] = (
            basin_nets.region_nets(setup.region_members, len(ready.regions)),
            len(ready.data.names),
        )
    if "regroup" in experiments and ready.grouped is not None:
        nets = basin_nets.group_nets(config.global_members, int(ready.group_region.max()) + 1)
        wanted["group_nets"] = (nets, len(ready.grouped.is_group))
    for name, (nets, units) in wanted.items():
        own = dict(fields) | {"nets": [[n.kind, n.fold, n.member, n.half] for n in nets]}
        own |= {"nets_version": NETS_VERSION, "settings": asdict(chosen.training(GlobalTraining()))}
        own |= {"net_fluxes": chosen.fluxes}
        training = Training(name, digest([own, inputs]), TrainNets(setup, tuple(nets), chosen), members=len(nets))
        checkpoints = engine.train(training, seconds=SECONDS_PER_NET, memory_bytes=int(3e8))
        function = PredictNets(setup, tuple(nets), tuple(checkpoints), chosen)
        items = [NetItem(number, number + 1) for number in range(len(nets))]
        template = basin_nets.net_template(nets, units, months)
        found[name] = engine.stage(Stage(f"predicted_{name}", 2, items, template, function, own, inputs, seconds=5.0))
    return found


def _mascons(config: GraceConfig, engine: Engine | Plan) -> StoreRef | None:
    """All land mascons of a gridded file beside the basins: trend and amplitude maps, and a ceiling."""
    if not config.mascons:
        return None
    mascons = ingest.read_mascons(config.mascons)
    size = ingest.MASCONS_PER_ITEM
    stage = Stage(
        "mascons",
        1,
        ingest.blocks(mascons.sizes["mascon"], size),
        ingest.template(mascons, size),
        ingest.Ingest(mascons),
        config={},
        inputs={"mascons": fingerprint(config.mascons)},
        seconds=1.0,
        memory_bytes=5 * mascons["twsa"].nbytes,
    )
    return engine.stage(stage)
