"""From point predictions and their out-of-fold errors to corrected predictions and calibrated members.

Everything here is learned from blocks of training years that the model in question did not see.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sciml.core.seeds import seed_for

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

RECENT_YEARS = 2.0
NINETY = float(norm.ppf(0.95))


def recent_error(residual: Array, months: NDArray[np.datetime64], keep: Mask) -> Array:
    """Mean of out-of-fold residuals over the last `RECENT_YEARS` of `keep`: (unit, 1) [mm].

    Depletion, reservoirs and ice that predictors do not know are persistent: a good part of what a model missed in the
    last two years is still there in the next five; 0 where none is known. residual: (unit, month), NaN
    where unknown; months, keep: (month,).
    """
    number = months.astype("datetime64[M]").astype(np.int64)
    near = keep & (number > number[keep].max() - round(12 * RECENT_YEARS))
    known = np.isfinite(residual) & near
    total = np.where(known, residual, 0.0).sum(axis=1, keepdims=True)
    return total / np.maximum(known.sum(axis=1, keepdims=True), 1)


def error_scale(residual: Array, scale: Array, folds: Sequence[Mask], prior: float = 1.0) -> Array:
    """Standard error of each unit's prediction, scaled so that 90 % intervals cover 90 % of blocks not used for it.

        s_u^2 = (v_u + prior m scale_u^2) / (1 + prior),   v_u the mean square residual, m the median of v_u / scale_u^2

    A unit without residuals has v_u = m scale_u^2. residual: (unit, month) out of fold, NaN elsewhere; scale: (unit,)
    [mm], the unit's variability. Returns (unit,) mm.
    """
    ratios = []
    for number, valid in enumerate(folds):
        others = np.any([fold for other, fold in enumerate(folds) if other != number], axis=0)
        sigma = _shrunk(residual[:, others], scale, prior)
        block = np.abs(residual[:, valid]) / sigma[:, None]
        ratios.append(block[np.isfinite(block)])
    factor = float(np.quantile(np.concatenate(ratios), 0.9)) / NINETY
    return factor * _shrunk(residual, scale, prior)


def _shrunk(residual: Array, scale: Array, prior: float) -> Array:
    known = np.isfinite(residual)
    square = (np.where(known, residual, 0.0) ** 2).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    typical = np.median((square / scale**2)[known.any(axis=1)])
    square = np.where(known.any(axis=1), square, typical * scale**2)
    return np.sqrt((square + prior * typical * scale**2) / (1 + prior))


def members(point: Array, sigma: Array, count: int, seed: int, memory: float = 0.6) -> NDArray[np.float32]:
    """Members (unit, member, month) [mm] around a point prediction, with errors that persist.

    In each month the members are the `count` normal quantiles ((i - 1/2) / count) of width sigma, so their mean is the
    point; the order in which members take them follows a latent mix of a lasting (share `memory` of its variance) and a
    fleeting part, so that errors of neighbouring months agree in sign.
    point: (unit, month); sigma: (unit,) or (unit, month) [mm]; seed: root, to which the unit's number is added.
    """
    quantiles = norm.ppf((np.arange(count) + 0.5) / count)
    quantiles = quantiles / quantiles.std()
    sigma = np.broadcast_to(sigma[:, None] if sigma.ndim == 1 else sigma, point.shape)
    out = np.empty((len(point), count, point.shape[1]), np.float32)
    for unit in range(len(point)):
        rng = np.random.default_rng(seed_for(seed, "members", unit))
        latent = np.sqrt(memory) * rng.standard_normal((count, 1))
        latent = latent + np.sqrt(1 - memory) * rng.standard_normal((count, point.shape[1]))
        rank = latent.argsort(axis=0).argsort(axis=0)
        out[unit] = point[unit] + sigma[unit] * quantiles[rank]
    return out
