"""Truths and answers whose errors are known, without spectra."""

import numpy as np

from sciml.stellar.answers import Answers, Kind, Truth
from sciml.stellar.labels import LABELS, NODES, RANGES, draw

CORRELATION = np.array([[1, 0.5, 0.9, 0.0], [0.5, 1, 0.4, 0.0], [0.9, 0.4, 1, 0.1], [0.0, 0.0, 0.1, 1]])
SPAN = np.array([RANGES[label][1] - RANGES[label][0] for label in LABELS])


def planted_truth(count: int, *, seed: int = 0, snr: float = 20.0, each: int = 2, kind: Kind = "continuous") -> Truth:
    """Spectra of count / each syntheses, with bounds that grow from cool metal-rich stars to hot metal-poor ones."""
    random = np.random.default_rng(seed)
    parameters = np.repeat(draw(-(-count // each), seed, "paper"), each, 0)[:count]
    parameters[:, 3] = random.uniform(0, 30, count)
    if kind == "node":
        for i, label in enumerate(LABELS):
            first, step = NODES[label][0], NODES[label][1] - NODES[label][0]
            parameters[:, i] = first + step * np.round((parameters[:, i] - first) / step)
    hard = np.exp((parameters[:, 0] - 6500) / 2500 - 0.5 * parameters[:, 2])
    bound = np.array([20, 0.03, 0.012, 0.12]) * hard[:, None] * 20 / snr
    bayes = 1 / np.sqrt(1 / bound**2 + 12 / SPAN**2)
    return Truth(parameters, np.full(count, snr), bound, bayes, np.arange(count) // each, kind)


def planted_answers(truth: Truth, over: float = 1.0, *, said: float = 1.0, seed: int = 1, full: bool = True) -> Answers:
    """Gaussian errors of `over` times the bound, correlated as CORRELATION; standard deviations given `said` times too
    large, with or without their correlation."""
    random = np.random.default_rng(seed)
    sigma = over * truth.bound
    error = sigma * (random.normal(size=sigma.shape) @ np.linalg.cholesky(CORRELATION).T)
    given = said * sigma
    correlation = CORRELATION if full else np.eye(4)
    return Answers(truth.labels + error, given[:, :, None] * given[:, None, :] * correlation)
