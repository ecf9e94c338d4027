"""Wells: groundwater level from local predictors at wells and in years that were left out together.

The level (positive upwards, the negative of the depth to water) is deseasonalised and standardised by the well's own
training years. A cell of the cross-validation is a region of wells in a block of years: its model is trained on the
other regions in the other years, so neither the wells nor their weather were seen.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciml.core.errors import InputError
from sciml.data.months import MEAN_MONTH_S, MONTH
from sciml.data.readers import wells as reader
from sciml.data.splits import neighbourhoods, year_folds

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

PREDICTORS = ("pr", "lst", "cw", "mrso", "snw", "vegetation", "discharge", "twsa")
REGIONS = 4
FEWEST_WELLS = 8
FEWEST_MONTHS = 24  # of training at a well, below which its season cannot be told


@dataclass(frozen=True)
class WellSetup:
    """A table of wells and the number of blocks of years; equal setups are prepared once in each process."""

    file: str
    folds: int

    def prepare(self) -> "Wells":
        return _prepare(self)


@dataclass(frozen=True, eq=False)
class Cell:
    """What is left out together. wells: (well,), months: (month,) bool."""

    wells: Mask
    months: Mask


@dataclass(frozen=True, eq=False)
class Wells:
    """months: (month,). predictors: (well, month, predictor) as in PREDICTORS, rain in mm month-1, NaN where missing.
    level: (well, month) [m], negative depth to water. region: (well,) label. latitude, longitude: (well,) [degrees].
    """

    names: NDArray[np.str_]
    months: NDArray[np.datetime64]
    predictors: Array
    level: Array
    region: NDArray[np.int64]
    latitude: Array
    longitude: Array
    folds: int
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        """Every region in every block of years; a well and a month lie in exactly one."""
        everything = np.ones(len(self.names), bool), np.ones(len(self.months), bool)
        return cells(self.region, self.months, *everything, self.folds)

    def inner_cells(self, outer: Cell) -> list[Cell]:
        """The same among the wells and years that `outer` leaves for training: where settings are chosen."""
        return cells(self.region, self.months, ~outer.wells, ~outer.months, max(2, self.folds - 1))


def cells(region: NDArray[np.int64], months: NDArray[np.datetime64], units: Mask, keep: Mask, folds: int) -> list[Cell]:
    """Regions x blocks of years among `units` (well,) and `keep` (month,); masks are of the full lengths."""
    found = []
    for fold in year_folds(months[keep], folds):
        valid = np.zeros(len(months), bool)
        valid[np.flatnonzero(keep)[fold.valid]] = True
        found += [Cell(units & (region == label), valid) for label in np.unique(region[units])]
    return found


@functools.lru_cache(maxsize=2)
def _prepare(setup: WellSetup) -> Wells:
    table = reader.read(setup.file)
    names = table["well"].values.astype(str)
    if len(names) < FEWEST_WELLS:
        raise InputError(
            f"{setup.file}: found {len(names)} wells, expected at least {FEWEST_WELLS}: regions of wells are left out"
        )
    predictors = np.stack([table[name].values.astype(float) for name in PREDICTORS], axis=-1)
    predictors[..., PREDICTORS.index("pr")] *= MEAN_MONTH_S
    empty = ~np.isfinite(predictors).any(axis=1)
    if empty.any():
        well, column = np.argwhere(empty)[0]
        raise InputError(f"{setup.file}: well '{names[well]}' has no value of {PREDICTORS[column]}; leave the well out")
    latitude, longitude = table["lat"].values, table["lon"].values
    nowhere = ~np.isfinite(latitude) | ~np.isfinite(longitude)
    if nowhere.any():
        raise InputError(f"{setup.file}: well '{names[nowhere][0]}' has no Lat or Long; regions need its place")
    return Wells(
        names=names,
        months=table["time"].values.astype(MONTH),
        predictors=predictors,
        level=-table["groundwater_depth"].values.astype(float),
        region=neighbourhoods(latitude, longitude, REGIONS, seed=0),
        latitude=latitude,
        longitude=longitude,
        folds=setup.folds,
        notes=tuple(table.attrs.get("notes", ())),
    )


def month_means(values: Array, months: NDArray[np.datetime64], keep: Mask) -> Array:
    """Mean of each calendar month over the kept months: (unit, month, ...) -> (unit, 12, ...), NaN where none."""
    calendar, known = months.astype(MONTH).astype(int) % 12, np.isfinite(values)
    out = np.full((values.shape[0], 12, *values.shape[2:]), np.nan)
    for month in range(12):
        chosen = keep & (calendar == month)
        count = known[:, chosen].sum(axis=1)
        total = np.where(known[:, chosen], values[:, chosen], 0.0).sum(axis=1)
        out[:, month] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out


def anomalies(values: Array, months: NDArray[np.datetime64], keep: Mask) -> Array:
    """Values less the mean of their calendar month over the kept months; shape as values (unit, month, ...)."""
    return values - month_means(values, months, keep)[:, months.astype(MONTH).astype(int) % 12]


@dataclass(frozen=True, eq=False)
class Standard:
    """anomaly: (well, month) [m], deseasonalised; scale: (well,) [m], its deviation over the training months; both NaN
    for a well with too few training months. mean_depth: (well,) [m] over the training months."""

    anomaly: Array
    scale: Array
    mean_depth: Array


def standardise(wells: Wells, keep: Mask) -> Standard:
    """Each well by its own kept months: nothing of any other month enters climatology, scale or depth."""
    inside = np.where(keep, wells.level, np.nan)
    enough = np.isfinite(inside).sum(axis=1) >= FEWEST_MONTHS
    level = np.where(enough[:, None], wells.level, np.nan)
    anomaly = anomalies(level, wells.months, keep)
    known = np.isfinite(anomaly) & keep
    square = np.where(known, anomaly, 0.0) ** 2
    scale = np.sqrt(square.sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    depth = -np.where(np.isfinite(inside), inside, 0.0).sum(axis=1) / np.maximum(np.isfinite(inside).sum(axis=1), 1)
    return Standard(anomaly, np.where(enough & (scale > 0), scale, np.nan), depth)


def out_of_sample(wells: Wells, units: Sequence[Cell]) -> Array:
    """Observed anomaly [m] of every cell by the climatology of the months outside the cell: (well, month)."""
    out = np.full(wells.level.shape, np.nan)
    for cell in units:
        place = np.ix_(cell.wells, cell.months)
        standard = standardise(wells, ~cell.months)
        out[place] = np.where(np.isfinite(standard.scale)[:, None], standard.anomaly, np.nan)[place]
    return out
