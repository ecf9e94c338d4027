import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciml.core.errors import ConfigError
from sciml.core.grid import great_circle_km
from sciml.data import splits
from sciml.data.splits import Period, Split


def test_periods_are_half_open():
    period = Period("2002-08", "2015-01")
    assert period.months[[0, -1]].astype(str).tolist() == ["2002-08", "2014-12"]
    inside = period.contains(np.array(["2002-07", "2002-08", "2014-12", "2015-01"], dtype="datetime64[M]"))
    assert inside.tolist() == [False, True, True, False]
    Split(period, Period("2015-01", "2020-01"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Period("2015-01", "2015-01"), "is empty"),
        (lambda: Period("soon", "2015-01"), "write months as YYYY-MM"),
        (lambda: Split(Period("2002-08", "2015-02"), Period("2015-01", "2020-01")), "share months"),
    ],
)
def test_impossible_periods_are_refused(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


@given(st.integers(2, 9), st.integers(0, 24), st.integers(0, 11))
def test_year_folds_partition_the_training_years_in_blocks(folds, gap, shift):
    months = np.arange("2002-01", "2015-01", dtype="datetime64[M]")[shift:]
    months = np.sort(np.concatenate([months, months[[5]]]))  # a month with two records
    found = splits.year_folds(months, folds, gap_months=gap)
    assert len(found) == folds
    assert (np.sum([fold.valid for fold in found], axis=0) == 1).all()
    for fold in found:
        years = np.unique(months[fold.valid].astype("datetime64[Y]"))
        assert (np.diff(years).astype(int) == 1).all()
        assert fold.valid[np.isin(months.astype("datetime64[Y]"), years)].all()
        if fold.train.any():
            apart = np.abs((months[fold.train][:, None] - months[fold.valid][None]).astype(int))
            assert apart.min() > gap


def test_more_folds_than_years_are_refused():
    with pytest.raises(ConfigError, match="expected 2 to 3"):
        splits.year_folds(np.arange("2002-01", "2005-01", dtype="datetime64[M]"), 4)


def patch(lat, lon):
    a, b = np.meshgrid([lat - 0.25, lat + 0.25], [lon - 0.25, lon + 0.25])
    return a.ravel(), b.ravel()


def test_separation_is_the_least_distance_of_cells():
    nested = (np.array([10.25, 10.75]), np.array([20.25, 20.25]))
    outer = (np.array([10.25, 10.75, 11.25]), np.array([20.25, 20.25, 20.25]))
    far = patch(10.5, 40.0)
    nowhere = (np.array([]), np.array([]))
    km = splits.separation_km([nested, outer, far, nowhere])
    assert km[0, 1] == 0 and km[0, 0] == 0
    pairs = great_circle_km(nested[0][:, None], nested[1][:, None], far[0][None], far[1][None])
    assert km[0, 2] == pytest.approx(pairs.min(), rel=1e-9)
    np.testing.assert_allclose(km, km.T)
    assert np.isnan(km[3]).all()


def test_what_is_near_or_of_unknown_place_does_not_train():
    lat = np.array([0.0, 0.0, 0.0, np.nan])
    lon = np.array([0.0, 5.0, 30.0, np.nan])
    places = [patch(a, b) if np.isfinite(a) else (np.array([]), np.array([])) for a, b in zip(lat, lon, strict=True)]
    km = splits.separation_km(places)
    held = np.array([True, False, False, False])
    assert splits.left_out(km, held, distance_km=600).tolist() == [True, True, False, True]
    assert splits.left_out(km, held, distance_km=100).tolist() == [True, False, False, True]


def test_region_folds_hold_out_each_place_once_and_nothing_near_it_trains():
    rng = np.random.default_rng(1)
    lat, lon = np.rad2deg(np.arcsin(rng.uniform(-0.9, 0.9, 80))), rng.uniform(-180, 180, 80)
    km = splits.separation_km([patch(a, b) for a, b in zip(lat, lon, strict=True)])
    found = splits.region_folds(lat, lon, km, 8, distance_km=500.0)
    assert (np.sum([fold.valid for fold in found], axis=0) == 1).all()
    for fold in found:
        assert not (fold.train & fold.valid).any() and fold.train.any()
        assert km[np.ix_(fold.train, fold.valid)].min() > 500.0
        left = ~fold.train & ~fold.valid  # nobody is left out without a reason
        assert (km[np.ix_(left, fold.valid)].min(axis=1) <= 500.0).all()


def test_a_place_without_position_is_in_no_fold():
    lat, lon = np.array([0.0, 10.0, 40.0, np.nan]), np.array([0.0, 90.0, -90.0, np.nan])
    places = [patch(a, b) if np.isfinite(a) else (np.array([]), np.array([])) for a, b in zip(lat, lon, strict=True)]
    for fold in splits.region_folds(lat, lon, splits.separation_km(places), 3):
        assert not fold.train[3] and not fold.valid[3]


def test_neighbourhoods_cross_the_date_line_and_do_not_depend_on_the_run():
    lat = np.array([0.0, 1.0, 0.5, 0.0, 1.0, 0.5])
    lon = np.array([179.0, -179.0, 180.0, 10.0, 12.0, 11.0])
    label = splits.neighbourhoods(lat, lon, 2)
    assert label.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(label, splits.neighbourhoods(lat, lon, 2))
