"""What a job would do, said before it does anything: items, bytes, memory and time of each stage."""

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from cluster.stages import Stage


@dataclass(frozen=True)
class PlanRow:
    """One line of a plan. seconds: work of all items together; memory_bytes: of one worker beyond an idle one."""

    name: str
    items: int
    nbytes: int
    memory_bytes: int
    seconds: float


def plan_of(stages: Sequence[Stage]) -> list[PlanRow]:
    """Rows for stages, from what they say of themselves."""
    return [PlanRow(s.name, len(s.items), _output(s), s.memory_bytes, s.seconds * len(s.items)) for s in stages]


def _output(stage: Stage) -> int:
    """Uncompressed bytes of a store; of an open-ended one, which has room for more, those of its items."""
    template = stage.template
    if not stage.open_ended:
        return template.nbytes()
    total = 0
    for item in stage.items:
        region = template.region(dataclasses.asdict(item))
        for variable in template.variables.values():
            shape = [region[dim].stop - region[dim].start for dim in variable.dims]
            total += math.prod(shape) * np.dtype(variable.dtype).itemsize
    return total


def plan_text(rows: Sequence[PlanRow], workers: int) -> str:
    """The table and its totals. Items run side by side on the workers; stages follow one another."""
    lines = [f"{'stage':<24} {'items':>7} {'output':>10} {'memory/worker':>14} {'time':>10}"]
    for row in rows:
        wall = row.seconds / max(1, min(workers, row.items))
        lines.append(
            f"{row.name:<24} {row.items:>7} {_bytes(row.nbytes):>10}"
            f" {_bytes(worker_memory(row.memory_bytes)):>14} {_seconds(wall):>10}"
        )
    wall = sum(row.seconds / max(1, min(workers, row.items)) for row in rows)
    memory = max((worker_memory(row.memory_bytes) for row in rows), default=0)
    lines.append(
        f"{'total':<24} {sum(row.items for row in rows):>7} {_bytes(sum(row.nbytes for row in rows)):>10}"
        f" {_bytes(memory):>14} {_seconds(wall):>10}   on {workers} worker{'s' if workers > 1 else ''}"
    )
    return "\n".join(lines)


def worker_memory(extra: int) -> int:
    """Peak memory of a worker: this process, which has imported the same libraries, and what its largest item holds."""
    return psutil.Process().memory_info().rss + extra


def planned_workers(executor: str, workers: int) -> int:
    """How many workers a local job would have."""
    return 1 if executor == "serial" else workers or os.cpu_count() or 1


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _seconds(number: float) -> str:
    if number < 120:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 7200 else f"{number / 3600:.1f} h"
