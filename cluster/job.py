"""The frame of every pipeline's `main`: options in, stages run or planned, one line for a mistake, an exit status."""

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import xarray as xr

from cluster.dask_session import Dask, whole_store_step
from cluster.executors import Executor
from cluster.plan import PlanRow, plan_of, plan_text, planned_workers
from cluster.ray_session import attached, executor_session
from cluster.run import Run, open_run
from cluster.stages import Stage, StoreRef, run_stage
from cluster.train import Training, train
from sciml.core.config import Config
from sciml.core.digest import digest
from sciml.core.errors import ScimlError
from sciml.core.urls import join, remove

C = TypeVar("C", bound=Config)

FAILED = 1
REFUSED = 2
INTERRUPTED = 130


@dataclass(frozen=True)
class Engine:
    """What a pipeline hands its work to. A plan has the same methods and does nothing."""

    config: Config
    run: Run
    executor: Executor
    dask: Dask

    def stage(self, stage: Stage) -> StoreRef:
        """Finish a stage: see `cluster.stages.run_stage`."""
        return run_stage(stage, self.run, self.executor)

    def step(
        self, name: str, version: int, build: Callable[[], xr.Dataset], *, inputs: Mapping[str, Any], **_: Any
    ) -> StoreRef:
        """Finish a whole-store step on Dask: see `cluster.dask_session.whole_store_step`."""
        if attached(self.config):
            self.executor.release()  # its idle workers would keep the CPUs from Dask's
        return whole_store_step(self.run, self.dask, name, version, build, config={}, inputs=inputs)

    def train(self, training: Training, **_: Any) -> list[str]:
        """Finish the members of a training: see `cluster.train.train`."""
        return train(training, self.run, self.executor)


@dataclass(frozen=True)
class Plan:
    """Stands in for `Engine`: collects what would be done."""

    config: Config
    rows: list[PlanRow] = field(default_factory=list)

    def stage(self, stage: Stage) -> StoreRef:
        self.rows.extend(plan_of([stage]))
        return StoreRef("", stage.digest)

    def step(
        self,
        name: str,
        version: int,
        build: Callable[[], xr.Dataset],
        *,
        inputs: Mapping[str, Any],
        nbytes: int = 0,
        memory_bytes: int = 0,
        seconds: float = 0.0,
    ) -> StoreRef:
        self.rows.append(PlanRow(name, 1, nbytes, memory_bytes, seconds))
        return StoreRef("", digest([name, version, inputs]))

    def train(self, training: Training, *, seconds: float = 0.0, memory_bytes: int = 0) -> list[str]:
        self.rows.append(PlanRow(training.name, training.members, 0, memory_bytes, seconds * training.members))
        return [""] * training.members

    def text(self) -> str:
        """The table for a terminal."""
        return plan_text(self.rows, planned_workers(self.config.executor, self.config.workers))


class Defect(ScimlError):
    """An error that nobody foresaw; its traceback is in the run directory."""


@contextlib.contextmanager
def _defects_said(planned: Plan) -> Iterator[None]:
    """Say an unforeseen error of a plan in one line: there is no run directory to keep its traceback."""
    try:
        yield
    except ScimlError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        reached = f"after stage {planned.rows[-1].name}" if planned.rows else "before the first stage"
        raise Defect(
            f"unforeseen {type(error).__name__} in the plan {reached}: {_one_line(error)}"
            f" ({place.filename}:{place.lineno}); this is a defect, please report it"
        ) from error


@contextlib.contextmanager
def _defects_kept(run: Run) -> Iterator[None]:
    """Put the traceback of an unforeseen error into RUN/error.log and say in one line where the job was."""
    url = join(run.url, "error.log")
    remove(url)
    try:
        yield
    except ScimlError:
        raise
    except Exception as error:
        run.write("error.log", traceback.format_exc().encode())
        reached = f"in or after stage {run.reached}" if run.reached else "before the first stage"
        raise Defect(
            f"unforeseen {type(error).__name__} {reached}: {_one_line(error)}; this is a defect, please report it with"
            f" {url}; what is finished is kept, the same command goes on from there"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def run_job(
    config_class: type[C],
    job: Callable[[C, Engine], str],
    plan: Callable[[C, Plan], None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse options, take the run directory, do the job; 0 only if it is complete, 2 for a refusal, 1 for a defect.

    job: (config, engine) -> the report's URL, printed last. plan: (config, plan) puts into the plan what would be done,
    for --dry-run, which takes no run directory and writes nothing.
    """
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stdout)
    logging.getLogger("cluster").setLevel(logging.INFO)
    try:
        config = config_class.parse(argv)
        if config.dry_run:
            planned = Plan(config)
            with _defects_said(planned):
                plan(config, planned)
            print(planned.text())
            return 0
        with (
            open_run(config) as run,
            executor_session(config) as executor,
            Dask(config) as dask,
            _defects_kept(run),
        ):
            print(job(config, Engine(config, run, executor, dask)), flush=True)
    except Defect as defect:
        print(f"{config_class.pipeline}: {defect}", file=sys.stderr, flush=True)
        return FAILED
    except ScimlError as error:
        print(f"{config_class.pipeline}: {error}", file=sys.stderr, flush=True)
        return REFUSED
    except KeyboardInterrupt:
        print(f"{config_class.pipeline}: interrupted; the same command goes on from here", file=sys.stderr, flush=True)
        return INTERRUPTED
    return 0
