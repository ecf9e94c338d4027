"""What the items of the gridded job compute: networks of a block of mascons, run on the mascons and their cells."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.data.months import Timeline
from sciml.data.splits import Period
from sciml.data.stores import Template, Variable, open_store
from sciml.grace.lags import lag_sequences
from sciml.grace.layout import Block, Layout
from sciml.grace.local_lstm import LocalLSTMConfig, fit_units, predict_units
from sciml.grace.predictors import stack


@dataclass(frozen=True, eq=False)
class Problem:
    """One downscaling task: what is predicted, from what, when.

    name: enters store names. series_url, twsa, uncertainty: a store and its (mascon, record) variables. coarse_url,
    fine_url: predictors of mascons and of packed cells. names: predictors. months: (month,) axis of the predictors.
    windows: all windows to predict. train: training period. digest: of all of this.
    """

    name: str
    series_url: str
    twsa: str
    uncertainty: str
    coarse_url: str
    fine_url: str
    names: tuple[str, ...]
    months: np.ndarray
    windows: Timeline
    train: Period
    layout: Layout
    seed: int

    @property
    def trained(self) -> np.ndarray:
        """(window,) bool: windows with a record in the training period."""
        return self.windows.observed & self.train.contains(self.windows.month)

    def series(self, name: str, mascons: slice = slice(None)) -> np.ndarray:
        """A (mascon, record) variable on the windows: (mascon, window), NaN in gap months."""
        return self.windows.scatter(open_store(self.series_url)[name].isel(mascon=mascons).values)

    def anomaly(self, mascons: slice = slice(None)) -> np.ndarray:
        """Storage relative to its mean over the training records: (mascon, window) [mm]."""
        values = self.series(self.twsa, mascons)
        return values - values[:, self.trained].mean(axis=1, keepdims=True)

    def predictors(self, url: str, **region: slice) -> tuple[np.ndarray, np.ndarray]:
        """Monthly and record predictors (place, month | record, variable) of a part of a store."""
        store = open_store(url).isel(region).load()
        return stack(store, self.names), stack(store, self.names, "_record")


def prediction_template(problem: Problem, members: int) -> Template:
    """Store of a model: members of the mascons' storage and of the cells', (place, member, window) [mm]."""
    variables = {
        "coarse": Variable(("mascon", "member", "window"), "mm", "predicted storage of mascons", may_be_missing=True),
        "fine": Variable(("cell", "member", "window"), "mm", "predicted storage of cells", may_be_missing=True),
    }
    layout = problem.layout
    sizes = {
        "mascon": layout.mascons,
        "cell": len(layout.parent),
        "member": members,
        "window": len(problem.windows),
    }
    coordinates = {"window": xr.Variable("window", problem.windows.middle)}
    shards = {"mascon": layout.mascons_per_item, "cell": layout.slot}
    return Template(sizes, variables, shards=shards, coordinates=coordinates)


@dataclass(frozen=True, eq=False)
class LocalLstm:
    """Stage function: the paper's ensemble of each mascon of a block, trained on it and run on its cells."""

    problem: Problem
    config: LocalLSTMConfig
    lags: int

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        problem, mascons = self.problem, slice(item.mascon_start, item.mascon_stop)
        cells = problem.layout.of(item)
        coarse = self._features(*problem.predictors(problem.coarse_url, mascon=mascons))
        fine = self._features(*problem.predictors(problem.fine_url, cell=slice(item.cell_start, item.cell_stop)))
        known = np.isfinite(coarse).all(axis=(2, 3))
        sigma = problem.series(problem.uncertainty, mascons)
        states = fit_units(
            coarse,
            problem.anomaly(mascons),
            1 / np.square(sigma),
            problem.trained & known,
            self.config,
            [f"{problem.name}/{number}" for number in range(item.mascon_start, item.mascon_stop)],
            problem.seed,
        )
        shape = (item.cell_stop - item.cell_start, self.config.members, len(problem.windows))
        found = np.full(shape, np.nan, np.float32)
        local = cells - item.cell_start
        found[local] = predict_units(states, fine[local], problem.layout.parent[cells] - item.mascon_start)
        return {"coarse": predict_units(states, coarse), "fine": found}

    def _features(self, monthly: np.ndarray, recorded: np.ndarray) -> np.ndarray:
        return lag_sequences(monthly, recorded, self.problem.windows, self.problem.months, self.lags)


