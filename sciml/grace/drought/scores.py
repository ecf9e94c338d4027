"""Storage against the Drought Monitor by state and basin: rank correlation, and drought classes hit and missed.

DSCI is high and storage low in drought, so a good correlation is near -1. What is compared between models is its
strength, -r, which equals the absolute value wherever the sign is right. Intervals are central 90 % intervals over
draws of whole calendar years, common to all models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import norm

from sciml.core.errors import InputError
from sciml.data.months import MONTH
from sciml.data.readers.usdm import CLASSES, RENAMED, dsci, monthly
from sciml.data.stores import open_store
from sciml.grace.drought.places import Units, units
from sciml.grace.drought.storage import BASELINES, Ready
from sciml.metrics import events, seasonal
from sciml.metrics.bootstrap import draws, percentile_interval

LEVEL = 0.9
RESAMPLES = 1000
PERCENTILES = (0.30, 0.20, 0.10, 0.05, 0.02)  # at and below which storage is in D0..D4 (Svoboda et al. 2002)
MOST_AREA = 0.5  # a unit is in a class when this share of it is in that class or a worse one
MOST_LACKING = 0.1  # of the Drought Monitor's months; a county that lacks more is unknown
REFERENCE_LAST = np.datetime64("2014-12")  # or the last training month, where that is earlier
# `far` is the false-alarm rate here as in the flood experiment, the share of months without drought that had an alarm
EVENT_SCORES = {"pod": events.pod, "far": events.pofd, "false_alarm_ratio": events.far, "ets": events.ets}


@dataclass(frozen=True, eq=False)
class Observed:
    """The Drought Monitor by unit. months: (month,), those of the models; area: (class, unit, month) share in exactly
    that class, NaN in months without a map; county_area: (class, county, month), the same by county, NaN for a
    county that the Monitor does not have; seen: (month,) bool, months with maps of every county; notes: what was left
    out."""

    units: Units
    months: np.ndarray
    area: np.ndarray
    county_area: np.ndarray
    seen: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def dsci(self) -> np.ndarray:
        """(unit, month), 0 to 500."""
        return dsci(self.area)

    @property
    def worse(self) -> np.ndarray:
        """(class, unit, month) bool: most of the unit is in that class or a worse one."""
        return np.cumsum(self.area[::-1], axis=0)[::-1] >= MOST_AREA


@dataclass(frozen=True, eq=False)
class Modelled:
    """One model. anomaly: (unit, month) [mm], NaN where it says nothing; percentile: (unit, month) in 0..1."""

    anomaly: np.ndarray
    percentile: np.ndarray


def observe(ready: Ready, table: xr.Dataset, basin_names: np.ndarray) -> Observed:
    """Units and what the Drought Monitor saw there. table: from `usdm.at_centres`; basin_names: (basin,).

    A county that lacks more than a tenth of the Monitor's months is unknown, and named in the notes: a month counts
    only where every known county has a map.
    """
    row = {code: number for number, code in enumerate(table["fips"].values)}
    number = np.array([row.get(code, row.get(RENAMED.get(code, ""), -1)) for code in ready.places.fips])
    by_county = monthly(table["area_fraction"].values[:, np.maximum(number, 0)], table["week"].values, ready.months)
    by_county[:, number < 0] = np.nan
    mapped = np.isfinite(by_county).all(axis=0)
    lacking = 1 - mapped.sum(axis=1) / max(int(mapped.any(axis=0).sum()), 1)
    known = (number >= 0) & ((lacking <= MOST_LACKING) | ~mapped.any())
    if not known.any():
        raise InputError(
            "drought: the Drought Monitor's table holds no county of the contiguous United States in"
            f" {1 - MOST_LACKING:.0%} of its months; check --usdm"
        )
    by_county[:, ~known] = np.nan
    found = units(ready.places, basin_names, known)
    seen = mapped[known].all(axis=0)
    filled = np.where(seen & known[:, None], by_county, 0.0)
    area = np.stack([found.counties @ one for one in filled])
    broken = ready.places.fips[(number >= 0) & ~known]
    notes = []
    if len(broken):
        shown = ", ".join(broken[:8]) + (" ..." if len(broken) > 8 else "")
        notes = [
            f"{len(broken)} counties lack more than {MOST_LACKING:.0%} of the Drought Monitor's months and count as"
            f" unknown: {shown}."
        ]
    return Observed(found, ready.months, np.where(seen, area, np.nan), by_county, seen, tuple(notes))


def check(ready: Ready, found: Observed, first: str) -> None:
    """Raises InputError unless GRACE and the Drought Monitor share a year of months from `first` (YYYY-MM) on."""
    shared = np.isfinite(ready.storage).all(axis=0) & found.seen & (ready.months >= np.datetime64(first, "M"))
    if shared.sum() < 12:
        raise InputError(
            f"drought: found {int(shared.sum())} months from {first} on with GRACE and the Drought Monitor, expected 12"
            " or more; check --usdm, --mascons and --test-first"
        )


def modelled(ready: Ready, found: Units, store_url: str) -> dict[str, Modelled]:
    """Anomalies and percentiles of every model by unit.

    Percentiles are those of a frozen distribution: kernel CDF over the months within one of the same calendar month in
    the model's reconstruction without GRACE, up to 2014 or the end of training. Baselines have no reconstruction and
    take that of `ridge`. A reconstruction varies less than an observation, so each is brought to its own mean and
    deviation over the training months first: a percentile then means the same in either.
    """
    store = open_store(store_url)
    names = store.attrs["models"].split(", ")
    alone = {}
    for number, name in enumerate(names):
        fields = store["reconstruction"].isel(model=number).values
        if np.isfinite(fields).any():
            alone[name] = found.cells @ fields.astype(np.float64)
    out = {}
    for number, name in enumerate(names):
        anomaly = found.cells @ store["anomaly"].isel(model=number).values.astype(np.float64)
        out[name] = Modelled(anomaly, percentiles(anomaly, alone.get(name, alone["ridge"]), ready.months, ready.train))
    return out


def percentiles(
    values: np.ndarray,
    reference: np.ndarray,
    months: np.ndarray,
    train: np.ndarray,
    wanted: np.ndarray | None = None,
) -> np.ndarray:
    """Kernel CDF of a frozen reference at the values, both standardised over the training months.

        F(x) = mean_i Phi((x - x_i) / h),   x_i in months within one of the calendar month,   h = 1.06 s n^(-1/5)

    values, reference: (unit, month), NaN where unknown; months: (month,); train: (month,) bool. A unit whose reference
    does not vary is held against its own training months. Returns (unit, month) in 0..1, NaN where values are, and
    outside wanted: (month,) bool, default all.
    """
    calendar = months.astype(MONTH).astype(np.int64) % 12
    flat = ~(np.nanstd(reference[:, train], axis=1) > 1e-3 * np.nanstd(values[:, train], axis=1))
    own = np.where(train, values, np.nan)
    reference = np.where(flat[:, None], own, reference)
    x, frozen = (_standard(a, train) for a in (values, reference))
    before = months.astype(MONTH) <= min(REFERENCE_LAST, months[train].max())
    wanted = np.ones(len(months), bool) if wanted is None else wanted
    out = np.full(values.shape, np.nan)
    for month in np.unique(calendar[wanted]):
        near = before & (np.minimum((calendar - month) % 12, (month - calendar) % 12) <= 1)
        for unit in range(len(values)):
            sample = frozen[unit, near]
            sample = sample[np.isfinite(sample)]
            width = 1.06 * max(sample.std(), 1e-9) * len(sample) ** -0.2
            here = (calendar == month) & wanted
            out[unit, here] = norm.cdf((x[unit, here][:, None] - sample) / width).mean(axis=1)
    return out


def drought_class(percentile: np.ndarray) -> np.ndarray:
    """Number of thresholds reached: 0 for none, 1 for D0 .. 5 for D4. NaN stays NaN."""
    reached = sum((percentile <= threshold).astype(float) for threshold in PERCENTILES)
    return np.where(np.isnan(percentile), np.nan, reached)


def score(
    found: Observed, models: Mapping[str, Modelled], scored: np.ndarray, seed: int
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Rows of scores.parquet and `scores.drought` of metrics.json.

    scored: (month,) bool, the period. Headline scores use its months with GRACE, the same for all models;
    `dsci_spearman_all_months` all of them, baselines filled by straight lines in time.
    """
    seen, every = compared(found, models, scored)
    counts = {name: _draws(found.months[mask], seed) for name, mask in (("seen", seen), ("every", every))}
    index, columns = found.dsci, {}
    for name, one in models.items():
        whole = _filled(one.anomaly)
        flat = _detrended(one.anomaly[:, seen], found.months[seen])
        columns[name] = {
            "dsci_spearman": _ranked(one.anomaly[:, seen], index[:, seen], counts["seen"]),
            "dsci_spearman_detrended": _ranked(flat, index[:, seen], counts["seen"]),
            "dsci_spearman_percentile": _ranked(one.percentile[:, seen], index[:, seen], counts["seen"]),
            "dsci_spearman_all_months": _ranked(whole[:, every], index[:, every], counts["every"]),
        }
    tables = {
        name: _tables(one.percentile[:, seen], found.worse[..., seen], counts["seen"]) for name, one in models.items()
    }
    rows = [_rows(found, name, columns[name], tables[name], int(seen.sum())) for name in models]
    summary = {name: _summary(found, name, columns, tables[name]) for name in models}
    for one in summary.values():
        one |= {"n": len(found.units.name), "n_months": int(seen.sum()), "n_months_all": int(every.sum())}
        one |= {"ci_level": LEVEL, "ci_blocks": "years", "sign": "negative is right: drought is where storage is low"}
    return pd.concat(rows, ignore_index=True), summary


def compared(found: Observed, models: Mapping[str, Modelled], scored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Months of the period that every model has, and those that every model but the baselines has: (month,) bool
    each."""
    has = {name: np.isfinite(one.anomaly).all(axis=0) for name, one in models.items()}
    every = scored & found.seen & np.all([mask for name, mask in has.items() if name not in BASELINES], axis=0)
    return every & np.all([has[name] for name in BASELINES], axis=0), every


@dataclass(frozen=True, eq=False)
class _Drawn:
    """value: (unit,); draws: (draw, unit)."""

    value: np.ndarray
    draws: np.ndarray


def _draws(months: np.ndarray, seed: int) -> np.ndarray:
    return draws(months.astype("datetime64[Y]"), resamples=RESAMPLES, seed=seed, kind="years")


def _ranked(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> _Drawn:
    pairs = list(zip(x, y, strict=True))
    value = np.array([float(events.spearman(a, b)) for a, b in pairs])
    return _Drawn(value, np.stack([events.spearman(a, b, counts) for a, b in pairs], axis=1))


def _tables(
    percentile: np.ndarray, worse: np.ndarray, counts: np.ndarray
) -> list[tuple[events.Contingency, events.Contingency]]:
    """By class: the table of each unit, and on each draw."""
    alarms = [percentile <= threshold for threshold in PERCENTILES]
    return [
        (events.contingency(alarm, seen), events.contingency(alarm, seen, counts=counts))
        for alarm, seen in zip(alarms, worse, strict=True)
    ]


def _rows(found: Observed, model: str, ranked: Mapping[str, _Drawn], tables: list[Any], months: int) -> pd.DataFrame:
    frame = pd.DataFrame({"experiment": "drought", "model": model, "unit": found.units.name})
    frame["kind"], frame["n"], frame["n_months"] = found.units.kind, months, months
    for key, one in ranked.items():
        frame[key] = one.value
    for name, (table, _) in zip(CLASSES, tables, strict=True):
        for key, event_score in EVENT_SCORES.items():
            frame[f"{key}_{name}"] = event_score(table)
        frame[f"events_{name}"] = (table.hits + table.misses).astype(int)
        frame[f"alarms_{name}"] = (table.hits + table.false_alarms).astype(int)
    return frame


def _summary(
    found: Observed, model: str, columns: Mapping[str, Mapping[str, _Drawn]], tables: list[Any]
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    groups = {"": np.ones(len(found.units.kind), bool)}
    groups |= {f"_{kind}s": found.units.kind == kind for kind in np.unique(found.units.kind)}
    for key, one in columns[model].items():
        for suffix, use in groups.items():
            _put(out, key + suffix, one.value[use], one.draws[:, use])
    for suffix, use in groups.items():
        better: dict[str, Any] = {}
        for other, theirs in columns.items():
            if other != model:
                gain, drawn = (
                    getattr(theirs["dsci_spearman"], part)[..., use]
                    - getattr(columns[model]["dsci_spearman"], part)[..., use]
                    for part in ("value", "draws")
                )
                _put(better.setdefault("fraction", {}), other, _share(gain), _share(drawn))
                _put(better.setdefault("gain", {}), other, gain, drawn)
        for key, name in (("fraction", "fraction_better_than"), ("gain", "gain_over")):
            both = better.get(key, {})
            out[name + suffix] = {k: v for k, v in both.items() if not k.endswith("_ci")}
            out[f"{name}{suffix}_ci"] = {k.removesuffix("_ci"): v for k, v in both.items() if k.endswith("_ci")}
    for name, (table, drawn) in zip(CLASSES, tables, strict=True):
        pooled, resampled = table.merged(), drawn.merged()
        for key, event_score in EVENT_SCORES.items():
            value, interval = float(event_score(pooled)), percentile_interval(event_score(resampled), level=LEVEL)
            out[f"{key}_{name}"], out[f"{key}_{name}_ci"] = _plain(value), [_plain(x) for x in interval]
        for count in ("hits", "misses", "false_alarms", "correct_negatives"):
            out[f"{count}_{name}"] = int(getattr(pooled, count))
    return out


def _put(out: dict[str, Any], key: str, value: np.ndarray, drawn: np.ndarray) -> None:
    """The mean over units and its interval over draws; units without a correlation (no drought at all) are left out."""
    known = np.isfinite(value)
    mean = float(value[known].mean()) if known.any() else float("nan")
    use = drawn[:, known].astype(float)
    count = np.isfinite(use).sum(axis=1)
    means = np.where(count > 0, np.nansum(use, axis=1) / np.maximum(count, 1), np.nan)
    out[key], out[f"{key}_ci"] = _plain(mean), [_plain(x) for x in percentile_interval(means, level=LEVEL)]


def _share(gain: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(gain), gain > 0, np.nan)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _standard(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    known = np.where(train, values, np.nan)
    deviation = np.maximum(np.nanstd(known, axis=1, keepdims=True), 1e-9)
    return (values - np.nanmean(known, axis=1, keepdims=True)) / deviation


def _detrended(values: np.ndarray, months: np.ndarray) -> np.ndarray:
    middle = months.astype(MONTH).astype("datetime64[D]") + 14
    return seasonal.anomalies(values, middle, np.zeros((len(values), 12)))


def _filled(values: np.ndarray) -> np.ndarray:
    """Straight lines in time over months without a value; the nearest value beyond the ends."""
    number, out = np.arange(values.shape[1]), values.copy()
    for row in out:
        known = np.isfinite(row)
        row[:] = np.interp(number, number[known], row[known])
    return out
