"""Where the cells of an emulator job come from: an address that a worker can read again."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciml.data.readers.land_forcing import land_cells, open_land_forcing
from sciml.data.stores import spans
from sciml.land.forcing import Record
from sciml.land.sources import Demand, read_cells, read_records

GRID = "grid"  # the kind that is read by blocks of cells
OUTLINED = 50
MOST_ITEMS = 5000


@dataclass(frozen=True)
class LandSource:
    """kind: a source of `sources.read_records`; or `made`, a function that makes the records of `settings`."""

    kind: str
    files: str = ""
    demand: Demand = "auto"
    made: Callable[[Any], list[Record]] | None = None
    settings: Any = None

    def records(self) -> list[Record]:
        """All records; a process reads them once. Of a grid use `outline` and blocks: it may not fit in memory."""
        return _records(self)

    def outline(self) -> list[Record]:
        """The records, or of a grid the record of OUTLINED neighbouring cells: years, demand, what kind of means."""
        return _outline(self) if self.kind == GRID else self.records()


@functools.lru_cache(maxsize=2)
def _records(source: LandSource) -> list[Record]:
    if source.made is not None:
        return source.made(source.settings)
    return read_records(source.kind, source.files, demand=source.demand)


@functools.lru_cache(maxsize=2)
def _outline(source: LandSource) -> list[Record]:
    ds, cells = opened(source.files)
    count = cells.sizes["cell"]
    first = max((count - OUTLINED) // 2, 0)
    return [read_cells(ds, cells.isel(cell=slice(first, first + OUTLINED)), demand=source.demand)]


@functools.lru_cache(maxsize=2)
def opened(files: str) -> tuple[xr.Dataset, xr.Dataset]:
    """A grid, lazily, and its cells: see `sciml.data.readers.land_forcing`."""
    ds = open_land_forcing(files)
    return ds, land_cells(ds)


def held_bytes(records: list[Record]) -> int:
    """Memory of the series of records."""
    arrays = [
        array
        for one in records
        for array in (*one.targets.values.values(), one.forcing.rain, one.forcing.snowfall, one.forcing.temperature)
    ]
    return sum(array.nbytes for array in arrays) + sum(one.forcing.demand.nbytes for one in records)


@dataclass(frozen=True)
class CellBlock:
    """Address of a block of cells of one record. first: of its first cell in that record."""

    cell_start: int
    cell_stop: int
    record: int
    first: int

    def of(self, source: LandSource) -> Record:
        """Their record; of a grid they alone are read."""
        count = self.cell_stop - self.cell_start
        if source.kind == GRID:
            ds, cells = opened(source.files)
            return read_cells(ds, cells.isel(cell=slice(self.first, self.first + count)), demand=source.demand)
        return source.records()[self.record].select(slice(self.first, self.first + count))


@dataclass(frozen=True, eq=False)
class Layout:
    """All cells of a source in one row. names: (cell,); lat, lon [degrees], area_km2: (cell,); dates: every day of any
    record; items: blocks of one size, the last of each record shorter."""

    names: tuple[str, ...]
    lat: np.ndarray
    lon: np.ndarray
    area_km2: np.ndarray
    dates: np.ndarray
    items: tuple[CellBlock, ...]
    block: int


def layout(source: LandSource, cells_per_item: int) -> Layout:
    """Blocks of cells_per_item cells, or more where these were too many items; one cell an item of several records."""
    if source.kind == GRID:
        ds, cells = opened(source.files)
        count = cells.sizes["cell"]
        block = max(cells_per_item, -(-count // MOST_ITEMS))
        lat, lon, area = (cells[name].values.astype(np.float64) for name in ("lat", "lon", "area_km2"))
        items = tuple(CellBlock(start, stop, 0, start) for start, stop in spans(count, block))
        dates = ds["time"].values.astype("datetime64[D]")
        return Layout(
            tuple(map(str, cells["cell"].values)), lat, lon, area, np.arange(dates[0], dates[-1] + 1), items, block
        )
    records = source.records()
    sizes = [len(record.names) for record in records]
    block = max(cells_per_item, -(-sum(sizes) // MOST_ITEMS)) if len(records) == 1 else 1
    items, start = [], 0
    for number, size in enumerate(sizes):
        for first in range(0, size, block):
            stop = min(first + block, size)
            items.append(CellBlock(start + first, start + stop, number, first))
        start += size
    first_day = min(record.forcing.dates[0] for record in records)
    last_day = max(record.forcing.dates[-1] for record in records)

    def of(name: str) -> np.ndarray:
        return np.concatenate([getattr(record.forcing, name) for record in records])

    names = tuple(name for record in records for name in record.names)
    return Layout(names, of("lat"), of("lon"), of("area_km2"), np.arange(first_day, last_day + 1), tuple(items), block)
