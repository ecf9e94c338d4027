"""What is known of a star once its spectrum is seen: Gaussians cut off where the grid ends.

A spectrum changes with the square of a small v sin i, so near 0 nothing is Gaussian in it. The working coordinate
u = sqrt(v^2 + v0^2) - v0 goes with v^2 there and with v where rotation is resolved.
"""

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import qmc

from sciml.stellar.labels import LABELS, PARAMETERS, RANGES, highest_teff, lowest_logg

V0 = 2.0  # [km/s] v sin i where the lines' own width takes over
_DRAWS = 1024
_TOO_FEW = 64.0  # effective draws below which the cut-off Gaussian is sampled by a Markov chain
_SWEEPS = 60
_VSINI = PARAMETERS.index("vsini")


def to_working(parameters: np.ndarray) -> np.ndarray:
    """Parameters (..., 4 or 7) with v sin i replaced by u."""
    found = np.array(parameters, float)
    found[..., _VSINI] = np.sqrt(found[..., _VSINI] ** 2 + V0**2) - V0
    return found


def from_working(working: np.ndarray) -> np.ndarray:
    """The parameters of working coordinates; u < 0, which no star has, gives v sin i = 0."""
    found = np.array(working, float)
    u = np.maximum(found[..., _VSINI], 0.0)
    found[..., _VSINI] = np.sqrt(u * (u + 2 * V0))
    return found


def moments(mean: np.ndarray, covariance: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, 4) and covariance (n, 4, 4) of LABELS given a Gaussian likelihood and the grid as the prior.

    mean (n, 4), covariance (n, 4, 4): of the likelihood as a function of the working coordinates. The prior is even in
    LABELS over the grid, 0 outside.
    """
    normal = ndtri(qmc.Sobol(4, seed=seed).random(_DRAWS) * (1 - 2e-9) + 1e-9)
    factor = np.linalg.cholesky(_sound(covariance))
    found_mean, found_covariance = np.empty_like(mean), np.empty_like(covariance)
    for star in range(len(mean)):
        points = mean[star] + normal @ factor[star].T
        weights = _prior(points)
        if weights.sum() ** 2 < _TOO_FEW * (weights**2).sum() or weights.sum() == 0:
            points = _chain(mean[star], covariance[star], seed)
            weights = _prior(points)
        labels = from_working(points)
        weights = weights / weights.sum()
        found_mean[star] = weights @ labels
        away = labels - found_mean[star]
        found_covariance[star] = (weights[:, None] * away).T @ away
    return found_mean, found_covariance


def bayesian_bound(truth: np.ndarray, covariance: np.ndarray, seed: int = 0, repeats: int = 8) -> np.ndarray:
    """(n, 4) root mean square error of the best estimate of LABELS that knows the grid, for stars of labels (n, 4).

    covariance (n, 4, 4): inverse Fisher matrix in the working coordinates. The variance of the posterior, averaged over
    what noise may show: where the grid is wide against the noise it is the Cramer-Rao bound.
    """
    generator = np.random.default_rng(seed)
    factor = np.linalg.cholesky(_sound(covariance))
    total = np.zeros_like(truth)
    for repeat in range(repeats):
        seen = to_working(truth) + np.einsum("nij,nj->ni", factor, generator.standard_normal(truth.shape))
        total += np.diagonal(moments(seen, covariance, seed + repeat)[1], axis1=1, axis2=2)
    return np.sqrt(total / repeats)


def _prior(working: np.ndarray) -> np.ndarray:
    """(m,) density of points (m, 4), even in LABELS over the grid: dv/du in u, which has no end at u = 0."""
    labels = from_working(working)
    low, high = np.array([RANGES[name] for name in LABELS]).T
    inside = ((labels >= low) & (labels <= high)).all(1) & (working[:, _VSINI] > 0)
    inside &= labels[:, 1] >= lowest_logg(labels[:, 0])
    u = np.maximum(working[:, _VSINI], 1e-6)
    return np.where(inside, (u + V0) / np.sqrt(u * (u + 2 * V0)), 0.0)


def _chain(mean: np.ndarray, covariance: np.ndarray, seed: int) -> np.ndarray:
    """(64 * 16, 4) points of the Gaussian within the grid, by Gibbs sampling (Geweke 1991)."""
    generator = np.random.default_rng(seed)
    low, high = to_working(np.array([[RANGES[name][side] for name in LABELS] for side in (0, 1)]))
    precision = np.linalg.inv(covariance)
    points = np.clip(mean + generator.standard_normal((64, 4)) * (high - low) * 1e-3, low, high)
    points[:, 1] = np.maximum(points[:, 1], lowest_logg(points[:, 0]))
    kept = []
    for sweep in range(_SWEEPS):
        for k in range(4):
            others = [i for i in range(4) if i != k]
            deviation = 1 / np.sqrt(precision[k, k])
            centre = mean[k] - (points[:, others] - mean[others]) @ precision[k, others] / precision[k, k]
            bottom = lowest_logg(points[:, 0]) if k == 1 else np.full(64, low[k])
            top = highest_teff(points[:, 1]) if k == 0 else np.full(64, high[k])
            a, b = (bottom - centre) / deviation, (top - centre) / deviation
            points[:, k] = np.clip(centre + deviation * _between(a, b, generator.random(64)), bottom, top)
        if sweep >= _SWEEPS - 16:
            kept.append(points.copy())
    return np.concatenate(kept)


def _between(low: np.ndarray, high: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Standard normal numbers cut off at low and high, from even ones; also far out in a tail."""
    flip = low > 0  # the lower tail is the accurate one
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    start, stop = ndtr(a), ndtr(b)
    found = ndtri(start + unit * (stop - start))
    # where both ends are so far out that the difference vanishes: an exponential against the nearer end
    far = ~np.isfinite(found) | (log_ndtr(b) < -30)
    nearer = b + np.log(np.maximum(unit, 1e-12)) / np.maximum(np.abs(b), 1.0)
    found = np.where(far, np.maximum(nearer, a), found)
    return np.where(flip, -found, found)


def _sound(covariance: np.ndarray) -> np.ndarray:
    """Symmetric and positive, for Cholesky: a hair on the diagonal."""
    even = (covariance + np.swapaxes(covariance, 1, 2)) / 2
    return even + 1e-10 * np.einsum("nii->ni", even)[:, :, None] * np.eye(even.shape[1])
