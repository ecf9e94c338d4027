"""The wavelengths of every model spectrum: evenly spaced in the logarithm, so that velocities are shifts."""

from dataclasses import dataclass

import numpy as np

SPEED_OF_LIGHT = 299792.458  # [km s-1]


@dataclass(frozen=True)
class LogGrid:
    """size wavelengths in air from `start` [A] on, `step` apart in the natural logarithm."""

    start: float
    step: float
    size: int

    @property
    def wave(self) -> np.ndarray:
        """(size,) [A]."""
        return self.start * np.exp(self.step * np.arange(self.size))

    @property
    def velocity_step(self) -> float:
        """Of one sample [km s-1]."""
        return self.step * SPEED_OF_LIGHT

    def position(self, wave: np.ndarray) -> np.ndarray:
        """Fractional index of wavelengths [A] of any shape."""
        return np.log(np.asarray(wave) / self.start) / self.step


# 0.75 km/s a sample, half the Doppler width of the narrowest iron line: 5020 to 5402.8 A; 2^3 3 5^2 7^2 samples are
# quick to transform
GRID = LogGrid(start=5020.0, step=2.5e-6, size=29400)
