"""One network, whatever file it comes from: land cells in an order in which water only runs forward.

Cells of a basin stand together and each stands before the cell into which it flows, so one pass over the arrays is a
pass down all rivers, basins are slices, and they are independent of each other.
"""

from dataclasses import dataclass

import numba
import numpy as np

from sciml.core.errors import InputError
from sciml.core.grid import great_circle_km
from sciml.data.readers.cama import is_cama, read_cama
from sciml.data.readers.river_network import SINK, Directions, place, read_directions

OUTLET = -1
SECONDS = 86400.0  # a day
WATER = 1000.0  # kg m-3
CHANNEL = ("channel_length", "width", "depth", "elevation", "floodplain")


@dataclass(frozen=True, eq=False)
class Network:
    """Arrays over land cells, upstream before downstream, basin after basin.

    downstream: index of the next cell, OUTLET (-1) at an outlet; sink: outlets inside the land, where water ends, not
    in the sea; lat, lon [degrees]; area [m2]; upstream_area [m2], the cell's own included; length [m] of the way to the
    next cell (great circle, or the file's own; of an outlet: sqrt(area)); basin (cell,) counts 0, 1, ..;
    basin_start (basin + 1,) are the slices; row, column belong to the file's grid axis_lat, axis_lon. channel_length,
    width, depth, elevation (of the bank) [m] and floodplain (cell, layer) [m above the bank] are the file's or None.
    """

    source: str
    axis_lat: np.ndarray
    axis_lon: np.ndarray
    basin_start: np.ndarray
    downstream: np.ndarray
    sink: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    area: np.ndarray
    length: np.ndarray
    upstream_area: np.ndarray
    basin: np.ndarray
    row: np.ndarray
    column: np.ndarray
    area_difference: float | None = None  # largest relative difference of upstream_area from the file's
    channel_length: np.ndarray | None = None
    width: np.ndarray | None = None
    depth: np.ndarray | None = None
    elevation: np.ndarray | None = None
    floodplain: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.downstream)

    @property
    def outlet(self) -> np.ndarray:
        """Indices of the outlets, one a basin."""
        return self.basin_start[1:] - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Of the file's grid."""
        return len(self.axis_lat), len(self.axis_lon)


def open_network(
    source: str, *, codes: str | None = None, mask: np.ndarray | None = None, inland: bool = True
) -> Network:
    """The network of `FILE:variable`, of a map file, or of a folder of CaMa-Flood parameters.

    mask: (lat, lon) bool on the file's grid, the cells that are wanted. inland: False refuses outlets inside the land.
    Raises InputError for what cannot be read, a cycle, areas that are not positive, a mask that does not fit.
    """
    directions = read_cama(source) if is_cama(source) else read_directions(source, codes=codes)
    return build(directions, mask=mask, inland=inland)


def build(directions: Directions, *, mask: np.ndarray | None = None, inland: bool = True) -> Network:
    """Order the cells and check them. Arguments and errors as of `open_network`."""
    d = directions
    if mask is not None:
        d = _masked(d, np.asarray(mask, bool))
    if not (np.isfinite(d.area) & (d.area > 0)).all():
        bad = int(np.flatnonzero(~(np.isfinite(d.area) & (d.area > 0)))[0])
        raise InputError(
            f"{d.source}: cell area at {place(d.lat[bad], d.lon[bad])}: found {d.area[bad]:g}, expected m2 > 0"
        )
    target = np.where(d.target >= 0, d.target, OUTLET)
    order, start = _order(target)
    if len(order) < len(target):
        _refuse_cycle(d, target, order)
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    target = target[order]
    downstream = np.where(target >= 0, position[target], OUTLET)
    sink = d.target[order] == SINK
    lat, lon, area = d.lat[order], d.lon[order], d.area[order]
    if not inland and sink.any():
        first = int(np.flatnonzero(sink)[0])
        raise InputError(
            f"{d.source}: {sink.sum()} outlets inside the land, the first at {place(lat[first], lon[first])}; expected "
            "rivers that end at the sea; allow inland sinks (inland=True) or correct the map"
        )
    upstream = _accumulate(downstream, area[:, None])[:, 0]
    difference = None
    if d.upstream_area is not None:
        difference = float(np.nanmax(np.abs(d.upstream_area[order] / upstream - 1)))
    following = np.where(downstream >= 0, downstream, np.arange(len(order)))
    length = 1e3 * great_circle_km(lat, lon, lat[following], lon[following])
    length = np.where(downstream >= 0, length, np.sqrt(area))
    if d.length is not None:
        length = np.where(d.length[order] > 0, d.length[order], length)
    basin = np.repeat(np.arange(len(start) - 1), np.diff(start))
    channel = {
        name: None if (values := getattr(d, name)) is None else np.ascontiguousarray(values[order]) for name in CHANNEL
    }
    return Network(
        d.source, d.axis_lat, d.axis_lon, start, downstream, sink, lat, lon, area, length, upstream, basin,
        d.row[order], d.column[order], difference, **channel,
    )  # fmt: skip


def accumulate(network: Network, amount: np.ndarray) -> np.ndarray:
    """Sum of an amount over each cell and all above it. amount: (..., cell), any units -> the same shape and units."""
    amount = np.asarray(amount, np.float64)
    if amount.shape[-1] != len(network):
        raise InputError(f"accumulate: found {amount.shape[-1]} cells, expected the network's {len(network)}")
    flat = np.ascontiguousarray(np.moveaxis(amount, -1, 0).reshape(len(network), -1))
    return np.moveaxis(_accumulate(network.downstream, flat).reshape(len(network), *amount.shape[:-1]), 0, -1)


def water_input(network: Network, runoff: np.ndarray) -> np.ndarray:
    """runoff: (..., cell) [kg m-2 day-1] -> the same shape [m3 s-1]."""
    return runoff * (network.area / (WATER * SECONDS))


def to_cells(network: Network, field: np.ndarray) -> np.ndarray:
    """(..., lat, lon) on the file's grid -> (..., cell)."""
    if field.shape[-2:] != network.shape:
        raise InputError(f"{network.source}: found a field of {field.shape[-2:]}, expected the grid {network.shape}")
    return field[..., network.row, network.column]


def to_map(network: Network, values: np.ndarray) -> np.ndarray:
    """(..., cell) -> (..., lat, lon) on the file's grid, NaN off the land."""
    out = np.full((*values.shape[:-1], *network.shape), np.nan)
    out[..., network.row, network.column] = values
    return out


def find_cells(network: Network, lat: np.ndarray, lon: np.ndarray, *, name: str = "cells") -> np.ndarray:
    """Index into the network of places that are centres of its grid, -1 where it has no land.

    lat, lon: (n,) [degrees], in any order. Raises InputError for places that are no centres of the grid.
    """
    lat, lon = np.asarray(lat, np.float64), (np.asarray(lon, np.float64) + 180.0) % 360.0 - 180.0
    row, column = _nearest(network.axis_lat, lat), _nearest(network.axis_lon, lon)
    step = abs(network.axis_lat[1] - network.axis_lat[0]) if len(network.axis_lat) > 1 else 1.0
    east = (network.axis_lon[column] - lon + 180.0) % 360.0 - 180.0
    off = np.maximum(np.abs(network.axis_lat[row] - lat), np.abs(east)) > 1e-3 * step
    if off.any():
        bad = int(np.flatnonzero(off)[0])
        raise InputError(
            f"{name}: {off.sum()} of {len(off)} places are no cells of {network.source}, the first at "
            f"{place(lat[bad], lon[bad])}; expected its grid of {step:g} degrees; regrid first"
        )
    index = np.full(network.shape, -1, np.int64)
    index[network.row, network.column] = np.arange(len(network))
    return index[row, column]


def describe(network: Network, *, most: int = 5) -> list[str]:
    """What a report should say of a network, a line each; the largest inland sinks by name of place."""
    sinks = np.flatnonzero(network.sink)
    largest = sinks[np.argsort(-network.upstream_area[sinks])][:most]
    named = ", ".join(
        f"{place(network.lat[i], network.lon[i])} ({network.upstream_area[i] / 1e6:,.0f} km2)" for i in largest
    )
    lines = [
        f"{network.source}: {len(network):,} cells, {len(network.outlet):,} basins, "
        f"{network.area.sum() / 1e12:.1f} million km2",
        f"{len(network.outlet) - len(sinks):,} end at the sea (or at cells that are no land), {len(sinks):,} inside "
        f"the land{f', the largest at {named}' if len(sinks) else ''}",
    ]
    if network.area_difference is not None:
        lines.append(f"upstream area: largest difference from the file's {network.area_difference:.1e}")
    return lines


def _nearest(axis: np.ndarray, values: np.ndarray) -> np.ndarray:
    order = np.argsort(axis)
    ascending = axis[order]
    right = np.clip(np.searchsorted(ascending, values), 1, max(len(axis) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(axis) - 1)
    return order[np.where(values - ascending[left] <= ascending[right] - values, left, right)]


def _masked(d: Directions, mask: np.ndarray) -> Directions:
    """The cells of a mask alone; it may leave out whole basins, not the way of a river."""
    shape = (len(d.axis_lat), len(d.axis_lon))
    if mask.shape != shape:
        raise InputError(f"{d.source}: found a mask of {mask.shape}, expected the grid of the network {shape}")
    land = np.zeros(shape, bool)
    land[d.row, d.column] = True
    if (mask & ~land).any():
        row, column = np.argwhere(mask & ~land)[0]
        raise InputError(
            f"{d.source}: the mask has {(mask & ~land).sum()} cells without a direction, the first at "
            f"{place(d.axis_lat[row], d.axis_lon[column])}; expected land of the network alone; cut the mask"
        )
    keep = mask[d.row, d.column]
    cut = keep & (d.target >= 0) & ~keep[d.target]
    if cut.any():
        at = int(np.flatnonzero(cut)[0])
        to = d.target[at]
        raise InputError(
            f"{d.source}: {cut.sum()} cells flow out of the mask, the first from {place(d.lat[at], d.lon[at])} to "
            f"{place(d.lat[to], d.lon[to])}; expected rivers down to their outlets; widen the mask"
        )
    if not keep.any():
        raise InputError(f"{d.source}: the mask holds no cell; expected some land")
    index = np.cumsum(keep) - 1
    kept = {
        name: None if (values := getattr(d, name)) is None else values[keep]
        for name in ("row", "column", "area", "upstream_area", "length", *CHANNEL)
    }
    target = np.where(d.target >= 0, index[d.target], d.target)[keep]
    return Directions(d.source, d.axis_lat, d.axis_lon, target=target, **kept)


def _refuse_cycle(d: Directions, target: np.ndarray, order: np.ndarray) -> None:
    reached = np.zeros(len(target), bool)
    reached[order] = True
    at = int(np.flatnonzero(~reached)[0])
    for _ in range(len(target)):  # whoever leads into a cycle is in it after as many steps as there are cells
        at = int(target[at])
    ring = [at]
    while (following := int(target[ring[-1]])) != at:
        ring.append(following)
    raise InputError(
        f"{d.source}: a cycle of {len(ring)} cells through {place(d.lat[at], d.lon[at])}; {(~reached).sum()} cells "
        "never reach an outlet; expected every river to end; correct the directions there"
    )


@numba.njit(cache=True)
def _order(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells from the outlets up, depth first, turned round: basins in order of their outlets. Cycles are left out."""
    count = len(target)
    first = np.zeros(count + 1, np.int64)
    for i in range(count):
        if target[i] >= 0:
            first[target[i] + 1] += 1
    first = np.cumsum(first)
    fill = first[:-1].copy()
    above = np.empty(first[-1], np.int64)
    for i in range(count):
        if target[i] >= 0:
            above[fill[target[i]]] = i
            fill[target[i]] += 1
    order = np.empty(count, np.int64)
    start = [0]
    stack = np.empty(count, np.int64)
    done = 0
    for outlet in range(count):
        if target[outlet] >= 0:
            continue
        begin, top = done, 1
        stack[0] = outlet
        while top:
            top -= 1
            i = stack[top]
            order[done] = i
            done += 1
            for k in range(first[i], first[i + 1]):
                stack[top] = above[k]
                top += 1
        order[begin:done] = order[begin:done][::-1].copy()
        start.append(done)
    return order[:done], np.array(start)


@numba.njit(cache=True)
def _accumulate(downstream: np.ndarray, amount: np.ndarray) -> np.ndarray:
    total = amount.copy()
    for i in range(len(downstream)):
        if downstream[i] >= 0:
            for k in range(total.shape[1]):
                total[downstream[i], k] += total[i, k]
    return total
