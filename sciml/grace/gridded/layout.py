"""Where mascons and their cells lie in packed stores, so that one item writes whole objects of both.

Cells are sorted by mascon. The cells of an item fill a slot of fixed length at the front; the rest of the slot is
padding, marked by parent -1. Slots come from the mascon file and `mascons_per_item` alone.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.grace.downscale import Cells


@dataclass(frozen=True)
class Block:
    """Address of some mascons and of the slot of their cells."""

    mascon_start: int
    mascon_stop: int
    cell_start: int
    cell_stop: int


@dataclass(frozen=True, eq=False)
class Layout:
    """Packed cells.

    source: (cell,) index of the cell where predictors come from, -1 in padding. parent: (cell,) mascon, -1 in padding.
    lat, lon: (cell,) [degrees], area: (cell,) [km2], 0 in padding. mascons_per_item, slot: lengths of an item's parts.
    """

    source: np.ndarray
    parent: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    area: np.ndarray
    mascons: int
    mascons_per_item: int
    slot: int

    @property
    def blocks(self) -> list[Block]:
        """Items, from the mascon file and the configuration alone."""
        size, found = self.mascons_per_item, []
        for number, start in enumerate(range(0, self.mascons, size)):
            cells = number * self.slot
            found.append(Block(start, min(start + size, self.mascons), cells, cells + self.slot))
        return found

    @property
    def cells(self) -> Cells:
        """The real cells, in packed order."""
        real = self.real
        return Cells(self.parent[real], self.lat[real], self.lon[real], self.area[real])

    @property
    def real(self) -> np.ndarray:
        """(cell,) bool: not padding."""
        return self.parent >= 0

    def of(self, block: Block) -> np.ndarray:
        """Packed indices of a block's real cells."""
        cells = np.arange(block.cell_start, block.cell_stop)
        return cells[self.parent[cells] >= 0]


def pack(mascons: xr.Dataset, mascons_per_item: int) -> Layout:
    """Layout of a mascon file as `sciml.data.readers.grctellus.read` returns it.

    Where the predictors lie in another order of cells, `cell_source` says which is which.
    """
    parent = mascons["cell_parent"].values
    number = mascons["cell_source"].values if "cell_source" in mascons else np.arange(len(parent))
    count = mascons.sizes["mascon"]
    order = np.argsort(parent, kind="stable")
    item = parent[order] // mascons_per_item
    items = -(-count // mascons_per_item)
    per_item = np.bincount(item, minlength=items)
    slot = int(per_item.max())
    first = np.concatenate([[0], np.cumsum(per_item)[:-1]])
    place = item * slot + np.arange(len(order)) - first[item]
    source = np.full(items * slot, -1, dtype=np.int64)
    source[place] = number[order]

    def packed(values: np.ndarray, padding: float) -> np.ndarray:
        out = np.full(len(source), padding, dtype=values.dtype)
        out[place] = values[order]
        return out

    return Layout(
        source=source,
        parent=packed(parent.astype(np.int64), -1),
        lat=packed(mascons["cell_lat"].values, np.nan),
        lon=packed(mascons["cell_lon"].values, np.nan),
        area=packed(mascons["cell_area_km2"].values, 0.0),
        mascons=count,
        mascons_per_item=mascons_per_item,
        slot=slot,
    )
