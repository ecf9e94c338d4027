"""Our model's five columns: budget, stores, back ends, gradients, and the limits in which it is a simpler model."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sciml.land.columns import SCIML, Z, column
from sciml.land.models import Model, check_parameters
from sciml.land.run import simulate

STORES = [row for row, name in enumerate(SCIML.states) if name != "groundwater_store"]
FLAT = ("temperature_spread", "precipitation_gradient", "demand_gradient", "capacity_gradient")


@dataclass(frozen=True, eq=False)
class Sky:
    dates: np.ndarray
    rain: np.ndarray
    snowfall: np.ndarray
    temperature: np.ndarray
    demand: np.ndarray
    cos_year: np.ndarray
    sin_year: np.ndarray


def weather(days: int, cells: int, seed: int = 0, step: int = 1) -> Sky:
    """All climates and all weathers, dew among them. demand: a humidity deficit [1]."""
    rng = np.random.default_rng(seed)
    dates = np.datetime64("1999-11-20") + step * np.arange(days)
    angle = 2 * np.pi * np.arange(days)[:, None] * step / 365.25 + np.zeros(cells)
    temperature = rng.uniform(255, 303, cells) + 10 * np.cos(angle) + rng.normal(0, 5, (days, cells))
    water = rng.exponential(12, (days, cells)) * (rng.random((days, cells)) < 0.5)
    cold = temperature < 274
    deficit = rng.uniform(-2e-4, 8e-3, (days, cells))
    return Sky(
        dates, np.where(cold, 0, water), np.where(cold, water, 0), temperature, deficit, np.cos(angle), np.sin(angle)
    )


def drawn(model: Model, cells: int, seed: int, corners: float = 0.2) -> np.ndarray:
    """theta (parameter, 1, cell) anywhere within the bounds; a share of it on them."""
    rng = np.random.default_rng(seed)
    rows = []
    for p in model.parameters:
        low, high = (np.log([p.low, p.high])) if p.log else (p.low, p.high)
        at = rng.random(cells)
        at = np.where(rng.random(cells) < corners, at.round(), at)
        value = low + (high - low) * at
        rows.append(np.clip(np.exp(value) if p.log else value, p.low, p.high))
    theta = np.array(rows)[:, None]
    check_parameters(model, theta)
    return theta


def filled(theta: np.ndarray, seed: int) -> np.ndarray:
    """Stores that hold something, soils within their capacity."""
    rng = np.random.default_rng(seed)
    cells = theta.shape[-1]
    at = {p.name: theta[k, 0] for k, p in enumerate(SCIML.parameters)}
    state = np.zeros((len(SCIML.states), cells))
    for place, z in enumerate(Z, start=1):
        holds = 1.0 + at["capacity_gradient"] * z
        most = {"snow": 300.0, "liquid": 10.0, "canopy": at["canopy_capacity"],
                "upper": at["upper_capacity"] * holds, "lower": at["lower_capacity"] * holds}  # fmt: skip
        for name, limit in most.items():
            state[SCIML.states.index(f"{name}_{place}")] = limit * rng.random(cells)
    state[-1] = 200.0 * rng.random(cells)
    return state


def water(state: np.ndarray) -> np.ndarray:
    """All water of a cell [kg m-2]: five columns of a fifth of it, one groundwater."""
    return state[STORES].sum(axis=0) / 5.0 + state[-1]


def changed(theta: np.ndarray, **values: float) -> np.ndarray:
    theta = theta.copy()
    for name, value in values.items():
        theta[SCIML.index(name)] = value
    return theta


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3]))
def test_the_budget_closes_and_no_store_is_negative(seed: int, step: int) -> None:
    sky, theta = weather(90, 64, seed, step), drawn(SCIML, 64, seed)
    state = filled(theta, seed)
    everything = (*SCIML.states, "runoff", "evaporation")
    values, end = simulate(SCIML, sky, theta, state, outputs=everything)
    gone = step * (values[:, -2] + values[:, -1]).sum(axis=0)
    came = step * (sky.rain + sky.snowfall).sum(axis=0)
    off = np.abs(water(end) - water(state) - came + gone)
    assert (off <= 1e-12 * (came + water(state)) + 1e-9).all()
    assert values.min() > -1e-10
    assert np.isfinite(values).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_each_day_closes_and_soils_keep_to_their_capacity(seed: int) -> None:
    sky, theta = weather(40, 16, seed), drawn(SCIML, 16, seed)
    names = [name for place in range(1, 6) for name in (f"upper_{place}", f"lower_{place}")]
    state = filled(theta, seed)
    values, _ = simulate(SCIML, sky, theta, state, outputs=(*SCIML.states, "runoff", "evaporation"))
    held = np.stack([water(state), *(water(day[: len(SCIML.states)]) for day in values)])
    left = sky.rain + sky.snowfall - values[:, -2] - values[:, -1]
    np.testing.assert_allclose(np.diff(held, axis=0), left, atol=1e-9)
    at = {p.name: theta[k, 0] for k, p in enumerate(SCIML.parameters)}
    for name in names:
        z = Z[int(name[-1]) - 1]
        most = at[f"{name[:5]}_capacity"] * (1.0 + at["capacity_gradient"] * z)
        rise = at["capillary_rise"] if name.startswith("upper") else 0.0  # of the day, after the spill
        assert (values[:, SCIML.states.index(name)] <= most + rise + 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_compiled_equals_torch_in_a_step_from_anywhere(seed: int) -> None:
    sky, theta = weather(1, 900, seed), drawn(SCIML, 900, seed)
    agree(sky, theta, filled(theta, seed))


@pytest.mark.parametrize("seed", range(3))
def test_compiled_equals_torch_through_a_winter(seed: int) -> None:
    """Where soils drain by less than they hold in a day: quicker ones overshoot, and rounding grows day by day."""
    sky, theta = weather(150, 21, seed), drawn(SCIML, 21, seed)
    theta = changed(theta, upper_capacity=120.0, lower_capacity=500.0, excess_exponent=2.0)
    for name in ("upper", "lower", "interflow"):
        exponent = theta[SCIML.index(f"{name}_exponent")]
        rate = theta[SCIML.index(f"{name}_{'rate' if name == 'interflow' else 'drainage'}")]
        rate[:] = np.minimum(rate, 30.0 / exponent)
    agree(sky, theta, filled(theta, seed))


def agree(sky: Sky, theta: np.ndarray, state: np.ndarray) -> None:
    everything = SCIML.states + SCIML.fluxes
    one, end = simulate(SCIML, sky, theta, state, outputs=everything)
    two, other = simulate(SCIML, sky, theta, state, outputs=everything, backend="torch")
    np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(end, other, rtol=1e-9, atol=1e-9)


def test_gradients_equal_finite_differences() -> None:
    cells, seed = 12, 5
    sky, theta = weather(60, cells, seed), drawn(SCIML, cells, seed, corners=0.0)
    low, high = (np.array([getattr(p, end) for p in SCIML.parameters])[:, None, None] for end in ("low", "high"))
    span = high - low
    theta = np.clip(theta, low + 0.01 * span, high - 0.01 * span)
    state = filled(theta, seed)
    pull = np.random.default_rng(1).standard_normal((60, len(SCIML.outputs), 1))

    def total(values: np.ndarray) -> np.ndarray:
        found, _ = simulate(SCIML, sky, values, state)
        return (pull * found).sum(axis=(0, 1))

    leaf = torch.tensor(theta, requires_grad=True)
    values, _ = simulate(SCIML, sky, leaf, state, backend="torch")
    (torch.as_tensor(pull) * values).sum().backward()
    gradient = leaf.grad.numpy()[:, 0]
    assert np.isfinite(gradient).all()
    off, sizes = [], []
    for k in range(len(SCIML.parameters)):
        step = np.zeros_like(theta)
        step[k] = 1e-7 * span[k]
        slope = (total(theta + step) - total(theta - step)) / (2e-7 * span[k, 0, 0])
        off.append((slope - gradient[k]) * span[k, 0, 0])
        sizes.append(np.abs(slope) * span[k, 0, 0])
    off, sizes = np.abs(off), np.array(sizes)
    # a minimum or maximum that turns within the step has no derivative: all but a few places must agree
    agrees = off <= 1e-3 + 1e-4 * sizes
    assert agrees.mean() > 0.98
    assert (sizes > 1e-3).any(axis=1).all()  # every parameter is felt somewhere


def test_gradients_are_finite_at_empty_stores_and_on_the_bounds() -> None:
    sky, theta = weather(30, 16, 2), drawn(SCIML, 16, 2, corners=1.0)
    leaf = torch.tensor(theta, requires_grad=True)
    values, _ = simulate(SCIML, sky, leaf, torch.zeros(len(SCIML.states), 16, dtype=torch.float64), backend="torch")
    values.square().sum().backward()
    assert torch.isfinite(leaf.grad).all()


def test_warm_weather_knows_no_snow() -> None:
    sky = weather(200, 32, 4)
    hot = replace(sky, temperature=np.full_like(sky.temperature, 330.0))
    theta = drawn(SCIML, 32, 4)
    snow, _ = simulate(SCIML, hot, theta, SCIML.start(32), outputs=("snow",))
    assert (snow == 0.0).all()


def test_deep_frost_keeps_all_that_falls() -> None:
    sky = weather(200, 32, 4)
    frost = replace(sky, temperature=np.full_like(sky.temperature, 230.0))
    values, _ = simulate(SCIML, frost, drawn(SCIML, 32, 4), SCIML.start(32), outputs=("snow", "runoff", "evaporation"))
    fallen = np.cumsum(sky.rain + sky.snowfall, axis=0)
    np.testing.assert_allclose(values[:, 0], fallen, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(values[:, 1:], 0.0, atol=1e-6)


def test_without_spread_five_columns_are_one() -> None:
    """The same weather in all columns: each is the column of z = 0, stepped here in NumPy."""
    cells, days = 16, 150
    sky, theta = weather(days, cells, 6), drawn(SCIML, cells, 6)
    theta = changed(theta, **dict.fromkeys(FLAT, 0.0))
    values, end = simulate(SCIML, sky, theta, SCIML.start(cells))
    for name in ("snow", "liquid", "canopy", "upper", "lower"):
        rows = [SCIML.states.index(f"{name}_{place}") for place in range(1, 6)]
        np.testing.assert_array_equal(end[rows], np.repeat(end[rows[:1]], 5, axis=0))
    p = {q.name: theta[k, 0] for k, q in enumerate(SCIML.parameters)}
    stores, ground = (np.zeros(cells),) * 5, np.zeros(cells)
    nothing = np.zeros(cells)
    snow = [p["snow_temperature"], p["snow_width"], p["melt_temperature"], None, nothing, nothing, p["liquid_share"],
            p["refreezing_rate"], p["snow_cover"]]  # fmt: skip
    loss = (nothing, *(p[n] for n in ("snow_shade", "canopy_capacity", "upper_share", "upper_stress", "lower_stress")))
    soil = (p["upper_capacity"], nothing, *(p[n] for n in (
        "excess_exponent", "runoff_share", "upper_drainage", "upper_exponent", "lower_capacity", "lower_drainage",
        "lower_exponent", "interflow_rate", "interflow_exponent", "capillary_rise")))  # fmt: skip
    for t in range(days):
        c, s = sky.cos_year[t], sky.sin_year[t]
        snow[3] = p["melt_rate"] * np.exp(p["melt_cosine"] * c + p["melt_sine"] * s)
        twice = p["demand_cosine_2"] * np.cos(2 * np.arctan2(s, c)) + p["demand_sine_2"] * np.sin(2 * np.arctan2(s, c))
        k = p["demand_factor"] * np.exp(p["demand_cosine"] * c + p["demand_sine"] * s + twice)
        above = (sky.rain[t] + sky.snowfall[t], sky.temperature[t], np.maximum(k * sky.demand[t], 0.0))
        stores, (evaporation, surface, recharge, interflow) = column(stores, above, tuple(snow), loss, soil, 0.0, 1.0)
        ground = ground + recharge
        baseflow = ground / (p["groundwater_days"] + 1.0)
        ground = ground - baseflow
        expected = {
            "snow": stores[0] + stores[1],
            "soil_upper": p["upper_level"] + stores[3],
            "soil_lower": p["lower_level"] + stores[4],
            "groundwater": p["groundwater_level"] + ground,
            "runoff": surface + interflow + baseflow,
            "evaporation": evaporation,
        }
        for row, name in enumerate(SCIML.outputs):
            np.testing.assert_allclose(values[t, row], expected[name], rtol=1e-8, atol=1e-8, err_msg=name)


def test_a_spread_of_temperature_melts_earlier_and_later() -> None:
    """Of two cells of one mean temperature, that with cold and warm parts loses snow first and keeps it longest."""
    days = 120
    warming = np.linspace(263.0, 283.0, days)[:, None] + np.zeros(2)
    none = np.zeros((days, 2))
    sky = Sky(np.datetime64("2001-01-01") + np.arange(days), none, none, warming, none, none + 1.0, none)
    theta = changed(SCIML.prior(2), **dict.fromkeys(FLAT, 0.0), liquid_share=0.0, refreezing_rate=0.0)
    theta[SCIML.index("temperature_spread"), 0, 1] = 4.0
    state = SCIML.start(2)
    state[[SCIML.states.index(f"snow_{place}") for place in range(1, 6)]] = 100.0
    snow, _ = simulate(SCIML, sky, theta, state, outputs=("snow",))
    one, spread = snow[:, 0, 0], snow[:, 0, 1]
    half = int(np.argmax(one < 50.0))
    assert spread[half - 15] < one[half - 15] - 1.0 and spread[half + 8] > one[half + 8] + 1.0


def test_the_quintiles_are_those_of_a_normal() -> None:
    ends = stats.norm.ppf(np.linspace(0, 1, 6))
    means = 5.0 * -np.diff(stats.norm.pdf(ends))
    np.testing.assert_allclose(Z, means, atol=2e-3)
    assert sum(Z) == 0.0
