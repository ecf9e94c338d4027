"""Mascons and their cells: area-weighted land means, blocks of mascons, neighbours, and the blur that GRACE sees
with."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from sciml.core.grid import EARTH_RADIUS_KM, great_circle_km, unit_vectors

SMOOTHING_KM = 300.0  # half-width of the Gaussian that gravity fields are smoothed with


def mean_operator(parent: np.ndarray, area: np.ndarray, mascons: int) -> csr_array:
    """Area-weighted means over the land of each mascon, as a matrix (mascon, cell) whose rows sum to 1.

    parent: (cell,) index of the mascon; area: (cell,) [km2]. Raises ValueError for a mascon without a cell.
    """
    total = np.bincount(parent, area, mascons)
    if (total <= 0).any():
        raise ValueError(f"mascon {int(np.argmin(total))} has no land cell; leave it out")
    return csr_array((area / total[parent], (parent, np.arange(len(parent)))), shape=(mascons, len(parent)))


def mascon_mean(values: np.ndarray, parent: np.ndarray, area: np.ndarray, mascons: int) -> np.ndarray:
    """Area-weighted land means. values: (cell, ...) -> (mascon, ...), float64."""
    values = np.asarray(values, dtype=np.float64)
    flat = mean_operator(parent, area, mascons) @ values.reshape(len(parent), -1)
    return flat.reshape(mascons, *values.shape[1:])


def gaussian_kernel(
    latitude: np.ndarray, longitude: np.ndarray, area: np.ndarray, radius_km: float = SMOOTHING_KM
) -> np.ndarray:
    """Smoothing matrix (cell, cell): Gaussian of half-width `radius_km` on the sphere (Jekeli 1981; Wahr et al. 1998).

    latitude, longitude [degrees], area: (cell,). On a bounded domain the plain kernel loses what it carries across the
    edge. It is scaled from both sides (Sinkhorn) until a constant stays that constant and the area-weighted mean of the
    domain is kept, as the sphere's own smoothing would do.
    """
    b = np.log(2.0) / (1.0 - np.cos(radius_km / EARTH_RADIUS_KM))
    xyz = unit_vectors(latitude, longitude)
    kernel = np.exp(-b * np.clip(1.0 - xyz @ xyz.T, 0.0, None))
    weight = area / area.sum()
    scale = np.ones(len(weight))
    for _ in range(200):
        row = scale * (kernel @ (scale * weight))
        if np.abs(row - 1.0).max() < 1e-13:
            break
        scale = scale / np.sqrt(row)
    smooth = scale[:, None] * kernel * (scale * weight)[None, :]
    return smooth / smooth.sum(axis=1, keepdims=True)


def grace_view(latitude: np.ndarray, longitude: np.ndarray, area: np.ndarray) -> np.ndarray:
    """How GRACE would see storage that is known by mascon: (mascon, mascon), rows sum to 1.

    latitude, longitude: (mascon,) centres [degrees]; area: (mascon,) land [km2]. The smoothing Gaussian, widened by the
    extent of the mascon that gives and the one that takes (a square of side a has variance a^2 / 12 in each direction).
    Damping at the coast is taken to be undone by the product's gain, so rows sum to 1 over land.
    """
    b = np.log(2.0) / (1.0 - np.cos(SMOOTHING_KM / EARTH_RADIUS_KM))
    variance = EARTH_RADIUS_KM**2 / b + (area[:, None] + area[None, :]) / 12.0
    distance = great_circle_km(latitude[:, None], longitude[:, None], latitude, longitude)
    view = area[None, :] * np.exp(-(distance**2) / (2.0 * variance)) / variance
    return view / view.sum(axis=1, keepdims=True)


def super_mascons(latitude: np.ndarray, longitude: np.ndarray, *, across_km: float = 700.0) -> np.ndarray:
    """Blocks of about 2 x 2 mascons: (mascon,) label in [0, blocks).

    latitude, longitude: (mascon,) centres [degrees]. Each land (mascons not 500 km from the next one) is cut in bands
    of latitude and in pieces of a band of `across_km` each. A block of one mascon shows no contrast and is joined to
    the block of its nearest neighbour.
    """
    distance = great_circle_km(latitude[:, None], longitude[:, None], latitude, longitude)
    land = connected_components(csr_array(distance < 500.0), directed=False)[1]
    tall = np.rad2deg(across_km / EARTH_RADIUS_KM)
    label = np.full(len(latitude), -1)
    for piece in np.unique(land):
        here = np.flatnonzero(land == piece)
        band = np.floor((latitude[here] - latitude[here].min() + 0.3) / tall)  # centres of a row differ by a raster
        for b in np.unique(band):
            row = here[band == b]
            wide = tall / np.cos(np.deg2rad(latitude[row].mean()))
            column = np.floor((longitude[row] - longitude[row].min() + 0.3) / wide)
            label[row] = label.max() + 1 + column.astype(int)
    alone = np.bincount(label)[label] == 1
    np.fill_diagonal(distance, np.inf)
    label[alone] = label[np.argmin(distance[alone], axis=1)]
    return np.unique(label, return_inverse=True)[1]


def neighbours(latitude: np.ndarray, longitude: np.ndarray, *, step: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Index of the next cell to the east and to the north, (cell,) each, -1 where there is none.

    latitude, longitude: (cell,) centres of cells of a regular global grid of `step` degrees.
    """
    columns = round(360 / step)
    row = np.round((np.asarray(latitude) + 90 - step / 2) / step).astype(np.int64)
    column = np.round((np.asarray(longitude) + 180 - step / 2) / step).astype(np.int64) % columns
    key = row * columns + column
    order = np.argsort(key)
    ordered = key[order]
    found = []
    for wanted in (row * columns + (column + 1) % columns, key + columns):
        place = np.minimum(np.searchsorted(ordered, wanted), len(key) - 1)
        found.append(np.where(ordered[place] == wanted, order[place], -1))
    return found[0], found[1]


def neighbour_pairs(latitude: np.ndarray, longitude: np.ndarray, *, step: float = 0.5) -> np.ndarray:
    """Pairs of cells that share a side, those side by side from west to east first: (pair, 2)."""
    pairs = [
        np.stack([np.flatnonzero(other >= 0), other[other >= 0]], axis=-1)
        for other in neighbours(latitude, longitude, step=step)
    ]
    return np.concatenate(pairs)


def border_jump_ratio(values: np.ndarray, parent: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> float:
    """Mean absolute jump between neighbouring cells across mascon borders over that inside mascons.

    values: (cell, ...) [mm]; parent, latitude, longitude: (cell,). About 1 for a rough field that knows no mascons.
    North- south and east-west neighbours are compared with their like and the two ratios averaged: cells are narrower
    from west to east, and mascons have more cells that way.
    """
    pairs = neighbour_pairs(latitude, longitude)
    jump = np.abs(values[pairs[:, 0]] - values[pairs[:, 1]]).reshape(len(pairs), -1).mean(axis=1)
    across = parent[pairs[:, 0]] != parent[pairs[:, 1]]
    east = latitude[pairs[:, 0]] == latitude[pairs[:, 1]]
    ratios = [jump[across & side].mean() / jump[~across & side].mean() for side in (east, ~east)]
    return float(np.mean(ratios))
