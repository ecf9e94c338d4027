"""A smooth stand-in for synthesis: principal components of a grid of spectra, their coefficients by Gaussian processes.

What is emulated is y = ln(tau + 0.01) of the flux exp(-tau): a weak line's optical depth goes by powers of ten with
abundance and temperature, where its flux bends. y of a model is mean + sum_k c_k(teff, logg, feh, vmic, alpha)
component_k, all coefficients and the limb darkening by one process (`gaussian_process`). Flux is given as its Fourier
transform, where broadening is a product (`broadening`). Differentiable in all parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciml.core.errors import InputError
from sciml.stellar.broadening import frequencies
from sciml.stellar.gaussian_process import best_lengths, inputs, kernel, weights_of
from sciml.stellar.grid import ModelSpectra
from sciml.stellar.labels import ATMOSPHERIC, PARAMETERS
from sciml.stellar.wavelengths import GRID

EMULATOR_VERSION = 2  # raise it where the same models give another emulator
# of the Fourier transform, up to 0.5 cycles per km/s: what R = 115,000 lets through beyond is 5e-5 of the continuum
FREQUENCIES = int(np.searchsorted(frequencies(), 0.5))
_COLUMNS = [PARAMETERS.index(name) for name in ATMOSPHERIC]
_DEPTH = 0.01  # optical depth below which y is linear in it
_DARKEST = 1e-4  # flux that is told from none
_AT_ONCE = 32  # spectra that fit into a core's cache


@dataclass(frozen=True)
class EmulatorSettings:
    """components: of y. searched: models with which lengths are sought, a random part. nugget: variance that is
    no function of the parameters, over the kernel's (lines that synthesis leaves out here and not there)."""

    components: int = 240
    searched: int = 1200
    nugget: float = 1e-7


class Emulator(nn.Module):
    """Spectra in Fourier space and limb darkening at any parameters. Its state dict is all there is to it."""

    def __init__(self, models: int, components: int) -> None:
        """Empty, to be filled by `load_state_dict`; see `fit_emulator`."""
        super().__init__()
        for name, shape, kind in (
            ("inputs", (models, len(ATMOSPHERIC)), torch.float64),
            ("lengths", (len(ATMOSPHERIC),), torch.float64),
            ("weights", (models, components + 1), torch.float64),
            ("offset", (components + 1,), torch.float64),
            ("mean", (GRID.size,), torch.float32),
            ("components", (components, GRID.size), torch.float32),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=kind))

    def predict(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (n, component) and limb darkening (n,) at parameters (n, 7), in doubles."""
        like = kernel(inputs(parameters[:, _COLUMNS].double()), self.inputs, self.lengths)
        found = like @ self.weights + self.offset
        return found[:, :-1], found[:, -1]

    def spectra(self, coefficients: Tensor) -> Tensor:
        """Fourier transforms (n, frequency) of unbroadened flux, complex."""
        parts = coefficients.to(self.mean.dtype).split(
            _AT_ONCE if self.mean.device.type == "cpu" else len(coefficients)
        )
        found = [_flux(torch.addmm(self.mean, part, self.components)) for part in parts]
        return torch.cat([torch.fft.rfft(flux)[:, :FREQUENCIES] for flux in found])

    def forward(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Fourier transforms (n, frequency) and limb darkening (n,) at parameters (n, 7)."""
        coefficients, epsilon = self.predict(parameters)
        return self.spectra(coefficients), epsilon.to(self.mean.dtype)


def fit_emulator(models: ModelSpectra, settings: EmulatorSettings, seed: int) -> Emulator:
    """Principal components of the models' flux and the processes of their coefficients."""
    mean, components, coefficients = principal_components(_depth(models.flux), settings.components)
    places = inputs(torch.from_numpy(models.parameters[:, _COLUMNS]))
    values = np.concatenate([coefficients, models.epsilon[:, None]], 1)
    offset = values.mean(0)
    part = np.random.default_rng(seed).permutation(len(models))[: settings.searched]
    lengths = best_lengths(places[part], (values - offset)[part, :-1], settings.nugget)
    weights = weights_of(places, values - offset, lengths, settings.nugget)
    emulator = Emulator(len(models), len(components))
    emulator.load_state_dict(
        {
            "inputs": places,
            "lengths": lengths,
            "weights": torch.from_numpy(weights),
            "offset": torch.from_numpy(offset),
            "mean": torch.from_numpy(mean),
            "components": torch.from_numpy(components),
        }
    )
    return emulator


def load_emulator(state: Mapping[str, Any]) -> Emulator:
    """The emulator of a state dict. Raises InputError for one of another version."""
    if state["components"].shape[1] != GRID.size:
        raise InputError(
            f"emulator: components of {state['components'].shape[1]} numbers found, expected {GRID.size}; the"
            " checkpoint was written by another version of this program: train again"
        )
    emulator = Emulator(*state["weights"].shape[:1], len(state["components"]))
    emulator.load_state_dict(dict(state))
    return emulator.eval()


def principal_components(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (wavelength,), orthonormal components (at most `count`, wavelength) and coefficients (model, count) of
    values (model, wavelength).

    Through the matrix of inner products of models, which is smaller than that of wavelengths.
    """
    mean = values.mean(0, dtype=np.float64).astype(np.float32)
    centred = values - mean
    products = (centred @ centred.T).astype(np.float64)
    variance, vectors = np.linalg.eigh(products)
    order = np.argsort(variance)[::-1][:count]
    order = order[variance[order] > 1e-9 * variance.max()]  # smaller ones are rounding
    size = np.sqrt(variance[order])
    components = (vectors[:, order].T.astype(np.float32) @ centred) / size[:, None].astype(np.float32)
    return mean, components, vectors[:, order] * size


def _depth(flux: np.ndarray) -> np.ndarray:
    """y of flux over continuum."""
    return np.log(np.maximum(-np.log(np.maximum(flux, _DARKEST)), 0) + _DEPTH)


def _flux(depth: Tensor) -> Tensor:
    """Flux over continuum of y."""
    return torch.exp(_DEPTH - torch.exp(depth))
