"""The rivers of the generated Earth: all land of some tiles with its own drainage, for emulators that are routed."""

import functools
from dataclasses import dataclass, replace

import numpy as np

from sciml.data.readers.river_network import SEA, Directions
from sciml.generated import earth, land, truth
from sciml.generated.earth import RESOLUTION, Nature
from sciml.land.forcing import Record
from sciml.rivers.network import Network, build

KINDS = (0, 1, 5)  # mountain snow, monsoon, boreal plain
VERSION = 1  # raise it where the same seed gives other rivers
KM2 = 1e6  # m2


@dataclass(frozen=True)
class RiverConfig:
    """All land cells of some tiles. cells: from south to north of a tile; first, stop: half-open period in months."""

    seed: int = 0
    cells: int = 4
    tiles: tuple[int, ...] = KINDS
    first: str = "1990-01"
    stop: str = "2002-01"

    @property
    def land(self) -> land.LandConfig:
        return land.LandConfig(self.seed, 10**6, self.first, self.stop)

    @property
    def earth(self) -> earth.EarthConfig:
        return replace(self.land.earth, mascon_cells=self.cells)


def made(config: RiverConfig) -> list[Record]:
    """One record of all cells, tile after tile: forcing, and what model A makes of it.

    Without its groundwater, whose metres below the level of drainage are no store that an emulator has.
    """
    found = land.record_of(config.land, list(_tiles(config)))
    known = {name: values for name, values in found.targets.values.items() if name != "groundwater"}
    return [replace(found, targets=replace(found.targets, values=known))]


def network(config: RiverConfig) -> Network:
    """The drainage along which model A routes its water, on one half-degree grid that holds all tiles."""
    tiles = _tiles(config)
    lat, lon, area = (
        np.concatenate([getattr(tile.land, name) for tile in tiles]) for name in ("latitude", "longitude", "area")
    )
    targets, first = [], 0
    for tile in tiles:
        downstream = truth.drainage(tile.grid.shape, tile.grid.land, tile.land.elevation)
        targets.append(np.where(downstream < len(downstream), downstream + first, SEA))
        first += len(downstream)
    axis_lat, axis_lon = _axis(lat), _axis(lon)
    row, column = (np.round((v - axis[0]) / RESOLUTION).astype(int) for v, axis in ((lat, axis_lat), (lon, axis_lon)))
    return build(Directions("generated Earth", axis_lat, axis_lon, row, column, np.concatenate(targets), area * KM2))


@functools.lru_cache(maxsize=1)
def _tiles(config: RiverConfig) -> tuple[Nature, ...]:
    return tuple(earth.plant(config.earth, tile) for tile in config.tiles)


def _axis(values: np.ndarray) -> np.ndarray:
    return values.min() + RESOLUTION * np.arange(round((values.max() - values.min()) / RESOLUTION) + 1)
