"""The downscaled product on a map: CF Zarr by latitude bands, and NetCDF."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from sciml.core.urls import write_bytes
from sciml.data.stores import Template, Variable, open_store
from sciml.grace.downscale import KM3_PER_MM_KM2, Cells

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
    return [Band(start, min(start + rows, len(grid.lat))) for start in range(0, len(grid.lat), rows)]


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


def write_netcdf(store_url: str, target_url: str) -> None:
    """The map as one NetCDF-4 file (CF), written whole or not at all."""
    dataset = open_store(store_url).load().drop_encoding()
    dataset.attrs = {key: value for key, value in dataset.attrs.items() if key != "template_digest"}
    packing = {"zlib": True, "complevel": 4}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "map.nc"
        dataset.to_netcdf(file, engine="netcdf4", encoding=dict.fromkeys(dataset.data_vars, packing))
        write_bytes(target_url, file.read_bytes())
