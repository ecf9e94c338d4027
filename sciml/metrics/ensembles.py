"""What an ensemble, or a normal distribution, says of one record: its CRPS, its central interval, the place of the
observation in it.
"""

import numpy as np
from scipy.special import ndtr
from scipy.stats import t as student

# Below 19 members no order statistic reaches the 5 % quantile: 1 / (19 + 1) = 0.05.
FEWEST_FOR_QUANTILES_OF_90 = 19


def crps(observed: np.ndarray, members: np.ndarray, *, fair: bool = True) -> np.ndarray:
    """Continuous ranked probability score of each record, in the units of the data.

        CRPS = mean_i |x_i - y| - 1 / (2 m k) sum_i sum_j |x_i - x_j|,   k = m - 1 (fair) or m

    observed: (..., record); members: (..., member, record). Returns (..., record). The fair form (Ferro 2014,
    doi:10.1002/qj.2270) does not depend on the number of members in the mean, so ensembles of different size may be
    compared; the plain form is the CRPS of the empirical distribution. One member: the absolute error in both.
    """
    members = np.asarray(members, dtype=np.float64)
    count = members.shape[-2]
    distance = np.abs(members - np.asarray(observed, dtype=np.float64)[..., None, :]).mean(axis=-2)
    if count == 1:
        return distance
    # sum_ij |x_i - x_j| = 2 sum_k (2 k - m - 1) x_(k) over the sorted members: n log n in place of n^2
    rank = 2.0 * np.arange(1, count + 1) - count - 1
    spread = np.einsum("k,...kr->...r", rank, np.sort(members, axis=-2))
    return distance - spread / (count * (count - 1 if fair else count))


def normal_crps(error: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """CRPS of a normal distribution: sigma [z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)], z = error / sigma.

    Gneiting & Raftery 2007, doi:10.1198/016214506000001437. error: distribution's mean less what was observed.
    """
    z = error / sigma
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(sigma * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)))


def central_interval(members: np.ndarray, *, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Bounds between which a further draw from the members' distribution falls with probability `level`.

    members: (..., member, record). Returns lower, upper: (..., record). An observation exchangeable with m members lies
    below the k-th of them with probability k / (m + 1), so quantiles are taken at those plotting positions (Weibull);
    the usual (k - 1) / (m - 1) makes 90 % intervals of ten members that cover 74 %. Where the ensemble is too small for
    order statistics to reach the level, it is the prediction interval of a normal sample, mean +- t(m - 1) s sqrt(1 +
    1/m). One member has no interval: NaN.
    """
    members = np.asarray(members, dtype=np.float64)
    count = members.shape[-2]
    tail = (1 - level) / 2
    if tail * (count + 1) >= 1 - 1e-9:
        lower, upper = np.quantile(members, [tail, 1 - tail], axis=-2, method="weibull")
        return lower, upper
    mean = members.mean(axis=-2)
    if count == 1:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = student.ppf(1 - tail, count - 1) * members.std(axis=-2, ddof=1) * np.sqrt(1 + 1 / count)
    return mean - half, mean + half


def ranks(observed: np.ndarray, members: np.ndarray) -> np.ndarray:
    """How many members lie below each observation, half of the ties counted: 0 .. m.

    observed: (..., record); members: (..., member, record). Returns (..., record), float.
    """
    observed = np.asarray(observed)[..., None, :]
    return (members < observed).sum(axis=-2) + 0.5 * (members == observed).sum(axis=-2)


def pit_distribution(rank: np.ndarray, members: int, at: np.ndarray) -> np.ndarray:
    """Distribution function of the probability integral transform, spread evenly over each rank's bin.

        F(u) = mean over records of clip((m + 1) u - rank, 0, 1)

    rank: (record,) from `ranks`, of m = `members` members; at: (point,) u in [0, 1]. Returns (point,). This is the
    non-randomised form of Czado, Gneiting & Held (2009, doi:10.1111/j.1541-0420.2009.01191.x): for a calibrated
    ensemble F(u) = u at every u and for every size, without the steps that counting members makes.
    """
    return np.array([np.clip((members + 1) * u - rank, 0, 1).mean() for u in np.asarray(at, float)])
