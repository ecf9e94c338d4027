"""Storage anomalies of half-degree cells for drought: what GRACE saw, corrected by what the basins' predictors say.

For each mascon, deseasonalised by the climatology of the training years,

    m = ridge on (leaky sums of precipitation anomalies, the basin model's storage p_b) of the basins b near it
    x = m + (1 - w) e,    e = g - m where GRACE saw g, else memory times the e of the month before
    w = sigma_g^2 / <(g - m)^2>,    m of years left out

the best linear mix of an observation and a model by their errors: where m follows GRACE closely, more of what GRACE
says beside it is GRACE's own error. In a gap x relaxes to the model, and before GRACE it is the model alone. Cells take
the conserving interpolation of x and a share s of what p_b of the cell's own basin has beside the interpolation of its
means. The Drought Monitor plays no part in any of this.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from sciml.core.errors import InputError
from sciml.core.grid import EARTH_RADIUS_KM, unit_vectors
from sciml.data.months import MONTH
from sciml.data.stores import Template, Variable, open_store
from sciml.grace import baselines, features
from sciml.grace.basins import experiments
from sciml.grace.basins.models import Whole
from sciml.grace.basins.nets import Setup
from sciml.grace.downscale import Cells, coarse_operator, contrast, fit_share
from sciml.grace.drought.places import Places, places
from sciml.grace.ingest import read_mascons
from sciml.grace.mascons import super_mascons
from sciml.metrics import seasonal

BASELINES = ("mascon", "cubic_conserved")
FIRST_MONTH = np.datetime64("1980-01")

# Chosen on 2002-2014 alone; 10 to 15 mm of error, 300 to 800 km and alpha 30 to 300 serve alike.
GRACE_ERROR_MM = 15.0
REACH_KM = 500.0  # basins so near a mascon speak for it
MEMORIES = (3.0, 6.0, 12.0, 24.0)  # months, of the leaky sums
ALPHA = 100.0
FOLDS = 6


@dataclass(frozen=True, eq=False)
class Ready:
    """What every model takes. months: (month,) with predictors; storage: (mascon, month) [mm], deseasonalised, NaN
    where GRACE saw nothing; train: (month,) bool; near: (mascon, basin) bool; rain: (basin, store, month)."""

    places: Places
    months: np.ndarray
    storage: np.ndarray
    train: np.ndarray
    near: np.ndarray
    rain: np.ndarray


@dataclass(frozen=True)
class DroughtSetup:
    """The basin experiments' setup, a mascon file and a file of county centres."""

    basins: Setup
    mascons: str
    centres: str

    def prepare(self) -> Ready:
        return _prepare(self)


@functools.lru_cache(maxsize=1)
def _prepare(setup: DroughtSetup) -> Ready:
    basin, mascons = setup.basins.prepare(), read_mascons(setup.mascons)
    if "cell_parent" not in basin.table:
        raise InputError("drought: the basins have no place; give --basin-mask")
    found = places(mascons, basin.table, setup.centres)
    near = _near(found, basin.table)
    if not near.any():
        raise InputError(
            f"drought: no basin of {setup.basins.source.file} lies within {REACH_KM:.0f} km of the counties"
        )
    data = basin.data
    reached = np.isfinite(data.predictors[near.any(axis=0)]).any(axis=(0, 2, 3))
    kept = reached & (data.months.astype(MONTH) >= FIRST_MONTH)
    months = data.months[kept].astype(MONTH)
    storage = monthly_storage(mascons, found.mascon, months)
    train = setup.basins.train.contains(months) & np.isfinite(storage).all(axis=0)
    if train.sum() < 24:
        raise InputError(f"{setup.mascons}: found {train.sum()} months in the training period, expected at least 24")
    rain = rain_stores(data.predictors, data.months, basin.problem.reference(data.train))
    return Ready(found, months, deseasonalised(storage, months, train), train, near, rain[..., kept])


def monthly_storage(mascons: xr.Dataset, rows: np.ndarray, months: np.ndarray) -> np.ndarray:
    """Storage by calendar month, the mean of a month's records: (mascon, month) [mm], NaN for a month in which any of
    the mascons was not seen. rows: (mascon,) of the file."""
    values = mascons["twsa"].values[rows]
    bounds = mascons["time_bounds"].values
    month = (bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2).astype(MONTH)
    out = np.full((len(rows), len(months)), np.nan)
    for number, when in enumerate(months):
        seen = values[:, month == when]
        if seen.shape[1] and np.isfinite(seen).all():
            out[:, number] = seen.mean(axis=1)
    return out


def deseasonalised(values: np.ndarray, months: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Anomaly to the climatology of the training months, whose mean becomes zero; the trend stays in.

    values: (unit, month), NaN allowed outside `train` (month,). Returns (unit, month).
    """
    middle = months.astype(MONTH).astype("datetime64[D]") + 14
    cycle = seasonal.climatology(values[:, train], middle[train])
    left = values - cycle[:, months.astype(MONTH).astype(np.int64) % 12]
    return left - left[:, train].mean(axis=1, keepdims=True)


def rain_stores(predictors: np.ndarray, months: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Leaky sums of precipitation anomalies, mean over the families, in units of their rms over the reference months.

    predictors: (basin, month, family, flux), precipitation first; reference: (month,) bool. -> (basin, store, month).
    """
    rain = features.fill_families(predictors, reference)[..., 0]
    count = np.isfinite(rain).sum(axis=2)
    rain = np.where(count > 0, np.nansum(rain, axis=2) / np.maximum(count, 1), np.nan)
    number = months.astype(MONTH).astype(np.int64) % 12
    for calendar in range(12):
        rain[:, number == calendar] -= np.nanmean(rain[:, reference & (number == calendar)], axis=1, keepdims=True)
    stores = features.leaky_stores(rain[..., None], reference, MEMORIES)[:, :, 0]
    size = np.sqrt((stores[:, reference] ** 2).mean(axis=1, keepdims=True))
    return np.moveaxis(stores / np.maximum(size, 1e-9), 2, 1)


def follow(
    storage: np.ndarray, columns: np.ndarray, near: np.ndarray, train: np.ndarray, blocks: Sequence[np.ndarray]
) -> np.ndarray:
    """What the basins near each mascon say of it: (mascon, month) [mm], each block of training years by the others.

    storage: (mascon, month) [mm]; columns: (basin, column, month); near: (mascon, basin) bool; train, blocks: (month,)
    bool. 0 for a mascon without a basin near it; NaN where a column has no value.
    """
    out = np.zeros(storage.shape)
    for mascon, who in enumerate(near):
        if not who.any():
            continue
        table = columns[who].reshape(-1, columns.shape[-1]).T[None]
        own = storage[mascon][None]
        out[mascon] = baselines.ridge(table, own, train, ALPHA)[0]
        for block in blocks:
            out[mascon, block] = baselines.ridge(table, own, train & ~block, ALPHA)[0][block]
    return out


def trust(model: np.ndarray, storage: np.ndarray, near: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w and the memory of e: (mascon,) each, from out-of-fold training months; w is 0 without a basin near."""
    error = (storage - model)[:, train]
    square = (error**2).mean(axis=1)
    w = np.where(near.any(axis=1), np.minimum(GRACE_ERROR_MM**2 / np.maximum(square, 1e-9), 1.0), 0.0)
    follows = np.diff(np.flatnonzero(train)) == 1
    before, after = error[:, :-1][:, follows], error[:, 1:][:, follows]
    memory = (before * after).sum(axis=1) / np.maximum((before**2).sum(axis=1), 1e-9)
    return w, np.clip(memory, 0.0, 0.98)


def analysis(model: np.ndarray, storage: np.ndarray, w: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """x = m + (1 - w) e: (mascon, month) [mm]. model, storage: (mascon, month), storage NaN in gaps; w, memory:
    (mascon,)."""
    out, error = np.empty(model.shape), np.zeros(len(model))
    for month in range(model.shape[1]):
        seen = np.isfinite(storage[:, month])
        known = np.where(np.isfinite(model[:, month]), model[:, month], 0.0)
        error = np.where(seen, storage[:, month] - known, memory * error)
        out[:, month] = model[:, month] + (1 - w) * error
    return out


def basin_storage(members_url: str, model: str) -> np.ndarray:
    """Storage of all basins by one of the main job's models, training months by nets or fits that did not see them:
    (basin, month) [mm], NaN before its predictors suffice. members_url: store of the experiment `basins`."""
    store = open_store(members_url)
    number = store.attrs["models"].split(", ").index(model)
    one = store.isel(model=number)
    apart = one["out_of_fold"].values
    return np.where(np.isfinite(apart), apart, one["storage"].values.mean(axis=1, dtype=np.float64))


@dataclass(frozen=True)
class Downscale:
    """Stage function: anomalies of the cells by one model, and by the model without GRACE.

    members_url: store of the experiment `basins`.
    """

    setup: DroughtSetup
    models: tuple[str, ...]
    members_url: str

    def __call__(self, item: Whole) -> dict[str, np.ndarray]:
        ready, name = self.setup.prepare(), self.models[item.model]
        cells, storage = ready.places.cells, ready.storage
        if name == "mascon":
            return _cells(storage[cells.parent], np.full((len(cells.area), storage.shape[1]), np.nan))
        operator = cells.operator()
        if name == "cubic_conserved":
            seen = np.isfinite(storage).all(axis=0)
            field = np.full((len(cells.area), storage.shape[1]), np.nan)
            field[:, seen] = operator.interpolate(storage[:, seen])
            return _cells(field, np.full(field.shape, np.nan))
        every = self.setup.basins.prepare()
        predicted = basin_storage(self.members_url, name)[:, np.isin(every.data.months.astype(MONTH), ready.months)]
        predicted = np.where(ready.near.any(axis=0)[:, None], predicted, 0.0)
        return _cells(*model_fields(ready, predicted))


def model_fields(ready: Ready, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anomalies with and without GRACE: (cell, month) [mm] each, NaN before the predictors suffice.

    predicted: (basin, month) [mm], storage of the basins.
    """
    cells, months, train, storage = ready.places.cells, ready.months, ready.train, ready.storage
    operator = cells.operator()
    own = deseasonalised(predicted, months, train)
    size = np.maximum(own[:, train].std(axis=1), 1e-9)[:, None]
    columns = np.concatenate([ready.rain, (own / size)[:, None]], axis=1)
    model = follow(storage, columns, ready.near, train, experiments.folds(months, train, FOLDS))
    w, memory = trust(model, storage, ready.near, train)
    mixed = analysis(model, storage, w, memory)
    reached = np.isfinite(model).all(axis=0)
    alone = operator.interpolate(model[:, reached])
    basin = ready.places.cell_basin
    spoken = (basin >= 0) & ready.near.any(axis=0)[np.maximum(basin, 0)]
    cell = np.where(spoken[:, None], own[np.maximum(basin, 0)][:, reached], alone)
    detail = contrast(cell, operator)
    detail = _share(cell, storage[:, reached], months[reached], train[reached], cells) * detail
    fields = np.full((2, len(cells.area), len(months)), np.nan)
    fields[0][:, reached] = operator.interpolate(mixed[:, reached]) + detail
    fields[1][:, reached] = alone + detail
    return fields[0], fields[1]


def _share(cell: np.ndarray, storage: np.ndarray, months: np.ndarray, train: np.ndarray, cells: Cells) -> float:
    """How much of the contrast between basins to believe, learned between mascons in training months."""
    blocks = super_mascons(cells.mean(cells.latitude), _longitude(cells))
    if blocks.max() == 0:
        return 0.0
    operator = coarse_operator(cells, blocks)
    error = np.full(storage[:, train].shape, GRACE_ERROR_MM)
    return fit_share(cells.mean(cell[:, train]), storage[:, train], error, months[train], operator).share


def _longitude(cells: Cells) -> np.ndarray:
    return cells.mean(cells.longitude)  # the contiguous States do not touch the date line


def _near(found: Places, table: xr.Dataset) -> np.ndarray:
    """(mascon, basin): whether the basin has a cell within REACH_KM of the middle of the mascon's land."""
    cells = found.cells
    centre = cells.mean(unit_vectors(cells.latitude, cells.longitude))
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    xyz = unit_vectors(table["cell_lat"].values, table["cell_lon"].values)
    near = np.zeros((len(centre), table.sizes["basin"]), bool)
    for basin in np.unique(table["cell_parent"].values):
        chord = cKDTree(xyz[table["cell_parent"].values == basin]).query(centre)[0]
        near[:, basin] = chord * EARTH_RADIUS_KM < REACH_KM
    return near


def _cells(anomaly: np.ndarray, reconstruction: np.ndarray) -> dict[str, np.ndarray]:
    return {"anomaly": anomaly[None].astype(np.float32), "reconstruction": reconstruction[None].astype(np.float32)}


def template(ready: Ready, models: tuple[str, ...]) -> Template:
    """Store of cells' anomalies, one model an object."""
    dims, cells = ("model", "cell", "month"), ready.places.cells
    variables = {
        "anomaly": Variable(dims, "mm", "deseasonalised terrestrial water storage", may_be_missing=True),
        "reconstruction": Variable(dims, "mm", "the same by the model without GRACE", may_be_missing=True),
    }
    coordinates = {
        "month": xr.Variable("month", ready.months.astype("datetime64[s]")),
        "lat": xr.Variable("cell", cells.latitude, {"units": "degrees_north"}),
        "lon": xr.Variable("cell", cells.longitude, {"units": "degrees_east"}),
    }
    sizes = {"model": len(models), "cell": len(cells.area), "month": len(ready.months)}
    return Template(sizes, variables, {"model": 1}, coordinates, {"models": ", ".join(models)})
