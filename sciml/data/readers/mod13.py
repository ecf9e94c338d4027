"""MOD13A2, MOD13Q1 and Aqua's MYD13: NDVI with red and near-infrared reflectance, 16-day composites.

The scale factor of these files divides (NDVI = count / 10000), against the convention that MOD11 and CF keep.
Reference: Didan et al. 2015, MODIS Vegetation Index User's Guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from sciml.core.errors import InputError
from sciml.data.readers.hdf_eos import Granule, open_granule
from sciml.data.sinusoidal import Tile

PRODUCTS = ("MOD13A2", "MYD13A2", "MOD13Q1", "MYD13Q1")
COUNTS_PER_UNIT = 10000.0
COMPOSITE_DAYS = 16


@dataclass(frozen=True)
class Band:
    """A field of the product: what its name ends in, its fill and the counts that mean something."""

    ending: str
    fill: int
    valid: tuple[int, int]
    long_name: str


BANDS: Mapping[str, Band] = MappingProxyType(
    {
        "ndvi": Band("NDVI", -3000, (-2000, 10000), "normalised difference vegetation index"),
        "red": Band("red reflectance", -1000, (0, 10000), "surface reflectance, 620-670 nm"),
        "nir": Band("NIR reflectance", -1000, (0, 10000), "surface reflectance, 841-876 nm"),
    }
)
_DAY = "composite day of the year"
_RELIABILITY = "pixel reliability"


def read(file: str, *, tile: Tile | None = None, collection: str | None = None) -> xr.Dataset:
    """One granule or a part of one, in physical units.

    Dimensions y, x; sinusoidal x, y [m] with `spatial_ref`. `ndvi` [1], and where the file has them `red`, `nir` [1],
    `composite_date` (datetime64, the day that was picked for the pixel), `reliability` (0 good, 1 marginal, 2 snow,
    3 cloud); NaN, NaT and -1 where there is none. Attributes: product, collection, tile, first_day, last_day, source.
    Raises InputError: see `hdf_eos.open_granule`; and for a file without NDVI or with another scale.
    """
    with open_granule(file, PRODUCTS, tile=tile, collection=collection) as granule:
        header = granule.header
        there = [name for name, band in BANDS.items() if name == "ndvi" or _field(granule, band.ending)]
        arrays = {name: _band(granule, BANDS[name]) for name in there}
        if field := _field(granule, _DAY):
            arrays["composite_date"] = _dates(granule.values(field, "int16"), header.day)
        if field := _field(granule, _RELIABILITY):
            meanings = {"flag_values": np.arange(4, dtype=np.int8), "flag_meanings": "good marginal snow_ice cloudy"}
            arrays["reliability"] = xr.Variable(("y", "x"), granule.values(field, "int8"), meanings)
    out = xr.Dataset(arrays, coords=dict(xr_coords(header.grid.geobox(), dims=("y", "x"))))
    for name in out.data_vars:
        out[name].encoding["grid_mapping"] = "spatial_ref"
    last = np.datetime64(header.day, "D") + (COMPOSITE_DAYS - 1)
    said = {"product": header.product, "collection": header.collection, "tile": str(header.tile)}
    out.attrs.update(**said, first_day=header.day, last_day=str(last), source=file)
    return out


def ndvi(granule: Granule) -> np.ndarray:
    """The index alone, (y, x) float32 [1], NaN where there is none. Raises InputError as `read`."""
    return np.asarray(_band(granule, BANDS["ndvi"]).values)


def _field(granule: Granule, ending: str) -> str:
    """`1 km 16 days NDVI` in A2, `250m 16 days NDVI` in Q1; empty where it is missing."""
    found = [name for name in granule.fields if name.endswith(f" 16 days {ending}")]
    return found[0] if found else ""


def _band(granule: Granule, band: Band) -> xr.Variable:
    field = _field(granule, band.ending)
    if not field:
        raise InputError(
            f"{granule.header.file}: variable '... 16 days {band.ending}' missing; found"
            f" {', '.join(sorted(granule.fields)) or 'nothing'}; give a subset that keeps it"
        )
    counts = granule.values(field, "int16")
    scale = granule.attributes(field).get("scale_factor", COUNTS_PER_UNIT)
    # some tools rewrite the attribute as one that multiplies
    known = (COUNTS_PER_UNIT, 1 / COUNTS_PER_UNIT)
    if not isinstance(scale, (int, float)) or min(abs(scale - one) for one in known) > 1e-6:
        raise InputError(
            f"{granule.header.file}: variable {field!r}: found scale_factor {scale!r}, expected 10000, which divides;"
            " fetch the granule as NASA distributes it"
        )
    usable = (counts >= band.valid[0]) & (counts <= band.valid[1]) & (counts != band.fill)
    values = np.where(usable, counts / np.float32(COUNTS_PER_UNIT), np.float32(np.nan)).astype(np.float32)
    return xr.Variable(("y", "x"), values, {"units": "1", "long_name": band.long_name})


def _dates(day_of_year: np.ndarray, first_day: str) -> xr.Variable:
    """Day of the year -> date; the composite that begins on 19 December reaches into January."""
    first = np.datetime64(first_day, "D")
    january = first.astype("datetime64[Y]").astype("datetime64[D]")
    dates = january + (day_of_year.astype(np.int64) - 1)
    following = january.astype("datetime64[Y]") + 1
    dates = np.where(dates < first, following.astype("datetime64[D]") + (day_of_year.astype(np.int64) - 1), dates)
    known = (day_of_year >= 1) & (day_of_year <= 366)
    values = np.where(known, dates, np.datetime64("NaT")).astype("datetime64[ns]")
    return xr.Variable(("y", "x"), values, {"long_name": "day of the observation that the composite picked"})
