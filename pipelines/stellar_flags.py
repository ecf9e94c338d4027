"""The stages of flags: spectra to set and to try them on, what every method says of them, one fit to every spectrum."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from cluster.train import Training
from pipelines.stellar_task import MEMORY, Answering, Task
from sciml.core.digest import digest
from sciml.core.urls import join, write_bytes
from sciml.generated import spectra as generated
from sciml.stellar import grid, steps
from sciml.stellar.calibration_spectra import (
    CALIBRATION_VERSION,
    CalibrationSpectra,
    StrangerPoints,
    TrainErrors,
    kinds_for,
)
from sciml.stellar.config import StellarConfig
from sciml.stellar.emulator import EMULATOR_VERSION
from sciml.stellar.experiments import scored_stars
from sciml.stellar.flag_steps import FITS_VERSION, FitSpectra, fits_template
from sciml.stellar.flags import Flags, read_flags, thresholds_json
from sciml.stellar.results import Results
from sciml.stellar.strangers import KINDS

FLAGS = "flags.json"  # in the run directory: experiment -> method -> thresholds
# of one core for a spectrum of 8 x 4096 pixels; from runs of preset small
SECONDS_FIT, SECONDS_DISTANCE = 0.02, 0.3


@dataclass(frozen=True)
class FlagStores:
    """which: spectra that flags are set and tried on. fits: stores of fits to scored spectra and to these. answers:
    method -> store of what it says of these."""

    which: CalibrationSpectra
    fits: tuple[str, str]
    answers: Mapping[str, str]

    def read(self, results: Results) -> Flags:
        return read_flags(results, self.which, self.fits, self.answers)


def emulator_errors(config: StellarConfig, engine: Engine | Plan, stores: Mapping[str, StoreRef]) -> str:
    """Checkpoint of what an emulator errs by on models that it did not learn from. stores: of model spectra."""
    whole, *parted = (stores[name] for name in grid.LEARNED)
    told = [CALIBRATION_VERSION, EMULATOR_VERSION, asdict(config.emulator), whole.digest, [s.digest for s in parted]]
    training = Training(
        "emulator_errors",
        digest([*told, config.seed]),
        TrainErrors((whole.url,), tuple(store.url for store in parted), config.emulator, config.seed),
    )
    return engine.train(training, seconds=60, memory_bytes=3 * MEMORY)[0]


def flag_stores(task: Task, errors: str, answered: Mapping[str, Answering]) -> FlagStores:
    """Let every method answer for spectra of flags, and fit all. answered: method -> how it answered scored spectra."""
    config, setup, methods = task.config, task.setup, {}
    each, beyond = config.size("strangers"), config.source == "generated"
    outside = _outside(config, task.engine) if beyond else ""
    kinds = kinds_for(setup, beyond)
    which = CalibrationSpectra(setup, errors, config.size("calibration_spectra"), each, kinds, outside)
    shared = {"version": CALIBRATION_VERSION, "count": which.count, "each": each, "kinds": list(kinds)}
    for method, how in answered.items():
        methods[method] = task.stage(
            f"flag_{method}",
            CALIBRATION_VERSION,
            which.blocks(),
            steps.answers_template(len(which)),
            replace(how.function, seen=which),
            seconds=how.seconds,
            inputs={**how.inputs, **shared, "answers": steps.ANSWERS_VERSION},
        )
    started = {**answered["chi2"].inputs, "answers": steps.ANSWERS_VERSION}
    seconds, free = SECONDS_FIT + SECONDS_DISTANCE * each * len(kinds) / len(which), len(setup.experiment.free)
    fits = task.stage(
        "fits",
        FITS_VERSION,
        steps.blocks(setup),
        fits_template(len(scored_stars(setup)), free),
        FitSpectra(setup, answered["chi2"].store),
        seconds=SECONDS_FIT,
        inputs=started,
    )
    tried = task.stage(
        "flag_fits",
        FITS_VERSION,
        which.blocks(),
        fits_template(len(which), free),
        FitSpectra(setup, methods["chi2"], which),
        seconds=seconds,
        inputs={**started, **shared},
    )
    return FlagStores(which, (fits, tried), methods)


def write_flags(run_url: str, flags: Mapping[str, Flags]) -> None:
    """RUN/flags.json. flags: experiment -> its flags."""
    write_bytes(join(run_url, FLAGS), json.dumps(thresholds_json(flags), indent=1).encode())


def _outside(config: StellarConfig, engine: Engine | Plan) -> str:
    """Store of model spectra beyond the grid, of generated lines."""
    kinds = tuple(kind.name for kind in KINDS.values() if kind.outside)
    points = StrangerPoints(kinds, config.size("strangers"), config.seed)
    return engine.stage(
        Stage(
            "models_strangers",
            CALIBRATION_VERSION,
            grid.blocks(points),
            grid.template(points),
            grid.Synthesise(points, generated.LineModel(config.seed)),
            config=config.result_fields("seed"),
            inputs={"lines": generated.VERSION, "kinds": list(kinds), "each": points.each},
            seconds=grid.MODELS_PER_ITEM * 0.003,
            memory_bytes=MEMORY,
        )
    ).url
