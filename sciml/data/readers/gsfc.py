"""GSFC's mascons: the HDF5 file `gsfc.glb_*.h5` of the mascons themselves (the half-degree grid lost their numbers).

Layout: `/mascon/lat_center lon_center lat_span lon_span area_km2 location labels` (1, mascon),
`/time/ref_days_first ref_days_last` (1, time) in days of which day 1 is 2002-01-01, both inclusive, `/solution/cmwe`
(mascon, time) in cm, `/uncertainty/noise_2sigma leakage_2sigma` (mascon, time), two sigma. Location 80 is land, 90
ocean, others ice sheets. Reference: Loomis, Luthcke & Sabaka 2019, doi:10.1007/s00190-019-01252-y. Not tried on a
real file.
"""

from typing import Any

import h5py
import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2
from sciml.core.urls import filesystem
from sciml.data import catalogue, months
from sciml.data.readers.common import note, reading, require_file
from sciml.data.readers.mascons import Places, mascon_dataset

LAYOUT = "GSFC's mascons"
LAND = 80
_ORIGIN = np.datetime64("2001-12-31", "s")  # day 1 is 2002-01-01


def recognised(file: str) -> bool:
    """Whether a file is HDF5 with the group of GSFC's mascons or of their solution."""
    require_file(file)
    fs, path = filesystem(file)
    with reading(file), fs.open(path, "rb") as raw:
        if raw.read(8) != b"\x89HDF\r\n\x1a\n":
            return False
        with h5py.File(raw, "r") as h5:
            return any(isinstance(h5.get(name), h5py.Group) for name in ("mascon", "solution"))


def read(file: str, *, resolution_degrees: float = 0.5) -> xr.Dataset:
    """Land mascons of the HDF5 file and the regular cells whose centres lie in each, as `grctellus.read` gives them.

    `twsa`, `twsa_uncertainty` (mascon, time) [kg m-2, which is mm; one sigma: noise and leakage in quadrature where
    both are there]; `lat`, `lon`, `area_km2`, `land_area_km2` (mascon); `cell_*` (cell); `time_bounds` (time, bound).
    Ice sheets and oceans are left out; `notes` says how many. Raises InputError for a damaged file or another layout.
    """
    require_file(file)
    fs, path = filesystem(file)
    with reading(file), fs.open(path, "rb") as raw, h5py.File(raw, "r") as h5:
        location = _row(h5, "mascon/location", file)
        land = np.flatnonzero(location == LAND)
        if not len(land):
            raise InputError(f"{file}: '/mascon/location': found {np.unique(location)}, expected {LAND} for land")
        box = {
            name: _row(h5, f"mascon/{name}", file)[land]
            for name in ("lat_center", "lon_center", "lat_span", "lon_span")
        }
        area = _row(h5, "mascon/area_km2", file)[land]
        labels = _row(h5, "mascon/labels", file)[land].astype(np.int64) if "mascon/labels" in h5 else land + 1
        first, last = (_row(h5, f"time/ref_days_{which}", file) for which in ("first", "last"))
        twsa = _series(h5, "solution/cmwe", file, len(location), len(first))[land] * 10.0
        variance = [
            (_series(h5, f"uncertainty/{name}", file, len(location), len(first))[land] * 5.0) ** 2
            for name in ("noise_2sigma", "leakage_2sigma")
            if f"uncertainty/{name}" in h5
        ]
    catalogue.check_range("twsa", twsa, file=file, units="cm", axis=1, what="/solution/cmwe")
    found = months.records(_time(first), _time(last + 1), file=file)
    parent, lat, lon = _cells(box, resolution_degrees)
    size = cell_area_km2(lat, resolution_degrees)
    lon_center = (box["lon_center"] + 180) % 360 - 180
    sigma = np.sqrt(np.sum(variance, axis=0)) if variance else None
    mascons = Places(labels, box["lat_center"], lon_center, area)
    out = mascon_dataset(found, twsa, sigma, mascons, Places(parent, lat, lon, size))
    out.attrs.update(source=file, layout=LAYOUT, resolution_degrees=resolution_degrees)
    return note(out, f"{file}: {len(location) - len(land)} of {len(location)} mascons are ocean or ice and left out")


def _dataset(h5: h5py.File, name: str, file: str) -> Any:
    if name not in h5:
        raise InputError(
            f"{file}: '/{name}' missing; {LAYOUT} in HDF5 expected it; found groups {', '.join(h5) or 'none'}"
        )
    return h5[name]


def _row(h5: h5py.File, name: str, file: str) -> np.ndarray:
    return np.asarray(_dataset(h5, name, file)[()], dtype=np.float64).ravel()


def _series(h5: h5py.File, name: str, file: str, mascons: int, times: int) -> np.ndarray:
    values = np.asarray(_dataset(h5, name, file)[()], dtype=np.float64)
    if values.shape != (mascons, times):
        raise InputError(f"{file}: '/{name}': found shape {values.shape}, expected ({mascons}, {times}): mascon, time")
    return values


def _time(days: np.ndarray) -> np.ndarray:
    return _ORIGIN + np.round(days * 86400).astype("timedelta64[s]")


def _cells(box: dict[str, np.ndarray], step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells whose centres lie in each mascon's box: parent, lat, lon (cell,). Boxes wrap around in longitude."""
    lat = np.arange(-90 + step / 2, 90, step)
    lon = np.arange(-180 + step / 2, 180, step)
    rows, columns, parents = [], [], []
    for k in range(len(box["lat_center"])):
        # half-open, so that a centre on a border has one owner; the shift keeps rounding on one side
        north = lat - box["lat_center"][k] + 1e-9
        east = (lon - box["lon_center"][k] + 1e-9 + 180) % 360 - 180
        inside = np.flatnonzero((north >= -box["lat_span"][k] / 2) & (north < box["lat_span"][k] / 2))
        across = np.flatnonzero((east >= -box["lon_span"][k] / 2) & (east < box["lon_span"][k] / 2))
        row, column = np.meshgrid(inside, across, indexing="ij")
        rows.append(row.ravel())
        columns.append(column.ravel())
        parents.append(np.full(row.size, k))
    return np.concatenate(parents), lat[np.concatenate(rows)], lon[np.concatenate(columns)]
