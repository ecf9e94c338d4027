"""The United States Drought Monitor by county and week: the share of each county's area in the classes D0 to D4.

Two layouts. NetCDF: `area_fraction(category, county, time)`, categorical, that is the share in exactly that class.
CSV: the county download of droughtmonitor.unl.edu, one row a county and week, `MapDate,FIPS,County,State,None,D0,D1,D2,
D3,D4,ValidStart,ValidEnd,StatisticFormatID`, percent of area, cumulative (D0 holds D1 to D4) where StatisticFormatID is
1 and categorical where it is 2. Reference: Svoboda et al. 2002, doi:10.1175/1520-0477-83.8.1181.
"""

import numpy as np
import pandas as pd
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import MONTH, SECOND
from sciml.data.readers import counties
from sciml.data.readers.common import decode_time, note, open_netcdf, reading, require

CLASSES = ("D0", "D1", "D2", "D3", "D4")
LAYOUT = "a Drought Monitor county file"
CSV_COLUMNS = ("MapDate", "FIPS", *CLASSES, "StatisticFormatID")
ROUNDING = 0.02  # published shares are rounded class by class
RENAMED = {"46113": "46102", "02270": "02158"}  # Shannon -> Oglala Lakota, Wade Hampton -> Kusilvak (2015)


def read(file: str) -> xr.Dataset:
    """Shares of area by class: `area_fraction` (category, county, week) float32, categorical, 0 to 1.

    Coordinates `fips` (county) of five digits, sorted, and `week` (datetime64[s], ascending), the day of the map. NaN
    where a CSV table lacks a county in a week. Raises InputError for another file, a week that lists a county twice,
    codes that are no FIPS codes, shares that are no shares, and cumulative shares given as categorical or the reverse.
    """
    table = _netcdf(file) if file.lower().endswith((".nc", ".nc4", ".cdf")) else _csv(file)
    fips = table["fips"].values
    wrong = np.array([not (len(code) == 5 and code.isdigit()) for code in fips])
    if wrong.any():
        raise InputError(f"{file}: county code '{fips[wrong][0]}': expected a FIPS code of up to five digits")
    _once(fips, "county", file)
    _once(table["week"].values, "week", file)
    _shares(table, file)
    return table.sortby(["fips", "week"])


def at_centres(table: xr.Dataset, centres: pd.DataFrame, file: str) -> xr.Dataset:
    """The counties that have a centre, with `lat`, `lon` and `state` (county); the others are named in the notes.

    table: from `read`; centres: from `counties.read`. Codes that changed are brought to the table's. Raises InputError
    where no county has a centre.
    """
    known = table["fips"].values
    now = [new if (new := RENAMED.get(code, code)) in known else code for code in centres["fips"]]
    places = centres.set_axis(now, axis=0)
    places = places[~places.index.duplicated()]
    there = np.isin(known, now)
    if not there.any():
        raise InputError(f"{file}: none of its {len(known)} counties has a centre; first {known[0]}; expected the FIPS"
                         " codes of the table of centres")  # fmt: skip
    out = table.isel(county=np.flatnonzero(there))
    rows = places.loc[out["fips"].values]
    for name, column in (("lat", "latitude"), ("lon", "longitude"), ("state", "state")):
        out = out.assign_coords({name: ("county", rows[column].to_numpy())})
    if not there.all():
        bare = known[~there]
        shown = ", ".join(bare[:8]) + (" ..." if len(bare) > 8 else "")
        note(out, f"{file}: {len(bare)} of {len(known)} counties have no centre and are left out: {shown}")
    return out


def dsci(area_fraction: np.ndarray) -> np.ndarray:
    """Drought Severity and Coverage Index: sum over k = 1..5 of 100 k f_k, 0 (none) to 500 (all in D4).

    area_fraction: (category, ...) categorical shares of D0..D4. Returns (...). Source: droughtmonitor.unl.edu (DSCI).
    """
    return np.tensordot(100.0 * np.arange(1, 6), np.asarray(area_fraction, np.float64), axes=1)


def monthly(area_fraction: np.ndarray, week: np.ndarray, months: np.ndarray) -> np.ndarray:
    """Means of the weeks of each calendar month, by the day of the map.

    area_fraction: (..., week), NaN where missing; months: (month,) datetime64[M]. Returns (..., month), NaN for a month
    without a week.
    """
    of_week = np.asarray(week).astype(MONTH)
    out = np.full((*area_fraction.shape[:-1], len(months)), np.nan)
    for number, month in enumerate(np.asarray(months).astype(MONTH)):
        inside = area_fraction[..., of_week == month]
        known = np.isfinite(inside)
        count = known.sum(axis=-1)
        total = np.where(known, inside, 0).sum(axis=-1, dtype=np.float64)
        out[..., number] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out


def _netcdf(file: str) -> xr.Dataset:
    ds = open_netcdf(file)
    require(ds, ("area_fraction", "category", "county", "time"), file=file, layout=LAYOUT)
    with reading(file):
        found = [str(name) for name in ds["category"].values]
        if sorted(found) != list(CLASSES) or set(ds["area_fraction"].dims) != {"category", "county", "time"}:
            raise InputError(
                f"{file}: variable 'area_fraction': found dimensions {ds['area_fraction'].dims} and categories"
                f" {', '.join(found)}; expected (category, county, time) and {', '.join(CLASSES)}"
            )
        order = [found.index(name) for name in CLASSES]
        values = ds["area_fraction"].transpose("category", "county", "time").values[order]
        fips = np.array([counties.pad_fips(str(code)) for code in ds["county"].values])
        week = decode_time(ds["time"], file=file)
    return _dataset(values, fips, week)


def _csv(file: str) -> xr.Dataset:
    rows = counties.read_csv(file)
    missing = [name for name in CSV_COLUMNS if name not in rows.columns]
    if missing:
        raise InputError(
            f"{file}: column {', '.join(missing)} missing; {LAYOUT} (NetCDF or the county download as CSV) expected"
            f" {','.join(CSV_COLUMNS)}; found {', '.join(map(str, rows.columns[:8]))}"
        )
    fips = rows["FIPS"].map(counties.pad_fips)
    week = pd.to_datetime(rows["MapDate"], format="mixed", errors="coerce")
    shares = rows[list(CLASSES)].apply(pd.to_numeric, errors="coerce") / 100
    bad = (week.isna() | shares.isna().any(axis=1)).to_numpy()
    if bad.any():
        raise InputError(f"{file}: line {int(np.argmax(bad)) + 2}: expected a date as YYYYMMDD and percent of area")
    twice = pd.DataFrame({"fips": fips, "week": week}).duplicated().to_numpy()
    if twice.any():
        row = int(np.argmax(twice))
        raise InputError(
            f"{file}: line {row + 2}: county {fips[row]} for the second time in the week of {week[row]:%Y-%m-%d};"
            " expected each county once a week; remove one of them"
        )
    formats = rows["StatisticFormatID"].str.strip().unique()
    if len(formats) != 1 or formats[0] not in ("1", "2"):
        raise InputError(
            f"{file}: column 'StatisticFormatID': found {', '.join(formats[:3])}; expected 1 (cumulative) or 2"
            " (categorical) throughout"
        )
    values = shares.to_numpy()
    if formats[0] == "1":
        exact = values - np.column_stack([values[:, 1:], np.zeros(len(values))])
        if (exact < -ROUNDING).any():
            row = int(np.argmax((exact < -ROUNDING).any(axis=1)))
            raise InputError(
                f"{file}: line {row + 2}: found classes that grow with severity, expected cumulative shares"
                " (StatisticFormatID 1); these look categorical: set StatisticFormatID to 2"
            )
        values = np.maximum(exact, 0)
    codes, county = np.unique(fips.to_numpy(dtype=str), return_inverse=True)
    days, number = np.unique(week.to_numpy().astype(SECOND), return_inverse=True)
    grid = np.full((len(CLASSES), len(codes), len(days)), np.nan)
    grid[:, county, number] = values.T
    return _dataset(grid, codes, days)


def _dataset(values: np.ndarray, fips: np.ndarray, week: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {"area_fraction": (("category", "county", "week"), values.astype(np.float32), {"units": "1"})},
        {"category": list(CLASSES), "fips": ("county", fips), "week": week.astype(SECOND)},
    )


def _once(values: np.ndarray, what: str, file: str) -> None:
    found, count = np.unique(values, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{file}: {what} {found[count > 1][0]} is listed {count.max()} times; expected each once")


def _shares(table: xr.Dataset, file: str) -> None:
    values = table["area_fraction"].values
    outside = (values < -1e-6) | (values > 1 + ROUNDING)
    if outside.any():
        raise InputError(
            f"{file}: variable 'area_fraction': found {values[outside][0]:g}, expected shares from 0 to 1; given in"
            " percent? divide by 100"
        )
    total = values.sum(axis=0)
    if (total > 1 + ROUNDING).any():
        county, week = np.argwhere(total > 1 + ROUNDING)[0]
        nested = bool((np.diff(values, axis=0) <= ROUNDING).all(where=np.isfinite(np.diff(values, axis=0))))
        remedy = "they look cumulative: take the difference of each class and the next" if nested else "mend the table"
        raise InputError(
            f"{file}: county {table['fips'].values[county]}, week {str(table['week'].values[week])[:10]}: D0 to D4 add"
            f" up to {total[county, week]:.2f}, expected at most 1 (each class by itself, categorical); {remedy}"
        )
