"""Model atmospheres at continuous labels, interpolated layer by layer between the nodes of a grid.

Every layer of ATLAS9 stands at one Rosseland optical depth, the same in all models, so a layer is followed through the
grid. Interpolated are the logarithms of column mass, temperature, gas pressure and electron density, by piecewise cubic
Hermite polynomials that keep monotony (PCHIP; Fritsch & Butland 1984), along log g, then Teff, then [M/H]: nodes left
out one by one are found back within 28, 10 and 16 K (root mean square of line-forming layers, at twice the spacing),
linearly within 32, 16 and 19 K; cubic splines ring where convection sets in.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from sciml.core.errors import InputError
from sciml.data.readers.atlas9 import LAYERS, Atmosphere, read_atmospheres

BOLTZMANN = 1.380649e-16  # [erg K-1]
ROUNDS = 1e-9


@dataclass(frozen=True, eq=False)
class AtmosphereGrid:
    """Logarithms of `atlas9.COLUMNS` at nodes: layers (teff, logg, feh, layer, 4), NaN where no model exists."""

    teff: np.ndarray
    logg: np.ndarray
    feh: np.ndarray
    vturb: float
    layers: np.ndarray

    def at(self, teff: float, logg: float, feh: float) -> np.ndarray:
        """(layer, 4) in units of `atlas9.COLUMNS`. Raises InputError outside the nodes: nothing is extrapolated."""
        columns = _around(self.teff, teff, "teff")
        found = {place: self._along_logg(place, logg) for place in columns}
        inner = {
            int(np.searchsorted(self.teff, teff - ROUNDS)),
            int(np.searchsorted(self.teff, teff + ROUNDS, "right")) - 1,
        }
        if any(found[place] is None for place in inner):
            raise InputError(
                f"atmosphere teff {teff:g}, logg {logg:g}: outside the grid, no model has so low a gravity there;"
                f" expected at least {self.logg[self._first(max(inner))]:g}"
            )
        # a hotter column that has no such gravity is not needed but for the slope
        known = [place for place in columns if found[place] is not None]
        values = np.stack([found[place] for place in known])
        along_feh = _pchip(self.teff[known], values, teff)
        near = _around(self.feh, feh, "feh")
        return np.exp(_pchip(self.feh[near], along_feh[near], feh))

    def _along_logg(self, place: int, logg: float) -> np.ndarray | None:
        """(feh, layer, 4) at one temperature node; None below its lowest gravity."""
        first = self._first(place)
        if logg < self.logg[first] - ROUNDS:
            return None
        near = [first + i for i in _around(self.logg[first:], logg, "logg")]
        return _pchip(self.logg[near], self.layers[place, near], logg)

    def _first(self, place: int) -> int:
        return int(np.isfinite(self.layers[place, :, 0, 0, 0]).argmax())


def _around(nodes: np.ndarray, value: float, name: str) -> list[int]:
    """Up to two nodes on either side: what a Hermite cubic of the interval depends on."""
    if not nodes[0] - ROUNDS <= value <= nodes[-1] + ROUNDS:
        raise InputError(f"atmosphere {name} {value:g}: outside the grid, expected {nodes[0]:g} to {nodes[-1]:g}")
    left = min(max(int(np.searchsorted(nodes, value, "right")) - 1, 0), len(nodes) - 2)
    return list(range(max(left - 1, 0), min(left + 3, len(nodes))))


def _pchip(nodes: np.ndarray, values: np.ndarray, at: float) -> np.ndarray:
    return PchipInterpolator(nodes, values, axis=0)(np.clip(at, nodes[0], nodes[-1]))


@functools.lru_cache(maxsize=2)
def load_grid(url: str) -> AtmosphereGrid:
    """The grid of a file or folder (`atlas9.read_atmospheres`), with the microturbulence that most models share.

    Models of another microturbulence are left out (at [M/H] = 0 the grid of 2003 has 0 where all others have 2 km/s:
    25 K in the line-forming layers), as are alpha-enhanced ones; a node that stands alone without a model, or has
    another number of layers, is filled along Teff.
    """
    models = [model for model in read_atmospheres(url) if not model.alpha_enhanced]
    turbulences, counts = np.unique([model.vturb for model in models], return_counts=True)
    vturb = float(turbulences[counts.argmax()])
    return _gridded([model for model in models if model.vturb == vturb], vturb, url)


def _gridded(models: list[Atmosphere], vturb: float, url: str) -> AtmosphereGrid:
    axes = [np.unique([getattr(model, name) for model in models]) for name in ("teff", "logg", "feh")]
    if min(map(len, axes)) < 3:
        raise InputError(f"{url}: nodes {[len(axis) for axis in axes]} of teff, logg, feh; expected at least 3 of each")
    layers = np.full((*map(len, axes), LAYERS, 4), np.nan)
    for model in models:
        if len(model.layers) == LAYERS:
            place = tuple(
                int(np.searchsorted(axis, getattr(model, name)))
                for axis, name in zip(axes, ("teff", "logg", "feh"), strict=True)
            )
            layers[place] = np.log(model.layers)
    present = np.isfinite(layers[..., 0, 0])
    wanted = present.any(2)  # where one metallicity has a model, all should
    for i, j, k in np.argwhere(wanted[..., None] & ~present):
        known = np.flatnonzero(present[:, j, k])
        if not (len(known) > 2 and known[0] < i < known[-1]):
            raise InputError(
                f"{url}: no model of teff {axes[0][i]:g}, logg {axes[1][j]:g}, [M/H] {axes[2][k]:g} and none beside it;"
                " expected a whole grid"
            )
        layers[i, j, k] = _pchip(axes[0][known], layers[known, j, k], axes[0][i])
    return AtmosphereGrid(*axes, vturb, layers)


def densities(layers: np.ndarray, mean_mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Number density of atoms [cm-3] and mass density [g cm-3] of layers (layer, 4); mean_mass: of an atom [g]."""
    temperature, pressure, electrons = layers[:, 1], layers[:, 2], layers[:, 3]
    atoms = pressure / (BOLTZMANN * temperature) - electrons
    return atoms, atoms * mean_mass
