"""Figures of images: one of them by every method, spectra, and how honest the standard deviations are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from scipy.stats import norm

from sciml.metrics.images import Spectra, effective_resolution
from sciml.report import style

WIDTH = 10.0  # inches
MOST_METHODS = 6  # columns that can still be read
TEMPERATURE = "inferno"
WARMER = "RdBu_r"  # red is too warm, blue too cold
GREENNESS = "YlGn"
MISSING = "#c9ced6"


@dataclass(frozen=True, eq=False)
class Scene:
    """One image as it came in and what is known of it. coarse: (y, x) [K]; truth: (Y, X) [K] or None where nobody
    knows it; ndvi: (Y, X) [1] or None; fine_pixel_m: side of a fine pixel [m]."""

    title: str
    coarse: np.ndarray
    truth: np.ndarray | None
    ndvi: np.ndarray | None
    fine_pixel_m: float


def image_figure(scene: Scene, methods: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """One image: input, truth and guidance in the first column; then, a column for each method, its estimate, its
    difference from the truth (without one: from the input, which is the detail it adds) and its standard deviation.
    Each row has one colour bar; missing pixels are grey.

    methods: label -> estimate and sigma, (Y, X) [K]; a sigma that is NaN throughout is said to be unknown.
    """
    if not 1 <= len(methods) <= MOST_METHODS:
        raise ValueError(f"image figure: {len(methods)} methods, expected 1 to {MOST_METHODS}")
    factor = next(iter(methods.values()))[0].shape[0] // scene.coarse.shape[0]
    coarse = np.kron(scene.coarse, np.ones((factor, factor)))
    against = coarse if scene.truth is None else scene.truth
    differences = {name: estimate - against for name, (estimate, _) in methods.items()}
    spread = [sigma for _, sigma in methods.values() if np.isfinite(sigma).any()]
    shown = [estimate for estimate, _ in methods.values()] + [against]
    warm = limits_of(np.concatenate([a.ravel() for a in shown]))
    off = reach_of(np.concatenate([d.ravel() for d in differences.values()]))
    height = coarse.shape[0] / coarse.shape[1]
    rows = 3 if spread else 2
    with style.rc():
        panel = (WIDTH + 1.2 * (len(methods) > 3) - 1.0) / (len(methods) + 1)
        panel = min(panel, 2.9)
        figure = style.new_figure(panel * (len(methods) + 1) + 1.0, rows * (panel * height + 0.33) + 0.75)
        figure.suptitle(scene.title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        grid = figure.subplots(rows, len(methods) + 1, squeeze=False, sharex=True, sharey=True)
        extent = (0.0, coarse.shape[1] * scene.fine_pixel_m / 1e3, coarse.shape[0] * scene.fine_pixel_m / 1e3, 0.0)

        def draw(axes: Axes, values: np.ndarray, colours: str, limits: tuple[float, float], title: str) -> None:
            picture(axes, values, colours, limits, extent, title)

        draw(grid[0, 0], coarse, TEMPERATURE, warm, f"input, {_length(scene.fine_pixel_m * factor)}")
        below = list(grid[1:, 0])
        if scene.truth is not None:
            draw(below.pop(0), scene.truth, TEMPERATURE, warm, f"truth, {_length(scene.fine_pixel_m)}")
        if scene.ndvi is not None and np.isfinite(scene.ndvi).any() and below:
            low, high = limits_of(scene.ndvi)
            draw(below.pop(0), scene.ndvi, GREENNESS, (low, high), f"NDVI, {low:.2f} to {high:.2f}")
        for axes in below:
            axes.set_axis_off()
        most = limits_of(np.concatenate([s.ravel() for s in spread]))[1] if spread else 1.0
        for column, (name, (estimate, sigma)) in enumerate(methods.items(), start=1):
            draw(grid[0, column], estimate, TEMPERATURE, warm, name)
            draw(grid[1, column], differences[name], WARMER, (-off, off), _error(differences[name], scene.truth))
            if rows == 3:
                known = np.isfinite(sigma).any()
                title = f"mean σ {np.nanmean(sigma):.2f} K" if known else "σ unknown"
                draw(grid[2, column], sigma, style.SEQUENTIAL, (0.0, most), title)
        colour_bar(figure, grid[0], TEMPERATURE, warm, "surface temperature [K]", "both")
        label = "estimate − truth [K]" if scene.truth is not None else "estimate − input [K]"
        colour_bar(figure, grid[1], WARMER, (-off, off), label, "both")
        if rows == 3:
            colour_bar(figure, grid[2], style.SEQUENTIAL, (0.0, most), "standard deviation σ [K]", "max")
        _kilometres(grid)
        return figure


def spectra_figure(found: Mapping[str, Spectra], *, labels: Mapping[str, str] | None = None) -> Figure:
    """Mean spectra of methods against the truth's. Left: power by wavelength; right: power of the error over that of
    the truth, with the effective resolution where it passes one half. found: method -> spectra of the same images."""
    labels = labels or {}
    with style.rc():
        figure = style.new_figure(WIDTH, 4.4)
        left, right = figure.subplots(1, 2, sharex=True)
        first = next(iter(found.values()))
        kilometres = first.wavelength_m / 1e3
        complete = np.isfinite(first.truth).all(axis=1)
        if not complete.any():
            raise ValueError("spectra: no complete image; a blank panel is a mistake")
        power = first.truth[complete].mean(axis=0)
        left.plot(kilometres, power, color=style.OBSERVED, linewidth=2.2, label="truth")
        right.axhline(0.5, color="#888888", linewidth=1)
        for index, (name, spectra) in enumerate(found.items()):
            look: dict[str, Any] = {"color": style.colour(index), "linestyle": style.line(index)}
            known = np.isfinite(spectra.error).all(axis=1) & complete
            left.plot(kilometres, spectra.estimate[known].mean(axis=0), **look)
            ratio = spectra.error[known].mean(axis=0) / spectra.truth[known].mean(axis=0)
            resolution = effective_resolution(spectra)
            what = "resolves nothing" if np.isinf(resolution) else f"worth pixels of {_length(resolution)}"
            right.plot(kilometres, ratio, label=f"{labels.get(name, name)}: {what}", **look)
            if np.isfinite(resolution) and resolution > spectra.pixel_m:
                right.plot([2 * resolution / 1e3], [0.5], "o", markersize=5, color=look["color"])
        left.set(xscale="log", yscale="log", ylabel="power [K² per mode]", xlabel="wavelength [km]")
        left.set_ylim(power.min() / 300, power.max() * 2)  # interpolation has next to nothing at its zeros
        right.set(ylabel="power of the error / power of the truth", xlabel="wavelength [km]", ylim=(0, 1.5))
        left.set_xlim(kilometres[0], kilometres[-1])
        for axes in (left, right):
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        left.set_title(f"Power ({int(complete.sum()):,} images)")
        right.set_title("What is lost")
        left.legend(loc="lower left")
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure


def calibration_figure(
    truth: np.ndarray,
    mask: np.ndarray,
    methods: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    labels: Mapping[str, str] | None = None,
    bins: int = 12,
) -> Figure:
    """Are the standard deviations honest? Left: share of pixels in the central interval of each nominal level. Right:
    root mean square error of pixels of like sigma against that sigma, a point where all pixels have one sigma.

    truth, mask: (image, Y, X); methods: name -> estimate and sigma, the same shape [K].
    """
    labels = labels or {}
    levels = np.linspace(0.01, 0.99, 50)
    with style.rc():
        figure = style.new_figure(WIDTH, 4.6)
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color="#888888", linewidth=1)
        most = 0.0
        for index, (name, (estimate, sigma)) in enumerate(methods.items()):
            keep = mask & np.isfinite(estimate) & (sigma > 0)
            if not keep.any():
                raise ValueError(f"calibration of {name}: no pixel with a standard deviation")
            look: dict[str, Any] = {"color": style.colour(index), "linestyle": style.line(index)}
            size, spread = np.abs(estimate[keep] - truth[keep]), sigma[keep]
            share = np.searchsorted(np.sort(size / spread), norm.ppf((1 + levels) / 2)) / size.size
            covered = float(np.mean(size <= norm.ppf(0.95) * spread))
            left.plot(levels, share, label=f"{labels.get(name, name)}: 90 % interval covers {covered:.1%}", **look)
            x, y = _by_spread(size, spread, bins)
            right.plot(x, y, marker="o", markersize=4, **look)
            most = max(most, x.max(), y.max())
        right.plot([0, 1.05 * most], [0, 1.05 * most], color="#888888", linewidth=1, zorder=0)
        left.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal level of the central interval", ylabel="observed coverage")
        for axis in (left.xaxis, left.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        right.set(xlim=(0, 1.05 * most), ylim=(0, 1.05 * most))
        right.set(xlabel="standard deviation σ given [K]", ylabel="root mean square error found [K]")
        left.set_title("Coverage")
        right.set_title("Error by given σ")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure


def picture(
    axes: Axes,
    values: np.ndarray,
    colours: str,
    limits: tuple[float, float],
    extent: tuple[float, float, float, float],
    title: str,
) -> None:
    axes.grid(False)
    axes.set_facecolor(MISSING)
    axes.imshow(values, cmap=_colours(colours), norm=Normalize(*limits), extent=extent, interpolation="nearest")
    axes.set_title(title, fontsize=9.5, fontweight="normal")


def colour_bar(
    figure: Figure, axes: np.ndarray, colours: str, limits: tuple[float, float], label: str, extend: str,
    shrink: float = 0.95,
) -> None:  # fmt: skip
    drawn = ScalarMappable(Normalize(*limits), _colours(colours))
    bar = figure.colorbar(drawn, ax=list(axes), extend=extend, shrink=shrink, aspect=18, pad=0.015)
    bar.set_label(label, fontsize=9)
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]
    bar.ax.yaxis.set_major_locator(MaxNLocator(5))


def _kilometres(grid: np.ndarray) -> None:
    for row, column in np.ndindex(grid.shape):
        axes: Axes = grid[row, column]
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        lowest = row == len(grid) - 1
        leftmost = column == 0 or (column == 1 and not grid[row, 0].axison)
        axes.tick_params(labelsize=8, labelbottom=lowest, labelleft=leftmost)
        if lowest:
            axes.set_xlabel("km", fontsize=8.5)
        if leftmost:
            axes.set_ylabel("km", fontsize=8.5)


def _colours(name: str) -> Colormap:
    return matplotlib.colormaps[name].with_extremes(bad=MISSING)


def _error(difference: np.ndarray, truth: np.ndarray | None) -> str:
    size = float(np.sqrt(np.nanmean(difference**2)))
    return f"RMSE {size:.2f} K" if truth is not None else f"detail, sd {size:.2f} K"


def _length(metres: float) -> str:
    return f"{metres / 1e3:.1f} km" if metres >= 950 else f"{metres:.0f} m"


def limits_of(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("figure: no finite value; a blank panel is a mistake")
    low, high = np.quantile(finite, [0.005, 0.995])
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def reach_of(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    if not finite.size:
        raise ValueError("figure: no finite difference; a blank panel is a mistake")
    return max(float(np.quantile(finite, 0.99)), 1e-6)


def _by_spread(size: np.ndarray, spread: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square sigma and error of groups of pixels of like sigma, equally many in each."""
    edges = np.unique(np.quantile(spread, np.linspace(0, 1, bins + 1)))
    group = np.searchsorted(edges[1:-1], spread, side="right") if len(edges) > 2 else np.zeros(spread.size, int)
    count = np.maximum(np.bincount(group), 1)
    return np.sqrt(np.bincount(group, spread**2) / count), np.sqrt(np.bincount(group, size**2) / count)
