"""Season, trend and what is left, on irregular record times.

GRACE records lie where the mission put them: months are missing, two may share one. So every fit is a least-squares fit
at the true times of the records that are there, never a filter over a filled series.
"""

from dataclasses import dataclass

import numpy as np

from sciml.core.errors import InputError

DAYS_PER_YEAR = 365.25
EPOCH = np.datetime64("2000-01-01", "s")


def years_since_2000(time: np.ndarray) -> np.ndarray:
    """time: (record,) datetime64 -> years of 365.25 days since 2000-01-01, float64."""
    return (np.asarray(time).astype("datetime64[s]") - EPOCH).astype(np.float64) / (86400 * DAYS_PER_YEAR)


def calendar_month(time: np.ndarray) -> np.ndarray:
    """time: (record,) datetime64, the middle of each record -> calendar month 0..11."""
    return np.asarray(time).astype("datetime64[M]").astype(np.int64) % 12


def climatology(values: np.ndarray, time: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Mean of each calendar month over the training records, the linear trend taken out in the same fit.

    values: (unit, record) training records only; time: (record,) datetime64; mask: (unit, record) or (record,) bool,
    true where a record counts. Returns (unit, 12) in the units of the data; its level is that of the middle of the
    records. Raises InputError where a unit lacks a calendar month altogether: its climatology does not exist.
    """
    values, keep = _masked(values, mask)
    month = calendar_month(time)
    indicator = np.eye(12)[month]
    counts = keep.astype(float) @ indicator
    if (counts == 0).any():
        unit, absent = np.argwhere(counts == 0)[0]
        raise InputError(
            f"climatology: unit {unit} has no training record in calendar month {absent + 1}; expected every month at "
            "least once; lengthen the training period or leave the unit out"
        )
    # Partial regression: take the month means out of both time and values, regress, put the slope back into the means.
    years = years_since_2000(time)
    clock = np.where(keep, years - _mean(np.broadcast_to(years, keep.shape), keep)[:, None], 0.0)
    month_value, month_clock = ((a @ indicator) / counts for a in (np.where(keep, values, 0.0), clock))
    rest = np.where(keep, clock - month_clock[:, month], 0.0)
    power = (rest**2).sum(axis=1)
    slope = np.where(power > 1e-9, (rest * np.where(keep, values, 0.0)).sum(axis=1) / np.maximum(power, 1e-9), 0.0)
    return month_value - slope[:, None] * month_clock


def anomalies(values: np.ndarray, time: np.ndarray, cycle: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Deseasonalised, detrended values: less the training-year climatology, less the line through what is left.

    values: (unit, record); cycle: (unit, 12) from `climatology`. The line is fitted to the scored records of this very
    series, so offset and trend, which raw scores punish, play no part. Returns (unit, record), NaN outside the mask.
    """
    values, keep = _masked(values, mask)
    left = np.where(keep, values - cycle[:, calendar_month(time)], 0.0)
    years = years_since_2000(time)
    clock = np.where(keep, years - _mean(np.broadcast_to(years, keep.shape), keep)[:, None], 0.0)
    power = (clock**2).sum(axis=1)
    slope = np.where(power > 0, (clock * left).sum(axis=1) / np.where(power > 0, power, 1.0), 0.0)
    return np.where(keep, left - _mean(left, keep)[:, None] - slope[:, None] * clock, np.nan)


@dataclass(frozen=True, eq=False)
class Cycle:
    """Trend and annual cycle of each unit. trend: units of the data per year; amplitude: units of the data, half of
    peak to peak of the annual wave; phase_days: day of the year of its maximum, [0, 365.25), 0 is 1 January. NaN
    where undefined.
    """

    trend: np.ndarray
    amplitude: np.ndarray
    phase_days: np.ndarray


def cycle(values: np.ndarray, time: np.ndarray, mask: np.ndarray | None = None, *, fewest_records: int = 12) -> Cycle:
    """Least-squares fit of offset, line, annual and semi-annual wave at the true record times.

        x(t) = a + b t + sum_k [c_k cos(2 pi k t) + s_k sin(2 pi k t)],  k = 1, 2,  t in years

    values: (unit, record); time: (record,) datetime64; mask: (unit, record) or (record,) bool. A unit with fewer than
    `fewest_records` records, or with times that do not tell the terms apart, gets NaN.
    """
    values, keep = _masked(values, mask)
    years = years_since_2000(time)
    middle, half = years.mean(), max(float(np.ptp(years)) / 2, 1e-9)
    wave = 2 * np.pi * years
    waves = [part(k * wave) for k in (1, 2) for part in (np.cos, np.sin)]
    design = np.stack([np.ones_like(years), (years - middle) / half, *waves], axis=-1)
    gram = np.einsum("ur,rp,rq->upq", keep.astype(float), design, design, optimize=True)
    right = np.where(keep, values, 0.0) @ design
    defined = (keep.sum(axis=1) >= fewest_records) & (np.linalg.cond(gram) < 1e6)
    gram[~defined] = np.eye(design.shape[1])
    fit = np.linalg.solve(gram, right[..., None])[..., 0]
    fit[~defined] = np.nan
    phase = np.arctan2(fit[:, 3], fit[:, 2]) / (2 * np.pi) * DAYS_PER_YEAR
    return Cycle(fit[:, 1] / half, np.hypot(fit[:, 2], fit[:, 3]), np.mod(phase, DAYS_PER_YEAR))


def phase_difference_months(predicted_days: np.ndarray, observed_days: np.ndarray) -> np.ndarray:
    """Predicted less observed phase on the circle [months], in [-6, 6): positive where the prediction peaks late."""
    turn = (np.asarray(predicted_days) - np.asarray(observed_days)) / DAYS_PER_YEAR
    return 12 * (np.mod(turn + 0.5, 1.0) - 0.5)


def _masked(values: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, dtype=np.float64)
    keep = np.ones(values.shape, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), values.shape)
    bad = np.isnan(values) & keep
    if bad.any():
        unit, record = np.argwhere(bad)[0]
        raise InputError(
            f"season and trend: found {int(bad.sum())} NaN in records to be fitted, the first at unit {unit}, record "
            f"{record}; expected numbers; leave those records out by the mask"
        )
    return values, keep


def _mean(values: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return np.where(keep, values, 0.0).sum(axis=1) / np.maximum(keep.sum(axis=1), 1)
