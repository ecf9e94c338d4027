"""Linear reservoirs: the exact store, the mean, mass, both back ends."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from sciml.core.errors import ConfigError, InputError
from sciml.rivers.linear import Stores, balanced, reservoirs, route_linear, route_linear_torch
from sciml.rivers.network import SECONDS, accumulate, water_input
from tests.rivers.made import chain, forest


def rain(network: object, days: int, members: int | None = None) -> np.ndarray:
    shape = (days, len(network)) if members is None else (days, members, len(network))
    return np.random.default_rng(0).gamma(0.5, 4.0, shape)


def test_one_store_is_exact() -> None:
    network = chain(1, length=5e4)
    made = reservoirs(network, velocity=0.5)
    run = route_linear(network, np.full((10, 1), 2.0), made, steps=1)
    inflow, k = water_input(network, np.array([2.0]))[0], made.river_days[0]
    expected = inflow * k * SECONDS * (1 - np.exp(-10 / k))
    assert run.stores.river[0] == pytest.approx(expected, rel=1e-12)


def test_many_steps_follow_the_differential_equation() -> None:
    network = chain(4, length=5e4)
    made, runoff = reservoirs(network, delay_days=3.0), rain(chain(4, length=5e4), 5)
    water = water_input(network, runoff) * SECONDS

    def tendency(time: float, s: np.ndarray) -> np.ndarray:
        slow, fast = s[:4] / 3.0, s[4:] / made.river_days
        return np.concatenate([water[min(int(time), 4)] - slow, slow - fast + np.append(0, fast[:-1])])

    state = np.zeros(8)
    for day in range(5):
        state = solve_ivp(tendency, (day, day + 1 - 1e-12), state, rtol=1e-9, atol=1e-3).y[:, -1]
    run = route_linear(network, runoff, made, steps=400)
    np.testing.assert_allclose(run.stores.delay, state[:4], rtol=1e-6)
    np.testing.assert_allclose(run.stores.river, state[4:], rtol=2e-3)


def test_the_mean_is_the_accumulated_runoff_less_what_stayed() -> None:
    network = forest(300, 3)
    runoff = rain(network, 40)
    start = Stores(np.full(300, 1e8), np.full(300, 1e7))
    run = route_linear(network, runoff, reservoirs(network, delay_days=5.0), start)
    assert run.mass_error < 1e-12
    stayed = run.stores.river + run.stores.delay - start.river - start.delay
    expected = accumulate(network, water_input(network, runoff.mean(0)) - stayed / (40 * SECONDS))
    np.testing.assert_allclose(run.discharge.mean(0), expected, rtol=1e-9)


def test_balanced_stores_stay_and_the_mean_is_then_the_accumulated_runoff() -> None:
    network, runoff = forest(300, 4), rain(forest(300, 4), 1)[0]
    made = reservoirs(network, delay_days=20.0)
    run = route_linear(network, np.tile(runoff, (30, 1)), made, balanced(network, runoff, made))
    np.testing.assert_allclose(run.discharge.mean(0), accumulate(network, water_input(network, runoff)), rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 8])
def test_a_pulse_arrives_after_the_sum_of_the_stays(steps: int) -> None:
    network = chain(10, length=3e4)
    made = reservoirs(network)
    runoff = np.zeros((200, 10))
    runoff[0, 0] = 1.0
    flow = route_linear(network, runoff, made, steps=steps).discharge[:, -1]
    centre = (flow * np.arange(200)).sum() / flow.sum()
    # rain lasts a day or, in a coarse step, is spread over it; both begin and end the same number of half steps early
    assert centre == pytest.approx(made.river_days.sum(), abs=0.51)


def test_torch_equals_the_compiled_kernel_in_every_member() -> None:
    network = forest(400, 5)
    runoff, made = rain(network, 12, 3), reservoirs(network, delay_days=np.linspace(0, 9, 400))
    start = Stores(np.random.default_rng(1).uniform(0, 1e9, (3, 400)), np.full((3, 400), 1e8))
    run = route_linear(network, runoff, made, start)
    got = route_linear_torch(network, torch.tensor(runoff), made, tuple(map(torch.tensor, (start.river, start.delay))))
    for one, other in zip(got, (run.discharge, run.stores.river, run.stores.delay), strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-9, atol=1e-9 * other.max())
    alone = route_linear(network, runoff[:, 1], made, Stores(start.river[1], start.delay[1]))
    np.testing.assert_array_equal(alone.discharge, run.discharge[:, 1])


def test_torch_gives_the_gradient_of_discharge() -> None:
    network = forest(12, 6)
    runoff = torch.tensor(rain(network, 4, 1), requires_grad=True)
    made = reservoirs(network)
    assert torch.autograd.gradcheck(lambda r: route_linear_torch(network, r, made, steps=2)[0], runoff)


def test_threads_change_no_bit() -> None:
    network = forest(3000, 7, outlets=40)
    runoff, made = rain(network, 5), reservoirs(network)
    one, two = (route_linear(network, runoff, made, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.discharge, two.discharge)


def test_a_restart_goes_on_where_it_stopped() -> None:
    network = forest(50, 8)
    runoff, made = rain(network, 10), reservoirs(network, delay_days=2.0)
    whole = route_linear(network, runoff, made)
    half = route_linear(network, runoff[:5], made)
    rest = route_linear(network, runoff[5:], made, half.stores)
    # what is on its way at midnight is in the stores: nothing else is carried over
    np.testing.assert_array_equal(rest.discharge, whole.discharge[5:])
    np.testing.assert_array_equal(rest.stores.river, whole.stores.river)


@pytest.mark.parametrize("value", [-1e-3, np.nan])
def test_runoff_that_is_none_is_refused_by_place(value: float) -> None:
    network = forest(9, 9)
    runoff = np.ones((3, 9))
    runoff[2, 4] = value
    with pytest.raises(InputError, match=rf"runoff: at .*time 2, found {value:g}, expected 0 or more"):
        route_linear(network, runoff, reservoirs(network))


def test_other_cells_and_impossible_options_are_refused() -> None:
    network = forest(9, 9)
    with pytest.raises(InputError, match=r"found shape \(3, 8\)"):
        route_linear(network, np.ones((3, 8)), reservoirs(network))
    with pytest.raises(ConfigError, match="velocity > 0"):
        reservoirs(network, velocity=0.0)
    with pytest.raises(ConfigError, match="steps"):
        route_linear(network, np.ones((3, 9)), reservoirs(network), steps=0)
