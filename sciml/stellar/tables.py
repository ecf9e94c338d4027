"""Tables of the page: the paper's with ours beside them, ratios to what photons allow, nodes, real stars."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sciml.report.comparison import Column, comparison_table
from sciml.report.page import Cell, Table
from sciml.stellar.labels import LABELS, UNITS
from sciml.stellar.paper import COVERAGE, MEAN_ABSOLUTE_ERRORS, METHODS, OURS, SUN, PaperRow
from sciml.stellar.scores import COOLEST_TRUSTED, TRUSTED
from sciml.stellar.spectrum_figures import Star

NAMES = {"teff": "Teff", "logg": "log g", "feh": "[M/H]", "vsini": "v sin i"}
DIGITS = {"teff": 1, "logg": 3, "feh": 3, "vsini": 2}
BASELINES = ("chi2", "ridge")


def error_table(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """Table 2: mean absolute errors, ours above, the paper's in small type below. scores: experiment -> model ->
    summary."""
    rows = []
    for row in MEAN_ABSOLUTE_ERRORS:
        summary = scores.get(row.experiment, {}).get(row.method)
        rows.append([Cell(row.title), Cell(str(row.snr)), *_beside(row, summary)])
    for experiment, snr, where in (("snr20", "20", ""), ("snr100_limited", "100", ", 4000–6000 K")):
        for method in OURS:
            summary = scores.get(experiment, {}).get(method)
            if summary:
                cells = [_score_cell(summary, f"mae_{label}", DIGITS[label]) for label in LABELS]
                rows.append([Cell(name_of(method) + where, "not in the paper"), Cell(snr), *cells])
    for method, summary in scores.get("snr100_limited", {}).items():
        hotter = summary["by"]["trust"].get(TRUSTED)
        if hotter:
            cells = [_score_cell(hotter, f"mae_{label}", DIGITS[label]) for label in LABELS]
            title = f"{name_of(method)}, {COOLEST_TRUSTED:.0f}–6000 K"
            rows.append([Cell(title, "not in the paper"), Cell("100"), *cells])
    header = ["mean absolute error", "SNR", *(f"{NAMES[label]} [{UNITS[label]}]" for label in LABELS)]
    note = (
        "Large: this run, with the 95 % interval of a bootstrap over syntheses where the paper has no number; small:"
        " the paper's own number on its own spectra. Rows of other authors are the paper's citations. 4000–6000 K"
        f" includes stars below {COOLEST_TRUSTED:.0f} K, where only internal consistency is shown."
    )
    return Table("Table 2 of the paper with ours", header, rows, [note])


def coverage_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """Table 3: shares within one and two standard deviations (mean over labels), of the ellipsoid, and CRPS over that
    of the fit."""
    header = ["share of truths", "within 1 σ", "within 2 σ", "4-D ellipsoid, 68.3 %", "4-D ellipsoid, 95.4 %"]
    header += [f"CRPS / χ²'s, {NAMES[label]}" for label in LABELS]
    rows = [[Cell("a Gaussian"), Cell("68.3 %"), Cell("95.4 %"), Cell("68.3 %"), Cell("95.4 %"), *[Cell("1")] * 4]]
    for method in METHODS:
        if method not in scores:
            continue
        s, cells = scores[method], []
        for i, key in enumerate(("coverage1", "coverage2", "ellipsoid1", "ellipsoid2")):
            detail = span_of(s.get(f"{key}_ci"), 1, 100.0)
            if i < 2 and method in COVERAGE:
                detail += f"; paper {100 * COVERAGE[method][i]:.1f} %"
            cells.append(Cell(f"{100 * s[key]:.1f} %", detail))
        for label in LABELS:
            value = s["crps_ratio"].get("chi2", {}).get(label)
            cells.append(Cell("–" if value is None else f"{value:.2f}"))
        rows.append([Cell(name_of(method)), *cells])
    note = "After calibration on a split of its own; shares are means over the four labels, SNR 20."
    return Table("Table 3 of the paper with ours", header, rows, [note])


def label_coverage_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """Shares within one and two standard deviations, label by label."""
    keys = [f"coverage{k}_{label}" for k in (1, 2) for label in LABELS]
    header = ["share of truths [%]", *(f"{NAMES[label]}, {k} σ" for k in (1, 2) for label in LABELS)]
    rows = [
        [Cell(name_of(m)), *(Cell(f"{100 * s[key]:.1f}", span_of(s.get(f"{key}_ci"), 1, 100.0)) for key in keys)]
        for m, s in scores.items()
    ]
    return Table("Coverage by label", header, rows, ["A Gaussian: 68.3 and 95.4 %."])


def ratio_table(scores: Mapping[str, Mapping[str, Any]], *, caption: str) -> Table:
    """RMSE over the bounds, with intervals, the nearest to 1 in bold."""
    columns = [Column(f"crb_ratio_{label}", f"{NAMES[label]}, / Cramér-Rao", 1.0) for label in LABELS]
    columns += [Column(f"bayes_ratio_{label}", f"{NAMES[label]}, / Bayesian", 1.0) for label in LABELS]
    some = next(iter(scores.values()))
    table = comparison_table(
        {name: {"n_months": 0, **summary} for name, summary in scores.items()},
        caption=f"{caption}: RMSE over what photons allow",
        baselines=[name for name in BASELINES if name in scores],
        labels=METHODS,
        columns=columns,
    )
    told = ", ".join(f"{NAMES[label]} {some[f'n_told_{label}']:,}" for label in LABELS)
    note = (
        f"{some['n']:,} spectra of {some['n_models']:,} syntheses. Cramér-Rao: spectra with v sin i of 2 km/s and more"
        f" whose bound is below a sixth of the label's range ({told}). Bayesian, with the grid's prior: the others."
        " Intervals: 95 %, bootstrap over syntheses."
    )
    return replace(table, notes=[note])


def node_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """Errors at nodes over those between them, and whether answers sit on nodes."""
    header = ["", *(f"{NAMES[label]}, nodes / between" for label in LABELS), *(f"{NAMES[x]}, snapping" for x in LABELS)]
    rows = [
        [
            Cell(name_of(name)),
            *(_score_cell(s, f"{kind}_{x}", 2) for kind in ("node_ratio", "snap_ratio") for x in LABELS),
        ]
        for name, s in scores.items()
    ]
    notes = [
        "First four: RMSE over the Cramér-Rao bound at nodes, over the same between nodes; below 1 a method knows nodes"
        " better. Last four: distance of answers from their nearest node over that of the truths; 0 where they snap."
    ]
    return Table("Nodes and what lies between", header, rows, notes)


def sun_table(stars: Sequence[Star]) -> Table:
    """Table 4: answers for the Sun, ours below the paper's."""
    rows = [[Cell(title), *_plus_minus(mean, sigma), Cell("–")] for title, mean, sigma in SUN]
    for star in stars:
        rows.append([Cell(f"{star.name}, literature"), *_plus_minus(star.literature, star.uncertainty), Cell("–")])
        mark = "lines calibrated on the Sun" if star.calibrates else star.note
        for method, (mean, sigma) in star.answers.items():
            flags = ", ".join(star.flags.get(method, ())) or "none"
            rows.append([Cell(name_of(method), mark), *_plus_minus(mean, sigma), Cell(flags)])
    header = ["the Sun", *(f"{NAMES[label]} [{UNITS[label]}]" for label in LABELS), "flags"]
    return Table("Table 4 of the paper with ours", header, rows, ["One standard deviation each."])


def observed_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """Median absolute errors against literature, the median sigma in small type."""
    rows = []
    for method, s in scores.items():
        cells = []
        for label in LABELS:
            error, sigma = s[f"median_error_{label}"], s[f"median_sigma_{label}"]
            digits = DIGITS[label]
            cells.append(Cell("–") if error is None else Cell(f"{error:.{digits}f}", f"sigma {sigma:.{digits}f}"))
        rows.append([Cell(name_of(method)), *cells, Cell(f"{s['n_flagged']} of {s['n']}")])
    header = ["median absolute error", *(f"{NAMES[label]} [{UNITS[label]}]" for label in LABELS), "flagged"]
    note = (
        f"Stars of {COOLEST_TRUSTED:.0f} K and hotter that did not calibrate the list of lines. Small: median of the"
        " standard deviations that were given. Flagged answers count."
    )
    return Table("Real stars against the literature", header, rows, [note])


def _beside(row: PaperRow, summary: Mapping[str, Any] | None) -> list[Cell]:
    cells = []
    for label, value in zip(LABELS, row.values, strict=True):
        theirs = "" if value is None else f"paper {value:.{DIGITS[label]}f}"
        if summary is None:
            cells.append(Cell("–", theirs))
        else:
            ours = summary[f"mae_{label}"]
            cells.append(Cell(f"{ours:.{DIGITS[label]}f}", theirs, best=value is not None and ours < value))
    return cells


def name_of(method: str) -> str:
    """How the page calls a method."""
    return METHODS.get(method, method)


def span_of(interval: Sequence[float | None] | None, digits: int, factor: float = 1.0) -> str:
    """An interval in words, empty where there is none."""
    if not interval or interval[0] is None or interval[1] is None:
        return ""
    return f"{factor * interval[0]:.{digits}f} to {factor * interval[1]:.{digits}f}"


def _score_cell(summary: Mapping[str, Any], key: str, digits: int) -> Cell:
    value = summary.get(key)
    return Cell("–") if value is None else Cell(f"{value:.{digits}f}", span_of(summary.get(f"{key}_ci"), digits))


def _plus_minus(mean: Sequence[float] | np.ndarray, sigma: Sequence[float] | np.ndarray | None) -> list[Cell]:
    cells = []
    for i, label in enumerate(LABELS):
        if not np.isfinite(mean[i]):
            cells.append(Cell("–"))
            continue
        known = sigma is not None and np.isfinite(sigma[i])
        spread = f" ± {sigma[i]:.{min(DIGITS[label], 2)}f}" if known else ""
        cells.append(Cell(f"{mean[i]:.{DIGITS[label]}f}{spread}".replace("-", "−")))
    return cells
