"""Ridge regression on predictors with memory, one for all mascons: the linear rival of the global LSTM.

The same inputs, the same smoothing, the same data; the penalty is chosen by blocked cross-validation over years.
"""

import functools
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge

from sciml.core.seeds import seed_for
from sciml.grace.gridded import memory
from sciml.grace.gridded.layout import Block
from sciml.grace.gridded.steps import Problem
from sciml.grace.lags import month_position

Fit = tuple[Ridge, np.ndarray]

ALPHAS = (10.0, 100.0, 1000.0, 10000.0)


@dataclass(frozen=True, eq=False)
class PredictRidge:
    """Stage function: fits on all mascons, predicts a block. Members are fits to bootstrapped training years.

    first: the window from which on it predicts; an update needs the newest alone.
    """

    problem: Problem
    members: int
    first: int = 0

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        problem, models, apart = self.problem, *self._fitted
        mascons = slice(item.mascon_start, item.mascon_stop)
        coarse, fine = (
            self._table(*problem.predictors(url, **part))[:, self.first :]
            for url, part in (
                (problem.coarse_url, {"mascon": mascons}),
                (problem.fine_url, {"cell": slice(item.cell_start, item.cell_stop)}),
            )
        )
        found = {
            name: np.stack([_predict(model, table) for model in models], axis=1)
            for name, table in (("coarse", coarse), ("fine", fine))
        }
        return found | {"out_of_fold": apart[mascons, self.first :]}

    @functools.cached_property
    def _fitted(self) -> tuple[list[Fit], np.ndarray]:
        """The members, and the training years by fits that never saw them; once for all items of a worker."""
        problem = self.problem
        table, target = self._table(*problem.predictors(problem.coarse_url)), problem.anomaly()
        alpha, apart = self._select(table, target)
        years = problem.windows.month.astype("datetime64[Y]")
        trained = np.unique(years[problem.trained])
        models = []
        for member in range(self.members):
            rng = np.random.default_rng(seed_for(problem.seed, "ridge", problem.name, member))
            drawn = rng.choice(trained, size=len(trained))
            rows = np.concatenate([np.flatnonzero(problem.trained & (years == year)) for year in drawn])
            models.append(_fit(table, target, rows, alpha))
        return models, apart

    def _table(self, monthly: np.ndarray, recorded: np.ndarray) -> np.ndarray:
        """(place, window, column), NaN outside the predictors and in padding."""
        problem = self.problem
        position, reference = month_position(problem.windows, problem.months), problem.train.contains(problem.months)
        series = memory.record_series(
            memory.in_millimetres(monthly, problem.names),
            memory.in_millimetres(recorded, problem.names),
            problem.windows,
            problem.months,
        )
        width = monthly.shape[-1] * (1 + len(memory.MEANS))
        out = np.full((len(monthly), len(problem.windows), width), np.nan)
        for values, served in series:
            inside = served[(position[served] >= 0) & (position[served] < len(problem.months))]
            out[:, inside] = memory.inputs(values, reference)[:, position[inside]]
        return out

    def _select(self, table: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """The penalty with the least error in years left out, and those predictions: (mascon, window)."""
        best, kept, least = ALPHAS[0], np.empty(0), np.inf
        for alpha in ALPHAS:
            apart = np.full(target.shape, np.nan, np.float32)
            for train, valid in self.problem.year_folds():
                apart[:, valid] = _predict(_fit(table, target, np.flatnonzero(train), alpha), table[:, valid])
            error = float(np.nanmean((apart - target)[:, self.problem.trained] ** 2))
            if error < least:
                best, kept, least = alpha, apart, error
        return best, kept


def _fit(table: np.ndarray, target: np.ndarray, rows: np.ndarray, alpha: float) -> Fit:
    x, y = table[:, rows].reshape(-1, table.shape[-1]), target[:, rows].ravel()
    known = np.isfinite(x).all(axis=1) & np.isfinite(y)
    scale = np.maximum(x[known].std(axis=0), 1e-9)
    return Ridge(alpha=alpha).fit(x[known] / scale, y[known]), scale


def _predict(model: Fit, table: np.ndarray) -> np.ndarray:
    """A sum a window, so that a window gives the same bits alone and among others; a matrix product need not."""
    ridge, scale = model
    return (np.einsum("...c,c->...", table, ridge.coef_ / scale) + ridge.intercept_).astype(np.float32)
