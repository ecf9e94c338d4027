"""Super-resolution without guidance: bilinear, bicubic, and bicubic with iterated back-projection.

Fine and coarse pixels are cells: the centre of fine pixel i lies at (i + 1/2) / factor - 1/2 coarse pixels, and the
image goes on beyond its edge with its last pixel (as OpenCV's resize and torch's interpolate with align_corners=False).
"""

import numpy as np
from scipy import ndimage

from sciml.core.errors import ConfigError, InputError
from sciml.modis.degradation import box_t4, replicate
from sciml.modis.images import Guidance

CUBIC = -0.75  # slope of the cubic kernel at one pixel's distance; OpenCV's and torch's, Keys (1981) prefers -0.5
ITERATIONS = 20
STRIP = 32  # coarse rows worked on at once, so that their fine pixels stay in the processor's cache


def bilinear(
    lst: np.ndarray, factor: int, guidance: Guidance | None = None, sigma: float = np.nan
) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear interpolation, what the paper's Table I calls bicubic.

    lst: (image, y, x) [K], NaN missing -> temperature and `sigma` [K], both (image, factor y, factor x).
    """
    return _answer(upsample(_checked(lst, factor), linear_weights(factor)), lst, factor, sigma)


def bicubic(
    lst: np.ndarray, factor: int, guidance: Guidance | None = None, sigma: float = np.nan
) -> tuple[np.ndarray, np.ndarray]:
    """Cubic convolution (Keys 1981) with OpenCV's kernel. Shapes as `bilinear`."""
    return _answer(upsample(_checked(lst, factor), cubic_weights(factor)), lst, factor, sigma)


def backprojection(
    lst: np.ndarray,
    factor: int,
    guidance: Guidance | None = None,
    sigma: float = np.nan,
    iterations: int = ITERATIONS,
) -> tuple[np.ndarray, np.ndarray]:
    """Bicubic, corrected `iterations` times by the bicubic of what it lacks to be seen as `lst` (Irani & Peleg 1991).

    estimate <- estimate + bicubic(lst - box_t4(estimate)). Shapes as `bilinear`.
    """
    coarse = _checked(lst, factor)
    weights = cubic_weights(factor)
    unknown = ~np.isfinite(lst)
    # Bicubic is linear: the sum of the corrections is the bicubic of one coarse image, which is all we need to keep.
    source = coarse.copy()
    for _ in range(iterations):
        source += np.where(unknown, 0.0, coarse - _seen(source, factor, weights))
    return _answer(upsample(source, weights), lst, factor, sigma)


def linear_weights(factor: int) -> np.ndarray:
    """(factor, 3): weights of the coarse pixels -1, 0, 1 for each fine pixel of a block."""
    at = (np.arange(factor) + 0.5) / factor - 0.5
    return np.clip(1 - np.abs(at[:, None] - np.arange(-1, 2)), 0, None)


def cubic_weights(factor: int, slope: float = CUBIC) -> np.ndarray:
    """(factor, 5): weights of the coarse pixels -2 .. 2 for each fine pixel of a block (Keys 1981, equation 4)."""
    at = (np.arange(factor) + 0.5) / factor - 0.5
    s = np.abs(at[:, None] - np.arange(-2, 3))
    near = ((slope + 2) * s - (slope + 3)) * s**2 + 1
    far = slope * (((s - 5) * s + 8) * s - 4)
    return np.select([s <= 1, s < 2], [near, far], 0.0)


def upsample(coarse: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Separable interpolation of complete images: (image, y, x) -> (image, factor y, factor x).

    weights: (factor, 2 reach + 1) of the coarse pixels around the one a fine pixel lies in.
    """
    reach = weights.shape[1] // 2
    return _upsampled_rows(np.pad(coarse, [(0, 0), (reach, reach), (0, 0)], mode="edge"), weights)


def fill(images: np.ndarray, radius: int = 3, width: float = 1.0) -> np.ndarray:
    """Missing pixels from their neighbours by normalised convolution (Knutsson & Westin 1993).

    The weight is a Gaussian of standard deviation `width` pixels cut at `radius`; what lies farther from every known
    pixel takes the nearest filled one. images: (image, y, x); an image without a known pixel becomes 0.
    """
    images = np.array(images, float)
    for number in np.flatnonzero(~np.isfinite(images).all(axis=(1, 2))):
        image, known = images[number], np.isfinite(images[number])
        if not known.any():
            images[number] = 0.0
            continue
        smooth = {"sigma": width, "mode": "constant", "radius": radius}
        middle = image[known].mean()  # so that rounding is relative to the contrast, not to 300 K
        weight = ndimage.gaussian_filter(known.astype(float), **smooth)
        total = ndimage.gaussian_filter(np.where(known, image - middle, 0.0), **smooth)
        near = weight > 1e-9
        image[~known] = np.where(near, middle + total / np.where(near, weight, 1.0), np.nan)[~known]
        if not near.all():
            nearest = ndimage.distance_transform_edt(~near, return_distances=False, return_indices=True)
            images[number] = image[tuple(nearest)]
    return images


def _upsampled_rows(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Interpolation of rows that already carry `reach` more above and below."""
    factor, taps = weights.shape
    reach = taps // 2
    number, height, width = rows.shape
    height -= 2 * reach
    padded = np.pad(rows, [(0, 0), (0, 0), (reach, reach)], mode="edge")
    across = np.empty((number, height + 2 * reach, width, factor))
    for phase in range(factor):
        across[..., phase] = sum(w * padded[..., k : k + width] for k, w in enumerate(weights[phase]) if w)
    across = across.reshape(number, height + 2 * reach, width * factor)
    step = across.strides
    # a view of the rows each block is made of, so that every block is one small matrix product
    around = np.lib.stride_tricks.as_strided(
        across, (number, height, taps, width * factor), (step[0], step[1], step[1], step[2]), writeable=False
    )
    return np.matmul(weights, around).reshape(number, height * factor, width * factor)


def _seen(source: np.ndarray, factor: int, weights: np.ndarray) -> np.ndarray:
    """box_t4 of the upsampled source, strip by strip."""
    reach = weights.shape[1] // 2
    padded = np.pad(source, [(0, 0), (reach, reach), (0, 0)], mode="edge")
    seen = np.empty_like(source)
    images = max(1, 2**18 // (STRIP * source.shape[2] * factor**2))
    for first in range(0, source.shape[0], images):
        for row in range(0, source.shape[1], STRIP):
            rows = padded[first : first + images, row : row + STRIP + 2 * reach]
            seen[first : first + images, row : row + STRIP] = box_t4(_upsampled_rows(rows, weights), factor)
    return seen


def _checked(lst: np.ndarray, factor: int) -> np.ndarray:
    if factor < 1 or int(factor) != factor:
        raise ConfigError(f"factor between the resolutions: {factor} found, expected a whole number from 1")
    if lst.ndim != 3:
        raise InputError(
            f"images of temperature: shape {lst.shape} found, expected (image, y, x); add the missing axis"
        )
    return fill(lst)


def _answer(fine: np.ndarray, lst: np.ndarray, factor: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The answer of a method: missing where the input is."""
    unknown = ~np.isfinite(lst)
    if unknown.any():
        fine[replicate(unknown, factor)] = np.nan
    return fine, np.where(np.isnan(fine), np.nan, sigma)
