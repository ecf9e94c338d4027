"""Intervals cover what they say on distributions that are known."""

import numpy as np
import pytest

from sciml.metrics import scores
from sciml.metrics.bootstrap import draws, means, medians, percentile_interval, resampled_years
from sciml.metrics.statistics import Statistics, statistics


def coverage(make, truth: float, *, blocks: np.ndarray, reduce=medians, trials: int = 300) -> float:
    hits = 0
    for seed in range(trials):
        values = make(np.random.default_rng(seed))
        low, high = percentile_interval(reduce(values, draws(blocks, resamples=400, seed=seed, kind="units")))
        hits += low <= truth <= high
    return hits / trials


def test_interval_of_the_median_of_independent_units():
    covered = coverage(lambda random: random.normal(size=61), 0.0, blocks=np.arange(61))
    assert 0.91 <= covered <= 0.985  # 3 standard errors around 0.95


def test_interval_of_a_share_of_independent_units():
    def make(random):
        return (random.random(100) < 0.7).astype(float)

    covered = coverage(make, 0.7, blocks=np.arange(100), reduce=means)
    assert 0.90 <= covered <= 0.985


def test_drawing_regions_mends_the_interval_of_dependent_units():
    region = np.arange(240) // 8

    def make(random):
        return random.normal(size=30)[region] + 0.3 * random.normal(size=240)

    alone = coverage(make, 0.0, blocks=np.arange(240), trials=200)
    together = coverage(make, 0.0, blocks=region, trials=200)
    assert alone < 0.7
    assert together > 0.88


def test_drawing_years_mends_the_interval_of_a_bias_that_all_units_share():
    """Bias of a model whose error is common to all units within a year: 12 years, known true bias 0."""
    hits = {"units": 0, "years": 0}
    trials = 150
    for seed in range(trials):
        random = np.random.default_rng(seed)
        error = random.normal(size=(12, 1, 1)) + 0.2 * random.normal(size=(12, 30, 6))
        parts = [statistics(np.zeros((30, 6)), e[:, None]) for e in error]
        yearly = Statistics(**{k: np.stack([getattr(p, k) for p in parts]) for k in Statistics.__dataclass_fields__})
        units = draws(np.arange(30), resamples=300, seed=seed, kind="units")
        years = draws(np.arange(12), resamples=300, seed=seed, kind="years")
        for kind, values in (
            ("units", scores.bias(yearly.merged())),
            ("years", resampled_years(yearly, scores.bias, years)),
        ):
            low, high = percentile_interval(medians(values, units))
            hits[kind] += low <= 0 <= high
    assert hits["units"] < 0.5 * trials
    assert hits["years"] > 0.82 * trials  # a percentile interval of 12 blocks is known to be somewhat narrow


def test_weighted_medians_and_means_are_those_of_the_repeated_sample():
    random = np.random.default_rng(0)
    values = random.normal(size=25)
    values[3] = np.nan
    counts = draws(np.arange(25) // 3, resamples=50, seed=1, kind="units")
    for row, middle, mean in zip(counts, medians(values, counts), means(values, counts), strict=True):
        sample = np.repeat(values, row)
        np.testing.assert_allclose(middle, np.nanmedian(sample))
        np.testing.assert_allclose(mean, np.nanmean(sample))


def test_slabs_change_nothing(monkeypatch):
    values = np.random.default_rng(2).normal(size=(50, 25))
    counts = draws(np.arange(25), resamples=50, seed=1, kind="units")
    whole = medians(values, counts), means(values, counts)
    monkeypatch.setattr("sciml.metrics.bootstrap.SLAB", 60)
    np.testing.assert_array_equal(whole, (medians(values, counts), means(values, counts)))


def test_blocks_are_drawn_whole_and_seeded():
    region = np.array([5, 5, 2, 2, 2, 9])
    counts = draws(region, resamples=200, seed=3, kind="units")
    assert (counts[:, 0] == counts[:, 1]).all() and (counts[:, 2:5] == counts[:, 2:3]).all()
    assert (counts[:, [0, 2, 5]].sum(axis=1) == 3).all()
    np.testing.assert_array_equal(counts, draws(region, resamples=200, seed=3, kind="units"))
    assert (counts != draws(region, resamples=200, seed=4, kind="units")).any()


@pytest.mark.parametrize("values", [np.full(5, np.nan), np.array([])])
def test_nothing_to_draw_from_has_no_interval(values):
    assert np.isnan(percentile_interval(values)).all()
