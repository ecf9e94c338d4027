"""Observed orders over their continuum: by their upper envelope, or better by what divides them by a model.

An envelope needs pixels without lines; a cool star's spectrum has few, and noise hides shallow lines, so it comes out
low. With a model at hand the smooth ratio of the two is a linear fit that uses every pixel, and it takes out whatever
the blaze left. (`sciml.stellar.continuum` is what networks see, the same in training and for a star.)
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legvander
from scipy.ndimage import gaussian_filter1d

from sciml.core.errors import InputError
from sciml.data.spectrum import LIGHT, Spectrum

DEGREE = 3  # of a polynomial along an order
ORDER_LENGTH = 60.0  # [A] for which DEGREE is meant; merged spectra get more, in proportion to the root of their length
SMOOTHING = 12.0  # [km s-1] over which noise is averaged before the envelope is sought
FEWEST = 0.02  # share of an order's pixels that must remain
_BELOW, _ABOVE = 1.0, 3.0  # scatters: lines go down, so what lies below is left out first
_NEEDED = 50  # good pixels in an order


@dataclass(frozen=True, eq=False)
class Normalised:
    """flux, sigma (order, pixel) over the continuum, NaN where masked; sigma None where unknown. continuum (order,
    pixel) [unit of the observed flux]; used (order, pixel): the pixels that it was fitted to."""

    flux: np.ndarray
    sigma: np.ndarray | None
    continuum: np.ndarray
    used: np.ndarray

    def applied(self, spectrum: Spectrum) -> Spectrum:
        """The spectrum with this flux and sigma."""
        return replace(spectrum, flux=self.flux, sigma=self.sigma)


def by_envelope(spectrum: Spectrum, degree: int = DEGREE) -> Normalised:
    """Flux over the upper envelope of each order.

    A polynomial through the flux, smoothed over 12 km/s, from which pixels one scatter below or three above are left
    out until nothing changes; then one through the unsmoothed pixels within 2.5 standard deviations of it, so that the
    noise of the highest pixels does not lift it. NaN for an order of fewer than 50 good pixels; raises InputError where
    that leaves nothing.
    """
    return _divided(spectrum, [_envelope(*row, _degree(row[0], degree)) for row in _rows(spectrum)])


def by_model(spectrum: Spectrum, model: np.ndarray, degree: int = DEGREE, clip: float = 5.0) -> Normalised:
    """Flux over the polynomial P of each order that minimises sum ((flux - model P) / sigma)^2.

    model: (order, pixel) flux over continuum as the spectrograph would see this star, broadened and shifted; NaN where
    there is none, and beyond its ends there is no continuum either. Pixels more than `clip` scatters of the residual
    off (cosmic rays, lines that the model lacks) are left out in turn. Where sigma is None every pixel counts alike.
    Raises InputError for a model of another shape.
    """
    if model.shape != spectrum.flux.shape:
        raise InputError(f"{spectrum.name}: found a model of shape {model.shape}, expected {spectrum.flux.shape}")
    rows = zip(_rows(spectrum), model, strict=True)
    return _divided(spectrum, [_ratio(*row, values, _degree(row[0], degree), clip) for row, values in rows])


def noise_of(flux: np.ndarray) -> float:
    """Standard deviation of the noise of pixels (pixel,) from their second differences, robust against lines.

    Too small where a file's pixels were interpolated, since neighbours then share noise.
    """
    second = flux[2:] - 2 * flux[1:-1] + flux[:-2]
    second = second[np.isfinite(second)]
    return float(1.4826 * np.median(np.abs(second)) / np.sqrt(6.0)) if second.size else float("nan")


def _rows(spectrum: Spectrum) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(wave, flux, sigma) of each order; sigma from neighbouring pixels where unknown; flux NaN where masked."""
    rows = []
    for row, (wave, flux) in enumerate(zip(spectrum.wave, spectrum.flux, strict=True)):
        sigma = np.full(len(flux), noise_of(flux)) if spectrum.sigma is None else spectrum.sigma[row]
        rows.append((wave, np.where(spectrum.good[row], flux, np.nan), sigma))
    return rows


def _degree(wave: np.ndarray, degree: int) -> int:
    return max(degree, round(degree * float(np.sqrt(np.ptp(wave) / ORDER_LENGTH))))


def _polynomials(wave: np.ndarray, degree: int) -> np.ndarray:
    return legvander(2 * (wave - wave[0]) / (wave[-1] - wave[0]) - 1, degree)


def _nothing(pixels: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(pixels, np.nan), np.zeros(pixels, bool)


def _envelope(wave: np.ndarray, flux: np.ndarray, sigma: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    good = np.isfinite(flux)
    if good.sum() < _NEEDED:
        return _nothing(len(flux))
    basis = _polynomials(wave, degree)
    pixels = SMOOTHING / (LIGHT * np.median(np.diff(np.log(wave))))
    held = gaussian_filter1d(good.astype(float), pixels)
    smooth = gaussian_filter1d(np.where(good, flux, 0.0), pixels) / np.maximum(held, 1e-6)
    fewest = max(int(FEWEST * good.sum()), 3 * (degree + 1))
    used = good
    for _ in range(30):
        level = _fit(basis, smooth, np.ones(len(flux)), used)
        rest = smooth - level
        scatter = max(float(rest[used].std()), 1e-4 * float(np.median(np.abs(level))))
        kept = good & (rest > -_BELOW * scatter) & (rest < _ABOVE * scatter)
        if kept.sum() < fewest or (kept == used).all():
            break
        used = kept
    for _ in range(3):
        noise = np.maximum(sigma, 1e-3 * np.abs(level))
        near = good & (np.abs(flux - level) < 2.5 * noise)
        if near.sum() < fewest:
            break
        used = near
        level = _fit(basis, flux, 1.0 / noise, used)
    return level, used


def _ratio(
    wave: np.ndarray, flux: np.ndarray, sigma: np.ndarray, model: np.ndarray, degree: int, clip: float
) -> tuple[np.ndarray, np.ndarray]:
    good = np.isfinite(flux) & np.isfinite(model) & (sigma > 0)
    if good.sum() < _NEEDED:
        return _nothing(len(flux))
    basis = _polynomials(wave, degree)
    weight = 1.0 / np.where(good, sigma, np.median(sigma[good]))
    values = np.where(good, model, 0.0)
    used = good
    for _ in range(10):
        level = basis @ _solve(basis * values[:, None], flux, weight, used)
        rest = np.where(good, flux - values * level, 0.0) * weight
        scatter = 1.4826 * float(np.median(np.abs(rest[used])))
        kept = good & (np.abs(rest) <= clip * scatter)
        if kept.sum() < 3 * (degree + 1) or (kept == used).all():
            break
        used = kept
    first, last = np.flatnonzero(np.isfinite(model))[[0, -1]]
    level[:first], level[last + 1 :] = np.nan, np.nan  # a polynomial is worth nothing beyond what it was fitted to
    return level, used


def _fit(basis: np.ndarray, values: np.ndarray, weight: np.ndarray, used: np.ndarray) -> np.ndarray:
    return np.asarray(basis @ _solve(basis, values, weight, used))


def _solve(design: np.ndarray, values: np.ndarray, weight: np.ndarray, used: np.ndarray) -> np.ndarray:
    weighted = design[used] * weight[used, None]
    return np.linalg.lstsq(weighted, values[used] * weight[used], rcond=None)[0]


def _divided(spectrum: Spectrum, fits: list[tuple[np.ndarray, np.ndarray]]) -> Normalised:
    continuum = np.stack([level for level, _ in fits])
    used = np.stack([kept for _, kept in fits])
    safe = np.where(continuum > 0, continuum, np.nan)
    if not (np.isfinite(safe) & spectrum.good).any():
        raise InputError(f"{spectrum.name}: no order has {_NEEDED} good pixels and light to find a continuum in")
    sigma = None if spectrum.sigma is None else spectrum.sigma / safe
    return Normalised(np.where(spectrum.good, spectrum.flux / safe, np.nan), sigma, safe, used)
