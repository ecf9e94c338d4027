"""The best fit of the emulator to a spectrum: least squares, with the uncertainty that photon noise leaves.

Levenberg's and Marquardt's steps in the working coordinates of `posterior`, all stars of a batch side by side. What
comes out is the posterior under the grid's prior, linear about the best fit: its mean is what the squared error asks
for also where a label is hardly seen, and where it is well seen it is the best fit itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sciml.stellar import continuum, labels
from sciml.stellar.forward import ForwardModel, covariance_of, fisher_matrix, working_ranges
from sciml.stellar.labels import LABELS, PARAMETERS
from sciml.stellar.posterior import from_working, moments, to_working

_NUISANCE_DEVIATION = {"vmic": labels.VMIC_DEVIATION, "alpha": labels.ALPHA_DEVIATION, "vmac": 2.5}
_USUAL_VMAC = 3.5  # [km/s]
_ROUNDS = 25
_TRIED = 64  # spectra at a time
_CLEAN = 0.005  # noise that a model is given where its continuum is estimated
_SETTLED = 0.01  # a step that lowers chi-square by less ends the search


@dataclass(frozen=True, eq=False)
class Chi2Fit:
    """best (n, 7): the best fit. mean (n, 4), covariance (n, 4, 4): of LABELS. chi_square (n,): at the best fit,
    without the prior; pixels (n,) that count."""

    best: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    chi_square: np.ndarray
    pixels: np.ndarray


def fit(
    forward: ForwardModel,
    flux: Tensor,
    sigma: Tensor,
    start: np.ndarray,
    free: Sequence[str] = LABELS,
    seed: int = 0,
) -> Chi2Fit:
    """Fit spectra (n, order, pixel). sigma: of each pixel, inf where masked. start: (n, 7) where the search begins.

    free: parameters to be found, LABELS among them; nuisances have a prior about what is usual, the others stay.
    """
    columns = [PARAMETERS.index(name) for name in free]
    low, high = working_ranges()
    working = to_working(start)
    damping = np.full(len(start), 1e-2)
    active = np.ones(len(start), bool)
    weight = 1 / sigma.broadcast_to(flux.shape)
    model = forward.at(working)
    chi = _chi_square(flux, model, weight) + _prior_chi(working, free)
    for _ in range(_ROUNDS):
        if not active.any():
            break
        rows = np.flatnonzero(active)
        normal, gradient = _normal(forward, working[rows], flux[rows], model[rows], weight[rows], free)
        step = np.linalg.solve(normal + damping[rows, None, None] * normal * np.eye(len(free)), gradient[..., None])[
            ..., 0
        ]
        tried = working[rows].copy()
        tried[:, columns] += step
        tried = np.clip(tried, low, high)
        tried[:, 1] = np.maximum(tried[:, 1], labels.lowest_logg(tried[:, 0]))
        seen = forward.at(tried)
        found = _chi_square(flux[rows], seen, weight[rows]) + _prior_chi(tried, free)
        better = found < chi[rows]
        gained = chi[rows] - found
        kept = rows[better]
        working[kept], chi[kept] = tried[better], found[better]
        model[kept] = seen[torch.from_numpy(better)]
        damping[rows] = np.where(better, damping[rows] / 5, damping[rows] * 8)
        active[rows] = ~(better & (gained < _SETTLED)) & (damping[rows] < 1e6)
    normal, gradient = _normal(forward, working, flux, model, weight, free)
    covariance = covariance_of(normal)
    centre = working[:, columns] + np.einsum("nij,nj->ni", covariance, gradient)
    mean, spread = moments(centre[:, :4], covariance[:, :4, :4], seed)
    ends = np.array([labels.RANGES[name] for name in PARAMETERS]).T
    best = np.clip(from_working(working), *ends)  # there and back, an end of a range is beyond it by a rounding
    return Chi2Fit(best, mean, spread, _chi_square(flux, model, weight), (weight > 0).flatten(1).sum(1).numpy())


def least_covariance(forward: ForwardModel, working: np.ndarray, sigma: Tensor, free: Sequence[str]) -> np.ndarray:
    """(n, p, p) inverse Fisher matrix of the free parameters in working coordinates (n, 7), nuisances with their prior.

    sigma: (n, order, pixel), inf where masked.
    """
    normal = fisher_matrix(forward.jacobian(working, free), sigma)
    k = np.arange(len(free))
    normal[:, k, k] += nuisance_prior(working, free)[1]
    return covariance_of(normal)


def nearest(
    forward: ForwardModel, flux: Tensor, sigma: Tensor, tried: np.ndarray, renormalised: bool = False
) -> np.ndarray:
    """(n, 7): of the parameters `tried` (m, 7) those whose spectrum is nearest to each of flux (n, order, pixel), where
    a search may begin. renormalised: flux is over `continuum.estimate`, and so are models then."""
    weight = (1 / sigma.broadcast_to(flux.shape)).flatten(1).square()
    seen = flux.flatten(1) * weight
    best, least = np.zeros(len(flux), int), np.full(len(flux), np.inf)
    for start in range(0, len(tried), _TRIED):
        models = forward.at(to_working(tried[start : start + _TRIED]))
        if renormalised:
            models = models / continuum.estimate(models, models.new_full((1,), _CLEAN), torch.ones_like(models))
        models = models.flatten(1)
        distance = (weight @ models.square().T - 2 * seen @ models.T).double().numpy()
        place = distance.argmin(1)
        found = distance[np.arange(len(flux)), place]
        best, least = np.where(found < least, start + place, best), np.minimum(found, least)
    return tried[best]


def _chi_square(flux: Tensor, model: Tensor, weight: Tensor) -> np.ndarray:
    return ((flux - model) * weight).square().flatten(1).double().sum(1).numpy()


def _normal(
    forward: ForwardModel, working: np.ndarray, flux: Tensor, model: Tensor, weight: Tensor, free: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Fisher matrix (n, p, p) with the prior's, and minus half the gradient of chi-square (n, p)."""
    scaled = (forward.jacobian(working, free) * weight[:, None]).flatten(2)
    residual = ((flux - model) * weight).flatten(1)
    normal = (scaled @ scaled.mT).double().numpy()
    gradient = (scaled @ residual[..., None])[..., 0].double().numpy()
    away, precision = nuisance_prior(working, free)
    k = np.arange(len(free))
    normal[:, k, k] += precision + 1e-12
    return normal, gradient - away * precision


def _prior_chi(working: np.ndarray, free: Sequence[str]) -> np.ndarray:
    away, precision = nuisance_prior(working, free)
    return (away**2 * precision).sum(1)


def usual_nuisances(parameters: np.ndarray) -> dict[str, np.ndarray]:
    """What is usual of stars (n, 7) by their labels, in working coordinates or not: name -> (n,)."""
    return {
        "vmic": labels.usual_vmic(*parameters[:, :3].T),
        "alpha": labels.usual_alpha(parameters[:, 2]),
        "vmac": np.full(len(parameters), _USUAL_VMAC),
    }


def nuisance_prior(working: np.ndarray, free: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """How far each free parameter is from what is usual (n, p), and how much that counts (p,)."""
    usual = usual_nuisances(working)
    away = [working[:, PARAMETERS.index(name)] - usual.get(name, 0.0) for name in free]
    counts = [_NUISANCE_DEVIATION[name] ** -2.0 if name in _NUISANCE_DEVIATION else 0.0 for name in free]
    return np.stack(away, 1), np.array(counts)
