"""The section on flags: who is flagged, of the grid and of strangers, and what flags cannot see."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sciml.report import style
from sciml.report.page import Cell, Illustration, Section, Table
from sciml.stellar.flags import CONFIDENT, Flags
from sciml.stellar.paper import SHORT
from sciml.stellar.strangers import KINDS
from sciml.stellar.tables import name_of

IN_GRID, STRANGERS = 0.02, 0.95  # promised: at most, at least
_LEAST, _MOST = 0.4, 300.0  # of score over limit, drawn


def flag_section(experiment: str, scores: Mapping[str, Mapping[str, Any]], flags: Flags) -> Section:
    """scores: method -> keys of `flags.flag_scores`."""
    limits = next(iter(flags.thresholds.values()))
    told = (
        f"Limits were set on {limits.spectra:,} emulated stars with the emulator's own error added, none of them"
        f" scored; strangers were planted with seeds of their own. Apart are those at least {flags.detectable:.0f}"
        " standard deviations from the nearest spectrum of the grid, which χ² of all pixels shows in 95 % of cases; the"
        " others look like stars of the grid to any such test."
    )
    absent = [name for name, kind in KINDS.items() if kind.outside and name not in flags.strangers.kind]
    if absent:
        told += f" Left out, since they need other atmospheres than the models at hand: {', '.join(absent)}."
    return Section(
        f"Flags: {experiment}",
        [_verdict(scores), told, _confident(scores)],
        [_rates(scores), _kinds(scores), _picture(experiment, flags)],
    )


def _verdict(scores: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for key, words, kept in (
        ("in_grid", f"at most {IN_GRID:.0%} of spectra of the grid flagged", lambda share: share <= IN_GRID),
        ("strangers", f"at least {STRANGERS:.0%} of all strangers", lambda share: share >= STRANGERS),
        ("plain_strangers", "as many of those that differ from the grid", lambda share: share >= STRANGERS),
    ):
        shares = {name: s[f"flagged_{key}"] for name, s in scores.items() if s[f"flagged_{key}"] is not None}
        missed = [f"{name_of(name)} {100 * share:.1f} %" for name, share in shares.items() if not kept(share)]
        span = f"{100 * min(shares.values()):.1f} to {100 * max(shares.values()):.1f} %" if shares else "–"
        parts.append(f"{words}: {'missed by ' + ', '.join(missed) if missed else f'kept ({span})'}")
    return f"Flags, by method. Promised: {'; '.join(parts)}."


def _confident(scores: Mapping[str, Mapping[str, Any]]) -> str:
    own = []
    for name, s in scores.items():
        share = s["flagged_confidently_wrong"]
        own.append(f"{name_of(name)} {s['n_confidently_wrong']}" + ("" if share is None else f" ({share:.0%} flagged)"))
    return (
        f"Answers within the grid that are more than {CONFIDENT:g} of their own calibrated standard deviations from the"
        f" truth in some label: {', '.join(own)}. Of answers that were exchanged between stars, so that each is"
        f" confidently wrong, flags find {_spread(scores, 'flagged_liars')}."
    )


def _spread(scores: Mapping[str, Mapping[str, Any]], key: str) -> str:
    shares = [s[key] for s in scores.values() if s[key] is not None]
    if not shares:
        return "none, for there are none"
    low, high = 100 * min(shares), 100 * max(shares)
    return f"{low:.1f} %" if round(low, 1) == round(high, 1) else f"{low:.1f} to {high:.1f} %, by method"


def _rates(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    keys = ("in_grid", "strangers", "plain_strangers", "liars")
    others = list(next(iter(scores.values()))["flagged_by"]["snr"])
    rows = []
    for name, s in scores.items():
        cells = []
        for key in keys:
            share, (low, high) = s[f"flagged_{key}"], s[f"flagged_{key}_ci"]
            detail = "" if low is None else f"{100 * low:.1f} to {100 * high:.1f}; n = {s[f'n_{key}']:,}"
            cells.append(Cell("–" if share is None else f"{100 * share:.1f} %", detail))
        cells += [Cell(f"{100 * s['flagged_by']['snr'][other]:.1f} %") for other in others]
        rows.append([Cell(name_of(name)), *cells])
    header = ["flagged", "in the grid", "strangers", "strangers unlike the grid", "exchanged answers"]
    header += [f"in the grid, {'at nodes' if other == 'nodes' else f'SNR {other}'}" for other in others]
    return Table("Share of spectra flagged", header, rows, ["Small: 95 % interval over syntheses."])


def _kinds(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    first = next(iter(scores.values()))["flagged_by"]["kind"]
    rows = []
    for kind, counts in first.items():
        cells = [Cell(f"{counts['n_plain']} of {counts['n']}")]
        for s in scores.values():
            found = s["flagged_by"]["kind"][kind]
            plain = found["flagged_plain"]
            detail = "" if plain is None else f"{100 * plain:.0f} % of those unlike it"
            cells.append(Cell(f"{100 * found['flagged']:.0f} %", detail))
        rows.append([Cell(kind), *cells])
    header = ["strangers", "unlike the grid", *(SHORT.get(name, name) for name in scores)]
    return Table("Strangers flagged, by kind and method", header, rows)


def _picture(experiment: str, flags: Flags) -> Illustration:
    method = "chi2" if "chi2" in flags.outside else next(iter(flags.outside))
    return Illustration(
        f"{experiment.replace('_', '-')}-flags",
        flags_figure(flags.strangers.kind.tolist(), flags.distance, flags.outside[method].max(1), flags.detectable),
        f"{len(flags.distance)} strangers: their distance from the nearest spectrum of the grid, and the largest score"
        f" over its limit by answers of {name_of(method)}. Above the line they are flagged; shaded: no test of all"
        " pixels tells them from the grid.",
        "Dots of strangers by kind, rising from below the limit near the grid to far above it.",
    )


def flags_figure(kinds: Sequence[str], distance: np.ndarray, over: np.ndarray, detectable: float) -> Figure:
    """Score over limit (n,) against distance (n,) [standard deviations]."""
    with style.rc():
        figure = style.new_figure(7.2, 4.2)
        axes = figure.subplots()
        for number, kind in enumerate(dict.fromkeys(kinds)):
            of_kind = np.array([name == kind for name in kinds])
            axes.plot(
                np.maximum(distance[of_kind], 0.5),
                np.clip(over[of_kind], _LEAST, _MOST),
                "osD^v"[number // len(style.COLOURS) % 5],
                color=style.colour(number), markersize=4, alpha=0.8, linestyle="none", label=kind,
            )  # fmt: skip
        axes.axhline(1.0, color="black", linewidth=1)
        axes.axvspan(0.4, detectable, color="0.9", zorder=0)
        axes.set(xscale="log", yscale="log", xlim=(0.4, None), ylim=(0.8 * _LEAST, 1.2 * _MOST))
        axes.set(xlabel="distance from the grid [standard deviations]", ylabel="largest score over its limit")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure
