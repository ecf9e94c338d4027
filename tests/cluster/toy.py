"""A stage small enough to see through: item i writes i**2 over three months, if nothing stops it."""

import dataclasses
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cluster.stages import Stage
from sciml.core.config import Config
from sciml.data.stores import Template, Variable


class ToyConfig(Config):
    pipeline: ClassVar[str] = "toy"


@dataclass(frozen=True)
class Block:
    mascon_start: int
    mascon_stop: int


def config(directory: object, **values: object) -> ToyConfig:
    return ToyConfig(run_dir=str(directory), executor="serial", **values)


def stage(directory: object, count: int = 8, size: int = 2, **change: object) -> Stage:
    """count mascons in items of `size`; `directory` receives one file a call, so that tests can count calls."""
    items = [Block(start, min(start + size, count)) for start in range(0, count, size)]
    template = Template(
        sizes={"mascon": count, "month": 3},
        variables={"storage": Variable(("mascon", "month"), units="mm", valid_range=(0, 1e4))},
        shards={"mascon": size},
    )
    made = Stage("squares", 1, items, template, Squares(str(directory)), config={"power": 2})
    return dataclasses.replace(made, **change)


@dataclass(frozen=True)
class Squares:
    """The function of the stage, with planned faults: {mascon_start: (what, how often)}, counted in files."""

    directory: str
    faults: Mapping[int, tuple[str, int]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        calls = record_call(self.directory, item.mascon_start)
        what, times = self.faults.get(item.mascon_start, ("", 0))
        if calls <= times:
            if what == "raise":
                raise OSError(f"planned failure {calls}")
            if what == "die":
                os._exit(1)
            if what == "nan":
                return {"storage": np.full((item.mascon_stop - item.mascon_start, 3), np.nan)}
        time.sleep(self.seconds)
        mascons = np.arange(item.mascon_start, item.mascon_stop, dtype=float)
        return {"storage": np.repeat(mascons[:, None] ** 2, 3, axis=1)}


def record_call(directory: str, number: int) -> int:
    """Note one call in a file of its own and say how many there have been."""
    folder = Path(directory) / "calls"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number}-{time.time_ns()}-{os.getpid()}").touch()
    return len(list(folder.glob(f"{number}-*")))


def calls(directory: object) -> dict[int, int]:
    """How often each item ran."""
    counted: dict[int, int] = {}
    for path in (Path(str(directory)) / "calls").glob("*"):
        number = int(path.name.split("-")[0])
        counted[number] = counted.get(number, 0) + 1
    return counted
