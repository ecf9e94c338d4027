"""The gridded part of `grace_downscale`: mascons and daily predictors to half-degree cells."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from cluster.train import Training
from pipelines import grace_flood
from sciml.core.digest import digest, fingerprint
from sciml.core.errors import InputError
from sciml.core.urls import join
from sciml.data.stores import open_store
from sciml.generated import earth_store
from sciml.generated import world as generated
from sciml.generated.earth import EarthConfig
from sciml.grace import ingest, search
from sciml.grace.config import GraceConfig
from sciml.grace.downscale import Cells
from sciml.grace.gridded import estimate, lstm, predictors, product, report, ridge, steps
from sciml.grace.gridded.layout import Block, Layout, pack
from sciml.grace.gridded.product import Basins
from sciml.grace.gridded.report import Results
from sciml.grace.gridded.steps import LocalLstm, Problem
from sciml.grace.gridded.world import Target, World, covered_windows, open_predictors, records_of, with_predictors
from sciml.report.results import write_report

MAP_ROWS = 24
TOTAL_STORAGE = ("synthetic_t2", "downscale")  # experiments whose storage is all of the water, as floods need it
WINDOW_BYTES = 100e6  # of members that one item of the downscaling holds


def job(config: GraceConfig, engine: Engine) -> str:
    """All stages, scores, report."""
    flood = "flood" in config.experiments
    if flood:
        grace_flood.check(config)
    planted = grace_flood.planted(config, engine) if flood and config.source == "generated" else None
    outcomes: dict[str, tuple[Results, dict[str, StoreRef]]] = {}
    for case in config.case if config.source == "generated" else ("",):
        world = _world(config, engine, case)
        layout = pack(world.mascons, config.mascons_per_item)
        basins_of(config, layout.cells)  # a bad mask is refused before any work
        fine, coarse = _predictors(config, world, layout, engine)
        for target in world.targets:
            problem = problem_of(config, world, target, layout, fine, coarse)
            if flood and target.experiment in TOTAL_STORAGE and not isinstance(engine, Plan):
                grace_flood.check_cells(config, problem, planted.url if planted else "")
            suffix = f"_{case}" if case not in ("", "different") else ""
            outcomes[target.experiment + suffix] = _downscale(
                config, problem, engine, coarse.digest, suffix, world.climate
            )
    if isinstance(engine, Plan):
        return ""
    findings = []
    for experiment, (results, downscaled) in outcomes.items():
        if not experiment.startswith(config.experiments):
            continue
        table, scores = report.score(experiment, results)
        members = downscaled[report.best(scores, results)]
        problem = results.problem
        basins = basins_of(config, problem.layout.cells)
        mapped = engine.stage(map_stage(f"map_{experiment}", problem, members))
        seen = np.isfinite(problem.anomaly())
        means = engine.stage(basin_stage(f"basins_{experiment}", problem, basins, members, seen))
        product.write_netcdf(mapped.url, join(engine.run.url, f"{experiment}.nc"))
        several = f"_{experiment}" if len(outcomes) > 1 else ""
        product.write_netcdf(means.url, join(engine.run.url, f"basin_means{several}.nc"))
        if config.preset == "paper":
            findings.append(report.cross_validation(experiment, results))
        findings.append(report.finding(experiment, results, table, scores, basins, means.url))
    if flood:
        total = next(results for name, (results, _) in outcomes.items() if name.startswith(TOTAL_STORAGE))
        findings += grace_flood.cells(config, total, planted.url if planted else "")
    facts = report.facts(config, results.problem, engine.run.stores)
    return write_report(engine.run.url, config.pipeline, "GRACE downscaling", findings, facts)


def first_problem(config: GraceConfig, engine: Engine | Plan) -> tuple[Problem, str]:
    """The first task of the job without its downscaling, and the digest of its predictors: what a search works on."""
    world = _world(config, engine, config.case[0] if config.source == "generated" else "")
    layout = pack(world.mascons, config.mascons_per_item)
    fine, coarse = _predictors(config, world, layout, engine)
    return problem_of(config, world, world.targets[0], layout, fine, coarse), coarse.digest


def plan(config: GraceConfig, planned: Plan) -> None:
    """Everything but the scores, which take seconds."""
    job(config, planned)


def _world(config: GraceConfig, engine: Engine | Plan, case: str) -> World:
    if config.source == "gridded":
        return _files(config, engine)
    size = config.result_fields("seed", "tiles", "mascon_rows", "mascon_columns")
    earth = EarthConfig(**size, variant=case)
    records = generated.records(earth)
    windows = earth_store.all_windows(earth, records)
    template = earth_store.template(earth, records, windows)
    stage = Stage(
        f"earth_{case}",
        1,
        earth_store.tiles(earth),
        template,
        earth_store.Simulate(earth, records, windows),
        config=size | {"variant": case},
        seconds=8.0,
        memory_bytes=5 * template.nbytes() // (2 * earth.tiles),
    )
    ref = engine.stage(stage)
    wanted = (*config.experiments, *(TOTAL_STORAGE if "flood" in config.experiments else ()))
    return generated.world(earth, ref.url, ref.digest, wanted, template.shards["cell"])


def _files(config: GraceConfig, engine: Engine | Plan) -> World:
    mascons = ingest.read_mascons(config.twsa)
    daily = open_predictors(config.predictors, float(mascons.attrs["resolution_degrees"]))
    mascons = with_predictors(mascons, daily)
    months, windows, said = covered_windows(daily, records_of(mascons))
    for note in filter(None, [said, *mascons.attrs.get("notes", []), *daily.attrs.get("notes", [])]):
        print(note, flush=True)
    inputs = {"twsa": fingerprint(config.twsa), "predictors": fingerprint(config.predictors)}
    ref = engine.stage(
        Stage(
            "mascons",
            1,
            ingest.blocks(mascons.sizes["mascon"], ingest.MASCONS_PER_ITEM),
            ingest.template(mascons, ingest.MASCONS_PER_ITEM),
            ingest.Ingest(mascons),
            config={},
            inputs=inputs,
            seconds=3.0,
            memory_bytes=3 * mascons["twsa"].nbytes,
        )
    )
    return World(
        mascons=mascons,
        records=records_of(mascons),
        names=tuple(map(str, daily.data_vars)),
        months=months,
        windows=windows,
        daily=lambda: daily,
        series_url=ref.url,
        digest=ref.digest,
        targets=(Target("twsa", "downscale", "twsa", "twsa_uncertainty"),),
    )


def _predictors(config: GraceConfig, world: World, layout: Layout, engine: Engine | Plan) -> tuple[StoreRef, StoreRef]:
    """Window means of cells (Dask, the whole store) and of mascons (a stage)."""
    inputs = {"world": world.digest, "layout": layout.mascons_per_item}
    windows = len(world.months) + len(world.records)
    nbytes = 4 * len(layout.parent) * windows * len(world.names)
    fine = engine.step(
        f"predictors_{world.digest[:4]}",
        1,
        lambda: predictors.packed_windows(world.daily(), layout, world.months, world.records),
        inputs=inputs,
        nbytes=nbytes,
        memory_bytes=nbytes // len(layout.blocks),
        seconds=nbytes / 20e6,
    )
    template = predictors.coarse_template(world.names, layout, len(world.months), len(world.records))
    function = predictors.Coarse(fine.url, layout, config.smoothing_km)
    stage = Stage(
        f"coarse_{world.digest[:4]}",
        2,
        layout.blocks,
        template,
        function,
        config=config.result_fields("smoothing_km"),
        inputs={"predictors": fine.digest},
        seconds=0.5,
        memory_bytes=2 * nbytes // len(layout.blocks),
    )
    return fine, engine.stage(stage)


def problem_of(
    config: GraceConfig, world: World, target: Target, layout: Layout, fine: StoreRef, coarse: StoreRef
) -> Problem:
    problem = Problem(
        name=target.name,
        series_url=world.series_url,
        twsa=target.twsa,
        uncertainty=target.uncertainty,
        coarse_url=coarse.url,
        fine_url=fine.url,
        truth_url=world.truth_url,
        names=_features(config, world),
        months=world.months,
        windows=world.windows,
        train=config.train,
        test=config.test,
        folds=config.folds,
        layout=layout,
        seed=config.seed,
    )
    for period, records in (("train", problem.trained), ("test", problem.tested)):
        if not records.any():
            raise InputError(
                f"--{period}-first: no GRACE record with predictors in the {period} period; predictors cover"
                f" {world.months[0]} to {world.months[-1]}"
            )
    return problem


def _features(config: GraceConfig, world: World) -> tuple[str, ...]:
    for name in config.features:
        search.require_known("--features", name, world.names)
    return tuple(name for name in world.names if name in config.features or not config.features)


def _downscale(
    config: GraceConfig, problem: Problem, engine: Engine | Plan, digest: str, suffix: str, climate: Sequence[str]
) -> tuple[Results, dict[str, StoreRef]]:
    """Every model's prediction, its share, and the downscaled members; the interpolation beside them."""
    name = problem.name + suffix
    inputs = {"predictors": digest, "target": name}
    fields = config.result_fields("seed", "train_first", "train_last", "folds")
    found = {
        "cubic_conserved": _members(problem, engine, "cubic_conserved", name, config.members, inputs, fields, "", "")
    }
    predictions, shares = {}, {}
    searched = search.read_result(config.search_result, config.models, problem.names) if config.search_result else {}
    for model in config.models:
        own = fields | {"model": model} | config.result_fields(*MODEL_FIELDS[model])
        if model != "ridge":
            default = search.defaults(model, problem.names, config.members, config.lags)
            own |= {"settings": searched.get(model, default)}
        elif config.features:
            own |= config.result_fields("features")
        if model == "global_lstm":
            own |= {"nets_version": lstm.NETS_VERSION}
        members, function = model_of(config, problem, engine, model, name, inputs, own, own.get("settings"))
        predicted = engine.stage(
            Stage(
                f"{model}_{name}",
                2,
                problem.layout.blocks,
                steps.prediction_template(problem, members, function if isinstance(function, LocalLstm) else None),
                function,
                config=own,
                inputs=inputs,
                seconds=estimate.seconds_of(config, problem, function) if isinstance(engine, Plan) else 0.0,
                memory_bytes=estimate.memory_of(config, problem, members),
            )
        )
        template, learn = steps.share_template(problem.layout.mascons), steps.LearnShare(problem, predicted.url)
        of_model = inputs | {"model": predicted.digest}
        share = engine.stage(
            Stage(f"share_{model}_{name}", 1, [steps.FitItem()], template, learn, own, of_model, seconds=0.2)
        )
        predictions[model], shares[model] = predicted, share
        urls = (predicted.url, share.url)
        found[model] = _members(problem, engine, model, name, members, of_model | {"share": share.digest}, own, *urls)
    return Results(problem, _urls(predictions), _urls(shares), _urls(found), climate), found


def _urls(refs: Mapping[Any, StoreRef]) -> dict[str, str]:
    return {model: ref.url for model, ref in refs.items()}


MODEL_FIELDS = {"lstm": ("members", "lags"), "global_lstm": ("global_members",), "ridge": ("members",)}


def model_of(
    config: GraceConfig,
    problem: Problem,
    engine: Engine | Plan,
    model: str,
    name: str,
    inputs: Mapping[str, Any],
    own: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
) -> tuple[int, Callable[[Block], Any]]:
    """Members of a model and its stage function; the global LSTM is trained first.

    own: configuration of the stage; settings: of the network, the defaults where an older run recorded none.
    """
    if model == "ridge":
        return config.members, ridge.PredictRidge(problem, config.members)
    settings = settings or search.defaults(model, problem.names, config.members, config.lags)
    problem = replace(problem, names=search.names_of(settings))
    if model == "lstm":
        local = search.local_config(settings)
        return local.members, steps.LocalLstm(problem, local, int(settings["lags"]))
    chosen = search.global_settings(settings)
    train = lstm.TrainGlobal(problem, config.global_members, chosen)
    training = Training(f"global_lstm_{name}", digest([own, inputs]), train, members=train.total)
    checkpoints = engine.train(training, seconds=estimate.seconds_of_net(problem), memory_bytes=int(1e8))
    return config.global_members, lstm.PredictGlobal(problem, config.global_members, tuple(checkpoints), chosen)


def _members(
    problem: Problem,
    engine: Engine | Plan,
    model: str,
    name: str,
    members: int,
    inputs: Mapping[str, Any],
    own: Mapping[str, Any],
    model_url: str,
    share_url: str,
) -> StoreRef:
    """The downscaled members of all cells."""
    size = windows_per_item(problem, members)
    windows = min(size, len(problem.windows))
    return engine.stage(
        Stage(
            f"downscaled_{model}_{name}",
            1,
            steps.window_blocks(len(problem.windows), size),
            steps.downscaled_template(problem, members, size),
            steps.Downscale(problem, members, model_url, share_url),
            config=dict(own) | {"members": members},
            inputs=inputs,
            seconds=estimate.seconds_of_windows(problem, members, windows),
            memory_bytes=estimate.memory_of_windows(problem, members, windows),
        )
    )


def windows_per_item(problem: Problem, members: int) -> int:
    """Windows of all cells' members that one item of the downscaling holds."""
    return max(1, int(WINDOW_BYTES / (4 * len(problem.layout.cells.parent) * members)))


def map_stage(name: str, problem: Problem, members: StoreRef) -> Stage:
    """The product: one model's cells on a map."""
    windows, grid = problem.windows, product.map_grid(problem.layout.cells)
    template = product.template(grid, windows.start, windows.end, windows.observed, MAP_ROWS)
    function = product.ToMap(members.url, grid)
    return Stage(name, 1, product.bands(grid, MAP_ROWS), template, function, {}, {"store": members.digest})


def basins_of(config: GraceConfig, cells: Cells) -> Basins:
    """The basins whose means are wanted: of a mask, or each mascon."""
    return product.basins_of_mask(config.basin_mask, cells) if config.basin_mask else product.basins_of_mascons(cells)


def basin_stage(name: str, problem: Problem, basins: Basins, members: StoreRef, seen: np.ndarray) -> Stage:
    """Means of basins with the sigma of the members. seen: (mascon, window) bool, where GRACE saw the mascon."""
    windows, store = problem.windows, open_store(members.url)
    size = store["twsa_member"].encoding["chunks"][-1]
    return Stage(
        name,
        1,
        [product.Span(k, min(k + size, len(windows))) for k in range(0, len(windows), size)],
        product.basin_template(basins, store.sizes["member"], windows.start, windows.end, size),
        product.ToBasins(members.url, basins, problem.layout.cells, seen),
        config={},
        inputs={"store": members.digest, "basins": digest([basins.names.tolist(), basins.member.tolist()])},
    )
