"""Random fields with a correlation length on the sphere and a memory in time."""

import numpy as np
from scipy.signal import lfilter

from sciml.core.grid import EARTH_RADIUS_KM, unit_vectors


def modes(latitude: np.ndarray, longitude: np.ndarray, length_km: float, *, kept: float = 0.995) -> np.ndarray:
    """Patterns L with L L' = exp(-(d / length)^2 / 2), nearly: (cell, mode).

    latitude, longitude: (cell,) [degrees]. The least modes are dropped until `kept` of the variance is left; the rest
    is scaled so that every cell has variance 1.
    """
    xyz = unit_vectors(latitude, longitude)
    chord = np.clip(1.0 - xyz @ xyz.T, 0.0, None)  # 1 - cos(angle)
    covariance = np.exp(-chord * (EARTH_RADIUS_KM / length_km) ** 2)
    value, vector = np.linalg.eigh(covariance)
    value, vector = value[::-1], vector[:, ::-1]
    count = int(np.searchsorted(np.cumsum(value), kept * value.sum())) + 1
    pattern = vector[:, :count] * np.sqrt(np.maximum(value[:count], 0.0))
    # the sign of an eigenvector is arbitrary: fix it, so that another LAPACK draws the same field
    pattern = pattern * np.where(pattern[np.abs(pattern).argmax(axis=0), np.arange(count)] < 0, -1.0, 1.0)
    return pattern / np.sqrt((pattern**2).sum(axis=1, keepdims=True))


def static(pattern: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One standard normal field. pattern: (cell, mode) -> (cell,)."""
    return pattern @ rng.standard_normal(pattern.shape[1])


def persistent(pattern: np.ndarray, steps: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal fields, AR(1) in time. pattern: (cell, mode); memory: e-folding time [steps] -> (steps, cell)."""
    keep = np.exp(-1.0 / memory)
    noise = rng.standard_normal((steps, pattern.shape[1]))
    noise[1:] *= np.sqrt(1.0 - keep**2)  # stationary from the first step on
    return lfilter([1.0], [1.0, -keep], noise, axis=0).astype(np.float32) @ pattern.T.astype(np.float32)
