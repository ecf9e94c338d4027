"""Time windows: GRACE records, calendar months, and means over either.

A GRACE record has bounds of its own (`time_bounds`): it may be 13 or 38 days long, begin in the middle of a month, span
two months, overlap its neighbour; some calendar months hold two records and some none. Predictors are averaged over the
record's own bounds. Every window is half-open, [start, end).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sciml.core.errors import InputError

SECOND = "datetime64[s]"
MONTH = "datetime64[M]"
MEAN_MONTH_S = 86400.0 * 365.25 / 12  # kg m-2 s-1 times this is mm in a month of mean length


@dataclass(frozen=True, eq=False)
class Windows:
    """Spans of time. start, end: (window,) datetime64[s], half-open."""

    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def middle(self) -> np.ndarray:
        return self.start + (self.end - self.start) // 2


@dataclass(frozen=True, eq=False)
class Records(Windows):
    """GRACE solutions, in order of their middles."""

    @property
    def month(self) -> np.ndarray:
        """Calendar month of each record: (record,) datetime64[M], the one it overlaps most.

        On a tie (15 days of December, 15 of January) the month that holds the middle, which is the later one.
        """
        return np.array([_main_month(a, b) for a, b in zip(self.start, self.end, strict=True)], dtype=MONTH)

    def after(self, first: int) -> "Records":
        """The records from number `first` on."""
        return Records(self.start[first:], self.end[first:])


@dataclass(frozen=True, eq=False)
class Timeline(Windows):
    """Windows of a period: each calendar month, replaced by its records' own bounds where it has any.

    month: (window,) datetime64[M]; observed: (window,) bool; record: (window,) index into the records, -1 for a month
    without one. A month with two records has two rows.
    """

    month: np.ndarray
    observed: np.ndarray
    record: np.ndarray

    @property
    def days(self) -> np.ndarray:
        """Length of each window [days]."""
        return (self.end - self.start) / np.timedelta64(86400, "s")

    def select(self, rows: np.ndarray) -> "Timeline":
        """The windows that a boolean mask or an index array picks."""
        return Timeline(self.start[rows], self.end[rows], self.month[rows], self.observed[rows], self.record[rows])

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """Put values of the records on the windows: (..., record) -> (..., window), NaN where nothing was observed."""
        values = np.asarray(values)
        out = np.full((*values.shape[:-1], len(self)), np.nan, dtype=values.dtype)
        out[..., self.observed] = values[..., self.record[self.observed]]
        return out


def records(start: np.ndarray, end: np.ndarray, *, file: str) -> Records:
    """Validated GRACE records.

    start, end: (record,) anything NumPy takes as datetime64. Overlapping records and two records in one calendar month
    are legal. Raises InputError for an empty or reversed record, disorder, or two records with identical bounds.
    """
    start = np.asarray(start).astype(SECOND)
    end = np.asarray(end).astype(SECOND)
    if start.ndim != 1 or start.shape != end.shape:
        raise InputError(f"{file}: time bounds have shapes {start.shape} and {end.shape}; expected one pair per record")
    if np.isnat(start).any() or np.isnat(end).any():
        raise InputError(f"{file}: time bounds of record {_first(np.isnat(start) | np.isnat(end))} are missing")
    if (end <= start).any():
        i = _first(end <= start)
        raise InputError(f"{file}: record {i} ends at {end[i]}, not after its start {start[i]}; check time_bounds")
    found = Records(start, end)
    order = np.lexsort((end, start))
    same = (np.diff(start[order]) == np.timedelta64(0)) & (np.diff(end[order]) == np.timedelta64(0))
    if same.any():
        i, j = sorted(order[_first(same) : _first(same) + 2])
        raise InputError(
            f"{file}: records {i} and {j} have identical time bounds {start[i]} .. {end[i]}; "
            "expected each solution once; remove one of them"
        )
    if (np.diff(found.middle) < np.timedelta64(0)).any():
        i = _first(np.diff(found.middle) < np.timedelta64(0)) + 1
        raise InputError(f"{file}: record {i} ({start[i]} .. {end[i]}) comes after a later one; sort the file by time")
    return found


def timeline(first: np.datetime64 | str, stop: np.datetime64 | str, found: Records) -> Timeline:
    """Windows of the half-open period [first, stop) of months.

    A record belongs to the period by its calendar month (`Records.month`), so its bounds may reach a few days outside.
    """
    period = np.arange(_month(first), _month(stop))
    mine = found.month
    inside = np.flatnonzero((mine >= period[0]) & (mine <= period[-1])) if len(period) else np.array([], dtype=int)
    bare = np.setdiff1d(period, mine)
    month = np.concatenate([mine[inside], bare])
    start = np.concatenate([found.start[inside], bare.astype(SECOND)])
    end = np.concatenate([found.end[inside], (bare + 1).astype(SECOND)])
    record = np.concatenate([inside, np.full(len(bare), -1)]).astype(np.int64)
    order = np.lexsort((start + (end - start) // 2, month))
    return Timeline(start[order], end[order], month[order], record[order] >= 0, record[order])


def interval_means(
    values: np.ndarray, source_start: np.ndarray, source_end: np.ndarray, start: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """Means over windows of values that hold over intervals, weighted by the overlap in time.

    values: (interval, ...), constant over [source_start, source_end), intervals in order and apart; start, end:
    (window,). Returns (window, ...) in values' floating dtype. A window that the intervals do not cover wholly is
    NaN, and a NaN inside a window stays NaN: a mean of a part would be another quantity.
    """
    values = np.asarray(values)
    dtype = values.dtype if np.issubdtype(values.dtype, np.floating) else np.float64
    out = np.full((len(start), *values.shape[1:]), np.nan, dtype=dtype)
    for window, part, weight in _overlaps(source_start, source_end, start, end):
        out[window] = np.tensordot(weight, values[part].astype(np.float64, copy=False), axes=1)
    return out


def record_means(values: np.ndarray, days: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Means of daily values over GRACE's own month bounds; days that a record covers in part count in part.

    values: (day, ...); days: (day,) dates, any hour of the day; bounds: (record, 2) datetime64. Returns (record, ...).
    NaN where a record is not covered by the days (predictors that end before GRACE does).
    """
    day = np.asarray(days).astype("datetime64[D]")
    bounds = np.asarray(bounds).astype(SECOND)
    return interval_means(values, day.astype(SECOND), (day + 1).astype(SECOND), bounds[:, 0], bounds[:, 1])


def month_seconds(months: np.ndarray) -> np.ndarray:
    """Length of calendar months [s]. months: any datetime64 -> same shape, float64."""
    first = np.asarray(months).astype(MONTH)
    return ((first + 1).astype(SECOND) - first.astype(SECOND)).astype(np.float64)


def _overlaps(
    source_start: np.ndarray, source_end: np.ndarray, start: np.ndarray, end: np.ndarray
) -> Iterator[tuple[int, slice, np.ndarray]]:
    a, b = np.asarray(source_start).astype(SECOND), np.asarray(source_end).astype(SECOND)
    start, end = np.asarray(start).astype(SECOND), np.asarray(end).astype(SECOND)
    if (a[1:] < b[:-1]).any() or (b <= a).any():
        raise ValueError("source intervals must be in order, apart and not empty")
    low = np.searchsorted(b, start, side="right")
    high = np.searchsorted(a, end, side="left")
    for window in range(len(start)):
        part = slice(int(low[window]), int(high[window]))
        seconds = (np.minimum(b[part], end[window]) - np.maximum(a[part], start[window])).astype(np.int64)
        length = int((end[window] - start[window]).astype(np.int64))
        if seconds.sum() == length:
            yield window, part, seconds / length


def _month(text: np.datetime64 | str) -> np.datetime64:
    return np.datetime64(text).astype(MONTH)


def _main_month(start: np.datetime64, end: np.datetime64) -> np.datetime64:
    months = np.arange(start.astype(MONTH), (end - np.timedelta64(1, "s")).astype(MONTH) + 1)
    left = np.maximum(start, months.astype(SECOND))
    right = np.minimum(end, (months + 1).astype(SECOND))
    overlap = (right - left).astype(np.int64)
    # argmax of the reversed array: the later month of a tie, which holds the middle
    return months[len(months) - 1 - int(np.argmax(overlap[::-1]))]


def _first(mask: np.ndarray) -> int:
    return int(np.flatnonzero(mask)[0])
