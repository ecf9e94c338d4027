"""Where drought is told: half-degree cells under the counties, and the states and basins that counties make up.

There are no outlines of counties here, only centres. Each half-degree land cell is cut into 5 x 5 points, and a point
belongs to the county with the nearest centre, unless that is farther away than the county's two next neighbours are on
average (the sea, another country). The areas of states inside the country come out within some percent, those at its
borders within a sixth mostly, and Maine's nearly doubled. States and basins are area-weighted means over their
counties, for storage and for drought classes alike, so that both are of one place.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.sparse import csr_array, diags_array
from scipy.spatial import cKDTree

from sciml.core.errors import InputError
from sciml.core.grid import EARTH_RADIUS_KM, unit_vectors
from sciml.data.readers import counties
from sciml.grace.downscale import Cells
from sciml.grace.flood.cases import holding

MARGIN_KM = 600.0  # mascons so near a county take part in the interpolation
POINTS = 5  # along each side of a cell
FEWEST_COUNTIES = 5  # of a basin, below which it is no unit
BEYOND = ("02", "15")  # Alaska and Hawaii; codes above 56 are territories


@dataclass(frozen=True, eq=False)
class Places:
    """cells: those of all mascons near a county, parents numbered from 0. mascon: (mascon,) rows of the mascon file.
    fips, state: (county,). county_basin: (county,) and cell_basin: (cell,) index into the basin table, -1 for none.
    area: (county, cell) [km2], how much of each cell belongs to each county."""

    cells: Cells
    mascon: np.ndarray
    fips: np.ndarray
    state: np.ndarray
    county_basin: np.ndarray
    cell_basin: np.ndarray
    area: csr_array


@dataclass(frozen=True, eq=False)
class Units:
    """States and basins. name, kind: (unit,), kind is "state" or "basin"; counties: (unit, county) and cells: (unit,
    cell), weights whose rows sum to 1."""

    name: np.ndarray
    kind: np.ndarray
    counties: csr_array
    cells: csr_array


def places(mascons: xr.Dataset, table: xr.Dataset, centres_file: str) -> Places:
    """Cells, counties and basins of the contiguous United States.

    mascons: from `ingest.read_mascons`; table: from `basin_table.read`, with cells; centres_file: see
    `sciml.data.readers.counties`. Raises InputError where no mascon lies under the counties.
    """
    centres = _centres(centres_file)
    tree = cKDTree(unit_vectors(centres["latitude"].to_numpy(), centres["longitude"].to_numpy()))
    latitude, longitude = mascons["cell_lat"].values, mascons["cell_lon"].values
    parent = mascons["cell_parent"].values
    distance = tree.query(unit_vectors(latitude, longitude))[0] * EARTH_RADIUS_KM
    near = np.unique(parent[distance < MARGIN_KM])
    if not len(near):
        raise InputError(f"{centres_file}: no mascon lies within {MARGIN_KM:.0f} km of a county; check the coordinates")
    inside = np.isin(parent, near)
    cells = Cells(
        np.searchsorted(near, parent[inside]),
        latitude[inside],
        longitude[inside],
        mascons["cell_area_km2"].values[inside],
    )
    parent_of = np.append(table["cell_parent"].values, -1)
    of_table = table["cell_lat"].values, table["cell_lon"].values  # at the resolution of the mask

    def basin_at(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        return parent_of[holding(lat, lon, *of_table)]

    return Places(
        cells=cells,
        mascon=near,
        fips=centres["fips"].to_numpy(dtype=str),
        state=centres["state"].to_numpy(dtype=str),
        county_basin=basin_at(centres["latitude"].to_numpy(), centres["longitude"].to_numpy()),
        cell_basin=basin_at(cells.latitude, cells.longitude),
        area=_areas(cells, tree),
    )


def units(found: Places, basin_names: np.ndarray, known: np.ndarray) -> Units:
    """States, and basins that hold the centres of at least FEWEST_COUNTIES counties.

    basin_names: (basin,) of the table; known: (county,) bool, counties whose drought is known. The table's basins do
    not share cells: of nested basins a cell belongs to the smallest.
    """
    labels = [("state", state, known & (found.state == state)) for state in np.unique(found.state[known])]
    for basin in np.unique(found.county_basin[known & (found.county_basin >= 0)]):
        inside = known & (found.county_basin == basin)
        if inside.sum() >= FEWEST_COUNTIES:
            labels.append(("basin", str(basin_names[basin]), inside))
    members = csr_array(np.array([inside for _, _, inside in labels], dtype=float))
    by_county = members @ diags_array(np.asarray(found.area.sum(axis=1)).ravel())
    return Units(
        np.array([name for _, name, _ in labels]),
        np.array([kind for kind, _, _ in labels]),
        _rows_to_one(by_county),
        _rows_to_one(members @ found.area),
    )


@functools.lru_cache(maxsize=2)
def _centres(file: str) -> pd.DataFrame:
    centres = counties.read(file)
    code = centres["fips"].str[:2]
    inside = ~code.isin(BEYOND) & (code <= "56")
    if not inside.any():
        raise InputError(f"{file}: found no county of the contiguous United States; expected FIPS codes 01001 to 56045")
    return centres[inside].reset_index(drop=True)


def _areas(cells: Cells, tree: cKDTree) -> csr_array:
    step = (np.arange(POINTS) - (POINTS - 1) / 2) * 0.5 / POINTS
    latitude = np.repeat((cells.latitude[:, None] + step)[:, :, None], POINTS, axis=2).reshape(-1)
    longitude = np.repeat((cells.longitude[:, None] + step)[:, None, :], POINTS, axis=1).reshape(-1)
    cell = np.repeat(np.arange(len(cells.area)), POINTS**2)
    distance, county = tree.query(unit_vectors(latitude, longitude))
    reach = tree.query(tree.data, k=3)[0][:, 1:].mean(axis=1)
    mine = distance <= reach[county]
    # a county too small to hold a point has one point's share of the cell nearest to its centre
    bare = np.setdiff1d(np.arange(tree.n), county[mine])
    home = cKDTree(unit_vectors(cells.latitude, cells.longitude)).query(tree.data[bare])[1]
    rows, columns = np.concatenate([county[mine], bare]), np.concatenate([cell[mine], home])
    return csr_array((cells.area[columns] / POINTS**2, (rows, columns)), shape=(tree.n, len(cells.area)))


def _rows_to_one(weights: csr_array) -> csr_array:
    return csr_array(diags_array(1 / np.asarray(weights.sum(axis=1)).ravel()) @ weights)
