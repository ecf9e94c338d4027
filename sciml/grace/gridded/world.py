"""Where mascons, predictors and truth of the gridded job come from: files, or the generated Earth."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data import months
from sciml.data.months import Records, Timeline
from sciml.data.readers import predictors as predictor_readers
from sciml.data.readers.common import note
from sciml.data.readers.mascons import select
from sciml.grace.windows import is_monthly, months_covered, predictor_steps


@dataclass(frozen=True, eq=False)
class Target:
    """A predictand: its name in stores and scores, and its variables (mascon, record) in the series store."""

    name: str
    experiment: str
    twsa: str
    uncertainty: str


@dataclass(frozen=True, eq=False)
class World:
    """What the job works on.

    mascons: geometry as `sciml.data.readers.grctellus.read` gives it. names: predictors. months: (month,) that they
    cover. windows: all windows to predict. daily: opens them lazily, (time, cell) or (time, lat, lon). series_url,
    truth_url: stores of (mascon, record) observations and of (cell, window) truth; digest: what all of it depends on.
    climate: (mascon,) label, empty where it is not known.
    """

    mascons: xr.Dataset
    records: Records
    names: tuple[str, ...]
    months: np.ndarray
    windows: Timeline
    daily: Callable[[], xr.Dataset]
    series_url: str
    digest: str
    targets: tuple[Target, ...]
    truth_url: str = ""
    climate: tuple[str, ...] = ()


def records_of(mascons: xr.Dataset) -> Records:
    """The records of a mascon dataset."""
    bounds = mascons["time_bounds"].values
    return Records(bounds[:, 0].astype(months.SECOND), bounds[:, 1].astype(months.SECOND))


def open_predictors(url: str, resolution: float) -> xr.Dataset:
    """The predictors that networks take, of any format we read, at the cells' resolution; `notes` says what is odd."""
    found = predictor_readers.open_predictors(url, resolution=resolution)
    names = [name for name in predictor_readers.PREDICTORS if name in found]
    if not names:
        wanted = ", ".join(predictor_readers.PREDICTORS)
        raise InputError(f"{url}: none of the predictors {wanted} in it; found {', '.join(map(str, found.data_vars))}")
    if is_monthly(predictor_steps(found)):
        note(found, f"{url}: monthly predictors; each is taken to hold all month in means over GRACE's own bounds")
    return found[names]


def with_predictors(mascons: xr.Dataset, predictors: xr.Dataset) -> xr.Dataset:
    """Mascons most of whose land lies inside the predictors' grid; `notes` says what was left out.

    A grid may be regional, or end at 60 S as GLDAS does. Raises InputError where it touches none.
    """
    inside = np.ones(mascons.sizes["cell"], bool)
    for axis in ("lat", "lon"):
        at, ends = mascons[f"cell_{axis}"].values, predictors[axis].values[[0, -1]]
        inside &= (at > ends[0] - 0.01) & (at < ends[1] + 0.01)
    area, parent = mascons["cell_area_km2"].values, mascons["cell_parent"].values
    count = mascons.sizes["mascon"]
    keep = np.bincount(parent, area * inside, count) >= 0.5 * np.bincount(parent, area, count)
    if not keep.any():
        spans = [f"{predictors[axis].values[0]:g} .. {predictors[axis].values[-1]:g}" for axis in ("lat", "lon")]
        raise InputError(
            f"predictors of latitudes {spans[0]} and longitudes {spans[1]}: found no mascon there, expected some of"
            f" {count}; give predictors of the mascons' land"
        )
    if keep.all():
        return mascons
    text = f"{count - keep.sum()} of {count} mascons lie outside the predictors' grid and are left out"
    return note(select(mascons, keep), text)


def covered_windows(predictors: xr.Dataset, records: Records) -> tuple[np.ndarray, Timeline, str]:
    """Months that the predictors cover, the windows from the first record to their end, and a word on what is lost.

    Predictors may end before GRACE does: downscaling ends where they end.
    """
    steps = predictor_steps(predictors)
    covered = months_covered(steps)
    first, last = records.month[0], records.month[-1]
    if not len(covered) or covered[-1] < first or covered[0] > last:
        days = steps[0, 0].astype("datetime64[D]"), steps[-1, 1].astype("datetime64[D]") - 1
        raise InputError(
            f"predictors from {days[0]} to {days[1]}, GRACE from {first} to {last}: found no month in common,"
            " expected predictors of the training and test years"
        )
    stop = min(last, covered[-1]) + 1
    said = ""
    if covered[-1] < last:
        said = f"predictors end in {covered[-1]}, GRACE in {last}: downscaling ends with the predictors"
    return covered, months.timeline(max(first, covered[0]), stop, records), said
