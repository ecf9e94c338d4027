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
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from sciml.core.errors import InputError
from sciml.stellar import labels
from sciml.stellar.answers import Answers
from sciml.stellar.forward import ForwardModel, working_ranges
from sciml.stellar.labels import COUNT, LABELS, PARAMETERS
from sciml.stellar.posterior import V0, to_working
from sciml.stellar.refit import Fitting, Refit, refit

REASONS = ("misfit", "disagrees", "edge")
WIDTHS = (1, 6, 48)  # [pixels] of means: noise, a line, a stretch of continuum
SHARE = 0.015  # of in-grid spectra that may be flagged; 2 % are promised
FEWEST = 300  # spectra to set thresholds on
_TOO_SMOOTH = 0.5  # of the expected scatter: no spectrum of the stated noise
_BATCH = 32
_KNOTS, _MOST_KNOTS = 4, 8  # signal to noise ratios at which thresholds are set, where they spread and where not
_SAME = 0.05  # difference of the logarithm of ratios that are one
_USUAL = 0.95  # share of in-grid spectra by which scores are brought to one scale
_OFTEN = 0.1  # share of in-grid spectra whose model error is above the floor
_LABELS_ALONE = Fitting()


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks against n answers.

    snr (n,): median of pixels. scatter (n, width): mean square of the residual's means over WIDTHS pixels, in that of
    noise: 1 where the model is right. lines (n, width): mean square of the lines' depths in that of a pixel's noise.
    means (n, width): how many. step (n, 4): from answer to fit in working coordinates; answered, photons (n, 4, 4):
    covariances of both there. beyond (n, 2, p): of the fit past the low and the high end of each free parameter, in
    standard deviations, negative inside.
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


@dataclass(frozen=True, eq=False)
class Fits:
    """What the best fits to n spectra tell of any method's answers; see Evidence. wanted (n, 4): where they go."""

    snr: np.ndarray
    scatter: np.ndarray
    lines: np.ndarray
    means: np.ndarray
    wanted: np.ndarray
    photons: np.ndarray
    beyond: np.ndarray

    def select(self, index: np.ndarray) -> "Fits":
        """Some of the spectra."""
        return Fits(*(getattr(self, field.name)[index] for field in fields(self)))

    def better(self, other: "Fits") -> "Fits":
        """Of two fits to each spectrum that which leaves less over."""
        take = other.scatter[:, 0] < self.scatter[:, 0]
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return Fits(*(np.where(take.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in pairs))

    def against(self, answers: Answers) -> Evidence:
        """Evidence on answers to the same spectra."""
        whole = np.zeros((len(answers), len(PARAMETERS)))
        whole[:, :COUNT] = answers.mean
        step = self.wanted - to_working(whole)[:, :COUNT]
        return Evidence(
            self.snr, self.scatter, self.lines, self.means, step, _in_working(answers), self.photons, self.beyond
        )


@dataclass(frozen=True)
class Thresholds:
    """Scores above which a spectrum is flagged, at each signal to noise ratio of `snr`, between them linear in its log.

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


def weigh(
    forward: ForwardModel,
    flux: np.ndarray,
    sigma: np.ndarray,
    answers: Answers,
    fitting: Fitting = _LABELS_ALONE,
) -> Evidence:
    """Evidence on answers to spectra; see `best_fits`."""
    return best_fits(forward, flux, sigma, answers.mean, fitting).against(answers)


def best_fits(
    forward: ForwardModel, flux: np.ndarray, sigma: np.ndarray, start: np.ndarray, fitting: Fitting = _LABELS_ALONE
) -> Fits:
    """Fits of spectra from labels near by (n, 4). flux: (n, order, pixel) over the continuum, at rest. sigma: of its
    noise, of any shape that broadcasts to it, inf where masked. A round costs 10 forward spectra each, 16 with all
    nuisances, and a start that is close takes one.

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
    for first in range(0, len(flux), _BATCH):
        part = slice(first, first + _BATCH)
        parts.append(_fitted(forward, flux[part], sigma[part], start[part], fitting))
    return Fits(*(np.concatenate([getattr(x, field.name) for x in parts]) for field in fields(Fits)))


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
    return np.concatenate([misfit, np.sqrt(distance / COUNT)[:, None], edge[:, None]], 1)


def fit_thresholds(evidence: Evidence, share: float = SHARE) -> Thresholds:
    """Thresholds above which `share` of in-grid spectra lie in all, at every ratio.

    evidence: of one method on a split of its own, better 2,000 spectra or more, at signal to noise ratios spread over
    the range it will be used in; a ratio's thresholds are set on the spectra around it, or where there are few ratios
    at it. Raises InputError where fewer than 300 are given.
    """
    if len(evidence) < FEWEST:
        raise InputError(f"flags: {len(evidence)} spectra, expected {FEWEST} or more; raise the size of their split")
    floor = _floor(evidence)
    found, place = scores(evidence, floor), np.log(evidence.snr)
    knots = _knots(place)
    limits = [_limits(found, weight, share) for weight in _hats(place, knots) if weight.any()]
    return Thresholds(
        tuple(floor.tolist()),
        tuple(np.exp(knots).tolist()),
        tuple(tuple(row.tolist()) for row in limits),
        len(evidence),
    )


def flag(evidence: Evidence, thresholds: Thresholds) -> list[tuple[str, ...]]:
    """Reasons of REASONS against each spectrum; none for one that may be believed."""
    columns = excess(evidence, thresholds) > 1
    return [tuple(name for name, yes in zip(REASONS, row, strict=True) if yes) for row in columns]


def excess(evidence: Evidence, thresholds: Thresholds) -> np.ndarray:
    """(n, 3) score over threshold of each of REASONS: above 1 where it speaks against a spectrum."""
    widths = len(WIDTHS)
    found = scores(evidence, thresholds.floor) / thresholds.at(evidence.snr)
    smooth = _TOO_SMOOTH / np.maximum(evidence.scatter[:, 0], 1e-3)
    return np.stack([np.maximum(found[:, :widths].max(1), smooth), found[:, widths], found[:, widths + 1]], 1)


def flagged(reasons: Sequence[tuple[str, ...]]) -> np.ndarray:
    """(n,) bool, as `Answers.flagged`."""
    return np.array([bool(one) for one in reasons])


def _knots(place: np.ndarray) -> np.ndarray:
    """Logarithms of ratios at which thresholds are set: those that there are (to 5 %, since a median over the pixels of
    a spectrum is never twice the same) if they are few."""
    ordered = np.sort(place)
    groups = np.split(ordered, np.flatnonzero(np.diff(ordered) > _SAME) + 1)
    if len(groups) <= _MOST_KNOTS and all(np.ptp(group) < 2 * _SAME for group in groups):
        return np.array([group.mean() for group in groups])
    return np.linspace(ordered[0], ordered[-1], _KNOTS)


def _hats(place: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(knot, n) weights that fall linearly from 1 at a knot to 0 at its neighbours."""
    return np.array([np.interp(place, knots, row) for row in np.eye(len(knots))])


def _limits(found: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """(column,) that `share` of weighted rows at most are expected to exceed in any column.

    Half of it for misfits of all widths, a quarter each for the other two, so that faults of one kind do not hide
    another. Widths are brought to one scale by their 95th percentiles, 1 at least. Of n rows not seen yet one more is
    above a limit than of n seen ones (Vovk et al. 2005), which counts where they are few.
    """
    widths = len(WIDTHS)
    effective = weight.sum() ** 2 / (weight**2).sum()
    share = max(share - 1 / effective, share / 2)
    usual = np.array([_quantile(column, weight, _USUAL) for column in found.T[:widths]])
    usual = np.maximum(usual, 1.0)
    misfit = usual * _quantile((found[:, :widths] / usual).max(1), weight, 1 - share / 2)
    others = [_quantile(column, weight, 1 - share / 4) for column in found.T[widths:]]
    return np.maximum(np.append(misfit, others), 1.0)


def _quantile(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    order = np.argsort(values)[weight[np.argsort(values)] > 0]
    below = np.cumsum(weight[order]) / weight.sum()
    return float(values[order[min(np.searchsorted(below, share), len(order) - 1)]])


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


def _fitted(forward: ForwardModel, flux: np.ndarray, sigma: np.ndarray, start: np.ndarray, fitting: Fitting) -> Fits:
    fit = refit(forward, flux, sigma, start, fitting)
    weight = torch.from_numpy(np.ascontiguousarray(1 / sigma))
    used = (weight > 0).float()
    scatter, means = np.array([_mean_square(fit.residual, used, width) for width in WIDTHS]).transpose(1, 2, 0)
    lines, _ = _mean_square((1 - fit.model) * weight, used, 1)
    snr = torch.where(weight > 0, weight, torch.nan).flatten(1).nanmedian(1).values.double().numpy()
    return Fits(
        snr,
        scatter,
        np.tile(lines[:, None], (1, len(WIDTHS))),
        means,
        fit.wanted[:, :COUNT],
        fit.covariance[:, :COUNT, :COUNT],
        _beyond(fit, [PARAMETERS.index(name) for name in fitting.free]),
    )


def _mean_square(values: Tensor, used: Tensor, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) mean square of sums of `width` pixels over the root of how many of them count, and how many sums count."""
    whole = values.shape[2] // width * width
    total = (values * used)[..., :whole].unflatten(2, (-1, width)).sum(3)
    count = used[..., :whole].unflatten(2, (-1, width)).sum(3)
    there = (count > 0).float()
    square = (total.square() / count.clamp(min=1.0)).double().flatten(1).sum(1)
    number = there.double().flatten(1).sum(1).clamp(min=1.0)
    return (square / number).numpy(), number.numpy()


def _beyond(fit: Refit, columns: list[int]) -> np.ndarray:
    """(n, 2, p): see Evidence. No star has less than no rotation and no turbulence, so those ends do not count."""
    low, high = (ends[columns] for ends in working_ranges())
    low = np.where([PARAMETERS[column] in labels.BROADENING for column in columns], -np.inf, low)
    least = np.tile(low, (len(fit.wanted), 1))
    least[:, 1] = labels.lowest_logg(fit.working[:, 0])
    deviation = np.sqrt(np.einsum("nii->ni", fit.covariance))
    return np.maximum(np.stack([least - fit.wanted, fit.wanted - high], 1) / deviation[:, None], -99.0)


def _in_working(answers: Answers) -> np.ndarray:
    """(n, 4, 4) covariance in working coordinates: v sin i by the mean slope within a standard deviation."""
    place = LABELS.index("vsini")
    value, sigma = np.maximum(answers.mean[:, place], 0.0), answers.sigma[:, place]
    ends = np.maximum(np.stack([value - sigma, value + sigma]), 0.0)
    u = np.sqrt(ends**2 + V0**2)
    slope = np.ones((len(value), COUNT))
    slope[:, place] = (u[1] - u[0]) / (ends[1] - ends[0])
    return answers.covariance * slope[:, :, None] * slope[:, None, :]
