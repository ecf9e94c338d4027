"""A star's spectrum at the pixels of a spectrograph: broadened in Fourier space, then sampled by cubic B-splines.

A pixel is the mean of the flux over its width: of all pixels' mean width in Fourier space, and where a pixel's own
differs (in HARPS by up to a fifth of 0.8 km/s), by the second derivative: the mean over a width w exceeds the value by
w^2 / 24 times it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from sciml.core.errors import InputError
from sciml.stellar.broadening import Broadening, log_shift
from sciml.stellar.labels import PARAMETERS
from sciml.stellar.wavelengths import GRID, SPEED_OF_LIGHT, LogGrid

_VSINI, _VMAC = PARAMETERS.index("vsini"), PARAMETERS.index("vmac")
_EDGE = 60.0  # [km/s]: profiles near an end of the grid take from its other end
_CHUNK = 32  # spectra at once on a CPU: with more, pages of fresh memory take half the time


@dataclass(frozen=True, eq=False)
class PixelGrid:
    """Where a spectrograph's pixels are. wave: (order, pixel) of their centres [A, air], rising along an order."""

    wave: np.ndarray
    resolving_power: float
    name: str = "pixels"

    def __post_init__(self) -> None:
        shape = np.shape(self.wave)
        if len(shape) != 2 or shape[1] < 2:
            raise InputError(f"{self.name}: wavelengths have shape {shape}; expected (order, pixel)")
        rising = np.diff(self.wave, axis=1) > 0  # false beside NaN
        if not rising.all():
            order, pixel = (int(place[0]) for place in np.nonzero(~rising))
            raise InputError(
                f"{self.name}: wavelengths of order {order} do not rise at pixel {pixel} "
                f"({self.wave[order, pixel]:.7g}, {self.wave[order, pixel + 1]:.7g} A); check the wavelength solution"
            )
        if not self.resolving_power > 0:
            raise InputError(f"{self.name}: resolving power is {self.resolving_power}; expected a positive number")

    @property
    def shape(self) -> tuple[int, int]:
        return self.wave.shape[0], self.wave.shape[1]

    @cached_property
    def widths(self) -> np.ndarray:
        """(order, pixel) [km/s]: the smaller of the steps to its two neighbours, as there may be gaps."""
        step = np.diff(np.log(self.wave), axis=1) * SPEED_OF_LIGHT
        return np.minimum(np.pad(step, ((0, 0), (1, 0)), mode="edge"), np.pad(step, ((0, 0), (0, 1)), mode="edge"))


class Sampler(nn.Module):
    """From Fourier transforms of unbroadened spectra on a grid to flux in pixels; differentiable, on any device."""

    def __init__(self, pixels: PixelGrid, grid: LogGrid = GRID) -> None:
        super().__init__()
        self.shape, self.size = pixels.shape, grid.size
        width = float(pixels.widths.mean())
        self.broadening = Broadening(pixels.resolving_power, width, grid)
        prefilter = np.sinc(np.fft.rfftfreq(grid.size)) ** -4  # half the error of a spline through the samples
        self.broadening.fixed *= torch.from_numpy(prefilter).to(self.broadening.fixed)
        position = grid.position(pixels.wave.ravel())
        index = np.clip(np.floor(position), 1, grid.size - 3).astype(np.int64)
        t = np.clip(position - index, 0.0, 1.0)
        weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]) / 6
        second = np.stack([1 - t, 3 * t - 2, 1 - 3 * t, t])  # weights of the second derivative
        self.velocity_step = grid.velocity_step
        weights += (pixels.widths.ravel() ** 2 - width**2) / 24 / self.velocity_step**2 * second
        for name, values in (
            ("index", torch.from_numpy(index)),
            ("weights", torch.from_numpy(weights).to(torch.get_default_dtype())),
            ("position", torch.from_numpy(position)),
        ):
            self.register_buffer(name, values, persistent=False)

    @property
    def covered(self) -> Tensor:
        """(order, pixel) which pixels lie on the grid for a star at rest."""
        return self.covered_at(torch.zeros(1, device=self.index.device))[0]

    def covered_at(self, rv: Tensor) -> Tensor:
        """(n, order, pixel) which pixels lie on the grid, 60 km/s off its ends, for stars of velocities (n,) [km/s]."""
        shift = log_shift(rv.double()) / self.velocity_step
        rest = self.position - shift[:, None]
        edge = _EDGE / self.velocity_step
        return ((rest >= edge) & (rest <= self.size - 1 - edge)).unflatten(1, self.shape)

    def observe(self, fourier: Tensor, parameters: Tensor, epsilon: Tensor, rv: Tensor | None = None) -> Tensor:
        """Flux (n, order, pixel) over the continuum, the instrument's profile and pixels included.

        fourier: (n, frequency) complex, `torch.fft.rfft` of unbroadened spectra at rest; the highest may be left out:
        those to 0.5 cycles per km/s, three in four, are enough at R = 115,000 (to 1e-4). parameters: (n, 7), of which
        vsini and vmac are used. epsilon: (n,) limb darkening. rv: (n,) [km/s], none for stars at rest. Pixels off the
        grid hold the value of its end: see `covered`.
        """
        given = [fourier, parameters[:, _VSINI], parameters[:, _VMAC], epsilon]
        given += [] if rv is None else [rv]
        chunk = _CHUNK if fourier.device.type == "cpu" else max(len(fourier), 1)
        seen = [
            self.sample(part * self.broadening(*rest)[:, : part.shape[1]])
            for part, *rest in zip(*(value.split(chunk) for value in given), strict=True)
        ]
        return seen[0] if len(seen) == 1 else torch.cat(seen)

    def sample(self, fourier: Tensor) -> Tensor:
        """(n, order, pixel) of B-spline coefficients given by their Fourier transform (n, frequency)."""
        coefficients = torch.fft.irfft(fourier, n=self.size)
        flux = coefficients.index_select(1, self.index - 1) * self.weights[0]
        for tap in (1, 2, 3):  # in place: fresh memory costs more than the sum
            flux.addcmul_(coefficients.index_select(1, self.index + (tap - 1)), self.weights[tap])
        return flux.unflatten(1, self.shape)
