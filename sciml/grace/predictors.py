"""Predictors in packed cells and their means over mascons, by calendar month and by GRACE record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import Records
from sciml.data.stores import Template, Variable, open_store
from sciml.grace.layout import Block, Layout
from sciml.grace.mascons import mascon_mean
from sciml.grace.windows import window_means


def packed_windows(daily: xr.Dataset, layout: Layout, months: np.ndarray, records: Records) -> xr.Dataset:
    """Window means of all packed cells, lazily; one Dask chunk an item's slot.

    daily: (time, cell) with `cell` in the order of `layout.source`'s numbers, or (time, lat, lon) on a grid that holds
    every cell centre. Padding repeats the first cell and is overwritten by NaN.
    """
    if "cell" in daily.dims:
        chosen = daily.isel(cell=xr.DataArray(np.maximum(layout.source, 0), dims="cell"))
    else:
        chosen = _at_cells(daily, layout)
    chosen = chosen.drop_vars([name for name in chosen.coords if name != "time"])
    chosen = chosen.chunk({"time": -1, "cell": layout.slot})
    return window_means(chosen, months, records).where(xr.DataArray(layout.real, dims="cell"))


def _at_cells(daily: xr.Dataset, layout: Layout) -> xr.Dataset:
    """Values at the cells' centres; a grid that misses one by more than a hundredth of a degree is refused."""
    index = {}
    for axis, wanted in (("lat", layout.lat), ("lon", layout.lon)):
        grid = daily[axis].values
        target = np.where(layout.real, wanted, grid[0])
        place = np.clip(np.searchsorted(grid, target), 1, len(grid) - 1)
        place = place - (target - grid[place - 1] < grid[place] - target)
        worst = np.abs(grid[place] - target)
        if worst.max() > 0.01:
            far = int(np.argmax(worst))
            raise InputError(
                f"predictors: axis '{axis}': nothing at {target[far]:.3f}, the nearest is {grid[place[far]]:.3f};"
                " expected the half-degree cells of the mascon file; regrid the predictors first"
            )
        index[axis] = xr.DataArray(place, dims="cell")
    return daily.isel(index)


def coarse_template(names: Sequence[str], layout: Layout, months: int, records: int) -> Template:
    """Store of mascon means: for each predictor (mascon, month) and `<name>_record` (mascon, record)."""
    variables = {}
    for name in names:
        variables[name] = Variable(("mascon", "month"), may_be_missing=True)
        variables[f"{name}_record"] = Variable(("mascon", "record"), may_be_missing=True)
    sizes = {"mascon": layout.mascons, "month": months, "record": records}
    return Template(sizes, variables, shards={"mascon": layout.mascons_per_item})


@dataclass(frozen=True, eq=False)
class Coarse:
    """Stage function: area-weighted land means of a block's predictors."""

    url: str
    layout: Layout

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        cells = self.layout.of(item)
        parent, area = self.layout.parent[cells] - item.mascon_start, self.layout.area[cells]
        count = item.mascon_stop - item.mascon_start
        fine = open_store(self.url).isel(cell=slice(item.cell_start, item.cell_stop)).load()
        local = cells - item.cell_start
        return {
            str(name): mascon_mean(values.values[local], parent, area, count)
            for name, values in fine.data_vars.items()
        }


def stack(store: Mapping[str, np.ndarray] | xr.Dataset, names: Sequence[str], suffix: str = "") -> np.ndarray:
    """Named predictors of a store on a last axis: (place, window, variable) float32."""
    return np.stack([np.asarray(store[f"{name}{suffix}"]) for name in names], axis=-1)
