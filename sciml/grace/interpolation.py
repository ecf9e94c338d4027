"""Mascon means spread over half-degree land cells: bilinear, cubic, and cubic that returns every mean.

All are linear operators on the mascons' values and leave a constant field constant. `bilinear` and `cubic` go through
the centres and do not conserve. `Conserving` is the fair baseline of any downscaling: the smoothest field (least
integral of the squared Laplacian: the thin plate, the two-dimensional cubic spline) whose land means are the given ones
(Tobler 1979, doi:10.1080/01621459.1979.10481647), on land alone. It knows no borders, so it has no jumps there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.sparse import block_array, csc_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from sciml.core.grid import great_circle_km
from sciml.grace.mascons import mean_operator, neighbour_pairs, neighbours

TOLERANCE_MM = 1e-4
_STEEP = 0.02  # weight of the membrane beside the plate: keeps headlands and islands from swinging


def bilinear(
    latitude: np.ndarray, longitude: np.ndarray, cell_latitude: np.ndarray, cell_longitude: np.ndarray
) -> csr_array:
    """Operator (cell, mascon): linear along the two rows of mascons beside the cell, then between the rows.

    latitude, longitude: (mascon,) centres [degrees]; mascons lie in rows of equal latitude, each row with its own
    spacing. Where a neighbour is missing (ocean, edge) the nearest takes its place.
    """
    return _by_rows(latitude, longitude, cell_latitude, cell_longitude, "linear")


def cubic(
    latitude: np.ndarray, longitude: np.ndarray, cell_latitude: np.ndarray, cell_longitude: np.ndarray
) -> csr_array:
    """Operator (cell, mascon): as `bilinear` with four neighbours each way (Keys 1981, a = -1/2)."""
    return _by_rows(latitude, longitude, cell_latitude, cell_longitude, "cubic")


@dataclass(frozen=True, eq=False)
class Conserving:
    """Area-conserving cubic interpolation, factorised once for a set of cells; call `interpolate`."""

    mean: csr_array  # (mascon, cell), rows sum to 1
    _solve: Callable[[np.ndarray], np.ndarray] = field(repr=False)

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """values: (mascon, ...) [mm] -> (cell, ...) [mm], whose area-weighted land means are the values to 1e-4 mm.

        The solution of the sparse system is refined until it conserves; RuntimeError if that fails.
        """
        values = np.asarray(values, dtype=np.float64)
        mascons, cells = self.mean.shape
        wanted = values.reshape(mascons, -1)
        out = np.zeros((cells, wanted.shape[1]))
        for _ in range(4):
            missing = wanted - self.mean @ out
            if np.abs(missing).max(initial=0.0) < 1e-2 * TOLERANCE_MM:
                return out.reshape(cells, *values.shape[1:])
            out += self._solve(np.concatenate([np.zeros_like(out), missing]))[:cells]
        left = np.abs(wanted - self.mean @ out).max()
        if not left < TOLERANCE_MM:
            raise RuntimeError(f"conserving interpolation leaves {left:.2g} mm; expected less than {TOLERANCE_MM}")
        return out.reshape(cells, *values.shape[1:])


def conserving(
    parent: np.ndarray, area: np.ndarray, cell_latitude: np.ndarray, cell_longitude: np.ndarray, mascons: int
) -> Conserving:
    """Set up the conserving interpolation.

    parent: (cell,) index of the mascon; area: (cell,) [km2]; cells are those of a half-degree grid that are land.
    Pieces of land that do not touch (islands, tiles) do not speak to each other, except within one mascon.
    """
    size = len(parent)
    bends = _second_differences(cell_latitude, cell_longitude)
    pairs = _bridged(neighbour_pairs(cell_latitude, cell_longitude), parent, cell_latitude, cell_longitude)
    energy = bends.T @ bends + _STEEP * _laplacian(pairs, np.ones(len(pairs)), size)
    return _factorised(energy, mean_operator(parent, area, mascons))


def conserving_on_graph(
    pairs: np.ndarray, conductance: np.ndarray, parent: np.ndarray, area: np.ndarray, mascons: int
) -> Conserving:
    """`conserving` where the fine units are any that touch: cells of a grid, or mascons inside larger blocks.

    pairs: (pair, 2) units that touch; conductance: (pair,) side over distance, about 1; parent: (unit,) index of the
    coarse unit; area: (unit,).
    """
    laplacian = _laplacian(pairs, conductance, len(parent))
    energy = laplacian.T @ diags_array(area / area.mean()) @ laplacian + _STEEP * laplacian
    return _factorised(energy, mean_operator(parent, area, mascons))


def _factorised(energy: csr_array, mean: csr_array) -> Conserving:
    # a whisper of mass makes the system regular where a piece of land has no mascon to itself
    energy = energy + 1e-10 * diags_array(np.ones(energy.shape[0]))
    system = block_array([[energy, mean.T], [mean, None]], format="csc")
    return Conserving(mean, splu(csc_array(system), permc_spec="COLAMD").solve)


def _laplacian(pairs: np.ndarray, conductance: np.ndarray, size: int) -> csr_array:
    off = csr_array((conductance, (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    off = off + off.T
    return csr_array(diags_array(off.sum(axis=1)) - off)


def _second_differences(latitude: np.ndarray, longitude: np.ndarray) -> csr_array:
    """x_ee, x_nn and sqrt(2) x_en wherever all their cells are land, in units of a cell's height, times the root of the
    cell's area: (difference, cell). Coasts and edges are free: no difference crosses them, so a plane bends nowhere."""
    east, north = neighbours(latitude, longitude)
    width = np.maximum(np.cos(np.deg2rad(latitude)), 0.05)
    # index -1, no such cell, reads a last row that is -1 again
    beyond_east, beyond_north = np.append(east, -1), np.append(north, -1)
    cells = np.arange(len(latitude))
    stencils = [
        (np.stack([cells, east, beyond_east[east]]), (1.0, -2.0, 1.0), width**-1.5),
        (np.stack([cells, north, beyond_north[north]]), (1.0, -2.0, 1.0), width**0.5),
        (np.stack([cells, east, north, beyond_north[east]]), (1.0, -1.0, -1.0, 1.0), np.sqrt(2.0) * width**-0.5),
    ]
    rows, columns, values, count = [], [], [], 0
    for members, signs, scale in stencils:
        whole = np.flatnonzero((members >= 0).all(axis=0))
        for member, sign in zip(members, signs, strict=True):
            rows.append(count + np.arange(len(whole)))
            columns.append(member[whole])
            values.append(sign * scale[whole])
        count += len(whole)
    place = (np.concatenate(rows), np.concatenate(columns))
    return csr_array((np.concatenate(values), place), shape=(count, len(latitude)))


def _bridged(pairs: np.ndarray, parent: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Join the islands of a mascon to its largest piece of land, nearest cells first, or their values would be free."""
    size = len(parent)
    graph = csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    piece = connected_components(graph, directed=False)[1]
    count = np.bincount(piece)
    extra = []
    for mascon in np.unique(parent[count[piece] < count.max()]):
        cells = np.flatnonzero(parent == mascon)
        labels = np.unique(piece[cells])
        if len(labels) == 1:
            continue
        home = labels[np.argmax(count[labels])]
        here = cells[piece[cells] == home]
        for label in labels[labels != home]:
            there = cells[piece[cells] == label]
            distance = great_circle_km(
                latitude[here][:, None], longitude[here][:, None], latitude[there], longitude[there]
            )
            i, j = np.unravel_index(np.argmin(distance), distance.shape)
            extra.append((here[i], there[j]))
    return np.concatenate([pairs, np.array(extra)]) if extra else pairs


def _by_rows(
    latitude: np.ndarray,
    longitude: np.ndarray,
    cell_latitude: np.ndarray,
    cell_longitude: np.ndarray,
    kind: Literal["linear", "cubic"],
) -> csr_array:
    order = np.argsort(latitude, kind="stable")
    row_of = np.empty(len(latitude), dtype=int)
    # caps of one row differ by the raster of their edges, rows by three degrees
    row_of[order] = np.concatenate([[0], np.cumsum(np.diff(latitude[order]) > 1.0)])
    rows = [np.flatnonzero(row_of == r) for r in range(row_of.max() + 1)]
    rows = [r[np.argsort(longitude[r], kind="stable")] for r in rows]
    height = np.array([latitude[r].mean() for r in rows])
    entries: list[tuple[int, int, float]] = []
    for cell, (phi, lam) in enumerate(zip(cell_latitude, cell_longitude, strict=True)):
        near, share = _stencil(height, phi, kind, period=None)
        home = int(np.argmin(np.abs(height - phi)))
        for r, w in zip(near, share, strict=True):
            # a row with no mascon near this meridian, or three degrees too far, cannot speak for this one
            use = r if _reaches(longitude[rows[r]], lam, height, r, home) else home
            members, weights = _stencil(longitude[rows[use]], lam, kind, period=360.0)
            entries += [(cell, int(rows[use][m]), w * v) for m, v in zip(members, weights, strict=True)]
    place = np.array([(c, m) for c, m, _ in entries])
    shape = (len(cell_latitude), len(latitude))
    return csr_array((np.array([w for _, _, w in entries]), (place[:, 0], place[:, 1])), shape=shape)


def _reaches(nodes: np.ndarray, place: float, height: np.ndarray, row: int, home: int) -> bool:
    spacing = 3.0 / max(np.cos(np.deg2rad(height[row])), 0.05)
    distance = np.abs((nodes - place + 180.0) % 360.0 - 180.0).min()
    return bool(distance <= 1.1 * spacing and abs(height[row] - height[home]) <= 3.5 * abs(row - home))


def _stencil(
    nodes: np.ndarray, place: float, kind: Literal["linear", "cubic"], period: float | None
) -> tuple[list[int], list[float]]:
    """Neighbours of a place among ordered nodes and their weights, which sum to 1; ends are repeated, gaps not
    crossed."""
    if period is not None:  # unroll so that the place lies in the middle of the nodes
        shifted = (nodes - place + period / 2) % period
        order = np.argsort(shifted, kind="stable")
        nodes, place = shifted[order], period / 2
    else:
        order = np.arange(len(nodes))
    high = int(np.searchsorted(nodes, place))
    spacing = np.min(np.diff(nodes)) if len(nodes) > 1 else np.inf

    def joined(i: int, j: int) -> bool:
        return 0 <= i and j < len(nodes) and nodes[j] - nodes[i] < 1.6 * spacing

    if not joined(high - 1, high):
        nearest = min((i for i in (high - 1, high) if 0 <= i < len(nodes)), key=lambda i: abs(nodes[i] - place))
        return [int(order[nearest])], [1.0]
    t = float((place - nodes[high - 1]) / (nodes[high] - nodes[high - 1]))
    if kind == "linear":
        return [int(order[high - 1]), int(order[high])], [1.0 - t, t]
    weights = [
        -0.5 * t + t**2 - 0.5 * t**3,
        1.0 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2.0 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    ]
    # a missing outer neighbour lies on the line through the two that are there, so that planes stay planes
    if not joined(high - 2, high - 1):
        weights = [0.0, weights[1] + 2.0 * weights[0], weights[2] - weights[0], weights[3]]
    if not joined(high, high + 1):
        weights = [weights[0], weights[1] - weights[3], weights[2] + 2.0 * weights[3], 0.0]
    outer = [min(max(i, 0), len(nodes) - 1) for i in range(high - 2, high + 2)]
    return [int(order[i]) for i in outer], weights
