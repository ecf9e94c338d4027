"""Daily series that drive a land model: tables of days, axes without gaps, values that can be weather."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import xarray as xr

from sciml.core.errors import InputError
from sciml.data import catalogue
from sciml.data.readers.counties import read_csv

ONE_DAY = np.timedelta64(1, "D")
_MANY = 0.05  # more wrong values than this share are no slip of a few days but a wrong unit
# Packing leaves a little less than nothing where there is nothing; below these it is an error [catalogue units].
FLOORS = {
    "pr": -0.1 / catalogue.DAY,
    "prra": -0.1 / catalogue.DAY,
    "prsn": -0.1 / catalogue.DAY,
    "huss": -1e-6,
    "hurs": -0.1,
    "snw": -0.1,
    "soil_upper": 0.0,
    "soil_lower": 0.0,
}


def read_table(
    file: str, *, date: str, required: Iterable[str], optional: Iterable[str] = (), layout: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Columns of a CSV table of days, plain or gzip: dates (time,) datetime64[D] in order, name -> (time,) float64.

    Empty fields are NaN; columns that nobody asked for are not looked at. Raises InputError for a damaged file, a table
    of another kind, text in place of numbers, infinite values, or a day twice.
    """
    try:
        table = read_csv(file)
    except (zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be unpacked ({error}); truncated or damaged? fetch it again") from error
    required = tuple(required)
    missing = [name for name in (date, *required) if name not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns[:8])) + (", ..." if len(table.columns) > 8 else "")
        raise InputError(
            f"{file}: column {', '.join(repr(name) for name in missing)} missing; {layout} expected it; found {found}"
        )
    if table.empty:
        raise InputError(f"{file}: no row below the header; expected a day a row")
    days = pd.to_datetime(table[date], format="ISO8601", errors="coerce")
    if days.isna().any():
        row = int(np.flatnonzero(days.isna())[0])
        raise InputError(f"{file}: column '{date}', line {row + 2}: found {table[date][row]!r}, expected YYYY-MM-DD")
    dates = days.to_numpy().astype("datetime64[D]")
    order = np.argsort(dates, kind="stable")
    dates = dates[order]
    _refuse_twice(dates, file)
    columns = {}
    for name in (*required, *(name for name in optional if name in table.columns)):
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, copy=True)
        wrong = np.flatnonzero((np.isnan(values) & ~table[name].str.lower().isin(("", "nan", "na"))) | np.isinf(values))
        if len(wrong):
            row = int(wrong[0])
            raise InputError(
                f"{file}: column '{name}', line {row + 2}: found {table[name][row]!r}, expected a finite number"
            )
        columns[name] = values[order]
    return dates, columns


def whole_days(dates: np.ndarray, forcing: Mapping[str, np.ndarray], *, file: str) -> tuple[slice, str]:
    """The steps from the first to the last day on which all forcing is there, and the calendar of `calendar_of`.

    dates: (time,) datetime64[D]; forcing: name -> (time,). Raises InputError for a gap in the middle, naming the first
    day and how many.
    """
    there = np.all([np.isfinite(values) for values in forcing.values()], axis=0)
    if not there.any():
        empty = [name for name, values in forcing.items() if not np.isfinite(values).any()] or list(forcing)
        raise InputError(f"{file}: no day has {', '.join(repr(name) for name in empty)}; expected daily values")
    held = np.flatnonzero(there)
    steps = slice(int(held[0]), int(held[-1]) + 1)
    holes = np.flatnonzero(~there[steps])
    if len(holes):
        day = dates[steps][holes[0]]
        names = [name for name, values in forcing.items() if not np.isfinite(values[steps][holes[0]])]
        raise InputError(
            f"{file}: column '{names[0]}' has no value on {day} (and on {len(holes) - 1} more days before"
            f" {dates[steps][-1]}); expected no gap; fill it or cut the table there"
        )
    return steps, calendar_of(dates[steps], file=file)


def calendar_of(dates: np.ndarray, *, file: str) -> str:
    """ "standard" for days that follow each other; "noleap" where every 29 February between them, and no other day, is
    left out, which is no gap for a model that never had it.

    Raises InputError for other gaps (the first missing day and how many), a day twice, or steps that are no days.
    """
    _refuse_twice(dates, file)
    every = np.arange(dates[0], dates[-1] + ONE_DAY)
    if len(every) == len(dates):
        return "standard"
    missing = every[~np.isin(every, dates)]
    leap = every[[str(day).endswith("-02-29") for day in every]]
    if np.array_equal(missing, leap):
        return "noleap"
    hint = "fetch them or cut the series there"
    if len(missing) > len(dates):
        hint = "is it a daily series?"
    raise InputError(
        f"{file}: no {missing[0]} (first of {len(missing)} missing days between {dates[0]} and {dates[-1]}); expected"
        f" a day a step; {hint}"
    )


def checked(
    name: str,
    values: np.ndarray,
    dates: np.ndarray,
    *,
    file: str,
    units: str | None,
    what: str | None = None,
    places: Sequence[str] | None = None,
    judge_size: bool = True,
) -> np.ndarray:
    """Values in the catalogue's unit, float64, tiny negative amounts as 0; NaN stays.

    values: (time,) or (time, place) in `units`. what: the file's own name of it; places: names for the message.
    judge_size: whether the mean may tell a wrong unit. Raises InputError that names the first day (and place), how many
    values are wrong, what was found and expected, and the likely slip.
    """
    known = catalogue.entry(name)
    label = what or name
    given = np.asarray(values, np.float64)
    out = np.asarray(catalogue.convert(known.name, given, units=units, file=f"{file}: {label}", seconds=catalogue.DAY))
    low = FLOORS.get(name, known.valid_min)
    wrong = (out < low) | (out > known.valid_max) | np.isinf(out)
    negative = name in FLOORS and wrong.any() and out[wrong].max() < 0
    many = known.units != "K" and wrong.mean() > _MANY and not negative
    if judge_size and np.isfinite(out).any() and (many or not wrong.any()):
        catalogue.check_range(known.name, out, file=file, units=units, what=label)  # it guesses the wrong unit
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = f" at {places[first[1]]}" if places is not None and out.ndim == 2 else ""
        rest = f" and {int(wrong.sum()) - 1} more" if wrong.sum() > 1 else ""
        how = catalogue.conversion(known.name, units, file=file, seconds=catalogue.DAY)
        span = [(limit - how.offset) / how.factor for limit in (0.0 if name in FLOORS else low, known.valid_max)]
        raise InputError(
            f"{file}: '{label}': found {given[first]:.4g}{f' {units}' if units else ''} on {dates[first[0]]}{place}"
            f"{rest}, expected {span[0]:.4g} .. {span[1]:.4g} {units or known.units}; {_slip(name, out, wrong)}"
        )
    return np.maximum(out, 0.0) if name in FLOORS else out


def _slip(name: str, out: np.ndarray, wrong: np.ndarray) -> str:
    """What the wrong values look like. out: in the catalogue's unit."""
    found = out[wrong & np.isfinite(out)]
    if not len(found):
        return "infinite values; mend the file"
    if catalogue.entry(name).units == "K":
        share = f"{int(wrong.sum())} of {int(np.isfinite(out).sum())} values"
        for shift, text in ((catalogue.ZERO_CELSIUS, "degC among K"), (-catalogue.ZERO_CELSIUS, "K among degC")):
            if 170.0 <= found.min() + shift and found.max() + shift <= 345.0:
                return f"looks like {text} in {share}: give the whole series one unit"
    if name in FLOORS and found.max() < 0:
        return "a negative amount: mend the file or mark the value as missing"
    return "check unit and fill value"


def unit_name(file: str) -> str:
    """Name of a table's place: the file's, without folder and endings."""
    return PurePosixPath(file).name.removesuffix(".gz").removesuffix(".csv")


def series(
    variables: Mapping[str, np.ndarray],
    dates: np.ndarray,
    *,
    cell: str,
    place: tuple[float, float, float],
    attributes: Mapping[str, object],
) -> xr.Dataset:
    """One table as a dataset (time, cell), float64 in catalogue names and units.

    place: latitude, longitude [degrees], area [km2], NaN where not known. attributes: `source`, `layout`, `calendar`,
    `stamp` ("end" or "mean" of the day, of stores), `notes`.
    """
    ds = xr.Dataset(
        {name: (("time", "cell"), values[:, None]) for name, values in variables.items()},
        {"time": dates.astype("datetime64[s]"), "cell": [cell]},
    )
    for name, value in zip(("lat", "lon", "area_km2"), place, strict=True):
        ds = ds.assign_coords({name: ("cell", np.array([value], np.float64))})
    ds.attrs = dict(attributes)
    return ds


def _refuse_twice(dates: np.ndarray, file: str) -> None:
    twice = np.flatnonzero(np.diff(dates) == np.timedelta64(0, "D"))
    if len(twice):
        raise InputError(
            f"{file}: {dates[twice[0]]} is there twice (first of {len(twice)} such days); expected each day once"
        )
