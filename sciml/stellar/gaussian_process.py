"""Regression by Gaussian processes over the parameters of model spectra (Rasmussen & Williams 2006).

All outputs share one kernel, a Matern 5/2 with one length a parameter beside a quadratic trend, so that a prediction is
one vector of correlations times one matrix. Lengths are those with which samples left out one by one are found back
best (in closed form: eq. 5.12). Everything is in doubles.
"""

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from torch import Tensor

from sciml.stellar.labels import ATMOSPHERIC, RANGES

_TREND = 30.0  # amplitude of the quadratic trend against the kernel's
_START = (1.0, 3.0, 3.0, 3.0, 8.0)  # lengths of ATMOSPHERIC, in half ranges
_FIRST_STEP = 0.4  # of their logarithms


def inputs(parameters: Tensor) -> Tensor:
    """ATMOSPHERIC parameters (n, 5) as the kernel sees them: half ranges, temperature as its inverse, which is what
    populations and molecules depend on."""
    low, high = (
        torch.tensor([RANGES[name][side] for name in ATMOSPHERIC], dtype=torch.float64, device=parameters.device)
        for side in (0, 1)
    )
    inverse = 5040.0 / torch.cat([parameters[:, :1], low[:1, None], high[:1, None]])
    teff = 1 - 2 * (inverse[:-2] - inverse[-1]) / (inverse[-2] - inverse[-1])
    return torch.cat([teff, (2 * parameters - low - high)[:, 1:] / (high - low)[1:]], 1)


def kernel(left: Tensor, right: Tensor, lengths: Tensor) -> Tensor:
    """Covariance (n, m): Matern 5/2 and a quadratic."""
    scaled = _distance(left, right, lengths)
    return (1 + scaled + scaled**2 / 3) * torch.exp(-scaled) + _TREND * (1 + left @ right.T) ** 2


def kernel_slope(left: Tensor, right: Tensor, lengths: Tensor) -> Tensor:
    """(n, input, m) derivatives of `kernel` by the inputs on the left."""
    scaled = _distance(left, right, lengths)
    near = -5 / 3 * (1 + scaled) * torch.exp(-scaled)
    far = 2 * _TREND * (1 + left @ right.T)
    apart = (left[:, :, None] - right.T) / lengths[:, None] ** 2
    return apart.mul_(near[:, None]).addcmul_(far[:, None], right.T)


def weights_of(places: Tensor, values: np.ndarray, lengths: Tensor, nugget: float) -> np.ndarray:
    """K^-1 values (n, column), of values at places (n, input). nugget: variance that is no function of the place, over
    the kernel's."""
    return cho_solve(_factor(places, lengths, nugget), values)


def best_lengths(places: Tensor, values: np.ndarray, nugget: float) -> Tensor:
    """Lengths (input,) with the smallest error of samples left out: the mean of its logarithm, so that no kind of star
    rules. places: (n, input), the first ones of ATMOSPHERIC."""
    floor = 1e-6 * float((values**2).sum(1).mean())

    def error(log_lengths: np.ndarray) -> float:
        lengths = torch.from_numpy(np.exp(log_lengths))
        try:
            inverse = cho_solve(_factor(places, lengths, nugget), np.eye(len(places)))
        except np.linalg.LinAlgError:  # too long: the matrix is singular
            return 1e3
        squares = ((inverse @ values / np.diag(inverse)[:, None]) ** 2).sum(1)
        return float(np.log(squares + floor).mean())

    start = np.log(_START[: places.shape[1]])
    simplex = np.vstack([start, start + _FIRST_STEP * np.eye(len(start))])
    options = {"maxfev": 200, "xatol": 0.05, "fatol": 1e-3, "initial_simplex": simplex}
    return torch.from_numpy(np.exp(minimize(error, start, method="Nelder-Mead", options=options).x))


def _distance(left: Tensor, right: Tensor, lengths: Tensor) -> Tensor:
    return np.sqrt(5.0) * torch.cdist(left / lengths, right / lengths, compute_mode="donot_use_mm_for_euclid_dist")


def _factor(places: Tensor, lengths: Tensor, nugget: float) -> tuple[np.ndarray, bool]:
    covariance = kernel(places, places, lengths).numpy()
    covariance[np.diag_indices(len(covariance))] += nugget
    factor: tuple[np.ndarray, bool] = cho_factor(covariance, lower=True, overwrite_a=True)
    return factor
