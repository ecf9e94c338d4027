"""The main job, killed in the middle and finished by the same command; another one on an object store, to compare."""

import json
import signal
from pathlib import Path

import pytest

from cluster.cli import main as sciml
from cluster.verify import current_stores, progress_of
from pipelines.grace_downscale import main
from sciml.core.urls import join, list_sizes, read_bytes
from tests.fault.tools import finished_items, start, wait_for

SIZE = ["--tiles", "1", "--mascon-rows", "2", "--mascon-columns", "3", "--members", "2", "--mascons-per-item", "2"]
SMALL = ["--executor", "serial", "--experiment", "synthetic_t1", "--models", "lstm,ridge", *SIZE]


def test_the_main_job_survives_kill_and_ends_with_the_same_bits(
    tmp_path: Path, s3: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    driver = start("--run-dir", run, *SMALL, module="pipelines.grace_downscale")
    wait_for(lambda: finished_items(run) >= 4, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    entries = {path: path.stat().st_mtime_ns for path in run.glob("ledger/*/items/*.json")}
    assert not (run / "metrics.json").exists() and not (run / "report.html").exists()
    assert sciml(["runs", str(tmp_path)]) == 0
    assert "incomplete" in capsys.readouterr().out

    assert main(["--run-dir", str(run), *SMALL]) == 0
    assert {path: path.stat().st_mtime_ns for path in entries} == entries  # finished items were left alone
    assert all(done == total for done, total in progress_of(str(run)).values())
    assert sciml(["verify", str(run)]) == 0

    assert main(["--run-dir", s3, *SMALL]) == 0
    assert sciml(["verify", s3]) == 0
    assert current_stores(s3) == current_stores(str(run))
    for store in current_stores(s3).values():
        here, there = str(run / "stages" / store), join(s3, "stages", store)
        assert list_sizes(here) == list_sizes(there) != {}
        for key in list_sizes(here):
            assert read_bytes(join(here, key)) == read_bytes(join(there, key)), key
    metrics = [json.loads(read_bytes(join(url, "metrics.json"))) for url in (str(run), s3)]
    assert metrics[0]["scores"] == metrics[1]["scores"]
    assert read_bytes(join(s3, "report.html"))
