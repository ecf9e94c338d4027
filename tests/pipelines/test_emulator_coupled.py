"""Rivers of a small generated Earth: the coupled experiment, and `emulator_run` without files."""

import json
from pathlib import Path

import numpy as np
import pytest

from cluster.stages import Stage, StoreRef
from pipelines import emulator_fit, emulator_run
from pipelines.emulator_coupled import plan_coupled, table_inputs, upstream_of
from sciml.core.digest import digest
from sciml.data.stores import open_store
from sciml.generated import rivers as generated
from sciml.generated.rivers import RiverConfig
from sciml.land.config import EmulatorFitConfig
from tests.rivers.made import forest

QUICK = ["--executor", "serial"]


@pytest.fixture
def small_earth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some cells of the boreal plain and four years in place of three tiles and twelve."""

    def small(seed: int) -> RiverConfig:
        return RiverConfig(seed, cells=3, tiles=(5,), stop="1994-01")

    monkeypatch.setattr(generated, "RiverConfig", small)


@pytest.mark.usefixtures("small_earth")
def test_rivers_of_emulator_and_reference(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--experiment", "coupled", "--models", "linear_reservoir", "--train", "1990:1992", "--test", "1993:1993"]
    assert emulator_fit.main([*options, "--starts", "1", *QUICK, "--run-dir", str(run)]) == 0
    scores = json.loads((run / "metrics.json").read_text())["scores"]["coupled"]
    assert set(scores) == {"climatology", "linear_reservoir"}
    stores = json.loads((run / "stores.json").read_text())
    flows = {}
    for name in ("reference", "linear_reservoir"):
        with open_store(str(run / "stages" / stores[f"coupled_rivers_{name}"])) as store:
            flows[name] = store["discharge"].sel(year=1993).values[0, :365]
            assert float(store["mass_error"].max()) < 1e-9
    errors = ((flows["linear_reservoir"] - flows["reference"]) ** 2).mean(axis=0)
    expected = np.median(1.0 - errors / flows["reference"].var(axis=0))
    assert scores["linear_reservoir"]["nse_discharge"] == pytest.approx(expected)
    assert scores["linear_reservoir"]["n"] == flows["reference"].shape[1] > 1
    # the channels are the reference's: none is shaped by what drives it
    assert len([name for name in stores if "mean_runoff" in name]) == 1


@pytest.mark.usefixtures("small_earth")
def test_without_files_a_generated_earth_is_fitted_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert emulator_run.main(["--model", "linear_reservoir", *QUICK, "--run-dir", str(run)]) == 0
    assert "a generated Earth" in capsys.readouterr().out
    scores = json.loads((run / "metrics.json").read_text())["scores"]
    assert scores["speed"]["linear_reservoir"]["years"] == 4
    assert scores["routing"]["linear"]["cells_without_runoff"] == 0


@pytest.mark.parametrize("options", [["--parameters", "R"], ["--forcing", "F.zarr"], ["--network", "N.nc:ldd"]])
def test_options_that_need_each_other(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert emulator_run.main([*options, "--run-dir", str(tmp_path / "run")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_coupled_needs_the_generated_earth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--source", "caravan", "--files", "F.csv.gz", "--experiment", "coupled"]
    assert emulator_fit.main([*options, "--run-dir", str(tmp_path / "run")]) == 2
    assert "--source generated" in capsys.readouterr().err


def test_cells_above_a_gauge_have_its_area() -> None:
    network = forest(200, 3)
    for cell in range(0, 200, 17):
        assert network.area[upstream_of(network, cell)].sum() == pytest.approx(network.upstream_area[cell])


def test_a_network_is_for_coupled_tables_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert emulator_fit.main(["--network", "N.nc:ldd", "--run-dir", str(tmp_path / "run")]) == 2
    assert "--network would not be read" in capsys.readouterr().err


def test_rivers_of_real_tables(real_data: Path, tmp_path: Path) -> None:
    """The Rhine on DDM30, driven by the quickest emulator: water adds up, the reference is not its own driver."""
    run = tmp_path / "run"
    options = ["--source", "pcrglobwb", "--files", f"{real_data}/hydro/pcrglobwb_rhine/pred_*.csv.gz"]
    options += ["--train", "1981:1995", "--test", "1996:2000", "--models", "linear_reservoir", "--starts", "1"]
    options += ["--network", f"{real_data}/hydro/river_network/river_networks_0p5deg.nc:ddm30_ldd"]
    assert emulator_fit.main([*options, "--experiment", "coupled", *QUICK, "--run-dir", str(run)]) == 0
    scores = json.loads((run / "metrics.json").read_text())["scores"]["coupled"]
    assert list(scores["linear_reservoir"]["gauges"]) == ["lobith", "maxau", "basel"]
    stores = json.loads((run / "stores.json").read_text())
    with open_store(str(run / "stages" / stores["coupled_rivers_reference"])) as rivers:
        assert float(rivers["mass_error"].max()) < 1e-9
        mean = rivers["discharge"].sel(year=slice(1996, 2000)).mean(("year", "member", "day")).values
    assert (np.diff(mean) > 0).all()  # from Basel down to Lobith
    assert 1500 < mean[-1] < 4000  # about 2,300 m3/s are observed there


@pytest.mark.usefixtures("small_earth")
def test_the_ways_to_fit_and_step_are_passed_on() -> None:
    """Of each stage, with what the user asked for and without."""
    config = EmulatorFitConfig(experiment=("coupled",), models=("closed",), train="1990:1992", test="1993:1993")
    asked = config.model_copy(update={"scheme": "implicit", "fit": "descent"})
    digests = []
    for one in (config, asked):
        stages: dict[str, Stage] = {}

        class Seen:
            def stage(self, stage: Stage, stages: dict[str, Stage] = stages) -> StoreRef:
                stages[stage.name] = stage
                return StoreRef(stage.name, stage.name)

        plan_coupled(one, Seen())
        digests.append({name: digest([stage.config, stage.inputs]) for name, stage in stages.items()})
    fit, run = stages["coupled_fit_closed"].function, stages["coupled_land_closed"].function
    assert (fit.method, fit.scheme, run.scheme) == ("descent", "implicit", "implicit")
    changed = {name for name in digests[0] if digests[0][name] != digests[1][name]}
    assert changed == {"coupled_fit_closed", "coupled_land_closed"}


def test_tables_are_known_by_content_and_by_what_is_beside(tmp_path: Path) -> None:
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text(folder)
    both = f"{tmp_path}/A/x.csv,{tmp_path}/B/x.csv"
    first = table_inputs(both)
    assert [name for name, _ in first] == ["x.csv", "x.csv"] and first[0] != first[1]
    (tmp_path / "A" / "x.csv").write_text("new")  # of two of one name, the earlier
    second = table_inputs(both)
    assert second[0] != first[0] and second[1] == first[1]
    (tmp_path / "B" / "unit.txt").write_text("tas C")
    third = table_inputs(both)
    (tmp_path / "B" / "unit.txt").write_text("tas K")
    assert second != third != table_inputs(both)
