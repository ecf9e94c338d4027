"""Rivers of a small generated Earth: the coupled experiment, and `emulator_run` without files."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines import emulator_fit, emulator_run
from sciml.data.stores import open_store
from sciml.generated import rivers as generated
from sciml.generated.rivers import RiverConfig

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
