"""Model A on a tile: parameters with structure inside a mascon, rivers, and the storage that is planted."""

import heapq

import numpy as np

from sciml.generated.fields import modes, static
from sciml.generated.forcing import Climate, Land, Weather, season
from sciml.land import process_model as a


def simulate(
    climate: Climate,
    land: Land,
    sky: Weather,
    days: np.ndarray,
    downstream: np.ndarray,
    spin_up: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Storage and fluxes of model A after `spin_up` days: (day, cell) float32 in the catalogue's names and units."""
    parameters = draw_parameters(climate, land, downstream, rng)
    run = a.run(
        a.initial_state(parameters),
        sky.precipitation.astype(np.float64),
        sky.temperature.astype(np.float64),
        sky.net_radiation.astype(np.float64),
        season(days),
        parameters,
        downstream,
        land.area,
    )
    names = ("cw", "snw", "mrso", "hfls", "mrros", "mrro", "groundwater", "river", "total")
    out = {name: np.empty((len(days) - spin_up, len(land.area)), np.float32) for name in names}
    for day, (state, fluxes) in enumerate(run, start=-spin_up):
        if day < 0:
            continue
        out["cw"][day], out["snw"][day], out["mrso"][day] = state.canopy, state.snow, state.soil
        out["groundwater"][day], out["river"][day], out["total"][day] = state.groundwater, state.river, state.total
        out["hfls"][day] = fluxes.evaporation * (a.LATENT_HEAT / a.DAY)
        out["mrros"][day] = fluxes.surface_runoff / a.DAY
        out["mrro"][day] = (fluxes.surface_runoff + fluxes.baseflow) / a.DAY
    return out | {"pr": sky.precipitation[spin_up:] / np.float32(a.DAY), "tas": sky.temperature[spin_up:]}


def draw_parameters(climate: Climate, land: Land, downstream: np.ndarray, rng: np.random.Generator) -> a.Parameters:
    """Parameters of model A, log-normal about usual values with structure on 100 km, which is inside a mascon.

    A river's bed holds three times its mean flow of a day, taking a third of the rain to run off: beds are as wide as
    their rivers.
    """
    pattern = modes(land.latitude, land.longitude, 100.0)

    def around(middle: float, spread: float) -> np.ndarray:
        return middle * np.exp(spread * static(pattern, rng))

    steep = np.clip((land.elevation - climate.elevation_m) / 600.0, -1.0, 1.0)
    fields = np.maximum(static(pattern, rng) + 0.3, 0.0)
    return a.Parameters(
        canopy_capacity=around(2.0 * (1.1 - climate.dryness), 0.2),
        snow_temperature=around(274.0, 0.0015),
        melt_factor=around(3.5, 0.2),
        soil_capacity=around(240.0, 0.20) * np.exp(-0.3 * steep),
        soil_shape=around(2.2, 0.2),
        stress=np.clip(around(0.6, 0.15), 0.3, 0.95),
        quick_share=np.clip(around(0.4, 0.2) * np.exp(0.3 * steep), 0.05, 0.9),
        percolation=around(1.0, 0.25),
        groundwater_base=np.full(len(land.area), 3000.0),
        groundwater_days=np.maximum(around(150.0, 0.25) * np.exp(-0.2 * steep), 30.0),
        capillary=around(0.4, 0.5),
        river_days=np.maximum(around(1.0, 0.15), 1.0),
        bankfull=around(3.0, 0.3) * upstream_area(downstream, land.area) / land.area * climate.rain / 3 / 365.25,
        floodplain_delay=1.0 + climate.floodplain * around(1.0, 0.3),
        irrigated=np.minimum(climate.irrigated * fields, 0.8),
        hemisphere=np.sign(land.latitude),
    )


def drainage(shape: tuple[int, int], land: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Where each land cell drains: (land cell,) index of the next one, the number of land cells for the sea.

    shape: (rows, columns) of the tile; land: (cell,) bool; elevation: (land cell,) [m]. Priority flood (Barnes et al.
    2014) from the coast and from the valleys that reach the tile's edge, so that no cell is a sink and no flow runs in
    a circle.
    """
    rows, columns = shape
    height = np.full(rows * columns, np.nan)
    height[land] = elevation
    number = np.cumsum(land) - 1
    start = [int(i) for i in np.flatnonzero(land) if _is_mouth(int(i), land, height, rows, columns)]
    start = start or [int(np.flatnonzero(land)[np.argmin(elevation)])]
    down = np.full(rows * columns, -1)
    seen = ~land
    heap: list[tuple[float, int]] = []
    for cell in start:
        seen[cell] = True
        heapq.heappush(heap, (height[cell], int(cell)))
    while heap:
        level, cell = heapq.heappop(heap)
        for other in _neighbours(cell, rows, columns):
            if not seen[other]:
                seen[other] = True
                down[other] = cell
                heapq.heappush(heap, (max(level, height[other]), other))
    return np.where(down[land] >= 0, number[down[land]], land.sum())


def _is_mouth(cell: int, land: np.ndarray, height: np.ndarray, rows: int, columns: int) -> bool:
    around = _neighbours(cell, rows, columns)
    coast = any(not land[other] for other in around)
    return coast or (len(around) < 8 and all(height[cell] <= height[other] for other in around))


def upstream_area(downstream: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Area that drains through each cell, its own included: (cell,). downstream: from `drainage`; area: (cell,)."""
    cells = len(area)
    waiting = np.bincount(downstream, minlength=cells + 1)
    total = np.append(area, 0.0)
    ready = list(np.flatnonzero(waiting[:cells] == 0))
    while ready:
        cell = ready.pop()
        below = downstream[cell]
        total[below] += total[cell]
        waiting[below] -= 1
        if waiting[below] == 0 and below < cells:
            ready.append(below)
    return total[:cells]


def _neighbours(cell: int, rows: int, columns: int) -> list[int]:
    row, column = divmod(int(cell), columns)
    return [
        r * columns + c
        for r in range(max(row - 1, 0), min(row + 2, rows))
        for c in range(max(column - 1, 0), min(column + 2, columns))
        if (r, c) != (row, column)
    ]
