"""Centres of United States counties: a CSV file `fips,county_name,state_name,population,latitude,longitude`."""

import gzip
import io

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.core.urls import read_bytes

COLUMNS = ("fips", "county_name", "state_name", "latitude", "longitude")

# FIPS 5-2 codes by postal abbreviation.
STATES = {
    "AL": "01", "AK": "02", "AZ": "04", "AR": "05", "CA": "06", "CO": "08", "CT": "09", "DE": "10", "DC": "11",
    "FL": "12", "GA": "13", "HI": "15", "ID": "16", "IL": "17", "IN": "18", "IA": "19", "KS": "20", "KY": "21",
    "LA": "22", "ME": "23", "MD": "24", "MA": "25", "MI": "26", "MN": "27", "MS": "28", "MO": "29", "MT": "30",
    "NE": "31", "NV": "32", "NH": "33", "NJ": "34", "NM": "35", "NY": "36", "NC": "37", "ND": "38", "OH": "39",
    "OK": "40", "OR": "41", "PA": "42", "RI": "44", "SC": "45", "SD": "46", "TN": "47", "TX": "48", "UT": "49",
    "VT": "50", "VA": "51", "WA": "53", "WV": "54", "WI": "55", "WY": "56", "AS": "60", "GU": "66", "MP": "69",
    "PR": "72", "VI": "78",
}  # fmt: skip


def pad_fips(code: int | str, digits: int = 5) -> str:
    """A code with its leading zeros, which tables lose when they are read as numbers: 1001 -> '01001'."""
    return str(code).strip().removesuffix(".0").zfill(digits)


def read_csv(file: str) -> pd.DataFrame:
    """A table of text, plain or gzip; empty fields are ''. Raises InputError for a damaged file."""
    raw = read_bytes(file)
    try:
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        return pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False)
    except (OSError, EOFError, ValueError) as error:
        said = " ".join(str(error).split())[:120]
        raise InputError(f"{file}: no CSV table ({said}); truncated or damaged? fetch it again") from error


def read(file: str) -> pd.DataFrame:
    """County centres, one row a county, sorted by FIPS code.

    Columns `fips` (five digits; lost zeros are put back), `county`, `state` (names), `latitude`, `longitude`
    [degrees]. Raises InputError for missing columns, codes that are no FIPS codes, a county twice, or no coordinates.
    """
    table = read_csv(file)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise InputError(
            f"{file}: column {', '.join(missing)} missing; found {', '.join(map(str, table.columns))}; expected"
            f" {','.join(COLUMNS)}"
        )
    fips = table["fips"].map(pad_fips)
    wrong = ~fips.str.fullmatch(r"\d{5}")
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{file}: column 'fips', line {row + 2}: found {table['fips'][row]!r}, expected five digits")
    if fips.duplicated().any():
        row = int(np.flatnonzero(fips.duplicated())[0])
        raise InputError(f"{file}: line {row + 2}: county {fips[row]} for the second time; expected each once")
    out = pd.DataFrame({"fips": fips, "county": table["county_name"], "state": table["state_name"]})
    for name, limit in (("latitude", 90.0), ("longitude", 180.0)):
        values = pd.to_numeric(table[name], errors="coerce")
        bad = ~(values.abs() <= limit)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{file}: column '{name}', line {row + 2}: found {table[name][row]!r}, expected degrees within"
                f" -{limit:g} .. {limit:g}"
            )
        out[name] = values
    return out.sort_values("fips", ignore_index=True)
