"""What widens and shifts a star's spectrum, as factors of its Fourier transform over velocity (Gray 2005, ch. 17, 18).

Frequencies are in cycles per km/s, velocities in km/s. A factor is the transform of a profile of area 1, so it is 1 at
frequency 0. All factors are smooth in their parameters: rotation and macroturbulence have the limit 1, with derivative
0, where they vanish.
"""

import functools

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from sciml.stellar.wavelengths import GRID, SPEED_OF_LIGHT, LogGrid

_FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian, in its deviations
_TABLE_STEP = 1 / 32
_TABLE_STOP = 1024.0  # 2 pi f vsini: v sin i of 240 km/s at the highest frequency of GRID
_COARSE = 7.3e-4  # [cycles per km/s] at most between frequencies at which factors are computed: 16 of GRID


def frequencies(grid: LogGrid = GRID) -> np.ndarray:
    """(size // 2 + 1,) of the real Fourier transform of a spectrum on the grid [cycles per km/s]."""
    return np.fft.rfftfreq(grid.size, grid.velocity_step)


def rotation(frequency: Tensor, vsini: Tensor, epsilon: Tensor) -> Tensor:
    """A rotating sphere whose disk darkens linearly to the limb (Gray 2005, eq. 18.14).

    The profile [2 (1 - e) sqrt(1 - u^2) + pi e (1 - u^2) / 2] / (pi (1 - e / 3)), u = v / vsini, has the transform
    [2 (1 - e) J1(x) / x + 2 e j1(x) / x] / (1 - e / 3) at x = 2 pi f vsini. All arguments broadcast.
    """
    disk, limb = _disk_and_limb(2 * np.pi * (frequency * vsini).abs())
    return ((1 - epsilon) * disk + 2 / 3 * epsilon * limb) / (1 - epsilon / 3)


def macroturbulence(frequency: Tensor, vmac: Tensor) -> Tensor:
    """Motions along the radius and across it, on equal areas, each Gaussian of dispersion `vmac` [zeta_RT]
    (Gray 2005, eq. 17.6 with A_R = A_T).

    A place where the radius makes an angle with the line of sight of cosine m widens by exp(-a m^2) or
    exp(-a (1 - m^2)), a = (pi zeta f)^2; the mean over the disk is (1 - exp(-a)) / a for both. As usual the disk is not
    darkened here, nor rotates while it boils.
    """
    a = (np.pi * frequency * vmac) ** 2
    small = a < 1e-2
    safe = torch.where(small, torch.ones_like(a), a)  # the branch not taken must have a finite gradient too
    return torch.where(small, 1 - a / 2 + a**2 / 6 - a**3 / 24, -torch.expm1(-safe) / safe)


def instrument(frequency: Tensor, resolving_power: float) -> Tensor:
    """A Gaussian line spread function of full width c / R at half height."""
    deviation = SPEED_OF_LIGHT / resolving_power / _FWHM
    return torch.exp(-2 * (np.pi * deviation * frequency) ** 2)


def pixel(frequency: Tensor, width: float) -> Tensor:
    """The mean over a pixel of this width [km/s]."""
    return torch.sinc(frequency * width)


def log_shift(rv: Tensor) -> Tensor:
    """Shift on a logarithmic grid [km/s] of a star that recedes with `rv` [km/s]: wavelengths times 1 + rv / c."""
    return SPEED_OF_LIGHT * torch.log1p(rv / SPEED_OF_LIGHT)


class Broadening(nn.Module):
    """All factors of stars and of one instrument at the frequencies of a grid, for batches.

    Rotation, macroturbulence and phases vary slowly from one frequency of the grid to the next: they are computed
    at some and continued between by cubics (error 1e-6 at 30 km/s) or, phases, by an exact product.
    """

    def __init__(self, resolving_power: float, pixel_width: float = 0.0, grid: LogGrid = GRID) -> None:
        """pixel_width: [km/s], 0 for samples of no width."""
        super().__init__()
        frequency = torch.from_numpy(frequencies(grid))
        self.count = len(frequency)
        fixed = instrument(frequency, resolving_power) * pixel(frequency, pixel_width)
        self.step = float(frequency[1])
        self.stride = max(int(_COARSE / self.step), 1)
        blocks = -(-self.count // self.stride)
        self._keep("fixed", fixed)
        self._keep("coarse", self.step * self.stride * torch.arange(-1, blocks + 2, dtype=torch.float64))
        self._keep("cubic", _cubic_weights(self.stride))

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.to(torch.get_default_dtype()), persistent=False)

    def forward(self, vsini: Tensor, vmac: Tensor, epsilon: Tensor, rv: Tensor | None = None) -> Tensor:
        """(n, frequency), complex where stars move. Arguments (n,) [km/s, km/s, 1, km/s]."""
        star = self.stars(vsini, vmac, epsilon) * self.fixed
        return star if rv is None else star * self.phase(rv)

    def stars(self, vsini: Tensor, vmac: Tensor, epsilon: Tensor) -> Tensor:
        """(n, frequency) of rotation and macroturbulence alone."""
        vsini, vmac, epsilon = (value.to(self.coarse.dtype)[:, None] for value in (vsini, vmac, epsilon))
        known = rotation(self.coarse, vsini, epsilon) * macroturbulence(self.coarse, vmac)
        blocks = known.shape[1] - 3
        four = torch.stack([known[:, k : k + blocks] for k in range(4)], -1)
        return (four @ self.cubic).flatten(1)[:, : self.count]

    def phase(self, rv: Tensor) -> Tensor:
        """(n, frequency) complex: exp(-2 pi i f shift)."""
        turn = -2 * np.pi * self.step * log_shift(rv.double())[:, None]  # in doubles: thousands of radians add up
        blocks = torch.arange(len(self.coarse) - 3, device=rv.device) * self.stride
        inside = torch.arange(self.stride, device=rv.device)
        coarse, fine = (self._unit(turn * places) for places in (blocks, inside))
        return (coarse[:, :, None] * fine[:, None, :]).flatten(1)[:, : self.count]

    def _unit(self, angle: Tensor) -> Tensor:
        """exp(i angle), in the module's precision."""
        return torch.complex(torch.cos(angle).to(self.coarse.dtype), torch.sin(angle).to(self.coarse.dtype))


def _cubic_weights(stride: int) -> Tensor:
    """(4, stride): of values at -1, 0, 1, 2 for the cubic through them at 0, 1 / stride, ... below 1."""
    t = torch.arange(stride, dtype=torch.float64) / stride
    return torch.stack(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ]
    )


def _disk_and_limb(x: Tensor) -> tuple[Tensor, Tensor]:
    """2 J1(x) / x and 3 j1(x) / x for x >= 0, by cubics through a table of values and derivatives (error 1e-8).

    A table because torch has no derivative of J1; it also serves forward derivatives and any device.
    """
    table = _bessel_table(x.device, x.dtype)
    place = (x / _TABLE_STEP).clamp(max=len(table) - 1.001)
    index = place.detach().long()
    t = place - index
    left, right = table[index].unbind(-1), table[index + 1].unbind(-1)
    rises = (3 - 2 * t) * t**2
    start, stop = t * (1 - t) ** 2, t**2 * (t - 1)

    def hermite(value: int, slope: int) -> Tensor:
        climb = (right[value] - left[value]) * rises
        return left[value] + climb + _TABLE_STEP * (left[slope] * start + right[slope] * stop)

    return hermite(0, 1), hermite(2, 3)


@functools.cache
def _bessel_table(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(x, 4): 2 J1(x) / x, its derivative -2 J2(x) / x, 3 j1(x) / x, its derivative -3 j2(x) / x."""
    x = np.arange(0.0, _TABLE_STOP + _TABLE_STEP, _TABLE_STEP)
    safe = np.maximum(x, 1e-3)
    columns = [
        2 * special.j1(safe) / safe,
        -2 * special.jv(2, safe) / safe,
        3 * special.spherical_jn(1, safe) / safe,
        -3 * special.spherical_jn(2, safe) / safe,
    ]
    table = np.stack(columns, 1)
    table[0] = (1.0, 0.0, 1.0, 0.0)
    return torch.from_numpy(table).to(device=device, dtype=dtype)
