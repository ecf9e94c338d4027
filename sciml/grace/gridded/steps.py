"""What the items of the gridded job compute: networks of a block of mascons, run on the mascons and their cells."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.grid import unit_vectors
from sciml.data.months import Timeline
from sciml.data.splits import Period, year_folds
from sciml.data.stores import Template, Variable, open_store, spans
from sciml.grace.downscale import Cells, coarse_operator, detail_sigma, downscale, fit_share, gap_sigma
from sciml.grace.gridded.layout import Block, Layout
from sciml.grace.gridded.predictors import stack
from sciml.grace.lags import lag_sequences
from sciml.grace.local_lstm import LocalLSTMConfig, States, fit_units, predict_units
from sciml.grace.mascons import super_mascons
from sciml.nn.ensemble import Shape


@dataclass(frozen=True, eq=False)
class Problem:
    """One downscaling task: what is predicted, from what, when.

    name: enters store names. series_url, twsa, uncertainty: a store and its (mascon, record) variables. coarse_url,
    fine_url: predictors of mascons and of packed cells. names: predictors. months: (month,) axis of the predictors.
    windows: all windows to predict. train, test: periods; training years fall into `folds` blocks for cross-validation.
    truth_url: store with `truth_<name>` (cell, window) on the generated Earth.
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
    test: Period
    folds: int
    layout: Layout
    seed: int
    truth_url: str = ""

    @property
    def trained(self) -> np.ndarray:
        """(window,) bool: windows with a record in the training period."""
        return self.windows.observed & self.train.contains(self.windows.month)

    @property
    def tested(self) -> np.ndarray:
        """(window,) bool: windows with a record in the test period."""
        return self.windows.observed & self.test.contains(self.windows.month)

    def truth(self) -> np.ndarray:
        """Planted storage of the real cells relative to its mean over the training records: (cell, window) [mm]."""
        values = open_store(self.truth_url)[f"truth_{self.name}"].values[self.layout.source[self.layout.real]]
        return values - values[:, self.trained].mean(axis=1, keepdims=True)

    def year_folds(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(train, valid) masks over the windows, blocks of years within the training period."""
        windows = np.flatnonzero(self.trained)
        for fold in year_folds(self.windows.month[windows], self.folds):
            train, valid = np.zeros((2, len(self.windows)), bool)
            train[windows[fold.train]], valid[windows[fold.valid]] = True, True
            yield train, valid

    def series(self, name: str, mascons: slice = slice(None)) -> np.ndarray:
        """A (mascon, record) variable on the windows: (mascon, window), NaN in gap months."""
        return self.windows.scatter(open_store(self.series_url)[name].isel(mascon=mascons).values)

    def anomaly(self, mascons: slice = slice(None)) -> np.ndarray:
        """Storage relative to its mean over the training records: (mascon, window) [mm]."""
        values = self.series(self.twsa, mascons)
        return values - mean_of_known(values[:, self.trained])

    def predictors(self, url: str, **region: slice) -> tuple[np.ndarray, np.ndarray]:
        """Monthly and record predictors (place, month | record, variable) of a part of a store."""
        store = open_store(url).isel(region).load()
        return stack(store, self.names), stack(store, self.names, "_record")


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """(place, window) -> (place, 1), NaN where nothing is known."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0).sum(axis=1, keepdims=True), known.sum(axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1).astype(total.dtype), np.nan).astype(total.dtype)


STATES = {
    "parameters": ("mascon", "member", "parameter"),
    "feature_mean": ("mascon", "feature"),
    "feature_scale": ("mascon", "feature"),
    "target_mean": ("mascon",),
    "target_scale": ("mascon",),
}  # of `sciml.grace.local_lstm.States`


def prediction_template(problem: Problem, members: int, networks: "LocalLstm | None" = None) -> Template:
    """Store of a model: members of the mascons' storage and of the cells', (place, member, window) [mm].

    networks: the model whose trained networks lie in the store too, for later months.
    """
    variables = {
        "coarse": Variable(("mascon", "member", "window"), "mm", "predicted storage of mascons", may_be_missing=True),
        "fine": Variable(("cell", "member", "window"), "mm", "predicted storage of cells", may_be_missing=True),
        "out_of_fold": Variable(
            ("mascon", "window"), "mm", "training years, predicted by models that never saw them", may_be_missing=True
        ),
    }
    layout = problem.layout
    sizes = {
        "mascon": layout.mascons,
        "cell": len(layout.parent),
        "member": members,
        "window": len(problem.windows),
    }
    if networks:
        features = len(networks.problem.names) + 2  # and the season
        sizes |= {"feature": features, "parameter": Shape(features, networks.config.hidden_size).parameters}
        variables |= {name: Variable(dims, may_be_missing=True) for name, dims in STATES.items()}
    coordinates = {"window": xr.Variable("window", problem.windows.middle)}
    shards = {"mascon": layout.mascons_per_item, "cell": layout.slot}
    return Template(sizes, variables, shards=shards, coordinates=coordinates)


LEAST_KNOWN = 0.5  # share of the cells that must have a prediction for a window to be downscaled
FOLD_MEMBERS = 3  # enough to know how wrong a model is; the shipped ensemble is larger and a little better


@dataclass(frozen=True, eq=False)
class LocalLstm:
    """Stage function: the paper's ensemble of each mascon of a block, trained on it and run on its cells.

    first: the window from which on it predicts. learned_url: the store that holds the networks (`STATES`), to run
    them and train none; an update has both.
    """

    problem: Problem
    config: LocalLSTMConfig
    lags: int
    first: int = 0
    learned_url: str = ""

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        problem, mascons = self.problem, slice(item.mascon_start, item.mascon_stop)
        cells = problem.layout.of(item)
        coarse = self._features(*problem.predictors(problem.coarse_url, mascon=mascons))
        fine = self._features(*problem.predictors(problem.fine_url, cell=slice(item.cell_start, item.cell_stop)))
        if self.learned_url:
            store = open_store(self.learned_url).isel(mascon=mascons)
            states, trained = {name: store[name].values for name in STATES}, {}
            apart = np.full(coarse.shape[:2], np.nan, np.float32)
        else:
            states = trained = self._fit(coarse, item, problem.trained, self.config)
            apart = self._out_of_fold(coarse, item)
        found = np.full((item.cell_stop - item.cell_start, self.config.members, coarse.shape[1]), np.nan, np.float32)
        local = cells - item.cell_start
        found[local] = predict_units(states, fine[local], problem.layout.parent[cells] - item.mascon_start)
        return {"coarse": predict_units(states, coarse), "fine": found, "out_of_fold": apart, **trained}

    def _features(self, monthly: np.ndarray, recorded: np.ndarray) -> np.ndarray:
        windows = self.problem.windows.select(np.arange(self.first, len(self.problem.windows)))
        return lag_sequences(monthly, recorded, windows, self.problem.months, self.lags)

    def _fit(self, features: np.ndarray, item: Block, use: np.ndarray, config: LocalLSTMConfig) -> States:
        problem, mascons = self.problem, slice(item.mascon_start, item.mascon_stop)
        return fit_units(
            features,
            problem.anomaly(mascons),
            1 / np.square(problem.series(problem.uncertainty, mascons)),
            use & np.isfinite(features).all(axis=(2, 3)),
            config,
            [f"{problem.name}/{number}" for number in range(item.mascon_start, item.mascon_stop)],
            problem.seed,
        )

    def _out_of_fold(self, features: np.ndarray, item: Block) -> np.ndarray:
        problem = self.problem
        out = np.full(features.shape[:2], np.nan, np.float32)
        config = dataclasses.replace(self.config, members=min(FOLD_MEMBERS, self.config.members))
        for train, valid in problem.year_folds():
            states = self._fit(features, item, train, config)
            out[:, valid] = predict_units(states, features[:, valid]).mean(axis=1)
        return out


@dataclass(frozen=True)
class FitItem:
    """Address of the one fit, which needs everything at once."""

    fit: int = 0


def share_template(mascons: int) -> Template:
    """Store of what a model's contrasts are worth: see `sciml.grace.downscale.Share`."""
    variables = {
        "share": Variable(("fit",), "1", "share of the predicted contrast that is believed", dtype="float64"),
        "standard_error": Variable(("fit",), "1", "standard error of the slope before shrinking", dtype="float64"),
        "unexplained": Variable(("fit",), "1", "contrast left over that predicted", dtype="float64"),
        "gap_sigma": Variable(("fit", "mascon"), "mm", "error of the model's own mascon means", dtype="float64"),
        "detail_sigma": Variable(("fit", "mascon"), "mm", "error of a cell beside its mascon's mean", dtype="float64"),
    }
    return Template({"fit": 1, "mascon": mascons}, variables)


@dataclass(frozen=True, eq=False)
class LearnShare:
    """Stage function: s, and the errors of mascon means and cells, from the training years alone."""

    problem: Problem
    model_url: str

    def __call__(self, item: FitItem) -> dict[str, np.ndarray]:
        problem, cells = self.problem, self.problem.layout.cells
        trained, store = problem.trained, open_store(self.model_url)
        observed, uncertainty = problem.anomaly()[:, trained], problem.series(problem.uncertainty)[:, trained]
        apart = np.nan_to_num(store["out_of_fold"].values[:, trained])  # a mascon without a model shows no contrast
        blocks = super_mascons(*centres(cells))
        middle = problem.windows.middle[trained]
        share = fit_share(apart, observed, uncertainty, middle, coarse_operator(cells, blocks))
        slots = [_member_mean(store, block, trained) for block in problem.layout.blocks]
        fine = np.concatenate(slots)[problem.layout.real]
        fine = filled(fine[:, None, reached_windows(fine[:, None])], cells)[:, 0]
        detail = detail_sigma(fine, share, cells, cells.operator(), observed)
        found = {"share": share.share, "standard_error": share.standard_error, "unexplained": share.unexplained}
        return {name: np.array([value]) for name, value in found.items()} | {
            "gap_sigma": gap_sigma(apart, observed, uncertainty)[None],
            "detail_sigma": detail[None],
        }


def reached_windows(predicted: np.ndarray) -> np.ndarray:
    """Windows that the predictors reach: (cell, member, window) -> (window,) bool. A few cells may lack them always."""
    return np.isfinite(predicted).all(axis=1).mean(axis=0) > LEAST_KNOWN


def filled(predicted: np.ndarray, cells: Cells) -> np.ndarray:
    """Cells without predictors get the mean of their mascon's other cells, so they add no contrast of their own.

    predicted: (cell, member, window) [mm]; a mascon without any gets 0, the training mean.
    """
    known = np.isfinite(predicted)
    if known.all():
        return predicted
    total, weight = cells.mean(np.where(known, predicted, 0.0)), cells.mean(known)
    mean = np.where(weight > 0, total / np.maximum(weight, 1e-12), 0.0)
    return np.where(known, predicted, mean[cells.parent]).astype(np.float32)


def centres(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude [degrees] of the middle of each mascon's land."""
    x, y, z = cells.mean(unit_vectors(cells.latitude, cells.longitude)).T
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), np.rad2deg(np.arctan2(y, x))


def _member_mean(store: xr.Dataset, block: Block, use: np.ndarray) -> np.ndarray:
    return store["fine"].isel(cell=slice(block.cell_start, block.cell_stop)).values[..., use].mean(axis=1)


@dataclass(frozen=True)
class WindowBlock:
    """Address of some windows."""

    window_start: int
    window_stop: int


def window_blocks(windows: int, size: int) -> list[WindowBlock]:
    """Windows in blocks of `size`, the last one shorter."""
    return [WindowBlock(*span) for span in spans(windows, size)]


def downscaled_template(problem: Problem, members: int, windows_per_item: int) -> Template:
    """Store of the downscaled storage of all real cells: members, their mean and standard deviation [mm]."""
    cells = problem.layout.cells
    variables = {
        "twsa_member": Variable(("cell", "member", "window"), "mm", "downscaled storage anomaly", may_be_missing=True),
        "twsa": Variable(("cell", "window"), "mm", "mean of the members", may_be_missing=True),
        "twsa_sigma": Variable(("cell", "window"), "mm", "standard deviation of the members", may_be_missing=True),
    }
    gap = (~problem.windows.observed).astype(np.int8)
    coordinates = {
        "lat": xr.Variable("cell", cells.latitude, {"units": "degrees_north"}),
        "lon": xr.Variable("cell", cells.longitude, {"units": "degrees_east"}),
        "cell_area": xr.Variable("cell", cells.area, {"units": "km2"}),
        "parent": xr.Variable("cell", cells.parent, {"long_name": "mascon that holds the cell"}),
        "window": xr.Variable("window", problem.windows.middle),
        "gap_month": xr.Variable("window", gap, {"long_name": "1: no GRACE record"}),
    }
    sizes = {"cell": len(cells.parent), "member": members, "window": len(problem.windows)}
    return Template(sizes, variables, shards={"window": windows_per_item}, coordinates=coordinates)


@dataclass(frozen=True, eq=False)
class Downscale:
    """Stage function: x = I(g) + s (p - I(mean p)) of all cells in some windows. Without a model, x = I(g).

    first: the problem's window that items, and the model's store, count from.
    """

    problem: Problem
    members: int
    model_url: str = ""
    share_url: str = ""
    first: int = 0

    def __call__(self, item: WindowBlock) -> dict[str, np.ndarray]:
        problem, cells = self.problem, self.problem.layout.cells
        when = slice(self.first + item.window_start, self.first + item.window_stop)
        if self.model_url:
            store = open_store(self.model_url)["fine"].isel(window=slice(item.window_start, item.window_stop))
            slots = [store.isel(cell=slice(b.cell_start, b.cell_stop)).values for b in problem.layout.blocks]
            predicted, fit = np.concatenate(slots)[problem.layout.real], open_store(self.share_url).load().isel(fit=0)
            share, gap, detail = float(fit["share"]), fit["gap_sigma"].values, fit["detail_sigma"].values
        else:
            predicted = np.zeros((len(cells.parent), self.members, when.stop - when.start), np.float32)
            share, gap, detail = 0.0, self._climate_error(), np.zeros(cells.mascons)
        observed = problem.anomaly()[:, when]
        reached = reached_windows(predicted)
        found = downscale(
            filled(predicted[..., reached], cells),
            observed[:, reached],
            problem.series(problem.uncertainty)[:, when][:, reached],
            problem.windows.middle[when][reached],
            share,
            cells,
            cells.operator(),
            gap_sigma=gap,
            detail_sigma=detail,
            seed=problem.seed,
        ).members
        members = np.full(predicted.shape, np.nan, np.float32)
        members[..., reached] = found
        return {
            "twsa_member": members,
            "twsa": members.mean(axis=1, dtype=np.float64),
            "twsa_sigma": members.std(axis=1, ddof=1, dtype=np.float64),
        }

    def _climate_error(self) -> np.ndarray:
        """What is not known of a mascon in a month that nobody saw: its deviation in the training months."""
        return self.problem.anomaly()[:, self.problem.trained].std(axis=1)
