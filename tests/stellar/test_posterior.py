"""Cut-off Gaussians against closed forms and against plain sampling."""

import numpy as np
import pytest
from scipy.stats import truncnorm

from sciml.stellar import labels
from sciml.stellar.posterior import bayesian_bound, from_working, moments, to_working

INSIDE = np.array([5500.0, 3.0, -1.0, 12.0])
NARROW = np.diag([50.0, 0.05, 0.02, 0.3]) ** 2


def test_working_coordinates_come_back() -> None:
    points = np.array([[5000.0, 4.0, 0.0, v] for v in (0.0, 0.3, 2.0, 30.0)])
    np.testing.assert_allclose(from_working(to_working(points)), points, atol=1e-12)
    assert to_working(points)[0, 3] == 0


def test_a_narrow_gaussian_inside_the_grid_stays_what_it_is() -> None:
    correlated = NARROW.copy()
    correlated[0, 2] = correlated[2, 0] = 0.9 * 50 * 0.02
    mean, covariance = moments(to_working(INSIDE)[None], correlated[None])
    np.testing.assert_allclose(mean[0], INSIDE, rtol=2e-3)
    slope = (np.sqrt(12.0**2 + 4) / 12.0) ** 2  # (dv / du)^2
    np.testing.assert_allclose(np.diag(covariance[0]), np.diag(correlated) * [1, 1, 1, slope], rtol=0.03)
    assert covariance[0, 0, 2] == pytest.approx(correlated[0, 2], rel=0.05)


@pytest.mark.parametrize("beyond", [-0.5, 0.0, 3.0, 8.0])
def test_an_end_of_the_grid_cuts_as_it_should(beyond: float) -> None:
    centre = to_working(INSIDE)
    centre[2] = 0.5 + beyond * 0.02
    mean, covariance = moments(centre[None], NARROW[None])
    cut = truncnorm(-np.inf, -beyond, loc=centre[2], scale=0.02)
    assert mean[0, 2] == pytest.approx(cut.mean(), abs=1e-3)
    assert np.sqrt(covariance[0, 2, 2]) == pytest.approx(cut.std(), rel=0.15)
    assert mean[0, 0] == pytest.approx(INSIDE[0], abs=5)


def test_a_mean_beyond_the_staircase_ends_on_it() -> None:
    star = np.array([8000.0, 0.5, -1.0, 12.0])  # no model below log g 1.5 there
    mean, covariance = moments(to_working(star)[None], np.diag([100.0, 0.1, 0.05, 0.3])[None] ** 2)
    assert np.isfinite(mean).all()
    assert np.isfinite(covariance).all()
    assert labels.in_grid(np.concatenate([mean, [[2.0, 0.0, 0.0]]], 1)).all()


def test_the_bound_is_the_noise_where_the_grid_is_wide_and_the_grid_where_noise_is() -> None:
    truth = np.repeat(INSIDE[None], 4, 0)
    np.testing.assert_allclose(
        bayesian_bound(truth, np.repeat(NARROW[None], 4, 0))[:, :3],
        np.sqrt(np.diag(NARROW))[None, :3].repeat(4, 0),
        rtol=0.05,
    )
    wide = np.diag([50.0, 0.05, 40.0, 0.3]) ** 2
    even = 3.0 / np.sqrt(12)
    assert bayesian_bound(truth[:1], wide[None])[0, 2] == pytest.approx(even, rel=0.1)
