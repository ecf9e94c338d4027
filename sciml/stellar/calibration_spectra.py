"""Spectra on which sigmas are calibrated and flags are set, and strangers on which flags are tried; none is scored.

The first are emulated stars of the prior to which the emulator's own error is added: an emulator of seven models in
eight tells what the others look like beside what it makes of them. Without it sigmas and limits would be too
tight for spectra that no emulator made. Strangers: see `strangers`.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.core.seeds import seed_for
from sciml.data.stores import spans
from sciml.nn.checkpoint import load_checkpoint
from sciml.stellar import experiments, labels, strangers
from sciml.stellar.emulator import EmulatorSettings, fit_emulator
from sciml.stellar.experiments import Setup, Stars, models_of, observed, scored_stars
from sciml.stellar.grid import ModelSpectra, read_models, read_parameters
from sciml.stellar.labels import ATMOSPHERIC, LABELS, PARAMETERS, RANGES
from sciml.stellar.source import stars
from sciml.stellar.steps import SPECTRA_PER_ITEM, SpectrumBlock
from sciml.stellar.wavelengths import GRID

CALIBRATION_VERSION = 2  # raise it where the same setup gives other spectra or other fits
GRID_STARS = "calibration"  # the kind of those that are no strangers
_HELD = 8  # one model of so many is left out of an emulator to see its error
_NUISANCES_COUNT = 3.0  # more than labels in how near a left-out model is: stars get errors of their own prior's
_ATMOSPHERIC = [PARAMETERS.index(name) for name in ATMOSPHERIC]
_VSINI = PARAMETERS.index("vsini")
_MODELS_AT_ONCE = 64


@dataclass(frozen=True)
class TrainErrors:
    """Training function: what an emulator errs by on models that it did not learn from. whole: stores of models of
    which all are learned; parted: of which an eighth is not.

    Its state: parameters (model, 7) and error (model, 29400), synthesis less emulator [continuum]."""

    whole: tuple[str, ...]
    parted: tuple[str, ...]
    settings: EmulatorSettings
    seed: int

    def __call__(self, config: Any, member: int, place: Any) -> dict[str, Any]:
        models = read_models((*self.whole, *self.parted))
        first = sum(len(read_parameters(url)) for url in self.whole)
        parameters, error = left_out(models, self.settings, self.seed, first)
        return {"parameters": torch.from_numpy(parameters), "error": error}


def left_out(models: ModelSpectra, settings: EmulatorSettings, seed: int, first: int = 0) -> tuple[np.ndarray, Tensor]:
    """Parameters (n, 7) of an eighth of the models from number `first` on, and the error (n, 29400) [continuum] of an
    emulator of all others there: synthesis less emulator."""
    # at random: every eighth point of a Sobol sequence lies in one eighth of the range of its first coordinate
    parted = first + np.random.default_rng(seed).permutation(len(models) - first)
    held = np.sort(parted[: len(parted) // _HELD])
    emulator = fit_emulator(models.select(np.setdiff1d(np.arange(len(models)), held)), settings, seed)
    left = models.select(held)
    parameters, parts = torch.from_numpy(left.parameters), []
    with torch.no_grad():
        for part in torch.arange(len(left)).split(_MODELS_AT_ONCE):
            made = torch.fft.irfft(emulator(parameters[part])[0], n=GRID.size)
            parts.append(torch.from_numpy(left.flux[part]) - made)
    return left.parameters, torch.cat(parts)


@dataclass(frozen=True)
class CalibrationSpectra:
    """A `steps.Seen`. errors: checkpoint of `TrainErrors`. count: stars of the grid; strangers come after them, kind
    after kind. each: of a kind. outside: store of model spectra of the kinds that need their own, empty for none."""

    setup: Setup
    errors: str
    count: int
    each: int
    kinds: tuple[str, ...]
    outside: str = ""

    def __len__(self) -> int:
        return self.count + self.each * len(self.kinds)

    def blocks(self) -> list[SpectrumBlock]:
        """Items over all of them."""
        return [SpectrumBlock(*span) for span in spans(len(self), SPECTRA_PER_ITEM)]

    def __call__(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
        """Flux, sigma, mask (n, order, pixel), snr (n,)."""
        snr = calibration_stars(self).snr[start:stop]
        return *observed(self.setup, "flag noise", start, snr, functools.partial(self.clean, start, stop)), snr

    def clean(self, start: int, stop: int, velocity: Tensor | None = None) -> Tensor:
        """(n, order, pixel) as the spectrograph would see them without noise. Velocities are for stars of the grid."""
        inside = np.arange(start, max(min(stop, self.count), start))
        moving = None if velocity is None else velocity[: len(inside)]
        parts = [self._of_grid(calibration_stars(self).parameters[inside], moving)]
        for number, kind in enumerate(self.kinds):
            first = self.count + number * self.each
            low, high = max(start - first, 0), min(stop - first, self.each)
            if low < high:
                parts.append(self._strangers(kind, first)[low:high])
        return torch.cat(parts)

    def _strangers(self, kind: str, first: int) -> Tensor:
        """All of a kind, the first of which is spectrum `first`."""
        everyone, every = calibration_stars(self), slice(first, first + self.each)
        store = self.outside if strangers.KINDS[kind].outside else self.setup.test
        known = replace(models_of(store).select(everyone.model[every]), parameters=everyone.parameters[every])
        return strangers.seen(kind, self.setup.forward().sampler, known, self._seed())

    def _of_grid(self, parameters: np.ndarray, velocity: Tensor | None) -> Tensor:
        """Emulated, with the error at the nearest model that was left out."""
        forward, (held, error) = self.setup.forward(), _errors(self.errors)
        if not len(parameters):
            return torch.empty(0, *forward.shape)
        place, known = (_placed(values) for values in (parameters, held))
        nearest = np.square(place[:, None] - known[None]).sum(2).argmin(1)
        given = torch.from_numpy(parameters)
        with torch.no_grad():
            fourier, epsilon = forward.emulator(given)
            whole = torch.fft.rfft(error[nearest])
            whole[:, : fourier.shape[1]] += fourier
            return forward.sampler.observe(whole, given.to(epsilon.dtype), epsilon, velocity)

    def _seed(self) -> int:
        return seed_for(self.setup.seed, "flags", self.setup.experiment.name) % 2**32


@dataclass(frozen=True)
class StrangerPoints:
    """Points of strangers that need model spectra of their own, kind after kind: for `grid.Synthesise`."""

    kinds: tuple[str, ...]
    each: int
    seed: int

    def parameters(self) -> np.ndarray:
        """(model, 7)."""
        return np.concatenate([strangers.moved(kind, self._stars(kind), self.seed) for kind in self.kinds])

    def _stars(self, kind: str) -> np.ndarray:
        return labels.draw(self.each, seed_for(self.seed, "strangers", kind) % 2**32, "paper")


@functools.lru_cache(maxsize=4)
def calibration_stars(which: CalibrationSpectra) -> Stars:
    """What the spectra are: stars of the prior, half of them at the experiment's SNR and the others at those at which
    it is tried besides; then strangers, at the experiment's."""
    setup = which.setup
    chosen, own = setup.experiment, setup.experiment.snr
    seed = seed_for(setup.seed, "flag stars", chosen.name)
    draws, generator = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    inside = stars(draws, which.count, chosen.prior, chosen.teff)
    others = np.resize(np.array(experiments.OTHER_SNR), (which.count + 1) // 2)
    snr = np.stack([np.full(len(others), own), others], 1).ravel()[: which.count]
    parts = [(GRID_STARS, inside, snr, np.full(which.count, -1))]
    tested = np.unique(scored_stars(setup).model[scored_stars(setup).where("continuous")])
    outside = read_parameters(which.outside) if which.outside else np.empty((0, len(PARAMETERS)))
    apart = [kind for kind in which.kinds if strangers.KINDS[kind].outside]
    for kind in which.kinds:
        if strangers.KINDS[kind].outside:
            index = apart.index(kind) * which.each + np.arange(which.each)
            parameters = outside[index]
        else:
            index = generator.choice(tested, which.each, replace=len(tested) < which.each)
            parameters = models_of(setup.test).parameters[index].copy()
            parameters[:, _VSINI] = generator.uniform(*RANGES["vsini"], which.each)
            parameters = strangers.moved(kind, parameters, which._seed())
        parts.append((kind, parameters, own, index))
    return Stars.of(parts)


def kinds_for(setup: Setup, outside: bool) -> tuple[str, ...]:
    """Kinds of strangers that an experiment is tried with. outside: whether models beyond the grid can be made."""
    kinds = [kind.name for kind in strangers.KINDS.values() if outside or not kind.outside]
    if setup.experiment.observation != "paper":  # there every continuum is bent, and is fitted
        kinds.remove("bent continuum")
    return tuple(kinds)


@functools.lru_cache(maxsize=2)
def _errors(url: str) -> tuple[np.ndarray, Tensor]:
    state = load_checkpoint(url)
    return state["parameters"].numpy(), state["error"]


def _placed(parameters: np.ndarray) -> np.ndarray:
    """(n, 5) of ATMOSPHERIC in half ranges, nuisances in shorter ones."""
    low, high = np.array([RANGES[name] for name in ATMOSPHERIC]).T
    count = [1.0 if name in LABELS else _NUISANCES_COUNT for name in ATMOSPHERIC]
    return 2 * parameters[:, _ATMOSPHERIC] / (high - low) * count
