"""The emulator with a soil that fills up: its budgets where it is full, and the paper's step where it is not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sciml.land import emulator as b
from sciml.land import equations
from sciml.land.models import PAPER

VALUES = {"a": 0.95, "b": 4.0, "t_c": 273.5, "chi": 1.1, "c": 0.9, "d": 0.95, "beta": 15.0, "g": 400.0, "e": 0.02,
          "y_0": 80.0, "h": 0.3, "k_1": 0.05, "y_star": 200.0, "k_2": 0.08, "p_star": 45.0, "alpha": 0.6,
          "saturation": 300.0}  # fmt: skip
unit = st.floats(0.0, 1.0)


def parameters(**changed: float) -> b.Parameters:
    return b.Parameters(**{name: np.array([value]) for name, value in (VALUES | changed).items()})


def one(*values: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([float(v)]) for v in values)


@given(unit, unit, unit, unit, unit, unit, unit, unit)
def test_budgets_close_and_the_soil_stays_below_its_saturation(
    snow: float, soil: float, wet: float, rain: float, fall: float, warm: float, dry: float, deep: float
) -> None:
    p = parameters(k_1=0.001, y_0=400 * deep)
    state = b.State(*one(400 * snow**3, 300 * soil, 80 * wet))
    forcing = one(150 * rain**3, 60 * fall**3, 250 + 60 * warm, 0.03 * dry - 0.02)
    new, fluxes = b.step(state, *forcing, p)
    tolerance = 1e-10 * (1 + sum(state) + forcing[0] + forcing[1])
    for name, before, after in zip(PAPER.states, state, new, strict=True):
        change = sum(sign * getattr(fluxes, flux) for flux, sign in PAPER.budget[name].items())
        assert abs(after - before - change) <= tolerance and after >= 0
    assert new.soil <= p.saturation
    kept = forcing[0] + forcing[1] - fluxes.evaporation - fluxes.runoff - (sum(new) - sum(state))
    assert abs(kept - fluxes.unbalanced) <= tolerance
    rejected = fluxes.inflow - fluxes.percolation
    assert abs(rejected - fluxes.surface_runoff - fluxes.wetland_gain) <= tolerance
    assert abs(fluxes.surface_runoff - p.alpha * rejected) <= tolerance and fluxes.percolation >= 0


def test_below_its_saturation_it_is_the_papers_step() -> None:
    theta = one(*(1 / v if name == "beta" else v for name, v in VALUES.items() if name != "saturation"))
    state, forcing = one(50, 150, 10), one(5, 2, 280, 0.002)
    expected, _ = equations.paper(state, forcing, theta, 1.0)
    got, _ = b.step(b.State(*state), *forcing, parameters())
    np.testing.assert_array_equal(got, expected)


def test_a_full_soil_refuses_what_percolates_then_dew() -> None:
    full = b.State(*one(0, 300, 0))
    calm = {"e": 0.0, "k_1": 0.0, "k_2": 0.0, "d": 1.0}  # f = 1/4
    state, fluxes = b.step(full, *one(40, 0, 290, 0.01), parameters(**calm))
    np.testing.assert_allclose([state.soil[0], fluxes.percolation[0], fluxes.evaporation[0]], [300, 4, 4])
    np.testing.assert_allclose([fluxes.surface_runoff[0], fluxes.wetland_gain[0]], [0.6 * 36, 0.4 * 36])
    state, fluxes = b.step(full, *one(0, 0, 290, -0.01), parameters(**calm))
    np.testing.assert_allclose([state.soil[0], fluxes.evaporation[0], fluxes.exchange[0]], [300, -4, 4])
