"""From an answer to the best fit nearby: Gauss-Newton steps within the grid, the continuum of each order free.

As `chi2` but for two things: parameters that reach the grid's end stay there while the others go where they are best
then, and what is told is how far the fit would have gone without an end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from scipy.optimize import lsq_linear
from torch import Tensor

from sciml.stellar import labels
from sciml.stellar.chi2 import nuisance_prior, usual_nuisances
from sciml.stellar.forward import ForwardModel, covariance_of, working_ranges
from sciml.stellar.labels import COUNT, LABELS, PARAMETERS
from sciml.stellar.posterior import moments, to_working

_SETTLED = 0.5  # of chi-square: two steps that gain less end a fit
_SHORTEST = 0.01  # share of a step that must gain something


@dataclass(frozen=True)
class Fitting:
    """free: parameters to be fitted, LABELS first. continuum: Legendre polynomials of each order that are free too, 0
    where the continuum is known. rounds: Jacobians at most, each with two steps, fewer where chi-square falls no more;
    0: no step is taken."""

    free: tuple[str, ...] = LABELS
    continuum: int = 0
    rounds: int = 6


@dataclass(frozen=True, eq=False)
class Refit:
    """answer, working (n, 7): where the fit began and where it ended, in working coordinates, the latter in the grid.
    wanted (n, p): free parameters that a last step leads to, without regard to the grid; covariance (n, p, p).
    model, residual (n, order, pixel): at the end, the residual over noise and free of the continuum."""

    answer: np.ndarray
    working: np.ndarray
    wanted: np.ndarray
    covariance: np.ndarray
    model: Tensor
    residual: Tensor

    def moments(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Mean (n, 4) and covariance (n, 4, 4) of LABELS given the grid."""
        return moments(self.wanted[:, :COUNT], self.covariance[:, :COUNT, :COUNT], seed)


def refit(forward: ForwardModel, flux: np.ndarray, sigma: np.ndarray, mean: np.ndarray, fitting: Fitting) -> Refit:
    """Fits of spectra (n, order, pixel) from answers (n, 4). sigma: as flux, inf where masked."""
    problem = _Problem(forward, flux, sigma, fitting)
    answer = _start(mean, fitting.free)
    working = _kept(answer)
    state = _Fit(working, *problem.left(working), *problem.normal(working))
    moving, length = np.arange(len(working)), np.ones((len(working), 1))
    for number in range(fitting.rounds):
        part, here = problem.select(moving), state.select(moving)
        if number:
            normal, scaled = part.normal(here.working)
            here = replace(here, normal=normal, scaled=scaled)
        before = _squares(here.residual)
        length[moving] = _two_steps(part, here, length[moving])
        state.put(moving, here)
        gained = before - _squares(here.residual)
        moving = moving[(gained > _SETTLED) | ((gained <= 0) & (length[moving, 0] > _SHORTEST))]
        if not len(moving):
            break
    covariance = covariance_of(state.normal)
    gradient = problem.gradient(state.scaled, state.residual, state.working)
    wanted = state.working[:, problem.columns] + np.einsum("nij,nj->ni", covariance, gradient)
    return Refit(answer, state.working, wanted, covariance, state.model, state.residual)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Where the fits of a batch are, and what is known there: see _Problem."""

    working: np.ndarray
    model: Tensor
    residual: Tensor
    normal: np.ndarray
    scaled: Tensor

    def select(self, rows: np.ndarray) -> "_Fit":
        return _Fit(*(getattr(self, field.name)[rows] for field in fields(self)))

    def put(self, rows: np.ndarray, part: "_Fit") -> None:
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(part, field.name)


def _two_steps(problem: "_Problem", fit: _Fit, length: np.ndarray) -> np.ndarray:
    """Moves a fit by two steps with one Jacobian, each taken where it is better and else a fifth as long the next time.
    Returns how long (n, 1)."""
    chi = _squares(fit.residual)
    for _ in range(2):
        gradient = problem.gradient(fit.scaled, fit.residual, fit.working)
        step = _stepped(fit.working, fit.normal, gradient, problem.columns) - fit.working
        tried = _kept(fit.working + length * step)
        seen, left = problem.left(tried)
        found = _squares(left)
        better = found < chi
        length = np.where(better[:, None], 1.0, 0.2 * length)
        rows = torch.from_numpy(better)
        fit.working[better], chi[better] = tried[better], found[better]
        fit.model[rows], fit.residual[rows] = seen[rows], left[rows]
    return length


class _Problem:
    """Residuals of a batch over their noise, free of the continuum."""

    def __init__(self, forward: ForwardModel, flux: np.ndarray, sigma: np.ndarray, fitting: Fitting) -> None:
        self.given = forward, flux, sigma, fitting
        self.forward, self.free = forward, fitting.free
        self.columns = [PARAMETERS.index(name) for name in fitting.free]
        self.weight = torch.from_numpy(np.ascontiguousarray(1 / sigma))
        self.flux = torch.from_numpy(np.where(np.isinf(sigma), 1.0, flux).astype(np.float32))
        u = np.linspace(-1.0, 1.0, flux.shape[2])
        self.shapes = (
            torch.from_numpy(legvander(u, fitting.continuum - 1).astype(np.float32)) if fitting.continuum else None
        )

    def select(self, rows: np.ndarray) -> "_Problem":
        forward, flux, sigma, fitting = self.given
        return _Problem(forward, flux[rows], sigma[rows], fitting)

    def left(self, working: np.ndarray) -> tuple[Tensor, Tensor]:
        """Model (n, order, pixel), and the residual over noise, with no part that a continuum would take."""
        model = self.forward.at(working)
        return model, self._free_of_continuum((self.flux - model) * self.weight, model)

    def normal(self, working: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """Fisher matrix (n, p, p) and the derivatives over noise (n, p, pixel)."""
        model = self.forward.at(working) if self.shapes is not None else None
        derivatives = self.forward.jacobian(working, self.free) * self.weight[:, None]
        columns = [self._free_of_continuum(column, model).flatten(1) for column in derivatives.unbind(1)]
        scaled = torch.stack(columns, 1)
        normal = (scaled @ scaled.mT).double().numpy()
        k = np.arange(len(self.free))
        normal[:, k, k] += nuisance_prior(working, self.free)[1] + 1e-12
        return normal, scaled

    def gradient(self, scaled: Tensor, residual: Tensor, working: np.ndarray) -> np.ndarray:
        """(n, p) minus half that of chi-square."""
        away, precision = nuisance_prior(working, self.free)
        return (scaled @ residual.flatten(1)[..., None])[..., 0].double().numpy() - away * precision

    def _free_of_continuum(self, values: Tensor, model: Tensor | None) -> Tensor:
        """Less the least-squares multiple of model times each polynomial, order by order."""
        if self.shapes is None or model is None:
            return values
        basis = (model * self.weight)[..., None] * self.shapes
        product = (basis.mT @ basis).double()
        scale = torch.diagonal(product, dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp(min=1e-20)
        product = product / scale + 1e-9 * torch.eye(product.shape[-1], dtype=torch.float64)
        amount = torch.linalg.solve(product, (basis.mT @ values[..., None]).double() / scale)
        return values - (basis @ amount.to(basis.dtype))[..., 0]


def _squares(residual: Tensor) -> np.ndarray:
    return residual.square().flatten(1).double().sum(1).numpy()


def _start(mean: np.ndarray, free: Sequence[str]) -> np.ndarray:
    """Answers (n, 4) as working coordinates (n, 7), with what is usual for the nuisances."""
    found = np.zeros((len(mean), len(PARAMETERS)))
    found[:, : len(LABELS)] = mean
    found[:, len(LABELS) :] = (2.0, 0.0, 0.0)  # the paper's
    low, high = np.array([labels.RANGES[name] for name in PARAMETERS]).T
    kept = np.clip(found, low, high)
    for name, value in usual_nuisances(kept).items():
        if name in free:
            found[:, PARAMETERS.index(name)] = value
    return to_working(found)


def _kept(working: np.ndarray) -> np.ndarray:
    """A copy within the grid."""
    low, high = working_ranges()
    found = np.clip(working, low, high)
    found[:, 1] = np.maximum(found[:, 1], labels.lowest_logg(found[:, 0]))
    return found


def _stepped(working: np.ndarray, normal: np.ndarray, gradient: np.ndarray, columns: list[int]) -> np.ndarray:
    """Where a step of Gauss and Newton leads, or the best place within the grid where that lies outside."""
    low, high = (ends[columns] for ends in working_ranges())
    found = working.copy()
    for star, (matrix, slope, place) in enumerate(zip(normal, gradient, working[:, columns], strict=True)):
        least = low.copy()
        least[1] = max(least[1], float(labels.lowest_logg(place[0])))
        step = np.linalg.solve(matrix, slope)
        if ((place + step < least) | (place + step > high)).any():
            step = _bounded(matrix, slope, np.minimum(least - place, 0.0), np.maximum(high - place, 0.0))
        found[star, columns] = place + step
    return found


def _bounded(matrix: np.ndarray, slope: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The step (p,) between low and high that minimises step^T matrix step / 2 - slope^T step."""
    size = np.sqrt(np.diag(matrix))
    factor = np.linalg.cholesky(matrix / size / size[:, None] + 1e-9 * np.eye(len(size)))
    target = np.linalg.solve(factor, slope / size)
    step = lsq_linear(factor.T, target, (low * size, high * size), method="bvls").x / size
    return np.clip(step, low, high)
