"""Real stars held against the literature: scores and the part of a page that shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sciml.report.page import Illustration, Section, Table
from sciml.report.results import Finding
from sciml.stellar.labels import LABELS
from sciml.stellar.paper import SHORT
from sciml.stellar.scores import COOLEST_TRUSTED
from sciml.stellar.spectrum_figures import Star, StarFit, star_figure, stars_figure
from sciml.stellar.tables import name_of, observed_table, sun_table

TITLE = "Known stars"


def observed_finding(
    stars: Sequence[Star], fits: Sequence[StarFit] = (), sun: Sequence[Star] = (), paragraphs: Sequence[str] = ()
) -> Finding:
    """Real stars, perhaps several spectra of one. Scored: those that calibrate no line, of COOLEST_TRUSTED and hotter.
    sun: what table 4 shows."""
    scored = [star for star in stars if star.trusted and not star.calibrates]
    methods = list(dict.fromkeys(method for star in stars for method in star.answers))
    scores = {method: observed_scores(scored, method) for method in methods}
    rows = []
    for star in stars:
        for method, (mean, sigma) in star.answers.items():
            row: dict[str, Any] = {
                "experiment": "observed", "model": method, "unit": star.name, "n": 1, "scored": star in scored,
                "flags": ", ".join(star.flags.get(method, ())),
            }  # fmt: skip
            for i, label in enumerate(LABELS):
                row |= {f"true_{label}": star.literature[i], f"found_{label}": mean[i], f"sigma_{label}": sigma[i]}
            rows.append(row)
    blocks: list[Illustration | Table] = [observed_table(scores)] if scored else []
    blocks.append(
        Illustration(
            "observed-stars", stars_figure(stars, labels=SHORT),
            f"Answers less literature of {len(stars)} real spectra, one standard deviation; grey: the literature's.",
            "Dots with error bars of each method, by star and label.",
        )
    )  # fmt: skip
    if sun:
        blocks.append(sun_table(sun))
    blocks += [
        Illustration(
            f"observed-fit-{number}", star_figure(fit),
            f"{fit.name}: chi-square of each order, and spectrum, model of {name_of(fit.method)} and residual.",
            "Bars of chi-square by order above spectra with model and residual.",
        )
        for number, fit in enumerate(fits)
    ]  # fmt: skip
    section = Section(TITLE, [_verdict(scores, scored), *paragraphs], blocks)
    return Finding("observed", pd.DataFrame(rows), scores, [section])


def observed_scores(stars: Sequence[Star], method: str) -> dict[str, Any]:
    """median_error_*, median_sigma_*, mae_*, coverage1_* of one method over stars, of several spectra of one star their
    mean; n stars, n_spectra, n_flagged stars. Labels without literature are left out; flagged answers count like
    others."""
    answered = [star for star in stars if method in star.answers]
    flagged = {star.of for star in answered if star.flags.get(method)}
    out: dict[str, Any] = {
        "n": len({star.of for star in answered}), "n_spectra": len(answered), "n_flagged": len(flagged)
    }  # fmt: skip
    for i, label in enumerate(LABELS):
        known = [star for star in answered if np.isfinite(star.literature[i])]
        rows = pd.DataFrame(
            {
                "star": [star.of for star in known],
                "error": [abs(star.answers[method][0][i] - star.literature[i]) for star in known],
                "sigma": [star.answers[method][1][i] for star in known],
                "around": [np.nan_to_num(star.uncertainty[i]) for star in known],
            }
        )
        rows["inside"] = (rows["error"] <= np.hypot(rows["sigma"], rows["around"])).astype(float)
        each = rows.groupby("star").mean()
        values = {
            "median_error": each["error"].median(),
            "median_sigma": each["sigma"].median(),
            "mae": each["error"].mean(),
            "coverage1": each["inside"].mean(),
        }
        out |= {f"{key}_{label}": float(value) if len(each) else None for key, value in values.items()}
    return out


def _verdict(scores: Mapping[str, Mapping[str, Any]], stars: Sequence[Star]) -> str:
    known = {m: s for m, s in scores.items() if s["median_error_teff"] is not None}
    if not known:
        return (
            f"No real star of {COOLEST_TRUSTED:.0f} K or hotter that did not calibrate the lines: nothing is scored;"
            " the figure shows what there is."
        )
    parts = [
        f"{name_of(m)} errs by {s['median_error_teff']:.0f} K, {s['median_error_logg'] or 0:.2f} dex and"
        f" {s['median_error_feh'] or 0:.2f} dex in the median ({s['n_flagged']} of {s['n']} flagged)"
        for m, s in sorted(known.items(), key=lambda item: item[1]["median_error_teff"])
    ]
    counted = len({star.of for star in stars})
    return f"Against the literature of {counted} real stars (Teff, log g, [M/H]): {'; '.join(parts)}."
