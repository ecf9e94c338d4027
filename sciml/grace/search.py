"""What a search tries and how it judges: settings of a network by their CRPS in training years that it did not see.

A model that returns a point gets the error that it had in the other blocks of years, as the job itself does, so the
CRPS is that of a normal distribution. No month outside the training period is read as a target.
"""

import difflib
import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from sciml.core.errors import ConfigError
from sciml.core.urls import read_bytes
from sciml.data.stores import Template, Variable
from sciml.grace import baselines
from sciml.grace.basins.nets import Net, NetSettings, Setup, predict_net, train_net
from sciml.grace.basins.table import FLUXES
from sciml.grace.gridded.lstm import GlobalSettings, PredictGlobal, TrainGlobal
from sciml.grace.gridded.steps import Problem
from sciml.grace.lags import lag_sequences
from sciml.grace.local_lstm import LocalLSTMConfig, fit_units, predict_units
from sciml.metrics.ensembles import normal_crps

Settings = Mapping[str, Any]
MOST_UNITS = 64  # mascons that local networks are searched on, spread evenly


def names_of(settings: Settings) -> tuple[str, ...]:
    """Predictors that the settings use."""
    return tuple(str(settings["features"]).split(","))


def local_config(settings: Settings) -> LocalLSTMConfig:
    """Settings of the local LSTM without `features` and `lags`."""
    return LocalLSTMConfig(**{name: value for name, value in settings.items() if name not in ("features", "lags")})


def global_settings(settings: Settings) -> GlobalSettings:
    """Settings of the global LSTM without `features`."""
    return GlobalSettings(**{name: value for name, value in settings.items() if name != "features"})


def net_settings(settings: Settings) -> NetSettings:
    """Settings of the basins' global LSTM."""
    rest = {name: value for name, value in settings.items() if name != "features"}
    return NetSettings(fluxes=names_of(settings), **rest)


def defaults(model: str, names: Sequence[str], members: int, lags: int, basins: bool = False) -> dict[str, Any]:
    """What a model is set to where nobody searched: every setting that a search may draw. basins: their global LSTM
    is fitted otherwise than that of mascons."""
    features = {"features": ",".join(names)}
    if model == "lstm":
        return features | {"lags": lags} | asdict(LocalLSTMConfig(members=members))
    if basins:
        return features | {name: value for name, value in asdict(NetSettings()).items() if name != "fluxes"}
    return features | asdict(GlobalSettings())


def checked_space(model: str, space: Mapping[str, Sequence[Any]], default: Settings) -> dict[str, Sequence[Any]]:
    """The space with subsets of the predictors spelled out and the default among the choices.

    Raises ConfigError where it is empty or not the model's, and for values that the setting cannot take.
    """
    if not space:
        raise ConfigError(f"search space of {model}: empty; expected some of {', '.join(default)}")
    for setting in space:
        require_known(f"search space of {model}", str(setting), default)
    return {
        setting: _checked(f"search space of {model}: {setting}", drawn, default[setting], setting == "features")
        for setting, drawn in space.items()
    }


def _checked(place: str, drawn: Any, default: Any, features: bool) -> tuple[Any, ...]:
    """How one setting is drawn; values must be of the default's kind."""
    kinds = (int, float) if isinstance(default, float) else (type(default),)

    def fits(*values: Any) -> bool:
        known = (isinstance(v, kinds) and not isinstance(v, bool) for v in values)
        return all(known) and (features or all(map(math.isfinite, values)))

    match drawn:
        case ["subsets", int(left_out)] if features and left_out >= 0:
            return ("choice", subsets(default.split(","), left_out))
        case ["choice", [_, *_] as values] if fits(*values):
            for name in {name for value in values for name in value.split(",")} if features and default else ():
                require_known(place, name, default.split(","))
            return ("choice", list(values) if default in values else [default, *values])
        case ["uniform" | "loguniform" as kind, low, high] if isinstance(default, float) and fits(low, high):
            if low < high and (kind == "uniform" or low > 0):
                return (kind, low, high)
        case ["integer", int(low), int(high)] if not features and fits(low, high) and low < high:
            return ("integer", low, high)
    raise ConfigError(f"{place} is drawn by {drawn!r}; expected {_expected(default, features)}")


def _expected(default: Any, features: bool) -> str:
    if features:
        return "[subsets, 0 or more] or [choice, [names joined by commas, ...]]"
    if isinstance(default, float):
        return "[choice, [numbers]], [uniform, low, high] or [loguniform, low, high], 0 < low; write 1.0e-3 for 1e-3"
    return "[choice, [whole numbers]] or [integer, low, high]"


def subsets(names: Sequence[str], left_out: int) -> list[str]:
    """All names, and all without up to `left_out` of them, at least one left: joined by commas, in order."""
    sizes = range(len(names), max(len(names) - left_out, 1) - 1, -1)
    return [",".join(chosen) for size in sizes for chosen in itertools.combinations(names, size)]


def read_result(
    url: str, models: Sequence[str], names: Sequence[str], basins: bool = False
) -> dict[str, dict[str, Any]]:
    """Best settings by model from what a search left. Raises ConfigError where they do not fit this run.

    names: the run's predictors; basins: as in `defaults`.
    """
    try:
        found = json.loads(read_bytes(url))
        best = {model: dict(found[model]["best"]["settings"]) for model in models if model in found}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--search-result {url}: not the result of a search ({type(error).__name__}: {error}); give the"
            " search.json of a --search run"
        ) from error
    if not best:
        raise ConfigError(f"--search-result {url}: nothing for {', '.join(models)}; found {', '.join(found)}")
    for model, settings in best.items():
        known = defaults(model, names, 1, 0, basins)
        for setting in settings:
            require_known(f"--search-result {url}: {model}", setting, known)
        if missing := set(known) - set(settings):
            raise ConfigError(f"--search-result {url}: {model} lacks {min(missing)!r}; search again")
        for name in names_of(settings):
            require_known(f"--search-result {url}: {model}, features", name, names)
    return best


def require_known(place: str, name: str, known: Collection[str]) -> None:
    """ConfigError that names the nearest valid name, where `name` is none."""
    if name not in known:
        near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
        more = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise ConfigError(f"{place}: no {name!r}; {more}")


class Judge(Protocol):
    """Blocked cross-validation of a model's settings, one block of training years after another."""

    def blocks(self, settings: Settings, device: str = "cpu") -> Iterator[np.ndarray]:
        """CRPS (unit, window) [mm] after each block, NaN in what was not yet predicted. device: where networks are
        trained that the job, too, would train on an accelerator."""

    def climatology(self) -> np.ndarray:
        """CRPS of climatology and trend on the same blocks: (unit, window) [mm]."""

    def other_blocks(self) -> "Judge":
        """The same with other blocks of years and other seeds: what the choice was not made on."""


@dataclass(frozen=True, eq=False)
class BasinJudge:
    """Of an LSTM for each basin of a table."""

    setup: Setup

    def blocks(self, settings: Settings, device: str = "cpu") -> Iterator[np.ndarray]:
        data, part = self.setup.prepare().data, self._part()
        chosen = [FLUXES.index(name) for name in names_of(settings)]
        predictors = data.family_mean[part][..., chosen]
        table = lag_sequences(predictors, predictors, data.windows, data.months, int(settings["lags"]))
        units = list(data.names[part])
        storage, uncertainty = data.storage[part], data.uncertainty[part]
        yield from _local_blocks(table, storage, uncertainty, self._folds(), units, self.setup.seed, settings)

    def climatology(self) -> np.ndarray:
        data = self.setup.prepare().data
        return _climatology(data.storage[self._part()].astype(float), data.months, self._folds())

    def other_blocks(self) -> "BasinJudge":
        return BasinJudge(_other_years(self.setup))

    def _part(self) -> slice:
        return evenly(len(self.setup.prepare().data.names))

    def _folds(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return _basin_folds(self.setup)


@dataclass(frozen=True, eq=False)
class BasinGlobalJudge:
    """Of the LSTM that all basins share, one network a block as in the job, before it is blended with ridge."""

    setup: Setup

    def blocks(self, settings: Settings, device: str = "cpu") -> Iterator[np.ndarray]:
        chosen, observed = net_settings(settings), self.setup.prepare().problem.storage
        apart, done = np.full(observed.shape, np.nan), []
        for number, (_, valid) in enumerate(_basin_folds(self.setup)):
            net = Net("block", number, 0)
            state = train_net(self.setup, net, chosen)
            apart[:, valid] = predict_net(self.setup, net, chosen, state)[1][:, valid]
            done.append(valid)
            yield judged(apart, observed, done)

    def climatology(self) -> np.ndarray:
        data = self.setup.prepare().data
        return _climatology(data.storage.astype(float), data.months, _basin_folds(self.setup))

    def other_blocks(self) -> "BasinGlobalJudge":
        return BasinGlobalJudge(_other_years(self.setup))


@dataclass(frozen=True, eq=False)
class LocalJudge:
    """Of an LSTM for each mascon."""

    problem: Problem

    def blocks(self, settings: Settings, device: str = "cpu") -> Iterator[np.ndarray]:
        problem, part = replace(self.problem, names=names_of(settings)), evenly(self.problem.layout.mascons)
        monthly, recorded = problem.predictors(problem.coarse_url, mascon=part)
        table = lag_sequences(monthly, recorded, problem.windows, problem.months, int(settings["lags"]))
        observed, uncertainty = problem.anomaly(part), problem.series(problem.uncertainty, part)
        units = [f"{problem.name}/{unit}" for unit in range(problem.layout.mascons)[part]]
        yield from _local_blocks(table, observed, uncertainty, problem.year_folds(), units, problem.seed, settings)

    def climatology(self) -> np.ndarray:
        observed = self.problem.anomaly(evenly(self.problem.layout.mascons))
        return _climatology(observed, self.problem.windows.month, self.problem.year_folds())

    def other_blocks(self) -> "LocalJudge":
        return LocalJudge(_other_blocks(self.problem))


@dataclass(frozen=True, eq=False)
class GlobalJudge:
    """Of the LSTM that all mascons share, one network a block as in the job's own cross-validation."""

    problem: Problem

    def blocks(self, settings: Settings, device: str = "cpu") -> Iterator[np.ndarray]:
        problem, chosen = replace(self.problem, names=names_of(settings)), global_settings(settings)
        predictors, observed = problem.predictors(problem.coarse_url), problem.anomaly()
        train, predict = TrainGlobal(problem, 0, chosen), PredictGlobal(problem, 0, (), chosen)
        apart, done = np.full(observed.shape, np.nan), []
        for number, (_, valid) in enumerate(problem.year_folds()):
            apart[:, valid] = predict.predict(*predictors, [train.train(number, device=device)])[:, 0, valid]
            done.append(valid)
            yield judged(apart, observed, done)

    def climatology(self) -> np.ndarray:
        return _climatology(self.problem.anomaly(), self.problem.windows.month, self.problem.year_folds())

    def other_blocks(self) -> "GlobalJudge":
        return GlobalJudge(_other_blocks(self.problem))


def evenly(units: int) -> slice:
    """MOST_UNITS units or fewer, spread evenly: what a local network and its baseline are judged on."""
    return slice(0, None, -(-units // MOST_UNITS))


def _basin_folds(setup: Setup) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    ready = setup.prepare()
    for block in ready.blocks:
        yield ready.data.train & ~block, ready.data.train & block


def _other_years(setup: Setup) -> Setup:
    return replace(setup, folds=setup.folds + 1, seed=setup.seed + 1)


def _other_blocks(problem: Problem) -> Problem:
    return replace(problem, folds=problem.folds + 1, seed=problem.seed + 1)


def _local_blocks(
    table: np.ndarray,
    observed: np.ndarray,
    uncertainty: np.ndarray,
    folds: Iterator[tuple[np.ndarray, np.ndarray]],
    units: Sequence[str],
    seed: int,
    settings: Settings,
) -> Iterator[np.ndarray]:
    complete = np.isfinite(table).all(axis=(2, 3)) & np.isfinite(observed)
    apart, done = np.full(observed.shape, np.nan), []
    for train, valid in folds:
        config, weights = local_config(settings), 1 / np.square(uncertainty)
        states = fit_units(table, observed, weights, train & complete, config, units, seed)
        apart[:, valid] = predict_units(states, table[:, valid]).mean(axis=1)
        done.append(valid)
        yield judged(apart, observed, done)


def _climatology(
    observed: np.ndarray, months: np.ndarray, folds: Iterator[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    apart, done = np.full(observed.shape, np.nan), []
    for train, valid in folds:
        apart[:, valid] = baselines.climatology_trend(observed, months, train)[:, valid]
        done.append(valid)
    return judged(apart, observed, done)


def judged(apart: np.ndarray, observed: np.ndarray, blocks: Sequence[np.ndarray]) -> np.ndarray:
    """CRPS of predictions out of fold: (unit, window) [mm], NaN outside the blocks and where either is unknown.

    apart, observed: (unit, window) [mm]; blocks: masks (window,) of those that were predicted. The error of a unit in a
    block is the root mean square of its errors in the others, in its own where it is the first.
    """
    error, out = apart - observed, np.full(observed.shape, np.nan)
    for number, valid in enumerate(blocks):
        others = [block for other, block in enumerate(blocks) if other != number] or [valid]
        sigma = np.sqrt(_mean(error[:, np.any(others, axis=0)] ** 2, axis=1))
        out[:, valid] = normal_crps(error[:, valid], np.maximum(sigma, 1e-6)[:, None])
    return out


def score(crps: np.ndarray) -> float:
    """Mean over units of each unit's mean CRPS: (unit, window) -> mm."""
    return float(np.nanmean(_mean(crps, axis=1)))


@dataclass(frozen=True, eq=False)
class Objective:
    """What `cluster.tune.Search` calls: reports the score after each block."""

    judge: Judge
    default: Settings

    def __call__(self, config: Mapping[str, Any], settings: Settings, report: Any) -> None:
        for crps in self.judge.blocks({**self.default, **settings}, config["device"]):
            report(score(crps))


@dataclass(frozen=True)
class Variant:
    """One setting that is judged on all blocks: what it is called, and whether on blocks the search did not use."""

    name: str
    settings: Settings = field(hash=False)
    other_blocks: bool = False


def variants(default: Settings, best: Settings, names: Sequence[str]) -> list[Variant]:
    """Default and best, each also on other blocks; then the best with a predictor less, more, or alone."""
    chosen = names_of(best)
    found = [Variant("default", default), Variant("best", best)]
    found += [Variant(f"{v.name}, other years", v.settings, True) for v in found]
    for name in names:
        if name not in chosen:
            more = [other for other in names if other in chosen or other == name]
            found.append(Variant(f"with {name}", {**best, "features": ",".join(more)}))
        elif len(chosen) > 1:
            less = [other for other in chosen if other != name]
            found.append(Variant(f"without {name}", {**best, "features": ",".join(less)}))
        found.append(Variant(f"only {name}", {**best, "features": name}))
    return found


@dataclass(frozen=True)
class VariantItem:
    """Address of one variant."""

    variant_start: int
    variant_stop: int


@dataclass(frozen=True, eq=False)
class Validate:
    """Stage function: CRPS of a variant, mean of the units."""

    judge: Judge
    variants: Sequence[Variant]

    def __call__(self, item: VariantItem) -> dict[str, np.ndarray]:
        variant = self.variants[item.variant_start]
        judge = self.judge.other_blocks() if variant.other_blocks else self.judge
        *_, crps = judge.blocks(variant.settings)
        return {"crps": _mean(crps, axis=0)[None]}


def template(count: int, windows: int) -> Template:
    """Store of the variants."""
    dims = ("variant", "window")
    variable = Variable(dims, "mm", "mean CRPS of the units, out of fold", dtype="float64", may_be_missing=True)
    return Template({"variant": count, "window": windows}, {"crps": variable}, shards={"variant": 1})


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(known.any(axis=axis), total / np.maximum(known.sum(axis=axis), 1), np.nan)
