"""Storage of any product, recognised by its content and brought to mascons or blocks of GRACE's resolution."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from sciml.core.errors import InputError
from sciml.core.grid import EARTH_RADIUS_KM, cell_area_km2, great_circle_km
from sciml.data.readers import storage, tellus_ascii
from sciml.data.readers.mascons import block_numbers, blocks_of_grid
from tests.data.readers.test_storage_maps import gsfc_file, tellus

STEP = 0.25
LAT, LON = np.arange(-6 + STEP / 2, 6, STEP), np.arange(355 + STEP / 2, 367, STEP) % 360  # across Greenwich
LAND = (np.abs(LAT)[:, None] < 5) & ((LON < 6) | (LON > 356))[None]


def csr_files(folder, *, mask=True, records=24):
    """CSR's layout on a few degrees, the sea 1 m away from the land, and its land mask in a file of its own."""
    rng = np.random.default_rng(0)
    lwe = rng.normal(0, 6, (records, 1, 1)) + rng.normal(0, 3, (records, len(LAT), len(LON))) + np.where(LAND, 0, 100)
    day = np.arange(records + 1) * 30.5 + 94
    axes = {"lat": LAT, "lon": LON}
    order = {"lon": np.argsort(LON)}
    ds = xr.Dataset(
        {
            "lwe_thickness": (("time", "lat", "lon"), lwe.astype(np.float32), {"units": "cm"}),
            "time_bounds": (("time", "timebound"), np.stack([day[:-1], day[1:]], -1)),
        },
        coords={"time": ("time", (day[:-1] + day[1:]) / 2, {"Units": "days since 2002-01-01T00:00:00Z"}), **axes},
    )
    ds.isel(order).to_netcdf(folder / "CSR_all-corrections.nc")
    if mask:
        land = xr.Dataset({"LO_val": (("lat", "lon"), LAND.astype(np.float32))}, axes)
        land.isel(order).to_netcdf(folder / "CSR_LandMask.nc")
    return lwe


def land_mean(values, ds, land_area):
    """The mean over all land from the blocks' means."""
    weight = ds["land_area_km2"].values
    np.testing.assert_allclose(weight.sum(), land_area, rtol=1e-9)
    return weight @ ds[values].values / weight.sum()


def test_csrs_grid_and_its_mask_become_blocks_that_keep_the_mean_over_land(tmp_path):
    lwe = csr_files(tmp_path)
    ds = storage.read(str(tmp_path))  # a folder; the mask is the second file in it
    area = np.where(LAND, cell_area_km2(LAT, STEP)[:, None], 0.0)
    expected = (10 * lwe * area).sum(axis=(1, 2)) / area.sum()
    np.testing.assert_allclose(land_mean("twsa", ds, area.sum()), expected, atol=1e-3)
    assert ds.attrs["resolution_degrees"] == 0.5 and ds.sizes["cell"] == LAND.sum() // 4
    assert "averaged over land" in ds.attrs["notes"][-1] and np.abs(ds["twsa"]).max() < 400  # no drop of the sea
    np.testing.assert_array_equal(ds["mascon_id"][ds["cell_parent"]], block_numbers(ds["cell_lat"], ds["cell_lon"]))
    pattern, listed = str(tmp_path / "CSR*.nc"), ",".join(str(p) for p in sorted(tmp_path.iterdir(), reverse=True))
    for url in (pattern, listed):
        xr.testing.assert_identical(storage.read(url), ds)


def test_gsfcs_mascons_become_blocks_that_keep_the_mean_over_their_land(tmp_path):
    gsfc_file(tmp_path / "gsfc.h5")
    fine, ds = storage.gsfc.read(str(tmp_path / "gsfc.h5")), storage.read(str(tmp_path / "gsfc.h5"))
    weight = np.bincount(fine["cell_parent"], fine["cell_area_km2"])
    expected = weight @ fine["twsa"].values / weight.sum()
    np.testing.assert_allclose(land_mean("twsa", ds, weight.sum()), expected, atol=1e-3)
    np.testing.assert_allclose(ds["twsa_uncertainty"], 5.0, rtol=1e-6)  # one error inside a block
    assert ds.sizes["mascon"] == 2 and "3 mascons of one degree averaged over 2 blocks" in ds.attrs["notes"][-1]


def test_ascii_records_become_blocks_in_order_of_time(tmp_path):
    tellus(tmp_path / "b.txt.gz", start="2002-08-01", end="2002-09-01", shift=0.001)
    tellus(tmp_path / "a.txt.gz")
    ds = storage.read(str(tmp_path / "*.txt.gz"))
    assert ds["time_bounds"].values[0].astype("datetime64[D]").astype(str).tolist() == ["2002-04-05", "2002-05-01"]
    np.testing.assert_allclose(ds["twsa"].diff("time"), 1.0, atol=1e-4)


def test_the_real_ascii_grid(real_data):
    (file,) = sorted((real_data / "hydro" / "grace_csr_l3_sample").glob("*.txt.gz"))
    grid, ds = tellus_ascii.read(str(file)), storage.read(str(file))
    held = np.isfinite(grid["twsa"][0].values)
    area = np.where(held, cell_area_km2(grid["lat"].values, 1.0)[:, None], 0.0)
    for name in ("twsa", "twsa_uncertainty"):
        expected = (np.nan_to_num(grid[name][0].values) * area).sum() / area.sum()
        np.testing.assert_allclose(land_mean(name, ds, area.sum()), expected, rtol=1e-5)
    assert 1800 < ds.sizes["mascon"] < 2700 and ds.sizes["cell"] == 4 * held.sum()


def test_blocks_cover_the_sphere_in_nearly_equal_areas():
    lat, lon = (axis.ravel() for axis in np.meshgrid(np.arange(-89.75, 90, 0.5), np.arange(-179.75, 180, 0.5)))
    number = block_numbers(lat, lon)
    area = np.bincount(number, cell_area_km2(lat, 0.5))
    assert len(area) == number.max() + 1 and 4500 < len(area) < 4650
    np.testing.assert_allclose(area.sum(), 4 * np.pi * EARTH_RADIUS_KM**2)
    middle = np.abs(np.bincount(number, lat) / np.bincount(number)) < 84
    assert np.abs(area / np.median(area) - 1)[middle].max() < 0.3  # half-degree cells do not fit their sides


@given(st.floats(-89.9, 89.9), st.floats(-180, 179.99))
def test_a_place_lies_in_the_block_that_holds_it(lat, lon):
    cells = xr.Dataset(
        {
            "twsa": (("time", "lat", "lon"), [[[1.0, np.nan], [np.nan, np.nan]]]),
            "time_bounds": (("time", "bound"), np.array([["2002-04-01", "2002-05-01"]], "datetime64[s]")),
        },
        {
            "lat": np.clip(np.floor(lat * 2) / 2 + 0.25, -89.75, 89.25) + np.array([0.0, 0.5]),
            "lon": np.clip(np.floor(lon * 2) / 2 + 0.25, -179.75, 179.25) + np.array([0.0, 0.5]),
        },
    )
    found = blocks_of_grid(cells, file="f")
    away = great_circle_km(found["lat"].values, found["lon"].values, cells["lat"].values[0], cells["lon"].values[0])
    assert found.sizes["mascon"] == 1 and away[0] < 290  # half the diagonal of a block, and half a cell's


def half_degree(folder):
    csr_files(folder, mask=False)
    with xr.open_dataset(folder / "CSR_all-corrections.nc", decode_times=False) as ds:
        coarse = ds.isel(lat=slice(None, None, 2), lon=slice(None, None, 2)).load()
    coarse.to_netcdf(folder / "CSR_all-corrections.nc")


def two_products(folder):
    csr_files(folder)
    gsfc_file(folder / "gsfc.h5")


def another_mask(folder):
    csr_files(folder)
    mask = xr.Dataset({"LO_val": (("lat", "lon"), LAND[1:].astype(float))}, {"lat": LAT[1:], "lon": LON})
    mask.to_netcdf(folder / "CSR_LandMask.nc")


def mixed(folder):
    tellus(folder / "a.txt.gz")
    csr_files(folder, mask=False)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda folder: csr_files(folder, mask=False),
            "no land mask, expected one; add a variable 'land_mask', or name",
        ),
        (half_degree, "variable 'mascon_ID' missing; a GRCTellus mascon file"),
        (two_products, "found 2 storage files and 1 land masks, expected one product"),
        (another_mask, "CSR_LandMask.nc: axis 'lat' differs"),
        (mixed, "found beside Tellus ASCII grids"),
        (
            lambda folder: (folder / "t.txt").write_text("year,month\n"),
            "t.txt: cannot be read to its end .*Unknown file format",
        ),
        (lambda folder: None, "no file ends in"),
    ],
)
def test_what_cannot_be_one_product_is_refused_in_one_line(tmp_path, make, says):
    make(tmp_path)
    with pytest.raises(InputError, match=says) as refusal:
        storage.read(str(tmp_path))
    assert "\n" not in str(refusal.value)
