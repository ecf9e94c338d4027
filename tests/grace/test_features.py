"""Features: what they are made of, and that nothing after the training period enters their scaling."""

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.grace import features

MONTHS = np.arange(np.datetime64("2000-01"), np.datetime64("2012-01"))
REFERENCE = np.datetime64("2010-01") > MONTHS


def fluxes(units: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = np.cos(2 * np.pi * np.arange(len(MONTHS)) / 12)[None, :, None, None]
    base = 60 + 30 * wave * np.array([1.0, 0.5, 0.3])
    return base + 10 * rng.standard_normal((units, len(MONTHS), 2, 3))


def test_a_leaky_store_obeys_its_recursion_and_forgets() -> None:
    flux = np.zeros((1, len(MONTHS), 1))
    flux[0, 5] = 12.0
    store = features.leaky_stores(flux, REFERENCE, (4.0,))[0, :, 0, 0]
    mean = 12.0 / REFERENCE.sum()
    for month in range(1, len(MONTHS)):
        expected = np.exp(-1 / 4) * store[month - 1] + flux[0, month, 0] - mean
        assert store[month] == pytest.approx(expected, abs=1e-12)


def test_a_very_long_memory_is_the_running_sum_of_anomalies() -> None:
    flux = fluxes()[:, :, 0]
    store = features.leaky_stores(flux, REFERENCE, (1e12,))[..., 0]
    total = np.cumsum(flux - flux[:, REFERENCE].mean(axis=1, keepdims=True), axis=1)
    np.testing.assert_allclose(store, total, atol=1e-6)


def test_a_missing_product_follows_the_others_at_every_unit() -> None:
    values = fluxes()
    values[1, :, 1, 0] = np.nan  # unit 1 lacks the second family's first variable
    filled = features.fill_families(values, REFERENCE)
    np.testing.assert_allclose(filled[:, :, 1, 0], values[:, :, 0, 0])
    np.testing.assert_array_equal(filled[:, :, 0], values[:, :, 0])


def test_before_a_product_begins_it_stays_missing() -> None:
    values = fluxes()
    values[:, :30, 1] = np.nan
    filled = features.fill_families(values, REFERENCE)
    assert np.isnan(filled[:, :30, 1]).all()
    assert np.isfinite(filled[:, 30:]).all()


def test_the_budget_is_the_signed_sum() -> None:
    values = fluxes()
    budget = features.append_budget(values, (1, -1, -1))[..., -1]
    np.testing.assert_allclose(budget, values[..., 0] - values[..., 1] - values[..., 2])
    with pytest.raises(InputError, match="2 signs for 3 variables"):
        features.append_budget(values, (1, -1))


@pytest.mark.parametrize("signs", [(1.0, -1.0, -1.0), None])
def test_months_outside_the_reference_change_no_scaling(signs: tuple[float, ...] | None) -> None:
    values = fluxes()
    other = values.copy()
    other[:, ~REFERENCE] *= 3
    one = features.build(values, MONTHS, REFERENCE, signs)
    two = features.build(other, MONTHS, REFERENCE, signs)
    np.testing.assert_array_equal(one.attributes, two.attributes)
    np.testing.assert_array_equal(one.inputs[:, REFERENCE], two.inputs[:, REFERENCE])
    assert not np.array_equal(one.inputs[:, ~REFERENCE], two.inputs[:, ~REFERENCE])


def test_any_number_of_variables_and_one_family() -> None:
    values = np.random.default_rng(1).gamma(2, 20, (4, len(MONTHS), 1, 7))
    built = features.build(values, MONTHS, REFERENCE)
    assert built.inputs.shape[:2] == (4, len(MONTHS))
    assert np.isfinite(built.inputs).all() and np.isfinite(built.attributes).all()


def test_a_variable_nobody_has_is_refused_by_name() -> None:
    values = fluxes()
    values[2, :, :, 1] = np.nan
    with pytest.raises(InputError, match="unit 2, variable 1"):
        features.build(values, MONTHS, REFERENCE)


def test_lag_table_columns_are_lags_sums_and_season() -> None:
    values = fluxes()[:, :, 0]
    table = features.lag_table(values, MONTHS, lags=(0, 2), sums=(3,))
    assert table.shape[-1] == 3 * 3 + 4
    np.testing.assert_allclose(table[:, 10, 3:6], values[:, 8])
    np.testing.assert_allclose(table[:, 10, 6:9], values[:, 8:11].sum(axis=1))
    assert np.isnan(table[:, 1, 3:9]).all()


def test_the_scaler_reads_only_the_units_that_train() -> None:
    attributes = np.random.default_rng(2).normal(size=(6, 4))
    units = np.array([True] * 4 + [False] * 2)
    other = attributes.copy()
    other[4:] += 100
    one, two = (features.Scaler.fit(values, units) for values in (attributes, other))
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_allclose(one.apply(attributes)[:4].mean(axis=0), 0, atol=1e-6)
