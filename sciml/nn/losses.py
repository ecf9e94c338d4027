"""Losses for regression with an uncertain and gappy target.

Every loss takes `weight`, of the target's shape or broadcast to it: a record that is missing has weight 0 and may hold
anything, NaN included. A loss is the weighted mean sum(w * l) / sum(w); with no weight at all it is 0, so that a
batch without one observed record leaves the parameters alone.
"""

import math

import torch
from torch import Tensor


def uncertainty_weights(sigma: Tensor, mask: Tensor | None = None) -> Tensor:
    """Weights 1 / sigma^2, scaled to mean 1 over the records in use and 0 elsewhere.

    sigma: standard error of each target, the target's unit; mask: True where a record counts (default: all).
    Raises ValueError where a record that counts has a sigma that is not positive and finite.
    """
    use = torch.ones_like(sigma, dtype=torch.bool) if mask is None else mask
    if not bool(torch.all((sigma[use] > 0) & torch.isfinite(sigma[use]))):
        raise ValueError("uncertainty must be positive and finite wherever the mask is true")
    weight = torch.where(use, torch.where(use, sigma, torch.ones_like(sigma)).pow(-2), torch.zeros_like(sigma))
    return weight / weight[use].mean() if bool(use.any()) else weight


def weighted_mse(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """sum(w (x - y)^2) / sum(w)."""
    return _weighted_mean((prediction - _observed(target, weight)).square(), weight)


def gaussian_nll(mean: Tensor, sigma: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of -log N(y; mean, sigma^2) = log sigma + z^2 / 2 + log(2 pi) / 2, z = (y - mean) / sigma."""
    z = (_observed(target, weight) - mean) / sigma
    return _weighted_mean(sigma.log() + 0.5 * z.square() + 0.5 * math.log(2.0 * math.pi), weight)


def gaussian_crps(mean: Tensor, sigma: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the continuous ranked probability score of a Gaussian, in the target's unit.

    CRPS = sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)): Gneiting et al. 2005, Mon. Wea. Rev. 133, eq. 5.
    """
    z = (_observed(target, weight) - mean) / sigma
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
    # 2 Phi(z) - 1 = erf(z / sqrt 2)
    score = sigma * (z * torch.erf(z / math.sqrt(2.0)) + 2.0 * density - 1.0 / math.sqrt(math.pi))
    return _weighted_mean(score, weight)


def _observed(target: Tensor, weight: Tensor) -> Tensor:
    # 0 * NaN is NaN, forwards and backwards, so a missing target must be replaced and not only weighted away
    return torch.where(weight > 0, target, torch.zeros_like(target))


def _weighted_mean(score: Tensor, weight: Tensor) -> Tensor:
    weight = weight.broadcast_to(score.shape)
    total = weight.sum()
    return (score * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))
