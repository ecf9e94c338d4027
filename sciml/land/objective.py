"""What a fit minimises: weighted squared errors of runs, for many problems and candidates in one call of the simulator.

A problem is a cell, or a cell and month; it has one or more runs (that month of each year), whose errors are summed:

    wSSE(theta) = sum over runs, days and variables of weight (model - target)^2
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from sciml.land.models import Model, Scheme
from sciml.land.run import simulate, squared_errors


@dataclass(frozen=True, eq=False)
class Runs:
    """Days to be simulated and scored, at most `together` problem-candidates in memory at once.

    forcing: each (day, problem, run), by the model's names; start: (state, problem, run); targets: (day, variable,
    problem, run), NaN on days that are not scored or missing; weights: (variable, problem); first: day before which
    nothing is scored.
    """

    model: Model
    scheme: Scheme
    variables: tuple[str, ...]
    forcing: Mapping[str, np.ndarray]
    start: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    first: int = 0
    memory: int = 128 * 2**20  # bytes of arrays in one call

    @property
    def count(self) -> np.ndarray:
        """(problem,) targets that count."""
        known = np.isfinite(self.targets) & (self.weights > 0.0)[None, :, :, None]
        return known.sum(axis=(0, 1, 3))

    @property
    def together(self) -> int:
        """Problems whose Jacobian is in memory at once; it and the runs are three copies."""
        days, variables, _, runs = self.targets.shape
        candidates = len(self.model.parameters) + 1
        return max(self.memory // (3 * 8 * days * variables * runs * candidates), 1)

    def cost(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray:
        """wSSE (problem, candidate) of x (problem, candidate, parameter)."""
        runs = self.targets.shape[3]
        found = []
        # theta is repeated for each run
        for some in _blocks(len(problems), self.memory // (8 * (x[0].size + x.shape[1]) * runs)):
            at = problems[some]
            targets = self.targets[:, :, at].reshape(*self.targets.shape[:2], -1)
            weights = np.repeat(self.weights[:, at], runs, axis=1)
            theta, state, forcing = self._given(at, x[some])
            errors, _ = squared_errors(
                self.model, forcing, theta, state, targets, weights, self.variables, scheme=self.scheme
            )
            found.append(errors.reshape(len(errors), len(at), runs).sum(axis=2).T)
        return np.concatenate(found)

    def residuals(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray:
        """sqrt(weight) (model - target), (problem, candidate, residual), 0 where there is no target.

        Residuals stand by (day, variable, run).
        """
        theta, state, forcing = self._given(problems, x)
        values, _ = simulate(self.model, forcing, theta, state, outputs=self.variables, scheme=self.scheme, check=False)
        values = values[self.first :]
        targets = self.targets[self.first :, :, problems]
        root = np.where(np.isfinite(targets), np.sqrt(self.weights[:, problems])[None, :, :, None], 0.0)
        shape = (*values.shape[:3], *targets.shape[2:])
        values = values.reshape(shape)
        values -= np.nan_to_num(targets)[:, :, None]
        values *= root[:, :, None]
        # always a copy: a view that happens to fit would be summed in another order
        by_problem = np.ascontiguousarray(values.transpose(3, 2, 0, 1, 4))
        return by_problem.reshape(len(problems), x.shape[1], -1)

    def series(self, residuals: np.ndarray) -> np.ndarray:
        """(problem, day, variable, run) of (problem, residual)."""
        days, variables, _, runs = self.targets.shape
        return residuals.reshape(len(residuals), days - self.first, variables, runs)

    def _given(self, problems: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, SimpleNamespace]:
        """theta (parameter, 1, candidate, problem x run), state (state, problem x run) and forcing."""
        days, _, _, runs = self.targets.shape
        theta = np.repeat(x.transpose(2, 1, 0)[:, None], runs, axis=3)
        state = self.start[:, problems].reshape(len(self.start), -1)
        fields = {name: values[:, problems].reshape(days, -1) for name, values in self.forcing.items()}
        # theta is of one month, so that dates are nothing but steps of a day
        return theta, state, SimpleNamespace(dates=np.arange(days).astype("datetime64[D]"), **fields)


def _blocks(size: int, step: int) -> Iterator[slice]:
    for first in range(0, size, max(step, 1)):
        yield slice(first, first + max(step, 1))


def days_per_independent(series: np.ndarray) -> np.ndarray:
    """How many residuals carry the news of one, (problem,), at least 1: (1 + r) / (1 - r) of the lag-1 correlation r.

    series: (problem, day, variable, run). The effective sample size of a first-order autoregression (Bayley and
    Hammersley 1946, doi:10.2307/2983560); r is pooled over variables and runs, each about its mean.
    """
    known = series != 0.0  # no target, or as good as none
    mean = series.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = np.where(known, series - mean, 0.0)
    pairs = known[:, 1:] & known[:, :-1]
    together = np.sum(centred[:, 1:] * centred[:, :-1], axis=(1, 2, 3))
    alone = 0.5 * np.sum((centred[:, 1:] ** 2 + centred[:, :-1] ** 2) * pairs, axis=(1, 2, 3))
    r = np.divide(together, alone, out=np.zeros(len(series)), where=alone > 0.0)
    r = np.clip(np.nan_to_num(r), 0.0, 0.99)
    return (1.0 + r) / (1.0 - r)
