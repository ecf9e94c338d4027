"""What the networks are trained on: spectra drawn afresh in every batch, never twice the same.

A `Source` makes them (emulator and observation, or generated lines). Because no spectrum comes back, the loss of an
epoch is that of spectra never seen: no other validation is needed as long as the network has no dropout.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.stellar.heads import scaled


@dataclass(frozen=True, eq=False)
class Drawn:
    """Spectra as a network sees them, continuum 1, and what they are.

    flux, clean: (n, order, pixel) with and without noise, and nothing else between them: slopes, tellurics and unmarked
    cosmic rays are in both. mask: (n, order, pixel) true where observed; flux may hold anything elsewhere.
    labels: (n, 4) as `labels.LABELS`, in their units.
    """

    flux: Tensor
    clean: Tensor
    mask: Tensor
    labels: Tensor


class Source(Protocol):
    """Draws spectra; equal states of the generator give equal spectra."""

    @property
    def shape(self) -> tuple[int, int]:
        """Orders and pixels."""
        ...

    def draw(self, generator: torch.Generator, snr: Tensor) -> Drawn:
        """As many stars as snr (n,) has numbers; sigma of the noise is 1 / snr of the continuum, or has this value
        where the blaze is highest."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A source that also says how spectra change."""

    def derivatives(self, generator: torch.Generator, count: int) -> Tensor:
        """(count, parameter, order, pixel) of noise-free spectra of stars drawn as `Source.draw` draws them, by each
        parameter that they depend on (labels, nuisances, velocity) in units of half its range."""
        ...


@dataclass(frozen=True)
class SNR:
    """Signal to noise of each star: even in its logarithm between two ends, or one value where they are equal."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < math.inf:
            raise ConfigError(f"SNR between {self.low} and {self.high}: expected 0 < low <= high")

    def draw(self, generator: torch.Generator, count: int) -> Tensor:
        place = torch.rand(count, generator=generator)
        return self.low * torch.exp(place * math.log(self.high / self.low))


@dataclass(frozen=True, eq=False)
class SpectrumSamples:
    """Samples of the training loop: inputs (flux, snr, mask), target (n, 4) in half ranges, weight (n,).

    epoch: how many spectra make an epoch. fixed_seed: spectra depend on it and on their index alone, so that every
    epoch sees the same ones; without it they are drawn from the loop's own random state, which depends on seed, epoch,
    rank and step, and a resumed run sees what an uninterrupted one would have. clean: the target is the spectrum
    without noise (n, order, pixel) instead, for the denoiser.
    """

    source: Source
    snr: SNR
    epoch: int
    fixed_seed: int | None = None
    clean: bool = False

    def __len__(self) -> int:
        return self.epoch

    def batch(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        if self.fixed_seed is None:
            seed = int(torch.randint(2**62, ()))
        else:
            seed = seed_for(self.fixed_seed, *index.tolist())
        snr, drawn = draw(self.source, self.snr, len(index), seed)
        flux = torch.where(drawn.mask, drawn.flux, 1.0)
        if self.clean:
            return (flux, snr, drawn.mask), drawn.clean, torch.ones(len(index), 1, 1)
        return (flux, snr, drawn.mask), scaled(drawn.labels), torch.ones(len(index))


def draw(source: Source, snr: SNR, count: int, seed: int) -> tuple[Tensor, Drawn]:
    """Signal to noise (count,) and spectra that depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    values = snr.draw(generator, count)
    return values, source.draw(generator, values)
