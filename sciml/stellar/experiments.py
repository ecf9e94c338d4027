"""What is tried: which stars, seen how, and the spectra that are answered for.

Spectra that are scored come from direct syntheses (`grid`, set test): never from the emulator that training draws from.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sciml.core.seeds import seed_for
from sciml.nn.checkpoint import load_checkpoint
from sciml.stellar import instrument
from sciml.stellar.emulator import load_emulator
from sciml.stellar.forward import ForwardModel
from sciml.stellar.grid import ModelSpectra, PointSet, read_models, read_parameters
from sciml.stellar.harpsn import harpsn
from sciml.stellar.instrument import Spectrograph
from sciml.stellar.labels import LABELS, NODES, NUISANCES, PARAMETERS, RANGES, Prior
from sciml.stellar.observation import PRESETS, Observer
from sciml.stellar.refit import Fitting
from sciml.stellar.samples import SNR
from sciml.stellar.source import DrawnStars
from sciml.stellar.wavelengths import GRID

Kind = Literal["continuous", "node", "other_snr"]
OTHER_SNR = (10.0, 50.0, 200.0)  # none of them is what the paper's networks are trained at
ROTATIONS = 4  # stars made from one synthesis
_CONTINUUM = 4  # polynomials of each order, where the continuum is not known
_VSINI = PARAMETERS.index("vsini")


@dataclass(frozen=True)
class Experiment:
    """prior: of the stars. observation: a preset's name. snr: at which the paper's networks are trained and all are
    scored. teff: [K] between which the stars lie."""

    name: str
    prior: Prior
    observation: str
    snr: float
    teff: tuple[float, float] = RANGES["teff"]

    @property
    def free(self) -> tuple[str, ...]:
        """Parameters that a fit must find."""
        return LABELS if self.prior == "paper" else LABELS + NUISANCES

    @property
    def labels_alone(self) -> bool:
        """Whether spectra without noise depend on nothing else."""
        return self.prior == "paper" and self.observation == "paper"

    @property
    def fitting(self) -> Fitting:
        """All that a fit must find."""
        return Fitting(self.free, 0 if self.observation == "paper" else _CONTINUUM)


def experiment(name: str, snr: float) -> Experiment:
    """grid: the paper's whole grid. limited: its stars of 4000-6000 K at SNR 100. observed: with all that nuisances and
    a spectrograph do."""
    if name == "limited":
        return Experiment("snr100_limited", "paper", "paper", 100.0, (4000.0, 6000.0))
    if name == "observed":
        return Experiment("observed", "nuisance", "realistic", 100.0)
    return Experiment(f"snr{snr:g}", "paper", "paper", snr)


@dataclass(frozen=True)
class Setup:
    """An experiment with what it needs. spectrograph: harpsn, generated, or a file of the first's layout. nodes, test:
    stores of model spectra; emulator: its checkpoint. points: of nodes and test, for a plan made before the stores."""

    experiment: Experiment
    spectrograph: str
    nodes: str
    test: str
    emulator: str
    seed: int
    points: tuple[PointSet, PointSet]

    def forward(self) -> ForwardModel:
        return forward_model(self.emulator, self.spectrograph)

    def observer(self) -> Observer:
        return Observer(PRESETS[self.experiment.observation], spectrograph_of(self.spectrograph), self.seed)

    def used(self) -> np.ndarray:
        """(order, pixel) that count: for real stars those where the list of lines has any, else all."""
        wave = spectrograph_of(self.spectrograph).wave
        if self.experiment.observation == "paper":
            return np.ones(wave.shape, bool)
        low, high = lines_span(self.nodes)
        return (wave >= low) & (wave <= high)

    def source(self) -> DrawnStars:
        """What networks are trained on."""
        chosen = self.experiment
        return DrawnStars(self.forward(), self.observer(), chosen.prior, chosen.teff, self.used())


@dataclass(frozen=True, eq=False)
class Stars:
    """n spectra to be answered for: kind of each, by name; parameters (n, 7); snr (n,); model (n,): which synthesis of
    its kind's store, none (-1) for those that the emulator makes."""

    kind: np.ndarray
    parameters: np.ndarray
    snr: np.ndarray
    model: np.ndarray

    def __len__(self) -> int:
        return len(self.snr)

    @classmethod
    def of(cls, parts: Sequence[tuple[str, np.ndarray, np.ndarray | float, np.ndarray]]) -> "Stars":
        """Parts (kind, parameters, snr, model) one after another."""
        kind, parameters, snr, model = zip(*parts, strict=True)
        return cls(
            np.repeat(np.array(kind), [len(part) for part in parameters]),
            np.concatenate(parameters),
            np.concatenate([np.broadcast_to(value, len(part)) for value, part in zip(snr, parameters, strict=True)]),
            np.concatenate(model),
        )

    def where(self, kind: str) -> np.ndarray:
        """Indices of a kind."""
        return np.flatnonzero(self.kind == kind)


@functools.lru_cache(maxsize=4)
def scored_stars(setup: Setup) -> Stars:
    """All spectra of an experiment, kind after kind."""
    chosen, seed = setup.experiment, seed_for(setup.seed, "stars", setup.experiment.name)
    generator = np.random.default_rng(seed)
    nodes, test = (
        read_parameters(url) if url else points.parameters()
        for url, points in zip((setup.nodes, setup.test), setup.points, strict=True)
    )
    of_prior = np.arange(len(test)).reshape(2, -1)[0 if chosen.prior == "paper" else 1]  # the set's two halves
    tested = of_prior[_between(test[of_prior], chosen.teff)]
    parts = []
    for kind, models, rotations, snr in (
        ("continuous", tested, ROTATIONS, chosen.snr),
        *(("other_snr", tested, 1, value) for value in OTHER_SNR),
    ):
        chosen_models = np.tile(models, rotations)
        parameters = test[chosen_models].copy()
        parameters[len(models) :, _VSINI] = generator.uniform(*RANGES["vsini"], len(parameters) - len(models))
        parts.append((kind, parameters, snr, chosen_models))
    if chosen.prior == "paper":
        inside = np.flatnonzero(_between(nodes, chosen.teff))
        picked = generator.permutation(inside)[: len(tested)]
        parameters = nodes[picked].copy()
        parameters[:, _VSINI] = generator.choice(NODES["vsini"], len(picked))
        parts.append(("node", parameters, chosen.snr, picked))
    return Stars.of(parts)


def spectra(setup: Setup, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Flux, sigma, mask (n, order, pixel) of scored stars start:stop."""
    everyone, forward = scored_stars(setup), setup.forward()
    number = np.arange(start, stop)
    parameters = torch.from_numpy(everyone.parameters[number])

    def clean(rv: Tensor | None) -> Tensor:
        flux = torch.empty(len(number), *forward.shape)
        for kind in np.unique(everyone.kind[number]):
            at = np.flatnonzero(everyone.kind[number] == kind)
            models = models_of(setup.nodes if kind == "node" else setup.test)
            velocity = None if rv is None else rv[at]
            flux[at] = direct(forward, models, everyone.model[number[at]], parameters[at], velocity)
        return flux

    return observed(setup, "noise", start, everyone.snr[number], clean)


def observed(
    setup: Setup, noise: str, start: int, snr: np.ndarray, clean: Callable[[Tensor | None], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Flux, sigma, mask (n, order, pixel) of stars from number `start` on: what each looks like depends on its number
    alone.

    noise: name of these stars' random numbers; snr: (n,); clean: velocities (n,) [km/s], None where stars stand still,
    -> (n, order, pixel) without noise.
    """
    observer, own = setup.observer(), (setup.seed, setup.experiment.name, noise)
    generators = [torch.Generator().manual_seed(seed_for(*own, start + k)) for k in range(len(snr))]
    moving = [observer.velocities(1, generator) for generator in generators]
    with torch.no_grad():
        flux = clean(None if moving[0] is None else torch.cat([rv for rv in moving if rv is not None]))
        ratio = torch.tensor(snr).float()
        seen = [observer(flux[k : k + 1], ratio[k : k + 1], generator) for k, generator in enumerate(generators)]
    flux, sigma, mask = (torch.cat([getattr(one, name) for one in seen]) for name in ("flux", "sigma", "mask"))
    return flux, sigma, mask & torch.from_numpy(setup.used())


def direct(
    forward: ForwardModel, models: ModelSpectra, index: np.ndarray, parameters: Tensor, rv: Tensor | None = None
) -> Tensor:
    """(n, order, pixel) of syntheses themselves, broadened and sampled as the forward model does it."""
    fourier = torch.fft.rfft(torch.from_numpy(models.flux[index]))
    epsilon = torch.from_numpy(models.epsilon[index]).to(fourier.real.dtype)
    return forward.sampler.observe(fourier, parameters.to(fourier.real.dtype), epsilon, rv)


def training_snr(chosen: Experiment) -> SNR:
    """What our network, which is told the SNR, is trained on: three times less and more than it is scored at."""
    return SNR(min(5.0, chosen.snr / 3), max(300.0, chosen.snr * 3))


@functools.lru_cache(maxsize=2)
def forward_model(emulator: str, spectrograph: str) -> ForwardModel:
    """The forward model of an emulator's checkpoint and a spectrograph."""
    return ForwardModel(load_emulator(load_checkpoint(emulator)["model"]), spectrograph_of(spectrograph).pixels).eval()


@functools.lru_cache(maxsize=4)
def models_of(url: str) -> ModelSpectra:
    """A set of model spectra, kept by the process."""
    return read_models([url])


@functools.cache
def spectrograph_of(name: str) -> Spectrograph:
    """harpsn; generated, of three short orders; or a file."""
    built_in: Mapping[str, Spectrograph] = {"harpsn": harpsn()}
    if name == "generated":
        return instrument.generated(orders=3, pixels=1024, start=5150.0, stop=5200.0)
    return built_in[name] if name in built_in else instrument.harpsn(name)


@functools.cache
def lines_span(url: str) -> tuple[float, float]:
    """First and last wavelength [A] at which some spectrum of a set has a line."""
    depth = 1 - models_of(url).flux[:: max(len(models_of(url)) // 64, 1)].min(0)
    lines = GRID.wave[depth > 0.02]
    return float(lines[0]), float(lines[-1])


def _between(parameters: np.ndarray, teff: tuple[float, float]) -> np.ndarray:
    return (parameters[:, 0] >= teff[0]) & (parameters[:, 0] <= teff[1])
