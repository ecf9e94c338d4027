"""Tellus level-3 grids in ASCII: `GRD-3_<first day>-<last day>_GRAC_*_LND_v04.txt[.gz]`, one record a file.

A header in YAML's manner up to `# End of YAML header`, then a line per cell: lon (0..360), lat, lwe, uncertainty, cell
bounds. Metres of water, -99999 outside the mask. (The header is not strict YAML: values hold unquoted colons.)
Reference: Cooley & Landerer 2019, JPL D-103133.
"""

import gzip
import io
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.urls import read_bytes
from sciml.data import catalogue, months
from sciml.data.readers.common import note, order_axes

END = "# End of YAML header"
_FILL = -99999.0


def read(files: str | Sequence[str]) -> xr.Dataset:
    """Storage of one or many records on the one-degree grid.

    Returns `twsa`, `twsa_uncertainty` (time, lat, lon) [kg m-2, which is mm], `time_bounds` (time, bound), records in
    order of time, lat and lon ascending, NaN outside the product's mask. Raises InputError for a damaged file, a
    missing header entry, other grids in one list, or identical records.
    """
    names = [files] if isinstance(files, str) else list(files)
    if not names:
        raise InputError("no Tellus file given; expected GRD-3_*.txt or .txt.gz")
    parts = [_read_one(name) for name in names]
    for name, part in zip(names, parts, strict=True):
        if not (part["lat"].equals(parts[0]["lat"]) and part["lon"].equals(parts[0]["lon"])):
            raise InputError(f"{name}: its grid differs from that of {names[0]}; expected one grid")
    ds = xr.concat(parts, dim="time", data_vars="all", coords="minimal", compat="override", join="exact").sortby("time")
    bounds = ds["time_bounds"].values
    months.records(bounds[:, 0], bounds[:, 1], file=names[0] if len(names) == 1 else f"{names[0]} .. {names[-1]}")
    for name in ("twsa", "twsa_uncertainty"):
        catalogue.check_range(name, ds[name].values, file=names[0], units="m", axis=0, what="lwe")
        ds[name].attrs = catalogue.entry(name).attributes
    ds.attrs["source"] = names[0]
    return note(ds, f"{names[0]}: grids of spherical harmonics, smoothed; no mascons")


def _read_one(file: str) -> xr.Dataset:
    raw = read_bytes(file)
    try:
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: cannot be read to its end ({error}); truncated or damaged? fetch it again"
        ) from error
    if END not in text:
        raise InputError(f"{file}: no line '{END}'; expected a Tellus level-3 ASCII grid")
    header, body = text.split(END, 1)
    start, end = (_date(header, f"time_coverage_{which}", file) for which in ("start", "end"))
    rows, columns = int(_entry(header, "lat", file)), int(_entry(header, "lon", file))
    units = _entry(header, "unit", file, after="lwe:")
    try:
        table = pd.read_csv(io.StringIO(body), sep=r"\s+", header=None, usecols=[0, 1, 2, 3], comment="#").to_numpy(
            float
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{file}: no table below the header ({error}); expected lon lat lwe uncertainty") from error
    if len(table) != rows * columns or not np.isfinite(table).all():
        raise InputError(
            f"{file}: found {len(table)} lines of cells, expected {rows} x {columns}; truncated? fetch it again"
        )
    lon, lat = np.unique(table[:, 0]), np.unique(table[:, 1])
    if (len(lat), len(lon)) != (rows, columns):
        raise InputError(f"{file}: found {len(lat)} x {len(lon)} latitudes and longitudes, expected {rows} x {columns}")
    table[table == _FILL] = np.nan
    grids = np.full((2, rows, columns), np.nan)
    grids[:, np.searchsorted(lat, table[:, 1]), np.searchsorted(lon, table[:, 0])] = table[:, 2:4].T
    out = {
        name: (("time", "lat", "lon"), catalogue.convert(name, grid, units=units, file=file)[None].astype(np.float32))
        for name, grid in zip(("twsa", "twsa_uncertainty"), grids, strict=True)
    }
    middle = start + (end - start) // 2
    ds = xr.Dataset(
        {**out, "time_bounds": (("time", "bound"), np.array([[start, end]]))},
        coords={"time": np.array([middle]), "lat": lat, "lon": lon},
    )
    return order_axes(ds, file=file)


def _entry(header: str, key: str, file: str, *, after: str = "") -> str:
    text = header[header.find(after) :] if after and after in header else header
    found = re.search(rf"^\s*{key}\s*:\s*(\S+)\s*$", text, flags=re.MULTILINE)
    if not found:
        raise InputError(f"{file}: header has no entry '{key}'; expected a Tellus level-3 ASCII grid")
    return found[1]


def _date(header: str, key: str, file: str) -> np.datetime64:
    text = _entry(header, key, file)
    try:
        return np.datetime64(text.rstrip("Z"), "s")
    except ValueError as error:
        raise InputError(f"{file}: header entry '{key}': found '{text}', expected YYYY-MM-DDThh:mm:ss") from error
