"""Spectra for training, drawn afresh: a star from the prior, its emulated spectrum, what befalls that on its way."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Generator, Tensor

from sciml.stellar import labels
from sciml.stellar.forward import ForwardModel
from sciml.stellar.labels import LABELS, PARAMETERS, RANGES, Prior
from sciml.stellar.observation import Observer
from sciml.stellar.samples import Drawn


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
        parameters = torch.from_numpy(stars(generator, len(snr), self.prior, self.teff))
        with torch.no_grad():
            flux = self.forward(parameters, self.observer.velocities(len(snr), generator))
            seen = self.observer(flux, snr, generator)
        mask = seen.mask if self._used is None else seen.mask & self._used
        return Drawn(seen.flux, seen.clean, mask, parameters[:, : len(LABELS)].float())

    @cached_property
    def _used(self) -> Tensor | None:
        return None if self.used is None else torch.from_numpy(self.used)


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
