"""Gridded precipitation as monthly totals: CPC's daily NetCDF layout and its like.

CPC Global Unified Gauge-Based Analysis: `precip(time, lat, lon)` daily totals, latitude descending, longitude 0..360,
`hours since 1900-01-01`, missing -9.96921e+36. Written to that specification, not tried on a real file. Any regular
grid of days, months or hours with one precipitation variable in depth or rate is read alike.
"""

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data import catalogue
from sciml.data.months import MONTH, SECOND, interval_means, month_seconds
from sciml.data.readers.common import resolution_degrees, units_of
from sciml.data.readers.gridded import finish, intervals, open_gridded, seconds_of
from sciml.data.readers.regrid import to_resolution

LAYOUT = "gridded precipitation"
NAMES = ("precip", "precipitation", "pr", "tp", "prcp", "rain")
INCHES = ("in", "inch", "inches", "in/day", "inches/day", "in day-1", "inch/day", "in/month", "inches/month")
MM_PER_INCH = 25.4
_FILL = -1e30  # CPC's missing value lies below it, whether or not an attribute says so


def open_precipitation(url: str, *, resolution: float | None = None) -> xr.Dataset:
    """`pr` [kg m-2 s-1] lazily, (time, lat, lon), axes ascending, lon in [-180, 180), `time_bounds` (time, bound).

    url: Zarr store, NetCDF file, local folder or pattern. resolution: where given, area means over regular cells of so
    many degrees. Depths per step (mm) become rates by the length of the step. Raises InputError naming what was found
    and expected; inches are refused with their factor.
    """
    ds = open_gridded(url)
    found = [name for name in NAMES if name in ds.data_vars]
    if not found:
        there = ", ".join(sorted(map(str, ds.data_vars))) or "none"
        raise InputError(f"{url}: no precipitation: found variables {there}; expected one of {', '.join(NAMES)}")
    name = found[0]
    units = units_of(ds, name)
    if units is None:
        raise InputError(f"{url}: variable '{name}': no units attribute; expected mm/day, mm or kg m-2 s-1; add it")
    if catalogue.canonical_units(units).lower() in INCHES:
        raise InputError(
            f"{url}: variable '{name}': found units '{units}', expected millimetres; multiply by {MM_PER_INCH:g} and"
            " write mm in its place"
        )
    bounds = intervals(ds["time"].values, file=url)
    if catalogue.canonical_units(units) == "mm month-1" and (bounds[0, 1] - bounds[0, 0]) < np.timedelta64(28, "D"):
        raise InputError(f"{url}: variable '{name}': found units '{units}' on steps of {bounds[0, 1] - bounds[0, 0]}")
    values = ds[name].where(ds[name] > _FILL)
    rate = catalogue.convert("pr", values, units=units, file=url, seconds=seconds_of(bounds, values))
    out = finish({"pr": rate}, bounds, file=url, layout=LAYOUT, notes=[])
    return out if resolution is None else to_resolution(out, resolution, file=url)


def monthly_totals(ds: xr.Dataset, latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precipitation of calendar months at cells: months (month,) datetime64[M] that are covered wholly, and
    (cell, month) [mm], NaN at cells off the grid or without data, and in months with a missing step.

    ds: from `open_precipitation`. latitude, longitude: (cell,) [degrees]; each takes the grid cell that holds it.
    """
    bounds = ds["time_bounds"].values.astype(SECOND)
    first, stop = bounds[0, 0], bounds[-1, 1]
    begin = first.astype(MONTH) + int(first.astype(MONTH).astype(SECOND) != first)
    months = np.arange(begin, stop.astype(MONTH))
    rows, lat_inside = _place(ds["lat"].values, latitude, str(ds.attrs["source"]), "lat")
    columns, lon_inside = _place(ds["lon"].values, longitude, str(ds.attrs["source"]), "lon")
    total = np.full((len(latitude), len(months)), np.nan)
    inside = lat_inside & lon_inside
    used, where = np.unique(np.stack([rows[inside], columns[inside]]), axis=1, return_inverse=True)
    points = ds["pr"].isel(lat=xr.DataArray(used[0], dims="point"), lon=xr.DataArray(used[1], dims="point"))
    start, end = months.astype(SECOND), (months + 1).astype(SECOND)
    mean = interval_means(points.values, bounds[:, 0], bounds[:, 1], start, end)
    total[inside] = (mean * month_seconds(months)[:, None]).T[np.asarray(where).ravel()]
    return months, total


def _place(axis: np.ndarray, wanted: np.ndarray, file: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Index of the grid cell that holds each coordinate, and whether any does."""
    step = resolution_degrees(axis, file=file, name=name)
    index = np.clip(np.searchsorted(axis, wanted - step / 2), 0, len(axis) - 1)
    return index, np.abs(axis[index] - wanted) <= step / 2 + 1e-6
