"""A run directory: who owns it, what it was told, where its stores and ledgers lie."""

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from sciml.core.config import Config
from sciml.core.errors import ConfigError, RunError, ScimlError
from sciml.core.urls import exists, is_remote, join, read_bytes, remove, write_bytes

log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
STALE_S = 60.0


@dataclass
class Run:
    """A run directory in use. stores: what this run made or reused, stage name -> store name; reached: the stage that
    began last."""

    url: str
    config: Config
    stores: dict[str, str] = field(default_factory=dict)
    reached: str = ""

    def store_url(self, store: str) -> str:
        return join(self.url, "stages", store)

    def ledger_url(self, store: str) -> str:
        return join(self.url, "ledger", store)

    def register(self, stage: str, store: str) -> None:
        """Remember a store as belonging to this run, for `sciml verify` and metrics.json."""
        self.stores[stage], self.reached = store, stage
        self.write_json("stores.json", self.stores)

    def write_json(self, name: str, value: Any) -> None:
        write_bytes(join(self.url, name), json.dumps(value, indent=1, allow_nan=False).encode())

    def record(self, config: Config) -> None:
        """Remember what the run was told, for --config and for later jobs on it."""
        self.write("config.yaml", f"# pipeline: {config.pipeline}\n{config.to_yaml()}".encode())

    def write(self, name: str, data: bytes) -> None:
        write_bytes(join(self.url, name), data)


@contextlib.contextmanager
def open_run(config: Config) -> Iterator[Run]:
    """Take a run directory for this driver; refuse one of another pipeline or in use by a live driver."""
    url = config.run_dir if is_remote(config.run_dir) else str(Path(config.run_dir).absolute())
    if os.environ.get("RAY_ADDRESS") and not (is_remote(url) or Path(config.run_dir).is_absolute()):
        raise ConfigError(
            f"--run-dir {config.run_dir}: a submitted job's folder is thrown away when it ends;"
            " give an absolute path or an s3:// URL"
        )
    if pattern := set(url) & set("*?[]"):
        raise ConfigError(
            f"--run-dir {url}: {min(pattern)!r} in a path is read as a pattern by object stores; give a name without it"
        )
    _refuse_foreign(url, config.pipeline)
    with _driver_lock(url):
        run = Run(url=url, config=config)
        if not config.amends:
            run.record(config)
        yield run


def pipeline_of(url: str) -> str | None:
    """Name of the pipeline that a run directory belongs to, None where there is no run."""
    marker = join(url, "config.yaml")
    if not exists(marker):
        return None
    first = read_bytes(marker).decode(errors="replace").partition("\n")[0]
    return first.removeprefix("# pipeline:").strip() if first.startswith("# pipeline:") else "unknown"


def read_config(url: str) -> dict[str, Any]:
    """The resolved configuration of a run."""
    return dict(yaml.safe_load(read_bytes(join(url, "config.yaml"))) or {})


def _refuse_foreign(url: str, pipeline: str) -> None:
    found = pipeline_of(url)
    if found not in (None, pipeline):
        raise RunError(f"--run-dir {url}: belongs to pipeline {found!r}, expected {pipeline!r} or an empty folder")
    if found is None and not is_remote(url) and Path(url).is_dir():
        strangers = sorted(path.name for path in Path(url).iterdir() if path.name not in _OURS)
        if strangers:
            raise RunError(
                f"--run-dir {url}: not a run directory, found {strangers[0]!r} in it; give an empty or a new folder"
            )


_OURS = {"driver.json", "stages", "ledger", "stores.json", "checkpoints", ".ray", "config.yaml", "error.log"}


def live_driver(url: str) -> dict[str, Any] | None:
    """The driver that holds a run directory: alive on this host, or heard of lately from another; else None."""
    lock = join(url, "driver.json")
    if not exists(lock):
        return None
    try:
        driver = dict(json.loads(read_bytes(lock)))
    except ValueError:
        return None
    if driver.get("host") != socket.gethostname():
        return driver if time.time() - float(driver.get("heartbeat", 0)) < STALE_S else None
    try:
        process = psutil.Process(int(driver["pid"]))
        return driver if abs(process.create_time() - float(driver["started"])) < 1 else None
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return None


@contextlib.contextmanager
def _driver_lock(url: str) -> Iterator[None]:
    lock = join(url, "driver.json")
    me = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}
    driver = live_driver(url)
    if driver is None:
        remove(lock)
        try:
            write_bytes(lock, json.dumps(me | {"heartbeat": time.time()}).encode(), exclusive=True)
        except FileExistsError:
            driver = live_driver(url) or {"host": "?", "pid": "?"}
    if driver is not None:
        raise RunError(
            f"--run-dir {url}: in use by process {driver.get('pid')} on {driver.get('host')}; wait for it, stop it, or"
            " give another --run-dir"
        )
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_S):
            try:
                write_bytes(lock, json.dumps(me | {"heartbeat": time.time()}).encode())
            except ScimlError as error:  # a full disk stops the items, which say so; it must not stop the heart
                log.warning("%s", error)

    heart = threading.Thread(target=beat, daemon=True, name="run-directory-heartbeat")
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        remove(lock)
