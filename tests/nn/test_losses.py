"""The loss against torch's own and hand-made limits."""

import math

import numpy as np
import pytest
import torch

from sciml.nn.losses import weighted_mse


def test_missing_records_change_neither_loss_nor_gradient() -> None:
    rng = np.random.default_rng(1)
    mean = torch.from_numpy(rng.normal(size=20)).requires_grad_()
    y, weight = torch.from_numpy(rng.normal(size=20)), torch.from_numpy(rng.random(20))
    y[15:], weight[15:] = math.nan, 0.0

    def value(count: int) -> torch.Tensor:
        return weighted_mse(mean[:count], y[:count], weight[:count])

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
