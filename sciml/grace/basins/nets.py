"""All networks of the basin experiments: which units and months each is trained on, and what it says of all of them."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from sciml.core.grid import unit_vectors
from sciml.core.seeds import seed_for
from sciml.data.readers.common import note
from sciml.data.splits import Period, neighbourhoods, region_folds, separation_km
from sciml.data.stores import Template, Variable
from sciml.grace.basins import experiments, regroup
from sciml.grace.basins.experiments import Problem, Regrouped
from sciml.grace.basins.table import FLUXES, BasinArrays, BasinSource, read
from sciml.grace.global_lstm import GlobalTraining
from sciml.nn.checkpoint import load_checkpoint

REGIONS = 8  # folds of places held out together, at most
BASINS_PER_REGION = 4  # at least, on average
GROUP_REGIONS = 6  # neighbourhoods of groups held out to learn the shares
SIGNS = dict(zip(FLUXES, (1.0, -1.0, -1.0), strict=True))  # water budget


@dataclass(frozen=True)
class Setup:
    """What the basin experiments are about; equal setups are prepared once in each process.

    folds: blocks of training years; members, lags: of local ensembles; global_members: of the shipped global nets.
    fluxes: what the models see, of every family, in the order of FLUXES.
    """

    source: BasinSource
    train: Period
    test: Period
    groups: int
    folds: int
    members: int
    global_members: int
    lags: int
    seed: int
    fluxes: tuple[str, ...] = FLUXES

    @property
    def region_members(self) -> int:
        """Global nets for each region left out: half as many, since every region needs its own."""
        return max(2, self.global_members // 2)

    def prepare(self) -> "Prepared":
        return _prepare(self)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that networks and scores take.

    blocks: `folds` blocks of training years, which choose and correct; halves: always two, which calibrate, since they
    are as far from what was trained on as the test is. placed: (placed,) indices of basins with a place. regions:
    basins that train and that are held out, (basin,) bool each; empty where none can be held out. group_region:
    (group,) neighbourhood of each group, held out together.
    """

    setup: Setup
    table: xr.Dataset
    data: BasinArrays
    problem: Problem
    blocks: list[np.ndarray]
    halves: list[np.ndarray]
    placed: np.ndarray
    regions: list[tuple[np.ndarray, np.ndarray]]
    grouped: Regrouped | None
    group_region: np.ndarray


@functools.lru_cache(maxsize=1)
def _prepare(setup: Setup) -> Prepared:
    table, data = read(setup.source, setup.train, setup.test)
    whole = Problem(data.months, data.predictors, data.storage.astype(float), data.uncertainty, data.train)
    problem = seeing(whole, FLUXES, setup.fluxes)
    blocks, halves = (experiments.folds(data.months, data.train, count) for count in (setup.folds, 2))
    placed, regions, grouped, region = np.array([], int), [], None, np.zeros(0, int)
    if "cell_parent" in table:
        latitude, longitude = table["lat"].values, table["lon"].values
        placed = np.flatnonzero(np.isfinite(latitude))
        parent = table["cell_parent"].values
        regions = _regions(table, placed)
        if not regions:
            note(
                table,
                f"{setup.source.mask}: basins_region_out is left out: of {len(placed)} basins with a place, none would"
                " be left to train without a region and all within 500 km of it",
            )
    if len(placed) > setup.groups:
        label = neighbourhoods(latitude[placed], longitude[placed], setup.groups, seed=0)
        part = replace(
            problem,
            predictors=problem.predictors[placed],
            storage=problem.storage[placed],
            uncertainty=problem.uncertainty[placed],
        )
        footprint = regroup.footprint(
            np.searchsorted(placed, parent), *(table[f"cell_{name}"].values for name in ("lat", "lon", "area_km2"))
        )
        place = unit_vectors(latitude[placed], longitude[placed])
        grouped = experiments.regrouped(part, label, table["area_km2"].values[placed], place, footprint)
        x, y, z = grouped.centre.T
        north, east = np.rad2deg(np.arcsin(z)), np.rad2deg(np.arctan2(y, x))
        region = neighbourhoods(north, east, min(GROUP_REGIONS, len(grouped.area)), seed=0)
    return Prepared(setup, table, data, problem, blocks, halves, placed, regions, grouped, region)


def seeing(problem: Problem, fluxes: Sequence[str], chosen: Sequence[str]) -> Problem:
    """The problem with some of its `fluxes` alone, and their part of the water budget."""
    if tuple(chosen) == tuple(fluxes):
        return problem
    predictors = np.ascontiguousarray(problem.predictors[..., [fluxes.index(name) for name in chosen]])
    return replace(problem, predictors=predictors, signs=tuple(SIGNS[name] for name in chosen))


def _regions(table: xr.Dataset, placed: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Basins that train and that are held out, (basin,) bool each, by region; none where a region leaves nothing to
    train on."""
    if len(placed) < 2:
        return []
    parent, latitude, longitude = (table[f"cell_{name}"].values for name in ("parent", "lat", "lon"))
    cells = [(latitude[parent == unit], longitude[parent == unit]) for unit in range(table.sizes["basin"])]
    count = max(2, min(REGIONS, len(placed) // BASINS_PER_REGION))
    folds = region_folds(table["lat"].values, table["lon"].values, separation_km(cells), count, seed=0)
    return [(fold.train, fold.valid) for fold in folds] if all(fold.train.any() for fold in folds) else []


@dataclass(frozen=True)
class Net:
    """One network: `all` training data, without a `block` or `half` of the years, without a `region` of basins (also
    `region_half`: and half of the years), on `group` means, or on these without a neighbourhood and half of the years
    (`group_left`).
    """

    kind: str
    fold: int
    member: int
    half: int = -1


@dataclass(frozen=True)
class NetSettings:
    """What may be chosen of the networks: fluxes of every family that they see, size, regularisation, fitting."""

    fluxes: tuple[str, ...] = FLUXES
    hidden_size: int = 64
    dropout: float = 0.3
    input_noise: float = 0.1
    history: int = 24
    epochs: int = 13
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3

    def training(self, base: GlobalTraining) -> GlobalTraining:
        """`base` with what was chosen."""
        return replace(
            base,
            network=replace(
                base.network,
                hidden_size=self.hidden_size,
                dropout=self.dropout,
                input_noise=self.input_noise,
                history=self.history,
            ),
            fitting=replace(
                base.fitting, epochs=self.epochs, learning_rate=self.learning_rate, weight_decay=self.weight_decay
            ),
            prediction_history=max(base.prediction_history, self.history),
        )


def basin_nets(members: int, folds: int) -> list[Net]:
    """Networks of `basins`: the shipped members, and those that tell how wrong they are."""
    left = [Net("block", fold, 0) for fold in range(folds)] + [Net("half", fold, 0) for fold in range(2)]
    return [Net("all", 0, member) for member in range(members)] + left


def region_nets(members: int, regions: int) -> list[Net]:
    """Networks of `basins_region_out`; for shares and error also without half of the years, one half each region."""
    shipped = [Net("region", fold, member) for fold in range(regions) for member in range(members)]
    return shipped + [Net("region_half", fold, 0, fold % 2) for fold in range(regions)]


def group_nets(members: int, regions: int) -> list[Net]:
    """Networks of `regroup`: on all groups, and without each neighbourhood of groups and each half of the years."""
    left = [Net("group_left", region, 0, half) for half in range(2) for region in range(regions)]
    return [Net("group", 0, member) for member in range(members)] + left


@dataclass(frozen=True)
class _Task:
    problem: Problem
    units: np.ndarray
    keep: np.ndarray
    scale: np.ndarray
    level: np.ndarray


def _task(setup: Setup, net: Net) -> _Task:
    """What a network is trained on: units, months, and the scale and level that turn storage into targets."""
    ready = setup.prepare()
    problem, keep = ready.problem, ready.problem.train
    if net.kind in ("group", "group_left"):
        assert ready.grouped is not None
        problem, units = ready.grouped.problem, ready.grouped.is_group.copy()
        if net.kind == "group_left":
            keep = keep & ~ready.halves[net.half]
            units[: len(ready.group_region)] = ready.group_region != net.fold
        scale = experiments.group_scale(ready.grouped, units, keep)
        return _Task(problem, units, keep, scale, np.zeros(len(scale)))
    units = np.ones(len(problem.storage), bool)
    if net.kind == "block":
        keep = keep & ~ready.blocks[net.fold]
    elif net.kind == "half":
        keep = keep & ~ready.halves[net.fold]
    elif net.kind in ("region", "region_half"):
        units = ready.regions[net.fold][0]
    if net.kind == "region_half":
        keep = keep & ~ready.halves[net.half]
    level, scale = experiments.scales(problem, keep)
    return _Task(problem, units, keep, scale, level)


def train_net(setup: Setup, net: Net, settings: NetSettings, report: Any = None, resume: Any = None) -> dict[str, Any]:
    """State of a network; report, resume: as in `sciml.nn.training.fit`."""
    task = _task(setup, net)
    state = experiments.net_states(
        seeing(task.problem, setup.fluxes, settings.fluxes),
        task.keep,
        task.units,
        task.scale,
        task.level,
        settings.training(GlobalTraining()),
        seed_for(setup.seed, net.kind, net.fold, net.member, net.half),
        report,
        resume,
    )
    return {"model": state, "scaling": {"scale": torch.from_numpy(task.scale), "level": torch.from_numpy(task.level)}}


def predict_net(
    setup: Setup, net: Net, settings: NetSettings, state: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """What a network says of all units in all months, in units of the unit's scale and in mm: (unit, month) each."""
    task = _task(setup, net)
    problem = seeing(task.problem, setup.fluxes, settings.fluxes)
    training = settings.training(GlobalTraining())
    standard = experiments.net_prediction(problem, state["model"], task.keep, task.units, training)
    return standard, standard * task.scale[:, None] + task.level[:, None]


@dataclass(frozen=True)
class TrainNets:
    """What `cluster.train.Training` calls: network number `member` of the list."""

    setup: Setup
    nets: tuple[Net, ...]
    settings: NetSettings = NetSettings()

    def __call__(self, config: Mapping[str, Any], member: int, place: Any) -> dict[str, Any]:
        return train_net(self.setup, self.nets[member], self.settings, place.report, place.resume)


@dataclass(frozen=True)
class NetItem:
    """Address of one network."""

    net_start: int
    net_stop: int


@dataclass(frozen=True)
class PredictNets:
    """Stage function: what a network says of all units (basins; or groups, then basins) in all months."""

    setup: Setup
    nets: tuple[Net, ...]
    checkpoints: tuple[str, ...]
    settings: NetSettings = NetSettings()

    def __call__(self, item: NetItem) -> dict[str, np.ndarray]:
        state = load_checkpoint(self.checkpoints[item.net_start])
        standard, storage = predict_net(self.setup, self.nets[item.net_start], self.settings, state)
        return {"standard": standard[None], "storage": storage[None]}


def net_template(nets: Sequence[Net], units: int, months: np.ndarray) -> Template:
    """Store of networks' predictions, one network an object."""
    dims = ("net", "unit", "month")
    variables = {
        "standard": Variable(dims, "1", "prediction in units of the unit's scale", may_be_missing=True),
        "storage": Variable(dims, "mm", "predicted storage anomaly", may_be_missing=True),
    }
    coordinates = {"month": xr.Variable("month", months.astype("datetime64[s]"))}
    return Template({"net": len(nets), "unit": units, "month": len(months)}, variables, {"net": 1}, coordinates)
