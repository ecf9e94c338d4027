"""Runoff of nested gauges spread over the cells of a grid: each cell takes the depth of its own sub-area.

The tables hold means over all land upstream of a gauge. With areas A of the grid's cells above gauges 1, 2, .. of one
river, what runs off between two of them is (A_i R_i - A_(i-1) R_(i-1)) / (A_i - A_(i-1)), no less than 0.
"""

from dataclasses import dataclass

import numpy as np

from sciml.data.stores import open_store
from sciml.land.forcing import days_between
from sciml.land.simulation import DAYS, CellYear
from sciml.land.skill import climatology
from sciml.land.source import LandSource
from sciml.land.steps import Years


@dataclass(frozen=True)
class SubareaYear:
    """Stage function: a year of runoff of all cells.

    records: of the gauges, from the highest down; areas: above each; cells: number of the gauge into whose sub-area
    each cell drains. run: URL of free runs with their rows of the gauges, or "" for the reference's own runoff.
    """

    source: LandSource
    records: tuple[int, ...]
    areas: tuple[float, ...]
    cells: tuple[int, ...]
    first_year: int
    run: str = ""
    rows: tuple[int, ...] = ()
    first_day: str = ""
    usual: Years | None = None  # the reference's climatology over these years in its place

    def __call__(self, item: CellYear) -> dict[str, np.ndarray]:
        depth = subarea_runoff(self._runoff(self.first_year + item.year), np.array(self.areas))
        found = np.full((1, 1, DAYS, item.cell_stop - item.cell_start), np.nan, np.float32)
        found[0, 0, : len(depth)] = depth[:, np.array(self.cells[item.cell_start : item.cell_stop])]
        return {"runoff": found}

    def _runoff(self, year: int) -> np.ndarray:
        """(day, gauge) [kg m-2 day-1]."""
        found = []
        for place, number in enumerate(self.records):
            record = self.source.records()[number]
            days = days_between(record.forcing.dates, year, year, what=record.names[0])
            if not self.run:
                runoff, dates = record.targets.values["runoff"], record.forcing.dates
                usual = self.usual and climatology(runoff, dates, self.usual.of(dates), dates[days])
                found.append(runoff[days, 0] if usual is None else usual[:, 0])
                continue
            shift = int((record.forcing.dates[0] - np.datetime64(self.first_day)).astype(int))
            with open_store(self.run) as store:
                part = store["runoff"].isel(cell=self.rows[place], time=slice(days.start + shift, days.stop + shift))
                found.append(part.values.astype(np.float64))
        return np.stack(found, axis=1)


def subarea_runoff(runoff: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """(time, gauge) means above each gauge, from the highest down, to means of the sub-areas; areas: (gauge,)."""
    between = np.diff(areas * runoff, axis=1, prepend=0.0) / np.diff(areas, prepend=0.0)
    return np.maximum(between, 0.0)
