"""A training to be killed: `python -m tests.fault.training_job --run-dir R --calls DIR`."""

import sys
from pathlib import Path

from cluster.ray_session import executor_session
from cluster.run import open_run
from cluster.train import train
from sciml.core.errors import ScimlError
from tests.cluster.trainings import training
from tests.fault.job import JobConfig


def main(argv: list[str] | None = None) -> int:
    try:
        config = JobConfig.parse(argv)
        Path(config.calls).mkdir(exist_ok=True)
        with open_run(config) as run, executor_session(config) as executor:
            train(training(config.calls, config={"seconds": config.seconds}), run, executor)
    except ScimlError as error:
        print(f"training_job: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
