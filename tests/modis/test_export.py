"""Exported maps come back, through xarray and through GDAL, at the places where they were."""

import resource
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import Transformer

from sciml.core.errors import ConfigError, InputError
from sciml.data import sinusoidal
from sciml.data.sinusoidal import Tile, tile_geobox
from sciml.modis import export

BOX = tile_geobox(Tile(18, 4), 600)[100:220, 40:200]
TIMES = np.array(["2020-07-01", "2020-07-03"], "datetime64[D]")


def plane() -> np.ndarray:
    """A field that is linear on the sinusoidal plane: bilinear resampling keeps it. (120, 160) [K]."""
    x, y = np.meshgrid(BOX.coordinates["x"].values, BOX.coordinates["y"].values)
    return 290 + (x - x.mean()) / 2e5 * 8 + (y - y.mean()) / 2e5 * 5


def lst(series: bool = False) -> xr.DataArray:
    values = np.stack([plane(), plane() + 1]) if series else plane()
    values[..., 3, 5] = np.nan
    name = {"units": "K", "long_name": "land surface temperature", "standard_name": "surface_temperature"}
    return export.field(values.astype(np.float32), BOX, "lst", times=TIMES if series else None, **name)


@pytest.mark.parametrize("series", [False, True])
@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_cf_files_come_back_through_xarray(tmp_path, ending, series):
    made = lst(series)
    path = export.write(made, str(tmp_path / f"map{ending}"))
    found = xr.open_zarr(path, decode_coords="all") if ending == ".zarr" else xr.open_dataset(path, decode_coords="all")
    np.testing.assert_array_equal(found["lst"], made)
    for axis in ("x", "y"):
        np.testing.assert_allclose(found[axis], made[axis], atol=1e-6)
        assert found[axis].attrs["standard_name"] == f"projection_{axis}_coordinate"
    assert found.attrs["Conventions"].startswith("CF") and found["lst"].attrs["units"] == "K"
    assert found["lst"].dtype == np.float32 and "spatial_ref" in found.coords
    assert found["spatial_ref"].attrs["grid_mapping_name"] == "sinusoidal"
    np.testing.assert_allclose(found["lst"].odc.geobox.affine[:6], BOX.affine[:6], rtol=1e-9)
    if series:
        np.testing.assert_array_equal(found["time"].values.astype("datetime64[D]"), TIMES)


@pytest.mark.parametrize(("ending", "driver"), [(".zarr", "ZARR:"), (".nc", "NETCDF:")])
def test_cf_files_open_in_gdal(tmp_path, ending, driver):
    path = export.write(lst(), str(tmp_path / f"map{ending}"))
    name = f'ZARR:"{path}":/lst' if ending == ".zarr" else f"NETCDF:{path}:lst"
    with rasterio.open(name) as opened:
        assert opened.name.startswith(driver)
        np.testing.assert_array_equal(opened.read(1), lst())
        np.testing.assert_allclose(opened.transform[:6], BOX.affine[:6], rtol=1e-9)
        assert "inusoidal" in opened.crs.to_wkt()


@pytest.mark.parametrize("series", [False, True])
def test_a_geotiff_is_cloud_optimised_and_says_its_dates(tmp_path, series):
    made = lst(series)
    path = export.write(made, str(tmp_path / "map.tif"))
    with rasterio.open(path) as opened:
        assert opened.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and np.isnan(opened.nodata)
        np.testing.assert_array_equal(opened.read(), made.values.reshape(-1, *BOX.shape))
        np.testing.assert_allclose(opened.transform[:6], BOX.affine[:6], rtol=1e-9)
        assert opened.crs.to_dict()["proj"] == "sinu"
        if series:
            assert opened.descriptions == ("2020-07-01", "2020-07-03")


@pytest.mark.parametrize("ending", [".zarr", ".nc", ".tif"])
def test_another_projection_keeps_values_at_their_places(tmp_path, ending):
    path = export.write(lst(True), str(tmp_path / f"map{ending}"), crs="EPSG:32632")
    if ending == ".tif":
        with rasterio.open(path) as opened:
            assert opened.crs.to_epsg() == 32632
            values, transform = opened.read()[1], opened.transform
            x = transform.c + (np.arange(opened.width) + 0.5) * transform.a
            y = transform.f + (np.arange(opened.height) + 0.5) * transform.e
    else:
        found = xr.open_zarr(path) if ending == ".zarr" else xr.open_dataset(path)
        assert found["lst"].odc.crs.epsg == 32632
        values, x, y = found["lst"].values[1], found["x"].values, found["y"].values
    # independent of the program: pyproj takes each pixel back to the sinusoidal plane
    back = Transformer.from_crs("EPSG:32632", sinusoidal.crs(), always_xy=True)
    east, north = back.transform(*np.meshgrid(x, y))
    middle = [BOX.coordinates[axis].values.mean() for axis in ("x", "y")]
    expected = 291 + (east - middle[0]) / 2e5 * 8 + (north - middle[1]) / 2e5 * 5
    known = np.isfinite(values)
    assert 0.4 < known.mean() < 1
    error = np.abs(values - expected)[known]
    # GDAL's transform is exact to an eighth of a pixel of 0.07 + 0.05 K; at the outer edge and beside a missing pixel a
    # value comes from one side alone: up to half a pixel off
    assert np.quantile(error, 0.98) < 0.015 and error.max() < 0.06


def test_a_resolution_is_kept():
    out = export.reprojected(lst(), "EPSG:3035", resolution=3000.0)
    assert abs(out.odc.geobox.resolution.x) == 3000 and out.attrs["units"] == "K"


def test_zarr_goes_to_an_object_store(s3):
    path = export.write(lst(), f"{s3}/map.zarr")
    np.testing.assert_array_equal(xr.open_zarr(path)["lst"], lst())


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("map.png", {}, r"found ending '.png', expected .zarr, .nc, .tif"),
        ("map", {}, r"found ending 'none'"),
        ("map.tif", {"crs": "EPSG:99999"}, r"--crs EPSG:99999: found no such projection"),
        ("s3://bucket/map.tif", {}, r"only .zarr is written to an object store"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, options, says):
    with pytest.raises(ConfigError, match=says) as refusal:
        export.write(lst(), name if "://" in name else str(tmp_path / name), **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("ending", [".zarr", ".nc", ".tif"])
def test_a_folder_that_is_a_file_is_a_line(tmp_path, ending):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=rf"taken/map{ending}: cannot write: ") as refusal:
        export.write(lst(), str(tmp_path / "taken" / f"map{ending}"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("lacking", [1, 50_000])
@pytest.mark.parametrize("ending", [".zarr", ".nc", ".tif"])
def test_a_disk_that_is_full_is_a_line(tmp_path, ending, lacking):
    """A limit on the size of files stands in for it: writing fails at the last byte, or long before."""
    noise = np.random.default_rng(0).random(BOX.shape, np.float32)
    whole = Path(export.write(export.field(noise, BOX, "lst", units="K"), str(tmp_path / f"whole{ending}")))
    size = max(part.stat().st_size for part in (whole, *whole.rglob("*")) if part.is_file())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - lacking, limits[1]))
    try:
        with pytest.raises(InputError, match=rf"map{ending}: cannot write: .*free space") as refusal:
            export.write(export.field(noise, BOX, "lst", units="K"), str(tmp_path / f"map{ending}"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(refusal.value)


def test_a_projection_that_shows_nothing_of_the_map_is_a_line():
    with pytest.raises(ConfigError, match=r"--crs \+proj=gnom .*: cannot reproject 'lst' \(.+\); choose another one"):
        export.reprojected(lst(), "+proj=gnom +lat_0=-45 +lon_0=-170")


def test_a_geotiff_of_many_blocks_keeps_every_pixel_name_and_unit(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "SIDE", 16)
    made = lst(True)
    with rasterio.open(export.write(made, str(tmp_path / "map.tif"))) as opened:
        np.testing.assert_array_equal(opened.read(), made.values)
        assert opened.tags()["units"] == "K" and opened.tags()["long_name"] == "land surface temperature"
    with rasterio.open(export.write(lst(), str(tmp_path / "one.tif"))) as opened:
        assert opened.descriptions == ("land surface temperature",)
