"""Models of the wells: linear on lags or on physical stores, and a small LSTM for all wells; chosen by inner folds.

All predict the standardised anomaly of a well from its own predictors, with weights common to all training wells. The
stores are what a water table remembers: rain, rain weighted by the season (winter rain recharges, summer rain
evaporates), and a soil bucket that is filled by rain and emptied by potential evaporation. How long a well remembers
depends on how deep its water lies, so the columns may be multiplied by the logarithm of its mean depth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from sciml.core.seeds import seed_for
from sciml.grace import features, global_lstm
from sciml.grace.calibration import NINETY
from sciml.grace.global_lstm import GlobalTraining
from sciml.grace.wells.table import PREDICTORS, Array, Cell, Mask, Wells, anomalies, month_means, standardise
from sciml.nn.lstm import GlobalLSTMConfig
from sciml.nn.training import TrainingConfig

BEFORE = 24  # months of climatology put before the record, so that sums and histories reach its first month
RAIN_MEMORIES = (2.0, 8.0, 32.0)  # months
SEASONAL_MEMORIES = (2.0, 4.0, 8.0)  # months
NETWORK = GlobalTraining(
    network=GlobalLSTMConfig(hidden_size=16, embedding_size=4, dropout=0.3, input_noise=0.3, history=12),
    fitting=TrainingConfig(epochs=13, batch_size=32, learning_rate=3e-3, weight_decay=1e-3, clip_norm=1.0),
    span=13,
    stride=6,
    prediction_history=BEFORE,
)
NETWORK_CAPACITY = 300.0  # mm, the bucket among the network's inputs


@dataclass(frozen=True)
class Linear:
    """A linear model. columns: storage, lags or stores; capacity [mm] of the soil bucket; depth: times depth."""

    columns: str
    alpha: float
    capacity: float = NETWORK_CAPACITY
    depth: bool = False


MENU: Mapping[str, tuple[Linear, ...]] = {
    "mascon": (Linear("storage", 0.0),),
    "ridge": tuple(Linear("lags", alpha) for alpha in (30.0, 100.0, 300.0, 1000.0, 3000.0)),
    "ridge_stores": tuple(
        Linear("stores", alpha, capacity, depth)
        for alpha in (100.0, 300.0, 1000.0)
        for capacity in (300.0, 500.0)
        for depth in (False, True)
    ),
}


def models_of(chosen: Sequence[str]) -> tuple[str, ...]:
    """Models of the experiment; the LSTM of one unit has nothing to say of a well that was left out."""
    return (*MENU, *(("global_lstm", "blend") if "global_lstm" in chosen else ()), "selected")


def potential_evaporation(celsius: Array, latitude: Array, months: NDArray[np.datetime64]) -> Array:
    """Hamon (1963): E = 0.1651 L rho_sat [mm day-1], nothing below freezing, as mm month-1.

    celsius: (unit, month) [degC]; latitude: (unit,) [degrees north]. L: daytime in units of 12 h; rho_sat [g m-3]:
    saturated vapour density.
    """
    day = (months.astype("datetime64[M]").astype(int) % 12 + 0.5) * 30.4375
    declination = 0.409 * np.sin(2 * np.pi * day / 365.25 - 1.39)
    sunset = np.arccos(np.clip(-np.tan(np.deg2rad(latitude))[:, None] * np.tan(declination), -1, 1))
    pressure = 6.108 * np.exp(17.26939 * celsius / (celsius + 237.3))
    density = 216.7 * pressure / (celsius + 273.3)
    return np.where(celsius > 0, 0.1651 * (2 * sunset / np.pi) * density * 30.4375, 0.0)


def soil_bucket(rain: Array, potential: Array, capacity: float) -> Array:
    """Water in a bucket that rain fills and evaporation, potential times S / capacity, empties: (unit, month) [mm].

    rain, potential: (unit, month) [mm month-1]; capacity: [mm]. What does not fit runs off. It starts full.
    """
    store, out = np.full(len(rain), capacity), np.empty(rain.shape)
    for month in range(rain.shape[1]):
        store = store + rain[:, month]
        store = store - np.minimum(store, potential[:, month] * np.minimum(1.0, store / capacity))
        store = out[:, month] = np.minimum(store, capacity)
    return out


class Columns:
    """Predictors as the models take them when `keep` (month,) trains; every scale is of the well's own kept months."""

    def __init__(self, wells: Wells, keep: Mask) -> None:
        self.wells, self.keep = wells, keep
        first = wells.months[0] - BEFORE
        self.months = np.arange(first, wells.months[-1] + 1)
        self.inside = np.concatenate([np.zeros(BEFORE, bool), keep])
        self.anomaly = self._before(anomalies(wells.predictors, wells.months, keep))
        self._stores: dict[float, Array] = {}

    @property
    def storage(self) -> Array:
        """Anomaly of GRACE storage in the record's months: (well, month) [mm]."""
        return self.anomaly[:, BEFORE:, PREDICTORS.index("twsa")]

    def table(self, columns: str, capacity: float) -> Array:
        """Standardised columns (well, month, column) of the record's months."""
        if columns == "lags":
            lagged = features.lag_table(self.anomaly, self.months)[..., :-4]  # no season in what has none
            return np.nan_to_num(self._scaled(lagged)[:, BEFORE:])
        return self.stores(capacity)[:, BEFORE:]

    def stores(self, capacity: float) -> Array:
        """GRACE, rain's stores, seasonal stores and the soil's water now and a month ago, months before included."""
        if capacity not in self._stores:
            rain, celsius = self._rain_and_warmth()
            months = self.wells.months
            waves = rain[..., None] * features.season(months)
            parts = [
                self.anomaly[..., [PREDICTORS.index("twsa")]],
                self._leaky(rain[..., None], RAIN_MEMORIES),
                self._leaky(waves, SEASONAL_MEMORIES),
            ]
            potential = potential_evaporation(celsius, self.wells.latitude, months)
            soil = self._before(anomalies(soil_bucket(rain, potential, capacity), months, self.keep)[..., None])
            parts += [soil, np.concatenate([np.zeros_like(soil[:, :1]), soil[:, :-1]], axis=1)]
            self._stores[capacity] = self._scaled(np.concatenate(parts, axis=-1))
        return self._stores[capacity]

    def network(self) -> NDArray[np.float32]:
        """Inputs of the network, months before included: anomalies, stores, season, held within the features' limit."""
        waves = np.broadcast_to(features.season(self.months), (*self.anomaly.shape[:2], 2))
        parts = [self._scaled(self.anomaly), self.stores(NETWORK_CAPACITY), waves]
        return np.clip(np.concatenate(parts, axis=-1), -features.LIMIT, features.LIMIT).astype(np.float32)

    def _rain_and_warmth(self) -> tuple[Array, Array]:
        """Rain and temperature [degC]; a missing month is its climatology."""
        usual = month_means(self.wells.predictors, self.wells.months, self.keep)
        usual = np.where(np.isfinite(usual), usual, np.nanmean(usual, axis=0))
        whole = np.where(
            np.isfinite(self.wells.predictors),
            self.wells.predictors,
            usual[:, self.wells.months.astype("datetime64[M]").astype(int) % 12],
        )
        return whole[..., PREDICTORS.index("pr")], whole[..., PREDICTORS.index("lst")] - 273.15

    def _leaky(self, flux: Array, memories: Sequence[float]) -> Array:
        wet = self._before(anomalies(flux, self.wells.months, self.keep))
        return features.leaky_stores(wet, self.inside, memories).reshape(*wet.shape[:2], -1)

    def _before(self, anomaly: Array) -> Array:
        """Unknown months and those before the record have no anomaly."""
        shape = (len(anomaly), BEFORE, *anomaly.shape[2:])
        return np.concatenate([np.zeros(shape), np.nan_to_num(anomaly)], axis=1)

    def _scaled(self, values: Array) -> Array:
        rms = np.sqrt((np.nan_to_num(values[:, self.inside]) ** 2).mean(axis=1))
        return values / np.maximum(rms, 1e-6)[:, None]


@dataclass(frozen=True, eq=False)
class Task:
    """What one model is trained on: units (well,), the columns of its months, target (well, month) standardised and
    NaN elsewhere, scale (well,) [m] of each well's training months, depth (well, 1) standardised over the training
    wells."""

    units: Mask
    columns: Columns
    target: Array
    scale: Array
    depth: Array


def task(wells: Wells, units: Mask, columns: Columns) -> Task:
    """Train on `units` (well,) in the months of `columns`. Levels of other months, and of other wells save their mean
    depth and scale, are not read."""
    standard = standardise(wells, columns.keep)
    target = np.where(units[:, None] & columns.keep, standard.anomaly / standard.scale[:, None], np.nan)
    depth = np.log(np.maximum(standard.mean_depth, 0.1))
    inside = units & np.isfinite(standard.scale)
    depth = (depth - depth[inside].mean()) / max(float(depth[inside].std()), 1e-6)
    return Task(units, columns, target, standard.scale, np.clip(depth, -4, 4)[:, None])


def linear_prediction(work: Task, model: Linear) -> Array:
    """Standardised anomaly of all wells and months: (well, month)."""
    if model.columns == "storage":
        return storage_prediction(work)
    table = work.columns.table(model.columns, model.capacity)
    if model.depth:
        table = np.concatenate([table, table * work.depth[:, None]], axis=-1)
    known = np.isfinite(work.target)
    fit = Ridge(alpha=model.alpha, fit_intercept=False).fit(table[known], work.target[known])
    return fit.predict(table.reshape(-1, table.shape[-1])).reshape(table.shape[:2])


def storage_prediction(work: Task) -> Array:
    """GRACE alone: metres of level are one factor times mm of storage at all wells, in units of each well's scale."""
    storage, known = work.columns.storage, np.isfinite(work.target)
    level = work.target * work.scale[:, None]
    factor = (level[known] * storage[known]).sum() / max(float((storage[known] ** 2).sum()), 1e-9)
    return factor * storage / work.scale[:, None]


def network_prediction(work: Task, members: int, seed: int) -> Array:
    """Mean of `members` networks: (well, month), standardised."""
    inputs = work.columns.network()
    target = np.concatenate([np.full((len(inputs), BEFORE), np.nan), work.target], axis=1)
    positions = np.arange(BEFORE, inputs.shape[1])
    total = np.zeros(work.target.shape)
    for member in range(members):
        state = global_lstm.train_member(
            inputs, work.depth, target, np.ones(target.shape), NETWORK, seed_for(seed, "member", member)
        )
        total += global_lstm.predict(state, inputs, work.depth, positions, NETWORK)
    return total / members


Key = tuple[str, Linear | None]  # a model and its settings


@dataclass(frozen=True, eq=False)
class CellResult:
    """Of a cell left out: point (model, well, month), standardised, NaN outside the cell; sigma (model,) its standard
    error; inner (model,) mean r of the inner folds; choice: the model that `selected` is."""

    point: Array
    sigma: Array
    inner: Array
    choice: str


def cell_result(wells: Wells, cell: Cell, models: tuple[str, ...], members: int, seed: int) -> CellResult:
    """Choose settings in inner cells, then predict the cell by models trained on all other wells in all other years."""
    inner = wells.inner_cells(cell)
    keeps = {id(one): ~cell.months & ~one.months for one in inner}
    blocks = {keep.tobytes(): Columns(wells, keep) for keep in keeps.values()}
    observed = np.full(wells.level.shape, np.nan)
    guesses: dict[Key, Array] = {}
    for number, one in enumerate(inner):
        keep = keeps[id(one)]
        standard, place = standardise(wells, keep), np.ix_(one.wells, one.months)
        observed[place] = (standard.anomaly / standard.scale[:, None])[place]
        work = task(wells, ~cell.wells & ~one.wells, blocks[keep.tobytes()])
        for name, settings, values in _candidates(work, models, 1, seed_for(seed, "inner", number)):
            guess = guesses.setdefault((name, settings), np.full(observed.shape, np.nan))
            guess[place] = values[place]
    skill = {key: _mean_r(observed, guess) for key, guess in guesses.items()}
    best = {name: max((key for key in skill if key[0] == name), key=skill.__getitem__) for name, _ in skill}
    apart = {name: guesses[key] for name, key in best.items()}
    work = task(wells, ~cell.wells, Columns(wells, ~cell.months))
    point = {
        name: values
        for name, settings, values in _candidates(work, models, members, seed, tuple(best.values()))
        if (name, settings) in best.values()
    }
    for found in (apart, point):
        if "global_lstm" in found:
            found["blend"] = (found["ridge_stores"] + found["global_lstm"]) / 2
    inner_r = {name: _mean_r(observed, guess) for name, guess in apart.items()}
    choice = max((name for name in inner_r if name != "mascon"), key=inner_r.__getitem__)
    apart["selected"], point["selected"], inner_r["selected"] = apart[choice], point[choice], inner_r[choice]
    sigma = [np.nanquantile(np.abs(observed - apart[name]), 0.9) / NINETY for name in models]
    out = np.full((len(models), *observed.shape), np.nan)
    place = np.ix_(cell.wells, cell.months)
    for number, name in enumerate(models):
        out[number][place] = point[name][place]
    return CellResult(out, np.array(sigma), np.array([inner_r[name] for name in models]), choice)


def _candidates(
    work: Task, models: tuple[str, ...], members: int, seed: int, only: tuple[Key, ...] | None = None
) -> list[tuple[str, Linear | None, Array]]:
    found: list[tuple[str, Linear | None, Array]] = [
        (name, model, linear_prediction(work, model))
        for name, menu in MENU.items()
        for model in menu
        if only is None or (name, model) in only
    ]
    if "global_lstm" in models:
        found.append(("global_lstm", None, network_prediction(work, members, seed)))
    return found


def _mean_r(observed: Array, predicted: Array) -> float:
    """Mean over wells of the correlation in the months that have both; wells without variance count as 0."""
    values = []
    for seen, said in zip(observed, predicted, strict=True):
        known = np.isfinite(seen) & np.isfinite(said)
        if known.sum() > 2:
            a, b = seen[known] - seen[known].mean(), said[known] - said[known].mean()
            size = np.sqrt((a @ a) * (b @ b))
            values.append(a @ b / size if size > 0 else 0.0)
    return float(np.mean(values)) if values else 0.0
