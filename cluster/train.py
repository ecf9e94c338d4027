"""Networks trained through Ray Train, or in this process: one checkpoint a member, the same wherever it is made.

A worker's state lies in files of our own beside the run, never in Ray's: a worker that is restarted, a driver that was
killed and a serial run all resume from the same checkpoint. Members of an ensemble are dealt out to the workers, each
trained as if alone (the same bits for any number of workers on one machine type); a network too large for that is
trained by all workers together, with gradients averaged by DistributedDataParallel.
"""

import contextlib
import json
import logging
import math
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from cluster.executors import Executor, RayExecutor
from cluster.ledger import Entry, Ledger, item_key
from cluster.progress import Progress
from cluster.run import Run
from cluster.threads import OneThread
from sciml.core.errors import RunError, ScimlError
from sciml.core.urls import exists, join, list_sizes, read_bytes, remove, write_bytes
from sciml.nn.checkpoint import load_checkpoint, save_checkpoint

log = logging.getLogger(__name__)

State = dict[str, Any]
CHECKPOINTS = "checkpoints"  # folder of a run
WATCH_S = 5.0


def _bare(model: nn.Module) -> nn.Module:
    return model


@dataclass(frozen=True)
class Place:
    """What an engine lends to one training, in the words of `sciml.nn.training.fit`."""

    report: Callable[[int, dict[str, float], State], None]
    resume: State | None = None
    wrap: Callable[[nn.Module], nn.Module] = _bare
    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `fit`."""
        return {name: getattr(self, name) for name in ("report", "resume", "wrap", "rank", "world_size", "device")}


@dataclass(frozen=True)
class Training:
    """An ensemble of networks to be fitted.

    function: (config, member, place) -> final state; it hands `place` on to the training loop and depends on nothing
    else. digest: of all that the result depends on (configuration, seed, inputs). together: all workers train each
    member together instead of one member each. checkpoint_seconds: time between two intermediate checkpoints.
    """

    name: str
    digest: str
    function: Callable[[Mapping[str, Any], int, Place], State]
    config: Mapping[str, Any] = field(default_factory=dict)
    members: int = 1
    together: bool = False
    checkpoint_seconds: float = 10.0

    @property
    def store(self) -> str:
        """Name of the ledger: `checkpoints_<training>-<digest12>`."""
        return f"checkpoints_{self.name}-{self.digest[:12]}"

    def url(self, run_url: str, member: int) -> str:
        """Where a member's finished checkpoint lies."""
        return join(run_url, CHECKPOINTS, f"{self.name}-{self.digest[:12]}-{member:03d}.pt")

    def partial_url(self, run_url: str, member: int) -> str:
        """Where its intermediate checkpoint lies."""
        return self.url(run_url, member).removesuffix(".pt") + ".partial.pt"

    def ledger(self, run_url: str) -> Ledger:
        return Ledger(join(run_url, "ledger", self.store))

    def missing(self, run_url: str) -> list[int]:
        """Members without a checkpoint of the size that the ledger remembers."""
        done = self.ledger(run_url).done(list_sizes(join(run_url, CHECKPOINTS)))
        return [member for member in range(self.members) if item_key({"member": member}) not in done]

    def manifest(self) -> dict[str, Any]:
        """What should be there, for `sciml verify`."""
        items = [{"member": member} for member in range(self.members)]
        return {"stage": self.name, "digest": self.digest, "checkpoints": True, "items": items}


def train(training: Training, run: Run, executor: Executor) -> list[str]:
    """Finish every member and return the URLs of their checkpoints; finished members are reused.

    Each line of `RUN/metrics.jsonl` is one epoch of one member. Raises RunError where training fails after all retries.
    """
    training.ledger(run.url).write_manifest(training.manifest())
    run.register(f"checkpoints_{training.name}", training.store)
    todo = training.missing(run.url)
    progress = Progress(training.name, total=training.members, done=training.members - len(todo))
    if todo and isinstance(executor, RayExecutor):
        with _watching(training, run.url, progress):
            _train_on_ray(training, run, executor, todo)
    elif todo:
        for member in todo:
            _train_member(training, run, member, {"device": _local_device()}, publish=True)
            progress.advance()
    progress.close()
    urls = [training.url(run.url, member) for member in range(training.members)]
    for member, url in enumerate(urls):
        remove(training.partial_url(run.url, member))  # here, since a worker may die between the final one and this
        if member in todo:
            _publish(run.url, training, member, load_checkpoint(url)["history"])
    return urls


@contextlib.contextmanager
def _watching(training: Training, run_url: str, progress: Progress) -> Iterator[None]:
    """Count finished members while Train, which says nothing of its own, holds this thread."""
    stop = threading.Event()

    def count() -> None:
        while progress.done < training.members - len(training.missing(run_url)):
            progress.advance()

    def watch() -> None:
        while not stop.wait(WATCH_S):
            try:
                count()
            except ScimlError as error:  # the next look may succeed; Train itself fails where it matters
                log.warning("%s", error)

    watcher = threading.Thread(target=watch, daemon=True, name="training-progress")
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    count()


def _train_on_ray(training: Training, run: Run, executor: RayExecutor, todo: Sequence[int]) -> None:
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # Ray's own 2 s delays start and end as much
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # else every line of a worker appears twice
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    executor.release()  # its idle workers would keep the CPUs from Train's
    gpus, cpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU"))
    if training.together:
        workers, share = (min(executor.workers, gpus), 1.0) if gpus else (executor.workers, 0.0)
    else:
        workers, share = min(executor.workers, len(todo)), executor.accelerators
    if workers > cpus:
        raise RunError(
            f"training {training.name}: {workers} workers asked of a cluster with {cpus} CPUs; lower --workers"
        )

    def loop(_: Mapping[str, Any]) -> None:
        _work(training, run, todo)

    trainer = TorchTrainer(
        loop,
        train_loop_config={},
        # ranks that share no gradient need no NCCL, which refuses two ranks on one GPU
        torch_config=TorchConfig(backend="nccl" if share and training.together else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=share > 0,
            resources_per_worker={"CPU": 1} | ({"GPU": share} if share else {}),
        ),
        run_config=RunConfig(
            # the digest in the name: Ray would hand the state of an older run of this name to the new one
            name=f"{training.name}-{training.digest[:12]}",
            storage_path=join(run.url, ".ray"),
            failure_config=FailureConfig(max_failures=run.config.retries),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise RunError(
            f"training {training.name}: failed after {run.config.retries} retries: {_root_cause(error)};"
            " mend the cause and run the same command again, it goes on from the last checkpoint"
        ) from error


def _root_cause(error: BaseException) -> str:
    failures = getattr(error, "worker_failures", {})
    cause = next(iter(failures.values()), error)
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__


def _work(training: Training, run: Run, todo: Sequence[int]) -> None:
    """What each Train worker does: its share of the members, or its share of every member."""
    from ray import train as ray_train
    from ray.train.torch import get_device, prepare_model

    context = ray_train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    place: dict[str, Any] = {"device": str(get_device())}
    if training.together and world_size > 1:
        place |= {"rank": rank, "world_size": world_size, "wrap": prepare_model}
    for member in todo if training.together else todo[rank::world_size]:
        if member in training.missing(run.url):  # a worker that was restarted has finished some
            _train_member(training, run, member, place, publish=rank == 0)


def _train_member(training: Training, run: Run, member: int, place: Mapping[str, Any], publish: bool) -> None:
    """Train one member, or one rank's part of it, from its intermediate checkpoint to its final one; then record it."""
    partial, url = training.partial_url(run.url, member), training.url(run.url, member)
    resume = load_checkpoint(partial) if exists(partial) else None
    history: list[dict[str, float]] = resume.pop("history") if resume else []
    writes = place.get("rank", 0) == 0
    began = saved = time.monotonic()

    def report(epoch: int, metrics: dict[str, float], state: State) -> None:
        nonlocal saved
        history.append({"epoch": epoch, **metrics})
        if writes and time.monotonic() - saved >= training.checkpoint_seconds:
            save_checkpoint(partial, {**state, "history": history})
            if publish:
                _publish(run.url, training, member, history)
            saved = time.monotonic()

    with OneThread():
        state = training.function(training.config, member, Place(report=report, resume=resume, **place))
    if writes:
        save_checkpoint(url, {**state, "history": history})
        seconds, memory = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        keys = {url.rpartition("/")[2]: len(read_bytes(url))}
        training.ledger(run.url).write(Entry({"member": member}, run.config.seed, seconds, seconds, memory, keys))


def _publish(run_url: str, training: Training, member: int, history: Sequence[Mapping[str, float]]) -> None:
    """Put one member's epochs into RUN/metrics.jsonl, in place of what an earlier attempt wrote of them."""
    url, mine = (
        join(run_url, "metrics.jsonl"),
        {"training": f"{training.name}-{training.digest[:12]}", "member": member},
    )
    before = read_bytes(url).decode().splitlines() if exists(url) else []
    kept = [line for line in before if not mine.items() <= json.loads(line).items()]
    # JSON has no NaN: a score that does not exist is null
    rows = [mine | {k: v if math.isfinite(v) else None for k, v in epoch.items()} for epoch in history]
    write_bytes(url, "".join(f"{line}\n" for line in [*kept, *map(json.dumps, rows)]).encode())


def _local_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
