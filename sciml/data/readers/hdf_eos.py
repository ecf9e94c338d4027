"""HDF-EOS2 granules on MODIS' sinusoidal grid: what file it is, where it lies, its fields.

Names, dates and collections come from `CoreMetadata.0` where the file has it, else from the file name: a subset made by
a reprojection tool lacks that block. The grid comes from `StructMetadata.0` (HDF-EOS Library User's Guide, vol. 2).
"""

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from pyhdf.error import HDF4Error
from pyhdf.SD import SD, SDC

from sciml.core.errors import InputError
from sciml.core.urls import filesystem, is_remote, members, refused
from sciml.data import sinusoidal
from sciml.data.readers.common import require_file
from sciml.data.sinusoidal import Tile

HDF4_MAGIC = b"\x0e\x03\x13\x01"
APPLE_DOUBLE = "._"  # what macOS leaves beside each file it copies to a foreign disk
_NAME = re.compile(r"(M[CODY]{2}\w{3,5})\.A(\d{4})(\d{3})\.(h\d{2}v\d{2})\.(\d{3})\.(\d{13})")


@dataclass(frozen=True)
class Grid:
    """A grid of StructMetadata: its name, pixels, and outer edges [m] on the sinusoidal plane."""

    name: str
    rows: int
    columns: int
    west: float
    north: float
    east: float
    south: float

    def geobox(self) -> GeoBox:
        return sinusoidal.geobox(self.west, self.north, self.east, self.south, self.rows, self.columns)


@dataclass(frozen=True)
class Header:
    """What a granule is.

    product: MOD11A1 ... collection: 006, 061 ... day: YYYY-MM-DD, the first of a composite. produced: YYYYDDDHHMMSS.
    """

    file: str
    product: str
    collection: str
    tile: Tile
    day: str
    produced: str
    grid: Grid

    @property
    def whole(self) -> bool:
        """Whether the grid is that of its tile, not a part of it."""
        west, north, size = self.tile.west, self.tile.north, sinusoidal.TILE_M
        edges = (west, north, west + size, north - size)
        found = (self.grid.west, self.grid.north, self.grid.east, self.grid.south)
        # the origins of the collections differ by less than a millimetre
        return bool(np.allclose(found, edges, rtol=0, atol=1.0))


@dataclass(frozen=True, eq=False)
class Granule:
    """An open granule."""

    header: Header
    sd: Any

    @functools.cached_property
    def fields(self) -> dict[str, tuple[int, ...]]:
        """Names of the fields with their shapes."""
        return {name: tuple(found[1]) for name, found in self.sd.datasets().items()}

    def values(self, field: str, dtype: str) -> np.ndarray:
        """A field as it is stored, (row, column). Raises InputError where it is missing, of another shape or type."""
        file, expected = self.header.file, (self.header.grid.rows, self.header.grid.columns)
        if self.fields.get(field, expected) != expected:
            raise InputError(
                f"{file}: variable {field!r}: found shape {self.fields[field]}, expected {expected} as the grid has"
            )
        return read_field(self.sd, field, dtype, file, self.fields)

    def attributes(self, field: str) -> dict[str, Any]:
        """Attributes of a field. Collection 6.1 gives the QC fields a _FillValue that is the text 'NA'."""
        with _intact(self.header.file, f"attributes of {field!r}"):
            return dict(self.sd.select(field).attributes())


@contextlib.contextmanager
def open_granule(
    file: str, products: Collection[str], *, tile: Tile | None = None, collection: str | None = None
) -> Iterator[Granule]:
    """Open a granule of one of the products, local or s3:// (copied to a temporary file: the library reads disks).

    tile, collection: what it must be, where that is known. Raises InputError for a file that is missing, damaged, no
    HDF4, or something else than what was asked for.
    """
    with open_hdf(file) as sd:
        found = _header(sd, file, products)
        if tile is not None and found.tile != tile:
            raise InputError(f"{file}: found tile {found.tile}, expected {tile}; take this granule out of the list")
        if collection is not None and found.collection != collection:
            raise InputError(
                f"{file}: found collection {found.collection}, expected {collection}; take this granule out of the list"
            )
        yield Granule(found, sd)


@contextlib.contextmanager
def reopen(header: Header) -> Iterator[Granule]:
    """Open a granule whose header was read before, without reading its metadata again."""
    with open_hdf(header.file) as sd:
        yield Granule(header, sd)


def header(file: str, products: Collection[str]) -> Header:
    """What a granule is, without its fields. Raises InputError as `open_granule` does."""
    with open_granule(file, products) as granule:
        return granule.header


def granules(files: str, products: Collection[str]) -> tuple[list[Header], list[str]]:
    """Granules of a file name, list or pattern in order of tile and day, and what is to be said about them.

    All must be of the products and of one collection. AppleDouble companions in a pattern are left out; of two granules
    of one product, tile and day the one produced last counts. Raises InputError.
    """
    notes, wanted = [], []
    for name in members(files):
        if _base(name).startswith(APPLE_DOUBLE) and _base(name) not in files:
            notes.append(f"{name}: an AppleDouble companion, no granule; left out")
        else:
            wanted.append(name)
    if not wanted:
        raise InputError(f"{files}: found AppleDouble companions alone, expected granules; copy the real files")
    headers = [header(name, products) for name in wanted]
    for other in headers[1:]:
        if other.collection != headers[0].collection:
            raise InputError(
                f"{other.file}: found collection {other.collection}, expected {headers[0].collection} as"
                f" {headers[0].file}; their calibrations differ: ingest one collection at a time"
            )
    return _newest(headers, notes), notes


def _newest(headers: Sequence[Header], notes: list[str]) -> list[Header]:
    kept: dict[tuple[str, str, str], Header] = {}
    for one in sorted(headers, key=lambda h: (h.product, str(h.tile), h.day, h.produced)):
        place = (one.product, str(one.tile), one.day)
        if place in kept:
            notes.append(f"{kept[place].file}: produced before {one.file} for the same tile and day; left out")
        kept[place] = one
    return list(kept.values())


@contextlib.contextmanager
def open_hdf(file: str) -> Iterator[Any]:
    """An HDF4 file's scientific datasets. Raises InputError for a file that is missing, damaged or no HDF4."""
    require_file(file)
    with _on_disk(file) as path:
        _refuse_foreign(file, path)
        with _intact(file, "its directory"):
            sd = SD(path, SDC.READ)
        try:
            yield sd
        finally:
            sd.end()


def read_field(sd: Any, field: str, dtype: str, file: str, there: Collection[str]) -> np.ndarray:
    """One dataset as it is stored. there: names of all."""
    if field not in there:
        raise InputError(f"{file}: variable {field!r} missing; found {', '.join(sorted(there)) or 'nothing'}")
    with _intact(file, f"variable {field!r}"):
        values = sd.select(field).get()
    if values.dtype != np.dtype(dtype):
        raise InputError(
            f"{file}: variable {field!r}: found type {values.dtype}, expected {dtype}; fetch the original file"
        )
    return values


def structure(sd: Any, file: str) -> str:
    """The text of StructMetadata, which the format splits into blocks of 32 kB."""
    return metadata(sd, "StructMetadata", file) or _no_structure(file)


def metadata(sd: Any, name: str, file: str) -> str:
    """Text of a metadata block `<name>.0`, `<name>.1` ..., empty where there is none. name: a regular expression."""
    with _intact(file, name):
        # one by one: the library is slow with long texts, and ArchiveMetadata is the longest
        numbers = {sd.attr(number).info()[0]: number for number in range(sd.info()[1])}
        parts = [key for key in numbers if re.fullmatch(rf"(?:{name})\.\d+", key)]
        parts.sort(key=lambda key: int(key.split(".")[1]))
        return "".join(str(sd.attr(numbers[part]).get()).rstrip("\0") for part in parts)


def metadata_value(text: str, name: str) -> str | None:
    """VALUE of an object of CoreMetadata, without quotes; None where it is not there."""
    found = re.search(rf"OBJECT\s*=\s*{name}\b.*?VALUE\s*=\s*\(?\"?([^\"\n,)]*)\"?", text, re.DOTALL)
    return found[1].strip() if found else None


def _no_structure(file: str) -> str:
    raise InputError(f"{file}: no StructMetadata.0, expected HDF-EOS2; fetch the granule as NASA distributes it")


def _base(file: str) -> str:
    return file.rstrip("/").rsplit("/", 1)[-1]


@contextlib.contextmanager
def _on_disk(file: str) -> Iterator[str]:
    fs, path = filesystem(file)
    if not is_remote(file):
        yield path
        return
    handle, copy = tempfile.mkstemp(suffix=".hdf")
    os.close(handle)
    try:
        with refused(file, "read"):
            fs.get_file(path, copy)
        yield copy
    finally:
        os.unlink(copy)  # noqa: PTH108 - a path of the operating system's, not of ours


def _refuse_foreign(file: str, path: str) -> None:
    with refused(file, "read"), open(path, "rb") as opened:  # noqa: PTH123
        magic = opened.read(8)
    if _base(file).startswith(APPLE_DOUBLE) or magic[:4] == b"\x00\x05\x16\x07":
        raise InputError(
            f"{file}: an AppleDouble companion that macOS made, no granule;"
            f" name {_base(file).removeprefix(APPLE_DOUBLE)}"
        )
    if magic[:4] != HDF4_MAGIC:
        kind = "HDF5 or NetCDF4" if magic == b"\x89HDF\r\n\x1a\n" else f"a file that begins with {magic[:4]!r}"
        raise InputError(f"{file}: found {kind}, expected HDF4; fetch the granule as NASA distributes it")


@contextlib.contextmanager
def _intact(file: str, what: str) -> Iterator[None]:
    try:
        yield
    except HDF4Error as error:
        raise InputError(
            f"{file}: {what} cannot be read to its end ({error}); truncated or damaged? fetch it again"
        ) from error


def _header(sd: Any, file: str, products: Collection[str]) -> Header:
    core = metadata(sd, "CoreMetadata", file)
    named = _NAME.search(metadata_value(core, "LOCALGRANULEID") or "") or _NAME.search(_base(file))
    product = metadata_value(core, "SHORTNAME") or (named[1] if named else _base(file).split(".")[0])
    if product not in products:
        raise InputError(f"{file}: found product {product}, expected {' or '.join(sorted(products))}; name other files")
    if named is None:
        raise InputError(
            f"{file}: neither CoreMetadata.0 nor the name says tile and day; expected a name such as"
            f" {product}.A2020001.h18v04.061.2021003092415.hdf; give the file its own name back"
        )
    # VERSIONID 6 is collection 006, 61 is 061, which NASA also calls 6.1
    collection = (metadata_value(core, "VERSIONID") or named[5]).strip().zfill(3)
    day = np.datetime64(f"{named[2]}-01-01", "D") + (int(named[3]) - 1)
    grid = _grid(structure(sd, file), file)
    found = Header(file, product, collection, sinusoidal.tile_named(named[4]), str(day), named[6], grid)
    _refuse_displaced(found)
    return found


def _grid(text: str, file: str) -> Grid:
    names = re.findall(r'GridName="([^"]*)"', text)
    if len(names) != 1:
        raise InputError(f"{file}: StructMetadata.0: found {len(names)} grids, expected one; name a gridded product")
    projection = re.search(r"Projection=(\w+)", text)
    if projection is None or projection[1] not in {"GCTP_SNSOID", "GCTP_ISINUS"}:
        found = projection[1] if projection else "no projection"
        raise InputError(f"{file}: StructMetadata.0: found {found}, expected GCTP_SNSOID; give the original tile")
    radius = float(_numbers(text, "ProjParams", file)[0])
    if abs(radius - sinusoidal.RADIUS_M) > 0.1:
        raise InputError(
            f"{file}: StructMetadata.0: found a sphere of {radius:g} m, expected {sinusoidal.RADIUS_M} m; reproject it"
        )
    west, north = _numbers(text, "UpperLeftPointMtrs", file)[:2]
    east, south = _numbers(text, "LowerRightMtrs", file)[:2]
    columns, rows = (int(_numbers(text, name, file)[0]) for name in ("XDim", "YDim"))
    if not (west < east and south < north and rows > 0 and columns > 0):
        raise InputError(f"{file}: StructMetadata.0: found an empty grid {west, north, east, south}; fetch it again")
    return Grid(names[0], rows, columns, west, north, east, south)


def _numbers(text: str, name: str, file: str) -> list[float]:
    found = re.search(rf"\b{name}=\(?([-+\d.eE,\s]+)\)?", text)
    if found is None:
        raise InputError(f"{file}: StructMetadata.0: no {name}, expected it in every grid; fetch the granule again")
    return [float(part) for part in found[1].split(",") if part.strip()]


def _refuse_displaced(found: Header) -> None:
    """The corners must agree with the tile's name: a renamed file would be put in another place."""
    grid, tile = found.grid, found.tile
    apart = (
        grid.west >= tile.west + sinusoidal.TILE_M
        or grid.east <= tile.west
        or grid.south >= tile.north
        or grid.north <= tile.north - sinusoidal.TILE_M
    )
    full = abs(grid.east - grid.west - sinusoidal.TILE_M) < 1 and abs(grid.north - grid.south - sinusoidal.TILE_M) < 1
    if apart or (full and not found.whole):
        h = (grid.west + grid.east) / 2 - sinusoidal.WEST_M
        v = sinusoidal.NORTH_M - (grid.north + grid.south) / 2
        lies = f"h{int(h // sinusoidal.TILE_M):02d}v{int(v // sinusoidal.TILE_M):02d}"
        raise InputError(
            f"{found.file}: found tile {tile} in its name, yet its corners lie in {lies};"
            " give the file its own name back"
        )
