"""Figures of spectra: where networks look, how models fit a real star, and what stars are against the literature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sciml.report import style
from sciml.stellar.figures import SYMBOLS, WIDTH, look
from sciml.stellar.labels import COUNT, LABELS, UNITS
from sciml.stellar.scores import COOLEST_TRUSTED

# the strongest of the range, air [A], for a reader to find his way
LINES = (
    (5041.76, "Fe I"), (5052.14, "C I"), (5079.74, "Fe I"), (5100.66, "Fe I"), (5110.41, "Fe I"), (5133.69, "Fe I"),
    (5167.32, "Mg I b"), (5172.68, "Mg I b"), (5183.60, "Mg I b"), (5169.03, "Fe II"), (5188.70, "Ti II"),
    (5192.34, "Fe I"), (5197.57, "Fe II"), (5204.51, "Cr I"), (5206.04, "Cr I"), (5208.42, "Cr I"),
    (5216.27, "Fe I"), (5226.86, "Fe I"), (5232.94, "Fe I"), (5234.62, "Fe II"), (5250.65, "Fe I"),
    (5262.24, "Ca I"), (5265.56, "Ca I"), (5269.54, "Fe I"), (5270.27, "Ca I"), (5276.00, "Fe II"), (5283.62, "Fe I"),
    (5302.30, "Fe I"), (5316.62, "Fe II"), (5324.18, "Fe I"), (5328.04, "Fe I"), (5336.79, "Ti II"),
    (5341.02, "Fe I"), (5349.47, "Ca I"), (5371.49, "Fe I"),
)  # fmt: skip
_BESIDE = 2.0  # [A] shown beside the pixels of a fit
_MAPS = ("first map", "second map", "third map")


@dataclass(frozen=True, eq=False)
class StarFit:
    """A real star and the model that a method answers with. wave: (order, pixel) [A, rest frame]; flux, model: over
    continuum; used: bool, pixels of the fit; chi_square: (order,) reduced, NaN where an order was not used, and
    throughout where the noise is not known."""

    name: str
    method: str
    wave: np.ndarray
    flux: np.ndarray
    model: np.ndarray
    used: np.ndarray
    chi_square: np.ndarray

    @property
    def noise_known(self) -> bool:
        return bool(np.isfinite(self.chi_square).any())

    @property
    def misfit(self) -> np.ndarray:
        """(order,) of each: reduced chi-square, or where the noise is not known the rms residual [% of continuum]."""
        if self.noise_known:
            return self.chi_square
        square = np.where(self.used, (self.flux - self.model) ** 2, np.nan)
        count = np.isfinite(square).sum(1)
        return np.where(count > 0, 100 * np.sqrt(np.nansum(square, 1) / np.maximum(count, 1)), np.nan)


@dataclass(frozen=True, eq=False)
class Star:
    """A real star: answers of methods and the literature. answers: method -> (mean (4,), sigma (4,)); flags: method ->
    what it holds against its own answer; literature, uncertainty: (4,), NaN where there is none; source: of the
    literature; calibrates: whether the list of lines was fitted to it; note: shown beside its name; same_as: the star,
    where several spectra are of one."""

    name: str
    answers: Mapping[str, tuple[np.ndarray, np.ndarray]]
    flags: Mapping[str, Sequence[str]]
    literature: np.ndarray
    uncertainty: np.ndarray
    source: str
    calibrates: bool = False
    note: str = ""
    same_as: str = ""

    @property
    def of(self) -> str:
        """Which star it is."""
        return self.same_as or self.name

    @property
    def trusted(self) -> bool:
        """Hot enough for the list of lines."""
        return bool(self.literature[0] >= COOLEST_TRUSTED)


def attention_figure(
    wave: np.ndarray,
    flux: np.ndarray,
    maps: np.ndarray,
    lines: Sequence[tuple[float, str]] = LINES,
    *,
    orders: Sequence[int] | None = None,
) -> Figure:
    """Attention maps above the spectrum they look at, with lines identified (figure 5).

    wave, flux: (order, pixel) [A], over continuum; maps: (map, order, pixel), each sums to one; lines: (wavelength [A],
    name); orders: to be shown (default: the one with Mg b, and the most attended of the others).
    """
    shown = list(orders) if orders is not None else _attended(wave, maps)
    even = maps * maps[0].size
    count = len(maps)
    with style.rc():
        figure = style.new_figure(WIDTH, 0.3 + 4.3 * len(shown))
        grid = figure.add_gridspec((count + 1) * len(shown), 1, height_ratios=([1.0] * count + [2.6]) * len(shown))
        for block, order in enumerate(shown):
            rows = _stacked(figure, grid, block * (count + 1), count + 1)
            for k, axes in enumerate(rows[:-1]):
                axes.fill_between(wave[order], 0, even[k, order], color=style.colour(k), linewidth=0, step="mid")
                axes.axhline(1, color="#777777", linewidth=0.6, linestyle=":")
                axes.set_ylim(0, 1.3 * max(1.0, float(even[k, shown].max())))
                axes.yaxis.set_major_locator(MaxNLocator(2))
                axes.annotate(
                    _MAPS[k % len(_MAPS)], (0.005, 0.95), xycoords="axes fraction", va="top", fontsize=8.5,
                    color=style.colour(k),
                )  # fmt: skip
            _identified(rows[-1], wave[order], flux[order], lines)
            rows[0].set_title(f"{wave[order, 0]:.0f}–{wave[order, -1]:.0f} Å")
            rows[count // 2].set_ylabel("attention (1: even)")
            rows[-1].set_ylabel("flux / continuum")
        rows[-1].set_xlabel("wavelength in air [Å]")
        figure.align_ylabels()
        return figure


def star_figure(fit: StarFit, *, orders: Sequence[int] | None = None) -> Figure:
    """Chi-square of each order of a real star (rms residual where the noise is not known), and its spectrum with model
    and residual in some orders (default: that of Mg b and the worst of the others)."""
    with style.rc():
        shown = list(orders) if orders is not None else _telling(fit)
        figure = style.new_figure(WIDTH, 2.3 + 2.9 * len(shown))
        grid = figure.add_gridspec(1 + 2 * len(shown), 1, height_ratios=[2.0] + [2.2, 1.0] * len(shown))
        told, unit = ("reduced χ² =", "") if fit.noise_known else ("rms residual", " %")
        _draw_misfits(figure.add_subplot(grid[0]), fit, shown)
        for block, order in enumerate(shown):
            upper, lower = _stacked(figure, grid, 1 + 2 * block, 2)
            used = fit.used[order] & np.isfinite(fit.flux[order])
            seen = np.where(np.isfinite(fit.flux[order]), fit.flux[order], np.nan)
            upper.plot(fit.wave[order], seen, color=style.OBSERVED, linewidth=0.7)
            upper.plot(fit.wave[order], fit.model[order], color=style.colour(1), linewidth=0.9)
            residual = np.where(used, fit.flux[order] - fit.model[order], np.nan)
            lower.plot(fit.wave[order], residual, color=style.colour(0), linewidth=0.6)
            lower.axhline(0, color=style.OBSERVED, linewidth=0.7)
            reach = 1.3 * float(np.nanquantile(np.abs(residual), 0.995)) if used.any() else 0.1
            lower.set_ylim(-reach, reach)
            lower.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
            upper.set_ylim(min(0.0, float(np.nanquantile(seen, 0.001))), 1.2)
            for axes in (upper, lower):
                _shade(axes, fit.wave[order], ~used)
            if used.any():  # the list of lines may end within an order
                upper.set_xlim(*(fit.wave[order][used][[0, -1]] + [-_BESIDE, _BESIDE]))
            upper.set_ylabel("flux / continuum")
            lower.set_ylabel("residual")
            upper.set_title(
                f"{fit.wave[order, 0]:.0f}–{fit.wave[order, -1]:.0f} Å,  {told} {fit.misfit[order]:.2f}{unit}",
                fontweight="normal",
            )
        lower.set_xlabel("wavelength in air, rest frame [Å]")
        figure.align_ylabels()
        handles = [
            Line2D([], [], color=style.OBSERVED, linewidth=1, label=fit.name),
            Line2D([], [], color=style.colour(1), label=f"model of {fit.method}" if fit.method else "best model"),
            Line2D([], [], color=style.colour(0), linewidth=1, label="observed less model"),
            Patch(color=style.GAP, label="not used"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
        return figure


def stars_figure(stars: Sequence[Star], *, labels: Mapping[str, str] | None = None) -> Figure:
    """Answers of methods less the literature of real stars, a panel for each label that is known of any. Open dots are
    flagged answers, grey bands the literature's own uncertainty."""
    if not stars:
        raise ValueError("figure of stars: no star to draw; a blank panel is a mistake")
    if not any(np.isfinite(star.literature).any() for star in stars):
        raise ValueError("figure of stars: nothing is known of any; blank panels are a mistake")
    labels = labels or {}
    methods = list(dict.fromkeys(method for star in stars for method in star.answers))
    step = 0.7 / max(len(methods), 2)
    with style.rc():
        figure = style.new_figure(WIDTH, 1.1 + len(stars) * (0.2 + 0.12 * max(len(methods), 2)))
        known = [i for i in range(COUNT) if any(np.isfinite(star.literature[i]) for star in stars)]
        row = figure.subplots(1, len(known), sharey=True, squeeze=False)[0]
        for i, axes in zip(known, row, strict=True):
            label = LABELS[i]
            axes.axvline(0, color=style.OBSERVED, linewidth=0.9, zorder=1)
            for place, star in enumerate(stars):
                if not np.isfinite(star.literature[i]):
                    axes.annotate(
                        "no literature value", (0.5, place), xycoords=("axes fraction", "data"), ha="center",
                        va="center", fontsize=8, color="#777777", backgroundcolor="white",
                    )  # fmt: skip
                    continue
                band = np.nan_to_num(star.uncertainty[i])
                axes.fill_betweenx([place - 0.42, place + 0.42], -band, band, color=style.GAP, linewidth=0, zorder=0)
                for k, method in enumerate(methods):
                    if method in star.answers:
                        mean, sigma = (np.asarray(x)[i] for x in star.answers[method])
                        at = place + (k - (len(methods) - 1) / 2) * step
                        _dot(axes, mean - star.literature[i], sigma, at, method, bool(star.flags.get(method)))
            axes.set_xlabel(f"error of {SYMBOLS[label]} [{UNITS[label]}]")
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.grid(axis="y", visible=False)
            for place in range(1, len(stars)):
                axes.axhline(place - 0.5, color="#e4e4e4", linewidth=0.6)
        row[0].set_yticks(range(len(stars)), [_named(star) for star in stars])
        row[0].set_ylim(len(stars) - 0.5, -0.5)
        handles = [
            Line2D([], [], marker="o", markersize=4.5, label=labels.get(m, m), color=look(m)["color"]) for m in methods
        ]
        if any(any(star.flags.values()) for star in stars):
            handles.append(
                Line2D([], [], marker="o", color="#555555", markerfacecolor="white", linestyle="", label="flagged")
            )
        handles.append(Patch(color=style.GAP, label="uncertainty of the literature"))
        figure.legend(handles=handles, loc="outside upper center", ncols=min(5, len(handles)))
        return figure


def _dot(axes: Axes, value: float, sigma: float, at: float, method: str, flagged: bool) -> None:
    colour = look(method)["color"]
    axes.plot([value - sigma, value + sigma], [at, at], color=colour, linewidth=1.4)
    axes.plot([value], [at], "o", color=colour, markerfacecolor="white" if flagged else colour, markersize=5)


def _named(star: Star) -> str:
    notes = [star.note] if star.note else []
    if star.calibrates:
        notes.append("calibrates the lines")
    if not star.trusted:
        notes.append("consistency only")
    return "\n".join([star.name, *notes])


def _stacked(figure: Figure, grid: GridSpec, first: int, count: int) -> list[Axes]:
    """Rows of a grid with one axis of wavelengths, whose numbers stand below the last."""
    rows = [figure.add_subplot(grid[first])]
    rows += [figure.add_subplot(grid[first + k], sharex=rows[0]) for k in range(1, count)]
    for axes in rows[:-1]:
        axes.tick_params(labelbottom=False)
    return rows


def _draw_misfits(axes: Axes, fit: StarFit, shown: Sequence[int]) -> None:
    places = np.arange(len(fit.misfit))
    known = np.isfinite(fit.misfit)
    colours = [style.colour(1) if order in shown else "#9fb6c8" for order in places]
    axes.bar(places, np.where(known, fit.misfit, 0.0), color=colours, width=0.7)
    for order in places[~known]:
        axes.annotate("not used", (order, 0), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    if fit.noise_known:
        axes.axhline(1, color=style.OBSERVED, linewidth=0.8)
    axes.set_xticks(places, [f"{w[0]:.0f}–{w[-1]:.0f}" for w in fit.wave])
    axes.set(ylabel="reduced χ²" if fit.noise_known else "rms residual [%]", xlabel="order [Å]")
    axes.grid(axis="x", visible=False)


def _attended(wave: np.ndarray, maps: np.ndarray) -> list[int]:
    magnesium = _order_of(wave, 5172.68)
    peak = (maps.max(2) / maps.max((1, 2))[:, None]).sum(0)
    others = [order for order in np.argsort(peak)[::-1] if order != magnesium]
    return sorted([magnesium, *(int(order) for order in others[:1])])


def _telling(fit: StarFit) -> list[int]:
    magnesium = _order_of(fit.wave, 5172.68)
    worst = [k for k in np.argsort(np.nan_to_num(fit.misfit))[::-1] if k != magnesium]
    return sorted([magnesium, *(int(order) for order in worst[:1])])


def _order_of(wave: np.ndarray, place: float) -> int:
    return int(np.argmin(np.abs((wave[:, 0] + wave[:, -1]) / 2 - place)))


def _identified(axes: Axes, wave: np.ndarray, flux: np.ndarray, lines: Sequence[tuple[float, str]]) -> None:
    """A spectrum with the names of its lines above, moved apart where they would meet."""
    axes.plot(wave, flux, color=style.OBSERVED, linewidth=0.6)
    low, high = float(wave[0]), float(wave[-1])
    axes.set(xlim=(low, high), ylim=(0, 1.75))
    axes.set_yticks([0, 0.5, 1])
    inside = sorted((place, name) for place, name in lines if low < place < high)
    where = _apart(np.array([place for place, _ in inside]), (high - low) * 0.021, low, high)
    for (place, name), at in zip(inside, where, strict=True):
        axes.plot([place, place, at], [1.06, 1.16, 1.28], color="#777777", linewidth=0.7)
        axes.annotate(name, (at, 1.31), ha="center", va="bottom", rotation=90, fontsize=8)


def _apart(places: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Places in order, none closer than gap to its neighbour, as near to where they were as a few passes bring them."""
    at = places.astype(float).copy()
    for _ in range(200):
        close = gap - np.diff(at)
        if not (close > 1e-9).any():
            break
        push = np.where(close > 0, close / 2, 0.0)
        at[:-1] -= push
        at[1:] += push
        at = np.clip(at, low + gap / 2, high - gap / 2)
    return at


def _shade(axes: Axes, wave: np.ndarray, where: np.ndarray) -> None:
    """Grey where pixels are left out, runs of ten and more alone."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(int), [0]])))
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - first >= 10:
            axes.axvspan(wave[first], wave[stop - 1], color=style.GAP, linewidth=0, zorder=0)
