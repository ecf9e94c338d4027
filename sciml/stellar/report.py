"""Scores and sections of the page: answers beside the paper's, who wins, leaks, real stars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sciml.report.page import Illustration, Section
from sciml.report.results import Finding
from sciml.stellar.answers import Answers, Truth
from sciml.stellar.figures import (
    coverage_figure,
    ratio_figure,
    residuals_figure,
    sigmas_figure,
    snr_figure,
)
from sciml.stellar.labels import LABELS, UNITS
from sciml.stellar.paper import MEAN_ABSOLUTE_ERRORS, NETWORKS, SHORT
from sciml.stellar.scores import COOLEST_TRUSTED, LEAK, leaks, node_ratio, score_rows, summarise
from sciml.stellar.tables import (
    DIGITS,
    NAMES,
    coverage_table,
    error_table,
    label_coverage_table,
    name_of,
    node_table,
    ratio_table,
    span_of,
)

TITLES = {
    "snr20": "The whole grid at SNR 20",
    "snr100_limited": "4000 to 6000 K at SNR 100",
    "observed": "Synthetic stars with all that befalls real spectra",
}
SNAPPED = 0.95  # a ratio whose interval lies below it is named
SHOWN = ("chi2", "ridge", "resnet", "dae_attention", "dae_attention_full", "sciml")  # in figures, where there are many
MOST_SHOWN = 6


def finding(
    experiment: str,
    truth: Truth,
    answers: Mapping[str, Answers],
    paragraphs: Sequence[str] = (),
    *,
    nodes: tuple[Truth, Mapping[str, Answers]] | None = None,
    scored: Mapping[str, Mapping[str, Any]] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Scores of an experiment's methods on the same spectra, and its sections.

    truth, answers: spectra at continuous labels; nodes: the same at the grid's nodes; paragraphs: what was trained and
    made; scored: more keys of each model (training times, flags), joined to its scores.
    """
    scores = summarise(truth, answers, resamples=resamples, seed=seed)
    table = score_rows(experiment, truth, answers)
    if nodes is not None:
        at_nodes = summarise(*nodes, resamples=resamples, seed=seed)
        for name in scores:
            pair = (nodes[0], nodes[1][name]), (truth, answers[name])
            part = {key: v for key, v in at_nodes[name].items() if key not in ("by", "ci_level", "ci_blocks", "kind")}
            scores[name] |= node_ratio(*pair, resamples=resamples, seed=seed) | {"nodes": part}
        table = pd.concat([table, score_rows(experiment, *nodes)], ignore_index=True)
    scores = {name: summary | dict((scored or {}).get(name, {})) for name, summary in scores.items()}
    main = Section(
        TITLES.get(experiment, experiment),
        [verdict(scores), *paragraphs],
        [
            ratio_table(scores, caption=TITLES.get(experiment, experiment)),
            *_figures(experiment, truth, answers, scores),
        ],
    )
    return Finding(experiment, table, scores, [main, leak_section(experiment, scores)])


def verdict(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Who errs least, the plain fit included, and how far all are from what photons allow."""
    size = {name: np.mean([np.log(s[f"mae_{label}"]) for label in LABELS]) for name, s in scores.items()}
    order = sorted(scores, key=lambda name: size[name])
    best = order[0]
    some = scores[best]
    text = (
        f"{some['n']:,} spectra of {some['n_models']:,} syntheses: {name_of(best)} errs least, by {_errors(some)} in"
        " the mean."
    )
    networks = [name for name in order if name in NETWORKS]
    if networks and "chi2" in scores:
        text += " " + _duel(networks[0], scores)
    for name in dict.fromkeys([*networks[:1], *(n for n in ("sciml", "chi2") if n in scores)]):
        ratios = ", ".join(_with_interval(scores[name], f"crb_ratio_{label}", 2, NAMES[label]) for label in LABELS)
        text += f" RMSE over the Cramér-Rao bound of {name_of(name)}: {ratios}."
    return text


def _duel(network: str, scores: Mapping[str, Mapping[str, Any]]) -> str:
    share = scores[network]["fraction_better_than"].get("chi2")
    low, high = scores[network]["fraction_better_than_ci"]["chi2"]
    if share is None or low is None:
        return f"{name_of(network)} is the best network."
    span = f"{share:.0%} of spectra ({low:.0%} to {high:.0%})"
    if high < 0.5:
        return f"The χ² fit wins: the best network, {name_of(network)}, is nearer to the truth in only {span}."
    if low > 0.5:
        return f"The best network, {name_of(network)}, wins over the χ² fit: it is nearer to the truth in {span}."
    return f"Neither wins: the best network, {name_of(network)}, is nearer to the truth than the χ² fit in {span}."


def paper_section(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Section:
    """Tables 2 and 3 with ours. scores: experiment -> model -> summary."""
    blocks = [error_table(scores)]
    beaten, compared = 0, 0
    for row in MEAN_ABSOLUTE_ERRORS:
        summary = scores.get(row.experiment, {}).get(row.method)
        if summary:
            pairs = [(summary[f"mae_{label}"], v) for label, v in zip(LABELS, row.values, strict=True) if v is not None]
            beaten, compared = beaten + sum(a < b for a, b in pairs), compared + len(pairs)
    text = (
        f"Of {compared} mean absolute errors that the paper prints and this run repeats, {beaten} are smaller here."
        if compared
        else "This run repeats no row of the paper's table 2."
    )
    text += (
        " The spectra are not the paper's: its 5,667 test spectra are a fifth of its grid's nodes; here every scored"
        " spectrum is made from a direct synthesis at labels that no training saw."
    )
    if "snr20" in scores:
        blocks += [coverage_table(scores["snr20"]), label_coverage_table(scores["snr20"])]
    return Section("Beside the paper", [text], blocks)


def leak_section(experiment: str, scores: Mapping[str, Mapping[str, Any]]) -> Section:
    """Regions where a method is better than photons allow, and methods that know nodes better than other stars."""
    found = leaks(scores)
    open_leaks = [leak for leak in found if not leak.explained]
    if open_leaks:
        named = "; ".join(
            f"{name_of(k.model)}, {NAMES[k.label]} at {k.region}: {k.ratio:.2f} ({k.low:.2f} to {k.high:.2f})"
            for k in open_leaks
        )
        text = (
            f"A leak to be found: RMSE lies below {LEAK:g} of the Cramér-Rao bound, and of the Bayesian, for {named}."
        )
    else:
        text = f"No leak: no region's interval of RMSE over the bound lies below {LEAK:g} without the prior's help."
    if len(found) > len(open_leaks):
        text += (
            f" In {len(found) - len(open_leaks)} more cases it lies below the Cramér-Rao bound and not below the"
            " Bayesian: knowing where the grid ends is enough for that."
        )
    text += " " + _snapping(scores)
    blocks = [node_table(scores)] if any("node_ratio_teff" in s for s in scores.values()) else []
    return Section(f"Leaks and snapping: {TITLES.get(experiment, experiment)}", [text], blocks)


def _snapping(scores: Mapping[str, Mapping[str, Any]]) -> str:
    named = []
    for kind, words in (("snap_ratio", "answers sit nearer to nodes than truths do"), ("node_ratio", "nodes err less")):
        for name, summary in scores.items():
            for label in LABELS:
                high = (summary.get(f"{kind}_{label}_ci") or [None, None])[1]
                if high is not None and high < SNAPPED:
                    ratio = summary[f"{kind}_{label}"]
                    named.append(f"{name_of(name)}, {NAMES[label]} ({words}: {ratio:.2f})")
    if not named:
        return "No method snaps to the grid's nodes."
    return f"Snapping to nodes: {'; '.join(named)}."


def limits_section(paragraphs: Sequence[str] = ()) -> Section:
    """What the numbers do not say."""
    return Section(
        "Limits",
        [
            f"Below {COOLEST_TRUSTED:.0f} K internal consistency only: the list of lines lacks C2 and TiO, which real"
            " stars show there; synthetic spectra score well because they lack them too.",
            "All models are LTE and one-dimensional, of a scaled solar mixture unless alpha is free. v sin i is"
            " rotation where macroturbulence is fitted beside it or none is meant; else it is total broadening. Below"
            " 2 km/s the instrument hides it and the answer is an upper limit.",
            *paragraphs,
        ],
    )


def snr_section(
    by_snr: Mapping[str, Mapping[float, Mapping[str, Any]]],
    trained: float,
    best: Mapping[float, np.ndarray],
    experiment: str,
) -> Section:
    """Errors at other SNRs than that of training. by_snr: method -> SNR -> summary; best: SNR -> (4,) least mean
    absolute error."""
    others = ", ".join(f"{x:g}" for x in sorted({x for curve in by_snr.values() for x in curve}))
    picture = Illustration(
        f"{experiment.replace('_', '-')}-snr",
        snr_figure(by_snr, (trained, trained), best=best, labels=SHORT),
        "Mean absolute error against SNR with 95 % intervals; grey: SNR of training.",
        "Falling curves of mean absolute error by SNR, a panel for each label.",
    )
    told = f"The paper's networks are trained at SNR {trained:g}; all methods are scored at {others}."
    return Section(f"Other SNRs: {experiment}", [told], [picture])


def _figures(
    experiment: str, truth: Truth, answers: Mapping[str, Answers], scores: Mapping[str, Mapping[str, Any]]
) -> list[Illustration]:
    shown = {name: answers[name] for name in _shown(list(answers))}
    stem, summaries = experiment.replace("_", "-"), {name: scores[name] for name in shown}
    ours = next((name for name in ("sciml", "dae_attention", "chi2") if name in answers), next(iter(answers)))
    count = f"{len(truth):,} spectra"
    made = [
        ("ratio", ratio_figure(summaries, labels=SHORT),
         f"RMSE over the Cramér-Rao bound by region, with 95 % intervals; {count}. Shaded: better than photons allow.",
         "Dots with intervals by region and method, a panel for each label."),
        ("coverage", coverage_figure(truth, shown, labels=SHORT),
         f"Observed less nominal coverage of central intervals and of the 4-D ellipsoid, {count}.",
         "Curves about zero of each method, a panel for each label and one for the ellipsoid."),
        ("residuals", residuals_figure(truth, answers[ours]),
         f"Errors of {name_of(ours)} against the true labels (figure 3 of the paper), {count}; largest at the edge.",
         "Sixteen scatter plots of errors of four labels against four labels."),
        ("sigmas", sigmas_figure(truth, answers[ours]),
         f"Standard deviations of {name_of(ours)} (figure 4 of the paper) beside the Cramér-Rao bound, {count}.",
         "Sixteen scatter plots of standard deviations against labels with two median curves."),
    ]  # fmt: skip
    if any(s[f"bayes_ratio_{label}"] is not None for s in summaries.values() for label in LABELS):
        picture = ratio_figure(summaries, key="bayes_ratio", labels=SHORT)
        caption = "The same over the Bayesian bound, of spectra that do not tell the label by themselves."
        made.append(("bayes", picture, caption, "Dots with intervals by region and method, a panel for each label."))
    return [Illustration(f"{stem}-{name}", figure, caption, alt) for name, figure, caption, alt in made]


def _shown(methods: Sequence[str]) -> list[str]:
    if len(methods) <= MOST_SHOWN:
        return list(methods)
    return [name for name in SHOWN if name in methods]


def _errors(summary: Mapping[str, Any]) -> str:
    return ", ".join(f"{summary[f'mae_{label}']:.{DIGITS[label]}f} {UNITS[label]} ({NAMES[label]})" for label in LABELS)


def _with_interval(summary: Mapping[str, Any], key: str, digits: int, name: str) -> str:
    if summary[key] is None:
        return f"{name} –"
    span = span_of(summary[f"{key}_ci"], digits)
    return f"{name} {summary[key]:.{digits}f}" + (f" ({span})" if span else "")
