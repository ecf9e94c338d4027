"""The models of the land surface: what their numbers are called, what they may be, and the steps that move them.

A model is data and its steps (`equations`). Names of states and fluxes are those of the targets they are fitted to.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from sciml.core.errors import ConfigError, InputError
from sciml.land import equations

Scheme = Literal["explicit", "implicit"]
Step = Callable[[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...], float], tuple[tuple[Any, ...], tuple[Any, ...]]]


@dataclass(frozen=True)
class Parameter:
    """One entry of theta. `prior` is where nothing is known of a cell; `log`: its logarithm is what varies evenly."""

    name: str
    symbol: str
    units: str
    low: float
    high: float
    prior: float
    monthly: bool = True
    log: bool = False


@dataclass(frozen=True, eq=False)
class Model:
    """States [kg m-2] and fluxes [kg m-2 day-1] in the order of the steps' tuples; `outputs`: what a run returns if not
    told. `budget`: the fluxes, and their signs, that each state is the sum of. `of_potential`: what takes the place of
    parameters of the same name where the demand is potential evaporation [kg m-2 day-1] and not a humidity deficit [1].
    """

    name: str
    parameters: tuple[Parameter, ...]
    states: tuple[str, ...]
    fluxes: tuple[str, ...]
    budget: Mapping[str, Mapping[str, int]]
    steps: Mapping[Scheme, Step]
    outputs: tuple[str, ...]
    of_potential: tuple[Parameter, ...] = ()
    forcings: tuple[str, ...] = ("rain", "snowfall", "temperature", "demand")

    def row(self, name: str) -> int:
        """Place of a state or flux among all states, then fluxes."""
        known = self.states + self.fluxes
        if name not in known:
            raise ConfigError(f"model {self.name}: no state or flux {name!r}; it has {', '.join(known)}")
        return known.index(name)

    def index(self, parameter: str) -> int:
        names = [p.name for p in self.parameters]
        if parameter not in names:
            raise ConfigError(f"model {self.name}: no parameter {parameter!r}; it has {', '.join(names)}")
        return names.index(parameter)

    def prior(self, cells: int, months: int = 1) -> np.ndarray:
        """theta (parameter, month, cell) of priors."""
        return np.broadcast_to(np.array([p.prior for p in self.parameters])[:, None, None], (
            len(self.parameters), months, cells)).copy()  # fmt: skip

    def start(self, cells: int) -> np.ndarray:
        """State (state, cell) of a dry, snowless world; a run forgets it in its spin-up."""
        return np.zeros((len(self.states), cells))


_SNOW = {
    "a": Parameter("snow_share", "a", "1", 0.2, 2.0, 1.0),
    "b": Parameter("melt_rate", "b", "kg m-2 day-1 K-chi", 0.01, 30.0, 3.0, log=True),
    "t_c": Parameter("melt_temperature", "T_c", "K", 263.15, 283.15, 273.15),
    "chi": Parameter("melt_exponent", "chi", "1", 0.3, 3.0, 1.0),
}
_WATER = {
    "c": Parameter("melt_share", "c", "1", 0.0, 2.0, 1.0),
    "d": Parameter("rain_share", "d", "1", 0.0, 2.0, 1.0),
    "omega": Parameter("wetland_rate", "omega", "day-1", 1e-3, 1.0, 0.1, log=True),
    "g": Parameter("evaporation_rate", "g", "kg m-2 day-1", 0.0, 4000.0, 400.0),
    "e": Parameter("exchange_rate", "e", "day-1", 1e-5, 0.5, 0.01, log=True),
    "y_0": Parameter("deep_level", "y_0", "kg m-2", 0.0, 1500.0, 100.0),
    "h": Parameter("baseflow_rate", "h", "kg m-2 day-1", 0.0, 30.0, 0.3),
    "tau": Parameter("groundwater_days", "tau", "day", 1.0, 5000.0, 100.0, monthly=False, log=True),
    "k_1": Parameter("soil_slope", "k_1", "m2 kg-1", 0.0, 1.0, 0.03),
    "y_star": Parameter("soil_threshold", "y*", "kg m-2", 0.0, 2000.0, 200.0),
    "k_2": Parameter("inflow_slope", "k_2", "m2 day kg-1", 0.0, 1.0, 0.03),
    "p_star": Parameter("inflow_threshold", "P*_in", "kg m-2 day-1", 0.0, 500.0, 40.0),
    "alpha": Parameter("runoff_share", "alpha", "1", 0.0, 1.0, 0.7),
}
_ALL = _SNOW | _WATER
_FLUXES = ("snow_gain", "melt", "inflow", "percolation", "evaporation", "exchange", "wetland_gain", "wetland_outflow",
           "surface_runoff", "baseflow", "runoff")  # fmt: skip
_BUDGET = {
    "snow": {"snow_gain": 1, "melt": -1},
    "soil_upper": {"percolation": 1, "evaporation": -1, "exchange": -1},
    "wetland": {"wetland_gain": 1, "wetland_outflow": -1},
}

_OF_POTENTIAL = (Parameter("evaporation_rate", "g", "1", 0.0, 3.0, 0.7),)

PAPER = Model(
    name="paper",
    parameters=tuple(_ALL[s] for s in "a b t_c chi c d omega g e y_0 h k_1 y_star k_2 p_star alpha".split()),
    states=("snow", "soil_upper", "wetland"),
    fluxes=(*_FLUXES, "unbalanced"),
    budget=_BUDGET,
    steps={"explicit": equations.paper, "implicit": equations.paper_implicit},
    outputs=("snow", "soil_upper", "wetland", "runoff", "evaporation"),
    of_potential=_OF_POTENTIAL,
)
CLOSED = Model(
    name="closed",
    parameters=tuple(_ALL[s] for s in "b t_c chi omega g e y_0 tau k_1 y_star k_2 p_star alpha".split()),
    states=("snow", "soil_upper", "wetland", "groundwater"),
    fluxes=_FLUXES,
    budget=_BUDGET | {"groundwater": {"exchange": 1, "baseflow": -1}},
    steps={"explicit": equations.closed, "implicit": equations.closed_implicit},
    outputs=("snow", "soil_upper", "wetland", "groundwater", "runoff", "evaporation"),
    of_potential=_OF_POTENTIAL,
)
MODELS: dict[str, Model] = {"paper": PAPER, "closed": CLOSED}


def with_potential_evaporation(model: Model) -> Model:
    """The model for a forcing that has potential evaporation [kg m-2 day-1] in place of the humidity deficit."""
    instead = {p.name: p for p in model.of_potential}
    return replace(model, parameters=tuple(instead.get(p.name, p) for p in model.parameters))


def check_parameters(model: Model, theta: np.ndarray) -> None:
    """Refuses theta (parameter, month, [candidate,] cell) outside its bounds, by the first place where it is."""
    if theta.ndim not in (3, 4) or len(theta) != len(model.parameters) or theta.shape[1] not in (1, 12):
        raise InputError(
            f"parameters of model {model.name}: shape {theta.shape}, expected ({len(model.parameters)} parameters, "
            "1 or 12 months, [candidates,] cells)"
        )
    for p, values in zip(model.parameters, theta, strict=True):
        outside = ~((values >= p.low) & (values <= p.high))
        if outside.any():
            place = tuple(int(i) for i in np.argwhere(outside)[0])
            month = f", month {place[0] + 1}" if len(values) == 12 else ""
            candidate = f", candidate {place[1]}" if values.ndim == 3 else ""
            raise InputError(
                f"parameter {p.name} ({p.symbol}) of model {model.name}: {values[place]:g} {p.units} at cell "
                f"{place[-1]}{month}{candidate}; expected {p.low:g} to {p.high:g}: mend it or fit the cell again"
            )
