"""Means of basins from the members of the downscaled cells."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2
from sciml.grace.downscale import Cells
from sciml.grace.gridded.product import Basins, basin_means, basins_of_mascons, basins_of_mask


@pytest.fixture
def cells() -> Cells:
    """Two mascons of 3 x 2 cells each, west of Greenwich by a longitude beyond 180."""
    row, column = np.divmod(np.arange(12), 4)
    latitude, longitude = 40.25 + row / 2, 350.25 + column / 2
    return Cells(column // 2, latitude, longitude, cell_area_km2(latitude, 0.5))


def mask_file(folder: Path, index: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> str:
    values = {"basin_index": (("lat", "lon"), index)}
    file = folder / "mask.nc"
    xr.Dataset(values, {"lat": lat, "lon": lon, "basin": ["elsewhere", "inside", "half"]}).to_netcdf(file)
    return str(file)


def test_sigma_and_volume_are_those_of_the_members(cells: Cells) -> None:
    members = np.random.default_rng(0).normal(50, 20, (12, 7, 5)).astype(np.float32)
    members[:, :, 2] += np.linspace(-30, 30, 7)  # an error that all cells share
    basins = Basins(np.array(["a", "b"]), np.array([0, 0, 1, -1] * 3), np.ones(2))
    seen = np.ones((12, 5), bool)
    seen[cells.parent == 0, 3] = False
    found = basin_means(members, seen, basins, cells.area)
    for number in range(2):
        inside = basins.member == number
        area = cells.area[inside]
        each = np.average(members[inside].astype(float), axis=0, weights=area)
        np.testing.assert_allclose(found["twsa_member"][number], each)
        np.testing.assert_allclose(found["twsa"][number], each.mean(axis=0))
        np.testing.assert_allclose(found["twsa_sigma"][number], each.std(axis=0, ddof=1))
        np.testing.assert_allclose(found["volume"][number], each.mean(axis=0) * area.sum() * 1e-6)
        np.testing.assert_allclose(found["volume_sigma"][number], each.std(axis=0, ddof=1) * area.sum() * 1e-6)
    assert found["twsa_sigma"][:, 2].min() > 15  # shared errors do not average out
    np.testing.assert_array_equal(found["observed"], [[1, 1, 1, 0, 1], [1, 1, 1, 1, 1]])


def test_mascons_stand_in_where_there_is_no_mask(cells: Cells) -> None:
    basins = basins_of_mascons(cells)
    np.testing.assert_array_equal(basins.member, cells.parent)
    assert len(basins.names) == 2


def test_a_mask_on_another_longitude_axis(cells: Cells, tmp_path: Path) -> None:
    lat, lon = np.arange(41.25, 39, -0.5), np.arange(-12.25, -6, 0.5)  # descending, and -9.75 for 350.25
    index = np.full((len(lat), len(lon)), np.nan, np.float32)
    index[np.ix_((lat > 40) & (lat < 41.5), (lon > -10) & (lon < -9))] = 1
    index[np.ix_((lat > 40) & (lat < 41.5), (lon > -9) & (lon < -7))] = 2
    basins = basins_of_mask(mask_file(tmp_path, index, lat, lon), cells)
    assert basins.names.tolist() == ["inside", "half"]
    np.testing.assert_array_equal(basins.member, [0, 0, 1, 1] * 3)
    np.testing.assert_allclose(basins.share, [1.0, 0.5])


def test_a_mask_of_another_continent_is_refused(cells: Cells, tmp_path: Path) -> None:
    lat, lon = np.array([-30.25, -29.75]), np.array([20.25, 20.75])
    file = mask_file(tmp_path, np.zeros((2, 2), np.int32), lat, lon)
    with pytest.raises(InputError, match=r"mask.nc: variable 'basin_index': found no basin at the 12 cells"):
        basins_of_mask(file, cells)
