"""emulator_run: files to rivers, cut and taken up again to the same bytes, ensembles, refusals in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.emulator_run import main, network_inputs
from sciml.core.digest import fingerprint
from sciml.data.stores import open_store
from sciml.land import simulation
from sciml.land.registry import MODELS
from sciml.land.run import simulate
from sciml.land.simulation import RunYear
from sciml.land.sources import read_records
from sciml.rivers.gauges import NINE_RIVERS
from tests.pipelines import emulator_files as files


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return files.write(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def whole(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one go, with an ensemble."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*options, "--ensemble", "2", "--run-dir", str(run)]) == 0
    return run


def objects(run: Path) -> dict[str, bytes]:
    stages = run / "stages"
    return {str(path.relative_to(stages)): path.read_bytes() for path in sorted(stages.rglob("*")) if path.is_file()}


def store_of(run: Path, stage: str) -> str:
    return str(run / "stages" / json.loads((run / "stores.json").read_text())[stage])


def scores_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text())["scores"]


def test_a_run_that_was_cut_is_the_whole_run_to_the_byte(
    options: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, done = tmp_path / "cut", []
    command = [*options, "--ensemble", "2", "--run-dir", str(run)]
    work = RunYear.__call__

    def cut(self: RunYear, item: Any, before: Any) -> Any:
        if len(done) == 3:  # in the second of three years
            raise KeyboardInterrupt
        done.append(item)
        return work(self, item, before)

    with monkeypatch.context() as patched:
        patched.setattr(RunYear, "__call__", cut)
        assert main(command) == 130
    assert not (run / "metrics.json").exists()
    simulation.places.cache_clear()
    assert main(command) == 0
    assert objects(run) == objects(whole)


def test_years_in_a_chain_are_one_free_run(options: list[str], whole: Path) -> None:
    record = read_records("grid", options[3])[0]
    model = MODELS["sciml"]
    with open_store(store_of(whole, "land_sciml")) as land:
        runoff, state = land["runoff"].values[:, 0], land["state"].values[-1, 0]
        lat, lon = land["lat"].values, land["lon"].values
    with open_store(str(Path(options[1]) / "stages" / files.NAME)) as store:
        at = [int(np.flatnonzero((store["lat"] == a) & (store["lon"] == o))[0]) for a, o in zip(lat, lon, strict=True)]
        theta = np.ascontiguousarray(store["theta"].values[at].transpose(2, 1, 0))
    np.testing.assert_array_equal(record.forcing.lat, lat)
    start = model.start(len(lat))
    for _ in range(3):
        _, start = simulate(model, record.forcing.days(slice(0, 365)), theta, start)
    values, end = simulate(model, record.forcing, theta, start, outputs=("runoff",))
    chained = np.concatenate([runoff[0, :365], runoff[1], runoff[2, :365]])
    np.testing.assert_array_equal(chained, values[:, 0].astype(np.float32))
    np.testing.assert_array_equal(state, end)


def test_members_differ_and_spread_is_told(whole: Path) -> None:
    with open_store(store_of(whole, "land_sciml")) as land:
        mean = land["runoff"].mean(("year", "day")).values
    assert (np.abs(mean[1:] / mean[0] - 1) > 1e-4).all() and (np.abs(mean[1] / mean[2] - 1) > 1e-4).all()
    gauges = scores_of(whole)["discharge"]["sciml"]["gauges"]
    assert len(gauges) == 2 and all(g["members_mean_m3s_sd"] > 0 for g in gauges.values())


def test_water_that_runs_off_arrives(whole: Path) -> None:
    scores = scores_of(whole)
    assert scores["routing"]["linear"]["mass_error"] < 1e-9
    assert scores["routing"]["linear"]["balance_error_of_a_cell"] < 1e-9
    for gauge in scores["discharge"]["sciml"]["gauges"].values():  # three years less what the river holds at the end
        assert gauge["mean_m3s"] == pytest.approx(gauge["accumulated_runoff_m3s"], rel=0.02)
    assert scores["speed"]["sciml"]["n"] == 6
    assert "dams" in (whole / "report.html").read_text()


def test_local_inertial_rivers_and_some_years(options: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main([*options, "--routing", "inertial", "--years", "2000:2001", "--run-dir", str(run)]) == 0
    assert scores_of(run)["routing"]["inertial"]["mass_error"] < 1e-9
    with open_store(store_of(run, "rivers_inertial")) as rivers:
        assert list(rivers["year"].values) == [2000, 2001]
        assert (rivers["fraction_max"] >= rivers["fraction_mean"] - 1e-6).all()


def test_the_dry_run_states_memory_and_writes_nothing(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--dry-run", "--run-dir", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "land_sciml" in said and "rivers_linear" in said and "memory/worker" in said
    assert not (tmp_path / "run").exists()


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_parameters_of_another_grid_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = files.write(tmp_path, move=0.25)
    said = refused([*options, "--run-dir", str(tmp_path / "run")], capsys)
    assert "no cell for 6 of 6 cells" in said and "28 km from the nearest" in said


def test_a_network_without_the_cells_is_refused(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.network(tmp_path / "N.nc", np.array([[6, 5, 0], [6, 6, 5]]))
    other = [f"{tmp_path / 'N.nc'}:made_ldd" if ":made_ldd" in word else word for word in options]
    said = refused([*other, "--run-dir", str(tmp_path / "run")], capsys)
    assert "1 of 6 cells of the land model are no land" in said and "47.25N 9.25E" in said
    files.network(tmp_path / "N.nc", np.array([[6, 6, 6], [6, 4, 5]]))  # east at the edge: the sea; a cycle above
    said = refused([*other, "--run-dir", str(tmp_path / "run")], capsys)
    assert "cycle of 2 cells" in said


@pytest.mark.parametrize("asked", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("option", "file", "told"),
    [
        ("--network", "N.nc:made_lddd", "made_lddd"),
        ("--network", "M.nc:made_ldd", "M.nc"),
        ("--network", "E.nc:made_ldd", "no land"),
        ("--gauges", "G.txt", "G.txt"),
    ],
)
def test_rivers_are_refused_before_any_land_is_run(
    option: str,
    file: str,
    told: str,
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options, done = files.write(tmp_path), []
    files.network(tmp_path / "E.nc", np.array([[6, 5, 0], [6, 6, 5]]))
    (tmp_path / "G.txt").write_text("no station\n")
    rivers = {"--network": options[5]} | {option: f"{tmp_path}/{file}"}
    command = [*options[:4], *options[6:], *(word for pair in rivers.items() for word in pair), *asked]
    monkeypatch.setattr(RunYear, "__call__", lambda self, item, before: done.append(item))
    assert told in refused([*command, "--run-dir", str(tmp_path / "run")], capsys)
    assert not done


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--model", "paper"], "has sciml"),
        (["--years", "2001:2005"], "2001"),
        (["--outputs", "runoff,rain"], "--outputs rain"),
        (["--outputs", "snow"], "runoff among them"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    change: list[str], told: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused([*options, *change, "--run-dir", str(tmp_path / "run")], capsys)


def test_a_folder_that_holds_no_fit_is_refused(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["--parameters", str(tmp_path), *options[2:], "--run-dir", str(tmp_path / "run")], capsys)
    assert "found no run, expected one of emulator_fit" in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"demand_kind": "potential_evaporation"}, "no potential evaporation"),
        ({"demand_kind": None}, "run emulator_fit there again"),
    ],
)
def test_parameters_of_another_demand_are_refused(
    change: dict[str, str | None], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = files.write(tmp_path)
    said = tmp_path / "R" / "models.json"
    published = json.loads(said.read_text()) | change
    said.write_text(json.dumps({name: value for name, value in published.items() if value is not None}))
    line = refused([*options, "--run-dir", str(tmp_path / "run")], capsys)
    assert told in line and str(tmp_path / "R") in line


@pytest.mark.parametrize("name", ["N.nc4", "N.h5", "a.nc:N.nc"])
def test_what_identifies_a_network(name: str, tmp_path: Path) -> None:
    files.network(tmp_path / name, np.array([[6, 6, 5], [6, 6, 5]]))
    found = network_inputs(f"{tmp_path / name}:made_ldd")
    assert found["variable"] == "made_ldd" and found["network"] == fingerprint(tmp_path / name)


def test_a_list_of_stations_of_one_region(options: list[str], tmp_path: Path) -> None:
    river, number = next(iter(NINE_RIVERS.items()))
    names = "grdc_no river station lat long area t_start t_end lta_discharge".split()
    row = [number, river.upper(), "MOUTH", 47.25, 9.25, 6250, 1950, 1999, 120.0]  # three cells of half a degree [km2]
    (tmp_path / "G.txt").write_text("\n".join("\t".join(map(str, line)) for line in (names, row)) + "\n")
    run = tmp_path / "run"
    command = [*options, "--years", "2001:2001", "--gauges", str(tmp_path / "G.txt"), "--run-dir", str(run)]
    assert main(command) == 0
    assert any(str(number) in name for name in scores_of(run)["discharge"]["sciml"]["gauges"])
    assert "Not in the list of stations: " in (run / "report.html").read_text()
