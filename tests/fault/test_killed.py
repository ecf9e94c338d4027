"""kill -9 of a driver, of a worker, of a node: the same command finishes the job, nothing is lost or made twice."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.cli import main as sciml
from cluster.executors import RayExecutor
from cluster.run import open_run
from cluster.stages import run_stage
from sciml.data.stores import open_store
from sciml.nn.checkpoint import load_checkpoint
from tests.cluster.toy import Squares, calls, config, stage
from tests.cluster.trainings import starts
from tests.fault import job
from tests.fault.tools import finish, finished_items, objects, start, wait_for


def finished_calls(run: Path, folder: Path) -> dict[int, int]:
    """Calls of the items that the ledger knows, by their first mascon."""
    import json

    entries = [json.loads(path.read_text()) for path in (run / "ledger").glob("*/items/*.json")]
    return {entry["item"]["mascon_start"]: calls(folder)[entry["item"]["mascon_start"]] for entry in entries}


@pytest.mark.parametrize(("executor", "seconds"), [("serial", 0.5), ("ray", 1.0)])
def test_a_killed_driver_goes_on_where_it_was(tmp_path: Path, executor: str, seconds: float) -> None:
    run, folder = tmp_path / "run", tmp_path / "calls"
    # slow enough that a busy machine sees it in the middle
    command = ("--run-dir", run, "--calls", folder, "--seconds", seconds, "--executor", executor, "--workers", 2)
    driver = start(*command)
    wait_for(lambda: finished_items(run) >= 3, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    done = finished_calls(run, folder)
    assert 3 <= len(done) < 12
    code, out, err = finish(start(*command))
    assert code == 0, err
    assert "squares: 12/12" in out
    after = finished_calls(run, folder)
    assert len(after) == 12
    # what an orphaned worker still finished while the new driver started may have run beside it, with equal bits
    assert {item: after[item] for item in done} == done
    assert finish(start("--run-dir", tmp_path / "whole", "--calls", tmp_path / "c", "--executor", "serial"))[0] == 0
    assert objects(run) == objects(tmp_path / "whole")
    assert sciml(["verify", str(run)]) == 0


@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_an_interrupted_job_says_so_and_goes_on(tmp_path: Path, executor: str) -> None:
    run, folder = tmp_path / "run", tmp_path / "calls"
    command = ("--run-dir", run, "--calls", folder, "--executor", executor, "--workers", 2)
    driver = start(*command, "--seconds", 0.5)
    wait_for(lambda: finished_items(run) >= 2, driver)
    driver.send_signal(signal.SIGINT)
    code, _, err = finish(driver)
    assert code == 130
    assert err.splitlines()[-1] == "fault_job: interrupted; the same command goes on from here"
    assert "Traceback" not in err
    done = finished_items(run)
    assert 2 <= done < 12 and not (run / "driver.json").exists()
    code, out, err = finish(start(*command))
    assert code == 0, err
    assert f"squares: {done}/12 resumed" in out and "squares: 12/12" in out
    assert sciml(["verify", str(run)]) == 0


def test_an_unforeseen_error_is_a_line_and_its_traceback_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--run-dir", str(tmp_path / "run"), "--calls", str(tmp_path / "calls"), "--executor", "serial"]
    assert job.main([*command, "--defect"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "unforeseen KeyError in or after stage squares: 'nobody foresaw this'" in line
    log = tmp_path / "run/error.log"
    assert str(log) in line and "Traceback" in log.read_text() and "fault/job.py" in log.read_text()
    assert job.main(command) == 0
    assert not log.exists()
    assert set(calls(tmp_path / "calls").values()) == {1}


def test_an_unforeseen_error_of_a_dry_run_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--run-dir", str(tmp_path / "run"), "--calls", str(tmp_path / "calls"), "--dry-run"]
    assert job.main([*command, "--defect"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "unforeseen KeyError in the plan after stage squares: 'nobody foresaw this'" in line
    assert "fault/job.py" in line and not (tmp_path / "run").exists()


def test_a_killed_driver_goes_on_training_where_it_was(tmp_path: Path) -> None:
    """Through Ray Train; the checkpoints, of our own, make the bits those of a training that nobody killed."""
    run, calls_folder = tmp_path / "run", tmp_path / "calls"
    command = ("--run-dir", run, "--calls", calls_folder, "--workers", 2, "--seconds", 1.0)
    driver = start(*command, module="tests.fault.training_job")
    wait_for(lambda: len(list(run.glob("checkpoints/*.partial.pt"))) == 2, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not [path for path in run.glob("checkpoints/*.pt") if ".partial." not in path.name]
    code, _, err = finish(start(*command[:-1], 0.0, module="tests.fault.training_job"))
    assert code == 0, err
    for member in (0, 1):
        first, *_, last = starts(calls_folder, member)
        assert first == 0 < last
    whole = ("--run-dir", tmp_path / "whole", "--calls", tmp_path / "c", "--executor", "serial")
    assert finish(start(*whole, module="tests.fault.training_job"))[0] == 0
    for path in (tmp_path / "whole/checkpoints").iterdir():
        expected, found = load_checkpoint(str(path)), load_checkpoint(str(run / "checkpoints" / path.name))
        assert all(torch.equal(found["model"][name], tensor) for name, tensor in expected["model"].items())
    assert (run / "metrics.jsonl").read_text() == (tmp_path / "whole/metrics.jsonl").read_text()


def test_a_killed_worker_is_replaced(tmp_path: Path, ray_local: None) -> None:
    """SIGKILL from outside while item 4 runs; it runs again, the others do not."""

    def kill_worker() -> None:
        def victims() -> list[str]:
            return [path.name for path in (tmp_path / "calls").glob("4-*")]

        wait_for(lambda: bool(victims()))
        os.kill(int(victims()[0].rsplit("-", 1)[1]), signal.SIGKILL)

    killer = threading.Thread(target=kill_worker)
    killer.start()
    function = Squares(str(tmp_path), seconds=0.5)
    with open_run(config(tmp_path / "run")) as run:
        ref = run_stage(stage(tmp_path, function=function), run, RayExecutor(2))
    killer.join()
    np.testing.assert_array_equal(open_store(ref.url)["storage"].values[:, 0], np.arange(8.0) ** 2)
    assert calls(tmp_path)[4] == 2
    assert finished_items(tmp_path / "run") == 4
    assert sciml(["verify", str(tmp_path / "run")]) == 0


def test_a_killed_node_is_survived(tmp_path: Path) -> None:
    code, out, err = finish(start(tmp_path, module="tests.fault.lose_a_node"))
    assert code == 0, err[-3000:]
    assert "squares: 20/20" in out
    run = tmp_path / "run"
    assert finished_items(run) == 20
    assert finish(start("--run-dir", tmp_path / "whole", "--calls", tmp_path / "c", "--mascons", 40))[0] == 0
    assert objects(run) == objects(tmp_path / "whole")
    assert sciml(["verify", str(run)]) == 0
