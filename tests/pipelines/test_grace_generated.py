"""The main job on a small generated Earth, as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cluster.cli import main as sciml
from pipelines.grace_downscale import main
from sciml.data.stores import open_store

SMALL = "--tiles 1 --mascon-rows 2 --mascon-columns 3 --members 2 --global-members 2 --lags 2 --folds 3".split()
SMALL += ["--models", "lstm,ridge"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    assert main([*SMALL, "--run-dir", str(folder / "run"), "--executor", "serial"]) == 0
    return folder / "run"


def stores(run: Path) -> dict[str, dict[str, np.ndarray]]:
    """Every array of every stage: stage -> variable -> values."""
    names = json.loads((run / "stores.json").read_text())
    return {
        stage: {str(name): v.values for name, v in open_store(str(run / "stages" / store)).data_vars.items()}
        for stage, store in names.items()
    }


def test_a_run_leaves_what_the_readme_promises(run: Path) -> None:
    assert {"config.yaml", "metrics.json", "scores.parquet", "report.html", "stages", "ledger"} <= {
        path.name for path in run.iterdir()
    }
    metrics = json.loads((run / "metrics.json").read_text())
    for experiment in ("synthetic_t1", "synthetic_t2"):
        scores = metrics["scores"][experiment]
        assert {"lstm", "ridge", "bilinear", "cubic", "cubic_conserved"} == set(scores)
        for key in ("nse_median", "r_median", "rmse_median", "r_deseasonalised_median", "crps_median"):
            low, high = scores["lstm"][f"{key}_ci"]
            assert low <= scores["lstm"][key] <= high
        assert scores["lstm"]["n"] == 6
        assert set(scores["lstm"]["fraction_better_than"]) >= {"cubic_conserved", "ridge"}
    frame = pd.read_parquet(run / "scores.parquet")
    assert {"experiment", "model", "unit", "n", "nse", "rmse", "crps"} <= set(frame.columns)
    assert sciml(["verify", str(run)]) == 0


def test_downscaled_storage_returns_what_grace_saw(run: Path) -> None:
    found = open_store(str(next((run / "stages").glob("downscaled_lstm_t2-*")))).load()
    earth = open_store(str(next((run / "stages").glob("earth_different-*")))).load()
    area, parent = found["cell_area"].values, found["parent"].values
    weight = area / np.bincount(parent, area)[parent]
    mean = np.stack([np.bincount(parent, weight * field) for field in found["twsa"].values.T], axis=-1)
    seen = found["gap_month"].values == 0
    observed = earth["twsa_t2"].values.astype(float)
    difference = mean[:, seen] - observed
    assert np.abs(difference - difference.mean(axis=1, keepdims=True)).max() < 1e-3  # float32 of some hundred mm
    sigma = found["twsa_sigma"].values
    assert sigma[:, ~seen].mean() > sigma[:, seen].mean()


def test_the_map_is_a_cf_netcdf_file_with_gaps_flagged(run: Path) -> None:
    with xr.open_dataset(run / "synthetic_t2.nc") as found:
        assert found.attrs["Conventions"].startswith("CF")
        assert found["twsa"].dims == ("time", "lat", "lon")
        assert found["twsa"].attrs["units"] == "mm"
        months = found["time"].values[found["gap_month"].values == 1].astype("datetime64[M]")
        assert np.datetime64("2017-10") in months


def test_basin_means_are_those_of_the_members(run: Path) -> None:
    members = open_store(str(next((run / "stages").glob("downscaled_*_t2-*")))).load()
    area, parent = members["cell_area"].values, members["parent"].values
    with xr.open_dataset(run / "basin_means_synthetic_t2.nc") as found:
        assert found.sizes["basin"] == 6 and found["twsa"].dims == ("basin", "time")
        size = area[parent == 3].sum() * 1e-6
        np.testing.assert_allclose(found["volume"][3], found["twsa"][3] * size, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found["volume_sigma"][3], found["twsa_sigma"][3] * size, rtol=1e-4)
        np.testing.assert_array_equal(found["observed"][3] == 1, members["gap_month"].values == 0)
        np.testing.assert_allclose(found["twsa_sigma"], found["twsa_member"].std("member", ddof=1), rtol=1e-3)


def test_metrics_hold_what_the_product_keeps(run: Path) -> None:
    for scores in json.loads((run / "metrics.json").read_text())["scores"].values():
        for model in ("lstm", "ridge", "cubic_conserved"):
            assert scores[model]["conservation_error_mm"] < 1e-4
            assert 0.5 < scores[model]["border_jump_ratio"] < 3
            assert 0 < scores[model]["coverage90_gap"] <= 1
            assert set(scores[model]["coverage90_by_climate"]) == {"mountain snow"}


def test_a_second_run_reuses_everything(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "stages").rglob("c/*") if path.is_file()}
    assert main([*SMALL, "--run-dir", str(run), "--executor", "serial"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (run / "stages").rglob("c/*") if path.is_file()}
    assert "reused" in capsys.readouterr().out


def test_ray_gives_the_same_bits_as_serial(run: Path, tmp_path: Path, ray_local: None) -> None:
    assert main([*SMALL, "--run-dir", str(tmp_path / "ray"), "--executor", "ray", "--workers", "2"]) == 0
    here, there = stores(run), stores(tmp_path / "ray")
    assert here.keys() == there.keys()
    for stage, arrays in here.items():
        for name, values in arrays.items():
            np.testing.assert_array_equal(there[stage][name], values, err_msg=f"{stage} {name}")


def test_the_papers_period_is_drawn_out_and_cross_validated(tmp_path: Path) -> None:
    options = [*SMALL[: SMALL.index("--models")], "--models", "ridge", "--experiment", "synthetic_t2"]
    assert main([*options, "--preset", "paper", "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["scores"]["synthetic_t2_cross_validation"]["ridge"]["n"] == 6
    assert metrics["split"] == {"training": "2002-04 to 2018-12", "test": "2019-01 to 2021-08"}
    with xr.open_dataset(tmp_path / "run/synthetic_t2.nc") as found:
        months = found["time"].values.astype("datetime64[M]")
        paper = np.arange(np.datetime64("2002-08"), np.datetime64("2021-09"))
        assert set(paper) <= set(months) and np.isfinite(found["twsa"].values[:, found["cell_area"].values > 0]).all()
    assert (tmp_path / "run/basin_means.nc").exists()


def test_a_dry_run_says_what_it_takes_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--run-dir", str(tmp_path / "run"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "downscaled_lstm_t2" in said
    assert "total" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--memebers", "3"], "--memebers: no such option; did you mean 'members'?"),
        (["--tiles", "99"], "found 99, expected 1 to"),
        (["--source", "gridded"], "--source gridded needs --twsa"),
        (["--experiment", "basins"], "source generated offers synthetic_t1, synthetic_t2"),
        (["--train-last", "2016-01"], "expected non-empty periods, the test after the training"),
        (["--source", "gridded", "--twsa", "/nowhere.nc", "--predictors", "x.zarr"], "/nowhere.nc: no such file"),
    ],
)
def test_a_mistake_ends_in_one_line(
    tmp_path: Path, options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert len(said.strip().splitlines()) == 1
