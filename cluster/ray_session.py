"""Ray for the length of a job: the cluster that a submitted job belongs to, one named by address, or a local one."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from cluster.executors import Executor, RayExecutor, SerialExecutor
from sciml.core.config import Config
from sciml.core.errors import ConfigError

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 256 * 2**20  # items travel as addresses and results as stores: almost nothing passes through it


@contextlib.contextmanager
def executor_session(config: Config) -> Iterator[Executor]:
    """The executor that the configuration names, with its engine running."""
    if config.executor == "serial":
        yield SerialExecutor()
        return
    with ray_session(config) as resources:
        workers = config.workers or max(1, int(resources.get("CPU", 1)))
        accelerators = min(1.0, resources.get("GPU", 0.0) / workers)
        executor = RayExecutor(workers, accelerators)
        try:
            yield executor
        finally:
            executor.release()


def attached(config: Config) -> bool:
    """Whether the job runs on a cluster that somebody else started."""
    return bool(os.environ.get("RAY_ADDRESS") or config.ray_address)


@contextlib.contextmanager
def ray_session(config: Config) -> Iterator[dict[str, float]]:
    """Connect or start; yields the cluster's resources. What was not started here is left running."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    options: dict[str, Any] = {"logging_level": "WARNING"}
    if attached(config):
        options["address"] = os.environ.get("RAY_ADDRESS") or config.ray_address
    else:
        options |= {
            "address": "local",
            # not for a submitted job: Ray refuses a driver that sets what the job's own environment has set
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1"}},
            "num_cpus": max(config.workers, os.cpu_count() or 1),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "dashboard_port": 0,
            "log_to_driver": False,  # workers' lines are on the dashboard; their errors come back as errors
        }
    try:
        context = ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        place = options["address"]
        raise ConfigError(
            f"Ray at {place}: {str(error).splitlines()[0]}; start a cluster or leave the address"
        ) from error
    if context.dashboard_url:
        print(f"Ray dashboard: http://{context.dashboard_url}", flush=True)
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
