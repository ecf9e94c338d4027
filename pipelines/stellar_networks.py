"""The flow of methods: emulate the model spectra, train, answer for spectra of known stars, score."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from cluster.job import Engine, Plan
from cluster.stages import StoreRef
from cluster.train import Training
from pipelines import stellar_flags
from pipelines.stellar_checks import deletions, learning
from pipelines.stellar_grid import model_stores, point_sets
from pipelines.stellar_task import Answering, Task
from sciml.core.digest import digest, fingerprint
from sciml.core.urls import absolute, exists
from sciml.report.results import write_report
from sciml.stellar import experiments, page, steps, trained
from sciml.stellar.config import StellarConfig
from sciml.stellar.emulator import EMULATOR_VERSION
from sciml.stellar.emulator_check import errors, spectra_per_second
from sciml.stellar.emulator_page import emulator_section
from sciml.stellar.experiments import Setup
from sciml.stellar.flag_page import flag_section
from sciml.stellar.flags import flag_scores
from sciml.stellar.grid import LEARNED
from sciml.stellar.learning import learning_keys, learning_scores, learning_section, seen
from sciml.stellar.networks import DENOISER, NETS, NETS_VERSION, OURS
from sciml.stellar.results import read_results
from sciml.stellar.ridge import RIDGE_VERSION, RidgeSettings

# of one core for a spectrum of 8 x 4096 pixels, asked and in training; from runs of preset small
SECONDS_ASKED = {"chi2": 0.15, "ridge": 0.002, "sciml": 0.002}


def job(config: StellarConfig, engine: Engine) -> str:
    """All experiments, and what other runs need to use the networks."""
    findings, results, flags, others, published = {}, {}, {}, [], []
    stores = model_stores(config, engine)
    tasks = tasks_of(config, engine, stores)
    errors_of = stellar_flags.emulator_errors(config, engine, stores)
    for task in tasks:
        setup, name = task.setup, task.setup.experiment.name
        bound, answered = _answers(task)
        tried = stellar_flags.flag_stores(task, errors_of, answered)
        stores_of = {method: how.store for method, how in answered.items()}
        results[name] = read_results(tried.which, bound, stores_of, tried.answers)
        flags[name] = tried.read(results[name])
        settings = steps.settings_for(config.settings, setup.experiment)
        checkpoints = {method: how.function.checkpoints for method, how in answered.items()}
        published.append(trained.trained_on(setup, settings, checkpoints, results[name].calibrations))
        found = flag_scores(flags[name], results[name], config.seed)
        looks = deletions(task, answered)
        harm = looks.scores(config.seed)
        found = {method: keys | harm.get(method, {}) for method, keys in found.items()}
        curve = learning_scores(
            results[name], learning(task, answered), resamples=page.RESAMPLES // 4, seed=config.seed
        )
        if curve:
            found[OURS] |= learning_keys(curve)
        findings[name] = page.finding(setup, results[name], config.seed, found)
        others.append(flag_section(name, found, flags[name]))
        others.append(page.other_snr_section(setup, results[name], findings[name], config.seed))
        others += looks.sections(config, findings[name].scores)
        if curve:
            whole, scores = seen(answered[OURS].function.settings), findings[name].scores
            others.append(learning_section(name, curve | {whole: scores[OURS]}, {"chi2": scores["chi2"]}))
    first = tasks[0].setup
    stellar_flags.write_flags(engine.run.url, flags)
    trained.publish(engine.run.url, config.source, first, published)
    checked = emulator_section(
        errors(first.forward(), first.test), spectra_per_second(first.forward()), _gpu_speed(first)
    )
    data = {name: getattr(config, name) for name in ("atmospheres", "linelist", "store") if getattr(config, name)}
    return write_report(
        engine.run.url,
        config.pipeline,
        "Stellar parameters from echelle spectra",
        list(findings.values()),
        page.facts(config, engine.run.stores, data, results),
        [*others, checked, *page.closing_sections(findings, first)],
    )


def _gpu_speed(setup: Setup) -> float | None:
    return spectra_per_second(setup.forward(), "cuda") if torch.cuda.is_available() else None


def plan(config: StellarConfig, planned: Plan) -> None:
    """Say what `job` would do."""
    stores = model_stores(config, planned)
    tasks = tasks_of(config, planned, stores)
    errors_of = stellar_flags.emulator_errors(config, planned, stores)
    for task in tasks:
        _, answered = _answers(task)
        stellar_flags.flag_stores(task, errors_of, answered)
        deletions(task, answered)
        learning(task, answered)


def tasks_of(config: StellarConfig, engine: Engine | Plan, stores: Mapping[str, StoreRef]) -> list[Task]:
    """Each experiment, with model spectra and their emulator."""
    experiments.spectrograph_of(config.instrument)  # refuse a bad file before any work
    instrument = absolute(config.instrument) if exists(config.instrument) else config.instrument
    points = {one.name: one for one in point_sets(config)}
    nodes, test = points["nodes"], points["test"]
    learned = [stores[name] for name in LEARNED]
    training = Training(
        "emulator",
        digest([EMULATOR_VERSION, asdict(config.emulator), [store.digest for store in learned], config.seed]),
        steps.TrainEmulator(tuple(store.url for store in learned), config.emulator, config.seed),
    )
    models = sum(len(points[name].parameters()) for name in LEARNED)
    (emulator,) = engine.train(training, seconds=120, memory_bytes=int(models * 29400 * 16 + 1e9))
    urls = stores["nodes"].url, stores["test"].url
    depends = {
        "emulator": training.digest,
        "models": [stores[points.name].digest for points in (nodes, test)],
        "spectrograph": fingerprint(config.instrument) if exists(config.instrument) else config.instrument,
    }
    chosen = [experiments.experiment(name, config.snr) for name in config.experiment]
    return [
        Task(
            config,
            engine,
            Setup(which, instrument, *urls, emulator, config.seed, (nodes, test)),
            depends | {"experiment": asdict(which)},
        )
        for which in chosen
    ]


def _answers(task: Task) -> tuple[str, dict[str, Answering]]:
    """Train every network and let every method answer: store of bounds, how each method answered."""
    setup, settings = task.setup, steps.settings_for(task.config.settings, task.setup.experiment)
    items, count = steps.blocks(setup), len(experiments.scored_stars(setup))
    bound = task.stage(
        "bound", steps.ANSWERS_VERSION, items, steps.bound_template(count), steps.Bound(setup), seconds=0.03, inputs={}
    )
    answered: dict[str, Answering] = {}
    denoiser = ""
    for method in task.config.methods:
        inputs: dict[str, Any] = {}
        checkpoints: list[str] = []
        if method in NETS or method == "ridge":
            if method.startswith("dae_") and not denoiser:
                denoiser = _train(task, DENOISER, settings)[1][0]
            behind = denoiser if method.startswith("dae_") else ""
            inputs["training"], checkpoints = _train(task, method, settings, behind)
        function = steps.Answer(setup, method, settings, tuple(checkpoints))
        seconds = SECONDS_ASKED.get(method, 0.02)
        template = steps.answers_template(count)
        store = task.stage(method, steps.ANSWERS_VERSION, items, template, function, seconds=seconds, inputs=inputs)
        answered[method] = Answering(store, function, inputs, seconds)
    return bound, answered


def _train(task: Task, name: str, settings: steps.Settings, denoiser: str = "") -> tuple[str, list[str]]:
    """Digest of a training and its checkpoints."""
    seconds = steps.training_seconds(name, settings)
    if name == "ridge":
        function, told = steps.TrainRidge(task.setup, RidgeSettings()), asdict(RidgeSettings())
        return task.train(name, RIDGE_VERSION, told, function, seconds=seconds)
    network, memory = steps.TrainNetwork(task.setup, name, settings, denoiser), steps.training_memory(name, settings)
    return task.train(name, NETS_VERSION, settings.of(name), network, seconds=seconds, memory=memory, together=True)
