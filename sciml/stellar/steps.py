"""The stages of the job: the emulator, the networks, what every method answers, and what could be known at best."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from sciml.core.seeds import seed_for
from sciml.data.stores import Template, Variable, spans
from sciml.nn.checkpoint import load_checkpoint
from sciml.stellar import chi2, labels
from sciml.stellar.emulator import EmulatorSettings, fit_emulator
from sciml.stellar.experiments import Experiment, Setup, scored_stars, spectra, training_snr
from sciml.stellar.forward import cramer_rao
from sciml.stellar.grid import read_models
from sciml.stellar.labels import LABELS
from sciml.stellar.networks import DENOISER, NETS, Asked, Settings, train_network
from sciml.stellar.observation import PRESETS
from sciml.stellar.posterior import bayesian_bound, to_working
from sciml.stellar.refit import refit
from sciml.stellar.ridge import RidgeModel, RidgeSettings, fit_ridge
from sciml.stellar.samples import SNR

ANSWERS_VERSION = 1  # raise it where a method gives other answers to the same spectra
SPECTRA_PER_ITEM = 64
_AT_ONCE = 16  # spectra whose derivatives are held together
_TRIED = 512  # spectra among which a fit's start is sought
_SHORTER = 4  # times fewer spectra and epochs for an estimator that is but the start of steps
_ROUNDS = 20  # at most, of a fit with the continuum free

CLASSICAL = ("chi2", "ridge")
METHODS = (*NETS, *CLASSICAL)


Method = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
# (start, stop) -> flux, sigma, mask (n, order, pixel), snr (n,)
Seen = Callable[[int, int], tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]]


class Place(Protocol):
    """What an engine lends to a training, as keyword arguments of `sciml.nn.training.fit`."""

    def arguments(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class TrainEmulator:
    """Training function: the emulator of some sets of model spectra."""

    models: tuple[str, ...]
    settings: EmulatorSettings
    seed: int

    def __call__(self, config: Any, member: int, place: Place) -> dict[str, Any]:
        return {"model": fit_emulator(read_models(self.models), self.settings, self.seed).state_dict()}


@dataclass(frozen=True)
class TrainNetwork:
    """Training function: a network of an experiment. denoiser: the checkpoint of the one it stands behind, if any."""

    setup: Setup
    name: str
    settings: Settings
    denoiser: str = ""

    def __call__(self, config: Any, member: int, place: Place) -> dict[str, Any]:
        seed = seed_for(self.setup.seed, self.name, self.setup.experiment.name, member)
        before = load_checkpoint(self.denoiser) if self.denoiser else None
        return train_network(self.name, self.setup.source(), self.settings, seed, denoiser=before, **place.arguments())


@dataclass(frozen=True)
class TrainRidge:
    """Training function: the baseline of an experiment."""

    setup: Setup
    settings: RidgeSettings

    def __call__(self, config: Any, member: int, place: Place) -> dict[str, Any]:
        snr = self.setup.experiment.snr
        seed = seed_for(self.setup.seed, "ridge", self.setup.experiment.name)
        return {"model": fit_ridge(self.setup.source(), SNR(snr, snr), self.settings, seed).state()}


@dataclass(frozen=True)
class SpectrumBlock:
    """Some of an experiment's spectra."""

    spectrum_start: int
    spectrum_stop: int


@dataclass(frozen=True)
class Scored:
    """Spectra of an experiment."""

    setup: Setup

    def __call__(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]:
        return *spectra(self.setup, start, stop), scored_stars(self.setup).snr[start:stop]


@dataclass(frozen=True)
class Answer:
    """Stage function: what a method says of a block of spectra. seen: of other ones than the experiment's."""

    setup: Setup
    method: str
    settings: Settings
    checkpoints: tuple[str, ...] = ()
    seen: Seen | None = None

    def __call__(self, item: SpectrumBlock) -> dict[str, np.ndarray]:
        flux, sigma, mask, snr = (self.seen or Scored(self.setup))(item.spectrum_start, item.spectrum_stop)
        if self.method == "chi2":
            mean, covariance = self._chi2(flux, torch.where(mask, sigma, torch.inf))
        else:
            mean, covariance = self._asked()(flux.numpy(), snr, mask.numpy())
        return {"mean": mean.astype(np.float64), "covariance": covariance.astype(np.float64)}

    def _asked(self) -> Method:
        states = _states(self.checkpoints)
        if self.method == "ridge":
            return RidgeModel.from_state(states[0]["model"])
        return Asked(self.method, self.settings, self.setup.forward().shape, states)

    def _chi2(self, flux: torch.Tensor, sigma: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        chosen, forward, seed = self.setup.experiment, self.setup.forward(), self.setup.seed
        library = labels.draw(_TRIED, 1, chosen.prior)
        start = chi2.nearest(forward, flux, sigma, library, PRESETS[chosen.observation].renormalise)
        fitting = replace(chosen.fitting, rounds=_ROUNDS)
        found = []
        for part in torch.arange(len(flux)).split(_AT_ONCE):
            if fitting.continuum:
                free = refit(forward, flux[part].numpy(), sigma[part].numpy(), start[part, : len(LABELS)], fitting)
                found.append(free.moments(seed))
            else:
                known = chi2.fit(forward, flux[part], sigma[part], start[part], fitting.free, seed)
                found.append((known.mean, known.covariance))
        means, covariances = zip(*found, strict=True)
        return np.concatenate(means), np.concatenate(covariances)


@dataclass(frozen=True)
class Bound:
    """Stage function: what the noise of a block of spectra leaves to be known, without and with the grid as a prior."""

    setup: Setup

    def __call__(self, item: SpectrumBlock) -> dict[str, np.ndarray]:
        chosen, forward = self.setup.experiment, self.setup.forward()
        truth = scored_stars(self.setup).parameters[item.spectrum_start : item.spectrum_stop]
        _, sigma, mask = spectra(self.setup, item.spectrum_start, item.spectrum_stop)
        noise = torch.where(mask, sigma, torch.inf)
        working = to_working(truth)
        covariance = np.concatenate(
            [
                chi2.least_covariance(forward, working[part], noise[part], chosen.free)
                for part in torch.arange(len(truth)).split(_AT_ONCE)
            ]
        )
        four = covariance[:, : len(LABELS), : len(LABELS)]
        return {
            "bound": cramer_rao(four, working),
            "bayes": bayesian_bound(truth[:, : len(LABELS)], four, self.setup.seed),
        }


def blocks(setup: Setup) -> list[SpectrumBlock]:
    """Items over all spectra of an experiment."""
    return [SpectrumBlock(*span) for span in spans(len(scored_stars(setup)), SPECTRA_PER_ITEM)]


def answers_template(count: int) -> Template:
    """Store of a method's answers."""
    return Template(
        {"spectrum": count, "label": len(LABELS), "label_": len(LABELS)},
        {
            "mean": Variable(("spectrum", "label"), "K, dex, dex, km/s", ", ".join(LABELS), dtype="float64"),
            "covariance": Variable(("spectrum", "label", "label_"), "1", "of mean, in its units", dtype="float64"),
        },
        {"spectrum": SPECTRA_PER_ITEM},
    )


def bound_template(count: int) -> Template:
    """Store of an experiment's bounds."""
    dims = ("spectrum", "label")
    return Template(
        {"spectrum": count, "label": len(LABELS)},
        {
            "bound": Variable(dims, "K, dex, dex, km/s", "Cramer-Rao standard deviation", dtype="float64"),
            "bayes": Variable(dims, "K, dex, dex, km/s", "least error with the grid as prior", dtype="float64"),
        },
        {"spectrum": SPECTRA_PER_ITEM},
    )


@functools.lru_cache(maxsize=2)
def _states(checkpoints: tuple[str, ...]) -> list[dict[str, Any]]:
    return [load_checkpoint(url) for url in checkpoints]


def training_seconds(name: str, settings: Settings) -> float:
    """Of one core, about, for 8 orders of 4096 pixels: from runs of preset small."""
    if name == "sciml":  # drawing the bank; epochs; the table and the head
        told = settings.estimating
        return 4e-3 * settings.bank + 1.4e-4 * told.epochs * told.spectra + 0.04 * settings.sciml.atmospheres
    if name == "ridge":
        return 1300.0
    shown = settings.fitting.epochs * settings.fitting.spectra
    if name == DENOISER:
        shown = settings.denoising.epochs * settings.denoising.spectra
    return 0.03 * shown


def training_memory(name: str, settings: Settings) -> float:
    """Bytes of a worker, about: of ours what the bank and the table of spectra add."""
    atmospheres, size = settings.sciml.atmospheres, 8 * settings.components
    bank, table = 8 * settings.bank * size, 28 * atmospheres**2 + 120 * atmospheres * size
    return 8e8 + (bank + table if name == "sciml" else 0)


def settings_for(settings: Settings, chosen: Experiment) -> Settings:
    """Settings of an experiment: a table of spectra where labels alone tell them, and there a shorter training."""
    found = at_snr(settings, chosen)
    if not chosen.labels_alone:
        return replace(found, sciml=replace(found.sciml, atmospheres=0))
    fewer = replace(found.estimating, epochs=-(-found.estimating.epochs // _SHORTER))
    return replace(found, estimating=fewer, bank=-(-found.bank // _SHORTER))


def at_snr(settings: Settings, chosen: Experiment) -> Settings:
    """Settings with the SNR that an experiment calls for."""
    return replace(settings, snr=SNR(chosen.snr, chosen.snr), our_snr=training_snr(chosen))
