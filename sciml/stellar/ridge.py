"""The plain baseline: ridge regression of the labels on principal components of spectra.

Components are those of drawn spectra without noise; what is regressed are projections of drawn spectra with the noise
of the experiment (Hoerl & Kennard 1970, doi:10.1080/00401706.1970.10488634), the leading ones also squared and times
each other, as lines saturate. The covariance is that of residuals of draws that were not fitted.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.stellar.answers import require_spectra
from sciml.stellar.emulator import principal_components
from sciml.stellar.labels import LABELS, RANGES, scale
from sciml.stellar.samples import SNR, Drawn, Source, draw

RIDGE_VERSION = 1  # raise it where the same draws give another model
_PENALTIES = np.logspace(-7, 1, 17)  # a spectrum
_FOLDS = 5
_GAIN = 0.02  # of the log-likelihood of a spectrum, from which on covariances by temperature are worth having
_BLOCK = 200


@dataclass(frozen=True)
class RidgeSettings:
    """drawn: spectra whose principal components are taken. components: how many; products: how many of them are also
    multiplied with each other. fitted, held: spectra of each signal to noise ratio for the weights, and for the
    covariance. bands: of predicted temperature, each with its covariance, where that is better than one for all."""

    drawn: int = 1500
    components: int = 100
    products: int = 24
    fitted: int = 6000
    held: int = 3000
    bands: int = 6

    def __post_init__(self) -> None:
        if not 0 <= self.products <= self.components < self.drawn:
            raise ConfigError(
                f"ridge: {self.products} products, {self.components} components, {self.drawn} drawn; expected"
                " 0 <= products <= components < drawn"
            )


@dataclass(frozen=True, eq=False)
class RidgeModel:
    """A method: called with (flux, snr, mask) as `networks.Asked` is.

    average (order, pixel); components (component, order, pixel); centre, width (feature,); ratios (k,): signal to noise
    ratios, each with its weights (k, feature + 1, 4) in half ranges, edges (k, band - 1) [K] and covariance
    (k, band, 4, 4) in the labels' units.
    """

    average: np.ndarray
    components: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    ratios: np.ndarray
    weights: np.ndarray
    edges: np.ndarray
    covariance: np.ndarray

    def __call__(self, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """flux, mask: (n, order, pixel), continuum 1, mask true where it was observed; snr: (n,)
        -> labels (n, 4), covariance (n, 4, 4) in their units, of the regression made for the nearest ratio. Answers are
        kept to the grid's ranges. Raises InputError."""
        require_spectra("ridge", self.average.shape, flux, snr, mask)
        products = _products_of(self.components.shape[0], self.centre.size)
        x = _features(_projected(self.average, self.components, flux, mask), products)
        x = (x - self.centre) / self.width
        which = np.argmin(abs(np.log(snr[:, None] / self.ratios)), 1)
        mean = _labels(x, self.weights, which)
        band = (mean[:, :1] >= self.edges[which]).sum(1)
        return mean, self.covariance[which, band]

    def state(self) -> dict[str, Tensor]:
        """Everything, for a checkpoint."""
        return {field.name: torch.from_numpy(getattr(self, field.name).copy()) for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "RidgeModel":
        """What `state` gave."""
        return cls(**{field.name: state[field.name].numpy() for field in fields(cls)})


def fit_ridge(source: Source, snr: SNR, settings: RidgeSettings, seed: int) -> RidgeModel:
    """Components, weights and covariances from spectra drawn of a source. A range of signal to noise ratios gets a
    regression each octave."""
    clean = [part.clean for part in _blocks(source, snr, settings.drawn, seed_for(seed, "components"))]
    mean, components, _ = principal_components(torch.cat(clean).flatten(1).numpy(), settings.components)
    average, components = mean.reshape(source.shape), components.reshape(-1, *source.shape)
    octaves = max(round(math.log2(snr.high / snr.low)), 0)
    ratios = np.geomspace(snr.low, snr.high, octaves + 1)
    half = math.sqrt(ratios[1] / ratios[0]) if octaves else 1.0
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for number, ratio in enumerate(ratios):
        near = SNR(max(ratio / half, snr.low), min(ratio * half, snr.high))
        drawn = _blocks(source, near, settings.fitted + settings.held, seed_for(seed, "spectra", number))
        seen = [(_projected(average, components, p.flux.numpy(), p.mask.numpy()), p.labels.numpy()) for p in drawn]
        parts.append((_features(np.concatenate([p for p, _ in seen]), settings.products), _stack(seen)))
    fitted = slice(settings.fitted)
    everything = np.concatenate([x[fitted] for x, _ in parts])
    centre, width = everything.mean(0), np.maximum(everything.std(0), 1e-9)
    rows = [_one_ratio((x - centre) / width, labels, settings) for x, labels in parts]
    weights, edges, covariance = (np.stack(column) for column in zip(*rows, strict=True))
    return RidgeModel(average, components, centre, width, ratios, weights, edges, covariance)


def _one_ratio(x: np.ndarray, labels: np.ndarray, settings: RidgeSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (feature + 1, 4), edges (band - 1,), covariance (band, 4, 4)."""
    centre, half = scale()
    target, count = (labels - centre) / half, settings.fitted
    weights = ridge_weights(x[:count], target[:count], _PENALTIES * count, _FOLDS)
    said = _labels(x[count:], weights[None], np.zeros(len(x) - count, int))
    return weights, *_covariances(said, labels[count:] - said, settings.bands)


def ridge_weights(x: np.ndarray, target: np.ndarray, penalties: np.ndarray, folds: int) -> np.ndarray:
    """(feature + 1, column) weights and, last, intercepts that minimise |target - x w - c|^2 + penalty |w|^2.

    x (n, feature); target (n, column), each column with the penalty whose folds of x err least in its mean square.
    """
    fold = np.arange(len(x)) % folds
    squares = np.zeros((len(penalties), target.shape[1]))
    for k in range(folds):
        kept, left = fold != k, fold == k
        for number, w in enumerate(_solutions(x[kept], target[kept], penalties)):
            squares[number] += ((x[left] @ w[:-1] + w[-1] - target[left]) ** 2).sum(0)
    found = _solutions(x, target, penalties)
    return np.stack([found[number][:, column] for column, number in enumerate(squares.argmin(0))], 1)


def _solutions(x: np.ndarray, target: np.ndarray, penalties: np.ndarray) -> list[np.ndarray]:
    """Weights and intercepts (feature + 1, column) at each penalty, from one decomposition."""
    centre, middle = x.mean(0), target.mean(0)
    away = x - centre
    values, vectors = np.linalg.eigh(away.T @ away)
    turned = vectors.T @ (away.T @ (target - middle))
    found = []
    for penalty in penalties:
        w = vectors @ (turned / (np.maximum(values, 0.0) + penalty)[:, None])
        found.append(np.concatenate([w, (middle - centre @ w)[None]]))
    return found


def _covariances(said: np.ndarray, residual: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges (band - 1,) [K] and covariances (band, 4, 4) of residuals (n, 4), by bands of the predicted temperature
    where folds of these spectra show that it helps; else all bands have the same."""
    edges = np.quantile(said[:, 0], np.arange(1, bands) / bands)
    band = (said[:, :1] >= edges).sum(1)
    fold = np.arange(len(said)) % _FOLDS
    gain = 0.0
    for k in range(_FOLDS):
        kept, left = fold != k, fold == k
        one = np.tile(_second(residual[kept]), (bands, 1, 1))
        many = np.stack([_second(residual[kept & (band == b)]) for b in range(bands)])
        gain += (
            _log_likelihood(residual[left], many[band[left]]) - _log_likelihood(residual[left], one[band[left]])
        ).sum()
    if gain / len(said) > _GAIN:
        return edges, np.stack([_second(residual[band == b]) for b in range(bands)])
    return edges, np.tile(_second(residual), (bands, 1, 1))


def _second(residual: np.ndarray) -> np.ndarray:
    """Mean squares about 0, biases included (4, 4); a hair on the diagonal keeps a label that never errs invertible."""
    _, half = scale()
    return residual.T @ residual / max(len(residual), 1) + np.diag((1e-4 * half) ** 2)


def _log_likelihood(residual: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(covariance)
    return -0.5 * (np.einsum("ni,nij,nj->n", residual, inverse, residual) + np.linalg.slogdet(covariance)[1])


def _labels(x: np.ndarray, weights: np.ndarray, which: np.ndarray) -> np.ndarray:
    """(n, 4) labels of scaled features (n, feature), by the weights of number `which` (n,), kept to their ranges."""
    centre, half = scale()
    low, high = np.array([RANGES[name] for name in LABELS]).T
    found = np.empty((len(x), len(LABELS)))
    for number in np.unique(which):
        rows = which == number
        found[rows] = x[rows] @ weights[number, :-1] + weights[number, -1]
    return np.clip(centre + half * found, low, high)


def _projected(average: np.ndarray, components: np.ndarray, flux: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n, component); masked pixels are taken to be as on average."""
    away = np.where(mask, flux - average, 0.0).astype(np.float32)
    return (away.reshape(len(flux), -1) @ components.reshape(len(components), -1).T).astype(float)


def _features(projections: np.ndarray, products: int) -> np.ndarray:
    """Projections (n, component), and products of each pair of the leading ones, squares too."""
    i, j = np.triu_indices(products)
    return np.concatenate([projections, projections[:, i] * projections[:, j]], 1)


def _products_of(components: int, features: int) -> int:
    """How many of the components are multiplied, m (m + 1) / 2 of the features being products."""
    return round((math.sqrt(1 + 8 * (features - components)) - 1) / 2)


def _blocks(source: Source, snr: SNR, count: int, seed: int) -> Iterator[Drawn]:
    for start, stop in pairwise([*range(0, count, _BLOCK), count]):
        yield draw(source, snr, stop - start, seed_for(seed, start))[1]


def _stack(seen: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.concatenate([labels for _, labels in seen]).astype(float)
