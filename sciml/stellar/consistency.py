"""Whether a spectrum is one of the grid's, and whether an answer is that spectrum's: flags for any method.

A few Gauss-Newton steps lead from a method's answer towards the best fit of the forward model within the grid. Three
things are then known, none of which needs the truth:

misfit: what the best fit leaves over, in means of 1, 6 and 48 pixels. Noise is independent between pixels, a wrong
spectrum is wrong over whole lines or whole orders, so that sums over pixels show faults that single ones hide.
disagrees: how far the answer is from the fit, in its own covariance and that of photon noise together.
edge: how far beyond the end of a parameter's range the fit would go, in standard deviations of photon noise.

The forward model errs too, by `floor` times the depth of lines: below it nothing is called a misfit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from scipy.stats import norm
from torch import Tensor

from sciml.core.errors import InputError
from sciml.stellar import labels
from sciml.stellar.answers import Answers
from sciml.stellar.forward import ForwardModel, covariance_of, working_ranges
from sciml.stellar.labels import LABELS, PARAMETERS
from sciml.stellar.posterior import V0, to_working

REASONS = ("misfit", "disagrees", "edge")
WIDTHS = (1, 6, 48)  # [pixels] of means: noise, a line, a stretch of continuum
SHARE = 0.015  # of in-grid spectra that may be flagged; 2 % are promised
FEWEST = 300  # spectra to set thresholds on
_TOO_SMOOTH = 0.5  # of the expected scatter: no spectrum of the stated noise
_BATCH = 32
_KNOTS = 4  # signal to noise ratios at which thresholds are set
_OFTEN = 0.1  # share of in-grid spectra whose model error is above the floor
_USUAL_VMAC, _VMAC_DEVIATION = 3.5, 2.5  # [km/s]
_COUNT = len(LABELS)


@dataclass(frozen=True)
class Fitting:
    """free: parameters to be fitted, LABELS first. continuum: Legendre polynomials of each order that are free too,
    0 where the continuum is known. rounds: Jacobians, each with two steps; none: no step is taken."""

    free: tuple[str, ...] = LABELS
    continuum: int = 0
    rounds: int = 1


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks against n answers.

    snr (n,): median of pixels. scatter (n, width): mean square of the residual's means over WIDTHS pixels, in noise's; 1 where the model is right.
    lines (n, width): that of the lines' depths, in noise's. means (n, width): how many. step (n, 4): from answer to fit
    in working coordinates; answered, photons (n, 4, 4): covariances of both there. beyond (n, 2, p): of the fit past
    the low and the high end of each free parameter, in standard deviations, negative inside.
    """

    snr: np.ndarray
    scatter: np.ndarray
    lines: np.ndarray
    means: np.ndarray
    step: np.ndarray
    answered: np.ndarray
    photons: np.ndarray
    beyond: np.ndarray

    def __len__(self) -> int:
        return len(self.scatter)

    def select(self, index: np.ndarray) -> "Evidence":
        """Some of the spectra."""
        return Evidence(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class Thresholds:
    """Scores above which a spectrum is flagged, at each signal to noise ratio of `snr`, linear in its logarithm between.

    limits: (snr, width + 2), columns as `scores`. floor: error of the forward model over the depth of lines, of each of
    WIDTHS. spectra: on which they were set.
    """

    floor: tuple[float, ...]
    snr: tuple[float, ...]
    limits: tuple[tuple[float, ...], ...]
    spectra: int

    def at(self, snr: np.ndarray) -> np.ndarray:
        """(n, width + 2) at ratios (n,); beyond the ends as at the end."""
        return np.stack([np.interp(np.log(snr), np.log(self.snr), column) for column in np.array(self.limits).T], 1)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        limits = [list(row) for row in self.limits]
        return {
            "widths": list(WIDTHS),
            "floor": list(self.floor),
            "snr": list(self.snr),
            "limits": limits,
            "spectra": self.spectra,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Thresholds":
        """What `to_json` wrote. Raises InputError for other widths."""
        if tuple(values.get("widths", ())) != WIDTHS:
            raise InputError(
                f"flags: thresholds for means of {values.get('widths')} pixels, expected {list(WIDTHS)}; they were"
                " written by another version: set them again"
            )
        floor, snr, *limits = (tuple(map(float, row)) for row in (values["floor"], values["snr"], *values["limits"]))
        return cls(floor, snr, tuple(limits), int(values["spectra"]))

    def raised(self, evidence: Evidence) -> "Thresholds":
        """With a floor that lets real stars pass: lines of the list are wrong by more than the emulator is.

        evidence: of stars of known labels, on which nothing is scored afterwards."""
        excess = np.maximum(evidence.scatter - 1, 0.0) / np.maximum(evidence.lines, 1e-12)
        return replace(self, floor=tuple(np.maximum(self.floor, np.sqrt(excess.max(0))).tolist()))


def weigh(
    forward: ForwardModel,
    flux: np.ndarray,
    sigma: np.ndarray,
    answers: Answers,
    fitting: Fitting = Fitting(),
) -> Evidence:
    """Evidence on answers to spectra. flux: (n, order, pixel) over the continuum, at rest. sigma: of its noise, broadcast
    to it, inf where masked. About 9 (16 with all nuisances) forward spectra each a round.

    Raises InputError where a used pixel is not finite.
    """
    flux = np.asarray(flux)
    sigma = np.broadcast_to(np.asarray(sigma, np.float32), flux.shape)
    bad = ~np.isfinite(np.where(np.isinf(sigma), 1.0, flux)) | ~(sigma > 0)
    if bad.any():
        star, order, pixel = (int(place[0]) for place in np.nonzero(bad))
        raise InputError(
            f"flags: spectrum {star}: flux {flux[star, order, pixel]:g}, sigma {sigma[star, order, pixel]:g} at order"
            f" {order}, pixel {pixel}; expected finite flux and positive sigma; give masked pixels sigma inf"
        )
    parts = []
    for start in range(0, len(flux), _BATCH):
        part = slice(start, start + _BATCH)
        chosen = np.arange(len(flux))[part]
        parts.append(_weighed(forward, flux[part], sigma[part], answers.select(chosen), fitting))
    return Evidence(*(np.concatenate([getattr(x, field.name) for x in parts]) for field in fields(Evidence)))


def scores(evidence: Evidence, floor: Sequence[float]) -> np.ndarray:
    """(n, width + 2) of misfit for each width, disagrees and edge: about 1 or less where nothing is wrong.

    misfit: (scatter - k) / sqrt(2 k^2 / means + (k - 1)^2) with k = 1 + floor^2 lines, the scatter that is expected:
    in standard deviations where noise rules, in the model's usual error where that does.
    """
    expected = 1 + np.square(floor) * evidence.lines
    misfit = (evidence.scatter - expected) / np.sqrt(2 * expected**2 / evidence.means + (expected - 1) ** 2)
    inflated = expected[:, 0]
    spread = evidence.answered + evidence.photons * inflated[:, None, None]
    size = np.sqrt(np.einsum("nii->ni", spread))
    away = evidence.step / size
    distance = np.einsum(
        "ni,nij,nj->n",
        away,
        np.linalg.pinv(spread / size[:, :, None] / size[:, None], rcond=1e-9, hermitian=True),
        away,
    )
    edge = evidence.beyond.max((1, 2)) / np.sqrt(inflated)
    return np.concatenate([misfit, np.sqrt(distance / _COUNT)[:, None], edge[:, None]], 1)


def fit_thresholds(evidence: Evidence, share: float = SHARE) -> Thresholds:
    """Thresholds above which `share` of in-grid spectra lie in all, as often above each, at every ratio.

    evidence: of one method on a split of its own, at signal to noise ratios spread over the range it will be used in;
    a ratio's thresholds are set on the spectra around it. Raises InputError for too few spectra.
    """
    if len(evidence) < FEWEST:
        raise InputError(f"flags: {len(evidence)} spectra, expected {FEWEST} or more; raise the size of their split")
    floor = _floor(evidence)
    found, place = scores(evidence, floor), np.log(evidence.snr)
    low, high = place.min(), place.max()
    knots = np.linspace(low, high, _KNOTS) if high - low > 0.1 else np.array([(low + high) / 2])
    reach = (high - low) / max(len(knots) - 1, 1) + 1e-9
    limits = [_limits(found, np.maximum(1 - abs(place - knot) / reach, 0.0), share) for knot in knots]
    return Thresholds(
        tuple(floor.tolist()),
        tuple(np.exp(knots).tolist()),
        tuple(tuple(row.tolist()) for row in limits),
        len(evidence),
    )


def flag(evidence: Evidence, thresholds: Thresholds) -> list[tuple[str, ...]]:
    """Reasons of REASONS against each spectrum; none for one that may be believed."""
    widths = len(WIDTHS)
    found = scores(evidence, thresholds.floor)
    over = found > thresholds.at(evidence.snr)
    misfit = over[:, :widths].any(1) | (evidence.scatter[:, 0] < _TOO_SMOOTH)
    columns = np.stack([misfit, over[:, widths], over[:, widths + 1]], 1)
    return [tuple(name for name, yes in zip(REASONS, row, strict=True) if yes) for row in columns]


def flagged(reasons: Sequence[tuple[str, ...]]) -> np.ndarray:
    """(n,) bool, as `Answers.flagged`."""
    return np.array([bool(one) for one in reasons])


def _limits(found: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """(column,) above each of which the same share of weighted rows lies, and above any of them `share`."""
    order = np.argsort(-found, axis=0)
    rank = np.empty_like(found)  # share of rows at least as high
    np.put_along_axis(rank, order, np.cumsum(weight[order], axis=0) / weight.sum(), axis=0)
    rarest = rank.min(1)
    worst = np.argsort(rarest)
    total = np.cumsum(weight[worst]) / weight.sum()
    level = rarest[worst[np.searchsorted(total, share)]]  # rows whose rarest score is rarer are flagged
    return np.array([column[shares >= level].max() for column, shares in zip(found.T, rank.T, strict=True)])


def _floor(evidence: Evidence) -> np.ndarray:
    """(width,) error of the model over the depth of lines with which `_OFTEN` of spectra lie above what is expected by
    more than noise would have them lie as often."""

    def enough_at(square: np.ndarray) -> np.ndarray:
        expected = 1 + square * evidence.lines
        above = evidence.scatter - expected > norm.isf(_OFTEN) * expected * np.sqrt(2 / evidence.means)
        return above.mean(0) < _OFTEN

    low, high = np.zeros(len(WIDTHS)), np.ones(len(WIDTHS))
    for _ in range(40):
        middle = (low + high) / 2
        enough = enough_at(middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.sqrt(high)


def _weighed(
    forward: ForwardModel, flux: np.ndarray, sigma: np.ndarray, answers: Answers, fitting: Fitting
) -> Evidence:
    problem = _Problem(forward, flux, sigma, fitting)
    answer = _start(answers.mean, fitting.free)
    working = _kept(answer)
    model, residual = problem.left(working)
    chi = _squares(residual)
    normal, scaled = problem.normal(working, model)
    length = np.ones((len(working), 1))
    for number in range(fitting.rounds):
        if number:
            normal, scaled = problem.normal(working, model)
        for _ in range(2):
            gradient = problem.gradient(scaled, residual, working)
            tried = _kept(working + length * (_stepped(working, normal, gradient, problem.columns) - working))
            seen, left = problem.left(tried)
            found = _squares(left)
            better = found < chi
            length = np.where(better[:, None], 1.0, 0.2 * length)
            rows = torch.from_numpy(better)
            working[better], chi[better] = tried[better], found[better]
            model[rows], residual[rows] = seen[rows], left[rows]
    covariance = covariance_of(normal)
    gradient = problem.gradient(scaled, residual, working)
    wanted = working[:, problem.columns] + np.einsum("nij,nj->ni", covariance, gradient)
    scatter, lines, means = problem.means(model, residual)
    return Evidence(
        problem.snr(),
        scatter,
        lines,
        means,
        wanted[:, :_COUNT] - answer[:, :_COUNT],
        _in_working(answers),
        covariance[:, :_COUNT, :_COUNT],
        _beyond(wanted, working, np.sqrt(np.einsum("nii->ni", covariance)), problem.columns),
    )


class _Problem:
    """Residuals of a batch over their noise, free of the continuum."""

    def __init__(self, forward: ForwardModel, flux: np.ndarray, sigma: np.ndarray, fitting: Fitting) -> None:
        self.forward, self.free = forward, fitting.free
        self.columns = [PARAMETERS.index(name) for name in fitting.free]
        self.weight = torch.from_numpy(np.ascontiguousarray(1 / sigma))
        self.flux = torch.from_numpy(np.where(np.isinf(sigma), 1.0, flux).astype(np.float32))
        u = np.linspace(-1.0, 1.0, flux.shape[2])
        self.shapes = (
            torch.from_numpy(legvander(u, fitting.continuum - 1).astype(np.float32)) if fitting.continuum else None
        )

    def snr(self) -> np.ndarray:
        """(n,) median over the pixels that count."""
        values = torch.where(self.weight > 0, self.weight, torch.nan).flatten(1)
        return values.nanmedian(1).values.double().numpy()

    def left(self, working: np.ndarray) -> tuple[Tensor, Tensor]:
        """Model (n, order, pixel), and the residual over noise, with no part that a continuum would take."""
        model = self.forward.at(working)
        return model, self._free_of_continuum((self.flux - model) * self.weight, model)

    def normal(self, working: np.ndarray, model: Tensor) -> tuple[np.ndarray, Tensor]:
        """Fisher matrix (n, p, p) and the derivatives over noise (n, p, pixel)."""
        derivatives = self.forward.jacobian(working, self.free) * self.weight[:, None]
        columns = [self._free_of_continuum(column, model).flatten(1) for column in derivatives.unbind(1)]
        scaled = torch.stack(columns, 1)
        normal = (scaled @ scaled.mT).double().numpy()
        k = np.arange(len(self.free))
        normal[:, k, k] += _prior(working, self.free)[1] + 1e-12
        return normal, scaled

    def gradient(self, scaled: Tensor, residual: Tensor, working: np.ndarray) -> np.ndarray:
        """(n, p) minus half that of chi-square."""
        away, precision = _prior(working, self.free)
        return (scaled @ residual.flatten(1)[..., None])[..., 0].double().numpy() - away * precision

    def means(self, model: Tensor, residual: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n, width) scatter, lines and how many means: see Evidence."""
        depth = (1 - model) * self.weight
        used = (self.weight > 0).float()
        found = [(_mean_square(residual, used, width), _mean_square(depth, used, 1)[0], width) for width in WIDTHS]
        scatter = np.stack([value for (value, _), _, _ in found], 1)
        count = np.stack([number for (_, number), _, _ in found], 1)
        return scatter, np.stack([lines for _, lines, _ in found], 1), count

    def _free_of_continuum(self, values: Tensor, model: Tensor) -> Tensor:
        """Less the least-squares multiple of model times each polynomial, order by order."""
        if self.shapes is None:
            return values
        basis = (model * self.weight)[..., None] * self.shapes
        product = (basis.mT @ basis).double()
        scale = torch.diagonal(product, dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp(min=1e-20)
        product = product / scale + 1e-9 * torch.eye(product.shape[-1], dtype=torch.float64)
        amount = torch.linalg.solve(product, (basis.mT @ values[..., None]).double() / scale)
        return values - (basis @ amount.to(basis.dtype))[..., 0]


def _mean_square(values: Tensor, used: Tensor, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) mean square of sums of `width` pixels over the root of how many of them count, and how many sums count."""
    whole = values.shape[2] // width * width
    total = (values * used)[..., :whole].unflatten(2, (-1, width)).sum(3)
    count = used[..., :whole].unflatten(2, (-1, width)).sum(3)
    there = (count > 0).float()
    square = (total.square() / count.clamp(min=1.0)).double().flatten(1).sum(1)
    number = there.double().flatten(1).sum(1).clamp(min=1.0)
    return (square / number).numpy(), number.numpy()


def _squares(residual: Tensor) -> np.ndarray:
    return residual.square().flatten(1).double().sum(1).numpy()


def _start(mean: np.ndarray, free: Sequence[str]) -> np.ndarray:
    """Answers (n, 4) as working coordinates (n, 7), with what is usual for the nuisances."""
    found = np.zeros((len(mean), len(PARAMETERS)))
    found[:, :_COUNT] = mean
    found[:, _COUNT:] = (2.0, 0.0, 0.0)  # the paper's
    low, high = np.array([labels.RANGES[name] for name in PARAMETERS]).T
    kept = np.clip(found, low, high)
    for name, value in _usual(kept).items():
        if name in free:
            found[:, PARAMETERS.index(name)] = value
    return to_working(found)


def _kept(working: np.ndarray) -> np.ndarray:
    """A copy within the grid."""
    low, high = working_ranges()
    found = np.clip(working, low, high)
    found[:, 1] = np.maximum(found[:, 1], labels.lowest_logg(found[:, 0]))
    return found


def _stepped(working: np.ndarray, normal: np.ndarray, gradient: np.ndarray, columns: list[int]) -> np.ndarray:
    """Where a step of Gauss and Newton leads within the grid: parameters that would leave it stop at its end, and the
    others go where they are best then."""
    low, high = (ends[columns] for ends in working_ranges())
    found = working.copy()
    for star, (matrix, slope, place) in enumerate(zip(normal, gradient, working[:, columns], strict=True)):
        least = low.copy()
        least[1] = max(least[1], float(labels.lowest_logg(place[0])))
        step, held = np.zeros(len(columns)), np.zeros(len(columns), bool)
        for _ in columns:
            free = ~held
            step[free] = np.linalg.solve(
                matrix[np.ix_(free, free)], slope[free] - matrix[np.ix_(free, held)] @ step[held]
            )
            out = free & ((place + step < least) | (place + step > high))
            if not out.any():
                break
            step[out] = np.clip(place + step, least, high)[out] - place[out]
            held |= out
            if held.all():
                break
        found[star, columns] = place + step
    return found


def _beyond(wanted: np.ndarray, working: np.ndarray, deviation: np.ndarray, columns: list[int]) -> np.ndarray:
    """(n, 2, p): see Evidence. No star has less than no rotation and no turbulence, so those ends do not count."""
    low, high = (ends[columns] for ends in working_ranges())
    low = np.where([PARAMETERS[column] in labels.BROADENING for column in columns], -np.inf, low)
    least = np.tile(low, (len(wanted), 1))
    least[:, 1] = labels.lowest_logg(working[:, 0])
    return np.maximum(np.stack([least - wanted, wanted - high], 1) / deviation[:, None], -99.0)


def _in_working(answers: Answers) -> np.ndarray:
    """(n, 4, 4) covariance in working coordinates: v sin i by the mean slope within a standard deviation."""
    place = LABELS.index("vsini")
    value, sigma = np.maximum(answers.mean[:, place], 0.0), answers.sigma[:, place]
    ends = np.maximum(np.stack([value - sigma, value + sigma]), 0.0)
    u = np.sqrt(ends**2 + V0**2)
    slope = np.ones((len(value), _COUNT))
    slope[:, place] = (u[1] - u[0]) / (ends[1] - ends[0])
    return answers.covariance * slope[:, :, None] * slope[:, None, :]


def _usual(parameters: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "vmic": labels.usual_vmic(*parameters[:, :3].T),
        "alpha": labels.usual_alpha(parameters[:, 2]),
        "vmac": np.full(len(parameters), _USUAL_VMAC),
    }


def _prior(working: np.ndarray, free: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """How far each free parameter is from what is usual (n, p), and how much that counts (p,)."""
    usual = _usual(working)
    counts = {"vmic": labels.VMIC_DEVIATION**-2, "alpha": labels.ALPHA_DEVIATION**-2, "vmac": _VMAC_DEVIATION**-2}
    away = [working[:, PARAMETERS.index(name)] - usual.get(name, 0.0) for name in free]
    return np.stack(away, 1), np.array([counts.get(name, 0.0) for name in free])
