"""The last part of our network where spectra depend on the labels alone: Gauss-Newton steps on projected spectra.

What projections are at any labels, and how they change, is interpolated (`projected_grid`). With these a step from the
estimator's answer minimises chi-square of the projections, which keep all that the spectrum says: no gain has to be
learnt, and the error is the least possible as far as the interpolation is exact. A small head then learns what the
steps' Gaussian misses: the ends of the grid, v sin i near 0, a fit that does not fit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciml.stellar.heads import FLOOR, FULL
from sciml.stellar.labels import COUNT, scale
from sciml.stellar.projected_grid import ProjectedGrid, from_places, to_places

PRIOR_PRECISION = 3.0  # of a label that is even over its range, in units of half of it
STEPS = 2
LEAST_SHARE = 0.05  # of an order that must be observed
_HEAD = 64  # hidden width
_FEATURES = 4 * COUNT + FULL + 3
_FURTHEST = 5.0  # deviations, as the head sees them
_OFF = 0.2  # of half a range beyond the grid that is told apart
_BELOW = torch.tril_indices(COUNT, COUNT, -1)


class GaussNewton(nn.Module):
    """Steps on a grid, then the head; empty as the grid is."""

    def __init__(self, atmospheres: int, orders: int, components: int) -> None:
        super().__init__()
        self.grid = ProjectedGrid(atmospheres, orders * components)
        self.head = _Head()

    def forward(self, projected: Tensor, snr: Tensor, there: Tensor, first: Tensor) -> Tensor:
        """projected: (batch, order, K); there: (batch, order) share that was observed; first: (batch, 14) an answer to
        start from -> (batch, 14)."""
        found: Tensor = self.head(*self.stepped(projected, snr, there, first))
        return found

    def stepped(self, projected: Tensor, snr: Tensor, there: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """The steps alone: an answer (batch, 14) and what the head looks at."""
        share = there.clamp(0.0, 1.0).repeat_interleave(projected.shape[2], 1)
        seen = torch.where(share > LEAST_SHARE, projected.flatten(1), 0.0)
        share = torch.where(share > LEAST_SHARE, share, 0.0)
        weight = (share * snr[:, None] ** 2)[:, None]  # of a projection: what is missing lessens noise and signal alike
        centre, half = (torch.from_numpy(values).to(first) for values in scale())
        place = self.grid.within(to_places(centre + half * first[:, :COUNT].detach()))
        eye = torch.eye(COUNT, dtype=torch.float64, device=first.device)
        for _ in range(STEPS):
            at = self.grid.within(place)
            expected, slope = self.grid(at)
            apart = torch.where(share > 0, seen / share.clamp_min(LEAST_SHARE), 0.0) - expected
            normal = ((slope * weight) @ slope.mT).double() + PRIOR_PRECISION * eye
            gradient = ((slope * weight) @ apart[..., None])[..., 0].double() - PRIOR_PRECISION * at
            place = at + torch.linalg.solve(normal, gradient)
        # chi-square at the linear optimum, a number of projections
        left = (apart.square() * weight[:, 0]).sum(1).double() - (gradient * (place - at)).sum(1)
        misfit = (left.clamp_min(1.0) / (share > 0).sum(1).clamp_min(1)).log()
        covariance = torch.linalg.inv(normal)
        mean, rate = from_places(self.grid.within(place), covariance[:, 3, 3].sqrt())
        factor = torch.linalg.cholesky(rate[:, :, None] * covariance * rate[:, None])
        sizes = factor.diagonal(dim1=1, dim2=2)
        log_s = (sizes - FLOOR).clamp_min(FLOOR / 100).log()
        below = (factor / sizes[..., None])[:, _BELOW[0], _BELOW[1]]
        answer = torch.cat([mean, log_s, below], 1).to(first.dtype)
        away = (first[:, :COUNT] - answer[:, :COUNT]) * torch.exp(-answer[:, COUNT : 2 * COUNT])
        spread = covariance.diagonal(dim1=1, dim2=2).sqrt()
        features = [
            answer,
            self.grid.within(place, _OFF),
            ((place - self.grid.low) / spread).clamp(-_FURTHEST, _FURTHEST),
            ((self.grid.high - place) / spread).clamp(-_FURTHEST, _FURTHEST),
            away.clamp(-_FURTHEST, _FURTHEST),
            torch.stack([snr.log(), misfit.clamp(-1.0, 5.0), there.mean(1)], 1),
        ]
        return answer, torch.cat([part.to(first.dtype) for part in features], 1)


class _Head(nn.Module):
    """What the steps' answer is corrected by, at first by nothing: means by deviations, the rest by what is added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(_FEATURES, _HEAD), nn.Linear(_HEAD, _HEAD)
        self.last = nn.Linear(_HEAD, FULL)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, answer: Tensor, features: Tensor) -> Tensor:
        """answer: (batch, 14); features: (batch, 33)."""
        hidden = F.gelu(self.second(F.gelu(self.first(features))))
        mean, rest = self.last(hidden).split([COUNT, FULL - COUNT], 1)
        mean = answer[:, :COUNT] + mean * answer[:, COUNT : 2 * COUNT].exp()
        return torch.cat([mean, answer[:, COUNT:] + rest], 1)
