"""`--update`: what it appends is what a whole run on the longer files gives, bit for bit."""

import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cluster import cli, dask_session
from cluster.run import read_config
from pipelines import grace_update
from pipelines.grace_downscale import main
from sciml.core.errors import ConfigError
from sciml.generated import earth
from sciml.grace import search
from sciml.grace.config import GraceConfig
from tests.fault import tools
from tests.pipelines.test_grace_files import files  # noqa: F401 (a fixture)

Files = tuple[xr.Dataset, xr.Dataset]
OPTIONS = ["--source", "gridded", "--members", "2", "--global-members", "2", "--lags", "2", "--folds", "2"]
SHORT = np.datetime64("2020-04-16")  # GRACE and predictors end in the middle of a month


def write(
    folder: Path, data: Files, *, grace_until: str = "2021-01", days_from: str = "1900", until: str = "2021-01"
) -> None:
    folder.mkdir(exist_ok=True)
    grace, daily = data
    kept = grace.isel(time=np.flatnonzero(grace["time_bounds"].values[:, 1] <= np.datetime64(grace_until)))
    for name in ("time", "time_bounds"):
        kept[name].encoding = grace[name].encoding
    kept.to_netcdf(folder / "grace.nc")
    days = daily.sel(time=slice(days_from, np.datetime64(until) - np.timedelta64(1, "D")))
    days.to_netcdf(folder / "daily.nc")


def given(folder: Path) -> list[str]:
    return ["--twsa", str(folder / "grace.nc"), "--predictors", str(folder / "daily.nc")]


def run(folder: Path, *options: str) -> int:
    return main([*options, "--run-dir", str(folder), "--executor", "serial"])


def product(folder: Path) -> tuple[xr.Dataset, xr.Dataset]:
    found = []
    for name in ("downscale.nc", "basin_means.nc"):
        with xr.open_dataset(folder / name) as ds:
            found.append(ds.load())
    return found[0], found[1]


def few_steps(model: str, folder: Path) -> list[str]:
    """Options that give a network few steps of fitting: what is appended must be alike, not good."""
    if model == "ridge":
        return []
    few = {"hidden_size": 8, "steps": 8} if model == "global_lstm" else {"epochs": 10}
    settings = search.defaults(model, tuple(earth.PREDICTORS), 2, 2) | few
    (folder / "search.json").write_text(json.dumps({model: {"best": {"settings": settings}}}))
    return ["--search-result", str(folder / "search.json")]


@pytest.mark.parametrize(
    ("model", "steps"), [("ridge", ("middle", "long")), ("global_lstm", ["long"]), ("lstm", ["long"])]
)
def test_an_update_equals_a_whole_run(
    model: str,
    steps: list[str],
    files: Files,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "long", files)
    write(tmp_path / "short", files, grace_until="2020-08", until="2020-06-11")
    write(tmp_path / "middle", files, grace_until="2020-11", days_from="2020-05-20", until="2020-10-21")
    options = [*OPTIONS, "--models", model, *few_steps(model, tmp_path)]
    assert run(tmp_path / "whole", *options, *given(tmp_path / "long")) == 0
    assert run(tmp_path / "run", *options, *given(tmp_path / "short")) == 0
    before = product(tmp_path / "run")[0]
    for step in steps:
        assert run(tmp_path / "run", "--update", *given(tmp_path / step)) == 0
    for found, expected in zip(product(tmp_path / "run"), product(tmp_path / "whole"), strict=True):
        assert found.sizes["time"] == expected.sizes["time"] > before.sizes["time"]
        xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
    lineage = json.loads(product(tmp_path / "run")[0].attrs["lineage"])
    assert [line["first_month"] for line in lineage] == ["2020-06", "2020-10"][: len(steps)]
    assert lineage[-1]["last_month"] == "2020-12" and sum(line["windows"] for line in lineage) >= 7
    capsys.readouterr()
    longer = product(tmp_path / "run")
    assert run(tmp_path / "run", "--update", *given(tmp_path / "long")) == 0
    assert "nothing new: these files are in the product" in capsys.readouterr().out
    for found, expected in zip(product(tmp_path / "run"), longer, strict=True):
        xr.testing.assert_identical(found, expected)
    told = read_config(str(tmp_path / "run"))
    assert not told["update"] and told["twsa"] == str(tmp_path / "long/grace.nc")
    if model == "ridge":
        assert run(tmp_path / "run", *options, *given(tmp_path / "short")) == 0
        assert product(tmp_path / "run")[0].sizes["time"] == before.sizes["time"]
        assert run(tmp_path / "run", "--update=true", *given(tmp_path / "long")) == 0
        for found, expected in zip(product(tmp_path / "run"), longer, strict=True):
            xr.testing.assert_identical(found, expected)


@pytest.fixture(scope="module")
def made(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A finished run on files that end in summer 2020, and longer files beside it."""
    folder = tmp_path_factory.mktemp("made")
    write(folder / "long", files)
    write(folder / "short", files, grace_until="2020-08", until="2020-06-11")
    assert run(folder / "run", *OPTIONS, "--models", "ridge", *given(folder / "short")) == 0
    shutil.copytree(folder / "run", folder / "first")  # which stays as it is
    return folder


def revised_storage(grace: xr.Dataset, daily: xr.Dataset) -> Files:
    cell = (grace["mascon_ID"] == 2) & (grace["time"] == grace["time"][40])
    return grace.assign(lwe_thickness=grace["lwe_thickness"].where(~cell, 3.0)), daily


def late_record(grace: xr.Dataset, daily: xr.Dataset) -> Files:
    return grace.isel(time=np.delete(np.arange(grace.sizes["time"]), 50)), daily


def other_predictors(grace: xr.Dataset, daily: xr.Dataset) -> Files:
    return grace, daily.assign(pr=daily["pr"] * 1.1)


def fewer_mascons(grace: xr.Dataset, daily: xr.Dataset) -> Files:
    return grace.assign(lwe_thickness=grace["lwe_thickness"].where(grace["mascon_ID"] != 2)), daily


def a_month_between(grace: xr.Dataset, daily: xr.Dataset) -> Files:
    return grace, daily.sel(time=slice("2020-07-01", None))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (revised_storage, "of mascon 2: found 30, expected .* (1 of .* records differ); a revised history"),
        (late_record, "found no record .* in its place"),
        (other_predictors, "variable 'pr': the run's last month, .* other predictors need a whole run"),
        (fewer_mascons, "found 5 mascons, expected the 6 of the run"),
        (a_month_between, "found 2020-07 as its first whole month, expected 2020-06 or before"),
    ],
)
def test_what_is_no_continuation_is_refused_in_one_line_and_changes_nothing(
    made: Path,
    files: Files,  # noqa: F811
    spoil: object,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "new", spoil(*files))  # type: ignore[operator]
    before, told = ((made / "run" / name).read_bytes() for name in ("downscale.nc", "config.yaml"))
    assert run(made / "run", "--update", *given(tmp_path / "new")) == 2
    assert (made / "run/config.yaml").read_bytes() == told
    said = capsys.readouterr().err.strip()
    assert re.search(says.replace("(", r"\(").replace(")", r"\)"), said) and len(said.splitlines()) == 1
    assert (made / "run/downscale.nc").read_bytes() == before and not (made / "run/lineage.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--members", "3"], "--members: the run was made with 2; an update cannot change it"),
        (["--preset", "global"], "takes its options from there"),
        (["--dry-run"], "has no --dry-run"),
    ],
)
def test_an_update_has_the_runs_own_options(
    made: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(made / "run", "--update", *options, *given(made / "long")) == 2
    assert says in capsys.readouterr().err


def test_what_is_an_update_and_what_is_not(made: Path, tmp_path: Path) -> None:
    folder = ["--run-dir", str(made / "run")]
    for words in (["--update"], ["--update=true"], ["--update", "true"]):
        found = GraceConfig.parse([*words, *folder])
        assert found.update and found.source == "gridded" and found.models == ("ridge",)  # as the run was told
    words = ["--source", "gridded", *given(made / "long"), *folder]
    assert not GraceConfig.parse(["--update", "false", *words]).update
    assert GraceConfig.parse(["--update=false", *words]).models != ("ridge",)
    with pytest.raises(ConfigError, match="--update"):
        GraceConfig.parse(["--update=perhaps", *words])
    (tmp_path / "job.yaml").write_text("update: true\nsource: gridded\ntwsa: a\npredictors: b\n")
    with pytest.raises(ConfigError, match=r"job\.yaml: update: true; an update is asked for with --update --run-dir"):
        GraceConfig.parse(["--config", str(tmp_path / "job.yaml")])


def test_an_update_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "nowhere", "--update", "--twsa", "x.nc", "--predictors", "y.nc") == 2
    assert "expected the folder of a finished run" in capsys.readouterr().err


def test_an_update_that_was_stopped_goes_on(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between any two stores, the next call ends with the product of a call that was never stopped."""

    class Stopped(Exception):
        pass

    calls = 0
    longer = grace_update._longer

    def stop_at_the_map(engine: object, name: str, *rest: object) -> object:
        nonlocal calls
        if name == "update_basins":
            calls += 1
            if calls == 1:
                raise Stopped
        return longer(engine, name, *rest)  # type: ignore[arg-type]

    shutil.copytree(made / "run", made / "other")
    monkeypatch.setattr(grace_update, "_longer", stop_at_the_map)
    before = (made / "run/downscale.nc").read_bytes()
    assert run(made / "run", "--update", *given(made / "long")) != 0
    assert (made / "run/downscale.nc").read_bytes() == before and not (made / "run/lineage.json").exists()
    for folder in ("run", "other"):
        assert run(made / folder, "--update", *given(made / "long")) == 0
    for one, other in zip(product(made / "run"), product(made / "other"), strict=True):
        xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())
    assert cli.main(["verify", str(made / "run")]) == 0


def objects(folder: Path) -> dict[str, bytes]:
    """Values of all stores; their attributes say when they were appended."""
    return {name: data for name, data in tools.objects(folder).items() if "/c/" in name}


def test_an_update_that_was_killed_goes_on(made: Path) -> None:
    for folder in ("killed", "straight"):
        shutil.copytree(made / "first", made / folder)
    options = ["--update", "--executor", "serial", *given(made / "long")]
    driver = tools.start("--run-dir", made / "killed", *options, module="pipelines.grace_downscale")
    tools.wait_for(lambda: any((made / "killed/ledger").glob("update_predictors-*/items/*.json")), driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert driver.returncode == -signal.SIGKILL and not (made / "killed/lineage.json").exists()
    assert (made / "killed/downscale.nc").read_bytes() == (made / "first/downscale.nc").read_bytes()
    for folder in ("killed", "straight"):
        assert run(made / folder, "--update", *given(made / "long")) == 0
    for one, other in zip(product(made / "killed"), product(made / "straight"), strict=True):
        xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())
    assert objects(made / "killed") == objects(made / "straight") != objects(made / "first")
    assert cli.main(["verify", str(made / "killed")]) == 0


def test_after_the_whole_command_a_bare_update_brings_back_what_was_appended(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made / "rerun"
    shutil.copytree(made / "first", folder)
    assert run(folder, "--update", *given(made / "long")) == 0
    longer, told = product(folder), read_config(str(folder))
    scores = json.loads((folder / "metrics.json").read_text())
    (line,) = scores["updates"]
    assert line["first_month"] == "2020-06" and line["last_month"] == "2020-12"
    assert line["files"]["twsa"] == str(made / "long/grace.nc") == told["twsa"]
    said = capsys.readouterr().out
    assert f"appended {line['windows']} windows, 2020-06 to 2020-12" in said and "scores and report are of the" in said

    assert run(folder, *OPTIONS, "--models", "ridge", *given(made / "short")) == 0
    assert product(folder)[0].sizes["time"] < longer[0].sizes["time"]
    whole = json.loads((folder / "metrics.json").read_text())
    assert "updates" not in whole and whole["scores"] == scores["scores"]
    capsys.readouterr()
    for _ in range(2):
        assert run(folder, "--update") == 0
        assert "nothing new: these files are in the product" in capsys.readouterr().out
        for found, expected in zip(product(folder), longer, strict=True):
            xr.testing.assert_identical(found, expected)
        assert read_config(str(folder)) == told
        assert json.loads((folder / "metrics.json").read_text())["updates"] == [line]
    assert cli.main(["verify", str(folder)]) == 0


def test_a_step_of_few_tasks_needs_no_scheduler_and_writes_the_same(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, few in (("threads", dask_session.FEW_TASKS), ("scheduler", 0)):
        shutil.copytree(made / "first", made / folder)
        monkeypatch.setattr(dask_session, "FEW_TASKS", few)
        capsys.readouterr()
        assert run(made / folder, "--update", *given(made / "long")) == 0
        assert ("Dask dashboard" in capsys.readouterr().out) == (few == 0)
    assert objects(made / "threads") == objects(made / "scheduler")
