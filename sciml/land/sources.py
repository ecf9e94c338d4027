"""From what the readers found to what drives a land model and what it is fitted to."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr

from sciml.core.errors import ConfigError, InputError
from sciml.data.catalogue import DAY
from sciml.data.readers.caravan import open_caravan
from sciml.data.readers.land_forcing import land_cells, load_cells, open_land_forcing
from sciml.data.readers.pcrglobwb import open_pcrglobwb
from sciml.land.forcing import (
    FREEZING,
    SNOW_RAMP,
    DemandKind,
    Forcing,
    Record,
    Targets,
    hamon,
    humidity_from_relative,
    saturation_humidity,
    split_precipitation,
)

SOURCES = ("pcrglobwb", "caravan", "grid")
Demand = Literal["auto", "humidity_deficit", "potential_evaporation", "hamon"]
# target -> catalogue name, and what turns the catalogue's unit into ours
_TARGETS = {
    "snow": ("snw", 1.0),
    "soil_upper": ("soil_upper", 1.0),
    "soil_lower": ("soil_lower", 1.0),
    "groundwater": ("mrgw", 1.0),
    "runoff": ("mrro", DAY),
    "evaporation": ("evspsbl", DAY),
}
_RIVERS = {
    "discharge": ("dis", 1.0),
    "streamflow": ("streamflow", DAY),
    "routed_discharge": ("dis_routed", 1.0),
    "channel_storage": ("channel_storage", 1.0),
}


def read_records(
    source: str,
    files: str,
    *,
    demand: Demand = "auto",
    snow_ramp: tuple[float, float] = SNOW_RAMP,
    attributes: str | None = None,
    units: Mapping[str, str] | None = None,
) -> list[Record]:
    """One record a table, each of one cell over its own days (`forcing.joined` puts them beside each other), or of a
    grid one record of all its land.

    source: "pcrglobwb" (pred_*.csv.gz), "caravan", "grid" (NetCDF or Zarr; for more than fits in memory use
    `open_land_forcing`, `land_cells` and `read_cells`). demand, snow_ramp: see `record`; attributes: of Caravan; units:
    of a grid's variables. Raises InputError and ConfigError.
    """
    if source not in SOURCES:
        raise ConfigError(f"source '{source}': expected one of {', '.join(SOURCES)}")
    if source == "grid":
        ds = open_land_forcing(files, units=units)
        return [read_cells(ds, land_cells(ds), demand=demand, snow_ramp=snow_ramp)]
    tables = open_caravan(files, attributes=attributes) if source == "caravan" else open_pcrglobwb(files)
    return [record(ds, demand=demand, snow_ramp=snow_ramp) for ds in tables]


def read_cells(
    ds: xr.Dataset,
    cells: xr.Dataset,
    days: slice = slice(None),
    *,
    demand: Demand = "auto",
    snow_ramp: tuple[float, float] = SNOW_RAMP,
) -> Record:
    """A block of cells of a grid in memory. ds, cells: of `open_land_forcing` and `land_cells`."""
    return record(load_cells(ds, cells, days), demand=demand, snow_ramp=snow_ramp)


def record(ds: xr.Dataset, *, demand: Demand = "auto", snow_ramp: tuple[float, float] = SNOW_RAMP) -> Record:
    """A reader's dataset (time, cell), catalogue names and units, as a record.

    Precipitation without its snow is split by temperature: snow below, rain above snow_ramp [K]. demand:
    "humidity_deficit", q* - q from specific humidity, dew point or relative humidity, each with pressure;
    "potential_evaporation" of the source; "hamon", from temperature and day length; "auto" takes the first of the first
    two that is there. Raises InputError where it is not.
    """
    file = str(ds.attrs["source"])
    notes = list(ds.attrs.get("notes", ()))
    temperature = _values(ds, "tas", file)
    rain, snowfall = _water(ds, temperature, snow_ramp, file, notes)
    wanted, kind = _demand(ds, temperature, demand, file, notes)
    dates = ds["time"].values.astype("datetime64[D]")
    names = tuple(map(str, ds["cell"].values))
    forcing = Forcing(
        dates,
        rain,
        snowfall,
        temperature,
        wanted,
        kind,
        ds["cell"].values,
        ds["lat"].values.astype(np.float64),
        ds["lon"].values.astype(np.float64),
        ds["area_km2"].values.astype(np.float64),
        str(ds.attrs.get("calendar", "standard")),
    )
    values = {name: ds[known].values * factor for name, (known, factor) in _TARGETS.items() if known in ds}
    rivers = {name: ds[known].values * factor for name, (known, factor) in _RIVERS.items() if known in ds}
    label = str(ds.attrs.get("label", ""))
    if label and len(names) == 1 and label != names[0]:
        names = (f"{label} ({names[0]})",)
    return Record(forcing, Targets(dates, values, ds.attrs["stamp"]), names, notes=tuple(notes), **rivers)


def _values(ds: xr.Dataset, name: str, file: str) -> np.ndarray:
    if name not in ds:
        raise InputError(
            f"{file}: no '{name}': found {', '.join(sorted(map(str, ds.data_vars)))}; give a file that has it"
        )
    return ds[name].values.astype(np.float64)


def _water(
    ds: xr.Dataset, temperature: np.ndarray, ramp: tuple[float, float], file: str, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Rain and snowfall [kg m-2 day-1]."""
    if "prsn" in ds:
        snowfall = _values(ds, "prsn", file) * DAY
        if "prra" in ds:
            return _values(ds, "prra", file) * DAY, snowfall
        # packing makes a little more snow than there is precipitation
        total = _values(ds, "pr", file) * DAY
        snowfall = np.minimum(snowfall, total)
        return total - snowfall, snowfall
    if "pr" not in ds and "prra" in ds:
        return _values(ds, "prra", file) * DAY, np.zeros_like(temperature)
    low, high = (f"{limit - FREEZING:g}" for limit in ramp)
    notes.append(
        f"{file}: no snowfall: precipitation is split by temperature, snow below {low}, rain above {high} degC"
    )
    return split_precipitation(_values(ds, "pr", file) * DAY, temperature, ramp)


def _demand(
    ds: xr.Dataset, temperature: np.ndarray, demand: Demand, file: str, notes: list[str]
) -> tuple[np.ndarray, DemandKind]:
    if demand == "hamon":
        lat = ds["lat"].values.astype(np.float64)
        if not np.isfinite(lat).all():
            raise InputError(f"{file}: no latitude, which the day length of Hamon's potential evaporation needs")
        return hamon(temperature, ds["time"].values.astype("datetime64[D]"), lat), "potential_evaporation"
    source = next((name for name in ("huss", "tdps", "hurs") if name in ds), None)
    if demand in ("auto", "humidity_deficit") and source is not None and "ps" in ds:
        pressure = _values(ds, "ps", file)
        if source == "huss":
            humidity = _values(ds, "huss", file)
        elif source == "tdps":
            humidity = saturation_humidity(_values(ds, "tdps", file), pressure)
        else:
            humidity = humidity_from_relative(_values(ds, "hurs", file) / 100.0, temperature, pressure)
        return saturation_humidity(temperature, pressure) - humidity, "humidity_deficit"
    if demand in ("auto", "potential_evaporation") and "evspsblpot" in ds:
        if demand == "auto":
            lacks = "surface pressure" if source else "humidity"
            notes.append(f"{file}: no {lacks}: its potential evaporation stands for the humidity deficit")
        return _values(ds, "evspsblpot", file) * DAY, "potential_evaporation"
    if demand == "potential_evaporation":
        raise InputError(f"{file}: no potential evaporation; give it, or ask for another demand (hamon needs none)")
    lacks = f"'{source}' without surface pressure (ps)" if source else "no humidity"
    neither = "" if "evspsblpot" in ds else " and no potential evaporation"
    raise InputError(
        f"{file}: {lacks}{neither}; expected specific humidity (huss), dew point (tdps) or relative humidity (hurs),"
        " with ps; give one, or ask for another demand (hamon needs temperature alone)"
    )
