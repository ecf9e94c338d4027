"""Regrouping: mass is conserved, planted shares are found, basins' storage is never read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciml.core.errors import InputError
from sciml.core.grid import unit_vectors
from sciml.grace import regroup

MONTHS = np.arange(np.datetime64("2002-01"), np.datetime64("2012-01"))
KEEP = np.datetime64("2010-01") > MONTHS


@given(st.integers(0, 1000), st.tuples(*[st.floats(0, 1)] * 3))
def test_the_group_mean_returns_whatever_the_shares(seed: int, shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.arange(3), rng.integers(0, 3, 6)])
    grouping = regroup.groups(label, rng.uniform(1, 1e6, 9))
    observed = rng.normal(0, 50, (3, 20))
    downscaled = regroup.downscale(observed, rng.normal(0, 80, (3, 9, 20)), np.array(shares), grouping)
    np.testing.assert_allclose(grouping.mean(downscaled), observed, atol=1e-9)


def test_no_share_is_the_group_mean_and_a_lone_basin_is_its_group() -> None:
    grouping = regroup.groups(np.array([0, 0, 1]), np.array([1.0, 3.0, 2.0]))
    parts = np.random.default_rng(0).normal(size=(3, 3, 8))
    observed = np.ones((2, 8))
    np.testing.assert_array_equal(regroup.downscale(observed, parts, np.zeros(3), grouping), np.ones((3, 8)))
    np.testing.assert_allclose(regroup.downscale(observed, parts, np.ones(3), grouping)[2], 1.0)


def test_components_sum_to_the_anomaly_and_separate_what_was_planted() -> None:
    t = np.arange(len(MONTHS))
    series = (7 + 30 * np.cos(2 * np.pi * t / 12) + 0.4 * t)[None]
    parts = regroup.components(series, MONTHS, KEEP, MONTHS[KEEP].max())
    np.testing.assert_allclose(parts.sum(axis=0), series - series[:, KEEP].mean(), atol=1e-9)
    assert parts[0].std() == pytest.approx(30 / np.sqrt(2), rel=0.05)
    assert np.polyfit(t[20:-20], parts[2, 0, 20:-20], 1)[0] == pytest.approx(0.4, rel=0.05)
    assert np.abs(parts[1]).max() < 4


def test_planted_shares_are_found() -> None:
    rng = np.random.default_rng(1)
    centre = unit_vectors(rng.uniform(-60, 60, 30), rng.uniform(-180, 180, 30))
    parts = rng.normal(0, 20, (3, 30, 100))
    observed = np.tensordot([0.9, 0.5, 0.2], parts, axes=1) + rng.normal(0, 5, 100) + rng.normal(0, 2, (30, 100))
    pairs = regroup.neighbour_pairs(centre, rng.uniform(1, 2, 30))
    shares = regroup.learn_shares(parts, observed, pairs)
    np.testing.assert_allclose(shares, [0.9, 0.5, 0.2], atol=0.05)


def test_uninformative_predictions_get_no_share() -> None:
    rng = np.random.default_rng(2)
    centre = unit_vectors(rng.uniform(-60, 60, 30), rng.uniform(-180, 180, 30))
    pairs = regroup.neighbour_pairs(centre, np.ones(30))
    shares = regroup.learn_shares(rng.normal(size=(3, 30, 200)), rng.normal(size=(30, 200)), pairs)
    assert (shares < 0.1).all() and (shares >= 0).all()


def test_scale_of_unseen_units_follows_the_predictors() -> None:
    rng = np.random.default_rng(3)
    size = rng.normal(4, 1, 60)
    deviation = np.exp(0.8 * size + 0.3 + 0.05 * rng.normal(size=60))
    train = np.arange(60) < 40
    spoiled = np.where(train, deviation, np.nan)
    predicted = regroup.fit_scale(rng.normal(size=(60, 3)), size, spoiled, train, alpha=0.1)
    assert np.corrcoef(np.log(predicted[40:]), np.log(deviation[40:]))[0, 1] > 0.98


def test_a_basin_without_area_is_refused() -> None:
    with pytest.raises(InputError, match="basin 1"):
        regroup.groups(np.array([0, 0]), np.array([1.0, 0.0]))
