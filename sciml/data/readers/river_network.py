"""River networks on a grid: DDM30 and other PCRaster LDD maps, DRT and other ESRI directions.

DDM30: Doell & Lehner 2002, doi:10.1016/S0022-1694(01)00565-0. DRT: Wu et al. 2012, doi:10.1029/2012WR012313. PCRaster
writes directions as a keypad (7 8 9 / 4 5 6 / 1 2 3, north up, 5 a pit), ESRI as powers of two, clockwise from east
(1 E, 2 SE, 4 S, 8 SW, 16 W, 32 NW, 64 N, 128 NE; 0 and -1 no direction). A network is named `FILE:variable` in a NetCDF
file, or by the file alone for maps with one band (PCRaster .map, GeoTIFF).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from rasterio.errors import RasterioError
from scipy import ndimage

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2
from sciml.core.urls import exists
from sciml.data.readers.common import open_netcdf, reading, rename_axes, require, require_file, resolution_degrees

SEA, SINK = -1, -2  # in place of a downstream cell

# code -> (columns east, rows north)
KEYPAD = {1: (-1, -1), 2: (0, -1), 3: (1, -1), 4: (-1, 0), 6: (1, 0), 7: (-1, 1), 8: (0, 1), 9: (1, 1)}
ESRI = {1: (1, 0), 2: (1, -1), 4: (0, -1), 8: (-1, -1), 16: (-1, 0), 32: (-1, 1), 64: (0, 1), 128: (1, 1)}
KEYPAD_PITS, ESRI_PITS = (5,), (0, -1)
_KM2, _M2 = ("km2", "km^2", "km**2"), ("m2", "m^2", "m**2")


@dataclass(frozen=True, eq=False)
class Directions:
    """What a network file says of its land cells, in the file's order of rows and columns. Lengths in m, areas in m2.

    target: the cell into which each flows, SEA or SINK. An outlet is SEA where it points out of the land, touches a
    cell that is no land (or the edge of a regional map), or does so through other outlets, the cells of an estuary;
    SINK where land is all around. A lake that the map leaves out of the land, such as the Caspian, counts as sea.
    upstream_area, and the channel's own measures, are None where the file has none; floodplain is (cell, layer) [m
    above the bank].
    """

    source: str
    axis_lat: np.ndarray
    axis_lon: np.ndarray
    row: np.ndarray
    column: np.ndarray
    target: np.ndarray
    area: np.ndarray
    upstream_area: np.ndarray | None = None
    length: np.ndarray | None = None
    channel_length: np.ndarray | None = None
    width: np.ndarray | None = None
    depth: np.ndarray | None = None
    elevation: np.ndarray | None = None
    floodplain: np.ndarray | None = None

    @property
    def lat(self) -> np.ndarray:
        return self.axis_lat[self.row]

    @property
    def lon(self) -> np.ndarray:
        return self.axis_lon[self.column]


def place(lat: float, lon: float) -> str:
    """A cell for an error message."""
    return f"{abs(lat):g}{'N' if lat >= 0 else 'S'} {abs(lon):g}{'E' if lon >= 0 else 'W'}"


def read_directions(source: str, *, codes: str | None = None) -> Directions:
    """Directions of `FILE:variable` (NetCDF), or of a map file with one band.

    codes: "ldd" (keypad) or "esri"; None tells from the values, or from the variable's name and long name where the
    values leave it open. Beside NAME_ldd the variables NAME_upstream_area and cell_area [km2 or m2] are read if there.
    Raises InputError for a missing variable, an unknown code, axes that are no regular grid.
    """
    file, variable = file_and_variable(source)
    require_file(file)
    if variable is None:
        code, lat, lon, hint = _read_map(file)
        area = upstream = None
    else:
        code, lat, lon, hint, area, upstream = _read_netcdf(file, variable)
    name = f"{file}: variable '{variable}'" if variable else file
    land = np.isfinite(code)
    if not land.any():
        raise InputError(f"{name}: found no cell with a direction; expected PCRaster or ESRI codes; check the variable")
    resolution = resolution_degrees(np.sort(lat), file=file, name="lat")
    resolution_degrees(np.sort(lon), file=file, name="lon")
    kind = codes or _codes(code[land], hint, name)
    target = targets(code, lat, lon, moves=KEYPAD if kind == "ldd" else ESRI, name=name)
    row, column = np.nonzero(land)
    if area is None:
        area = np.broadcast_to(cell_area_km2(lat, resolution)[:, None] * 1e6, code.shape)
    wrapped = (lon + 180.0) % 360.0 - 180.0
    given = None if upstream is None else upstream[land].astype(np.float64)
    return Directions(source, lat, wrapped, row, column, target, area[land].astype(np.float64), given)


def targets(code: np.ndarray, lat: np.ndarray, lon: np.ndarray, *, moves: dict, name: str) -> np.ndarray:
    """code (lat, lon), NaN off the land -> the target of each land cell, row by row; the date line is no edge.

    Raises InputError that names the place of an unknown code.
    """
    land = np.isfinite(code)
    known = np.isin(code, [*moves, *(KEYPAD_PITS if moves is KEYPAD else ESRI_PITS)])
    if not (known | ~land).all():
        row, column = np.argwhere(land & ~known)[0]
        raise InputError(
            f"{name}: at {place(lat[row], lon[column])} found code {code[row, column]:g}, expected "
            f"{'1 .. 9 (PCRaster)' if moves is KEYPAD else '0 or a power of two to 128 (ESRI)'}; correct the map"
        )
    rows, columns = code.shape
    north = -1 if rows > 1 and lat[0] > lat[-1] else 1
    around = abs(abs(lon[-1] - lon[0]) + abs(lon[1] - lon[0]) - 360.0) < 1e-3
    index = np.full(code.shape, SEA, np.int64)
    index[land] = np.arange(land.sum())
    padded = np.pad(index, 1, constant_values=SEA)
    if around:
        padded[:, 0], padded[:, -1] = padded[:, -2], padded[:, 1]
    east = 1 if lon[-1] > lon[0] else -1
    target = np.full(code.shape, SEA, np.int64)
    for step, (dx, dy) in moves.items():
        r, c = 1 + dy * north, 1 + dx * east
        target = np.where(code == step, padded[r : r + rows, c : c + columns], target)
    target = np.where(land & (target == SEA) & ~_at_sea(land & (target == SEA), padded == SEA, around), SINK, target)
    return target[land]


def _at_sea(outlet: np.ndarray, water: np.ndarray, around: bool) -> np.ndarray:
    """Outlets that touch water, or an outlet that does. water: as outlet, with a rim of one cell."""
    reached = np.zeros_like(outlet)
    while True:
        grown = ndimage.binary_dilation(water, np.ones((3, 3)))[1:-1, 1:-1] & outlet
        if (grown == reached).all():
            return reached
        reached = grown
        water = water | np.pad(grown, 1)
        if around:
            water[1:-1, 0], water[1:-1, -1] = water[1:-1, -2], water[1:-1, 1]


def file_and_variable(source: str) -> tuple[str, str | None]:
    """FILE:variable; a file may hold colons itself (s3://...)."""
    file, colon, variable = source.rpartition(":")
    if not colon or variable.startswith("//") or exists(source):
        if source.endswith((".nc", ".nc4", ".h5")):
            raise InputError(f"{source}: found no variable; expected FILE:variable; name one, such as ddm30_ldd")
        return source, None
    return file, variable


def _codes(values: np.ndarray, hint: str, name: str) -> str:
    found = set(np.unique(values).astype(int).tolist())
    if not found <= {1, 2, 4, 8}:
        return "ldd" if found & {3, 5, 6, 7, 9} else "esri"
    hint = hint.lower()
    if any(word in hint for word in ("ldd", "pcraster", "keypad")):
        return "ldd"
    if any(word in hint for word in ("esri", "fdr", "d8")):
        return "esri"
    raise InputError(
        f"{name}: codes {sorted(found)} are legal both for PCRaster and for ESRI; "
        "expected one kind; name it with codes='ldd' or codes='esri'"
    )


def _read_netcdf(file: str, variable: str) -> tuple:
    ds = rename_axes(open_netcdf(file), file=file)
    require(ds, (variable,), file=file, layout="a river network")
    prefix = variable.split("_")[0]
    with reading(file):
        if set(ds[variable].dims) != {"lat", "lon"}:
            raise InputError(
                f"{file}: variable '{variable}': found dimensions {ds[variable].dims}, expected (lat, lon); name a map"
            )
        code = np.asarray(ds[variable].transpose("lat", "lon").values, np.float64)
        lat, lon = (np.asarray(ds[axis].values, np.float64) for axis in ("lat", "lon"))
        area = _area(ds, "cell_area", file)
        upstream = _area(ds, f"{prefix}_upstream_area", file)
    hint = f"{variable} {ds[variable].attrs.get('long_name', '')}"
    return code, lat, lon, hint, area, upstream


def _area(ds: xr.Dataset, name: str, file: str) -> np.ndarray | None:
    """A map of areas [m2], None where the file has none."""
    if name not in ds.variables:
        return None
    units = str(ds[name].attrs.get("units", "")).replace(" ", "")
    if units not in (*_KM2, *_M2):
        raise InputError(f"{file}: variable '{name}': found units {units!r}, expected km2 or m2; correct the attribute")
    return np.asarray(ds[name].transpose("lat", "lon").values, np.float64) * (1e6 if units in _KM2 else 1.0)


def _read_map(file: str) -> tuple:
    """One band with its axes. A PCRaster map needs GDAL's driver of that name, which most builds have."""
    try:
        with rasterio.open(file) as source:
            band = source.read(1).astype(np.float64)
            if source.nodata is not None:
                band[band == source.nodata] = np.nan
            t, (rows, columns), driver = source.transform, band.shape, source.driver
            if t.b or t.d or source.count != 1:
                raise InputError(f"{file}: found a rotated map or {source.count} bands; expected one band, north up")
    except RasterioError as error:
        raise InputError(
            f"{file}: no map that GDAL reads ({' '.join(str(error).split())[:120]}); expected PCRaster or GeoTIFF "
            "(a GDAL without the PCRaster driver reads no .map: convert it to GeoTIFF)"
        ) from error
    lat, lon = t.f + t.e * (np.arange(rows) + 0.5), t.c + t.a * (np.arange(columns) + 0.5)
    if abs(lat).max() > 90 or lon.min() < -180 or lon.max() > 360:
        raise InputError(f"{file}: found no degrees (rows {lat[0]:g} .. {lat[-1]:g}); expected latitude and longitude")
    return band, lat, lon, Path(file).name + (" pcraster" if driver == "PCRaster" else "")
