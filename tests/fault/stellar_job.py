"""Training and answers of `sciml` to be killed: `python -m tests.fault.stellar_job --run-dir R --executor serial`.

The stages of `stellar_parameters` up to a network's answers, with few stars; every epoch is kept, and SLOW in the
environment makes epochs and answers last as many seconds.
"""

import functools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from cluster.job import Engine, Plan, run_job
from cluster.train import Training
from pipelines import stellar_networks, stellar_task
from pipelines.stellar_grid import model_stores
from sciml.stellar import experiments, networks, steps
from sciml.stellar.config import StellarConfig

SLOW = "TESTS_SLOW_SECONDS"
WORDS = tuple("--node-step 5 --sobol-points 60 --test-points 20 --components 24 --models sciml".split())


def job(config: StellarConfig, engine: Engine) -> str:
    for task in stellar_networks.tasks_of(config, engine, model_stores(config, engine)):
        stellar_networks._answers(task)
    engine.run.write_json("metrics.json", {"created": "2026-01-01T00:00:00+00:00"})
    return "done"


def plan(config: StellarConfig, planned: Plan) -> None:
    stellar_networks.plan(config, planned)


@contextmanager
def small() -> Iterator[None]:
    """Few stars and epochs, small items, a checkpoint after each epoch, no chi-square fit."""
    made, fit, call = networks.PRESETS["generated"], networks.fit, steps.Answer.__call__
    seconds = float(os.environ.get(SLOW, "0"))
    quick = replace(made.estimating, epochs=4, spectra=2048)
    settings = replace(made, estimating=quick, drawn=120, derivatives=16, bank=500)

    def slow_fit(*given: Any, report: Any, **more: Any) -> Any:
        def told(*what: Any) -> None:
            report(*what)
            time.sleep(seconds)

        return fit(*given, report=told, **more)

    def slow_answer(answer: steps.Answer, item: steps.SpectrumBlock) -> Any:
        time.sleep(seconds)
        return call(answer, item)

    with (
        patch.dict(networks.PRESETS, {"generated": settings}),  # type: ignore[arg-type]
        patch.object(networks, "fit", slow_fit),
        patch.object(steps.Answer, "__call__", slow_answer),
        patch.object(steps, "SPECTRA_PER_ITEM", 16),
        patch.object(experiments, "ROTATIONS", 2),
        patch.object(experiments, "OTHER_SNR", (50.0,)),
        patch.object(stellar_task, "Training", functools.partial(Training, checkpoint_seconds=0.0)),
        patch.object(StellarConfig, "methods", property(lambda self: ("sciml",))),
    ):
        yield


def main(argv: list[str] | None = None) -> int:
    with small():
        return run_job(StellarConfig, job, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
