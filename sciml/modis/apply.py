"""Whole tiles sharpened: each image of an ingested granule, guided by the composite of NDVI nearest to its day.

One object an image, on the fine grid, packed as the granules are. An image is made from its own granule and composite
alone, and its address carries a hash of both: more granules change nothing that is there.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sciml.core.digest import digest, fingerprint
from sciml.core.errors import InputError
from sciml.data import sinusoidal
from sciml.data.readers import hdf_eos, mod13
from sciml.data.readers.hdf_eos import Header
from sciml.data.readers.mod11a1 import FIELDS, OVERPASSES
from sciml.data.stores import Template, Variable, open_store
from sciml.modis import ingest
from sciml.modis.degradation import replicate
from sciml.modis.images import UNKNOWN_WINDOW, Guidance
from sciml.modis.ingest import GRID_MAPPING, GranuleDay, TileYear
from sciml.modis.sharpen import Models, load_models, sharpen, trusted

VERSION = 1  # of the stage function and of `sharpen`: raise it where the same granule gives another image
SECONDS, MEMORY_BYTES = 30.0, 900 << 20  # of one image of 1200 x 1200 pixels, made 4800 x 4800; measured by day
FARTHEST_DAYS = 24  # between an image and the middle of the composite that guides it
MIDDLE_DAYS = mod13.COMPOSITE_DAYS // 2
MISSING, BACK_PROJECTED, SHARPENED = HOW = (0, 1, 2)
HOW_NAMES = ("missing", "back_projected", "sharpened")
TYPES = {"lst": FIELDS["lst"].dtype, "sigma": "uint16", "how": "uint8"}
SIGMA_SCALE = 0.01  # [K] of a count
DIMS = ("time", "overpass", "y", "x")
STRIP = 256  # fine rows packed at once


@dataclass(frozen=True)
class TileImage:
    """Address of one image: tile, day and overpass, and what it was made from. time, overpass: indices."""

    tile: str
    day: str
    time: int
    overpass: int
    content: str

    @property
    def sunlit(self) -> bool:
        return OVERPASSES[self.overpass] == "day"


@dataclass(frozen=True)
class Composites:
    """Granules of NDVI of one tile on the fine grid, in order of their days, with a hash of each."""

    headers: tuple[Header, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)

    def nearest(self, day: str) -> Header | None:
        """The one whose middle is nearest to a day, the earlier of two; None beyond FARTHEST_DAYS."""

        def distance(header: Header) -> int:
            middle = np.datetime64(header.day, "D") + MIDDLE_DAYS
            return int(abs(middle - np.datetime64(day, "D")).astype(int))

        found = min(self.headers, key=lambda h: (distance(h), h.day, h.product), default=None)
        return found if found is not None and distance(found) <= FARTHEST_DAYS else None


def find_composites(files: str, tile_years: Sequence[TileYear], factor: int) -> tuple[dict[str, Composites], list[str]]:
    """Composites of a name, list or pattern by tile, and what is to be said about them.

    Raises InputError: see `hdf_eos.granules`; for a part of a tile, and for a tile without granules of temperature.
    Composites on another grid than the fine one guide nothing and are left out with a note.
    """
    pixels = {str(one.tile): one.pixels for one in tile_years}
    if not files:
        return {}, []
    headers, notes = hdf_eos.granules(files, mod13.PRODUCTS)
    kept: dict[str, list[Header]] = {}
    for header in headers:
        tile, rows = str(header.tile), header.grid.rows
        if tile not in pixels:
            raise InputError(
                f"{header.file}: found NDVI of tile {tile}, expected {', '.join(sorted(pixels))} as the granules of"
                " temperature; take it out of --ndvi-granules"
            )
        if not header.whole or rows != header.grid.columns:
            raise InputError(
                f"{header.file}: found a part of tile {tile}, expected a whole one; fetch it as NASA distributes it"
            )
        if rows == factor * pixels[tile]:
            kept.setdefault(tile, []).append(header)
        else:
            notes.append(
                f"{header.file}: {header.product} has {rows} x {rows} pixels, the sharpened tile"
                f" {factor * pixels[tile]} x {factor * pixels[tile]}; it guides nothing and is left out"
            )
    return {
        tile: Composites(tuple(found), {h.file: _content(h.file) for h in found}) for tile, found in kept.items()
    }, notes


def _content(file: str) -> str:
    seen = fingerprint(file)
    return str(seen.get("sha256") or seen["etag"])[:16]


def observed_items(days: Sequence[GranuleDay]) -> list[TileImage]:
    """Both images of each granule, as they were observed."""
    return [
        TileImage(one.tile, one.day, one.time, overpass, one.content)
        for one in days
        for overpass in range(len(OVERPASSES))
    ]


def items(days: Sequence[GranuleDay], composites: Composites) -> list[TileImage]:
    """Both images of each granule; the address of a daytime one names its composite's content too."""
    found = []
    for image in observed_items(days):
        guide = composites.nearest(image.day) if image.sunlit else None
        made_from = image.content if guide is None else digest([image.content, composites.contents[guide.file]])[:16]
        found.append(replace(image, content=made_from))
    return found


def unguided_note(tile_year: TileYear, composites: Composites) -> list[str]:
    """How many days have no composite near enough, if any."""
    bare = [header.day for header in tile_year.granules if composites.nearest(header.day) is None]
    if not bare:
        return []
    return [
        f"{tile_year.tile} {tile_year.year}: no NDVI on the fine grid within {FARTHEST_DAYS} days of {len(bare)} of"
        f" {len(tile_year.granules)} days, the first {bare[0]}; they are back-projected"
    ]


def template(tile_year: TileYear, factor: int) -> Template:
    """Store of a tile's year on the fine grid: (time, overpass, y, x) temperature, sigma, `how`; an object an image.

    It depends on product, tile, year, pixels and factor alone.
    """
    fine = replace(tile_year, pixels=factor * tile_year.pixels)
    made = ingest.template(fine)
    lst, mapped = FIELDS["lst"], {"grid_mapping": GRID_MAPPING}
    variables = {
        "lst": Variable(
            DIMS, "K", "land surface temperature, sharpened", lst.standard_name, TYPES["lst"],
            fill=lst.fill, more={"scale_factor": lst.scale, "add_offset": lst.offset, **mapped}, zstd_level=1,
        ),
        "sigma": Variable(
            DIMS, "K", "standard deviation of the error of temperature", dtype=TYPES["sigma"],
            fill=0, more={"scale_factor": SIGMA_SCALE, "add_offset": 0.0, **mapped}, zstd_level=1,
        ),
        "how": Variable(
            DIMS, long_name="how the pixel was made", dtype=TYPES["how"],
            more={"flag_values": list(HOW), "flag_meanings": " ".join(HOW_NAMES), **mapped}, zstd_level=1,
        ),
    }  # fmt: skip
    sizes = {name: made.sizes[name] for name in DIMS}
    attributes = {"title": f"{tile_year.product} {tile_year.tile} {tile_year.year}, sharpened", **fine.config}
    return Template(sizes, variables, {"time": 1, "overpass": 1}, made.coordinates, attributes)


@dataclass(frozen=True, eq=False)
class Apply:
    """Stage function: one image sharpened, its counts with time and overpass as first dimensions.

    store: URL of the ingested granules. composites: of each index on the time axis that has one near. checkpoint: run
    directory of the models. pixel_m: side of a coarse pixel [m].
    """

    store: str
    composites: Mapping[int, Header]
    checkpoint: str
    factor: int
    pixel_m: float

    def __call__(self, item: TileImage) -> dict[str, np.ndarray]:
        found = open_store(self.store)["lst_dn"][item.time, item.overpass].values
        return self.sharpened(found.astype(float), item)

    def sharpened(self, lst: np.ndarray, item: TileImage) -> dict[str, np.ndarray]:
        """lst: (y, x) [K], NaN missing -> counts (1, 1, Y, X)."""
        shape = tuple(self.factor * size for size in lst.shape)
        if not np.isfinite(lst).any():
            return {name: np.zeros((1, 1, *shape), dtype) for name, dtype in TYPES.items()}
        models, image = _models(self.checkpoint), lst[None]
        guidance = self.guidance(item, shape)
        fine, sigma = sharpen(image, self.factor, guidance, models)
        allowed = trusted(image, self.factor, guidance)[0] & (models.law is not None)
        counts = {
            "lst": _counts(fine[0], FIELDS["lst"].scale, TYPES["lst"]),
            "sigma": _counts(sigma[0], SIGMA_SCALE, TYPES["sigma"]),
        }
        how = replicate(np.where(allowed, np.uint8(SHARPENED), np.uint8(BACK_PROJECTED)), self.factor)
        counts["how"] = how * (counts["lst"] > 0)
        return {name: values[None, None] for name, values in counts.items()}

    def guidance(self, item: TileImage, shape: tuple[int, ...]) -> Guidance | None:
        header = self.composites.get(item.time) if item.sunlit else None
        if header is None:
            return None
        with hdf_eos.reopen(header) as granule:
            ndvi = mod13.ndvi(granule)
        return Guidance(
            ndvi.reshape(1, *shape), np.array([True]), self.pixel_m / self.factor, np.array([UNKNOWN_WINDOW])
        )


def apply(tile_year: TileYear, store: str, composites: Composites, checkpoint: str, factor: int) -> Apply:
    """The stage function of a tile's year. store: URL of its ingested granules."""
    near = {ingest.item_time(tile_year, h): composites.nearest(h.day) for h in tile_year.granules}
    guided = {time: header for time, header in near.items() if header is not None}
    return Apply(store, guided, checkpoint, factor, sinusoidal.TILE_M / tile_year.pixels)


@functools.lru_cache(maxsize=1)
def _models(checkpoint: str) -> Models:
    return load_models(checkpoint)


def _counts(values: np.ndarray, scale: float, dtype: str) -> np.ndarray:
    """values (Y, X), NaN missing -> nearest count from 1 on, 0 where missing; a few rows at a time."""
    counts = np.zeros(values.shape, dtype)
    most = np.iinfo(dtype).max
    for start in range(0, len(values), STRIP):
        part = values[start : start + STRIP]
        known = np.isfinite(part)
        nearest = np.clip(np.rint(np.where(known, part, 0.0) / scale), 1, most)
        counts[start : start + STRIP] = nearest * known
    return counts
