"""The real-basin experiments as pure functions: train one net, predict, correct and calibrate.

A stage runs `net_prediction` once for every (fold, member); `assemble_*` put the results together. Storage is the
anomaly [mm] to each unit's mean over the training months. Folds are blocks of training years.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from sciml.core.errors import InputError
from sciml.data.splits import year_folds
from sciml.grace import baselines, calibration, features, global_lstm
from sciml.grace.baselines import FEWEST_MONTHS
from sciml.grace.basins import regroup
from sciml.grace.global_lstm import GlobalTraining

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
MONTH = "datetime64[M]"

MEMBERS = 30  # of a calibrated prediction
WARM_UP_YEARS = 2  # predictors before the training period that count for climatologies


@dataclass(frozen=True, eq=False)
class Problem:
    """Units to learn from and to predict.

    months: (month,). predictors: (unit, month, family, variable) [mm month-1], NaN where missing. storage: (unit,
    month) [mm], NaN without a record and in the rows of units whose storage must not be read. uncertainty: (unit,
    month) [mm]. train: (month,) bool, months with records in the training period. signs: water budget of the variables,
    or None.
    """

    months: NDArray[np.datetime64]
    predictors: Array
    storage: Array
    uncertainty: Array
    train: Mask
    signs: tuple[float, ...] | None = (1.0, -1.0, -1.0)

    def __post_init__(self) -> None:
        if not self.train.any():
            raise InputError("basins: no training month")

    def reference(self, keep: Mask) -> Mask:
        """Months that define climatologies when `keep` trains: two years before training to its last year, without the
        years left out. They are whole years: a leaky store adds up what a broken year leaves of the season.
        """
        years = self.months.astype("datetime64[Y]")
        trained = years[self.train]
        inside = (years >= trained.min() - WARM_UP_YEARS) & (years <= trained.max())
        return inside & ~np.isin(years, np.unique(years[self.train & ~keep]))

    def features(self, keep: Mask) -> features.Features:
        return features.build(self.predictors, self.months, self.reference(keep), self.signs)


def folds(months: NDArray[np.datetime64], train: Mask, count: int) -> list[Mask]:
    """Validation blocks of consecutive training years as masks (month,)."""
    blocks = []
    for fold in year_folds(months[train], count):
        mask = np.zeros(len(months), bool)
        mask[np.flatnonzero(train)[fold.valid]] = True
        blocks.append(mask)
    return blocks


def scales(problem: Problem, keep: Mask) -> tuple[Array, Array]:
    """Mean and standard deviation of each unit's storage over the kept months: (unit,), (unit,) [mm].

    Over all training months for a unit with fewer than FEWEST_MONTHS kept ones: its storage begins late or ends early.
    """
    enough = np.isfinite(problem.storage[:, keep]).sum(axis=1) >= FEWEST_MONTHS
    months = np.where(enough[:, None], keep, problem.train)
    values = np.where(months, problem.storage, np.nan)
    return np.nanmean(values, axis=1), np.maximum(np.nanstd(values, axis=1), 1e-3)


def net_states(
    problem: Problem,
    keep: Mask,
    units: Mask,
    scale: Array,
    level: Array,
    config: GlobalTraining,
    seed: int,
    report: Any = None,
    resume: Any = None,
) -> Mapping[str, Any]:
    """Train one member on `units` (unit,) and `keep` (month,); level, scale: (unit,) turn storage into targets."""
    built = problem.features(keep)
    attributes = features.Scaler.fit(built.attributes, units).apply(built.attributes)
    targets = np.full(problem.storage.shape, np.nan)
    chosen = np.ix_(units, keep)
    targets[chosen] = (problem.storage[chosen] - level[units, None]) / scale[units, None]
    weights = np.ones(targets.shape)
    return global_lstm.train_member(built.inputs, attributes, targets, weights, config, seed, report, resume)


def net_prediction(
    problem: Problem, state: Mapping[str, Any], keep: Mask, units: Mask, config: GlobalTraining
) -> NDArray[np.float32]:
    """Predictions of a state from `net_states` in units of the scale: (unit, month), NaN where no predictor reaches.

    They begin long before GRACE: drought percentiles need the decades that storage was not observed.
    """
    built = problem.features(keep)
    attributes = features.Scaler.fit(built.attributes, units).apply(built.attributes)
    reached = np.flatnonzero(np.isfinite(problem.predictors).any(axis=(0, 2, 3)))
    positions = np.arange(reached[0] + config.prediction_history - 1, reached[-1] + 1)
    out = np.full(problem.storage.shape, np.nan, np.float32)
    out[:, positions] = global_lstm.predict(state, built.inputs, attributes, positions, config)
    return out


def ridge_table(problem: Problem, keep: Mask, stores: bool) -> Array:
    """Columns of ridge: lags, sums and season of the first family; with `stores` also the leaky stores."""
    built = problem.features(keep)
    filled = features.fill_families(problem.predictors, problem.reference(keep))
    return features.lag_table(filled[:, :, 0], problem.months, extra=built.stores if stores else None)


def ridge_prediction(problem: Problem, keep: Mask, alpha: float, stores: bool) -> Array:
    """Ridge per unit, fitted on `keep`, for all months: (unit, month) [mm], NaN for units with too few kept months."""
    enough = np.isfinite(problem.storage[:, keep]).sum(axis=1) >= FEWEST_MONTHS
    out = np.full(problem.storage.shape, np.nan)
    out[enough] = baselines.ridge(ridge_table(problem, keep, stores)[enough], problem.storage[enough], keep, alpha)
    return out


@dataclass(frozen=True, eq=False)
class Prediction:
    """members: (unit, member, month) [mm]; point: (unit, month), their mean; sigma: (unit,); settings: the choices.
    out_of_fold: (unit, month) [mm], training months by what did not see their block of years, where that is scored.
    """

    members: NDArray[np.float32]
    point: Array
    sigma: Array
    settings: dict[str, float]
    out_of_fold: Array | None = None


def calibrated(
    problem: Problem, point: Array, out_of_fold: Array, blocks: Sequence[Mask], count: int, seed: int, **settings: float
) -> Prediction:
    """Members of any model from its point prediction and its out-of-fold predictions (unit, month)."""
    residual = np.where(problem.train, problem.storage - out_of_fold, np.nan)
    sigma = calibration.error_scale(residual, scales(problem, problem.train)[1], blocks)
    return Prediction(calibration.members(point, sigma, count, seed), point, sigma, settings)


# Chosen by training up to 2009 or 2010 and validating on the years after, and by the mirror image of that: the scores
# are flat around these values, and a search inside blocked folds would see the validation block through the residuals.
BLEND_ALPHA = 50.0
RIDGE_WEIGHT = 0.4
RECENT_SHARE = 0.5


def assemble_basins(
    problem: Problem,
    nets: Array,
    net_out_of_fold: Array,
    net_out_of_half: Array,
    blocks: Sequence[Mask],
    halves: Sequence[Mask],
    count: int,
    seed: int,
) -> Prediction:
    """The global model of `basins`: nets blended with a ridge on stores, plus half of the recent out-of-fold error.

    nets: (member, unit, month) [mm], trained on all training months; net_out_of_fold, net_out_of_half: (unit, month)
    [mm], each block predicted by nets trained without it. blocks: short, for the recent error; halves: two, so that the
    errors that calibrate the members come from extrapolating as far as the test does.
    """
    train = problem.train

    def blend(net: Array, linear: Array) -> Array:
        return (1 - RIDGE_WEIGHT) * net + RIDGE_WEIGHT * linear

    def left_out(folds: Sequence[Mask]) -> Array:
        out = np.full(problem.storage.shape, np.nan)
        for valid in folds:
            out[:, valid] = ridge_prediction(problem, train & ~valid, BLEND_ALPHA, stores=True)[:, valid]
        return out

    apart = blend(net_out_of_fold, left_out(blocks))
    residual = problem.storage - apart
    recent = calibration.recent_error(residual, problem.months, train)
    linear = ridge_prediction(problem, train, BLEND_ALPHA, stores=True)
    point = blend(nets.mean(axis=0), linear) + RECENT_SHARE * recent
    settings = {"ridge_weight": RIDGE_WEIGHT, "recent_share": RECENT_SHARE}
    found = calibrated(problem, point, blend(net_out_of_half, left_out(halves)), halves, count, seed, **settings)
    return replace(found, out_of_fold=apart)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions of years, and mostly places, that the networks never saw.

    predicted, observed: (unit, month) in the unit's measure, observed NaN without a record; kept: (month,) bool,
    training months that the networks did see; valid: (month,) bool, those they did not; use: (unit,) bool, units that
    they did not see.
    """

    predicted: Array
    observed: Array
    kept: Mask
    valid: Mask
    use: Mask


def left_out_components(left: LeftOut, months: NDArray[np.datetime64]) -> tuple[Array, Array]:
    """What was predicted of unseen years, by component, and what was observed: anomalies to the years that were seen.

    Returns (component, unit, record) and (unit, record). An offset between seen and unseen years stays in, as it does
    between training and test.
    """
    known = np.isfinite(left.predicted).all(axis=0)
    last = months[left.kept].max()
    parts = regroup.components(left.predicted[:, known], months[known], left.kept[known], last)
    return parts[:, :, left.valid[known]], anomaly(left.observed, left.kept)[:, left.valid]


def anomaly(values: Array, keep: Mask) -> Array:
    """(unit, month) less each unit's mean over the kept months that it has; NaN for a unit that has none."""
    known = np.isfinite(values) & keep
    count = known.sum(axis=1, keepdims=True)
    mean = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / np.maximum(count, 1)
    return np.where(count > 0, values - mean, np.nan)


def component_shares(parts: Array, observed: Array) -> Array:
    """Least squares of observed on predicted components, held in [0, 1]: (component,), over the records known."""
    flat, target = parts.reshape(len(parts), -1), observed.ravel()
    known = np.isfinite(target) & np.isfinite(flat).all(axis=0)
    return np.clip(nnls(flat[:, known].T, target[known])[0], 0.0, 1.0)


def assemble_region_out(
    problem: Problem,
    nets: Array,
    regions: Sequence[tuple[Mask, Mask]],
    left: Sequence[LeftOut],
    count: int,
    seed: int,
) -> Prediction:
    """`basins_region_out`: nets that never saw the region, scaled by the unit's own training-year deviation alone.

    nets: (member, unit, month) in units of the deviation, each region by nets without it; regions: (train, valid) masks
    (unit,); left: for each region, what nets without it and without half of the years say, in units of the deviation in
    the years that were kept: as in the test, the deviation knows nothing of the years to come. How much of season, fast
    and slow to believe is learned for each region from the others, in years left out; so is the error.
    """
    level, deviation = scales(problem, problem.train)
    months, known = problem.months, np.isfinite(nets).all(axis=(0, 1))
    parts = regroup.components(
        nets.mean(axis=0)[:, known], months[known], problem.train[known], months[problem.train].max()
    )
    pairs = [left_out_components(one, months) for one in left]
    point = np.full(problem.storage.shape, np.nan)
    errors = []
    shares = np.zeros((len(regions), len(parts)))
    for number, (train, valid) in enumerate(regions):
        chosen = [(p[:, one.use & train], o[one.use & train]) for one, (p, o) in zip(left, pairs, strict=True)]
        flat = [np.concatenate([p.reshape(len(parts), -1) for p, _ in chosen], axis=1)]
        shares[number] = component_shares(flat[0], np.concatenate([o.ravel() for _, o in chosen]))
        point[np.ix_(valid, known)] = np.tensordot(shares[number], parts[:, valid], axes=1)
        own, (predicted, observed) = left[number], pairs[number]
        errors.append((np.tensordot(shares[number], predicted[:, own.use], axes=1) - observed[own.use]).ravel())
    residual = np.concatenate(errors)
    relative = relative_error(residual, np.zeros(len(residual)))
    sigma = relative * deviation
    settings = {f"share_{name}": float(s) for name, s in zip(regroup.COMPONENTS, shares.mean(axis=0), strict=True)}
    storage = level[:, None] + point * deviation[:, None]
    return Prediction(
        calibration.members(storage, sigma, count, seed), storage, sigma, {**settings, "relative_error": relative}
    )


def relative_error(predicted: Array, observed: Array, level: float = 0.9) -> float:
    """Width that a normal error needs so that its central `level` covers that share of |predicted - observed|.

    Both (unit, month) in units of the deviation, NaN where not validated.
    """
    error = np.abs(predicted - observed)
    return float(np.quantile(error[np.isfinite(error)], level)) / calibration.NINETY


@dataclass(frozen=True, eq=False)
class Regrouped:
    """A problem of groups followed by their basins (storage of basins is NaN), and who belongs to whom.

    counted: (basin, month) bool, basins whose storage is in the group's mean. centre: (group, 3) unit vectors; area:
    (group,) [km2]. footprint: (basin, basin), from `regroup.footprint`.
    """

    problem: Problem
    grouping: regroup.Groups
    is_group: Mask
    counted: Mask
    centre: Array
    area: Array
    footprint: Array

    @property
    def observed(self) -> Array:
        """Storage of the groups: (group, month) [mm]."""
        return self.problem.storage[self.is_group]

    @property
    def pairs(self) -> list[tuple[int, int, float]]:
        """Neighbouring groups: see `regroup.neighbour_pairs`."""
        return regroup.neighbour_pairs(self.centre, self.area)


def regrouped(problem: Problem, label: NDArray[np.int64], area: Array, place: Array, footprint: Array) -> Regrouped:
    """Area-weighted group means as units to train on; basins as units to predict, their storage removed.

    label: (basin,) group; area: (basin,) [km2]; place: (basin, 3) unit vectors.
    """
    grouping = regroup.groups(label, area)
    count = len(grouping.weight)
    unknown = np.full(problem.storage.shape, np.nan)
    joined = replace(
        problem,
        predictors=np.concatenate([grouping.mean(problem.predictors), problem.predictors]),
        storage=np.concatenate([grouping.mean(problem.storage), unknown]),
        uncertainty=np.concatenate([grouping.mean(problem.uncertainty), unknown]),
    )
    centre = grouping.mean(place)
    return Regrouped(
        joined,
        grouping,
        is_group=np.arange(count + len(label)) < count,
        counted=np.isfinite(problem.storage),
        centre=centre / np.linalg.norm(centre, axis=1, keepdims=True),
        area=np.bincount(label, weights=area).astype(float),
        footprint=footprint,
    )


def group_scale(work: Regrouped, groups_that_train: Mask, keep: Mask) -> Array:
    """Variability of all units (group, then basin) as expected from predictors: (unit,) [mm]."""
    built = work.problem.features(keep)
    values = np.where(keep, work.problem.storage, np.nan)
    enough = np.isfinite(values).sum(axis=1) >= FEWEST_MONTHS
    deviation = np.full(len(values), np.nan)
    deviation[enough] = np.nanstd(values[enough], axis=1)
    return regroup.fit_scale(built.attributes, built.size, deviation, groups_that_train)


def assemble_regroup(
    work: Regrouped, nets: Array, left: Sequence[LeftOut], scale: Array, count: int, seed: int
) -> Prediction:
    """Downscaled basins: observed group mean plus learned contrast.

    nets: (member, unit, month) [mm], trained on all groups; left: for each half of the years, what nets say of groups
    whose neighbourhood and years they never saw [mm]; scale: (unit,) from `group_scale`.
    """
    problem, train = work.problem, work.problem.train
    usable = np.isfinite(nets).all(axis=(0, 1))
    months, last = problem.months[usable], problem.months[train].max()
    outside, observed = (
        np.concatenate(values, axis=-1)
        for values in zip(*[left_out_components(one, problem.months) for one in left], strict=True)
    )
    seen = regroup.neighbour_contrasts(outside, observed, work.pairs, scale[work.is_group])
    shares = regroup.learn_shares(seen)
    seen_by_grace = work.footprint @ nets.mean(axis=0)[~work.is_group][:, usable]
    parts = regroup.components(seen_by_grace, months, train[usable], last)
    point = np.full((len(work.grouping.label), len(problem.months)), np.nan)
    point[:, usable] = regroup.downscale(
        work.observed[:, usable],
        parts,
        shares,
        work.grouping,
        regroup.basin_spread(work.grouping, scale[~work.is_group], scale[work.is_group]),
        train[usable],
        work.counted[:, usable],
    )
    relative = regroup.contrast_error(regroup.believed(seen, shares) - seen.observed, seen.spread)
    settings = {f"share_{name}": s for name, s in zip(regroup.COMPONENTS, shares.component, strict=True)}
    return around_group(work, point, relative, scale, count, seed, noise=shares.noise, **settings)


def around_group(
    work: Regrouped, point: Array, relative: float, scale: Array, count: int, seed: int, **settings: float
) -> Prediction:
    """Members of downscaled basins, the same way for every model.

    point: (basin, month) [mm]; relative: error of contrasts in units of their spread, between neighbouring groups in
    years left out; scale: (unit,) from `group_scale`. Members return the group mean too: their errors are contrasts,
    and a lone basin has none.
    """
    sigma = relative * regroup.basin_spread(work.grouping, scale[~work.is_group], scale[work.is_group])
    errors = calibration.members(np.zeros(point.shape), sigma, count, seed)
    drawn = point[:, None] + work.grouping.contrast(errors, work.counted[:, None])
    return Prediction(drawn.astype(np.float32), point, sigma, {**settings, "relative_error": relative})
