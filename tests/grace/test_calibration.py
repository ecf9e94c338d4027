"""Calibration: planted coverage is found, members keep the point, the recent error is what it says."""

import numpy as np

from sciml.grace import calibration
from sciml.metrics.ensembles import central_interval

MONTHS = np.arange(np.datetime64("2002-01"), np.datetime64("2012-01"))
BLOCKS = [np.arange(120) // 40 == k for k in range(3)]


def test_the_mean_of_the_members_is_the_point_and_sigma_their_width() -> None:
    rng = np.random.default_rng(0)
    point, sigma = rng.normal(size=(3, 50)), np.array([1.0, 4.0, 9.0])
    members = calibration.members(point, sigma, 20, 7)
    assert members.shape == (3, 20, 50)
    np.testing.assert_allclose(members.mean(axis=1), point, atol=1e-5)
    np.testing.assert_allclose(members.std(axis=1), np.repeat(sigma[:, None], 50, 1), rtol=1e-4)


def test_members_of_a_unit_do_not_depend_on_its_company() -> None:
    point = np.zeros((4, 10))
    np.testing.assert_array_equal(
        calibration.members(point, np.ones(4), 8, 1)[:2], calibration.members(point[:2], np.ones(2), 8, 1)
    )


def test_errors_of_members_persist() -> None:
    members = calibration.members(np.zeros((20, 200)), np.ones(20), 30, 0)
    lagged = (members[..., 1:] * members[..., :-1]).mean()
    assert 0.4 < lagged < 0.8


def test_planted_errors_are_covered_at_ninety_percent() -> None:
    rng = np.random.default_rng(1)
    scale = rng.uniform(5, 100, 200)
    own = scale * rng.uniform(0.2, 1.0, 200)
    sigma = calibration.error_scale(own[:, None] * rng.standard_t(6, (200, 120)), scale, BLOCKS)
    fresh = own[:, None] * rng.standard_t(6, (200, 120))
    lower, upper = central_interval(calibration.members(np.zeros((200, 120)), sigma, 40, 0))
    assert 0.87 < ((fresh >= lower) & (fresh <= upper)).mean() < 0.93


def test_the_recent_error_is_the_mean_of_the_last_two_years() -> None:
    residual = np.arange(120.0)[None]
    keep = np.arange(120) < 100
    assert calibration.recent_error(residual, MONTHS, keep)[0, 0] == np.arange(76, 100).mean()
