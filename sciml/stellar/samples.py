"""What the networks are trained on: spectra drawn afresh in every batch, never twice the same.

A `Source` makes them (emulator and observation, or generated lines). Because no spectrum comes back, the loss of an
epoch is that of spectra never seen: no other validation is needed as long as the network has no dropout. (Where the
source is `Reusing`, a few spectra of a block of batches share an atmosphere; none does with another block.)
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.nn.training import Batch
from sciml.stellar.heads import scaled

BLOCK = 256  # spectra that are drawn from the same atmospheres
USES = 4  # of each atmosphere in a block


@dataclass(frozen=True, eq=False)
class Drawn:
    """Spectra as a network sees them, continuum 1, and what they are.

    flux, clean: (n, order, pixel) with and without noise, and nothing else between them: slopes, tellurics and unmarked
    cosmic rays are in both. mask: (n, order, pixel) true where observed; flux may hold anything elsewhere.
    labels: (n, 4) as `labels.LABELS`, in their units. whole: the mask is known to be true everywhere.
    """

    flux: Tensor
    clean: Tensor
    mask: Tensor
    labels: Tensor
    whole: bool = False


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


@runtime_checkable
class Rotatable(Protocol):
    """A source of spectra that depend on the labels alone. teff: [K] between which its stars lie."""

    @property
    def teff(self) -> tuple[float, float]: ...

    def rotated(self, atmospheres: np.ndarray, vsini: np.ndarray) -> Tensor:
        """(n, m, order, pixel) without noise, of atmospheres (n, 3: teff, logg, feh), each at every v sin i (m,)."""
        ...


@runtime_checkable
class Reusing(Protocol):
    """A source for which an atmosphere is dear and what rotation, velocity and noise make of it is cheap."""

    def draws(self, generator: torch.Generator, snr: Sequence[Tensor], uses: int) -> Iterator[Drawn]:
        """Batches as `Source.draw` gives them, one for each of the SNRs, when they are asked for. At most `uses`
        spectra, far from each other, share an atmosphere; all else is each spectrum's own."""
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

    def batch(self, index: Tensor) -> Batch:
        if self.fixed_seed is None:
            seed = int(torch.randint(2**62, ()))
        else:
            seed = seed_for(self.fixed_seed, *index.tolist())
        return self._batch(*draw(self.source, self.snr, len(index), seed))

    def batches(self, indices: Sequence[Tensor]) -> Iterator[Batch]:
        """Of an epoch; in blocks that share atmospheres where the source can."""
        if self.fixed_seed is not None or not isinstance(self.source, Reusing):
            yield from map(self.batch, indices)
            return
        steps = max(1, BLOCK // max(1, len(indices[0])))
        for start in range(0, len(indices), steps):
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
            snr = [self.snr.draw(generator, len(index)) for index in indices[start : start + steps]]
            yield from itertools.starmap(self._batch, zip(snr, self.source.draws(generator, snr, USES), strict=True))

    def _batch(self, snr: Tensor, drawn: Drawn) -> Batch:
        flux = drawn.flux if drawn.whole else torch.where(drawn.mask, drawn.flux, 1.0)
        if self.clean:
            return (flux, snr, drawn.mask), drawn.clean, torch.ones(len(snr), 1, 1)
        return (flux, snr, drawn.mask), scaled(drawn.labels), torch.ones(len(snr))


def draw(source: Source, snr: SNR, count: int, seed: int) -> tuple[Tensor, Drawn]:
    """Signal to noise (count,) and spectra that depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    values = snr.draw(generator, count)
    return values, source.draw(generator, values)
