"""Maps for other programs: CF Zarr, CF NetCDF and cloud-optimised GeoTIFF, in any coordinate reference system."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio.shutil
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords, xr_reproject
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from sciml.core.errors import ConfigError, InputError
from sciml.core.urls import is_remote, refused

GRID_MAPPING = "spatial_ref"
SUFFIXES = (".zarr", ".nc", ".tif")
MAP, SERIES = ("y", "x"), ("time", "y", "x")
SIDE = 512  # pixels of a block of a GeoTIFF


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
    except (ValueError, KeyError, AssertionError, RasterioError) as error:
        said = _line(error) or "none of its pixels can be placed there"
        raise ConfigError(f"--crs {crs}: cannot reproject {array.name!r} ({said}); choose another one") from error
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
    with refused(url, "write"), _told_by_libraries(url):
        {".zarr": _write_zarr, ".nc": _write_netcdf, ".tif": _write_geotiff}[suffix](out, url)
    return url


@contextlib.contextmanager
def _told_by_libraries(url: str) -> Iterator[None]:
    """GDAL's and netCDF's own errors, as netCDF's where the disk is full, as one line."""
    try:
        yield
    except (RasterioError, RuntimeError) as error:
        raise InputError(f"{url}: cannot write: {_line(error)}; check the folder, access and free space") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


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
    """By blocks into memory, where GDAL makes the cloud-optimised copy, and from there to the disk.

    GDAL's driver only copies. Writing to it straight holds the array several times, and GDAL does not always tell that
    the disk was full at the end.
    """
    box = array.odc.geobox
    bands = array.values.reshape(-1, *box.shape)
    tags = {name: str(array.attrs.get(name, "")) for name in ("units", "long_name")}
    named = [tags["long_name"]]
    if "time" in array.dims:
        named = [str(time)[:10] for time in array["time"].values]
    with MemoryFile(ext=".tif") as memory:
        with memory.open(
            driver="GTiff", dtype="float32", nodata=np.nan, count=len(bands), height=bands.shape[1],
            width=bands.shape[2], crs=box.crs.to_wkt(), transform=box.transform, tiled=True, blockxsize=SIDE,
            blockysize=SIDE, bigtiff="IF_SAFER",
        ) as plain:  # fmt: skip
            plain.update_tags(**tags)
            for number, name in enumerate(named, 1):
                plain.set_band_description(number, name)
            for start in range(0, bands.shape[1], SIDE):
                part = bands[:, start : start + SIDE].astype(np.float32, copy=False)
                plain.write(part, window=Window(0, start, part.shape[2], part.shape[1]))
        with MemoryFile(ext=".tif") as made:
            rasterio.shutil.copy(memory.name, made.name, driver="COG", compress="DEFLATE", predictor=3)
            Path(url).write_bytes(made.getbuffer())


def _cf_parameters(box: GeoBox) -> dict[str, object]:
    parameters = CRS.from_user_input(box.crs.to_wkt()).to_cf()
    return {key: value for key, value in parameters.items() if key != "crs_wkt"}
