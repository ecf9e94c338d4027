"""Means over mascons, blocks of them, neighbours and jumps."""

import numpy as np

from sciml.grace.mascons import (
    border_jump_ratio,
    gaussian_kernel,
    grace_view,
    mascon_mean,
    neighbour_pairs,
    super_mascons,
)
from tests.grace.test_interpolation import block, centres


def test_means_are_weighted_by_area() -> None:
    parent, area = np.array([0, 0, 1]), np.array([1.0, 3.0, 2.0])
    values = np.array([[4.0, 0.0], [0.0, 8.0], [5.0, 5.0]])
    np.testing.assert_allclose(mascon_mean(values, parent, area, 2), [[1.0, 6.0], [5.0, 5.0]])


def test_neighbours_of_a_grid_and_across_the_date_line() -> None:
    latitude, longitude, _, _ = block(1, 2, 3)
    assert len(neighbour_pairs(latitude, longitude)) == 3 * 5 + 2 * 6  # rows x gaps + gaps x columns
    pair = neighbour_pairs(np.array([0.25, 0.25, 10.25]), np.array([179.75, -179.75, 179.75]))
    np.testing.assert_array_equal(pair, [[0, 1]])


def test_blocks_hold_about_four_mascons_and_never_one() -> None:
    latitude, longitude, parent, _ = block(4, 6, 6)
    label = super_mascons(*centres(latitude, longitude, parent))
    count = np.bincount(label)
    assert count.min() >= 2 and 3 <= count.mean() <= 6
    far = np.concatenate([latitude, latitude + 15.0])  # three degrees of sea between two lands
    both = super_mascons(*centres(far, np.tile(longitude, 2), np.concatenate([parent, parent + 24])))
    assert not set(both[:24]) & set(both[24:])


def test_a_field_of_steps_has_jumps_at_borders_alone_and_noise_has_them_anywhere() -> None:
    latitude, longitude, parent, _ = block(3, 4, 6)
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(len(parent), 40))
    assert abs(border_jump_ratio(rough, parent, latitude, longitude) - 1) < 0.05
    steps = rng.normal(size=(12, 40))[parent] + 0.01 * rough
    assert border_jump_ratio(steps, parent, latitude, longitude) > 20


def test_the_view_by_mascon_is_near_that_of_all_their_cells() -> None:
    latitude, longitude, parent, area = block(4, 5, 6)
    kernel = gaussian_kernel(latitude, longitude, area)
    exact = mascon_mean(kernel @ np.eye(20)[parent], parent, area, 20)
    near = grace_view(*centres(latitude, longitude, parent), np.bincount(parent, area))
    np.testing.assert_allclose(near.sum(axis=1), 1.0)
    inside = [6, 7, 8, 11, 12, 13]  # the edge of a block is another matter
    assert np.abs(near - exact)[inside].max() < 0.06
    assert np.corrcoef(near[inside].ravel(), exact[inside].ravel())[0, 1] > 0.97
