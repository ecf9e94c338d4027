"""Figures of series, skill and calibration, for any quantity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sciml.metrics.bootstrap import draws, means, percentile_interval
from sciml.metrics.ensembles import central_interval, pit_distribution
from sciml.report import style

WIDTH = 10.0  # inches


@dataclass(frozen=True, eq=False)
class Prediction:
    """A predicted series with its band. time: (time,) datetime64; middle, lower, upper: (time,), NaN where there is
    none (the line is broken there)."""

    label: str
    time: np.ndarray
    middle: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SeriesPanel:
    """One series plot. time, observed: (record,) what was measured, never filled; gaps: (gap,) datetime64[M] calendar
    months without a record, shaded; split: first month of the test period, marked by a line."""

    title: str
    time: np.ndarray
    observed: np.ndarray
    predictions: Sequence[Prediction]
    gaps: np.ndarray | None = None
    split: np.datetime64 | None = None


def prediction(label: str, time: np.ndarray, members: np.ndarray, *, level: float = 0.9) -> Prediction:
    """Median and central interval of members: (member, time)."""
    lower, upper = central_interval(members, level=level)
    one = np.shape(members)[0] == 1
    return Prediction(label, time, np.median(members, axis=0), None if one else lower, None if one else upper)


def series_figure(
    panels: Sequence[SeriesPanel], *, ylabel: str, observed_label: str = "GRACE", band_label: str = "90 % interval"
) -> Figure:
    """Series one above the other on one time axis: observations as points, predictions as lines with bands."""
    if not panels:
        raise ValueError("series figure: no panel to draw")
    with style.rc():
        figure = style.new_figure(WIDTH, 0.75 + 1.75 * len(panels))
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(rows, panels, strict=True):
            _draw_series(axes, panel)
        figure.supylabel(ylabel, fontsize=style.RC["axes.labelsize"])
        figure.legend(handles=_series_legend(panels, observed_label, band_label), loc="outside upper center", ncols=6)
        return figure


def _draw_series(axes: Axes, panel: SeriesPanel) -> None:
    if not np.isfinite(panel.observed).any() and not any(np.isfinite(p.middle).any() for p in panel.predictions):
        raise ValueError(f"series {panel.title!r}: no finite value; a blank panel is a mistake")
    for first, stop in month_runs(panel.gaps):
        axes.axvspan(first, stop, color=style.GAP, linewidth=0, zorder=0)
    for index, p in enumerate(panel.predictions):
        colour = style.colour(index)
        if p.lower is not None and p.upper is not None:
            axes.fill_between(p.time, p.lower, p.upper, color=colour, alpha=0.22, linewidth=0)
        axes.plot(p.time, p.middle, color=colour, linestyle=style.line(index), linewidth=1.3)
    axes.plot(panel.time, panel.observed, "o", color=style.OBSERVED, markersize=2.6, zorder=4)
    axes.axhline(0, color="#b0b0b0", linewidth=0.6, zorder=1)
    if panel.split is not None:
        axes.axvline(panel.split, color="#444444", linewidth=0.9, linestyle=(0, (4, 2)))
        axes.annotate(
            "test →", (panel.split, 1), (3, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
            va="top", fontsize=8, color="#444444",
        )  # fmt: skip
    axes.set_title(panel.title)
    axes.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=4, maxticks=12))
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.01)


def _series_legend(panels: Sequence[SeriesPanel], observed_label: str, band_label: str) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], marker="o", linestyle="", color=style.OBSERVED, markersize=4, label=observed_label)
    ]
    longest = max((p.predictions for p in panels), key=len)
    for index, p in enumerate(longest):
        handles.append(Line2D([], [], color=style.colour(index), linestyle=style.line(index), label=p.label))
    if any(p.lower is not None for panel in panels for p in panel.predictions):
        handles.append(Patch(color=style.colour(0), alpha=0.22, label=band_label))
    if any(panel.gaps is not None and len(panel.gaps) for panel in panels):
        handles.append(Patch(color=style.GAP, label="month without a record"))
    return handles


def month_runs(months: np.ndarray | None) -> list[tuple[np.datetime64, np.datetime64]]:
    """Runs of consecutive months as half-open intervals [first, stop) of datetime64[M]."""
    if months is None or not len(months):
        return []
    sorted_months = np.unique(np.asarray(months).astype("datetime64[M]"))
    cut = np.flatnonzero(np.diff(sorted_months).astype(int) > 1) + 1
    return [(run[0], run[-1] + 1) for run in np.split(sorted_months, cut)]


@dataclass(frozen=True)
class Skill:
    """One score whose distribution over units is shown. low, high: ends of the axis; values beyond are counted at the
    edge and said so; larger_is_better orders nothing, it writes the arrow."""

    key: str
    label: str
    low: float | None = None
    high: float | None = None
    larger_is_better: bool = True


def distribution_figure(
    scores: Mapping[str, Mapping[str, np.ndarray]], skills: Sequence[Skill], *, labels: Mapping[str, str] | None = None
) -> Figure:
    """Empirical distribution functions of scores over units, one line per model.

    scores: model -> score key -> (unit,) values, NaN left out. A line further right is better where larger is better.
    """
    labels = labels or {}
    with style.rc():
        columns = min(len(skills), 3)
        rows = -(-len(skills) // columns)
        figure = style.new_figure(WIDTH, 0.7 + 3.0 * rows)
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(skills) :]:
            axes.remove()
        for axes, skill in zip(panels.flat, skills, strict=False):
            for index, values in enumerate(scores.values()):
                _draw_distribution(axes, np.asarray(values[skill.key], float), index)
            _limit(axes, [np.asarray(v[skill.key], float) for v in scores.values()], skill)
            better = "larger" if skill.larger_is_better else "smaller"
            axes.set(ylim=(0, 1), xlabel=f"{skill.label}  ({better} is better)")
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for axes in panels[:, 0]:
            axes.set_ylabel("share of units below")
        handles = [
            Line2D([], [], color=style.colour(i), linestyle=style.line(i), label=labels.get(m, m))
            for i, m in enumerate(scores)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5))
        return figure


def _draw_distribution(axes: Axes, values: np.ndarray, index: int) -> None:
    values = np.sort(values[np.isfinite(values)])
    if len(values):
        axes.ecdf(values, color=style.colour(index), linestyle=style.line(index))
        middle = float(np.median(values))
        axes.plot([middle], [0.5], "o", color=style.colour(index), markersize=4.5, clip_on=True)


def _limit(axes: Axes, values: Sequence[np.ndarray], skill: Skill) -> None:
    everything = np.concatenate([v[np.isfinite(v)] for v in values])
    if not everything.size:
        raise ValueError(f"distribution of {skill.key}: no finite value; a blank panel is a mistake")
    low = float(np.quantile(everything, 0.005)) if skill.low is None else skill.low
    high = float(np.quantile(everything, 0.98)) if skill.high is None else skill.high
    axes.set_xlim(low, high if high > low else low + 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    below = float(np.mean(everything < low))
    if below > 0.01:
        text = f"← {below:.0%} of all values lie below"
        axes.annotate(text, (0.02, 0.97), xycoords="axes fraction", va="top", fontsize=8)


def calibration_figure(
    places: Mapping[str, tuple[np.ndarray, int]], *, labels: Mapping[str, str] | None = None
) -> Figure:
    """Are the intervals honest? Left: how often the observation fell into the central interval of each nominal level.
    Right: histogram of its place in the ensemble, flat if calibrated, a bowl if too narrow, a hill if too wide.

    places: group or model -> (ranks from `metrics.ensembles.ranks`, any shape, NaN left out; number of members).
    """
    labels = labels or {}
    levels, edges = np.linspace(0, 1, 41), np.linspace(0, 1, 11)
    with style.rc():
        figure = style.new_figure(WIDTH, 4.1)
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color="#888888", linewidth=1, label="calibrated")
        right.axhline(1, color="#888888", linewidth=1)
        for index, (name, (raw, members)) in enumerate(places.items()):
            rank = np.asarray(raw, float)
            rank = rank[np.isfinite(rank)]
            if not rank.size:
                raise ValueError(f"calibration of {name}: no value; a blank panel is a mistake")
            look: dict[str, Any] = {"color": style.colour(index), "linestyle": style.line(index)}
            upper, lower = (pit_distribution(rank, members, 0.5 + side * levels / 2) for side in (1, -1))
            left.plot(levels, upper - lower, label=f"{labels.get(name, name)} (n = {rank.size:,})", **look)
            density = np.diff(pit_distribution(rank, members, edges)) / np.diff(edges)
            right.stairs(density, edges, baseline=None, linewidth=1.6, **look)
        left.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal level of the central interval", ylabel="observed coverage")
        left.legend(loc="upper left", fontsize=8.5)
        for axis in (left.xaxis, left.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        right.set(xlim=(0, 1), xlabel="place of the observation in the ensemble (PIT)", ylabel="density")
        right.set_ylim(bottom=0)
        left.set_title("Coverage")
        right.set_title("Place in the ensemble")
        return figure


@dataclass(frozen=True)
class Share:
    """A share with its interval (NaN where one unit alone gives none), the records and units behind it."""

    label: str
    value: float
    low: float
    high: float
    n: int
    units: int


def shares(
    hits: np.ndarray, groups: np.ndarray, *, blocks: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> list[Share]:
    """Coverage by group with 95 % block-bootstrap intervals.

    hits: (unit, record) 1 in the interval, 0 outside, NaN not scored; groups: (unit,) or (unit, record) labels; blocks:
    (unit,) region of each unit for the bootstrap (default: each unit on its own). Sorted by label; groups without a
    record are left out.
    """
    hits = np.asarray(hits, float)
    groups = np.asarray(groups)
    groups = np.broadcast_to(groups[:, None] if groups.ndim == 1 else groups, hits.shape)
    counts = draws(np.arange(len(hits)) if blocks is None else blocks, resamples=resamples, seed=seed, kind="units")
    found = []
    for name in np.unique(groups):
        inside = (groups == name) & np.isfinite(hits)
        n, total = inside.sum(axis=1), np.where(inside, hits, 0).sum(axis=1)
        if n.sum():
            sample = means(total / np.maximum(n, 1), counts, n.astype(float))
            units = int((n > 0).sum())
            interval = percentile_interval(sample) if units > 1 else (float("nan"), float("nan"))
            found.append(Share(str(name), float(total.sum() / n.sum()), *interval, int(n.sum()), units))
    return found


def coverage_figure(groups: Mapping[str, Sequence[Share]], *, target: tuple[float, float] = (0.85, 0.95)) -> Figure:
    """Coverage of the 90 % interval by group, with intervals. groups: heading -> shares; the target range is shaded."""
    flat = [(heading, share) for heading, members in groups.items() for share in members]
    if not flat:
        raise ValueError("coverage figure: no group to draw")
    with style.rc():
        gap = 0.5
        figure = style.new_figure(8.0, 1.1 + 0.29 * (len(flat) + gap * (len(groups) - 1)))
        axes = figure.subplots()
        axes.axvspan(*target, color="#dceaf3", linewidth=0, zorder=0)
        axes.axvline(0.9, color="#777777", linewidth=0.9, zorder=1)
        position, ticks, names, previous = 0.0, [], [], flat[0][0]
        colours = {heading: style.colour(i) for i, heading in enumerate(groups)}
        for heading, share in flat:
            position += 1.0 + (gap if heading != previous else 0.0)
            previous = heading
            look: dict[str, Any] = {"color": colours[heading]}
            axes.plot([share.low, share.high], [position] * 2, linewidth=2.2, solid_capstyle="butt", **look)
            axes.plot([share.value], [position], "o", markersize=5.5, **look)
            ticks.append(position)
            names.append(f"{share.label}  ({share.n:,} records, {share.units} unit{'s' * (share.units > 1)})")
        axes.set_yticks(ticks, names)
        axes.set_ylim(position + 0.8, 0.2)
        lowest = min(np.nanmin([s.low, s.value]) for _, s in flat)
        axes.set_xlim(max(0.0, min(0.6, np.floor(lowest * 20) / 20 - 0.02)), 1.005)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("coverage of the 90 % interval (shaded: 85–95 %)")
        axes.grid(axis="y", visible=False)
        handles = [Line2D([], [], marker="o", color=c, label=h) for h, c in colours.items()]
        if len(handles) > 1:
            figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4))
        return figure
