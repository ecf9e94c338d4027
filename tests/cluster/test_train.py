"""Trainings through Ray Train and without it: the same checkpoints, reused when finished, resumed when not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl
import torch

from cluster.cli import main as sciml
from cluster.executors import Executor, RayExecutor, SerialExecutor
from cluster.run import open_run
from cluster.train import Place, State, train
from sciml.core.errors import InputError, RunError
from sciml.core.urls import list_sizes, read_bytes
from sciml.nn.checkpoint import load_checkpoint
from tests.cluster.test_stages import damage
from tests.cluster.toy import config
from tests.cluster.trainings import EPOCHS, starts, training


def finish(run_url: object, directory: Path, executor: Executor | None = None, **change: Any) -> list[dict[str, Any]]:
    with open_run(config(run_url)) as run:
        urls = train(training(directory, **change), run, executor or SerialExecutor())
    return [load_checkpoint(url) for url in urls]


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"] | b["model"])


def test_members_are_trained_once_and_every_epoch_is_on_record(tmp_path: Path) -> None:
    first = finish(tmp_path / "run", tmp_path)
    again = finish(tmp_path / "run", tmp_path)
    assert all(map(same, first, again)) and not same(first[0], first[1])
    assert starts(tmp_path, 0) == starts(tmp_path, 1) == [0]
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [(row["member"], row["epoch"]) for row in rows] == [(m, e) for m in (0, 1) for e in range(1, EPOCHS + 1)]
    assert rows[EPOCHS - 1]["loss"] < rows[0]["loss"]
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == [
        "line-0123456789ab-000.pt",
        "line-0123456789ab-001.pt",
    ]


def test_a_member_has_one_thread_of_each_kind(tmp_path: Path) -> None:
    """So that a serial run and one on Ray, which sets OMP_NUM_THREADS, give the same bits."""

    def threads(settings: Any, member: int, place: Place) -> State:
        most = max([torch.get_num_threads(), *(pool["num_threads"] for pool in threadpoolctl.threadpool_info())])
        return {"model": {"most": torch.tensor(most)}}

    with threadpoolctl.threadpool_limits(2), open_run(config(tmp_path / "run")) as run:
        urls = train(replace(training(tmp_path), function=threads), run, SerialExecutor())
        assert max(pool["num_threads"] for pool in threadpoolctl.threadpool_info()) == 2
    assert [int(load_checkpoint(url)["model"]["most"]) for url in urls] == [1, 1]


def test_another_digest_is_another_training(tmp_path: Path) -> None:
    finish(tmp_path / "run", tmp_path)
    finish(tmp_path / "run", tmp_path, digest="fedcba9876543210")
    assert starts(tmp_path, 0) == [0, 0]


def test_an_interrupted_training_resumes_and_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finish(tmp_path / "whole", tmp_path)

    def interrupt(pid: int, number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.kill", interrupt)
    (tmp_path / "cut").mkdir()
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path / "run", tmp_path / "cut", config={"die": {0: 3}})
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 3
    resumed = finish(tmp_path / "run", tmp_path / "cut", config={"die": {0: 3}})
    assert starts(tmp_path / "cut", 0) == [0, 3]
    assert all(map(same, whole, resumed))
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2 * EPOCHS


@pytest.mark.parametrize("how", ["delete", "truncate", "flip"])
def test_verify_names_a_damaged_checkpoint_and_running_again_repairs_it(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = finish(tmp_path / "run", tmp_path)
    assert sciml(["verify", str(tmp_path / "run")]) == 0
    assert "2 objects decoded" in capsys.readouterr().out
    checkpoint = tmp_path / "run/checkpoints/line-0123456789ab-001.pt"
    if how == "flip":  # in the parameters, where torch would not notice
        data = bytearray(checkpoint.read_bytes())
        data[data.index(whole[1]["model"]["weight"].numpy().tobytes()) + 1] ^= 4
        checkpoint.write_bytes(bytes(data))
        assert not same(load_checkpoint(str(checkpoint)), whole[1])
    else:
        damage(checkpoint, how)
    assert sciml(["verify", str(tmp_path / "run")]) == 1
    assert '"member":1}: line-0123456789ab-001.pt' in capsys.readouterr().out
    assert all(map(same, finish(tmp_path / "run", tmp_path), whole))
    assert starts(tmp_path, 0) == [0] and starts(tmp_path, 1) == [0, 0]
    assert sciml(["verify", str(tmp_path / "run")]) == 0


def test_a_checkpoint_of_another_size_than_recorded_is_made_again(tmp_path: Path) -> None:
    whole = finish(tmp_path / "run", tmp_path)
    damage(tmp_path / "run/checkpoints/line-0123456789ab-000.pt", "truncate")
    assert all(map(same, finish(tmp_path / "run", tmp_path), whole))
    assert starts(tmp_path, 0) == [0, 0] and starts(tmp_path, 1) == [0]


def test_a_damaged_intermediate_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / "run/checkpoints/line-0123456789ab-000.partial.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"line-0123456789ab-000\.partial\.pt: not a readable checkpoint"):
        finish(tmp_path / "run", tmp_path)


def test_ray_train_makes_the_same_members_though_a_worker_is_killed(tmp_path: Path, s3: str, ray_local: None) -> None:
    """On S3, members dealt out to two workers; the one that trains member 1 is killed at its third epoch."""
    whole = finish(tmp_path / "whole", tmp_path)
    (tmp_path / "cut").mkdir()
    dealt = finish(s3, tmp_path / "cut", RayExecutor(2), config={"die": {1: 3}})
    assert all(map(same, whole, dealt))
    assert starts(tmp_path / "cut", 1) == [0, 3]
    assert len(read_bytes(f"{s3}/metrics.jsonl").splitlines()) == 2 * EPOCHS
    assert set(list_sizes(f"{s3}/checkpoints")) == {"line-0123456789ab-000.pt", "line-0123456789ab-001.pt"}


def test_workers_train_one_net_together_though_one_is_killed(tmp_path: Path, ray_local: None) -> None:
    """Gradients averaged over two workers with half a batch each are those of one worker with the whole batch."""
    change = {"members": 1, "config": {"die": {0: 4}}}
    (together,) = finish(tmp_path / "run", tmp_path, RayExecutor(2), together=True, **change)
    assert together["epoch"] == EPOCHS and list(tmp_path.glob("start-0-rank1-epoch4-*"))
    assert starts(tmp_path, 0) == [0, 4]
    (alone,) = finish(tmp_path / "serial", tmp_path, **change)
    for name, parameter in alone["model"].items():
        torch.testing.assert_close(together["model"][name], parameter, rtol=1e-4, atol=1e-6)


def test_a_training_that_keeps_failing_is_named_in_one_line(tmp_path: Path, ray_local: None) -> None:
    with (
        pytest.raises(RunError, match=r"training line: failed after 0 retries: .*epochs must be at least 1") as caught,
        open_run(config(tmp_path / "run", retries=0)) as run,
    ):
        train(training(tmp_path, config={"epochs": 0}), run, RayExecutor(1))
    assert "\n" not in str(caught.value)
