"""Interpolation of mascons: constants, conservation, no steps at borders, against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.core.grid import cell_area_km2
from sciml.grace.interpolation import TOLERANCE_MM, bilinear, conserving, cubic
from sciml.grace.mascons import mascon_mean


def block(rows: int = 3, columns: int = 4, size: int = 6, south: float = 30.0, west: float = 10.0):
    """Mascons of size x size cells: latitude, longitude, parent, area of the cells."""
    row, column = np.divmod(np.arange(rows * size * columns * size), columns * size)
    latitude, longitude = south + (row + 0.5) / 2, west + (column + 0.5) / 2
    return latitude, longitude, (row // size) * columns + column // size, cell_area_km2(latitude, 0.5)


def centres(latitude: np.ndarray, longitude: np.ndarray, parent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = np.bincount(parent)
    return np.bincount(parent, latitude) / count, np.bincount(parent, longitude) / count


@settings(max_examples=25, deadline=None)
@given(st.floats(-1e4, 1e4), st.integers(0, 2**16), st.floats(0.3, 1.0))
def test_a_constant_stays_constant_on_any_land(value: float, seed: int, share: float) -> None:
    latitude, longitude, parent, area = block(2, 3, 5)
    land = np.random.default_rng(seed).random(len(parent)) < share
    land[np.unique(parent, return_index=True)[1]] = True  # every mascon keeps a cell
    latitude, longitude, parent, area = (x[land] for x in (latitude, longitude, parent, area))
    here = centres(latitude, longitude, parent)
    given_values = np.full((6, 1), value)
    operator = conserving(parent, area, latitude, longitude, 6)
    np.testing.assert_allclose(operator.interpolate(given_values), value, rtol=1e-6, atol=1e-6)
    for weights in (bilinear(*here, latitude, longitude), cubic(*here, latitude, longitude)):
        np.testing.assert_allclose(weights @ given_values, value, rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.2, 1.0))
def test_every_land_mean_is_returned(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    latitude, longitude, parent, area = block(3, 3, 5, south=55.0)
    land = rng.random(len(parent)) < share
    land[np.unique(parent, return_index=True)[1]] = True
    latitude, longitude, parent, area = (x[land] for x in (latitude, longitude, parent, area))
    values = rng.normal(0, 200, (9, 4))
    field = conserving(parent, area, latitude, longitude, 9).interpolate(values)
    assert np.abs(mascon_mean(field, parent, area, 9) - values).max() < TOLERANCE_MM


def test_a_plane_comes_back_from_its_means() -> None:
    latitude, longitude, parent, area = block(4, 4, 6, south=-12.0)
    here = centres(latitude, longitude, parent)
    plane = 3.0 * latitude - 2.0 * longitude + 5.0
    inside = (latitude > -9.5) & (latitude < -2.5) & (longitude > 12.5) & (longitude < 19.5)
    for operator in (bilinear(*here, latitude, longitude), cubic(*here, latitude, longitude)):
        np.testing.assert_allclose((operator @ (3.0 * here[0] - 2.0 * here[1] + 5.0))[inside], plane[inside], atol=1e-9)
    smooth = conserving(parent, area, latitude, longitude, 16).interpolate(mascon_mean(plane, parent, area, 16))
    assert np.abs(smooth - plane)[inside].max() < 0.6  # of a range of 60; a free border bends the rest


def test_conserving_is_nearer_to_a_smooth_truth_than_what_does_not_conserve() -> None:
    latitude, longitude, parent, area = block(4, 5, 6)
    truth = 100 * np.sin(latitude / 3.0) * np.cos(longitude / 4.0)
    means = mascon_mean(truth, parent, area, 20)
    here = centres(latitude, longitude, parent)
    error = {
        "bilinear": bilinear(*here, latitude, longitude) @ means - truth,
        "cubic": cubic(*here, latitude, longitude) @ means - truth,
        "conserving": conserving(parent, area, latitude, longitude, 20).interpolate(means) - truth,
        "blocks": means[parent] - truth,
    }
    rmse = {name: np.sqrt((e**2).mean()) for name, e in error.items()}
    assert rmse["conserving"] < rmse["cubic"] < rmse["bilinear"] < rmse["blocks"]


def test_borders_carry_no_step() -> None:
    latitude, longitude, parent, area = block(3, 4, 6)
    values = np.random.default_rng(0).normal(0, 100, 12)
    field = conserving(parent, area, latitude, longitude, 12).interpolate(values).reshape(18, 24)
    # second differences: a step of h at a border would show as +h, -h there; a smooth field has them small everywhere
    second = np.abs(np.diff(field, n=2, axis=1))
    at_border = second[:, [4, 5, 10, 11, 16, 17]].max()
    assert at_border < 0.1 * np.abs(np.diff(values.reshape(3, 4), axis=1)).max()


def test_a_missing_neighbour_is_replaced_by_the_nearest() -> None:
    latitude, longitude, parent, _ = block(3, 4, 6)
    here = centres(latitude, longitude, parent)
    keep = np.arange(12) != 5  # an ocean in the middle
    for build in (bilinear, cubic):
        operator = build(here[0][keep], here[1][keep], latitude, longitude)
        np.testing.assert_allclose(operator.sum(axis=1), 1.0)
        assert np.abs(operator.toarray()).sum(axis=1).max() < 1.6


def test_across_the_date_line() -> None:
    latitude, longitude, parent, area = block(2, 4, 6, west=174.0)
    wrapped = (longitude + 180) % 360 - 180
    centre = centres(latitude, longitude, parent)
    values = np.random.default_rng(1).normal(0, 50, 8)
    for build in (bilinear, cubic):
        one = build(*centre, latitude, longitude) @ values
        other = build(centre[0], (centre[1] + 180) % 360 - 180, latitude, wrapped) @ values
        np.testing.assert_allclose(one, other, atol=1e-9)
    one, other = (conserving(parent, area, latitude, lon, 8).interpolate(values) for lon in (longitude, wrapped))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_all_mascons_of_the_real_file(real_data) -> None:
    from sciml.data.readers import grctellus

    file = real_data / "hydro" / "grace_jpl_l2" / "grace_jpl_gsm_mascon3deg_0p5grid_2002_2025.nc"
    mascons = grctellus.read(str(file))
    parent, area, latitude, longitude = (
        mascons[name].values for name in ("cell_parent", "cell_area_km2", "cell_lat", "cell_lon")
    )
    values = mascons["twsa"].values[:, :3].astype(float)
    field = conserving(parent, area, latitude, longitude, len(values)).interpolate(values)
    assert np.abs(mascon_mean(field, parent, area, len(values)) - values).max() < TOLERANCE_MM
    assert np.abs(field).max() < 1.5 * np.abs(values).max()


def test_a_mascon_without_land_is_refused() -> None:
    latitude, longitude, parent, area = block(1, 2, 3)
    with pytest.raises(ValueError, match="mascon 2 has no land cell"):
        conserving(parent, area, latitude, longitude, 3)
