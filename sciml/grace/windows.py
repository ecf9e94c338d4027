"""Predictors over time windows: calendar months for memory, GRACE's own bounds for the month that is predicted."""

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import MONTH, SECOND, Records, interval_means
from sciml.data.readers.gridded import intervals

DAY = np.timedelta64(86400, "s")


def predictor_steps(predictors: xr.Dataset) -> np.ndarray:
    """The days or calendar months that predictors hold, end to end: (time, 2) datetime64[s].

    Raises InputError for any other step and for a hole.
    """
    file = str(predictors.attrs.get("source", "predictors"))
    bounds = intervals(predictors["time"].values, file=file)
    if bounds[0, 1] - bounds[0, 0] < DAY:
        raise InputError(f"{file}: axis 'time': found parts of days, expected daily or monthly values")
    holes = np.flatnonzero(bounds[1:, 0] != bounds[:-1, 1])
    if len(holes):
        unit = "month" if is_monthly(bounds) else "day"
        after, found = (bounds[holes[0] + k, 0].astype("datetime64[D]") for k in (0, 1))
        raise InputError(
            f"{file}: axis 'time' after {after}: found {found}, a step that is not one {unit}; expected daily or"
            " monthly values without gaps; fetch the missing ones"
        )
    return bounds


def is_monthly(bounds: np.ndarray) -> bool:
    """Whether steps (time, 2) are months and not days."""
    return bool(bounds[0, 1] - bounds[0, 0] > DAY)


def window_means(predictors: xr.Dataset, months: np.ndarray, records: Records) -> xr.Dataset:
    """Means of daily or monthly predictors over calendar months and over GRACE's records, weighted by overlap in time.

    predictors: variables (time, ...), one value a day or a month, lazy or not, any chunks along places; a monthly value
    is taken to hold all month. months: (month,) datetime64[M].
    Returns for each variable `<name>` (..., month) and `<name>_record` (..., record), float32, NaN where the steps do
    not cover a window wholly (predictors that end before GRACE does). Lazy where the input is; Dask chunks along
    places stay as they are.
    """
    steps = predictor_steps(predictors)
    month_start, month_end = months.astype(MONTH).astype(SECOND), (months.astype(MONTH) + 1).astype(SECOND)
    found = {}
    for name, values in predictors.data_vars.items():
        found[str(name)] = _means(values, steps, month_start, month_end, "month")
        found[f"{name}_record"] = _means(values, steps, records.start, records.end, "record")
    bounds = {"record_start": ("record", records.start), "record_end": ("record", records.end)}
    return xr.Dataset(found).assign_coords(bounds | {"month": month_start})


def _means(values: xr.DataArray, steps: np.ndarray, start: np.ndarray, end: np.ndarray, dim: str) -> xr.DataArray:
    def mean(block: np.ndarray) -> np.ndarray:
        series = np.moveaxis(block, -1, 0)
        return np.moveaxis(interval_means(series, steps[:, 0], steps[:, 1], start, end), 0, -1).astype(np.float32)

    result = xr.apply_ufunc(
        mean,
        values.chunk({"time": -1}) if values.chunks else values,
        input_core_dims=[["time"]],
        output_core_dims=[[dim]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {dim: len(start)}},
    )
    return result.assign_attrs(values.attrs | {"cell_methods": "time: mean"})


def months_covered(steps: np.ndarray) -> np.ndarray:
    """Calendar months that steps without gaps, (time, 2), cover wholly: (month,) datetime64[M]."""
    first, stop = steps[0, 0], steps[-1, 1]
    begin = first.astype(MONTH) + int(first.astype(MONTH).astype(SECOND) != first)
    return np.arange(begin, stop.astype(MONTH))
