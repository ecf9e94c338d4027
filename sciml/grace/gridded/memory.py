"""Predictors with memory for networks that serve mascons and cells alike: anomalies and their running means.

Everything stays in physical units and is scaled by numbers of all training mascons together, never by a place's own: a
cell that swings twice as much as its mascon shall be seen to do so.
"""

import numpy as np

from sciml.data.months import MEAN_MONTH_S, Timeline
from sciml.grace.lags import month_position

MEANS = (3, 6, 12, 24)  # months
LATENT_HEAT = 2.5e6  # J kg-1, of vaporisation at 0 degC
SCALES = {
    "pr": MEAN_MONTH_S,
    "mrros": MEAN_MONTH_S,
    "hfls": MEAN_MONTH_S / LATENT_HEAT,
}  # to mm per month, fluxes beside stores


def in_millimetres(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Fluxes in mm a month, the rest as it is: (..., variable) -> the same."""
    return values * np.array([SCALES.get(name, 1.0) for name in names], np.float32)


def record_series(
    monthly: np.ndarray, recorded: np.ndarray, windows: Timeline, months: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Monthly series in which months with a record hold the record's own window.

    monthly: (place, month, variable); recorded: (place, record, variable). Returns pairs of a series like `monthly` and
    the windows (indices) that it serves. Where a month holds two records, a second series holds the second.
    """
    position = month_position(windows, months)
    order = np.zeros(len(windows), int)
    for window in range(1, len(windows)):
        if position[window] == position[window - 1]:
            order[window] = order[window - 1] + 1
    found = []
    for number in range(int(order.max()) + 1):
        series = monthly.copy()
        inside = (position >= 0) & (position < monthly.shape[1]) & windows.observed
        chosen = np.flatnonzero(inside & (order <= number))  # a later record of a month overwrites an earlier one
        series[:, position[chosen]] = recorded[:, windows.record[chosen]]
        found.append((series, np.flatnonzero(order == number)))
    return found


def inputs(monthly: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Anomalies and running means of anomalies: (place, month, variable) -> (place, month, variable * 5).

    reference: (month,) bool, the training months whose mean is taken out. A running mean at the start of the series is
    over the months there are.
    """
    anomaly = monthly - monthly[:, reference].mean(axis=1, keepdims=True, dtype=np.float64)
    total = np.concatenate([np.zeros_like(anomaly[:, :1]), np.cumsum(anomaly, axis=1)], axis=1)
    month = np.arange(monthly.shape[1])
    parts = [anomaly]
    for length in MEANS:
        first = np.maximum(month + 1 - length, 0)
        parts.append((total[:, month + 1] - total[:, first]) / (month + 1 - first)[None, :, None])
    return np.concatenate(parts, axis=-1)


def attributes(monthly: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each predictor over the reference months: (place, 2 * variable)."""
    inside = monthly[:, reference].astype(np.float64)
    return np.concatenate([inside.mean(axis=1), inside.std(axis=1)], axis=-1)
