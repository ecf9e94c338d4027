"""Spectra for training, drawn afresh: a star from the prior, its emulated spectrum, what befalls that on its way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Generator, Tensor

from sciml.core.errors import ConfigError
from sciml.stellar import labels
from sciml.stellar.forward import ForwardModel, working_ranges
from sciml.stellar.labels import LABELS, PARAMETERS, RANGES, Prior
from sciml.stellar.observation import Observer
from sciml.stellar.posterior import from_working, to_working
from sciml.stellar.samples import Drawn

_VSINI = PARAMETERS.index("vsini")
_TURNED = [PARAMETERS.index(name) for name in labels.BROADENING]


@dataclass(frozen=True, eq=False)
class DrawnStars:
    """A `samples.Source`. prior: of parameters; teff: [K] between which stars lie; used (order, pixel): false where no
    spectrum is to be used, as beyond the list of lines."""

    forward: ForwardModel
    observer: Observer
    prior: Prior = "paper"
    teff: tuple[float, float] = RANGES["teff"]
    used: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Orders and pixels."""
        return self.forward.shape

    def draw(self, generator: Generator, snr: Tensor) -> Drawn:
        """As many stars as snr (n,) has numbers."""
        parameters = stars(generator, len(snr), self.prior, self.teff)
        with torch.no_grad():
            fourier, epsilon = self.forward.emulator(torch.from_numpy(parameters))
        return self._seen(generator, snr, parameters, fourier, epsilon)

    def draws(self, generator: Generator, snr: Sequence[Tensor], uses: int) -> Iterator[Drawn]:
        """As `samples.Reusing` says: atmospheres are emulated once for all batches, and come in another order each time
        through them."""
        sizes = [len(part) for part in snr]
        count = max(-(-sum(sizes) // uses), *sizes)
        parameters = stars(generator, count, self.prior, self.teff)
        with torch.no_grad():
            fourier, epsilon = self.forward.emulator(torch.from_numpy(parameters))
        rounds = [torch.randperm(count, generator=generator) for _ in range(-(-sum(sizes) // count))]
        for part, index in zip(snr, torch.cat(rounds)[: sum(sizes)].split(sizes), strict=True):
            turned = _turned(generator, parameters[index.numpy()], self.prior)
            yield self._seen(generator, part, turned, fourier.index_select(0, index), epsilon[index])

    def _seen(
        self, generator: Generator, snr: Tensor, parameters: np.ndarray, fourier: Tensor, epsilon: Tensor
    ) -> Drawn:
        """What the observer makes of stars (n, 7) whose unbroadened spectra are known."""
        given = torch.from_numpy(parameters)
        with torch.no_grad():
            rv = self.observer.velocities(len(snr), generator)
            flux = self.forward.sampler.observe(fourier, given.to(fourier.real.dtype), epsilon, rv)
            seen = self.observer(flux, snr, generator)
        mask = seen.mask if self._used is None else seen.mask & self._used
        whole = self._used is None and not self.observer.alters
        return Drawn(seen.flux, seen.clean, mask, given[:, : len(LABELS)].float(), whole)

    def derivatives(self, generator: Generator, count: int) -> Tensor:
        """(count, parameter, order, pixel) of noise-free spectra by what they depend on, in half ranges: v sin i by its
        working coordinate, and where spectra are shifted by the velocity too."""
        working = to_working(stars(generator, count, self.prior, self.teff))
        names = LABELS if self.prior == "paper" else PARAMETERS
        low, high = working_ranges()
        half = torch.from_numpy((high - low)[: len(names)] / 2).float()
        found = self.forward.jacobian(working, names) * half[:, None, None]
        limit = self.observer.observation.rv
        if not limit:
            return found
        parameters, shift = torch.from_numpy(from_working(working)), torch.full((count,), limit)
        with torch.no_grad():
            moved = (self.forward(parameters, shift) - self.forward(parameters, -shift)) / 2
        return torch.cat([found, moved[:, None]], 1)

    def rotated(self, atmospheres: np.ndarray, vsini: np.ndarray) -> Tensor:
        """As `samples.Rotatable` says. Raises ConfigError where spectra depend on more than the labels."""
        seen = self.observer.observation
        if self.prior != "paper" or self.observer.alters or seen.rv or seen.noise != "white":
            raise ConfigError("spectra depend on more than the labels here: there is no table of them")
        parameters = np.zeros((len(atmospheres), len(PARAMETERS)))
        parameters[:, :3], parameters[:, len(LABELS) :] = atmospheres, labels.PAPER_NUISANCES
        turned = []
        with torch.no_grad():
            fourier, epsilon = self.forward.emulator(torch.from_numpy(parameters))
            for value in vsini:
                parameters[:, _VSINI] = value
                turned.append(self.forward.sampler.observe(fourier, torch.from_numpy(parameters).to(epsilon), epsilon))
        return torch.stack(turned, 1)

    @cached_property
    def _used(self) -> Tensor | None:
        return None if self.used is None or self.used.all() else torch.from_numpy(self.used)


def stars(generator: Generator, count: int, prior: Prior, teff: tuple[float, float] = RANGES["teff"]) -> np.ndarray:
    """(count, 7) independent draws from a prior, where models exist and between two temperatures [K]."""
    low, high = RANGES["teff"]
    ends = (np.array(teff) - low) / (high - low)
    found = np.empty((0, len(PARAMETERS)))
    while len(found) < count:
        unit = torch.rand(
            2 * (count - len(found)) + 8, len(PARAMETERS), generator=generator, dtype=torch.float64
        ).numpy()
        unit[:, 0] = ends[0] + unit[:, 0] * (ends[1] - ends[0])
        drawn = labels.placed(unit, prior)
        found = np.concatenate([found, drawn[labels.in_grid(drawn)]])
    return found[:count]


def _turned(generator: Generator, parameters: np.ndarray, prior: Prior) -> np.ndarray:
    """Stars (n, 7) with another rotation and macroturbulence from the prior."""
    unit = torch.rand(parameters.shape, generator=generator, dtype=torch.float64).numpy()
    found = parameters.copy()
    found[:, _TURNED] = labels.placed(unit, prior)[:, _TURNED]
    return found
