"""Statistics of predictions against observations that merge.

Only this module touches data. Every score in `scores` is a function of a `Statistics`, so one definition serves an
array, partial results of many workers, and the years of a bootstrap: `a + b` is the statistics of both.
"""

from dataclasses import dataclass, fields

import numpy as np

from sciml.core.errors import InputError
from sciml.metrics.ensembles import central_interval, crps


@dataclass(frozen=True, eq=False)
class Statistics:
    """Moments and sums over the scored records of each unit. All arrays have one shape, (unit,) or (year, unit),
    float64.

    n: records; means of observed and predicted; their sums of squared deviations and the co-moment about those means;
    sums of squared error, of CRPS, of hits of the central 90 % interval (NaN for a single member), and of
    squared observation uncertainty (NaN where none was given). Moments are about the mean, not about zero, and merge by
    Chan, Golub & LeVeque (1979), so that a large offset (kelvin) costs no digits.
    """

    n: np.ndarray
    observed_mean: np.ndarray
    predicted_mean: np.ndarray
    observed_square: np.ndarray
    predicted_square: np.ndarray
    product: np.ndarray
    square_error: np.ndarray
    crps: np.ndarray
    hits: np.ndarray
    square_uncertainty: np.ndarray

    def __add__(self, other: "Statistics") -> "Statistics":
        """Statistics of the records of both; the two must not share any."""
        pair = Statistics(**{f.name: np.stack([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)})
        return pair.merged()

    def merged(self, counts: np.ndarray | None = None) -> "Statistics":
        """Statistics over the first axis.

        counts: (part,) or (draw, part), how often each part is taken (a bootstrap); default once. Returns statistics of
        the other axes, after the draws if there are any. A part without records adds nothing, whatever its means are.
        """
        times = np.ones(len(self.n)) if counts is None else np.asarray(counts, dtype=np.float64)

        def total(values: np.ndarray) -> np.ndarray:
            return np.tensordot(times, values, axes=1)

        n = total(self.n)
        safe = np.maximum(n, 1)
        # about the mean of all parts, which no draw is far from: no digits are lost, and no loop over draws is needed
        everything = np.maximum(self.n.sum(axis=0), 1)
        centre = [(self.n * m).sum(axis=0) / everything for m in (self.observed_mean, self.predicted_mean)]
        o, p = self.observed_mean - centre[0], self.predicted_mean - centre[1]
        shift_o, shift_p = total(self.n * o) / safe, total(self.n * p) / safe
        return Statistics(
            n=n,
            observed_mean=np.where(n > 0, centre[0] + shift_o, 0.0),
            predicted_mean=np.where(n > 0, centre[1] + shift_p, 0.0),
            observed_square=np.maximum(total(self.observed_square + self.n * o**2) - n * shift_o**2, 0.0),
            predicted_square=np.maximum(total(self.predicted_square + self.n * p**2) - n * shift_p**2, 0.0),
            product=total(self.product + self.n * o * p) - n * shift_o * shift_p,
            square_error=total(self.square_error),
            crps=total(self.crps),
            hits=total(self.hits),
            square_uncertainty=total(self.square_uncertainty),
        )

    def grouped(self, labels: np.ndarray) -> "Statistics":
        """Statistics of groups of units, all their records pooled.

        labels: (unit,); statistics of shape (unit,) only. Returns shape (group,), in the order of np.unique(labels).
        """
        parts = [self.take(np.flatnonzero(labels == label)).merged() for label in np.unique(labels)]
        return Statistics(**{f.name: np.stack([getattr(p, f.name) for p in parts]) for f in fields(self)})

    def take(self, rows: np.ndarray) -> "Statistics":
        """The units of an index array or a mask on the last axis."""
        return Statistics(**{f.name: getattr(self, f.name)[..., rows] for f in fields(self)})


def statistics(
    observed: np.ndarray,
    members: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    uncertainty: np.ndarray | None = None,
) -> Statistics:
    """Statistics of each unit.

    observed: (unit, record); members: (unit, member, record), the point prediction is their mean; mask: (unit,
    record) or (record,) bool, true where a record is scored (default: everywhere); uncertainty: (unit, record)
    standard error of the observation, in its units. A NaN that the mask did not announce raises InputError: scores
    over an unknown subset cannot be compared. Values outside the mask are ignored.
    """
    observed = np.asarray(observed, dtype=np.float64)
    members = np.asarray(members, dtype=np.float64)
    if observed.ndim != 2 or members.shape[:1] + members.shape[2:] != observed.shape:
        raise ValueError(
            f"observed {observed.shape} and members {members.shape}: expected (unit, record) and (unit, member, record)"
        )
    keep = np.ones(observed.shape, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), observed.shape)
    _refuse_nan("observed", np.isnan(observed) & keep)
    _refuse_nan("predicted", np.isnan(members).any(axis=1) & keep)
    observed = np.where(keep, observed, 0.0)
    members = np.where(keep[:, None], members, 0.0)
    if uncertainty is None:
        square_uncertainty = np.full(len(observed), np.nan)
    else:
        _refuse_nan("uncertainty", np.isnan(uncertainty) & keep)
        square_uncertainty = _sum(np.asarray(uncertainty, dtype=np.float64) ** 2, keep)

    n = keep.sum(axis=1).astype(np.float64)
    predicted = members.mean(axis=1)
    lower, upper = central_interval(members)
    hit = np.where(np.isnan(lower), np.nan, (observed >= lower) & (observed <= upper))
    observed_mean, predicted_mean = (_sum(a, keep) / np.maximum(n, 1) for a in (observed, predicted))
    from_observed, from_predicted = observed - observed_mean[:, None], predicted - predicted_mean[:, None]
    return Statistics(
        n=n,
        observed_mean=observed_mean,
        predicted_mean=predicted_mean,
        observed_square=_sum(from_observed**2, keep),
        predicted_square=_sum(from_predicted**2, keep),
        product=_sum(from_observed * from_predicted, keep),
        square_error=_sum((predicted - observed) ** 2, keep),
        crps=_sum(crps(observed, members), keep),
        hits=_sum(hit, keep),
        square_uncertainty=square_uncertainty,
    )


def _sum(values: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return np.where(keep, values, 0.0).sum(axis=1)


def _refuse_nan(name: str, bad: np.ndarray) -> None:
    if bad.any():
        unit, record = np.argwhere(bad)[0]
        raise InputError(
            f"scores: {name} values: found {int(bad.sum())} NaN in records to be scored, the first at unit {unit}, "
            f"record {record}; expected numbers; leave those records out by the mask or mend the values"
        )
