"""Area-to-point regression kriging: temperature by its relation to vegetation, and the rest by kriging.

Wang, Shi, Atkinson & Zhao 2015 (Remote Sens. Environ., doi:10.1016/j.rse.2015.06.003), Wang, Shi & Atkinson 2016
(ISPRS J. 114, 151-165); deconvolution of the semivariogram after Goovaerts 2008 (Math. Geosci. 40, 101-128):

    T(x) = a + b NDVI(x) + sum_i lambda_i(x) e(v_i),   e(v) = T(v) - a - b NDVI(v)

over the 5 x 5 coarse pixels v_i around x. On a regular grid the weights lambda depend on the place of x in its pixel,
on the range of the semivariogram and on how near the image's edge is, so a whole image is a few matrix products.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy import ndimage

from sciml.modis.degradation import consistent
from sciml.modis.images import Guidance
from sciml.modis.interpolation import fill
from sciml.modis.tsharp import Vegetation, completed, fitted

REACH = 2  # coarse pixels on each side: 25 neighbours
RANGES = tuple(float(a) for a in np.geomspace(0.25, 16.0, 19))  # point-support ranges that are tried [coarse pixels]
LONGEST_LAG = 8  # of the semivariogram [coarse pixels]
DETAIL = 0.7  # standard deviation of the Gaussian that tells detail from the rest, for the shrunk slope [coarse pixels]
BAND = 64  # coarse rows worked on at once


def atprk(
    lst: np.ndarray,
    factor: int,
    guidance: Guidance | None = None,
    shrink: bool = True,
    sigma: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Area-to-point regression kriging with NDVI by day; kriging alone by night or without NDVI.

    shrink: False takes the slope of the plain fit, as published, which overdoes the detail several times from 4 km to
    1 km; True takes that of `shrunk_slopes`. The result is seen as `lst` by a coarse sensor. The standard deviation is
    kriging's own, which knows nothing of the slope's error, or `sigma` [K] where that is given. Shapes as every
    method's.
    """
    vegetation = completed(lst, factor, guidance)
    slope = np.zeros(len(lst))
    which = np.flatnonzero(vegetation.useful)
    if which.size:
        guided = Vegetation(*(part[which] for part in vars(vegetation).values()))
        line = shrunk_slopes if shrink else published_slopes
        slope[which] = line(lst[which], guided)
    trend = slope[:, None, None]
    residual = lst - trend * vegetation.coarse  # with the intercept: ordinary kriging carries any constant through
    point_range, sill = deconvolved(residual, factor)
    fine, variance = kriged(fill(residual), factor, point_range)
    fine = consistent(fine + trend * vegetation.fine, lst, factor)
    deviation = np.sqrt(sill[:, None, None] * variance) if sigma is None else sigma
    return fine, np.where(np.isnan(fine), np.nan, deviation)


def published_slopes(lst: np.ndarray, vegetation: Vegetation) -> np.ndarray:
    """(image,) [K]: the slope of the plain fit of coarse temperature on coarse NDVI."""
    return fitted(lst, vegetation.coarse, vegetation.known).slope


def shrunk_slopes(lst: np.ndarray, vegetation: Vegetation) -> np.ndarray:
    """(image,) [K]: the slope among the finest details of the coarse image, b, shrunk to b x signal / (signal + noise).

    Signal is the variance of b x NDVI, noise that of what it leaves: the posterior mean of a slope whose prior has the
    mean 0 and the variance b^2, seen through one pixel's noise. So much does the relation change from scale to scale
    that all pixels together count as one: of details it explains the fraction R^2, R^2 b is carried to the next scale.
    """
    known = vegetation.known & np.isfinite(lst)
    line = fitted(_detail(lst, known), _detail(vegetation.coarse, known), known)
    signal = line.slope**2 * np.nanvar(np.where(known, _detail(vegetation.coarse, known), np.nan), axis=(1, 2))
    noise = np.nanvar(line.residual, axis=(1, 2))
    return line.slope * signal / np.maximum(signal + noise, np.finfo(float).tiny)


def deconvolved(residual: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """The point-support semivariogram sill (1 - exp(-h / range)) of each image, from that of its coarse pixels.

    Of the ranges tried, that whose semivariogram averaged over blocks (regularised) is nearest to the one measured, in
    relative terms and weighted by pairs; the sill is that of least squares. residual: (image, y, x), NaN missing ->
    number of the range in RANGES (image,), sill (image,) [K2].
    """
    measured, pairs = semivariogram(residual)
    model = np.stack([_regularised(factor, a)[: measured.shape[1]] for a in RANGES])
    ratio = measured[:, None] / model
    total, squares = (pairs[:, None] * ratio).sum(axis=2), (pairs[:, None] * ratio**2).sum(axis=2)
    inverse = np.where(squares > 0, total / np.where(squares > 0, squares, 1.0), 0.0)  # of the sill
    misfit = (pairs[:, None] * (inverse[..., None] * ratio - 1) ** 2).sum(axis=2)
    best = misfit.argmin(axis=1)
    inverse = inverse[np.arange(len(best)), best]
    return best, np.where(inverse > 0, 1 / np.where(inverse > 0, inverse, 1.0), 0.0)


def semivariogram(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the mean square difference along rows and columns at whole lags, and the number of pairs: (image, lag)."""
    lags = range(1, 1 + max(1, min(LONGEST_LAG, min(residual.shape[1:]) // 2)))
    measured, pairs = np.zeros((2, len(residual), len(lags)))
    for k, lag in enumerate(lags):
        for axis in (1, 2):
            ahead = np.take(residual, range(lag, residual.shape[axis]), axis=axis)
            behind = np.take(residual, range(residual.shape[axis] - lag), axis=axis)
            square = (ahead - behind) ** 2
            measured[:, k] += 0.5 * np.nansum(square, axis=(1, 2))
            pairs[:, k] += np.isfinite(square).sum(axis=(1, 2))
    return measured / np.maximum(pairs, 1), pairs


def kriged(residual: np.ndarray, factor: int, point_range: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ordinary area-to-point kriging of complete images, and its variance for a sill of 1.

    residual: (image, y, x), point_range: (image,) numbers into RANGES -> both (image, factor y, factor x).
    """
    number, height, width = residual.shape
    fine, variance = np.empty((2, number, height, factor, width, factor))
    padded = np.pad(residual, [(0, 0), (REACH, REACH), (REACH, REACH)])  # what lies outside has no weight
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * REACH + 1,) * 2, axis=(1, 2))
    for which in np.unique(point_range):
        members = np.flatnonzero(point_range == which)
        at_once = max(1, 2**18 // (min(BAND, height) * width))
        for images in np.array_split(members, -(-len(members) // at_once)):
            for rows, above, below in _bands(height):
                for columns, left, right in _bands(width):
                    weights, relative = kriging_weights(factor, int(which), above, below, left, right)
                    seen = windows[images, rows, columns]
                    value = seen.reshape(-1, weights.shape[1]) @ weights.T
                    value = value.reshape(*seen.shape[:3], factor, factor).swapaxes(2, 3)
                    fine[images, rows, :, columns] = value
                    variance[images, rows, :, columns] = relative.reshape(factor, 1, factor)
    shape = (number, height * factor, width * factor)
    return fine.reshape(shape), variance.reshape(shape)


@lru_cache(maxsize=4096)
def kriging_weights(
    factor: int, which: int, above: int, below: int, left: int, right: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (fine pixel of the block, coarse pixel of the 5 x 5) and variance (fine pixel,) for a sill of 1.

    above, below, left, right: how many coarse pixels the image still has on that side, 2 at most. The weights of one
    fine pixel sum to 1; their mean over the block is 1 for the block itself and 0 for the others.
    """
    blocks, points = _averages(factor, RANGES[which])
    there = np.zeros((2 * REACH + 1,) * 2, bool)
    there[REACH - above : REACH + below + 1, REACH - left : REACH + right + 1] = True
    row, column = np.nonzero(there)
    count = row.size
    system = np.ones((count + 1, count + 1))
    offset = 2 * REACH
    system[:count, :count] = blocks[row[:, None] - row + offset, column[:, None] - column + offset]
    system[count, count] = 0.0
    target = np.ones((count + 1, factor**2))
    target[:count] = points[row, column]
    solution = np.linalg.solve(system, target)
    weights = np.zeros((factor**2, there.size))
    weights[:, there.ravel()] = solution[:count].T
    return weights, np.clip((solution * target).sum(axis=0), 0, None)


@lru_cache(maxsize=256)
def _averages(factor: int, point_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean semivariogram between a block and one at each offset of -4 .. 4 pixels (9, 9), and between each block of
    the 5 x 5 and each fine pixel of the middle one (5, 5, factor^2)."""
    at = (np.arange(factor) + 0.5) / factor
    gap = at[:, None] - at

    def mean(dy: int, dx: int) -> np.ndarray:
        """Over the points of the block at that offset: (factor, factor) for the points of the block at 0."""
        distance = np.hypot((gap + dy)[:, None, :, None], (gap + dx)[None, :, None, :])
        return -np.expm1(-distance / point_range).mean(axis=(0, 1))

    far = range(-2 * REACH, 2 * REACH + 1)
    point = {(dy, dx): mean(dy, dx) for dy in far for dx in far}
    blocks = np.array([[point[dy, dx].mean() for dx in far] for dy in far])
    near = range(-REACH, REACH + 1)
    return blocks, np.array([[point[dy, dx].ravel() for dx in near] for dy in near])


@lru_cache(maxsize=256)
def _regularised(factor: int, point_range: float) -> np.ndarray:
    """Semivariogram of block means at lags of 1, 2, .. pixels for a point-support sill of 1."""
    at = (np.arange(factor) + 0.5) / factor
    gap = at[:, None] - at
    across = gap[:, None, :, None]

    def mean(lag: int) -> float:
        return float(-np.expm1(-np.hypot(across, (gap + lag)[None, :, None, :]) / point_range).mean())

    return np.array([mean(lag) - mean(0) for lag in range(1, LONGEST_LAG + 1)])


def _bands(size: int) -> Iterator[tuple[slice, int, int]]:
    """Runs of pixels with as many neighbours within reach on both sides, no longer than BAND."""
    inside = range(REACH, size - REACH)
    singles = [i for i in range(size) if i not in inside]
    starts = [(i, i + 1) for i in singles] + [(i, min(i + BAND, inside.stop)) for i in inside[::BAND]]
    for start, stop in sorted(starts):
        yield slice(start, stop), min(REACH, start), min(REACH, size - stop)


def _detail(field: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The field less its normalised Gaussian mean, where known; 0 elsewhere."""
    smooth = {"sigma": (0, DETAIL, DETAIL), "mode": "constant", "radius": (0, 3, 3)}
    weight = ndimage.gaussian_filter(known.astype(float), **smooth)
    middle = np.where(known, field, 0.0).sum(axis=(1, 2)) / known.sum(axis=(1, 2))
    centred = np.where(known, field - middle[:, None, None], 0.0)
    return np.where(known, centred - ndimage.gaussian_filter(centred, **smooth) / np.where(known, weight, 1.0), 0.0)
