"""Local-inertial flow against hydraulics: uniform flow, rest, backwater, the speed of a wave; each within 2 %."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sciml.rivers.channel import Channel, channel, fill
from sciml.rivers.inertial import State, route_inertial
from sciml.rivers.network import SECONDS, Network
from tests.rivers.made import chain

WIDTH, N = 50.0, 0.03


def river(cells: int, length: float, slope: float, bank: float = 30.0) -> tuple[Network, Channel]:
    network = chain(cells, length=length, area=1e6)
    full = np.ones(cells)
    return network, channel(network, full, width=WIDTH * full, depth=bank * full, slope=slope, manning=N, meander=1.0)


def inflow(network: Network, flow: np.ndarray) -> np.ndarray:
    """Runoff (time, cell) that brings a flow (time,) [m3 s-1] into the first cell alone."""
    runoff = np.zeros((len(flow), len(network)))
    runoff[:, 0] = flow * SECONDS * 1000 / network.area[0]
    return runoff


def manning(flow: float, slope: float) -> float:
    return (N * flow / (WIDTH * np.sqrt(slope))) ** 0.6


@pytest.mark.parametrize(("slope", "length"), [(1e-3, 1e3), (1e-4, 5e3), (1e-2, 2e4)])
def test_steady_uniform_flow_has_the_normal_depth(slope: float, length: float) -> None:
    network, made = river(30, length, slope)
    run = route_inertial(network, inflow(network, np.full(12, 100.0)), made, boundary="normal")
    np.testing.assert_allclose(run.depth[-1], manning(100.0, slope), rtol=0.005)
    np.testing.assert_allclose(run.discharge[-1], 100.0, rtol=0.005)


@pytest.mark.parametrize("sea_level", [40.0, 300.0])
def test_a_lake_at_rest_stays_at_rest(sea_level: float) -> None:
    rng = np.random.default_rng(0)
    network = chain(40, length=3e3, area=9e6, elevation=rng.uniform(-20, 30, 40))  # beds up and down, the bank too
    made = channel(network, rng.uniform(1, 3e4, 40), meander=1.0)
    storage = fill(made, sea_level - made.bed)
    run = route_inertial(
        network, np.zeros((20, 40)), made, State(storage, np.zeros(40)), boundary="sea", sea_level=sea_level
    )
    np.testing.assert_allclose(run.state.storage, storage, rtol=1e-12)
    assert np.abs(run.discharge).max() < 1e-6  # of rivers up to 900 m wide


def test_an_m1_backwater_follows_gradually_varied_flow() -> None:
    cells, length, slope, flow = 120, 500.0, 2e-4, 150.0
    network, made = river(cells, length, slope)
    sea = 7.0  # m above the bed where the river ends; normal depth is below 4 m
    level = made.bed[-1] - slope * length + sea
    days = np.full(25, flow)
    run = route_inertial(network, inflow(network, days), made, boundary="sea", sea_level=level)

    def surface(_: float, depth: np.ndarray) -> np.ndarray:
        q = flow / WIDTH
        return -(slope - N**2 * q**2 / depth ** (10 / 3)) / (1 - q**2 / (9.80665 * depth**3))  # upstream

    profile = solve_ivp(surface, (0, cells * length), [sea], dense_output=True, rtol=1e-9)
    expected = profile.sol(length * np.arange(cells, 0, -1))[0]
    assert manning(flow, slope) < 0.6 * sea
    assert expected[0] < 0.65 * sea  # the backwater has died away up there: the curve is a curve
    np.testing.assert_allclose(run.depth[-1], expected, rtol=0.02)


def test_a_small_wave_runs_at_five_thirds_of_the_flow() -> None:
    cells, length, slope, flow = 240, 5e3, 1e-3, 200.0
    network, made = river(cells, length, slope)
    depth = manning(flow, slope)
    speed = flow / (WIDTH * depth)
    time = np.arange(40)
    wave = 1 + 0.02 * np.exp(-0.5 * ((time - 8) / 1.5) ** 2)
    start = State(fill(made, np.full(cells, depth)), np.full(cells, flow))
    run = route_inertial(network, inflow(network, flow * wave), made, start, boundary="normal")
    more = run.discharge[:, [40, 220]] - flow
    passed = (more * time[:, None]).sum(0) / more.sum(0)
    measured = 180 * length / (np.diff(passed)[0] * SECONDS)
    assert measured == pytest.approx(5 / 3 * speed, rel=0.02)


def test_shorter_steps_converge_and_the_longest_is_close() -> None:
    network, made = river(20, 5e4, 1e-4)
    flow = inflow(network, 200 + 150 * np.sin(np.arange(60) / 5))
    long, middle, short = (
        route_inertial(network, flow, made, boundary="normal", alpha=alpha) for alpha in (0.7, 0.35, 0.05)
    )
    assert short.steps > 5 * long.steps
    error, less = (np.abs(run.discharge[20:] / short.discharge[20:] - 1).max() for run in (long, middle))
    assert error < 0.05
    assert less < 0.6 * error
