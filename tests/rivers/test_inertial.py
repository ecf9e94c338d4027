"""Local-inertial flow on trees: mass, stores, means, restart, members, both back ends."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.core.errors import ConfigError, InputError
from sciml.rivers.channel import Channel, channel, level
from sciml.rivers.inertial import State, route_inertial, steady
from sciml.rivers.inertial_torch import route_inertial_torch
from sciml.rivers.network import SECONDS, Network, accumulate, water_input
from tests.rivers.made import forest


def rivers(cells: int, seed: int, days: int, *members: int) -> tuple[Network, np.ndarray, Channel]:
    """A forest in wet weather: floods, dry days, rivers that fill a sea at their end."""
    network = forest(cells, seed)
    runoff = np.random.default_rng(seed).gamma(0.3, 12.0, (days, *members, cells))
    return network, runoff, channel(network, accumulate(network, water_input(network, np.full(cells, 2.0))))


@settings(max_examples=15, deadline=None)
@given(st.integers(5, 80), st.integers(0, 10**6), st.sampled_from(["sea", "normal"]), st.floats(1e-4, 20.0))
def test_mass_closes_and_no_store_is_negative(cells: int, seed: int, boundary: str, wet: float) -> None:
    network, runoff, made = rivers(cells, seed, 12)
    run = route_inertial(network, wet * runoff, made, boundary=boundary)
    assert run.mass_error < 1e-11
    assert (run.state.storage >= 0).all()
    assert ((run.fraction >= 0) & (run.fraction <= 1)).all()
    stayed = run.state.storage / (12 * SECONDS)
    expected = accumulate(network, water_input(network, wet * runoff.mean(0)) - stayed)
    scale = accumulate(network, water_input(network, wet * runoff.mean(0)) + stayed)
    assert (np.abs(run.discharge.mean(0) - expected) <= 1e-9 * scale).all()


def test_under_steady_runoff_the_flow_is_the_accumulated_runoff() -> None:
    network, _, made = rivers(60, 1, 1)
    runoff = np.full((400, 60), 0.3)
    run = route_inertial(network, runoff, made, steady(network, made, runoff[0]), boundary="normal")
    np.testing.assert_allclose(run.discharge[-1], network.upstream_area * 0.3 / 1000 / SECONDS, rtol=1e-9)


def test_the_start_is_near_the_steady_state() -> None:
    network, _, made = rivers(60, 1, 1)
    runoff = np.full((600, 60), 1.0)
    start = steady(network, made, runoff[0])
    end = route_inertial(network, runoff, made, start).state.storage
    near, empty = np.abs(start.storage - end).sum(), end.sum()
    assert near < 0.5 * empty


def test_torch_equals_the_compiled_kernel() -> None:
    network, runoff, made = rivers(150, 2, 15, 3)
    start = steady(network, made, np.ones((3, 150)))
    start = State(start.storage * np.array([[0.0], [1.0], [3.0]]), start.flow)
    for boundary in ("sea", "normal"):
        run = route_inertial(network, runoff, made, start, boundary=boundary)
        discharge, fraction, depth, (storage, flow) = route_inertial_torch(
            network,
            torch.tensor(runoff),
            made,
            (torch.tensor(start.storage), torch.tensor(start.flow)),
            boundary=boundary,
        )
        assert run.fraction.max() > 0.05
        pairs = ((discharge, run.discharge), (storage, run.state.storage), (flow, run.state.flow))
        for got, expected in pairs:
            np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
        np.testing.assert_allclose(fraction.numpy(), run.fraction, rtol=1e-6)
        np.testing.assert_allclose(depth.numpy(), run.depth, rtol=1e-6)


def test_members_basins_and_threads_are_independent() -> None:
    network, runoff, made = rivers(120, 3, 8, 2)
    both = route_inertial(network, runoff, made)
    for member in range(2):
        alone = route_inertial(network, runoff[:, member], made, threads=2)
        np.testing.assert_array_equal(alone.discharge, both.discharge[:, member])
        np.testing.assert_array_equal(alone.fraction, both.fraction[:, member])
    last = slice(network.basin_start[-2], None)
    other = runoff.copy()
    other[..., last] *= 3
    more = route_inertial(network, other, made)
    np.testing.assert_array_equal(more.discharge[..., : last.start], both.discharge[..., : last.start])


def test_a_restart_goes_on_where_it_stopped() -> None:
    network, runoff, made = rivers(80, 4, 10)
    whole = route_inertial(network, runoff, made)
    half = route_inertial(network, runoff[:6], made)
    rest = route_inertial(network, runoff[6:], made, half.state)
    np.testing.assert_array_equal(rest.discharge, whole.discharge[6:])
    np.testing.assert_array_equal(rest.state.storage, whole.state.storage)


def test_the_sea_fills_an_empty_mouth_and_no_more() -> None:
    network, _, made = rivers(30, 5, 1)
    run = route_inertial(network, np.zeros((200, 30)), made)
    mouth = network.outlet[~network.sink[network.outlet]]
    assert (run.discharge[:, mouth].sum(0) < 0).all()
    assert run.mass_error < 1e-12
    depth, fraction = level(made, run.state.storage)
    np.testing.assert_allclose(depth[mouth], made.depth[mouth], rtol=0.01)  # the sea stands at the bank
    assert run.state.storage[network.outlet[network.sink[network.outlet]]].max() == 0  # an inland sink gives no water
    assert fraction.max() < 1e-3


def test_refusals() -> None:
    network, runoff, made = rivers(9, 6, 2)
    with pytest.raises(InputError, match="expected 0 or more"):
        route_inertial(network, runoff - 100, made)
    with pytest.raises(ConfigError, match="boundary: found 'lake', expected one of sea, normal"):
        route_inertial(network, runoff, made, boundary="lake")
    with pytest.raises(ConfigError, match="alpha"):
        route_inertial(network, runoff, made, alpha=1.5)
