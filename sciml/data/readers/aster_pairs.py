"""Pairs of images taken at the same moment from one satellite: MODIS at 1 km with NDVI at 250 m, and ASTER.

Layout: `modis_lst_dn(pair, y1, x1)` [0.02 K], 0 = missing, with `geo_lst(pair, six)`, GDAL's geotransform in MODIS'
sinusoidal projection; `modis_ndvi_e4(pair, y250, x250)` [1e-4] with a corner of its own, `geo_ndvi`; and
`aster_lst_dn(pair, ya, xa)` [0.02 K] in UTM with `aster_transform` (affine a, b, c, d, e, f), `aster_epsg`, and its
true size `aster_rows`, `aster_cols`. Around and inside the swath ASTER holds a fill of 200 K, smeared by the
interpolation that made the 250 m: everything colder than 270 K and two pixels around it are no data.
"""

import numpy as np
import xarray as xr
from scipy import ndimage

from sciml.core.errors import InputError
from sciml.data.readers.common import note, open_netcdf, reading, require
from sciml.data.readers.modis_patches import LST_RANGE_K, LST_SCALE, counts_of, temperature

LAYOUT = "a file of MODIS and ASTER pairs"
NAMES = ("modis_lst_dn", "geo_lst", "aster_lst_dn", "aster_transform", "aster_epsg", "aster_rows", "aster_cols")
COLDEST_ASTER_K = 270.0
EROSION_PIXELS = 2
NDVI_OFF_PIXELS = 8  # fine pixels between the corners of temperature and NDVI; 0..3 are known
SIZE_TOLERANCE = 1e-3  # of a pixel's side; sinusoidal and UTM metres differ by less


def read_pairs(url: str) -> xr.Dataset:
    """Pairs of MODIS and ASTER surface temperature, each on its own grid.

    url: NetCDF, local or s3://. Without `modis_ndvi_e4` there is no guidance and a note says so.

    Returns `modis_lst` (pair, y, x) [K], `ndvi` (pair, Y, X) [1], `aster` (pair, ya, xa) [K], NaN missing, unknown and
    masked; `geo_lst`, `geo_ndvi` (pair, six) GDAL's geotransforms [m]; `aster_transform` (pair, six) affine a..f [m];
    `aster_epsg`, `pair_id` (pair). Attributes: `pixel_size_m` of MODIS, `fine_pixel_m`, `factor` between the two,
    `source`, `outliers` (MODIS and ASTER pixels set missing for their heat), `notes`. Pairs without ASTER or without
    MODIS are left out with a note.
    Raises InputError for a damaged file, a missing variable, temperature that is not in counts, grids that are turned
    or do not fit into each other, NDVI of another place, and a projection that is not UTM.
    """
    ds = open_netcdf(url, decode=False)
    require(ds, NAMES, file=url, layout=LAYOUT)
    with reading(url):
        modis = counts_of(ds["modis_lst_dn"], ("pair", "y1", "x1"), LST_SCALE, url)
        geo_lst = _geotransform(ds, "geo_lst", url)
        ndvi, geo_ndvi, factor, notes = _ndvi(ds, modis.shape[1:], geo_lst, url)
        aster, hot = _aster(ds, url)
        transform, epsg = _placed(ds, geo_lst, factor, url)
        number = ds["pair_id"].values.astype(int) if "pair_id" in ds.variables else np.arange(len(modis))
    lst, outliers = temperature(modis, names=("pair",), file=url, variable="modis_lst_dn")
    out = xr.Dataset(
        {
            "modis_lst": (("pair", "y", "x"), lst, {"units": "K"}),
            "ndvi": (("pair", "Y", "X"), ndvi, {"units": "1"}),
            "aster": (("pair", "ya", "xa"), aster, {"units": "K"}),
            "geo_lst": (("pair", "six"), geo_lst),
            "geo_ndvi": (("pair", "six"), geo_ndvi),
            "aster_transform": (("pair", "six"), transform),
            "aster_epsg": ("pair", epsg),
            "pair_id": ("pair", number),
        }
    )
    seen = np.isfinite(aster).any(axis=(1, 2)) & np.isfinite(lst).any(axis=(1, 2))
    if not seen.any():
        raise InputError(
            f"{url}: variables 'aster_lst_dn', 'modis_lst_dn': no pair has valid pixels of both (ASTER warmer than"
            f" {COLDEST_ASTER_K:g} K and off the fill); expected kelvin in counts of {LST_SCALE:g} K"
        )
    if not seen.all():
        notes.append(f"{url}: pairs {', '.join(map(str, number[~seen]))} lack ASTER or MODIS and are left out")
    if outliers + hot:
        notes.append(f"{url}: {outliers} MODIS and {hot} ASTER pixels set missing: too hot or too cold for a surface")
    pixel = float(geo_lst[0, 1])
    out = out.isel(pair=seen)
    out.attrs.update(
        pixel_size_m=pixel, fine_pixel_m=pixel / factor, factor=factor, source=url, outliers=outliers + hot
    )
    return note(out, *notes)


def masked_aster(lst: np.ndarray) -> np.ndarray:
    """ASTER temperature (y, x) [K] without fill: NaN where colder than COLDEST_ASTER_K and EROSION_PIXELS around, and
    as far from the edge of the image."""
    around = np.ones((3, 3), bool)
    valid = ndimage.binary_erosion(lst >= COLDEST_ASTER_K, around, iterations=EROSION_PIXELS, border_value=0)
    return np.where(valid, lst, np.nan).astype(np.float32)


def _aster(ds: xr.Dataset, file: str) -> tuple[np.ndarray, int]:
    """ASTER (pair, ya, xa) [K] without fill, and how many pixels were too hot."""
    counts = counts_of(ds["aster_lst_dn"], ("pair", "ya", "xa"), LST_SCALE, file)
    rows, columns = (ds[name].values.astype(int) for name in ("aster_rows", "aster_cols"))
    size = counts.shape[1:]
    wrong = (rows < 1) | (rows > size[0]) | (columns < 1) | (columns > size[1])
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{file}: variables 'aster_rows', 'aster_cols', pair {at}: found {rows[at]} x {columns[at]}, expected 1 to"
            f" {size[0]} x {size[1]}, the size of 'aster_lst_dn'"
        )
    out, hot = np.full(counts.shape, np.nan, np.float32), 0
    for i, (height, width) in enumerate(zip(rows, columns, strict=True)):
        lst = masked_aster(counts[i, :height, :width] * LST_SCALE)
        valid = lst[np.isfinite(lst)]
        if valid.size and (middle := float(np.median(valid))) > LST_RANGE_K[1]:
            raise InputError(
                f"{file}: variable 'aster_lst_dn', pair {i}: median {middle:.4g} K in counts of {LST_SCALE:g} K;"
                f" expected {COLDEST_ASTER_K:g} .. {LST_RANGE_K[1]:g} K; store counts of {LST_SCALE:g} K"
            )
        too_hot = lst > LST_RANGE_K[1]
        hot += int(too_hot.sum())
        out[i, :height, :width] = np.where(too_hot, np.nan, lst)
    return out, hot


def _ndvi(
    ds: xr.Dataset, shape: tuple[int, ...], geo_lst: np.ndarray, file: str
) -> tuple[np.ndarray, np.ndarray, int, list[str]]:
    """NDVI (pair, Y, X) with its geotransform, the factor between the grids, notes."""
    pairs = len(geo_lst)
    if "modis_ndvi_e4" not in ds.variables:
        factor = max(1, round(geo_lst[0, 1] / float(ds["aster_transform"].values[0, 0])))
        geo = geo_lst * np.array([1, 1 / factor, 1, 1, 1, 1 / factor])
        empty = np.full((pairs, shape[0] * factor, shape[1] * factor), np.nan, np.float32)
        return empty, geo, factor, [f"{file}: no variable 'modis_ndvi_e4': no guidance"]
    require(ds, ("geo_ndvi",), file=file, layout=LAYOUT)
    counts = counts_of(ds["modis_ndvi_e4"], ("pair", "y250", "x250"), 1e-4, file)
    geo = _geotransform(ds, "geo_ndvi", file)
    factor = max(1, round(geo_lst[0, 1] / geo[0, 1]))
    expected = tuple(factor * n for n in shape)
    if counts.shape[1:] != expected or (np.abs(geo[:, 1] * factor / geo_lst[:, 1] - 1) > SIZE_TOLERANCE).any():
        raise InputError(
            f"{file}: variable 'modis_ndvi_e4': found {counts.shape[1]} x {counts.shape[2]} pixels of {geo[0, 1]:.2f}"
            f" m; expected {expected[0]} x {expected[1]} of {geo_lst[0, 1] / factor:.2f} m, a whole part of the"
            " temperature's; give NDVI of the same frame"
        )
    off = np.abs(geo[:, [0, 3]] - geo_lst[:, [0, 3]]).max(axis=1) / geo[:, 1]
    if (off > NDVI_OFF_PIXELS).any():
        at = int(np.argmax(off))
        raise InputError(
            f"{file}: variable 'geo_ndvi', pair {at}: the corner lies {off[at]:.1f} fine pixels off the temperature's;"
            f" expected at most {NDVI_OFF_PIXELS}; give NDVI of the same place"
        )
    ndvi = counts.astype(np.float32) * np.float32(1e-4)
    ndvi[np.abs(ndvi) > 1.0] = np.nan
    flat = ndvi.max(axis=(1, 2)) == ndvi.min(axis=(1, 2))
    ndvi[flat] = np.nan  # one value throughout is a fill
    unknown = int((~np.isfinite(ndvi).any(axis=(1, 2))).sum())
    return ndvi, geo, factor, [f"{file}: {unknown} of {pairs} pairs have no NDVI"] if unknown else []


def _geotransform(ds: xr.Dataset, name: str, file: str) -> np.ndarray:
    geo = ds[name].values.astype(float)
    if geo.ndim != 2 or geo.shape[1] != 6:
        raise InputError(f"{file}: variable '{name}': found shape {geo.shape}, expected (pair, 6)")
    square = np.abs(geo[:, 1] + geo[:, 5]) <= SIZE_TOLERANCE * np.abs(geo[:, 1])
    good = np.isfinite(geo).all(axis=1) & (geo[:, 1] > 0) & square & (geo[:, 2] == 0) & (geo[:, 4] == 0)
    good &= np.abs(geo[:, 1] / geo[0, 1] - 1) <= SIZE_TOLERANCE
    if not good.all():
        at = int(np.flatnonzero(~good)[0])
        raise InputError(
            f"{file}: variable '{name}', pair {at}: found {np.round(geo[at], 2).tolist()}; expected corner x, side, 0,"
            " corner y, 0, -side of square pixels, the same for all pairs, row 0 north"
        )
    return geo


def _placed(ds: xr.Dataset, geo_lst: np.ndarray, factor: int, file: str) -> tuple[np.ndarray, np.ndarray]:
    """ASTER's affine transform (pair, 6) and projection (pair,)."""
    transform = ds["aster_transform"].values.astype(float)
    epsg = ds["aster_epsg"].values.astype(int)
    side = geo_lst[:, 1] / factor
    for i, (a, b, _, d, e, _) in enumerate(transform):
        if not np.isfinite(transform[i]).all() or b or d or abs(a / side[i] - 1) > 0.05 or abs(e / side[i] + 1) > 0.05:
            raise InputError(
                f"{file}: variable 'aster_transform', pair {i}: found {np.round(transform[i], 2).tolist()}; expected a,"
                f" 0, c, 0, e, f with pixels of about {side[i]:.2f} m, row 0 north"
            )
    utm = ((epsg > 32600) & (epsg <= 32660)) | ((epsg > 32700) & (epsg <= 32760))
    if not utm.all():
        at = int(np.flatnonzero(~utm)[0])
        raise InputError(
            f"{file}: variable 'aster_epsg', pair {at}: found {epsg[at]}; expected a UTM zone, 32601 .. 32660 or 32701"
            " .. 32760"
        )
    return transform, epsg
