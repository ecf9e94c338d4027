"""Scores of methods that answer with Gaussians of the labels, against the truth and against what photons allow.

Every score is a function of sums over spectra, so that one definition serves all spectra, a region, and a draw of the
bootstrap, which takes whole syntheses.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from sciml.core.errors import InputError
from sciml.metrics.bootstrap import draws, percentile_interval
from sciml.metrics.ensembles import normal_crps
from sciml.stellar.answers import Answers, Truth, checked, mahalanobis
from sciml.stellar.labels import COUNT, LABELS, NODES, RANGES, UNRESOLVED_VSINI

WITHIN = {1: 0.6826894921370859, 2: 0.9544997361036416}  # of a Gaussian, so many standard deviations from its mean
TEFF_BANDS = (3500, 4500, 5500, 6500, 8000, 9750)  # [K]
METAL_POOR = -1.0  # [dex]
COOLEST_TRUSTED = 4250.0  # [K] below it the list of lines lacks C2 and TiO
TRUSTED, UNTRUSTED = "4250 K and hotter", "below 4250 K: internal consistency only"
LEAK = 0.95  # a ratio to the bound whose interval lies below it
FEWEST_FOR_LEAK = 30  # spectra of a region; an interval from fewer is too narrow to accuse
REFERENCES = ("chi2", "ridge")

# sums over spectra of one label each; `known` are spectra that tell the label, `faint` the others
STATISTICS = (
    "n", "size", "error", "square", "crps", "hit1", "hit2", "inside1", "inside2", "flagged",
    "known_square", "known_bound", "known_bayes", "faint_square", "faint_bayes", "known",
)  # fmt: skip
_RATIOS = {  # score of a label -> sums above and below, and whether the root is taken
    "mae": ("size", "n", False),
    "rmse": ("square", "n", True),
    "bias": ("error", "n", False),
    "crps": ("crps", "n", False),
    "crb_ratio": ("known_square", "known_bound", True),
    "informed_ratio": ("known_square", "known_bayes", True),
    "bayes_ratio": ("faint_square", "faint_bayes", True),
    "coverage1": ("hit1", "n", False),
    "coverage2": ("hit2", "n", False),
}
_WHOLE = {"ellipsoid1": "inside1", "ellipsoid2": "inside2", "flagged": "flagged"}  # one number for all labels
_OF_STRATA = ("mae", "crps", "crb_ratio", "informed_ratio", "bayes_ratio", "coverage1", "coverage2")


@dataclass(frozen=True)
class Leak:
    """A region where a method errs less than the Cramer-Rao bound allows. ratio, low, high: RMSE over that bound;
    informed: RMSE over the Bayesian bound of the same spectra, and the upper end of its interval."""

    model: str
    label: str
    region: str
    ratio: float
    low: float
    high: float
    informed: float
    informed_high: float

    @property
    def explained(self) -> bool:
        """Whether knowing the grid's limits is enough for it: no leak then."""
        return self.informed_high >= LEAK


def told(truth: Truth) -> np.ndarray:
    """(n, 4) labels that a spectrum tells: v sin i resolved and bound below a sixth of the label's range."""
    span = np.array([RANGES[name][1] - RANGES[name][0] for name in LABELS])
    resolved = truth.parameters[:, LABELS.index("vsini")] >= UNRESOLVED_VSINI
    return resolved[:, None] & (truth.bound < span / 6)


def score_rows(experiment: str, truth: Truth, answers: Mapping[str, Answers]) -> pd.DataFrame:
    """scores.parquet of an experiment: one row a method and spectrum.

    Columns: experiment model unit synthesis kind snr n, and of each label true_* found_* sigma_* error_* crps_* bound_*
    bayes_*, chi_square (of the four labels).
    """
    checked(truth, answers)
    parts = []
    for name, found in answers.items():
        columns: dict[str, Any] = {
            "experiment": experiment, "model": name, "unit": np.arange(len(truth)), "synthesis": truth.model,
            "kind": truth.kind, "snr": truth.snr, "n": 1, "chi_square": mahalanobis(truth, found),
        }  # fmt: skip
        error = found.mean - truth.labels
        values = {
            "true": truth.labels, "found": found.mean, "sigma": found.sigma, "error": error,
            "crps": normal_crps(error, found.sigma), "bound": truth.bound, "bayes": truth.bayes,
        }  # fmt: skip
        columns |= {f"{key}_{label}": v[:, i] for key, v in values.items() for i, label in enumerate(LABELS)}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def summarise(
    truth: Truth, answers: Mapping[str, Answers], *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """`scores.<experiment>` of metrics.json: model -> key -> value, ready for JSON (undefined is None).

    Keys, each with `<key>_ci: [lo, hi]` at `level`, for each label: mae rmse bias crps [its unit], coverage1 coverage2
    (also their means over labels), crb_ratio (RMSE over the root mean square of the Cramer-Rao bound, spectra `told`),
    informed_ratio (over the Bayesian bound, the same spectra), bayes_ratio (over it, the other spectra); ellipsoid1
    ellipsoid2 (truths in the ellipsoid that 68.27 and 95.45 % of a 4-D Gaussian lie in), flagged. n, n_models, n_told;
    `by: {stratum: {value: ...}}` with strata region, snr and trust. Against REFERENCES: fraction_better_than (share of
    spectra with the smaller sum over labels of squared error over squared Bayesian bound), crps_ratio of each label.
    """
    checked(truth, answers)
    if not len(truth):
        raise InputError("scores: no spectrum to score; make a test set of at least one")
    drawn = _Draws(truth.model, resamples, level, seed)
    columns = {name: _statistics(truth, found) for name, found in answers.items()}
    groups = strata(truth)
    out: dict[str, dict[str, Any]] = {}
    for name, values in columns.items():
        found = _summary(drawn, values, list(_RATIOS))
        found |= {"n_models": int(drawn.size), "ci_level": level, "ci_blocks": "syntheses", "kind": truth.kind}
        if answers[name].flagged is None:
            found = {key: v for key, v in found.items() if not key.startswith("flagged")}
        found["by"] = {
            stratum: {value: _summary(drawn, values, _OF_STRATA, inside) for value, inside in parts.items()}
            for stratum, parts in groups.items()
        }
        others = {o: answers[o] for o in REFERENCES if o in answers and o != name}
        out[name] = found | _against(truth, answers[name], others, drawn)
        if truth.kind == "continuous":
            out[name] |= snapping(truth, answers[name], drawn)
    return out


def strata(truth: Truth) -> dict[str, dict[str, np.ndarray]]:
    """stratum -> value -> (n,) bool, values without a spectrum left out."""
    teff, feh = truth.labels[:, LABELS.index("teff")], truth.labels[:, LABELS.index("feh")]
    regions = {}
    for low, high in itertools.pairwise(TEFF_BANDS):
        band = (teff >= low) & ((teff < high) | (high == TEFF_BANDS[-1]))
        regions[f"{low}-{high} K, [M/H] < {METAL_POOR:.0f}"] = band & (feh < METAL_POOR)
        regions[f"{low}-{high} K, [M/H] >= {METAL_POOR:.0f}"] = band & (feh >= METAL_POOR)
    values = np.unique(np.round(truth.snr, 3))
    if len(values) <= 12:
        snr = {f"{value:g}": np.isclose(truth.snr, value, atol=1e-3) for value in values}
    else:
        octave = np.floor(np.log2(truth.snr / 10.0)).astype(int)
        snr = {f"{10 * 2.0**k:g}-{20 * 2.0**k:g}": octave == k for k in np.unique(octave)}
    trusted = teff >= COOLEST_TRUSTED
    trust = {TRUSTED: trusted, UNTRUSTED: ~trusted}
    found = {"region": regions, "snr": snr, "trust": trust}
    return {stratum: {value: m for value, m in parts.items() if m.any()} for stratum, parts in found.items()}


def leaks(summaries: Mapping[str, Mapping[str, Any]]) -> list[Leak]:
    """Regions where the interval of RMSE over the Cramer-Rao bound lies below LEAK."""
    found = []
    for model, summary in summaries.items():
        for region, part in summary["by"]["region"].items():
            for label in LABELS:
                low, high = part.get(f"crb_ratio_{label}_ci", [None, None])
                if high is not None and high < LEAK and part[f"n_told_{label}"] >= FEWEST_FOR_LEAK:
                    informed = part[f"informed_ratio_{label}"], part[f"informed_ratio_{label}_ci"][1]
                    found.append(Leak(model, label, region, part[f"crb_ratio_{label}"], low, high, *informed))
    return found


def snapping(truth: Truth, answers: Answers, drawn: "_Draws | None" = None) -> dict[str, Any]:
    """Whether answers sit on the grid's nodes: snap_ratio of each label, the mean distance of answers from their
    nearest node over that of the truths, of spectra `told`. 1 where answers know no nodes, 0 where they snap."""
    drawn = drawn or _Draws(truth.model, 1000, 0.95, 0)
    keep = told(truth)
    found: dict[str, Any] = {}
    for i, label in enumerate(LABELS):
        step = NODES[label][1] - NODES[label][0]
        distances = [
            np.abs(x / step - np.round(x / step)) for x in (answers.mean[:, i] - NODES[label][0], _off(truth, i))
        ]
        above, below = (np.where(keep[:, i], x, 0.0)[:, None, None] for x in distances)
        value, interval = drawn.ratio(above, below)
        found |= {f"snap_ratio_{label}": _number(value[0, 0]), f"snap_ratio_{label}_ci": _interval(interval, 0, 0)}
    return found


def node_ratio(
    nodes: tuple[Truth, Answers], between: tuple[Truth, Answers], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """RMSE over the Cramer-Rao bound at nodes, over the same between them, of each label, with intervals: below 1 where
    a method knows the nodes it was trained on better than what lies between."""
    values, samples = [], []
    for number, (truth, found) in enumerate((nodes, between)):
        drawn = _Draws(truth.model, resamples, 0.95, seed + number)
        now, sample = drawn.totals(_statistics(truth, found))
        values.append(_scored(now, "crb_ratio"))
        samples.append(_scored(sample, "crb_ratio"))
    with np.errstate(divide="ignore", invalid="ignore"):
        value, sample = values[0] / values[1], samples[0] / samples[1]
    out: dict[str, Any] = {}
    for i, label in enumerate(LABELS):
        interval = percentile_interval(sample[:, i])
        out |= {f"node_ratio_{label}": _number(value[i]), f"node_ratio_{label}_ci": [_number(x) for x in interval]}
    return out


def flag_rates(inside: np.ndarray, outside: np.ndarray) -> dict[str, Any]:
    """Share of spectra of the grid and of planted others that were flagged. inside, outside: (n,) bool."""
    return {
        "flagged_in_grid": _number(np.mean(inside)),
        "flagged_out_of_grid": _number(np.mean(outside)),
        "n_in_grid": len(inside),
        "n_out_of_grid": len(outside),
    }


class _Draws:
    """Sums over spectra, and over draws of whole syntheses. model: (n,) number of the synthesis of each spectrum."""

    def __init__(self, model: np.ndarray, resamples: int, level: float, seed: int) -> None:
        _, self.model = np.unique(model, return_inverse=True)
        self.size, self.level = int(self.model.max()) + 1, level
        counts = draws(np.arange(self.size), resamples=resamples, seed=seed, kind="syntheses")
        self.counts = counts.astype(np.float64)

    def totals(self, columns: np.ndarray, inside: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """columns: (n, ...) -> sums (...) and sums of each draw (resample, ...)."""
        model, values = (self.model, columns) if inside is None else (self.model[inside], columns[inside])
        present, place = np.unique(model, return_inverse=True)
        order = np.argsort(place, kind="stable")
        flat = values.reshape(len(values), -1)[order]
        sums = np.add.reduceat(flat, np.searchsorted(place[order], np.arange(len(present))), axis=0)
        sample = self.counts[:, present] @ sums
        if len(present) < 2:  # what one synthesis gives, any draw of it gives
            sample = np.full_like(sample, np.nan)
        return sums.sum(0).reshape(columns.shape[1:]), sample.reshape(-1, *columns.shape[1:])

    def ratio(self, above: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sum of above over sum of below (...), and its interval (2, ...)."""
        now, sample = self.totals(np.stack([above, below], 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return now[0] / now[1], self.interval(sample[:, 0] / sample[:, 1])

    def interval(self, sample: np.ndarray) -> np.ndarray:
        """(resample, ...) -> (2, ...)."""
        flat = sample.reshape(len(sample), -1)
        found = [percentile_interval(column, level=self.level) for column in flat.T]
        return np.array(found).T.reshape(2, *sample.shape[1:])


def _statistics(truth: Truth, answers: Answers) -> np.ndarray:
    """(n, STATISTICS, 4) of each spectrum."""
    error = answers.mean - truth.labels
    sigma, keep = answers.sigma, told(truth)
    distance = mahalanobis(truth, answers)[:, None]
    one = np.ones_like(error)
    flagged = np.zeros(len(truth)) if answers.flagged is None else answers.flagged
    known_bound = np.where(keep, truth.bound, 0.0)
    columns = (
        one, np.abs(error), error, error**2, normal_crps(error, sigma), np.abs(error) <= sigma,
        np.abs(error) <= 2 * sigma, one * (distance <= chi2.ppf(WITHIN[1], COUNT)),
        one * (distance <= chi2.ppf(WITHIN[2], COUNT)), one * flagged[:, None],
        keep * error**2, known_bound**2, keep * truth.bayes**2, ~keep * error**2, ~keep * truth.bayes**2, keep,
    )  # fmt: skip
    return np.stack(columns, 1).astype(np.float64)


def _scored(totals: np.ndarray, key: str) -> np.ndarray:
    """A score of each label (..., 4) from sums (..., STATISTICS, 4), NaN where undefined."""
    above, below, root = _RATIOS[key]
    a, b = (totals[..., STATISTICS.index(name), :] for name in (above, below))
    value = np.where(b > 0, a / np.where(b > 0, b, 1.0), np.nan)
    return np.sqrt(value) if root else value


def _summary(
    drawn: _Draws, columns: np.ndarray, keys: Sequence[str], inside: np.ndarray | None = None
) -> dict[str, Any]:
    now, sample = drawn.totals(columns, inside)
    out: dict[str, Any] = {"n": round(now[0, 0])}
    out |= {f"n_told_{label}": round(x) for label, x in zip(LABELS, now[STATISTICS.index("known")], strict=True)}
    for key in keys:
        value, draw = _scored(now, key), _scored(sample, key)
        bounds = drawn.interval(draw)
        for i, label in enumerate(LABELS):
            out |= {f"{key}_{label}": _number(value[i]), f"{key}_{label}_ci": _interval(bounds, i)}
        if key.startswith("coverage"):
            out |= {key: _number(value.mean()), f"{key}_ci": _interval(drawn.interval(draw.mean(1)[:, None]), 0)}
    for key, name in _WHOLE.items():
        place = STATISTICS.index(name)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = sample[:, place, :1] / sample[:, 0, :1]
        out |= {key: _number(now[place, 0] / now[0, 0]), f"{key}_ci": _interval(drawn.interval(share), 0)}
    return out


def _against(truth: Truth, mine: Answers, others: Mapping[str, Answers], drawn: _Draws) -> dict[str, Any]:
    out: dict[str, Any] = {
        key: {} for key in ("fraction_better_than", "fraction_better_than_ci", "crps_ratio", "crps_ratio_ci")
    }
    own, own_crps = _distance(truth, mine), normal_crps(mine.mean - truth.labels, mine.sigma)
    for name, other in others.items():
        better = (own < _distance(truth, other)).astype(float)[:, None]
        share, interval = drawn.ratio(better, np.ones_like(better))
        out["fraction_better_than"][name], out["fraction_better_than_ci"][name] = (
            float(share[0]),
            _interval(interval, 0),
        )
        value, bounds = drawn.ratio(own_crps, normal_crps(other.mean - truth.labels, other.sigma))
        out["crps_ratio"][name] = {label: _number(x) for label, x in zip(LABELS, value, strict=True)}
        out["crps_ratio_ci"][name] = {label: _interval(bounds, i) for i, label in enumerate(LABELS)}
    return out


def _distance(truth: Truth, answers: Answers) -> np.ndarray:
    """(n,) squared errors over squared Bayesian bounds, summed over labels."""
    return (((answers.mean - truth.labels) / truth.bayes) ** 2).sum(1)


def _off(truth: Truth, label: int) -> np.ndarray:
    return truth.labels[:, label] - NODES[LABELS[label]][0]


def _interval(bounds: np.ndarray, *place: int) -> list[float | None]:
    return [_number(bounds[(side, *place)]) for side in (0, 1)]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
