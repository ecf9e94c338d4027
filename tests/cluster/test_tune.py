"""A small search finds a planted optimum, is not repeated, and goes on after its driver was killed."""

import json
import signal
from pathlib import Path

import pytest

import tune_spaces.grace_lstm
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
    assert found["best"] == min(found["trials"], key=lambda trial: trial["score"]) and len(found["trials"]) == 10
    assert any(trial["steps"] < 4 for trial in found["trials"])  # poor ones were stopped early
    assert len(list(tmp_path.glob("*"))) == began == 10 + 1
    assert json.loads((tmp_path / "run/search.json").read_text()) == found


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


def test_every_search_space_can_be_drawn() -> None:
    for setting, drawn in tune_spaces.grace_lstm.LOCAL.items():
        assert _domain(setting, drawn).sample() is not None


def test_a_killed_search_keeps_its_finished_trials(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    command = ("--run-dir", tmp_path / "run", "--calls", calls, "--seconds", 0.3, "--workers", 2)
    driver = start(*command, module="tests.fault.search_job")
    wait_for(lambda: len(list(calls.iterdir())) >= 3, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not (tmp_path / "run/search.json").exists()
    code, _, err = finish(start(*command, module="tests.fault.search_job"))
    assert code == 0, err
    found = json.loads((tmp_path / "run/search.json").read_text())
    assert len(found["trials"]) == 6 and found["failed"] == 0
    began = {path.name: len(path.read_text()) for path in calls.iterdir()}
    assert len(began) == 6 and min(began.values()) == 1 and sum(began.values()) <= 6 + 3
