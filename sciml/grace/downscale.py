"""Mascons to half-degree cells: x = I(g) + s (p - I(mean p)).

I is the conserving interpolation (`sciml.grace.interpolation`), g what GRACE saw, p the net on the cell's predictors
and `mean` the area-weighted land mean over a mascon. What is taken from p is not its blocky mean but the interpolation
of its means: both have the same land mean in every mascon, so x returns g exactly, and only the smooth one leaves no
step at the border. s in [0, 1] is learned from what GRACE itself resolves (`fit_share`).

Members. Member k conserves g_k = g + e_k, one draw of GRACE's error, and carries p_k and one draw of the error below
the mascon's scale. The draws sum to zero over the members, so the mean of the members conserves g itself. Where
nothing was seen, g_k is the net's own mascon mean with one draw of its error, and the month is flagged.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, diags_array

from sciml.core.errors import InputError
from sciml.core.grid import great_circle_km
from sciml.core.seeds import seed_for
from sciml.grace.interpolation import Conserving, conserving, conserving_on_graph
from sciml.grace.mascons import mascon_mean, neighbour_pairs

KM3_PER_MM_KM2 = 1e-6  # 1 mm over 1 km2
ERROR_LENGTH_KM = 300.0  # of GRACE's error, and of the net's, between mascons
_DETAIL_PASSES = 3  # averages over a cell and its neighbours: an error inside a mascon is alike over about 100 km


@dataclass(frozen=True, eq=False)
class Cells:
    """Land cells of a half-degree grid, (cell,) each: index of the mascon, latitude, longitude [degrees], area
    [km2]."""

    parent: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    area: np.ndarray

    @property
    def mascons(self) -> int:
        return int(self.parent.max()) + 1

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Area-weighted land means: (cell, ...) -> (mascon, ...)."""
        return mascon_mean(values, self.parent, self.area, self.mascons)

    def operator(self) -> Conserving:
        """The conserving interpolation from these mascons to these cells."""
        return conserving(self.parent, self.area, self.latitude, self.longitude, self.mascons)


@dataclass(frozen=True)
class Share:
    """How much of the predicted contrast is believed: `share` is s; `standard_error` that of the slope.

    unexplained: deviation of the contrast that was left over that of the predicted contrast, GRACE's error taken out.
    """

    share: float
    standard_error: float
    unexplained: float


@dataclass(frozen=True, eq=False)
class Downscaled:
    """members: (cell, member, time) float32 [mm]; targets: (mascon, member, time) [mm], the land mean that each member
    returns; gap: (mascon, time) bool, where no GRACE was there and the mean is the net's own."""

    members: np.ndarray
    targets: np.ndarray
    gap: np.ndarray

    @property
    def gap_month(self) -> np.ndarray:
        """(time,) bool: nothing was seen anywhere."""
        return np.asarray(self.gap.all(axis=0))


def contrast(values: np.ndarray, operator: Conserving) -> np.ndarray:
    """What a field has beside the interpolation of its own means: (fine, ...) -> (fine, ...), with means 0."""
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    return (flat - operator.interpolate(operator.mean @ flat)).reshape(np.shape(values))


def coarse_operator(cells: Cells, blocks: np.ndarray) -> Conserving:
    """Conserving interpolation one step up the scale, from blocks of mascons to mascons.

    blocks: (mascon,) label in [0, blocks). Mascons touch where their cells do, with the length of the common border.
    """
    touching = cells.parent[neighbour_pairs(cells.latitude, cells.longitude)]
    touching = np.sort(touching[touching[:, 0] != touching[:, 1]], axis=1)
    edges, length = np.unique(touching, axis=0, return_counts=True)
    area = np.bincount(cells.parent, cells.area, cells.mascons)
    return conserving_on_graph(edges, length / length.mean(), blocks, area, int(blocks.max()) + 1)


def fit_share(
    predicted: np.ndarray,
    observed: np.ndarray,
    uncertainty: np.ndarray,
    months: np.ndarray,
    operator: Conserving,
) -> Share:
    """Learn s where it can be seen: from blocks of mascons down to mascons, in training years.

    predicted: (mascon, time) [mm], out of fold, as GRACE would see them: through `mascons.grace_view` where GRACE is
    smoothed over more than a mascon, or s comes out too small, since blurred contrasts are held against sharp ones;
    observed, uncertainty: (mascon, time) [mm], NaN in gaps; months: (time,) datetime64; operator: from
    `coarse_operator`. Block means are interpolated to mascons as mascon means are to cells, and s is the slope of what
    is left of the observed on what is left of the predicted. Its error comes from leaving out one year after another
    (jackknife). s is shrunk by the share of s^2 that the error explains, so that predictors without information get
    nearly nothing.
    """
    use = np.isfinite(observed).all(axis=0) & np.isfinite(predicted).all(axis=0)
    q, r = contrast(predicted[:, use], operator), contrast(observed[:, use], operator)
    year = np.asarray(months)[use].astype("datetime64[Y]")
    sums = np.array([[(q * r)[:, year == y].sum(), (q * q)[:, year == y].sum()] for y in np.unique(year)])
    if len(sums) < 3 or not sums[:, 1].sum() > 0:
        raise InputError(
            f"storage: found {len(sums)} training years with contrasts between mascons, expected 3 or more to learn how"
            " much of a contrast to believe; lengthen the training period"
        )
    product, square = sums.sum(axis=0)
    slope = product / square
    without = (product - sums[:, 0]) / (square - sums[:, 1])
    error = float(np.sqrt((len(sums) - 1) * without.var()))
    shrink = max(0.0, 1.0 - (2.0 * error / slope) ** 2) if slope > 0 else 0.0
    share = min(max(0.0, float(shrink * slope)), 1.0)
    # a contrast keeps most of the variance of an error that is new in each mascon
    noise = float((np.nan_to_num(uncertainty[:, use]) ** 2).mean()) * 0.5
    left = max(float(((r - share * q) ** 2).mean()) - noise, 0.1 * float((r**2).mean()))
    return Share(share, error, float(np.sqrt(left / (q**2).mean())))


def gap_sigma(predicted: np.ndarray, observed: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """Error of the net's own mascon means, from out-of-fold predictions: (mascon,) [mm], never below GRACE's own.

    predicted, observed, uncertainty: (mascon, time) [mm] of training years.
    """
    error = np.sqrt(np.nanmean((predicted - observed) ** 2, axis=1))
    return np.maximum(error, 1.05 * np.sqrt(np.nanmean(np.asarray(uncertainty) ** 2, axis=1)))


def detail_sigma(
    predicted: np.ndarray, share: Share, cells: Cells, operator: Conserving, observed: np.ndarray | None = None
) -> np.ndarray:
    """Error of a cell beside its mascon's mean: (mascon,) [mm].

    predicted: (cell, time) [mm], mean of the members; observed: (mascon, time) [mm] of training years. The ratio of
    unexplained to predicted contrast, which GRACE shows between mascons, is taken to hold inside them: the one
    assumption here that no training data can test. Where the predicted contrast is not to be believed, the mascon's own
    deviation in time bounds the error: storage varies less inside a mascon than the mascon does.
    """
    size = share.unexplained * np.sqrt(cells.mean((contrast(predicted, operator) ** 2).mean(axis=1)))
    return size if observed is None else np.minimum(size, np.nanstd(observed, axis=1))


def downscale(
    predicted: np.ndarray,
    observed: np.ndarray,
    uncertainty: np.ndarray,
    times: np.ndarray,
    share: float,
    cells: Cells,
    operator: Conserving,
    *,
    gap_sigma: np.ndarray,
    detail_sigma: np.ndarray,
    seed: int,
) -> Downscaled:
    """x = I(g) + s (p - I(mean p)) for every member.

    predicted: (cell, member, time) [mm]; observed, uncertainty: (mascon, time) [mm], NaN where nothing was seen; times:
    (time,) datetime64 of the windows' middles; share: s; gap_sigma, detail_sigma: (mascon,) [mm] from the functions of
    that name. Draws are of (seed, time), so a piece of the period gives the same as the whole.
    """
    count = predicted.shape[1]
    gap = ~np.isfinite(observed)
    own = cells.mean(predicted.mean(axis=1, dtype=np.float64))
    sigma = np.where(gap, gap_sigma[:, None], np.nan_to_num(uncertainty))
    centre = np.where(gap, own, np.nan_to_num(observed))
    between = _between_mascons(cells)
    inside = _inside_mascons(cells, operator, seed)
    members = np.empty(predicted.shape, np.float32)
    targets = np.empty((cells.mascons, count, len(times)))
    for t, time in enumerate(times):
        rng = np.random.default_rng(seed_for(seed, "downscale", str(np.datetime64(time, "s"))))
        error = between @ _balanced(rng, between.shape[1], count)
        detail = inside @ _balanced(rng, inside.shape[1], count)
        targets[:, :, t] = centre[:, t, None] + sigma[:, t, None] * error
        fine = share * predicted[:, :, t].astype(np.float64) + detail_sigma[cells.parent, None] * detail
        members[:, :, t] = fine + operator.interpolate(targets[:, :, t] - operator.mean @ fine)
    return Downscaled(members, targets, gap)


def _balanced(rng: np.random.Generator, size: int, members: int) -> np.ndarray:
    """Standard normal draws (size, member) that sum to zero over the members; one member gets none."""
    if members == 1:
        return np.zeros((size, 1))
    draws = rng.standard_normal((size, members))
    return (draws - draws.mean(axis=1, keepdims=True)) * np.sqrt(members / (members - 1))


def _between_mascons(cells: Cells) -> np.ndarray:
    """Factor (mascon, mascon) of a correlation exp(-distance / 300 km)."""
    latitude, longitude = cells.mean(cells.latitude), _mean_longitude(cells)
    distance = great_circle_km(latitude[:, None], longitude[:, None], latitude, longitude)
    return np.linalg.cholesky(np.exp(-distance / ERROR_LENGTH_KM) + 1e-9 * np.eye(len(latitude)))


def _inside_mascons(cells: Cells, operator: Conserving, seed: int) -> csr_array:
    """Factor (cell, cell) of an error alike over about 100 km, of unit variance once the mascons' means are taken
    out."""
    pairs = neighbour_pairs(cells.latitude, cells.longitude)
    size = len(cells.parent)
    touch = csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    touch = touch + touch.T + diags_array(np.ones(size))
    average = csr_array(diags_array(1.0 / touch.sum(axis=1)) @ touch)
    factor = average
    for _ in range(_DETAIL_PASSES - 1):
        factor = factor @ average
    norm = np.sqrt(np.asarray(factor.multiply(factor).sum(axis=1)).ravel())
    factor = csr_array(diags_array(1.0 / norm) @ factor)
    sample = factor @ np.random.default_rng(seed_for(seed, "detail")).standard_normal((size, 64))
    left = np.sqrt(cells.mean((contrast(sample, operator) ** 2).mean(axis=1)))
    return csr_array(diags_array(1.0 / np.maximum(left, 0.1)[cells.parent]) @ factor)


def _mean_longitude(cells: Cells) -> np.ndarray:
    """Circular mean longitude of each mascon's land: (mascon,) [degrees]."""
    angle = np.deg2rad(cells.longitude)
    return np.rad2deg(np.arctan2(cells.mean(np.sin(angle)), cells.mean(np.cos(angle))))
