"""Models of `regroup`: what each says of basins when it knows the storage of neighbourhoods only.

All add contrasts to the observed mean of the group. How wide their bands are is measured for each in the same way:
contrasts between neighbouring groups in half of the training years, by a model that saw one of the two, or neither, in
the other half.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sciml.core.seeds import seed_for
from sciml.data.stores import open_store
from sciml.grace import features
from sciml.grace.baselines import FEWEST_MONTHS
from sciml.grace.basins import experiments, regroup
from sciml.grace.basins.experiments import MEMBERS, LeftOut, Prediction, Regrouped
from sciml.grace.basins.nets import Prepared
from sciml.grace.lags import lag_sequences
from sciml.grace.local_lstm import fit_units, predict_units
from sciml.grace.search import local_config, names_of

RIDGE_ALPHA = 30.0

# kept months, place (place,) of units to predict, group (place,) whose model does it -> (place, month) [mm]
Apply = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def global_lstm(ready: Prepared, urls: dict[str, str], _: Any) -> Prediction:
    """Nets trained on all groups, applied to basins; shares and errors from nets without the neighbourhood."""
    work, nets = _work(ready), open_store(urls["group_nets"])["storage"].values
    members, regions = ready.setup.global_members, int(ready.group_region.max()) + 1
    left = []
    for number, half in enumerate(ready.halves):
        predicted = np.full(work.observed.shape, np.nan)
        for region in range(regions):
            inside = np.flatnonzero(ready.group_region == region)
            predicted[inside] = nets[members + number * regions + region, inside]
        kept = work.problem.train & ~half
        left.append(LeftOut(predicted, work.observed, kept, half, np.ones(len(predicted), bool)))
    scale = experiments.group_scale(work, work.is_group, work.problem.train)
    return experiments.assemble_regroup(work, nets[:members], left, scale, MEMBERS, ready.setup.seed)


def group_mean(ready: Prepared, *_: Any) -> Prediction:
    """What GRACE saw of the neighbourhood, for each of its basins."""
    return _with_contrast(ready, lambda kept, place, group: np.zeros((len(place), len(ready.problem.months))))


def ridge(ready: Prepared, *_: Any) -> Prediction:
    """Ridge trained on a group's mean, applied to its basins with their whole contrast."""
    problem = _work(ready).problem
    filled = features.fill_families(problem.predictors, problem.reference(problem.train))
    table = features.lag_table(filled[:, :, 0], problem.months)
    complete = np.asarray(np.isfinite(table).all(axis=2))

    def apply(kept: np.ndarray, place: np.ndarray, group: np.ndarray) -> np.ndarray:
        out = np.full((len(place), len(problem.months)), np.nan)
        for one in np.unique(group):
            use = kept & complete[one] & np.isfinite(problem.storage[one])
            if use.sum() < FEWEST_MONTHS:
                continue
            model = make_pipeline(StandardScaler(), Ridge(alpha=RIDGE_ALPHA)).fit(
                table[one, use], problem.storage[one, use]
            )
            for row in np.flatnonzero(group == one):
                known = complete[place[row]]
                out[row, known] = model.predict(table[place[row], known])
        return out

    return _with_contrast(ready, apply)


def lstm(ready: Prepared, _: dict[str, str], settings: Mapping[str, Any]) -> Prediction:
    """The paper's ensemble trained on a group's mean, applied to its basins with their whole contrast.

    settings: as in `search.defaults`.
    """
    problem, setup = _work(ready).problem, ready.setup
    predictors = problem.predictors[..., [setup.fluxes.index(name) for name in names_of(settings)]]
    known = np.isfinite(predictors)
    mean = np.where(known, predictors, 0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    mean = np.where(known.any(axis=2), mean, np.nan).astype(np.float32)
    table = lag_sequences(mean, mean, ready.data.windows, problem.months, int(settings["lags"]))
    groups = len(_work(ready).observed)

    def apply(kept: np.ndarray, place: np.ndarray, group: np.ndarray) -> np.ndarray:
        storage = problem.storage[:groups]
        states = fit_units(
            table[:groups],
            storage,
            1 / np.square(problem.uncertainty[:groups]),
            kept & np.isfinite(table[:groups]).all(axis=(2, 3)) & np.isfinite(storage),
            local_config(settings),
            [f"group {number}" for number in range(groups)],
            seed_for(setup.seed, "regroup"),
        )
        return predict_units(states, table[place], group).mean(axis=1, dtype=np.float64)

    return _with_contrast(ready, apply)


def _work(ready: Prepared) -> Regrouped:
    assert ready.grouped is not None  # the job refuses `regroup` without a mask
    return ready.grouped


def _with_contrast(ready: Prepared, apply: Apply) -> Prediction:
    """Group means plus what a group's model says of the contrasts in it, seen through GRACE's footprint.

    A basin has no anomaly of its own where predictors do not reach or its group has too few records for a model.
    """
    work = _work(ready)
    train, label, groups = work.problem.train, work.grouping.label, len(work.observed)
    own = experiments.anomaly(apply(train, groups + np.arange(len(label)), label), train)
    point = work.observed[label] + work.grouping.contrast(work.footprint @ np.nan_to_num(own), work.counted)
    first, second = (np.array([pair[k] for pair in work.pairs]) for k in (0, 1))
    scale = experiments.group_scale(work, work.is_group, train)
    missed, spread = [], np.zeros(0)
    for half in ready.halves:
        kept = train & ~half
        both = experiments.anomaly(apply(kept, np.concatenate([first, second]), np.tile(first, 2)), kept)
        modelled = np.nan_to_num(both[: len(first)] - both[len(first) :])
        seen = experiments.anomaly(work.observed, kept)
        share = np.array([pair[2] for pair in work.pairs])
        missed.append(share[:, None] * (modelled - (seen[first] - seen[second]))[:, half])
        spread = share * np.hypot(scale[first], scale[second])
    relative = regroup.contrast_error(np.concatenate(missed, axis=1), spread)
    return experiments.around_group(work, point, relative, scale, MEMBERS, ready.setup.seed)
