"""The Equal Earth map projection (Savric, Patterson & Jenny 2018, doi:10.1080/13658816.2018.1504949)."""

import numpy as np

A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796
M = np.sqrt(3) / 2


def equal_earth(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """latitude, longitude [degrees], any shape -> x, y on a sphere of radius 1.

    sin t = (sqrt 3 / 2) sin lat,  x = 2 lon cos t / (sqrt 3 P'(t)),  y = P(t),  P = A1 t + A2 t^3 + A3 t^7 + A4 t^9
    """
    t = np.arcsin(M * np.sin(np.radians(latitude)))
    return np.radians(longitude) * np.cos(t) / (M * _slope(t)), _height(t)


def equal_earth_inverse(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x, y -> latitude, longitude [degrees]; longitudes beyond 180 lie off the map. Newton's method, as published."""
    t = np.asarray(y, dtype=np.float64) / A1
    for _ in range(12):
        t = t - (_height(t) - y) / _slope(t)
    latitude = np.degrees(np.arcsin(np.clip(np.sin(t) / M, -1, 1)))
    return latitude, np.degrees(M * np.asarray(x) * _slope(t) / np.cos(t))


def _height(t: np.ndarray) -> np.ndarray:
    return t * (A1 + A2 * t**2 + t**6 * (A3 + A4 * t**2))


def _slope(t: np.ndarray) -> np.ndarray:
    return A1 + 3 * A2 * t**2 + t**6 * (7 * A3 + 9 * A4 * t**2)
