"""Standard deviations that hold: a method's covariances are rescaled on spectra of their own split.

The standard deviation of each label is multiplied by a factor that is smooth in what is known of a star when it is
applied: log sigma itself, the signal to noise, the answer's temperature and metallicity,

    log f_l(x) = b_l0 + sum_k b_lk x_k

b_l are regressions of log|error / sigma| on x at two quantiles at once, with one common b_l: at 0.683 for one standard
deviation and at 0.954, log 2 higher, for two (Koenker & Bassett 1978, doi:10.2307/1913643; the composite of Zou & Yuan
2008, doi:10.1214/07-AOS507). Where errors have heavy tails no factor can make both shares right; the weights then leave
twice the fault at one standard deviation that they leave at two. A likelihood would rather widen all intervals for the
few that err most.

Correlations that a method gives star by star are noisy, and noise in a correlation empties the ellipsoid of all labels.
They are drawn towards the mean correlation of the split's errors, C' = (1 - w) C + w R, with the w of highest
likelihood. A diagonal covariance stays diagonal: what it leaves out is its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from sciml.core.errors import InputError
from sciml.stellar.answers import Answers
from sciml.stellar.labels import LABELS, scale

LEVELS = (0.6826894921370859, 0.9544997361036416)  # shares within one and two standard deviations
WEIGHTS = (1.0, 2.0)
FEATURES = ("1", "log sigma", "(log sigma)^2", "log SNR", "teff", "teff^2", "feh")
FEWEST = 50  # spectra
_WIDTH = 0.05  # of log|error / sigma|, over which a quantile is smoothed
_TABLES = ("weights", "centre", "width", "correlation")
_RIDGE = 1e-3  # pull of b towards one factor for all spectra


@dataclass(frozen=True)
class Calibration:
    """weights: b of each label and feature; centre, width: of log sigma, log SNR, teff and feh on the calibration split
    (1st to 99th percentile), of each label: beyond them the factor stays what it is at the end. correlation: R (4, 4);
    blend: w."""

    weights: tuple[tuple[float, ...], ...]
    centre: tuple[tuple[float, ...], ...]
    width: tuple[tuple[float, ...], ...]
    correlation: tuple[tuple[float, ...], ...]
    blend: float

    def factor(self, answers: Answers, snr: np.ndarray) -> np.ndarray:
        """(n, 4) by which standard deviations are multiplied."""
        raw = _raw(answers, snr)
        logs = [
            _features(raw[label], np.array(self.centre[label]), np.array(self.width[label])) @ np.array(b)
            for label, b in enumerate(self.weights)
        ]
        return np.exp(np.stack(logs, 1))

    def apply(self, answers: Answers, snr: np.ndarray) -> Answers:
        """Answers with the calibrated covariances. snr: (n,)."""
        sigma = answers.sigma * self.factor(answers, snr)
        mixed = (1 - self.blend) * _correlation(answers) + self.blend * np.array(self.correlation)
        return Answers(answers.mean, mixed * sigma[:, :, None] * sigma[:, None, :], answers.flagged)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a checkpoint or a store's attributes."""
        tables = {name: [list(row) for row in getattr(self, name)] for name in _TABLES}
        return {"features": list(FEATURES), "blend": self.blend} | tables

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        """What `to_json` wrote. Raises InputError for another set of features."""
        if tuple(values.get("features", ())) != FEATURES:
            raise InputError(
                f"calibration: features {values.get('features')}, expected {list(FEATURES)}; it was written by another"
                " version: calibrate again"
            )
        tables = (tuple(tuple(float(x) for x in row) for row in values[name]) for name in _TABLES)
        return cls(*tables, float(values["blend"]))


def fit_calibration(labels: np.ndarray, answers: Answers, snr: np.ndarray) -> Calibration:
    """The calibration of a method on a split that it was neither trained nor is scored on.

    labels: (n, 4) truths; snr: (n,). Raises InputError for too few spectra.
    """
    if len(labels) < FEWEST:
        raise InputError(f"calibration: {len(labels)} spectra, expected {FEWEST} or more; raise the size of its split")
    sigma, raw = answers.sigma, _raw(answers, snr)
    scaled = (answers.mean - labels) / sigma
    low, high = np.quantile(raw, (0.01, 0.99), axis=1)
    centre, width = (low + high) / 2, (high - low) / 2
    weights = []
    for label in range(len(LABELS)):
        x = _features(raw[label], centre[label], width[label])
        weights.append(_quantile_regression(x, np.log(np.abs(scaled[:, label]) + 1e-12)))
        scaled[:, label] /= np.exp(x @ weights[-1])
    correlation, blend = _blend(scaled, _correlation(answers))
    tables = (tuple(tuple(map(float, row)) for row in part) for part in (weights, centre, width, correlation))
    return Calibration(*tables, blend)


def _correlation(answers: Answers) -> np.ndarray:
    """(n, 4, 4)."""
    sigma = answers.sigma
    return answers.covariance / (sigma[:, :, None] * sigma[:, None, :])


def _blend(error: np.ndarray, correlation: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean correlation of errors (n, 4) in their calibrated sigmas, and its share."""
    one = np.eye(error.shape[1])
    if np.abs(correlation - one).max() < 1e-9:
        return one, 0.0
    mean = np.corrcoef(np.clip(error, -3.0, 3.0).T)  # no tail rules it

    def loss(share: float) -> float:
        mixed = (1 - share) * correlation + share * mean
        distance = np.einsum("ni,ni->n", error, np.linalg.solve(mixed, error[:, :, None])[:, :, 0])
        return float((np.linalg.slogdet(mixed)[1] + distance).mean())

    # a little of the mean at least: a correlation near 1 that a method gives is singular
    return mean, float(minimize_scalar(loss, bounds=(0.02, 1.0), method="bounded").x)


def _raw(answers: Answers, snr: np.ndarray) -> np.ndarray:
    """(label, n, 4): log sigma, log SNR, teff and feh of the answers, kept to the grid's ranges."""
    centre, half = scale()
    place = np.clip((answers.mean - centre) / half, -1.0, 1.0)
    common = [np.log(np.broadcast_to(snr, len(answers))), place[:, 0], place[:, 2]]
    return np.stack([np.stack([log, *common], 1) for log in np.log(answers.sigma).T])


def _features(raw: np.ndarray, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    """(n, FEATURES) between -1 and 1; a column that did not vary is 0."""
    varies = width > 1e-9
    s, snr, teff, feh = np.where(varies, np.clip((raw - centre) / np.where(varies, width, 1.0), -1, 1), 0.0).T
    return np.stack([np.ones_like(s), s, s**2, snr, teff, teff**2, feh], 1)


def _quantile_regression(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """b (feature,) with which z lies below x b, and below x b + log 2, in the shares LEVELS.

    The check function tau u + max(-u, 0) is smoothed over _WIDTH: convex, with one minimum.
    """
    shifts = np.log([1.0, 2.0])

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        total, gradient = _RIDGE * (b[1:] ** 2).sum(), np.concatenate([[0.0], 2 * _RIDGE * b[1:]])
        for tau, weight, shift in zip(LEVELS, WEIGHTS, shifts, strict=True):
            u = z - x @ b - shift
            total += weight * (tau * u + _WIDTH * np.logaddexp(0.0, -u / _WIDTH)).mean()
            slope = tau - 0.5 * (1 - np.tanh(u / (2 * _WIDTH)))
            gradient = gradient - weight * (slope @ x) / len(z)
        return float(total), gradient

    start = np.zeros(x.shape[1])
    start[0] = np.quantile(z, LEVELS[0])
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
