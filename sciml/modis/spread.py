"""Calibrated spread: what a method's own spread is multiplied by so that 90 % of errors lie within 1.645 of it.

Fitted on images that no method was trained on, by day and by night apart. Methods that give no spread of their own
start from 1 K, so theirs is constant.
"""

from dataclasses import dataclass

import numpy as np

from sciml.core.errors import InputError

NINETY = 1.6448536269514722  # of a normal distribution: 90 % lie within so many standard deviations
PIXELS = 4_000_000  # looked at, at most


@dataclass(frozen=True)
class SpreadScale:
    """Factors by night and by day."""

    night: float
    day: float

    def of(self, day: np.ndarray) -> np.ndarray:
        """(image,) factors."""
        return np.where(day, self.day, self.night)


def fit_spread(truth: np.ndarray, estimate: np.ndarray, sigma: np.ndarray, day: np.ndarray) -> SpreadScale:
    """truth, estimate, sigma: (image, Y, X) [K], NaN where unknown; day: (image,) bool. Where one of day and night is
    absent it takes the factor of the other. Raises InputError where both are."""
    found = {part: _factor(truth[day == part], estimate[day == part], sigma[day == part]) for part in (False, True)}
    night, bright = found[False], found[True]
    if not (np.isfinite(night) or np.isfinite(bright)):
        raise InputError(
            f"{len(truth)} images calibrate the spread and not one pixel of them is known to truth and estimate; give"
            " more images, or such that clouds leave whole coarse pixels"
        )
    return SpreadScale(night if np.isfinite(night) else bright, bright if np.isfinite(bright) else night)


def _factor(truth: np.ndarray, estimate: np.ndarray, sigma: np.ndarray) -> float:
    ratio = (np.abs(truth - estimate) / sigma).ravel()
    ratio = ratio[np.isfinite(ratio)]
    if not ratio.size:
        return float("nan")
    return float(np.quantile(ratio[:: -(-ratio.size // PIXELS)], 0.9)) / NINETY
