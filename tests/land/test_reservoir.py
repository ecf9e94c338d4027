"""The baseline of one linear reservoir: budget, recession, back ends."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.land.reservoir import LINEAR_RESERVOIR as MODEL
from sciml.land.run import simulate
from tests.land.test_columns import drawn, weather


def levelled(theta: np.ndarray) -> np.ndarray:
    """u_0 = 1, u_1 = 1: the upper soil is the store and 1 kg m-2."""
    theta = theta.copy()
    theta[MODEL.index("upper_level")], theta[MODEL.index("upper_slope")] = 1.0, 1.0
    return theta


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 4]))
def test_the_budget_closes_and_no_store_is_negative(seed: int, step: int) -> None:
    sky, theta = weather(90, 40, seed, step), drawn(MODEL, 40, seed)
    state = np.random.default_rng(seed).uniform(0, 300, (2, 40))
    values, end = simulate(MODEL, sky, theta, state, outputs=(*MODEL.states, "runoff", "evaporation"))
    came = step * (sky.rain + sky.snowfall).sum(axis=0)
    gone = step * values[:, 2:].sum(axis=(0, 1))
    np.testing.assert_allclose(end.sum(axis=0) - state.sum(axis=0), came - gone, rtol=0, atol=1e-9)
    assert values.min() >= 0.0


def test_a_dry_store_recedes_by_the_same_share_each_day() -> None:
    sky = weather(50, 3)
    nothing = np.zeros_like(sky.rain)
    dry = type(sky)(sky.dates, nothing, nothing, nothing + 250.0, nothing, sky.cos_year, sky.sin_year)
    theta = levelled(MODEL.prior(3))
    theta[MODEL.index("reservoir_days"), 0] = [1.0, 30.0, 2000.0]
    values, _ = simulate(
        MODEL, dry, theta, np.array([[7.0] * 3, [100.0] * 3]), outputs=("snow", "soil_upper", "runoff")
    )
    stay = theta[MODEL.index("reservoir_days"), 0]
    held = 100.0 * (stay / (stay + 1.0)) ** np.arange(1, 51)[:, None]
    np.testing.assert_allclose(values[:, 1] - 1.0, held, rtol=1e-9)
    np.testing.assert_allclose(values[:, 2], held / stay, rtol=1e-9)
    assert (values[:, 0] == 7.0).all()  # frost


def test_compiled_equals_torch_and_gradients_are_finite() -> None:
    sky, theta = weather(200, 17, 3), drawn(MODEL, 17, 3)
    state, everything = MODEL.start(17) + 50.0, MODEL.states + MODEL.fluxes
    one, end = simulate(MODEL, sky, theta, state, outputs=everything)
    two, other = simulate(MODEL, sky, theta, state, outputs=everything, backend="torch")
    np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(end, other, rtol=1e-9, atol=1e-9)
    leaf = torch.tensor(theta, requires_grad=True)
    values, _ = simulate(MODEL, sky, leaf, state, backend="torch")
    values.sum().backward()
    assert torch.isfinite(leaf.grad).all() and (leaf.grad != 0).any(dim=(1, 2)).all()
