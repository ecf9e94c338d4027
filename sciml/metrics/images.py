"""How near an estimated image is to the true one: of many images at once, each with the pixels that count.

Everywhere truth and estimate are (image, Y, X) and mask is (image, Y, X), true for the pixels that count; what lies
outside the mask is never read. Each score is (image,), NaN where it is undefined.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.stats import norm

from sciml.metrics.ensembles import normal_crps

# Surface temperatures beyond these are errors of measurement: MODIS itself produces none above 65535 x 0.02 K, but the
# hottest ground on Earth has been seen at 354 K (Zhao et al. 2021, doi:10.1175/BAMS-D-20-0325.1).
COLDEST, HOTTEST = 150.0, 360.0  # [K]

# A pixel this far from the median of its 5 x 5 neighbours, and this many robust standard deviations of such
# differences, is no ground. Coasts, snow lines and lakes in a desert stay below: of the 1,311 day and 1,311 night
# images of 2020 over central Europe (1 km) the largest difference is 13.5 K.
OUTLIER_K = 15.0
OUTLIER_SIGMAS = 8.0
NEIGHBOURS = 5

SSIM_WINDOW = 7
SSIM_C1, SSIM_C2 = 0.01, 0.03
NORMAL_90 = float(norm.ppf(0.95))


def outliers(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels whose temperature cannot be the ground's, (image, Y, X) bool; true only within the mask.

    truth [K]. A pixel is rejected outside COLDEST..HOTTEST, or where it differs from the median of its neighbours by
    more than OUTLIER_K and OUTLIER_SIGMAS robust standard deviations (1.4826 median absolute difference) of its image.
    """
    found = mask & ((truth < COLDEST) | (truth > HOTTEST))
    good = mask & ~found
    suspects = np.flatnonzero(extent(truth, good) > OUTLIER_K)  # in others no pixel can differ so much
    for i in suspects:
        filled = _filled(truth[i], good[i])
        difference = np.abs(filled - ndimage.median_filter(filled, size=NEIGHBOURS, mode="nearest"))
        sigma = 1.4826 * np.median(difference[good[i]])
        found[i] |= good[i] & (difference > max(OUTLIER_K, OUTLIER_SIGMAS * sigma))
    return found


def dynamic_range(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """max - min of the true image without its `outliers` [K]: DR of eq. 2 of the paper. NaN without pixels."""
    return extent(truth, mask & ~outliers(truth, mask))


def extent(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """max - min of the pixels in the mask, (image,), NaN without any: `dynamic_range` once the outliers are out."""
    return np.where(mask.any(axis=(1, 2)), _largest(image, mask) - _least(image, mask), np.nan)


def bias(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of estimate less truth [K]."""
    return _mean(_error(truth, estimate, mask), mask)


def rmse(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Root mean square of estimate less truth [K]."""
    return np.sqrt(_mean(_error(truth, estimate, mask) ** 2, mask))


def rmse_unbiased(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Standard deviation of estimate less truth [K]: RMSE once the mean of each image is right."""
    error = _error(truth, estimate, mask)
    return np.sqrt(_mean(_centred(error, mask) ** 2, mask))


def psnr(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray, range_k: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio 20 log10(DR / RMSE) [dB], eq. 2 of the paper. range_k: (image,) `dynamic_range` [K].

    Infinite for an estimate without error; undefined for a flat image.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(range_k > 0, 20 * np.log10(range_k / rmse(truth, estimate, mask)), np.nan)


def ssim(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray, range_k: np.ndarray) -> np.ndarray:
    """Mean structural similarity of 7 x 7 windows (Wang et al. 2004, doi:10.1109/TIP.2003.819861).

        SSIM = (2 mu_x mu_y + c1) (2 sigma_xy + c2) / ((mu_x^2 + mu_y^2 + c1) (sigma_x^2 + sigma_y^2 + c2))
        c1 = (0.01 DR)^2, c2 = (0.03 DR)^2, variances of the sample (n - 1)

    range_k: (image,) `dynamic_range` DR [K]. Windows that leave the image or hold a pixel outside the mask are left
    out. On complete images it is scikit-image's `structural_similarity(win_size=7, data_range=DR)`.
    """
    out = np.full(len(truth), np.nan)
    inner = slice(SSIM_WINDOW // 2, -(SSIM_WINDOW // 2))
    whole = _windows(mask.astype(np.float64))[:, inner, inner] > 1 - 0.5 / SSIM_WINDOW**2
    for i in range(len(truth)):
        if whole[i].any() and range_k[i] > 0:
            x, y = (np.where(mask[i], a[i], 0.0).astype(np.float64)[None] for a in (truth, estimate))
            values = _similarity(x, y, mask[i : i + 1], range_k[i])[0, inner, inner]
            out[i] = values[whole[i]].mean()
    return out


def ssim_global(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray, range_k: np.ndarray) -> np.ndarray:
    """Structural similarity of the whole image as one window, eq. 3 of the paper (variances with n). Arguments as in
    `ssim`."""
    mean = [_mean(np.where(mask, a, 0.0), mask) for a in (truth, estimate)]
    x, y = (_centred(np.where(mask, a, 0.0), mask) for a in (truth, estimate))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _ssim(*mean, _mean(x * x, mask), _mean(y * y, mask), _mean(x * y, mask), range_k)
    return np.where(range_k > 0, values, np.nan)


def detail(image: np.ndarray, mask: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """What an image adds to the bicubic of its own coarse blocks [K], and the pixels of the mask where it is known.

    Coarse are the means of factor x factor blocks within the mask. Pixels of a block that is not whole do not count,
    and their neighbours see the nearest whole one. Y and X must be multiples of factor.
    """
    count, height, width = image.shape
    blocks = (count, height // factor, factor, width // factor, factor)
    coarse = np.asarray(image, np.float64).reshape(blocks).mean(axis=(2, 4))
    complete = np.isfinite(coarse) & mask.reshape(blocks).all(axis=(2, 4))
    filled = np.stack(
        [_filled(c, good) if good.any() else np.zeros_like(c) for c, good in zip(coarse, complete, strict=True)]
    )
    smooth = F.interpolate(torch.from_numpy(filled)[:, None], scale_factor=factor, mode="bicubic")[:, 0].numpy()
    known = mask & complete.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.where(known, image - smooth, 0.0), known


def detail_correlation(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray, factor: int) -> np.ndarray:
    """Correlation over pixels of the `detail` of estimate and truth; NaN where either has none."""
    (x, known), (y, _) = detail(truth, mask, factor), detail(estimate, mask, factor)
    below = np.sqrt(_mean(x * x, known) * _mean(y * y, known))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, _mean(x * y, known) / below, np.nan)


def detail_amplitude(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray, factor: int) -> np.ndarray:
    """Standard deviation of the `detail` of the estimate over that of the truth: 1 is right, 0 a coarse image."""
    (x, known), (y, _) = detail(truth, mask, factor), detail(estimate, mask, factor)
    below = _mean(x * x, known)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, np.sqrt(_mean(y * y, known) / below), np.nan)


def crps(truth: np.ndarray, estimate: np.ndarray, sigma: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean continuous ranked probability score [K] of the normal distribution (estimate, sigma) of each pixel. NaN
    where sigma is missing or not positive in the mask."""
    keep = mask & (sigma > 0)
    score = normal_crps(_error(truth, estimate, keep), np.where(keep, sigma, 1.0))
    return np.where((keep == mask).all(axis=(1, 2)), _mean(score, keep), np.nan)


def coverage90(truth: np.ndarray, estimate: np.ndarray, sigma: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share of pixels whose truth lies in the central 90 % interval of (estimate, sigma), estimate +- 1.645 sigma. NaN
    where sigma is missing or not positive in the mask."""
    keep = mask & (sigma > 0)
    inside = np.abs(_error(truth, estimate, keep)) <= NORMAL_90 * np.where(keep, sigma, 1.0)
    return np.where((keep == mask).all(axis=(1, 2)), _mean(inside.astype(float), keep), np.nan)


@dataclass(frozen=True, eq=False)
class Spectra:
    """Radial spectra of complete images and of their estimates.

    wavelength_m: (ring,) falling [m]. truth, estimate, error: (image, ring) power spectral density [K2 per mode].
    coherence: (image, ring) squared coherence of estimate and truth over the modes of each ring, 0..1.
    pixel_m: side of a pixel [m].
    """

    wavelength_m: np.ndarray
    truth: np.ndarray
    estimate: np.ndarray
    error: np.ndarray
    coherence: np.ndarray
    pixel_m: float


def power_spectrum(image: np.ndarray, pixel_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength (ring,) [m], falling, and mean power of the modes of each ring, (image, ring) [K2 per mode].

    image: (image, Y, X); its mean is taken off and a Hann window laid over it. White noise of variance s2 has power s2
    in every ring. An image with a missing pixel is NaN throughout: crop to a complete part first.
    """
    ring, wavelength = _rings(image.shape[1:], pixel_m)
    modes = _modes(image)
    return wavelength, _ring_means((modes * modes.conj()).real, ring, len(wavelength))


def spectra(truth: np.ndarray, estimate: np.ndarray, pixel_m: float) -> Spectra:
    """Spectra of truth, estimate and their difference; arguments as in `power_spectrum`."""
    ring, wavelength = _rings(truth.shape[1:], pixel_m)
    x, y = _modes(truth), _modes(estimate)

    def power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return _ring_means((a * b.conj()).real, ring, len(wavelength))

    cross = power(x, y) + 1j * _ring_means((x * y.conj()).imag, ring, len(wavelength))
    below = power(x, x) * power(y, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        coherence = np.where(below > 0, np.abs(cross) ** 2 / below, np.where(np.isnan(below), np.nan, 0.0))
    return Spectra(wavelength, power(x, x), power(y, y), power(y - x, y - x), coherence, pixel_m)


def effective_resolution(found: Spectra) -> float:
    """Side of the pixel that the estimate is worth [m]: half the wavelength below which the error has more than half
    the power of the truth (Ballarotta et al. 2019, doi:10.5194/os-15-1091-2019), from the mean spectra of all images.

    Both a wrong pattern and a lost amplitude count; an estimate by a constant has error power 1, so it resolves
    nothing (infinite), and one that is right everywhere is worth its own pixels.
    """
    complete = np.isfinite(found.truth).all(axis=1) & np.isfinite(found.error).all(axis=1)
    if not complete.any():
        return float("nan")
    ratio = found.error[complete].mean(axis=0) / found.truth[complete].mean(axis=0)
    lost = np.flatnonzero(ratio > 0.5)
    if not len(lost):
        return found.pixel_m
    k = int(lost[0])
    if k == 0:
        return float("inf")
    share = (0.5 - ratio[k - 1]) / (ratio[k] - ratio[k - 1])
    logarithm = np.log(found.wavelength_m[k - 1 : k + 1])
    return float(np.exp(logarithm[0] + share * (logarithm[1] - logarithm[0])) / 2)


def _error(truth: np.ndarray, estimate: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, np.subtract(estimate, truth, dtype=np.float64), 0.0)


def _mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(image,) mean over the mask; values must be finite everywhere."""
    count = mask.sum(axis=(1, 2))
    return np.where(count > 0, np.where(mask, values, 0.0).sum(axis=(1, 2)) / np.maximum(count, 1), np.nan)


def _centred(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, values - np.nan_to_num(_mean(values, mask))[:, None, None], 0.0)


def _largest(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, values, -np.inf).max(axis=(1, 2))


def _least(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, values, np.inf).min(axis=(1, 2))


def _filled(image: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Image with the nearest good pixel in each place that is not good."""
    if good.all():
        return image
    nearest = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def _windows(values: np.ndarray) -> np.ndarray:
    """Mean of the 7 x 7 window around each pixel."""
    return ndimage.uniform_filter(values, size=SSIM_WINDOW, axes=(1, 2))


def _similarity(x: np.ndarray, y: np.ndarray, mask: np.ndarray, range_k: np.ndarray) -> np.ndarray:
    # about the mean of the truth, because squares of 300 K would eat the digits of a variance of 0.1 K2
    origin = _mean(x, mask)[:, None, None]
    x, y = (np.where(mask, a - origin, 0.0) for a in (x, y))
    ux, uy = _windows(x), _windows(y)
    sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    variances = (sample * (_windows(a * b) - u * v) for a, b, u, v in ((x, x, ux, ux), (y, y, uy, uy), (x, y, ux, uy)))
    return _ssim(ux + origin, uy + origin, *variances, range_k)


def _ssim(
    mean_x: np.ndarray, mean_y: np.ndarray, xx: np.ndarray, yy: np.ndarray, xy: np.ndarray, range_k: np.ndarray
) -> np.ndarray:
    c1, c2 = (SSIM_C1 * range_k) ** 2, (SSIM_C2 * range_k) ** 2
    return (2 * mean_x * mean_y + c1) * (2 * xy + c2) / ((mean_x**2 + mean_y**2 + c1) * (xx + yy + c2))


def _modes(image: np.ndarray) -> np.ndarray:
    """Fourier modes of the windowed images, scaled so that white noise of variance s2 has mean square s2."""
    window = np.hanning(image.shape[1] + 2)[1:-1, None] * np.hanning(image.shape[2] + 2)[None, 1:-1]
    anomaly = image - np.average(image.reshape(len(image), -1), axis=1, weights=window.ravel())[:, None, None]
    return np.fft.fft2(anomaly * window) / np.sqrt((window**2).sum())


def _rings(shape: tuple[int, ...], pixel_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Ring of each mode (Y, X), -1 beyond the Nyquist circle and for the mean, and the rings' wavelengths [m]."""
    least = min(shape)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None])  # cycles a pixel
    ring = np.rint(frequency * least).astype(int) - 1
    count = least // 2
    return np.where(ring < count, ring, -1), pixel_m * least / np.arange(1, count + 1)


def _ring_means(power: np.ndarray, ring: np.ndarray, count: int) -> np.ndarray:
    inside = ring >= 0
    size = np.bincount(ring[inside], minlength=count)
    return np.stack([np.bincount(ring[inside], weights=p[inside], minlength=count) / size for p in power])
