"""A job to be submitted: a step on Dask that waits to be looked at, then a stage on Ray."""

import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import xarray as xr
from pydantic import Field

from cluster.dask_session import dask_session, whole_store_step
from cluster.ray_session import executor_session
from cluster.run import open_run
from cluster.stages import run_stage
from sciml.core.config import Config
from sciml.core.errors import ScimlError
from tests.cluster.toy import Squares, stage


class SubmittedConfig(Config):
    pipeline: ClassVar[str] = "submitted"
    notes: str = Field("", description="folder: the job waits for a file `seen` in it")


def main(argv: list[str] | None = None) -> int:
    try:
        config = SubmittedConfig.parse(argv)
        with open_run(config) as run:
            with dask_session(config):
                whole_store_step(run, "ramp", 1, ramp, config={}, inputs={})
                wait_for(Path(config.notes) / "seen")
            with executor_session(config) as executor:
                run_stage(stage(config.notes, function=Squares(config.notes)), run, executor)
    except ScimlError as error:
        print(f"submitted: {error}", file=sys.stderr)
        return 2
    print("working directory:", *sorted(path.name for path in Path.cwd().iterdir()))
    return 0


def ramp() -> xr.Dataset:
    return xr.Dataset({"ramp": ("cell", np.arange(8.0), {"units": "mm"})}).chunk({"cell": 4})


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
