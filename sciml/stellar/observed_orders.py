"""An observed spectrum ready for a fit: orders or stretches of about 1, their noise and what may bend them."""

from dataclasses import dataclass, replace

import numpy as np

from sciml.core.errors import InputError
from sciml.data.spectrum import LIGHT, Spectrum
from sciml.stellar.emulator import Emulator
from sciml.stellar.forward import ForwardModel
from sciml.stellar.normalisation import noise_of
from sciml.stellar.sampling import PixelGrid

LINES = (5031.0, 5369.0)  # [A] at rest: the span of the list of lines, but for 1 A where wings of lines beyond reach in
STRETCH = 50.0  # [A] into which merged spectra are cut
DEGREE, PER_DEGREE = 3, 12.0  # of the continuum at most; [A] that a degree needs
FEWEST = 200  # pixels of an order
SAMPLES = 6.0  # pixels to a FWHM, more than which were interpolated: their noise cannot be told from neighbours
_LEAST_NOISE = 1e-4


@dataclass(frozen=True, eq=False)
class Orders:
    """flux, of about 1, and its noise (order, pixel); used: pixels within the line list; basis: (order, k, pixel) of
    the continuum. noise_known: whether the file says it or neighbouring pixels do."""

    wave: np.ndarray
    flux: np.ndarray
    noise: np.ndarray
    used: np.ndarray
    basis: np.ndarray
    resolving_power: float
    noise_known: bool

    def forward(self, emulator: Emulator, rv: float) -> ForwardModel:
        """The emulator at these pixels for stars of a velocity [km/s]."""
        return ForwardModel(emulator, PixelGrid(self.wave / (1 + rv / LIGHT), self.resolving_power))


def stretches(spectrum: Spectrum, length: float = STRETCH) -> Spectrum:
    """A merged spectrum (1, pixel) cut into pieces (piece, pixel) of equal numbers of pixels, masked where they come
    twice; orders stay as they are."""
    if len(spectrum.wave) > 1:
        return spectrum
    wave = spectrum.wave[0]
    inside = (wave >= LINES[0] - 10.0) & (wave <= LINES[1] + 10.0)
    wave = wave[inside]
    count = max(round(float(np.ptp(wave)) / length), 1)
    size = -(-len(wave) // count)
    first = np.minimum(np.arange(count) * size, len(wave) - size)
    index = first[:, None] + np.arange(size)
    flux = spectrum.flux[0][inside][index]
    flux[-1, : count * size - len(wave)] = np.nan
    sigma = None if spectrum.sigma is None else spectrum.sigma[0][inside][index]
    return replace(spectrum, wave=wave[index], flux=flux, sigma=sigma, orders=None)


def prepared(spectrum: Spectrum) -> Orders:
    """Raises InputError where no order has 200 pixels within the line list."""
    spectrum = stretches(spectrum)
    used = spectrum.good & (spectrum.wave >= LINES[0]) & (spectrum.wave <= LINES[1])
    rows = used.sum(1) >= FEWEST
    if not rows.any():
        raise InputError(
            f"{spectrum.name}: no order has {FEWEST} good pixels within {LINES[0]:g} .. {LINES[1]:g} A at rest, the "
            "span of the list of lines; give other orders"
        )
    wave, used = spectrum.wave[rows], used[rows]
    level = np.array([np.median(row[there]) for row, there in zip(spectrum.flux[rows], used, strict=True)])[:, None]
    flux = np.where(used, spectrum.flux[rows] / level, 1.0)
    if spectrum.sigma is None:
        noise = np.array([[noise_of(np.where(there, row, np.nan))] for row, there in zip(flux, used, strict=True)])
        noise = np.broadcast_to(np.maximum(noise, _LEAST_NOISE), flux.shape)
    else:
        noise = np.where(used, spectrum.sigma[rows] / level, 1.0)
    basis = np.stack([_polynomials(*row) for row in zip(wave, used, strict=True)])
    pixels = np.median(np.diff(np.log(wave), axis=1)) * spectrum.resolving_power
    known = spectrum.sigma is not None or pixels * SAMPLES >= 1
    return Orders(wave, flux, noise, used, basis, spectrum.resolving_power, known)


def _polynomials(wave: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(k, pixel) Legendre polynomials over the used part of an order, 0 for degrees that a short part cannot tell."""
    first, last = np.flatnonzero(used)[[0, -1]]
    unit = np.clip(2 * (wave - wave[first]) / (wave[last] - wave[first]) - 1, -1, 1)
    found = np.polynomial.legendre.legvander(unit, DEGREE).T
    found[1 + int((wave[last] - wave[first]) / PER_DEGREE) :] = 0.0
    return found
