"""A job to be killed: `python -m tests.fault.job --run-dir R --calls DIR [--seconds S] [--executor serial]`."""

import sys
from typing import ClassVar

from pydantic import Field

from cluster.ray_session import executor_session
from cluster.run import open_run
from cluster.stages import run_stage
from sciml.core.config import Config
from sciml.core.errors import ScimlError
from tests.cluster.toy import Squares, stage


class JobConfig(Config):
    pipeline: ClassVar[str] = "fault_job"
    calls: str = Field(description="folder that counts the calls of each item")
    seconds: float = Field(0.0, description="how long an item takes")
    mascons: int = Field(24, description="two of them are an item")


def main(argv: list[str] | None = None) -> int:
    try:
        config = JobConfig.parse(argv)
        with open_run(config) as run, executor_session(config) as executor:
            function = Squares(config.calls, seconds=config.seconds)
            run_stage(stage(config.calls, count=config.mascons, function=function), run, executor)
            run.write_json("metrics.json", {"created": "2026-01-01T00:00:00+00:00"})
    except ScimlError as error:
        print(f"fault_job: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
