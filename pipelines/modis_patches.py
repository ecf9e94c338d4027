"""The flow of patches: split, train, super-resolve, calibrate, score."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from cluster.job import Engine, Plan
from cluster.run import Run
from cluster.stages import Stage
from cluster.train import Training
from sciml.core.digest import digest, fingerprint
from sciml.core.urls import exists, join, write_bytes
from sciml.generated import scenes
from sciml.modis import report
from sciml.modis.config import OF_PATCHES, ModisConfig, networks_of, without_places
from sciml.modis.networks import NETS_VERSION, OURS, WITH_MEMORY
from sciml.modis.scale import scale_law_or_none
from sciml.modis.search import looked_at
from sciml.modis.setup import TEST_PATCHES, PatchSource, Prepared, Setup, listed
from sciml.modis.sharpen import MODELS
from sciml.modis.spread import SpreadScale
from sciml.modis.steps import ANSWERS_VERSION, Estimate, TrainNetwork, blocks, template
from sciml.report.page import Section
from sciml.report.results import Finding, write_report

SHARES = (0.125, 0.25, 0.5)  # of the training images, for a learning curve
WINDOWS, DATES = 36, 12  # of the generated scenes
SCENES_VERSION = 1  # raise it where the same seed gives other scenes
SECONDS_PER_IMAGE = {"mrunet": 0.05, "vdsr": 0.05, "dmcn": 0.05, "sciml": 0.02, "sciml_place": 0.02}
# of one core for an image in training at width 64; from runs of preset small
SECONDS_PER_STEP_IMAGE = {"mrunet": 0.17, "vdsr": 0.07, "dmcn": 0.1, "sciml": 0.003, "sciml_place": 0.003}


def job(config: ModisConfig, engine: Engine) -> str:
    """All experiments, and what other runs need to use the networks."""
    sources = _sources(config, engine.run)
    findings, prepared, published = [], {}, {}
    for experiment in config.experiments:
        setup = _setup(config, sources, experiment)
        images = prepared[experiment] = _prepared(config, setup)
        stores, checkpoints = _stages(config, engine, setup, images)
        for line in images.notes:
            print(line, flush=True)
        found, scales = report.answers(images, stores)
        findings.append(report.finding(setup, images, found))
        published[experiment] = _published(config, setup, checkpoints, scales)
    more = [_curve(config, engine, sources, findings[0], prepared)] if config.learning_curve else []
    source = max(published, key=OF_PATCHES.index)  # the one that leaves least out of training, but for leaks
    engine.run.write_json(MODELS, {"experiment": source, **published[source]})
    names = ("patches", "ndvi", "test_patches", "test_ndvi")
    urls = (sources[0].patches, sources[0].ndvi, sources[1].patches, sources[1].ndvi)
    data = {name: url for name, url in zip(names, urls, strict=True) if url and exists(url)}
    facts = report.facts(config, engine.run.stores, data, prepared)
    return write_report(engine.run.url, config.pipeline, "Land surface temperature, sharpened", findings, facts, more)


def searched(config: ModisConfig, run: Run) -> tuple[Setup, Mapping[str, Any]]:
    """The split whose training images a search uses, and what its scores depend on beside options."""
    setup = _setup(config, _sources(config, run), "place_split")
    return setup, _trained_on(config, setup, setup.prepare())


def plan(config: ModisConfig, planned: Plan) -> None:
    """Trainings and stages; generated scenes are made to be counted."""
    with tempfile.TemporaryDirectory() as folder:
        sources = _generated(config, folder) if config.source == "generated" else _files(config)
        for experiment in config.experiments:
            setup = _setup(config, sources, experiment)
            _stages(config, planned, setup, setup.prepare())
        for share in SHARES if config.learning_curve else ():
            setup = replace(_setup(config, sources, config.experiments[0]), share=share)
            _stages(config, planned, setup, setup.prepare(), networks_of(config.methods))


def _prepared(config: ModisConfig, setup: Setup) -> Prepared:
    """With a word on what a search has already seen of the test, where its result is taken."""
    prepared = setup.prepare()
    if not (config.search_result and {OURS, WITH_MEMORY} & set(config.methods)):
        return prepared
    return replace(prepared, notes=(*prepared.notes, *looked_at(config.search_result, setup, prepared)))


def _curve(
    config: ModisConfig,
    engine: Engine,
    sources: tuple[PatchSource, PatchSource],
    whole: Finding,
    prepared: Mapping[str, Prepared],
) -> Section:
    """Scores of the networks of the first experiment when trained on SHARES of its images."""
    experiment = whole.experiment
    networks = tuple(name for name in networks_of(config.methods) if name in whole.scores)
    sizes = {len(prepared[experiment].train): whole.scores}
    for share in SHARES:
        setup = replace(_setup(config, sources, experiment), share=share)
        images = setup.prepare()
        stores, _ = _stages(config, engine, setup, images, networks)
        sizes[len(images.train)] = report.scores_of(setup, images, report.answers(images, stores)[0])
    return report.curve_section(experiment, networks, sizes, whole.scores)


def _setup(config: ModisConfig, sources: tuple[PatchSource, PatchSource], experiment: str) -> Setup:
    test = sources[1] if experiment == TEST_PATCHES else PatchSource("")
    return Setup(experiment, sources[0], test, config.factor, config.degradation, config.seed)


def _files(config: ModisConfig) -> tuple[PatchSource, PatchSource]:
    return PatchSource(config.patches, config.ndvi), PatchSource(config.test_patches, config.test_ndvi)


def _sources(config: ModisConfig, run: Run) -> tuple[PatchSource, PatchSource]:
    """Patches to train on and patches that only test; generated ones are written into the run once."""
    return _generated(config, join(run.url, "scenes")) if config.source == "generated" else _files(config)


def _generated(config: ModisConfig, folder: str) -> tuple[PatchSource, PatchSource]:
    """The generated scenes of this seed as files; there are no patches that only test."""
    urls = [join(folder, f"{name}-v{SCENES_VERSION}-{config.seed}.nc") for name in ("patches", "ndvi")]
    if not all(map(exists, urls)):
        with tempfile.TemporaryDirectory() as here:
            paths = [Path(here) / Path(url).name for url in urls]
            scenes.write_patches(scenes.scenes(WINDOWS, DATES, seed=config.seed), *paths)
            for path, url in zip(paths, urls, strict=True):
                write_bytes(url, path.read_bytes())
    return PatchSource(*urls), PatchSource("")


def _content(config: ModisConfig, source: PatchSource) -> list[Any]:
    """Of files; a NetCDF file of generated scenes differs in its bytes from time to time, but not in its scenes."""
    if config.source == "generated":
        return [SCENES_VERSION, WINDOWS, DATES, config.seed]
    return [fingerprint(url) if url and exists(url) else "" for url in (source.patches, source.ndvi)]


def _trained_on(config: ModisConfig, setup: Setup, prepared: Prepared) -> dict[str, Any]:
    """What a training depends on beside options: its images. Test patches keep some out and are not read otherwise."""
    return {
        "experiment": setup.name,
        "patches": _content(config, setup.source),
        "images": listed(prepared.train),
    }


def _answered_from(config: ModisConfig, setup: Setup, prepared: Prepared) -> dict[str, Any]:
    """What answers depend on beside options and networks: the images that are asked for, and those of a memory."""
    return _trained_on(config, setup, prepared) | {
        "test_patches": _content(config, setup.test),
        "asked": listed(prepared.estimated),
    }


def _stages(
    config: ModisConfig,
    engine: Engine | Plan,
    setup: Setup,
    prepared: Prepared,
    methods: tuple[str, ...] | None = None,
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Train every network and let every method super-resolve: method -> store's URL, network -> checkpoints."""
    images, fields = prepared.estimated, config.result_fields("factor", "degradation", "seed")
    held = (
        (2 * len(prepared.train) + 2 * len(images)) * 4 * images.lst[0].nbytes
    )  # with guides, and once more as tensors
    stores, checkpoints = {}, {}
    # places that nobody has seen cannot be remembered
    seen = np.isin(prepared.test.window, prepared.train.window).any()
    known = config.methods if seen else without_places(config.methods)
    for name in known if methods is None else methods:
        settings = None
        depends = _answered_from(config, setup, prepared)
        if name in networks_of(config.methods):
            settings = config.settings(name)
            training = Training(
                f"{name}_{setup.name}",
                digest([NETS_VERSION, name, asdict(settings), fields, _trained_on(config, setup, prepared)]),
                TrainNetwork(setup, name, settings),
                members=settings.members,
                together=settings.members == 1,
            )
            count = len(prepared.train)
            checkpoints[name] = engine.train(
                training,
                seconds=count * settings.of(count).epochs * SECONDS_PER_STEP_IMAGE[name] * (settings.width / 64) ** 2,
                memory_bytes=int(held + 1e9),
            )
            depends["training"] = training.digest
        stage = Stage(
            f"{name}_answers_{setup.name}",
            ANSWERS_VERSION,
            blocks(len(images)),
            template(images.lst.shape),
            Estimate(setup, name, settings, tuple(checkpoints.get(name, ()))),
            config=fields,
            inputs=depends,
            seconds=64 * SECONDS_PER_IMAGE.get(name, 0.005),
            memory_bytes=int(held + 5e8),
        )
        stores[name] = engine.stage(stage).url
    return stores, checkpoints


def _published(
    config: ModisConfig, setup: Setup, checkpoints: Mapping[str, list[str]], scales: Mapping[str, SpreadScale]
) -> dict[str, Any]:
    """Networks that need no memory of places, every method's calibration, and how detail of NDVI goes with scale."""
    train = setup.prepare().train
    law, names = scale_law_or_none(train), without_places(tuple(scales))
    return {
        "factor": setup.factor,
        "degradation": setup.degradation,
        "fine_pixel_m": train.fine_pixel_m,
        "networks": {
            name: {
                "settings": asdict(config.settings(name)),
                "checkpoints": [url.rsplit("/", 1)[-1] for url in checkpoints[name]],
            }
            for name in names
            if name in checkpoints
        },
        "spread": {name: asdict(scales[name]) for name in names},
        "scale_law": None if law is None else asdict(law),
    }
