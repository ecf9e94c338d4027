"""Order, areas, masks and places of a network; cycles are named."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.core.errors import InputError
from sciml.core.grid import great_circle_km
from sciml.data.readers.river_network import SEA, SINK
from sciml.rivers.network import accumulate, build, describe, find_cells, open_network, to_cells, to_map, water_input
from tests.rivers.made import directions, forest

NAME = "hydro/river_network/river_networks_0p5deg.nc"


@settings(deadline=None)
@given(st.integers(4, 200), st.integers(0, 10**6))
def test_water_only_runs_forward_and_basins_are_slices(cells: int, seed: int) -> None:
    network = forest(cells, seed)
    inner = network.downstream >= 0
    assert (network.downstream[inner] > np.flatnonzero(inner)).all()
    assert (network.basin[network.downstream[inner]] == network.basin[inner]).all()
    assert (network.downstream[network.outlet] < 0).all()
    assert len(network.outlet) == 3
    assert network.sink.sum() == 1
    assert (np.diff(network.basin) >= 0).all()


@settings(deadline=None)
@given(st.integers(4, 60), st.integers(0, 10**6))
def test_accumulation_solves_the_linear_system(cells: int, seed: int) -> None:
    network = forest(cells, seed)
    inner = np.flatnonzero(network.downstream >= 0)
    flows = scipy.sparse.coo_array((np.ones(len(inner)), (network.downstream[inner], inner)), (cells, cells))
    amount = np.random.default_rng(seed).normal(size=(2, 3, cells))
    expected = np.linalg.solve(np.eye(cells) - flows.toarray(), amount.reshape(6, cells).T).T
    np.testing.assert_allclose(accumulate(network, amount).reshape(6, cells), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(network.upstream_area, accumulate(network, network.area), rtol=1e-14)


def test_a_cycle_is_named() -> None:
    target = np.array([1, 2, 3, 1, 0, SEA])  # 1 -> 2 -> 3 -> 1, into which 0 and 4 lead
    with pytest.raises(InputError, match=r"cycle of 3 cells through 0N 0\.0[123]E; 5 cells never reach an outlet"):
        build(directions(target, np.ones(6)))
    with pytest.raises(InputError, match="cycle of 1 cells"):
        build(directions(np.array([0, SEA]), np.ones(2)))


def test_areas_are_positive() -> None:
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match=r"cell area at 0N 0.01E"):
            build(directions(np.array([1, SEA]), np.array([1.0, bad])))


def test_an_outlet_inside_can_be_refused() -> None:
    made = directions(np.array([1, SINK, SEA]), np.ones(3))
    assert build(made).sink.sum() == 1
    with pytest.raises(InputError, match=r"1 outlets inside the land, the first at 0N 0.01E"):
        build(made, inland=False)


def test_a_mask_leaves_out_basins_and_cuts_no_river() -> None:
    made = directions(np.array([1, SEA, 3, SEA]), np.arange(1.0, 5.0))
    kept = build(made, mask=np.array([[False, False, True, True]]))
    assert kept.area.tolist() == [3, 4]
    assert kept.downstream.tolist() == [1, -1]
    with pytest.raises(InputError, match=r"1 cells flow out of the mask, the first from 0N 0E to 0N 0.01E"):
        build(made, mask=np.array([[True, False, True, True]]))
    with pytest.raises(InputError, match=r"found a mask of \(1, 3\), expected the grid of the network \(1, 4\)"):
        build(made, mask=np.ones((1, 3), bool))
    with pytest.raises(InputError, match="holds no cell"):
        build(made, mask=np.zeros((1, 4), bool))


def test_a_mask_with_land_that_the_network_lacks_is_refused(tmp_path: Path) -> None:
    code = np.array([[6.0, 5.0, np.nan]] * 2)
    ds = xr.Dataset({"x_ldd": (("lat", "lon"), code)}, coords={"lat": [1.0, 0.0], "lon": [0.0, 1.0, 2.0]})
    ds.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="2 cells without a direction, the first at 1N 2E"):
        open_network(f"{tmp_path / 'a.nc'}:x_ldd", mask=np.ones((2, 3), bool))


def test_upstream_areas_of_the_file_are_compared() -> None:
    made = directions(np.array([1, SEA]), np.array([1.0, 2.0]), upstream_area=np.array([1.0, 2.4]))
    assert build(made).area_difference == pytest.approx(0.2)


def test_maps_cells_and_places_agree() -> None:
    network = forest(20, 1)
    values = np.random.default_rng(0).normal(size=(2, 20))
    np.testing.assert_array_equal(to_cells(network, to_map(network, values)), values)
    np.testing.assert_array_equal(find_cells(network, network.lat, network.lon), np.arange(20))
    np.testing.assert_array_equal(find_cells(network, network.lat, network.lon + 360), np.arange(20))
    with pytest.raises(InputError, match="no cells of made"):
        find_cells(network, network.lat[:2], network.lon[:2] + 0.004)


def test_one_millimetre_a_day_is_a_cubic_metre_per_thousand_square_metres() -> None:
    network = forest(5, 0)
    np.testing.assert_allclose(water_input(network, np.ones(5)) * 86400, network.area / 1000)


@pytest.mark.parametrize(("variable", "cells"), [("ddm30_ldd", 67424), ("drt_fdr", 70252)])
def test_global_networks(real_data: Path, variable: str, cells: int) -> None:
    network = open_network(f"{real_data / NAME}:{variable}")
    assert len(network) == cells
    assert network.area_difference < 1e-6  # of a file in single precision
    assert network.length.max() < 200e3
    inner = network.downstream >= 0
    down = network.downstream[inner]
    far = great_circle_km(network.lat[inner], network.lon[inner], network.lat[down], network.lon[down])
    assert far.max() < 80  # no river jumps over the map at the date line
    lines = describe(network)
    assert "inside the land" in lines[1]
    assert "13.25N 14.75E" in lines[1]  # Lake Chad is among the largest ends inside the land


def test_ddm30_of_both_files_is_the_same(real_data: Path) -> None:
    one = open_network(f"{real_data / NAME}:ddm30_ldd")
    two = open_network(str(real_data / "hydro/river_network_ddm30/ldd_30min.tif"))
    np.testing.assert_array_equal(one.downstream, two.downstream)
