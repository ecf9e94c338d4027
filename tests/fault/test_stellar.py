"""kill -9 in the middle of a network's training, and of its answers: the same command ends with the same bits."""

import json
import signal
from pathlib import Path

import pytest
import torch

from cluster.cli import main as sciml
from sciml.nn.checkpoint import load_checkpoint
from tests.fault import stellar_job
from tests.fault.tools import finish, objects, start, wait_for


def answered(run: Path) -> int:
    """Finished items of the network's answers."""
    entries = [json.loads(path.read_text()) for path in run.glob("ledger/sciml_snr20-*/items/*.json")]
    return sum("spectrum_start" in entry["item"] for entry in entries)


def network(run: Path) -> dict[str, torch.Tensor]:
    (path,) = run.glob("checkpoints/sciml_snr20-*-000.pt")
    return load_checkpoint(str(path))["model"]


def test_a_killed_training_and_killed_answers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = (*stellar_job.WORDS, "--executor", "serial", "--run-dir")
    with monkeypatch.context() as slow:
        slow.setenv(stellar_job.SLOW, "0.5")
        for reached in (lambda: any(run.glob("checkpoints/sciml_snr20-*partial*")), lambda: answered(run) >= 1):
            driver = start(*command, run, module="tests.fault.stellar_job")
            wait_for(reached, driver)
            driver.send_signal(signal.SIGKILL)
            driver.communicate()
        done = answered(run)
    assert not (run / "metrics.json").exists()
    code, out, err = finish(start(*command, run, module="tests.fault.stellar_job"))
    assert code == 0, err
    assert f"sciml_snr20: {done}/5 resumed" in out and 1 <= done < 5
    assert stellar_job.main([*command, str(whole)]) == 0
    assert objects(run) == objects(whole)
    ours, theirs = network(run), network(whole)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert sciml(["verify", str(run)]) == 0
