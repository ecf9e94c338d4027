"""What a flood case is made of: basins of a table, or half-degree cells, with rain, storage and reports by month."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import MEAN_MONTH_S, MONTH, Timeline, month_seconds
from sciml.data.readers import precipitation
from sciml.data.readers.storm_events import NATION, Reports
from sciml.data.splits import Period
from sciml.data.stores import open_store
from sciml.grace.basins.nets import Prepared
from sciml.grace.flood.potential import KINDS, FloodCase
from sciml.grace.gridded.steps import Problem

ROUNDING = 1e-3  # degrees, below which two centres are in one row
ALONE = 0.5  # degrees, size of a cell without a neighbour


def holding(
    latitude: np.ndarray,
    longitude: np.ndarray,
    cell_latitude: np.ndarray,
    cell_longitude: np.ndarray,
) -> np.ndarray:
    """The cell that holds each point: (point,) index, -1 where none does. All in degrees, cells of a regular grid."""
    size = resolution(cell_latitude, cell_longitude)

    def key(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        row = np.floor((np.asarray(lat) + 90) / size + 1e-6).astype(np.int64)
        column = np.floor(((np.asarray(lon) + 180) % 360) / size + 1e-6).astype(np.int64)
        return row * round(360 / size) + column

    cells = key(cell_latitude, cell_longitude)
    order = np.argsort(cells, kind="stable")
    points = key(latitude, longitude)
    place = np.minimum(np.searchsorted(cells[order], points), len(cells) - 1)
    return np.where(cells[order][place] == points, order[place], -1)


def resolution(latitude: np.ndarray, longitude: np.ndarray) -> float:
    """Size of the cells of a regular square grid [degrees] from their centres (cell,); half a degree for one alone."""
    steps = np.concatenate([np.diff(np.unique(axis)) for axis in (latitude, longitude)])
    steps = steps[steps > ROUNDING]
    return float(steps.min()) if len(steps) else ALONE


def monthly(reports: Reports, unit: np.ndarray, units: int, months: np.ndarray, scope: str) -> dict[str, np.ndarray]:
    """Whether a unit has a report that begins in a month (UTC): kind -> (unit, month) bool.

    unit: (report,) unit of each report, -1 outside all; only those of the scope count, in the months that it covers.
    """
    table = reports.table
    month = table["start"].to_numpy().astype(MONTH)
    counts = (unit >= 0) & (table["scope"] == scope).to_numpy() & np.isin(month, reports.coverage[scope])
    counts &= (month >= months[0]) & (month <= months[-1])
    found = {}
    for kind, name in KINDS.items():
        own = counts & (table["kind"] == name).to_numpy()
        found[kind] = np.zeros((units, len(months)), bool)
        found[kind][unit[own], (month[own] - months[0]).astype(int)] = True
    return found


def outside_note(unit: np.ndarray, what: str) -> str:
    """How many reports lie in no unit."""
    return f"{int((unit < 0).sum()):,} of {len(unit):,} flood reports lie outside every {what} and do not count."


def of_basins(
    ready: Prepared,
    storage: Mapping[str, np.ndarray],
    reports: Reports,
    precipitation_url: str,
    train: Period,
    test: Period,
) -> tuple[FloodCase, np.ndarray]:
    """Basins that hold reports, once for the nation's files and once for each state's collection.

    storage: model -> (basin, month) [mm] of all basins, empty to check reports and rain alone. precipitation_url: a
    gridded product, or "" for the mean of the table's products. Returns the case and the basin of each unit (unit,).
    Raises InputError where no basin holds any.
    """
    table, data = ready.table, ready.data
    if "cell_parent" not in table:
        raise InputError("--experiment flood needs --basin-mask, which says where the basins lie")
    cell_lat, cell_lon, parent = (table[f"cell_{name}"].values for name in ("lat", "lon", "parent"))
    place = holding(reports.table["latitude"].to_numpy(), reports.table["longitude"].to_numpy(), cell_lat, cell_lon)
    basin = np.where(place >= 0, parent[place], -1)
    months = data.months
    rain = (
        _basin_rain(table, months, precipitation_url)
        if precipitation_url
        else data.family_mean[:, :, 0] * (month_seconds(months) / MEAN_MONTH_S)
    )
    notes = [*reports.notes, outside_note(basin, "basin")]
    units, names, reported, covered = [], [], [], []
    for scope, known in reports.coverage.items():
        found = monthly(reports, basin, len(data.names), months, scope)
        holds = np.flatnonzero(np.any(list(found.values()), axis=0).any(axis=1))
        units.append(holds)
        names += [str(data.names[b]) + ("" if scope == NATION else f" (reports of {scope})") for b in holds]
        reported.append({kind: values[holds] for kind, values in found.items()})
        covered.append(np.broadcast_to(np.isin(months, known), (len(holds), len(months))))
        notes.append(_scope_note(scope, known, [str(data.names[b]).title() for b in holds]))
    unit = np.concatenate([np.zeros(0, int), *units])
    if not len(unit):
        raise InputError(f"--flood-reports: none of the {len(basin):,} flood reports lies in a basin with storage")
    source = precipitation_url or f"the table's products ({', '.join(map(str, table['family'].values))})"
    notes.append(f"Rain of a basin is from {source}; it and storage are means of the whole basin.")
    case = FloodCase(
        name=np.array(names),
        row=np.array(names),
        months=months,
        precipitation=rain[unit],
        storage={name: values[unit] for name, values in storage.items()},
        reported={kind: np.concatenate([part[kind] for part in reported]) for kind in KINDS},
        covered=np.concatenate(covered),
        train=train.contains(months),
        test=test.contains(months),
        notes=tuple(notes),
    )
    return case, unit


def _scope_note(scope: str, known: np.ndarray, basins: Sequence[str]) -> str:
    span = f"{known[0]} to {known[-1]} ({len(known)} months)"
    where = f"{', '.join(basins[:12])}{' ...' * (len(basins) > 12)}" if basins else "none"
    whose = "of the whole nation" if scope == NATION else f"of {scope} alone"
    return f"Reports {whose} cover {span}; basins that hold any: {where}."


def _basin_rain(table: xr.Dataset, months: np.ndarray, url: str) -> np.ndarray:
    """Area means of a gridded product over basins: (basin, month) [mm], NaN where half of a basin has no value."""
    parent, area = table["cell_parent"].values, table["cell_area_km2"].values
    product = precipitation.open_precipitation(url, resolution=None)
    known, cells = precipitation.monthly_totals(product, table["cell_lat"].values, table["cell_lon"].values)
    values = on_months(cells, known, months)
    total, weight = np.zeros((2, table.sizes["basin"], len(months)))
    there = np.isfinite(values)
    np.add.at(total, parent, np.where(there, values, 0.0) * area[:, None])
    np.add.at(weight, parent, there * area[:, None])
    whole = np.bincount(parent, area, table.sizes["basin"])[:, None]
    return np.where(weight > 0.5 * whole, total / np.maximum(weight, 1e-9), np.nan)


def on_months(values: np.ndarray, known: np.ndarray, months: np.ndarray) -> np.ndarray:
    """Values of some months (..., known) on an axis of all: (..., month), NaN elsewhere."""
    out = np.full((*values.shape[:-1], len(months)), np.nan)
    place = (known - months[0]).astype(int)
    inside = (place >= 0) & (place < len(months))
    out[..., place[inside]] = values[..., inside]
    return out


def window_months(values: np.ndarray, windows: Timeline, months: np.ndarray) -> np.ndarray:
    """Means of the windows that GRACE saw in each calendar month: (unit, window) -> (unit, month), NaN in gaps."""
    out = np.full((len(values), len(months)), np.nan)
    for place, month in enumerate(months):
        own = (windows.month == month) & windows.observed
        if own.any():
            out[:, place] = values[:, own].mean(axis=1, dtype=np.float64)
    return out


def cell_rain(problem: Problem, url: str) -> np.ndarray:
    """Rain of the real cells by month: (cell, month) [mm], of a gridded product, or "" for the predictors' own `pr`."""
    months, layout = problem.months, problem.layout
    if url:
        product = precipitation.open_precipitation(
            url, resolution=resolution(layout.cells.latitude, layout.cells.longitude)
        )
        known, values = precipitation.monthly_totals(product, layout.cells.latitude, layout.cells.longitude)
        return on_months(values, known, months)
    store = open_store(problem.fine_url)  # holds all predictors, whichever of them the models see
    if "pr" not in store:
        raise InputError("--experiment flood needs rain: no 'pr' among the predictors; give --precipitation FILE")
    rate = store["pr"].values[layout.real]
    return rate * month_seconds(months)


def of_cells(
    problem: Problem,
    downscaled: Mapping[str, str],
    rain: np.ndarray,
    reported: Mapping[str, np.ndarray],
    covered: np.ndarray,
    notes: Sequence[str],
) -> tuple[FloodCase, np.ndarray]:
    """Half-degree cells, rows by mascon, and which of the real cells they are: (unit,).

    downscaled: model -> store of its cells, empty as in `of_basins`. rain: (cell, month) [mm]; reported: kind -> (cell,
    month); covered: (cell, month); cells that no report names are left out, since nobody may have been there to file
    one.
    """
    cells = problem.layout.cells
    kept = np.any(list(reported.values()), axis=0).any(axis=1)
    if not kept.any():
        raise InputError("--flood-reports: no report lies in a cell of the downscaled product")
    storage = {
        name: window_months(open_store(url)["twsa"].values, problem.windows, problem.months)[kept]
        for name, url in downscaled.items()
    }
    silent = f"{int((~kept).sum()):,} of {len(kept):,} cells without any report are left out."
    case = FloodCase(
        name=np.array([f"cell {number}" for number in np.flatnonzero(kept)]),
        row=np.array([f"mascon {number}" for number in cells.parent[kept]]),
        months=problem.months,
        precipitation=rain[kept],
        storage=storage,
        reported={kind: values[kept] for kind, values in reported.items()},
        covered=covered[kept],
        train=problem.train.contains(problem.months),
        test=problem.test.contains(problem.months),
        notes=(*notes, *([silent] if not kept.all() else [])),
    )
    return case, np.flatnonzero(kept)


def reports_on_cells(problem: Problem, reports: Reports) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:
    """Reports on the real cells: kind -> (cell, month), the months that files cover at each cell, and notes.

    A cell is covered where one of its own reports has a scope: the nation's months, or its state's.
    """
    cells, months, table = problem.layout.cells, problem.months, reports.table
    cell = holding(table["latitude"].to_numpy(), table["longitude"].to_numpy(), cells.latitude, cells.longitude)
    covered = np.zeros((len(cells.parent), len(months)), bool)
    reported = {kind: covered.copy() for kind in KINDS}
    for scope, known in reports.coverage.items():
        for kind, values in monthly(reports, cell, len(cells.parent), months, scope).items():
            reported[kind] |= values
        own = cell[(table["scope"] == scope).to_numpy() & (cell >= 0)]
        covered[np.unique(own)] |= np.isin(months, known)
    return reported, covered, [*reports.notes, outside_note(cell, "cell")]
