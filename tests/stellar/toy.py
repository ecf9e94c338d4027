"""A source of spectra for tests: Gaussian lines whose strengths follow the four labels, rotated, with white noise."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sciml.stellar.labels import LABELS, RANGES
from sciml.stellar.samples import Drawn


@dataclass(frozen=True)
class ToyLines:
    """lines: in all orders together. masked: chance of a pixel to be missing. step: of a pixel [km/s]."""

    orders: int = 3
    pixels: int = 256
    lines: int = 60
    masked: float = 0.0
    step: float = 3.0
    seed: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        return self.orders, self.pixels

    @property
    def teff(self) -> tuple[float, float]:
        return RANGES["teff"]

    def rotated(self, atmospheres: np.ndarray, vsini: np.ndarray) -> Tensor:
        """(n, m, order, pixel) of atmospheres (n, 3) at each v sin i (m,)."""
        stars = [[(*star, value) for value in vsini] for star in atmospheres]
        return self.clean(torch.tensor(stars).flatten(0, 1)).unflatten(0, (len(atmospheres), len(vsini)))

    def clean(self, labels: Tensor) -> Tensor:
        """(n, 4) -> (n, order, pixel)."""
        generator = torch.Generator().manual_seed(self.seed)
        uniform = torch.rand(4, self.lines, generator=generator).double()
        teff, logg, feh, vsini = labels.double().T[..., None]
        excitation = 8.0 * uniform[0] * (5040.0 / 5800.0 - 5040.0 / teff)
        gravity = (2 * uniform[1] - 1) * (logg - 4.0) * 0.6
        strength = torch.exp(3 * uniform[2] - 2.5 + excitation + gravity + 0.7 * math.log(10.0) * feh)
        place = uniform[3] * self.orders * self.pixels
        pixel = torch.arange(self.orders * self.pixels)
        profile = torch.exp(-0.5 * ((pixel - place[:, None]) * self.step / 4.0) ** 2)
        flux = torch.exp(-(strength @ profile)).view(-1, *self.shape)
        x = vsini[..., None] * 2 * math.pi * torch.fft.rfftfreq(self.pixels).double() / self.step
        rotation = torch.where(x > 1e-3, 2 * torch.special.bessel_j1(x) / x.clamp_min(1e-3), 1 - x * x / 8)
        return torch.fft.irfft(torch.fft.rfft(flux) * rotation, self.pixels).float()

    def draw(self, generator: torch.Generator, snr: Tensor) -> Drawn:
        low, high = torch.tensor([RANGES[name] for name in LABELS]).T
        labels = low + torch.rand(len(snr), 4, generator=generator) * (high - low)
        clean = self.clean(labels)
        flux = clean + torch.randn(clean.shape, generator=generator) / snr[:, None, None]
        mask = torch.rand(clean.shape, generator=generator) >= self.masked
        return Drawn(torch.where(mask, flux, torch.nan), clean, mask, labels)

    def jacobian(self, labels: Tensor) -> Tensor:
        """(n, 4, order, pixel) per half range, by central differences."""
        low, high = torch.tensor([RANGES[name] for name in LABELS], dtype=torch.float64).T
        half, step = (high - low) / 2, 1e-3
        sides = []
        for sign in (1, -1):
            moved = [labels.double() + sign * step * half * torch.eye(4).double()[k] for k in range(4)]
            sides.append(torch.stack([self.clean(x) for x in moved], 1))
        return (sides[0] - sides[1]) / (2 * step)
