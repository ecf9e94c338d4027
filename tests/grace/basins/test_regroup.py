"""Regrouping: mass is conserved, planted shares are found, basins' storage is never read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciml.core.errors import InputError
from sciml.core.grid import unit_vectors
from sciml.grace.basins import regroup

MONTHS = np.arange(np.datetime64("2002-01"), np.datetime64("2012-01"))
KEEP = np.datetime64("2010-01") > MONTHS


EVERY = np.ones(8, bool)


@given(st.integers(0, 1000), st.tuples(*[st.floats(0, 1)] * 3), st.floats(0, 0.5))
def test_the_group_mean_returns_whatever_the_shares(seed: int, shares: tuple[float, ...], noise: float) -> None:
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.arange(3), rng.integers(0, 3, 6)])
    grouping = regroup.groups(label, rng.uniform(1, 1e6, 9))
    counted = rng.random((9, 8)) < 0.7
    storage = np.where(counted, rng.normal(0, 50, (9, 8)), np.nan)
    parts, spread = rng.normal(0, 80, (3, 9, 8)), rng.uniform(1, 90, 9)
    observed = grouping.mean(storage)
    believed = regroup.Shares(shares, noise)
    downscaled = regroup.downscale(observed, parts, believed, grouping, spread, EVERY, counted)
    np.testing.assert_allclose(grouping.mean(np.where(counted, downscaled, np.nan)), observed, atol=1e-9)


def test_no_share_is_the_group_mean_and_a_lone_basin_is_its_group() -> None:
    grouping = regroup.groups(np.array([0, 0, 1]), np.array([1.0, 3.0, 2.0]))
    parts = np.random.default_rng(0).normal(size=(3, 3, 8))
    observed, spread = np.ones((2, 8)), regroup.basin_spread(grouping, np.full(3, 9.0), np.full(2, 12.0))
    assert spread == pytest.approx([0.75 * 15, 0.25 * 15, 0])
    for share, alike in ((0.0, slice(None)), (1.0, slice(2, 3))):
        shares = regroup.Shares((share,) * 3, 0.1)
        downscaled = regroup.downscale(observed, parts, shares, grouping, spread, EVERY)
        np.testing.assert_allclose(downscaled[alike], 1.0, atol=1e-12)


def test_contrasts_that_drown_in_their_noise_are_not_drawn() -> None:
    shares = regroup.Shares((1.0,) * 3, 0.1)
    trust = shares.trust(np.array([0.0, 1.0, 10.0, 1e6]), np.full(4, 10.0))
    np.testing.assert_allclose(trust, [0, 1 / 11, 0.5, 1], atol=1e-4)
    assert regroup.Shares((1.0,) * 3, 0.0).trust(np.array([1.0]), np.array([10.0])) == 1


def test_a_basin_without_a_record_does_not_count_in_its_group() -> None:
    grouping = regroup.groups(np.array([0, 0, 1]), np.array([1.0, 3.0, 2.0]))
    mean = grouping.mean(np.array([[1.0, 1.0], [5.0, np.nan], [np.nan, 7.0]]))
    np.testing.assert_allclose(mean, [[4.0, 1.0], [np.nan, 7.0]])


def test_the_footprint_is_an_average_that_blurs_small_basins_most() -> None:
    """Two small basins side by side, a large one beside them, and one far away."""
    east = np.concatenate([np.arange(0, 1, 0.5), np.arange(1, 2, 0.5), np.arange(2, 12, 0.5), np.arange(90, 91, 0.5)])
    parent = np.repeat([0, 1, 2, 3], [2, 2, 20, 2])
    seen = regroup.footprint(parent, np.zeros(len(east)), east, np.full(len(east), 3000.0))
    np.testing.assert_allclose(seen.sum(axis=1), 1)
    assert seen[3, 3] == pytest.approx(1) and seen[2, 2] > 0.9 > 0.7 > seen[0, 0] > seen[0, 1] > seen[0, 2] > 0
    assert seen[0, 3] == 0


def test_components_sum_to_the_anomaly_and_separate_what_was_planted() -> None:
    t = np.arange(len(MONTHS))
    series = (7 + 30 * np.cos(2 * np.pi * t / 12) + 0.4 * t)[None]
    parts = regroup.components(series, MONTHS, KEEP, MONTHS[KEEP].max())
    np.testing.assert_allclose(parts.sum(axis=0), series - series[:, KEEP].mean(), atol=1e-9)
    assert parts[0].std() == pytest.approx(30 / np.sqrt(2), rel=0.05)
    assert np.polyfit(t[20:-20], parts[2, 0, 20:-20], 1)[0] == pytest.approx(0.4, rel=0.05)
    assert np.abs(parts[1]).max() < 4


def contrasts(planted: tuple[float, ...], noise: float, holes: float = 0.0) -> regroup.Contrasts:
    rng = np.random.default_rng(1)
    centre = unit_vectors(rng.uniform(-60, 60, 30), rng.uniform(-180, 180, 30))
    parts = rng.normal(0, 20, (3, 30, 200))
    observed = np.tensordot(planted, parts, axes=1) + rng.normal(0, 5, 200) + rng.normal(0, noise, (30, 200))
    observed = np.where(rng.random(observed.shape) < holes, np.nan, observed)
    pairs = regroup.neighbour_pairs(centre, rng.uniform(1, 2, 30))
    return regroup.neighbour_contrasts(parts, observed, pairs, np.full(30, 30.0))


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_planted_shares_are_found(holes: float) -> None:
    seen = contrasts((0.9, 0.5, 0.2), 2.0, holes)
    shares = regroup.learn_shares(seen)
    trust = shares.trust(np.mean(seen.modelled.sum(axis=0) ** 2, axis=1), seen.spread)
    np.testing.assert_allclose(np.median(trust) * np.array(shares.component), [0.9, 0.5, 0.2], atol=0.05)
    missed = regroup.believed(seen, shares) - seen.observed
    assert regroup.contrast_error(missed, seen.spread) < 0.5 * regroup.contrast_error(seen.observed, seen.spread)


def test_uninformative_predictions_get_no_share() -> None:
    shares = regroup.learn_shares(contrasts((0.0, 0.0, 0.0), 20.0))
    assert max(shares.component) < 0.1 and min(shares.component) >= 0


def test_the_width_of_contrasts_is_the_deviation_of_normal_errors() -> None:
    spread = np.random.default_rng(0).uniform(1, 50, 200)
    missed = 0.7 * spread[:, None] * np.random.default_rng(1).normal(size=(200, 300))
    assert regroup.contrast_error(missed, spread) == pytest.approx(0.7, rel=0.02)


def test_a_pair_that_was_never_observed_together_teaches_nothing() -> None:
    observed = np.ones((2, 4))
    observed[1] = np.nan
    pairs = [(0, 1, 0.5), (1, 0, 0.5)]
    assert regroup.neighbour_contrasts(np.ones((3, 2, 4)), observed, pairs, np.ones(2)).observed.shape == (0, 4)


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
