"""The sinusoidal grid: against pyproj, against itself, against a granule's own corners."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from sciml.core.errors import InputError
from sciml.data import sinusoidal
from sciml.data.sinusoidal import Tile, locate, pixel_centre, project, tile_geobox, tile_named, unproject

to_plane = Transformer.from_crs(sinusoidal.crs().geodetic_crs, sinusoidal.crs(), always_xy=True)


@given(st.floats(-180, 180), st.floats(-90, 90))
def test_projection_is_pyprojs(longitude: float, latitude: float) -> None:
    np.testing.assert_allclose(project(longitude, latitude), to_plane.transform(longitude, latitude), atol=1e-5)


@given(st.floats(-179.9, 179.9), st.floats(-89, 89))
def test_there_and_back(longitude: float, latitude: float) -> None:
    np.testing.assert_allclose(unproject(*project(longitude, latitude)), (longitude, latitude), atol=1e-9)


@given(st.integers(0, 35), st.integers(0, 17), st.integers(0, 1199), st.integers(0, 1199))
def test_a_pixels_centre_lies_in_that_pixel_or_off_the_earth(h: int, v: int, row: int, column: int) -> None:
    longitude, latitude = pixel_centre(Tile(h, v), row, column)
    if np.isfinite(longitude):
        assert [int(n) for n in locate(longitude, latitude)] == [h, v, row, column]
    else:
        x, y = sinusoidal.WEST_M + (h + (column + 0.5) / 1200) * sinusoidal.TILE_M, (row + 0.5) / 1200
        latitude = 90 - 10 * (v + y)
        assert abs(x) > np.pi * sinusoidal.RADIUS_M * np.cos(np.deg2rad(latitude))


def test_known_places_lie_in_the_tiles_of_nasas_map() -> None:
    places = {"Brest": (-4.49, 48.39), "Madrid": (-3.70, 40.42), "Nairobi": (36.82, -1.29), "Sydney": (151.2, -33.9)}
    found = {name: str(Tile(*map(int, locate(*place)[:2]))) for name, place in places.items()}
    assert found == {"Brest": "h17v04", "Madrid": "h17v04", "Nairobi": "h21v09", "Sydney": "h30v12"}


def test_corners_of_the_world() -> None:
    assert [int(n) for n in locate(180.0, 0.0)] == [35, 9, 0, 1199]
    assert [int(n) for n in locate(-180.0, 0.0)] == [0, 9, 0, 0]
    assert [int(n) for n in locate(0.0, -90.0)] == [18, 17, 1199, 0]


@pytest.mark.parametrize("pixels", [1200, 2400, 4800])
def test_the_grid_of_a_tile_has_its_corners_and_pixels(pixels: int) -> None:
    box = tile_geobox(Tile(18, 4), pixels)
    assert box.shape == (pixels, pixels)
    # corners as the StructMetadata of h18v04 give them
    np.testing.assert_allclose(
        box.extent.boundingbox.bbox, (0, 4447802.078667, 1111950.519667, 5559752.598333), atol=2e-3
    )
    np.testing.assert_allclose((box.resolution.x, -box.resolution.y), 1111950.5196667 / pixels, rtol=1e-9)
    row, column = 3, pixels - 7
    centre = (box.affine.c + (column + 0.5) * box.affine.a, box.affine.f + (row + 0.5) * box.affine.e)
    np.testing.assert_allclose(unproject(*centre), pixel_centre(Tile(18, 4), row, column, pixels), atol=1e-9)


@pytest.mark.parametrize("name", ["h36v00", "h00v18", "h1v4", "18,4", ""])
def test_what_is_no_tile_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected"):
        tile_named(name)
    assert str(tile_named("h08v05")) == "h08v05"
