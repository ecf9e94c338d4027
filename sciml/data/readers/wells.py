"""Illinois wells: a CSV table `dgwlData.csv[.gz]`, one line per well and month.

Groundwater level beside satellite and model predictors at 32 wells (Seyoum, Kwon & Milewski 2019,
doi:10.3390/rs11070824).
"""

import gzip
import io

import numpy as np
import pandas as pd
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.urls import read_bytes
from sciml.data import catalogue
from sciml.data.months import SECOND, month_seconds
from sciml.data.readers.common import note

# column -> (our name, its unit in the table); those below without a catalogue entry keep their own
_CATALOGUE = {
    "TRMM": ("pr", "mm month-1"),
    "LST": ("lst", "degC"),
    "Canopy": ("cw", "kg m-2"),
    "SoilMoisture": ("mrso", "kg m-2"),
    "SWE": ("snw", "kg m-2"),
    "GRACE_TWSA": ("twsa", "mm"),
}
_OWN = {"Discharge": ("discharge", "1"), "Vegetation": ("vegetation", "%"), "DGWL_m": ("groundwater_depth", "m")}
_WELL = {"Thickness": ("aquifer_thickness", "m"), "Conductivity": ("hydraulic_conductivity", "m day-1")}
_KEYS = ("Month", "Year", "wellme", "Lat", "Long")


def read(file: str) -> xr.Dataset:
    """Monthly series of wells.

    Returns dimensions well, time (the month's first day). `pr` [kg m-2 s-1], `lst` [K], `cw mrso snw twsa` [kg m-2],
    `discharge` (as the table has it), `vegetation` [%], `groundwater_depth` [m] (well, time); `lat`, `lon`,
    `aquifer_thickness`, `hydraulic_conductivity` (well). NaN where a month is missing. Surface temperatures that no
    place on Earth has (the table holds some) become NaN, and `notes` says how many. Raises InputError for missing
    columns, text in place of numbers, or a well and month twice.
    """
    raw = read_bytes(file)
    try:
        table = pd.read_csv(io.BytesIO(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw))
    except (OSError, EOFError, ValueError) as error:
        text = " ".join(str(error).split())[:120]
        raise InputError(f"{file}: no CSV table ({text}); truncated or damaged? fetch it again") from error
    expected = [*_KEYS, *_CATALOGUE, *_OWN, *_WELL]
    missing = [name for name in expected if name not in table.columns]
    if missing:
        raise InputError(f"{file}: column {', '.join(missing)} missing; found {', '.join(map(str, table.columns))}")
    for name in expected:
        if name != "wellme" and not pd.api.types.is_numeric_dtype(table[name]):
            bad = int(np.flatnonzero(pd.to_numeric(table[name], errors="coerce").isna() & table[name].notna())[0])
            raise InputError(f"{file}: column '{name}', line {bad + 2}: found {table[name][bad]!r}, expected a number")
    for name, low, high in (("Month", 1, 12), ("Year", 1900, 2100)):
        wrong = np.flatnonzero(~table[name].isin(range(low, high + 1)))
        if len(wrong):
            found = table[name][wrong[0]]
            raise InputError(f"{file}: column '{name}', line {wrong[0] + 2}: found {found}, expected {low} to {high}")
    month = (table["Year"].to_numpy(int) - 1970).astype("datetime64[Y]").astype("datetime64[M]")
    month = month + (table["Month"].to_numpy(int) - 1)
    wells, row = np.unique(table["wellme"].to_numpy(str), return_inverse=True)
    months = np.arange(month.min(), month.max() + 1)
    column = (month - months[0]).astype(int)
    place = row * len(months) + column
    if len(np.unique(place)) < len(place):
        twice = int(np.flatnonzero(pd.Series(place).duplicated())[0])
        raise InputError(f"{file}: line {twice + 2}: well '{wells[row[twice]]}' in {month[twice]} for the second time")
    out = xr.Dataset(coords={"well": wells.astype(str), "time": months.astype(SECOND)}, attrs={"source": file})
    seconds = month_seconds(months)

    def series(name: str) -> np.ndarray:
        values = np.full((len(wells), len(months)), np.nan)
        values[row, column] = table[name].to_numpy(float)
        return values

    for name, (ours, units) in _CATALOGUE.items():
        values = catalogue.convert(ours, series(name), units=units, file=file, seconds=seconds)
        if ours == "lst":
            values = _possible(out, values, file)
        catalogue.check_range(ours, values, file=file, units=units, axis=1, what=name)
        out[ours] = (("well", "time"), values.astype(np.float32), catalogue.entry(ours).attributes)
    for name, (ours, units) in _OWN.items():
        out[ours] = (("well", "time"), series(name).astype(np.float32), {"units": units})
    first = np.unique(row, return_index=True)[1]
    for name, (ours, units) in {**_WELL, "Lat": ("lat", "degrees_north"), "Long": ("lon", "degrees_east")}.items():
        out[ours] = ("well", table[name].to_numpy(float)[first], {"units": units})
    return out


def _possible(out: xr.Dataset, kelvin: np.ndarray, file: str) -> np.ndarray:
    low = 235.0  # Illinois' coldest hour on record; the table's failures lie at 100 .. 234 K
    bad = kelvin < low
    if bad.any():
        note(
            out, f"{file}: column 'LST': {int(bad.sum())} values below {low} K are impossible there and become missing"
        )
    return np.where(bad, np.nan, kelvin)
