"""Predictors over time windows: calendar months for memory, GRACE's own bounds for the month that is predicted."""

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import MONTH, SECOND, Records, interval_means


def window_means(daily: xr.Dataset, months: np.ndarray, records: Records) -> xr.Dataset:
    """Means of daily predictors over calendar months and over GRACE's records.

    daily: variables (time, ...), one value a day, lazy or not, any chunks along places. months: (month,) datetime64[M].
    Returns for each variable `<name>` (..., month) and `<name>_record` (..., record), float32, NaN where the days do
    not cover a window wholly (predictors that end before GRACE does). Lazy where the input is; Dask chunks along
    places stay as they are.
    """
    days = daily["time"].values.astype("datetime64[D]")
    if len(days) < 2 or (np.diff(days) != np.timedelta64(1, "D")).any():
        place = int(np.flatnonzero(np.diff(days) != np.timedelta64(1, "D"))[0]) if len(days) > 1 else 0
        raise InputError(
            f"predictors: axis 'time' after {days[place] if len(days) else 'nothing'}: found a step that is not one"
            " day, expected daily values without gaps"
        )
    month_start, month_end = months.astype(MONTH).astype(SECOND), (months.astype(MONTH) + 1).astype(SECOND)
    found = {}
    for name, values in daily.data_vars.items():
        found[str(name)] = _means(values, days, month_start, month_end, "month")
        found[f"{name}_record"] = _means(values, days, records.start, records.end, "record")
    bounds = {"record_start": ("record", records.start), "record_end": ("record", records.end)}
    return xr.Dataset(found).assign_coords(bounds | {"month": month_start})


def _means(values: xr.DataArray, days: np.ndarray, start: np.ndarray, end: np.ndarray, dim: str) -> xr.DataArray:
    begins, ends = days.astype(SECOND), (days + 1).astype(SECOND)

    def mean(block: np.ndarray) -> np.ndarray:
        series = np.moveaxis(block, -1, 0)
        return np.moveaxis(interval_means(series, begins, ends, start, end), 0, -1).astype(np.float32)

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


def months_covered(days: np.ndarray) -> np.ndarray:
    """Calendar months that daily values cover wholly: (month,) datetime64[M]."""
    first, stop = days[0].astype("datetime64[D]"), days[-1].astype("datetime64[D]") + 1
    begin = first.astype(MONTH) + int(first.astype(MONTH).astype("datetime64[D]") != first)
    return np.arange(begin, stop.astype(MONTH))
