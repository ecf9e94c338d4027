"""A small search finds a planted optimum, is not repeated, and goes on after its driver was killed."""

import json
import signal
from pathlib import Path

import pytest

from cluster.executors import RayExecutor, SerialExecutor
from cluster.run import open_run
from cluster.tune import _domain, search
from sciml.core.errors import ConfigError, RunError
from tests.cluster.toy import config
from tests.fault.search_job import task
from tests.fault.tools import finish, start, wait_for


def test_the_planted_optimum_is_found_and_the_search_not_repeated(tmp_path: Path, ray_local: None) -> None:
    with open_run(config(tmp_path / "run")) as run:
        found = search(task(tmp_path, trials=10), run, RayExecutor(2))
        began = len(list(tmp_path.glob("*")))
        assert search(task(tmp_path, trials=10), run, SerialExecutor()) == found
    assert found["best"]["settings"]["kind"] == "valley" and abs(found["best"]["settings"]["place"] - 0.3) < 0.5
    whole = [trial for trial in found["trials"] if trial["steps"] == 4]
    assert found["best"] == min(whole, key=lambda trial: trial["score"]) and len(found["trials"]) == 10
    assert found["seconds"] == pytest.approx(sum(trial["seconds"] for trial in found["trials"]))
    assert any(trial["steps"] < 4 for trial in found["trials"])  # poor ones were stopped early
    assert len(list(tmp_path.glob("*"))) == began == 10 + 1
    assert json.loads((tmp_path / "run/search.json").read_text()) == {"valley": found}


def test_trials_that_all_fail_are_one_line(tmp_path: Path, ray_local: None) -> None:
    broken = task(tmp_path, trials=2, space={"place": ("uniform", 0.0, 1.0)})
    with (
        pytest.raises(RunError, match=r"search valley: all 2 trials failed: KeyError: 'width'") as caught,
        open_run(config(tmp_path / "run")) as run,
    ):
        search(broken, run, RayExecutor(2))
    assert "\n" not in str(caught.value)


def test_a_search_without_ray_or_with_an_unknown_draw_is_refused(tmp_path: Path) -> None:
    with open_run(config(tmp_path / "run")) as run, pytest.raises(ConfigError, match="give --executor ray"):
        search(task(tmp_path), run, SerialExecutor())
    with pytest.raises(ConfigError, match="place is drawn by"):
        _domain("place", ("normal", 0, 1))


def test_an_empty_space_is_refused(tmp_path: Path) -> None:
    with open_run(config(tmp_path / "run")) as run, pytest.raises(ConfigError, match="search valley: the space is emp"):
        search(task(tmp_path, space={}), run, RayExecutor(1))


def test_the_default_is_tried_first_and_beside_the_best(tmp_path: Path, ray_local: None) -> None:
    default = {"place": 0.9, "scale": 1.0, "width": 2, "kind": "plain"}
    with open_run(config(tmp_path / "run")) as run:
        found = search(task(tmp_path, trials=3, default=default), run, RayExecutor(1))
    assert found["default"]["settings"] == default and found["default"]["score"] == pytest.approx(1.36, abs=0.02)
    assert found["best"]["score"] <= found["default"]["score"]


def test_a_trial_may_be_a_worker_of_ray_train(tmp_path: Path, ray_local: None) -> None:
    with open_run(config(tmp_path / "run")) as run:
        found = search(task(tmp_path, trials=1, on_train=True), run, RayExecutor(1))
    (trial,) = found["trials"]
    assert trial["steps"] == 4
    expected = (trial["settings"]["place"] - 0.3) ** 2 + (trial["settings"]["kind"] == "plain") + 0.01 / 4
    assert trial["score"] == pytest.approx(expected)


def test_a_killed_search_keeps_its_finished_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TUNE_GLOBAL_CHECKPOINT_S", "0.5"
    )  # Tune notes every 10 s what is finished: longer than all this
    calls = tmp_path / "calls"
    calls.mkdir()
    command = ("--run-dir", tmp_path / "run", "--calls", calls, "--seconds", 1.5, "--workers", 2)
    driver = start(*command, module="tests.fault.search_job")
    wait_for(lambda: len(list(calls.iterdir())) >= 5, driver)  # two run, one may just be over
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not (tmp_path / "run/search.json").exists()
    code, _, err = finish(start(*command, module="tests.fault.search_job"))
    assert code == 0, err
    found = json.loads((tmp_path / "run/search.json").read_text())["valley"]
    assert len(found["trials"]) == 6 and found["failed"] == 0
    began = {path.name: len(path.read_text()) for path in calls.iterdir()}
    assert len(began) == 6 and min(began.values()) == 1 and sum(began.values()) <= 6 + 3
