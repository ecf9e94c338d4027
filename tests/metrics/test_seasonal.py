"""Planted season and trend come back from records where the mission put them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sciml.core.errors import InputError
from sciml.metrics import seasonal

START = np.datetime64("2002-04-01", "s")


def irregular(seed: int = 0, records: int = 120) -> np.ndarray:
    """Record times over 15 years with gaps and pairs within one month."""
    days = np.sort(np.random.default_rng(seed).choice(15 * 365, records, replace=False))
    return START + (days * 86400).astype("timedelta64[s]")


def wave(time: np.ndarray, trend: float, amplitude: float, peak_day: float) -> np.ndarray:
    years = seasonal.years_since_2000(time)
    return (7 + trend * years + amplitude * np.cos(2 * np.pi * (years - peak_day / seasonal.DAYS_PER_YEAR)))[None]


@settings(max_examples=40, deadline=None)
@given(trend=st.floats(-50, 50), amplitude=st.floats(1, 300), peak=st.floats(0, 365), seed=st.integers(0, 100))
def test_planted_trend_amplitude_and_phase(trend, amplitude, peak, seed):
    time = irregular(seed)
    fitted = seasonal.cycle(wave(time, trend, amplitude, peak), time)
    assert np.isclose(fitted.trend, trend, atol=1e-6)
    assert np.isclose(fitted.amplitude, amplitude, rtol=1e-8)
    assert abs(seasonal.phase_difference_months(fitted.phase_days, np.array([peak]))) < 1e-6


def test_phase_is_the_day_of_the_year_of_the_maximum():
    time = np.arange("2004-01-01", "2012-01-01", dtype="datetime64[D]").astype("datetime64[s]")
    values = wave(time, 0, 50, 121.0)
    assert pd.Timestamp(time[np.argmax(values[0, :365])]).strftime("%m-%d") in ("04-30", "05-01", "05-02")
    fitted = seasonal.cycle(values, time)
    assert np.isclose(fitted.phase_days, 121.0)


def test_phase_difference_goes_round_the_year():
    difference = seasonal.phase_difference_months(np.array([5.0, 360.0]), np.array([360.0, 5.0]))
    np.testing.assert_allclose(difference, np.array([10.25, -10.25]) * 12 / 365.25)


def test_mask_equals_selection_for_units_with_different_gaps():
    random = np.random.default_rng(1)
    time = irregular(1)
    values = wave(time, 5, 80, 100) + random.normal(size=(6, len(time)))
    keep = random.random(values.shape) < 0.5
    together = seasonal.cycle(np.where(keep, values, np.nan), time, keep)
    for i in range(6):
        alone = seasonal.cycle(values[i : i + 1, keep[i]], time[keep[i]])
        for name in ("trend", "amplitude", "phase_days"):
            np.testing.assert_allclose(getattr(together, name)[i], getattr(alone, name)[0], rtol=1e-6)


def test_too_few_or_too_short_records_have_no_cycle():
    time = irregular(2, 8)
    assert np.isnan(seasonal.cycle(wave(time, 1, 2, 3), time).trend)
    week = START + np.arange(20).astype("timedelta64[D]")
    assert np.isnan(seasonal.cycle(wave(week, 1, 2, 3), week).amplitude)


def test_climatology_of_planted_month_means_despite_trend_and_gaps():
    random = np.random.default_rng(3)
    time = irregular(3, 150)
    planted = random.normal(size=(4, 12)) * 50
    values = planted[:, seasonal.calendar_month(time)] + 20 * seasonal.years_since_2000(time)
    found = seasonal.climatology(values, time)
    level = found - planted
    np.testing.assert_allclose(level - level.mean(axis=1, keepdims=True), 0, atol=1e-8)
    np.testing.assert_allclose(seasonal.anomalies(values, time, found), 0, atol=1e-8)


def test_climatology_without_trend_is_the_plain_mean_of_each_month():
    time = np.arange("2003-01", "2009-01", dtype="datetime64[M]").astype("datetime64[s]")
    values = np.random.default_rng(4).normal(size=(3, 72))
    years = seasonal.years_since_2000(time)
    clock = (years.reshape(6, 12) - years.reshape(6, 12).mean(axis=0)).ravel()
    values -= (values @ clock / (clock @ clock))[:, None] * clock
    np.testing.assert_allclose(seasonal.climatology(values, time), values.reshape(3, 6, 12).mean(axis=1), atol=1e-10)


def test_anomalies_are_detrended_as_scipy_does():
    time = irregular(5)
    values = np.random.default_rng(5).normal(size=(2, len(time)))
    found = seasonal.anomalies(values, time, np.zeros((2, 12)))
    for row, raw in zip(found, values, strict=True):
        line = stats.linregress(seasonal.years_since_2000(time), raw)
        expected = raw - line.intercept - line.slope * seasonal.years_since_2000(time)
        np.testing.assert_allclose(row, expected, atol=1e-10)


def test_climatology_ignores_what_the_mask_leaves_out():
    """The leak test of the scores: what happens outside the training records changes nothing."""
    time = irregular(6)
    values = np.random.default_rng(6).normal(size=(3, len(time)))
    train = time < np.datetime64("2015-01")
    later = np.where(train, values, 1e6)
    np.testing.assert_array_equal(seasonal.climatology(values, time, train), seasonal.climatology(later, time, train))


def test_refusals():
    time = irregular(7)
    july = seasonal.calendar_month(time) == 6
    with pytest.raises(InputError, match="no training record in calendar month 7"):
        seasonal.climatology(np.zeros((1, len(time))), time, ~july)
    holed = np.full((1, len(time)), np.nan)
    with pytest.raises(InputError, match="found 120 NaN in records to be fitted"):
        seasonal.cycle(holed, time)


def test_trend_and_amplitude_of_real_mascons(real_data):
    """What is known of the Earth: Greenland melts, the Caspian falls, the Amazon has the largest cycle, in May."""
    xr = pytest.importorskip("xarray")
    file = real_data / "hydro" / "grace_jpl_l2" / "grace_jpl_gsm_mascon3deg_0p5grid_2002_2025.nc"
    with xr.open_dataset(file) as data:
        lat, lon, land = (data[f"mascon_{k}"].values for k in ("center_lat", "center_lon", "land_fraction"))
        fitted = seasonal.cycle(10.0 * data["mascon_lwe"].values, data["time"].values)
    lon = (lon + 180) % 360 - 180
    greenland = (lat > 62) & (lat < 80) & (lon > -50) & (lon < -25)
    assert np.median(fitted.trend[greenland]) < -20
    caspian = (lat > 37) & (lat < 46) & (lon > 49) & (lon < 54)
    assert np.median(fitted.trend[caspian]) < -10
    largest = np.argmax(np.where(land > 0.5, fitted.amplitude, 0))
    assert -10 < lat[largest] < 2 and -75 < lon[largest] < -50
    assert 90 < fitted.phase_days[largest] < 180
