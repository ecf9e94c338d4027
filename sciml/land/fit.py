"""Fits a model to what a land surface model gave, cell by cell.

`fit_months` is the paper's way: parameters of each month apart, on that month of every year, each begun some days
before from the reference's own stores. `fit_free` fits one run through the whole record at once, so that the stores
are the model's own. Both minimise wSSE (`objective`) by `search` and add what the data say about each parameter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sciml.core.errors import ConfigError, InputError
from sciml.core.seeds import seed_for
from sciml.land.forcing import Targets
from sciml.land.least_squares import DescentOptions, Space, uncertainty
from sciml.land.models import Model, Scheme
from sciml.land.objective import Runs, days_per_independent
from sciml.land.run import Forcing
from sciml.land.search import Found, SearchOptions, search
from sciml.land.skill import anomaly_variance

RATES = ("runoff", "evaporation")
# Anomalies smaller than this weigh as if they had it, so that a cell with a dusting of snow is not fitted to it
LEAST_STORE, LEAST_RATE = 1.0, 0.1  # standard deviations [kg m-2], [kg m-2 day-1]
AT_BOUND = 0.01  # of the bounds
EQUAL = 0.01  # ends of descents whose wSSE is no more than this above the best are equally good
BY_PARAMETER = ("theta", "standard_error", "ratio", "identifiable", "at_bound", "spread")  # (parameter, month, cell)
FREE = SearchOptions(screened=100, starts=4, descent=DescentOptions(iterations=60, tolerance=1e-4))  # a run is dear


@dataclass(frozen=True, eq=False)
class Fit:
    """Of each parameter, month (12, or 1 where one theta holds all year) and cell.

    theta, standard_error: (parameter, month, cell) in real units, as `run.simulate` takes them. ratio: posterior over
    prior standard deviation, 1 where the data say nothing; identifiable: ratio below 0.7. at_bound: within 1 % of the
    bounds from one of them, where the logit is flat and the ratio 1 although the data pushed it there. spread: share
    of a parameter's bounds that equally good ends of descents lie apart, over `equals` (month, cell) of them. free,
    covariance: (month, cell, parameter[, parameter]) in the logit of the bounds, to draw an ensemble from
    (`least_squares.draw`). wsse, scored (targets that counted), evaluations (runs of the model), converged: (month,
    cell). A cell with nothing to score keeps the prior, and its wsse is NaN.
    """

    names: tuple[str, ...]
    variables: tuple[str, ...]
    theta: np.ndarray
    standard_error: np.ndarray
    ratio: np.ndarray
    identifiable: np.ndarray
    at_bound: np.ndarray
    spread: np.ndarray
    equals: np.ndarray
    free: np.ndarray
    covariance: np.ndarray
    wsse: np.ndarray
    scored: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray


def fit_months(
    model: Model,
    forcing: Forcing,
    targets: Targets,
    cells: Sequence[int | str],
    *,
    weights: Mapping[str, float] | None = None,
    scheme: Scheme = "explicit",
    spin_in: int = 10,
    seed: int = 0,
    options: SearchOptions | None = None,
    memory: int = 16 * 2**20,
) -> Fit:
    """theta of each month apart, from that month of every year of the record.

    forcing, targets: the training days, (time, cell). cells: (cell,) what each is called, which its random stream comes
    from. weights: of a variable's wSSE, beside 1 / variance of its anomaly; 0 drops it. spin_in: days before the month
    from which a run begins, with the reference's stores and those it lacks (the wetland) empty. memory: bytes of the
    largest arrays.
    """
    if not any(p.monthly for p in model.parameters):
        raise ConfigError(f"model {model.name}: no parameter is of a month; fit it through free runs")
    scored = _scored(model, forcing, targets, weights)
    fits = []
    for month in range(1, 13):
        runs = _month_runs(model, scheme, forcing, targets, scored, month, spin_in, memory)
        seeds = [seed_for(seed, "land fit", model.name, cell, month) for cell in cells]
        fits.append(_fitted(runs, Space.of(model.parameters), seeds, options or SearchOptions()))
    return _joined(model, scored.variables, fits)


def fit_free(
    model: Model,
    forcing: Forcing,
    targets: Targets,
    cells: Sequence[int | str],
    *,
    weights: Mapping[str, float] | None = None,
    scheme: Scheme = "explicit",
    spin_up: int = 365,
    repeats: int = 1,
    seed: int = 0,
    options: SearchOptions | None = None,
    memory: int = 64 * 2**20,
) -> Fit:
    """One theta for all days, from one free run through the record.

    The first `spin_up` days are run `repeats` times more before the record, and not scored in it either. The rest as
    `fit_months`; options: `FREE` if None.
    """
    kept = _scored(model, forcing, targets, weights)
    days = len(forcing.dates)
    if spin_up >= days:
        raise ConfigError(f"spin-up of {spin_up} days in a record of {days}: give a longer record or a shorter spin-up")
    order = np.concatenate([np.tile(np.arange(spin_up), repeats), np.arange(days)])
    first = spin_up * (repeats + 1)
    scored = np.where((np.arange(len(order)) >= first)[:, None, None], kept.values[order], np.nan)
    runs = Runs(
        model,
        scheme,
        kept.variables,
        {name: series[order][:, :, None] for name, series in _fields(model, forcing).items()},
        np.nan_to_num(_stores(model, targets, 0))[:, :, None],
        scored[:, :, :, None],
        kept.weights,
        first,
        memory,
    )
    seeds = [seed_for(seed, "land fit", model.name, cell, "free") for cell in cells]
    return _joined(model, kept.variables, [_fitted(runs, Space.of(model.parameters), seeds, options or FREE)])


def anomaly_weights(targets: Targets, variables: Sequence[str]) -> np.ndarray:
    """1 / variance of the anomaly about the record's climatology, (variable, cell)."""
    every = np.ones(len(targets.dates), bool)
    cells = next(iter(targets.values.values())).shape[1]
    # one by one: sums over cells side by side round in another order than those of a cell alone
    alone = [anomaly_variance(targets.select(slice(i, i + 1)), every) for i in range(cells)]
    least = {name: (LEAST_RATE if name in RATES else LEAST_STORE) ** 2 for name in variables}
    return np.stack([[1.0 / np.fmax(one[name][0], least[name]) for one in alone] for name in variables])


@dataclass(frozen=True, eq=False)
class _Scored:
    """What is scored: values (time, variable, cell), weights (variable, cell)."""

    variables: tuple[str, ...]
    values: np.ndarray
    weights: np.ndarray


def _scored(model: Model, forcing: Forcing, targets: Targets, weights: Mapping[str, float] | None) -> _Scored:
    if len(targets.dates) != len(forcing.dates) or (targets.dates != forcing.dates).any():
        raise InputError(
            f"fit: forcing of {len(forcing.dates)} days from {forcing.dates[0]}, targets of {len(targets.dates)} from "
            f"{targets.dates[0]}; expected the same days: cut both to one period"
        )
    known = [name for name in targets.values if name in model.states + model.fluxes]
    factors = dict.fromkeys(known, 1.0) | dict(weights or {})
    for name, factor in factors.items():
        if name not in known or not factor >= 0.0:
            raise ConfigError(
                f"weight of {name}: {factor:g}; model {model.name} and the targets share {', '.join(known)}, and a "
                "weight is at least 0"
            )
    variables = tuple(name for name in known if factors[name] > 0.0)
    if not variables:
        raise ConfigError(f"model {model.name}: no variable with a target and a weight above 0; give some weight")
    values = np.stack([targets.values[name] for name in variables], axis=1)
    scale = np.array([factors[name] for name in variables])[:, None]
    return _Scored(variables, values, scale * anomaly_weights(targets, variables))


def _fields(model: Model, forcing: Forcing) -> dict[str, np.ndarray]:
    return {name: np.asarray(getattr(forcing, name), np.float64) for name in model.forcings}


def _stores(model: Model, targets: Targets, day: int | np.ndarray) -> np.ndarray:
    """The reference's stores of days, (state, [day,] cell); those it lacks are empty."""
    some = np.zeros_like(next(iter(targets.values.values()))[day])
    known = [targets.values.get(name.removesuffix("_end")) for name in model.states]  # as `means` calls them
    return np.stack([some if values is None else values[day] for values in known])


def month_runs(model: Model, forcing: Forcing, targets: Targets, month: int, memory: int = 16 * 2**20) -> Runs:
    """What `fit_months` minimises in a month (1 to 12), with its defaults; a problem is a cell."""
    return _month_runs(model, "explicit", forcing, targets, _scored(model, forcing, targets, None), month, 10, memory)


def _month_runs(
    model: Model,
    scheme: Scheme,
    forcing: Forcing,
    targets: Targets,
    kept: _Scored,
    month: int,
    spin_in: int,
    memory: int,
) -> Runs:
    """A run for each whole month of the record that has `spin_in` days and a day of stores before it."""
    months = forcing.dates.astype("datetime64[M]")
    of_month = months.astype(int) % 12 + 1 == month
    begins = np.flatnonzero(of_month & np.concatenate([[True], months[1:] != months[:-1]]))
    begins = np.array([d for d in begins if d > spin_in and _whole(forcing.dates, months, d)], int)
    if not len(begins):
        raise InputError(
            f"fit of month {month}: the record {forcing.dates[0]} to {forcing.dates[-1]} has no whole one with "
            f"{spin_in + 1} days before it; give a longer record"
        )
    longest = max(int(np.sum(months == months[d])) for d in begins)
    days = np.arange(spin_in + longest)[:, None] + begins - spin_in  # (day, run)
    inside = np.minimum(days, len(months) - 1)
    counts = (months[inside] == months[begins]) & (days < len(months))
    start = _stores(model, targets, begins - spin_in - 1)  # (state, run, cell)
    begun = np.isfinite(start).all(axis=0)
    found = kept.values[inside].transpose(0, 2, 3, 1)  # (day, variable, cell, run)
    scored = np.where(counts[:, None, None, :] & begun.T, found, np.nan)
    fields = {name: series[inside].transpose(0, 2, 1) for name, series in _fields(model, forcing).items()}
    start = np.nan_to_num(start).transpose(0, 2, 1)
    return Runs(model, scheme, kept.variables, fields, start, scored, kept.weights, spin_in, memory)


def _whole(dates: np.ndarray, months: np.ndarray, first: int) -> bool:
    """Whether the month that holds day `first` begins there and ends within the record."""
    begins = dates[first] == months[first].astype(dates.dtype)
    return bool(begins and (months[-1] > months[first] or dates[-1] + 1 == (months[first] + 1).astype(dates.dtype)))


def _fitted(runs: Runs, space: Space, seeds: Sequence[int], options: SearchOptions) -> dict[str, np.ndarray]:
    """Of one month: field of `Fit` -> (cell, ...)."""
    count, cells, parameters = runs.count, len(seeds), len(space.names)
    free = np.tile(space.middle, (cells, 1))
    error = (space.real(space.middle + space.spread) - space.real(space.middle - space.spread)) / 2
    fit = {
        "standard_error": np.tile(error, (cells, 1)),
        "ratio": np.ones((cells, parameters)),
        "identifiable": np.zeros((cells, parameters), bool),
        "spread": np.ones((cells, parameters)),
        "equals": np.zeros(cells, int),
        "covariance": np.tile(np.diag(space.spread**2), (cells, 1, 1)),
        "wsse": np.full(cells, np.nan),
        "evaluations": np.zeros(cells, int),
        "converged": np.zeros(cells, bool),
    }
    some = np.flatnonzero(count > 0)
    if len(some):
        found = search(runs, space, some, [seeds[i] for i in some], options)
        free[some] = found.free
        for name in ("wsse", "evaluations", "converged"):
            fit[name][some] = getattr(found, name)
        fit["spread"][some], fit["equals"][some] = _equifinality(space, found)
        for first in range(0, len(some), runs.together):
            at = some[first : first + runs.together]
            known = uncertainty(
                runs.residuals,
                space,
                at,
                free[at],
                count[at],
                lambda r: days_per_independent(runs.series(r)),
                options.descent,
            )
            for name in ("covariance", "standard_error", "ratio", "identifiable"):
                fit[name][at] = getattr(known, name)
    theta = space.real(free)
    share = space.share(theta)
    at_bound = np.minimum(share, 1.0 - share) < AT_BOUND
    return fit | {"theta": theta, "free": free, "at_bound": at_bound, "scored": count}


def _equifinality(space: Space, found: Found) -> tuple[np.ndarray, np.ndarray]:
    """How far apart equally good ends lie, as a share of the bounds (problem, parameter), and how many they are."""
    good = found.end_wsse <= found.wsse[:, None] * (1.0 + EQUAL)
    share = space.share(space.real(found.ends))
    high = np.where(good[:, :, None], share, -np.inf).max(axis=1)
    low = np.where(good[:, :, None], share, np.inf).min(axis=1)
    return np.maximum(high - low, 0.0), good.sum(axis=1)


def _joined(model: Model, variables: tuple[str, ...], months: Sequence[Mapping[str, np.ndarray]]) -> Fit:
    found = {field: np.stack([month[field] for month in months]) for field in months[0]}
    for field in BY_PARAMETER:
        found[field] = np.ascontiguousarray(found[field].transpose(2, 0, 1))
    return Fit(tuple(p.name for p in model.parameters), variables, **found)
