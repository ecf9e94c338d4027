"""What all readers share: opening with one-line refusals, axes, time bounds."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.urls import exists, filesystem, is_remote
from sciml.data import catalogue
from sciml.data.months import SECOND, Records, records


@contextlib.contextmanager
def reading(file: str) -> Iterator[None]:
    """Turn the exceptions of the file libraries, for a damaged file, into one line that names the file.

    The libraries open lazily, so the block must hold the reading of the values too.
    """
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{file}: cannot be read: permission denied; check access") from error
    except (OSError, RuntimeError, EOFError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: cannot be read to its end ({text}); truncated or damaged? fetch it again") from error


def require_file(file: str) -> None:
    """Refuse a missing file, folder or bucket in one line."""
    if not exists(file):
        raise InputError(f"{file}: no such file, folder or bucket; check the path")


def open_netcdf(file: str, *, decode: bool = True) -> xr.Dataset:
    """Open a NetCDF file lazily, local or s3://. Times stay numbers (`decode_time` reads them); fills become NaN.

    Raises InputError for a missing or damaged file and for one that is no NetCDF.
    """
    require_file(file)
    with reading(file):
        try:
            if is_remote(file):
                fs, path = filesystem(file)
                source: Any = fs.open(path, "rb")
                return xr.open_dataset(source, engine="h5netcdf", decode_times=False, mask_and_scale=decode)
            return xr.open_dataset(file, engine="netcdf4", decode_times=False, mask_and_scale=decode)
        except ValueError as error:
            raise InputError(
                f"{file}: no NetCDF file ({' '.join(str(error).split())[:160]}); check the path"
            ) from error


def require(ds: xr.Dataset, names: Iterable[str], *, file: str, layout: str) -> None:
    """Refuse a dataset that lacks variables, naming them and what is there."""
    missing = [name for name in names if name not in ds.variables]
    if missing:
        there = ", ".join(sorted(map(str, ds.variables))) or "nothing"
        raise InputError(
            f"{file}: variable {', '.join(repr(name) for name in missing)} missing; {layout} expected it; found {there}"
        )


def rename_axes(ds: xr.Dataset, *, file: str) -> xr.Dataset:
    """Call the axes `lat` and `lon`."""
    known = {"latitude": "lat", "longitude": "lon", "Latitude": "lat", "Longitude": "lon", "y": "lat", "x": "lon"}
    ds = ds.rename({old: new for old, new in known.items() if old in ds.dims and new not in ds.variables})
    for axis in ("lat", "lon"):
        if axis not in ds.variables or ds[axis].dims != (axis,):
            raise InputError(
                f"{file}: no one-dimensional axis '{axis}'; found dimensions {', '.join(map(str, ds.dims))}; "
                "expected a regular latitude-longitude grid"
            )
    return ds


def order_axes(ds: xr.Dataset, *, file: str) -> xr.Dataset:
    """Latitude ascending, longitude ascending in [-180, 180), whatever the file has; lazy where the data are.

    Raises InputError for axes that are no coordinates of a regular grid.
    """
    ds = rename_axes(ds, file=file)
    lat = np.asarray(ds["lat"].values, dtype=np.float64)
    lon = np.asarray(ds["lon"].values, dtype=np.float64)
    for name, values, low, high in (("lat", lat, -90.0, 90.0), ("lon", lon, -180.0, 360.0)):
        if not np.isfinite(values).all() or values.min() < low - 1e-6 or values.max() > high + 1e-6:
            raise InputError(
                f"{file}: axis '{name}': found {np.nanmin(values)} .. {np.nanmax(values)}, "
                f"expected {low} .. {high} degrees"
            )
    wrapped = (lon + 180.0) % 360.0 - 180.0
    ds = ds.assign_coords(lat=lat, lon=wrapped)
    for axis in ("lat", "lon"):
        values = ds[axis].values
        if len(np.unique(values)) != len(values):
            raise InputError(f"{file}: axis '{axis}' holds a value twice; expected each once")
        if (np.diff(values) < 0).any():
            ds = ds.isel({axis: np.argsort(values, kind="stable")})
    ds["lat"].attrs.update(standard_name="latitude", units="degrees_north")
    ds["lon"].attrs.update(standard_name="longitude", units="degrees_east")
    return ds


def resolution_degrees(axis: np.ndarray, *, file: str, name: str) -> float:
    """Spacing of an ascending axis; a regional file may lack rows, so the least step counts. Refuses irregular axes."""
    if len(axis) < 2:
        raise InputError(f"{file}: axis '{name}' has {len(axis)} value; expected at least 2, to know the resolution")
    steps = np.diff(axis)
    step = float(steps.min())
    if not np.allclose(steps / step, np.round(steps / step), atol=1e-2):
        raise InputError(
            f"{file}: axis '{name}' is irregular: steps {step:g} .. {steps.max():g}; expected a regular grid"
        )
    # axes are often single precision: the whole span tells the step better than one difference
    return float(axis[-1] - axis[0]) / round(float(axis[-1] - axis[0]) / step)


def decode_time(variable: xr.DataArray, *, file: str, units: str | None = None) -> np.ndarray:
    """CF times as datetime64[s], same shape. units: used where the variable has none (bounds often have none).

    Some producers write the attribute as `Units`.
    """
    attributes = {str(key).lower(): value for key, value in {**variable.encoding, **variable.attrs}.items()}
    if np.issubdtype(variable.dtype, np.datetime64):
        return np.asarray(variable.values).astype(SECOND)
    text = attributes.get("units") or units
    if text is None or "since" not in str(text).lower():
        raise InputError(
            f"{file}: variable '{variable.name}': found units {text!r}, "
            "expected 'days since YYYY-MM-DD'; correct the attribute"
        )
    values = np.asarray(variable.values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{file}: variable '{variable.name}': found missing times, expected a time for each record")
    calendar = str(attributes.get("calendar", "standard")).lower()
    unit, origin = str(text).lower().split("since", 1)
    seconds = {"day": 86400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0}.get(unit.strip().rstrip("s"))
    if seconds is None or calendar not in {"standard", "gregorian", "proleptic_gregorian"}:
        raise InputError(
            f"{file}: variable '{variable.name}': found '{text}' in calendar '{calendar}', "
            "expected days, hours, minutes or "
            "seconds since a date in the standard calendar"
        )
    try:
        start = np.datetime64(_iso(origin), "s")
    except ValueError as error:
        raise InputError(
            f"{file}: variable '{variable.name}': found no date in '{text}'; expected YYYY-MM-DD"
        ) from error
    return start + np.round(values * seconds).astype("timedelta64[s]")


def order_records(ds: xr.Dataset, variable: str, *, file: str) -> tuple[xr.Dataset, Records]:
    """GRACE records in order of time: the dataset, its record dimension called `time`, and the validated records.

    Raises InputError where `time_bounds` is missing, misshapen, or holds two identical records.
    """
    require(ds, ("time_bounds",), file=file, layout="a GRACE product")
    units = units_of(ds, "time") if "time" in ds.variables else None
    bounds = decode_time(ds["time_bounds"], file=file, units=units)
    time = str(ds[variable].dims[0])
    if bounds.shape != (ds.sizes[time], 2):
        raise InputError(f"{file}: variable 'time_bounds': found shape {bounds.shape}, expected ({ds.sizes[time]}, 2)")
    order = np.argsort(bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) // 2, kind="stable")
    ds = ds.rename({time: "time"}) if time != "time" else ds
    if (np.diff(order) != 1).any():
        ds = ds.isel(time=order)
    return ds, records(bounds[order, 0], bounds[order, 1], file=file)


def storage_map(file: str, *, layout: str) -> xr.Dataset:
    """A gridded storage product, `lwe_thickness(time, lat, lon)` in cm with `time_bounds`, lazily (dask).

    Returns `twsa` (time, lat, lon) [kg m-2, which is mm], `time_bounds` (time, bound), `land` (lat, lon) bool where the
    file has `land_mask`; lat and lon ascending, lon in [-180, 180). The range is checked on up to 24 records.
    """
    ds = order_axes(open_netcdf(file), file=file)
    require(ds, ("lwe_thickness", "time_bounds"), file=file, layout=layout)
    with reading(file):
        ds, found = order_records(ds, "lwe_thickness", file=file)
        units = units_of(ds, "lwe_thickness")
        raw = ds["lwe_thickness"].transpose("time", "lat", "lon")
        steps = np.unique(np.linspace(0, len(found) - 1, 24).astype(int))
        sample = catalogue.convert("twsa", raw.isel(time=steps).values, units=units or "cm", file=file)
        land = ds["land_mask"].transpose("lat", "lon").values > 0.5 if "land_mask" in ds else None
    judged = sample if land is None else np.where(land, sample, np.nan)
    catalogue.check_range("twsa", judged, file=file, units=units, axis=0, what="lwe_thickness")
    twsa = catalogue.convert("twsa", raw.chunk({"time": 12}), units=units or "cm", file=file).astype("float32")
    twsa.attrs = catalogue.entry("twsa").attributes
    out = xr.Dataset({"twsa": twsa.drop_vars("time", errors="ignore")}).assign_coords(time=found.middle)
    out["time_bounds"] = (("time", "bound"), np.stack([found.start, found.end], axis=-1))
    if land is not None:
        out["land"] = (("lat", "lon"), land)
    out.attrs.update(source=file, layout=layout, notes=[])
    return out


def units_of(ds: xr.Dataset, name: str) -> str | None:
    """The units attribute, None where the file has none."""
    attributes = {str(key).lower(): value for key, value in ds[name].attrs.items()}
    found = attributes.get("units")
    return None if found is None or not str(found).strip() else str(found)


def note(ds: xr.Dataset, *lines: str) -> xr.Dataset:
    """Add remarks that the run should say (attribute `notes`, a list)."""
    ds.attrs["notes"] = [*ds.attrs.get("notes", []), *lines]
    return ds


def _iso(text: str) -> str:
    parts = text.strip().rstrip("z").replace("t", " ").replace(" utc", "").split()
    year, month, day = (int(part) for part in parts[0].split("-"))
    clock = parts[1].split(".")[0] if len(parts) > 1 else "00:00:00"
    hour, minute, second = ([int(part) for part in clock.split(":")] + [0, 0])[:3]
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"
