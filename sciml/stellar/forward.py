"""From a star's parameters to the pixels of a spectrograph, and how much of them the pixels tell."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sciml.stellar.emulator import Emulator
from sciml.stellar.labels import LABELS, PARAMETERS, RANGES
from sciml.stellar.posterior import V0, from_working, to_working
from sciml.stellar.sampling import PixelGrid, Sampler

# [K, dex, dex, km/s, km/s, dex, km/s] for central differences: derivatives to 1e-3 in single precision
_STEPS = {"teff": 10.0, "logg": 0.02, "feh": 0.01, "vsini": 0.1, "vmic": 0.02, "alpha": 0.01, "vmac": 0.1}


class ForwardModel(nn.Module):
    """Flux over continuum in pixels, by the emulator."""

    def __init__(self, emulator: Emulator, pixels: PixelGrid) -> None:
        super().__init__()
        self.emulator, self.sampler = emulator, Sampler(pixels)

    @property
    def shape(self) -> tuple[int, int]:
        """(order, pixel)."""
        return self.sampler.shape

    def forward(self, parameters: Tensor, rv: Tensor | None = None) -> Tensor:
        """(n, order, pixel) of parameters (n, 7) and velocities (n,) [km/s]."""
        fourier, epsilon = self.emulator(parameters)
        return self.sampler.observe(fourier, parameters.to(fourier.real.dtype), epsilon, rv)

    @torch.no_grad()
    def at(self, working: np.ndarray) -> Tensor:
        """(n, order, pixel) of stars at rest, given by working coordinates (n, 7): see `posterior`."""
        return self(torch.from_numpy(from_working(working)))

    def jacobian(self, working: np.ndarray, names: Sequence[str] = LABELS) -> Tensor:
        """(n, name, order, pixel) derivatives with respect to working coordinates (n, 7), by central differences.

        At an end of a parameter's range the difference is one-sided.
        """
        low, high = working_ranges()
        columns = []
        for name in names:
            column = PARAMETERS.index(name)
            ends = []
            for side in (-1, 1):
                moved = working.copy()
                moved[:, column] = np.clip(moved[:, column] + side * _STEPS[name], low[column], high[column])
                ends.append(moved)
            span = torch.from_numpy((ends[1] - ends[0])[:, column]).float()
            columns.append((self.at(ends[1]) - self.at(ends[0])) / span[:, None, None])
        return torch.stack(columns, 1)


def working_ranges() -> tuple[np.ndarray, np.ndarray]:
    """Least and largest working coordinates (7,)."""
    low, high = to_working(np.array([[RANGES[name][side] for name in PARAMETERS] for side in (0, 1)]))
    return low, high


def fisher_matrix(jacobian: Tensor, sigma: Tensor) -> np.ndarray:
    """(n, p, p) J^T W J. jacobian: (n, p, order, pixel); sigma: broadcast to (n, order, pixel), inf where masked."""
    scaled = (jacobian / sigma[:, None]).flatten(2)
    return (scaled @ scaled.mT).double().numpy()


def covariance_of(fisher: np.ndarray) -> np.ndarray:
    """Inverse (n, p, p) of Fisher matrices whose entries differ by many orders."""
    size = np.sqrt(np.maximum(np.einsum("nii->ni", fisher), 1e-300))
    scale = size[:, :, None] * size[:, None, :]
    return np.linalg.inv(fisher / scale + 1e-9 * np.eye(fisher.shape[1])) / scale


def cramer_rao(covariance: np.ndarray, working: np.ndarray) -> np.ndarray:
    """(n, 4) least standard deviations of LABELS of any unbiased estimate (Cramer-Rao), at working coordinates (n, 7).

    covariance: (n, p >= 4, p) inverse Fisher matrix. That of v sin i grows without end towards 0.
    """
    found = np.sqrt(np.einsum("nii->ni", covariance)[:, :4])
    place = PARAMETERS.index("vsini")
    u = np.maximum(working[:, place], 1e-6)
    found[:, place] *= (u + V0) / np.sqrt(u * (u + 2 * V0))
    return found
