"""Tables of PCR-GLOBWB: daily means over the cells upstream of a gauge, and the discharge there.

`pred_NAME.csv[.gz]` holds precipitation `p`, potential evaporation `et`, stores and fluxes [m, m day-1] and temperature
`t` [degC]; stores are those at the end of the day. Beside it may lie `q_NAME.csv[.gz]` (`obs`, `pcr`: observed and
routed discharge [m3 s-1], -999 where missing), `unit.txt` (a name and its unit a line) and `stationLatLon.csv`, whose
`x` is the latitude, `y` the longitude and `area` the gauge's [km2], not the model's. Model: Sutanudjaja et al. 2018,
doi:10.5194/gmd-11-2429-2018.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.urls import exists, members, read_bytes
from sciml.data.readers.common import require_file
from sciml.data.readers.counties import read_csv
from sciml.data.readers.daily import checked, read_table, series, unit_name, whole_days

LAYOUT = "a table of PCR-GLOBWB"
DATE = "datetime"
# catalogue name -> columns whose sum it is, and their unit where unit.txt does not say
COLUMNS: dict[str, tuple[tuple[str, ...], str]] = {
    "pr": (("p",), "m/day"),
    "tas": (("t",), "degC"),
    "evspsblpot": (("et",), "m/day"),
    "snw": (("snowCoverSWE", "snowFreeWater"), "m"),
    "soil_upper": (("storUppTotal",), "m"),
    "soil_lower": (("storLowTotal",), "m"),
    "mrgw": (("storGroundwater",), "m"),
    "mrro": (("directRunoff", "interflowTotal", "baseflow"), "m/day"),
    # of land and open water: it closes the budget 0.01 mm a year better than totLandSurfaceActuaET
    "evspsbl": (("totalEvaporation",), "m/day"),
}
FORCING = ("pr", "tas", "evspsblpot")
MISSING = -999.0


@dataclass(frozen=True)
class Station:
    """A gauge: latitude and longitude [degrees], area of the real river's basin above it [km2], river."""

    lat: float = np.nan
    lon: float = np.nan
    area_km2: float = np.nan
    river: str = ""


def open_pcrglobwb(files: str) -> tuple[xr.Dataset, ...]:
    """Tables `pred_*`, each a dataset (time, cell 1): `pr tas evspsblpot snw soil_upper soil_lower mrgw mrro evspsbl`,
    `channel_storage` [m3], where q_* is there `dis` (observed, NaN where missing) and `dis_routed` [m3 s-1].

    files: one, a list separated by commas or a pattern. Units of the catalogue, float64. Raises InputError for a
    damaged table or one of another kind, gaps, and values that cannot be what the format says.
    """
    return tuple(_open_one(file) for file in members(files))


def _open_one(file: str) -> xr.Dataset:
    require_file(file)
    wanted = [column for columns, _ in COLUMNS.values() for column in columns]
    dates, columns = read_table(file, date=DATE, required=wanted, optional=("channelStorage",), layout=LAYOUT)
    steps, calendar = whole_days(
        dates, {COLUMNS[name][0][0]: columns[COLUMNS[name][0][0]] for name in FORCING}, file=file
    )
    dates = dates[steps]
    units, stations = _units(file), _stations(file)
    out: dict[str, np.ndarray] = {}
    for name, (parts, default) in COLUMNS.items():
        found = {units.get(part, default) for part in parts}
        if len(found) > 1:
            raise InputError(f"{_beside(file, 'unit.txt')}: {', '.join(parts)}: found {found}; expected one unit")
        total = np.sum([columns[part][steps] for part in parts], axis=0)
        if not np.isfinite(total).any():
            raise InputError(f"{file}: column {' + '.join(parts)}: found no value, expected one a day")
        out[name] = checked(name, total, dates, file=file, units=found.pop(), what=" + ".join(parts))
    if "channelStorage" in columns:
        out["channel_storage"] = columns["channelStorage"][steps]
    name = unit_name(file).removeprefix("pred_")
    out.update(_discharge(_beside(file, PurePosixPath(file).name.replace("pred_", "q_", 1)), file, dates))
    station = stations.get(name.lower(), Station())
    unknown = [f"{file}: no station '{name}' in stationLatLon.csv: its area is unknown"]
    notes = [] if np.isfinite(station.area_km2) else unknown
    return series(
        out,
        dates,
        cell=name,
        place=(station.lat, station.lon, station.area_km2),
        attributes={"source": file, "layout": LAYOUT, "calendar": calendar, "stamp": "end", "notes": notes},
    )


def _beside(file: str, name: str) -> str:
    """Path of another file in the same folder."""
    return file[: len(file) - len(PurePosixPath(file).name)] + name


def _units(file: str) -> dict[str, str]:
    """Column -> unit of unit.txt, nothing where there is none."""
    path = _beside(file, "unit.txt")
    if not exists(path):
        return {}
    lines = [line.split() for line in read_bytes(path).decode("utf-8", "replace").splitlines()]
    return {line[0]: " ".join(line[1:]) for line in lines if len(line) > 1 and line[0] != "#"}


def stations_of(files: str) -> dict[str, Station]:
    """Gauge of each table by the name that `open_pcrglobwb` gives its cell; one without river and area where
    stationLatLon.csv does not know it."""
    names = {unit_name(file).removeprefix("pred_"): file for file in members(files)}
    return {name: _stations(file).get(name.lower(), Station()) for name, file in names.items()}


def _stations(file: str) -> dict[str, Station]:
    """Station in small letters -> gauge."""
    path = _beside(file, "stationLatLon.csv")
    if not exists(path):
        return {}
    table = read_csv(path)
    missing = [name for name in ("station", "x", "y", "area") if name not in table.columns]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} missing; expected station,x,y,..,area")
    numbers = table[["x", "y", "area"]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64).tolist()
    rivers = table["river"].tolist() if "river" in table.columns else [""] * len(table)
    return {
        name.lower(): Station(*place, river)
        for name, place, river in zip(table["station"], numbers, rivers, strict=True)
    }


def _discharge(path: str, file: str, dates: np.ndarray) -> dict[str, np.ndarray]:
    """Observed and routed discharge on the days of the table [m3 s-1], nothing where the file has no q_* beside it."""
    if path == file or not exists(path):
        return {}
    days, columns = read_table(path, date=DATE, required=("obs",), optional=("pcr",), layout="PCR-GLOBWB's discharge")
    there, row = np.isin(dates, days), np.searchsorted(days, dates).clip(0, len(days) - 1)
    out = {}
    for column, name in (("obs", "dis"), ("pcr", "dis_routed")):
        if column in columns:
            values = np.where(columns[column] == MISSING, np.nan, columns[column])
            values = checked("dis", values, days, file=path, units="m3 s-1", what=column)
            out[name] = np.where(there, values[row], np.nan)
    return out
