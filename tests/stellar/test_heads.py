"""The head: against scipy's normal distribution, its averages, its units, its floor."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from sciml.core.errors import ConfigError
from sciml.stellar.heads import DIAGONAL, FLOOR, FULL, averaged, gaussian, negative_log_likelihood, physical, scaled
from sciml.stellar.labels import LABELS, RANGES


def output(numbers: int, count: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, numbers, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("numbers", [DIAGONAL, FULL])
def test_likelihood_is_that_of_a_normal_distribution(numbers: int) -> None:
    said, target = output(numbers), output(4, seed=1)
    mean, factor = gaussian(said)
    covariance = (factor @ factor.mT).numpy()
    each = [
        -multivariate_normal(m, c).logpdf(y) for m, c, y in zip(mean.numpy(), covariance, target.numpy(), strict=True)
    ]
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    found = negative_log_likelihood(said, target, weight)
    assert float(found) == pytest.approx(np.average(each, weights=weight.numpy()), rel=1e-10)


def test_a_diagonal_head_is_a_full_one_without_correlations() -> None:
    said = output(DIAGONAL)
    full = torch.cat([said, torch.zeros(len(said), FULL - DIAGONAL)], 1)
    for a, b in zip(gaussian(said), gaussian(full), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(gaussian(said)[1], torch.diag_embed(gaussian(said)[1].diagonal(dim1=1, dim2=2)))


def test_correlations_do_not_depend_on_the_scale() -> None:
    said = output(FULL)
    smaller = said.clone()
    smaller[:, 4:8] -= 2.0
    correlations = []
    for one in (said, smaller):
        factor = gaussian(one)[1]
        covariance = factor @ factor.mT
        sigma = covariance.diagonal(dim1=1, dim2=2).sqrt()
        correlations.append(covariance / sigma[:, :, None] / sigma[:, None])
    assert torch.allclose(*correlations, atol=2e-3)  # the floor alone differs
    assert correlations[0].abs().max() > 0.5


def test_the_best_sigma_is_the_error_of_the_mean() -> None:
    """d/d(log s) of the loss vanishes where s is the root mean square error."""
    error = torch.tensor([0.1, 0.02, 0.3, 0.05], dtype=torch.float64)
    said = torch.zeros(1, DIAGONAL, dtype=torch.float64)
    said[0, 4:] = (error - FLOOR).log()
    said.requires_grad_()
    negative_log_likelihood(said, error[None], torch.ones(1, dtype=torch.float64)).backward()
    assert said.grad[0, 4:].abs().max() < 1e-9


def test_sigma_never_falls_below_the_floor_nor_runs_away() -> None:
    said = torch.full((2, FULL), 0.0)
    said[0, 4:8], said[1, 4:8] = -1e4, 1e4
    sigma = gaussian(said)[1].diagonal(dim1=1, dim2=2)
    assert torch.equal(sigma[0], torch.full((4,), FLOOR)) and torch.isfinite(sigma).all() and sigma[1].max() < 3
    assert torch.isfinite(negative_log_likelihood(said, torch.ones(2, 4), torch.ones(2)))


def test_heads_are_averaged_number_by_number() -> None:
    heads = torch.stack([output(FULL, seed=seed) for seed in range(3)])
    mean, factor = gaussian(averaged(heads))
    assert torch.allclose(mean, (heads[0, :, :4] + heads[1, :, :4] + heads[2, :, :4]) / 3)
    sizes = (heads[..., 4:8].clamp(max=1.0)).mean(0).exp()
    below_limit = (heads[..., 4:8] < 1.0).all(0)
    assert torch.allclose(factor.diagonal(dim1=1, dim2=2)[below_limit], sizes[below_limit] + FLOOR)
    assert torch.equal(averaged(heads[:1]), heads[0])


def test_physical_units_and_back() -> None:
    low, high = torch.tensor([RANGES[name] for name in LABELS], dtype=torch.float64).T
    assert torch.equal(scaled(torch.stack([low, high])), torch.tensor([[-1.0] * 4, [1.0] * 4]))
    labels = torch.tensor([[5777.0, 4.44, 0.0, 1.9]])
    factor = torch.diag(torch.tensor([0.01, 0.02, 0.03, 0.04]))[None]
    mean, covariance = physical(scaled(labels), factor)
    assert mean == pytest.approx(labels.numpy(), abs=1e-3)
    assert np.sqrt(np.diag(covariance[0])) == pytest.approx([31.25, 0.05, 0.045, 0.6], rel=1e-6)


def test_another_number_of_outputs_is_refused() -> None:
    with pytest.raises(ConfigError, match="9 numbers"):
        gaussian(torch.zeros(2, 9))
