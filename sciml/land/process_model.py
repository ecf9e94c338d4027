"""Model A: a land surface with snow, soil, groundwater, irrigation and a river, one day a step.

The generated Earth's truth. Its structure is of the HBV and PCR-GLOBWB kind (Lindström et al. 1997,
doi:10.1016/S0022-1694(97)00041-3; Sutanudjaja et al. 2018, doi:10.5194/gmd-11-2429-2018), and deliberately not that of
the emulator (`sciml.land.emulator`): energy-driven evaporation, saturation excess, a slow groundwater store that may be
pumped below its drainage level, and water that moves from cell to cell.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

LATENT_HEAT = 2.5e6  # of vaporisation [J kg-1]
DAY = 86400.0  # seconds
FREEZING = 273.15  # K


@dataclass(frozen=True, eq=False)
class Parameters:
    """Each (cell,). Stores in kg m-2 (= mm), rates in kg m-2 day-1, times in days."""

    canopy_capacity: np.ndarray
    snow_temperature: np.ndarray  # half of the precipitation is snow [K]
    melt_factor: np.ndarray  # [kg m-2 day-1 K-1], at the equinox
    soil_capacity: np.ndarray
    soil_shape: np.ndarray  # exponent of saturation excess
    stress: np.ndarray  # wetness below which evaporation falls
    quick_share: np.ndarray  # of saturation excess, to the river at once
    percolation: np.ndarray  # of a saturated soil
    groundwater_base: np.ndarray  # level below which nothing drains
    groundwater_days: np.ndarray
    capillary: np.ndarray  # rise into a dry soil
    river_days: np.ndarray
    bankfull: np.ndarray  # above it water is on the floodplain
    floodplain_delay: np.ndarray  # how many times slower than the river
    irrigated: np.ndarray  # share of the cell
    hemisphere: np.ndarray  # 1 north, -1 south


@dataclass(frozen=True, eq=False)
class State:
    """Storage, each (cell,) [kg m-2]."""

    canopy: np.ndarray
    snow: np.ndarray
    soil: np.ndarray
    groundwater: np.ndarray
    river: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.canopy + self.snow + self.soil + self.groundwater + self.river


@dataclass(frozen=True, eq=False)
class Fluxes:
    """Each (cell,) [kg m-2 day-1]. `inflow` comes from upstream cells; `outflow` leaves the cell downstream."""

    evaporation: np.ndarray
    surface_runoff: np.ndarray
    recharge: np.ndarray
    baseflow: np.ndarray
    pumping: np.ndarray
    inflow: np.ndarray
    outflow: np.ndarray


def initial_state(parameters: Parameters) -> State:
    """Half-filled soil, groundwater a little above its base, nothing else."""
    zero = np.zeros_like(parameters.soil_capacity)
    groundwater = parameters.groundwater_base + 0.3 * parameters.groundwater_days
    return State(zero, zero, 0.5 * parameters.soil_capacity, groundwater, zero)


def potential_evaporation(temperature: np.ndarray, net_radiation: np.ndarray) -> np.ndarray:
    """Priestley & Taylor (1972): 1.26 D / (D + gamma) Rn. temperature [K], net_radiation [W m-2] -> [kg m-2 day-1]."""
    celsius = temperature - FREEZING
    pressure = 610.8 * np.exp(17.27 * celsius / (celsius + 237.3))
    slope = 4098.0 * pressure / (celsius + 237.3) ** 2  # [Pa K-1]
    return 1.26 * slope / (slope + 66.0) * np.maximum(net_radiation, 0.0) / LATENT_HEAT * DAY


def step(
    state: State,
    precipitation: np.ndarray,
    temperature: np.ndarray,
    potential: np.ndarray,
    season: float,
    parameters: Parameters,
    downstream: np.ndarray,
    area: np.ndarray,
) -> tuple[State, Fluxes]:
    """One day.

    precipitation, potential: (cell,) [kg m-2 day-1]; temperature: (cell,) [K]; season: -1 at the northern winter
    solstice, 1 at the summer solstice; downstream: (cell,) index of the next cell, the cell count where water leaves;
    area: (cell,), any unit. Budget: change of total = precipitation + inflow - evaporation - outflow.
    """
    p = parameters
    snowfall = precipitation / (1.0 + np.exp((temperature - p.snow_temperature) / 0.8))
    rain = precipitation - snowfall
    intercepted = np.minimum(rain, np.maximum(p.canopy_capacity - state.canopy, 0.0))
    canopy_loss = np.minimum(state.canopy + intercepted, potential)
    canopy = state.canopy + intercepted - canopy_loss

    # a melt factor that follows the sun, as in Snow-17 (Anderson 1973)
    factor = p.melt_factor * (1.0 + 0.4 * season * p.hemisphere)
    melt = np.minimum(state.snow + snowfall, factor * np.maximum(temperature - FREEZING, 0.0))
    snow = state.snow + snowfall - melt

    demand = np.where(temperature > FREEZING + 12.0, p.irrigated * potential, 0.0)
    wetness = state.soil / p.soil_capacity
    pumping = np.minimum(demand * np.maximum(1.0 - wetness / 0.8, 0.0), 0.02 * state.groundwater)

    water = rain - intercepted + melt + pumping
    excess = water * np.minimum(wetness, 1.0) ** p.soil_shape
    soil = state.soil + water - excess
    spill = np.maximum(soil - p.soil_capacity, 0.0)
    soil = soil - spill
    excess = excess + spill
    wetness = soil / p.soil_capacity
    soil_loss = (potential - canopy_loss) * np.minimum(wetness / p.stress, 1.0) * np.exp(-snow / 10.0)
    soil_loss = np.minimum(soil_loss, soil)
    soil = soil - soil_loss
    percolation = np.minimum(p.percolation * wetness**3, soil)
    rise = p.capillary * np.maximum(1.0 - 2.0 * wetness, 0.0)
    rise = np.minimum(rise, np.maximum(state.groundwater - p.groundwater_base, 0.0) / p.groundwater_days)
    soil = soil - percolation + rise

    surface = p.quick_share * excess
    recharge = excess - surface + percolation
    baseflow = np.maximum(state.groundwater - p.groundwater_base, 0.0) / p.groundwater_days
    groundwater = state.groundwater + recharge - rise - baseflow - pumping

    channel = np.minimum(state.river, p.bankfull)
    outflow = channel / p.river_days + (state.river - channel) / (p.river_days * p.floodplain_delay)
    volume = np.bincount(downstream, outflow * area, minlength=len(area) + 1)[: len(area)]
    inflow = volume / area
    river = state.river + surface + baseflow + inflow - outflow
    fluxes = Fluxes(canopy_loss + soil_loss, surface, recharge - rise, baseflow, pumping, inflow, outflow)
    return State(canopy, snow, soil, groundwater, river), fluxes


def run(
    state: State,
    precipitation: np.ndarray,
    temperature: np.ndarray,
    net_radiation: np.ndarray,
    season: np.ndarray,
    parameters: Parameters,
    downstream: np.ndarray,
    area: np.ndarray,
) -> Iterator[tuple[State, Fluxes]]:
    """State at the end of each day and the fluxes of that day.

    precipitation: (day, cell) [kg m-2 day-1]; temperature: (day, cell) [K]; net_radiation: (day, cell) [W m-2];
    season: (day,). Everything else as in `step`.
    """
    checked(parameters)
    for day in range(len(precipitation)):
        potential = potential_evaporation(temperature[day], net_radiation[day])
        state, fluxes = step(
            state, precipitation[day], temperature[day], potential, season[day], parameters, downstream, area
        )
        yield state, fluxes


def checked(parameters: Parameters) -> Parameters:
    """The parameters, or ValueError where the explicit step would take more from a store than it holds."""
    for name in ("groundwater_days", "river_days", "floodplain_delay"):
        least = float(np.min(getattr(parameters, name)))
        if least < 1.0 + (name == "groundwater_days"):
            raise ValueError(f"{name}: found {least}, too fast for a step of one day")
    return parameters


def select(parameters: Parameters, cells: np.ndarray) -> Parameters:
    """The parameters of some cells."""
    return replace(parameters, **{f.name: getattr(parameters, f.name)[cells] for f in fields(parameters)})
