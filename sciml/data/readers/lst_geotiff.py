"""Land surface temperature in a GeoTIFF, any projection: kelvin, one band or several (such as day and night)."""

import numpy as np
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.errors import RasterioError

from sciml.core.errors import InputError
from sciml.data import catalogue
from sciml.data.readers.common import note, require_file

LOWEST, HIGHEST = 200.0, 350.0  # K: what the middle of an image of the ground may be
_FEW = 0.01  # share of pixels beyond that which may be fires or retrieval errors


def read(file: str) -> xr.Dataset:
    """`lst` (band, y, x) [K] with x, y and `spatial_ref`; NaN for the no-data value and for 0, the fill of MODIS.

    Scale and offset tags of the file are applied. Single values outside 200 .. 350 K stay and are said in `notes`.
    Raises InputError for a file that is missing, damaged, no GeoTIFF or without projection, and for one whose values
    are degrees Celsius or counts.
    """
    bands, box = read_raster(file)
    kelvin = np.where(bands == 0, np.nan, bands).astype(np.float32)
    _refuse_units(kelvin, file)
    out = xr.Dataset({"lst": on_grid(kelvin, box)}, attrs={"source": file})
    out["lst"].attrs.update(catalogue.entry("lst").attributes)
    outside = int(((kelvin < LOWEST) | (kelvin > HIGHEST)).sum())
    if outside:
        note(out, f"{file}: {outside} pixels outside {LOWEST:g} .. {HIGHEST:g} K stay; reject outliers before scoring")
    return out


def read_raster(file: str) -> tuple[np.ndarray, GeoBox]:
    """All bands, scaled as their tags say, NaN for no-data: (band, y, x) float64, and their grid."""
    require_file(file)
    try:
        with rasterio.open(file) as opened:
            if opened.crs is None:
                raise InputError(
                    f"{file}: no coordinate reference system, expected a GeoTIFF that says where it lies;"
                    " write one with its projection"
                )
            counts = opened.read(masked=True)
            scales, offsets = np.array(opened.scales), np.array(opened.offsets)
            box = GeoBox((opened.height, opened.width), opened.transform, opened.crs.to_wkt())
    except RasterioError as error:
        text = " ".join(str(error).split())[:160]
        raise InputError(f"{file}: no readable GeoTIFF ({text}); truncated or damaged? fetch it again") from error
    values = np.ma.filled(counts.astype(np.float64), np.nan)
    return values * scales[:, None, None] + offsets[:, None, None], box


def on_grid(values: np.ndarray, box: GeoBox) -> xr.DataArray:
    """(band, y, x) with the coordinates of a grid, which may be turned against north (then x and y count pixels)."""
    coordinates = {**xr_coords(box, dims=("y", "x")), "band": np.arange(1, len(values) + 1)}
    out = xr.DataArray(values, dims=("band", "y", "x"), coords=coordinates)
    out.encoding["grid_mapping"] = "spatial_ref"
    return out


def _refuse_units(kelvin: np.ndarray, file: str) -> None:
    finite = kelvin[np.isfinite(kelvin)]
    if not finite.size:
        return
    middle, low, high = float(np.median(finite)), float(finite.min()), float(finite.max())
    share = float(((finite < LOWEST) | (finite > HIGHEST)).mean())
    if LOWEST <= middle <= HIGHEST and share <= _FEW:
        return
    if -90 <= middle <= 80:
        guess = "looks like degrees Celsius: add 273.15 and write the file again"
    elif LOWEST <= middle * 0.02 <= HIGHEST:
        guess = "looks like counts of MOD11: multiply by 0.02 and write the file again"
    elif LOWEST <= middle * 0.1 <= HIGHEST:
        guess = "looks like counts of AST_08: multiply by 0.1 or use its own reader"
    else:
        guess = "check units and no-data value"
    raise InputError(
        f"{file}: variable 'lst': found {low:.5g} .. {high:.5g} with median {middle:.5g}, expected {LOWEST:g} .."
        f" {HIGHEST:g} K; {guess}"
    )
