"""The report of a search: the best settings against the default, what they cost, which predictors earn their place."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sciml.core.errors import RunError
from sciml.data.stores import open_store
from sciml.grace.search import Variant
from sciml.metrics.bootstrap import draws, means, percentile_interval
from sciml.report import style
from sciml.report.page import Cell, Illustration, Section, Table
from sciml.report.results import Finding

RESAMPLES = 2000


def finding(
    model: str, found: Mapping[str, Any], variants: Sequence[Variant], store_url: str, months: np.ndarray, other: float
) -> Finding:
    """What a search of one model found.

    found: its entry in search.json; store_url: CRPS (variant, window) of the variants; months: (window,); other: CRPS
    of climatology and trend on the same blocks [mm].
    """
    crps = dict(zip((v.name for v in variants), open_store(store_url)["crps"].values, strict=True))
    mean = {name: float(np.nanmean(values)) for name, values in crps.items()}
    if not np.isfinite(mean["best"] + mean["default"]):
        raise RunError(f"search of {model}: no validation CRPS; check that predictors and storage overlap")
    change = {name: _change(crps["best"], crps[name], months) for name in crps}
    gain = {key: _gain(crps[f"default{key}"], crps[f"best{key}"], months) for key in ("", ", other years")}
    scores = {
        "crps": mean["best"],
        "crps_default": mean["default"],
        "crps_climatology_trend": other,
        "improvement": gain[""][0],
        "improvement_ci": list(gain[""][1:]),
        "improvement_other_years": gain[", other years"][0],
        "improvement_other_years_ci": list(gain[", other years"][1:]),
        "trials": len(found["trials"]),
        "seconds": found["seconds"],
        "n": 1,
        "n_months": int(np.isfinite(crps["best"]).sum()),
    }
    rows = pd.DataFrame(
        {"experiment": "search", "model": model, "unit": list(mean), "n": scores["n_months"], "crps": mean.values()}
    )
    features = [v.name for v in variants if v.name.startswith(("without ", "with ", "only "))]
    blocks: list[Illustration | Table] = [
        Illustration(
            f"search-{model.replace('_', '-')}",
            _trials_figure(found),
            f"{model}: validation CRPS [mm] of the {len(found['trials'])} trials in order of their score; open"
            " marks were stopped early. The line is the default settings.",
            f"Scores of {len(found['trials'])} trials; the best has {mean['best']:.2f} mm, the default"
            f" {mean['default']:.2f} mm.",
        ),
        _settings_table(model, found),
        Illustration(
            f"features-{model.replace('_', '-')}",
            _features_figure({name: change[name] for name in features}),
            f"{model}: change of validation CRPS [%] when the best settings lose a predictor, gain one, or keep only"
            " one. Bars are 95 % intervals from years drawn with replacement.",
            "; ".join(f"{name} {change[name][0]:+.1f} %" for name in features),
        ),
        _features_table(model, features, mean, change),
    ]
    return Finding(
        "search", rows, {model: scores}, [Section(f"Search: {model}", _words(model, scores, change), blocks)]
    )


def _words(model: str, scores: Mapping[str, Any], change: Mapping[str, tuple[float, float, float]]) -> list[str]:
    low, high = scores["improvement_ci"]
    other_low, other_high = scores["improvement_other_years_ci"]
    if low == high == 0:
        verdict = (
            f"{model}: none of {scores['trials']} trials, {scores['seconds']:.0f} s of work, is better than the default"
            f" settings, which have validation CRPS {scores['crps_default']:.2f} mm."
        )
    else:
        verdict = (
            f"{model}: the best of {scores['trials']} trials has validation CRPS {scores['crps']:.2f} mm, the default"
            f" settings {scores['crps_default']:.2f} mm: {scores['improvement']:.1f} % better [{low:.1f}, {high:.1f}],"
            f" for {scores['seconds']:.0f} s of work. On blocks of years and seeds that chose nothing it is"
            f" {scores['improvement_other_years']:.1f} % better [{other_low:.1f}, {other_high:.1f}]."
        )
    verdict += f" Climatology and trend have {scores['crps_climatology_trend']:.2f} mm"
    verdict += ", better than both." if scores["crps_climatology_trend"] <= scores["crps"] else "."
    needed = [name.removeprefix("without ") for name, c in change.items() if name.startswith("without ") and c[1] > 0]
    idle = [name.removeprefix("without ") for name, c in change.items() if name.startswith("without ") and c[1] <= 0]
    earned = f"Predictors whose loss costs more than the interval of the years: {', '.join(needed) or 'none'}."
    if idle:
        earned += f" Not shown to be needed beside the others: {', '.join(idle)}."
    return [
        verdict,
        earned,
        "All scores are of training years, each block predicted without it; the test years were not read. The first"
        " figure favours the best trial, which the same blocks chose; the second comparison does not.",
    ]


def _counts(months: np.ndarray) -> np.ndarray:
    return draws(np.asarray(months).astype("datetime64[Y]"), resamples=RESAMPLES, seed=0, kind="years")


def _paired(one: np.ndarray, other: np.ndarray, months: np.ndarray) -> tuple[float, float, float, np.ndarray]:
    """Ratio of two mean CRPS over the windows that both have, less one [%], and its interval."""
    both = np.isfinite(one) & np.isfinite(other)
    counts = _counts(months[both])
    ratio = 100 * (means(other[both], counts) / means(one[both], counts) - 1)
    return (100 * (other[both].mean() / one[both].mean() - 1), *percentile_interval(ratio), ratio)


def _change(best: np.ndarray, variant: np.ndarray, months: np.ndarray) -> tuple[float, float, float]:
    """How much worse a variant is than the best [%], with its interval."""
    return _paired(best, variant, months)[:3]


def _gain(default: np.ndarray, best: np.ndarray, months: np.ndarray) -> tuple[float, float, float]:
    """How much better the best is than the default [%], with its interval."""
    change, low, high, _ = _paired(default, best, months)
    return 0.0 - change, 0.0 - high, 0.0 - low


def _settings_table(model: str, found: Mapping[str, Any]) -> Table:
    best, default = found["best"]["settings"], (found["default"] or {"settings": {}})["settings"]
    rows = [[Cell(name), Cell(_plain(default.get(name, ""))), Cell(_plain(value))] for name, value in best.items()]
    drawn = [f"{name}: {' '.join(map(str, values))[:90]}" for name, values in found["space"].items()]
    return Table(f"{model}: settings", ["setting", "default", "best"], rows, [f"Drawn from {'; '.join(drawn)}."])


def _features_table(
    model: str, features: Sequence[str], mean: Mapping[str, float], change: Mapping[str, tuple[float, float, float]]
) -> Table:
    rows = [[Cell("best settings"), Cell(f"{mean['best']:.2f}"), Cell("")]]
    for name in features:
        percent, low, high = change[name]
        rows.append([Cell(name), Cell(f"{mean[name]:.2f}"), Cell(f"{percent:+.1f}", f"[{low:+.1f}, {high:+.1f}]")])
    return Table(f"{model}: which predictors earn their place", ["variant", "CRPS [mm]", "change [%]"], rows)


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace(",", ", ")


def _trials_figure(found: Mapping[str, Any]) -> Figure:
    most = max(trial["steps"] for trial in found["trials"])
    with style.rc():
        figure = style.new_figure(7.0, 3.0)
        axes = figure.subplots()
        for whole, marker in ((True, style.colour(0)), (False, "none")):
            places = [i for i, trial in enumerate(found["trials"]) if (trial["steps"] == most) == whole]
            label = "all blocks" if whole else "stopped early"
            axes.plot(
                [place + 1 for place in places],
                [found["trials"][place]["score"] for place in places],
                "o", markerfacecolor=marker, markeredgecolor=style.colour(0), label=label,
            )  # fmt: skip
        if found["default"] and found["default"]["steps"] == most:
            axes.axhline(found["default"]["score"], color=style.colour(1), label="default settings")
        axes.set_xlabel("trial, by score")
        axes.set_ylabel("validation CRPS [mm]")
        axes.legend()
        return figure


def _features_figure(change: Mapping[str, tuple[float, float, float]]) -> Figure:
    with style.rc():
        groups = [g for g in ("without", "with", "only") if any(name.startswith(f"{g} ") for name in change)]
        figure = style.new_figure(3.4 * len(groups) + 0.6, 0.9 + 0.28 * max(_sizes(change, groups)))
        for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
            part = {name: c for name, c in change.items() if name.startswith(f"{group} ")}
            order = sorted(part, key=lambda name: part[name][0])
            middle = np.array([part[name][0] for name in order])
            low, high = (np.array([part[name][k] for name in order]) for k in (1, 2))
            axes.errorbar(
                middle, range(len(order)), xerr=[np.maximum(middle - low, 0), np.maximum(high - middle, 0)],
                fmt="o", color=style.colour(0), capsize=2,
            )  # fmt: skip
            axes.set_yticks(range(len(order)), [name.removeprefix(f"{group} ") for name in order])
            axes.axvline(0, color="#444444", linewidth=0.8)
            axes.set_title(f"{group} the predictor")
            axes.set_xlabel("CRPS against the best [%]")
        return figure


def _sizes(change: Mapping[str, Any], groups: Sequence[str]) -> list[int]:
    return [sum(name.startswith(f"{group} ") for name in change) for group in groups]
