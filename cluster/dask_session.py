"""Dask for whole-store steps: a scheduler with a dashboard, and steps that write one new store each.

Locally it runs in this process; on a Ray cluster its workers live inside Ray actors, so that Ray owns the CPU count.
The workers are gone before Ray stages begin, the dashboard stays to be looked at; the two exchange Zarr URLs only.
A step of few tasks is done by threads of this process before a scheduler would have started.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import psutil
import xarray as xr
from zarr.codecs import Crc32cCodec, ZstdCodec

from cluster.ledger import Entry, Ledger
from cluster.progress import Progress
from cluster.ray_session import attached, ray_session
from cluster.run import Run
from cluster.stages import StoreRef
from sciml.core.config import Config
from sciml.core.digest import digest
from sciml.core.errors import RunError
from sciml.core.urls import list_sizes, refused, remove

_WHOLE = {"whole": 1}
_DASHBOARD = "127.0.0.1:0"
STARTING_S = 120
FEW_TASKS = 1000  # and
FEW_BYTES = 256 * 2**20  # of what is written: what threads do in less time than a scheduler takes to start


class Dask:
    """A scheduler with its dashboard from the first step of a job to the job's end; workers only while a step runs.

    Use it as a context. The dashboard listens on this machine alone; its link is printed.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._stack = contextlib.ExitStack()
        self._cluster: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster = None
        self._stack.close()

    @contextlib.contextmanager
    def workers(self) -> Iterator[Any]:
        """A client with workers behind it; Ray stages may begin when it is closed."""
        from distributed import Client

        if self._cluster is None:
            self._cluster = self._start()
        add = _workers_on_ray if self._on_ray else _worker_here
        with add(self._cluster, self.config), Client(self._cluster) as client:
            yield client

    @property
    def _on_ray(self) -> bool:
        return self.config.executor == "ray" and attached(self.config)

    def _start(self) -> Any:
        import dask
        import distributed  # its import sets the level of its logger, so ours comes after

        logging.getLogger(distributed.__name__).setLevel(logging.ERROR)
        settings = {
            "distributed.admin.large-graph-warning-threshold": "64MB",
            # Dask would print the address of the machine, on which nothing listens
            "distributed.dashboard.link": "http://127.0.0.1:{port}/status",
        }
        self._stack.enter_context(dask.config.set(settings))
        cluster = self._stack.enter_context(_scheduler_for_ray() if self._on_ray else _scheduler_here(self.config))
        print(f"Dask dashboard: {cluster.dashboard_link}", flush=True)
        return cluster


def _scheduler_here(config: Config) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=0,
        threads_per_worker=_threads(config),
        processes=False,
        dashboard_address=_DASHBOARD,
        silence_logs=False,
    )


def _threads(config: Config) -> int:
    return 1 if config.executor == "serial" else config.workers or psutil.cpu_count(logical=False) or 1


def _is_small(dataset: xr.Dataset) -> bool:
    graph = dataset.__dask_graph__()
    return dataset.nbytes < FEW_BYTES and sum(len(layer) for layer in getattr(graph, "layers", {}).values()) < FEW_TASKS


def _threads_alone(config: Config) -> contextlib.AbstractContextManager[Any]:
    import dask

    return dask.config.set(scheduler="threads", num_workers=_threads(config))


@contextlib.contextmanager
def _worker_here(cluster: Any, _: Config) -> Iterator[None]:
    cluster.scale(1)
    cluster.wait_for_workers(1, timeout=STARTING_S)
    try:
        yield
    finally:
        cluster.scale(0)


def _scheduler_for_ray() -> Any:
    """A scheduler in this process that talks TLS with keys of this session.

    Whoever reaches a scheduler can run anything on its workers, so it must not answer strangers on the network.
    """
    import ray
    from distributed import Security, SpecCluster
    from distributed.scheduler import Scheduler

    security = Security.temporary()
    options = {"host": ray.util.get_node_ip_address(), "dashboard_address": _DASHBOARD, "security": security}
    scheduler = {"cls": Scheduler, "options": options | {"protocol": "tls://"}}
    return SpecCluster(workers={}, scheduler=scheduler, security=security)


@contextlib.contextmanager
def _workers_on_ray(cluster: Any, config: Config) -> Iterator[None]:
    """One worker in each of a few Ray actors."""
    import ray

    with ray_session(config) as resources:
        one_thread = {"env_vars": {"OMP_NUM_THREADS": "1"}}
        actor_class: Any = ray.remote(num_cpus=1, max_restarts=-1, runtime_env=one_thread)(_DaskWorker)
        workers = config.workers or max(1, int(resources.get("CPU", 1)))
        actors = [actor_class.remote(cluster.scheduler_address, cluster.security) for _ in range(workers)]
        try:
            ray.get([actor.ready.remote() for actor in actors], timeout=STARTING_S)
            yield
        finally:
            for actor in actors:
                ray.kill(actor)


class _DaskWorker:
    """An asynchronous Ray actor that holds one Dask worker."""

    def __init__(self, scheduler_address: str, security: Any) -> None:
        self.address, self.security = scheduler_address, security
        self.started = asyncio.Event()
        self.task = asyncio.get_event_loop().create_task(self._serve())

    async def _serve(self) -> None:
        from distributed import Worker

        async with Worker(self.address, nthreads=1, memory_limit=0, security=self.security) as worker:
            self.started.set()
            await worker.finished()

    async def ready(self) -> bool:
        await self.started.wait()
        return True


def whole_store_step(
    run: Run,
    dask: Dask,
    name: str,
    version: int,
    build: Callable[[], xr.Dataset],
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, Any],
) -> StoreRef:
    """Write one dataset as a new store with one ledger entry; an unfinished one is rebuilt.

    build: makes the lazy dataset; the Dask chunks of its variables become the objects of the store.
    """
    step_digest = digest([name, version, config, inputs])
    store = f"{name}-{step_digest[:12]}"
    url, ledger = run.store_url(store), Ledger(run.ledger_url(store))
    run.register(name, store)
    if ledger.done(list_sizes(url)):
        Progress(name, total=1, done=1)
        return StoreRef(url, step_digest)
    progress, began = Progress(name, total=1), time.perf_counter()
    remove(url)
    dataset = build().drop_encoding()
    encoding = {str(n): _encoding(variable) for n, variable in dataset.data_vars.items()}
    # nobody watches an update of seconds; every other job has its dashboard
    alone = run.config.amends and _is_small(dataset)
    with _threads_alone(run.config) if alone else dask.workers(), refused(url, "write"):
        dataset.to_zarr(url, mode="w", zarr_format=3, consolidated=False, encoding=encoding, write_empty_chunks=True)
    ledger.write_manifest(_manifest(name, version, step_digest, config, inputs, dataset))
    keys = {key: size for key, size in list_sizes(url).items() if "/c/" in key}
    if not keys:
        raise RunError(f"step {name}: wrote no data")
    seconds = time.perf_counter() - began
    memory = psutil.Process().memory_info().rss
    ledger.write(Entry(_WHOLE, run.config.seed, seconds, seconds, memory, keys))
    progress.advance()
    progress.close()
    return StoreRef(url, step_digest)


def _encoding(variable: xr.DataArray) -> dict[str, Any]:
    chunks = {"chunks": tuple(sizes[0] for sizes in variable.chunks)} if variable.chunks else {}
    return {**chunks, "compressors": (ZstdCodec(level=3), Crc32cCodec())}


def _manifest(
    name: str,
    version: int,
    step_digest: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, Any],
    dataset: xr.Dataset,
) -> dict[str, Any]:
    variables = {
        str(n): {
            "dims": list(map(str, v.dims)),
            "dtype": str(v.dtype),
            "units": str(v.attrs.get("units", "1")),
            "valid_range": v.attrs.get("valid_range"),
            "may_be_missing": True,
        }
        for n, v in dataset.data_vars.items()
    }
    return {
        "stage": name,
        "version": version,
        "digest": step_digest,
        "config": dict(config),
        "inputs": dict(inputs),
        "template": {"sizes": {str(d): n for d, n in dataset.sizes.items()}, "variables": variables},
        "items": [_WHOLE],
    }
