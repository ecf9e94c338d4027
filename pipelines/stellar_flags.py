"""The stages of flags: spectra to set and to try them on, what every method says of them, one fit to every spectrum."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from cluster.train import Training
from sciml.core.digest import digest
from sciml.core.urls import join, write_bytes
from sciml.generated import spectra as generated
from sciml.stellar import grid, steps
from sciml.stellar.config import StellarConfig
from sciml.stellar.emulator import EMULATOR_VERSION
from sciml.stellar.experiments import Setup, scored_stars
from sciml.stellar.flag_spectra import FLAGS_VERSION, FlagSpectra, StrangerModels, TrainErrors, kinds_for
from sciml.stellar.flag_steps import FITS_VERSION, FitSpectra, fits_template
from sciml.stellar.flags import Flags, read_flags, thresholds_json
from sciml.stellar.results import Results
from sciml.stellar.strangers import KINDS

FLAGS = "flags.json"  # in the run directory: experiment -> method -> thresholds
# of one core for a spectrum of 8 x 4096 pixels; from runs of preset small
SECONDS_FIT, SECONDS_DISTANCE = 0.02, 0.3
MEMORY = 1_500_000_000


@dataclass(frozen=True)
class Answering:
    """How a method answers: its stage function, what that depends on beside the setup, and seconds a spectrum."""

    function: steps.Answer
    inputs: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class FlagStores:
    """which: spectra that flags are set and tried on. fits: stores of fits to scored spectra and to these. answers:
    method -> store of what it says of these."""

    which: FlagSpectra
    fits: tuple[str, str]
    answers: Mapping[str, str]

    def read(self, results: Results) -> Flags:
        return read_flags(results, self.which, self.fits, self.answers)


def emulator_errors(config: StellarConfig, engine: Engine | Plan, stores: Mapping[str, StoreRef]) -> str:
    """Checkpoint of what an emulator errs by on models that it did not learn from. stores: of model spectra."""
    whole, *parted = (stores[name] for name in grid.LEARNED)
    told = [FLAGS_VERSION, EMULATOR_VERSION, asdict(config.emulator), whole.digest, [s.digest for s in parted]]
    training = Training(
        "emulator_errors",
        digest([*told, config.seed]),
        TrainErrors((whole.url,), tuple(store.url for store in parted), config.emulator, config.seed),
    )
    return engine.train(training, seconds=60, memory_bytes=3 * MEMORY)[0]


def flag_stores(
    config: StellarConfig,
    engine: Engine | Plan,
    setup: Setup,
    depends: Mapping[str, Any],
    errors: str,
    answered: Mapping[str, tuple[str, Answering]],
) -> FlagStores:
    """Let every method answer for spectra of flags, and fit all. answered: method -> its answers to scored spectra."""
    each, beyond = config.size("strangers"), config.source == "generated"
    outside = _outside(config, engine) if beyond else ""
    kinds = kinds_for(setup, beyond)
    which = FlagSpectra(setup, errors, config.size("flag_spectra"), each, kinds, outside)
    name = setup.experiment.name
    shared = {"version": FLAGS_VERSION, "count": which.count, "each": each, "kinds": list(kinds)}

    def stage(what: str, version: int, items: Any, template: Any, function: Any, seconds: float, inputs: Any) -> str:
        return engine.stage(
            Stage(
                f"{what}_{name}", version, items, template, function, config=config.result_fields("seed"),
                inputs={**depends, **inputs}, seconds=seconds * steps.SPECTRA_PER_ITEM, memory_bytes=MEMORY,
            )
        ).url  # fmt: skip

    answers = {}
    for method, (_, how) in answered.items():
        inputs = {**how.inputs, **shared, "answers": steps.ANSWERS_VERSION}
        function = replace(how.function, seen=which)
        answers[method] = stage(
            f"flag_{method}",
            FLAGS_VERSION,
            which.blocks(),
            steps.answers_template(len(which)),
            function,
            how.seconds,
            inputs,
        )
    free = len(setup.experiment.free)
    fits = []
    for what, seen, items, store in (
        ("fits", None, steps.blocks(setup), answered["chi2"][0]),
        ("flag_fits", which, which.blocks(), answers["chi2"]),
    ):
        count = len(which) if seen else len(scored_stars(setup))
        seconds = SECONDS_FIT + (SECONDS_DISTANCE * each * len(kinds) / count if seen else 0.0)
        inputs = {**answered["chi2"][1].inputs, "answers": steps.ANSWERS_VERSION, **(shared if seen else {})}
        function = FitSpectra(setup, store, seen)
        fits.append(stage(what, FITS_VERSION, items, fits_template(count, free), function, seconds, inputs))
    return FlagStores(which, (fits[0], fits[1]), answers)


def write_flags(run_url: str, flags: Mapping[str, Flags]) -> None:
    """RUN/flags.json. flags: experiment -> its flags."""
    write_bytes(join(run_url, FLAGS), json.dumps(thresholds_json(flags), indent=1).encode())


def _outside(config: StellarConfig, engine: Engine | Plan) -> str:
    """Store of model spectra beyond the grid, of generated lines."""
    kinds = tuple(kind.name for kind in KINDS.values() if kind.outside)
    models = StrangerModels(kinds, config.size("strangers"), config.seed, generated.LineModel(config.seed))
    return engine.stage(
        Stage(
            "models_strangers",
            FLAGS_VERSION,
            grid.blocks(models),
            grid.template(models),
            models,
            config=config.result_fields("seed"),
            inputs={"lines": generated.VERSION, "kinds": list(kinds), "each": models.each},
            seconds=grid.MODELS_PER_ITEM * 0.003,
            memory_bytes=MEMORY,
        )
    ).url
