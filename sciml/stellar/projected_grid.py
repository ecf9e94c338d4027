"""What projections of spectra are at any labels: a table of model atmospheres and rotations, interpolated.

Between atmospheres (teff, logg, feh) a Gaussian process of the projections' principal components, along rotation a
Chebyshev polynomial: a rotating star's lines are smooth in it, so few rotations are enough and all are known of every
atmosphere. Places are those of the kernel (teff as its inverse, logg and feh in half ranges), and last the working
coordinate of v sin i (`posterior`) from -1 to 1.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor, nn

from sciml.stellar.emulator import principal_components
from sciml.stellar.gaussian_process import best_lengths, inputs, kernel, kernel_slope, weights_of
from sciml.stellar.labels import ATMOSPHERIC, LABELS, PARAMETERS, RANGES, in_grid
from sciml.stellar.posterior import V0
from sciml.stellar.samples import Rotatable

ROTATIONS = 10  # at which spectra are tabulated
COMPONENTS = 150
_NUGGET = 1e-8
_SEARCHED = 800  # atmospheres with which lengths are sought
_AT_ONCE = 16  # atmospheres whose spectra are held together
_VSINI = PARAMETERS.index("vsini")
_SPAN = float(np.hypot(RANGES["vsini"][1], V0) - V0)  # of the working coordinate
_HALF = (RANGES["teff"][1] - RANGES["teff"][0]) / 2
_MIDDLE = (RANGES["teff"][1] + RANGES["teff"][0]) / 2


class ProjectedGrid(nn.Module):
    """Projections and their derivatives at any place. Empty, to be filled by `load_state_dict` or `tabulate`."""

    def __init__(self, atmospheres: int, size: int) -> None:
        """size: numbers of a projected spectrum."""
        super().__init__()
        for name, values in (
            ("inputs", torch.zeros(atmospheres, 3, dtype=torch.float64)),
            ("lengths", torch.ones(3, dtype=torch.float64)),
            ("weights", torch.zeros(atmospheres, COMPONENTS, dtype=torch.float64)),
            ("components", torch.zeros(COMPONENTS + 1, ROTATIONS * size)),  # Chebyshev coefficients; the mean is last
            ("low", -torch.ones(4, dtype=torch.float64)),
            ("high", torch.ones(4, dtype=torch.float64)),
        ):
            self.register_buffer(name, values)

    def forward(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """places (n, 4) -> projections (n, size), derivatives (n, 4, size), in single precision."""
        near, along = places[:, :3].double(), places[:, 3].double()
        like = kernel(near, self.inputs, self.lengths)[:, None]
        slope = kernel_slope(near, self.inputs, self.lengths)
        found = (torch.cat([like, slope], 1) @ self.weights).to(self.components.dtype)
        known = (found.flatten(0, 1) @ self.components[:-1]).view(len(places), 4, ROTATIONS, -1)
        known[:, 0] += self.components[-1].view(ROTATIONS, -1)
        values, slopes = (part.to(known.dtype) for part in _chebyshev(along))
        at = torch.einsum("nr,nprk->npk", values, known)
        turned = torch.einsum("nr,nrk->nk", slopes, known[:, 0])
        return at[:, 0], torch.cat([at[:, 1:], turned[:, None]], 1)

    def within(self, places: Tensor, margin: float = 0.0) -> Tensor:
        """The nearest places in the table."""
        return torch.minimum(torch.maximum(places, self.low - margin), self.high + margin)


def tabulate(project: Callable[[Tensor], Tensor], source: Rotatable, atmospheres: int, seed: int) -> ProjectedGrid:
    """The grid of projections (n, size) of a source's spectra (n, order, pixel)."""
    points = _atmospheres(atmospheres, source.teff, seed)
    node = np.cos(np.pi * (np.arange(ROTATIONS) + 0.5) / ROTATIONS)
    u = (node + 1) / 2 * _SPAN
    vsini = np.sqrt(u * (u + 2 * V0))
    parts = []
    for start in range(0, atmospheres, _AT_ONCE):
        clean = source.rotated(points[start : start + _AT_ONCE], vsini)
        parts.append(project(clean.flatten(0, 1)).cpu().numpy().reshape(len(clean), ROTATIONS, -1))
    values = np.concatenate(parts)
    del parts
    # at nodes -> coefficients of polynomials
    transform = np.linalg.inv(_chebyshev(torch.from_numpy(node))[0].numpy())
    values = np.einsum("rs,nsk->nrk", transform.astype(np.float32), values).reshape(atmospheres, -1)
    mean, components, coefficients = principal_components(values, COMPONENTS)
    five = np.zeros((atmospheres, len(ATMOSPHERIC)))
    five[:, :3] = points
    places = inputs(torch.from_numpy(five))[:, :3].contiguous()
    lengths = best_lengths(places[:_SEARCHED], coefficients[:_SEARCHED], _NUGGET)
    weights = weights_of(places, coefficients, lengths, _NUGGET)
    grid = ProjectedGrid(atmospheres, values.shape[1] // ROTATIONS)
    grid.inputs.copy_(places)
    grid.lengths.copy_(lengths)
    grid.weights[:, : len(components)] = torch.from_numpy(weights)
    grid.components[: len(components)] = torch.from_numpy(components)
    grid.components[-1] = torch.from_numpy(mean)
    ends = np.array([(teff, 0.0, 0.0, 0.0) for teff in source.teff])
    grid.low[0], grid.high[0] = to_places(torch.from_numpy(ends))[:, 0]
    return grid


def to_places(labels: Tensor) -> Tensor:
    """Labels (n, 4) in their units -> places (n, 4), in doubles."""
    known = labels.double()
    five = torch.cat([known[:, :3], torch.zeros_like(known[:, :2])], 1)
    turned = torch.sqrt(known[:, 3:] ** 2 + V0**2) - V0
    return torch.cat([inputs(five)[:, :3], 2 * turned / _SPAN - 1], 1)


def from_places(places: Tensor, blurred: Tensor | float) -> tuple[Tensor, Tensor]:
    """Places (n, 4) -> labels in half ranges (n, 4) and their derivatives (n, 4), each by its own place.

    blurred: (n,) deviation of the last place, or one for all: v sin i turns with the square root of its working
    coordinate at 0, and its derivative is that of a star which rotates by as much.
    """
    inverse = 5040.0 / torch.tensor(RANGES["teff"], dtype=torch.float64)
    theta = inverse[1] + (1 - places[:, 0]) / 2 * (inverse[0] - inverse[1])
    teff = 5040.0 / theta
    u = (places[:, 3] + 1).clamp_min(0.0) / 2 * _SPAN
    vsini, half = torch.sqrt(u * (u + 2 * V0)), (RANGES["vsini"][1] - RANGES["vsini"][0]) / 2
    least = u + blurred / 2 * _SPAN
    rate = (least + V0) / torch.sqrt(least * (least + 2 * V0)).clamp_min(1e-6)
    one = torch.ones_like(teff)
    values = torch.stack([(teff - _MIDDLE) / _HALF, places[:, 1], places[:, 2], vsini / half - 1], 1)
    slopes = [teff / theta / _HALF * (inverse[0] - inverse[1]) / 2, one, one, rate * _SPAN / 2 / half]
    return values, torch.stack(slopes, 1)


def _atmospheres(count: int, teff: tuple[float, float], seed: int) -> np.ndarray:
    """(count, 3) teff, logg, feh between two temperatures where models exist, as dense as their inverse is."""
    ranges = np.array([teff, RANGES["logg"], RANGES["feh"]])
    points = qmc.Sobol(3, seed=seed).random(1 << int(np.ceil(np.log2(2 * count))))
    first, last = 5040.0 / ranges[0]
    found = np.zeros((len(points), len(PARAMETERS)))
    found[:, 0] = 5040.0 / (first + points[:, 0] * (last - first))
    found[:, 1:3] = ranges[1:, 0] + points[:, 1:] * (ranges[1:, 1] - ranges[1:, 0])
    found[:, PARAMETERS.index("vmic")] = RANGES["vmic"][0]
    return found[in_grid(found)][:count, : len(LABELS) - 1]


def _chebyshev(x: Tensor) -> tuple[Tensor, Tensor]:
    """(n, ROTATIONS) polynomials T_k at x (n,), and their derivatives; also somewhat off [-1, 1]."""
    values, slopes = [torch.ones_like(x), x], [torch.zeros_like(x), torch.ones_like(x)]
    for _ in range(2, ROTATIONS):
        slopes.append(2 * values[-1] + 2 * x * slopes[-1] - slopes[-2])
        values.append(2 * x * values[-1] - values[-2])
    return torch.stack(values, 1), torch.stack(slopes, 1)
