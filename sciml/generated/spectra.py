"""Spectra of generated stars: a few hundred lines of planted species on a continuum, for demo and tests.

A caricature of line formation in which labels act as they do in nature, and nothing is read from files: Boltzmann and
Saha equations at one temperature and one electron pressure, opacity of H- and hydrogen, a curve of growth from
1 - d (1 - exp(-tau)), wings by pressure. Wavelengths and strengths are drawn; only the triplet at 5167-5184 A stands
where magnesium's does. No spectrum of a real star can be compared with it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sciml.core.seeds import seed_for
from sciml.stellar.wavelengths import GRID

VERSION = 1  # raise it where the same seed gives other spectra
SUN = np.array([5777.0, 4.44, 0.0, 1.0, 0.0])  # teff, logg, feh, vmic, alpha
_THERMAL = 0.01663  # [km2 s-2 K-1]: 2 k / (atomic mass unit)
_NARROW, _WIDE = 80, 3000  # half windows [samples] of ordinary lines and of the triplet
_EQUAL = 9200.0  # [K] effective temperature above which hydrogen is more opaque than H-
_TRIPLET = np.array([5167.32, 5172.68, 5183.60])  # [A]


@dataclass(frozen=True)
class Species:
    """share: of all lines. mass [u]. first, second: ionisation energies [eV]; a molecule's own is what binds it.

    low, high: lower levels lie between [eV]. alpha: enhanced with the alpha elements. stage: 0 neutral, 1 ionised,
    2 a molecule.
    """

    name: str
    share: float
    mass: float
    first: float
    second: float
    low: float
    high: float
    alpha: bool
    stage: int


SPECIES = (
    Species("Fe I", 0.42, 56, 7.90, 16.2, 0.0, 4.7, False, 0),
    Species("Fe II", 0.08, 56, 7.90, 16.2, 2.8, 3.9, False, 1),
    Species("Ti I", 0.10, 48, 6.83, 13.6, 0.0, 2.5, True, 0),
    Species("Ti II", 0.06, 48, 6.83, 13.6, 1.1, 2.6, True, 1),
    Species("Cr I", 0.08, 52, 6.77, 16.5, 0.9, 3.5, False, 0),
    Species("Ni I", 0.10, 59, 7.64, 18.2, 1.7, 4.2, False, 0),
    Species("Ca I", 0.04, 40, 6.11, 11.9, 1.9, 2.9, True, 0),
    Species("MgH", 0.12, 25, 7.65, 15.0, 0.0, 0.5, True, 2),
)
_MAGNESIUM = Species("Mg I", 0.0, 24, 7.65, 15.0, 2.7, 2.72, True, 0)


@dataclass(frozen=True, eq=False)
class LineModel:
    """A `Synthesis` of generated lines: call it with (teff, logg, feh, vmic, alpha). About 1 ms a spectrum."""

    seed: int = 0
    count: int = 240

    def __call__(self, parameters: np.ndarray) -> tuple[np.ndarray, float]:
        """Flux (29400,) on GRID over the continuum, unbroadened, at rest; limb darkening of the continuum."""
        width, tau = self._widths(parameters), self.strength(parameters)
        damping = self._damping(parameters, width)
        depth = np.zeros(GRID.size)
        for chosen, place, square, taper in self._windows:
            v2 = square / width[chosen, None] ** 2
            profile = np.exp(-v2) + damping[chosen, None] / np.sqrt(np.pi) / (v2 + 1.5)
            profile *= tau[chosen, None] * taper
            depth += np.bincount(place.ravel(), profile.ravel(), GRID.size + 2)[1:-1]
        flux = 1 - _deepest(parameters[0]) * (1 - np.exp(-depth))
        return flux.astype(np.float32), limb_darkening(parameters[0])

    def strength(self, parameters: np.ndarray) -> np.ndarray:
        """(line,) opacity of each line at its centre over the continuum's: above 1 it saturates."""
        gain = self._log_opacity(parameters) - self._log_opacity(SUN)
        return 10 ** (self.log_solar + gain) * self._widths(SUN) / self._widths(parameters)

    @property
    def wave(self) -> np.ndarray:
        """(line,) [A], rising."""
        return self._planted["wave"]

    @property
    def names(self) -> np.ndarray:
        """(line,) names of species."""
        return self._planted["name"]

    @property
    def log_solar(self) -> np.ndarray:
        """(line,) log10 of the strength in the Sun."""
        return self._planted["strength"]

    @cached_property
    def _planted(self) -> dict[str, np.ndarray]:
        draws = np.random.default_rng(seed_for(self.seed, "generated lines", self.count))
        shares = np.array([species.share for species in SPECIES])
        kind = draws.choice(len(SPECIES), self.count, p=shares / shares.sum())
        wave = draws.uniform(GRID.wave[0], GRID.wave[-1], self.count)
        strength = np.clip(0.1 + 0.55 * draws.standard_normal(self.count), -1.5, 1.6)
        strength += np.array([0.0, 0.4, -1.3])[[SPECIES[k].stage for k in kind]]
        chi = np.array([draws.uniform(SPECIES[k].low, SPECIES[k].high) for k in kind])
        species = [*(SPECIES[k] for k in kind), *([_MAGNESIUM] * 3)]
        columns = {
            "wave": np.append(wave, _TRIPLET),
            "strength": np.append(strength, (2.9, 3.1, 3.3)),
            "chi": np.append(chi, 3 * [2.71]),
            "name": np.array([one.name for one in species]),
        }
        columns |= {
            name: np.array([getattr(one, name) for one in species])
            for name in ("mass", "first", "second", "alpha", "stage")
        }
        rising = np.argsort(columns["wave"])
        return {name: values[rising] for name, values in columns.items()}

    @cached_property
    def _windows(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Of ordinary lines and of the triplet: which, then (line, sample): place on the grid counted from 1, 0 and
        size + 1 off its ends; squares of offsets [km2 s-2]; a taper that lets wings end."""
        found = []
        wide = self.names == "Mg I"
        for chosen, half in ((~wide, _NARROW), (wide, _WIDE)):
            position = GRID.position(self.wave[chosen])[:, None]
            samples = np.round(position).astype(int) + np.arange(-half, half + 1)
            offset = samples - position
            taper = np.maximum(1 - (offset / half) ** 2, 0.0) ** 2
            found.append((chosen, np.clip(samples, -1, GRID.size) + 1, (offset * GRID.velocity_step) ** 2, taper))
        return found

    def _log_opacity(self, parameters: np.ndarray) -> np.ndarray:
        """(line,) log10 of absorbers in the lower level over the continuous opacity, up to a constant of each line."""
        teff, logg, feh, _, alpha = parameters
        known, theta = self._planted, 5040 / _line_temperature(teff)
        once, twice = (_saha(theta, _log_pressure(parameters), known[name]) for name in ("first", "second"))
        neutral = 1 / (1 + once * (1 + twice))
        fraction = np.where(known["stage"] == 1, neutral * once, neutral)
        molecules = np.where(known["stage"] == 2, 2.5 * theta + 0.5 * logg, 0.0)  # they form where it is cool and dense
        abundance = feh + alpha * known["alpha"]
        return abundance + np.log10(fraction) - known["chi"] * theta + molecules - _log_continuum(parameters)

    def _widths(self, parameters: np.ndarray) -> np.ndarray:
        """(line,) Doppler widths [km/s], microturbulence included."""
        return np.sqrt(_THERMAL * _line_temperature(parameters[0]) / self._planted["mass"] + parameters[3] ** 2)

    def _damping(self, parameters: np.ndarray, width: np.ndarray) -> np.ndarray:
        """(line,) of the Voigt profile: radiation, and collisions that grow with the gas pressure."""
        pressure = 10 ** (0.7 * (parameters[1] - SUN[1]) - 0.25 * parameters[2])
        return (0.004 + 0.03 * pressure * (SUN[0] / parameters[0]) ** 0.7) / width


def limb_darkening(teff: float) -> float:
    """Linear coefficient of the continuum: 0.9 in cool stars, 0.45 in hot ones."""
    return float(0.45 + 0.45 / (1 + np.exp((teff - 6000) / 1200)))


def _deepest(teff: float) -> float:
    """Depth of a saturated line: its light comes from the outermost layers, in hot stars not so dark."""
    return 0.7 + 0.22 / (1 + np.exp((teff - 7500) / 900))


def _line_temperature(teff: float) -> float:
    """[K] of the layers where lines form."""
    return 0.87 * teff


def _log_pressure(parameters: np.ndarray) -> float:
    """log10 of the electrons' pressure [dyn cm-2]: in cool stars metals give them, in hot ones hydrogen."""
    teff, logg, feh = parameters[:3]
    metals = 1 / (1 + np.exp((teff - 6500) / 500))
    return 1.0 + 0.3 * (logg - SUN[1]) + 0.3 * feh * metals + 9.0 * np.log10(teff / SUN[0])


def _saha(theta: float, log_pressure: float, energy: np.ndarray) -> np.ndarray:
    """Number of the higher over that of the lower stage (Gray 2005, eq. 1.20), partition functions equal."""
    return 10 ** (2.5 * np.log10(5040 / theta) - 0.176 - log_pressure - theta * energy)


def _log_continuum(parameters: np.ndarray) -> float:
    """log10 of the opacity of H- and, in hot stars, of hydrogen from its third level, over that of H- in the Sun."""

    def ion(given: np.ndarray) -> float:
        teff = _line_temperature(given[0])
        return _log_pressure(given) - 2.5 * np.log10(teff) + 0.754 * 5040 / teff

    hydrogen = 12.09 * (5040 / _line_temperature(_EQUAL) - 5040 / _line_temperature(parameters[0]))
    equal = ion(np.array([_EQUAL, SUN[1], 0.0, 0.0, 0.0])) - ion(SUN)
    return float(np.log10(10 ** (ion(parameters) - ion(SUN)) + 10 ** (hydrogen + equal)))
