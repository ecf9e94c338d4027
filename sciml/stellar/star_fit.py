"""The best model of one observed star: labels, nuisances and velocity against every order's continuum, honest sigmas.

Observed orders are y = f(theta, rv) sum_k c_k P_k + error. The c_k are linear: they are solved for at every theta and
projected out of the derivatives (variable projection: Golub & Pereyra 1973; Kaufman 1975), so that what bends an order
tells nothing of the star.

Real spectra differ from any model by 1 or 2 % where photons allow 0.3 %, and a wrong line is wrong over its width.
1. Residuals beyond the deviation sqrt(noise^2 + misfit^2) count in proportion, not in squares (Huber 1964, with the
   smooth sqrt(1 + z^2) - 1; reweighted least squares); the misfit is what gives them their normal size. Few lines are
   very wrong: labels of planted stars with such lines err by a third less than by least squares. (More misfit in deep
   lines fits residuals better and labels worse.)
2. The likelihood's covariance is the jackknife's C over stretches of 12 A at rest, wider than most wings and the same
   for overlapping orders: each is left out in turn, one linear step away from the fit (Efron & Stein 1981; Bell &
   McCaffrey 2002). With H = J^T W J, what white noise would tell, `shared` = det(C H)^(1/p) says how many pixels err
   together: tens where lines are wrong.
3. The likelihood is tempered by `shared` against the prior of the nuisances.
What all lines have in common, as departures from LTE, does not show in a spectrum's own residuals: see `apply`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq

from sciml.data.spectrum import LIGHT, Spectrum
from sciml.stellar import labels
from sciml.stellar.chi2 import nuisance_prior
from sciml.stellar.emulator import Emulator
from sciml.stellar.forward import ForwardModel, working_ranges
from sciml.stellar.labels import PARAMETERS
from sciml.stellar.observed_orders import LINES, Orders, prepared
from sciml.stellar.posterior import from_working, moments, to_working

BLOCK = 12.0  # [A] over which errors may go together: the wings of the magnesium triplet do
CLIP = 5.0  # deviations above the continuum from which on a pixel is a cosmic ray
TAILS = 1.0  # deviations from which on residuals count in proportion rather than in squares
SUSPECT = 0.02  # misfit that the search begins with
_ROUNDS, _STEPS, _SETTLED = 8, 20, 0.02
_VSINI = PARAMETERS.index("vsini")
_NORMAL = 0.5649  # mean of z^2 / sqrt(1 + z^2 / TAILS^2) of normal z
_RV_STEP = 0.1  # [km/s]
_GROW = 2  # pixels beside a clipped one
_STARTS = np.array(
    [
        (teff, logg, feh, vsini)
        for teff in (3800.0, 4500.0, 5200.0, 6000.0, 7000.0, 8500.0)
        for logg in (2.0, 4.4)
        for feh in (-1.5, -0.7, 0.0)
        for vsini in (3.0, 18.0)
    ]
)


@dataclass(frozen=True, eq=False)
class StarFit:
    """best: (7,) PARAMETERS. mean (4,), covariance (4, 4): of LABELS, given the grid. white: (4, 4) the covariance if
    pixels erred alone. rv [km/s]: left over from the frame of the spectrum that was given.

    beyond: (7,) how many sigmas the best fit would lie beyond the end of a parameter's range, 0 inside. order_wave
    (order,) [A], order_chi_square (order,): by the file's own noise, over degrees of freedom. misfit: rms of the
    residual beyond noise, unexplained: its share of the variance of the flux. shared: pixels that err together. snr:
    median over pixels, of the file's noise; NaN as order_chi_square where pixels were interpolated and the file gives
    no sigma. wave (order, pixel) [A, at rest]; flux over continuum, model, sigma (order, pixel): misfit included; used
    (order, pixel).
    """

    best: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    white: np.ndarray
    rv: float
    beyond: np.ndarray
    order_wave: np.ndarray
    order_chi_square: np.ndarray
    misfit: float
    unexplained: float
    shared: float
    snr: float
    wave: np.ndarray
    flux: np.ndarray
    model: np.ndarray
    sigma: np.ndarray
    used: np.ndarray


@dataclass(frozen=True, eq=False)
class _Weights:
    """Each (order, pixel). root: what residuals and derivatives are multiplied by, 0 where masked. curvature: how the
    likelihood curves, over root^2: 1 where weights do not depend on the residual."""

    root: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True, eq=False)
class _Fitted:
    """At some parameters: residual over sigma (order, pixel), level of the continuum, chi-square, and with derivatives
    the scaled and projected ones (parameter, order, pixel)."""

    model: np.ndarray
    level: np.ndarray
    residual: np.ndarray
    jacobian: np.ndarray | None = None

    @property
    def chi_square(self) -> float:
        return float((self.residual**2).sum())


@dataclass(frozen=True, eq=False)
class _State:
    working: np.ndarray
    rv: float
    shared: float


def fit_star(spectrum: Spectrum, emulator: Emulator, seed: int = 0) -> StarFit:
    """Fit a spectrum in the star's frame, to 3 km/s or so.

    All of PARAMETERS are free, nuisances with their prior about what is usual. Raises InputError where no order has 200
    pixels within the list of lines.
    """
    data = prepared(spectrum)
    state = _State(_start(data, emulator), 0.0, 10.0)
    start = np.where(data.used, 1 / np.hypot(data.noise, SUSPECT), 0.0)
    weights = _Weights(start, np.ones_like(start))
    for round_ in range(_ROUNDS):
        forward = data.forward(emulator, state.rv)
        state = _descended(forward, data, weights.root, state)
        fitted = _evaluated(forward, data, weights.root, state.working, derivatives=True)
        hessian, covariance = _information(fitted, data, weights)
        state = _State(state.working, state.rv, _shared(hessian, covariance))
        if round_ < _ROUNDS - 1:
            weights = _reweighted(fitted, data)
    return _result(fitted, data, weights, state, seed)


def _start(data: Orders, emulator: Emulator) -> np.ndarray:
    """(7,) working coordinates of the nearest of some stars all over the grid."""
    parameters = np.zeros((len(_STARTS), len(PARAMETERS)))
    parameters[:, :4] = _STARTS
    parameters[:, 1] = np.maximum(parameters[:, 1], labels.lowest_logg(parameters[:, 0]))
    parameters[:, 4] = labels.usual_vmic(*parameters[:, :3].T)
    parameters[:, 5] = labels.usual_alpha(parameters[:, 2])
    parameters[:, 6] = 3.0
    working = to_working(parameters)
    forward = data.forward(emulator, 0.0)
    weight = np.where(data.used, 1 / np.hypot(data.noise, 2 * SUSPECT), 0.0)
    chi = [_evaluated(forward, data, weight, row).chi_square for row in working]
    return working[int(np.argmin(chi))]


def _evaluated(
    forward: ForwardModel,
    data: Orders,
    weight: np.ndarray,
    working: np.ndarray,
    rv: float = 0.0,
    derivatives: bool = False,
) -> _Fitted:
    """rv: beyond that of the forward model's frame. Derivatives: with respect to working coordinates and rv."""
    parameters = torch.from_numpy(from_working(working[None]))

    def seen(velocity: float) -> np.ndarray:
        with torch.no_grad():
            return forward(parameters, torch.tensor([velocity], dtype=torch.float64))[0].double().numpy()

    model = seen(rv)
    design = model[:, None] * data.basis * weight[:, None]
    size = np.einsum("okp,okp->ok", design, design)
    ridge = np.where(size > 0, 1e-9 * size.max(1, keepdims=True), 1.0)
    normal = np.einsum("okp,olp->okl", design, design) + ridge[:, :, None] * np.eye(design.shape[1])
    target = data.flux * weight
    level = np.einsum("ok,okp->op", _solved(normal, np.einsum("okp,op->ok", design, target)), data.basis)
    residual = target - model * level * weight
    if not derivatives:
        return _Fitted(model, level, residual)
    jacobian = forward.jacobian(working[None], PARAMETERS)[0].double().numpy()
    shift = (seen(rv + _RV_STEP) - seen(rv - _RV_STEP)) / (2 * _RV_STEP)
    jacobian = np.concatenate([jacobian, shift[None]]) * (level * weight)
    along = np.stack([_solved(normal, row) for row in np.einsum("okp,jop->jok", design, jacobian)])
    return _Fitted(model, level, residual, jacobian - np.einsum("jok,okp->jop", along, design))


def _solved(normal: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.linalg.solve(normal, right[..., None])[..., 0]


def _ends(working: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of working coordinates (7,) at these."""
    low, high = (end.copy() for end in working_ranges())
    low[1] = labels.lowest_logg(from_working(working)[0])
    return low, high


def _descended(forward: ForwardModel, data: Orders, weight: np.ndarray, state: _State) -> _State:
    """Levenberg's and Marquardt's steps; what wants to leave the grid stays at its end and the rest goes on."""
    working, moved, damping = state.working, 0.0, 1e-3

    def cost(fitted: _Fitted, at: np.ndarray) -> float:
        away, precision = nuisance_prior(at[None], PARAMETERS)
        return fitted.chi_square / state.shared + float((away[0] ** 2 * precision).sum())

    fitted = _evaluated(forward, data, weight, working, derivatives=True)
    current = cost(fitted, working)
    for _ in range(_STEPS):
        normal, gradient = _normal(fitted, working, state.shared)
        low, high = _ends(working)
        stuck = np.zeros(len(gradient), bool)
        stuck[:-1] = ((working <= low) & (gradient[:-1] < 0)) | ((working >= high) & (gradient[:-1] > 0))
        normal[stuck] = normal[:, stuck] = 0.0
        normal[stuck, stuck] = 1.0
        gradient[stuck] = 0.0
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), gradient)
        tried = np.clip(working + step[:-1], low, high)
        tried[1] = max(tried[1], _ends(tried)[0][1])
        rv = float(np.clip(moved + step[-1], moved - 2.0, moved + 2.0))
        new = _evaluated(forward, data, weight, tried, rv)
        gained = current - cost(new, tried)
        if gained > 0:
            working, moved, damping, current = tried, rv, damping / 10, current - gained
            if gained < _SETTLED:
                break
            fitted = _evaluated(forward, data, weight, working, moved, derivatives=True)
        else:
            damping = max(damping, 1e-4) * 10
            if damping > 1e5:
                break
    return _State(working, (1 + state.rv / LIGHT) * (1 + moved / LIGHT) * LIGHT - LIGHT, state.shared)


def _normal(fitted: _Fitted, working: np.ndarray, shared: float) -> tuple[np.ndarray, np.ndarray]:
    """Curvature (8, 8) and minus half the gradient (8,) of the tempered chi-square with the prior."""
    assert fitted.jacobian is not None
    flat = fitted.jacobian.reshape(len(fitted.jacobian), -1)
    normal = flat @ flat.T / shared
    gradient = flat @ fitted.residual.ravel() / shared
    away, precision = nuisance_prior(working[None], PARAMETERS)
    normal[np.diag_indices(len(precision))] += precision + 1e-12
    gradient[:-1] -= away[0] * precision
    return normal, gradient


def _information(fitted: _Fitted, data: Orders, weights: _Weights) -> tuple[np.ndarray, np.ndarray]:
    """H (8, 8), what white noise would tell, and the covariance (8, 8) that leaving out stretches one by one gives."""
    assert fitted.jacobian is not None
    flat = fitted.jacobian.reshape(len(fitted.jacobian), -1)
    block = np.clip((data.wave - LINES[0]) / BLOCK, 0, (LINES[1] - LINES[0]) / BLOCK - 1e-9).astype(int).ravel()
    bent = weights.curvature.ravel()
    hessian = (flat * bent) @ flat.T
    size = np.sqrt(np.diag(hessian) + 1e-12)
    apart = []
    for one in np.unique(block[(flat**2).sum(0) > 0]):
        rows = flat[:, block == one]
        rest = (hessian - (rows * bent[block == one]) @ rows.T) / size[:, None] / size
        score = rows @ fitted.residual.ravel()[block == one] / size
        apart.append(np.linalg.solve(rest + 1e-9 * np.eye(len(size)), score) / size)
    moves = np.array(apart)
    return flat @ flat.T, (len(moves) - 1) / len(moves) * moves.T @ moves


def _shared(hessian: np.ndarray, covariance: np.ndarray) -> float:
    inner = slice(0, len(PARAMETERS))
    logs = [np.linalg.slogdet(matrix[inner, inner])[1] for matrix in (hessian, covariance)]
    return max(float(np.exp(sum(logs) / len(PARAMETERS))), 1.0)


def _reweighted(fitted: _Fitted, data: Orders) -> _Weights:
    """Weights at these residuals; what is far above the continuum, as no line can be, is out."""
    off = data.flux - fitted.model * fitted.level
    misfit = _excess(off[data.used], data.noise[data.used], fitted.level[data.used])
    scale = np.hypot(data.noise, misfit * fitted.level)
    struck = data.used & (data.flux > fitted.level + CLIP * scale)
    kept = data.used
    for shift in range(-_GROW, _GROW + 1):
        kept = kept & ~np.roll(struck, shift, axis=1)
    lower = 1 / np.sqrt(1 + (off / scale / TAILS) ** 2)
    return _Weights(np.where(kept, np.sqrt(lower) / scale, 0.0), lower**2)


def _excess(off: np.ndarray, noise: np.ndarray, level: np.ndarray) -> float:
    """The misfit, over the continuum, that residuals have beside noise; 0 where noise is enough. All (pixel,)."""

    def surplus(misfit: float) -> float:
        square = off**2 / (noise**2 + (misfit * level) ** 2)
        return float(np.mean(square / np.sqrt(1 + square / TAILS**2))) - _NORMAL

    most = 2 * float(np.sqrt(np.mean((off / level) ** 2)))
    return float(brentq(surplus, 0.0, most)) if surplus(0.0) > 0 else 0.0


def _result(fitted: _Fitted, data: Orders, weights: _Weights, state: _State, seed: int) -> StarFit:
    hessian, covariance = _information(fitted, data, weights)
    _, precision = nuisance_prior(state.working[None], PARAMETERS)
    known = np.append(precision, 0.0) + 1e-12
    normal, gradient = _normal(fitted, state.working, state.shared)
    centre = state.working + np.linalg.solve(normal, gradient)[:-1]
    bread = np.linalg.inv(hessian + 1e-12 * np.eye(len(hessian)))
    covariance = _with_prior(covariance, known)
    mean, spread = moments(centre[None, :4], covariance[None, :4, :4], seed)
    _, white = moments(centre[None, :4], _with_prior(bread, known)[None, :4, :4], seed)
    low, high = _ends(state.working)
    outward = np.where(state.working >= high, centre - high, np.where(state.working <= low, low - centre, 0.0))
    if state.working[_VSINI] <= low[_VSINI]:
        outward[_VSINI] = 0.0  # no star is beyond standing still
    used = weights.root > 0
    off = np.where(used, data.flux / fitted.level - fitted.model, 0.0)
    noise = data.noise / fitted.level
    count = used.sum(1)
    order_chi = np.where(
        data.noise_known & (count > 10), ((off / noise) ** 2).sum(1) / np.maximum(count - 4, 1), np.nan
    )
    beyond_noise = max(float(np.mean(off[used] ** 2 - noise[used] ** 2)), 0.0)
    variance = float(np.var(np.where(used, fitted.model, np.nan)[used]))
    return StarFit(
        best=from_working(state.working),
        mean=mean[0],
        covariance=spread[0],
        white=white[0],
        rv=state.rv,
        beyond=np.maximum(outward, 0.0) / np.sqrt(np.diag(covariance)[:-1]),
        order_wave=data.wave.mean(1),
        order_chi_square=order_chi,
        misfit=float(np.sqrt(beyond_noise)),
        unexplained=beyond_noise / max(variance, 1e-12),
        shared=state.shared,
        snr=float(np.median(1 / noise[used])) if data.noise_known else float("nan"),
        wave=data.wave / (1 + state.rv / LIGHT),
        flux=np.where(data.used, data.flux / fitted.level, np.nan),
        model=fitted.model,
        sigma=np.where(used, np.sqrt(noise**2 + beyond_noise), np.inf),
        used=used,
    )


def _with_prior(covariance: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Covariance of the product of two Gaussians, one of these precisions along the axes."""
    inner = np.sqrt(precision)
    # (C^-1 + P)^-1 = C - C Q (1 + Q C Q)^-1 Q C with P = Q Q, which needs no inverse of C
    right = covariance * inner
    return covariance - right @ np.linalg.solve(np.eye(len(inner)) + inner[:, None] * right, right.T)
