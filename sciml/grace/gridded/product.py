"""The downscaled product: a CF map by latitude bands, means of basins, and both as NetCDF."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2
from sciml.core.urls import write_bytes
from sciml.data.readers.basins import read_mask
from sciml.data.readers.common import resolution_degrees
from sciml.data.stores import Template, Variable, open_store, spans
from sciml.grace.downscale import KM3_PER_MM_KM2, Cells
from sciml.grace.mascons import mean_operator

FIELDS = ("twsa", "twsa_sigma")


@dataclass(frozen=True)
class Band:
    """Address of some rows of the map, and the half-open range of latitudes they hold, in rows of the map."""

    lat_start: int
    lat_stop: int


@dataclass(frozen=True, eq=False)
class MapGrid:
    """Rows and columns that hold land: lat, lon [degrees] ascending; row, column: (cell,), area: (cell,) [km2]."""

    lat: np.ndarray
    lon: np.ndarray
    row: np.ndarray
    column: np.ndarray
    area: np.ndarray


def map_grid(cells: Cells) -> MapGrid:
    """The smallest rectilinear grid that holds all cells; rows and columns without land are left out."""
    lat, row = np.unique(cells.latitude, return_inverse=True)
    lon, column = np.unique(cells.longitude, return_inverse=True)
    return MapGrid(lat, lon, row, column, cells.area)


def bands(grid: MapGrid, rows: int) -> list[Band]:
    """Latitude bands of `rows` rows."""
    return [Band(*span) for span in spans(len(grid.lat), rows)]


def template(grid: MapGrid, start: np.ndarray, end: np.ndarray, observed: np.ndarray, rows: int) -> Template:
    """Store of the map. start, end: (window,) bounds of the windows; observed: (window,) whether GRACE saw it."""
    middle = start + (end - start) // 2
    dims = ("time", "lat", "lon")
    variables = {
        "twsa": Variable(
            dims, "mm", "downscaled terrestrial water storage anomaly", "lwe_thickness_anomaly", may_be_missing=True
        ),
        "twsa_sigma": Variable(dims, "mm", "standard deviation of the members", may_be_missing=True),
        "volume": Variable(dims, "km3", "downscaled anomaly of the volume of stored water", may_be_missing=True),
        "cell_area": Variable(("lat", "lon"), "km2", "area of land cells", "cell_area", may_be_missing=True),
    }
    coordinates = {
        "time": xr.Variable("time", middle),
        "time_start": xr.Variable("time", start),
        "time_end": xr.Variable("time", end),
        "gap_month": xr.Variable("time", (~observed).astype(np.int8), {"long_name": "1: no GRACE record"}),
        "lat": xr.Variable("lat", grid.lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": xr.Variable("lon", grid.lon, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    sizes = {"time": len(middle), "lat": len(grid.lat), "lon": len(grid.lon)}
    return Template(sizes, variables, shards={"lat": rows}, coordinates=coordinates)


@dataclass(frozen=True, eq=False)
class ToMap:
    """Stage function: rows of the map from the store of `sciml.grace.steps.Downscale`."""

    url: str
    grid: MapGrid

    def __call__(self, item: Band) -> dict[str, np.ndarray]:
        cells = np.flatnonzero((self.grid.row >= item.lat_start) & (self.grid.row < item.lat_stop))
        rows, columns = self.grid.row[cells] - item.lat_start, self.grid.column[cells]
        shape = (item.lat_stop - item.lat_start, len(self.grid.lon))
        packed = open_store(self.url)
        found = {}
        for name in FIELDS:
            values = packed[name].isel(cell=cells).values
            found[name] = np.full((values.shape[1], *shape), np.nan, np.float32)
            found[name][:, rows, columns] = values.T
        found["cell_area"] = np.full(shape, np.nan, np.float32)
        found["cell_area"][rows, columns] = self.grid.area[cells]
        found["volume"] = found["twsa"] * found["cell_area"] * KM3_PER_MM_KM2
        return found


@dataclass(frozen=True, eq=False)
class Basins:
    """Which basin each cell lies in: names (basin,), member (cell,) index, -1 for none; share (basin,) of the basin's
    own area that these cells make up."""

    names: np.ndarray
    member: np.ndarray
    share: np.ndarray


def basins_of_mask(file: str, cells: Cells) -> Basins:
    """Basins of `basin_index(lat, lon)` with at least one of the cells; a cell belongs where its centre lies.

    Raises InputError where no cell lies in any basin.
    """
    mask, names = read_mask(file)
    steps = {axis: resolution_degrees(mask[axis].values, file=file, name=axis) for axis in ("lat", "lon")}
    row, column = (
        mask.indexes[axis].get_indexer(values, method="nearest", tolerance=0.501 * steps[axis])
        for axis, values in (("lat", cells.latitude), ("lon", (cells.longitude + 180.0) % 360.0 - 180.0))
    )
    index = np.where((row >= 0) & (column >= 0), mask.values[row, column], -1)
    found, member = np.unique(index[index >= 0], return_inverse=True)
    if not len(found):
        raise InputError(
            f"{file}: variable 'basin_index': found no basin at the {len(index):,} cells of the storage data, expected"
            " basins of the same continents; check the axes of the mask"
        )
    place = np.full(len(index), -1)
    place[index >= 0] = member
    rows, columns = np.nonzero(mask.values >= 0)
    own = steps["lon"] / steps["lat"] * cell_area_km2(mask["lat"].values[rows], steps["lat"])
    whole = np.bincount(mask.values[rows, columns], own, len(names))[found]
    covered = np.bincount(member, cells.area[index >= 0], len(found))
    return Basins(names[found], place, np.minimum(covered / whole, 1.0))


def basins_of_mascons(cells: Cells) -> Basins:
    """Every mascon as a basin of its own, for want of a mask."""
    names = np.array([f"mascon {mascon}" for mascon in range(cells.mascons)])
    return Basins(names, cells.parent, np.ones(cells.mascons))


@dataclass(frozen=True)
class Span:
    """Address of some windows."""

    time_start: int
    time_stop: int


def basin_template(basins: Basins, members: int, start: np.ndarray, end: np.ndarray, windows_per_item: int) -> Template:
    """Store of the basins' means. start, end: (window,) bounds of the windows."""
    dims = ("basin", "time")
    variables = {
        "twsa": Variable(
            dims, "mm", "mean terrestrial water storage anomaly", "lwe_thickness_anomaly", may_be_missing=True
        ),
        "twsa_sigma": Variable(dims, "mm", "standard deviation of the members", may_be_missing=True),
        "volume": Variable(dims, "km3", "anomaly of the volume of stored water", may_be_missing=True),
        "volume_sigma": Variable(dims, "km3", "standard deviation of the members", may_be_missing=True),
        "observed": Variable(
            dims, "1", "1: GRACE saw the whole basin; 0: the model's own mean, in part or all", dtype="int8"
        ),
        "twsa_member": Variable(("basin", "member", "time"), "mm", "mean storage by member", may_be_missing=True),
    }
    coordinates = {
        "basin": xr.Variable("basin", basins.names.astype("U"), {"long_name": "name of the basin"}),
        "covered_share": xr.Variable("basin", basins.share, {"long_name": "share of the basin that is downscaled"}),
        "time": xr.Variable("time", start + (end - start) // 2),
        "time_start": xr.Variable("time", start),
        "time_end": xr.Variable("time", end),
    }
    sizes = {"basin": len(basins.names), "member": members, "time": len(start)}
    return Template(sizes, variables, shards={"time": windows_per_item}, coordinates=coordinates)


@dataclass(frozen=True, eq=False)
class ToBasins:
    """Stage function: means of basins from the store of `sciml.grace.steps.Downscale`.

    observed: (mascon, window) bool, where GRACE saw the mascon.
    """

    url: str
    basins: Basins
    cells: Cells
    observed: np.ndarray

    def __call__(self, item: Span) -> dict[str, np.ndarray]:
        when = slice(item.time_start, item.time_stop)
        members = open_store(self.url)["twsa_member"].isel(window=when).values
        seen = self.observed[self.cells.parent, when]
        return basin_means(members, seen, self.basins, self.cells.area)


def basin_means(members: np.ndarray, seen: np.ndarray, basins: Basins, area: np.ndarray) -> dict[str, np.ndarray]:
    """Mean storage and volume of basins with their sigma, from the members, whose errors neighbours share: the sigma is
    that of the basin, not of a cell.

    members: (cell, member, time) [mm]; seen: (cell, time) bool, whether GRACE saw the cell's mascon; area: (cell,)
    [km2]. Returns `twsa`, `twsa_sigma` [mm], `volume`, `volume_sigma` [km3], `observed` (basin, time), `twsa_member`
    (basin, member, time) [mm].
    """
    inside, count = basins.member >= 0, len(basins.names)
    mean = mean_operator(basins.member[inside], area[inside], count)
    flat = mean @ members[inside].reshape(inside.sum(), -1).astype(np.float64)
    each = flat.reshape(count, *members.shape[1:])
    km3 = KM3_PER_MM_KM2 * np.bincount(basins.member[inside], area[inside], count)[:, None]
    twsa, sigma = each.mean(axis=1), each.std(axis=1, ddof=1)
    observed = (mean @ seen[inside] > 1 - 1e-9).astype(np.int8)
    return {
        "twsa": twsa,
        "twsa_sigma": sigma,
        "volume": twsa * km3,
        "volume_sigma": sigma * km3,
        "observed": observed,
        "twsa_member": each,
    }


def write_netcdf(store_url: str, target_url: str) -> None:
    """A product's store as one NetCDF-4 file (CF), written whole or not at all."""
    dataset = open_store(store_url).load().drop_encoding()
    dataset.attrs = {key: value for key, value in dataset.attrs.items() if key != "template_digest"}
    packing = {"zlib": True, "complevel": 4}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "product.nc"
        dataset.to_netcdf(file, engine="netcdf4", encoding=dict.fromkeys(dataset.data_vars, packing))
        write_bytes(target_url, file.read_bytes())
