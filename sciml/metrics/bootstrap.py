"""Block bootstrap over places and over years, percentile intervals.

Neighbouring basins share their weather and all basins share their years, so neither units nor records are independent.
Whole blocks are drawn instead: regions of units, calendar years of records. A draw is a vector of counts (how often
each block is taken), common to all models, so that differences between models are paired.
"""

from collections.abc import Iterator

import numpy as np

from sciml.core.seeds import seed_for
from sciml.metrics.scores import Score
from sciml.metrics.statistics import Statistics

# Draws are counted in slabs of this many numbers, to bound memory for maps of many cells.
SLAB = 4_000_000


def draws(blocks: np.ndarray, *, resamples: int, seed: int, kind: str) -> np.ndarray:
    """How often each element is taken when whole blocks are drawn with replacement, as many as there are.

    blocks: (element,) label of the block of each element; kind: what is drawn ("units", "years"), part of the seed.
    Returns (resample, element) int32.
    """
    _, block = np.unique(np.asarray(blocks), return_inverse=True)
    count = int(block.max()) + 1
    random = np.random.default_rng(seed_for(seed, "bootstrap", kind))
    return random.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.int32)[:, block]


def medians(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Median of each draw. values: (element,) or (resample, element), NaN are left out; counts: (resample, element).
    Returns (resample,), NaN for a draw that took nothing."""
    out = np.full(len(counts), np.nan)
    for part, v, c in _slabs(values, counts):
        order = np.argsort(v, axis=1)  # NaN go last; their counts are zero
        v, c = np.take_along_axis(v, order, 1), np.take_along_axis(c, order, 1)
        upto = np.cumsum(c, axis=1)
        total = upto[:, -1:]
        low = np.argmax(upto >= (total + 1) // 2, axis=1)
        high = np.argmax(upto >= total // 2 + 1, axis=1)
        row = np.arange(len(v))
        out[part] = np.where(total[:, 0] > 0, (v[row, low] + v[row, high]) / 2, np.nan)
    return out


def means(values: np.ndarray, counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of each draw, NaN left out. values: (element,) or (resample, element); counts: (resample, element);
    weights: like values. Returns (resample,)."""
    out = np.full(len(counts), np.nan)
    weight = np.ones(np.shape(values)[-1]) if weights is None else weights
    for part, v, c in _slabs(values, counts):
        w = c * (weight if np.ndim(weight) == 1 else weight[part])
        below = w.sum(axis=1)
        above = (w * np.where(c > 0, v, 0.0)).sum(axis=1)
        out[part] = np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
    return out


def resampled_years(statistics: Statistics, score: Score, year_counts: np.ndarray) -> np.ndarray:
    """Score of each unit on each draw of years. statistics: (year, unit); year_counts: (resample, year) from `draws`.
    Returns (resample, unit)."""
    units = statistics.n.shape[1]
    step = max(1, SLAB // len(year_counts))
    slabs = [np.arange(start, min(start + step, units)) for start in range(0, units, step)]
    return np.concatenate([score(statistics.take(slab).merged(year_counts)) for slab in slabs], axis=1)


def percentile_interval(values: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Central interval of the draws. values: (resample,), undefined draws (NaN) are left out. NaN, NaN if all are.

    With few blocks (five test years) a percentile interval is somewhat too narrow; say how many blocks there were.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _slabs(values: np.ndarray, counts: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    values = np.asarray(values, dtype=np.float64)
    step = max(1, SLAB // max(counts.shape[1], 1))
    for start in range(0, len(counts), step):
        part = slice(start, start + step)
        c = counts[part]
        v = np.broadcast_to(values if values.ndim == 1 else values[part], c.shape)
        yield part, v, np.where(np.isfinite(v), c, 0)
