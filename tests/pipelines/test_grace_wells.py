"""The well job: planted wells whose level follows planted predictors, leaks, refusals, and the real table."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.grace_downscale import main
from sciml.data.stores import open_store
from sciml.grace.wells import models as well_models
from sciml.grace.wells.table import Wells, WellSetup, month_means, out_of_sample, standardise

MONTHS = np.arange(np.datetime64("2004-01"), np.datetime64("2012-01"))
OPTIONS = ["--folds", "2", "--global-members", "2", "--executor", "serial"]


def write_wells(file: Path, wells: int = 10) -> Path:
    """Level is a leaky store of local rain, which GRACE sees with noise; depth is its negative."""
    rng, t = np.random.default_rng(3), np.arange(len(MONTHS))
    wave = np.cos(2 * np.pi * (t - 6) / 12)
    common = rng.standard_normal(len(t))
    rows = []
    for well in range(wells):
        rain = np.maximum(80 + 25 * wave + 30 * (0.7 * common + 0.7 * rng.standard_normal(len(t))), 0)
        store = np.zeros(len(t))
        for month in range(1, len(t)):
            store[month] = 0.6 * store[month - 1] + rain[month] - rain.mean()
        level = 0.01 * store + 0.3 * wave - 4 + 0.05 * rng.standard_normal(len(t))
        columns = {
            "Month": t % 12 + 1, "Year": 2004 + t // 12, "wellme": f"W{well}", "Discharge": 20 + 0.1 * rain,
            "TRMM": rain, "LST": 12 + 14 * wave, "Vegetation": 50 + 40 * wave, "Canopy": 0.1 + 0.001 * rain,
            "SoilMoisture": 500 + 0.5 * rain, "SWE": np.maximum(-5 * wave, 0), "Thickness": 50.0,
            "Conductivity": 20.0, "Lat": 38 + 0.4 * well, "Long": -90 + 0.7 * (well % 3),
            "GRACE_TWSA": store + 60 * rng.standard_normal(len(t)), "DGWL_m": -level,
        }  # fmt: skip
        rows.append(pd.DataFrame(columns))
    pd.concat(rows, ignore_index=True).to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wells(tmp_path_factory.mktemp("wells") / "wells.csv")


@pytest.fixture(scope="module")
def planted(table: Path) -> Wells:
    return WellSetup(str(table), 2).prepare()


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main(["--source", "wells", "--wells", str(table), "--run-dir", str(folder), *OPTIONS]) == 0
    return folder


def test_planted_wells_are_followed_where_neither_well_nor_year_was_seen(run: Path) -> None:
    scores = json.loads((run / "metrics.json").read_text())["scores"]["wells"]
    assert set(scores) == {"mascon", "ridge", "ridge_stores", "global_lstm", "blend", "selected"}
    ours, storage = scores["selected"], scores["mascon"]
    assert ours["r_deseasonalised_median"] > 0.9 > storage["r_deseasonalised_median"] > 0.2
    low, high = ours["r_deseasonalised_median_ci"]
    assert low <= ours["r_deseasonalised_median"] <= high
    assert ours["n"] == 10
    assert 0.75 <= ours["coverage90"] <= 1
    assert ours["crps_median"] < storage["crps_median"]
    assert ours["fraction_better_than"]["mascon"] > 0.9


def test_the_page_and_its_figures_are_written(run: Path) -> None:
    page = (run / "report.html").read_text()
    for words in ("What of a left-out well is used", "opposite sign", "hardly at all"):
        assert words in page
    for name in ("wells-map", "wells-against-storage", "wells-series"):
        assert (run / "figures" / f"{name}.pdf").stat().st_size > 1000


def test_every_prediction_carries_members(run: Path) -> None:
    store = json.loads((run / "stores.json").read_text())["members_wells"]
    level = open_store(str(run / "stages" / store))["level"]
    assert level.dims == ("model", "well", "member", "month")
    assert level.attrs["units"] == "m"
    assert np.isfinite(level.values).all()
    assert (level.std("member") > 0).all()


def test_cells_leave_each_well_and_month_out_once_and_inner_cells_stay_in_training(planted: Wells) -> None:
    count = np.zeros(planted.level.shape, int)
    for cell in planted.cells:
        count[np.ix_(cell.wells, cell.months)] += 1
        for inner in planted.inner_cells(cell):
            assert not (inner.wells & cell.wells).any()
            assert not (inner.months & cell.months).any()
    assert (count == 1).all()


def test_levels_left_out_change_no_prediction(planted: Wells) -> None:
    cell, models = planted.cells[1], well_models.models_of(("global_lstm",))
    before = well_models.cell_result(planted, cell, models, 2, 0)
    level, rng = planted.level.copy(), np.random.default_rng(0)
    level[:, cell.months] = rng.normal(-4, 3, level[:, cell.months].shape)  # years left out, at every well
    kept = np.ix_(cell.wells, ~cell.months)  # wells left out, in every year: turned about the mean, which may be used
    level[kept] = 2 * level[kept].mean(axis=1, keepdims=True) - level[kept]
    after = well_models.cell_result(dataclasses.replace(planted, level=level), cell, models, 2, 0)
    np.testing.assert_allclose(after.point, before.point, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(after.sigma, before.sigma)
    assert after.choice == before.choice


def test_levels_trained_on_do_change_predictions(planted: Wells) -> None:
    cell = planted.cells[1]
    level = planted.level.copy()
    level[np.ix_(~cell.wells, ~cell.months)] *= -1
    models = well_models.models_of(())
    before, after = (
        well_models.cell_result(one, cell, models, 2, 0).point[0]
        for one in (planted, dataclasses.replace(planted, level=level))
    )
    np.testing.assert_allclose(after, -before, rtol=1e-5)


def test_the_climatology_of_a_cell_is_that_of_the_other_years(planted: Wells) -> None:
    observed, cell = out_of_sample(planted, planted.cells), planted.cells[2]
    shifted = planted.level + np.where(cell.months, 5.0, 0.0)
    moved = out_of_sample(dataclasses.replace(planted, level=shifted), planted.cells)
    place = np.ix_(cell.wells, cell.months)
    np.testing.assert_allclose(moved[place] - observed[place], 5.0)


def test_a_well_with_few_training_months_has_no_scale(planted: Wells) -> None:
    level = planted.level.copy()
    level[0, 20:] = np.nan
    standard = standardise(dataclasses.replace(planted, level=level), np.ones(len(planted.months), bool))
    assert np.isnan(standard.scale[0])
    assert np.isfinite(standard.scale[1:]).all()


def test_month_means_leave_out_what_is_missing() -> None:
    months = np.arange(np.datetime64("2001-01"), np.datetime64("2003-01"))
    values = np.arange(24.0)[None].copy()
    values[0, 0] = np.nan
    means = month_means(values, months, np.ones(24, bool))[0]
    assert means[0] == 12.0
    assert means[1] == 7.0


def test_a_full_bucket_under_rain_without_evaporation_stays_full_and_dries_without_rain() -> None:
    rain = np.concatenate([np.full(12, 50.0), np.zeros(60)])[None]
    dry = np.concatenate([np.zeros(12), np.full(60, 100.0)])[None]
    water = well_models.soil_bucket(rain, dry, 300.0)[0]
    assert (water[:12] == 300.0).all()
    np.testing.assert_allclose(water[12:], 300.0 * (1 - 100.0 / 300.0) ** np.arange(1, 61))


def test_potential_evaporation_by_hamon_at_the_equator_and_below_freezing() -> None:
    months = np.array(["2001-03", "2001-03"], "datetime64[M]")
    warm = well_models.potential_evaporation(np.array([[20.0, -5.0]]), np.array([0.0]), months)[0]
    # 12 hours of day; saturated vapour at 20 degC is 17.3 g m-3 (tables)
    np.testing.assert_allclose(warm[0] / 30.4375, 0.1651 * 17.3, rtol=0.01)
    assert warm[1] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "wells"], "--source wells needs --wells"),
        (["--wells", "w.csv"], "would not be read; expected --source wells"),
        (["--source", "wells", "--wells", "w.csv", "--experiment", "basins"], "source wells offers wells"),
    ],
)
def test_options_that_do_not_fit(options: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert main([*options, "--run-dir", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def _without_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="GRACE_TWSA")


def _month_twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[7]]])


def _text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(DGWL_m=frame["DGWL_m"].astype(object).where(frame.index != 4, "dry"))


def _thirteenth_month(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(Month=frame["Month"].where(frame.index != 4, 13))


def _few(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["wellme"].isin(["W0", "W1"])]


def _no_rain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(TRMM=frame["TRMM"].where(frame["wellme"] != "W3"))


def _no_place(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(Lat=frame["Lat"].where(frame["wellme"] != "W3"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_without_column, "column GRACE_TWSA missing"),
        (_month_twice, "for the second time"),
        (_text, "found 'dry', expected a number"),
        (_thirteenth_month, "column 'Month', line 6: found 13"),
        (_few, "found 2 wells, expected at least 8"),
        (_no_place, "well 'W3' has no Lat or Long"),
        (_no_rain, "well 'W3' has no value of pr"),
    ],
)
def test_a_wrong_table_is_one_line(edit, message: str, table: Path, tmp_path: Path, capsys) -> None:
    edit(pd.read_csv(table)).to_csv(tmp_path / "bad.csv", index=False)
    options = ["--source", "wells", "--wells", str(tmp_path / "bad.csv"), "--run-dir", str(tmp_path / "run")]
    assert main([*options, "--executor", "serial"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "bad.csv" in said
    assert "Traceback" not in said


def test_the_real_wells_follow_storage_with_the_sign_of_level(real_data: Path) -> None:
    from sciml.grace.wells.report import storage_and_depth

    wells = WellSetup(str(real_data / "hydro" / "illinois_seyoum" / "dgwlData.csv.gz"), 4).prepare()
    assert wells.level.shape == (32, 172)
    assert -0.62 < storage_and_depth(wells) < -0.52
    result = well_models.cell_result(wells, wells.cells[0], well_models.models_of(()), 2, 0)
    inside = wells.cells[0].wells[:, None] & wells.cells[0].months
    assert np.isfinite(result.point[:, inside]).all()
    assert np.isnan(result.point[:, ~inside]).all()
    assert (result.sigma > 0).all()
