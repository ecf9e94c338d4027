"""What befalls a spectrum on its way to a network: noise, as in the paper, and what real spectrographs and air add."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from sciml.core.errors import ConfigError
from sciml.stellar import continuum
from sciml.stellar.instrument import Spectrograph
from sciml.stellar.wavelengths import SPEED_OF_LIGHT

_CHUNK = 32  # spectra at once on a CPU, as in sampling
_TELLURIC_LINES = 16
_TELLURIC_WIDTH = 1.6  # [km/s]: deviation of a weak line of the air, instrument included
_REJECTED = 5.0  # deviations above the continuum at which a pixel is taken for a cosmic ray
_LEAST_HEIGHT = 0.1  # of the continuum, below which nothing is


@dataclass(frozen=True)
class Observation:
    """Rates and ranges; 0 for none.

    noise: white, sigma = 1 / SNR of the continuum in every pixel; or as the blaze lets light through,
    sigma = 1 / (SNR sqrt(blaze)). slant: the paper's, flux times 1 - slant at the first pixel of an order to 1 + slant
    at its last. rv: half range [km/s] of the velocity that remains. slope, curvature: deviations of the continuum at an
    order's ends, linear and quadratic. renormalise: divide by `continuum.estimate`, as pipelines and our readers do.
    telluric: mean depth of 16 weak lines of the air. telluric_rv: half range [km/s] of their shift. cosmic_rays,
    dead_columns: mean numbers per spectrum; a column is 1 or 2 pixels of every order. cosmic_height: mean over the
    continuum; high ones are found and masked as they would be, low ones are not. missing_order: share of spectra that
    lack one.
    """

    noise: Literal["white", "blaze"] = "white"
    slant: float = 0.0
    rv: float = 0.0
    slope: float = 0.0
    curvature: float = 0.0
    renormalise: bool = False
    telluric: float = 0.0
    telluric_rv: float = 32.0
    cosmic_rays: float = 0.0
    cosmic_height: float = 0.5
    dead_columns: float = 0.0
    missing_order: float = 0.0


_NOISE_ALONE = Observation(telluric_rv=0.0, cosmic_height=0.0)
PRESETS = {
    "paper": Observation(),
    "realistic": Observation(
        noise="blaze",
        rv=0.5,
        slope=0.1,
        curvature=0.03,
        renormalise=True,
        telluric=0.01,
        cosmic_rays=4.0,
        dead_columns=2.0,
        missing_order=0.1,
    ),
}


def preset(name: str) -> Observation:
    """Raises ConfigError."""
    if name not in PRESETS:
        raise ConfigError(f"observation {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


class Observed(NamedTuple):
    """Each (n, order, pixel). flux: over the continuum, 1 where masked. sigma: of its noise. mask: true where used.
    clean: as flux, with all but the noise."""

    flux: Tensor
    sigma: Tensor
    mask: Tensor
    clean: Tensor


class Observer(nn.Module):
    """An Observation through one spectrograph, for batches on any device."""

    def __init__(self, observation: Observation, spectrograph: Spectrograph, seed: int = 0) -> None:
        """seed: of the wavelengths and strengths of the air's lines, which are drawn, not measured."""
        super().__init__()
        self.observation, self.shape = observation, spectrograph.wave.shape
        place, rate, strength = _telluric_lines(spectrograph.wave, seed)
        for name, values in (
            ("dimming", spectrograph.blaze**-0.5),
            ("place", place),
            ("rate", rate),
            ("strength", strength),
            ("u", np.linspace(-1.0, 1.0, spectrograph.wave.shape[1])),
        ):
            self.register_buffer(name, torch.from_numpy(values).to(torch.get_default_dtype()), persistent=False)

    def velocities(self, count: int, generator: Generator) -> Tensor | None:
        """(count,) [km/s] to be given to `Sampler.observe`; none where the preset has none."""
        limit = self.observation.rv
        return limit * (2 * self._uniform((count,), generator) - 1) if limit else None

    def forward(self, flux: Tensor, snr: Tensor, generator: Generator) -> Observed:
        """flux: (n, order, pixel) over the continuum, unchanged. snr: (n,) of the continuum in a pixel, at the peak of
        the blaze. generator: of the same device as the flux; the same state gives the same answer."""
        chunk = _CHUNK if flux.device.type == "cpu" and self.alters else max(len(flux), 1)
        seen = [
            self._observed(part, level, generator)
            for part, level in zip(flux.split(chunk), snr.split(chunk), strict=True)
        ]
        return seen[0] if len(seen) == 1 else Observed(*(torch.cat(parts) for parts in zip(*seen, strict=True)))

    @cached_property
    def alters(self) -> bool:
        """Whether anything but noise befalls the flux."""
        return replace(self.observation, noise="white", rv=0.0, telluric_rv=0.0, cosmic_height=0.0) != _NOISE_ALONE

    def _observed(self, flux: Tensor, snr: Tensor, generator: Generator) -> Observed:
        sigma = (1 / snr.to(flux.dtype))[:, None, None]
        if self.observation.noise == "blaze":
            sigma = sigma * self.dimming
        noise = torch.randn(flux.shape, generator=generator, device=flux.device, dtype=flux.dtype).mul_(sigma)
        sigma = sigma.expand_as(flux)
        if not self.alters:
            return Observed(noise.add_(flux), sigma, flux.new_ones((), dtype=torch.bool).expand_as(flux), flux)
        clean = self._bent(flux, generator)
        if self.observation.telluric:
            self._through_air(clean, generator)
        struck = self._strike(clean, generator)
        seen = noise.add_(clean)
        used = self._kept(flux, generator)
        if self.observation.renormalise:
            level = continuum.estimate(seen, sigma, used)
            seen, clean, sigma = seen.div_(level), clean.div_(level), sigma / level
        self._reject(seen, sigma, used, struck)
        mask = used > 0
        seen, clean = ((values - 1.0).mul_(used).add_(1.0) for values in (seen, clean))
        return Observed(seen, sigma, mask, clean)

    def _bent(self, flux: Tensor, generator: Generator) -> Tensor:
        """A copy of flux with each order's slant, slope and curvature."""
        given = self.observation
        flux = flux * (1 + given.slant * self.u) if given.slant else flux.clone()
        if given.slope or given.curvature:
            slope, curve = self._normal((2, len(flux), self.shape[0], 1), generator)
            shape = (given.slope * slope * self.u).addcmul_(given.curvature * curve, self.u**2 - 1 / 3)
            flux.mul_(shape.add_(1.0))
        return flux

    def _through_air(self, flux: Tensor, generator: Generator) -> None:
        """Takes from flux the weak lines of one night's air, at a velocity of its own."""
        count = len(flux)
        shift = self.observation.telluric_rv * (2 * self._uniform((count, 1), generator) - 1)
        humidity = torch.exp(0.7 * self._normal((count, 1), generator) - 0.245)  # of mean 1
        depth = (self.observation.telluric * humidity * self.strength).clamp(max=0.5)
        centre = self.place[:, 1] + shift * self.rate
        pixels = centre.round()[..., None] + torch.arange(-6, 7, device=flux.device)
        width = (self.rate * _TELLURIC_WIDTH)[:, None]
        depth = depth[..., None] * torch.exp(-0.5 * ((pixels - centre[..., None]) / width) ** 2)
        on = (pixels >= 0) & (pixels < self.shape[1])
        index = self.place[:, :1] * self.shape[1] + pixels.clamp(0, self.shape[1] - 1)
        index, depth = index.long().flatten(1), (depth * on).flatten(1)
        flat = flux.view(count, -1)
        flat.scatter_add_(1, index, -depth * flat.gather(1, index))

    def _strike(self, flux: Tensor, generator: Generator) -> Tensor:
        """Adds cosmic rays to flux, each a pixel and less of the next. Returns the pixels (n, event)."""
        given = self.observation
        index, hit = self._events(len(flux), given.cosmic_rays, flux[0].numel() - 1, generator)
        height = self._uniform(index.shape, generator).clamp(min=1e-6).log().neg() * given.cosmic_height * hit
        index, height = torch.cat([index, index + 1], 1), torch.cat([height, 0.3 * height], 1)
        flux.view(len(flux), -1).scatter_add_(1, index, height)
        return index

    def _reject(self, seen: Tensor, sigma: Tensor, used: Tensor, struck: Tensor) -> None:
        """Masks what cosmic rays struck and stands out."""
        value, spread = (part.flatten(1).gather(1, struck) for part in (seen, sigma))
        good = value <= 1 + (_REJECTED * spread).clamp(min=_LEAST_HEIGHT)
        flat = used.view(len(used), -1)
        flat.scatter_(1, struck, flat.gather(1, struck) * good)

    def _kept(self, flux: Tensor, generator: Generator) -> Tensor:
        """(n, order, pixel): 0 in dead columns and a missing order, else 1."""
        used = torch.ones_like(flux)
        count, (orders, pixels) = len(flux), self.shape
        if self.observation.dead_columns:
            index, dead = self._events(count, self.observation.dead_columns, pixels, generator)
            second = (index + self._uniform(index.shape, generator).round().long()).clamp(max=pixels - 1)
            columns = torch.zeros(count, pixels, device=flux.device)
            for place in (index, second):
                columns.scatter_add_(1, place, dead.float())
            used *= (columns == 0)[:, None].to(used.dtype)
        if self.observation.missing_order:
            which = (self._uniform((count, 1), generator) * orders).long()
            lost = self._uniform((count, 1), generator) < self.observation.missing_order
            used *= ((which != torch.arange(orders, device=flux.device)) | ~lost)[..., None].to(used.dtype)
        return used

    def _events(self, count: int, rate: float, places: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Places (n, event), each below `places`, and which events take place: `rate` of them on average."""
        most = int(np.ceil(rate + 4 * np.sqrt(rate)))
        index = (self._uniform((count, most), generator) * places).long().clamp(max=places - 1)
        return index, self._uniform((count, most), generator) < rate / max(most, 1)

    def _uniform(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        return torch.rand(shape, generator=generator, device=self.u.device, dtype=self.u.dtype)

    def _normal(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        return torch.randn(shape, generator=generator, device=self.u.device, dtype=self.u.dtype)


def _telluric_lines(wave: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every appearance of a line in an order: (line, 2) order and fractional pixel, pixels per km/s, strength of
    mean 1. Lines near an order's end shift into it or out of it."""
    draws = np.random.default_rng(seed)
    lines, strength = draws.uniform(wave.min(), wave.max(), _TELLURIC_LINES), draws.exponential(1.0, _TELLURIC_LINES)
    found = []
    for order, along in enumerate(wave):
        inside = (lines > along[0]) & (lines < along[-1])
        pixel = np.interp(lines[inside], along, np.arange(len(along)))
        step = np.gradient(along)[np.round(pixel).astype(int)]
        rate = lines[inside] / SPEED_OF_LIGHT / step
        found.append(np.stack([np.full(len(pixel), order), pixel, rate, strength[inside]], 1))
    held = np.concatenate(found)
    return held[:, :2], held[:, 2], held[:, 3]
