"""Parameters of CaMa-Flood: a folder of plain binary maps beside `params.txt`.

Yamazaki et al. 2011, doi:10.1029/2010WR009726, and the model's description of its maps. `params.txt` gives a number a
line: columns, rows, floodplain layers, resolution [degrees], west, east, south, north. The maps are little-endian, rows
from the north, columns from the west, all columns of a row together. `nextxy.bin` (int32) holds the column and then the
row, counted from 1, of each cell's next cell: -9 a river mouth, -10 an inland end, -9999 no land. The others are
float32: `ctmare` area of the unit catchment [m2], `nxtdst` way to the next cell [m], `rivlen`, `rivwth`, `rivhgt`
length, width and depth of the channel [m], `elevtn` elevation of the bank [m], `fldhgt` height of the floodplain above
the bank [m], one map a layer, at 10 %, 20 %, .. 100 % of the catchment. Not tried on a real file.
"""

from pathlib import Path

import numpy as np

from sciml.core.errors import InputError
from sciml.data.readers.river_network import SEA, SINK, Directions, place

MOUTH, INLAND, OCEAN = -9, -10, -9999
_OPTIONAL = ("rivwth", "rivhgt")


def is_cama(source: str) -> bool:
    """Whether a path is a folder of CaMa-Flood parameters."""
    return (Path(source) / "nextxy.bin").is_file()


def read_cama(folder: str) -> Directions:
    """Network, channel and floodplain of a folder.

    The length between cells is `nxtdst`, that of the channel, which stores water, `rivlen`. Width and depth are None
    where the folder has none. Raises InputError for a missing or misshapen file, a next cell that is no land, a
    floodplain that falls.
    """
    path = Path(folder)
    columns, rows, layers, lat, lon = _grid(path / "params.txt")
    following = _read(path / "nextxy.bin", "<i4", (2, rows, columns))
    land = following[0] != OCEAN
    row, column = np.nonzero(land)
    target = _targets(path / "nextxy.bin", following, land, lat, lon)
    maps: dict[str, np.ndarray | None] = {}
    for name in ("ctmare", "elevtn", "nxtdst", "rivlen", *_OPTIONAL):
        file = path / f"{name}.bin"
        there = name not in _OPTIONAL or file.is_file()
        maps[name] = _read(file, "<f4", (rows, columns))[land].astype(np.float64) if there else None
    floodplain = _read(path / "fldhgt.bin", "<f4", (layers, rows, columns))[:, land].T.astype(np.float64)
    falls = (np.diff(floodplain, axis=1) < 0).any(1) | (floodplain[:, 0] < 0)
    if falls.any():
        bad = int(np.flatnonzero(falls)[0])
        heights = ", ".join(f"{height:g}" for height in floodplain[bad])
        raise InputError(
            f"{path / 'fldhgt.bin'}: at {place(lat[row[bad]], lon[column[bad]])} found heights {heights} m, expected "
            "layers that rise from the bank; are layers and rows in the right order?"
        )
    return Directions(
        folder,
        lat,
        lon,
        row,
        column,
        target,
        area=maps["ctmare"],
        length=maps["nxtdst"],
        channel_length=maps["rivlen"],
        width=maps["rivwth"],
        depth=maps["rivhgt"],
        elevation=maps["elevtn"],
        floodplain=floodplain,
    )


def _targets(file: Path, following: np.ndarray, land: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    rows, columns = land.shape
    row, column = np.nonzero(land)
    x, y = following[0][land], following[1][land]
    flows = x > 0
    on_map = (x <= columns) & (y >= 1) & (y <= rows)
    index = np.full((rows, columns), -1, np.int64)
    index[land] = np.arange(len(x))
    into = np.where(flows & on_map, index[np.where(on_map, y, 1) - 1, np.where(flows & on_map, x, 1) - 1], -1)
    legal = np.where(flows, into >= 0, np.isin(x, (MOUTH, INLAND)))
    if not legal.all():
        bad = int(np.flatnonzero(~legal)[0])
        raise InputError(
            f"{file}: at {place(lat[row[bad]], lon[column[bad]])} found the next cell ({x[bad]}, {y[bad]}), expected a "
            f"land cell of the {columns} x {rows} map, {MOUTH} or {INLAND}; whole, and little-endian?"
        )
    return np.where(flows, into, np.where(x == INLAND, SINK, SEA))


def _grid(file: Path) -> tuple[int, int, int, np.ndarray, np.ndarray]:
    """Columns, rows, layers and the axes; remarks behind a number do not count."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; expected CaMa-Flood's parameters of the map; check the folder")
    words = [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
    try:
        columns, rows, layers = (int(float(word)) for word in words[:3])
        _, west, east, south, north = (float(word) for word in words[3:8])
    except ValueError as error:
        raise InputError(
            f"{file}: found {' '.join(words[:8])!r}; expected columns, rows, layers, resolution and the four edges"
        ) from error
    dx, dy = (east - west) / columns, (north - south) / rows
    lat = north - dy * (np.arange(rows) + 0.5)
    lon = west + dx * (np.arange(columns) + 0.5)
    return columns, rows, layers, lat, (lon + 180.0) % 360.0 - 180.0


def _read(file: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if not file.is_file():
        raise InputError(f"{file}: no such file; expected a map of CaMa-Flood; check the folder")
    size, expected = file.stat().st_size, 4 * int(np.prod(shape))
    if size != expected:
        raise InputError(
            f"{file}: found {size} bytes, expected {expected} for {' x '.join(map(str, shape))} as params.txt says; "
            "truncated, or of another map?"
        )
    return np.fromfile(file, dtype).reshape(shape)
