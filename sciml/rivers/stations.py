"""Which cells of a network are watched day by day: gauges of a catalogue, and the mouths of the largest rivers."""

from dataclasses import dataclass

import numpy as np

from sciml.data.readers.grdc import Stations
from sciml.data.readers.river_network import place
from sciml.rivers.gauges import NINE_RIVERS, gauge_cells
from sciml.rivers.network import Network


@dataclass(frozen=True)
class Gauge:
    """A cell that is watched. area, cell_area [m2]: by the catalogue (NaN for a mouth) and upstream on the network;
    observed: mean flow of the catalogue over `years` [m3 s-1], NaN without."""

    name: str
    cell: int
    area: float
    cell_area: float
    observed: float
    years: str = ""


def watched(network: Network, stations: Stations | None, most: int) -> list[Gauge]:
    """At most `most` gauges, largest first: half of them mouths where there is a catalogue, else all.

    The paper's nine rivers come before other stations; of several stations on one cell the first is taken.
    """
    of_stations = [] if stations is None else _stations(network, stations, most - most // 2)
    taken = {gauge.cell for gauge in of_stations}
    mouths = network.outlet[np.argsort(-network.upstream_area[network.outlet], kind="stable")]
    found = list(of_stations)
    for cell in mouths.tolist():
        if len(found) == most:
            break
        if cell not in taken:
            name = f"mouth at {place(network.lat[cell], network.lon[cell])}"
            found.append(Gauge(name, cell, np.nan, float(network.upstream_area[cell]), np.nan))
    return sorted(found, key=lambda gauge: -gauge.cell_area)


def _stations(network: Network, stations: Stations, most: int) -> list[Gauge]:
    cell = gauge_cells(network, stations.lat, stations.lon, stations.area)
    usable = np.flatnonzero((cell >= 0) & np.isfinite(stations.flow))
    famous = np.isin(stations.number[usable], list(NINE_RIVERS.values()))
    order = usable[np.lexsort((-stations.area[usable], ~famous))]
    found: dict[int, Gauge] = {}
    for i in order.tolist():
        at = int(cell[i])
        if len(found) == most:
            break
        if at not in found:
            found[at] = Gauge(
                f"{str(stations.river[i]).title()}, {str(stations.station[i]).title()} ({stations.number[i]})",
                at,
                float(stations.area[i]),
                float(network.upstream_area[at]),
                float(stations.flow[i]),
                f"{stations.first_year[i]}-{stations.last_year[i]}",
            )
    return list(found.values())
