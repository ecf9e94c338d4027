"""What every network says of a star: a Gaussian of the four labels, in units of half their range (`labels.scale`).

A network's output is one row a star, mu (4), log s (4) and, with a full covariance, the six numbers u below the
diagonal of a unit lower triangle. The covariance is Sigma = L L^T with

    L_ii = s_i,  L_ij = s_i u_ij for j < i;  s = exp(log s) + FLOOR

so that u, which carries the correlations, knows no scale: labels may be known to a thousandth of their range and still
be correlated by 0.9. Without u the covariance is diagonal.
"""

import numpy as np
import torch
from torch import Tensor

from sciml.core.errors import ConfigError
from sciml.stellar.labels import COUNT, scale

DIAGONAL, FULL = 2 * COUNT, 2 * COUNT + COUNT * (COUNT - 1) // 2  # numbers a star
FLOOR = 1e-4  # of half a label's range: 0.3 K, a third of the best that SNR 400 allows; keeps the likelihood bounded
PRIOR_PRECISION = 3.0  # of a label that is even over its range, in units of half of it
HIGHEST = 1.0  # of log s: several times the range
_BELOW = torch.tril_indices(COUNT, COUNT, -1)
_LOG_2PI = 1.8378770664093453


def outputs(full: bool) -> int:
    """Numbers that a network gives for each star."""
    return FULL if full else DIAGONAL


def gaussian(output: Tensor) -> tuple[Tensor, Tensor]:
    """Output (batch, 8 or 14) -> mean (batch, 4), Cholesky factor of the covariance (batch, 4, 4), lower."""
    if output.shape[-1] not in (DIAGONAL, FULL):
        raise ConfigError(f"a head of {output.shape[-1]} numbers: expected {DIAGONAL} (diagonal) or {FULL} (full)")
    mean, sizes, below = output[..., :COUNT], _sizes(output), output[..., DIAGONAL:]
    unit = torch.eye(COUNT, dtype=output.dtype, device=output.device).expand(*mean.shape, COUNT)
    if below.shape[-1]:
        rows, columns = _BELOW.to(output.device)
        unit = unit.clone()
        unit[..., rows, columns] = below
    return mean, sizes[..., None] * unit


def averaged(heads: Tensor) -> Tensor:
    """One output (batch, 8 or 14) from those of several heads (head, batch, 8 or 14): the mean of the numbers.

    Means are averaged as they are, s geometrically and u as it is: the result is a covariance whatever the heads say,
    which needs no decomposition. (The mean of the covariances would be larger, and in single precision it is not always
    positive definite.) The heads are fitted through this average, so it is calibrated as much as one head would be.
    """
    return heads.mean(0)


def negative_log_likelihood(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over stars of 1/2 log|2 pi Sigma(x)| + 1/2 (y - mu(x))^T Sigma(x)^-1 (y - mu(x)).

    output: (batch, 8 or 14); target: (batch, 4) labels in units of half their range; weight: (batch,). This is the
    paper's eq. 2 with the logarithm of the determinant inside the sum: there it stands before it, times N/2, as if all
    stars shared one covariance.
    """
    difference = torch.linalg.solve_triangular(
        gaussian(output)[1], (target - output[..., :COUNT])[..., None], upper=False
    )[..., 0]
    each = _sizes(output).log().sum(-1) + 0.5 * difference.square().sum(-1) + 0.5 * COUNT * _LOG_2PI
    total = weight.sum()
    return (each * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))


def physical(mean: Tensor, factor: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, 4) and covariance (n, 4, 4) in the units of the labels, in double precision."""
    centre, half = scale()
    lower = half[:, None] * factor.detach().cpu().double().numpy()
    return centre + half * mean.detach().cpu().double().numpy(), lower @ np.swapaxes(lower, -1, -2)


def scaled(labels: Tensor) -> Tensor:
    """Labels (n, 4) in their own units -> in units of half their range, about its middle, in single precision."""
    centre, half = (torch.from_numpy(x).to(labels.device) for x in scale())
    return ((labels.double() - centre) / half).float()


def _sizes(output: Tensor) -> Tensor:
    return output[..., COUNT:DIAGONAL].clamp(max=HIGHEST).exp() + FLOOR
