"""Figures of scores: against the size of the training set, by season and ground, and on the map of the tile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator, NullLocator, PercentFormatter

from sciml.modis.figures import WARMER, WIDTH, colour_bar, limits_of, picture, reach_of
from sciml.report import style

TILE_WINDOWS = 18  # windows of 64 pixels across a MODIS tile
TILE_KM = 64 * 0.9266254331391667  # width of a window
LEVEL_LINES = (("#555555", ":"), ("#999999", "--"), ("#333333", "-."), ("#bbbbbb", "-"))


@dataclass(frozen=True)
class ScorePanel:
    """One score of a figure. key: in the summaries of `scores.summarise`; label: with its unit."""

    key: str
    label: str


RMSE = ScorePanel("rmse", "RMSE [K]")
CURVE_PANELS = (ScorePanel("psnr", "PSNR [dB]"), ScorePanel("ssim", "SSIM"), RMSE)


def learning_figure(
    curves: Mapping[str, Mapping[int, Mapping[str, Any]]],
    flat: Mapping[str, Mapping[str, Any]],
    *,
    panels: Sequence[ScorePanel] = CURVE_PANELS,
    labels: Mapping[str, str] | None = None,
    xlabel: str = "training images",
) -> Figure:
    """Scores against the size of the training set. curves: model -> size -> summary; flat: methods that learn nothing
    -> summary, drawn as level lines. Bars are the intervals of the summaries."""
    labels = labels or {}
    sizes = sorted({size for curve in curves.values() for size in curve})
    if not sizes:
        raise ValueError("learning curve: no size to draw; a blank panel is a mistake")
    with style.rc():
        figure = style.new_figure(WIDTH, 3.9)
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(row, panels, strict=True):
            for index, curve in enumerate(curves.values()):
                look: dict[str, Any] = {"color": style.colour(index), "linestyle": style.line(index)}
                axes.plot(sorted(curve), [curve[n][panel.key] for n in sorted(curve)], marker="o", **look)
                for n, summary in curve.items():
                    interval = summary.get(f"{panel.key}_ci") or [None, None]
                    if None not in interval:
                        axes.plot([n, n], interval, color=look["color"], linewidth=1)
            for index, summary in enumerate(flat.values()):
                axes.axhline(summary[panel.key], **_level(index))
            axes.set(xscale="log", xlabel=xlabel, title=panel.label)
            axes.set_xticks(sizes, [f"{n:,}" for n in sizes], rotation=40, ha="right")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.margins(x=0.08)
        handles = [
            Line2D([], [], color=style.colour(i), linestyle=style.line(i), marker="o", label=labels.get(m, m))
            for i, m in enumerate(curves)
        ]
        handles += [Line2D([], [], label=labels.get(m, m), **_level(i)) for i, m in enumerate(flat)]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(5, len(handles)))
        return figure


STRATA_TITLES = {
    "season": "season",
    "overpass": "overpass",
    "ndvi": "mean NDVI, terciles",
    "gradient": "gradient, quartiles",
    "range": "range of the image",
}


STRATA_PANELS = (
    ScorePanel("psnr", "PSNR [dB]"),
    RMSE,
    ScorePanel("coverage90", "coverage of 90 %"),
)


def strata_figure(
    summaries: Mapping[str, Mapping[str, Any]],
    panels: Sequence[ScorePanel] = STRATA_PANELS,
    *,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Scores by season, overpass, NDVI, gradient and range, a point with its interval for each method.

    summaries: model -> of `scores.summarise`; panels: what is shown side by side.
    """
    labels = labels or {}
    some = next(iter(summaries.values()))["by"]
    rows = [(stratum, value) for stratum, values in some.items() for value in values]
    place, ticks = _places(rows)
    with style.rc():
        figure = style.new_figure(WIDTH, 1.1 + 0.3 * (place[-1] + 1))
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(row, panels, strict=True):
            _draw_strata(axes, panel, summaries, rows, place)
        names = [f"{value}  (n = {some[stratum][value]['n']:,})" for stratum, value in rows]
        row[0].set_yticks(place, names)
        row[0].set_ylim(place[-1] + 0.7, -1.2)
        for stratum, y in ticks.items():
            text = STRATA_TITLES.get(stratum, stratum)
            row[0].annotate(
                text, (0, y), (-6, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="right", va="center", fontsize=9, fontweight="bold", annotation_clip=False,
            )  # fmt: skip
        handles = [
            Line2D([], [], marker="o", linestyle="-", color=style.colour(i), label=labels.get(m, m))
            for i, m in enumerate(summaries)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(5, len(handles)))
        return figure


def place_figure(
    table: pd.DataFrame,
    model: str,
    reference: str,
    *,
    score: ScorePanel = RMSE,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Maps of a score by window of the tile, mean over its images: of the model, and its difference from a reference.

    table: rows of `scores.score_images` of one experiment; windows are numbered row-major, 18 in a row. North is up.
    """
    labels = labels or {}
    rows = table[(table["crop"] == 0) & (table["n"] > 0) & (table["window"] >= 0)]
    mean = rows.pivot_table(index="window", columns="model", values=score.key)
    if mean.empty:
        raise ValueError("map of places: no image has a window; a blank panel is a mistake")
    own, other = mean[model], mean[model] - mean[reference]
    images = rows.loc[rows["model"] == model, "window"].value_counts()
    north, south = (int(f(mean.index // TILE_WINDOWS)) for f in (min, max))
    west, east = (int(f(mean.index % TILE_WINDOWS)) for f in (min, max))
    extent = (west * TILE_KM, (east + 1) * TILE_KM, (south + 1) * TILE_KM, north * TILE_KM)
    inside = slice(north, south + 1), slice(west, east + 1)
    with style.rc():
        proportion = np.clip((south - north + 1) / (east - west + 1), 0.35, 1.4)
        figure = style.new_figure(WIDTH, 0.95 + 3.75 * proportion)
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        reach = reach_of(other.to_numpy())
        for axes, values, colours, limits, title in (
            (left, own, style.SEQUENTIAL, limits_of(own.to_numpy()), labels.get(model, model)),
            (right, other, WARMER, (-reach, reach), f"less {labels.get(reference, reference)}"),
        ):
            field = np.full((TILE_WINDOWS, TILE_WINDOWS), np.nan)
            field.flat[values.index.to_numpy()] = values.to_numpy()
            picture(axes, field[inside], colours, limits, extent, title)
            unit = score.label if axes is left else f"difference of {score.label}"
            colour_bar(figure, np.array([axes]), colours, limits, unit, "both", shrink=0.85)
            axes.set_xlabel("km from the tile's west edge")
        left.set_ylabel("km from the tile's north edge")
        text = f"{len(own)} windows, {int(images.min())} to {int(images.max())} images each"
        figure.suptitle(text, x=0.01, ha="left", fontsize=9.5)
        return figure


def _draw_strata(
    axes: Axes,
    panel: ScorePanel,
    summaries: Mapping[str, Mapping[str, Any]],
    rows: Sequence[tuple[str, str]],
    place: Sequence[float],
) -> None:
    step = 0.6 / max(len(summaries), 2)
    for index, summary in enumerate(summaries.values()):
        colour = style.colour(index)
        for (stratum, value), y in zip(rows, place, strict=True):
            part, at = summary["by"][stratum][value], y + (index - (len(summaries) - 1) / 2) * step
            if part[panel.key] is None:
                continue
            interval = part[f"{panel.key}_ci"]
            if None not in interval:
                axes.plot(interval, [at, at], color=colour, linewidth=1.2)
            axes.plot([part[panel.key]], [at], "o", color=colour, markersize=3.6)
    axes.set_xlabel(panel.label)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", visible=False)
    if panel.key == "coverage90":
        axes.axvline(0.9, color="#777777", linewidth=0.9, zorder=1)
        axes.xaxis.set_major_locator(MultipleLocator(0.1))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _level(index: int) -> dict[str, Any]:
    """Look of a level line."""
    colour, line = LEVEL_LINES[index % len(LEVEL_LINES)]
    return {"color": colour, "linestyle": line}


def _places(rows: Sequence[tuple[str, str]]) -> tuple[list[float], dict[str, float]]:
    """Height of each row, with room for a heading over each stratum, and the headings' heights."""
    place: list[float] = []
    headings: dict[str, float] = {}
    y = -1.0
    for stratum, _ in rows:
        y += 1.0
        if stratum not in headings:
            y += 0.4 if headings else -0.4
            headings[stratum] = y
            y += 0.9
        place.append(y)
    return place, headings
