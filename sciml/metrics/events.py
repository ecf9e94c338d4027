"""Events forecast and observed: contingency tables, ROC curves and rank correlation.

Everything takes `counts`, how often each record is taken, so that one definition serves the data and the draws of a
bootstrap (`sciml.metrics.bootstrap.draws` over the years of the records). Contingency tables also merge: `a + b`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from sciml.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Contingency:
    """Numbers of records by forecast and observation; arrays of one shape, float64."""

    hits: np.ndarray
    misses: np.ndarray
    false_alarms: np.ndarray
    correct_negatives: np.ndarray

    def __add__(self, other: "Contingency") -> "Contingency":
        """The table of the records of both; the two must not share any."""
        return Contingency(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def merged(self) -> "Contingency":
        """The table of all units pooled: sums over the last axis."""
        return Contingency(*(getattr(self, f.name).sum(axis=-1) for f in fields(self)))

    @property
    def n(self) -> np.ndarray:
        return self.hits + self.misses + self.false_alarms + self.correct_negatives


EventScore = Callable[[Contingency], np.ndarray]


def contingency(
    forecast: np.ndarray, observed: np.ndarray, *, mask: np.ndarray | None = None, counts: np.ndarray | None = None
) -> Contingency:
    """The table of each unit.

    forecast, observed: (unit, record) bool; mask: (unit, record) or (record,) bool, true where a record is scored;
    counts: (draw, record). Returns shape (unit,), or (draw, unit) with counts.
    """
    forecast, observed = np.asarray(forecast), np.asarray(observed)
    if forecast.dtype != bool or observed.dtype != bool or forecast.shape != observed.shape or forecast.ndim != 2:
        raise ValueError(f"forecast {forecast.dtype} {forecast.shape}, observed {observed.dtype} {observed.shape}: "
                         "expected bool of one shape (unit, record)")  # fmt: skip
    keep = np.ones(forecast.shape, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), forecast.shape)
    cells = (forecast & observed, ~forecast & observed, forecast & ~observed, ~forecast & ~observed)
    times = np.ones(forecast.shape[1]) if counts is None else np.asarray(counts, dtype=np.float64)
    return Contingency(*(times @ (cell & keep).T.astype(np.float64) for cell in cells))


def pod(t: Contingency) -> np.ndarray:
    """Probability of detection, or hit rate, or true-positive rate: hits / (hits + misses). NaN without events."""
    return _ratio(t.hits, t.hits + t.misses)


def far(t: Contingency) -> np.ndarray:
    """False-alarm ratio: false alarms / all alarms. NaN without alarms; `pofd` is the false-alarm *rate*."""
    return _ratio(t.false_alarms, t.hits + t.false_alarms)


def pofd(t: Contingency) -> np.ndarray:
    """Probability of false detection, or false-alarm rate: false alarms / (false alarms + correct negatives)."""
    return _ratio(t.false_alarms, t.false_alarms + t.correct_negatives)


def ets(t: Contingency) -> np.ndarray:
    """Equitable threat score (Gilbert skill score): (hits - c) / (hits + misses + false alarms - c), c the hits that
    chance would give, (hits + misses)(hits + false alarms) / n. 1 is perfect, 0 is chance, at least -1/3.
    """
    chance = _ratio((t.hits + t.misses) * (t.hits + t.false_alarms), t.n)
    return _ratio(t.hits - chance, t.hits + t.misses + t.false_alarms - chance)


def peirce(t: Contingency) -> np.ndarray:
    """Peirce skill score (true skill statistic): `pod` - `pofd`. 1 is perfect, 0 is chance."""
    return pod(t) - pofd(t)


@dataclass(frozen=True, eq=False)
class RocCurve:
    """(point,) each, from no alarm at all (threshold inf) to always: an alarm is a forecast >= threshold."""

    threshold: np.ndarray
    pofd: np.ndarray
    pod: np.ndarray


def roc_curve(forecast: np.ndarray, observed: np.ndarray) -> RocCurve:
    """Points of the ROC curve, one for each distinct forecast, so that ties move along one straight line.

    forecast: (record,), higher where an event is likelier; observed: (record,) bool. InputError without any event or
    without any non-event.
    """
    forecast, observed = _checked(forecast, observed.astype(bool))
    positives = float(observed.sum())
    if not 0 < positives < len(observed):
        raise InputError(f"ROC curve: found {int(positives)} events in {len(observed)} records, expected both kinds")
    values, group = np.unique(forecast, return_inverse=True)
    hits = np.bincount(group, observed)[::-1].cumsum()
    alarms = np.bincount(group, ~observed)[::-1].cumsum()
    return RocCurve(
        np.concatenate([[np.inf], values[::-1]]),
        np.concatenate([[0.0], alarms / (len(observed) - positives)]),
        np.concatenate([[0.0], hits / positives]),
    )


def roc_area(forecast: np.ndarray, observed: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: how often an event has the higher forecast than a non-event, ties counting half.

    forecast: (record,); observed: (record,) bool; counts: (draw, record). Returns a scalar array, or (draw,); NaN
    without any event or without any non-event.
    """
    forecast, observed = _checked(forecast, observed.astype(bool))
    times = _times(counts, len(forecast))
    events, others = (_group_sums(forecast, times * which) for which in (observed, ~observed))
    below = np.cumsum(others, axis=-1) - others
    pairs = events.sum(axis=-1) * others.sum(axis=-1)
    return _ratio((events * (below + others / 2)).sum(axis=-1), pairs)


def spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Rank correlation, tied values sharing the mean of their ranks.

    x, y: (record,); counts: (draw, record): the correlation of the sample in which each record stands so often.
    Returns a scalar array, or (draw,); NaN where x or y does not vary.
    """
    x, y = _checked(x, y)
    times = _times(counts, len(x))
    total = np.maximum(times.sum(axis=-1, keepdims=True), 1)
    a, b = (_ranks(v, times) - (total + 1) / 2 for v in (x, y))
    # a mean of counts 0 has no ranks; sums of a constant vanish to rounding only
    power = (times * a**2).sum(axis=-1) * (times * b**2).sum(axis=-1)
    power = np.where(power > 1e-9 * total[..., 0] ** 2, power, 0.0)
    return np.clip(_ratio((times * a * b).sum(axis=-1), np.sqrt(power)), -1, 1)


def _ranks(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    weight = _group_sums(values, times)
    middle = np.cumsum(weight, axis=-1) - weight + (weight + 1) / 2
    return middle[..., np.unique(values, return_inverse=True)[1]]


def _group_sums(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sums of weights (..., record) over the records that hold each distinct value: (..., value), values ascending."""
    if not len(values):
        return weight
    order = np.argsort(values, kind="stable")
    first = np.flatnonzero(np.concatenate([[True], np.diff(values[order]) > 0]))
    return np.add.reduceat(weight[..., order], first, axis=-1)


def _times(counts: np.ndarray | None, records: int) -> np.ndarray:
    return np.ones(records) if counts is None else np.asarray(counts, dtype=np.float64)


def _checked(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"found shapes {x.shape} and {y.shape}, expected one shape (record,)")
    if np.isnan(x).any() or np.isnan(y).any():
        raise InputError("events: found NaN in records to be scored; expected numbers; leave those records out")
    return x, y


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    undefined = ~(np.asarray(below) > 0)
    return np.where(undefined, np.nan, above / np.where(undefined, 1.0, below))
