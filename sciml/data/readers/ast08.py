"""AST_08, ASTER's surface kinetic temperature at 90 m: HDF-EOS2 swath (collection 3) or its GeoTIFF.

An image lies on UTM, turned against north along the satellite's path. The HDF file says so only by an 11 x 11 lattice
of geodetic latitudes and longitudes; the turned grid is recovered from it, since on the plane of its UTM zone the
lattice is affine. Layout by NASA's sample listings; not tried on a real file. Whether a lattice point means a pixel's
corner (taken here) or its centre is not said there: half a pixel, 45 m, to be settled by a shift against a reference.
"""

import re

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from sciml.core.errors import InputError
from sciml.data import catalogue
from sciml.data.readers.common import note
from sciml.data.readers.hdf_eos import metadata, metadata_value, open_hdf, read_field
from sciml.data.readers.lst_geotiff import on_grid, read_raster

PRODUCT = "AST_08"
SCALE = 0.1  # K
FILLS = (0, 2000)  # outside the scene; where the retrieval failed
HOTTEST = 4000  # counts: 400 K, above what the sensor can tell
PIXEL_M = 90.0
_FIELD, _LATITUDE, _LONGITUDE = "KineticTemperature", "GeodeticLatitude", "Longitude"


def read(file: str) -> xr.Dataset:
    """`lst` (y, x) [K] with `spatial_ref` in UTM; NaN at the fills.

    Where the image is turned, x and y count pixels and the georeference is the affine transform of `spatial_ref`
    (`.odc.geobox`); reproject before comparing it with anything. Raises InputError for a damaged file, another product,
    a lattice that is no UTM grid of 90 m, or values that are no counts of this product.
    """
    counts, box = _read_hdf(file) if file.lower().endswith((".hdf", ".hdf4")) else _read_geotiff(file)
    known = (counts != FILLS[0]) & (counts != FILLS[1]) & (counts <= HOTTEST)
    lst = np.where(known, counts * np.float32(SCALE), np.float32(np.nan)).astype(np.float32)
    out = xr.Dataset({"lst": on_grid(lst[None], box).isel(band=0, drop=True)}, attrs={"source": file})
    out["lst"].attrs.update(catalogue.entry("lst").attributes)
    out["lst"].encoding["grid_mapping"] = "spatial_ref"
    if not known.any():
        return note(out, f"{file}: no pixel holds a temperature")
    middle = float(np.nanmedian(lst))
    if not 200.0 < middle < 350.0:
        raise InputError(
            f"{file}: variable {_FIELD!r}: found a median of {middle:g} K, expected 200 .. 350 K from counts of"
            f" {SCALE:g} K; give the file as NASA distributes it"
        )
    return out


def _read_geotiff(file: str) -> tuple[np.ndarray, GeoBox]:
    bands, box = read_raster(file)
    if len(bands) != 1:
        raise InputError(
            f"{file}: found {len(bands)} bands, expected one of {PRODUCT}; name the temperature's own file"
        )
    values = np.nan_to_num(bands[0], nan=FILLS[0])
    broken = values[values != np.round(values)]
    if broken.size:
        raise InputError(
            f"{file}: found values that are no counts, such as {float(broken[0]):g}, expected integers of {SCALE:g} K;"
            " read a GeoTIFF in kelvin as LST GeoTIFF"
        )
    _refuse_projection(box, file)
    return values, box


def _refuse_projection(box: GeoBox, file: str) -> None:
    if box.crs is None or not box.crs.projected or "UTM" not in box.crs.to_wkt():
        raise InputError(
            f"{file}: found a projection other than UTM; read a reprojected file as LST GeoTIFF, in kelvin"
        )


def _read_hdf(file: str) -> tuple[np.ndarray, GeoBox]:
    with open_hdf(file) as sd:
        shapes = {name: tuple(found[1]) for name, found in sd.datasets().items()}
        product = metadata_value(metadata(sd, "coremetadata|CoreMetadata", file), "SHORTNAME")
        if _FIELD not in shapes:
            product = product or file.rsplit("/", 1)[-1].split(".")[0]
            raise InputError(
                f"{file}: found product {product} without {_FIELD!r}, expected {PRODUCT}; name other files"
            )
        counts = read_field(sd, _FIELD, "uint16", file, shapes)
        lattice = [read_field(sd, field, "float64", file, shapes) for field in (_LATITUDE, _LONGITUDE)]
        text = metadata(sd, "StructMetadata", file)
    return counts, _turned_grid(counts.shape, *lattice, text, file)


def _turned_grid(shape: tuple[int, int], latitude: np.ndarray, longitude: np.ndarray, text: str, file: str) -> GeoBox:
    """Affine grid of pixels through a lattice of places, by least squares on the UTM plane."""
    rows, columns = _lattice_pixels(shape, latitude.shape, text)
    zone = int((longitude.mean() + 180) // 6) + 1
    crs = f"EPSG:{32600 + zone if latitude.mean() >= 0 else 32700 + zone}"
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    row, column = np.meshgrid(rows, columns, indexing="ij")
    design = np.stack([column.ravel(), row.ravel(), np.ones(row.size)], axis=-1)
    fits = [np.linalg.lstsq(design, plane.ravel(), rcond=None)[0] for plane in (x, y)]
    error = max(np.abs(design @ fit - plane.ravel()).max() for fit, plane in zip(fits, (x, y), strict=True))
    (a, b, c), (d, e, f) = fits
    size = float(np.sqrt(abs(a * e - b * d)))
    if error > PIXEL_M / 2 or abs(size - PIXEL_M) > 1:
        raise InputError(
            f"{file}: variables {_LATITUDE!r} and {_LONGITUDE!r}: found pixels of {size:.4g} m that miss a UTM grid by"
            f" {error:.4g} m, expected {PIXEL_M:g} m and less than {PIXEL_M / 2:g} m; order the product in UTM"
        )
    return GeoBox(shape, Affine(a, b, c, d, e, f), crs)


def _lattice_pixels(shape: tuple[int, int], lattice: tuple[int, int], text: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lattice: by StructMetadata's dimension maps, else from edge to edge."""
    found = []
    for size, count, name in zip(shape, lattice, ("GeoTrack", "GeoXtrack"), strict=True):
        step = re.search(rf'GeoDimension="{name}".*?Offset=(-?\d+).*?Increment=(-?\d+)', text, re.DOTALL)
        offset, increment = (int(step[1]), int(step[2])) if step else (0, size // (count - 1))
        found.append(offset + increment * np.arange(count))
    return found[0], found[1]
