"""Figures of answers against truths: residuals, standard deviations, coverage, ratios to the bound, learning."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    MultipleLocator,
    NullFormatter,
    NullLocator,
)
from scipy.stats import chi2, norm

from sciml.report import style
from sciml.stellar.answers import Answers, Truth, mahalanobis
from sciml.stellar.labels import COUNT, LABELS, RANGES, UNITS
from sciml.stellar.scores import LEAK

WIDTH = 10.0  # inches
SYMBOLS = {"teff": "$T_\\mathrm{eff}$", "logg": "$\\log g$", "feh": "[M/H]", "vsini": "$v\\,\\sin i$"}
TICKS = {"teff": 2000.0, "logg": 1.0, "feh": 1.0, "vsini": 10.0}
BINS = 12  # of a label, in which medians are taken
FEWEST = 5  # spectra in a bin or region that is drawn
LEVELS = np.linspace(0.0, 1.0, 41)
_POINTS = "#7ba6c9"
# a method has one colour in all figures; with a full covariance its lines are dashed and its dots open
_COLOURS = {
    "sciml": style.COLOURS[0], "chi2": style.COLOURS[1], "ridge": style.COLOURS[6], "resnet": style.COLOURS[2],
    "attention": style.COLOURS[3], "dae_resnet": style.COLOURS[5], "dae_attention": style.COLOURS[4],
}  # fmt: skip
FULL = "_full"


def title(label: str) -> str:
    """Symbol and unit of a label."""
    return f"{SYMBOLS[label]} [{UNITS[label]}]"


def look(method: str) -> dict[str, Any]:
    """Colour, dash and dot of a method."""
    full = method.endswith(FULL)
    colour = _COLOURS.get(method.removesuffix(FULL), style.COLOURS[7])
    return {"color": colour, "linestyle": "--" if full else "-", "markerfacecolor": "white" if full else colour}


def residuals_figure(truth: Truth, answers: Answers) -> Figure:
    """Errors of each label (rows) against each true label (columns): points, medians and central 68 % (figure 3)."""
    error = answers.mean - truth.labels
    with style.rc():
        figure = style.new_figure(WIDTH, 8.2)
        panels = figure.subplots(COUNT, COUNT, sharex="col", sharey="row")
        for row, label in enumerate(LABELS):
            reach = float(np.quantile(np.abs(error[:, row]), 0.99)) or 1.0
            for column, against in enumerate(LABELS):
                axes, x = panels[row, column], truth.labels[:, column]
                axes.plot(x, np.clip(error[:, row], -reach, reach), ".", color=_POINTS, **_fine(len(truth)))
                axes.axhline(0, color=style.OBSERVED, linewidth=0.8)
                middle, found = _binned(x, error[:, row], against)
                axes.fill_between(middle, found[0], found[2], color=style.colour(1), alpha=0.25, linewidth=0)
                axes.plot(middle, found[1], color=style.colour(1), linewidth=1.5)
                axes.set_ylim(-1.05 * reach, 1.05 * reach)
            panels[row, 0].set_ylabel(f"error of\n{title(label)}")
            panels[row, 0].yaxis.set_major_locator(MaxNLocator(5, symmetric=True))
        _true_labels(panels, truth)
        figure.align_ylabels(panels[:, 0])
        handles = [
            Line2D([], [], color=_POINTS, marker=".", linestyle="", label="spectrum"),
            Line2D([], [], color=style.colour(1), label="median"),
            Patch(color=style.colour(1), alpha=0.25, label="central 68 %"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
        return figure


def sigmas_figure(truth: Truth, answers: Answers) -> Figure:
    """Given standard deviations of each label (rows) against each true label (columns), beside the Cramer-Rao bound
    (figure 4)."""
    sigma = answers.sigma
    with style.rc():
        figure = style.new_figure(WIDTH, 8.2)
        panels = figure.subplots(COUNT, COUNT, sharex="col", sharey="row")
        for row, label in enumerate(LABELS):
            bound = truth.bound[:, row]
            everything = np.concatenate([sigma[:, row], bound[np.isfinite(bound)]])
            low, high = np.quantile(everything, (0.002, 0.985))
            for column, against in enumerate(LABELS):
                axes, x = panels[row, column], truth.labels[:, column]
                axes.plot(x, np.clip(sigma[:, row], low, high), ".", color=_POINTS, **_fine(len(truth)))
                for values, line in (
                    (sigma[:, row], {"color": style.colour(0)}),
                    (np.where(np.isfinite(bound), bound, 1e30), {"color": style.colour(1), "linestyle": "--"}),
                ):
                    middle, found = _binned(x, values, against)
                    axes.plot(middle, found[1], linewidth=1.7, **line)
                axes.set(yscale="log", ylim=(low / 1.15, high * 1.15))
            panels[row, 0].set_ylabel(f"$\\sigma$ of\n{title(label)}")
            _plain_log(panels[row, 0])
        _true_labels(panels, truth)
        figure.align_ylabels(panels[:, 0])
        handles = [
            Line2D([], [], color=_POINTS, marker=".", linestyle="", label="given for a spectrum"),
            Line2D([], [], color=style.colour(0), label="median of those given"),
            Line2D([], [], color=style.colour(1), linestyle="--", label="median of the Cramér-Rao bound"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
        return figure


def coverage_figure(truth: Truth, answers: Mapping[str, Answers], *, labels: Mapping[str, str] | None = None) -> Figure:
    """Observed less nominal coverage of central intervals of each label, and of the ellipsoid of all four. Points mark
    one and two standard deviations."""
    labels = labels or {}
    with style.rc():
        figure = style.new_figure(WIDTH, 5.6)
        panels = figure.subplots(2, 3, sharex=True, sharey=True)
        reach = 3.0
        for method, found in answers.items():
            scaled = np.abs(found.mean - truth.labels) / found.sigma
            place = [2 * norm.cdf(z) - 1 for z in scaled.T] + [chi2.cdf(mahalanobis(truth, found), COUNT)]
            for axes, values in zip(panels.flat, place, strict=False):
                ordered = np.sort(values)
                observed = np.searchsorted(ordered, LEVELS, side="right") / len(ordered)
                axes.plot(100 * LEVELS, 100 * (observed - LEVELS), **look(method))
                marks = np.array([0.6827, 0.9545])
                at = np.searchsorted(ordered, marks, side="right") / len(ordered) - marks
                axes.plot(100 * marks, 100 * at, **look(method) | {"marker": "o", "markersize": 4.5, "linestyle": ""})
                reach = max(reach, 100 * float(np.abs(observed - LEVELS).max()))
        for axes, name in zip(panels.flat, [*(title(label) for label in LABELS), "all four: ellipsoid"], strict=False):
            axes.axhline(0, color=style.OBSERVED, linewidth=0.8, zorder=1)
            axes.fill_between([0, 100], -2, 2, color=style.GAP, linewidth=0, zorder=0)
            axes.set_title(name, fontweight="normal")
            axes.set(xlim=(0, 100), ylim=(-1.1 * reach, 1.1 * reach))
        for axes in panels[:, 0]:
            axes.set_ylabel("observed less nominal\ncoverage [%]")
        for axes in (panels[0, 2], *panels[1, :2]):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("nominal coverage [%]")
        panels[1, 2].set_axis_off()
        handles = _handles(answers, labels, marker="o")
        handles.append(Patch(color=style.GAP, label="± 2 %"))
        panels[1, 2].legend(handles=handles, loc="center")
        return figure


def ratio_figure(
    summaries: Mapping[str, Mapping[str, Any]],
    *,
    stratum: str = "region",
    key: str = "crb_ratio",
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """RMSE over the Cramer-Rao bound by region, dots with 95 % intervals, a panel for each label.

    summaries: model -> of `scores.summarise`; key: `bayes_ratio` shows the spectra that do not tell the label instead.
    """
    labels = labels or {}
    regions = list(next(iter(summaries.values()))["by"][stratum])
    step = 0.75 / max(len(summaries), 2)
    with style.rc():
        figure = style.new_figure(WIDTH, 1.2 + len(regions) * (0.12 + 0.085 * max(len(summaries), 3)))
        row = figure.subplots(1, COUNT, sharey=True)
        for axes, label in zip(row, LABELS, strict=True):
            seen = []
            for index, (method, summary) in enumerate(summaries.items()):
                shift = (index - (len(summaries) - 1) / 2) * step
                for place, region in enumerate(regions):
                    part = summary["by"][stratum].get(region, {})
                    told = part.get(f"n_told_{label}", 0)
                    if (told if key == "crb_ratio" else part.get("n", 0) - told) < FEWEST:
                        continue
                    value, ends = part.get(f"{key}_{label}"), part.get(f"{key}_{label}_ci", [None, None])
                    if value is None:
                        continue
                    if None not in ends:
                        axes.plot(ends, [place + shift] * 2, color=look(method)["color"], linewidth=1.2)
                    axes.plot([value], [place + shift], **look(method) | {"marker": "o", "markersize": 3.6})
                    seen.append(value)
            _ratio_axis(axes, seen)
            axes.set_title(SYMBOLS[label], fontweight="normal")
            for place in range(1, len(regions)):
                axes.axhline(place - 0.5, color="#e4e4e4", linewidth=0.6)
        row[0].set_yticks(range(len(regions)), [_pretty(region) for region in regions])
        row[0].set_ylim(len(regions) - 0.5, -0.5)
        below = "Cramér-Rao bound" if key == "crb_ratio" else "Bayesian bound"
        figure.supxlabel(f"RMSE / root mean square of the {below}", fontsize=style.RC["axes.labelsize"])
        handles = _handles(summaries, labels, marker="o", linestyle="")
        handles.append(Patch(color="#f3d9c8", label=f"below {LEAK:g}: too good"))
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5))
        return figure


def _ratio_axis(axes: Axes, seen: Sequence[float]) -> None:
    low, high = min([0.8, *(0.9 * x for x in seen)]), max([1.6, *(1.2 * x for x in seen)])
    axes.set(xscale="log", xlim=(max(low, 0.1), min(high, 200.0)))
    axes.axvspan(1e-3, LEAK, color="#f3d9c8", linewidth=0, zorder=0)
    axes.axvline(1.0, color=style.OBSERVED, linewidth=0.9, zorder=1)
    ticks = [0.2, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100]
    if high > 4:
        ticks = [0.5, 1, 2, 5, 10, 20, 50, 100]
    if high > 15:
        ticks = [1, 3, 10, 30, 100]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", visible=False)


def snr_figure(
    curves: Mapping[str, Mapping[float, Mapping[str, Any]]],
    trained: tuple[float, float],
    *,
    best: Mapping[float, np.ndarray] | None = None,
    key: str = "mae",
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Mean absolute errors against SNR. curves: model -> SNR -> summary; trained: SNRs of training, shaded (a line for
    one); best: SNR -> (4,) what the bound allows."""
    labels = labels or {}
    with style.rc():
        figure = style.new_figure(WIDTH, 3.5)
        row = figure.subplots(1, COUNT)
        for i, (axes, label) in enumerate(zip(row, LABELS, strict=True)):
            if trained[1] > trained[0]:
                axes.axvspan(*trained, color=style.GAP, linewidth=0, zorder=0)
            else:
                axes.axvline(trained[0], color="#bdbdbd", linewidth=4, zorder=0)
            for method, curve in curves.items():
                _curve(axes, curve, f"{key}_{label}", method)
            if best:
                places = sorted(best)
                axes.plot(places, [best[x][i] for x in places], color=style.OBSERVED, linestyle=":", linewidth=1.6)
            axes.set(xscale="log", yscale="log", xlabel="SNR per pixel")
            axes.set_title(title(label), fontweight="normal")
            ticks = sorted({x for curve in curves.values() for x in curve})
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
            _plain_log(axes)
        row[0].set_ylabel("mean absolute error")
        handles = _handles(curves, labels, marker="o")
        if best:
            handles.append(Line2D([], [], color=style.OBSERVED, linestyle=":", label="least that photons allow"))
        handles.append(Patch(color=style.GAP if trained[1] > trained[0] else "#bdbdbd", label="SNR of training"))
        figure.legend(handles=handles, loc="outside upper center", ncols=min(5, len(handles)))
        return figure


def learning_figure(
    curves: Mapping[str, Mapping[int, Mapping[str, Any]]],
    flat: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """RMSE over the least possible against the number of spectra seen in training. curves: model -> number -> summary;
    flat: methods that learn nothing -> summary, level lines."""
    labels, flat = labels or {}, flat or {}
    if not any(curves.values()):
        raise ValueError("learning curve: no number of spectra to draw; a blank panel is a mistake")
    with style.rc():
        figure = style.new_figure(WIDTH, 3.5)
        row = figure.subplots(1, COUNT)
        for axes, label in zip(row, LABELS, strict=True):
            for method, curve in curves.items():
                _curve(axes, curve, f"informed_ratio_{label}", method)
            for method, summary in flat.items():
                level = summary[f"informed_ratio_{label}"]
                axes.axhline(level, color=look(method)["color"], linestyle="-.", linewidth=1.3)
            axes.axhline(1.0, color=style.OBSERVED, linewidth=0.9)
            axes.set(xscale="log", yscale="log", xlabel="spectra seen in training")
            axes.set_title(SYMBOLS[label], fontweight="normal")
            _plain_log(axes)
            axes.xaxis.set_minor_formatter(NullFormatter())
        row[0].set_ylabel("RMSE / least possible")
        handles = _handles(curves, labels, marker="o")
        handles += [
            Line2D([], [], color=look(method)["color"], linestyle="-.", label=labels.get(method, method))
            for method in flat
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(5, len(handles)))
        return figure


def _curve(axes: Axes, curve: Mapping[Any, Mapping[str, Any]], key: str, method: str) -> None:
    places = [x for x in sorted(curve) if curve[x].get(key) is not None]
    axes.plot(places, [curve[x][key] for x in places], marker="o", markersize=4, **look(method))
    for x in places:
        ends = curve[x].get(f"{key}_ci") or [None, None]
        if None not in ends:
            axes.plot([x, x], ends, color=look(method)["color"], linewidth=1)


def _handles(names: Mapping[str, Any], labels: Mapping[str, str], **more: Any) -> list[Any]:
    return [Line2D([], [], markersize=4.5, label=labels.get(name, name), **look(name) | more) for name in names]


def _fine(count: int) -> dict[str, Any]:
    """Points that stay apart, drawn as one picture in a PDF."""
    return {"markersize": 3.0 if count > 1500 else 4.0, "alpha": 0.55, "markeredgewidth": 0, "rasterized": True}


def _binned(x: np.ndarray, y: np.ndarray, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the label's bins (bin,) and 16th, 50th, 84th percentiles of y (3, bin), NaN where too few."""
    edges = np.linspace(*_limits(x, label), BINS + 1)
    place = np.clip(np.digitize(x, edges) - 1, 0, BINS - 1)
    found = np.full((3, BINS), np.nan)
    for k in range(BINS):
        inside = y[place == k]
        if len(inside) >= FEWEST:
            found[:, k] = np.quantile(inside, (0.16, 0.5, 0.84), method="nearest")
    return (edges[:-1] + edges[1:]) / 2, np.where(np.abs(found) < 1e29, found, np.nan)


def _limits(x: np.ndarray, label: str) -> tuple[float, float]:
    """The label's range, or the part of it that is there where that is much less."""
    low, high = RANGES[label]
    seen = float(x.min()), float(x.max())
    return seen if 0 < seen[1] - seen[0] < 0.7 * (high - low) else (low, high)


def _true_labels(panels: np.ndarray, truth: Truth) -> None:
    for column, label in enumerate(LABELS):
        axes = panels[-1, column]
        axes.set_xlabel(f"true {title(label)}")
        low, high = _limits(truth.labels[:, column], label)
        axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
        step = TICKS[label] if (low, high) == RANGES[label] else TICKS[label] / 2
        axes.xaxis.set_major_locator(MultipleLocator(step))


def _plain_log(axes: Axes) -> None:
    """Numbers at 1, 2 and 5 of each decade, as they are written."""
    low, high = axes.get_ylim()
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    steps = (1,) if high / low > 300 else (1, 3) if high / low > 30 else (1, 2, 5)
    ticks = sorted(d * s for d in decades for s in steps)
    if high / low < 2.5:
        ticks = [t for t in MaxNLocator(4).tick_values(low, high) if t > 0]
    axes.yaxis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_locator(NullLocator())


def _pretty(region: str) -> str:
    return region.replace("-", "–", 1).replace("< -1", "< −1").replace(">= -1", "≥ −1")
