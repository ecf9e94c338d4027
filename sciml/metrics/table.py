"""One row of scores per unit, and their summary beside the baselines'."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.metrics import scores, seasonal
from sciml.metrics.bootstrap import draws, means, medians, percentile_interval, resampled_years
from sciml.metrics.statistics import Statistics, statistics

# Units are scored in blocks of about this many member values, to bound memory for maps of many cells.
BLOCK = 4_000_000

# Anomalies smaller than this share of the values themselves are rounding errors of float32 predictions.
FLAT = 1e-5

RAW = {
    "nse": scores.nse,
    "r": scores.r,
    "rmse": scores.rmse,
    "bias": scores.bias,
    "crps": scores.crps,
    "coverage90": scores.coverage90,
    "rmse_over_uncertainty": scores.rmse_over_uncertainty,
}
DESEASONALISED = {"r_deseasonalised": scores.r, "rmse_deseasonalised": scores.rmse}
MEDIANS = ("nse", "r", "rmse", "bias", "r_deseasonalised", "rmse_deseasonalised", "crps", "rmse_over_uncertainty")

# medians of sizes and ratios of what does not come from statistics that merge; drawn over places alone
SEASONAL: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "trend_error_abs_median": ("trend_error", np.abs),
    "amplitude_ratio_median": ("amplitude_ratio", np.asarray),
    "phase_error_months_abs_median": ("phase_error_months", np.abs),
}

# name of the share: (score compared, whether smaller is better)
COMPARISONS = {
    "fraction_better_than": ("rmse", True),
    "fraction_better_crps": ("crps", True),
    "fraction_better_r_deseasonalised": ("r_deseasonalised", False),
}


@dataclass(frozen=True, eq=False)
class Yearly:
    """Statistics by calendar year, raw and deseasonalised: each (year, unit). What the bootstrap over years draws
    from.
    """

    years: np.ndarray
    raw: Statistics
    deseasonalised: Statistics


def score_units(
    observed: np.ndarray,
    members: np.ndarray,
    time: np.ndarray,
    *,
    climatology: np.ndarray,
    experiment: str,
    model: str,
    unit: Sequence[str] | Sequence[int] | np.ndarray | None = None,
    mask: np.ndarray | None = None,
    uncertainty: np.ndarray | None = None,
    region: Sequence[Any] | np.ndarray | None = None,
) -> pd.DataFrame:
    """Scores of one model in one experiment, one row per unit.

    observed: (unit, record) [mm]; members: (unit, member, record) [mm]; time: (record,) datetime64, middle of each
    record; climatology: (unit, 12) [mm] of the observations in the training years (`seasonal.climatology`); mask:
    (unit, record) or (record,) bool, true where a record is scored; uncertainty: (unit, record) [mm], of the
    observations; unit: labels; region: (unit,) block of each unit for the bootstrap, kept as a column.

    Columns: experiment model unit n n_months nse r rmse bias crps coverage90 rmse_over_uncertainty r_deseasonalised
    rmse_deseasonalised, and of prediction and observation over the scored records: trend[_observed], trend_error
    [mm/yr], amplitude[_observed] [mm], amplitude_ratio, phase[_observed] [day of year], phase_error_months. A unit
    without scored records has n = 0 and NaN. A prediction without any anomaly of its own (climatology plus trend) has
    r_deseasonalised 0: it explains none. Raises InputError for NaN that the mask does not announce.
    """
    observed, members, time = np.asarray(observed), np.asarray(members), np.asarray(time)
    keep = np.ones(observed.shape, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), observed.shape)
    labels = np.arange(len(observed)) if unit is None else np.asarray(unit)
    if len(labels) != len(observed) or len(time) != observed.shape[-1] or np.shape(climatology) != (len(observed), 12):
        raise ValueError(
            f"observed {observed.shape}, unit {len(labels)}, time {len(time)}, climatology {np.shape(climatology)}: "
            "expected (unit, record), unit, record and (unit, 12)"
        )
    frame = pd.concat(
        [
            _columns(_measure(observed[b], members[b], time, keep[b], climatology[b], _part(uncertainty, b)))
            for b in _blocks(members)
        ],
        ignore_index=True,
    )
    return _named(frame, experiment, model, labels, region)


def score_pooled(
    observed: np.ndarray,
    members: np.ndarray,
    time: np.ndarray,
    *,
    climatology: np.ndarray,
    parent: np.ndarray,
    experiment: str,
    model: str,
    mask: np.ndarray | None = None,
    region: Mapping[Any, Any] | None = None,
) -> pd.DataFrame:
    """Scores at the scale of cells, one row per parent: the records of all cells of a mascon pooled.

    observed: (cell, record) [mm]; members: (cell, member, record) [mm]; climatology: (cell, 12) [mm]; parent: (cell,)
    label of the mascon; mask: (cell, record) or (record,) bool; region: parent -> block of the bootstrap. Columns as in
    `score_units`; n counts cell-records, each alike (cells of one mascon are of nearly one size). Trend, amplitude,
    phase and their errors are the medians over the cells, of the errors' sizes where an error has a sign.
    """
    observed, members, time = np.asarray(observed), np.asarray(members), np.asarray(time)
    keep = np.ones(observed.shape, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), observed.shape)
    rows, labels = [], np.unique(parent)
    for label in labels:
        cells = np.flatnonzero(parent == label)
        found = _measure(observed[cells], members[cells], time, keep[cells], climatology[cells], None)
        together = np.zeros(len(cells), int)
        middle = _middle(found.seasonal)
        rows.append(_columns(_Measured(found.raw.grouped(together), found.deseasonalised.grouped(together), middle)))
    frame = pd.concat(rows, ignore_index=True)
    return _named(frame, experiment, model, labels, None if region is None else [region[label] for label in labels])


def yearly_statistics(
    observed: np.ndarray,
    members: np.ndarray,
    time: np.ndarray,
    *,
    climatology: np.ndarray,
    mask: np.ndarray | None = None,
    uncertainty: np.ndarray | None = None,
) -> Yearly:
    """Statistics by calendar year; arguments as in `score_units`. Merged over the years they give its scores."""
    observed, members = np.asarray(observed), np.asarray(members)
    keep = np.ones(observed.shape, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), observed.shape)
    year = np.asarray(time).astype("datetime64[Y]").astype(np.int64) + 1970
    years = np.unique(year[keep.any(axis=0)])
    anomaly = [seasonal.anomalies(a, time, climatology, keep) for a in (observed, _point(members))]
    raw = [statistics(observed, members, mask=keep & (year == y), uncertainty=uncertainty) for y in years]
    deseasonalised = [statistics(anomaly[0], anomaly[1][:, None], mask=keep & (year == y)) for y in years]
    return Yearly(years, _stack(raw), _stack(deseasonalised))


def summarise(
    frame: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame] | None = None,
    *,
    yearly: Yearly | None = None,
    baselines_yearly: Mapping[str, Yearly] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Summary of one model over its units, ready for JSON (undefined is None).

    frame: rows of one experiment and model; baselines: name -> frame over the same units. Keys: `<score>_median` for
    MEDIANS and for SEASONAL (sizes of errors of trend and phase), `coverage90` (share of all records), each with
    `<key>_ci: [lo, hi]` at `level`; `n` units scored, `n_months` (most months of any unit), `n_records`;
    `fraction_better_than: {baseline: share of units with lower RMSE}`, `fraction_better_crps`,
    `fraction_better_r_deseasonalised` in the same shape, with `<key>_ci`.

    Intervals draw regions where the frame has a column `region`, else single units; with `yearly` (and the baselines'
    for the shares) calendar years are drawn too, which widens them: all units share their years. `ci_blocks` says what
    was drawn. Raises InputError where a baseline was scored on other units.
    """
    frame = frame[frame["n"] > 0] if yearly is None else _all_scored(frame)
    if frame.empty:
        raise InputError("scores: no unit has a scored record; check the test period and the mask")
    blocks = frame["region"].to_numpy() if "region" in frame else np.arange(len(frame))
    unit_counts = draws(blocks, resamples=resamples, seed=seed, kind="units")
    year_counts = None
    if yearly is not None:
        year_counts = draws(yearly.years, resamples=resamples, seed=seed, kind="years")

    out: dict[str, Any] = {}
    for key in MEDIANS:
        if frame[key].notna().any():
            sample = medians(_resampled(frame, yearly, key, year_counts), unit_counts)
            _put(out, f"{key}_median", float(frame[key].median()), percentile_interval(sample, level=level))
    for name, (key, size) in SEASONAL.items():
        values = size(frame[key].to_numpy(float))
        if np.isfinite(values).any():
            interval = percentile_interval(medians(values, unit_counts), level=level)
            _put(out, name, float(np.nanmedian(values)), interval)
    if frame["coverage90"].notna().any():
        records = frame["n"].to_numpy(float)
        value = float(np.average(frame["coverage90"], weights=records))
        sample = means(_resampled(frame, yearly, "coverage90", year_counts), unit_counts, records)
        _put(out, "coverage90", value, percentile_interval(sample, level=level))
    out["n"], out["n_months"], out["n_records"] = len(frame), int(frame["n_months"].max()), int(frame["n"].sum())

    for share, (key, smaller) in COMPARISONS.items():
        better, intervals = {}, {}
        for name, baseline in (baselines or {}).items():
            other = _aligned(frame, baseline, name)
            if frame[key].isna().all() or other[key].isna().all():
                continue
            theirs = (baselines_yearly or {}).get(name)
            paired = year_counts if theirs is not None else None
            gain = _resampled(other, theirs if paired is not None else None, key, paired) - _resampled(
                frame, yearly if paired is not None else None, key, paired
            )
            now = other[key].to_numpy(float) - frame[key].to_numpy(float)
            better[name] = _number(_share(now if smaller else -now).mean(where=np.isfinite(now)))
            sample = means(np.where(np.isfinite(gain), _share(gain if smaller else -gain), np.nan), unit_counts)
            intervals[name] = [_number(x) for x in percentile_interval(sample, level=level)]
        if better:
            out[share], out[f"{share}_ci"] = better, intervals
    out["ci_level"] = level
    out["ci_blocks"] = ("regions" if "region" in frame else "units") + (" and years" if yearly is not None else "")
    return out


def summarise_all(
    table: pd.DataFrame,
    *,
    baselines: Sequence[str] | None = None,
    yearly: Mapping[tuple[str, str], Yearly] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, Any]]]:
    """`scores.<experiment>.<model>` of metrics.json from the rows of scores.parquet.

    Every model is compared with each of `baselines` (default: every other model) in its own experiment; yearly:
    (experiment, model) -> `yearly_statistics`.
    """
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for experiment, rows in table.groupby("experiment", sort=False):
        frames = {str(model): frame for model, frame in rows.groupby("model", sort=False)}
        by_model = {model: y for (where, model), y in (yearly or {}).items() if where == experiment}
        out[str(experiment)] = {
            model: summarise(
                frame,
                {b: f for b, f in frames.items() if b != model and (baselines is None or b in baselines)},
                yearly=by_model.get(model),
                baselines_yearly=by_model,
                resamples=resamples,
                seed=seed,
            )
            for model, frame in frames.items()
        }
    return out


@dataclass(frozen=True, eq=False)
class _Measured:
    """Statistics of units, raw and deseasonalised, and their months, trend and cycle: a column each."""

    raw: Statistics
    deseasonalised: Statistics
    seasonal: pd.DataFrame


def _measure(
    observed: np.ndarray,
    members: np.ndarray,
    time: np.ndarray,
    keep: np.ndarray,
    climatology: np.ndarray,
    uncertainty: np.ndarray | None,
) -> _Measured:
    predicted = _point(members)
    anomaly = [seasonal.anomalies(a, time, climatology, keep) for a in (observed, predicted)]
    fitted = seasonal.cycle(predicted, time, keep)
    truth = seasonal.cycle(observed, time, keep)
    columns = {
        "n_months": _months(time, keep),
        "trend": fitted.trend,
        "trend_observed": truth.trend,
        "trend_error": fitted.trend - truth.trend,
        "amplitude": fitted.amplitude,
        "amplitude_observed": truth.amplitude,
        "amplitude_ratio": fitted.amplitude / np.where(truth.amplitude > 0, truth.amplitude, np.nan),
        "phase": fitted.phase_days,
        "phase_observed": truth.phase_days,
        "phase_error_months": seasonal.phase_difference_months(fitted.phase_days, truth.phase_days),
    }
    return _Measured(
        statistics(observed, members, mask=keep, uncertainty=uncertainty),
        statistics(anomaly[0], anomaly[1][:, None], mask=keep),
        pd.DataFrame(columns),
    )


def _columns(found: _Measured) -> pd.DataFrame:
    s, d = found.raw, found.deseasonalised
    columns = {"n": s.n.astype(np.int64), "n_months": found.seasonal["n_months"].to_numpy()}
    columns |= {name: score(s) for name, score in RAW.items()}
    columns |= {name: score(d) for name, score in DESEASONALISED.items()}
    size = s.predicted_square + s.n * s.predicted_mean**2
    flat = (d.predicted_square <= FLAT**2 * size) & (d.observed_square > 0)
    columns["r_deseasonalised"] = np.where(flat, 0.0, columns["r_deseasonalised"])
    columns |= {name: found.seasonal[name].to_numpy() for name in found.seasonal.columns[1:]}
    return pd.DataFrame(columns)


def _middle(of_cells: pd.DataFrame) -> pd.DataFrame:
    """Medians over cells, of sizes where an error has a sign; the most months of any cell."""
    signed = ["trend_error", "phase_error_months"]
    middle = of_cells.assign(**{name: of_cells[name].abs() for name in signed}).median().to_frame().T
    return middle.assign(n_months=int(of_cells["n_months"].max()))


def _named(
    frame: pd.DataFrame, experiment: str, model: str, unit: np.ndarray, region: Sequence[Any] | np.ndarray | None
) -> pd.DataFrame:
    frame.insert(0, "experiment", experiment)
    frame.insert(1, "model", model)
    frame.insert(2, "unit", unit)
    if region is not None:
        frame.insert(3, "region", np.asarray(region))
    return frame


def _part(values: np.ndarray | None, rows: slice) -> np.ndarray | None:
    return None if values is None else np.asarray(values)[rows]


def _resampled(frame: pd.DataFrame, yearly: Yearly | None, key: str, year_counts: np.ndarray | None) -> np.ndarray:
    """(unit,) scores as they are, or (resample, unit) on drawn years."""
    if yearly is None or year_counts is None:
        return frame[key].to_numpy(float)
    if key in DESEASONALISED:
        drawn = resampled_years(yearly.deseasonalised, DESEASONALISED[key], year_counts)
        # the convention for flat predictions holds in every draw
        return np.where(frame[key].to_numpy() == 0, 0.0, drawn) if key == "r_deseasonalised" else drawn
    return resampled_years(yearly.raw, RAW[key], year_counts)


def _aligned(frame: pd.DataFrame, baseline: pd.DataFrame, name: str) -> pd.DataFrame:
    other = baseline.set_index("unit").reindex(frame["unit"])
    absent = other["n"].isna() | (other["n"].to_numpy() != frame["n"].to_numpy())
    if absent.any():
        raise InputError(
            f"scores: baseline {name} was scored on other records than the model, first at unit "
            f"{absent.index[absent][0]}; expected the same units and records; score both in one run with one mask"
        )
    return other


def _all_scored(frame: pd.DataFrame) -> pd.DataFrame:
    if (frame["n"] == 0).any():
        unit = frame.loc[frame["n"] == 0, "unit"].iloc[0]
        raise InputError(f"scores: unit {unit} has no scored record; leave it out of rows and yearly statistics")
    return frame


def _share(gain: np.ndarray) -> np.ndarray:
    return (gain > 0).astype(float)


def _point(members: np.ndarray) -> np.ndarray:
    return np.asarray(members).mean(axis=1, dtype=np.float64)


def _months(time: np.ndarray, keep: np.ndarray) -> np.ndarray:
    month = np.asarray(time).astype("datetime64[M]")
    distinct = np.unique(month)
    return ((keep.astype(np.int64) @ (month[:, None] == distinct)) > 0).sum(axis=1)


def _blocks(members: np.ndarray) -> Iterator[slice]:
    step = max(1, BLOCK // max(members.shape[1] * members.shape[2], 1))
    return (slice(i, i + step) for i in range(0, len(members), step))


def _stack(parts: Sequence[Statistics]) -> Statistics:
    return Statistics(**{name: np.stack([getattr(p, name) for p in parts]) for name in Statistics.__dataclass_fields__})


def _put(out: dict[str, Any], key: str, value: float, interval: tuple[float, float]) -> None:
    out[key], out[f"{key}_ci"] = _number(value), [_number(x) for x in interval]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
