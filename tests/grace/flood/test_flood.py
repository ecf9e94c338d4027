"""The Flood Potential Index: its identities, planted floods, thresholds from training years, places of reports."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers.storm_events import NATION, Reports
from sciml.grace.flood import cases, potential, report
from sciml.grace.flood.potential import FloodCase
from sciml.metrics import events

MONTHS = np.arange("2002-01", "2020-01", dtype="M8[M]")
TRAIN = np.datetime64("2015-01") > MONTHS


def planted(units: int = 12, weight: float = 1.0, seed: int = 3) -> FloodCase:
    """A flood where rain and `weight` times the storage before, both with noise, exceed their 93rd percentile."""
    rng = np.random.default_rng(seed)
    rain = rng.gamma(2.0, 40.0, (units, len(MONTHS)))
    storage = np.zeros(rain.shape)
    for month in range(1, len(MONTHS)):
        storage[:, month] = 0.8 * storage[:, month - 1] + 0.5 * (rain[:, month] - 80.0)
    load = rain + weight * potential.previous(storage) + rng.normal(0, 15, rain.shape)
    reported = load > np.nanquantile(load, 0.93, axis=1, keepdims=True)
    name = np.array([f"unit {k}" for k in range(units)])
    return FloodCase(
        name=name,
        row=name,
        months=MONTHS,
        precipitation=rain,
        storage={"seen": storage, "noise": rng.normal(0, 60, storage.shape)},
        reported={"flood": reported, "flash_flood": rain > 300},
        covered=np.ones(rain.shape, bool),
        train=TRAIN,
        test=~TRAIN,
    )


def test_excess_is_rain_where_storage_was_at_its_largest() -> None:
    case = planted()
    storage = case.storage["seen"]
    found = potential.excess(case.precipitation, storage, TRAIN)
    for unit, month in enumerate(storage[:, TRAIN].argmax(axis=1)):
        assert found[unit, month + 1] == pytest.approx(case.precipitation[unit, month + 1])
    count = int(TRAIN.sum())
    assert (found[:, 1:count] <= case.precipitation[:, 1:count] + 1e-9).all()  # room is never negative
    assert np.isnan(found[:, 0]).all()  # no month before the first


def test_the_largest_index_of_the_training_years_is_one() -> None:
    case = planted()
    index = potential.potential(case.precipitation, case.storage["seen"], TRAIN)
    np.testing.assert_allclose(np.nanmax(index[:, TRAIN], axis=1), 1.0)


def test_the_index_knows_no_origin_of_storage_and_no_year_after_training() -> None:
    case = planted()
    rain, storage = case.precipitation, case.storage["seen"]
    index = potential.potential(rain, storage, TRAIN)
    np.testing.assert_allclose(potential.potential(rain, storage + 500.0, TRAIN), index, atol=1e-9)
    later = np.where(TRAIN, storage, 10 * storage)
    first_test = int(TRAIN.sum())
    np.testing.assert_array_equal(
        potential.potential(np.where(TRAIN, rain, 7.0), later, TRAIN)[:, :first_test], index[:, :first_test]
    )


def test_a_unit_without_rain_after_its_fullest_month_has_no_index() -> None:
    rain, storage = np.array([[5.0, 5.0, 0.0, 5.0]]), np.array([[0.0, 90.0, 0.0, 0.0]])
    assert np.isnan(potential.potential(rain, storage, np.ones(4, bool))).all()


def test_planted_floods_are_told_by_rain_and_storage_together() -> None:
    scored = potential.prepare(planted(), "flood")
    assert scored.headline == "seen" and scored.storage_of == "seen"
    scores = potential.summarise(scored, potential.table(scored))
    for rival in potential.BASELINES:
        assert scores["seen"]["roc_area"] > scores[rival]["roc_area"] + 0.03
        assert scores["seen"]["roc_area_gain_ci"][rival][0] > 0
        assert scores["seen"]["fraction_better_than"][rival] > 0.7
    assert scores["seen"]["roc_area"] > 0.9 > scores["noise"]["roc_area"]


def test_rain_alone_wins_where_storage_plays_no_part() -> None:
    scored = potential.prepare(planted(weight=0.0), "flood")
    scores = potential.summarise(scored, potential.table(scored))
    assert scores["precipitation_alone"]["roc_area"] > scores["seen"]["roc_area"]
    assert scores["seen"]["roc_area_gain_ci"]["precipitation_alone"][1] < 0


def test_scores_are_those_of_their_definitions() -> None:
    scored = potential.prepare(planted(), "flood")
    rows = potential.table(scored)
    scores = potential.summarise(scored, rows)
    for model, summary in scores.items():
        index, keep = scored.index[model], scored.test
        alarm, told = index[keep] >= summary["threshold"], scored.reported[keep]
        assert summary["tpr"] == pytest.approx(alarm[told].mean())
        assert summary["far"] == pytest.approx(alarm[~told].mean())
        assert summary["peirce"] == pytest.approx(summary["tpr"] - summary["far"])
        assert summary["roc_area_pooled"] == pytest.approx(float(events.roc_area(index[keep], told)))
        own = rows[rows["model"] == model]
        pairs = own["events"] * (own["n"] - own["events"])
        assert summary["roc_area"] == pytest.approx((own["roc_area"].fillna(0) * pairs).sum() / pairs.sum())
        for key in ("roc_area", "tpr", "far", "peirce"):
            low, high = summary[f"{key}_ci"]
            assert low <= summary[key] + 0.1 and high >= summary[key] - 0.1 and low <= high


def test_a_fifth_of_quiet_training_months_gets_an_alarm() -> None:
    scored = potential.prepare(planted(), "flood")
    for model, index in scored.index.items():
        quiet = scored.train & ~scored.reported
        share = (index[quiet] >= scored.threshold[model]).mean()
        assert 0.2 - 1 / quiet.sum() <= share <= 0.2, model


def test_reports_after_training_do_not_move_the_threshold() -> None:
    case = planted()
    spoiled = {kind: np.where(TRAIN, told, ~told) for kind, told in case.reported.items()}
    first, second = potential.prepare(case, "flood"), potential.prepare(replace(case, reported=spoiled), "flood")
    assert first.threshold == second.threshold


def test_without_reports_in_training_every_month_there_counts_as_quiet_and_few_years_give_no_interval() -> None:
    case = planted()
    covered = np.broadcast_to((MONTHS >= np.datetime64("2017-01")) & (MONTHS < np.datetime64("2018-01")), (12, 216))
    scored = potential.prepare(replace(case, covered=covered), "flood")
    assert scored.headline == "seen"  # the first: nothing to choose by
    share = (scored.index["seen"][:, TRAIN] >= scored.threshold["seen"]).mean()
    assert 0.18 < share <= 0.2
    assert potential.summarise(scored, potential.table(scored))["seen"]["roc_area_ci"] == [None, None]


def test_where_no_place_holds_both_kinds_the_page_says_so() -> None:
    case = planted(units=2)
    always = np.repeat([[True], [False]], len(MONTHS), axis=1)
    scored = potential.prepare(replace(case, reported={"flood": always}), "flood")
    scores = potential.summarise(scored, potential.table(scored))
    assert scores["seen"]["roc_area"] is None and scores["seen"]["roc_area_pooled"] is not None
    assert "nothing can be said about when" in report.sentences(scored, scores, "There")[0]


def test_nothing_to_score_is_refused() -> None:
    case = planted()
    with pytest.raises(InputError, match="found 0 months with a report of 'Flood'"):
        potential.prepare(replace(case, reported={"flood": np.zeros((12, len(MONTHS)), bool)}), "flood")
    with pytest.raises(InputError, match="expected both kinds"):
        potential.prepare(replace(case, covered=np.zeros((12, len(MONTHS)), bool)), "flood")


def test_the_band_holds_its_curve() -> None:
    scored = potential.prepare(planted(), "flood")
    rates = np.linspace(0, 1, 21)
    low, high = potential.roc_band(scored, "seen", rates)
    curve = events.roc_curve(scored.index["seen"][scored.test], scored.reported[scored.test])
    inside = (np.interp(rates, curve.pofd, curve.pod) >= low - 0.02) & (
        np.interp(rates, curve.pofd, curve.pod) <= high + 0.02
    )
    assert inside.mean() > 0.9 and (low <= high).all()


def test_points_find_the_cell_that_holds_them() -> None:
    latitude, longitude = (a.ravel() for a in np.meshgrid([30.25, 30.75], [-91.25, -90.75, 179.75], indexing="ij"))
    found = cases.holding(
        np.array([30.1, 30.99, 30.6, 30.2, 12.0]), np.array([-91.0, -91.49, 179.9, -88.0, -91.0]), latitude, longitude
    )
    np.testing.assert_array_equal(found, [1, 3, 5, -1, -1])


@pytest.mark.parametrize(
    ("latitude", "longitude", "size"),
    [([0.25, 0.75, 0.25], [10.25, 10.25, 11.25], 0.5), ([0.25, 0.25], [10.25, 10.5], 0.25), ([3.0], [7.0], 0.5)],
)
def test_cells_of_one_row_and_one_cell_alone_have_a_size(
    latitude: list[float], longitude: list[float], size: float
) -> None:
    assert cases.resolution(np.array(latitude), np.array(longitude)) == size
    place = np.array(latitude), np.array(longitude)
    np.testing.assert_array_equal(cases.holding(*place, *place), np.arange(len(latitude)))


def test_reports_are_checked_without_any_storage() -> None:
    case = replace(planted(), storage={})
    potential.check(case, "flood")
    with pytest.raises(InputError, match="found 0 months with a report of 'Flood' among the 72"):
        potential.check(replace(case, reported={"flood": np.zeros((12, len(MONTHS)), bool)}), "flood")


def test_rain_is_there_though_the_models_do_not_see_it(tmp_path: Path) -> None:
    store = xr.Dataset({"pr": (("cell", "month"), np.ones((2, 3)))})
    store.to_zarr(tmp_path / "fine", zarr_format=3, consolidated=False)
    xr.Dataset({"tas": store["pr"]}).to_zarr(tmp_path / "dry", zarr_format=3, consolidated=False)
    layout = SimpleNamespace(real=np.array([1]))
    months = np.arange("2016-01", "2016-04", dtype="M8[M]")
    problem = SimpleNamespace(months=months, layout=layout, names=("tas",), fine_url=str(tmp_path / "fine"))
    found = cases.cell_rain(problem, "")  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, [[31 * 86400.0, 29 * 86400.0, 31 * 86400.0]])
    problem.fine_url = str(tmp_path / "dry")
    with pytest.raises(InputError, match="no 'pr' among the predictors"):
        cases.cell_rain(problem, "")  # type: ignore[arg-type]


def reports() -> Reports:
    table = pd.DataFrame(
        {
            "event": ["a", "b", "c", "d"],
            "kind": ["Flood", "Flash Flood", "Flood", "Flood"],
            "start": np.array(["2016-01-31T23", "2016-02-01", "2016-02-03", "2018-05-01"], "M8[ns]"),
            "latitude": [30.3, 30.3, 12.0, 30.3],
            "longitude": [-91.2] * 4,
            "scope": NATION,
        }
    )
    return Reports(table, {NATION: np.arange("2016-01", "2016-04", dtype="M8[M]")}, ["note"])


def test_reports_count_in_the_month_they_begin_and_only_in_months_that_files_cover() -> None:
    unit = np.array([0, 0, -1, 0])  # the third lies outside; the fourth in a month that no file covers
    found = cases.monthly(reports(), unit, 2, MONTHS, NATION)
    for kind, month in (("flood", "2016-01"), ("flash_flood", "2016-02")):
        assert list(MONTHS[found[kind][0]].astype(str)) == [month]
        assert not found[kind][1].any()
    assert "1 of 4 flood reports lie outside every basin" in cases.outside_note(unit, "basin")
