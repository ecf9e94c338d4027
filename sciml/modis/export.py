"""Maps for other programs: CF Zarr, CF NetCDF and cloud-optimised GeoTIFF, in any coordinate reference system."""

from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401 - registers the accessor `rio`
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords, xr_reproject
from pyproj import CRS
from pyproj.exceptions import CRSError

from sciml.core.errors import ConfigError
from sciml.core.urls import is_remote, refused

GRID_MAPPING = "spatial_ref"
SUFFIXES = (".zarr", ".nc", ".tif")
MAP, SERIES = ("y", "x"), ("time", "y", "x")


def field(
    values: np.ndarray,
    box: GeoBox,
    name: str,
    *,
    units: str,
    times: np.ndarray | None = None,
    long_name: str = "",
    standard_name: str = "",
) -> xr.DataArray:
    """Values on a grid as a CF variable. values: (y, x), or (time, y, x) with times (time,) datetime64; NaN missing."""
    coordinates: dict[str, object] = dict(xr_coords(box, dims=MAP, crs_coord_name=GRID_MAPPING))
    # odc-geo writes no CF parameters for a projection that EPSG does not number
    coordinates[GRID_MAPPING].attrs.update(_cf_parameters(box))  # type: ignore[attr-defined]
    if times is not None:
        coordinates["time"] = ("time", np.asarray(times).astype("datetime64[ns]"), {"standard_name": "time"})
    attributes = {"units": units, "long_name": long_name, "standard_name": standard_name}
    out = xr.DataArray(
        values,
        dims=MAP if times is None else SERIES,
        coords=coordinates,
        name=name,
        attrs={key: value for key, value in attributes.items() if value},
    )
    degrees = {"x": ("longitude", "degrees_east"), "y": ("latitude", "degrees_north")}
    for axis in MAP:
        plane = (f"projection_{axis}_coordinate", "m")
        standard, unit = plane if box.crs.projected else degrees[axis]
        out[axis].attrs.update(standard_name=standard, units=unit, axis=axis.upper())
    out.encoding["grid_mapping"] = GRID_MAPPING
    return out


def reprojected(
    array: xr.DataArray, crs: str, *, resolution: float | None = None, resampling: str = "bilinear"
) -> xr.DataArray:
    """A field in another projection, missing outside. crs: `EPSG:32631` ... resolution: of a pixel, in its units (by
    default the nearest to the source's). Raises ConfigError for an unknown crs or resampling."""
    target = parse_crs(crs)
    try:
        out = xr_reproject(
            array, target.to_wkt(), resampling=resampling, dst_nodata=np.nan, resolution=resolution or "auto"
        )
    except (ValueError, KeyError) as error:
        raise ConfigError(f"--crs {crs}: cannot reproject {array.name!r} ({error}); choose another one") from error
    times = array["time"].values if "time" in array.dims else None
    known = {key: str(array.attrs.get(key, "")) for key in ("units", "long_name", "standard_name")}
    return field(out.values, out.odc.geobox, str(array.name), times=times, **known)


def parse_crs(crs: str) -> CRS:
    """Raises ConfigError with one line for a text that names no projection."""
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise ConfigError(f"--crs {crs}: found no such projection, expected one such as EPSG:32631") from error


def write(array: xr.DataArray, url: str, *, crs: str | None = None, resolution: float | None = None) -> str:
    """Write a field, reprojected if crs is given; the form is that of the ending. Returns the URL.

    .zarr: CF Zarr, readable by xarray and by GDAL; local or s3://. .nc: CF NetCDF 4. .tif: cloud-optimised GeoTIFF, one
    band a time, each described by its date. Raises ConfigError for another ending, InputError where it cannot write.
    """
    suffix = Path(url.rstrip("/")).suffix
    if suffix not in SUFFIXES:
        raise ConfigError(f"{url}: found ending {suffix or 'none'!r}, expected {', '.join(SUFFIXES)}")
    if suffix != ".zarr" and is_remote(url):
        raise ConfigError(f"{url}: only .zarr is written to an object store; write {suffix} to a disk and copy it")
    out = array if crs is None else reprojected(array, crs, resolution=resolution)
    with refused(url, "write"):
        {".zarr": _write_zarr, ".nc": _write_netcdf, ".tif": _write_geotiff}[suffix](out, url)
    return url


def _write_zarr(array: xr.DataArray, url: str) -> None:
    # format 2: GDAL before 3.11 reads no zstd in format 3
    chunks = [1 if dim == "time" else min(array.sizes[dim], 1024) for dim in array.dims]
    dataset = _dataset(array)
    dataset[array.name].encoding["chunks"] = tuple(chunks)
    dataset[array.name].attrs["_CRS"] = {"wkt": array.odc.geobox.crs.to_wkt()}  # where GDAL's driver looks for it
    dataset.to_zarr(url, mode="w", zarr_format=2, consolidated=True)


def _write_netcdf(array: xr.DataArray, url: str) -> None:
    dataset = _dataset(array)
    dataset[array.name].encoding.update(zlib=True, complevel=4)
    dataset.to_netcdf(url, engine="netcdf4")


def _dataset(array: xr.DataArray) -> xr.Dataset:
    dataset = array.astype(np.float32, keep_attrs=True).to_dataset()
    dataset.attrs["Conventions"] = "CF-1.11"
    dataset[array.name].encoding.update(grid_mapping=GRID_MAPPING, _FillValue=np.float32(np.nan))
    if "time" in dataset.dims:
        dataset["time"].encoding.update(units="days since 1970-01-01", dtype="int32")
    return dataset


def _write_geotiff(array: xr.DataArray, url: str) -> None:
    series = array.astype(np.float32).rio.write_crs(array.odc.geobox.crs.to_wkt()).rio.write_nodata(np.nan)
    # without its own coordinate the accessor would look for the transform in time as well
    series = series.rio.write_transform(array.odc.geobox.transform)
    tags = {"units": str(array.attrs.get("units", "")), "long_name": str(array.attrs.get("long_name", ""))}
    if "time" in array.dims:
        dates = [str(time)[:10] for time in array["time"].values]
        series = series.drop_vars("time").assign_attrs(long_name=tuple(dates))
    series.rio.to_raster(url, driver="COG", compress="DEFLATE", predictor=3, tags=tags)


def _cf_parameters(box: GeoBox) -> dict[str, object]:
    parameters = CRS.from_user_input(box.crs.to_wkt()).to_cf()
    return {key: value for key, value in parameters.items() if key != "crs_wkt"}
