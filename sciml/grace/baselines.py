"""What every trained model stands beside: climatology with trend, last year's value, ridge.

All are point predictions from (unit, month) storage with NaN where there is no training value; members come from
`sciml.grace.calibration`, the same way for every model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.core.errors import InputError
from sciml.grace.features import season

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
FitPredict = Callable[[Array, Mask], Array]

FEWEST_MONTHS = 24  # of storage, below which nothing is fitted to a unit
ALPHAS = (3.0, 10.0, 30.0, 100.0, 300.0)


def climatology_trend(storage: Array, months: NDArray[np.datetime64], keep: Mask) -> Array:
    """Least squares on level, trend and two harmonics of the months in `keep`, carried to all months.

    storage: (unit, month) [mm]; months, keep: (month,). Returns (unit, month) [mm].
    """
    number = months.astype("datetime64[M]").astype(np.int64)
    years = (number - number[keep].mean()) / 12
    design = np.concatenate([np.ones((len(months), 1)), years[:, None], season(months, 2)], axis=1)
    out = np.empty(storage.shape)
    for unit, values in enumerate(np.asarray(storage, float)):
        use = keep & np.isfinite(values)
        if use.sum() < 2 * design.shape[1]:
            raise InputError(f"climatology: unit {unit} has {use.sum()} training values, expected at least 12")
        out[unit] = design @ np.linalg.lstsq(design[use], values[use], rcond=None)[0]
    return out


def last_year(storage: Array, months: NDArray[np.datetime64], keep: Mask) -> Array:
    """The same calendar month of the latest earlier year that has a value; before any year, the first later one.

    Where a calendar month was never observed, the mean of the unit's kept months. Shapes as in `climatology_trend`.
    """
    number = months.astype("datetime64[M]").astype(np.int64)
    values = np.where(keep & np.isfinite(storage), storage, np.nan)
    mean = np.nanmean(values, axis=1, keepdims=True)
    out = np.repeat(mean, len(months), axis=1)
    for unit in range(len(storage)):
        known = np.flatnonzero(np.isfinite(values[unit]))
        for calendar in range(12):
            same = known[number[known] % 12 == calendar]
            asked = np.flatnonzero(number % 12 == calendar)
            if len(same):
                before = np.searchsorted(same, asked) - 1
                out[unit, asked] = values[unit, same[np.maximum(before, 0)]]
    return out


def ridge(table: Array, storage: Array, keep: Mask, alpha: float) -> Array:
    """One ridge regression per unit on standardised columns, intercept not penalised.

        min |y - b - Z k|^2 + alpha |k|^2

    table: (unit, month, column); storage: (unit, month) [mm]; keep: (month,). Returns (unit, month) [mm], NaN where the
    table has a gap.
    """
    out = np.full(storage.shape, np.nan)
    for unit, (rows, values) in enumerate(zip(table, np.asarray(storage, float), strict=True)):
        complete = np.isfinite(rows).all(axis=1)
        use = keep & np.isfinite(values) & complete
        if use.sum() < FEWEST_MONTHS:
            raise InputError(
                f"ridge: unit {unit} has {use.sum()} complete training months, expected at least {FEWEST_MONTHS}"
            )
        mean, deviation = rows[use].mean(axis=0), rows[use].std(axis=0)
        scaled = (rows - mean) / np.where(deviation > 1e-9, deviation, 1.0)
        z, y = scaled[use], values[use] - values[use].mean()
        coefficients = np.linalg.solve(z.T @ z + alpha * np.eye(z.shape[1]), z.T @ y)
        out[unit, complete] = scaled[complete] @ coefficients + values[use].mean()
    return out


def out_of_fold(model: FitPredict, storage: Array, keep: Mask, folds: Sequence[Mask]) -> Array:
    """Predictions of each validation block by the model fitted without it: (unit, month), NaN outside `keep`.

    folds: masks (month,) of the validation blocks, which share no month. Where a unit has fewer than FEWEST_MONTHS
    values outside a block it gets NaN in it. The model must not look at months where storage is NaN.
    """
    out = np.full(storage.shape, np.nan)
    for valid in folds:
        enough = np.isfinite(storage[:, keep & ~valid]).sum(axis=1) >= FEWEST_MONTHS
        seen = np.where(valid & enough[:, None], np.nan, storage)
        out[:, valid] = np.where(enough[:, None], model(seen, keep), np.nan)[:, valid]
    out[:, ~keep] = np.nan
    return out


def median_nse(predicted: Array, storage: Array, folds: Sequence[Mask]) -> float:
    """Mean over blocks of the units' median NSE, each block against its own mean, as in a test on later years."""
    scores = []
    for valid in folds:
        use = valid & np.isfinite(storage) & np.isfinite(predicted)
        some = use.any(axis=1)
        observed = np.where(use, storage, np.nan)[some]
        error = np.where(use, predicted - storage, 0.0)[some]
        power = np.nansum((observed - np.nanmean(observed, axis=1, keepdims=True)) ** 2, axis=1)
        scores.append(float(np.median(1 - (error**2).sum(axis=1) / np.maximum(power, 1e-9))))
    return float(np.mean(scores))


@dataclass(frozen=True)
class Choice:
    """A setting chosen by cross-validation and the score of each candidate."""

    value: float
    scores: dict[float, float]


def choose_alpha(
    table: Array, storage: Array, keep: Mask, folds: Sequence[Mask], alphas: Sequence[float] = ALPHAS
) -> Choice:
    """One alpha for all units: the best mean of median NSE over the validation blocks."""

    def score(alpha: float) -> float:
        predicted = out_of_fold(lambda y, use: ridge(table, y, use, alpha), storage, keep, folds)
        return median_nse(predicted, np.where(keep, storage, np.nan), [valid & keep for valid in folds])

    scores = {alpha: score(alpha) for alpha in alphas}
    return Choice(max(scores, key=lambda alpha: scores[alpha]), scores)
