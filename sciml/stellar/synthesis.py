"""Model spectra in local thermodynamic equilibrium, by PySME (Wehrhahn et al. 2023, A&A 671, A171).

Intensities come from PySME's library at Gauss-Legendre angles on the grid of wavelengths itself; what is kept is the
flux over its continuum, unbroadened, and a linear limb darkening of the continuum, which rotation needs. The elements'
mixture scales with [M/H]; [alpha/M] is added to O, Ne, Mg, Si, S, Ar, Ca and Ti in the lines and the equation of state,
not in the atmosphere's structure.
"""

import contextlib
import functools
import logging
import math
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.core.errors import ConfigError, RunError
from sciml.data.readers.linelist import read_linelist
from sciml.stellar.atmospheres import densities, load_grid
from sciml.stellar.wavelengths import GRID

ALPHA_ELEMENTS = ("O", "Ne", "Mg", "Si", "S", "Ar", "Ca", "Ti")
ANGLES = 4  # the flux of seven angles differs by less than 1e-4 of the continuum
# lines below this share of the continuum's opacity in every layer are left out: up to 0.1 % of the flux from 4000 K on,
# 0.4 % at 3500 K and [M/H] = 0.5, where all lines together would take eight times as long
LINE_OPACITY = 3e-4
HYDROGEN_MASS = 1.6735575e-24  # [g]


@dataclass(frozen=True)
class Atlas9Synthesis:
    """What a spectrum is made from. solar_mixture: a name that PySME knows (asplund2009, grevesse2007, lodders2003)."""

    atmospheres: str
    linelist: str
    solar_mixture: str = "grevesse2007"

    def __call__(self, parameters: np.ndarray) -> tuple[np.ndarray, float]:
        """Flux over continuum (29400,) on GRID and limb darkening of (teff, logg, feh, vmic, alpha) (5,).

        Raises InputError outside the atmospheres' grid, ConfigError where PySME is not installed.
        """
        teff, logg, feh, vmic, alpha = map(float, parameters)
        pysme = _pysme()
        sme = pysme.Structure()
        # the mixture before [M/H]: PySME's setter would put [M/H] back to 0
        sme.abund = _mixture(self.solar_mixture, alpha)
        sme.teff, sme.logg, sme.monh = teff, logg, feh
        sme.vmic, sme.vmac, sme.vsini = vmic, 0.0, 0.0
        sme.linelist = _lines(self.linelist)
        sme.atmo = _atmosphere(load_grid(self.atmospheres).at(teff, logg, feh), sme.abund, teff, logg)
        sme.line_select_almax_threshold = LINE_OPACITY
        sme.specific_intensities_only, sme.normalize_by_continuum = True, False
        wave = GRID.wave
        sme.wran, sme.wint = [[float(wave[0]), float(wave[-1])]], [wave]
        sme.mu, weights = _angles()
        with contextlib.chdir(_scratch().name):  # the library leaves a file of remarks where it is
            made = pysme.synthesize(sme)
        intensity, continuum = np.asarray(made.sint[0]), np.asarray(made.cint[0])
        flux = (weights @ intensity) / (weights @ continuum)
        if not (np.isfinite(flux).all() and flux.min() >= 0):
            raise RunError(
                f"synthesis of {parameters.tolist()}: flux from {flux.min()} to {flux.max()}, expected 0 to 1"
            )
        return flux.astype(np.float32), _limb_darkening(sme.mu, weights, continuum.mean(1))


@dataclass(frozen=True)
class _PySME:
    Structure: Any
    Atmosphere: Any
    Abund: Any
    LineList: Any
    synthesize: Any


@functools.cache
def _pysme() -> _PySME:
    try:
        from pysme.abund import Abund
        from pysme.atmosphere.atmosphere import Atmosphere
        from pysme.linelist.linelist import LineList
        from pysme.sme import SME_Structure
        from pysme.synthesize import synthesize_spectrum
    except ImportError as error:
        raise ConfigError(
            f"--source atlas9: synthesis needs PySME ({error}); install it with: pip install 'sciml[synthesis]'"
        ) from error
    logging.getLogger("pysme").setLevel(logging.ERROR)
    return _PySME(SME_Structure, Atmosphere, Abund, LineList, synthesize_spectrum)


def require_pysme() -> None:
    """Refuse at once where PySME is not installed."""
    _pysme()


def require_inputs(synthesis: Atlas9Synthesis) -> None:
    """Refuse at once what no spectrum could be made from."""
    require_pysme()
    load_grid(synthesis.atmospheres)
    _lines(synthesis.linelist)


@functools.lru_cache(maxsize=2)
def _lines(url: str) -> Any:
    return _pysme().LineList(read_linelist(url, (GRID.start, float(GRID.wave[-1]))))


def _mixture(name: str, alpha: float) -> Any:
    abund = _pysme().Abund(0.0, name)
    for element in ALPHA_ELEMENTS:
        abund.update_pattern({element: abund[element] + alpha})
    return abund


def _atmosphere(layers: np.ndarray, abund: Any, teff: float, logg: float) -> Any:
    atoms, mass = densities(layers, _mean_mass(abund))
    return _pysme().Atmosphere(
        teff=teff,
        logg=logg,
        method="embedded",
        geom="PP",
        depth="RHOX",
        interp="RHOX",
        rhox=layers[:, 0],
        temp=layers[:, 1],
        xne=layers[:, 3],
        xna=atoms,
        rho=mass,
    )


def _mean_mass(abund: Any) -> float:
    """Of an atom [g]: hydrogen and helium are all but a hundredth of it, metals count as calcium-like oxygen (16)."""
    ratios = {name: value for name, value in abund.get_pattern(type="n/nH").items() if math.isfinite(value)}
    masses = {"H": 1.0, "He": 3.97}
    total = sum(value * masses.get(name, 20.0) for name, value in ratios.items())
    return HYDROGEN_MASS * total / sum(ratios.values())


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="synthesis-")


@functools.cache
def _angles() -> tuple[np.ndarray, np.ndarray]:
    """Cosines mu, descending, and weights of the flux 2 int I mu dmu."""
    nodes, weights = np.polynomial.legendre.leggauss(ANGLES)
    mu, weight = (1 + nodes) / 2, weights / 2
    return mu[::-1].copy(), (2 * mu * weight)[::-1].copy()


def _limb_darkening(mu: np.ndarray, weights: np.ndarray, continuum: np.ndarray) -> float:
    """epsilon of I(mu) = I(1) (1 - epsilon + epsilon mu), least squares weighted by each ring's share of the flux."""
    design = np.stack([np.ones_like(mu), mu], 1)
    root = np.sqrt(weights)[:, None]
    level, slope = np.linalg.lstsq(root * design, root[:, 0] * continuum, rcond=None)[0]
    return float(slope / (level + slope))
