"""Areas and distances on the sphere."""

import numpy as np

EARTH_RADIUS_KM = 6371.0072  # authalic radius of WGS84, the sphere of equal surface (Snyder 1987, table 1)


def cell_area_km2(latitude: np.ndarray, resolution_degrees: float) -> np.ndarray:
    """Exact area of regular cells on the sphere.

    latitude: centres [degrees north], any shape. Returns the same shape [km2]: R^2 dlon (sin(north) - sin(south)).
    """
    half = resolution_degrees / 2
    north = np.clip(np.asarray(latitude, float) + half, -90, 90)
    south = np.clip(np.asarray(latitude, float) - half, -90, 90)
    bands = np.sin(np.deg2rad(north)) - np.sin(np.deg2rad(south))
    return EARTH_RADIUS_KM**2 * np.deg2rad(resolution_degrees) * bands


def unit_vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Cartesian unit vectors. latitude, longitude: (...,) [degrees] -> (..., 3)."""
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def great_circle_km(
    latitude_1: np.ndarray, longitude_1: np.ndarray, latitude_2: np.ndarray, longitude_2: np.ndarray
) -> np.ndarray:
    """Distance along the sphere [km]; the four arguments [degrees] broadcast (haversine: exact for small angles)."""
    phi_1, phi_2 = np.deg2rad(latitude_1), np.deg2rad(latitude_2)
    lam = np.deg2rad(np.asarray(longitude_2) - np.asarray(longitude_1))
    h = np.sin((phi_2 - phi_1) / 2) ** 2 + np.cos(phi_1) * np.cos(phi_2) * np.sin(lam / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0, 1)))
