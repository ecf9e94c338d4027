"""The parameters of a star: what is asked for, what else its spectrum depends on, and where models exist.

Arrays called `parameters` have the columns PARAMETERS (n, 7).
"""

from typing import Literal

import numpy as np
from scipy.stats import qmc

LABELS = ("teff", "logg", "feh", "vsini")
COUNT = len(LABELS)
NUISANCES = ("vmic", "alpha", "vmac")
PARAMETERS = LABELS + NUISANCES
ATMOSPHERIC = ("teff", "logg", "feh", "vmic", "alpha")  # what needs a synthesis; the rest are convolutions
BROADENING = ("vsini", "vmac")

UNITS = {"teff": "K", "logg": "dex", "feh": "dex", "vsini": "km/s", "vmic": "km/s", "alpha": "dex", "vmac": "km/s"}
LONG_NAMES = {
    "teff": "effective temperature",
    "logg": "logarithm of the surface gravity in cm s-2",
    "feh": "metallicity [M/H]",
    "vsini": "projected rotational velocity",
    "vmic": "microturbulence",
    "alpha": "enhancement of alpha elements over the metallicity",
    "vmac": "radial-tangential macroturbulence",
}
RANGES = {
    "teff": (3500.0, 9750.0),
    "logg": (0.0, 5.0),
    "feh": (-2.5, 0.5),
    "vsini": (0.0, 30.0),
    "vmic": (0.5, 4.0),
    "alpha": (-0.2, 0.6),
    "vmac": (0.0, 8.0),
}
# nodes of the paper's grid (Table 1)
NODES = {
    "teff": np.arange(3500.0, 9751.0, 250.0),
    "logg": np.arange(0.0, 5.01, 0.5),
    "feh": np.arange(-2.5, 0.51, 0.5),
    "vsini": np.arange(0.0, 30.1, 2.0),
}
# hotter stars of low gravity are blown apart by their light: no model exists below this gravity
_LOWEST_LOGG = (11 * [0.0]) + (6 * [0.5]) + (3 * [1.0]) + (3 * [1.5]) + (3 * [2.0])
PAPER_NUISANCES = (2.0, 0.0, 0.0)  # vmic, alpha, vmac of all its stars
VMIC_DEVIATION, ALPHA_DEVIATION = 0.4, 0.12  # [km/s, dex] of stars about what is usual
UNRESOLVED_VSINI = 2.0  # [km/s] below it an instrument of R = 115,000 gives an upper limit alone

Prior = Literal["paper", "nuisance"]


def scale() -> tuple[np.ndarray, np.ndarray]:
    """Centre and half width of LABELS' ranges (4,), with which networks see them."""
    low, high = np.array([RANGES[name] for name in LABELS]).T
    return (low + high) / 2, (high - low) / 2


def lowest_logg(teff: np.ndarray) -> np.ndarray:
    """Lowest gravity [dex] of models around a temperature [K]: of the hotter of the two nodes beside it."""
    place = np.ceil((np.asarray(teff, float) - NODES["teff"][0]) / 250.0 - 1e-9).astype(int)
    return np.asarray(_LOWEST_LOGG)[np.clip(place, 0, len(_LOWEST_LOGG) - 1)]


def highest_teff(logg: np.ndarray) -> np.ndarray:
    """Highest temperature [K] of models of a gravity [dex]."""
    count = np.searchsorted(_LOWEST_LOGG, np.asarray(logg, float) + 1e-9, side="right")
    return NODES["teff"][np.clip(count - 1, 0, len(_LOWEST_LOGG) - 1)]


def in_grid(parameters: np.ndarray) -> np.ndarray:
    """(n,) which of the parameters (n, 7) lie where models exist."""
    parameters = np.atleast_2d(parameters)
    low, high = np.array([RANGES[name] for name in PARAMETERS]).T
    inside = ((parameters >= low) & (parameters <= high)).all(1)
    return inside & (parameters[:, 1] >= lowest_logg(parameters[:, 0]))


def usual_vmic(teff: np.ndarray, logg: np.ndarray, feh: np.ndarray) -> np.ndarray:
    """Microturbulence [km/s] to be expected (Bergemann and Hill's relation of the Gaia-ESO survey, as Blanco-Cuaresma
    et al. 2014, A&A 569, A111 give it), kept to RANGES."""
    t, g = np.asarray(teff) - 5500.0, np.asarray(logg) - 4.0
    cool = np.maximum(t, -500.0)
    dwarf = 1.05 + 2.51e-4 * cool + 1.5e-7 * cool**2 - 0.14 * g - 0.005 * g**2 + 0.05 * feh + 0.01 * feh**2
    giant = 1.25 + 4.01e-4 * t + 3.1e-7 * t**2 - 0.14 * g - 0.05 * g**2 + 0.05 * feh + 0.001 * feh**2
    return np.clip(np.where(np.asarray(logg) >= 3.5, dwarf, giant), *RANGES["vmic"])


def usual_alpha(feh: np.ndarray) -> np.ndarray:
    """[alpha/M] [dex] of the Galaxy's stars: 0 at solar metallicity, 0.4 below -1."""
    return np.clip(-0.4 * np.asarray(feh), 0.0, 0.4)


def nodes(step: int = 1) -> np.ndarray:
    """The paper's atmospheres as parameters (1771, 7): 253 (teff, logg) by 7 metallicities at vmic 2, vsini 0.

    step: take every so many-th temperature and gravity, and the last ones.
    """
    teffs, loggs = (np.unique(np.append(NODES[name][::step], NODES[name][-1])) for name in ("teff", "logg"))
    found = [
        (teff, logg, feh, 0.0, *PAPER_NUISANCES)
        for feh in NODES["feh"]
        for teff in teffs
        for logg in loggs
        if logg >= lowest_logg(np.array(teff))
    ]
    return np.array(found)


def draw(count: int, seed: int, prior: Prior, hottest: float = RANGES["teff"][1]) -> np.ndarray:
    """(count, 7) points of a scrambled Sobol sequence up to a temperature [K], as dense as the prior everywhere in the
    grid: see `placed`."""
    low, high = np.array([RANGES[name] for name in PARAMETERS]).T
    unit = qmc.Sobol(len(PARAMETERS), seed=seed).random(1 << int(np.ceil(np.log2(max(count, 2) * 1.5))))
    unit[:, 0] *= (hottest - low[0]) / (high[0] - low[0])
    return placed(unit[in_grid(low + unit * (high - low))][:count], prior)


def placed(unit: np.ndarray, prior: Prior) -> np.ndarray:
    """Parameters (n, 7) of points in the unit cube (n, 7).

    paper: LABELS even over their ranges; vmic 2, no enhancement, no macroturbulence. nuisance: also vmic and alpha even
    within two deviations of 0.4 km/s and 0.12 dex about `usual_vmic` and `usual_alpha`, vmac even over its range.
    """
    low, high = np.array([RANGES[name] for name in PARAMETERS]).T
    found = low + unit * (high - low)
    if prior == "paper":
        found[:, 4:] = PAPER_NUISANCES
        return found
    away = 2.0 * (2.0 * unit[:, 4:6] - 1.0)
    found[:, 4] = np.clip(usual_vmic(*found[:, :3].T) + VMIC_DEVIATION * away[:, 0], *RANGES["vmic"])
    found[:, 5] = np.clip(usual_alpha(found[:, 2]) + ALPHA_DEVIATION * away[:, 1], *RANGES["alpha"])
    return found
