"""The gridded part of `grace_downscale`: mascons and daily predictors to half-degree cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from pipelines import grace_report
from sciml.core.digest import fingerprint
from sciml.data.splits import Period
from sciml.generated import earth_store
from sciml.generated import world as generated
from sciml.generated.earth import EarthConfig
from sciml.grace import ingest, predictors, steps
from sciml.grace.config import GraceConfig
from sciml.grace.estimate import memory_of, seconds_of
from sciml.grace.layout import Layout, pack
from sciml.grace.steps import Problem
from sciml.grace.world import Target, World, covered_windows, open_daily, records_of

MASCONS_PER_INGEST = 512
WINDOW_BYTES = 100e6  # of members that one item of the downscaling holds


@dataclass(frozen=True)
class Outcome:
    """Stores of one target: model -> downscaled members, and the map of the best model."""

    problem: Problem
    downscaled: Mapping[str, StoreRef]


def job(config: GraceConfig, engine: Engine) -> str:
    """All stages, scores, report."""
    outcomes = {}
    for case in config.case if config.source == "generated" else ("",):
        world = _world(config, engine, case)
        layout = pack(world.mascons, config.mascons_per_item)
        fine, coarse = _predictors(world, layout, engine)
        for target in world.targets:
            problem = _problem(config, world, target, layout, fine, coarse)
            suffix = f"_{case}" if case not in ("", "different") else ""
            outcomes[target.experiment + suffix] = _downscale(config, problem, engine, fine.digest, suffix)
    if isinstance(engine, Plan):
        return ""
    return grace_report.gridded(config, engine, outcomes)


def plan(config: GraceConfig, planned: Plan) -> None:
    """Everything but the scores, which take seconds."""
    job(config, planned)


def _world(config: GraceConfig, engine: Engine | Plan, case: str) -> World:
    if config.source == "gridded":
        return _files(config, engine)
    earth = EarthConfig(seed=config.seed, tiles=config.tiles, variant=case)
    records = generated.records(earth)
    windows = earth_store.all_windows(earth, records)
    template = earth_store.template(earth, records, windows)
    stage = Stage(
        f"earth_{case}",
        1,
        earth_store.tiles(earth),
        template,
        earth_store.Simulate(earth, records, windows),
        config=config.result_fields("seed", "tiles") | {"variant": case},
        seconds=25.0,
        memory_bytes=5 * template.nbytes() // earth.tiles,
    )
    ref = engine.stage(stage)
    return generated.world(earth, ref.url, ref.digest, config.experiments, template.shards["cell"])


def _files(config: GraceConfig, engine: Engine | Plan) -> World:
    mascons = ingest.read_mascons(config.twsa)
    daily = open_daily(config.predictors, float(mascons.attrs["resolution_degrees"]))
    months, windows, said = covered_windows(daily, records_of(mascons))
    for note in filter(None, [said, *mascons.attrs.get("notes", []), *daily.attrs.get("notes", [])]):
        print(note, flush=True)
    inputs = {"twsa": fingerprint(config.twsa), "predictors": fingerprint(config.predictors)}
    ref = engine.stage(
        Stage(
            "mascons",
            1,
            ingest.blocks(mascons.sizes["mascon"], MASCONS_PER_INGEST),
            ingest.template(mascons, MASCONS_PER_INGEST),
            ingest.Ingest(config.twsa),
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


def _predictors(world: World, layout: Layout, engine: Engine | Plan) -> tuple[StoreRef, StoreRef]:
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
    function = predictors.Coarse(fine.url, layout)
    stage = Stage(f"coarse_{world.digest[:4]}", 1, layout.blocks, template, function, {}, {"predictors": fine.digest},
                  seconds=0.1, memory_bytes=2 * nbytes // len(layout.blocks))  # fmt: skip
    return fine, engine.stage(stage)


def _problem(
    config: GraceConfig, world: World, target: Target, layout: Layout, fine: StoreRef, coarse: StoreRef
) -> Problem:
    return Problem(
        name=target.name,
        series_url=world.series_url,
        twsa=target.twsa,
        uncertainty=target.uncertainty,
        coarse_url=coarse.url,
        fine_url=fine.url,
        truth_url=world.truth_url,
        names=world.names,
        months=world.months,
        windows=world.windows,
        train=Period(config.train_first, str(np.datetime64(config.train_last, "M") + 1)),
        test=Period(config.test_first, str(np.datetime64(config.test_last, "M") + 1)),
        folds=config.folds,
        layout=layout,
        seed=config.seed,
    )


def _downscale(
    config: GraceConfig, problem: Problem, engine: Engine | Plan, digest: str, suffix: str
) -> Outcome:
    """Every model's prediction, its share, and the downscaled members; the interpolation beside them."""
    name = problem.name + suffix
    common: dict[str, Any] = {
        "inputs": {"predictors": digest, "target": name},
        "config": config.result_fields("seed", "train_first", "train_last", "folds", "lags"),
    }
    downscaled = {}
    for model in ("cubic_conserved", *config.models):
        members, model_url, share_url, own = config.members, "", "", dict(common)
        if model != "cubic_conserved":
            members, function = steps.model(config, model, problem)
            own["config"] = common["config"] | {"members": members, "model": model}
            seconds, memory = seconds_of(config, problem, function), memory_of(config, problem, members)
            template = steps.prediction_template(problem, members)
            predicted = engine.stage(Stage(f"{model}_{name}", 1, problem.layout.blocks, template, function, **own,
                                           seconds=seconds, memory_bytes=memory))  # fmt: skip
            share = engine.stage(Stage(f"share_{model}_{name}", 1, [steps.Whole()], steps.share_template(
                problem.layout.mascons), steps.LearnShare(problem, predicted.url), **own, seconds=2.0))  # fmt: skip
            model_url, share_url = predicted.url, share.url
        else:
            own["config"] = common["config"] | {"members": members}
        size = max(1, int(WINDOW_BYTES / (4 * len(problem.layout.cells.parent) * members)))
        template = steps.downscaled_template(problem, members, size)
        function = steps.Downscale(problem, members, model_url, share_url)
        items = steps.window_blocks(len(problem.windows), size)
        downscaled[model] = engine.stage(Stage(f"downscaled_{model}_{name}", 1, items, template, function, **own,
                                               seconds=2.0, memory_bytes=int(3 * WINDOW_BYTES)))  # fmt: skip
    return Outcome(problem, downscaled)

