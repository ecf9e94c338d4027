"""Which answers are flagged, of spectra of the grid and of strangers, and how often flags are right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.core.seeds import seed_for
from sciml.metrics.bootstrap import draws, percentile_interval
from sciml.stellar.answers import Answers
from sciml.stellar.calibration_spectra import CalibrationSpectra, calibration_stars
from sciml.stellar.consistency import REASONS, Thresholds, excess, fit_thresholds
from sciml.stellar.experiments import Stars
from sciml.stellar.flag_steps import read_fits
from sciml.stellar.labels import LABELS
from sciml.stellar.results import Results, read_answers
from sciml.stellar.strangers import KINDS, detectable

CONFIDENT = 5.0  # standard deviations of an answer from which on it is confidently wrong
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Flags:
    """Of one experiment. thresholds: method -> limits, set on stars of the grid that are not scored. inside, outside:
    method -> (spectrum, 3) score over limit of each of REASONS, above 1 where flagged, of the scored spectra and of
    strangers; liars: method -> the same of scored spectra at continuous labels, each with another's answer. strangers:
    what they are; distance (n,): of each from the grid [sigmas]; detectable: from which distance on a test shows it.
    exchanged: whose answers liars gave.
    """

    thresholds: Mapping[str, Thresholds]
    inside: Mapping[str, np.ndarray]
    outside: Mapping[str, np.ndarray]
    liars: Mapping[str, np.ndarray]
    strangers: Stars
    distance: np.ndarray
    detectable: float
    exchanged: np.ndarray

    @property
    def plain(self) -> np.ndarray:
        """(n,) strangers that differ from all of the grid by more than noise."""
        return self.distance >= self.detectable


def read_flags(results: Results, which: CalibrationSpectra, fits: tuple[str, str], answers: Mapping[str, str]) -> Flags:
    """Flags of an experiment. fits: stores of fits to its scored spectra and to `which`; answers: method -> store of
    what it says of `which`."""
    (scored, _), (tried, away) = (read_fits(url) for url in fits)
    everyone = calibration_stars(which)
    learned, strange = np.arange(which.count), np.arange(which.count, len(which))
    continuous = results.stars.where("continuous")
    other = np.random.default_rng(seed_for(which.setup.seed, "liars")).permutation(len(continuous))
    thresholds, inside, outside, liars = {}, {}, {}, {}
    for name, url in answers.items():
        calibration = results.calibrations[name]
        given = calibration.apply(read_answers(url), everyone.snr)
        own = calibration.apply(results.answers[name], results.stars.snr)
        limits = thresholds[name] = fit_thresholds(tried.select(learned).against(given.select(learned)))
        inside[name] = excess(scored.against(own), limits)
        outside[name] = excess(tried.select(strange).against(given.select(strange)), limits)
        liars[name] = excess(scored.select(continuous).against(own.select(continuous[other])), limits)
    apart = np.array([KINDS[kind].outside for kind in everyone.kind[strange]])  # numbers of another set
    stars = Stars(
        everyone.kind[strange],
        everyone.parameters[strange],
        everyone.snr[strange],
        np.where(apart, -2 - everyone.model[strange], everyone.model[strange]),
    )
    least = detectable(int(which.setup.used().sum()))
    return Flags(thresholds, inside, outside, liars, stars, away[strange], least, other)


def flag_scores(flags: Flags, results: Results, seed: int = 0) -> dict[str, dict[str, Any]]:
    """method -> keys of metrics.json.

    Shares with intervals over syntheses: flagged_in_grid (continuous labels, the experiment's SNR), flagged_strangers,
    flagged_plain_strangers (those that differ from all of the grid by more than noise), flagged_liars (answers that
    were exchanged between stars and are CONFIDENT sigmas wrong); n_ of each. n_confidently_wrong: own answers so wrong,
    in the grid, and flagged_confidently_wrong. flagged_by: share in the grid for each reason, SNR and node, and of
    strangers by kind, all and plain ones.
    """
    truth, at = results.truth("continuous"), results.stars.where("continuous")
    own = results.calibrated("continuous")
    out = {}
    for name in flags.thresholds:
        over = flags.inside[name] > 1
        caught, found = (flags.outside[name] > 1).any(1), own[name]
        wrong = _confidently_wrong(found, truth.labels)
        lying = _confidently_wrong(found.select(flags.exchanged), truth.labels)
        confident = over[at].any(1)[wrong]
        out[name] = (
            _rate("in_grid", over[at].any(1), truth.model, seed)
            | _rate("strangers", caught, flags.strangers.model, seed)
            | _rate("plain_strangers", caught[flags.plain], flags.strangers.model[flags.plain], seed)
            | _rate("liars", (flags.liars[name] > 1).any(1)[lying], truth.model[lying], seed)
            | {
                "n_confidently_wrong": int(wrong.sum()),
                "flagged_confidently_wrong": float(confident.mean()) if len(confident) else None,
                "flagged_by": {
                    "reason": dict(zip(REASONS, over[at].mean(0).tolist(), strict=True)),
                    "snr": _by_snr(over.any(1), results),
                    "kind": _by_kind(caught, flags),
                },
            }
        )
    return out


def _confidently_wrong(answers: Answers, truth: np.ndarray) -> np.ndarray:
    """(n,) whether some label is CONFIDENT of its own standard deviations off."""
    return (np.abs(answers.mean - truth[:, : len(LABELS)]) > CONFIDENT * answers.sigma).any(1)


def _by_snr(over: np.ndarray, results: Results) -> dict[str, float]:
    others = results.stars.where("other_snr")
    ratios = results.stars.snr[others]
    found = {f"{snr:g}": float(over[others[ratios == snr]].mean()) for snr in np.unique(ratios)}
    nodes = results.stars.where("node")
    return found | ({"nodes": float(over[nodes].mean())} if len(nodes) else {})


def _by_kind(caught: np.ndarray, flags: Flags) -> dict[str, dict[str, Any]]:
    found = {}
    for kind in dict.fromkeys(flags.strangers.kind.tolist()):
        of_kind = flags.strangers.kind == kind
        plain = of_kind & flags.plain
        found[kind] = {
            "n": int(of_kind.sum()),
            "flagged": float(caught[of_kind].mean()),
            "n_plain": int(plain.sum()),
            "flagged_plain": float(caught[plain].mean()) if plain.any() else None,
        }
    return found


def _rate(what: str, flagged: np.ndarray, model: np.ndarray, seed: int) -> dict[str, Any]:
    """Share of flagged (n,) and its interval over syntheses (n,)."""
    if not len(flagged):
        return {f"flagged_{what}": None, f"flagged_{what}_ci": [None, None], f"n_{what}": 0}
    return {
        f"flagged_{what}": float(flagged.mean()),
        f"flagged_{what}_ci": interval(flagged, model, seed),
        f"n_{what}": len(flagged),
    }


def interval(flagged: np.ndarray, model: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> list[float]:
    """95 % interval of a share over draws of syntheses (n,). Where all or none of n syntheses agree, draws would too:
    the other end is then where n alike are seen once in forty times, 1 - 0.025^(1/n)."""
    present, place = np.unique(model, return_inverse=True)
    share = float(flagged.mean())
    if share in (0.0, 1.0):
        far = 1 - 0.025 ** (1 / len(present))
        return [0.0, far] if share == 0 else [1 - far, 1.0]
    counts = draws(np.arange(len(present)), resamples=resamples, seed=seed, kind="syntheses")
    above, below = (np.bincount(place, weights) for weights in (flagged.astype(float), np.ones(len(flagged))))
    return [float(end) for end in percentile_interval((counts @ above) / (counts @ below))]


def thresholds_json(flags: Mapping[str, Flags]) -> dict[str, dict[str, Any]]:
    """experiment -> method -> thresholds as plain values, for spectra that come later."""
    return {
        experiment: {name: limits.to_json() for name, limits in found.thresholds.items()}
        for experiment, found in flags.items()
    }
