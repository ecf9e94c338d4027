"""Levenberg-Marquardt for many small problems at once (Levenberg 1944; Marquardt 1963, doi:10.1137/0111030).

Each problem (a cell, a cell and month, one start of it) minimises over u, the logit of the parameters in their bounds,

    phi(u) = sum_i r_i(x(u))^2 + kappa sum_k ((u_k - m_k) / s_k)^2,      x = low + (high - low) / (1 + exp(-u))

with r = sqrt(weight) (model - target), 0 where there is no target, so that the first sum is the paper's wSSE. The
Jacobian is by forward differences: a simulator with a candidate axis gives all its columns in one call. The steps

    du = -(J^T J + kappa S^-2 + lambda D)^-1 (J^T r + kappa S^-2 (u - m)),      D = diag(J^T J + kappa S^-2)

of four lambdas are tried in one more call, and the best is taken where it is better. A problem that has converged is
frozen: the simulator does not see it again. Problems never meet in a sum, so that any grouping gives the same bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sciml.core.errors import ConfigError

# (problem,) numbers of the problems asked for, and (problem, candidate, parameter) in real units, to
# (problem, candidate, residual), each times the root of its weight, 0 where there is no target
Residuals = Callable[[np.ndarray, np.ndarray], np.ndarray]

EDGE = 9.0  # |u| goes no further: 1e-4 of a parameter's range from its bound
TRIALS = (0.1, 1.0, 10.0, 100.0)  # of lambda, in one call


@dataclass(frozen=True, eq=False)
class Space:
    """Bounds and weak prior of the parameters, each (parameter,).

    low, high, centre: real units; spread: standard deviation of the prior in the logit of the bounds [1].
    """

    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    centre: np.ndarray
    spread: np.ndarray

    def __post_init__(self) -> None:
        for i, name in enumerate(self.names):
            if not self.low[i] < self.centre[i] < self.high[i] or not self.spread[i] > 0:
                raise ConfigError(
                    f"parameter {name}: bounds {self.low[i]:g} to {self.high[i]:g}, prior {self.centre[i]:g} with "
                    f"spread {self.spread[i]:g}; the prior must lie within the bounds and its spread above 0"
                )

    @property
    def middle(self) -> np.ndarray:
        """Centre of the prior in the logit of the bounds."""
        return self.free(self.centre)

    def real(self, free: np.ndarray) -> np.ndarray:
        """(..., parameter) logit -> real units."""
        return self.low + (self.high - self.low) / (1.0 + np.exp(-free))

    def free(self, real: np.ndarray) -> np.ndarray:
        """(..., parameter) real units -> logit, at most `EDGE` from 0."""
        edge = 1.0 / (1.0 + np.exp(EDGE))
        share = np.clip((real - self.low) / (self.high - self.low), edge, 1.0 - edge)
        return np.log(share / (1.0 - share))


@dataclass(frozen=True)
class DescentOptions:
    """Of `descend`. The defaults suit residuals in units of the anomalies' standard deviation."""

    iterations: int = 40
    tolerance: float = 1e-4  # relative decrease of phi that counts as none; two in a row end a problem
    prior: float = 0.01  # kappa: variance of a residual against which the prior counts
    damping: float = 0.1  # first lambda
    step: float = 1.5  # longest change of a logit in one step
    difference: float = 1e-4  # of the Jacobian, in the logit


@dataclass(frozen=True, eq=False)
class Descent:
    """Of each problem. free: (problem, parameter) logit; wsse, objective: (problem,), infinite where the start was not
    finite; iterations: (problem,) Jacobians taken; converged: (problem,)."""

    free: np.ndarray
    wsse: np.ndarray
    objective: np.ndarray
    iterations: np.ndarray
    converged: np.ndarray


def descend(
    residuals: Residuals, space: Space, problems: np.ndarray, start: np.ndarray, options: DescentOptions | None = None
) -> Descent:
    """Minimise each problem from its start.

    problems: (n,) numbers handed to `residuals`, a number may come several times (several starts); start:
    (n, parameter) logit. Deterministic; each problem's result is the same in whatever company.
    """
    options = options or DescentOptions()
    u = np.clip(np.array(start, dtype=np.float64), -EDGE, EDGE)
    size = len(problems)
    r = _finite(residuals(problems, space.real(u)[:, None, :])[:, 0])
    wsse = np.einsum("ij,ij->i", r, r)
    objective = wsse + _prior(u, space, options)
    damping = np.full(size, options.damping)
    stalled, iterations = np.zeros(size, int), np.zeros(size, int)
    active = np.flatnonzero(np.isfinite(objective))
    for _ in range(options.iterations):
        if not len(active):
            break
        iterations[active] += 1
        normal, gradient = _normal(residuals, space, problems[active], u[active], r[active], options)
        waiting = np.arange(len(active))  # those whose step was refused try again with more damping
        before = objective[active].copy()
        for _ in range(3):
            at = active[waiting]
            trial = _steps(normal[waiting], gradient[waiting], u[at], damping[at], options)
            there = _finite(residuals(problems[at], space.real(trial)))
            fits = np.einsum("ijk,ijk->ij", there, there)
            found = fits + _prior(trial, space, options)
            pick = np.argmin(found, axis=1)
            row = np.arange(len(at))
            better = found[row, pick] < objective[at]
            to, take = at[better], pick[better]
            u[to], r[to] = trial[better, take], there[better, take]
            wsse[to], objective[to] = fits[better, take], found[better, take]
            damping[to] = np.maximum(damping[to] * np.array(TRIALS)[take], 1e-8)
            damping[at[~better]] *= TRIALS[-1] * 10.0
            waiting = waiting[~better]
            if not len(waiting):
                break
        small = before - objective[active] <= options.tolerance * before
        stalled[active] = np.where(small, stalled[active] + 1, 0)
        stalled[active[waiting]] = 2  # no step of any length is better
        active = active[stalled[active] < 2]
    return Descent(u, wsse, objective, iterations, np.isfinite(objective) & (stalled >= 2))


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Gauss-Newton at a minimum, each (problem, parameter) but covariance (problem, parameter, parameter).

    covariance: of the logit, (J^T J / v + S^-2)^-1 with v the residuals' variance times `inflation`; standard_error:
    half the width in real units of one standard deviation of the logit to both sides; ratio: standard deviation of
    posterior over prior, 1 where the data say nothing; identifiable: ratio below `limit`.
    """

    covariance: np.ndarray
    standard_error: np.ndarray
    ratio: np.ndarray
    identifiable: np.ndarray


def uncertainty(
    residuals: Residuals,
    space: Space,
    problems: np.ndarray,
    free: np.ndarray,
    count: np.ndarray,
    inflation: Callable[[np.ndarray], np.ndarray] | None = None,
    options: DescentOptions | None = None,
    limit: float = 0.7,
    smallest_variance: float = 1e-6,
) -> Uncertainty:
    """What the data say about each parameter at `free`, (problem, parameter).

    count: (problem,) residuals that have a target. inflation: of (problem, residual) residuals to (problem,) days per
    independent one (`sciml.land.fit.days_per_independent`); none: residuals are independent. smallest_variance: of a
    residual, for a model that fits perfectly knows its parameters no better than the arithmetic allows.
    """
    options = options or DescentOptions()
    r = _finite(residuals(problems, space.real(free)[:, None, :])[:, 0])
    normal, _ = _normal(residuals, space, problems, free, r, options, prior=False)
    parameters = free.shape[1]
    variance = np.einsum("ij,ij->i", r, r) / np.maximum(count - parameters, 1)
    variance = np.where(np.isfinite(variance), np.maximum(variance, smallest_variance), np.inf)
    if inflation is not None:
        variance = variance * inflation(r)
    covariance = np.linalg.inv(normal / variance[:, None, None] + np.diag(space.spread**-2.0))
    deviation = np.sqrt(np.einsum("ijj->ij", covariance))
    width = space.real(free + deviation) - space.real(free - deviation)
    ratio = deviation / space.spread
    return Uncertainty(covariance, width / 2, ratio, ratio < limit)


def draw(space: Space, free: np.ndarray, covariance: np.ndarray, count: int, seeds: Sequence[int]) -> np.ndarray:
    """(problem, count, parameter) parameters in real units from the Gauss-Newton posterior; a seed for each problem."""
    root = np.linalg.cholesky(covariance)
    normal = np.stack([np.random.default_rng(seed).standard_normal((count, free.shape[1])) for seed in seeds])
    moved = free[:, None, :] + np.matmul(normal, np.swapaxes(root, 1, 2))
    return space.real(np.clip(moved, -EDGE, EDGE))


def _finite(residuals: np.ndarray) -> np.ndarray:
    """A run that left the numbers counts as infinitely bad, without NaN."""
    broken = ~np.isfinite(residuals).all(axis=-1)
    if broken.any():
        residuals = residuals.copy()
        residuals[broken] = np.inf
    return residuals


def _prior(free: np.ndarray, space: Space, options: DescentOptions) -> np.ndarray:
    return options.prior * np.sum(((free - space.middle) / space.spread) ** 2, axis=-1)


def _normal(
    residuals: Residuals,
    space: Space,
    problems: np.ndarray,
    free: np.ndarray,
    at: np.ndarray,
    options: DescentOptions,
    prior: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """J^T J (problem, parameter, parameter) and J^T r (problem, parameter), with the prior's share."""
    parameters = free.shape[1]
    moved = free[:, None, :] + options.difference * np.eye(parameters)
    jacobian = residuals(problems, space.real(moved)) - at[:, None, :]
    jacobian /= options.difference
    jacobian[~np.isfinite(jacobian).all(axis=-1)] = 0.0
    normal = np.matmul(jacobian, np.swapaxes(jacobian, 1, 2))
    gradient = np.matmul(jacobian, at[:, :, None])[:, :, 0]
    if prior:
        normal = normal + np.diag(options.prior / space.spread**2)
        gradient = gradient + options.prior * (free - space.middle) / space.spread**2
    return normal, gradient


def _steps(
    normal: np.ndarray, gradient: np.ndarray, free: np.ndarray, damping: np.ndarray, options: DescentOptions
) -> np.ndarray:
    """(problem, trial, parameter) logits of the damped steps."""
    diagonal = np.einsum("ijj->ij", normal)
    scale = diagonal + 1e-6 * diagonal.mean(axis=1, keepdims=True)
    lambdas = damping[:, None] * np.array(TRIALS)
    damped = normal[:, None] + (lambdas[:, :, None] * scale[:, None, :])[..., None] * np.eye(free.shape[1])
    steps = -np.linalg.solve(damped, gradient[:, None, :, None])[..., 0]
    return np.clip(free[:, None, :] + np.clip(steps, -options.step, options.step), -EDGE, EDGE)
