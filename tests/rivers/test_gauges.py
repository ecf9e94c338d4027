"""Gauges find their cell by upstream area; the nine rivers on the real network."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.data.readers.grdc import Stations, read_grdc
from sciml.rivers.gauges import NINE_RIVERS, gauge_cells, mean_flow, river_table
from sciml.rivers.network import Network, open_network, to_cells


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Two rivers side by side run east over the date line: a long one at 0.5 N, a short one at 0.5 S."""
    code = np.full((4, 360), np.nan)
    code[1, 300:], code[1, :9], code[1, 9] = 6, 6, 5
    code[2, 357:], code[2, :9], code[2, 9] = 6, 6, 5
    path = tmp_path_factory.mktemp("gauges") / "a.nc"
    coords = {"lat": [1.5, 0.5, -0.5, -1.5], "lon": np.arange(-179.5, 180)}
    xr.Dataset({"x_ldd": (("lat", "lon"), code)}, coords=coords).to_netcdf(path)
    return open_network(f"{path}:x_ldd")


def test_the_cell_is_the_one_of_that_area_not_the_nearest(small: Network) -> None:
    cell = small.area.mean()
    lat, lon = np.array([0.1, 0.1, -0.1, 0.1]), np.array([-179.9, 179.9, 180.2, 179.9])
    found = gauge_cells(small, lat, lon, cell * np.array([61, 4, 60, 20.0]))
    assert small.lat[found[0]] == 0.5
    assert small.lon[found[0]] == -179.5
    assert (small.lat[found[1]], small.upstream_area[found[1]] / cell) == (-0.5, pytest.approx(4, rel=1e-3))
    assert small.lat[found[2]] == 0.5
    assert found[3] == -1  # nothing of 20 cells is near


def test_a_wider_ring_is_searched_only_where_the_inner_fits_not(small: Network) -> None:
    cell = small.area.mean()
    far = gauge_cells(small, np.array([2.4]), np.array([179.5]), np.array([60 * cell]))
    assert small.lat[far[0]] == 0.5
    assert gauge_cells(small, np.array([2.4]), np.array([179.5]), np.array([60 * cell]), reach=1)[0] == -1
    near = gauge_cells(small, np.array([0.5]), np.array([179.5]), np.array([61.3 * cell]))
    assert small.lon[near[0]] == -179.5  # 61 cells; 62 would be two cells off
    assert gauge_cells(small, np.array([0.5]), np.array([10.5]), np.array([cell]))[0] == -1
    assert gauge_cells(small, np.array([0.5]), np.array([179.5]), np.array([np.nan]))[0] == -1


def test_a_gauge_left_of_a_region_s_first_column(tmp_path: Path) -> None:
    code = np.array([[6.0] * 5 + [5.0]] * 2)
    for lon in (np.arange(178.0, 184.0), np.arange(183.0, 177.0, -1.0)):  # over the date line, either way
        turned = code if lon[1] > lon[0] else code[:, ::-1]
        ds = xr.Dataset({"x_ldd": (("lat", "lon"), turned)}, coords={"lat": [1.0, 0.0], "lon": lon})
        ds.to_netcdf(tmp_path / "a.nc")
        network = open_network(f"{tmp_path / 'a.nc'}:x_ldd")
        area = network.area.mean()
        found = gauge_cells(network, np.array([0.9, 0.9]), np.array([177.2, -177.4]), area * np.array([1.0, 6.0]))
        assert network.lon[found].tolist() == [178.0, -177.0]
        (tmp_path / "a.nc").unlink()


def test_a_table_names_what_it_compares(small: Network) -> None:
    one = np.array([7])
    stations = Stations(
        one, np.array(["X"]), np.array(["LOW"]), np.array([0.5]), np.array([179.5]),
        60 * small.area[:1], np.array([100.0]), np.array([1950]), np.array([1999]),
    )  # fmt: skip
    row = river_table(small, stations, np.full(len(small), 150.0), {"X": 7})[0]
    assert (row.river, row.station, row.years) == ("X", "Low", "1950-1999")
    assert row.bias == pytest.approx(0.5)
    assert (1 + row.depth_bias) * (1 + row.area_bias) == pytest.approx(1.5)
    assert abs(row.area_bias) < 0.01
    rows = river_table(small, stations, np.ones(len(small)), {"Y": 8, "X": 7})  # a list of one region
    assert [row.river for row in rows] == ["X"]


def test_the_nine_rivers(real_data: Path) -> None:
    file = real_data / "hydro/river_network/river_networks_0p5deg.nc"
    network = open_network(f"{file}:ddm30_ldd")
    with xr.open_dataset(file) as ds:
        volume = np.nan_to_num(to_cells(network, ds["runoff_wbm"].values.astype(float)))  # km3 yr-1
    flow = mean_flow(network, volume * 1e12 / 365.25 / network.area)
    assert flow[network.outlet].sum() == pytest.approx(volume.sum() * 1e9 / (365.25 * 86400), rel=1e-9)
    stations = read_grdc(str(real_data / "hydro/river_network_ddm30/grdc_2022_10701.txt.gz"))
    rows = {row.river: row for row in river_table(network, stations, flow)}
    assert set(rows) == set(NINE_RIVERS)
    assert all(abs(row.area_bias) < 0.2 for row in rows.values())
    assert abs(rows["Ob"].bias) < 0.25
    cells = gauge_cells(network, stations.lat, stations.lon, stations.area)
    large = stations.area > 2e10
    assert (cells[large] >= 0).mean() > 0.8
