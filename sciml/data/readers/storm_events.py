"""NCEI Storm Events: flood reports from the national details files and from collections queried by state.

A details file (51 columns, `StormEvents_details-ftp_v1.0_dYYYY_cYYYYMMDD.csv.gz`) holds every kind of event of the
nation in the months published when it was made. A collection (39 columns, what the query page of the database gives)
holds the flood events of one or more states in whole calendar years. So the absence of a flood means something only in
the months and states that the files cover, and `Reports.coverage` says which those are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.core.urls import members
from sciml.data.months import MONTH, SECOND
from sciml.data.readers.counties import STATES, pad_fips, read_csv

FLOODS = ("Flood", "Flash Flood")
NATION = "United States"

# fmt: off
DETAILS = tuple(
    "BEGIN_YEARMONTH BEGIN_DAY BEGIN_TIME END_YEARMONTH END_DAY END_TIME EPISODE_ID EVENT_ID STATE STATE_FIPS YEAR"
    " MONTH_NAME EVENT_TYPE CZ_TYPE CZ_FIPS CZ_NAME WFO BEGIN_DATE_TIME CZ_TIMEZONE END_DATE_TIME INJURIES_DIRECT"
    " INJURIES_INDIRECT DEATHS_DIRECT DEATHS_INDIRECT DAMAGE_PROPERTY DAMAGE_CROPS SOURCE MAGNITUDE MAGNITUDE_TYPE"
    " FLOOD_CAUSE CATEGORY TOR_F_SCALE TOR_LENGTH TOR_WIDTH TOR_OTHER_WFO TOR_OTHER_CZ_STATE TOR_OTHER_CZ_FIPS"
    " TOR_OTHER_CZ_NAME BEGIN_RANGE BEGIN_AZIMUTH BEGIN_LOCATION END_RANGE END_AZIMUTH END_LOCATION BEGIN_LAT"
    " BEGIN_LON END_LAT END_LON EPISODE_NARRATIVE EVENT_NARRATIVE DATA_SOURCE".split()
)
COLLECTION = tuple(
    "EVENT_ID CZ_NAME_STR BEGIN_LOCATION BEGIN_DATE BEGIN_TIME EVENT_TYPE MAGNITUDE TOR_F_SCALE DEATHS_DIRECT"
    " INJURIES_DIRECT DAMAGE_PROPERTY_NUM DAMAGE_CROPS_NUM STATE_ABBR CZ_TIMEZONE MAGNITUDE_TYPE EPISODE_ID CZ_TYPE"
    " CZ_FIPS WFO INJURIES_INDIRECT DEATHS_INDIRECT SOURCE FLOOD_CAUSE TOR_LENGTH TOR_WIDTH BEGIN_RANGE BEGIN_AZIMUTH"
    " END_RANGE END_AZIMUTH END_LOCATION END_DATE END_TIME BEGIN_LAT BEGIN_LON END_LAT END_LON EVENT_NARRATIVE"
    " EPISODE_NARRATIVE ABSOLUTE_ROWNUMBER".split()
)

# Hours to add to local time for UTC. Events are kept in local time; older files name the zone without its number.
_ZONES = {
    "AST": 4, "ADT": 3, "EST": 5, "EDT": 4, "CST": 6, "CDT": 5, "MST": 7, "MDT": 6, "PST": 8, "PDT": 7, "AKST": 9,
    "AKDT": 8, "HST": 10, "SST": 11, "GST": -10, "CHST": -10, "UTC": 0, "GMT": 0,
}
_DAMAGE = {"": 1.0, "H": 1e2, "K": 1e3, "T": 1e3, "M": 1e6, "B": 1e9}
# fmt: on


@dataclass(frozen=True, eq=False)
class Reports:
    """Flood reports, one a row, and what the files cover.

    table: `event` (id), `kind` (Flood, Flash Flood), `start`, `end` (datetime64, UTC), `fips` (county, '' for a
    forecast zone), `latitude`, `longitude` [degrees], `damage` (property and crops, dollars, NaN where not said),
    `scope`. coverage: scope (the nation, or a state of a collection) -> (month,) datetime64[M] that the files cover
    there; a month of a scope without a report is a month without a flood. notes: what was left out and why.
    """

    table: pd.DataFrame
    coverage: Mapping[str, np.ndarray]
    notes: Sequence[str]


def read(pattern: str, centers: pd.DataFrame | None = None) -> Reports:
    """Flood and flash-flood reports of all files that match a pattern, details files and collections mixed.

    pattern: files as `sciml.core.urls.members` takes them. centers: from `counties.read`; a report without coordinates
    is put at the centre of its county, and without centres, or from a forecast zone, is left out and counted. Times
    become UTC by each report's own zone, so files with several zones mix. Raises InputError for no match, other
    columns, a time zone, date or amount of damage that cannot be read.
    """
    files = members(pattern)
    parts, nation = [], []
    states: dict[str, list[np.ndarray]] = {}
    for file in files:
        raw = read_csv(file)
        if tuple(raw.columns) == DETAILS:
            nation.append(_months_of_details(raw, file))
            parts.append(_details(raw[raw["EVENT_TYPE"].isin(FLOODS)], file))
        elif tuple(raw.columns) == COLLECTION:
            part = _collection(raw[raw["EVENT_TYPE"].str.strip().isin(FLOODS)], file)
            parts.append(part)
            for state, years in part.groupby("scope")["local"]:
                states.setdefault(str(state), []).append(_whole_years(years.to_numpy()))
        else:
            raise InputError(_other_columns(file, raw.columns))
    table = pd.concat(parts, ignore_index=True)
    coverage = {NATION: np.unique(np.concatenate(nation))} if nation else {}
    coverage |= {state: np.unique(np.concatenate(months)) for state, months in sorted(states.items())}
    table, notes = _placed(table.drop_duplicates(["event", "scope"]), centers, pattern)
    return Reports(table.drop(columns="local"), coverage, notes)


def damage(text: str) -> float:
    """Dollars of a damage field: '10.00K' -> 10000; NaN where nothing is said ('' or a letter alone).

    Raises ValueError for anything else.
    """
    text = text.strip().upper().replace(",", "")
    digits = text.rstrip("HKTMB")
    if not digits:
        return float("nan")
    return float(digits) * _DAMAGE[text[len(digits) :]]


def zone_hours(text: str) -> int:
    """Hours to add to local time for UTC: 'CST-6' and 'CST' -> 6, 'GST10' -> -10.

    Raises ValueError for an unknown zone, or a number that is not the zone's (an hour of daylight saving apart).
    """
    name = text.strip().upper()
    letters = name.rstrip("+-0123456789")
    if letters not in _ZONES:
        raise ValueError(f"unknown time zone {text!r}")
    number = name[len(letters) :]
    if not number:
        return _ZONES[letters]
    hours = -int(number)
    if abs(hours - _ZONES[letters]) > 1:
        raise ValueError(f"time zone {text!r} contradicts itself")
    return hours


def _details(raw: pd.DataFrame, file: str) -> pd.DataFrame:
    start, end = (
        _times(raw[f"{side}_YEARMONTH"] + raw[f"{side}_DAY"].map(lambda d: pad_fips(d, 2)), "%Y%m%d", raw, side, file)
        for side in ("BEGIN", "END")
    )
    amount = _damage(raw, ("DAMAGE_PROPERTY", "DAMAGE_CROPS"), file)
    state = raw["STATE_FIPS"].map(lambda s: pad_fips(s, 2))
    return _table(raw, start, end, state, amount, np.full(len(raw), NATION), file)


def _collection(raw: pd.DataFrame, file: str) -> pd.DataFrame:
    start, end = (_times(raw[f"{side}_DATE"], "%m/%d/%Y", raw, side, file) for side in ("BEGIN", "END"))
    abbreviation = raw["STATE_ABBR"].str.strip()
    unknown = ~abbreviation.isin(list(STATES))
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise InputError(
            f"{file}: column 'STATE_ABBR', line {raw.index[row] + 2}: found {abbreviation.iloc[row]!r}, expected the"
            " postal abbreviation of a state"
        )
    amount = _damage(raw, ("DAMAGE_PROPERTY_NUM", "DAMAGE_CROPS_NUM"), file)
    return _table(raw, start, end, abbreviation.map(STATES), amount, abbreviation.to_numpy(), file)


def _table(
    raw: pd.DataFrame,
    start: np.ndarray,
    end: np.ndarray,
    state: pd.Series,
    amount: np.ndarray,
    scope: np.ndarray,
    file: str,
) -> pd.DataFrame:
    hours = _zones(raw["CZ_TIMEZONE"], file)
    county = raw["CZ_TYPE"].str.strip() == "C"
    place = {
        name: pd.to_numeric(raw[column].str.strip(), errors="coerce").to_numpy(float)
        for name, column in (("latitude", "BEGIN_LAT"), ("longitude", "BEGIN_LON"))
    }
    return pd.DataFrame(
        {
            "event": raw["EVENT_ID"].to_numpy(),
            "kind": raw["EVENT_TYPE"].str.strip().to_numpy(),
            "local": start,
            "start": start + hours,
            "end": end + hours,
            "fips": np.where(county, state + raw["CZ_FIPS"].map(lambda c: pad_fips(c, 3)), ""),
            **place,
            "damage": amount,
            "scope": scope,
        }
    )


def _times(day: pd.Series, form: str, raw: pd.DataFrame, side: str, file: str) -> np.ndarray:
    """Local times from a day and a clock without its zeros: 905 is 9:05."""
    clock = pd.to_numeric(raw[f"{side}_TIME"], errors="coerce")
    date = pd.to_datetime(day, format=form, errors="coerce")
    bad = date.isna() | ~((clock >= 0) & (clock < 2400) & (clock % 100 < 60))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{file}: line {raw.index[row] + 2}: found {side.lower()} {day.iloc[row]!r} at"
            f" {raw[f'{side}_TIME'].iloc[row]!r}, expected a date and a time HHMM"
        )
    minutes = (clock // 100 * 60 + clock % 100).to_numpy().astype("timedelta64[m]")
    return np.asarray(date.to_numpy().astype(SECOND) + minutes)


def _zones(column: pd.Series, file: str) -> np.ndarray:
    hours = {}
    for text in column.unique():
        try:
            hours[text] = zone_hours(str(text))
        except ValueError as error:
            line = column.index[int(np.flatnonzero(column == text)[0])] + 2
            raise InputError(
                f"{file}: column 'CZ_TIMEZONE', line {line}: {error}; expected a zone like CST-6 or CST; correct it"
            ) from error
    return column.map(hours).to_numpy().astype("timedelta64[h]")


def _damage(raw: pd.DataFrame, columns: Sequence[str], file: str) -> np.ndarray:
    """Sum of what is said [dollars], NaN where neither is."""
    found = np.full((len(columns), len(raw)), np.nan)
    for number, name in enumerate(columns):
        for row, text in enumerate(raw[name]):
            try:
                found[number, row] = damage(text)
            except ValueError as error:
                raise InputError(
                    f"{file}: column '{name}', line {raw.index[row] + 2}: found {text!r}, expected dollars like 10.00K"
                ) from error
    return np.where(np.isfinite(found).any(axis=0), np.nansum(found, axis=0), np.nan)


def _months_of_details(raw: pd.DataFrame, file: str) -> np.ndarray:
    """Months from the first to the last event of any kind: a file grows by months until its year is complete."""
    if raw.empty:
        raise InputError(f"{file}: no event in it; expected a details file of at least a month")
    text = raw["BEGIN_YEARMONTH"].str.strip()
    wrong = ~text.str.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])")
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{file}: column 'BEGIN_YEARMONTH', line {row + 2}: found {text[row]!r}, expected YYYYMM")
    first, last = (np.datetime64(f"{value[:4]}-{value[4:]}", "M") for value in (text.min(), text.max()))
    return np.arange(first, last + 1)


def _whole_years(local: np.ndarray) -> np.ndarray:
    year = local.astype("datetime64[Y]")
    return np.arange(year.min().astype(MONTH), (year.max() + 1).astype(MONTH))


def _placed(table: pd.DataFrame, centers: pd.DataFrame | None, pattern: str) -> tuple[pd.DataFrame, list[str]]:
    """Reports with coordinates; those without come to their county's centre or go."""
    latitude, longitude = table["latitude"].to_numpy(copy=True), table["longitude"].to_numpy(copy=True)
    possible = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180) & ((latitude != 0) | (longitude != 0))
    filled = np.zeros(len(table), bool)
    if centers is not None:
        place = centers.set_index("fips").reindex(table["fips"])
        filled = ~possible & np.isfinite(place["latitude"].to_numpy())
        latitude[filled] = place["latitude"].to_numpy()[filled]
        longitude[filled] = place["longitude"].to_numpy()[filled]
    kept = possible | filled
    notes = []
    if filled.any():
        notes.append(f"{pattern}: {int(filled.sum())} reports without coordinates are put at their county's centre")
    if not kept.all():
        zones = int((~kept & (table["fips"] == "").to_numpy()).sum())
        advice = "" if centers is not None else "; --county-centers would place those of counties"
        notes.append(
            f"{pattern}: {int((~kept).sum())} of {len(table)} flood reports have no coordinates and are left out"
            f" ({zones} of them from forecast zones){advice}"
        )
    placed = table.assign(latitude=latitude, longitude=longitude)[kept]
    return placed.sort_values(["start", "event"], ignore_index=True), notes


def _other_columns(file: str, found: pd.Index) -> str:
    layout = min((DETAILS, COLLECTION), key=lambda names: len(set(names) ^ set(found)))
    missing, extra = [n for n in layout if n not in found], [str(n) for n in found if n not in layout]
    said = f"missing {', '.join(missing[:4])}{' ...' * (len(missing) > 4)}" if missing else ""
    said += ("; " if missing and extra else "") + (f"not known {', '.join(extra[:4])}{' ...' * (len(extra) > 4)}")
    said = said if missing or extra else "their order differs"
    return (
        f"{file}: found {len(found)} columns, {said}; expected a Storm Events details file (51 columns) or a collection"
        " (39 columns)"
    )
