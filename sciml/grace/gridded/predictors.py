"""Predictors in packed cells and their means over mascons, by calendar month and by GRACE record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from sciml.core.errors import InputError
from sciml.core.grid import EARTH_RADIUS_KM, unit_vectors
from sciml.data.months import Records
from sciml.data.stores import Template, Variable, open_store
from sciml.grace.gridded.layout import Block, Layout
from sciml.grace.mascons import mean_operator
from sciml.grace.windows import window_means


def packed_windows(daily: xr.Dataset, layout: Layout, months: np.ndarray, records: Records) -> xr.Dataset:
    """Window means of all packed cells, lazily; one Dask chunk an item's slot.

    daily: (time, cell) with `cell` in the order of `layout.source`'s numbers, or (time, lat, lon) on a grid of the
    same cells. Padding repeats the first cell and is overwritten by NaN.
    """
    if "cell" in daily.dims:
        chosen = daily.isel(cell=xr.DataArray(np.maximum(layout.source, 0), dims="cell"))
    else:
        chosen = _at_cells(daily, layout)
    chosen = chosen.drop_vars([name for name in chosen.coords if name != "time"])
    chosen = chosen.chunk({"time": -1, "cell": layout.slot})
    return window_means(chosen, months, records).where(xr.DataArray(layout.real, dims="cell"))


def _at_cells(daily: xr.Dataset, layout: Layout) -> xr.Dataset:
    """Values at the cells' centres, NaN beyond the grid's ends; a grid that misses a centre inside them is refused."""
    index, beyond = {}, np.zeros(len(layout.real), bool)
    for axis, wanted in (("lat", layout.lat), ("lon", layout.lon)):
        grid = daily[axis].values
        target = np.where(layout.real, wanted, grid[0])
        place = np.clip(np.searchsorted(grid, target), 1, len(grid) - 1)
        place = place - (target - grid[place - 1] < grid[place] - target)
        outside = (target < grid[0] - 0.01) | (target > grid[-1] + 0.01)
        off = np.where(outside, 0.0, np.abs(grid[place] - target))
        if off.max() > 0.01:
            far = int(np.argmax(off))
            raise InputError(
                f"predictors: axis '{axis}': nothing at {target[far]:.3f}, the nearest is {grid[place[far]]:.3f};"
                " expected the half-degree cells of the mascon file; regrid the predictors first"
            )
        beyond |= outside
        index[axis] = xr.DataArray(place, dims="cell")
    found = daily.isel(index)
    return found.where(xr.DataArray(~beyond, dims="cell")) if beyond.any() else found


def coarse_template(names: Sequence[str], layout: Layout, months: int, records: int) -> Template:
    """Store of mascon means: for each predictor (mascon, month) and `<name>_record` (mascon, record)."""
    variables = {}
    for name in names:
        variables[name] = Variable(("mascon", "month"), may_be_missing=True)
        variables[f"{name}_record"] = Variable(("mascon", "record"), may_be_missing=True)
    sizes = {"mascon": layout.mascons, "month": months, "record": records}
    return Template(sizes, variables, shards={"mascon": layout.mascons_per_item})


LEAST_KNOWN = 0.5  # share of a mascon, by area and smoothing, that must have a value
REACH = 3.0  # half-widths beyond which the Gaussian is below a five-hundredth of its peak


@dataclass(frozen=True, eq=False)
class Coarse:
    """Stage function: a block's predictors as GRACE would see them, smoothed as it smooths, then land means.

    A network that learns smoothed storage from unsmoothed predictors learns to damp contrasts, and would damp those of
    cells. smoothing_km: half-width of the storage product's Gaussian, 0 where it has none.
    """

    url: str
    layout: Layout
    smoothing_km: float

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        weights, cells = self._weights(item)
        fine = open_store(self.url)
        slots = np.unique(cells // self.layout.slot)
        found = {str(name): 0.0 for name in fine.data_vars}
        weight = dict(found)
        for slot in slots:  # one slot at a time: neighbours reach far
            inside = cells // self.layout.slot == slot
            first = slot * self.layout.slot
            part = fine.isel(cell=slice(first, first + self.layout.slot)).load()
            for name in found:
                values = part[name].values[cells[inside] - first]
                known = np.isfinite(values)
                found[name] = found[name] + weights[:, inside] @ np.where(known, values, 0.0)
                weight[name] = weight[name] + weights[:, inside] @ known
        # lakes and coasts that a source lacks do not count; where most of a mascon is lacking, so is its mean
        return {
            name: np.where(weight[name] > LEAST_KNOWN, values / np.maximum(weight[name], LEAST_KNOWN), np.nan)
            for name, values in found.items()
        }

    def _weights(self, item: Block) -> tuple[csr_array, np.ndarray]:
        """(mascon, cell) weights that sum to 1, and the packed indices of those cells. Sparse, for a sparse product
        adds up one window as it adds up many; that of full matrices may round otherwise."""
        layout = self.layout
        own = layout.of(item)
        mean = mean_operator(
            layout.parent[own] - item.mascon_start, layout.area[own], item.mascon_stop - item.mascon_start
        )
        if self.smoothing_km <= 0:
            return mean, own
        real = np.flatnonzero(layout.real)
        xyz = unit_vectors(layout.lat[real], layout.lon[real])
        here = unit_vectors(layout.lat[own], layout.lon[own])
        reach = 2 * np.sin(REACH * self.smoothing_km / EARTH_RADIUS_KM / 2)
        near = np.isfinite(cKDTree(here).query(xyz, distance_upper_bound=reach)[0])
        steepness = np.log(2.0) / (1.0 - np.cos(self.smoothing_km / EARTH_RADIUS_KM))
        away = np.clip(1.0 - here @ xyz[near].T, 0.0, None)
        kernel = np.exp(-steepness * away) * (away <= reach**2 / 2) * layout.area[real[near]]
        return csr_array(mean @ (kernel / kernel.sum(axis=1, keepdims=True))), real[near]


def stack(store: Mapping[str, np.ndarray] | xr.Dataset, names: Sequence[str], suffix: str = "") -> np.ndarray:
    """Named predictors of a store on a last axis: (place, window, variable) float32."""
    return np.stack([np.asarray(store[f"{name}{suffix}"]) for name in names], axis=-1)
