"""Mascons as every storage reader returns them, and blocks of GRACE's resolution for products that have no mascons.

What GRACE sees is about 300 km wide. A finer grid, or mascons of one degree, repeat or interpolate that; taken as they
are they would claim contrasts that nobody measured. They are averaged over blocks of 3 degrees and nearly equal area:
bands of latitude, each cut in as many pieces as make their sides alike.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.sparse import csr_array

from sciml.core.errors import InputError
from sciml.core.grid import EARTH_RADIUS_KM, cell_area_km2
from sciml.data import catalogue
from sciml.data.months import Records
from sciml.data.readers.common import note
from sciml.data.readers.regrid import to_resolution

BLOCK_DEGREES = 3.0
CELL_DEGREES = 0.5  # the cells that storage is downscaled to


@dataclass(frozen=True, eq=False)
class Places:
    """Where mascons or cells lie: lat, lon [degrees] of centres, area [km2]; number: a mascon's, or a cell's mascon."""

    number: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    area: np.ndarray


def mascon_dataset(
    records: Records, twsa: np.ndarray, sigma: np.ndarray | None, mascons: Places, cells: Places
) -> xr.Dataset:
    """The dataset that storage readers return; see `sciml.data.readers.grctellus.read` for its variables.

    twsa, sigma: (mascon, record) [mm]; mascons: (mascon,) with the numbers of the product; cells: (cell,) land cells
    with the index of their mascon.
    """
    land_area = np.bincount(cells.number, cells.area, len(mascons.number))
    out = xr.Dataset(
        {
            "lat": ("mascon", mascons.lat, {"units": "degrees_north"}),
            "lon": ("mascon", mascons.lon, {"units": "degrees_east"}),
            "area_km2": ("mascon", mascons.area, {"units": "km2"}),
            "land_area_km2": ("mascon", land_area, {"units": "km2"}),
            "cell_parent": ("cell", cells.number, {"long_name": "index of the mascon that holds the cell"}),
            "cell_lat": ("cell", cells.lat, {"units": "degrees_north"}),
            "cell_lon": ("cell", cells.lon, {"units": "degrees_east"}),
            "cell_area_km2": ("cell", cells.area, {"units": "km2"}),
            "time_bounds": (("time", "bound"), np.stack([records.start, records.end], axis=-1)),
        },
        coords={"mascon_id": ("mascon", mascons.number), "time": records.middle},
    )
    for name, values in (("twsa", twsa), ("twsa_uncertainty", sigma)):
        if values is not None:
            known = catalogue.entry(name)
            out[name] = (("mascon", "time"), values.astype(known.dtype), known.attributes)
    return out


def select(mascons: xr.Dataset, keep: np.ndarray) -> xr.Dataset:
    """Some mascons and their cells. keep: (mascon,) bool."""
    parent = mascons["cell_parent"].values
    out = mascons.isel(mascon=np.flatnonzero(keep), cell=np.flatnonzero(keep[parent]))
    index = (np.cumsum(keep) - 1)[parent[keep[parent]]]
    return out.assign(cell_parent=("cell", index, mascons["cell_parent"].attrs))


def blocks_of_grid(grid: xr.Dataset, *, file: str) -> xr.Dataset:
    """A storage grid without mascons, averaged over land in blocks of 3 degrees: as `grctellus.read` returns mascons.

    grid: `twsa` and perhaps `twsa_uncertainty` (time, lat, lon) [mm], `time_bounds`, perhaps `land` (lat, lon) bool,
    lazy or not. Without `land`, cells that never hold a value are sea. Raises InputError where nothing tells the sea.
    """
    names = [name for name in ("twsa", "twsa_uncertainty") if name in grid]
    if "land" in grid:
        share = to_resolution(grid[["land"]].astype("float32").expand_dims("time"), CELL_DEGREES, file=file)
        fine = to_resolution(grid[names].where(grid["land"]), CELL_DEGREES, file=file)
        land = share["land"].values[0] >= 0.5
    else:
        fine = to_resolution(grid[names], CELL_DEGREES, file=file)
        land = np.isfinite(fine["twsa"].values).any(axis=0)
        if land.all():
            raise InputError(
                f"{file}: variable 'twsa': found a value in every cell and no land mask, expected one; add a variable"
                " 'land_mask', or name the product's mask file too: --twsa GRID.nc,MASK.nc"
            )
    row, column = np.nonzero(land)
    place = {"lat": xr.DataArray(row, dims="cell"), "lon": xr.DataArray(column, dims="cell")}
    series = {name: fine[name].isel(place).transpose("cell", "time").values for name in names}
    lat, lon = fine["lat"].values[row], fine["lon"].values[column]
    bounds = grid["time_bounds"].values
    out = _blocks(Records(bounds[:, 0], bounds[:, 1]), series, lat, lon)
    out.attrs.update(grid.attrs | {"resolution_degrees": CELL_DEGREES})
    return note(out, f"{file}: a grid without mascons, averaged over land in {out.sizes['mascon']} blocks of 3 degrees")


def blocks_of_mascons(mascons: xr.Dataset, *, file: str) -> xr.Dataset:
    """Mascons finer than GRACE sees, averaged over land in blocks of 3 degrees. mascons: as `gsfc.read` gives them."""
    bounds, parent = mascons["time_bounds"].values, mascons["cell_parent"].values
    series = {name: mascons[name].values[parent] for name in ("twsa", "twsa_uncertainty") if name in mascons}
    records = Records(bounds[:, 0], bounds[:, 1])
    out = _blocks(records, series, mascons["cell_lat"].values, mascons["cell_lon"].values)
    out.attrs.update(mascons.attrs)
    found = f"{mascons.sizes['mascon']} mascons of one degree averaged over {out.sizes['mascon']} blocks of 3 degrees"
    return note(out, f"{file}: {found}, which is what GRACE resolves")


def _blocks(records: Records, series: dict[str, np.ndarray], lat: np.ndarray, lon: np.ndarray) -> xr.Dataset:
    """series: (cell, record) of land cells. Cells without a single value are left out; others count where they have
    one. Errors inside a block are taken to be one error: their mean is its sigma."""
    held = np.isfinite(series["twsa"]).any(axis=1)
    lat, lon = lat[held], lon[held]
    area = cell_area_km2(lat, CELL_DEGREES)
    every = block_numbers(lat, lon)
    number, parent = np.unique(every, return_inverse=True)
    weights = csr_array((area, (parent, np.arange(len(parent)))), shape=(len(number), len(parent)))
    means = {}
    for name, values in series.items():
        known = np.isfinite(values[held])
        total = weights @ known.astype(np.float64)
        sums = weights @ np.where(known, values[held], 0.0).astype(np.float64)
        means[name] = np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)
    mascons = _block_places(number)
    return mascon_dataset(
        records, means["twsa"], means.get("twsa_uncertainty"), mascons, Places(parent, lat, lon, area)
    )


def block_numbers(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Number of the block that holds each place: (place,), counted from the south and from 180 W. [degrees]"""
    band = np.clip(np.floor((np.asarray(lat) + 90) / BLOCK_DEGREES).astype(int), 0, len(_PIECES) - 1)
    piece = np.floor((np.asarray(lon) + 180) % 360 / 360 * _PIECES[band]).astype(int)
    return _FIRST[band] + piece


_PIECES = np.maximum(
    1, np.round(360 / BLOCK_DEGREES * np.cos(np.deg2rad(np.arange(-90 + BLOCK_DEGREES / 2, 90, BLOCK_DEGREES))))
).astype(int)
_FIRST = np.concatenate([[0], np.cumsum(_PIECES)[:-1]])


def _block_places(number: np.ndarray) -> Places:
    band = np.searchsorted(_FIRST, number, side="right") - 1
    south = -90 + BLOCK_DEGREES * band
    lon = -180 + 360 * (number - _FIRST[band] + 0.5) / _PIECES[band]
    tall = np.sin(np.deg2rad(south + BLOCK_DEGREES)) - np.sin(np.deg2rad(south))
    area = 2 * np.pi * EARTH_RADIUS_KM**2 * tall / _PIECES[band]
    return Places(number, south + BLOCK_DEGREES / 2, lon, area)
