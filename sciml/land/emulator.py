"""The paper's emulator on NumPy arrays, with a soil that cannot hold more than its saturation: what the generated
Earth's hydrological model is made of. The equations are those of `equations`.
"""

from collections import namedtuple
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sciml.land import equations
from sciml.land.models import PAPER


@dataclass(frozen=True, eq=False)
class Parameters:
    """theta of the paper by its symbols, beta = 1 / omega [day] and alpha. Each (cell,); units in `models`."""

    a: np.ndarray
    b: np.ndarray
    t_c: np.ndarray
    chi: np.ndarray
    c: np.ndarray
    d: np.ndarray
    beta: np.ndarray
    g: np.ndarray
    e: np.ndarray
    y_0: np.ndarray
    h: np.ndarray
    k_1: np.ndarray
    y_star: np.ndarray
    k_2: np.ndarray
    p_star: np.ndarray
    alpha: np.ndarray
    saturation: np.ndarray  # [kg m-2]


Fluxes = namedtuple("Fluxes", PAPER.fluxes)  # each (cell,) [kg m-2 day-1]
saturation_humidity = equations.saturation_humidity


class State(NamedTuple):
    """Storage, each (cell,) [kg m-2]: snow, y of the paper, wetland."""

    snow: np.ndarray
    soil: np.ndarray
    wetland: np.ndarray


def step(
    state: State,
    rain: np.ndarray,
    snowfall: np.ndarray,
    temperature: np.ndarray,
    humidity_deficit: np.ndarray,
    parameters: Parameters,
) -> tuple[State, Fluxes]:
    """One explicit day -> state, mean fluxes.

    rain, snowfall: (cell,) [kg m-2 day-1]; temperature: (cell,) [K]; humidity_deficit: q* - q, (cell,) [1]. Percolation
    that a full soil cannot take joins the water that f keeps out; dew or deep water that it cannot take does not come.
    """
    given = vars(parameters) | {"beta": 1.0 / parameters.beta}
    saturation = given.pop("saturation")
    forcing = (rain, snowfall, temperature, humidity_deficit)
    (snow, soil, wetland), values = equations.paper(tuple(state), forcing, tuple(given.values()), 1.0)
    fluxes = Fluxes(*values)
    over = np.maximum(soil - saturation, 0.0)
    refused = np.minimum(over, fluxes.percolation)
    drained, runs_off = over - refused, parameters.alpha * refused
    fluxes = fluxes._replace(
        percolation=fluxes.percolation - refused,
        exchange=fluxes.exchange + drained,
        unbalanced=fluxes.unbalanced + drained,
        surface_runoff=fluxes.surface_runoff + runs_off,
        runoff=fluxes.runoff + runs_off,
        wetland_gain=fluxes.wetland_gain + refused - runs_off,
    )
    return State(snow, soil - over, wetland + refused - runs_off), fluxes
