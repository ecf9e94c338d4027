"""The land surface emulator: explicit step of the 'Emulator Equations' (Olson et al. 2024,
doi:10.1016/j.jhydrol.2024.131093).

    dS_snow/dt = a (P_snow + A_sn P_rain) - b H(T - T_c) (T - T_c)^chi
    P_in = c P_melt + d (1 - A_sn) P_rain + omega S_wet,      A_sn = min(sqrt(S_snow / 100 kg m-2), 1)
    dy/dt = f P_in - g H(-S_snow) (q*(T, p) - q) - e (y - y_0)
    dS_wet/dt = (1 - alpha) (1 - f) P_in - omega S_wet
    R_r = alpha (1 - f) P_in + h
    f(y, P_in) = H(T) / ([1 + exp(k_1 (y - y*))] [1 + exp(k_2 (P_in - P_in*))]),      omega = 1 / beta

The equations know no limits; a finite step needs three. Snow melts only as far as there is any, the soil holds 0 to
`saturation` (what does not fit joins the water that f keeps out), and evaporation takes no more than there is. All are
taken from the fluxes, so that each budget closes.
"""

from dataclasses import dataclass

import numpy as np

FREEZING = 273.15  # K


@dataclass(frozen=True, eq=False)
class Parameters:
    """theta of the paper, each (cell,) or a number; those of one month where they differ by month.

    Water in kg m-2, time in days, temperature in K.
    """

    a: np.ndarray  # share of snowfall that stays
    b: np.ndarray  # melt [kg m-2 day-1 K-chi]
    t_c: np.ndarray  # melt begins [K]
    chi: np.ndarray
    c: np.ndarray  # share of melt that reaches the soil
    d: np.ndarray  # share of rain that reaches the soil
    alpha: np.ndarray  # share of rejected water that runs off; the rest stands in the wetland
    beta: np.ndarray  # residence in the wetland [day]
    g: np.ndarray  # evaporation per humidity deficit [kg m-2 day-1]
    e: np.ndarray  # exchange with the deep layer [day-1]
    y_0: np.ndarray
    h: np.ndarray  # baseflow [kg m-2 day-1]
    k_1: np.ndarray  # [m2 kg-1]
    y_star: np.ndarray
    k_2: np.ndarray  # [m2 day kg-1]
    p_star: np.ndarray  # [kg m-2 day-1]
    saturation: np.ndarray


@dataclass(frozen=True, eq=False)
class State:
    """Storage, each (cell,) [kg m-2]: snow, y of the paper, wetland."""

    snow: np.ndarray
    soil: np.ndarray
    wetland: np.ndarray


@dataclass(frozen=True, eq=False)
class Fluxes:
    """Each (cell,) [kg m-2 day-1].

    snow = + snow_gain - melt;  soil = + percolation - evaporation - deep;  wetland = + wetland_gain - wetland_outflow;
    inflow = c melt + d (1 - A_sn) rain + wetland_outflow = percolation + surface_runoff + wetland_gain.
    """

    snow_gain: np.ndarray
    melt: np.ndarray
    inflow: np.ndarray
    percolation: np.ndarray
    evaporation: np.ndarray
    deep: np.ndarray
    wetland_gain: np.ndarray
    wetland_outflow: np.ndarray
    surface_runoff: np.ndarray
    river_runoff: np.ndarray


def saturation_humidity(temperature: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """q*(T, p): specific humidity at saturation over water (Magnus). temperature [K], pressure [Pa] -> [1]."""
    celsius = temperature - FREEZING
    vapour = 610.94 * np.exp(17.625 * celsius / (celsius + 243.04))
    return 0.622 * vapour / (pressure - 0.378 * vapour)


def snow_fraction(snow: np.ndarray) -> np.ndarray:
    """A_sn = min(sqrt(S_snow / 100 kg m-2), 1). snow: [kg m-2]."""
    return np.minimum(np.sqrt(snow / 100.0), 1.0)


def percolation_fraction(
    soil: np.ndarray, inflow: np.ndarray, temperature: np.ndarray, parameters: Parameters
) -> np.ndarray:
    """f(y, P_in): share of the inflow that the soil takes. soil [kg m-2], inflow [kg m-2 day-1], temperature [K]."""
    p = parameters
    # exp overflows to infinity for a soil far beyond y*, where f is 0 as it should be; clipped to keep NumPy silent
    dry = 1.0 / (1.0 + np.exp(np.minimum(p.k_1 * (soil - p.y_star), 500.0)))
    slow = 1.0 / (1.0 + np.exp(np.minimum(p.k_2 * (inflow - p.p_star), 500.0)))
    return dry * slow * (temperature > FREEZING)


def step(
    state: State,
    rain: np.ndarray,
    snowfall: np.ndarray,
    temperature: np.ndarray,
    humidity_deficit: np.ndarray,
    parameters: Parameters,
    days: float = 1.0,
) -> tuple[State, Fluxes]:
    """One explicit step of `days`.

    rain, snowfall: (cell,) [kg m-2 day-1]; temperature: (cell,) [K]; humidity_deficit: q* - q, (cell,) [1]. Fluxes are
    means over the step. Stable for steps shorter than beta and 1/e.
    """
    p = parameters
    cover = snow_fraction(state.snow)
    snow_gain = p.a * (snowfall + cover * rain)
    melt = p.b * np.maximum(temperature - p.t_c, 0.0) ** p.chi
    available = state.snow / days + snow_gain
    melt = np.minimum(melt, available)
    # exactly none once all has melted: evaporation waits for H(-S_snow)
    snow = np.where(melt < available, state.snow + days * (snow_gain - melt), 0.0)

    wetland_outflow = state.wetland / p.beta
    inflow = p.c * melt + p.d * (1.0 - cover) * rain + wetland_outflow
    percolation = percolation_fraction(state.soil, inflow, temperature, p) * inflow
    deep = np.minimum(p.e * (state.soil - p.y_0), state.soil / days)
    wanted = np.where(state.snow > 0.0, 0.0, p.g * humidity_deficit)  # dew where the air is above saturation
    evaporation = np.minimum(wanted, state.soil / days + percolation - deep)
    room = (p.saturation - state.soil) / days + evaporation + deep
    percolation = np.minimum(percolation, np.maximum(room, 0.0))
    # dew or deep water that a full soil cannot take does not fall
    over = np.maximum(state.soil / days + percolation - evaporation - deep - p.saturation / days, 0.0)
    deep = deep + over
    soil = state.soil + days * (percolation - evaporation - deep)

    rejected = inflow - percolation
    surface_runoff = p.alpha * rejected
    wetland_gain = rejected - surface_runoff
    wetland = state.wetland + days * (wetland_gain - wetland_outflow)
    fluxes = Fluxes(
        snow_gain,
        melt,
        inflow,
        percolation,
        evaporation,
        deep,
        wetland_gain,
        wetland_outflow,
        surface_runoff,
        surface_runoff + p.h,
    )
    return State(snow, np.clip(soil, 0.0, p.saturation), wetland), fluxes
