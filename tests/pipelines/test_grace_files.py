"""The gridded job on files, with the traps that real files hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipelines.grace_downscale import main
from sciml.generated import earth
from sciml.generated.earth import EarthConfig
from sciml.generated.grace_signal import mission_records

CONFIG = EarthConfig(tiles=1, mascon_rows=2, mascon_columns=3)
OPTIONS = ["--source", "gridded", "--members", "2", "--lags", "2", "--folds", "3", "--models", "ridge,lstm"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset]:
    """A mascon file and daily predictors on its grid, from the generated Earth."""
    tile = earth.simulate_tile(CONFIG, 0)
    observed = earth.observe_tile(CONFIG, tile, "total", mission_records())
    grace = earth.grace_dataset(CONFIG, {0: observed})
    place = tile.assign_coords(lat=tile["cell_lat"], lon=tile["cell_lon"])[list(earth.PREDICTORS)]
    daily = place.set_index(cell=("lat", "lon")).unstack("cell")
    return grace, daily.transpose("time", "lat", "lon")


def write(folder: Path, grace: xr.Dataset, daily: xr.Dataset) -> list[str]:
    grace.to_netcdf(folder / "grace.nc")
    daily.chunk({"time": -1}).to_zarr(folder / "daily.zarr", zarr_format=3, consolidated=False)
    return [*OPTIONS, "--twsa", str(folder / "grace.nc"), "--predictors", str(folder / "daily.zarr")]


def run(options: list[str], folder: Path) -> dict[str, dict[str, float]]:
    assert main([*options, "--run-dir", str(folder), "--executor", "serial"]) == 0
    return json.loads((folder / "metrics.json").read_text())["scores"]["downscale"]


def test_files_with_other_axes_a_lost_mascon_and_short_predictors(
    files: tuple[xr.Dataset, xr.Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grace, daily = files
    lost = grace["mascon_ID"] == 3
    grace = grace.assign(lwe_thickness=grace["lwe_thickness"].where(~lost)).isel(lat=slice(None, None, -1))
    unseen = (grace["mascon_ID"] == 5) & (grace["time"] >= np.datetime64("2015-01-01"))
    grace = grace.assign(lwe_thickness=grace["lwe_thickness"].where(~unseen)).drop_vars("uncertainty")
    lake = (daily["lat"] == daily["lat"][5]) & (daily["lon"] == daily["lon"][4])
    daily = daily.where(~lake)
    short = daily.sel(time=slice(None, "2019-06-30")).isel(lat=slice(None, None, -1))
    scores = run(write(tmp_path, grace, short), tmp_path / "run")
    said = capsys.readouterr().out
    assert "predictors end in 2019-06, GRACE in" in said
    assert "1 of 6 land mascons hold no value" in said
    assert "no variable 'uncertainty'; 20 mm is taken" in said
    assert scores["lstm"]["n"] == 4  # of six, one without any value and one without a test record
    assert scores["lstm"]["conservation_error_mm"] < 1e-4
    assert {"climatology_trend", "last_year"} <= set(scores)
    with xr.open_dataset(tmp_path / "run/downscale.nc") as found:
        assert found["time"].values[-1].astype("datetime64[M]") == np.datetime64("2019-06")
        land = np.isfinite(found["cell_area"].values)
        assert land[5, 4] and np.isfinite(found["twsa"].values[:, land]).all()
        np.testing.assert_allclose(found["volume"][9], found["twsa"][9] * found["cell_area"] * 1e-6, rtol=1e-5)


def test_nothing_after_training_changes_what_was_learned(files: tuple[xr.Dataset, xr.Dataset], tmp_path: Path) -> None:
    grace, daily = files
    later = grace["time"] >= np.datetime64("2015-01-01")
    spoiled = grace.assign(lwe_thickness=grace["lwe_thickness"].where(~later, grace["lwe_thickness"] * -2 + 7))
    predictions = []
    for name, file in (("as it is", grace), ("spoiled", spoiled)):
        folder = tmp_path / name
        folder.mkdir()
        run(write(folder, file, daily), folder / "run")
        stores = [
            xr.open_zarr(str(p), consolidated=False).load()
            for p in sorted((folder / "run/stages").glob("[lr]*_twsa-*"))
        ]
        predictions.append(stores)
    assert len(predictions[0]) == 2
    for first, second in zip(*predictions, strict=True):
        for variable in ("coarse", "fine", "out_of_fold"):
            np.testing.assert_array_equal(first[variable].values, second[variable].values)


def test_predictors_without_a_month_in_common_are_refused(
    files: tuple[xr.Dataset, xr.Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grace, daily = files
    options = write(tmp_path, grace, daily.isel(time=slice(0, 40)))
    assert main([*options, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 2
    assert "found no month in common" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda g: g.drop_vars("mascon_ID"), "'mascon_ID' missing"),
        (lambda g: g.assign(lwe_thickness=(0.3 * g["lwe_thickness"]).assign_attrs(units="mm")), "cm taken for mm"),
        (
            lambda g: g.assign(time_bounds=g["time_bounds"].where(g["time"] != g["time"][3], g["time_bounds"][2])),
            "identical",
        ),
    ],
)
def test_a_bad_mascon_file_ends_in_one_line(
    files: tuple[xr.Dataset, xr.Dataset], tmp_path: Path, spoil: object, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grace, daily = files
    options = write(tmp_path, spoil(grace), daily.isel(time=slice(0, 40)))  # type: ignore[operator]
    assert main([*options, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 2
    said = capsys.readouterr().err
    assert line in said and "grace.nc" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run/metrics.json").exists()
