import dataclasses
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from cluster.cli import main as sciml
from cluster.executors import RayExecutor, SerialExecutor
from cluster.run import open_run
from cluster.stages import run_stage
from sciml.core.errors import RunError
from sciml.data.stores import open_store
from tests.cluster.toy import Block, Squares, calls, config, stage

EXPECTED = np.repeat(np.arange(8.0)[:, None] ** 2, 3, axis=1)


def finish(directory: Path, **change: object) -> np.ndarray:
    with open_run(config(directory / "run")) as run:
        ref = run_stage(stage(directory, **change), run, SerialExecutor())
    return open_store(ref.url)["storage"].values


def test_a_stage_writes_what_its_function_returns_and_runs_once(tmp_path: Path) -> None:
    np.testing.assert_array_equal(finish(tmp_path), EXPECTED)
    np.testing.assert_array_equal(finish(tmp_path), EXPECTED)
    assert calls(tmp_path) == {0: 1, 2: 1, 4: 1, 6: 1}


def test_a_changed_config_makes_a_new_store_and_leaves_the_old_one(tmp_path: Path) -> None:
    finish(tmp_path)
    finish(tmp_path, config={"power": 3})
    assert len(list((tmp_path / "run/stages").iterdir())) == 2
    assert calls(tmp_path) == {0: 2, 2: 2, 4: 2, 6: 2}


def test_a_failing_item_is_retried(tmp_path: Path) -> None:
    function = Squares(str(tmp_path), faults={2: ("raise", 2)})
    np.testing.assert_array_equal(finish(tmp_path, function=function), EXPECTED)
    assert calls(tmp_path)[2] == 3


def test_an_item_that_keeps_failing_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    function = Squares(str(tmp_path), faults={2: ("raise", 99)})
    with pytest.raises(RunError, match=r'1 of 4 items failed.*"mascon_start":2.*planned failure'):
        finish(tmp_path, function=function)
    assert calls(tmp_path) == {0: 1, 2: 3, 4: 1, 6: 1}
    finish(tmp_path)
    assert calls(tmp_path) == {0: 1, 2: 4, 4: 1, 6: 1}


def test_unexpected_nan_never_reaches_the_store(tmp_path: Path) -> None:
    function = Squares(str(tmp_path), faults={4: ("nan", 99)})
    with pytest.raises(RunError, match="storage: 6 values are not finite"):
        finish(tmp_path, function=function)


def test_items_that_would_share_an_object_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"mascon 1:3 does not cover whole shards of 2"):
        finish(tmp_path, items=[Block(1, 3)])


def damage(path: Path, how: str) -> None:
    if how == "delete":
        path.unlink()
    elif how == "truncate":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["delete", "truncate", "flip"])
def test_verify_finds_a_damaged_shard_and_running_again_repairs_it(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(tmp_path)
    assert sciml(["verify", str(tmp_path / "run")]) == 0
    (store,) = (tmp_path / "run/stages").iterdir()
    damage(store / "storage/c/1/0", how)
    assert sciml(["verify", str(tmp_path / "run")]) == 1
    assert '"mascon_start":2' in capsys.readouterr().out
    np.testing.assert_array_equal(finish(tmp_path), EXPECTED)
    assert calls(tmp_path) == {0: 1, 2: 2, 4: 1, 6: 1}
    assert sciml(["verify", str(tmp_path / "run")]) == 0


def test_a_corrupt_ledger_entry_counts_as_not_done(tmp_path: Path) -> None:
    finish(tmp_path)
    entry = sorted((tmp_path / "run/ledger").glob("*/items/*.json"))[0]
    entry.write_text('{"item": {"mascon_start"')
    assert sciml(["verify", str(tmp_path / "run")]) == 1
    finish(tmp_path)
    assert sorted(calls(tmp_path).values()) == [1, 1, 1, 2]


@pytest.mark.parametrize("file", ["stores.json", "ledger/*/stage.json"])
def test_a_run_whose_own_json_is_broken_says_so_in_a_line(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(tmp_path)
    (broken,) = (tmp_path / "run").glob(file)
    broken.write_text('{"squares": ')
    capsys.readouterr()
    assert sciml(["verify", str(tmp_path / "run")]) != 0
    said = capsys.readouterr()
    complaint = (said.out + said.err).splitlines()[0]
    assert broken.name in complaint and "not readable as JSON" in complaint and "run the job again" in complaint
    assert sciml(["runs", str(tmp_path)]) == 0
    assert "damaged" in capsys.readouterr().out
    np.testing.assert_array_equal(finish(tmp_path), EXPECTED)
    assert set(calls(tmp_path).values()) == {1}
    assert sciml(["verify", str(tmp_path / "run")]) == 0


@dataclasses.dataclass(frozen=True)
class Delivery:
    """A block as it was delivered: `content` stands for the hash of its file."""

    mascon_start: int
    mascon_stop: int
    content: str = "first"


def deliver(directory: Path, *items: Delivery) -> str:
    """Finish an open-ended stage with the items that are there now; returns its store's URL."""
    with open_run(config(directory / "run")) as run:
        return run_stage(stage(directory, items=items, open_ended=True), run, SerialExecutor()).url


def test_an_open_ended_stage_takes_new_items_into_its_store_and_keeps_the_earlier_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = deliver(tmp_path, Delivery(0, 2), Delivery(2, 4))
    entries = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/ledger").glob("*/items/*.json")}
    assert deliver(tmp_path, Delivery(4, 6), Delivery(6, 8)) == first
    np.testing.assert_array_equal(open_store(first)["storage"].values, EXPECTED)
    assert {path: path.stat().st_mtime_ns for path in entries} == entries
    assert calls(tmp_path) == {0: 1, 2: 1, 4: 1, 6: 1}
    assert sciml(["runs", str(tmp_path)]) == 0 and "4/4" in capsys.readouterr().out
    assert sciml(["verify", str(tmp_path / "run")]) == 0
    damage(Path(first) / "storage/c/0/0", "flip")
    assert sciml(["verify", str(tmp_path / "run")]) == 1
    assert '"mascon_start":0' in capsys.readouterr().out
    deliver(tmp_path, Delivery(4, 6))
    assert sciml(["verify", str(tmp_path / "run")]) == 1  # what nobody gave again is still missed
    deliver(tmp_path, Delivery(0, 2))
    np.testing.assert_array_equal(open_store(first)["storage"].values, EXPECTED)
    assert sciml(["verify", str(tmp_path / "run")]) == 0


def test_an_item_of_an_open_ended_stage_gives_way_to_another_of_its_place(tmp_path: Path) -> None:
    deliver(tmp_path, Delivery(0, 2), Delivery(2, 4))
    deliver(tmp_path, Delivery(0, 2, "again"))
    assert calls(tmp_path) == {0: 2, 2: 1}
    assert sciml(["verify", str(tmp_path / "run")]) == 0
    deliver(tmp_path, Delivery(0, 2))  # the old file is back: what lies in its place is not its own
    assert calls(tmp_path) == {0: 3, 2: 1}
    assert len(list((tmp_path / "run/ledger").glob("*/items/*.json"))) == 2


def test_an_open_ended_stage_outlives_its_broken_manifest(tmp_path: Path) -> None:
    deliver(tmp_path, Delivery(0, 2))
    (manifest,) = (tmp_path / "run").glob("ledger/*/stage.json")
    manifest.write_text("{")
    deliver(tmp_path, Delivery(2, 4))
    assert calls(tmp_path) == {0: 1, 2: 1}
    assert '"mascon_start": 0' in manifest.read_text()


def test_items_that_come_with_time_are_no_part_of_the_digest(tmp_path: Path) -> None:
    one, two = [Delivery(0, 2)], [Delivery(0, 2), Delivery(2, 4)]
    assert stage(tmp_path, items=one).digest != stage(tmp_path, items=two).digest
    assert stage(tmp_path, items=one, open_ended=True).digest == stage(tmp_path, items=two, open_ended=True).digest


@dataclasses.dataclass(frozen=True)
class Year:
    year: int
    cell_start: int
    cell_stop: int


def test_chains_pass_the_state_on_and_resume_from_the_hole(tmp_path: Path) -> None:
    from cluster.stages import Stage
    from sciml.data.stores import Template, Variable

    def step(item: Year, before: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        start = np.zeros((1, 2)) if before is None else before["state"]
        return {"state": start + item.year + 1}

    items = [Year(year, cell, cell + 2) for year in range(4) for cell in (0, 2)]
    template = Template(
        {"year": 4, "cell": 4}, {"state": Variable(("year", "cell"), dtype="float64")}, shards={"year": 1, "cell": 2}
    )
    chained = Stage("years", 1, items, template, step, config={}, chain=lambda item: str(item.cell_start))
    expected = np.repeat(np.cumsum([1.0, 2, 3, 4])[:, None], 4, axis=1)
    for _ in range(2):
        with open_run(config(tmp_path / "run")) as run:
            ref = run_stage(chained, run, SerialExecutor())
        np.testing.assert_array_equal(open_store(ref.url)["state"].values, expected)
        damage(Path(ref.url) / "state/c/1/0", "delete")


def test_a_run_directory_belongs_to_one_pipeline_and_one_driver(tmp_path: Path) -> None:
    with open_run(config(tmp_path)), pytest.raises(RunError, match="in use by process"), open_run(config(tmp_path)):
        pass
    (tmp_path / "config.yaml").write_text("# pipeline: emulator_fit\n")
    with pytest.raises(RunError, match="belongs to pipeline 'emulator_fit'"), open_run(config(tmp_path)):
        pass
    stranger = tmp_path / "home"
    stranger.mkdir()
    (stranger / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"found 'thesis.tex'"), open_run(config(stranger)):
        pass


def test_a_lock_left_by_a_dead_driver_is_taken_over(tmp_path: Path) -> None:
    import json
    import socket

    tmp_path.joinpath("driver.json").write_text(
        json.dumps({"host": socket.gethostname(), "pid": 2**22 - 1, "started": 0.0, "heartbeat": 0.0})
    )
    with open_run(config(tmp_path)):
        pass
    assert not tmp_path.joinpath("driver.json").exists()


def test_an_item_has_one_thread_of_each_kind(tmp_path: Path) -> None:
    def threads(item: Block) -> dict[str, np.ndarray]:
        import torch

        most = max([torch.get_num_threads(), *(pool["num_threads"] for pool in threadpoolctl.threadpool_info())])
        return {"storage": np.full((2, 3), most)}

    with threadpoolctl.threadpool_limits(2):
        assert (finish(tmp_path, function=threads) == 1).all()
        assert max(pool["num_threads"] for pool in threadpoolctl.threadpool_info()) == 2


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_ray_gives_the_same_bits_as_serial(tmp_path: Path, ray_local: None, workers: int) -> None:
    with open_run(config(tmp_path / "run")) as run:
        ref = run_stage(stage(tmp_path), run, RayExecutor(workers))
    np.testing.assert_array_equal(open_store(ref.url)["storage"].values, EXPECTED)


def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(tmp_path: Path, ray_local: None) -> None:
    function = Squares(str(tmp_path), faults={2: ("die", 1), 6: ("raise", 1)})
    with open_run(config(tmp_path / "run")) as run:
        ref = run_stage(stage(tmp_path, function=function), run, RayExecutor(2))
    np.testing.assert_array_equal(open_store(ref.url)["storage"].values, EXPECTED)
    assert sciml(["verify", str(tmp_path / "run")]) == 0


def test_a_stage_lives_on_s3_as_on_a_disk(tmp_path: Path, s3: str, ray_local: None) -> None:
    for expected_calls in (1, 1):
        with open_run(config(s3)) as run:
            ref = run_stage(stage(tmp_path), run, RayExecutor(2))
        np.testing.assert_array_equal(open_store(ref.url)["storage"].values, EXPECTED)
        assert set(calls(tmp_path).values()) == {expected_calls}
    assert sciml(["verify", s3]) == 0
    assert sciml(["runs", "s3://bucket"]) == 0


def test_runs_lists_state_and_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(tmp_path)
    assert sciml(["runs", str(tmp_path)]) == 0
    assert "4/4" in capsys.readouterr().out
    assert sciml(["verify", str(tmp_path / "nothing")]) == 2
    assert sciml(["verfy"]) == 2
