"""Scores of the gridded job where observations or predictions are missing."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import timeline
from sciml.data.splits import Period, year_folds
from sciml.generated.grace_signal import mission_records
from sciml.grace.gridded.report import Results, best, cross_validation, score

RECORDS = mission_records("2003-01", "2020-01")
WINDOWS = timeline(np.datetime64("2003-01"), np.datetime64("2020-01"), RECORDS)
MASCONS = 5


@pytest.fixture
def observed() -> np.ndarray:
    """Season and noise of five mascons [mm], NaN in gap months."""
    rng, month = np.random.default_rng(0), WINDOWS.month.astype(int)
    season = np.arange(20, 120, 20)[:, None] * np.sin(2 * np.pi * month / 12)
    return np.where(WINDOWS.observed, season + rng.normal(0, 10, (MASCONS, len(month))), np.nan)


def results(folder: Path, observed: np.ndarray, predicted: dict[str, np.ndarray]) -> Results:
    """Stores of models that predict means of mascons, and a problem without planted truth."""
    trained = WINDOWS.observed & (WINDOWS.month < np.datetime64("2015-01"))
    tested = WINDOWS.observed & ~trained

    def folds() -> list[tuple[np.ndarray, np.ndarray]]:
        found, windows = [], np.flatnonzero(trained)
        for fold in year_folds(WINDOWS.month[windows], 3):
            train, valid = np.zeros((2, len(WINDOWS)), bool)
            train[windows[fold.train]], valid[windows[fold.valid]] = True, True
            found.append((train, valid))
        return found

    problem: Any = SimpleNamespace(
        truth_url="", windows=WINDOWS, trained=trained, tested=tested, uncertainty="sigma", seed=0, year_folds=folds,
        anomaly=lambda: observed, series=lambda name: np.where(np.isfinite(observed), 10.0, np.nan),
        test=Period("2015-01", "2020-01"), layout=SimpleNamespace(cells=None),
    )  # fmt: skip
    for name, values in predicted.items():
        point = xr.Dataset({"coarse": (("m", "e", "w"), values[:, None]), "out_of_fold": (("m", "w"), values)})
        point.to_zarr(folder / name, zarr_format=3, consolidated=False)
        share = xr.Dataset({"gap_sigma": (("fit", "m"), np.full((1, MASCONS), 10.0))})
        share.to_zarr(folder / f"{name}_share", zarr_format=3, consolidated=False)
    predictions = {name: str(folder / name) for name in predicted}
    return Results(problem, predictions, {name: f"{url}_share" for name, url in predictions.items()}, {})


def test_a_mascon_unseen_in_the_test_period_is_left_out(observed: np.ndarray, tmp_path: Path) -> None:
    lost = observed.copy()
    lost[1, WINDOWS.month >= np.datetime64("2015-01")] = np.nan
    found = results(tmp_path, lost, {"ridge": np.nan_to_num(observed) * 0.9})
    table, scores = score("downscale", found)
    assert table.set_index(["model", "unit"]).loc[("ridge", 1), "n"] == 0
    assert {scores[model]["n"] for model in ("ridge", "climatology_trend", "last_year")} == {4}
    assert scores["ridge"]["nse_median"] > 0.9


def test_a_mascon_unseen_in_the_training_period_has_no_row(observed: np.ndarray, tmp_path: Path) -> None:
    late = observed.copy()
    late[3, WINDOWS.month < np.datetime64("2014-01")] = np.nan
    table, scores = score("downscale", results(tmp_path, late, {"ridge": np.nan_to_num(observed)}))
    assert sorted(set(table["unit"])) == [0, 1, 2, 4]
    assert scores["ridge"]["n"] == 4


def test_every_model_is_scored_on_the_records_that_all_predict(observed: np.ndarray, tmp_path: Path) -> None:
    short = np.where(WINDOWS.month < np.datetime64("2018-01"), np.nan_to_num(observed), np.nan)
    predicted = {"ridge": np.nan_to_num(observed), "lstm": short}
    _, scores = score("downscale", results(tmp_path, observed, predicted))
    assert len({found["n_records"] for found in scores.values()}) == 1
    found = cross_validation("downscale", results(tmp_path / "again", observed, predicted))
    assert set(found.scores) == {"ridge", "lstm"}


def test_a_model_without_a_test_prediction_is_said_and_not_scored(
    observed: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = np.where(WINDOWS.month < np.datetime64("2015-01"), np.nan_to_num(observed), np.nan)
    found = results(tmp_path, observed, {"lstm": blind, "ridge": np.nan_to_num(observed)})
    _, scores = score("downscale", found)
    assert "lstm: no prediction in the test period" in capsys.readouterr().out
    assert "lstm" not in scores and best(scores, found) == "ridge"
    with pytest.raises(InputError, match="no model predicts a record of the test period"):
        score("downscale", results(tmp_path / "blind", observed, {"lstm": blind}))
