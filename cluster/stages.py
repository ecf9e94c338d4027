"""A stage: items, a template and a pure function; `run_stage` makes its store, whatever interrupts it.

Make the store, ask the ledger what is left, map the items over the executor with a bounded number in flight; each
worker computes, validates, writes whole objects, then records. A killed job run again redoes only what is missing.
"""

import dataclasses
import functools
import logging
import resource
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cluster.executors import Executor, Outcome
from cluster.ledger import Entry, Ledger, item_key, seconds_of
from cluster.progress import Progress
from cluster.run import Run
from cluster.threads import OneThread
from sciml.core.digest import digest
from sciml.core.errors import RunError
from sciml.core.urls import filesystem, join, list_sizes, refused
from sciml.data.stores import Template, create_store, read_region, write_region

log = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Stage:
    """One step of a job.

    items: frozen dataclasses of ints and strings, from the configuration alone. function: item -> arrays of the
    template, pure; in a chain it also takes the arrays of the item before (None for the first). config, inputs: what
    the result depends on besides (an upstream store by its digest, a file by its fingerprint). chain: the name of an
    item's chain; items of one chain run in the order given. seconds, memory_bytes: what one item is expected to take.
    open_ended: items come with time, as new granules of a year. They are no part of the digest, so the store keeps its
    name and its earlier items; each must carry what its arrays were made from (a hash of its file), and none may depend
    on another.
    """

    name: str
    version: int
    items: Sequence[Any]
    template: Template
    function: Callable[..., Arrays]
    config: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    chain: Callable[[Any], str] | None = None
    seconds: float = 0.0
    memory_bytes: int = 0
    open_ended: bool = False

    @functools.cached_property
    def digest(self) -> str:
        fixed = [self.name, self.version, self.config, self.inputs, self.template.signature()]
        return digest(fixed if self.open_ended else [*fixed, list(self.items)])

    @property
    def store(self) -> str:
        """Name of the store: `<stage>-<digest12>`."""
        return f"{self.name}-{self.digest[:12]}"

    def manifest(self) -> dict[str, Any]:
        """What the store should hold, for `sciml verify`."""
        template = {
            "sizes": dict(self.template.sizes),
            "shards": dict(self.template.shards),
            "variables": {name: dataclasses.asdict(v) for name, v in self.template.variables.items()},
        }
        return {
            "stage": self.name,
            "version": self.version,
            "digest": self.digest,
            "config": self.config,
            "inputs": self.inputs,
            "template": template,
            "items": [dataclasses.asdict(item) for item in self.items],
        }


@dataclass(frozen=True)
class StoreRef:
    """A finished store: where it is and what identifies its content."""

    url: str
    digest: str


@dataclass(frozen=True)
class _Task:
    item: Any
    previous: Any
    attempts: int = 0


class StageWorker:
    """Computes, validates, writes and records one item at a time, with one thread of torch."""

    def __init__(self, stage: Stage, store_url: str, ledger_url: str, seed: int) -> None:
        self.stage, self.store_url, self.seed = stage, store_url, seed
        self.ledger = Ledger(ledger_url)

    def perform(self, task: _Task) -> Entry:
        stage, began = self.stage, time.perf_counter()
        address = dataclasses.asdict(task.item)
        with OneThread():
            if stage.chain is None:
                arrays = stage.function(task.item)
            else:
                before = task.previous and read_region(
                    self.store_url, stage.template, dataclasses.asdict(task.previous)
                )
                arrays = stage.function(task.item, before)
        computed = time.perf_counter()
        stage.template.validate(address, arrays)
        write_region(self.store_url, stage.template, address, arrays)
        entry = Entry(
            item=address,
            seed=self.seed,
            seconds=computed - began,
            total_seconds=time.perf_counter() - began,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            keys=_written(self.store_url, stage.template.keys(address)),
        )
        self.ledger.write(entry)
        return entry


def _written(store_url: str, keys: Sequence[str]) -> dict[str, int]:
    fs, path = filesystem(store_url)
    with refused(store_url, "read back"):
        return {key: int(fs.info(join(path, key))["size"]) for key in keys}


def run_stage(stage: Stage, run: Run, executor: Executor) -> StoreRef:
    """Finish a stage's store; raises RunError that names the items which failed after all retries."""
    for item in stage.items:
        stage.template.check_region(dataclasses.asdict(item))
    store_url, ledger = run.store_url(stage.store), Ledger(run.ledger_url(stage.store))
    create_store(store_url, stage.template)
    sizes, manifest = list_sizes(store_url), stage.manifest()
    if stage.open_ended:
        manifest["items"] = _earlier(stage, ledger, sizes) + manifest["items"]
    ledger.write_manifest(manifest)
    run.register(stage.name, stage.store)

    done = ledger.done(sizes)
    chains = _chains(stage)
    todo = {name: deque(_remaining(items, done)) for name, items in chains.items()}
    left = sum(map(len, todo.values()))
    progress = Progress(stage.name, total=len(stage.items), done=len(stage.items) - left)
    queue = deque(chain.popleft() for chain in todo.values() if chain)
    failed: list[Outcome] = []
    began, finished = time.perf_counter(), []
    make_worker = functools.partial(StageWorker, stage, store_url, run.ledger_url(stage.store), run.config.seed)
    for outcome in executor.run(make_worker, queue):
        task: _Task = outcome.task
        if not outcome.error:
            finished.append(outcome.result)
            progress.advance()
            following = todo[_chain_name(stage, task.item)]
            if stage.chain is not None and following:
                queue.append(following.popleft())
        elif task.attempts < run.config.retries:
            log.warning("%s: item %s failed, trying again: %s", stage.name, item_key(task.item), outcome.error)
            queue.append(dataclasses.replace(task, attempts=task.attempts + 1))
        else:
            log.error("%s: item %s\n%s", stage.name, item_key(task.item), outcome.traceback or outcome.error)
            failed.append(outcome)
    progress.close()
    if finished:
        wall = time.perf_counter() - began
        log.info("%s: %d items, %.1f s of work in %.1f s", stage.name, len(finished), seconds_of(finished), wall)
    if failed:
        names = ", ".join(item_key(outcome.task.item) for outcome in failed[:3])
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise RunError(
            f"stage {stage.name}: {len(failed)} of {len(stage.items)} items failed after {run.config.retries} retries:"
            f" {names}{more}: {failed[0].error}; mend the cause and run the same command again"
        )
    return StoreRef(store_url, stage.digest)


def _earlier(stage: Stage, ledger: Ledger, sizes: Mapping[str, int]) -> list[Mapping[str, Any]]:
    """Items of earlier runs whose objects stand and stay; forgets those whose place another item takes now."""
    now = {item_key(item) for item in stage.items}
    taken = {key for item in stage.items for key in stage.template.keys(dataclasses.asdict(item))}
    kept = []
    for item in ledger.known_items():
        objects = stage.template.keys(item)
        if item_key(item) in now:
            continue
        if taken.intersection(objects):
            ledger.forget(item)
        elif any(key in sizes for key in objects):
            kept.append(item)
    return kept


def _chain_name(stage: Stage, item: Any) -> str:
    return stage.chain(item) if stage.chain else item_key(item)


def _chains(stage: Stage) -> dict[str, list[Any]]:
    chains: dict[str, list[Any]] = {}
    for item in stage.items:
        chains.setdefault(_chain_name(stage, item), []).append(item)
    return chains


def _remaining(items: list[Any], done: Mapping[str, Entry]) -> list[_Task]:
    """Tasks of a chain from its first missing item on: what follows a hole was made from what is gone."""
    first = next((place for place, item in enumerate(items) if item_key(item) not in done), len(items))
    return [_Task(item, items[place - 1] if place else None) for place, item in enumerate(items) if place >= first]
