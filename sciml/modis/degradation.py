"""What a coarser sensor would have seen of an image of temperature, and images that agree with what it saw.

Means are means of T^4, the radiated power (Stefan-Boltzmann): T_coarse = (mean T^4)^(1/4).
"""

import numpy as np

from sciml.core.errors import ConfigError, InputError

# With it the MTF along scan, sinc^2(1/2) x exp(-2 pi^2 sigma^2 / 4), is 0.30 at Nyquist: what MODIS was built to keep
# (Barnes, Pagano & Salomonson 1998, IEEE Trans. Geosci. Remote Sens. 36, 1088-1100).
MODIS_GAUSSIAN = 0.25  # standard deviation [coarse pixels]


def box_t4(lst: np.ndarray, factor: int, least_cover: float = 1.0) -> np.ndarray:
    """The plain mean of T^4 over blocks of factor x factor pixels.

    lst: (..., Y, X) [K], NaN missing -> (..., Y / factor, X / factor) [K]. A coarse pixel is missing where fewer than
    the fraction `least_cover` of its pixels are known; otherwise the mean is over those that are.
    """
    _check(lst, factor, least_cover)
    return _fourth_root(_mean(_fourth_power(lst), factor, least_cover))


def mtf(
    lst: np.ndarray, factor: int, least_cover: float = 1.0, gaussian: float = MODIS_GAUSSIAN, scan_axis: int = -1
) -> np.ndarray:
    """The mean of T^4 as a whiskbroom scanner weighs it: its pixels overlap along the scan.

    Along the scan the detector moves one pixel while it integrates: a triangle whose base is two coarse pixels. Along
    the track it is the detector's box. The optics blur both by a Gaussian of standard deviation `gaussian` [coarse
    pixels]. The weights are normalised over the pixels that are known; a coarse pixel is missing where these carry
    less than the fraction `least_cover` of the weight that lies within the image.

    lst: (..., Y, X) [K], NaN missing -> (..., Y / factor, X / factor) [K]. scan_axis: -1 (x) or -2 (y).
    """
    _check(lst, factor, least_cover)
    if scan_axis not in (-1, -2):
        raise ConfigError(f"mtf: scan_axis {scan_axis} found, expected -1 (x) or -2 (y)")
    known = np.isfinite(lst)
    power = np.where(known, _fourth_power(lst), 0.0)
    weights = {axis: point_spread(factor, axis == scan_axis, gaussian) for axis in (-1, -2)}

    def seen(field: np.ndarray) -> np.ndarray:
        for axis, weight in weights.items():
            field = _sampled(field, weight, factor, axis)
        return field

    inside = seen(np.ones(lst.shape[-2:]))
    cover = inside if known.all() else seen(known.astype(float))
    enough = (cover > 0) & (cover >= (least_cover - 1e-9) * inside)
    return _fourth_root(np.where(enough, seen(power) / np.where(enough, cover, 1.0), np.nan))


def point_spread(factor: int, scanning: bool, gaussian: float = MODIS_GAUSSIAN) -> np.ndarray:
    """Weights of the fine pixels around the centre of a coarse pixel, along one direction; their sum is 1.

    Their number is even or odd as `factor` is, so that the middle of the weights is the coarse pixel's centre.
    """
    reach = int(np.ceil(4 * gaussian * factor))
    count = 2 * (reach + factor) + factor % 2
    at = np.abs(np.arange(count) - (count - 1) / 2)
    shape = np.clip(1 - at / factor, 0, None) if scanning else (at < factor / 2).astype(float)
    if gaussian > 0:
        shape = np.convolve(
            shape, np.exp(-0.5 * (np.arange(-reach, reach + 1) / (gaussian * factor)) ** 2), mode="same"
        )
    return shape / shape.sum()


def replicate(coarse: np.ndarray, factor: int) -> np.ndarray:
    """Each coarse pixel repeated over its block: (..., y, x) -> (..., factor y, factor x)."""
    return np.repeat(np.repeat(coarse, factor, axis=-2), factor, axis=-1)


def consistent(fine: np.ndarray, coarse: np.ndarray, factor: int) -> np.ndarray:
    """The nearest image, in T^4, that a coarse sensor would have seen as `coarse`: box_t4(result) == coarse.

    To the T^4 of each block is added the one constant that makes its mean right; in a block with missing pixels the
    mean is over the known ones. fine: (..., factor y, factor x) [K], coarse: (..., y, x) [K]. Where `coarse` is
    missing so is the result.
    """
    _check(fine, factor, 1.0)
    if (fine.shape[-2] // factor, fine.shape[-1] // factor) != coarse.shape[-2:]:
        raise InputError(
            f"image of temperature: {fine.shape[-2:]} fine pixels found, expected {factor} times the coarse image's "
            f"{coarse.shape[-2:]}; give the factor between the two"
        )
    power = _fourth_power(fine)
    power += replicate(_fourth_power(coarse) - _mean(power, factor, least_cover=0.0), factor)
    return _fourth_root(power)


def _fourth_power(field: np.ndarray) -> np.ndarray:
    """A new array."""
    power = np.array(field, float)
    np.square(power, out=power)
    return np.square(power, out=power)


def _fourth_root(power: np.ndarray) -> np.ndarray:
    """In place."""
    np.sqrt(power, out=power)
    return np.sqrt(power, out=power)


def _mean(power: np.ndarray, factor: int, least_cover: float) -> np.ndarray:
    """Means over blocks of which the fraction `least_cover` is known, NaN elsewhere."""
    total = _blocks(power, factor)
    if not np.isnan(total).any():
        return total / factor**2
    known = np.isfinite(power)
    count = _blocks(known.astype(float), factor)
    total = _blocks(np.where(known, power, 0.0), factor)
    enough = (count > 0) & (count >= least_cover * factor**2)
    return np.where(enough, total / np.maximum(count, 1), np.nan)


def _check(lst: np.ndarray, factor: int, least_cover: float) -> None:
    if factor < 1 or int(factor) != factor:
        raise ConfigError(f"factor between the resolutions: {factor} found, expected a whole number from 1")
    if not 0 <= least_cover <= 1:
        raise ConfigError(f"least_cover: {least_cover} found, expected a fraction between 0 and 1")
    if lst.ndim < 2 or lst.shape[-2] % factor or lst.shape[-1] % factor:
        raise InputError(
            f"image of temperature: {lst.shape} pixels found, expected rows and columns divisible by the factor "
            f"{factor}; crop the image"
        )


def _blocks(field: np.ndarray, factor: int) -> np.ndarray:
    """Sums over blocks; rows first, which lie together in memory."""
    *front, height, width = field.shape
    rows = field.reshape(*front, height // factor, factor, width).sum(axis=-2)
    return sum(rows[..., phase::factor] for phase in range(factor))


def _sampled(field: np.ndarray, weight: np.ndarray, factor: int, axis: int) -> np.ndarray:
    """The weighted sum around the centre of each block along one axis; nothing lies outside the image."""
    field = np.moveaxis(field, axis, -1)
    size = field.shape[-1]
    beside = (weight.size - factor) // 2
    padded = np.pad(field, [(0, 0)] * (field.ndim - 1) + [(beside, beside)])
    total = sum(w * padded[..., k : k + size : factor] for k, w in enumerate(weight))
    return np.moveaxis(total, -1, axis)
