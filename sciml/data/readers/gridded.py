"""Lazy grids: one Zarr store, one NetCDF file, or many files of one product, local or s3://.

Nothing is read but the axes and a sample for the range check; the arrays are dask arrays.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.urls import exists, files_in, filesystem, is_folder, is_remote, join, members, read_bytes, refused
from sciml.data import catalogue
from sciml.data.months import MONTH, SECOND
from sciml.data.readers.common import decode_time, order_axes, reading, require_file, units_of

ENDINGS = (".nc", ".nc4", ".h5")  # of the files that a folder stands for
_DAY = np.timedelta64(86400, "s")
_SAMPLE = 24  # time steps that the range check looks at
_JUDGED = 200  # a mean size is believed from this many cells on


def open_gridded(url: str) -> xr.Dataset:
    """Open a grid lazily: `time` as datetime64[s] in order, `lat` and `lon` ascending, lon in [-180, 180).

    url: a Zarr store, a NetCDF file, a folder of NetCDF files, a pattern or a list separated by commas (of files or
    stores that follow each other in time). Raises InputError for what is missing, damaged, has no time axis, differs
    from the other members, or holds a time twice.
    """
    with reading(url):
        ds = _open(url)
        time = ds["time"].values.astype(SECOND)
    order = np.argsort(time, kind="stable")
    if (np.diff(order) != 1).any():
        ds, time = ds.isel(time=order), time[order]
    if (np.diff(time) == np.timedelta64(0)).any():
        i = int(np.flatnonzero(np.diff(time) == np.timedelta64(0))[0])
        raise InputError(f"{url}: axis 'time' holds {time[i]} twice; expected each time once")
    return ds


def intervals(time: np.ndarray, *, file: str, stamp: str = "start") -> np.ndarray:
    """The interval each time stands for, from the step of the axis: (time, 2) datetime64[s].

    Daily stamps stand for their day at any hour, monthly ones for their calendar month; sub-daily ones for the step
    that begins (`stamp="start"`) or ends (`stamp="end"`) there. Raises InputError for another step or a single time.
    """
    time = np.asarray(time).astype(SECOND)
    if len(time) < 2:
        raise InputError(f"{file}: axis 'time' has {len(time)} step; expected at least 2, to know the length of a step")
    step = np.diff(time).min()
    if np.timedelta64(28, "D") <= step <= np.timedelta64(31, "D"):
        first = time.astype(MONTH)
        return np.stack([first.astype(SECOND), (first + 1).astype(SECOND)], axis=-1)
    if step == _DAY:
        first = time.astype("datetime64[D]")
        return np.stack([first.astype(SECOND), (first + 1).astype(SECOND)], axis=-1)
    if step < _DAY and _DAY % step == np.timedelta64(0, "s"):
        return np.stack([time - step, time] if stamp == "end" else [time, time + step], axis=-1)
    raise InputError(f"{file}: axis 'time' has a step of {step}; expected a part of a day, a day or a month")


def finish(
    variables: Mapping[str, xr.DataArray], bounds: np.ndarray, *, file: str, layout: str, notes: list[str]
) -> xr.Dataset:
    """Predictors as all readers return them.

    variables: catalogue names, dimensions (time, lat, lon), catalogue units; bounds: (time, 2). Steps of hours become
    daily means, for whole days. Adds `time_bounds`, sets `time` to each interval's start, attributes and dtype, and
    checks the ranges on a sample of time steps. Raises InputError, also for a hole in a series of hours.
    """
    out = xr.Dataset({name: data.transpose("time", "lat", "lon") for name, data in variables.items()})
    out, bounds = _daily(out, bounds, file)
    out = out.assign_coords(time=bounds[:, 0], time_bounds=(("time", "bound"), bounds))
    out = out.drop_vars([name for name in out.coords if name not in {"time", "lat", "lon", "time_bounds"}])
    for name in out.data_vars:
        known = catalogue.entry(str(name))
        out[name] = out[name].astype(known.dtype)
        out[name].attrs = known.attributes
        out[name].encoding = {}
    out.attrs = {"source": file, "layout": layout, "notes": notes}
    check_sample(out, file=file)
    return out


def check_sample(ds: xr.Dataset, *, file: str) -> None:
    """Range check of every variable on up to 24 time steps spread over the record. Raises InputError."""
    steps = np.unique(np.linspace(0, ds.sizes["time"] - 1, _SAMPLE).astype(int))
    for name in ds.data_vars:
        with reading(file):
            try:
                values = ds[name].isel(time=steps).values
            except ValueError as error:  # a Zarr chunk whose checksum or length is wrong
                text = " ".join(str(error).split())[:160]
                raise InputError(
                    f"{file}: variable '{name}' cannot be decoded ({text}); damaged? make it again"
                ) from error
        enough = np.isfinite(values[0]).sum() >= _JUDGED
        catalogue.check_range(str(name), values, file=file, units=None, judge_size=bool(enough))


def seconds_of(bounds: np.ndarray, like: xr.DataArray) -> Any:
    """Length of each interval [s]: a number where all are equal, else an array along time that multiplies `like`."""
    length = (bounds[:, 1] - bounds[:, 0]).astype(np.float64)
    if (length == length[0]).all():
        return float(length[0])
    return xr.DataArray(length, dims="time", coords={"time": like["time"]})


def is_zarr(url: str) -> bool:
    """Whether a URL names a Zarr group (version 2 or 3)."""
    return any(exists(join(url, name)) for name in ("zarr.json", ".zgroup", ".zmetadata"))


def _daily(ds: xr.Dataset, bounds: np.ndarray, file: str) -> tuple[xr.Dataset, np.ndarray]:
    step = bounds[0, 1] - bounds[0, 0]
    if step >= _DAY:
        return ds, bounds
    if (bounds[1:, 0] != bounds[:-1, 1]).any():
        i = int(np.flatnonzero(bounds[1:, 0] != bounds[:-1, 1])[0])
        raise InputError(f"{file}: axis 'time': {bounds[i + 1, 0]} follows {bounds[i, 1]}; fetch the steps between")
    per_day = int(_DAY / step)
    begins = np.flatnonzero(bounds[:, 0] == bounds[:, 0].astype("datetime64[D]").astype(SECOND))
    begins = begins[begins + per_day <= len(bounds)]
    if not len(begins):
        raise InputError(f"{file}: axis 'time': {bounds[0, 0]} .. {bounds[-1, 1]} holds no whole day")
    part = ds.isel(time=slice(int(begins[0]), int(begins[-1]) + per_day))
    days = bounds[begins, 0]
    return part.coarsen(time=per_day).mean().assign_coords(time=days), np.stack([days, days + _DAY], axis=-1)


def _open(url: str) -> xr.Dataset:
    files = [file for member in members(url) for file in _files(member)]
    parts = [_open_one(file) for file in files]
    if len(parts) == 1:
        return parts[0]
    for file, part in zip(files[1:], parts[1:], strict=True):
        _refuse_other(file, part, files[0], parts[0])
    return xr.concat(parts, dim="time", data_vars="minimal", coords="minimal", compat="override", join="override")


def _files(url: str) -> list[str]:
    return files_in(url, ENDINGS) if is_folder(url) and not is_zarr(url) else [url]


def _refuse_other(file: str, part: xr.Dataset, first_file: str, first: xr.Dataset) -> None:
    """Refuse a member that would be joined wrongly: other variables, units or cells than the first one's."""
    if differ := set(first.data_vars) ^ set(part.data_vars):
        raise InputError(f"{file}: variables differ from {first_file}: {', '.join(sorted(map(str, differ)))}")
    for name in first.data_vars:
        found, expected = units_of(part, str(name)), units_of(first, str(name))
        if found != expected:
            raise InputError(f"{file}: variable '{name}': found units {found!r}, expected {expected!r} as {first_file}")
    for axis in ("lat", "lon"):
        if part.sizes[axis] != first.sizes[axis] or not np.allclose(part[axis], first[axis], atol=1e-4):
            raise InputError(f"{file}: axis '{axis}' differs from that of {first_file}; expected one grid")


def _open_one(url: str) -> xr.Dataset:
    """A file or a store with its times decoded (each file's have an origin of their own) and its axes in order."""
    require_file(url)
    with reading(url):
        ds = _open_zarr(url) if is_zarr(url) else _open_netcdf(url)
        if "valid_time" in ds.dims and "time" not in ds.dims:
            ds = ds.drop_vars("time", errors="ignore").rename({"valid_time": "time"})
        if "time" not in ds.dims or "time" not in ds.variables:
            raise InputError(f"{url}: no axis 'time'; found {list(ds.dims)}; expected time, lat, lon")
        decoded = decode_time(ds["time"], file=url)
        return order_axes(ds.assign_coords(time=("time", decoded, {"standard_name": "time"})), file=url)


def _open_zarr(url: str) -> xr.Dataset:
    with refused(url, "read"):
        plain = xr.open_zarr(url, chunks=None, decode_times=False, consolidated=_is_consolidated(url))
    # whole shards: smaller dask chunks would read each shard many times
    chunks: dict[str, int] = {}
    for data in plain.data_vars.values():
        stored = data.encoding.get("shards") or data.encoding.get("chunks") or ()
        for dim, size in zip(data.dims, stored, strict=False):
            chunks[str(dim)] = max(chunks.get(str(dim), 1), int(size))
    return plain.chunk(chunks or {})


def _is_consolidated(url: str) -> bool:
    if exists(join(url, "zarr.json")):
        return "consolidated_metadata" in json.loads(read_bytes(join(url, "zarr.json")))
    return exists(join(url, ".zmetadata"))


def _open_netcdf(url: str) -> xr.Dataset:
    options: dict[str, Any] = {"decode_times": False, "chunks": {}}
    try:
        if is_remote(url):
            fs, path = filesystem(url)
            return xr.open_dataset(fs.open(path, "rb"), engine="h5netcdf", **options)
        return xr.open_dataset(url, engine="netcdf4", **options)
    except ValueError as error:
        raise InputError(
            f"{url}: neither NetCDF nor Zarr ({' '.join(str(error).split())[:160]}); check the path"
        ) from error
