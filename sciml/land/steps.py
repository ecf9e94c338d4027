"""Stage functions of the emulator: fit the cells of a block, and run them freely."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.stores import Template, Variable, open_store
from sciml.land.fit import FREE, Fit, fit_free, fit_months
from sciml.land.forcing import Forcing, Record, Stamp, Targets, split_precipitation, vapour_pressure
from sciml.land.means import MEANS
from sciml.land.models import Model, Scheme, with_potential_evaporation
from sciml.land.registry import MODELS
from sciml.land.run import simulate
from sciml.land.search import Method, SearchOptions
from sciml.land.source import CellBlock, LandSource, Layout

FIT_VERSION = 4  # raise it where the same cells give other parameters
RUN_VERSION = 1  # raise it where the same parameters give other runs
SPIN_UPS = 3  # times that the first year is run before a record
YEAR = 365
FREELY = ("sciml", "closed", "linear_reservoir")  # fitted through one free run; the paper's month by month
WEIGHTS = {"groundwater": 0.3}  # its level is the reference's own, and few ask for it
# of whose stores the level cannot be another model's
WITHOUT = {"closed": ("groundwater",)}
OF_FIT = ("theta", "standard_error", "ratio", "spread")


@dataclass(frozen=True)
class Years:
    """Years that train, apart from those left out; other days have forcing alone."""

    first: int
    last: int
    left_out: tuple[int, ...] = ()

    def of(self, dates: np.ndarray) -> np.ndarray:
        """(time,) bool."""
        years = dates.astype("datetime64[Y]").astype(int) + 1970
        return (years >= self.first) & (years <= self.last) & ~np.isin(years, self.left_out)


@dataclass(frozen=True)
class FitCells:
    """Stage function: parameters of a block of cells, fitted to the training years alone."""

    source: LandSource
    model: str
    years: Years
    weights: tuple[tuple[str, float], ...] = ()
    scheme: Scheme = "explicit"
    method: Method = "best"
    starts: int = 2
    seed: int = 0

    def __call__(self, item: CellBlock) -> dict[str, np.ndarray]:
        fit = self.fit(item.of(self.source))
        found = {name: np.moveaxis(getattr(fit, name), -1, 0) for name in OF_FIT}
        covariance = np.moveaxis(fit.covariance, 1, 0)
        return {
            **{name: np.swapaxes(values, 1, 2) for name, values in found.items()},
            "free": np.moveaxis(fit.free, 1, 0),
            "covariance": covariance,
            "wsse": (fit.wsse / np.maximum(fit.scored, 1)).T,
            "equals": fit.equals.T.astype(np.int32),
            "evaluations": fit.evaluations.T.astype(np.int32),
        }

    def fit(self, record: Record) -> Fit:
        """Of one record's cells."""
        forcing, targets = record.forcing, record.targets
        training = self.years.of(forcing.dates)
        if training.sum() < YEAR:
            raise InputError(
                f"{record.names[0]}: {training.sum()} days of {forcing.dates[0]} .. {forcing.dates[-1]} lie in the"
                f" training years {self.years.first}:{self.years.last}; expected a year at least; change --train"
            )
        first, last = np.flatnonzero(training)[[0, -1]]
        part = slice(int(first), int(last) + 1)
        model = model_for(self.model, forcing, targets.stamp)
        known = {
            name: np.where(training[part, None], values[part], np.nan)
            for name, values in targets.values.items()
            if name in model.states + model.fluxes and name not in WITHOUT.get(self.model, ())
        }
        weights = {name: weight for name, weight in {**WEIGHTS, **dict(self.weights)}.items() if name in known}
        cut = Targets(targets.dates[part], known, targets.stamp)
        common = {"weights": weights, "scheme": self.scheme, "seed": self.seed}
        if self.model in FREELY:
            # evolution of tens of parameters over a whole record costs more than more starts
            method: Method = "descent" if self.method == "best" else self.method
            options = SearchOptions(method=method, screened=FREE.screened, starts=self.starts)
            return fit_free(model, forcing.days(part), cut, record.names, repeats=2, options=options, **common)
        options = SearchOptions(method=self.method, screened=100, starts=max(self.starts, 4))
        return fit_months(model, forcing.days(part), cut, record.names, options=options, **common)


@dataclass(frozen=True)
class RunCells:
    """Stage function: a free run of a block of cells through its whole record, after a spin-up on its first year."""

    source: LandSource
    model: str
    parameters: str  # URL of the store of a `FitCells` stage
    days: int
    first_day: str
    scheme: Scheme = "explicit"
    warming: float = 0.0  # added to the temperature [K]

    def __call__(self, item: CellBlock) -> dict[str, np.ndarray]:
        record = item.of(self.source)
        with open_store(self.parameters) as store:
            theta = store["theta"].isel(cell=slice(item.cell_start, item.cell_stop)).values
        values = free_run(
            model_for(self.model, record.forcing, record.targets.stamp),
            record.forcing,
            theta.transpose(2, 1, 0),
            self.scheme,
            self.warming,
        )
        place = (record.forcing.dates - np.datetime64(self.first_day)).astype(int)  # a calendar may lack 29 February
        found = {}
        for name, series in values.items():
            row = np.full((item.cell_stop - item.cell_start, self.days), np.nan, np.float32)
            row[:, place] = series.T
            found[name] = row
        return found


def free_run(
    model: Model, forcing: Forcing, theta: np.ndarray, scheme: Scheme = "explicit", warming: float = 0.0
) -> dict[str, np.ndarray]:
    """The model's outputs (time, cell) through the forcing, from stores that its first year has filled.

    theta: (parameter, month, cell).
    """
    if warming:
        forcing = warmer(forcing, warming)
    state = model.start(theta.shape[-1])
    for _ in range(SPIN_UPS):
        _, state = simulate(model, forcing.days(slice(0, YEAR)), theta, state, scheme=scheme)
    values, _ = simulate(model, forcing, theta, state, scheme=scheme)
    return {name: values[:, row] for row, name in enumerate(model.outputs)}


def warmer(forcing: Forcing, warming: float) -> Forcing:
    """A forcing with a higher temperature [K], the same precipitation and relative humidity.

    Potential evaporation stays. As much more of the precipitation is rain as its usual split by temperature gives.
    """
    temperature, demand = forcing.temperature + warming, forcing.demand
    _, before = split_precipitation(forcing.precipitation, forcing.temperature)
    _, after = split_precipitation(forcing.precipitation, temperature)
    share = np.divide(after, before, out=np.ones_like(before), where=before > 0.0)
    snowfall = np.where(before > 0.0, share, 0.0 if warming > 0.0 else 1.0) * forcing.snowfall
    rain = forcing.precipitation - snowfall
    if forcing.demand_kind == "humidity_deficit":
        demand = demand * vapour_pressure(temperature) / vapour_pressure(forcing.temperature)
    return replace(forcing, rain=rain, snowfall=snowfall, temperature=temperature, demand=demand)


def model_for(name: str, forcing: Forcing, stamp: Stamp = "end") -> Model:
    """The model for what a forcing has as demand, and for stores that are those at a day's end or means over it."""
    model = MEANS.get(name, MODELS[name]) if stamp == "mean" else MODELS[name]
    return with_potential_evaporation(model) if forcing.demand_kind == "potential_evaporation" else model


def fit_template(where: Layout, model: Model) -> Template:
    """Store of fitted parameters: (cell, month, parameter), and how well they are known."""
    monthly = model.name not in FREELY
    parameter = ("cell", "month", "parameter")
    text = {
        "theta": "fitted parameters",
        "standard_error": "standard error of the parameters",
        "ratio": "posterior over prior standard deviation",
        "spread": "share of the bounds that equally good fits lie apart",
        "free": "logit of the parameters in their bounds",
    }
    variables = {name: Variable(parameter, long_name=said, dtype="float64") for name, said in text.items()}
    variables["free"] = Variable(("cell", "month", "parameter"), long_name=text["free"], dtype="float64")
    variables |= {
        "covariance": Variable(
            ("cell", "month", "parameter", "other"), long_name="covariance of free", dtype="float64"
        ),
        "wsse": Variable(
            ("cell", "month"), long_name="mean weighted square error", dtype="float64", may_be_missing=True
        ),
        "equals": Variable(("cell", "month"), long_name="equally good ends of searches", dtype="int32"),
        "evaluations": Variable(("cell", "month"), long_name="runs of the model", dtype="int32"),
    }
    count = len(model.parameters)
    sizes = {"cell": len(where.names), "month": 12 if monthly else 1, "parameter": count, "other": count}
    coordinates = {
        **_places(where),
        "parameter": xr.Variable("parameter", np.array([p.name for p in model.parameters])),
    }
    return Template(sizes, variables, {"cell": where.block}, coordinates, {"title": f"parameters of {model.name}"})


UNITS: Mapping[str, str] = {"runoff": "kg m-2 day-1", "evaporation": "kg m-2 day-1"}


def run_template(where: Layout, model: Model) -> Template:
    """Store of a free run: (cell, time) of each output."""
    variables = {
        name: Variable(("cell", "time"), UNITS.get(name, "kg m-2"), name.replace("_", " "), may_be_missing=True)
        for name in model.outputs
    }
    sizes = {"cell": len(where.names), "time": len(where.dates)}
    time = xr.Variable("time", where.dates.astype("datetime64[ns]"), {"standard_name": "time"})
    return Template(sizes, variables, {"cell": where.block}, {**_places(where), "time": time})


def _places(where: Layout) -> dict[str, xr.Variable]:
    return {
        "cell": xr.Variable("cell", np.array(where.names)),
        "lat": xr.Variable("cell", where.lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": xr.Variable("cell", where.lon, {"units": "degrees_east", "standard_name": "longitude"}),
        "area_km2": xr.Variable("cell", where.area_km2, {"units": "km2"}),
    }
