"""ERA5-Land: hourly, daily or monthly-mean files or Zarr stores with ECMWF's names.

Accumulated variables (`tp sf e sro ro slhf sshf`, in m of water or J m-2) grow from 00 UTC on: the value stamped 00
UTC is the total of the day before; monthly means are scaled to a day. Fluxes are positive downward, so evaporation
and latent heat change sign. `sd` is snow depth in metres of water; `swvl1..4` are volumetric, of layers 7, 21, 72 and
189 cm thick; `src` is the skin reservoir, the water on the canopy. Reference: Munoz-Sabater et al. 2021,
doi:10.5194/essd-13-4349-2021. Not tried on a real file.
"""

from collections.abc import Collection

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data import catalogue
from sciml.data.months import SECOND
from sciml.data.readers.common import units_of
from sciml.data.readers.gridded import finish, intervals

LAYOUT = "ERA5-Land"
LAYER_METRES = {"swvl1": 0.07, "swvl2": 0.21, "swvl3": 0.72, "swvl4": 1.89}
DAY = np.timedelta64(86400, "s")

# long names of other distributions -> ECMWF's short name
_ALIASES = {
    "total_precipitation": "tp",
    "snowfall": "sf",
    "total_evaporation": "e",
    "surface_runoff": "sro",
    "runoff": "ro",
    "surface_latent_heat_flux": "slhf",
    "surface_sensible_heat_flux": "sshf",
    "2m_temperature": "t2m",
    "temperature_2m": "t2m",
    "snow_depth_water_equivalent": "sd",
    "skin_reservoir_content": "src",
    "surface_pressure": "sp",
    **{f"volumetric_soil_water_layer_{i}": f"swvl{i}" for i in range(1, 5)},
}
# short name -> (catalogue name, unit where the file names none, sign)
_ACCUMULATED = {
    "tp": ("pr", "m", 1.0),
    "sf": ("prsn", "m", 1.0),
    "e": ("evspsbl", "m", -1.0),
    "sro": ("mrros", "m", 1.0),
    "ro": ("mrro", "m", 1.0),
    "slhf": ("hfls", "J m-2", -1.0),
    "sshf": ("hfss", "J m-2", -1.0),
}
_INSTANT = {"t2m": ("tas", "K"), "sd": ("snw", "m"), "src": ("cw", "m"), "sp": ("ps", "Pa")}
NAMES = frozenset([*_ACCUMULATED, *_INSTANT, *LAYER_METRES, *_ALIASES])


def recognised(names: Collection[str]) -> int:
    """How many variables this reader knows."""
    return len(NAMES & set(names))


def convert(ds: xr.Dataset, *, file: str) -> xr.Dataset:
    """Catalogue names and units, lazily, per day (hourly files) or per the file's own day or month.

    ds: from `gridded.open_gridded`. Hourly files lose days that they hold in part. Raises InputError for gaps in hourly
    files, missing soil layers, or units that are not ECMWF's.
    """
    ds = ds.rename({old: new for old, new in _ALIASES.items() if old in ds and new not in ds})
    if "expver" in ds.dims:
        raise InputError(f"{file}: dimension 'expver' (final and preliminary data); merge the two first")
    notes: list[str] = []
    time = ds["time"].values.astype(SECOND)
    bounds = intervals(time, file=file)
    hourly = bounds[0, 1] - bounds[0, 0] < DAY
    if hourly:
        states, totals, bounds = _days(ds, time, file)
    else:
        states = totals = ds
        daily = bounds[0, 1] - bounds[0, 0] == DAY
        midnight = (time == time.astype("datetime64[D]").astype(SECOND)).all()
        kinds = {str(ds[v].attrs.get("GRIB_stepType", "")) for v in _ACCUMULATED if v in ds}
        if daily and midnight and kinds == {"accum"}:
            totals, states, bounds = _shift(ds, time)
            notes.append(f"{file}: values stamped 00 UTC are ECMWF's accumulations: they count for the day before")
    out: dict[str, xr.DataArray] = {}
    for short, (name, units, sign) in _ACCUMULATED.items():
        if short in totals:
            out[name] = sign * _in_units(totals, short, name, units, file, seconds=86400.0)
    for short, (name, units) in _INSTANT.items():
        if short in states:
            out[name] = _in_units(states, short, name, units, file)
    soil = _soil(states, file)
    if soil is not None:
        out["mrso"] = soil
    return finish(out, bounds, file=file, layout=LAYOUT, notes=notes)


def _in_units(
    ds: xr.Dataset, variable: str, name: str, default: str, file: str, seconds: float | None = None
) -> xr.DataArray:
    units = units_of(ds, variable) or default
    return catalogue.convert(name, ds[variable], units=units, file=f"{file}: {variable}", seconds=seconds)


def _soil(ds: xr.Dataset, file: str) -> xr.DataArray | None:
    """Water of the 2.89 m column [kg m-2]: density of water x volume fraction x thickness."""
    there = [layer for layer in LAYER_METRES if layer in ds]
    if not there:
        return None
    if len(there) < len(LAYER_METRES):
        raise InputError(
            f"{file}: soil moisture: found {', '.join(there)}, expected swvl1 to swvl4; fetch the missing layers"
        )
    for layer in there:
        units = units_of(ds, layer)
        if units is not None and units.replace("*", "").replace("^", "") not in {"m3 m-3", "m3/m3", "1"}:
            raise InputError(
                f"{file}: variable '{layer}': found units '{units}', expected 'm3 m-3'; correct the attribute"
            )
    parts = [ds[layer] * (catalogue.WATER * LAYER_METRES[layer]) for layer in there]
    return sum(parts[1:], start=parts[0])


def _days(ds: xr.Dataset, time: np.ndarray, file: str) -> tuple[xr.Dataset, xr.Dataset, np.ndarray]:
    """Daily means of instants and daily totals of accumulations, for days that the file holds whole."""
    step = np.diff(time).min()
    if (np.diff(time) != step).any():
        i = int(np.flatnonzero(np.diff(time) != step)[0])
        raise InputError(f"{file}: axis 'time': {time[i + 1]} follows {time[i]}, expected a step of {step} throughout")
    day = time.astype("datetime64[D]").astype(SECOND)
    midnight = np.flatnonzero(time == day)
    per_day = int(DAY / step)
    # a day is whole if its first hour and the next day's 00 UTC, which closes the accumulation, are there
    first = midnight[midnight + per_day < len(time)]
    if not len(first):
        raise InputError(f"{file}: axis 'time': {time[0]} .. {time[-1]} holds no whole day up to the next 00 UTC")
    start, stop = int(first[0]), int(first[-1]) + per_day
    states = ds.isel(time=slice(start, stop))
    accumulated = [v for v in states.data_vars if v in _ACCUMULATED]
    states = states.drop_vars(accumulated).coarsen(time=per_day).mean(keep_attrs=True)
    totals = ds[accumulated].isel(time=first + per_day)
    days = time[first]
    return (
        states.assign_coords(time=days),
        totals.assign_coords(time=days),
        np.stack([days, days + DAY], axis=-1),
    )


def _shift(ds: xr.Dataset, time: np.ndarray) -> tuple[xr.Dataset, xr.Dataset, np.ndarray]:
    """Daily files cut out of the hourly ones at 00 UTC: the totals belong to the day before."""
    whole = np.flatnonzero(np.diff(time) == DAY)
    if not len(whole):
        raise InputError("no two days in a row: the totals of 00 UTC have no day to belong to")
    days = time[whole]
    totals = ds.isel(time=whole + 1).assign_coords(time=days)
    states = ds.isel(time=whole)
    return totals, states, np.stack([days, days + DAY], axis=-1)
