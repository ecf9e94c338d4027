"""Storage and level are inverse; laws and maps; refusals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from sciml.core.errors import InputError
from sciml.rivers.channel import channel, fill, level, normal_depth, yamazaki
from tests.rivers.made import chain, forest


def plain(cells: int, floodplain: np.ndarray | None = None):
    network = forest(cells, 0)
    return channel(network, np.linspace(1.0, 5e4, cells), floodplain=floodplain)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_level_is_the_inverse_of_fill(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0, 5, (30, 10)) * (rng.uniform(size=(30, 10)) > 0.2)  # some layers without height
    made = plain(30, np.cumsum(steps, axis=1))
    depth = rng.uniform(0, 80, (4, 30))
    found, fraction = level(made, fill(made, depth))
    np.testing.assert_allclose(found, depth, rtol=1e-9)
    assert ((fraction >= 0) & (fraction <= 1)).all()
    assert (fraction[depth < made.depth] == 0).all()
    assert fraction[depth > made.depth + made.height[:, -1]] == pytest.approx(1)


def test_storage_is_the_integral_of_the_water_surface() -> None:
    made = plain(4)

    def surface(depth: float) -> float:
        share = np.interp(depth - made.depth[2], made.height[2], np.arange(11) / 10)
        return made.width[2] * made.length[2] + share * made.area[2]

    for depth in (1.0, made.depth[2] + 0.3, made.depth[2] + 22.0, made.depth[2] + 70.0):
        expected = quad(surface, 0, depth, points=sorted([0, *(made.depth[2] + made.height[2])]), limit=200)[0]
        assert fill(made, np.full(4, depth))[2] == pytest.approx(expected, rel=1e-8)


def test_the_laws_and_their_least() -> None:
    network, flow = chain(3, length=5e4), np.array([1.0, 1e3, 1.5e5])
    made = channel(network, flow, meander=1.0)
    np.testing.assert_allclose(made.width, [10, 7.2 * 1e3**0.5, 7.2 * 1.5e5**0.5])
    slope = 0.055 * (network.upstream_area / 1e6) ** -0.5
    carried = made.width * made.depth ** (5 / 3) * slope**0.5 / 0.03
    np.testing.assert_allclose(carried[1:], 2 * flow[1:])
    assert made.depth[0] == 1.0
    assert made.bed[-1] == -made.depth[-1]  # the last bank is at the sea's level
    bank = made.bed + made.depth
    np.testing.assert_allclose(bank[:-1] - bank[1:], slope[:-1] * 5e4)


def test_the_first_laws_of_cama_flood() -> None:
    width, depth = yamazaki(np.array([0.0, 1e4]))
    np.testing.assert_allclose(width, [10, 400])
    np.testing.assert_allclose(depth, [2, 0.14 * 1e4**0.4])


def test_normal_depth_is_mannings() -> None:
    made = channel(chain(1, length=1e3), np.array([1.0]), width=np.array([40.0]), depth=np.array([9.0]))
    h = normal_depth(made, np.array([100.0]), np.array([1e-3]))
    assert 40 * h[0] ** (5 / 3) * 1e-3**0.5 / 0.03 == pytest.approx(100.0)


def test_maps_of_the_network_come_before_the_laws() -> None:
    network = replace(
        chain(2, length=1e3), width=np.array([7.0, 8.0]), elevation=np.array([3.0, 4.0]), depth=np.array([2.0, 1.5])
    )
    made = channel(network, np.array([1.0, 1.0]))
    assert made.width.tolist() == [7, 8]
    assert made.bed.tolist() == [1, 2.5]


def test_a_channel_without_width_is_refused_by_place() -> None:
    network = chain(3, length=1e3)
    with pytest.raises(InputError, match=r"channel width at 0N 0\.01E: found 0"):
        channel(network, np.ones(3), width=np.array([1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="height that falls"):
        channel(network, np.ones(3), floodplain=np.array([[2.0, 1.0]] * 3))
