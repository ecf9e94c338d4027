"""A job to be killed: `python -m tests.fault.job --run-dir R --calls DIR [--seconds S] [--executor serial]`."""

import sys
from typing import ClassVar

from pydantic import Field

from cluster.job import Engine, Plan, run_job
from sciml.core.config import Config
from tests.cluster.toy import Squares, stage


class JobConfig(Config):
    pipeline: ClassVar[str] = "fault_job"
    calls: str = Field(description="folder that counts the calls of each item")
    seconds: float = Field(0.0, description="how long an item takes")
    mascons: int = Field(24, description="two of them are an item")
    defect: bool = Field(False, description="end in an error that nobody foresaw")


def job(config: JobConfig, engine: Engine) -> str:
    function = Squares(config.calls, seconds=config.seconds)
    engine.stage(stage(config.calls, count=config.mascons, function=function))
    if config.defect:
        raise KeyError("nobody foresaw this")
    engine.run.write_json("metrics.json", {"created": "2026-01-01T00:00:00+00:00"})
    return "done"


def plan(config: JobConfig, planned: Plan) -> None:
    planned.stage(stage(config.calls, count=config.mascons))
    if config.defect:
        raise KeyError("nobody foresaw this")


def main(argv: list[str] | None = None) -> int:
    return run_job(JobConfig, job, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
