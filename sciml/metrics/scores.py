"""Scores as functions of statistics. Each returns an array of the statistics' shape; NaN where a score is undefined
(no records, or no variance where one is divided by)."""

from collections.abc import Callable

import numpy as np

from sciml.metrics.statistics import Statistics

Score = Callable[[Statistics], np.ndarray]


def nse(s: Statistics) -> np.ndarray:
    """Nash-Sutcliffe efficiency, 1 - sum (p - o)^2 / sum (o - mean o)^2 (Nash & Sutcliffe 1970): at most 1, 0 for the
    mean.
    """
    return 1 - _ratio(s.square_error, s.observed_square)


def r(s: Statistics) -> np.ndarray:
    """Pearson correlation of observed and predicted."""
    value = _ratio(s.product, np.sqrt(s.observed_square) * np.sqrt(s.predicted_square))
    return np.clip(value, -1, 1)


def rmse(s: Statistics) -> np.ndarray:
    """Root mean squared error, in the units of the data."""
    return np.sqrt(_ratio(s.square_error, s.n))


def bias(s: Statistics) -> np.ndarray:
    """Mean of predicted minus mean of observed, in the units of the data."""
    return np.where(s.n > 0, s.predicted_mean - s.observed_mean, np.nan)


def crps(s: Statistics) -> np.ndarray:
    """Mean fair continuous ranked probability score (`ensembles.crps`), in the units of the data."""
    return _ratio(s.crps, s.n)


def coverage90(s: Statistics) -> np.ndarray:
    """Share of records in the central 90 % interval of the members (`ensembles.central_interval`)."""
    return _ratio(s.hits, s.n)


def rmse_over_uncertainty(s: Statistics) -> np.ndarray:
    """RMSE over the root mean squared uncertainty of the same observations: 1 where the error is the observation's
    own.
    """
    return np.sqrt(_ratio(s.square_error, s.square_uncertainty))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    undefined = ~(below > 0)
    return np.where(undefined, np.nan, above / np.where(undefined, 1.0, below))
