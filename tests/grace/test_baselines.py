"""Baselines against planted series and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from sciml.core.errors import InputError
from sciml.grace import baselines

MONTHS = np.arange(np.datetime64("2002-01"), np.datetime64("2010-01"))
KEEP = np.datetime64("2008-01") > MONTHS


def test_climatology_and_trend_recover_a_planted_series() -> None:
    t = np.arange(len(MONTHS))
    truth = np.stack([3 + 0.5 * t + 20 * np.cos(2 * np.pi * t / 12 + 0.3), -0.2 * t + 5 * np.sin(4 * np.pi * t / 12)])
    seen = np.where(KEEP, truth, 1e6)  # what lies after training must not matter
    np.testing.assert_allclose(baselines.climatology_trend(seen, MONTHS, KEEP), truth, atol=1e-6)


def test_last_year_repeats_the_last_value_of_each_calendar_month() -> None:
    storage = np.random.default_rng(0).normal(size=(2, len(MONTHS)))
    storage[0, 60] = np.nan  # 2007-01: the value of 2006-01 stands in
    predicted = baselines.last_year(storage, MONTHS, KEEP)
    np.testing.assert_array_equal(predicted[1, 72:84], storage[1, 60:72])
    np.testing.assert_array_equal(predicted[1, 84:96], storage[1, 60:72])
    assert predicted[0, 72] == storage[0, 48]


@pytest.mark.parametrize("alpha", [0.1, 30.0])
def test_ridge_equals_scikit_learn(alpha: float) -> None:
    rng = np.random.default_rng(1)
    table, storage = rng.normal(2, 3, (2, len(MONTHS), 5)), rng.normal(size=(2, len(MONTHS)))
    predicted = baselines.ridge(table, storage, KEEP, alpha)
    for unit in range(2):
        scaler = StandardScaler().fit(table[unit, KEEP])
        model = Ridge(alpha=alpha).fit(scaler.transform(table[unit, KEEP]), storage[unit, KEEP])
        np.testing.assert_allclose(predicted[unit], model.predict(scaler.transform(table[unit])), atol=1e-9)


def test_ridge_without_enough_months_is_refused() -> None:
    with pytest.raises(InputError, match="unit 0 has 20 complete"):
        few = np.arange(len(MONTHS)) < 20
        baselines.ridge(np.ones((1, len(MONTHS), 2)), np.ones((1, len(MONTHS))), few, 1.0)


def test_alpha_is_chosen_without_the_months_after_training() -> None:
    rng = np.random.default_rng(2)
    table = rng.normal(size=(3, len(MONTHS), 4))
    storage = table[..., 0] * 5 + rng.normal(size=(3, len(MONTHS)))
    blocks = [KEEP & (np.arange(len(MONTHS)) // 24 == k) for k in range(3)]
    one = baselines.choose_alpha(table, storage, KEEP, blocks)
    two = baselines.choose_alpha(table, np.where(KEEP, storage, 99.0), KEEP, blocks)
    assert one == two
    assert one.scores[one.value] == max(one.scores.values())
    assert one.scores[3.0] > 0.8  # a strong linear signal is found out of fold
