"""emulator_fit from its command line: the generated Earth made small, tables of gauges, what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.cli import main as sciml
from pipelines import emulator_fit
from pipelines.emulator_discharge import gauges as gauges_of
from pipelines.emulator_discharge import nested, routed, scores
from pipelines.emulator_fit import main
from sciml.data.readers.pcrglobwb import Station, stations_of
from sciml.generated import land as generated
from sciml.land.forcing import split_precipitation
from sciml.land.models import with_potential_evaporation
from sciml.land.reservoir import LINEAR_RESERVOIR
from sciml.land.run import simulate
from sciml.land.source import LandSource, layout
from sciml.land.steps import FitCells, RunCells, Years
from sciml.land.trials import Trial
from sciml.rivers.hydrograph import Hydrograph, Routing, route
from tests.pipelines.emulator_files import network as river_network

SMALL = ["--executor", "serial", "--fit", "descent", "--starts", "1"]
QUICK = [*SMALL, "--models", "linear_reservoir"]


def scores_of(run: Path) -> dict[str, dict[str, Any]]:
    return json.loads((run / "metrics.json").read_text())["scores"]


@pytest.fixture
def small_earth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell of each climate and five years in place of four and twelve."""
    whole = generated.LandConfig

    def small(seed: int = 0) -> generated.LandConfig:
        return whole(seed, cells=1, first="1995-01", stop="2000-01")

    monkeypatch.setattr(emulator_fit.generated, "LandConfig", small)
    monkeypatch.setattr(emulator_fit.generated, "made", _made)


def _made(settings: Any) -> list[Any]:
    if isinstance(settings, generated.PlantedConfig):
        base = generated.record(settings.base)
        return [generated.planted_record(generated.MODELS[settings.model], base, settings.base.seed)[0]]
    return [generated.record(settings)]


def test_generated_earth_twice(small_earth: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    assert main([*QUICK, "--run-dir", str(run)]) == 0
    scores = scores_of(run)
    assert set(scores) == {"free_run", "planted", "speed"}
    assert scores["speed"]["linear_reservoir"]["core_seconds_per_global_year"] > 0.0
    assert set(scores["free_run"]) == {"linear_reservoir", "climatology"}
    found = scores["free_run"]["linear_reservoir"]
    assert found["n"] == 3 and set(found["units"]) == {"mountain snow 1", "monsoon 1", "boreal plain 1"}
    assert {"nse_runoff", "ss_runoff", "kge_runoff", "nse_evaporation", "ss_soil_upper"} <= set(found)
    assert "nse_snow" not in found["units"]["monsoon 1"] and "nse_snow" in found["units"]["boreal plain 1"]
    assert scores["free_run"]["climatology"]["ss_runoff"] == pytest.approx(0.0, abs=1e-6)
    planted = scores["planted"]["linear_reservoir"]
    # its own output, whose parameters are there to be found
    assert planted["nse_runoff"] > 0.95 > found["nse_runoff"] and 0 < planted["identifiable"] <= 1
    table = pd.read_parquet(run / "scores.parquet")
    assert set(table["experiment"]) == {"free_run", "planted", "speed"} and (table["n"] >= 365).all()
    published = json.loads((run / "models.json").read_text())
    assert published["train"] == {"first": 1995, "last": 1997, "left_out": []}
    assert (published["demand"], published["demand_kind"]) == ("auto", "humidity_deficit")
    assert (run / "stages" / published["models"]["linear_reservoir"]).is_dir()
    page = (run / "report.html").read_text()
    assert "Free runs through years that no fit has seen" in page and "an upper bound" in page
    assert sciml(["verify", str(run)]) == 0

    def again(*_: Any) -> None:
        raise AssertionError("a finished stage is worked out again")

    before = scores_of(run)
    monkeypatch.setattr(FitCells, "__call__", again)
    monkeypatch.setattr(RunCells, "__call__", again)
    assert main([*QUICK, "--run-dir", str(run)]) == 0
    assert {**scores_of(run), "speed": None} == {**before, "speed": None}  # measured afresh


def test_other_years_of_training_and_test(small_earth: None, tmp_path: Path) -> None:
    options = ["--experiment", "cross_validation,training_length,warmer", "--run-dir", str(tmp_path / "run")]
    assert main([*QUICK, *options, "--cells-per-item", "1"]) == 0
    scores = scores_of(tmp_path / "run")
    assert set(scores) == {"free_run", "cross_validation", "training_length_2", "warmer"}
    folds = set(scores["cross_validation"]["linear_reservoir"]["units"])
    assert folds == {f"{cell} 1 {y}-{y}" for cell in ("mountain snow", "monsoon", "boreal plain")
                     for y in (1995, 1996, 1997)}  # fmt: skip
    nse = {name: found["linear_reservoir"]["nse_runoff"] for name, found in scores.items()}
    assert len(set(nse.values())) == 4  # each has fits and years of its own
    page = (tmp_path / "run/report.html").read_text()
    assert "Fitted on cool years, tested on warm ones" in page and "Years left out inside training" in page


def test_a_dry_run_does_nothing(small_earth: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--experiment", "free_run,cross_validation,warmer,training_length", "--run-dir", str(tmp_path / "run")]
    assert main([*QUICK, *options, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "fit_linear_reservoir" in said and "fold" in said and "cool_years" in said and "2_years" in said
    assert not (tmp_path / "run/metrics.json").exists() and not (tmp_path / "run/stages").exists()


# gauges of two rivers: upper and lower nested, and one that stands alone
AREAS = {"upper": 4000.0, "lower": 10000.0, "alone": 3000.0}
PLANTED = {
    "upper": Routing((Hydrograph(2.0, 1.5, 0.2, 20.0),), 1.0),
    "lower": Routing((Hydrograph(4.0, 2.0, 0.2, 20.0), Hydrograph(1.5, 0.8, 0.2, 20.0)), 1.0),
    "alone": Routing((Hydrograph(1.0, 1.0, 0.2, 20.0),), 1.0),
}
NETWORK = 1.1  # area of the land model's cells over that of the river's basin


def write_gauges(folder: Path, first: str = "1990-01-01", last: str = "1996-12-31") -> None:
    """Tables as PCR-GLOBWB's: weather, stores and fluxes of a known model, discharge of known hydrographs."""
    dates = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    rng = np.random.default_rng(2)
    season = -np.cos(2 * np.pi * (np.arange(len(dates)) - 20) / 365.25)
    runoff = {}
    for name in AREAS:
        weather = generated_weather(rng, dates, season)
        runoff[name] = write_table(folder / f"pred_{name}.csv", dates, weather)
    # what lies above the upper gauge is a part of what lies above the lower one
    share = AREAS["upper"] / AREAS["lower"]
    table = pd.read_csv(folder / "pred_lower.csv")
    upper = pd.read_csv(folder / "pred_upper.csv")
    columns = ["directRunoff", "interflowTotal", "baseflow"]
    table[columns] = (1 - share) * table[columns] + share * upper[columns]
    table.to_csv(folder / "pred_lower.csv", index=False)
    runoff["between"] = (1 - share) * runoff["lower"]
    volume = NETWORK / 86.4
    sub_areas = {
        "upper": [AREAS["upper"] * runoff["upper"]],
        "lower": [AREAS["upper"] * runoff["upper"], AREAS["lower"] * runoff["between"]],
        "alone": [AREAS["alone"] * runoff["alone"]],
    }
    for name, parts in sub_areas.items():
        routed = route(volume * np.stack(parts, axis=1), PLANTED[name])
        observed = np.where(rng.random(len(dates)) < 0.01, -999.0, 0.8 * routed)
        frame = pd.DataFrame({"datetime": dates, "obs": observed, "pcr": routed})
        frame.to_csv(folder / f"q_{name}.csv", index=False)
    rows = ["station,x,y,river,area"]
    rows += [f"{n.title()},50.0,7.0,{'Other' if n == 'alone' else 'Main'},{area}" for n, area in AREAS.items()]
    (folder / "stationLatLon.csv").write_text("\n".join(rows))


def generated_weather(rng: np.random.Generator, dates: np.ndarray, season: np.ndarray) -> dict[str, np.ndarray]:
    water = rng.exponential(9.0, len(dates)) * (rng.random(len(dates)) < 0.4)
    return {"p": water, "t": 8 + 11 * season + rng.normal(0, 3, len(dates)), "et": 1.5 + 1.3 * season}


def write_table(path: Path, dates: np.ndarray, weather: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the runoff [kg m-2 day-1]."""
    kelvin = (weather["t"] + 273.15)[:, None]
    rain, snowfall = split_precipitation(weather["p"][:, None], kelvin)
    angle = 2 * np.pi * np.arange(len(dates))[:, None] / 365.25
    sky = SimpleNamespace(dates=dates, rain=rain, snowfall=snowfall, temperature=kelvin,
                          demand=weather["et"][:, None], cos_year=np.cos(angle), sin_year=np.sin(angle))  # fmt: skip
    model = with_potential_evaporation(LINEAR_RESERVOIR)
    theta = model.prior(1)
    theta[model.index("reservoir_days")] = 15.0
    values = simulate(model, sky, theta, model.start(1), outputs=(*model.outputs, "water"))[0][:, :, 0]
    snow, upper, lower, runoff, evaporation, water = values.T
    metres = {
        "snowCoverSWE": snow, "snowFreeWater": 0 * snow, "storUppTotal": upper, "storLowTotal": lower,
        "storGroundwater": water, "directRunoff": 0.5 * runoff, "interflowTotal": 0.2 * runoff,
        "baseflow": 0.3 * runoff, "totalEvaporation": evaporation,
    }  # fmt: skip
    frame = pd.DataFrame({"datetime": dates, "p": weather["p"] / 1e3, "t": weather["t"], "et": weather["et"] / 1e3})
    frame.assign(**{name: series / 1e3 for name, series in metres.items()}).to_csv(path, index=False)
    return runoff


@pytest.fixture(scope="module")
def gauges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gauges")
    write_gauges(folder)
    return folder


def test_discharge_of_nested_gauges(gauges: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = [
        "--source",
        "pcrglobwb",
        "--files",
        f"{gauges}/pred_*.csv",
        "--train",
        "1990:1994",
        "--run-dir",
        str(run),
    ]
    assert main([*QUICK, *options]) == 0
    scores = scores_of(run)
    assert set(scores) == {"free_run", "discharge", "speed"}
    found = scores["discharge"]
    assert set(found) == {"own_runoff", "own_runoff_one_hydrograph", "linear_reservoir", "pcrglobwb"}
    own = found["own_runoff"]["units"]
    assert set(own) == {"upper", "lower", "alone"} and set(found["own_runoff_one_hydrograph"]["units"]) == {"lower"}
    for name in own:  # planted hydrographs of planted sub-areas: nothing is left to explain
        assert own[name]["nse_routed"] > 0.999 and own[name]["peak_lag_days_routed"] == 0
        assert found["pcrglobwb"]["units"][name]["r_observed"] == pytest.approx(1.0)
        assert "nse_routed" not in found["pcrglobwb"]["units"][name]
    assert own["lower"]["nse_routed"] > found["own_runoff_one_hydrograph"]["units"]["lower"]["nse_routed"]
    assert 0.9 < found["linear_reservoir"]["units"]["alone"]["nse_routed"] <= 1  # the model that made the table
    written = json.loads((run / "hydrographs.json").read_text())
    assert written["lower"]["gauges"] == ["upper", "lower"]
    for name, area in AREAS.items():
        assert written[name]["area_km2_implied"][-1] == pytest.approx(NETWORK * area, rel=0.02)
        assert written[name]["gain"] == pytest.approx(1.0, abs=0.02)
    page = (run / "report.html").read_text()
    assert "Discharge at gauges" in page and "is implied" in page


def test_gauges_nest_by_river_and_area() -> None:
    stations = {
        "a": Station(0, 0, 30.0, "R"), "b": Station(0, 0, 10.0, "R"), "c": Station(0, 0, 20.0, "R"),
        "d": Station(0, 0, 99.0, "S"), "e": Station(0, 0, 5.0, ""), "f": Station(), "g": Station(0, 0, np.nan, "R"),
    }  # fmt: skip
    assert nested(stations) == {
        "b": ("b",), "c": ("b", "c"), "a": ("b", "c", "a"), "d": ("d",), "e": ("e",), "f": ("f",), "g": ("g",)
    }  # fmt: skip


def refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(options) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_bad_options_and_files_are_one_line(gauges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--run-dir", str(tmp_path / "run"), *QUICK]
    tables = ["--source", "pcrglobwb", "--files"]
    assert "--files" in refused([*run, "--source", "pcrglobwb"], capsys)
    assert "nothing" in refused([*run, *tables, str(tmp_path / "nothing.csv")], capsys)
    assert "none_" in refused([*run, *tables, str(tmp_path / "none_*.csv")], capsys)
    assert "--test 2020:2021" in refused([*run, *tables, f"{gauges}/pred_*.csv", "--test", "2020:2021"], capsys)
    broken = tmp_path / "pred_upper.csv"
    text = (gauges / "pred_upper.csv").read_text().splitlines()
    broken.write_text("\n".join(text[:400] + text[410:]))
    assert "pred_upper.csv" in refused([*run, *tables, str(broken)], capsys)
    broken.write_text("\n".join(text).replace("storUppTotal", "stor"))
    assert "storUppTotal" in refused([*run, *tables, str(broken)], capsys)


def test_no_routed_discharge_is_said_before_any_fit(
    gauges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "pred_upper.csv"
    table.write_bytes((gauges / "pred_upper.csv").read_bytes())
    options = ["--run-dir", str(tmp_path / "run"), "--source", "pcrglobwb", "--files", str(table), *QUICK]
    assert "no table has routed discharge" in refused(options, capsys)
    assert "no table has routed discharge" in refused([*options, "--dry-run"], capsys)
    assert not (tmp_path / "run/stages").exists()


@pytest.mark.parametrize("asked", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("network", "told"),
    [("none.nc:made_ldd", "none.nc"), ("N.nc:made_lddd", "made_lddd"), ("N.nc:made_ldd", "no cell for the gauges")],
)
def test_no_network_of_the_gauges_is_said_before_any_fit(
    network: str, told: str, asked: list[str], gauges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    river_network(tmp_path / "N.nc", np.array([[6, 6, 5], [6, 6, 5]]))  # of the Alps
    options = ["--source", "pcrglobwb", "--files", f"{gauges}/pred_*.csv", "--experiment", "coupled", *QUICK, *asked]
    assert told in refused([*options, "--network", f"{tmp_path}/{network}", "--run-dir", str(tmp_path / "run")], capsys)
    assert not (tmp_path / "run/stages").exists()


def test_gauges_that_end_before_the_test(gauges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record of one gauge may be short; what is nested can then not be tested."""
    for file in gauges.glob("*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for name in ("pred_upper.csv", "q_upper.csv"):
        (tmp_path / name).write_text("\n".join((gauges / name).read_text().splitlines()[:1500]))
    (tmp_path / "q_alone.csv").unlink()
    options = ["--source", "pcrglobwb", "--files", str(tmp_path / "pred_*.csv"), "--test", "1995:1996"]
    said = refused(["--run-dir", str(tmp_path / "run"), *options, *QUICK], capsys)
    assert "no gauge has a day of the test years 1995:1996" in said


def test_the_rhine_at_lobith(real_data: Path) -> None:
    """PCR-GLOBWB's own runoff against its own routed discharge, fitted 1981-95: 0.85 with two reservoirs in a row."""
    files = str(real_data / "hydro/pcrglobwb_rhine/pred_*.csv.gz")
    source = LandSource("pcrglobwb", files)
    found = {gauge.name: gauge for gauge in gauges_of(source, layout(source, 1), {}, stations_of(files))}
    assert found["lobith"].names == ("basel", "maxau", "lobith") and found["borgharen"].names == ("borgharen",)
    trial = Trial("discharge", "", Years(1981, 1995), Years(1996, 2000))
    table = scores(routed(found["lobith"], trial), trial).set_index(["variable", "model"])
    own, one = table.loc[("routed", "own_runoff")], table.loc[("routed", "own_runoff_one_hydrograph")]
    assert own["nse"] >= 0.92 and own["nse"] > one["nse"]
    assert abs(own["peak_lag_days"]) <= 1 and own["peaks"] >= 8
    assert table.loc[("observed", "pcrglobwb"), "nse"] == pytest.approx(0.36, abs=0.01)


def test_a_warmer_sky_melts_snow_and_takes_runoff(small_earth: None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main([*QUICK, "--experiment", "free_run,sensitivity", "--run-dir", str(run)]) == 0
    change = scores_of(run)["sensitivity"]["linear_reservoir"]
    assert change["change_snow"] < 0.0
    assert change["change_evaporation"] > 0.0
    assert change["change_runoff"] == pytest.approx(-change["change_evaporation"], abs=0.05)
