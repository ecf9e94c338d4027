"""How strongly temperature follows vegetation from scale to scale, and what that says below a kilometre.

Inside an image the slope of temperature on NDVI at a coarse scale tells the detail of a finer one, but only a share of
it. Octave by octave (16 to 8 km, 8 to 4, 4 to 2, 2 to 1 km) that share falls, at first slowly, as the two fields part
company with scale, then steeply near a kilometre, where the sensor itself has blurred the temperature and not the NDVI
(a composite of finer pixels seen near nadir). Both are fitted together,

    share(f) = amplitude 2^(-decay log2(8 km / f)) exp(-2 pi^2 blur^2 / (2 sqrt(2) f)^2),

f the fine pixel of an octave, 2 sqrt(2) f the middle of its wavelengths; the second factor is the modulation transfer
of a Gaussian. Truth below a kilometre that another sensor sees sharply has the first factor alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from sciml.core.errors import InputError
from sciml.modis.degradation import box_t4
from sciml.modis.images import Images
from sciml.modis.interpolation import bicubic

LARGEST_KM = 8.0
STEPS = (1, 2, 4, 8)  # fine pixels of the octaves that are looked at, in pixels of the images
LEAST_NDVI_SD = 0.02  # of an image's coarse pixels: below it there is no slope
MOST_BLUR_KM = 1.5


@dataclass(frozen=True)
class ScaleLaw:
    """share(f) of the module's text. blur_km: standard deviation of the sensor's Gaussian."""

    amplitude: float
    decay: float
    blur_km: float

    def share(self, fine_km: np.ndarray | float, sharp: bool) -> np.ndarray:
        """Share of the coarse slope in the octave whose fine pixel is `fine_km`; sharp: seen without the blur."""
        fine = np.asarray(fine_km, float)
        natural = self.amplitude * 2 ** (-self.decay * np.log2(LARGEST_KM / fine))
        return natural if sharp else natural * np.exp(-2 * np.pi**2 * self.blur_km**2 / (8 * fine**2))


def fit_scale_law(images: Images) -> ScaleLaw:
    """The law of complete daytime images with NDVI. Raises InputError where there are too few.

    Its four numbers come from images at 1, 2, 4, 8 and 16 of their own pixels.
    """
    complete = _usable(images)
    if not complete.any():
        raise InputError(
            f"{images.source}: no complete daytime image with NDVI; the share of NDVI detail below a kilometre cannot"
            " be learned; give patches with NDVI"
        )
    chosen = images.select(complete)
    pixel_km = images.fine_pixel_m / 1000
    found = np.array([octave_share(chosen, step) for step in STEPS])
    return law_of(pixel_km * np.array(STEPS), found)


def scale_law_or_none(images: Images) -> ScaleLaw | None:
    """The law, or None where there is no image to learn it from."""
    return fit_scale_law(images) if _usable(images).any() else None


def octave_share(images: Images, step: int) -> float:
    """Share of the coarse slope that the detail between 2 x step and step pixels follows, least squares over images."""
    lst, ndvi = (images.lst, images.ndvi) if step == 1 else (box_t4(images.lst, step), _mean(images.ndvi, step))
    coarse, green = box_t4(lst, 2), _mean(ndvi, 2)
    slope = slopes(coarse, green)
    detail = lst - bicubic(coarse, 2)[0]
    predicted = slope[:, None, None] * (ndvi - bicubic(green, 2)[0])
    above, below = float((predicted * detail).sum()), float((predicted**2).sum())
    return above / below if below > 0 else 0.0


def slopes(coarse: np.ndarray, green: np.ndarray) -> np.ndarray:
    """Slope (image,) [K] of temperature on NDVI over the coarse pixels of each image; 0 where NDVI hardly varies."""
    t = coarse - coarse.mean(axis=(1, 2), keepdims=True)
    g = green - green.mean(axis=(1, 2), keepdims=True)
    power = (g**2).mean(axis=(1, 2))
    return np.where(power > LEAST_NDVI_SD**2, (t * g).mean(axis=(1, 2)) / np.maximum(power, LEAST_NDVI_SD**2), 0.0)


def _usable(images: Images) -> np.ndarray:
    """(image,) complete by day with NDVI, and of sides that the coarsest octave divides."""
    complete = np.isfinite(images.lst).all(axis=(1, 2)) & np.isfinite(images.ndvi).all(axis=(1, 2)) & images.day
    return complete & all(side % (2 * STEPS[-1]) == 0 for side in images.lst.shape[1:])


def law_of(fine_km: Sequence[float] | np.ndarray, found: Sequence[float] | np.ndarray) -> ScaleLaw:
    """Least squares of the three numbers on the shares of octaves."""
    fine, shares = np.asarray(fine_km, float), np.asarray(found, float)

    def misfit(p: np.ndarray) -> np.ndarray:
        return np.asarray(ScaleLaw(*p).share(fine, sharp=False) - shares)

    fitted = least_squares(misfit, [0.8, 0.2, 0.5], bounds=([0.0, 0.0, 0.0], [2.0, 2.0, MOST_BLUR_KM]))
    return ScaleLaw(*map(float, fitted.x))


def _mean(field: np.ndarray, step: int) -> np.ndarray:
    image, height, width = field.shape
    return field.reshape(image, height // step, step, width // step, step).mean(axis=(2, 4))
