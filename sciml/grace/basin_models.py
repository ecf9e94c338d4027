"""Models of the basin experiments from networks and tables to calibrated members, one experiment an item."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from sciml.core.seeds import seed_for
from sciml.data.stores import Template, Variable, open_store
from sciml.grace import baselines, basins, calibration, features
from sciml.grace.basin_nets import REGION_MEMBERS, Prepared, Setup
from sciml.grace.basin_table import BasinArrays
from sciml.grace.basins import LeftOut, Prediction
from sciml.grace.lags import lag_sequences
from sciml.grace.local_lstm import LocalLSTMConfig, fit_units, predict_units

MEMBERS = 30  # of a calibrated prediction
RIDGE_ALPHA = 30.0


@dataclass(frozen=True)
class BasinBlock:
    """Address of some basins."""

    basin_start: int
    basin_stop: int


def local_template(count: int, members: int, months: np.ndarray, size: int) -> Template:
    """Store of per-basin ensembles."""
    variables = {
        "storage": Variable(("basin", "member", "month"), "mm", "predicted storage anomaly", may_be_missing=True),
        "out_of_half": Variable(("basin", "month"), "mm", "each half of training by the other", may_be_missing=True),
    }
    sizes = {"basin": count, "member": members, "month": len(months)}
    return Template(sizes, variables, {"basin": size}, {"month": xr.Variable("month", months.astype("datetime64[s]"))})


@dataclass(frozen=True)
class BasinLstm:
    """Stage function: the paper's ensemble of each basin of a block."""

    setup: Setup
    members: int
    lags: int

    def __call__(self, item: BasinBlock) -> dict[str, np.ndarray]:
        ready = self.setup.prepare()
        data, part = ready.data, slice(item.basin_start, item.basin_stop)
        predictors = data.family_mean[part]
        table = lag_sequences(predictors, predictors, data.windows, data.months, self.lags)
        out_of_half = np.full((len(table), len(data.months)), np.nan, np.float32)
        for half in ready.halves:
            kept = data.train & ~half
            out_of_half[:, half] = self._ensemble(data, part, table, kept, 5).mean(axis=1)[:, half]
        return {"storage": self._ensemble(data, part, table, data.train, self.members), "out_of_half": out_of_half}

    def _ensemble(
        self, data: BasinArrays, part: slice, table: np.ndarray, keep: np.ndarray, members: int
    ) -> np.ndarray:
        known = np.isfinite(table).all(axis=(2, 3))
        states = fit_units(
            table,
            data.storage[part],
            1 / np.square(data.uncertainty[part]),
            keep & known & np.isfinite(data.storage[part]),
            LocalLSTMConfig(members=members),
            list(data.names[part]),
            self.setup.seed,
        )
        return predict_units(states, table)


@dataclass(frozen=True)
class Whole:
    """Address of the one item of a stage that needs everything at once."""

    model: int


def members_template(models: tuple[str, ...], units: int, months: np.ndarray) -> Template:
    """Store of calibrated members, one model an object."""
    dims = ("model", "unit", "member", "month")
    variables = {"storage": Variable(dims, "mm", "predicted storage anomaly", may_be_missing=True)}
    coordinates = {"month": xr.Variable("month", months.astype("datetime64[s]"))}
    sizes = {"model": len(models), "unit": units, "member": MEMBERS, "month": len(months)}
    return Template(sizes, variables, {"model": 1}, coordinates, {"models": ", ".join(models)})


@dataclass(frozen=True)
class Assemble:
    """Stage function: calibrated members of one model of an experiment.

    experiment: basins, basins_region_out or regroup. urls: stores of networks and of per-basin ensembles, by model.
    """

    setup: Setup
    experiment: str
    models: tuple[str, ...]
    urls: dict[str, str]

    def __call__(self, item: Whole) -> dict[str, np.ndarray]:
        ready, name = self.setup.prepare(), self.models[item.model]
        made = _MAKERS[self.experiment, name](ready, self.urls, self.setup.seed)
        return {"storage": made.members[None]}


Maker = Callable[[Prepared, dict[str, str], int], Prediction]


def _table_model(fit: baselines.FitPredict) -> Maker:
    """A baseline that is fitted on storage by month, calibrated by halves of the training years."""

    def make(ready: Prepared, _: dict[str, str], seed: int) -> Prediction:
        problem = ready.problem
        apart = baselines.out_of_fold(fit, problem.storage, problem.train, ready.halves)
        point = fit(problem.storage, problem.train)
        return basins.calibrated(problem, point, apart, ready.halves, MEMBERS, seed)

    return make


def _climatology_trend(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    months = ready.problem.months
    return _table_model(lambda y, k: baselines.climatology_trend(y, months, k))(ready, urls, seed)


def _last_year(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    months = ready.problem.months
    return _table_model(lambda y, k: baselines.last_year(y, months, k))(ready, urls, seed)


def _ridge(stores: bool) -> Maker:
    def make(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
        problem = ready.problem
        table = basins.ridge_table(problem, problem.train, stores)
        alpha = baselines.choose_alpha(table, problem.storage, problem.train, ready.blocks).value
        return _table_model(lambda y, k: baselines.ridge(table, y, k, alpha))(ready, urls, seed)

    return make


def _lstm(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    store = open_store(urls["lstm"]).load()
    point = store["storage"].values.mean(axis=1, dtype=np.float64)
    return basins.calibrated(ready.problem, point, store["out_of_half"].values, ready.halves, MEMBERS, seed)


def _global(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    nets = open_store(urls["basin_nets"])["storage"].values
    members = len(nets) - 5
    apart = [np.full(nets.shape[1:], np.nan) for _ in range(2)]
    for out, folds, first in ((apart[0], ready.blocks, members), (apart[1], ready.halves, members + 3)):
        for number, valid in enumerate(folds):
            out[:, valid] = nets[first + number][:, valid]
    return basins.assemble_basins(ready.problem, nets[:members], *apart, ready.blocks, ready.halves, MEMBERS, seed)


def _region_out(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    store = open_store(urls["region_nets"]).load()
    nets, problem, count = store["standard"].values, ready.problem, len(ready.regions)
    deviation = basins.scales(problem, problem.train)[1][:, None]
    shipped = np.zeros((REGION_MEMBERS, *problem.storage.shape))
    left = []
    for number, (_, valid) in enumerate(ready.regions):
        shipped[:, valid] = nets[number * REGION_MEMBERS : (number + 1) * REGION_MEMBERS, valid]
        shipped[:, :, ~np.isfinite(nets[0]).all(axis=0)] = np.nan
        half = ready.halves[number % 2]
        apart = store["storage"].values[count * REGION_MEMBERS + number] / deviation
        left.append(LeftOut(apart, problem.train & ~half, half, valid))
    return basins.assemble_region_out(problem, shipped, ready.regions, left, MEMBERS, seed)


def _regrouped(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    assert ready.grouped is not None
    nets, train = open_store(urls["group_nets"])["storage"].values, ready.problem.train
    regions, groups = int(ready.group_region.max()) + 1, len(ready.group_region)
    members = len(nets) - 2 * regions
    left = []
    for number, half in enumerate(ready.halves):
        predicted = np.full((groups, nets.shape[-1]), np.nan)
        for region in range(regions):
            inside = ready.group_region == region
            predicted[inside] = nets[members + number * regions + region, :groups][inside]
        left.append(LeftOut(predicted, train & ~half, half, np.ones(groups, bool)))
    scale = basins.group_scale(ready.grouped, ready.grouped.is_group, train)
    return basins.assemble_regroup(ready.grouped, nets[:members], left, ready.group_centre, scale, MEMBERS, seed)


def _group_mean(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    """What GRACE saw of the neighbourhood, for each of its basins; the error is what groups differ from neighbours."""
    assert ready.grouped is not None
    work = ready.grouped
    point = work.problem.storage[work.is_group][work.grouping.label]
    deviation = np.nanstd(np.where(work.problem.train, point, np.nan), axis=1)
    sigma = deviation * _neighbour_contrast(ready)
    return Prediction(calibration.members(np.nan_to_num(point), sigma, MEMBERS, seed), point, sigma, {})


def _neighbour_contrast(ready: Prepared) -> float:
    """Deviation of a group from the mean with its nearest group, over its own deviation: the median of all groups."""
    assert ready.grouped is not None
    storage = ready.grouped.problem.storage[ready.grouped.is_group][:, ready.problem.train]
    distance = np.linalg.norm(ready.group_centre[:, None] - ready.group_centre[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    apart = 0.5 * (storage - storage[distance.argmin(axis=1)])
    return float(np.nanmedian(np.nanstd(apart, axis=1) / np.nanstd(storage, axis=1)))


def _group_ridge(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    """Ridge trained on a group's mean, applied to its basins with their whole contrast."""
    assert ready.grouped is not None
    work, train = ready.grouped, ready.problem.train
    problem, label, groups = work.problem, work.grouping.label, int(work.is_group.sum())
    filled = features.fill_families(problem.predictors, problem.reference(train))
    table = features.lag_table(filled[:, :, 0], problem.months)
    own = np.full((len(label), len(problem.months)), np.nan)
    for group in range(groups):
        scaler = StandardScaler().fit(table[group][train])
        model = Ridge(alpha=RIDGE_ALPHA).fit(scaler.transform(table[group][train]), problem.storage[group][train])
        for basin in np.flatnonzero(label == group):
            known = np.isfinite(table[groups + basin]).all(axis=1)
            own[basin, known] = model.predict(scaler.transform(table[groups + basin][known]))
    return _with_contrast(ready, own, seed)


def _group_lstm(ready: Prepared, urls: dict[str, str], seed: int) -> Prediction:
    """The paper's ensemble trained on a group's mean, applied to its basins with their whole contrast."""
    assert ready.grouped is not None
    work, windows = ready.grouped, ready.data.windows
    problem, groups = work.problem, int(work.is_group.sum())
    known = np.isfinite(problem.predictors)
    mean = np.where(known, problem.predictors, 0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    table = lag_sequences(mean.astype(np.float32), mean.astype(np.float32), windows, problem.months, 23)
    usable = problem.train & np.isfinite(table[:groups]).all(axis=(2, 3))
    states = fit_units(
        table[:groups],
        problem.storage[:groups],
        np.ones((groups, len(problem.months))),
        usable,
        LocalLSTMConfig(members=8),
        [f"group {g}" for g in range(groups)],
        seed_for(seed, "regroup"),
    )
    own = predict_units(states, table[groups:], work.grouping.label).mean(axis=1, dtype=np.float64)
    return _with_contrast(ready, own, seed)


def _with_contrast(ready: Prepared, own: np.ndarray, seed: int) -> Prediction:
    assert ready.grouped is not None
    work = ready.grouped
    point = work.problem.storage[work.is_group][work.grouping.label] + work.grouping.contrast(own)
    sigma = np.nanstd(np.where(work.problem.train, point, np.nan), axis=1) * _neighbour_contrast(ready)
    return Prediction(calibration.members(np.nan_to_num(point), sigma, MEMBERS, seed), point, sigma, {})


_BASELINES: dict[str, Maker] = {
    "climatology_trend": _climatology_trend,
    "last_year": _last_year,
    "ridge": _ridge(stores=False),
    "ridge_stores": _ridge(stores=True),
}
_MAKERS: dict[tuple[str, str], Maker] = {
    **{("basins", name): maker for name, maker in _BASELINES.items()},
    ("basins", "lstm"): _lstm,
    ("basins", "global_lstm"): _global,
    **{("basins_region_out", name): maker for name, maker in _BASELINES.items()},
    ("basins_region_out", "global_lstm"): _region_out,
    ("regroup", "group_mean"): _group_mean,
    ("regroup", "ridge"): _group_ridge,
    ("regroup", "lstm"): _group_lstm,
    ("regroup", "global_lstm"): _regrouped,
}


def models_of(experiment: str, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Models of an experiment: the chosen ones and every baseline."""
    trained = ("lstm", "global_lstm", "ridge")
    names = [name for where, name in _MAKERS if where == experiment]
    return tuple(name for name in names if name not in trained or name in chosen or name == "ridge")
