"""Downscaling from neighbourhoods to basins: a model trained on group means adds contrast between their basins.

    x_b = g + sum_c s_c (p_bc - mean over the group of p_c)

g is the group's observed mean, p_b the model on the basin's own predictors, split into three components c: season, the
rest up to two years, and what is slower. The means are weighted by area, so the basins of a group return what was
observed, whatever s. The shares s_c in [0, 1] are learned one scale up: between neighbouring groups, each predicted by
a model that never saw it. Basins' own storage is never read; their level is therefore unknown, and only
anomalies to a basin's own mean over the training months can be scored.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sciml.core.errors import InputError
from sciml.grace.features import season

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

SLOW_MONTHS = 25  # centred mean that separates slow from fast
COMPONENTS = ("season", "fast", "slow")


@dataclass(frozen=True, eq=False)
class Groups:
    """label: (basin,) group of each basin; weight: (group, basin) area weights, rows sum to 1."""

    label: NDArray[np.int64]
    weight: Array

    def mean(self, values: Array) -> Array:
        """Area-weighted mean over each group: (basin, ...) -> (group, ...); NaN where any basin of the group is NaN."""
        flat = np.asarray(values, float).reshape(len(values), -1)
        missing = self.weight @ np.isnan(flat) > 0
        return np.where(missing, np.nan, self.weight @ np.nan_to_num(flat)).reshape(-1, *values.shape[1:])

    def contrast(self, values: Array) -> Array:
        """Values less the mean of their group: (basin, ...) -> same shape."""
        return values - self.mean(values)[self.label]


def groups(label: NDArray[np.int64], area: Array) -> Groups:
    """Groups from labels 0 .. n-1, none empty, and areas (basin,) [km2], all positive."""
    if not (np.isfinite(area) & (area > 0)).all():
        raise InputError(f"regroup: basin {int(np.flatnonzero(~(area > 0))[0])} has no area; leave it out")
    weight = np.zeros((int(label.max()) + 1, len(label)))
    weight[label, np.arange(len(label))] = area
    return Groups(label, weight / weight.sum(axis=1, keepdims=True))


def mean_predictors(predictors: Array, grouping: Groups) -> Array:
    """Area-weighted means of predictors (basin, month, family, variable) over groups; NaN basins do not count."""
    flat = np.asarray(predictors, float).reshape(len(predictors), -1)
    known = np.isfinite(flat)
    total = grouping.weight @ known
    mean = grouping.weight @ np.where(known, flat, 0.0)
    return np.where(total > 1e-9, mean / np.maximum(total, 1e-9), np.nan).reshape(-1, *predictors.shape[1:])


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


def learn_shares(parts: Array, observed: Array, pairs: list[tuple[int, int, float]]) -> Array:
    """Shares s_c from the contrasts between neighbouring groups, least squares, held in [0, 1]: (component,).

    parts: (component, group, record) of predictions by models that did not see the group; observed: (group, record),
    anomalies in training records. Pairs count by the inverse variance of the first group.
    """
    moment, response = np.zeros((len(parts), len(parts))), np.zeros(len(parts))
    for g, h, share in pairs:
        modelled, contrast = share * (parts[:, g] - parts[:, h]), share * (observed[g] - observed[h])
        weight = 1.0 / max(float(observed[g].var()), 1e-9)
        moment += weight * modelled @ modelled.T
        response += weight * modelled @ contrast
    return np.clip(np.linalg.solve(moment + 1e-9 * np.trace(moment) * np.eye(len(moment)), response), 0.0, 1.0)


def contrast_error(
    parts: Array, observed: Array, shares: Array, pairs: list[tuple[int, int, float]], scale: Array
) -> float:
    """Error of a contrast in units of f times the expected variability `scale` (group,), as wide as 90 % of errors ask.

    Other arguments as in `learn_shares`.
    """
    modelled = np.tensordot(shares, parts, axes=1)
    miss = [np.abs((modelled[g] - modelled[h]) - (observed[g] - observed[h])) / scale[g] for g, h, _ in pairs]
    return float(np.quantile(np.concatenate(miss), 0.9) / norm.ppf(0.95))


def downscale(group_mean: Array, parts: Array, shares: Array, grouping: Groups) -> Array:
    """x_b from group means (group, record) and components of basins (component, basin, record): (basin, record)."""
    contrast = np.stack([grouping.contrast(part) for part in parts])
    return group_mean[grouping.label] + np.tensordot(shares, contrast, axes=1)


def fit_scale(attributes: Array, size: Array, deviation: Array, train: Mask, alpha: float = 3.0) -> Array:
    """Expected variability of storage from predictors alone: (unit,) [mm].

    Ridge of log deviation on `size` (log of the predicted store's rms) and attributes (unit, attribute), fitted on the
    units in `train`, whose deviation (unit,) [mm] is known.
    """
    columns = np.concatenate([size[:, None], attributes], axis=1)
    spread = columns[train].std(axis=0)
    scaled = (columns - columns[train].mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    scaled = np.clip(scaled, -4, 4)
    target = np.log(deviation[train])
    z = scaled[train]
    coefficients = np.linalg.solve(z.T @ z + alpha * np.eye(z.shape[1]), z.T @ (target - target.mean()))
    return np.exp(scaled @ coefficients + target.mean())
