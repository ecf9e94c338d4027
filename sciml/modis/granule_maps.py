"""Maps of a tile's images for other programs, and how many pixels of each were made in which way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from sciml.core.urls import exists, is_remote, join
from sciml.data import sinusoidal
from sciml.data.readers.mod11a1 import OVERPASSES
from sciml.data.stores import Template, Variable, open_store
from sciml.modis import export, ingest
from sciml.modis.apply import BACK_PROJECTED, HOW, HOW_NAMES, MISSING, TileImage
from sciml.modis.ingest import TileYear

VERSION = 1  # of the stage function: raise it where the same image gives other maps
SECONDS_PER_MEGAPIXEL, BYTES_PER_PIXEL = 0.5, 60  # of a map, measured


@dataclass(frozen=True, eq=False)
class DrawMaps:
    """Stage function: an image of a store as files in a folder; answers with its pixels by `how`, (1, 1, how).

    store: URL. variables: those drawn -> name on the map. product: first part of the files' names. crs: of the maps,
    empty for the tile's own. An image without a pixel has no map.
    """

    store: str
    variables: Mapping[str, str]
    product: str
    folder: str
    crs: str

    def __call__(self, item: TileImage) -> dict[str, np.ndarray]:
        image = open_store(self.store).isel(time=item.time, overpass=item.overpass)
        how = image["how"].values if "how" in image else np.isfinite(image[next(iter(self.variables))].values)
        found = np.bincount(how.ravel().astype(np.uint8), minlength=len(HOW)).astype(np.int64)
        if found[MISSING] < how.size:
            for name, label in self.variables.items():
                _write_whole(_field(image[name], item.tile, label), self.url(item, label), self.crs)
        return {"pixels": found[None, None]}

    def url(self, item: TileImage, label: str) -> str:
        """Where a map lies: a cloud-optimised GeoTIFF, on an object store a Zarr store."""
        end = ".zarr" if is_remote(self.folder) else ".tif"
        crs = f"_{self.crs.replace(':', '').replace('/', '')}" if self.crs else ""
        overpass = OVERPASSES[item.overpass]
        return join(self.folder, f"{label}_{self.product}_{item.tile}_{item.day}_{overpass}{crs}{end}")

    def lost(self, item: TileImage, pixels: np.ndarray) -> bool:
        """Whether a map that was drawn is no longer there. pixels: (how,)."""
        urls = [self.url(item, label) for label in self.variables.values()]
        return bool(pixels[BACK_PROJECTED:].any()) and not all(map(exists, urls))


def _field(image: xr.DataArray, tile: str, label: str) -> xr.DataArray:
    """An image of a store, which is decoded and let go of here, in single precision."""
    box = sinusoidal.tile_geobox(sinusoidal.tile_named(tile), image.shape[0])
    said = {key: str(image.attrs.get(key, "")) for key in ("units", "long_name", "standard_name")}
    return export.field(image.astype(np.float32).values, box, label, **said)


def _write_whole(made: xr.DataArray, url: str, crs: str) -> None:
    """On a disk under another name first, so that a map that is there is complete."""
    if is_remote(url):
        export.write(made, url, crs=crs or None)
        return
    target = Path(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}")
    export.write(made, str(partial), crs=crs or None)
    partial.replace(target)


def template(tile_year: TileYear) -> Template:
    """Store of the numbers of pixels: (time, overpass, how)."""
    days = ingest.template(tile_year).sizes["time"]
    sizes = {"time": days, "overpass": len(OVERPASSES), "how": len(HOW)}
    said = f"pixels that are {', '.join(HOW_NAMES)}"
    pixels = Variable(tuple(sizes), long_name=said, dtype="int64")
    return Template(sizes, {"pixels": pixels}, {"time": 1, "overpass": 1}, attributes=tile_year.config)
