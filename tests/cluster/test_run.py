"""Run directories: what is refused, what a driver leaves behind, which engine is found."""

import time
from pathlib import Path

import pytest

from cluster.ray_session import attached, executor_session
from cluster.run import HEARTBEAT_S, STALE_S, live_driver, open_run, pipeline_of, read_config
from sciml.core.errors import ConfigError, RunError
from sciml.core.urls import join, write_bytes
from tests.cluster.toy import ToyConfig, config


def test_a_run_directory_says_what_it_was_told(tmp_path: Path) -> None:
    with open_run(config(tmp_path / "run", seed=7)) as run:
        assert live_driver(run.url) is not None
        run.register("squares", "squares-0123")
    assert pipeline_of(str(tmp_path / "run")) == "toy"
    told = read_config(str(tmp_path / "run"))
    assert ToyConfig.model_validate(told) == config(tmp_path / "run", seed=7)
    assert live_driver(str(tmp_path / "run")) is None
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.yaml", "stores.json"]


def test_a_relative_folder_is_fine_here_and_refused_in_a_submitted_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_run(config("runs/toy")) as run:
        assert run.url == str(tmp_path / "runs/toy")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    with pytest.raises(ConfigError, match="give an absolute path or an s3:// URL"), open_run(config("runs/toy")):
        pass
    with open_run(config(tmp_path / "runs/toy")):
        pass


@pytest.mark.parametrize("name", ["run[1]", "run*", "what?"])
def test_a_name_that_is_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is read as a pattern"), open_run(config(tmp_path / name)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_on_s3_a_driver_elsewhere_is_alive_while_its_heart_beats(s3: str) -> None:
    import json

    assert 3 * HEARTBEAT_S <= STALE_S  # two missed beats are not a death
    there = {"host": "another-host", "pid": 1, "started": 0.0}
    write_bytes(join(s3, "driver.json"), json.dumps(there | {"heartbeat": time.time()}).encode())
    with pytest.raises(RunError, match="in use by process 1 on another-host"), open_run(config(s3)):
        pass
    write_bytes(join(s3, "driver.json"), json.dumps(there | {"heartbeat": time.time() - STALE_S}).encode())
    with open_run(config(s3)):
        pass
    assert live_driver(s3) is None


def test_a_lock_that_cannot_be_read_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "driver.json").write_text('{"host": ')
    with open_run(config(tmp_path)):
        pass


def test_the_serial_executor_needs_no_engine(tmp_path: Path) -> None:
    with executor_session(config(tmp_path)) as executor:
        assert executor.workers == 1


def test_an_address_on_which_no_ray_answers_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)

    def refuse(**options: object) -> None:
        raise ConnectionError(f"Could not find any running Ray instance at {options['address']}.\nmore")

    monkeypatch.setattr("ray.init", refuse)
    there = config(tmp_path, ray_address="10.0.0.1:6379").model_copy(update={"executor": "ray"})
    assert attached(there)
    with (
        pytest.raises(ConfigError, match=r"Ray at 10\.0\.0\.1:6379: Could not find") as caught,
        executor_session(there),
    ):
        pass
    assert "\n" not in str(caught.value)
