"""Areas fill the sphere; distances obey the geometry of great circles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciml.core.grid import EARTH_RADIUS_KM, cell_area_km2, great_circle_km, unit_vectors

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 360)


@pytest.mark.parametrize("resolution", [0.25, 0.5, 1.0, 3.0])
def test_cells_fill_the_sphere(resolution: float) -> None:
    latitude = np.arange(-90 + resolution / 2, 90, resolution)
    total = cell_area_km2(latitude, resolution).sum() * 360 / resolution
    assert total == pytest.approx(4 * np.pi * EARTH_RADIUS_KM**2, rel=1e-12)


def test_a_cell_is_the_sum_of_its_parts() -> None:
    whole = cell_area_km2(np.array([47.5]), 1.0)
    parts = 2 * cell_area_km2(np.array([47.25, 47.75]), 0.5).sum()
    assert whole == pytest.approx(parts, rel=1e-12)
    assert cell_area_km2(np.array([90.0]), 1.0) > 0  # a centre on the pole keeps the half that exists


@given(latitudes, longitudes, latitudes, longitudes)
def test_distance_is_a_distance(lat1: float, lon1: float, lat2: float, lon2: float) -> None:
    there = great_circle_km(lat1, lon1, lat2, lon2)
    assert there == pytest.approx(great_circle_km(lat2, lon2, lat1, lon1), abs=1e-6)
    assert 0 <= there <= np.pi * EARTH_RADIUS_KM + 1e-6
    chord = np.linalg.norm(unit_vectors(lat1, lon1) - unit_vectors(lat2, lon2))
    # the haversine is exact where points are close, the chord's arcsine loses digits near the antipodes
    assert 2 * EARTH_RADIUS_KM * np.arcsin(min(chord / 2, 1)) == pytest.approx(there, abs=1e-3 * EARTH_RADIUS_KM)


def test_known_distances() -> None:
    quarter = np.pi / 2 * EARTH_RADIUS_KM
    assert great_circle_km(0.0, 0.0, 0.0, 90.0) == pytest.approx(quarter, rel=1e-12)
    assert great_circle_km(90.0, 12.0, 0.0, -70.0) == pytest.approx(quarter, rel=1e-12)
    assert great_circle_km(10.0, 359.5, 10.0, -0.5) == pytest.approx(0.0, abs=1e-6)
    many = great_circle_km(np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(4), np.arange(4.0))
    assert many.shape == (3, 4)


@given(latitudes, longitudes)
def test_unit_vectors_have_length_one(lat: float, lon: float) -> None:
    assert np.linalg.norm(unit_vectors(lat, lon)) == pytest.approx(1.0)
