"""The emulator run through years of weather: stage functions of `emulator_run`.

Items are a year of a block of cells, chained over the years: what a year leaves (its stores, in double precision) is
where the next begins, so that a run that was cut anywhere is the whole run bit for bit.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.errors import ConfigError, InputError
from sciml.core.grid import great_circle_km
from sciml.core.seeds import seed_for
from sciml.data.stores import Template, Variable, open_store
from sciml.land.forcing import Forcing, days_between
from sciml.land.least_squares import Space, draw
from sciml.land.models import Model, Scheme
from sciml.land.run import simulate
from sciml.land.skill import climatology
from sciml.land.source import LandSource, opened
from sciml.land.sources import read_cells
from sciml.land.steps import UNITS, Years, model_for

SIMULATION_VERSION = 1  # raise it where the same parameters and weather give another run
DAYS = 366  # of a year in the store; the last is missing in years that have 365
SAME_PLACE = 1e-3  # degrees


@dataclass(frozen=True)
class CellYear:
    """Address: one year (counted from the first) of a block of cells."""

    year: int
    cell_start: int
    cell_stop: int


@dataclass(frozen=True, eq=False)
class Places:
    """Cells of a run in the order of the forcing. names, lat, lon [degrees], area_km2: (cell,); forcing, parameter:
    (cell,) index of each in the forcing and in the store of parameters; notes: what a run should say."""

    names: tuple[str, ...]
    lat: np.ndarray
    lon: np.ndarray
    area_km2: np.ndarray
    forcing: np.ndarray
    parameter: np.ndarray
    notes: tuple[str, ...] = ()


def weather(source: LandSource, which: slice | np.ndarray, days: slice) -> Forcing:
    """Some cells and days of a source: read block by block from a grid, from memory else."""
    if source.kind == "grid":
        ds, cells = opened(source.files)
        return read_cells(ds, cells.isel(cell=which), days, demand=source.demand).forcing
    return source.records()[0].forcing.days(days).select(which)


def dates_of(source: LandSource) -> np.ndarray:
    """(time,) datetime64[D]."""
    if source.kind == "grid":
        return opened(source.files)[0]["time"].values.astype("datetime64[D]")
    return source.records()[0].forcing.dates


def years_of_run(dates: np.ndarray, wanted: tuple[int, int] | None, what: str) -> range:
    """Calendar years that are run: those wanted, or all that the dates hold whole."""
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    if wanted:
        days_between(dates, wanted[0], wanted[1], what=what)
        return range(wanted[0], wanted[1] + 1)
    first = int(years[0]) + (dates[0] != np.datetime64(str(years[0]), "D"))
    last = int(years[-1]) - (dates[-1] != np.datetime64(f"{years[-1]}-12-31"))
    if last < first:
        raise InputError(f"{what}: found {dates[0]} .. {dates[-1]}, no whole calendar year; give one at least")
    return range(first, last + 1)


@functools.lru_cache(maxsize=4)
def places(source: LandSource, parameters: str) -> Places:
    """Every cell of a store of parameters, found in the forcing at the same place; of no store, all of the forcing.

    Raises InputError where the forcing has no cell there, by the first cell and how far its nearest is.
    """
    if not parameters:
        forcing, every = source.records()[0].forcing, np.arange(len(source.records()[0].names))
        return Places(source.records()[0].names, forcing.lat, forcing.lon, forcing.area_km2, every, every)
    with open_store(parameters) as store:
        names = tuple(map(str, store["cell"].values))
        lat, lon = store["lat"].values, store["lon"].values
        area = store["area_km2"].values
    if source.kind == "grid":
        there = opened(source.files)[1]
        lats, lons, areas = (there[name].values.astype(np.float64) for name in ("lat", "lon", "area_km2"))
    else:
        forcing = source.records()[0].forcing
        lats, lons, areas = forcing.lat, forcing.lon, forcing.area_km2
    if not (np.isfinite(lat) & np.isfinite(lon)).all():
        raise InputError(f"{parameters}: cell {names[0]} has no place, which a run on a grid needs; fit a grid")
    index = _same(lat, lon, lats, lons)
    if (index < 0).any():
        first = int(np.flatnonzero(index < 0)[0])
        far = great_circle_km(lat[first], lon[first], lats, lons)
        nearest = int(np.argmin(far))
        raise InputError(
            f"{source.files or source.kind}: no cell for {int((index < 0).sum())} of {len(index)} cells of the"
            f" parameters, the first at {lat[first]:g} N {lon[first]:g} E, {far[nearest]:.0f} km from the nearest"
            f" ({lats[nearest]:g} N {lons[nearest]:g} E); expected the grid that was fitted; regrid one of them"
        )
    order = np.argsort(index, kind="stable")
    if (np.diff(index[order]) == 0).any():
        raise InputError(f"{parameters}: two cells at one place; expected each once; fit the grid again")
    notes = ()
    if len(index) < len(lats):
        notes = (f"{len(lats) - len(index)} of {len(lats)} cells of the forcing have no parameters and are not run",)
    area = np.where(np.isfinite(areas[index]), areas[index], area)
    return Places(tuple(names[i] for i in order), lat[order], lon[order], area[order], index[order], order, notes)


def _same(lat: np.ndarray, lon: np.ndarray, lats: np.ndarray, lons: np.ndarray) -> np.ndarray:
    """Index of each place among others, -1 where none is within SAME_PLACE."""

    def key(north: np.ndarray, east: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        east = (np.asarray(east, np.float64) + 180.0) % 360.0 - 180.0
        return np.round(north / SAME_PLACE / 2).astype(np.int64), np.round(east / SAME_PLACE / 2).astype(np.int64)

    known: dict[tuple[int, int], int] = {}
    for number, place in enumerate(zip(*(k.tolist() for k in key(lats, lons)), strict=True)):
        known.setdefault(place, number)
    around = [(i, j) for i in (0, -1, 1) for j in (0, -1, 1)]  # a place may round to either side
    found = np.full(len(lat), -1, np.int64)
    for number, (a, b) in enumerate(zip(*(k.tolist() for k in key(lat, lon)), strict=True)):
        found[number] = next((known[a + i, b + j] for i, j in around if (a + i, b + j) in known), -1)
    return found


@dataclass(frozen=True)
class RunYear:
    """Stage function: a year of a block of cells from the stores that the year before left."""

    source: LandSource
    model: str
    parameters: str  # URL of a store of fitted parameters
    first_year: int
    outputs: tuple[str, ...]
    members: int = 0  # beside the best fit
    scheme: Scheme = "explicit"
    spin_up: int = 3
    seed: int = 0

    def __call__(self, item: CellYear, before: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        where = places(self.source, self.parameters)
        block = slice(item.cell_start, item.cell_stop)
        dates, year = dates_of(self.source), self.first_year + item.year
        days = days_between(dates, year, year, what=self.source.files or self.source.kind)
        forcing = weather(self.source, where.forcing[block], days)
        model = model_for(self.model, forcing)
        thetas = self._thetas(model, where.parameter[block])
        found = {name: np.full((1, DAYS, len(forcing.cells)), np.nan, np.float32) for name in self.outputs}
        found["runoff"] = np.full((1, 1 + self.members, DAYS, len(forcing.cells)), np.nan, np.float32)
        states = np.empty((1, 1 + self.members, len(model.states), len(forcing.cells)))
        for member, theta in enumerate(thetas):
            state = self._start(model, forcing, theta) if before is None else before["state"][0, member]
            names = self.outputs if member == 0 else ("runoff",)
            values, states[0, member] = simulate(
                model, forcing, theta, state, scheme=self.scheme, outputs=names, check=member == 0
            )
            for row, name in enumerate(names):
                into = found[name][0, member] if name == "runoff" else found[name][0]
                into[: len(values)] = values[:, row]
        return found | {"state": states}

    def _start(self, model: Model, forcing: Forcing, theta: np.ndarray) -> np.ndarray:
        state = model.start(theta.shape[-1])
        for _ in range(self.spin_up):
            _, state = simulate(model, forcing, theta, state, scheme=self.scheme, outputs=(), check=False)
        return state

    def _thetas(self, model: Model, which: np.ndarray) -> list[np.ndarray]:
        """theta (parameter, month, cell) of the best fit, and of each member.

        A member draws the same normal numbers for all cells: errors of parameters come from the structure of a model,
        which its cells share, so the spread of a river's discharge is not averaged away.
        """
        with open_store(self.parameters) as store:
            part = store.isel(cell=np.sort(which))
            back = np.argsort(np.argsort(which))
            theta = part["theta"].values[back].transpose(2, 1, 0)
            thetas = [np.ascontiguousarray(theta)]
            if not self.members:
                return thetas
            free, covariance = part["free"].values[back], part["covariance"].values[back]
        cells, months, count = free.shape
        drawn = np.empty((self.members, count, months, cells))
        for month in range(months):
            seeds = [seed_for(self.seed, "ensemble", model.name, month)] * cells
            some = draw(Space.of(model.parameters), free[:, month], covariance[:, month], self.members, seeds)
            drawn[:, :, month] = some.transpose(1, 2, 0)
        return thetas + list(drawn)


@dataclass(frozen=True)
class ReferenceYear:
    """Stage function beside `RunYear`: the runoff of the land surface model that the emulators were fitted to, or its
    climatology over the years `usual`."""

    source: LandSource
    parameters: str
    first_year: int
    usual: Years | None = None

    def __call__(self, item: CellYear) -> dict[str, np.ndarray]:
        where, record = places(self.source, self.parameters), self.source.records()[0]
        year = self.first_year + item.year
        days = days_between(record.forcing.dates, year, year, what=record.names[0])
        runoff, dates = record.targets.values["runoff"], record.forcing.dates
        runoff = runoff[:, where.forcing[item.cell_start : item.cell_stop]]
        if self.usual is None:
            runoff = runoff[days]
        else:
            runoff = climatology(runoff, dates, self.usual.of(dates), dates[days])
        found = np.full((1, 1, DAYS, runoff.shape[1]), np.nan, np.float32)
        found[0, 0, : len(runoff)] = runoff
        return {"runoff": found}


def check_store(parameters: str, model: Model) -> None:
    """Refuse a store of other parameters, or of none."""
    with open_store(parameters) as store:
        if "theta" not in store or "parameter" not in store.coords:
            raise InputError(f"{parameters}: found {', '.join(map(str, store.data_vars))}; expected fitted parameters")
        found = tuple(map(str, store["parameter"].values))
    expected = tuple(p.name for p in model.parameters)
    if found != expected:
        odd = sorted(set(found) ^ set(expected)) or ["their order"]
        raise InputError(
            f"{parameters}: parameters of model {model.name} differ in {', '.join(odd[:3])}: made by another version;"
            " fit them again"
        )


def check_outputs(model: Model, outputs: tuple[str, ...]) -> tuple[str, ...]:
    """Outputs in order, those that the model lacks left out. Raises ConfigError for names of no variable."""
    known = {"snow", "soil_upper", "soil_lower", "groundwater", "wetland", "runoff", "evaporation"}
    if wrong := sorted(set(outputs) - known - set(model.states + model.fluxes)):
        raise ConfigError(f"--outputs {wrong[0]}: expected some of {', '.join(sorted(known))}")
    return tuple(name for name in dict.fromkeys(outputs) if name in model.states + model.fluxes)


def template(
    where: Places, years: range, outputs: tuple[str, ...], members: int, block: int, model: Model | None
) -> Template:
    """Store of a run: (year, [member,] day, cell), an object a year and block of cells. model: None stores no state."""
    variables = {
        name: Variable(("year", "day", "cell"), UNITS.get(name, "kg m-2"), name.replace("_", " "), may_be_missing=True)
        for name in outputs
    }
    variables["runoff"] = Variable(
        ("year", "member", "day", "cell"), UNITS["runoff"], "runoff of the best fit, then of members",
        may_be_missing=True,
    )  # fmt: skip
    sizes = {"year": len(years), "member": 1 + members, "day": DAYS, "cell": len(where.names)}
    if model is not None:
        said = "stores at the end of the year, from which the next begins: " + ", ".join(model.states)
        variables["state"] = Variable(("year", "member", "state", "cell"), "kg m-2", said, dtype="float64")
        sizes["state"] = len(model.states)
    coordinates = {
        "year": xr.Variable("year", np.array(years)),
        "cell": xr.Variable("cell", np.array(where.names)),
        "lat": xr.Variable("cell", where.lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": xr.Variable("cell", where.lon, {"units": "degrees_east", "standard_name": "longitude"}),
        "area_km2": xr.Variable("cell", where.area_km2, {"units": "km2"}),
    }
    return Template(sizes, variables, {"year": 1, "cell": block}, coordinates, {"title": "land surface, emulated"})


def memory_bytes(block: int, outputs: int, states: int, members: int) -> int:
    """Of an item: six arrays of forcing in double precision and what reading them takes, outputs twice, the object
    before."""
    day = DAYS * block
    return (150 << 20) + 8 * day * (6 + 4 + outputs) + 2 * 4 * day * (outputs + members) + 16 * states * block
