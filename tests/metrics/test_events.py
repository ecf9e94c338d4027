import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from sciml.core.errors import InputError
from sciml.metrics import events
from sciml.metrics.bootstrap import draws

TABLE = {"hits": 28, "misses": 23, "false_alarms": 72, "correct_negatives": 2680}  # Finley's tornadoes (1884)


def records(seed=0, size=60):
    random = np.random.default_rng(seed)
    return random.integers(0, 8, size).astype(float), random.random(size) < 0.3


def test_finleys_tornadoes():
    t = events.Contingency(*(np.array(float(v)) for v in TABLE.values()))
    assert events.pod(t) == pytest.approx(28 / 51)
    assert events.far(t) == pytest.approx(72 / 100)
    assert events.pofd(t) == pytest.approx(72 / 2752)
    assert events.peirce(t) == pytest.approx(28 / 51 - 72 / 2752)
    assert events.ets(t) == pytest.approx(0.216, abs=5e-4)  # Gilbert's own figure


def test_tables_match_the_library_merge_and_follow_the_mask():
    random = np.random.default_rng(1)
    forecast, observed = random.random((3, 40)) < 0.4, random.random((3, 40)) < 0.3
    whole = events.contingency(forecast, observed)
    for unit in range(3):
        (quiet, alarms), (misses, hits) = metrics.confusion_matrix(observed[unit], forecast[unit])
        found = [a[unit] for a in (whole.correct_negatives, whole.false_alarms, whole.misses, whole.hits)]
        assert found == [quiet, alarms, misses, hits]
    first = np.arange(40) < 25
    parts = [events.contingency(forecast, observed, mask=m) for m in (first, ~first)]
    np.testing.assert_array_equal((parts[0] + parts[1]).hits, whole.hits)
    np.testing.assert_array_equal(parts[0].n, [25] * 3)
    assert whole.merged().n == 120
    counts = draws(np.arange(40) // 12, resamples=5, seed=0, kind="years")
    drawn = events.contingency(forecast, observed, counts=counts)
    long = np.repeat(np.arange(40), counts[2])
    np.testing.assert_array_equal(drawn.misses[2], events.contingency(forecast[:, long], observed[:, long]).misses)


def test_no_events_and_no_alarms_are_undefined_not_zero():
    t = events.contingency(np.zeros((1, 5), bool), np.zeros((1, 5), bool))
    assert np.isnan([s(t)[0] for s in (events.pod, events.far, events.ets)]).all()


@given(st.integers(0, 500))
def test_roc_with_ties_matches_the_library(seed):
    forecast, observed = records(seed)
    if not 0 < observed.sum() < len(observed):
        return
    assert events.roc_area(forecast, observed) == pytest.approx(metrics.roc_auc_score(observed, forecast))
    curve = events.roc_curve(forecast, observed)
    alarm, hit, threshold = metrics.roc_curve(observed, forecast, drop_intermediate=False)
    np.testing.assert_allclose([curve.pofd, curve.pod, curve.threshold], [alarm, hit, threshold])
    assert np.trapezoid(curve.pod, curve.pofd) == pytest.approx(float(events.roc_area(forecast, observed)))


@given(st.integers(0, 500))
def test_spearman_with_ties_matches_the_library(seed):
    x = records(seed)[0]
    y = x + np.random.default_rng(seed + 1).integers(-4, 5, len(x))
    assert events.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_draws_count_records_as_if_they_stood_there_so_often():
    x, observed = records(3)
    y = x + np.random.default_rng(4).normal(0, 3, len(x))
    counts = draws(np.arange(60) // 12, resamples=20, seed=0, kind="years")
    ranked, area = events.spearman(x, y, counts), events.roc_area(x, observed, counts)
    for draw in range(20):
        long = np.repeat(np.arange(60), counts[draw])
        assert ranked[draw] == pytest.approx(stats.spearmanr(x[long], y[long]).statistic)
        assert area[draw] == pytest.approx(metrics.roc_auc_score(observed[long], x[long]))


def test_what_does_not_vary_has_no_rank_correlation_and_nan_is_refused():
    assert np.isnan(events.spearman(np.ones(5), np.arange(5.0)))
    assert np.isnan(events.roc_area(np.arange(5.0), np.zeros(5, bool)))
    with pytest.raises(InputError, match="expected both kinds"):
        events.roc_curve(np.arange(5.0), np.zeros(5, bool))
    with pytest.raises(InputError, match="NaN"):
        events.spearman(np.array([0.0, np.nan]), np.arange(2.0))
