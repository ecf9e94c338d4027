"""Models of the basin experiments from networks and tables to calibrated members, one experiment an item."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from sciml.data.stores import Template, Variable, open_store
from sciml.grace import baselines
from sciml.grace.basins import experiments, group_models
from sciml.grace.basins.experiments import MEMBERS, LeftOut, Prediction
from sciml.grace.basins.nets import Prepared, Setup
from sciml.grace.basins.table import FLUXES, BasinArrays
from sciml.grace.lags import lag_sequences
from sciml.grace.local_lstm import fit_units, predict_units
from sciml.grace.search import local_config, names_of


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
        "out_of_fold": Variable(("basin", "month"), "mm", "each block of training by the others", may_be_missing=True),
    }
    sizes = {"basin": count, "member": members, "month": len(months)}
    return Template(sizes, variables, {"basin": size}, {"month": xr.Variable("month", months.astype("datetime64[s]"))})


@dataclass(frozen=True)
class BasinLstm:
    """Stage function: the paper's ensemble of each basin of a block. settings: as in `search.defaults`."""

    setup: Setup
    settings: Mapping[str, Any] = field(hash=False)

    def __call__(self, item: BasinBlock) -> dict[str, np.ndarray]:
        ready = self.setup.prepare()
        data, part = ready.data, slice(item.basin_start, item.basin_stop)
        chosen = [FLUXES.index(name) for name in names_of(self.settings)]
        predictors = data.family_mean[part][..., chosen]
        table = lag_sequences(predictors, predictors, data.windows, data.months, int(self.settings["lags"]))

        def apart(folds: list[np.ndarray]) -> np.ndarray:
            out = np.full((len(table), len(data.months)), np.nan, np.float32)
            for valid in folds:
                out[:, valid] = self._ensemble(data, part, table, data.train & ~valid).mean(axis=1)[:, valid]
            return out

        shipped = self._ensemble(data, part, table, data.train)
        return {"storage": shipped, "out_of_half": apart(ready.halves), "out_of_fold": apart(ready.blocks)}

    def _ensemble(self, data: BasinArrays, part: slice, table: np.ndarray, keep: np.ndarray) -> np.ndarray:
        known = np.isfinite(table).all(axis=(2, 3))
        states = fit_units(
            table,
            data.storage[part],
            1 / np.square(data.uncertainty[part]),
            keep & known & np.isfinite(data.storage[part]),
            local_config(self.settings),
            list(data.names[part]),
            self.setup.seed,
        )
        return predict_units(states, table)


@dataclass(frozen=True)
class Whole:
    """Address of one whole model: all units and months at once."""

    model: int


def members_template(experiment: str, models: tuple[str, ...], units: int, months: np.ndarray) -> Template:
    """Store of calibrated members, one model an object; of `basins` also training months by models without them."""
    dims = ("model", "unit", "member", "month")
    variables = {"storage": Variable(dims, "mm", "predicted storage anomaly", may_be_missing=True)}
    if experiment == "basins":
        apart = Variable(("model", "unit", "month"), "mm", "each block of training by the others", may_be_missing=True)
        variables["out_of_fold"] = apart
    coordinates = {"month": xr.Variable("month", months.astype("datetime64[s]"))}
    sizes = {"model": len(models), "unit": units, "member": MEMBERS, "month": len(months)}
    return Template(sizes, variables, {"model": 1}, coordinates, {"models": ", ".join(models)})


@dataclass(frozen=True)
class Assemble:
    """Stage function: calibrated members of one model of an experiment.

    experiment: basins, basins_region_out or regroup. urls: stores of networks and of per-basin ensembles, by model.
    settings: of the ensembles that `regroup` trains itself, as in `search.defaults`.
    """

    setup: Setup
    experiment: str
    models: tuple[str, ...]
    urls: dict[str, str]
    settings: Mapping[str, Any] = field(hash=False)

    def __call__(self, item: Whole) -> dict[str, np.ndarray]:
        ready, name = self.setup.prepare(), self.models[item.model]
        made = _MAKERS[self.experiment, name](ready, self.urls, self.settings)
        out = {"storage": made.members[None]}
        if self.experiment == "basins" and made.out_of_fold is not None:
            out["out_of_fold"] = made.out_of_fold[None].astype(np.float32)
        return out


Maker = Callable[[Prepared, dict[str, str], Mapping[str, Any]], Prediction]


def _table_model(fit: baselines.FitPredict) -> Callable[[Prepared], Prediction]:
    """A baseline that is fitted on storage by month, calibrated by halves of the training years."""

    def make(ready: Prepared) -> Prediction:
        storage, train = ready.problem.storage, ready.problem.train
        by_block, by_half = (baselines.out_of_fold(fit, storage, train, f) for f in (ready.blocks, ready.halves))
        return _calibrated(ready, fit(storage, train), by_block, by_half)

    return make


def _calibrated(ready: Prepared, point: np.ndarray, by_block: np.ndarray, by_half: np.ndarray) -> Prediction:
    made = experiments.calibrated(ready.problem, point, by_half, ready.halves, MEMBERS, ready.setup.seed)
    return replace(made, out_of_fold=by_block)


def _climatology_trend(ready: Prepared, *_: Any) -> Prediction:
    months = ready.problem.months
    return _table_model(lambda y, k: baselines.climatology_trend(y, months, k))(ready)


def _last_year(ready: Prepared, *_: Any) -> Prediction:
    months = ready.problem.months
    return _table_model(lambda y, k: baselines.last_year(y, months, k))(ready)


def _ridge(stores: bool) -> Maker:
    def make(ready: Prepared, *_: Any) -> Prediction:
        problem = ready.problem
        table = experiments.ridge_table(problem, problem.train, stores)
        alpha = baselines.choose_alpha(table, problem.storage, problem.train, ready.blocks).value
        return _table_model(lambda y, k: baselines.ridge(table, y, k, alpha))(ready)

    return make


def _lstm(ready: Prepared, urls: dict[str, str], _: Any) -> Prediction:
    store = open_store(urls["lstm"]).load()
    point = store["storage"].values.mean(axis=1, dtype=np.float64)
    return _calibrated(ready, point, store["out_of_fold"].values, store["out_of_half"].values)


def _global(ready: Prepared, urls: dict[str, str], _: Any) -> Prediction:
    nets = open_store(urls["basin_nets"])["storage"].values
    shipped, apart = nets[: ready.setup.global_members], iter(nets[ready.setup.global_members :])

    def left_out(folds: list[np.ndarray]) -> np.ndarray:
        out = np.full(nets.shape[1:], np.nan)
        for valid in folds:
            out[:, valid] = next(apart)[:, valid]
        return out

    by_block, by_half = left_out(ready.blocks), left_out(ready.halves)
    return experiments.assemble_basins(
        ready.problem, shipped, by_block, by_half, ready.blocks, ready.halves, MEMBERS, ready.setup.seed
    )


def _region_out(ready: Prepared, urls: dict[str, str], _: Any) -> Prediction:
    nets = open_store(urls["region_nets"])["standard"].values
    problem, members = ready.problem, ready.setup.region_members
    halves = nets[len(ready.regions) * members :]
    shipped = np.zeros((members, *problem.storage.shape))  # basins without a place belong to no region
    shipped[:, :, ~np.isfinite(nets[0]).all(axis=0)] = np.nan
    left = []
    for number, (_, valid) in enumerate(ready.regions):
        shipped[:, valid] = nets[number * members : (number + 1) * members, valid]
        half = ready.halves[number % 2]
        kept = problem.train & ~half
        level, deviation = experiments.scales(problem, kept)
        observed = (problem.storage - level[:, None]) / deviation[:, None]
        left.append(LeftOut(halves[number], observed, kept, half, valid))
    return experiments.assemble_region_out(problem, shipped, ready.regions, left, MEMBERS, ready.setup.seed)


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
    ("regroup", "group_mean"): group_models.group_mean,
    ("regroup", "ridge"): group_models.ridge,
    ("regroup", "lstm"): group_models.lstm,
    ("regroup", "global_lstm"): group_models.global_lstm,
}


def models_of(experiment: str, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Models of an experiment: the chosen ones and every baseline."""
    trained = ("lstm", "global_lstm", "ridge")
    names = [name for where, name in _MAKERS if where == experiment]
    return tuple(name for name in names if name not in trained or name in chosen or name == "ridge")
