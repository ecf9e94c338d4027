"""The emulator's explicit step: budgets of its three stores, its limits, and the equations where they are plain."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sciml.land import emulator as b


def parameters(cells: int = 1, **changed: float) -> b.Parameters:
    values = {
        "a": 0.95,
        "b": 4.0,
        "t_c": 273.5,
        "chi": 1.1,
        "c": 0.9,
        "d": 0.95,
        "alpha": 0.6,
        "beta": 15.0,
        "g": 400.0,
        "e": 0.02,
        "y_0": 80.0,
        "h": 0.3,
        "k_1": 0.05,
        "y_star": 200.0,
        "k_2": 0.08,
        "p_star": 45.0,
        "saturation": 300.0,
    } | changed
    return b.Parameters(**{name: np.full(cells, value) for name, value in values.items()})


number = st.floats(0.0, 1.0)


@given(number, number, number, number, number, number, number)
def test_budgets_close_and_limits_hold(
    snow: float, soil: float, wet: float, rain: float, fall: float, warm: float, dry: float
) -> None:
    p = parameters()
    state = b.State(np.array([400 * snow**3]), np.array([300 * soil]), np.array([80 * wet]))
    forcing = (
        np.array([150 * rain**3]),
        np.array([60 * fall**3]),
        np.array([250 + 60 * warm]),
        np.array([0.03 * dry - 0.003]),
    )
    new, f = b.step(state, *forcing, p)
    tolerance = 1e-9 * (1 + state.snow + state.soil + state.wetland + forcing[0] + forcing[1])
    cover = b.snow_fraction(state.snow)
    assert abs(new.snow - state.snow - (f.snow_gain - f.melt)) <= tolerance
    assert abs(new.soil - state.soil - (f.percolation - f.evaporation - f.deep)) <= tolerance
    assert abs(new.wetland - state.wetland - (f.wetland_gain - f.wetland_outflow)) <= tolerance
    assert abs(f.inflow - (p.c * f.melt + p.d * (1 - cover) * forcing[0] + f.wetland_outflow)) <= tolerance
    assert abs(f.inflow - (f.percolation + f.surface_runoff + f.wetland_gain)) <= tolerance
    assert abs(f.snow_gain - p.a * (forcing[1] + cover * forcing[0])) <= tolerance
    assert new.snow >= 0 and f.melt <= state.snow + f.snow_gain + tolerance
    assert 0 <= new.soil <= p.saturation
    assert new.wetland >= 0 and f.percolation >= 0 and f.surface_runoff >= -tolerance


def test_nothing_evaporates_from_under_snow_and_frost_keeps_water_out() -> None:
    one = np.ones(1)
    state = b.State(50 * one, 150 * one, 0 * one)
    _, covered = b.step(state, 5 * one, 0 * one, 280 * one, 0.01 * one, parameters())
    assert covered.evaporation == 0 and covered.percolation > 0
    bare = b.State(0 * one, 150 * one, 0 * one)
    _, frozen = b.step(bare, 5 * one, 0 * one, 270 * one, 0.001 * one, parameters())
    assert frozen.percolation == 0 and frozen.surface_runoff > 0
    _, warm = b.step(bare, 5 * one, 0 * one, 285 * one, 0.004 * one, parameters())
    np.testing.assert_allclose(warm.evaporation, 400 * 0.004)


def test_degree_day_melt_takes_no_more_than_there_is() -> None:
    state = b.State(np.array([100.0, 3.0]), np.full(2, 100.0), np.zeros(2))
    new, f = b.step(state, np.zeros(2), np.zeros(2), np.full(2, 275.5), np.zeros(2), parameters(2))
    np.testing.assert_allclose(f.melt, [4.0 * 2.0**1.1, 3.0])
    assert new.snow[1] == 0.0  # exactly: evaporation waits for it


def test_the_fraction_that_percolates_is_half_at_each_threshold() -> None:
    p = parameters(k_2=0.0)
    at = lambda y: b.percolation_fraction(np.array([y]), np.array([10.0]), np.array([290.0]), p)[0]  # noqa: E731
    np.testing.assert_allclose(at(200.0), 0.25)  # 1/2 of soil and 1/2 of the switched-off rate
    assert at(100.0) > at(200.0) > at(280.0) > 0


def test_the_dry_soil_relaxes_to_the_deep_layer() -> None:
    p = parameters(e=0.05, g=0.0)
    state = b.State(np.zeros(1), np.array([200.0]), np.zeros(1))
    for _ in range(100):
        state, _ = b.step(state, np.zeros(1), np.zeros(1), np.full(1, 280.0), np.zeros(1), p)
    np.testing.assert_allclose(state.soil - 80.0, 120.0 * (1 - 0.05) ** 100, rtol=1e-9)


def test_humidity_at_saturation_against_tables() -> None:
    # Smithsonian tables: 23.37 hPa at 20 degC, hence 14.5 g/kg at 1013.25 hPa
    value = b.saturation_humidity(np.array([293.15]), np.array([101325.0]))
    np.testing.assert_allclose(value, 0.622 * 2337 / (101325 - 0.378 * 2337), rtol=3e-3)
