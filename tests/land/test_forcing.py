"""Humidity, the split of precipitation, Hamon's evaporation, and values that are cut and joined."""

from dataclasses import replace

import numpy as np
import pytest

from sciml.core.errors import ConfigError, InputError
from sciml.land.forcing import (
    Forcing,
    Record,
    Targets,
    day_length,
    days_between,
    hamon,
    humidity_from_relative,
    joined,
    saturation_humidity,
    split_precipitation,
    vapour_pressure,
)


def record(first: str = "1991-01-01", days: int = 730, name: str = "a", **changes: object) -> Record:
    dates = np.arange(np.datetime64(first), np.datetime64(first) + days)
    series = (dates - np.datetime64("1900-01-01")).astype(float)[:, None]
    place = np.array([50.0])
    forcing = Forcing(
        dates, series, series + 1, series + 2, series + 3, "humidity_deficit", np.array([name]), place, place, place
    )
    return replace(
        Record(forcing, Targets(dates, {"snow": series + 4}), (name,), discharge=series + 5, notes=(f"note {name}",)),
        **changes,
    )


def test_saturation_against_tabulated_values() -> None:
    """WMO's Guide (Goff-Gratch over water): 6.108 hPa at 0, 23.37 at 20, 42.43 at 30 degC."""
    found = vapour_pressure(np.array([273.15, 293.15, 303.15]))
    np.testing.assert_allclose(found, [610.8, 2337.0, 4243.0], rtol=2e-3)
    # 0.622 e / p to the first order
    assert saturation_humidity(np.array(293.15), np.array(101325.0)) == pytest.approx(0.622 * 2337 / 101325, rel=0.01)


def test_humidities_agree_with_each_other() -> None:
    temperature, pressure = np.array([265.0, 280.0, 300.0]), np.array([9e4, 9.8e4, 1.01e5])
    saturated = saturation_humidity(temperature, pressure)
    np.testing.assert_array_equal(humidity_from_relative(np.ones(3), temperature, pressure), saturated)
    dew = temperature - 6
    relative = vapour_pressure(dew) / vapour_pressure(temperature)
    np.testing.assert_allclose(
        humidity_from_relative(relative, temperature, pressure), saturation_humidity(dew, pressure), rtol=1e-12
    )
    assert (saturation_humidity(dew, pressure) < saturated).all()


def test_the_split_keeps_the_water_and_ramps() -> None:
    temperature = np.array([260.0, 273.15, 273.65, 274.15, 275.15, 290.0])
    rain, snowfall = split_precipitation(np.full(6, 8.0), temperature)
    np.testing.assert_allclose(snowfall, [8, 8, 6, 4, 0, 0], atol=1e-9)
    np.testing.assert_array_equal(rain + snowfall, 8.0)
    _, snowfall = split_precipitation(np.full(6, 8.0), temperature, (272.15, 274.15))
    np.testing.assert_allclose(snowfall, [8, 4, 2, 0, 0, 0], atol=1e-9)


def test_day_length_at_the_equator_the_circle_and_over_the_year() -> None:
    dates = np.arange("1991-01-01", "1992-01-01", dtype="M8[D]")
    found = day_length(dates, np.array([0.0, 75.0, -75.0, 52.0]))
    np.testing.assert_allclose(found[:, 0], 12.0, atol=1e-6)
    june, december = 171, 354
    assert found[june, 1] == 24 and found[december, 1] == 0 and found[june, 2] == 0
    np.testing.assert_allclose(found[:, 1] + found[:, 2], 24.0, atol=1e-9)
    assert found[june, 3] == pytest.approx(16.5, abs=0.15)  # sunrise to sunset without refraction at 52 N
    assert hamon(np.full((365, 4), 293.15), dates, np.array([0.0, 75.0, -75.0, 52.0]))[:, 0] == pytest.approx(
        0.1651 * 216.7 * 23.4 / 293.3, rel=0.01
    )


def test_periods_are_whole_years_months_or_days() -> None:
    dates = np.arange("1990-12-01", "1993-02-01", dtype="M8[D]")
    assert dates[days_between(dates, 1991, 1992, what="train")][[0, -1]].astype(str).tolist() == [
        "1991-01-01",
        "1992-12-31",
    ]
    assert days_between(dates, "1991-02", "1991-02", what="x") == slice(62, 90)
    noleap = dates[dates != np.datetime64("1992-02-29")]
    assert noleap[days_between(noleap, 1992, 1992, what="x")].size == 365
    for first, last in ((1990, 1991), (1992, 1993), (1992, 1991)):
        with pytest.raises(
            ConfigError, match=f"train: period {first}:{last}, but the record holds 1990-12-01 .. 1993-01"
        ):
            days_between(dates, first, last, what="train")


def test_cuts_keep_every_series_in_step() -> None:
    part = joined([record(name="a"), record(name="b")]).days(slice(10, 20)).select(np.array([1]))
    day = (part.forcing.dates - np.datetime64("1900-01-01")).astype(float)[:, None]
    forcing = part.forcing
    series = (
        forcing.rain,
        forcing.snowfall,
        forcing.temperature,
        forcing.demand,
        part.targets.values["snow"],
        part.discharge,
    )
    for offset, found in enumerate(series):
        np.testing.assert_array_equal(found, day + offset)
    assert part.names == ("b",) and part.forcing.cells.tolist() == ["b"] and len(part.targets.dates) == 10
    np.testing.assert_array_equal(forcing.precipitation, 2 * day + 1)
    assert (forcing.month == 0).all() and (forcing.year == 1991).all()


def test_joining_takes_the_common_days_and_says_so() -> None:
    lacking = record("1991-07-01", name="b", targets=Targets(record("1991-07-01").forcing.dates), discharge=None)
    both = joined([record(), lacking])
    assert both.forcing.dates[[0, -1]].astype(str).tolist() == ["1991-07-01", "1992-12-30"]
    assert np.isfinite(both.targets.values["snow"][:, 0]).all() and np.isnan(both.targets.values["snow"][:, 1]).all()
    assert np.isnan(both.discharge[:, 1]).all() and both.streamflow is None and both.names == ("a", "b")
    assert any(note.startswith("a: 181 days are outside") for note in both.notes)
    np.testing.assert_array_equal(both.forcing.rain[:, 0], both.forcing.rain[:, 1])


def test_records_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(InputError, match=r"no day is in all of them .a 1991-01-01 .. 1992-12-30, b 1999"):
        joined([record(), record("1999-01-01", name="b")])
    other = record(name="b")
    pet = replace(other, forcing=replace(other.forcing, demand_kind="potential_evaporation"))
    with pytest.raises(InputError, match=r"demand_kind: found 'humidity_deficit' .a., 'potential_evaporation' .b."):
        joined([record(), pet])
    with pytest.raises(ValueError, match="rain: found float64"):
        replace(other.forcing, rain=other.forcing.rain[:-1])
    with pytest.raises(ValueError, match="target 'swe': expected one of snow"):
        Targets(other.forcing.dates, {"swe": other.forcing.rain})
