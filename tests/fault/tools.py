"""Starting jobs in processes of their own, waiting for them without guessing how long they take, comparing results."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0


def start(*words: object, module: str = "tests.fault.job", prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A job in a process of its own."""
    command = [*prefix, sys.executable, "-m", module, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so; fails where the process ends before or patience does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, f"ended too early: {process.communicate()[1]}"
        time.sleep(0.02)


def objects(run: Path) -> dict[str, bytes]:
    """Every object of a run's stores; what a killed writer left under a temporary name is not one."""
    files = (path for path in (run / "stages").rglob("*") if path.is_file() and path.suffix != ".partial")
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def finished_items(run: Path) -> int:
    return len(list((run / "ledger").glob("*/items/*.json")))
