"""The last part of our network where spectra depend on the labels alone: Gauss-Newton steps on projected spectra.

1. Steps. What projections are at any labels, and how they change, is interpolated (`projected_grid`). With these a step
   from the estimator's answer minimises chi-square of the projections, which keep all that the spectrum says: no gain
   has to be learnt, and the error is the least possible as far as the interpolation is exact.
2. Posterior. Mean and covariance of the labels within the grid, by quasi-random draws from the steps' Gaussian.
3. Head. A small network, fitted to answers for emulated stars, corrects what both miss.
"""

import torch
import torch.nn.functional as F
from scipy.special import ndtri
from scipy.stats import qmc
from torch import Tensor, nn

from sciml.stellar.heads import FLOOR, FULL, PRIOR_PRECISION, gaussian
from sciml.stellar.labels import COUNT, NODES, lowest_logg, scale
from sciml.stellar.projected_grid import ProjectedGrid, from_places, to_places

_STEPS = 2
_LEAST_SHARE = 0.05  # of an order that must be observed
_HEAD = 32  # hidden width
_FEATURES = 4 * COUNT + FULL + 3
_DRAWS, _TOO_FEW = 1024, 8.0  # of the posterior; effective ones below which they tell nothing
_FURTHEST = 5.0  # deviations, as the head sees them
_OFF = 0.2  # of half a range beyond the grid that is told apart
_BELOW = torch.tril_indices(COUNT, COUNT, -1)


class GaussNewton(nn.Module):
    """Steps on a grid, the posterior, the head; empty as the grid is."""

    def __init__(self, atmospheres: int, orders: int, components: int) -> None:
        super().__init__()
        self.grid = ProjectedGrid(atmospheres, orders * components)
        self.head = _Head()
        normal = ndtri(qmc.Sobol(COUNT, seed=0).random(_DRAWS) * (1 - 2e-9) + 1e-9)
        self.register_buffer("normal", torch.from_numpy(normal), persistent=False)
        self.register_buffer("lowest_logg", torch.from_numpy(lowest_logg(NODES["teff"])), persistent=False)

    def forward(self, projected: Tensor, snr: Tensor, there: Tensor, first: Tensor) -> Tensor:
        """projected: (batch, order, K); there: (batch, order) share that was observed; first: (batch, 14) an answer to
        start from -> (batch, 14)."""
        found: Tensor = self.head(*self.stepped(projected, snr, there, first))
        return found

    def stepped(self, projected: Tensor, snr: Tensor, there: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Without the head: an answer (batch, 14) and what the head looks at (batch, 33)."""
        place, covariance, misfit = self._fitted(projected, snr, there, first[:, :COUNT])
        mean, factor, effective = self._posterior(place, covariance)
        sizes = factor.diagonal(dim1=1, dim2=2)
        log_s = (sizes - FLOOR).clamp_min(FLOOR / 100).log()
        below = (factor / sizes[..., None])[:, _BELOW[0], _BELOW[1]]
        answer = torch.cat([mean, log_s, below], 1).to(first.dtype)
        moved = (first[:, :COUNT] - answer[:, :COUNT]) * torch.exp(-answer[:, COUNT : 2 * COUNT])
        spread = covariance.diagonal(dim1=1, dim2=2).sqrt()
        features = [
            answer,
            self.grid.within(place, _OFF),
            ((place - self.grid.low) / spread).clamp(-_FURTHEST, _FURTHEST),
            ((self.grid.high - place) / spread).clamp(-_FURTHEST, _FURTHEST),
            moved.clamp(-_FURTHEST, _FURTHEST),
            torch.stack([snr.log(), misfit.clamp(-1.0, 5.0), effective.log()], 1),
        ]
        return answer, torch.cat([part.to(first.dtype) for part in features], 1)

    def _fitted(self, projected: Tensor, snr: Tensor, there: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Place (n, 4) of the best fit, its covariance with a Gaussian prior (n, 4, 4), log chi-square a projection."""
        share = torch.where(there > _LEAST_SHARE, there.clamp(max=1.0), 0.0).repeat_interleave(projected.shape[2], 1)
        weight = (share * snr[:, None] ** 2)[:, None]  # where pixels are filled from the rest, noise is as few tell it
        centre, half = (torch.from_numpy(values).to(start) for values in scale())
        place = to_places(centre + half * start.clamp(-1.0, 1.0))
        for _ in range(_STEPS):
            at = self.grid.within(place)
            expected, slope = self.grid(at)
            apart = torch.where(share > 0, projected.flatten(1) - expected, 0.0)
            normal = ((slope * weight) @ slope.mT).double()
            normal = normal + PRIOR_PRECISION * torch.eye(COUNT, dtype=normal.dtype, device=normal.device)
            gradient = ((slope * weight) @ apart[..., None])[..., 0].double() - PRIOR_PRECISION * at
            place = at + torch.linalg.solve(normal, gradient)
        left = (apart.square() * weight[:, 0]).sum(1).double() + PRIOR_PRECISION * at.square().sum(1)
        left = left - (gradient * (place - at)).sum(1)  # at the linear optimum
        misfit = (left.clamp_min(1.0) / (share > 0).sum(1).clamp_min(1)).log()
        return place, torch.linalg.inv(normal), misfit

    def _posterior(self, place: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (n, 4), lower factor of the covariance (n, 4, 4) of labels in half ranges, and effective draws (n,).

        Of a Gaussian over places (n, 4), its prior taken back, with a prior that is even in the labels over the grid
        and 0 outside, by quasi-random draws. Where too few of them lie in the grid (at its corners, or of a fit far
        outside) it is the Gaussian at the grid's end.
        """
        count = len(place)
        points = place[:, None] + self.normal @ torch.linalg.cholesky(covariance).mT
        flat = points.flatten(0, 1)
        labels, rate = (part.view(count, -1, COUNT) for part in from_places(self.grid.within(flat, _OFF), 0.0))
        within = ((flat >= self.grid.low) & (flat <= self.grid.high)).all(1).view(count, -1) & self._has_models(labels)
        weight = 0.5 * PRIOR_PRECISION * points.square().sum(2) + (rate[..., 0] * rate[..., 3]).log()
        weight = torch.exp(weight - weight.amax(1, keepdim=True)) * within
        effective = weight.sum(1).square() / weight.square().sum(1).clamp_min(1e-300)
        weight = (weight / weight.sum(1, keepdim=True).clamp_min(1e-300))[..., None]
        mean = (weight * labels).sum(1)
        apart = labels - mean[:, None]
        found = (weight * apart).mT @ apart
        end, rate = from_places(self.grid.within(place), covariance[:, 3, 3].sqrt())
        few = effective < _TOO_FEW
        mean = torch.where(few[:, None], end, mean)
        found = torch.where(few[:, None, None], rate[:, :, None] * covariance * rate[:, None], found)
        eye = torch.eye(COUNT, dtype=found.dtype, device=found.device)
        return mean, torch.linalg.cholesky(found + FLOOR**2 * eye), effective.clamp_min(1.0)

    def _has_models(self, values: Tensor) -> Tensor:
        """(...,) whether models exist, of labels in half ranges (..., 4): hot stars of low gravity have none."""
        centre, half = (torch.from_numpy(part).to(values) for part in scale())
        teff, logg = (centre + half * values)[..., :2].unbind(-1)
        node = ((teff - NODES["teff"][0]) / 250.0).ceil().long().clamp(0, len(self.lowest_logg) - 1)
        return logg >= self.lowest_logg[node]


class _Head(nn.Module):
    """What the steps' answer is corrected by, at first by nothing: means by deviations along the
    covariance, the rest by what is added."""

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
        mean = answer[:, :COUNT] + (gaussian(answer)[1] @ mean[..., None])[..., 0]
        return torch.cat([mean, answer[:, COUNT:] + rest], 1)
