"""Unit hydrographs: what a day's runoff of a sub-area makes of the discharge at a gauge below, lumped.

A cascade of n equal linear reservoirs of K days (Nash 1957, IASH Publ. 45(3), 114-121; 1959,
doi:10.1029/JZ064i001p00111) beside one slow reservoir of K_s days that takes the share s of the water:

    h(t) = (1 - s) / (K Gamma(n)) (t / K)^(n - 1) exp(-t / K) + s / K_s exp(-t / K_s)

n need not be whole. Runoff is a mean over its day and so is discharge; with P the regularised lower incomplete gamma
function and G(t) = t P(n, t / K) - n K P(n + 1, t / K), the twice integrated h, the weight of the day j days later is
exactly G(j + 1) - 2 G(j) + G(j - 1). Weights sum to 1: no water is lost.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.signal import fftconvolve
from scipy.special import gammainc

from sciml.core.errors import InputError

DAYS = 1500  # length of a hydrograph; of the slowest, less than 5e-5 would come later and is spread over the rest
YEAR = 365
FEWEST_DAYS = 365  # of a fit
# n, K [day], s, K_s [day] of a sub-area; gain, about 1
LOW, HIGH = (0.3, 0.05, 0.0, 3.0), (20.0, 15.0, 1.0, 150.0)
START = (2.0, 1.5, 0.3, 30.0)
GAIN = 2.0  # times or over which the gain may be


@dataclass(frozen=True)
class Hydrograph:
    """n [1], K [day], s [1], K_s [day] of the module's docstring."""

    reservoirs: float
    stay_days: float
    slow_share: float
    slow_days: float


@dataclass(frozen=True)
class Routing:
    """hydrographs: of each sub-area; gain: discharge over the runoff of all, in the mean."""

    hydrographs: tuple[Hydrograph, ...]
    gain: float


def nash(reservoirs: float, stay_days: float, days: int) -> np.ndarray:
    """(days,) share of a day's water that leaves a cascade on that day and each after it; sums to 1 for days without
    end."""
    t = np.maximum(np.arange(-1.0, days + 1), 0.0)
    inner = gammainc(reservoirs, t / stay_days), gammainc(reservoirs + 1.0, t / stay_days)
    return np.diff(t * inner[0] - reservoirs * stay_days * inner[1], 2)


def weights(of: Hydrograph, days: int = DAYS) -> np.ndarray:
    """(days,) share of a day's water that passes the gauge on that day and each after it; sums to 1."""
    fast, slow = nash(of.reservoirs, of.stay_days, days), nash(1.0, of.slow_days, days)
    both = (1.0 - of.slow_share) * fast + of.slow_share * slow
    return both / both.sum()


def route(volumes: np.ndarray, routing: Routing) -> np.ndarray:
    """Discharge at a gauge, (time,), from what runs off its sub-areas, (time, sub-area): daily means in one unit.

    What ran off before the record is taken to be its first year, again and again. Raises InputError for a gap.
    """
    if not np.isfinite(volumes).all():
        day = int(np.flatnonzero(~np.isfinite(volumes).all(axis=1))[0])
        raise InputError(f"runoff to be routed: day {day + 1} of {len(volumes)} is missing; expected a number each day")
    year = volumes[:YEAR]
    before = np.tile(year, (-(-DAYS // len(year)), 1))
    water = np.concatenate([before, volumes])
    kernels = np.stack([weights(h) for h in routing.hydrographs], axis=1)
    routed = fftconvolve(water, kernels, axes=0)[len(before) : len(water)]
    return routing.gain * routed.sum(axis=1)


def fit(volumes: np.ndarray, discharge: np.ndarray, training: np.ndarray) -> Routing:
    """A hydrograph of each sub-area and one gain by least squares on the training days that have a discharge.

    volumes: (time, sub-area) and discharge: (time,) in one unit; training: (time,) bool. The first year is spin-up.
    """
    scored = training & np.isfinite(discharge) & (np.arange(len(discharge)) >= YEAR)
    if scored.sum() < FEWEST_DAYS:
        raise InputError(
            f"unit hydrographs: {scored.sum()} training days have a discharge after the first year; expected"
            f" {FEWEST_DAYS} at least; give more years"
        )
    last = int(np.flatnonzero(scored)[-1]) + 1  # later days would change the rounding of a transform
    volumes, discharge, scored = volumes[:last], discharge[:last], scored[:last]
    areas, size = volumes.shape[1], discharge[scored].std()
    gain = discharge[scored].mean() / volumes[scored].sum(axis=1).mean()
    if not (gain > 0.0 and size > 0.0):
        raise InputError("unit hydrographs: discharge or runoff is 0 or constant; expected a river that flows")

    def off(free: np.ndarray) -> np.ndarray:
        return (route(volumes, _routing(free))[scored] - discharge[scored]) / size

    def bounds(of_area: tuple[float, ...], of_gain: float) -> np.ndarray:
        return np.array([*(_free(of_area) * areas), float(np.log(of_gain))])

    start = bounds(START, gain)
    low, high = bounds(LOW, gain / GAIN), bounds(HIGH, gain * GAIN)
    return _routing(optimize.least_squares(off, start, bounds=(low, high), max_nfev=100).x)


def _free(values: tuple[float, ...]) -> list[float]:
    reservoirs, stay, share, slow = values
    return [float(np.log(reservoirs)), float(np.log(stay)), share, float(np.log(slow))]


def _routing(free: np.ndarray) -> Routing:
    found = []
    for reservoirs, stay, share, slow in free[:-1].reshape(-1, 4):
        found.append(Hydrograph(float(np.exp(reservoirs)), float(np.exp(stay)), float(share), float(np.exp(slow))))
    return Routing(tuple(found), float(np.exp(free[-1])))


def flood_peaks(discharge: np.ndarray, count: int, apart: int = 15) -> np.ndarray:
    """Days of the highest floods, in order: at most `count`, each the maximum of `apart` days on both sides."""
    known = np.where(np.isfinite(discharge), discharge, -np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(known, apart, constant_values=-np.inf), 2 * apart + 1)
    first_highest = (windows.argmax(axis=1) == apart) & np.isfinite(known)
    days = np.flatnonzero(first_highest)
    return np.sort(days[np.argsort(-known[days], kind="stable")[:count]])


def peak_lags(predicted: np.ndarray, peaks: np.ndarray, window: int = 5) -> np.ndarray:
    """Days by which each peak comes late in the prediction; peaks without a summit there within `window` days are left
    out."""
    lags = []
    for day in peaks:
        first, stop = max(day - window, 0), min(day + window + 1, len(predicted))
        near = predicted[first:stop]
        highest = int(near.argmax())
        if np.isfinite(near).all() and 0 < highest < len(near) - 1:
            lags.append(first + highest - int(day))
    return np.array(lags, int)
