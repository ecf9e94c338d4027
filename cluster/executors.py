"""Where items run: in this process, or on Ray actors. One method each."""

import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from sciml.core.errors import ScimlError

QUEUED_PER_WORKER = 2  # one runs, one waits: no gap between items, and bounded work in flight


class Worker(Protocol):
    """What runs items: made once on each worker, then asked again and again."""

    def perform(self, task: Any) -> Any: ...


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a result, or the error's one line with its traceback."""

    task: Any
    result: Any = None
    error: str = ""
    traceback: str = ""


class Executor(Protocol):
    """Takes tasks from the queue while there are any; the consumer may append more between two outcomes."""

    workers: int

    def run(self, make_worker: Callable[[], Worker], queue: deque[Any]) -> Iterator[Outcome]: ...

    def release(self) -> None:
        """Give back what is held between two runs, for engines that need the same CPUs."""


def attempt(worker: Worker, task: Any) -> Outcome:
    """One try; the error travels as text, since not every exception survives a process boundary."""
    try:
        return Outcome(task, result=worker.perform(task))
    except ScimlError as error:  # a refusal: its line says all
        return Outcome(task, error=str(error))
    except Exception as error:
        return Outcome(task, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())


class SerialExecutor:
    """One item after another in this process."""

    workers = 1

    def run(self, make_worker: Callable[[], Worker], queue: deque[Any]) -> Iterator[Outcome]:
        worker = make_worker() if queue else None
        while queue:
            assert worker is not None
            yield attempt(worker, queue.popleft())

    def release(self) -> None:
        pass


class RayExecutor:
    """A few actors, each with two items at most; a dead actor is restarted elsewhere and its items run again.

    The actors outlive a run, since a new one takes seconds to import everything, until `release` or the end of the
    executor. Needs a Ray session. workers: how many actors. accelerators: GPUs for each, a fraction where they share
    one.
    """

    def __init__(self, workers: int, accelerators: float = 0.0) -> None:
        self.workers = workers
        self.accelerators = accelerators
        self._actors: list[Any] = []

    def run(self, make_worker: Callable[[], Worker], queue: deque[Any]) -> Iterator[Outcome]:
        import ray

        if not queue:
            return
        actors = self._some(min(self.workers, len(queue)))
        run, factory = uuid.uuid4().hex, [ray.put(make_worker)]  # in a list: fetched once an actor, not once an item
        load = [0] * len(actors)
        flying: dict[Any, tuple[int, Any]] = {}
        try:
            while queue or flying:
                while queue and min(load) < QUEUED_PER_WORKER:
                    index = load.index(min(load))
                    task = queue.popleft()
                    flying[actors[index].attempt.remote(run, factory, task)] = (index, task)
                    load[index] += 1
                ready, _ = ray.wait(list(flying), num_returns=1)
                index, task = flying.pop(ready[0])
                load[index] -= 1
                try:
                    outcome = ray.get(ready[0])
                except ray.exceptions.RayError as error:
                    lines = str(error).strip().splitlines()
                    # a worker's own error ends in its cause; of a lost worker the first line says most
                    told = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else lines[0]
                    outcome = Outcome(task, error=f"{type(error).__name__}: {told}", traceback=str(error))
                yield outcome
        finally:
            if flying:  # interrupted: what still runs must not write beside a later run
                self.release()

    def release(self) -> None:
        import ray

        while self._actors:
            ray.kill(self._actors.pop())

    def _some(self, count: int) -> list[Any]:
        import ray

        actor_class = ray.remote(
            num_cpus=1,
            num_gpus=self.accelerators,
            max_restarts=-1,
            max_task_retries=-1,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        )(_Actor)
        while len(self._actors) < count:
            self._actors.append(actor_class.remote())
        return self._actors[:count]


class _Actor:
    """Keeps the worker of the run it serves; a restarted one makes it anew."""

    def __init__(self) -> None:
        self.run = ""
        self.worker: Worker | None = None

    def attempt(self, run: str, factory: list[Any], task: Any) -> Outcome:
        import ray

        if self.worker is None or run != self.run:
            self.run, self.worker = run, ray.get(factory[0])()
        return attempt(self.worker, task)
