"""The continuum of each order as a parabola along the upper edge of its flux: one estimate for training and stars."""

import torch
from torch import Tensor

_BIN = 16  # [pixels]: about as wide as a line, so that some bins lie between lines
_ITERATIONS = 5
_FLOOR = 0.004  # of the continuum: bins closer than this to it are on it, however little noise there is


def estimate(flux: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
    """Continuum (n, order, pixel) by least squares on means of 16 pixels, those below it soon without weight.

    flux: (n, order, pixel), finite. sigma: of its noise, any shape that broadcasts to it. mask: as flux, false or 0
    where flux is to be ignored. Orders blanketed by lines get too low a continuum, in training as in a star: what
    counts is that it follows the flux (to a parabola), not where it lies. Orders without any flux have continuum 1.
    """
    pixels = flux.shape[2]
    used = mask.to(flux.dtype)
    count, total = _binned(used), _binned(flux * used)
    mean = total / count.clamp(min=1e-9)
    noise = sigma.expand_as(flux)[..., _BIN // 2 :: _BIN][..., : count.shape[2]]
    noise = noise / (_BIN * count.clamp(min=0.5 / _BIN)).sqrt()
    level = total.sum(2, keepdim=True) / count.sum(2, keepdim=True).clamp(min=1e-9)
    known = level.abs() > 1e-9
    safe = torch.where(known, level, 1.0)
    spread = ((noise / safe) ** 2 + _FLOOR**2).sqrt()
    mean = torch.where(known, mean / safe, 1.0)
    weights = count / spread**2
    basis = _binned(_parabolas(pixels, flux)[None])[0]
    products = (basis[:, None] * basis[None]).flatten(0, 1)
    line = _fitted(weights, mean, basis, products)
    for step in range(_ITERATIONS):
        tolerance = spread * 2.0 ** max(2 - step, 0)  # wide at first: the start lies among the lines
        below = ((line @ basis - mean) / tolerance).clamp_(min=0.0)
        line = _fitted(weights / (1 + below**2) ** 2, mean, basis, products)
    return _along(torch.where(known, line * safe, line), pixels)


def _binned(values: Tensor) -> Tensor:
    """(n, order, bin) means; pixels beyond the last whole bin are left out."""
    whole = values.shape[2] // _BIN * _BIN
    return values[..., :whole].unflatten(2, (-1, _BIN)) @ values.new_full((_BIN,), 1 / _BIN)


def _parabolas(size: int, like: Tensor) -> Tensor:
    """(3, size): Legendre polynomials from end to end."""
    u = torch.linspace(-1.0, 1.0, size, device=like.device, dtype=like.dtype)
    return torch.stack([torch.ones_like(u), u, 1.5 * u**2 - 0.5])


def _along(line: Tensor, size: int) -> Tensor:
    """(n, order, size) of coefficients (n, order, 3); a product of matrices so thin takes five times as long."""
    _, first, second = _parabolas(size, line)
    return (line[..., 1:2] * first).addcmul_(line[..., 2:], second).add_(line[..., :1])


def _fitted(weights: Tensor, values: Tensor, basis: Tensor, products: Tensor) -> Tensor:
    """(n, order, 3) coefficients of weighted least squares; a trace of ridge keeps orders of few bins level."""
    share = weights / weights.sum(2, keepdim=True).clamp(min=1e-9)
    normal = (share @ products.T).unflatten(2, (3, 3)) + 1e-5 * torch.eye(3, device=basis.device, dtype=basis.dtype)
    right = (share * (values - 1.0)) @ basis.T
    start = right.new_tensor([1.0, 0.0, 0.0])  # what the ridge pulls to
    return start + _solved(normal, right)


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Of symmetric 3 x 3 systems, written out: far faster than a general solver for thousands."""
    a, b, c = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    d, e, f = matrix[..., 1, 1], matrix[..., 1, 2], matrix[..., 2, 2]
    p, q, r = right.unbind(-1)
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    columns = torch.stack([aa * p + ab * q + ac * r, ab * p + bb * q + bc * r, ac * p + bc * q + cc * r], -1)
    return columns / (a * aa + b * ab + c * ac)[..., None]
