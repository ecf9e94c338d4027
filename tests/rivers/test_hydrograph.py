"""Unit hydrographs against integration, linear reservoirs stepped by hand, planted ones; floods and their lags."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from sciml.core.errors import InputError
from sciml.rivers.hydrograph import (
    HIGH,
    LOW,
    Hydrograph,
    Routing,
    fit,
    flood_peaks,
    nash,
    peak_lags,
    route,
    weights,
)


def storms(days: int, areas: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.exponential(20.0, (days, areas)) * (rng.random((days, areas)) < 0.3) + 1.0


@pytest.mark.parametrize(("n", "k"), [(0.6, 2.0), (1.0, 4.0), (2.7, 1.3), (9.0, 0.4)])
def test_weights_are_the_twice_integrated_gamma_density(n: float, k: float) -> None:
    found = nash(n, k, 8)
    density = stats.gamma(n, scale=k)
    for j in range(8):  # water falls at u in (0, 1) and passes at j + v: the mean over both of what arrived
        area, _ = integrate.quad(lambda u, j=j: density.cdf(j + 1 - u) - density.cdf(max(j - u, 0.0)), 0.0, 1.0)
        assert found[j] == pytest.approx(area, abs=1e-7)


def test_one_reservoir_is_the_exact_linear_reservoir() -> None:
    """The store of `sciml.rivers.linear` with its mean outflow, one step a day."""
    k, inflow = 6.0, storms(300, 1)[:, 0]
    store, out = 0.0, []
    for water in inflow:
        after = store * np.exp(-1 / k) + water * k * (1 - np.exp(-1 / k))
        out.append(water - (after - store))
        store = after
    np.testing.assert_allclose(np.convolve(inflow, nash(1.0, k, 300))[:300], out, rtol=1e-9, atol=1e-9)


def test_two_reservoirs_in_a_row_are_a_cascade_of_two() -> None:
    """Convolution of exact kernels holds for whole-day means only in the limit of slow stores."""
    one, two = nash(1.0, 40.0, 400), nash(2.0, 40.0, 400)
    np.testing.assert_allclose(np.convolve(one, one)[:400], two, atol=2e-4)


@settings(max_examples=60, deadline=None)
@given(*(st.floats(low, high) for low, high in zip(LOW, HIGH, strict=True)))
def test_no_water_is_lost_or_made(n: float, k: float, share: float, slow: float) -> None:
    found = weights(Hydrograph(n, k, share, slow))
    assert found.min() > -1e-9 and found.sum() == pytest.approx(1.0, abs=1e-12)


def test_constant_runoff_flows_out_as_it_is() -> None:
    two = (Hydrograph(3.0, 2.0, 0.4, 50.0), Hydrograph(1.5, 0.5, 0.1, 10.0))
    found = route(np.tile([30.0, 70.0], (800, 1)), Routing(two, 1.2))
    np.testing.assert_allclose(found, 120.0, rtol=1e-9)


def test_a_quick_gauge_hands_its_runoff_through() -> None:
    water = storms(500, 1)
    found = route(water, Routing((Hydrograph(1.0, 1e-6, 0.0, 3.0),), 1.0))
    np.testing.assert_allclose(found, water[:, 0], rtol=1e-4)


def test_areas_add_up() -> None:
    water, two = storms(600, 2), (Hydrograph(3.0, 2.0, 0.4, 50.0), Hydrograph(1.5, 0.5, 0.1, 10.0))
    parts = [route(water[:, i : i + 1], Routing(two[i : i + 1], 0.9)) for i in range(2)]
    np.testing.assert_allclose(route(water, Routing(two, 0.9)), parts[0] + parts[1], rtol=1e-9)


def test_planted_hydrographs_are_found_again_and_no_other_day_is_read() -> None:
    water = storms(1800, 2, seed=3)
    planted = Routing((Hydrograph(3.0, 2.0, 0.3, 40.0), Hydrograph(1.2, 0.8, 0.1, 15.0)), 0.9)
    target = route(water, planted)
    training = np.arange(1800) < 1500
    found = fit(water, target, training)
    np.testing.assert_allclose(found.gain, planted.gain, rtol=1e-3)
    for of, true in zip(found.hydrographs, planted.hydrographs, strict=True):
        np.testing.assert_allclose(astuple(of), astuple(true), rtol=1e-3)
    spoilt, gone = np.where(training, target, 1e6), water.copy()
    gone[1500:] = 9e3
    assert fit(gone, spoilt, training) == found
    missing = np.where(np.arange(1800) % 7 == 0, np.nan, target)
    np.testing.assert_allclose(fit(water, missing, training).gain, planted.gain, rtol=1e-3)


def test_bad_series_are_one_line() -> None:
    water = storms(800, 1)
    with pytest.raises(InputError, match="100 training days have a discharge after the first year; expected 365"):
        fit(water, water[:, 0], np.arange(800) < 465)
    with pytest.raises(InputError, match="0 or constant"):
        fit(water, np.zeros(800), np.ones(800, bool))
    water[5] = np.nan
    with pytest.raises(InputError, match="day 6 of 800 is missing"):
        route(water, Routing((Hydrograph(1.0, 1.0, 0.0, 3.0),), 1.0))


def flood(days: int, *peaks: tuple[int, float]) -> np.ndarray:
    t = np.arange(days)
    return 10.0 + sum(size * np.exp(-(((t - day) / 3.0) ** 2)) for day, size in peaks)


def test_floods_stand_apart_and_the_highest_count() -> None:
    series = flood(200, (20, 50.0), (30, 80.0), (90, 60.0), (150, 20.0))
    assert flood_peaks(series, 10).tolist() == [30, 90, 150]  # the one of day 20 is on the way to the next
    assert flood_peaks(series, 2).tolist() == [30, 90]
    series[88:93] = np.nan
    assert 90 not in flood_peaks(series, 10)


@pytest.mark.parametrize("late", [-3, 0, 4])
def test_lag_of_floods(late: int) -> None:
    series = flood(200, (40, 50.0), (120, 80.0))
    assert peak_lags(np.roll(series, late), np.array([40, 120])).tolist() == [late, late]


def test_a_flood_that_is_not_there_has_no_lag() -> None:
    assert peak_lags(flood(200, (120, 80.0)) + np.linspace(0, 9, 200), np.array([40, 120])).tolist() == [0]
    assert peak_lags(np.roll(flood(200, (40, 50.0)), 9), np.array([40])).tolist() == []
