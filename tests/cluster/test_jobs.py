"""`ray job submit` to a head node that somebody else started, with token authentication, as a user would."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.cli import main as sciml

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
PATIENCE_S = 240


@dataclass(frozen=True)
class Head:
    """A head node: where its dashboard answers, with which token, and the environment of its users."""

    address: str
    token: str
    environment: dict[str, str]

    def get(self, path: str, token: str | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.address + path, headers=headers)
        return bytes(urllib.request.urlopen(request, timeout=20).read())

    def job(self, words: str) -> dict[str, Any]:
        """What the dashboard says of the only job with these words in its command."""
        (found,) = (entry for entry in json.loads(self.get("/api/jobs/", self.token)) if words in entry["entrypoint"])
        return dict(found)

    def submit(self, *words: object) -> subprocess.Popen[str]:
        # an environment of the user's own beside what the job sets itself
        settings = json.dumps({"env_vars": {"OMP_NUM_THREADS": "2"}})
        command = [
            RAY,
            "job",
            "submit",
            "--address",
            self.address,
            "--working-dir",
            ".",
            "--runtime-env-json",
            settings,
        ]
        command += ["--", *words]
        return subprocess.Popen(
            [*map(str, command)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_"))} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("PYTHONPATH", None)
    port, dashboard, agent, client = free_ports(4)
    command = [RAY, "start", "--head", "--block", "--num-cpus=2", "--object-store-memory=100000000", f"--port={port}"]
    command += [f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", f"--ray-client-server-port={client}"]
    command += [f"--dashboard-agent-listen-port={agent}"]
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [*map(str, command)], env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
    )
    found = Head(f"http://127.0.0.1:{dashboard}", token.read_text(), environment)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        try:
            found.get("/api/jobs/", found.token)
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    yield found
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    log.close()


def read_until(process: subprocess.Popen[str], pattern: str) -> tuple[re.Match[str], str]:
    seen = ""
    assert process.stdout is not None
    for line in process.stdout:
        seen += line
        if match := re.search(pattern, line):
            return match, seen
    raise AssertionError(f"no {pattern!r} in:\n{seen}")


def test_the_main_job_submitted_and_watched(head: Head, tmp_path: Path) -> None:
    """The command of the README, smaller; both dashboards answer while it runs."""
    run = tmp_path / "run"
    small = ["--models", "ridge", "--experiment", "synthetic_t1", "--tiles", "1"]
    small += ["--mascon-rows", "2", "--mascon-columns", "3"]
    job = head.submit("python", "pipelines/grace_downscale.py", "--run-dir", run, *small)
    link, _ = read_until(job, r"Dask dashboard: (http://127\.0\.0\.1:\d+/status)")
    assert urllib.request.urlopen(link[1], timeout=20).status == 200
    assert head.job(str(run))["status"] == "RUNNING"
    rest, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, rest
    assert head.job(str(run))["status"] == "SUCCEEDED"
    assert sciml(["verify", str(run)]) == 0
    assert (run / "report.html").stat().st_size > 0
    assert json.loads((run / "metrics.json").read_text())["scores"]


def test_what_is_uploaded_and_where_results_may_lie(head: Head) -> None:
    """A submitted job's folder is thrown away: a relative run directory is refused, and nothing large goes into it."""
    job = head.submit("bash", "-c", "ls -A; python pipelines/grace_downscale.py --run-dir runs/here")
    out, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode != 0
    assert "grace_downscale: --run-dir runs/here: a submitted job's folder is thrown away when it ends" in out
    assert "Traceback" not in out
    lines = set(out.splitlines())
    assert {"sciml", "cluster", "pipelines", "pyproject.toml"} <= lines
    assert not {".git", ".venv", "runs", ".hypothesis", ".mypy_cache"} & lines


def test_nobody_without_the_token_sees_the_jobs(head: Head) -> None:
    with pytest.raises(urllib.error.HTTPError, match=r"401|403"):
        head.get("/api/jobs/")
