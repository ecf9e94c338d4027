"""The flow of methods: emulate the model spectra, train, answer for spectra of known stars, score."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from cluster.train import Training
from pipelines import stellar_flags
from pipelines.stellar_checks import deletions, learning
from pipelines.stellar_flags import Answering
from pipelines.stellar_grid import model_stores, point_sets
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
MEMORY = 1_500_000_000


def job(config: StellarConfig, engine: Engine) -> str:
    """All experiments, and what other runs need to use the networks."""
    findings, results, flags, others, published = {}, {}, {}, [], []
    stores = model_stores(config, engine)
    setups = setups_of(config, engine, stores)
    errors_of = stellar_flags.emulator_errors(config, engine, stores)
    for setup, depends in setups:
        name = setup.experiment.name
        bound, answered, checkpoints = _answers(config, engine, setup, depends)
        results[name] = read_results(setup, {"bound": bound} | {m: store for m, (store, _) in answered.items()})
        flags[name] = stellar_flags.flag_stores(config, engine, setup, depends, errors_of, answered).read(results[name])
        settings = steps.settings_for(config.settings, setup.experiment)
        published.append(trained.trained_on(setup, settings, checkpoints, results[name].calibrations))
        found = flag_scores(flags[name], results[name], config.seed)
        looks = deletions(config, engine, setup, depends, answered)
        harm = looks.scores(config.seed)
        found = {method: keys | harm.get(method, {}) for method, keys in found.items()}
        parts = learning(config, engine, setup, depends, answered)
        curve = learning_scores(results[name], parts, resamples=page.RESAMPLES // 4, seed=config.seed)
        if curve:
            found[OURS] |= learning_keys(curve)
        findings[name] = page.finding(setup, results[name], config.seed, found)
        others.append(flag_section(name, found, flags[name]))
        others.append(page.other_snr_section(setup, results[name], findings[name], config.seed))
        others += looks.sections(config, findings[name].scores)
        if curve:
            whole, scores = seen(answered[OURS][1].function.settings), findings[name].scores
            others.append(learning_section(name, curve | {whole: scores[OURS]}, {"chi2": scores["chi2"]}))
    first = setups[0][0]
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
    setups = setups_of(config, planned, stores)
    errors_of = stellar_flags.emulator_errors(config, planned, stores)
    for setup, depends in setups:
        _, answered, _ = _answers(config, planned, setup, depends)
        stellar_flags.flag_stores(config, planned, setup, depends, errors_of, answered)
        deletions(config, planned, setup, depends, answered)
        learning(config, planned, setup, depends, answered)


def setups_of(
    config: StellarConfig, engine: Engine | Plan, stores: Mapping[str, StoreRef]
) -> list[tuple[Setup, dict[str, Any]]]:
    """Each experiment with model spectra and their emulator, and what its results depend on beside its name."""
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
        (
            Setup(
                which,
                instrument,
                *urls,
                emulator,
                config.seed,
                (nodes, test),
                config.size("calibration_spectra"),
            ),
            depends | {"experiment": asdict(which)},
        )
        for which in chosen
    ]


def _answers(
    config: StellarConfig, engine: Engine | Plan, setup: Setup, depends: Mapping[str, Any]
) -> tuple[str, dict[str, tuple[str, Answering]], dict[str, list[str]]]:
    """Train every network and let every method answer: store of bounds, method -> store of answers and how they were
    given, network -> checkpoints."""
    items, count = steps.blocks(setup), len(experiments.scored_stars(setup))
    fields, settings = config.result_fields("seed"), steps.settings_for(config.settings, setup.experiment)

    def stage(name: str, version: int, template: Any, function: Any, seconds: float, more: Mapping[str, Any]) -> str:
        return engine.stage(
            Stage(
                f"{name}_{setup.experiment.name}",
                version,
                items,
                template,
                function,
                config=fields,
                inputs={**depends, **more},
                seconds=seconds * steps.SPECTRA_PER_ITEM,
                memory_bytes=MEMORY,
            )
        ).url

    bound = stage("bound", steps.ANSWERS_VERSION, steps.bound_template(count), steps.Bound(setup), 0.03, {})
    answered: dict[str, tuple[str, Answering]] = {}
    checkpoints: dict[str, list[str]] = {}
    denoiser = ""
    for method in config.methods:
        more: dict[str, Any] = {}
        if method in NETS or method == "ridge":
            if method.startswith("dae_") and not denoiser:
                denoiser = _train(config, engine, setup, depends, DENOISER, settings)[1][0]
            behind = denoiser if method.startswith("dae_") else ""
            more["training"], checkpoints[method] = _train(config, engine, setup, depends, method, settings, behind)
        answer = steps.Answer(setup, method, settings, tuple(checkpoints.get(method, ())))
        seconds = SECONDS_ASKED.get(method, 0.02)
        store = stage(method, steps.ANSWERS_VERSION, steps.answers_template(count), answer, seconds, more)
        answered[method] = store, Answering(answer, more, seconds)
    return bound, answered, checkpoints


def _train(
    config: StellarConfig,
    engine: Engine | Plan,
    setup: Setup,
    depends: Mapping[str, Any],
    name: str,
    settings: steps.Settings,
    denoiser: str = "",
) -> tuple[str, list[str]]:
    """Digest of a training and its checkpoints."""
    if name == "ridge":
        version, told, function = RIDGE_VERSION, asdict(RidgeSettings()), steps.TrainRidge(setup, RidgeSettings())
    else:
        version, told, function = NETS_VERSION, asdict(settings), steps.TrainNetwork(setup, name, settings, denoiser)
    training = Training(
        f"{name}_{setup.experiment.name}",
        digest([version, name, told, depends, config.seed]),
        function,
        together=name not in ("ridge", OURS),
    )
    return training.digest, engine.train(training, seconds=steps.training_seconds(name, settings), memory_bytes=MEMORY)
