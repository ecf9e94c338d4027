"""Levenberg-Marquardt for many small problems at once (Levenberg 1944; Marquardt 1963, doi:10.1137/0111030).

Each problem (a cell, a cell and month, one start of it) minimises over u, the logit of the parameters in their bounds,

    phi(u) = sum_i r_i(x(u))^2 + kappa sum_k ((u_k - m_k) / s_k)^2,      (x - low) / (high - low) = 1 / (1 + exp(-u))

with r = sqrt(weight) (model - target), 0 where there is no target, so that the first sum is the paper's wSSE. The
Jacobian is by forward differences: a simulator with a candidate axis gives all its columns in one call. The steps

    du = -(J^T J + kappa S^-2 + lambda D)^-1 (J^T r + kappa S^-2 (u - m)),      D = diag(J^T J + kappa S^-2)

of four lambdas are tried in one more call, and the best is taken where it is better. A problem that has converged is
frozen: the simulator does not see it again. Problems never meet in a sum, so that any grouping gives the same bits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sciml.core.errors import ConfigError
from sciml.land.models import Parameter

# (problem,) numbers of the problems asked for, and (problem, candidate, parameter) in real units, to
# (problem, candidate, residual), each times the root of its weight, 0 where there is no target
Residuals = Callable[[np.ndarray, np.ndarray], np.ndarray]
# the same to (problem, candidate), the sum of their squares
Cost = Callable[[np.ndarray, np.ndarray], np.ndarray]

EVEN = np.pi / np.sqrt(3.0)  # standard deviation of the logit of a number that is anywhere in 0 to 1
EDGE = 9.0  # |u| goes no further: 1e-4 of a parameter's range from its bound
TRIALS = (0.1, 1.0, 10.0, 100.0)  # of lambda, in one call


@dataclass(frozen=True, eq=False)
class Space:
    """Bounds and weak prior of the parameters, each (parameter,).

    low, high, centre: real units; log: those whose logarithm varies evenly; spread: standard deviation of the prior in
    the logit [1].
    """

    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    centre: np.ndarray
    log: np.ndarray
    spread: np.ndarray

    def __post_init__(self) -> None:
        for i, name in enumerate(self.names):
            if not self.low[i] < self.centre[i] < self.high[i] or not self.spread[i] > 0:
                raise ConfigError(
                    f"parameter {name}: bounds {self.low[i]:g} to {self.high[i]:g}, prior {self.centre[i]:g} with "
                    f"spread {self.spread[i]:g}; the prior must lie within the bounds and its spread above 0"
                )

    @classmethod
    def of(cls, parameters: Sequence[Parameter], spread: float = EVEN) -> "Space":
        """Of a model's parameters."""
        low, high, centre = (np.array([getattr(p, part) for p in parameters]) for part in ("low", "high", "prior"))
        names = tuple(p.name for p in parameters)
        return cls(names, low, high, centre, np.array([p.log for p in parameters]), np.full(len(names), spread))

    @property
    def middle(self) -> np.ndarray:
        """Centre of the prior in the logit of the bounds."""
        return self.free(self.centre)

    def scaled(self, share: np.ndarray) -> np.ndarray:
        """(..., parameter) share of the way from low to high -> real units."""
        low, high = np.where(self.log, self.low, 1.0), np.where(self.log, self.high, 2.0)
        # the powers leave rounding behind that a bound would not forgive
        by_power = np.clip(low * (high / low) ** share, self.low, self.high)
        return np.where(self.log, by_power, self.low + (self.high - self.low) * share)

    def share(self, real: np.ndarray) -> np.ndarray:
        """The way back of `scaled`."""
        low, high = np.where(self.log, self.low, 1.0), np.where(self.log, self.high, 2.0)
        by_log = np.log(np.where(self.log, real, 1.0) / low) / np.log(high / low)
        return np.where(self.log, by_log, (real - self.low) / (self.high - self.low))

    def real(self, free: np.ndarray) -> np.ndarray:
        """(..., parameter) logit -> real units."""
        return self.scaled(1.0 / (1.0 + np.exp(-free)))

    def free(self, real: np.ndarray) -> np.ndarray:
        """(..., parameter) real units -> logit, at most `EDGE` from 0."""
        edge = 1.0 / (1.0 + np.exp(EDGE))
        share = np.clip(self.share(real), edge, 1.0 - edge)
        return np.log(share / (1.0 - share))


@dataclass(frozen=True)
class DescentOptions:
    """Of `descend`. The defaults suit residuals in units of the anomalies' standard deviation."""

    iterations: int = 40
    tolerance: float = 1e-3  # relative decrease of phi that counts as none; two in a row end a problem
    prior: float = 0.01  # kappa: variance of a residual against which the prior counts
    damping: float = 0.1  # first lambda
    step: float = 1.5  # longest change of a logit in one step
    difference: float = 1e-4  # of the Jacobian, in the logit


@dataclass(frozen=True, eq=False)
class Descent:
    """Of each problem. free: (problem, parameter) logit; wsse, objective: (problem,), infinite where the start was not
    finite; iterations: (problem,) Jacobians taken; evaluations: (problem,) runs of the model; converged: (problem,)."""

    free: np.ndarray
    wsse: np.ndarray
    objective: np.ndarray
    iterations: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray


def descend(
    residuals: Residuals,
    cost: Cost,
    space: Space,
    problems: np.ndarray,
    start: np.ndarray,
    options: DescentOptions | None = None,
    together: int = 64,
) -> Descent:
    """Minimise each problem from its start.

    problems: (n,) numbers handed to `residuals` and `cost`, a number may come several times (several starts); start:
    (n, parameter) logit. together: problems in one call, which bounds memory and changes no result.
    """
    options = options or DescentOptions()
    size = len(problems)
    free = np.clip(np.array(start, dtype=np.float64), -EDGE, EDGE)
    state = _State(free, np.empty(size), np.empty(size), np.full(size, options.damping), np.ones(size, int))
    for some in _blocks(np.arange(size), together):
        state.wsse[some] = _energy(cost, problems[some], space.real(state.free[some])[:, None, :])[:, 0]
    state.objective[:] = state.wsse + _prior(state.free, space, options)
    stalled, iterations = np.zeros(size, int), np.zeros(size, int)
    active = np.flatnonzero(np.isfinite(state.objective))
    for _ in range(options.iterations):
        if not len(active):
            break
        iterations[active] += 1
        before = state.objective[active]
        for some in _blocks(active, together):
            _iterate(residuals, cost, space, problems, state, some, options)
        gained = before - state.objective[active]
        stalled[active] = np.where(gained <= options.tolerance * before, stalled[active] + 1, 0)
        stalled[active[gained == 0.0]] = 2  # no step of any length is better
        active = active[stalled[active] < 2]
    return Descent(state.free, state.wsse, state.objective, iterations, state.evaluations, stalled >= 2)


@dataclass(frozen=True, eq=False)
class _State:
    free: np.ndarray
    wsse: np.ndarray
    objective: np.ndarray
    damping: np.ndarray
    evaluations: np.ndarray


def _iterate(
    residuals: Residuals,
    cost: Cost,
    space: Space,
    problems: np.ndarray,
    state: _State,
    some: np.ndarray,
    options: DescentOptions,
) -> None:
    """One Jacobian of some problems, and the best step it leads to, into `state`."""
    normal, gradient, _ = _normal(residuals, space, problems[some], state.free[some], options)
    state.evaluations[some] += len(space.names) + 1
    pull = options.prior / space.spread**2
    normal = normal + np.diag(pull)
    gradient = gradient + pull * (state.free[some] - space.middle)
    waiting = np.arange(len(some))
    for _ in range(3):
        at = some[waiting]
        trial = _steps(normal[waiting], gradient[waiting], state.free[at], state.damping[at], options)
        fits = _energy(cost, problems[at], space.real(trial))
        found = fits + _prior(trial, space, options)
        state.evaluations[at] += len(TRIALS)
        pick = np.argmin(found, axis=1)
        better = found[np.arange(len(at)), pick] < state.objective[at]
        to, take = at[better], pick[better]
        state.free[to] = trial[better, take]
        state.wsse[to], state.objective[to] = fits[better, take], found[better, take]
        state.damping[to] = np.maximum(state.damping[to] * np.array(TRIALS)[take], 1e-8)
        # those whose steps are refused try again, shorter
        state.damping[at[~better]] *= TRIALS[-1] * 10.0
        waiting = waiting[~better]
        if not len(waiting):
            break


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
    independent one (`objective.days_per_independent`); none: residuals are independent. smallest_variance: of a
    residual, for a model that fits perfectly knows its parameters no better than the arithmetic allows.
    """
    normal, _, r = _normal(residuals, space, problems, free, options or DescentOptions())
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


def _blocks(which: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for first in range(0, len(which), size):
        yield which[first : first + size]


def _energy(cost: Cost, problems: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """A run that left the numbers is infinitely bad."""
    energy = cost(problems, candidates)
    return np.where(np.isfinite(energy), energy, np.inf)


def _prior(free: np.ndarray, space: Space, options: DescentOptions) -> np.ndarray:
    return options.prior * np.sum(((free - space.middle) / space.spread) ** 2, axis=-1)


def _normal(
    residuals: Residuals, space: Space, problems: np.ndarray, free: np.ndarray, options: DescentOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """J^T J (problem, parameter, parameter), J^T r (problem, parameter) and r (problem, residual)."""
    parameters = free.shape[1]
    moved = free[:, None, :] + options.difference * np.eye(parameters + 1, parameters)
    found = residuals(problems, space.real(moved))  # the last is r itself
    jacobian, r = found[:, :-1], found[:, -1]
    jacobian -= r[:, None, :]
    jacobian /= options.difference
    jacobian[~np.isfinite(jacobian).all(axis=-1)] = 0.0
    normal = np.matmul(jacobian, np.swapaxes(jacobian, 1, 2))
    return normal, np.matmul(jacobian, r[:, :, None])[:, :, 0], r


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
