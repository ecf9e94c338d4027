"""The Flood Potential Index, and how well it tells months with floods from months without.

    S_DEF(t) = S_max - S(t-1)        room left in storage at the end of the month before
    F(t)     = P(t) - S_DEF(t)       rain of the month that finds no room
    FPI(t)   = F(t) / max(F)

All in mm (Reager & Famiglietti 2009, doi:10.1029/2009GL040826). S_max and max(F) are those of the training years. The
index is near 1 where rain fills what is left of the largest storage ever seen, and may be far below 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.metrics import events
from sciml.metrics.bootstrap import draws, percentile_interval

KINDS = {"flood": "Flood", "flash_flood": "Flash Flood"}  # experiment -> type of report
BASELINES = ("precipitation_alone", "storage_alone")
FALSE_ALARM_RATE = 0.2  # at which the decision threshold is set, in training years
LEVEL = 0.9
RESAMPLES = 400
FEWEST_YEARS = 3  # of blocks for an interval
_SLAB = 4_000_000  # numbers that a slab of bootstrap draws may hold


@dataclass(frozen=True, eq=False)
class FloodCase:
    """Units in which floods are reported, and what could have announced them, by calendar month.

    name: (unit,); row: (unit,) name of the row of scores.parquet that a unit falls into (cells into mascons). months:
    (month,) datetime64[M]. precipitation: (unit, month) [mm]. storage: model -> (unit, month) [mm], NaN where unknown.
    reported: kind of `KINDS` -> (unit, month) bool. covered: (unit, month) bool, months in which the files would hold a
    report. train, test: (month,) bool. notes: sentences on data and on what was left out.
    """

    name: np.ndarray
    row: np.ndarray
    months: np.ndarray
    precipitation: np.ndarray
    storage: Mapping[str, np.ndarray]
    reported: Mapping[str, np.ndarray]
    covered: np.ndarray
    train: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...] = ()


def previous(storage: np.ndarray) -> np.ndarray:
    """Storage of the month before: (unit, month) -> same shape, NaN in the first month."""
    return np.concatenate([np.full((len(storage), 1), np.nan), storage[:, :-1]], axis=1)


def excess(precipitation: np.ndarray, storage: np.ndarray, train: np.ndarray) -> np.ndarray:
    """F = P - (S_max - S(t-1)) [mm]. precipitation, storage: (unit, month) [mm]; train: (month,) bool, years of S_max.

    NaN where either is unknown, and throughout for a unit whose storage no training month knows.
    """
    return precipitation - (_largest(storage, train) - previous(storage))


def potential(precipitation: np.ndarray, storage: np.ndarray, train: np.ndarray) -> np.ndarray:
    """FPI = F / max(F): (unit, month), 1 in the training month of the largest F. Arguments as in `excess`.

    max(F) is positive wherever rain fell in the month after the training maximum of storage; a unit where it is not has
    no index and is NaN.
    """
    found = excess(precipitation, storage, train)
    largest = _largest(found, train)
    return np.where(largest > 0, found / np.where(largest > 0, largest, 1.0), np.nan)


def precipitation_alone(precipitation: np.ndarray, train: np.ndarray) -> np.ndarray:
    """P over its largest training month: what the index is without storage."""
    return precipitation / _largest(precipitation, train)


def storage_alone(storage: np.ndarray, train: np.ndarray) -> np.ndarray:
    """1 less the deficit over the training range of storage: what the index is without this month's rain."""
    top, bottom = _largest(storage, train), -_largest(-storage, train)
    return 1 - (top - previous(storage)) / np.where(top > bottom, top - bottom, np.nan)


def _largest(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Largest known training value of each unit: (unit, 1), NaN where none is known."""
    known = np.isfinite(values) & train
    return np.where(known.any(axis=1), np.where(known, values, -np.inf).max(axis=1), np.nan)[:, None]


@dataclass(frozen=True, eq=False)
class Scored:
    """Indices and reports on the records that count, the same for all models.

    index: model -> (unit, month); reported: (unit, month) bool; train, test: (unit, month) bool, records of either
    period; headline: the model whose index told the training floods best; storage_of: whose storage did so alone, which
    `storage_alone` takes; threshold: model -> least index of an alarm.
    """

    case: FloodCase
    kind: str
    index: Mapping[str, np.ndarray]
    reported: np.ndarray
    train: np.ndarray
    test: np.ndarray
    headline: str
    storage_of: str
    threshold: Mapping[str, float]


def prepare(case: FloodCase, kind: str) -> Scored:
    """Indices of all models and both baselines, their thresholds, and the records that all of them know.

    Headline and `storage_alone` are chosen in the training months (the first model where those hold no report). The
    threshold of each lets false alarms into a fifth of the training months without a report; where files cover none,
    all training months count as such. Raises InputError where nothing is left to score, or all of it is of one kind.
    """
    index, alone, known = _indices(case)
    reported = case.reported[kind]
    train, test = (known & case.covered & period for period in (case.train, case.test))
    _refuse_one_kind(case, kind, test)
    headline, storage_of = (_best(found, reported, train, case.row) for found in ({m: index[m] for m in alone}, alone))
    index["storage_alone"] = alone[storage_of]
    quiet = train & ~reported
    quiet = quiet if quiet.any() else known & case.train
    threshold = {name: _threshold(values[quiet]) for name, values in index.items()}
    return Scored(case, kind, index, reported, train, test, headline, storage_of, threshold)


def check(case: FloodCase, kind: str) -> None:
    """Raise what `prepare` would. A case without storage is checked for its reports and its rain alone."""
    _refuse_one_kind(case, kind, _indices(case)[2] & case.covered & case.test)


def _refuse_one_kind(case: FloodCase, kind: str, test: np.ndarray) -> None:
    hits = int((case.reported[kind] & test).sum())
    if not 0 < hits < int(test.sum()):
        raise InputError(
            f"{kind}: found {hits} months with a report of '{KINDS[kind]}' among the {int(test.sum())} test months of"
            f" {len(case.name)} units that reports, rain and storage cover; expected both kinds; check --flood-reports"
            " and the test period"
        )


def scorable(case: FloodCase, kind: str) -> bool:
    """Whether the test records that all indices know hold months with and months without a report."""
    kept = _indices(case)[2] & case.covered & case.test
    return 0 < int((case.reported[kind] & kept).sum()) < int(kept.sum())


def _indices(case: FloodCase) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Index of each model and of rain alone, storage alone of each model, and the records that all of them know."""
    index = {name: potential(case.precipitation, storage, case.train) for name, storage in case.storage.items()}
    alone = {name: storage_alone(storage, case.train) for name, storage in case.storage.items()}
    index["precipitation_alone"] = precipitation_alone(case.precipitation, case.train)
    return index, alone, np.all([np.isfinite(values) for values in (*index.values(), *alone.values())], axis=0)


def _best(index: Mapping[str, np.ndarray], reported: np.ndarray, train: np.ndarray, row: np.ndarray) -> str:
    """The index with the largest ROC area in training; the first where training holds one kind of month alone."""
    areas = {name: float(area_within(values, reported, train, row)[0]) for name, values in index.items()}
    return max(areas, key=lambda name: areas[name] if np.isfinite(areas[name]) else -1.0)


def _threshold(quiet: np.ndarray) -> float:
    """Least index of an alarm so that at most a fifth of months without a flood get one. quiet: (record,)."""
    allowed = int(np.floor(FALSE_ALARM_RATE * len(quiet)))
    return float(np.nextafter(np.sort(quiet)[len(quiet) - 1 - allowed], np.inf))


def area_within(
    index: np.ndarray, reported: np.ndarray, keep: np.ndarray, row: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """ROC area over pairs of records of the same place: how often a month with a report has the higher index than a
    month without one there.

    Places differ in size, climate and in who reports; a pair across places would ask which place floods more often, not
    when. index, reported, keep: (unit, month); row: (unit,) place; counts: (draw, month). Returns (draw,), or (1,)
    without counts; NaN where no place has both kinds.
    """
    times = np.ones((1, index.shape[1])) if counts is None else counts.astype(np.float64)
    wins, pairs = np.zeros((2, len(times)))
    for label in dict.fromkeys(row):
        own = keep & (row == label)[:, None]
        forecast, observed, month = index[own], reported[own], np.nonzero(own)[1]
        step = max(1, _SLAB // max(len(forecast), 1))
        for start in range(0, len(times) if 0 < observed.sum() < len(observed) else 0, step):
            part = slice(start, start + step)
            drawn = times[part][:, month]
            size = drawn[:, observed].sum(axis=1) * drawn[:, ~observed].sum(axis=1)
            wins[part] += np.nan_to_num(events.roc_area(forecast, observed, drawn)) * size
            pairs[part] += size
    return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), np.nan)


def table(scored: Scored) -> pd.DataFrame:
    """Rows of scores.parquet: experiment, model, unit, n, n_months, events, roc_area, tpr, far, peirce."""
    rows = []
    for model, index in scored.index.items():
        for label in dict.fromkeys(scored.case.row):
            keep = scored.test & (scored.case.row == label)[:, None]
            if keep.any():
                found = _scores(index, scored.reported, keep, scored.threshold[model])
                size = {"n": int(keep.sum()), "n_months": int(keep.any(axis=0).sum())}
                size["events"] = int((scored.reported & keep).sum())
                rows.append({"experiment": scored.kind, "model": model, "unit": label, **size, **found})
    return pd.DataFrame(rows)


def _scores(index: np.ndarray, reported: np.ndarray, keep: np.ndarray, threshold: float) -> dict[str, float]:
    cells = events.contingency(index >= threshold, reported, mask=keep).merged()
    return {
        "roc_area": float(events.roc_area(index[keep], reported[keep])),
        "tpr": float(events.pod(cells)),
        "far": float(events.pofd(cells)),
        "peirce": float(events.peirce(cells)),
    }


def summarise(scored: Scored, rows: pd.DataFrame, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """`scores.<kind>` of metrics.json: model -> scores over all records, with 90 % intervals.

    `roc_area` is that of `area_within`; `roc_area_pooled` takes pairs across places too. One threshold serves all
    places. `far` is the false-alarm rate: false alarms over months without a flood. Intervals come from drawing whole
    years of the test period, the same for all models; None where they are fewer than three. `roc_area_gain`: over each
    baseline, its interval from paired draws. `fraction_better_than`: share of rows with the larger ROC area.
    """
    used = scored.test.any(axis=0)
    years = scored.case.months.astype("datetime64[Y]")
    blocks = len(np.unique(years[used]))
    counts = np.zeros((RESAMPLES, len(years)), np.int32)
    counts[:, used] = draws(years[used], resamples=RESAMPLES, seed=seed, kind="years")
    drawn = {model: _drawn(scored, model, counts) for model in scored.index}
    areas = {model: part.set_index("unit")["roc_area"] for model, part in rows.groupby("model", sort=False)}
    size: dict[str, Any] = {
        "n": int(scored.test.any(axis=1).sum()),
        "n_months": int(used.sum()),
        "n_records": int(scored.test.sum()),
        "n_events": int((scored.reported & scored.test).sum()),
        "ci_level": LEVEL,
        "ci_blocks": f"{blocks} years",
    }
    values = {}
    for model, index in scored.index.items():
        found = _scores(index, scored.reported, scored.test, scored.threshold[model])
        inside = float(area_within(index, scored.reported, scored.test, scored.case.row)[0])
        values[model] = {"roc_area": inside, "roc_area_pooled": found.pop("roc_area"), **found}
    return {model: size | _summary(model, values, drawn, areas, scored.threshold[model], blocks) for model in values}


def _summary(
    model: str,
    values: Mapping[str, Mapping[str, float]],
    drawn: Mapping[str, Mapping[str, np.ndarray]],
    areas: Mapping[str, pd.Series],
    threshold: float,
    blocks: int,
) -> dict[str, Any]:
    out: dict[str, Any] = {"threshold": threshold, "roc_area_gain": {}, "roc_area_gain_ci": {}}
    for key, value in values[model].items():
        out |= {key: _number(value), f"{key}_ci": _interval(drawn[model][key], blocks)}
    out["fraction_better_than"] = {}
    for rival in BASELINES:
        if rival != model:
            out["roc_area_gain"][rival] = _number(values[model]["roc_area"] - values[rival]["roc_area"])
            gain = drawn[model]["roc_area"] - drawn[rival]["roc_area"]
            out["roc_area_gain_ci"][rival] = _interval(gain, blocks)
            gains = (areas[model] - areas[rival]).dropna()
            out["fraction_better_than"][rival] = _number(float((gains > 0).mean()) if len(gains) else np.nan)
    return out


def _drawn(scored: Scored, model: str, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each draw of years. counts: (draw, month)."""
    index = scored.index[model]
    cells = events.contingency(index >= scored.threshold[model], scored.reported, mask=scored.test, counts=counts)
    merged, everywhere = cells.merged(), np.zeros(len(index), int)
    return {
        "roc_area": area_within(index, scored.reported, scored.test, scored.case.row, counts),
        "roc_area_pooled": area_within(index, scored.reported, scored.test, everywhere, counts),
        "tpr": events.pod(merged),
        "far": events.pofd(merged),
        "peirce": events.peirce(merged),
    }


def roc_band(scored: Scored, model: str, rates: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """90 % band of the ROC curve at false-alarm rates (rate,): lower and upper true-positive rate, from draws of years.

    Two hundred thresholds stand for all of them.
    """
    index, used = scored.index[model], scored.test.any(axis=0)
    years = scored.case.months.astype("datetime64[Y]")[used]
    counts = draws(years, resamples=RESAMPLES, seed=seed, kind="years")
    steps = np.unique(np.quantile(index[scored.test], np.linspace(0, 1, 200)))[::-1]
    kept, above = scored.test[:, used], index[:, used]
    hit = np.stack([((above >= step) & kept & scored.reported[:, used]).sum(axis=0) for step in steps])
    alarm = np.stack([((above >= step) & kept & ~scored.reported[:, used]).sum(axis=0) for step in steps])
    hits, alarms = counts @ hit.T, counts @ alarm.T  # (draw, step), the last step alarms always
    enough = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
    curves = [
        np.interp(rates, np.concatenate([[0], a / a[-1]]), np.concatenate([[0], h / h[-1]]))
        for h, a in zip(hits[enough], alarms[enough], strict=True)
    ]
    low, high = np.quantile(curves, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def _interval(values: np.ndarray, blocks: int) -> list[float | None]:
    if blocks < FEWEST_YEARS:
        return [None, None]
    return [_number(value) for value in percentile_interval(values, level=LEVEL)]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
