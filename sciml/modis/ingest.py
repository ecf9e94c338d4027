"""Granules into a store: one tile and year, one shard a day, counts as they were distributed.

The time axis is the whole year, made at the start, so the template and its signature know nothing of the granules that
happen to be there: a run with more of them writes the new days alone. A day without a granule stays without an object
and decodes to missing. Counts stay integers with CF packing attributes; xarray and GDAL decode them.
"""

import ctypes
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from sciml.core.digest import fingerprint
from sciml.core.errors import InputError
from sciml.data import sinusoidal
from sciml.data.readers import hdf_eos, mod11a1
from sciml.data.readers.hdf_eos import Header
from sciml.data.readers.mod11a1 import FIELDS, MISSING_CLASS, Packed
from sciml.data.sinusoidal import Tile
from sciml.data.stores import Template, Variable

VERSION = 1  # of the stage function: raise it where the same granule gives other arrays
SECONDS, MEMORY_BYTES = 0.3, 200 << 20  # of one granule of 1200 x 1200 pixels
GRID_MAPPING = "spatial_ref"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of parameters in malloc.h
_LARGEST_ON_HEAP = 32 << 20  # bytes, the most that glibc takes for the second
DAILY = ("time", "overpass", "y", "x")

# names in the store -> names of the reader; the temperature is called by what is stored
_PACKED = {
    "lst_dn": "lst",
    "view_angle": "view_angle",
    "overpass_time": "overpass_time",
    "emissivity_31": "emissivity_31",
    "emissivity_32": "emissivity_32",
}
_ERROR_CLASS = "lst_error_class"
READ = (*_PACKED.values(), "qc")  # what the stage reads of a granule


@dataclass(frozen=True)
class GranuleDay:
    """Address of one granule: tile and day, and what identifies its content. time: index on the year's axis."""

    tile: str
    day: str
    time: int
    content: str


@dataclass(frozen=True)
class TileYear:
    """Granules of one product, collection, tile and year, in order of their days: one store."""

    product: str
    collection: str
    tile: Tile
    year: int
    pixels: int
    granules: tuple[Header, ...]

    @property
    def name(self) -> str:
        """Name of its stage."""
        return f"granules_{self.product.lower()}_{self.tile}_{self.year}"

    @property
    def config(self) -> dict[str, object]:
        """What the store depends on besides its items."""
        return {
            "product": self.product,
            "collection": self.collection,
            "tile": str(self.tile),
            "year": self.year,
            "pixels": self.pixels,
        }


def find(files: str) -> tuple[list[TileYear], list[str]]:
    """Granules of a name, list or pattern, sorted into stores, and what is to be said about them.

    Raises InputError: see `hdf_eos.granules`; and for a granule that is not a whole tile or has other pixels than those
    beside it.
    """
    headers, notes = hdf_eos.granules(files, mod11a1.PRODUCTS)
    groups: dict[tuple[str, str, str], list[Header]] = {}
    for header in headers:
        first = groups.setdefault((header.product, str(header.tile), header.day[:4]), []) or [header]
        _refuse_part(header, first[0])
        groups[header.product, str(header.tile), header.day[:4]].append(header)
    return [_tile_year(group) for group in groups.values()], notes


def _refuse_part(header: Header, first: Header) -> None:
    grid = header.grid
    if not header.whole or grid.rows != grid.columns:
        raise InputError(
            f"{header.file}: found a part of tile {header.tile}, {grid.rows} x {grid.columns} pixels, expected a whole"
            " tile; fetch the granule as NASA distributes it"
        )
    if grid.rows != first.grid.rows:
        raise InputError(
            f"{header.file}: found {grid.rows} x {grid.columns} pixels, expected {first.grid.rows} as {first.file}"
        )


def _tile_year(group: Sequence[Header]) -> TileYear:
    first = group[0]
    year = int(first.day[:4])
    return TileYear(first.product, first.collection, first.tile, year, first.grid.rows, tuple(group))


def items(tile_year: TileYear) -> list[GranuleDay]:
    """One item a granule. Its content is part of the address: a granule that was produced again is ingested again."""
    found = []
    for header in tile_year.granules:
        seen = fingerprint(header.file)
        content = str(seen.get("sha256") or seen["etag"])[:16]
        found.append(GranuleDay(str(header.tile), header.day, item_time(tile_year, header), content))
    return found


def template(tile_year: TileYear) -> Template:
    """Store of a tile's year: (time, overpass, y, x) counts on the sinusoidal grid, one object a day and variable.

    Emissivities are (time, y, x). It depends on product, tile, year and pixels alone, not on the granules.
    """
    year, pixels = tile_year.year, tile_year.pixels
    days = np.arange(np.datetime64(f"{year}-01-01", "D"), np.datetime64(f"{year + 1}-01-01", "D"))
    grid = xr_coords(sinusoidal.tile_geobox(tile_year.tile, pixels), dims=("y", "x"), crs_coord_name=GRID_MAPPING)
    half = {"long_name": "half of the day"}
    coordinates = {
        "time": xr.Variable("time", days.astype("datetime64[ns]"), {"standard_name": "time"}),
        "overpass": xr.Variable("overpass", np.array(mod11a1.OVERPASSES, dtype=object), half),
    }
    for name, found in grid.items():
        coordinates[name] = xr.Variable(found.dims, np.asarray(found.values), _grid_attributes(name, found.attrs))
    variables = {name: _variable(FIELDS[field]) for name, field in _PACKED.items()}
    flag = mod11a1.flag_attributes(_ERROR_CLASS)
    variables[_ERROR_CLASS] = Variable(
        DAILY,
        long_name=str(flag.pop("long_name")),
        dtype="uint8",
        fill=MISSING_CLASS,
        more={**flag, "grid_mapping": GRID_MAPPING},
        zstd_level=1,
    )
    sizes = {"time": len(days), "overpass": len(mod11a1.OVERPASSES), "y": pixels, "x": pixels}
    attributes = {"title": f"{tile_year.product} {tile_year.tile} {year}", **tile_year.config}
    return Template(sizes, variables, shards={"time": 1}, coordinates=coordinates, attributes=attributes)


def _grid_attributes(name: str, attributes: Mapping[str, object]) -> dict[str, object]:
    """CF's names of the axes, and the grid mapping's parameters beside its text."""
    if name != GRID_MAPPING:
        return {"standard_name": f"projection_{name}_coordinate", "units": "m", "axis": name.upper()}
    return {**sinusoidal.crs().to_cf(), "GeoTransform": str(attributes["GeoTransform"])}


def _variable(packed: Packed) -> Variable:
    packing = {"scale_factor": packed.scale, "add_offset": packed.offset, "grid_mapping": GRID_MAPPING}
    return Variable(
        DAILY if len(packed.fields) > 1 else ("time", "y", "x"),
        packed.units,
        packed.long_name,
        packed.standard_name,
        packed.dtype,
        valid_range=packed.valid,
        fill=packed.fill,
        more=packing,
        zstd_level=1,
    )


@dataclass(frozen=True, eq=False)
class Ingest:
    """Stage function: a granule's counts with the class of error, each with its day as first dimension.

    headers: the granule of each index on the time axis.
    """

    headers: Mapping[int, Header]

    def __call__(self, item: GranuleDay) -> dict[str, np.ndarray]:
        _keep_freed_memory()
        with hdf_eos.reopen(self.headers[item.time]) as granule:
            counts = mod11a1.read_counts(granule, READ)
        missing = set(READ) - set(counts)
        if missing:
            raise InputError(
                f"{granule.header.file}: variable {', '.join(sorted(missing))} missing, expected all of"
                f" {granule.header.product}; fetch the granule as NASA distributes it"
            )
        found = {name: counts[field][None] for name, field in _PACKED.items()}
        found[_ERROR_CLASS] = mod11a1.flag(counts["qc"], counts["lst"], _ERROR_CLASS)[None]
        return found


@functools.lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    """Once a process: let glibc keep what a granule's arrays leave behind, for the next one.

    Otherwise it hands the memory back and asks for it again, page by page: a third of an item's
    time, measured. Elsewhere than on glibc nothing happens.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_TRIM_THRESHOLD, MEMORY_BYTES)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_ON_HEAP)


def ingest(tile_year: TileYear) -> Ingest:
    """The stage function of a tile's year."""
    return Ingest({item_time(tile_year, header): header for header in tile_year.granules})


def item_time(tile_year: TileYear, header: Header) -> int:
    """Index of a granule on the year's axis."""
    return int((np.datetime64(header.day, "D") - np.datetime64(f"{tile_year.year}-01-01", "D")).astype(int))
