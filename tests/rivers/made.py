"""Networks for the tests: a chain of cells, and random trees."""

import numpy as np

from sciml.data.readers.river_network import SEA, SINK, Directions
from sciml.rivers.network import Network, build


def chain(cells: int, *, length: float, area: float | None = None, **channel: np.ndarray) -> Network:
    """One river of equal cells [m, m2], from index 0 down to the sea."""
    target = np.append(np.arange(1, cells), SEA)
    return build(directions(target, np.full(cells, area or length**2), length=np.full(cells, length), **channel))


def directions(target: np.ndarray, area: np.ndarray, **more: np.ndarray) -> Directions:
    """Cells in one row of a grid, so that each has a place of its own."""
    count = len(target)
    lon = 0.01 * np.arange(count)
    return Directions("made", np.array([0.0]), lon, np.zeros(count, int), np.arange(count), target, area, **more)


def forest(cells: int, seed: int, outlets: int = 3) -> Network:
    """Random trees of random areas and lengths, cells in no order; the last outlet is a sink."""
    rng = np.random.default_rng(seed)
    target = np.array([SEA] * (outlets - 1) + [SINK] + [rng.integers(0, i) for i in range(outlets, cells)])
    mixed = rng.permutation(cells)
    shuffled = np.empty(cells, np.int64)
    shuffled[mixed] = np.where(target >= 0, mixed[target], target)
    return build(directions(shuffled, rng.uniform(1e9, 3e9, cells), length=rng.uniform(2e4, 6e4, cells)))
