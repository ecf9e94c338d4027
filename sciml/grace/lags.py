"""Short histories of predictors for models of one unit: lagged months and the season.

The month that is predicted enters with its record's own window; what came before enters by calendar month.
"""

import numpy as np

from sciml.data.months import Timeline


def month_position(windows: Timeline, months: np.ndarray) -> np.ndarray:
    """Place of each window's calendar month on the axis of months: (window,); may lie outside it."""
    return (windows.month.astype("datetime64[M]") - months[0].astype("datetime64[M]")).astype(np.int64)


def at_windows(monthly: np.ndarray, recorded: np.ndarray, windows: Timeline, months: np.ndarray) -> np.ndarray:
    """Predictors of each window: its record's own mean where it has a record, else its calendar month's.

    monthly: (place, month, variable); recorded: (place, record, variable). Returns (place, window, variable), NaN where
    the predictors do not reach.
    """
    position = month_position(windows, months)
    inside = (position >= 0) & (position < monthly.shape[1])
    out = np.full((len(monthly), len(windows), monthly.shape[-1]), np.nan, np.float32)
    out[:, inside] = monthly[:, position[inside]]
    out[:, windows.observed] = recorded[:, windows.record[windows.observed]]
    return out


def lag_sequences(
    monthly: np.ndarray,
    recorded: np.ndarray,
    windows: Timeline,
    months: np.ndarray,
    lags: int,
) -> np.ndarray:
    """Features (place, window, lag, feature), oldest first, float32; NaN where the history is not complete.

    monthly: (place, month, variable); recorded: (place, record, variable). Features of a step: the variables, and sine
    and cosine of the season.
    """
    place, _, variables = monthly.shape
    position = month_position(windows, months)
    out = np.full((place, len(windows), lags + 1, variables + 2), np.nan, np.float32)
    for lag in range(lags + 1):
        when = position - lag
        inside = (when >= 0) & (when < monthly.shape[1])
        step = out[:, :, lags - lag]
        step[:, inside, :variables] = monthly[:, when[inside]]
        season = 2 * np.pi * ((windows.month.astype(np.int64) - lag) % 12) / 12
        step[..., -2], step[..., -1] = np.sin(season), np.cos(season)
    out[:, :, lags, :variables] = at_windows(monthly, recorded, windows, months)
    return out
