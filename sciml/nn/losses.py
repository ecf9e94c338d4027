"""The loss of regression with an uncertain and gappy target.

It takes `weight`, of the target's shape or broadcast to it: a record that is missing has weight 0 and may hold
anything, NaN included. It is the weighted mean sum(w * l) / sum(w); with no weight at all it is 0, so that a
batch without one observed record leaves the parameters alone.
"""

import torch
from torch import Tensor


def weighted_mse(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """sum(w (x - y)^2) / sum(w)."""
    # 0 * NaN is NaN, forwards and backwards, so a missing target must be replaced and not only weighted away
    observed = torch.where(weight > 0, target, torch.zeros_like(target))
    error = (prediction - observed).square()
    weight = weight.broadcast_to(error.shape)
    total = weight.sum()
    return (error * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))
