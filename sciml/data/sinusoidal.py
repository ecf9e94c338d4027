"""MODIS' sinusoidal tiles: 36 x 18 squares of a sphere, tile <-> grid of pixels <-> longitude and latitude.

x = R (lon - lon_0) cos(lat), y = R lat (Snyder 1987, eqs. 30-1 and 30-2) with lon_0 = 0 and the radius that NASA's
processing uses. Tile h00v00 is the north-west one; row 0 of a tile is its northernmost.
"""

import re
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import CRS

from sciml.core.errors import InputError

RADIUS_M = 6371007.181  # of the sphere in every MODIS grid's ProjParams
TILES_ACROSS, TILES_DOWN = 36, 18
TILE_M = 2 * np.pi * RADIUS_M / TILES_ACROSS
WEST_M, NORTH_M = -np.pi * RADIUS_M, np.pi * RADIUS_M / 2
PROJECTION = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={RADIUS_M} +units=m +no_defs"
PIXELS_1KM = 1200

_NAME = re.compile(r"h(\d{2})v(\d{2})")


@dataclass(frozen=True)
class Tile:
    """One tile: column h from the west, row v from the north."""

    h: int
    v: int

    def __post_init__(self) -> None:
        if not (0 <= self.h < TILES_ACROSS and 0 <= self.v < TILES_DOWN):
            raise InputError(f"tile {self}: found no such tile, expected h00 to h35 and v00 to v17")

    def __str__(self) -> str:
        return f"h{self.h:02d}v{self.v:02d}"

    @property
    def west(self) -> float:
        """Western edge [m]."""
        return WEST_M + self.h * TILE_M

    @property
    def north(self) -> float:
        """Northern edge [m]."""
        return NORTH_M - self.v * TILE_M


def tile_named(name: str) -> Tile:
    """`h18v04` -> Tile. Raises InputError for another text or a tile that does not exist."""
    found = _NAME.fullmatch(name.strip())
    if not found:
        raise InputError(f"tile {name!r}: found no tile's name, expected one such as h18v04")
    return Tile(int(found[1]), int(found[2]))


def crs() -> CRS:
    """The projection."""
    return CRS.from_proj4(PROJECTION)


def geobox(west: float, north: float, east: float, south: float, rows: int, columns: int) -> GeoBox:
    """Grid of pixels between outer edges [m] of the sinusoidal plane."""
    return GeoBox.from_bbox((west, south, east, north), crs=PROJECTION, shape=(rows, columns), tight=True)


def tile_geobox(tile: Tile, pixels: int = PIXELS_1KM) -> GeoBox:
    """Grid of a tile with `pixels` x `pixels` pixels: 1200 of 926.625 m, 4800 of 231.656 m."""
    return geobox(tile.west, tile.north, tile.west + TILE_M, tile.north - TILE_M, pixels, pixels)


def project(longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees on the sphere -> x, y [m], same shape."""
    phi = np.deg2rad(np.asarray(latitude, np.float64))
    return RADIUS_M * np.deg2rad(np.asarray(longitude, np.float64)) * np.cos(phi), RADIUS_M * phi


def unproject(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x, y [m] -> longitude, latitude [degrees], same shape; NaN outside the Earth's outline."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    phi = y / RADIUS_M
    narrow = np.maximum(np.cos(phi), 1e-12)  # a pole is a point: its longitude is any
    lam = x / (RADIUS_M * narrow)
    # a pixel centre on the date line may lie past 180 degrees by rounding
    outside = (np.abs(phi) > np.pi / 2 + 1e-9) | (np.abs(lam) > np.pi + 1e-9)
    return np.where(outside, np.nan, np.rad2deg(lam)), np.where(outside, np.nan, np.rad2deg(phi))


def locate(
    longitude: np.ndarray, latitude: np.ndarray, pixels: int = PIXELS_1KM
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which pixel holds a place: h, v, row, column, integers of the same shape.

    longitude in [-180, 180], latitude in [-90, 90] [degrees]; the date line and the South Pole belong to the last tile.
    """
    x, y = project(longitude, latitude)
    size = TILE_M / pixels
    column = np.clip(np.floor((x - WEST_M) / size), 0, TILES_ACROSS * pixels - 1).astype(np.int64)
    row = np.clip(np.floor((NORTH_M - y) / size), 0, TILES_DOWN * pixels - 1).astype(np.int64)
    return column // pixels, row // pixels, row % pixels, column % pixels


def pixel_centre(tile: Tile, row: np.ndarray, column: np.ndarray, pixels: int = PIXELS_1KM) -> tuple:
    """Longitude and latitude [degrees] of pixels' centres; NaN outside the Earth's outline."""
    size = TILE_M / pixels
    return unproject(tile.west + (np.asarray(column) + 0.5) * size, tile.north - (np.asarray(row) + 0.5) * size)
