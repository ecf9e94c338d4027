"""The flood experiment of every source: basins with reports, the generated Earth, files with gridded rain."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cluster.cli import main as sciml
from pipelines.grace_downscale import main
from sciml.core.errors import ConfigError
from sciml.data.readers.storm_events import COLLECTION
from sciml.generated import earth, floods
from sciml.generated.grace_signal import mission_records
from sciml.grace.config import GraceConfig
from tests.data.readers.test_storm_events import details
from tests.pipelines.test_grace_basins import MONTHS, write_table
from tests.pipelines.test_grace_files import CONFIG

SMALL = "--tiles 1 --mascon-rows 2 --mascon-columns 3 --members 2 --lags 2 --folds 2 --models ridge".split()
KEYS = ("roc_area", "tpr", "far", "peirce")


def event(number: int, month: np.datetime64, lat: float, lon: float, kind: str = "Flood") -> dict[str, str]:
    text = str(month).replace("-", "")
    when = {"BEGIN_YEARMONTH": text, "END_YEARMONTH": text, "BEGIN_DAY": "10", "END_DAY": "12"}
    place = {"BEGIN_LAT": f"{lat:.2f}", "BEGIN_LON": f"{lon:.2f}"}
    return when | place | {"EVENT_ID": str(number), "EVENT_TYPE": kind}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The basin table, and floods where rain and the storage of the month before are both large."""
    folder = tmp_path_factory.mktemp("table")
    options = write_table(folder)
    with xr.open_dataset(folder / "basins.nc") as ds:
        rain, storage = ds["P_MERRA2"].values, ds["TWS_X"].values
    load = rain[:, 1:] + storage[:, :-1] + np.random.default_rng(1).normal(0, 10, rain[:, 1:].shape)
    basin, month = np.nonzero(load > np.quantile(load, 0.9, axis=1, keepdims=True))
    events = [
        event(number, MONTHS[m + 1], 0.2, -179.75 + 0.5 * (42 + 50 * b))
        for number, (b, m) in enumerate(zip(basin, month, strict=True))
        if b < 9 and MONTHS[m + 1] >= np.datetime64("2002-01")
    ]
    ends = [{"EVENT_TYPE": "Hail", "BEGIN_YEARMONTH": text, "EVENT_ID": text} for text in ("200201", "201912")]
    away = [event(90000 + k, MONTHS[150], 50.0, 10.0, "Flash Flood") for k in range(3)]
    file = details(folder, *events, *ends, *away)
    return [*options, "--experiment", "flood", "--models", "ridge", "--flood-reports", file, "--executor", "serial"]


def scores_of(run: Path) -> dict[str, dict[str, Any]]:
    return json.loads((run / "metrics.json").read_text())["scores"]


def test_basins_that_hold_reports(table: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*table, "--run-dir", str(tmp_path / "run")]) == 0
    scores = scores_of(tmp_path / "run")
    assert set(scores) == {"flood"}  # no flash flood lies in a basin
    found = scores["flood"]
    assert {"ridge", "ridge_stores", "precipitation_alone", "storage_alone"} == set(found)
    for summary in found.values():
        assert summary["n"] == 9 and summary["n_months"] == 60
        assert all(low <= high for low, high in (summary[f"{key}_ci"] for key in KEYS))
    for rival in ("precipitation_alone", "storage_alone"):
        assert found["ridge_stores"]["roc_area"] > found[rival]["roc_area"]
    frame = pd.read_parquet(tmp_path / "run/scores.parquet")
    assert set(frame["unit"]) == {f"BASIN {k}" for k in range(9)}
    page = (tmp_path / "run/report.html").read_text()
    assert "3 of " in page and "flood reports lie outside every basin and do not count" in page
    assert "means of the whole basin" in page and "map-flood" in page and "roc-flood" in page and "gain-flood" in page
    assert sciml(["verify", str(tmp_path / "run")]) == 0


def test_gridded_rain_takes_the_place_of_the_tables(table: list[str], tmp_path: Path) -> None:
    lat, lon = np.arange(-2.75, 3, 0.5), np.arange(0.25, 360, 0.5)
    rng = np.random.default_rng(2)
    rain = np.repeat(rng.gamma(2.0, 40.0, (len(MONTHS), 1, len(lon))), len(lat), axis=1).astype("f4")
    xr.Dataset(
        {"precip": (("time", "lat", "lon"), rain, {"units": "mm/month"})},
        {"time": MONTHS.astype("M8[ns]"), "lat": lat[::-1], "lon": lon},
    ).to_netcdf(tmp_path / "rain.nc")
    assert main([*table, "--precipitation", str(tmp_path / "rain.nc"), "--run-dir", str(tmp_path / "run")]) == 0
    # rain drawn at random tells nothing of floods
    assert abs(scores_of(tmp_path / "run")["flood"]["precipitation_alone"]["roc_area"] - 0.5) < 0.1
    assert "Rain of a basin is from" in (tmp_path / "run/report.html").read_text()


def test_the_generated_earth(tmp_path: Path) -> None:
    assert main(["--experiment", "flood", *SMALL, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 0
    scores = scores_of(tmp_path / "run")
    assert set(scores) == {"flood", "flash_flood"}
    for found in scores.values():
        assert {"ridge", "cubic_conserved", "precipitation_alone", "storage_alone"} == set(found)
        assert len({(s["n"], s["n_months"], s["n_events"]) for s in found.values()}) == 1
        assert found["ridge"]["roc_area"] > 0.6
    assert "The Earth is generated" in (tmp_path / "run/report.html").read_text()
    assert sciml(["verify", str(tmp_path / "run")]) == 0


def test_files_with_reports_and_gridded_rain(tmp_path: Path) -> None:
    """The generated Earth written to files: the same floods from a storm file, rain from a gridded product."""
    tile = earth.simulate_tile(CONFIG, 0)
    earth.grace_dataset(CONFIG, {0: earth.observe_tile(CONFIG, tile, "total", mission_records())}).to_netcdf(
        tmp_path / "grace.nc"
    )
    place = tile.assign_coords(lat=tile["cell_lat"], lon=tile["cell_lon"])[list(earth.PREDICTORS)]
    daily = place.set_index(cell=("lat", "lon")).unstack("cell").transpose("time", "lat", "lon")
    daily.chunk({"time": -1}).to_zarr(tmp_path / "daily.zarr", zarr_format=3, consolidated=False)
    (86400 * daily["pr"]).assign_attrs(units="mm/day").to_dataset(name="precip").to_netcdf(tmp_path / "rain.nc")
    told = floods.reports(CONFIG, 0)["flood"]
    months = np.unique(CONFIG.days.astype("M8[M]"))
    cell, month = np.nonzero(told)
    lat, lon = tile["cell_lat"].values, tile["cell_lon"].values
    events = [event(k, months[m], lat[c], lon[c]) for k, (c, m) in enumerate(zip(cell, month, strict=True))]
    file = details(tmp_path, *events)
    (tmp_path / "early").mkdir()
    options = ["--source", "gridded", "--experiment", "flood", *SMALL, "--twsa", str(tmp_path / "grace.nc")]
    options += ["--predictors", str(tmp_path / "daily.zarr"), "--flood-reports", file, "--executor", "serial"]
    early = details(tmp_path / "early", *(one for one in events if one["BEGIN_YEARMONTH"] < "2015"))
    assert main([early if word == file else word for word in options] + ["--run-dir", str(tmp_path / "refused")]) == 2
    assert not list((tmp_path / "refused/stages").glob("ridge*"))  # refused before any training
    assert main([*options, "--precipitation", str(tmp_path / "rain.nc"), "--run-dir", str(tmp_path / "run")]) == 0
    found = scores_of(tmp_path / "run")["flood"]
    tested = (months >= np.datetime64("2015-01")) & (months <= np.datetime64("2019-12"))
    assert 0 < found["ridge"]["n_events"] <= told[:, tested].sum()
    assert main([*options, "--run-dir", str(tmp_path / "run")]) == 0
    own = scores_of(tmp_path / "run")["flood"]  # the predictors' own rain is the same rain
    assert own["precipitation_alone"]["roc_area"] == pytest.approx(found["precipitation_alone"]["roc_area"], abs=1e-3)


def test_real_reports(real_data: Path, tmp_path: Path) -> None:
    """Louisiana's reports in the Mississippi, the nation's of one winter in every basin that holds any."""
    folder, storms = real_data / "hydro", real_data / "hydro/storm_events"
    table = str(folder / "basin_water_budget/basin_monthly_1979_2020.nc")
    options = ["--source", "basins", "--experiment", "flood", "--models", "ridge", "--twsa", table]
    options += ["--predictors", table, "--basin-mask", str(folder / "basin_water_budget/basin_mask_0p5deg.nc")]
    options += ["--real-months", str(folder / "grace_months.csv")]
    options += ["--county-centers", str(storms / "county_centers.csv.gz")]
    options += ["--flood-reports", f"{storms}/louisiana/*.csv.gz,{storms}/StormEvents*.csv.gz"]
    assert main([*options, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 0
    for found in scores_of(tmp_path / "run").values():
        for summary in found.values():
            low, high = summary["roc_area_ci"]
            assert 0 <= low <= summary["roc_area"] <= high <= 1 and summary["n_months"] == 60
    frame = pd.read_parquet(tmp_path / "run/scores.parquet")
    months = frame.groupby("unit")["n_months"].max()
    assert months["MISSISSIPPI (reports of LA)"] == 60 and (months.drop("MISSISSIPPI (reports of LA)") == 3).all()


def spoil(kind: str, folder: Path) -> list[str]:
    """Options of one mistake."""
    if kind == "columns":
        (folder / "other.csv").write_text("DATE,KIND\n2017-03-01,Flood\n")
        return ["--flood-reports", str(folder / "other.csv")]
    if kind == "zone":
        return ["--flood-reports", details(folder, {"CZ_TIMEZONE": "NOWHERE"})]
    if kind == "outside":
        return ["--flood-reports", details(folder, event(1, MONTHS[150], 50.0, 10.0))]
    if kind == "early":
        return ["--flood-reports", details(folder, event(1, MONTHS[150], 0.2, -179.75 + 0.5 * 42))]
    if kind == "none":
        (folder / "none.csv").write_text(",".join(COLLECTION) + "\n")
        return ["--flood-reports", str(folder / "none.csv")]
    if kind == "inches":
        time, axis = MONTHS[:3].astype("M8[ns]"), [0.25, 0.75]
        rain = xr.DataArray(np.full((3, 2, 2), 4.0), {"time": time, "lat": axis, "lon": axis}, ("time", "lat", "lon"))
        rain.assign_attrs(units="inches").to_dataset(name="precip").to_netcdf(folder / "rain.nc")
        return ["--precipitation", str(folder / "rain.nc")]
    return ["--flood-reports", str(folder / "nothing*.csv.gz")]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("columns", "found 2 columns"),
        ("zone", "unknown time zone 'NOWHERE'"),
        ("outside", "none of the 1 flood reports lies in a basin with storage"),
        ("early", "found 0 months with a report of 'Flood' among the 0 test months"),
        ("none", "found no flood report with a place"),
        ("inches", "multiply by 25.4"),
        ("nothing", "no file matches"),
    ],
)
def test_a_mistake_ends_in_one_line(
    table: list[str], tmp_path: Path, kind: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options, change = list(table), spoil(kind, tmp_path)
    if change[0] in options:
        position = options.index(change[0])
        options[position : position + 2] = change
    else:
        options += change
    assert main([*options, "--run-dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert line in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run/stages").exists()  # refused before any work


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--usdm", "x.nc"], "--usdm would not be read; expected --experiment drought with --source basins"),
        (
            "--source gridded --experiment flood --usdm x --twsa a --predictors b --flood-reports x".split(),
            "--usdm would not be read",
        ),
        (
            "--source gridded --twsa a --predictors b --county-centers x".split(),
            "--county-centers would not be read; expected --experiment drought or flood with --source basins",
        ),
        (["--flood-reports", "x.csv"], "--flood-reports would not be read"),
        (["--experiment", "flood", "--precipitation", "x.nc"], "--precipitation would not be read"),
        (["--source", "gridded", "--experiment", "flood", "--twsa", "a", "--predictors", "b"], "needs --flood-reports"),
        (
            "--source basins --experiment flood --twsa a --predictors a --flood-reports x".split(),
            "flood needs --basin-mask",
        ),
    ],
)
def test_options_that_do_not_fit(options: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options) == 2
    assert line in capsys.readouterr().err


def test_a_search_on_basins_needs_no_mask() -> None:
    table = ["--source", "basins", "--twsa", "a", "--predictors", "a"]
    assert GraceConfig.parse(["--search", *table]).search
    with pytest.raises(ConfigError, match="regroup needs --basin-mask"):
        GraceConfig.parse(table)
