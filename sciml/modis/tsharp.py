"""TsHARP: temperature sharpened by its relation to vegetation, fitted on the coarse grid of the same image.

Kustas, Norman, Anderson & French 2003 (Remote Sens. Environ. 85, 429-440); Agam, Kustas, Anderson, Li & Neale 2007
(Remote Sens. Environ. 107, 545-558). Both assume that the relation is linear and the same at both scales.
"""

from dataclasses import dataclass

import numpy as np

from sciml.core.errors import ConfigError, InputError
from sciml.modis.degradation import consistent, replicate
from sciml.modis.images import Guidance
from sciml.modis.interpolation import backprojection, bilinear, fill

LEAST_PIXELS = 10  # coarse pixels with temperature and vegetation that a line needs
LEAST_SPREAD = 1e-3  # standard deviation of the coarse NDVI below which it tells nothing


@dataclass(frozen=True, eq=False)
class Vegetation:
    """NDVI made complete, for the images it can guide.

    fine: (image, Y, X), coarse: its block means (image, y, x). known: (image, y, x) where at least half of the block
    was known before. useful: (image,) images by day whose NDVI varies and is known in enough pixels of `lst`; the NDVI
    of the others is 0 throughout.
    """

    fine: np.ndarray
    coarse: np.ndarray
    known: np.ndarray
    useful: np.ndarray


@dataclass(frozen=True, eq=False)
class Line:
    """lst = intercept + slope ndvi, per image; residual (image, y, x) [K], NaN where temperature or NDVI is unknown.

    slope_variance [K2] is that of independent pixels.
    """

    slope: np.ndarray
    intercept: np.ndarray
    slope_variance: np.ndarray
    residual: np.ndarray


def tsharp(
    lst: np.ndarray,
    factor: int,
    guidance: Guidance | None = None,
    sigma: float = np.nan,
    smooth: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Temperature of the line at the fine NDVI, plus what the coarse image differs from the line.

    smooth: whether that residual is interpolated bilinearly; False repeats it over the block, as published, which
    leaves the coarse pixels' outline. Either way the result is seen as `lst` by a coarse sensor. An image by night or
    without NDVI is super-resolved by back-projection. Shapes as every method's.
    """
    vegetation = completed(lst, factor, guidance)
    fine = np.empty(vegetation.fine.shape)
    alone, which = np.flatnonzero(~vegetation.useful), np.flatnonzero(vegetation.useful)
    if alone.size:
        fine[alone], _ = backprojection(lst[alone], factor)
    coarse = lst[which]
    line = fitted(coarse, vegetation.coarse[which], vegetation.known[which])
    slope = line.slope[:, None, None]
    residual = coarse - slope * vegetation.coarse[which]
    residual = bilinear(residual, factor)[0] if smooth else replicate(residual, factor)
    fine[which] = consistent(slope * vegetation.fine[which] + residual, coarse, factor)
    return fine, np.where(np.isnan(fine), np.nan, sigma)


def completed(lst: np.ndarray, factor: int, guidance: Guidance | None) -> Vegetation:
    """The NDVI that guides these images. Unknown fine pixels are interpolated from the block means around them."""
    if factor < 1 or int(factor) != factor:
        raise ConfigError(f"factor between the resolutions: {factor} found, expected a whole number from 1")
    if lst.ndim != 3:
        raise InputError(f"images of temperature: shape {lst.shape} found, expected (image, y, x); add the axis")
    number, height, width = lst.shape
    shape = (number, factor * height, factor * width)
    if guidance is None:
        nowhere = np.zeros(lst.shape, bool)
        return Vegetation(np.broadcast_to(0.0, shape), np.zeros(lst.shape), nowhere, np.zeros(number, bool))
    if guidance.ndvi.shape != shape or np.shape(guidance.day) != (number,):
        raise InputError(
            f"guidance: NDVI {guidance.ndvi.shape} and day {np.shape(guidance.day)} found, expected {shape} and "
            f"{(number,)} for {lst.shape} coarse pixels and the factor {factor}; select the same images for both"
        )
    ndvi = np.asarray(guidance.ndvi, float)
    seen = np.isfinite(ndvi)
    count = _sums(seen.astype(float), factor)
    coarse = np.where(count > 0, _sums(np.where(seen, ndvi, 0.0), factor) / np.maximum(count, 1), np.nan)
    known = count >= 0.5 * factor**2
    both = known & np.isfinite(lst)
    enough = both.sum(axis=(1, 2)) >= LEAST_PIXELS
    spread = np.zeros(number)
    spread[enough] = np.nanstd(np.where(both, coarse, np.nan)[enough], axis=(1, 2))
    useful = np.asarray(guidance.day, bool) & enough & (spread >= LEAST_SPREAD)
    fine = np.where(useful[:, None, None], ndvi, 0.0)
    holed = np.flatnonzero(np.isnan(fine).any(axis=(1, 2)))
    if holed.size:
        around, _ = bilinear(fill(coarse[holed]), factor)
        fine[holed] = np.where(seen[holed], fine[holed], around)
    return Vegetation(fine, _sums(fine, factor) / factor**2, known, useful)


def fitted(lst: np.ndarray, ndvi: np.ndarray, known: np.ndarray) -> Line:
    """Least squares of temperature on NDVI over the pixels where both are known: (image, y, x) each."""
    both = known & np.isfinite(lst)
    count = both.sum(axis=(1, 2))

    def mean(field: np.ndarray) -> np.ndarray:
        return np.where(both, field, 0.0).sum(axis=(1, 2)) / count

    x, y = mean(ndvi)[:, None, None], mean(lst)[:, None, None]
    scatter = mean((ndvi - x) ** 2)
    scatter = np.where(scatter > 0, scatter, np.inf)  # a flat NDVI has no slope
    slope = mean((ndvi - x) * (lst - y)) / scatter
    intercept = y[:, 0, 0] - slope * x[:, 0, 0]
    residual = np.where(both, lst - intercept[:, None, None] - slope[:, None, None] * ndvi, np.nan)
    variance = mean(residual**2) / (count - 2) / scatter
    return Line(slope, intercept, variance, residual)


def _sums(field: np.ndarray, factor: int) -> np.ndarray:
    number, height, width = field.shape
    return field.reshape(number, height // factor, factor, width // factor, factor).sum(axis=(2, 4))
