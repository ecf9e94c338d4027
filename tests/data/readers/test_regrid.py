import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.core.grid import cell_area_km2
from sciml.data.readers.common import resolution_degrees
from sciml.data.readers.predictors import open_predictors
from sciml.data.readers.regrid import to_resolution


def grid(step, offset=0.5, *, low=-90.0, high=90.0, chunks=None, seed=0, missing=0.0):
    """A global grid whose centres lie `offset` steps from the corner (0.5: inside; 0: on the poles, as ERA5-Land)."""
    lat = np.arange(low + offset * step, high + (1 - offset) * 1e-6, step)
    lon = np.arange(-180 + offset * step, 180 - 1e-6, step)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, len(lat), len(lon)))
    values[:, rng.random(values.shape[1:]) < missing] = np.nan
    ds = xr.Dataset({"tas": (("time", "lat", "lon"), values)}, coords={"time": [0, 1], "lat": lat, "lon": lon})
    return ds.chunk(chunks) if chunks else ds


def integral(ds, step):
    """Of each time over the sphere; cells that reach past a pole are cut there."""
    return (ds["tas"].values * cell_area_km2(ds["lat"].values, step)[:, None]).sum(axis=(1, 2))


@given(st.sampled_from([2.5, 3.0, 4.0, 5.0, 10.0]), st.sampled_from([0.0, 0.5]), st.sampled_from([4.0, 5.0, 6.0, 10.0]))
@settings(max_examples=30, deadline=None)
def test_the_integral_over_the_sphere_stays(step, offset, resolution):
    ds = grid(step, offset)
    out = to_resolution(ds, resolution, file="f")
    assert out.sizes["lat"] * out.sizes["lon"] == int(180 / resolution) * int(360 / resolution)
    scale = cell_area_km2(ds["lat"].values, step).sum() * ds.sizes["lon"]
    np.testing.assert_allclose(integral(out, resolution) / scale, integral(ds, step) / scale, atol=1e-6)


def test_a_constant_with_holes_stays_a_constant_and_only_empty_cells_are_missing():
    ds = grid(2.0, missing=0.5)
    out = to_resolution(ds * 0 + 7.0, 4.0, file="f")["tas"].values
    valid = np.isfinite(ds["tas"].values).reshape(2, 45, 2, 90, 2).any(axis=(2, 4))
    np.testing.assert_array_equal(np.isfinite(out), valid)
    np.testing.assert_allclose(out[valid], 7.0, rtol=1e-6)


def test_aligned_blocks_are_plain_area_means():
    ds = grid(1.0)
    area = cell_area_km2(ds["lat"].values, 1.0)[:, None] * np.ones(360)
    blocks = (ds["tas"].values * area).reshape(2, 45, 4, 90, 4).sum(axis=(2, 4)) / area.reshape(45, 4, 90, 4).sum(
        axis=(1, 3)
    )
    np.testing.assert_allclose(to_resolution(ds, 4.0, file="f")["tas"], blocks, atol=1e-6)


def test_a_coarser_grid_repeats_its_value_and_the_same_grid_is_untouched():
    ds = grid(2.0)
    out = to_resolution(ds, 1.0, file="f")["tas"].values
    np.testing.assert_allclose(out, np.repeat(np.repeat(ds["tas"].values, 2, axis=1), 2, axis=2), rtol=1e-5)
    assert to_resolution(ds, 2.0, file="f") is ds


def test_axes_in_single_precision_are_the_same_grid():
    ds = grid(0.5)
    rough = ds.assign_coords(lat=ds["lat"].astype("float32"), lon=ds["lon"].astype("float32"))
    assert to_resolution(rough, 0.5, file="f") is rough
    fine = grid(0.2, low=-6.0, high=6.0)
    rough = fine.assign_coords(lat=fine["lat"].astype("float32"), lon=fine["lon"].astype("float32"))
    assert resolution_degrees(rough["lon"].values, file="f", name="lon") == pytest.approx(0.2, rel=1e-6)
    a, b = to_resolution(fine, 1.0, file="f"), to_resolution(rough, 1.0, file="f")
    np.testing.assert_allclose(a["tas"], b["tas"], atol=1e-3)


def test_cells_on_the_date_line_count_on_either_side():
    ds = grid(1.0, 0.0)  # centres on whole degrees: -180 has a half on the far side
    field = np.zeros((2, 181, 360))
    field[:, :, 0] = 1.0
    out = to_resolution(ds.assign(tas=(("time", "lat", "lon"), field)), 2.0, file="f")["tas"]
    np.testing.assert_allclose(out.isel(lon=[0, -1, 1]), np.broadcast_to([0.25, 0.25, 0.0], (2, 90, 3)), atol=1e-7)


def test_chunked_equals_whole_and_a_region_stays_a_region():
    ds = grid(1.0, low=-10.0, high=20.0)
    whole = to_resolution(ds, 2.0, file="f")
    assert whole["lat"].values[[0, -1]].tolist() == [-9.0, 19.0]
    lazy = to_resolution(ds.chunk({"time": 1, "lat": 7, "lon": 100}), 2.0, file="f")
    assert lazy.chunks
    np.testing.assert_array_equal(lazy["tas"].values, whole["tas"].values)


def test_predictors_can_be_opened_at_the_resolution_of_the_cells(tmp_path):
    lat, lon = np.arange(-5.0, 5.01, 0.1), np.arange(0.0, 10.01, 0.1)
    values = np.random.default_rng(0).normal(290, 5, (3, len(lat), len(lon)))
    ds = xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values[:, ::-1], {"units": "K"})},
        coords={
            "time": ("time", np.arange(3), {"units": "days since 2003-01-01"}),
            "latitude": lat[::-1],
            "longitude": lon,
        },
    )
    ds.to_netcdf(tmp_path / "era.nc")
    out = open_predictors(str(tmp_path / "era.nc"), resolution=0.5)
    centre = out["tas"].sel(lat=0.25, lon=5.25, method="nearest")
    assert float(centre["lat"]) == 0.25 and out["tas"].attrs["units"] == "K" and out.attrs["layout"] == "ERA5-Land"
    assert out["time_bounds"].shape == (3, 2)
    # 0.0 .. 0.5 holds the cells 0.1 .. 0.4 whole and those at 0.0 and 0.5 by half
    weight = np.array([0.5, 1, 1, 1, 1, 0.5])
    block = values[:, 50:56, 50:56]
    mean = np.einsum("tij,i,j->t", block, weight, weight) / 25
    np.testing.assert_allclose(centre, mean, rtol=1e-5)
