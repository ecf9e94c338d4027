"""Ridge regression on predictors with memory, one for all mascons: the linear rival of the global LSTM.

The same inputs, the same smoothing, the same data; the penalty is chosen by blocked cross-validation over years.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge

from sciml.core.seeds import seed_for
from sciml.grace import memory
from sciml.grace.lags import month_position
from sciml.grace.layout import Block
from sciml.grace.steps import Problem

ALPHAS = (10.0, 100.0, 1000.0, 10000.0)


@dataclass(frozen=True, eq=False)
class PredictRidge:
    """Stage function: fits on all mascons, predicts a block. Members are fits to bootstrapped training years."""

    problem: Problem
    members: int

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
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
        mascons = slice(item.mascon_start, item.mascon_stop)
        fine = self._table(*problem.predictors(problem.fine_url, cell=slice(item.cell_start, item.cell_stop)))
        coarse = np.stack([_predict(model, table[mascons]) for model in models], axis=1)
        cells = np.stack([_predict(model, fine) for model in models], axis=1)
        return {"coarse": coarse, "fine": cells, "out_of_fold": apart[mascons]}

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


def _fit(table: np.ndarray, target: np.ndarray, rows: np.ndarray, alpha: float) -> tuple[Ridge, np.ndarray]:
    x, y = table[:, rows].reshape(-1, table.shape[-1]), target[:, rows].ravel()
    known = np.isfinite(x).all(axis=1) & np.isfinite(y)
    scale = np.maximum(x[known].std(axis=0), 1e-9)
    return Ridge(alpha=alpha).fit(x[known] / scale, y[known]), scale


def _predict(model: tuple[Ridge, np.ndarray], table: np.ndarray) -> np.ndarray:
    ridge, scale = model
    return (table / scale @ ridge.coef_ + ridge.intercept_).astype(np.float32)
