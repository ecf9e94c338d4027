"""Each step against its equations written out anew; its budgets, limits and gradients; explicit against implicit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from sciml.land import equations as eq
from sciml.land.models import CLOSED, MODELS, PAPER, Model, Scheme
from sciml.land.run import torch_step

SCHEMES: tuple[Scheme, ...] = ("explicit", "implicit")
ALL = [(model, scheme) for model in MODELS.values() for scheme in SCHEMES if scheme in model.steps]
unit = st.floats(0.0, 1.0)


def drawn(model: Model, shares: list[float]) -> tuple[np.ndarray, ...]:
    """theta within bounds, one number for each share of the way from low to high."""
    return tuple(
        np.array([p.low * (p.high / p.low) ** s if p.log else p.low + s * (p.high - p.low)])
        for p, s in zip(model.parameters, shares, strict=True)
    )


def prior(model: Model, **changed: float) -> tuple[np.ndarray, ...]:
    values = {p.symbol: p.prior for p in model.parameters}
    assert changed.keys() <= values.keys()
    return tuple(np.array([v]) for v in (values | changed).values())


def named(model: Model, new: tuple, fluxes: tuple) -> dict[str, float]:
    return {
        n: float(np.asarray(v).squeeze()) for n, v in zip(model.states + model.fluxes, (*new, *fluxes), strict=True)
    }


def one(*values: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([float(v)]) for v in values)


@pytest.mark.parametrize(("model", "scheme"), ALL, ids=lambda x: x if isinstance(x, str) else x.name)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_budget_closes_and_no_store_is_overdrawn(model: Model, scheme: Scheme, data: st.DataObject) -> None:
    theta = drawn(model, [data.draw(unit) for _ in model.parameters])
    state = one(*(800 * data.draw(unit) ** 3 for _ in model.states))
    rain, fall = 200 * data.draw(unit) ** 3, 80 * data.draw(unit) ** 3
    forcing = one(rain, fall, 245 + 65 * data.draw(unit), 0.04 * data.draw(unit) - 0.004)
    days = data.draw(st.sampled_from([0.04, 1.0, 5.0, 30.0]))
    new, fluxes = model.steps[scheme](state, forcing, theta, days)
    values = named(model, new, fluxes)
    size = 1.0 + sum(float(s[0]) for s in state) + days * sum(abs(values[f]) for f in model.fluxes)
    for name, before in zip(model.states, state, strict=True):
        change = days * sum(sign * values[flux] for flux, sign in model.budget[name].items())
        assert abs(values[name] - before[0] - change) <= 1e-12 * size
        assert values[name] >= 0.0 and math.isfinite(values[name])
    storage = sum(values[s] for s in model.states) - sum(float(s[0]) for s in state)
    residual = rain + fall - values["evaporation"] - values["runoff"] - storage / days
    assert abs(residual - values.get("unbalanced", 0.0)) * days <= 1e-12 * size
    assert values["inflow"] >= values["percolation"] >= 0.0
    assert 0.0 <= values["melt"] and 0.0 <= values["wetland_outflow"] and values["surface_runoff"] >= 0.0
    alpha = float(theta[-1][0])
    rejected = values["inflow"] - values["percolation"]
    assert values["surface_runoff"] == pytest.approx(alpha * rejected, rel=1e-9, abs=1e-12 * size)
    assert values["wetland_gain"] == pytest.approx((1 - alpha) * rejected, rel=1e-9, abs=1e-12 * size)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_paper_as_it_is_written(data: st.DataObject) -> None:
    """The equations once more, with the paper's letters, wherever no limit of a finite step is met."""
    theta = drawn(PAPER, [data.draw(unit) for _ in PAPER.parameters])
    a, b, T_c, chi, c, d, omega, g, e, y_0, h, k_1, y_s, k_2, P_s, alpha = (float(x[0]) for x in theta)
    S, y, W = 500 * max(data.draw(unit) - 0.2, 0), 800 * data.draw(unit), 100 * data.draw(unit)
    P_rain, P_snow, T, q = (
        50 * data.draw(unit),
        20 * data.draw(unit),
        250 + 50 * data.draw(unit),
        0.02 * data.draw(unit),
    )
    dt = 1e-3
    A = min(math.sqrt(S / 100), 1)
    H = 1.0 if T > T_c else 0.0
    melt = b * H * max(T - T_c, 0) ** chi
    dS = a * (P_snow + A * P_rain) - melt
    P_in = c * melt + d * (1 - A) * P_rain + omega * W
    exponents = k_1 * (y - y_s), k_2 * (P_in - P_s)
    f = (T > 273.15) / (1 + math.exp(min(exponents[0], 600))) / (1 + math.exp(min(exponents[1], 600)))
    dy = f * P_in - (g * q if S <= 0 else 0.0) - e * (y - y_0)
    dW = (1 - alpha) * (1 - f) * P_in - omega * W
    if S + dt * dS < 0 or y + dt * dy < 0 or (dy < 0 and y < 1e-3):
        return  # a store runs dry within the step
    state, fluxes = eq.paper(one(S, y, W), one(P_rain, P_snow, T, q), theta, dt)
    got = named(PAPER, state, fluxes)
    for name, before, rate in (("snow", S, dS), ("soil_upper", y, dy), ("wetland", W, dW)):
        assert got[name] == pytest.approx(before + dt * rate, rel=1e-10, abs=1e-10)
    assert got["runoff"] == pytest.approx(alpha * (1 - f) * P_in + h, rel=1e-9)


def test_melt_takes_no_more_than_there_is_and_leaves_exactly_none() -> None:
    theta = prior(PAPER, b=4.0, T_c=273.5, chi=1.1)
    for snow, expected in ((100.0, 4.0 * 2.0**1.1), (3.0, 3.0)):
        (left, _, _), fluxes = eq.paper(one(snow, 100, 0), one(0, 0, 275.5, 0), theta, 1.0)
        np.testing.assert_allclose(fluxes[1], expected)
        assert (left == 0.0) == (snow == 3.0)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_evaporates_from_under_snow_and_frost_keeps_water_out(scheme: Scheme) -> None:
    def run(snow: float, temperature: float, deficit: float) -> dict[str, float]:
        theta = prior(PAPER, g=400.0)
        step = PAPER.steps[scheme]
        return named(PAPER, *step(one(snow, 150, 0), one(5, 0, temperature, deficit), theta, 1.0))

    covered = run(50, 280, 0.01)
    assert covered["evaporation"] == 0 and covered["percolation"] > 0
    frozen = run(0, 270, 0.001)
    assert frozen["percolation"] == 0 and frozen["surface_runoff"] > 0
    assert run(0, 285, 0.004)["evaporation"] == pytest.approx(1.6)
    assert run(0, 285, -0.001)["evaporation"] == pytest.approx(-0.4)  # dew


def test_the_fraction_that_percolates_is_half_at_each_threshold() -> None:
    at = lambda y, p: eq.percolation_fraction(*one(y, p, 290, 0.05, 200, 0.1, 40))[0]  # noqa: E731
    np.testing.assert_allclose([at(200, 40), at(-1e5, 40), at(200, -1e5)], [0.25, 0.5, 0.5])
    assert at(1e6, 1e6) < 1e-200


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_dry_soil_relaxes_to_the_deep_level(scheme: Scheme) -> None:
    theta = prior(PAPER, e=0.05, g=0.0, y_0=80.0)
    state = one(0, 200, 0)
    for _ in range(100):
        state, _ = PAPER.steps[scheme](state, one(0, 0, 280, 0), theta, 1.0)
    factor = 1 - 0.05 if scheme == "explicit" else 1 / 1.05
    np.testing.assert_allclose(state[1] - 80.0, 120.0 * factor**100, rtol=1e-9)


def test_the_soil_draws_no_more_from_the_groundwater_than_it_holds() -> None:
    theta = prior(CLOSED, e=0.5, y_0=500.0, tau=50.0, g=0.0)
    for scheme in SCHEMES:
        state, fluxes = CLOSED.steps[scheme](one(0, 100, 0, 10), one(0, 0, 280, 0), theta, 1.0)
        got = named(CLOSED, state, fluxes)
        assert got["soil_upper"] + got["groundwater"] + got["baseflow"] == pytest.approx(110.0, rel=1e-12)
        assert got["groundwater"] == pytest.approx(0.0, abs=1e-12)


def test_humidity_at_saturation_against_tables() -> None:
    # Smithsonian tables: 23.37 hPa at 20 degC, hence 14.5 g/kg at 1013.25 hPa
    value = eq.saturation_humidity(np.array([293.15]), np.array([101325.0]))
    np.testing.assert_allclose(value, 0.622 * 2337 / (101325 - 0.378 * 2337), rtol=3e-3)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_implicit_fraction_is_the_root_that_a_bracketing_solver_finds(data: st.DataObject) -> None:
    """Backward Euler written out for the share f and solved by Brent's method, where no limit is met."""
    theta = drawn(PAPER, [data.draw(st.floats(0.02, 0.5)) for _ in PAPER.parameters])
    _, _, _, _, _, d, omega, g, e, y_0, _, k_1, y_s, k_2, P_s, alpha = (float(x[0]) for x in theta)
    y, W, rain, q = 200 + 300 * data.draw(unit), 50 * data.draw(unit), 40 * data.draw(unit), 0.001 * data.draw(unit)
    days = data.draw(st.sampled_from([0.1, 1.0, 5.0, 30.0]))

    def after(f: float) -> tuple[float, float, float]:
        r = (1 - alpha) * (1 - f)
        wet = (W + days * r * d * rain) / (1 + days * omega - days * omega * r)
        P_in = d * rain + omega * wet
        return (y + days * (f * P_in - g * q + e * y_0)) / (1 + days * e), wet, P_in

    def miss(f: float) -> float:
        dry = 1 / (1 + math.exp(min(k_1 * (after(f)[0] - y_s), 600)))
        return f - dry / (1 + math.exp(min(k_2 * (d * rain + omega * W - P_s), 600)))

    expected = after(brentq(miss, 0.0, 1.0, xtol=1e-15))
    state, _ = eq.paper_implicit(one(0, y, W), one(rain, 0, 300, q), theta, days)
    if expected[0] > 1.0:
        np.testing.assert_allclose(
            [state[1][0], state[2][0]], expected[:2], rtol=1e-6 if days <= 5 else 1e-3, atol=1e-9
        )


@pytest.mark.parametrize("model", [PAPER, CLOSED], ids=lambda m: m.name)
def test_short_steps_of_both_schemes_end_in_the_same_place(model: Model) -> None:
    theta = prior(model, k_1=0.02, e=0.1, omega=0.3)
    forcing = one(12, 0, 285, 0.006)
    begin = one(0, 150, 20, 40)[: len(model.states)]

    def ends(scheme: Scheme, count: int) -> np.ndarray:
        state = begin
        for _ in range(count):
            state, _ = model.steps[scheme](state, forcing, theta, 10.0 / count)
        return np.array(state).ravel()

    gaps = [np.abs(ends("explicit", n) - ends("implicit", n)).max() for n in (40, 80, 160, 5120)]
    ratios = np.array(gaps[:2]) / gaps[1:3]
    assert np.all((ratios > 1.7) & (ratios < 2.3))  # both of first order, on either side of the truth
    assert gaps[3] < 0.02 * gaps[0]


@pytest.mark.parametrize("model", [PAPER, CLOSED], ids=lambda m: m.name)
@pytest.mark.parametrize("days", [30.0, 1000.0])
def test_long_implicit_steps_settle_where_nothing_changes(model: Model, days: float) -> None:
    """At a fixed point the fluxes balance, whatever the step; an explicit step of that length cannot get there."""
    theta = prior(model, e=0.4, omega=0.9, k_1=0.05, y_0=50.0)
    forcing = one(8, 0, 285, 0.004)
    state = one(0, 700, 90, 40)[: len(model.states)]
    for _ in range(400):
        before = state
        state, fluxes = model.steps["implicit"](state, forcing, theta, days)
    np.testing.assert_allclose(np.array(state), np.array(before), rtol=1e-6)
    got = named(model, state, fluxes)
    for budget in model.budget.values():
        assert sum(sign * got[flux] for flux, sign in budget.items()) == pytest.approx(0.0, abs=1e-4)
    short = state
    for _ in range(50):  # the same place is a fixed point of short explicit steps
        short, _ = model.steps["explicit"](short, forcing, theta, 0.05)
    np.testing.assert_allclose(np.array(short), np.array(state), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("model", "scheme"), ALL, ids=lambda x: x if isinstance(x, str) else x.name)
def test_the_same_text_on_tensors_and_its_gradients(model: Model, scheme: Scheme) -> None:
    rng = np.random.default_rng(1)
    cells = 40
    low, high = (np.array([getattr(p, n) for p in model.parameters])[:, None] for n in ("low", "high"))
    theta = low + (high - low) * rng.uniform(0.05, 0.3, (len(low), cells))
    state = rng.uniform(5, 300, (len(model.states), cells))
    forcing = np.stack([rng.uniform(0, 20, cells), rng.uniform(0, 8, cells), rng.uniform(262, 295, cells),
                        rng.uniform(-0.001, 0.008, cells)])  # fmt: skip
    expected = model.steps[scheme](tuple(state), tuple(forcing), tuple(theta), 1.0)
    step = torch_step(model.steps[scheme])
    arguments = [torch.tensor(x, requires_grad=True) for x in (state, forcing, theta)]

    def together(s: torch.Tensor, f: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        new, fluxes = step(s.unbind(0), f.unbind(0), p.unbind(0), 1.0)
        return torch.stack([*new, *fluxes])

    got = together(*arguments)
    plain = np.stack([np.broadcast_to(v, cells) for v in (*expected[0], *expected[1])])
    np.testing.assert_allclose(got.detach(), plain, rtol=1e-12, atol=1e-12)
    few = [a.detach()[:, :6].clone().requires_grad_() for a in arguments]
    assert torch.autograd.gradcheck(together, few, eps=1e-6, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("model", "scheme"), ALL, ids=lambda x: x if isinstance(x, str) else x.name)
def test_gradients_are_finite_where_stores_are_empty_and_at_freezing(model: Model, scheme: Scheme) -> None:
    theta = torch.tensor(np.array(prior(model)), requires_grad=True)
    for temperature in (250.0, 273.15, 300.0, 330.0):
        for level in (0.0, 1e-12, 5e4):
            state = torch.full((len(model.states), 1), level, dtype=torch.float64, requires_grad=True)
            forcing = torch.tensor([[3.0], [0.0], [temperature], [0.01]], dtype=torch.float64, requires_grad=True)
            step = torch_step(model.steps[scheme])
            new, fluxes = step(state.unbind(0), forcing.unbind(0), theta.unbind(0), 1.0)
            total = torch.stack([*new, *fluxes]).sum()
            for gradient in torch.autograd.grad(total, (state, forcing, theta), allow_unused=True):
                assert gradient is not None and torch.isfinite(gradient).all()
