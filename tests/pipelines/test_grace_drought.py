"""The drought experiment on a planted region: drought follows storage, storage follows rain, GRACE is blurred."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipelines.grace_downscale import main

MONTHS = np.arange(np.datetime64("1996-01"), np.datetime64("2020-09"))
LAT, LON = np.arange(36.25, 45, 0.5), np.arange(-101.75, -90, 0.5)  # three by four mascons
STATES = {0: ("19", "Iowa"), 1: ("20", "Kansas"), 2: ("31", "Nebraska"), 3: ("29", "Missouri")}
OPTIONS = "--experiment drought --predictor-family ERA5_Land --models ridge --groups 2 --twsa-variable TWS_X".split()


def storage_of_basins(rng: np.random.Generator, basins: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Fluxes [mm month-1] and the storage that they leave: (basin, month)."""
    t = np.arange(len(MONTHS))
    wave = np.cos(2 * np.pi * t[None] / 12 + rng.uniform(0, 1, (basins, 1)))
    weather = 0.5 * rng.standard_normal(len(t)) + rng.standard_normal((basins, len(t)))  # partly shared
    rain = np.maximum(80 * (1 + 0.4 * wave) + 18 * weather, 0)
    fluxes = {"P": rain, "ET": np.broadcast_to(60 + 20 * np.roll(wave, 1, axis=1), rain.shape), "R": 0.1 * rain}
    budget = fluxes["P"] - fluxes["ET"] - fluxes["R"]
    storage = np.zeros(rain.shape)
    for month in range(1, len(t)):
        storage[:, month] = 0.9 * storage[:, month - 1] + (budget - budget.mean(axis=1, keepdims=True))[:, month]
    return fluxes, storage


def write_region(folder: Path, *, other: str = "") -> list[str]:
    """Six basins of 9 x 8 cells, GRACE as means of 6 x 6 with noise, a county a cell; returns the options."""
    rng = np.random.default_rng(3)
    row, column = np.meshgrid(np.arange(len(LAT)), np.arange(len(LON)), indexing="ij")
    basin, mascon = row // 9 * 3 + column // 8, row // 6 * 4 + column // 6
    fluxes, storage = storage_of_basins(rng, 6)
    truth = storage[basin.ravel()]  # (cell, month)
    _write_basins(folder, basin, fluxes, storage)
    grace = np.stack([truth[mascon.ravel() == m].mean(axis=0) for m in range(12)]) + rng.normal(
        0, 15, (12, len(MONTHS))
    )
    _write_grace(folder, mascon, grace)
    fips = np.array([f"{STATES[s][0]}{2 * k + 1:03d}" for k, s in enumerate((row // 9 * 2 + column // 12).ravel())])
    _write_counties(folder, fips, row, column)
    _write_drought(folder, fips, truth + rng.normal(0, 10, truth.shape))
    files = {
        "--twsa": "basins.nc",
        "--predictors": "basins.nc",
        "--basin-mask": "mask.nc",
        "--real-months": "months.csv",
        "--mascons": "mascons.nc",
        "--usdm": "usdm.nc",
        "--county-centers": "centers.csv",
    }
    named = [word for flag, name in files.items() for word in (flag, str(folder / name))]
    return ["--source", "basins", *named, *OPTIONS, "--executor", "serial"]


def _write_basins(folder: Path, basin: np.ndarray, fluxes: dict[str, np.ndarray], storage: np.ndarray) -> None:
    names = [f"BASIN {k}" for k in range(len(storage))]
    dims, units = ("basin", "time"), {"units": "mm month-1"}
    variables = {f"{name}_ERA5_Land": (dims, values.astype("f4"), units) for name, values in fluxes.items()}
    variables["TWS_X"] = (dims, storage.astype("f4"), {"units": "mm"})
    xr.Dataset(variables, {"basin": names, "time": MONTHS.astype("M8[ns]")}).to_netcdf(folder / "basins.nc")
    grid = {"lat": LAT, "lon": LON, "basin": names}
    xr.Dataset({"basin_index": (("lat", "lon"), basin.astype("f4"))}, grid).to_netcdf(folder / "mask.nc")


def _real_months() -> np.ndarray:
    gap = np.arange(np.datetime64("2017-07"), np.datetime64("2018-06"))
    return MONTHS[(np.datetime64("2002-04") <= MONTHS) & ~np.isin(MONTHS, gap)]


def _write_grace(folder: Path, mascon: np.ndarray, storage: np.ndarray) -> None:
    real = _real_months()
    pd.DataFrame({"time": real, "start": real.astype("M8[D]"), "end": (real + 1).astype("M8[D]")}).to_csv(
        folder / "months.csv"
    )
    seen = storage[:, np.isin(MONTHS, real)]
    days = np.stack([real.astype("M8[D]"), (real + 1).astype("M8[D]")], axis=1).astype(float)
    xr.Dataset(
        {
            "lwe_thickness": (("time", "lat", "lon"), seen[mascon].transpose(2, 0, 1) / 10, {"units": "cm"}),
            "mascon_ID": (("lat", "lon"), mascon + 1.0),
            "land_mask": (("lat", "lon"), np.ones(mascon.shape)),
            "time_bounds": (("time", "bounds"), days),
        },
        {"time": ("time", days.mean(axis=1), {"units": "days since 1970-01-01"}), "lat": LAT, "lon": LON},
    ).to_netcdf(folder / "mascons.nc")


def _write_counties(folder: Path, fips: np.ndarray, row: np.ndarray, column: np.ndarray) -> None:
    state = dict(STATES.values())
    pd.DataFrame(
        {
            "fips": [code.lstrip("0") for code in fips],
            "county_name": fips,
            "state_name": [state[code[:2]] for code in fips],
            "population": 1,
            "latitude": LAT[row.ravel()],
            "longitude": LON[column.ravel()],
        }
    ).to_csv(folder / "centers.csv", index=False)


def _write_drought(folder: Path, fips: np.ndarray, wetness: np.ndarray) -> None:
    """Each county wholly in the class of its rank in the calendar month, on two maps a month."""
    anomaly = np.empty(wetness.shape)
    for month in range(12):
        same = np.arange(len(MONTHS)) % 12 == month
        ranks = wetness[:, same].argsort(axis=1).argsort(axis=1)
        anomaly[:, same] = (ranks + 0.5) / same.sum()
    level = sum((anomaly <= p).astype(int) for p in (0.3, 0.2, 0.1, 0.05, 0.02))
    area = np.stack([level == k for k in range(1, 6)]).astype("f4")
    kept = np.flatnonzero(MONTHS >= np.datetime64("2002-01"))
    week = np.repeat(MONTHS[kept].astype("M8[D]"), 2) + np.tile([5, 19], len(kept))
    xr.Dataset(
        {"area_fraction": (("category", "county", "time"), np.repeat(area[..., kept], 2, axis=2))},
        {"category": ["D0", "D1", "D2", "D3", "D4"], "county": fips, "time": week.astype("M8[ns]")},
    ).to_netcdf(folder / "usdm.nc")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_region(tmp_path_factory.mktemp("region"))


@pytest.fixture(scope="module")
def run(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drought") / "run"
    assert main([*options, "--run-dir", str(folder)]) == 0
    return folder


def test_drought_follows_planted_storage_and_rain_helps(run: Path) -> None:
    scores = json.loads((run / "metrics.json").read_text())["scores"]
    assert set(scores) == {"drought"}
    ours, interpolated = scores["drought"]["ridge"], scores["drought"]["cubic_conserved"]
    assert set(scores["drought"]) == {"mascon", "cubic_conserved", "ridge"}
    assert ours["dsci_spearman"] < interpolated["dsci_spearman"] < -0.4
    assert ours["gain_over_ci"]["cubic_conserved"][0] > 0
    assert ours["fraction_better_than"]["cubic_conserved"] >= 0.6
    assert ours["ets_D0"] > 0.2 and ours["pod_D0"] > ours["far_D0"]


def test_every_model_is_scored_on_the_same_months_of_four_states_and_six_basins(run: Path) -> None:
    scores = json.loads((run / "metrics.json").read_text())["scores"]["drought"]
    for one in scores.values():
        # 68 months from 2015 to 2020-08, 11 of them in the mission's gap
        assert (one["n"], one["n_months"], one["n_months_all"]) == (10, 57, 68)
        low, high = one["dsci_spearman_ci"]
        assert low <= one["dsci_spearman"] <= high
        total = one["hits_D0"] + one["misses_D0"] + one["false_alarms_D0"] + one["correct_negatives_D0"]
        assert total == 10 * 57
    frame = pd.read_parquet(run / "scores.parquet")
    assert sorted(frame["kind"].unique()) == ["basin", "state"]
    assert {"Kansas", "BASIN 3"} <= set(frame["unit"])


def test_the_page_says_that_the_monitor_knows_grace(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "not independent of GRACE" in page
    assert "2015-01 to the last month with predictors and Drought Monitor" in page
    assert {p.stem for p in (run / "figures").glob("drought-*.png")} == {
        "drought-classes",
        "drought-series",
        "drought-reliability",
    }


def test_the_drought_monitor_plays_no_part_in_storage(options: list[str], run: Path, tmp_path: Path) -> None:
    """Half of the counties are missing from the Monitor: scores change, the store is the same object for object."""
    changed = list(options)
    source = changed[changed.index("--usdm") + 1]
    with xr.open_dataset(source) as ds:
        ds.isel(county=slice(0, None, 2)).to_netcdf(tmp_path / "half.nc")
    changed[changed.index("--usdm") + 1] = str(tmp_path / "half.nc")
    assert main([*changed, "--run-dir", str(tmp_path / "run")]) == 0
    found = [next((folder / "stages").glob("drought-*")) for folder in (run, tmp_path / "run")]
    assert found[0].name == found[1].name
    for file in (p.relative_to(found[0]) for p in found[0].rglob("*") if p.is_file()):
        assert (found[0] / file).read_bytes() == (found[1] / file).read_bytes()
    metrics = [json.loads((f / "metrics.json").read_text())["scores"]["drought"] for f in (run, tmp_path / "run")]
    assert metrics[0]["ridge"]["dsci_spearman"] != metrics[1]["ridge"]["dsci_spearman"]


def without(options: list[str], flag: str) -> list[str]:
    position = options.index(flag)
    return options[:position] + options[position + 2 :]


@pytest.mark.parametrize("flag", ["--usdm", "--county-centers", "--mascons", "--basin-mask"])
def test_a_missing_file_option_is_named(options: list[str], tmp_path: Path, flag: str, capsys) -> None:
    assert main([*without(options, flag), "--run-dir", str(tmp_path / "run")]) == 2
    assert f"--experiment drought needs {flag}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def far_away(folder: Path, options: list[str]) -> tuple[str, str]:
    table = pd.read_csv(options[options.index("--county-centers") + 1], dtype=str)
    table.assign(latitude=-40.0).to_csv(folder / "away.csv", index=False)
    return "--county-centers", str(folder / "away.csv")


def of_hawaii(folder: Path, options: list[str]) -> tuple[str, str]:
    table = pd.read_csv(options[options.index("--county-centers") + 1], dtype=str)
    table["fips"] = [f"15{k:03d}" for k in range(len(table))]
    table.to_csv(folder / "hawaii.csv", index=False)
    return "--county-centers", str(folder / "hawaii.csv")


def cumulative(folder: Path, options: list[str]) -> tuple[str, str]:
    with xr.open_dataset(options[options.index("--usdm") + 1]) as ds:
        ds.assign(area_fraction=ds["area_fraction"][::-1].cumsum("category")[::-1]).to_netcdf(folder / "cumulative.nc")
    return "--usdm", str(folder / "cumulative.nc")


def of_another_time(folder: Path, options: list[str]) -> tuple[str, str]:
    with xr.open_dataset(options[options.index("--usdm") + 1]) as ds:
        ds.isel(time=slice(0, 24)).to_netcdf(folder / "early.nc")
    return "--usdm", str(folder / "early.nc")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (far_away, "no mascon lies within 600 km of a county"),
        (of_hawaii, "found no county of the contiguous United States"),
        (cumulative, "they look cumulative"),
        (of_another_time, "found 0 months from 2015-01 on with GRACE and the Drought Monitor"),
    ],
)
def test_a_mistake_ends_in_one_line(options: list[str], run: Path, tmp_path: Path, change, line: str, capsys) -> None:
    flag, file = change(tmp_path, options)
    assert main([*without(options, flag), flag, file, "--run-dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert line in said and len(said.strip().splitlines()) == 1
    assert not list((tmp_path / "run").glob("stages/*")), "found only after hours of training"
