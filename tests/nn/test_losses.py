"""Losses against numerical integration, torch's own and hand-made limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from sciml.nn.losses import gaussian_crps, gaussian_nll, uncertainty_weights, weighted_mse

ONE = torch.ones(1, dtype=torch.float64)


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(mean=st.floats(-3, 3), sigma=st.floats(0.2, 4), z=st.floats(-8, 8))
def test_crps_is_the_integral_of_the_squared_distance(mean: float, sigma: float, z: float) -> None:
    observed = mean + z * sigma
    low, _ = quad(lambda x: norm.cdf(x, mean, sigma) ** 2, mean - 12 * sigma, observed, limit=200)
    high, _ = quad(lambda x: norm.sf(x, mean, sigma) ** 2, observed, mean + 12 * sigma, limit=200)
    assert float(gaussian_crps(one(mean), one(sigma), one(observed), ONE)) == pytest.approx(low + high, abs=1e-7)


def test_crps_of_a_sharp_forecast_is_the_absolute_error() -> None:
    assert float(gaussian_crps(one(2.0), one(1e-9), one(-1.5), ONE)) == pytest.approx(3.5, abs=1e-8)


@given(mean=st.floats(-3, 3), sigma=st.floats(0.1, 4), observed=st.floats(-6, 6))
def test_nll_is_minus_the_log_density(mean: float, sigma: float, observed: float) -> None:
    expected = -norm.logpdf(observed, mean, sigma)
    assert float(gaussian_nll(one(mean), one(sigma), one(observed), ONE)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("score", [gaussian_crps, gaussian_nll])
def test_proper_scores_are_least_for_the_truth(score) -> None:
    y = torch.from_numpy(np.random.default_rng(0).normal(1.0, 2.0, 20000))
    weight = torch.ones_like(y)
    best = score(one(1.0), one(2.0), y, weight)
    for mean, sigma in [(1.5, 2.0), (1.0, 1.5), (1.0, 2.6)]:
        assert score(one(mean), one(sigma), y, weight) > best


@pytest.mark.parametrize("score", ["mse", "crps", "nll"])
def test_missing_records_change_neither_loss_nor_gradient(score: str) -> None:
    rng = np.random.default_rng(1)
    mean = torch.from_numpy(rng.normal(size=20)).requires_grad_()
    sigma, y = torch.from_numpy(rng.random(20) + 0.5), torch.from_numpy(rng.normal(size=20))
    weight = torch.from_numpy(rng.random(20))
    y[15:], weight[15:] = math.nan, 0.0

    def value(count: int) -> torch.Tensor:
        if score == "mse":
            return weighted_mse(mean[:count], y[:count], weight[:count])
        function = gaussian_crps if score == "crps" else gaussian_nll
        return function(mean[:count], sigma[:count], y[:count], weight[:count])

    (with_gaps,) = torch.autograd.grad(value(20), mean)
    (without,) = torch.autograd.grad(value(15), mean)
    assert value(20).item() == pytest.approx(value(15).item(), rel=1e-12)
    assert torch.allclose(with_gaps, without, rtol=1e-12) and not with_gaps[15:].any()


def test_no_record_at_all_is_no_loss() -> None:
    x = torch.zeros(3, requires_grad=True)
    loss = weighted_mse(x, torch.full((3,), math.nan), torch.zeros(3))
    loss.backward()
    assert loss.item() == 0.0 and torch.equal(x.grad, torch.zeros(3))


def test_equal_weights_are_the_plain_mean_and_scale_does_not_matter() -> None:
    x, y = torch.randn(50, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    expected = torch.nn.functional.mse_loss(x, y)
    for scale in (1.0, 1e-3, 40.0):
        assert torch.allclose(weighted_mse(x, y, torch.full((50,), scale, dtype=torch.float64)), expected)


def test_uncertainty_weights() -> None:
    sigma = torch.tensor([1.0, 2.0, math.nan, 4.0])
    mask = torch.tensor([True, True, False, True])
    weight = uncertainty_weights(sigma, mask)
    assert weight[2] == 0 and weight[mask].mean() == pytest.approx(1.0)
    assert weight[0] / weight[1] == pytest.approx(4.0) and weight[1] / weight[3] == pytest.approx(4.0)
    assert not uncertainty_weights(sigma, torch.zeros(4, dtype=torch.bool)).any()
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="uncertainty"):
            uncertainty_weights(torch.tensor([1.0, wrong]))
