"""Gridded daily forcing of a land model: CF NetCDF or Zarr, one file of all variables or one a variable and decade.

Known layouts: CF and CMIP names; ISIMIP3 (`MODEL_..._tas_global_daily_1981_1990.nc`, `pr prsn tas huss ps` in kg m-2
s-1, K, 1, Pa); the names of GSWP3 and WFDE5 (`Rainf Snowf Tair Qair PSurf`); the forcing of PCR-GLOBWB (`precipitation`
in m a day and `temperature` in degC, units attribute "undefined": told by the mean, or by `units`). Maps (time, lat,
lon) or packed cells (time, cell) with `lat` and `lon` along the cells. ISIMIP3 and GSWP3 are written to their
specification, not tried on a real file.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from sciml.core.errors import ConfigError, InputError
from sciml.core.grid import cell_area_km2
from sciml.core.urls import files_in, is_folder, members
from sciml.data import catalogue
from sciml.data.readers.common import decode_time, open_netcdf, reading, resolution_degrees, units_of
from sciml.data.readers.daily import calendar_of, checked
from sciml.data.readers.gridded import ENDINGS, finish, intervals, is_zarr, open_gridded

LAYOUT = "gridded forcing"
# names in files, in small letters -> catalogue; "prra" is rain without snow
ALIASES = {
    **dict.fromkeys(("pr", "precip", "precipitation", "prcp", "tp", "total_precipitation"), "pr"),
    **dict.fromkeys(("prra", "rain", "rainf", "rainfall"), "prra"),
    **dict.fromkeys(("prsn", "snow", "snowf", "snowfall", "sf"), "prsn"),
    **dict.fromkeys(("tas", "temperature", "tair", "t2m", "air_temperature"), "tas"),
    **dict.fromkeys(("huss", "qair", "q2m", "specific_humidity"), "huss"),
    **dict.fromkeys(("hurs", "rh", "relative_humidity"), "hurs"),
    **dict.fromkeys(("tdps", "d2m", "tdew", "dew_point", "dewpoint"), "tdps"),
    **dict.fromkeys(("ps", "psurf", "sp", "surface_pressure"), "ps"),
    **dict.fromkeys(("evspsblpot", "pet", "et0", "potential_evaporation", "referencepotet"), "evspsblpot"),
    **{name: name for name in ("snw", "soil_upper", "soil_lower", "mrgw", "mrro", "evspsbl")},
}
FORCING = ("pr", "prra", "prsn", "tas", "huss", "hurs", "tdps", "ps", "evspsblpot")
_SILENT = {"", "undefined", "unknown", "none", "-", "n/a"}  # units attributes that say nothing
# Where nothing says the unit, a mean inside one of these tells it [the unit itself]; precipitation of 0.1 .. 20 mm/day.
_BANDS = {
    "pr": {"kg m-2 s-1": (1.2e-6, 2.3e-4), "m/day": (1e-4, 0.02), "mm/day": (0.1, 20.0)},
    "tas": {"K": (200.0, 325.0), "degC": (-60.0, 50.0)},
    "tdps": {"K": (190.0, 305.0), "degC": (-80.0, 35.0)},
    "huss": {"1": (5e-5, 0.03), "g kg-1": (0.05, 30.0)},
    "hurs": {"1": (0.05, 1.0), "%": (5.0, 100.0)},
    "ps": {"Pa": (4e4, 1.1e5), "hPa": (400.0, 1100.0), "kPa": (40.0, 110.0)},
}
_SAMPLE = 24  # days that the check of a large domain looks at
_LONG = 200  # days in a chunk from which on reading all places of a few days would read everything
_JUDGED = 200  # a mean size is believed from this many cells on; smaller domains are read whole
_DAY = np.timedelta64(86400, "s")


def open_land_forcing(url: str, *, units: Mapping[str, str] | None = None) -> xr.Dataset:
    """Daily forcing lazily, (time, lat, lon) or (time, cell), in catalogue names and units.

    url: a Zarr store, a NetCDF file, a folder, a pattern, or a list of those separated by commas; files of different
    variables are merged over the days that all hold, files of one variable follow each other in time. units: what the
    user says of a variable (its own name or the catalogue's), against a missing or wrong attribute. Steps of hours on
    maps become daily means. Attributes `source`, `layout`, `calendar`, `stamp`, `notes`. Raises InputError for unknown
    calendars, gaps, grids that differ, units that no attribute and no mean tells, and values that cannot be weather.
    """
    said = dict(units or {})
    groups: dict[tuple[str, ...], list[str]] = {}
    for file in _files(url):
        groups.setdefault(_variables(file), []).append(file)
    seen: dict[str, tuple[str, str]] = {}
    for names, group in groups.items():
        for name in names:
            known = ALIASES[name.lower()]
            if known in seen:
                other, called = seen[known]
                raise InputError(f"{group[0]}: '{name}' is there as '{called}' in {other} too; give one of them")
            seen[known] = (group[0], name)
    if unknown := set(said) - {name for names in groups for name in names} - set(seen):
        raise ConfigError(f"units of {', '.join(sorted(unknown))}: no such variable; found {', '.join(sorted(seen))}")
    parts = [_open_group(group, names, said) for names, group in groups.items()]
    return _merged(parts, url)


def land_cells(ds: xr.Dataset, mask: xr.DataArray | None = None) -> xr.Dataset:
    """The cells to compute, row by row from the south, or all of a packed source: (cell,) `row`, `column` (of the map,
    or 0 and the index), `lat`, `lon` [degrees], `area_km2` (NaN where a packed source does not say).

    ds: from `open_land_forcing`. mask: bool (lat, lon) on its grid; without one, land is where all forcing is there on
    the first, the middle and the last day. Raises InputError for a mask of another grid and where no cell is left.
    """
    file = ds.attrs["source"]
    packed = "cell" in ds.dims
    places = ("cell",) if packed else ("lat", "lon")
    if mask is None and packed:
        inside = np.ones(ds.sizes["cell"], bool)
    elif mask is None:
        steps = [0, ds.sizes["time"] // 2, ds.sizes["time"] - 1]
        there = [np.isfinite(_read(ds[n].isel(time=steps), file)).all(axis=0) for n in FORCING if n in ds]
        inside = np.all(there, axis=0)
    else:
        inside = _on_grid(mask, ds, places, file)
    if not inside.any():
        raise InputError(f"{file}: no cell with forcing{' in the mask' if mask is not None else ''}; check the grid")
    if packed:
        column = np.flatnonzero(inside)
        row, lat, lon = np.zeros_like(column), ds["lat"].values[column], ds["lon"].values[column]
        area = ds["area_km2"].values[column] if "area_km2" in ds.variables else np.full(len(column), np.nan)
    else:
        row, column = np.nonzero(inside)
        lat, lon = ds["lat"].values[row], ds["lon"].values[column]
        high = resolution_degrees(ds["lat"].values, file=file, name="lat")
        area = cell_area_km2(lat, high) * (resolution_degrees(ds["lon"].values, file=file, name="lon") / high)
    found = {"row": row, "column": column, "lat": lat, "lon": lon, "area_km2": area}
    numbers = ds["cell"].values[column] if packed and "cell" in ds.coords else np.arange(len(row))
    return xr.Dataset({k: ("cell", np.asarray(v)) for k, v in found.items()}, {"cell": numbers})


def load_cells(ds: xr.Dataset, cells: xr.Dataset, days: slice = slice(None)) -> xr.Dataset:
    """Some cells in memory, (time, cell) float64, checked day by day; coordinates as `daily.series` has them.

    cells: from `land_cells`, all or a run of them: of a map, the rows that hold them are read. A store whose chunks
    hold many days is read fast, daily files slowly: convert such first. Raises InputError for a missing or impossible
    value, naming variable, cell and day.
    """
    file = ds.attrs["source"]
    row, column = cells["row"].values, cells["column"].values
    places = [f"{a:.2f} N {o:.2f} E" for a, o in zip(cells["lat"].values, cells["lon"].values, strict=True)]
    dates = ds["time"].values[days].astype("datetime64[D]")
    out: dict[str, tuple[tuple[str, str], np.ndarray]] = {}
    for name in map(str, ds.data_vars):
        data = ds[name].isel(time=days)
        if "cell" in ds.dims:
            run = _read(data.isel(cell=slice(int(column.min()), int(column.max()) + 1)), file)
            values = run[:, column - column.min()]
        else:
            slab = _read(data.isel(lat=slice(int(row.min()), int(row.max()) + 1)), file)
            values = slab[:, row - row.min(), column]
        units = catalogue.entry(name).units
        values = checked(name, values, dates, file=file, units=units, places=places, judge_size=False)
        if name in FORCING and not np.isfinite(values).all():
            day, cell = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"{file}: '{name}' has no value on {dates[day]} at {places[cell]} (first of"
                f" {int((~np.isfinite(values)).sum())}); expected weather on every day; fill it or mask the cell"
            )
        out[name] = (("time", "cell"), values)
    loaded = xr.Dataset(out, {"time": ds["time"].values[days], "cell": cells["cell"].values})
    loaded = loaded.assign_coords({name: ("cell", cells[name].values) for name in ("lat", "lon", "area_km2")})
    loaded.attrs = ds.attrs
    return loaded


def _read(data: xr.DataArray, file: str) -> np.ndarray:
    with reading(file):
        try:
            return data.values
        except ValueError as error:  # a Zarr chunk whose checksum or length is wrong
            said = " ".join(str(error).split())[:160]
            raise InputError(f"{file}: '{data.name}' cannot be decoded ({said}); damaged? make it again") from error


def _files(url: str) -> list[str]:
    return [
        file
        for member in members(url)
        for file in (files_in(member, ENDINGS) if is_folder(member) and not is_zarr(member) else [member])
    ]


def _open_plain(file: str) -> xr.Dataset:
    """Header alone: times stay numbers."""
    if not is_zarr(file):
        return open_netcdf(file)
    with reading(file):
        return xr.open_zarr(file, chunks=None, decode_times=False, consolidated=False)


def _variables(file: str) -> tuple[str, ...]:
    """The file's own names of what this reader knows. Refuses calendars that datetime64 cannot hold."""
    with _open_plain(file) as ds:
        names = tuple(sorted(str(n) for n in ds.data_vars if str(n).lower() in ALIASES))
        for axis in ("time", "valid_time"):
            calendar = str(ds[axis].attrs.get("calendar", "standard")).lower() if axis in ds.variables else "standard"
            if calendar not in {"standard", "gregorian", "proleptic_gregorian"}:
                option = ", align_on='year'" if calendar.startswith("360") else ""
                raise InputError(
                    f"{file}: axis '{axis}': found calendar '{calendar}', expected the standard one; convert with"
                    f" xarray, ds.convert_calendar('standard'{option}): a series without any 29 February is taken as"
                    " it is"
                )
    if not names:
        there = ", ".join(sorted(map(str, ds.data_vars))) or "none"
        raise InputError(f"{file}: no forcing: found variables {there}; expected some of {', '.join(FORCING)}")
    return names


def _open_group(files: list[str], names: tuple[str, ...], said: Mapping[str, str]) -> xr.Dataset:
    """Files of the same variables, one after the other in time."""
    notes: list[str] = []
    found: dict[str, str | None] = {}
    for file in files:
        one = _open_files([file])
        for name in names:
            found[name] = _judged(one, name, file, said, found.get(name), notes)
    ds = _open_files(files)
    label = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    out = {}
    for name in names:
        known = ALIASES[name.lower()]
        out[known] = catalogue.convert(known, ds[name], units=found[name], file=label, seconds=catalogue.DAY)
    time = ds["time"].values.astype("datetime64[s]")
    if "cell" in ds.dims:
        days = time.astype("datetime64[D]").astype("datetime64[s]")
        packed = xr.Dataset({name: data.transpose("time", "cell") for name, data in out.items()})
        packed = packed.assign_coords(time=days, **{n: ds[n] for n in ("lat", "lon", "area_km2") if n in ds.variables})
        packed.attrs = {"source": label, "notes": notes}
        return packed
    if (np.diff(time) >= _DAY).all():
        # the first day of a gap is named here; `intervals` would say that a step is long
        calendar_of(time.astype("datetime64[D]"), file=label)
    return finish(out, intervals(time, file=label), file=label, layout=LAYOUT, notes=notes).drop_vars("time_bounds")


def _open_files(files: list[str]) -> xr.Dataset:
    """A map by the common reader; packed cells, (time, X) with lat and lon along X, by ours."""
    with _open_plain(files[0]) as head:
        packed = "lat" in head.variables and "time" not in head["lat"].dims and head["lat"].dims not in ((), ("lat",))
        packed = packed and head["lat"].ndim == 1 and head["lat"].dims == head["lon"].dims
        places = str(head["lat"].dims[0]) if packed else ""
    if not packed:
        return open_gridded(",".join(files))
    parts = []
    for file in files:
        ds = _chunked(_open_plain(file))
        parts.append(ds.assign_coords(time=decode_time(ds["time"], file=file)).rename({places: "cell"}))
    if any(part.sizes["cell"] != parts[0].sizes["cell"] or not part["lat"].equals(parts[0]["lat"]) for part in parts):
        raise InputError(f"{files[0]} and {len(files) - 1} more: cells differ between the files; expected the same")
    return (xr.concat(parts, "time", data_vars="minimal") if len(parts) > 1 else parts[0]).sortby("time")


def _chunked(ds: xr.Dataset) -> xr.Dataset:
    """Lazy, whole shards at a time."""
    chunks: dict[str, int] = {}
    for data in ds.data_vars.values():
        stored = data.encoding.get("shards") or data.encoding.get("chunks") or data.encoding.get("chunksizes") or ()
        for dim, size in zip(data.dims, stored, strict=False):
            chunks[str(dim)] = max(chunks.get(str(dim), 1), int(size))
    return ds.chunk(chunks)


def _judged(
    ds: xr.Dataset, name: str, file: str, said: Mapping[str, str], before: str | None, notes: list[str]
) -> str | None:
    """The unit of a variable, once a sample of it has been found to be weather in that unit."""
    known = ALIASES[name.lower()]
    data = ds[name].transpose("time", ...)
    which = _sample(data)
    values = np.asarray(_read(data.isel(which), file), np.float64)
    values = values.reshape(len(values), -1)
    told = said.get(name, said.get(known))
    units = told if told is not None else units_of(ds, name)
    if units is None or units.strip().lower() in _SILENT:
        if before is None:
            before = _unit_by_mean(known, name, values, units, file)
            notes.append(f"{file}: '{name}' has units {units!r}: taken as {before} by its mean")
        units = before
    if name.lower() == "snow" and catalogue.canonical_units(units or "") in {"kg m-2", "mm", "cm", "m"}:
        raise InputError(f"{file}: 'snow' in '{units}': snowfall or snow on the ground? call it prsn (or snw)")
    dates = ds["time"].values[which["time"]].astype("datetime64[D]")
    enough = told is None and (len(values) > _SAMPLE or np.isfinite(values[0]).sum() >= _JUDGED)
    checked(known, values, dates, file=file, units=units, what=name, judge_size=bool(enough))
    return units


def _sample(data: xr.DataArray) -> dict[str, np.ndarray]:
    """What of (time, ...) the check looks at: all of a small domain, a few places of a store that keeps long series in
    its chunks, else all places on a few days."""
    everything = {str(dim): np.arange(size) for dim, size in data.sizes.items()}
    if int(np.prod(data.shape[1:])) < _JUDGED:
        return everything
    series = data.chunks is not None and max(data.chunks[0]) >= _LONG
    spread = {dim: np.unique(np.linspace(0, len(index) - 1, 3 if series else _SAMPLE).astype(int))
              for dim, index in everything.items()}  # fmt: skip
    return {dim: spread[dim] if (dim == "time") != series else index for dim, index in everything.items()}


def _unit_by_mean(known: str, name: str, values: np.ndarray, units: str | None, file: str) -> str:
    """The one unit in which the mean is weather. Raises InputError where none or more than one is."""
    bands = _BANDS.get("pr" if known in {"prra", "evspsblpot"} else known, {})
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    fits = [unit for unit, (low, high) in bands.items() if low <= mean <= high]
    if len(fits) != 1:
        which = f"fits {' and '.join(fits)}" if fits else f"fits none of {', '.join(bands) or 'the units known'}"
        raise InputError(
            f"{file}: variable '{name}': found units {units!r} and a mean of {mean:.4g}, which {which}; expected"
            f" '{catalogue.entry(known).units}'; say it: units {name}=..."
        )
    return fits[0]


def _merged(parts: list[xr.Dataset], url: str) -> xr.Dataset:
    """Variables beside each other, on one grid and over the days that all hold."""
    first, notes = parts[0], [note for part in parts for note in part.attrs["notes"]]
    for part in parts[1:]:
        for axis in ("lat", "lon"):
            if part[axis].shape != first[axis].shape or not np.allclose(part[axis], first[axis], atol=1e-4):
                here, there = part.attrs["source"], first.attrs["source"]
                raise InputError(f"{here}: axis '{axis}' differs from that of {there}; expected one grid")
    kinds = {calendar_of(part["time"].values.astype("datetime64[D]"), file=part.attrs["source"]) for part in parts}
    if len(kinds) > 1:
        raise InputError(f"{url}: some files leave out 29 February and some do not; bring all to one calendar")
    start = max(part["time"].values[0] for part in parts)
    stop = min(part["time"].values[-1] for part in parts)
    spans = [
        f"{', '.join(map(str, p.data_vars))} {p['time'].values[0]:.10} .. {p['time'].values[-1]:.10}" for p in parts
    ]
    if stop < start:
        raise InputError(f"{url}: no day is in all variables ({spans}); fetch files of the same years")
    if len({(part["time"].values[0], part["time"].values[-1]) for part in parts}) > 1:
        notes.append(
            f"{url}: cut to {str(start)[:10]} .. {str(stop)[:10]}, the days of all variables ({'; '.join(spans)})"
        )
    cut = [part.sel(time=slice(start, stop)) for part in parts]
    cut = [part.assign_coords({axis: first[axis] for axis in ("lat", "lon")}) for part in cut]
    ds = xr.merge(cut, join="exact", combine_attrs="drop")
    if "prra" in ds and "prsn" not in ds and "pr" not in ds:
        ds = ds.rename(prra="pr")
        notes.append(f"{url}: rain without a variable of snow is taken as all precipitation")
    ds.attrs = {"source": url, "layout": LAYOUT, "calendar": kinds.pop(), "stamp": "mean", "notes": notes}
    return ds


def _span(ds: xr.Dataset) -> str:
    return f"{str(ds['time'].values[0])[:10]} .. {str(ds['time'].values[-1])[:10]}"


def _on_grid(mask: xr.DataArray, ds: xr.Dataset, places: tuple[str, ...], file: str) -> np.ndarray:
    """A mask turned to the grid of the forcing. Raises InputError where it is of another grid."""
    if set(mask.dims) != set(places):
        raise InputError(f"mask: found axes {', '.join(map(str, mask.dims))}, expected {', '.join(places)} as {file}")
    turned = mask.sortby([axis for axis in places if axis in mask.coords]).transpose(*places)
    for axis in places:
        same = turned.sizes[axis] == ds.sizes[axis]
        if axis in turned.coords and axis in ds.coords and same and axis != "cell":
            same = np.allclose(turned[axis], ds[axis], atol=1e-4)
        if not same:
            raise InputError(f"mask: axis '{axis}' differs from that of {file}; expected one grid; regrid the mask")
    return turned.values.astype(bool)
