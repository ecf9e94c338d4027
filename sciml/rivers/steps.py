"""Stage functions of routing: what a land model's runoff makes of the rivers, a year an item, chained over the years.

A store of runoff is (year, member, day, cell) [kg m-2 day-1] with lat and lon along its cells; the network is cut to
the basins that hold any of them. Member 0 is the run itself, others are of an ensemble.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers.river_network import place
from sciml.data.stores import Template, Variable, open_store
from sciml.rivers.channel import Channel, channel, normal_depth
from sciml.rivers.gauges import mean_flow
from sciml.rivers.inertial import State, route_inertial, steady
from sciml.rivers.linear import MEANDER, Reservoirs, Stores, balanced, reservoirs, route_linear
from sciml.rivers.network import SECONDS, Network, accumulate, find_cells, open_network, water_input

ROUTE_VERSION = 3  # raise it where the same runoff gives other rivers
Routing = Literal["linear", "inertial"]
DAYS = 366


@dataclass(frozen=True)
class NetworkSource:
    """Address of a network: what `open_network` takes, or `made`, a function that makes the network of `settings`."""

    address: str = ""
    made: Callable[[Any], Network] | None = None
    settings: Any = None

    def open(self) -> Network:
        return self.made(self.settings) if self.made is not None else open_network(self.address)


@dataclass(frozen=True)
class RunYears:
    """Address: years first to last of a run, in one item."""

    first: int
    last: int


@dataclass(frozen=True)
class RiverYear:
    """Address: one year, counted from the first."""

    year: int


@dataclass(frozen=True, eq=False)
class Rivers:
    """The basins that a store of runoff lies in. land: (network cell,) index of the runoff's cell, -1 without one;
    left_out: cells of runoff that the network has no land for."""

    network: Network
    land: np.ndarray
    left_out: int
    notes: tuple[str, ...]

    def runoff(self, values: np.ndarray) -> np.ndarray:
        """(..., runoff's cell) -> (..., network cell) float64, 0 where the network has no runoff."""
        found = values[..., np.maximum(self.land, 0)].astype(np.float64)
        found[..., self.land < 0] = 0.0
        return found


@functools.lru_cache(maxsize=2)
def rivers_of(source: NetworkSource, store: str, unrouted: float = 0.0) -> Rivers:
    """The network for a store of runoff."""
    with open_store(store) as ds:
        lat, lon = ds["lat"].values.astype(np.float64), ds["lon"].values.astype(np.float64)
    return cut(source.open(), lat, lon, unrouted)


def cut(network: Network, lat: np.ndarray, lon: np.ndarray, unrouted: float = 0.0) -> Rivers:
    """The basins of a network that hold any of these cells of a land model, (cell,) [degrees].

    Raises InputError where more than the share `unrouted` of the cells is no land of the network, by the first place.
    """
    at = find_cells(network, lat, lon, name="cells of the land model")
    missing = int((at < 0).sum())
    if missing > unrouted * len(at):
        first = int(np.flatnonzero(at < 0)[0])
        raise InputError(
            f"{network.source}: {missing} of {len(at)} cells of the land model are no land of the network, the first at"
            f" {place(lat[first], lon[first])}; expected the network's own mask; give one that matches, or --unrouted"
            f" {np.ceil(1e4 * missing / len(at)) / 1e4:g} to lose their water"
        )
    if missing == len(at):
        raise InputError(f"{network.source}: no cell of the land model is land of the network; give its own network")
    touched = np.zeros(len(network.outlet), bool)
    touched[network.basin[at[at >= 0]]] = True
    if not touched.all():
        network = _kept(network, touched)
        at = find_cells(network, lat, lon)
    land = np.full(len(network), -1, np.int64)
    land[at[at >= 0]] = np.flatnonzero(at >= 0)
    dry = land < 0
    share = network.area[dry].sum() / network.area.sum()
    notes = [f"{network.source}: {len(network):,} cells in {len(network.outlet):,} basins carry the runoff"]
    if missing:
        notes.append(f"{missing} of {len(lat)} cells of the land model are no land of the network: their water is lost")
    if dry.any():
        first = int(np.flatnonzero(dry)[0])
        notes.append(
            f"{dry.sum()} of {len(network)} cells of these basins ({share:.1%} of their area) have no runoff and get"
            f" none, the first at {place(network.lat[first], network.lon[first])}"
        )
    return Rivers(network, land, missing, tuple(notes))


def _kept(network: Network, basins: np.ndarray) -> Network:
    """Whole basins of a network, in their order."""
    keep = basins[network.basin]
    number = np.cumsum(keep) - 1
    downstream = np.where(network.downstream >= 0, number[network.downstream], network.downstream)[keep]
    size = np.diff(network.basin_start)[basins]
    per_cell = ("sink", "lat", "lon", "area", "length", "upstream_area", "row", "column", "channel_length", "width",
                "depth", "elevation", "floodplain")  # fmt: skip
    kept = {name: None if (v := getattr(network, name)) is None else np.ascontiguousarray(v[keep]) for name in per_cell}
    return Network(
        source=network.source,
        axis_lat=network.axis_lat,
        axis_lon=network.axis_lon,
        basin_start=np.concatenate([[0], np.cumsum(size)]),
        downstream=downstream,
        basin=np.repeat(np.arange(len(size)), size),
        area_difference=network.area_difference,
        **kept,
    )


@dataclass(frozen=True)
class MeanRunoff:
    """Stage function: mean runoff of each cell over all years, which shapes channels and says what rivers carry."""

    runoff: str

    def __call__(self, item: RunYears) -> dict[str, np.ndarray]:
        with open_store(self.runoff) as store:
            total, days = 0.0, 0
            for year in range(store.sizes["year"]):
                values = _year(store, year, 0)
                total, days = total + values.sum(axis=0, dtype=np.float64), days + len(values)
        return {"runoff": total / days}


@dataclass(frozen=True)
class RouteYear:
    """Stage function: one year of all rivers from the stores that the year before left.

    runoff, mean: URLs of the stores of runoff and of its mean (of `MeanRunoff`, perhaps another run's, so that two runs
    share their channels). gauges: cells of the network whose discharge is stored daily.
    """

    source: NetworkSource
    runoff: str
    mean: str
    gauges: tuple[int, ...]
    routing: Routing = "linear"
    velocity: float = 0.5
    unrouted: float = 0.0
    boundary: str = "sea"  # of local-inertial flow

    def __call__(self, item: RiverYear, before: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        rivers = rivers_of(self.source, self.runoff, self.unrouted)
        network = rivers.network
        with open_store(self.mean) as store:
            flow = mean_flow(network, rivers.runoff(store["runoff"].values))
        made, stays = channel(network, flow), stays_of(network, self.velocity)
        gauges = np.array(self.gauges, int)
        with open_store(self.runoff) as store:
            members, year = store.sizes["member"], int(store["year"].values[item.year])
            found: dict[str, list[np.ndarray]] = {}
            for member in range(members):
                water = rivers.runoff(_year(store, item.year, member))
                start = None if before is None else (before["storage"][0, member], before["other"][0, member])
                one = self._member(network, made, stays, water, start)
                discharge, storage, other, error, balance, fraction = one
                gauged = np.full((DAYS, len(gauges)), np.nan)
                gauged[: len(water)] = discharge[:, gauges]
                parts = {"discharge": gauged, "storage": storage, "other": other, "mass_error": error}
                parts |= {"balance_error": balance}
                if member == 0:
                    mean, most = by_month(fraction, year)
                    parts |= {"flow": discharge.mean(axis=0), "fraction_mean": mean, "fraction_max": most}
                for name, value in parts.items():
                    found.setdefault(name, []).append(np.asarray(value))
        single = ("flow", "fraction_mean", "fraction_max")
        return {name: (v[0] if name in single else np.stack(v))[None] for name, v in found.items()}

    def _member(
        self,
        network: Network,
        made: Channel,
        stays: Reservoirs,
        water: np.ndarray,
        start: tuple[np.ndarray, np.ndarray] | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float, np.ndarray]:
        """discharge (day, cell), what is stored at the end, other state, mass and balance errors, flooded share
        (day, cell)."""
        if self.routing == "inertial":
            state = (
                steady(network, made, water.mean(axis=0), boundary=self.boundary) if start is None else State(*start)
            )
            run = route_inertial(network, water, made, state, boundary=self.boundary)
            balance = balance_error(network, water, run.discharge, state.storage, run.state.storage)
            return run.discharge, run.state.storage, run.state.flow, run.mass_error, balance, run.fraction
        stores = balanced(network, water.mean(axis=0), stays) if start is None else Stores(*start)
        run = route_linear(network, water, stays, stores)
        held = [one.river + one.delay for one in (stores, run.stores)]
        balance = balance_error(network, water, run.discharge, *held)
        fraction = rating_fraction(made, run.discharge)
        return run.discharge, run.stores.river, run.stores.delay, run.mass_error, balance, fraction


def stays_of(network: Network, velocity: float) -> Reservoirs:
    """Stays in the rivers; lengths that follow the channels of a file have their bends already."""
    return reservoirs(network, velocity=velocity, meander=MEANDER if network.channel_length is None else 1.0)


def balance_error(
    network: Network, water: np.ndarray, discharge: np.ndarray, before: np.ndarray, after: np.ndarray
) -> float:
    """The worst cell's |runoff of all above - its discharge - what they have stored more|, relative to the largest of
    these and of the water that they hold.

    water: (time, cell) [kg m-2 day-1]; discharge: (time, cell) [m3 s-1]; before, after: (cell,) [m3] in the rivers.
    """
    entered = accumulate(network, water_input(network, water.sum(axis=0)) * SECONDS)
    left, stored = discharge.sum(axis=0) * SECONDS, accumulate(network, after - before)
    scale = np.maximum.reduce([entered, np.abs(left), accumulate(network, after), np.ones(len(network))])
    return float((np.abs(entered - left - stored) / scale).max())


def rating_fraction(made: Channel, discharge: np.ndarray) -> np.ndarray:
    """Flooded share of a cell (..., cell) where a model has discharge alone: water as high as normal flow in the
    channel with that discharge would stand, and as high on the floodplain."""
    found = np.empty(discharge.shape, np.float32)
    climb = np.diff(made.height, axis=1)
    width = np.diff(made.surface, axis=1) / made.area[:, None]
    slope = np.maximum(made.slope, 1e-5)
    for day in range(len(discharge)):
        above = np.maximum(normal_depth(made, np.maximum(discharge[day], 0.0), slope) - made.depth, 0.0)
        steps = np.clip(above[:, None] - made.height[:, :-1], 0.0, climb)
        found[day] = (np.divide(steps, climb, out=np.zeros_like(steps), where=climb > 0) * width).sum(axis=1)
    return found


def by_month(values: np.ndarray, year: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and largest of each month, (12, cell) each. values: (day of the year, cell)."""
    starts = np.datetime64(f"{year}-01") + np.arange(13)
    edges = (starts.astype("datetime64[D]") - np.datetime64(f"{year}-01-01")).astype(int)
    if len(values) < edges[-1]:  # a calendar without 29 February
        edges[2:] -= edges[-1] - len(values)
    parts = [values[a:b] for a, b in itertools.pairwise(edges)]
    return (
        np.stack([part.mean(axis=0, dtype=np.float64) for part in parts]).astype(np.float32),
        np.stack([part.max(axis=0) for part in parts]),
    )


def _year(store: xr.Dataset, year: int, member: int) -> np.ndarray:
    """(day, cell) of runoff, without the day that a short year lacks."""
    values = store["runoff"].isel(year=year, member=member).values
    return values[: np.flatnonzero(np.isfinite(values).any(axis=1))[-1] + 1]


def mean_template(cells: int) -> Template:
    """Store of `MeanRunoff`."""
    variables = {"runoff": Variable(("cell",), "kg m-2 day-1", "mean runoff", dtype="float64")}
    return Template({"cell": cells}, variables)


def route_template(network: Network, years: range, members: int, gauges: tuple[int, ...]) -> Template:
    """Store of `RouteYear`. members: all of them, the run itself too."""
    at = np.array(gauges, int)
    state = ("year", "member", "cell")
    of_month = ("year", "month", "cell")
    variables = {
        "discharge": Variable(
            ("year", "member", "day", "gauge"), "m3 s-1", "daily mean discharge", dtype="float64", may_be_missing=True
        ),
        "flow": Variable(("year", "cell"), "m3 s-1", "mean discharge of the year", dtype="float64"),
        "fraction_mean": Variable(of_month, "1", "flooded share of the cell, mean of the month"),
        "fraction_max": Variable(of_month, "1", "flooded share of the cell, largest of the month"),
        "storage": Variable(state, "m3", "water in the river at the end of the year", dtype="float64"),
        "other": Variable(
            state, "", "the rest of the state: water on its way [m3], or flow [m3 s-1] if inertial", dtype="float64"
        ),
        "mass_error": Variable(("year", "member"), "1", "of the whole network, relative", dtype="float64"),
        "balance_error": Variable(("year", "member"), "1", "of the worst cell, relative", dtype="float64"),
    }
    sizes = {"year": len(years), "member": members, "day": DAYS, "month": 12, "gauge": len(at), "cell": len(network)}
    coordinates = {
        "year": xr.Variable("year", np.array(years)),
        "lat": xr.Variable("cell", network.lat, {"units": "degrees_north"}),
        "lon": xr.Variable("cell", network.lon, {"units": "degrees_east"}),
        "gauge_lat": xr.Variable("gauge", network.lat[at], {"units": "degrees_north"}),
        "gauge_lon": xr.Variable("gauge", network.lon[at], {"units": "degrees_east"}),
    }
    return Template(sizes, variables, {"year": 1}, coordinates, {"title": "rivers"})


def route_memory(cells: int, members: int, routing: Routing) -> int:
    """Of an item: runoff as stored and as routed, discharge, depth and flooded share of a year, its working copies."""
    daily = DAYS * cells
    return (200 << 20) + daily * (4 + 8 + 8 + 8 + (8 if routing == "inertial" else 4)) + 8 * cells * (60 + 4 * members)
