"""Gauges on a network, and the paper's nine rivers.

A gauge stands on a bank, a network has cells of half a degree: the cell that is meant is the one near by whose upstream
area is the gauge's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sciml.data.readers.grdc import Stations
from sciml.rivers.network import Network, accumulate, water_input

TOLERANCE = 0.3  # of the area
# river -> GRDC's number of its lowest gauge with decades of record
NINE_RIVERS = {
    "Amazon": 3629001,  # Obidos
    "Congo": 1147010,  # Kinshasa
    "Orinoco": 3206720,  # Puente Angostura
    "Brahmaputra": 2651100,  # Bahadurabad
    "Yenisei": 2909150,  # Igarka
    "Mississippi": 4127800,  # Vicksburg
    "Lena": 2903420,  # Kyusyur
    "Ob": 2912600,  # Salekhard
    "Mekong": 2469260,  # Pakse
}


@dataclass(frozen=True)
class RiverRow:
    """One river of a table: mean flows [m3 s-1], observed over the years named and of the model; areas [m2]."""

    river: str
    station: str
    years: str
    observed: float
    modelled: float
    area: float
    cell_area: float
    lat: float
    lon: float

    @property
    def bias(self) -> float:
        return self.modelled / self.observed - 1

    @property
    def area_bias(self) -> float:
        return self.cell_area / self.area - 1

    @property
    def depth_bias(self) -> float:
        """What is left of the bias with the area taken out: of runoff per area, its source's or of other years."""
        return (1 + self.bias) / (1 + self.area_bias) - 1


def gauge_cells(
    network: Network,
    lat: np.ndarray,
    lon: np.ndarray,
    area: np.ndarray,
    *,
    tolerance: float = TOLERANCE,
    reach: int = 2,
) -> np.ndarray:
    """Cell of each gauge, -1 where none fits. lat, lon: (gauge,) [degrees]; area: (gauge,) [m2], NaN never fits.

    The cell whose upstream area is nearest in ratio, within `tolerance`, of the 3 x 3 around the gauge; where none of
    these fits, of the next ring, up to `reach`.
    """
    rows, columns = network.shape
    step = (network.axis_lon[1] - network.axis_lon[0] + 180.0) % 360.0 - 180.0
    index = np.full(network.shape, -1, np.int64)
    index[network.row, network.column] = np.arange(len(network))
    row = np.round((lat - network.axis_lat[0]) / (network.axis_lat[1] - network.axis_lat[0])).astype(int)
    margin = 180.0 / columns  # a gauge may stand to the left of the first column
    off_first = ((lon - network.axis_lon[0]) * np.sign(step) + margin) % 360.0 - margin
    column = np.round(off_first / abs(step)).astype(int)
    around = abs(columns * abs(step) - 360.0) < 1e-3
    upstream = np.append(network.upstream_area, np.nan)
    found = np.full(len(lat), -1, np.int64)
    for ring in range(1, reach + 1):
        best = np.full(len(lat), np.inf)
        here = np.full(len(lat), -1, np.int64)
        for dy in range(-ring, ring + 1):
            for dx in range(-ring, ring + 1):
                r, c = row + dy, (column + dx) % columns if around else column + dx
                inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
                cell = np.where(inside, index[np.clip(r, 0, rows - 1), np.clip(c, 0, columns - 1)], -1)
                off = np.abs(np.log(upstream[cell]) - np.log(area))
                nearer = off < best
                best, here = np.where(nearer, off, best), np.where(nearer, cell, here)
        fits = (found < 0) & (here >= 0) & (np.abs(upstream[here] / area - 1) <= tolerance)
        found = np.where(fits, here, found)
    return found


def river_table(
    network: Network, stations: Stations, flow: np.ndarray, rivers: Mapping[str, int] = NINE_RIVERS
) -> list[RiverRow]:
    """The rivers beside what was measured. flow: (cell,) mean discharge [m3 s-1].

    Rivers without a fitting cell (the network is of another region) and those whose station the catalogue lacks (it is
    of another region) are left out.
    """
    rows = []
    for river, number in rivers.items():
        at = np.flatnonzero(stations.number == number)
        if not len(at):
            continue
        cell = gauge_cells(network, stations.lat[at], stations.lon[at], stations.area[at])[0]
        if cell < 0:
            continue
        i = int(at[0])
        rows.append(
            RiverRow(
                river,
                str(stations.station[i]).title(),
                f"{stations.first_year[i]}-{stations.last_year[i]}",
                float(stations.flow[i]),
                float(flow[cell]),
                float(stations.area[i]),
                float(network.upstream_area[cell]),
                float(network.lat[cell]),
                float(network.lon[cell]),
            )
        )
    return rows


def mean_flow(network: Network, runoff: np.ndarray) -> np.ndarray:
    """Accumulated mean runoff, what a river carries in the long run. runoff: (cell,) [kg m-2 day-1] -> [m3 s-1]."""
    return accumulate(network, water_input(network, runoff))
