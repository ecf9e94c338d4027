"""The Global Runoff Data Centre's catalogue of stations: a table with tabs, a row a station, missing as -999 or n.a.

The catalogue is not to be passed on; it is read from the user's own copy (grdc.bafg.de).
"""

import io
from dataclasses import dataclass

import fsspec
import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.data.readers.common import reading, require_file

_COLUMNS = ("grdc_no", "river", "station", "lat", "long", "area", "t_start", "t_end", "lta_discharge")


@dataclass(frozen=True, eq=False)
class Stations:
    """Each (station,): GRDC's number, names, place [degrees], catchment [m2] and mean flow of the whole record
    [m3 s-1], both NaN where the catalogue has none, first and last year (0 without)."""

    number: np.ndarray
    river: np.ndarray
    station: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    area: np.ndarray
    flow: np.ndarray
    first_year: np.ndarray
    last_year: np.ndarray

    def __len__(self) -> int:
        return len(self.number)


def read_grdc(file: str) -> Stations:
    """Stations of a catalogue, plain or gzip. Raises InputError for columns that are missing, places off the Earth."""
    require_file(file)
    with reading(file), fsspec.open(file, "rb", compression="infer") as source:
        text = source.read().decode("utf-8", errors="replace")
    table = pd.read_csv(io.StringIO(text), sep="\t", na_values=["n.a.", "-999", "-999.0"], quoting=3)
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise InputError(
            f"{file}: column {', '.join(missing)} missing; found {', '.join(map(str, table.columns[:8]))} ..; expected "
            "GRDC's catalogue of stations as text with tabs"
        )
    lat, lon = table["lat"].to_numpy(float), table["long"].to_numpy(float)
    off = ~((np.abs(lat) <= 90) & (np.abs(lon) <= 360))
    if off.any():
        bad = int(np.flatnonzero(off)[0])
        raise InputError(f"{file}: station {table['grdc_no'][bad]}: found {lat[bad]:g}, {lon[bad]:g}; expected degrees")
    area = table["area"].to_numpy(float) * 1e6
    return Stations(
        table["grdc_no"].to_numpy(np.int64),
        table["river"].astype(str).to_numpy(),
        table["station"].astype(str).to_numpy(),
        lat,
        lon,
        np.where(area > 0, area, np.nan),
        table["lta_discharge"].to_numpy(float),
        table["t_start"].fillna(0).to_numpy(np.int64),
        table["t_end"].fillna(0).to_numpy(np.int64),
    )
