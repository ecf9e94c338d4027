"""Downscaling from neighbourhoods to basins: a model trained on group means adds contrast between their basins.

    x_b = g + t_g sum_c s_c (p_bc - mean over the group of p_c)

g is the group's observed mean, p_b the model on the basin's own predictors as GRACE would see it, split into three
components c: season, the rest up to two years, and what is slower. The means are weighted by area, so the basins of a
group return what was observed, whatever s and t. The shares s_c in [0, 1] say how much of a component is real; t_g, how
far the contrasts of this group stand out of their noise. Both are learned one scale up: between neighbouring groups,
each predicted by a model that never saw it. Basins' own storage is never read; their level is therefore unknown, and
only anomalies to a basin's own mean over the training months can be scored.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from scipy.spatial import cKDTree

from sciml.core.errors import InputError
from sciml.core.grid import EARTH_RADIUS_KM, unit_vectors
from sciml.grace.calibration import NINETY
from sciml.grace.features import season

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

SLOW_MONTHS = 25  # centred mean that separates slow from fast
COMPONENTS = ("season", "fast", "slow")
FOOTPRINT_KM = 100.0  # half-width of a Gaussian with the second moment of a 3-degree mascon, a disc of 167 km radius
REACH = 2.5  # half-widths, beyond which the footprint is cut off
NOISES = (0.0, 0.02, 0.05, 0.1, 0.2)  # candidates, as a share of the variance that unrelated neighbours would have


@dataclass(frozen=True, eq=False)
class Groups:
    """label: (basin,) group of each basin; weight: (group, basin) area weights, rows sum to 1."""

    label: NDArray[np.int64]
    weight: Array

    def mean(self, values: Array) -> Array:
        """Area-weighted mean over the basins that have a value: (basin, ...) -> (group, ...), NaN where none has."""
        flat = np.asarray(values, float).reshape(len(values), -1)
        known = np.isfinite(flat)
        total = self.weight @ known
        mean = self.weight @ np.where(known, flat, 0.0) / np.maximum(total, 1e-9)
        return np.where(total > 1e-9, mean, np.nan).reshape(-1, *values.shape[1:])

    def contrast(self, values: Array, counted: Mask | bool = True) -> Array:
        """Values less their group's mean over the basins that are counted: (basin, ...) -> same shape."""
        return values - self.mean(np.where(counted, values, np.nan))[self.label]


def groups(label: NDArray[np.int64], area: Array) -> Groups:
    """Groups from labels 0 .. n-1, none empty, and areas (basin,) [km2], all positive."""
    if not (np.isfinite(area) & (area > 0)).all():
        raise InputError(f"regroup: basin {int(np.flatnonzero(~(area > 0))[0])} has no area; leave it out")
    weight = np.zeros((int(label.max()) + 1, len(label)))
    weight[label, np.arange(len(label))] = area
    return Groups(label, weight / weight.sum(axis=1, keepdims=True))


def footprint(parent: NDArray[np.int64], latitude: Array, longitude: Array, area: Array) -> Array:
    """What GRACE sees of a field of basin means: (basin, basin), rows sum to 1.

    A Gaussian of half-width FOOTPRINT_KM around each cell, over the land that belongs to a basin. parent: (cell,) basin
    0 .. n-1 of each cell, every basin has one; latitude, longitude: (cell,) [degrees]; area: (cell,) [km2].
    """
    tree = cKDTree(unit_vectors(latitude, longitude))
    near = tree.sparse_distance_matrix(tree, REACH * FOOTPRINT_KM / EARTH_RADIUS_KM, output_type="ndarray")
    seen = area[near["j"]] * np.exp(-np.log(2) * np.square(near["v"] * EARTH_RADIUS_KM / FOOTPRINT_KM))
    seen *= (area / np.bincount(near["i"], seen))[near["i"]]
    count = int(parent.max()) + 1
    total = np.bincount(parent[near["i"]] * count + parent[near["j"]], seen, count * count).reshape(count, count)
    return total / total.sum(axis=1, keepdims=True)


def components(predicted: Array, months: NDArray[np.datetime64], keep: Mask, last: np.datetime64) -> Array:
    """Season, fast and slow part of a monthly series without gaps; their sum is the anomaly to the mean over `keep`.

    predicted: (unit, month) [mm]; keep: (month,), the training records; last: last training month (the harmonics are
    fitted up to it). Returns (component, unit, month) [mm], each with mean 0 over `keep`.
    """
    waves = np.concatenate([np.ones((len(months), 1)), season(months, 2)], axis=1)
    fitted = months <= last
    coefficients = np.linalg.lstsq(waves[fitted], predicted[:, fitted].T, rcond=None)[0]
    seasonal = (waves[:, 1:] @ coefficients[1:]).T
    rest = predicted - seasonal
    half = SLOW_MONTHS // 2
    padded = np.pad(rest, ((0, 0), (half, half)), mode="edge")
    slow = np.stack([np.convolve(row, np.full(SLOW_MONTHS, 1 / SLOW_MONTHS), "valid") for row in padded])
    parts = np.stack([seasonal, rest - slow, slow])
    return parts - parts[:, :, keep].mean(axis=2, keepdims=True)


def neighbour_pairs(centre: Array, area: Array, neighbours: int = 3) -> list[tuple[int, int, float]]:
    """Each group g with its nearest groups h, and f, the area share of h: the contrast of g to the two's mean is
    f (x_g - x_h). centre: (group, 3) unit vectors; area: (group,).
    """
    distance = np.linalg.norm(centre[:, None] - centre[None], axis=2)
    nearest = [np.argsort(row, kind="stable")[1 : neighbours + 1] for row in distance]
    return [(g, int(h), float(area[h] / (area[g] + area[h]))) for g, near in enumerate(nearest) for h in near]


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Contrasts between neighbouring groups in records that the models did not see.

    modelled: (component, pair, record) [mm]; observed: (pair, record) [mm], NaN where unknown; spread: (pair,) [mm],
    the deviation that the contrast of two unrelated units of the expected variability would have.
    """

    modelled: Array
    observed: Array
    spread: Array


def neighbour_contrasts(parts: Array, observed: Array, pairs: list[tuple[int, int, float]], scale: Array) -> Contrasts:
    """Contrasts of pairs of groups; pairs that were never observed together are left out.

    parts: (component, group, record) of predictions by models that did not see the group; observed: (group, record),
    anomalies; scale: (group,) expected variability. All in mm.
    """
    first, second = (np.array([pair[k] for pair in pairs], int) for k in (0, 1))
    share = np.array([pair[2] for pair in pairs])
    seen = share[:, None] * (observed[first] - observed[second])
    keep = np.isfinite(seen).any(axis=1)
    modelled = share[:, None] * (parts[:, first] - parts[:, second])
    spread = share * np.hypot(scale[first], scale[second])
    return Contrasts(modelled[:, keep], seen[keep], spread[keep])


@dataclass(frozen=True)
class Shares:
    """component: how much of season, fast and slow contrasts to believe, each in [0, 1]. noise: what of a contrast's
    power is taken for noise, as a share of the spread's square.
    """

    component: tuple[float, ...]
    noise: float

    def trust(self, power: Array, spread: Array) -> Array:
        """Signal over signal and noise, from the mean square of contrasts [mm2] and their spread [mm]: same shape."""
        return power / np.maximum(power + self.noise * np.square(spread), 1e-9)


def learn_shares(seen: Contrasts) -> Shares:
    """Shares and noise from contrasts between neighbours.

    Least squares with every pair in units of its own contrast: a basin must gain whether its neighbourhood varies much
    or little. Of the noises, the largest whose mean loss is within a standard error of the best one's: contrasts inside
    a group are smaller than those between groups, and caution costs little where they are large.
    """
    known = np.isfinite(seen.observed)
    observed = np.nan_to_num(seen.observed)
    size = np.sqrt(np.maximum((observed**2).sum(axis=1) / known.sum(axis=1), 1e-9))[:, None]
    power = np.mean(seen.modelled.sum(axis=0) ** 2, axis=1)
    fitted, losses = [], []
    for noise in NOISES:
        believed = seen.modelled * Shares((), noise).trust(power, seen.spread)[:, None] / size
        share = lsq_linear(believed[:, known].T, (observed / size)[known], (0.0, 1.0)).x
        missed = np.where(known, np.tensordot(share, believed, axes=1) - observed / size, 0.0)
        fitted.append(Shares(tuple(float(x) for x in share), noise))
        losses.append((missed**2).sum(axis=1) / known.sum(axis=1))
    excess = np.array(losses) - losses[int(np.argmin(np.mean(losses, axis=1)))]
    close = excess.mean(axis=1) <= excess.std(axis=1) / np.sqrt(excess.shape[1])
    return fitted[int(np.flatnonzero(close)[-1])]


def believed(seen: Contrasts, shares: Shares) -> Array:
    """Modelled contrasts after shares and trust: (pair, record) [mm]."""
    power = np.mean(seen.modelled.sum(axis=0) ** 2, axis=1)
    return shares.trust(power, seen.spread)[:, None] * np.tensordot(shares.component, seen.modelled, axes=1)


def contrast_error(missed: Array, spread: Array) -> float:
    """Error of contrasts in units of their spread, as wide as 90 % of errors ask.

    missed: (pair, record) [mm], NaN where unknown; spread: (pair,) [mm].
    """
    relative = np.abs(missed) / spread[:, None]
    return float(np.quantile(relative[np.isfinite(relative)], 0.9) / NINETY)


def basin_spread(grouping: Groups, basin_scale: Array, group_scale: Array) -> Array:
    """Spread of each basin's contrast to its group: (basin,) [mm], 0 for a basin alone in its group.

    basin_scale: (basin,), group_scale: (group,) expected variability [mm].
    """
    own = grouping.weight[grouping.label, np.arange(len(grouping.label))]
    return (1 - own) * np.hypot(basin_scale, group_scale[grouping.label])


def downscale(
    group_mean: Array,
    parts: Array,
    shares: Shares,
    grouping: Groups,
    spread: Array,
    keep: Mask,
    counted: Mask | bool = True,
) -> Array:
    """x_b from group means (group, record) and components of basins (component, basin, record): (basin, record).

    spread: (basin,); keep: (record,), training records, where the power of contrasts is measured; counted: (basin,
    record), basins that are in the group mean.
    """
    contrast = np.stack([grouping.contrast(part, counted) for part in parts])
    power = np.mean(np.stack([grouping.contrast(part) for part in parts]).sum(axis=0)[:, keep] ** 2, axis=1)
    trust = shares.trust(grouping.weight @ power, np.sqrt(grouping.weight @ spread**2))
    return group_mean[grouping.label] + trust[grouping.label, None] * np.tensordot(shares.component, contrast, axes=1)


def fit_scale(attributes: Array, size: Array, deviation: Array, train: Mask, alpha: float = 3.0) -> Array:
    """Expected variability of storage from predictors alone: (unit,) [mm].

    Ridge of log deviation on `size` (log of the predicted store's rms) and attributes (unit, attribute), fitted on the
    units in `train` whose deviation (unit,) [mm] is known.
    """
    train = train & np.isfinite(deviation) & (deviation > 0)
    columns = np.concatenate([size[:, None], attributes], axis=1)
    spread = columns[train].std(axis=0)
    scaled = (columns - columns[train].mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    scaled = np.clip(scaled, -4, 4)
    target = np.log(deviation[train])
    z = scaled[train]
    coefficients = np.linalg.solve(z.T @ z + alpha * np.eye(z.shape[1]), z.T @ (target - target.mean()))
    return np.exp(scaled @ coefficients + target.mean())
