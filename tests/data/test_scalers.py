import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.scalers import Scaler, fit

NAMES = ("pr", "tas")


def series(seed=0, shape=(5, 40, 2)):
    values = np.random.default_rng(seed).normal([3.0, 280.0], [0.5, 12.0], shape)
    values[0, 3, 0] = np.nan
    return values


def test_training_values_get_mean_zero_and_deviation_one_without_the_missing():
    values, training = series(), np.arange(40) < 30
    out = fit(values, training, NAMES).transform(values)
    seen = out[:, training]
    np.testing.assert_allclose(np.nanmean(seen, axis=(0, 1)), 0, atol=1e-9)
    np.testing.assert_allclose(np.nanstd(seen, axis=(0, 1)), 1, rtol=1e-9)
    assert np.isnan(out[0, 3, 0]) and np.isnan(out).sum() == 1


def test_what_comes_after_training_leaves_no_trace():
    values, training = series(), np.arange(40) < 30
    other = values.copy()
    other[:, ~training] = 1e6
    assert fit(values, training, NAMES).to_json() == fit(other, training, NAMES).to_json()


@pytest.mark.parametrize("per_unit", [False, True])
def test_json_and_inverse_give_back_the_same(per_unit):
    values, training = series(), np.arange(40) < 30
    scaler = fit(values, training, NAMES, per_unit=per_unit)
    again = Scaler.from_json(scaler.to_json())
    np.testing.assert_array_equal(again.mean, scaler.mean)
    np.testing.assert_array_equal(again.sd, scaler.sd)
    np.testing.assert_allclose(again.inverse(again.transform(values)), values, rtol=1e-12)


def test_each_unit_can_have_its_own_scale():
    values = series() * np.arange(1, 6)[:, None, None]
    training = np.ones(40, bool)
    out = fit(values, training, NAMES, per_unit=True).transform(values)
    np.testing.assert_allclose(np.nanstd(out, axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(np.nanmean(out, axis=1), 0, atol=1e-9)


def test_a_constant_becomes_zero_and_an_empty_variable_is_named():
    values = np.full((3, 10, 2), 0.1)
    assert (np.abs(fit(values, np.ones(10, bool), NAMES).transform(values)) < 1e-12).all()
    values[..., 1] = np.nan
    with pytest.raises(InputError, match="predictor 'tas': no value in the training period"):
        fit(values, np.ones(10, bool), NAMES)


def test_single_precision_stays_single():
    values = series().astype(np.float32)
    assert fit(values, np.ones(40, bool), NAMES).transform(values).dtype == np.float32
