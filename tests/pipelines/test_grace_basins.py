"""The basin experiments on a small table with planted physics, and on a part of the real one."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from cluster.cli import main as sciml
from pipelines.grace_downscale import main

MONTHS = np.arange(np.datetime64("1996-01"), np.datetime64("2020-09"))
OPTIONS = "--predictor-family ERA5_Land,MERRA2 --groups 4 --members 3 --global-members 2 --lags 2 --folds 2".split()
OPTIONS += ["--mascons-per-item", "5"]
REAL = "hydro/basin_water_budget"


def write_table(folder: Path, basins: int = 12) -> list[str]:
    """Basins in a row along the equator, storage a leaky store of P - ET - R with noise; returns the options."""
    rng = np.random.default_rng(5)
    t, names = np.arange(len(MONTHS)), [f"BASIN {k}" for k in range(basins)]
    wave = np.cos(2 * np.pi * t[None] / 12 + rng.uniform(0, 6, (basins, 1)))
    rain = rng.uniform(60, 120, (basins, 1)) * (1 + 0.6 * wave) + 15 * rng.standard_normal((basins, len(t)))
    fluxes = {"P": np.maximum(rain, 0), "ET": 45 + 15 * np.roll(wave, 2, axis=1), "R": 0.2 * np.maximum(rain, 0)}
    budget = fluxes["P"] - fluxes["ET"] - fluxes["R"]
    storage = np.zeros(rain.shape)
    for month in range(1, len(t)):
        storage[:, month] = 0.9 * storage[:, month - 1] + (budget - budget.mean(axis=1, keepdims=True))[:, month]
    variables = {
        f"{flux}_{family}": (
            ("basin", "time"),
            (values * rng.uniform(0.95, 1.05, (basins, 1))).astype("f4"),
            {"units": "mm month-1"},
        )
        for flux, values in fluxes.items()
        for family in ("ERA5_Land", "MERRA2")
    }
    observed = (storage + rng.normal(0, 5, rain.shape)).astype("f4")
    variables["TWS_X"] = (("basin", "time"), observed, {"units": "mm"})
    holes = observed.copy()
    holes[0, MONTHS < np.datetime64("2012-01")] = np.nan  # begins three years before the training ends
    holes[1, ::2] = np.nan  # six calendar months were never observed
    holes[2, MONTHS >= np.datetime64("2014-01")] = np.nan  # not one test month
    variables["TWS_HOLES"] = (("basin", "time"), holes, {"units": "mm"})
    variables["TWS_uncertainty_X"] = (("basin", "time"), np.full(rain.shape, 8, "f4"), {"units": "mm"})
    xr.Dataset(variables, {"basin": names, "time": MONTHS.astype("datetime64[ns]")}).to_netcdf(folder / "basins.nc")
    lat, lon = np.arange(-89.75, 90, 0.5), np.arange(-179.75, 180, 0.5)
    index = np.full((len(lat), len(lon)), np.nan, "f4")
    for basin in range(basins - 1):  # the last one has no place
        index[178:182, 40 + 50 * basin : 44 + 50 * basin] = basin
    xr.Dataset({"basin_index": (("lat", "lon"), index)}, {"lat": lat, "lon": lon, "basin": names}).to_netcdf(
        folder / "mask.nc"
    )
    real = MONTHS[
        (np.datetime64("2002-04") <= MONTHS)
        & ~np.isin(MONTHS, np.arange(np.datetime64("2017-07"), np.datetime64("2018-06")))
    ]
    pd.DataFrame({"time": real, "start": real.astype("M8[D]"), "end": (real + 1).astype("M8[D]")}).to_csv(
        folder / "months.csv"
    )
    files = {
        "--twsa": "basins.nc",
        "--predictors": "basins.nc",
        "--real-months": "months.csv",
        "--basin-mask": "mask.nc",
    }
    named = [word for flag, name in files.items() for word in (flag, str(folder / name))]
    return ["--source", "basins", "--twsa-variable", "TWS_X", *named, *OPTIONS]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def run(table: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("basins") / "run"
    assert main([*table, "--run-dir", str(folder), "--executor", "serial"]) == 0
    return folder


def test_every_experiment_and_baseline_is_scored_on_the_same_units(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    scores = metrics["scores"]
    assert set(scores) == {"basins", "basins_region_out", "regroup"}
    for experiment, models in scores.items():
        assert {"global_lstm", "ridge"} <= set(models)
        assert len({(s["n"], s["n_months"], s["n_records"]) for s in models.values()}) == 1, experiment
        assert all(np.isfinite(s["crps_median"]) and 0 <= s["coverage90"] <= 1 for s in models.values())
    assert {"lstm", "climatology_trend", "last_year"} <= set(scores["basins"])
    assert "group_mean" in scores["regroup"]
    assert scores["basins"]["ridge"]["n_months"] == 49  # 60 months of 2015-2019 less the 11 of the mission's gap
    frame = pd.read_parquet(run / "scores.parquet")
    assert set(frame["unit"]) == {f"BASIN {k}" for k in range(12)}
    assert sciml(["verify", str(run)]) == 0


def test_options_reach_every_basin_experiment(run: Path) -> None:
    def nets(stage: str) -> int:
        return zarr.open_group(str(next((run / "stages").glob(f"predicted_{stage}-*"))))["storage"].shape[0]

    regions, neighbourhoods = 2, 4
    assert nets("basin_nets") == 2 + 2 + 2  # members, folds, halves
    assert nets("region_nets") == regions * 2 + regions
    assert nets("group_nets") == 2 + 2 * neighbourhoods
    local = zarr.open_group(str(next((run / "stages").glob("basin_lstm-*"))))["storage"]
    assert local.shape[1] == 3 and local.chunks[0] == 5


def test_predictions_reach_back_to_where_predictors_begin(run: Path) -> None:
    """Drought percentiles are built on decades in which nobody observed storage."""
    store = xr.open_zarr(next((run / "stages").glob("members_basins-*")), consolidated=False)
    assert store["storage"].dims == ("model", "unit", "member", "month")
    number = store.attrs["models"].split(", ").index("global_lstm")
    known = np.isfinite(store["storage"].isel(model=number).values).all(axis=(0, 1))
    np.testing.assert_array_equal(known, np.arange(len(MONTHS)) >= 35)


def test_every_model_and_member_of_regroup_returns_what_was_seen_of_the_group(run: Path) -> None:
    store = xr.open_zarr(next((run / "stages").glob("members_regroup-*")), consolidated=False)
    models = store.attrs["models"].split(", ")
    known = np.isfinite(store["storage"]).all(("model", "unit", "member")).values
    members = store["storage"].values[..., known].astype(float)
    seen = members[models.index("group_mean")].mean(axis=1)
    groups = np.unique(seen.round(1), axis=0, return_inverse=True)[1]
    assert groups.max() == 3
    for group in range(4):  # basins of the table are of one size
        inside = groups == group
        np.testing.assert_allclose(
            members[:, inside].mean(axis=1), np.broadcast_to(seen[inside].mean(axis=0), members[:, 0].shape), atol=1e-2
        )
        contrast = np.abs(members[models.index("global_lstm"), inside].mean(axis=1) - seen[inside]).max()
        assert (contrast > 1) == (inside.sum() > 1)


def test_basins_with_holes_are_scored_where_they_are_known(table: list[str], tmp_path: Path) -> None:
    options = [word.replace("TWS_X", "TWS_HOLES") for word in table] + ["--preset", "paper", "--train-first", "2002-08"]
    options += ["--train-last", "2014-12", "--test-first", "2015-01", "--test-last", "2019-12"]
    assert main([*options, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 0
    scores = json.loads((tmp_path / "run/metrics.json").read_text())["scores"]
    for experiment, known in (("basins", 11), ("basins_region_out", 10), ("regroup", 10)):
        assert {s["n"] for s in scores[experiment].values()} == {known}, experiment
        assert all(np.isfinite(s["crps_median"]) for s in scores[experiment].values())
    left_out = scores["basins_cross_validation"]
    assert {"lstm", "global_lstm", "ridge"} <= set(left_out) and left_out["ridge"]["nse_median"] > 0.7


def test_a_basin_without_a_flux_and_a_mask_of_one_basin_do_not_stop_the_job(
    table: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*table, "--experiment", "basins", "--models", "ridge"]
    with xr.open_dataset(table[table.index("--twsa") + 1]) as ds:
        for family in ("ERA5_Land", "MERRA2"):
            ds[f"R_{family}"][4] = np.nan
        ds.to_netcdf(tmp_path / "basins.nc")
    with xr.open_dataset(table[table.index("--basin-mask") + 1]) as ds:
        ds.where(ds["basin_index"] == 0).to_netcdf(tmp_path / "mask.nc")
    for flag, file in (("--twsa", "basins.nc"), ("--predictors", "basins.nc"), ("--basin-mask", "mask.nc")):
        options[options.index(flag) + 1] = str(tmp_path / file)
    assert main([*options, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 0
    said = capsys.readouterr().out
    assert "1 basins are left out, mrro is known in fewer than 24 training months: BASIN 4" in said
    assert "basins_region_out is left out: of 1 basins with a place" in said
    scores = json.loads((tmp_path / "run/metrics.json").read_text())["scores"]
    assert set(scores) == {"basins"} and scores["basins"]["ridge"]["n"] == 11


def test_a_planted_water_budget_is_learned(run: Path) -> None:
    scores = json.loads((run / "metrics.json").read_text())["scores"]["basins"]
    assert scores["ridge"]["nse_median"] > 0.8
    assert scores["global_lstm"]["nse_median"] > scores["climatology_trend"]["nse_median"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (["--twsa-variable", "TWS_Y"], "storage variable 'TWS_Y' missing; found TWS_HOLES, TWS_X"),
        (["--predictor-family", "ERA6"], "predictor family 'ERA6' unknown; found ERA5_Land, MERRA2"),
        (["--real-months", "/nowhere.csv"], "/nowhere.csv"),
        (["--groups", "40"], "11 basins with storage have a place, expected more than the 40 --groups"),
    ],
)
def test_a_mistake_ends_in_one_line(
    table: list[str], tmp_path: Path, change: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = list(table)
    position = options.index(change[0])
    options[position : position + 2] = change
    assert main([*options, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert len(said.strip().splitlines()) == 1


def test_real_basins_local_models(real_data: Path, tmp_path: Path) -> None:
    """A part of the real table through the same command; the networks of all basins take minutes and stay out."""
    folder = real_data / REAL
    options = ["--source", "basins", "--experiment", "basins", "--models", "lstm,ridge", "--members", "4"]
    files = [
        "--twsa",
        str(folder / "basin_monthly_1979_2020.nc"),
        "--predictors",
        str(folder / "basin_monthly_1979_2020.nc"),
    ]
    files += ["--real-months", str(real_data / "hydro/grace_months.csv")]
    assert main([*options, *files, "--run-dir", str(tmp_path / "run"), "--executor", "serial", "--lags", "2"]) == 0
    scores = json.loads((tmp_path / "run/metrics.json").read_text())["scores"]["basins"]
    assert scores["ridge"]["n"] > 100 and scores["ridge"]["n_months"] == 37
    assert scores["ridge"]["nse_median"] > scores["climatology_trend"]["nse_median"]
    assert scores["lstm"]["r_median"] > scores["climatology_trend"]["r_median"]
