"""Training and test periods, folds of years, folds of places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree

from sciml.core.errors import ConfigError
from sciml.core.grid import EARTH_RADIUS_KM, unit_vectors

MONTH = "datetime64[M]"


@dataclass(frozen=True)
class Period:
    """Half-open range of months: [first, stop), written YYYY-MM."""

    first: str
    stop: str

    def __post_init__(self) -> None:
        try:
            empty = np.datetime64(self.stop, "M") <= np.datetime64(self.first, "M")
        except ValueError as error:
            raise ConfigError(f"period {self.first} .. {self.stop}: {error}; write months as YYYY-MM") from error
        if empty:
            raise ConfigError(f"period {self.first} .. {self.stop} is empty; the last month must come after the first")

    @property
    def months(self) -> np.ndarray:
        """All months of the period: (month,) datetime64[M]."""
        return np.arange(np.datetime64(self.first, "M"), np.datetime64(self.stop, "M"))

    def contains(self, months: np.ndarray) -> np.ndarray:
        """Which months lie in the period: same shape, bool."""
        months = np.asarray(months).astype(MONTH)
        return (months >= np.datetime64(self.first, "M")) & (months < np.datetime64(self.stop, "M"))


@dataclass(frozen=True)
class Split:
    """A training and a test period that share no month."""

    train: Period
    test: Period

    def __post_init__(self) -> None:
        if self.train.contains(self.test.months).any():
            raise ConfigError(
                f"training period {self.train.first} .. {self.train.stop} and test period "
                f"{self.test.first} .. {self.test.stop} share months; make them disjoint"
            )


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: train, valid are boolean masks over times (year folds) or over places (region folds)."""

    train: np.ndarray
    valid: np.ndarray


def year_folds(months: np.ndarray, folds: int, *, gap_months: int = 0) -> list[Fold]:
    """Blocked cross-validation by whole calendar years.

    months: (time,) months of the training period, any order, repeats allowed (two records in a month). The years are
    cut into `folds` runs of consecutive years of nearly equal number; each is valid once. gap_months: months before
    and after a validation block that belong to neither, since lagged and accumulated predictors reach across the
    border. Masks have shape (time,); the valid masks partition the times.
    """
    months = np.asarray(months).astype(MONTH)
    years = np.unique(months.astype("datetime64[Y]"))
    if not 2 <= folds <= len(years):
        raise ConfigError(f"{folds} folds of years: expected 2 to {len(years)}, the number of years in training")
    result = []
    for block in np.array_split(years, folds):
        first, stop = block[0].astype(MONTH), (block[-1] + 1).astype(MONTH)
        valid = (months >= first) & (months < stop)
        near = (months >= first - gap_months) & (months < stop + gap_months)
        result.append(Fold(train=~near, valid=valid))
    return result


def separation_km(places: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Least distance between the cells of each two units.

    places: per unit (latitude, longitude) of its cells [degrees]; empty arrays where the place is unknown. Returns
    (unit, unit) [km]: 0 for units that share a cell, NaN where either place is unknown.
    """
    trees = [cKDTree(unit_vectors(*place)) if len(place[0]) else None for place in places]
    out = np.full((len(places), len(places)), np.nan)
    for i, one in enumerate(trees):
        for j in range(i, len(trees)):
            other = trees[j]
            if one is None or other is None:
                continue
            small, large = (one, other) if one.n <= other.n else (other, one)
            chord = float(np.min(large.query(small.data)[0]))
            out[i, j] = out[j, i] = 2 * EARTH_RADIUS_KM * np.arcsin(min(chord / 2, 1.0))
    return out


def left_out(separation: np.ndarray, held_out: np.ndarray, *, distance_km: float = 500.0) -> np.ndarray:
    """Units that must not train when some are held out: these, all within `distance_km` of any of them, and those whose
    distance is unknown, since nobody can say that they are far.

    separation: (unit, unit) [km] from `separation_km`; held_out: (unit,) bool. Returns (unit,) bool.
    """
    distance = separation[:, held_out]
    return held_out | (np.isnan(distance) | (distance <= distance_km)).any(axis=1)


def region_folds(
    latitude: np.ndarray,
    longitude: np.ndarray,
    separation: np.ndarray,
    folds: int,
    *,
    distance_km: float = 500.0,
    seed: int = 0,
) -> list[Fold]:
    """Folds of places: neighbourhoods held out together with everything near them.

    latitude, longitude: (unit,) centroids [degrees], NaN where unknown: such a unit is held out in no fold and, its
    distance being unknown, trains in none. separation: (unit, unit) [km]. Neighbourhoods are k-means clusters of unit
    vectors; each unit with a known place is valid in exactly one fold.
    """
    known = np.isfinite(latitude) & np.isfinite(longitude)
    if not 2 <= folds <= int(known.sum()):
        raise ConfigError(
            f"{folds} folds of regions: expected 2 to {int(known.sum())}, the number of units with a place"
        )
    label = np.full(len(known), -1)
    label[known] = neighbourhoods(latitude[known], longitude[known], folds, seed=seed)
    result = []
    for k in range(folds):
        valid = label == k
        if valid.any():
            result.append(Fold(train=~left_out(separation, valid, distance_km=distance_km), valid=valid))
    return result


def neighbourhoods(latitude: np.ndarray, longitude: np.ndarray, groups: int, *, seed: int = 0) -> np.ndarray:
    """k-means of centroids on the unit sphere. latitude, longitude: (unit,) [degrees] -> (unit,) label in [0, groups).

    Labels are numbered in order of first appearance; a group that k-means left empty has no label.
    """
    points = unit_vectors(np.asarray(latitude, float), np.asarray(longitude, float))
    raw = kmeans2(points, groups, iter=50, minit="++", seed=seed, missing="warn")[1]
    _, first, inverse = np.unique(raw, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
