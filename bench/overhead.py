"""What the platform costs: dispatch, validation, writing and ledger, as a share of a job whose items take a second.

    python bench/overhead.py [--items 24] [--item-seconds 1] [--workers 2]

The share is 1 - (work of the items) / (workers x wall time of the stage), so idle gaps between items count as cost. The
start of Ray and of its workers, once a job and not once a stage, is said apart. An item's work is a sleep, which other
processes on the machine cannot stretch, so the share is that of the platform even on a busy machine.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cluster.executors import Executor, RayExecutor, SerialExecutor
from cluster.ray_session import ray_session
from cluster.run import open_run
from cluster.stages import Stage, run_stage
from sciml.core.config import Config
from sciml.data.stores import Template, Variable

TARGET = 0.05
MASCONS, MEMBERS, MONTHS = 8, 50, 240  # of one item: a shard of 384 kB, as the ensembles write


class BenchConfig(Config):
    pipeline: ClassVar[str] = "bench_overhead"


@dataclass(frozen=True)
class Block:
    mascon_start: int
    mascon_stop: int


@dataclass(frozen=True)
class Work:
    """A second of work that needs no CPU, then arrays as large as an ensemble's."""

    seconds: float

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        values = np.random.default_rng(item.mascon_start).normal(size=(MASCONS, MEMBERS, MONTHS)).astype("float32")
        time.sleep(self.seconds)
        return {"storage": values}


def stage(items: int, seconds: float) -> Stage:
    template = Template(
        sizes={"mascon": items * MASCONS, "member": MEMBERS, "month": MONTHS},
        variables={"storage": Variable(("mascon", "member", "month"), units="mm", valid_range=(-100, 100))},
        shards={"mascon": MASCONS},
    )
    blocks = [Block(i * MASCONS, (i + 1) * MASCONS) for i in range(items)]
    return Stage("work", 1, blocks, template, Work(seconds), config={"seconds": seconds})


def overhead(items: int, seconds: float, executor: Executor) -> tuple[float, float]:
    """(wall time [s], share of it that is not the items' own work) of one stage."""
    with tempfile.TemporaryDirectory() as folder, open_run(BenchConfig(run_dir=f"{folder}/run")) as run:
        began = time.perf_counter()
        run_stage(stage(items, seconds), run, executor)
        wall = time.perf_counter() - began
    return wall, 1 - items * seconds / (executor.workers * wall)


@contextmanager
def engines(workers: int) -> Iterator[dict[str, Executor]]:
    began = time.perf_counter()
    with ray_session(BenchConfig(run_dir="-", workers=workers)):
        warm = RayExecutor(workers)
        overhead(workers, 0.0, warm)
        print(f"Ray and its workers started in {time.perf_counter() - began:.1f} s, once a job", flush=True)
        yield {"serial": SerialExecutor(), f"ray, {workers} workers": warm}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--item-seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    shares = {}
    with engines(options.workers) as executors:
        for name, executor in executors.items():
            wall, shares[name] = overhead(options.items, options.item_seconds, executor)
            print(f"{name:<16} {options.items} items of {options.item_seconds:g} s in {wall:.2f} s", flush=True)
    for name, share in shares.items():
        verdict = "within" if share <= TARGET else "ABOVE"
        print(f"platform overhead, {name}: {share:.1%} of the job, {verdict} the {TARGET:.0%} allowed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
