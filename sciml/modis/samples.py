"""What networks are trained on: images degraded afresh in every batch, turned, mirrored, and partly covered.

A batch is cut at one of the factor x factor offsets of the coarse grid, so that a network never meets the same coarse
image twice in the same way, and turned into one of eight positions. Everything is a few passes over small arrays: the
cost beside a step of the network is in `bench/superres.py`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sciml.modis.degradation import point_spread
from sciml.modis.images import Images
from sciml.modis.sciml_net import REFERENCE_K, box_t4, fourth_power, fourth_root

COVERED_K = 280.0  # stands in a missing fine pixel; its coarse pixel is known to be missing


@dataclass(frozen=True, eq=False)
class GuidedSamples:
    """Samples of `SciMLNet`: inputs (coarse, known, day, guides), target (image, Y, X) [K], weight (image, Y, X).

    guides: (image, guide, Y, X), NaN unknown. augment: offsets, turns, clouds and lost guides; without it an image is
    taken as it is. cloudy, unguided, unbanded: share of batches that clouds partly cover, that lose all guides, and
    that keep NDVI alone. degradation: name in DEGRADED.
    """

    lst: Tensor
    guides: Tensor
    day: Tensor
    factor: int = 4
    augment: bool = True
    cloudy: float = 0.15
    unguided: float = 0.1
    unbanded: float = 0.15
    degradation: str = "box_t4"

    def __len__(self) -> int:
        return len(self.lst)

    def batch(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        target, guides = self.lst[index], self.guides[index]
        if self.augment:
            target, guides = self._cut_and_turned(target, guides)
        known = torch.isfinite(target)
        target = torch.where(known, target, COVERED_K)
        coarse, whole = DEGRADED[self.degradation](target, known, self.factor)
        if self.augment and bool(torch.rand(()) < self.cloudy):
            whole &= ~_clouds(whole.shape)
        coarse = filled(coarse, whole)
        over = whole.repeat_interleave(self.factor, 1).repeat_interleave(self.factor, 2)
        weight = (known & over).float()
        return (coarse, whole.float(), self.day[index], guides), target, weight

    def _cut_and_turned(self, target: Tensor, guides: Tensor) -> tuple[Tensor, Tensor]:
        size = self.factor * (target.shape[-1] // self.factor - 1)
        top, left = (int(torch.randint(0, self.factor + 1, ())) for _ in range(2))
        way = int(torch.randint(0, 8, ()))
        target, guides = (turned(x[..., top : top + size, left : left + size], way) for x in (target, guides))
        lost = float(torch.rand(()))
        if lost < self.unguided + self.unbanded:
            guides = guides.clone()
            guides[:, 0 if lost < self.unguided else 1 : 3] = torch.nan
        return target, guides


def samples_of(
    images: Images,
    factor: int = 4,
    memory: np.ndarray | None = None,
    augment: bool = True,
    degradation: str = "box_t4",
) -> GuidedSamples:
    """Samples of images. memory: (image, Y, X) [K] mean detail of each image's place on other dates."""
    return GuidedSamples(
        torch.from_numpy(images.lst.astype(np.float32)),
        guides_of(images.ndvi, images.reflectance, memory),
        torch.from_numpy(images.day.astype(np.float32)),
        factor,
        augment,
        degradation=degradation,
    )


def guides_of(ndvi: np.ndarray, reflectance: np.ndarray | None, memory: np.ndarray | None = None) -> Tensor:
    """(image, guide, Y, X): NDVI, red, near-infrared, and the mean detail of the place where a network takes it."""
    bands = np.full((len(ndvi), 2, *ndvi.shape[1:]), np.nan) if reflectance is None else reflectance
    layers = [ndvi[:, None], bands] + ([] if memory is None else [memory[:, None]])
    return torch.from_numpy(np.concatenate(layers, 1).astype(np.float32))


def turned(x: Tensor, way: int) -> Tensor:
    """One of the eight positions of a square (..., y, x): mirrored by its bits 0 and 1, then transposed by bit 2."""
    if way & 1:
        x = x.flip(-1)
    if way & 2:
        x = x.flip(-2)
    return x.transpose(-1, -2) if way & 4 else x


def turned_back(x: Tensor, way: int) -> Tensor:
    """Undoes `turned`."""
    if way & 4:
        x = x.transpose(-1, -2)
    if way & 2:
        x = x.flip(-2)
    return x.flip(-1) if way & 1 else x


def _box(fine: Tensor, known: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """`sciml.modis.degradation.box_t4`: (image, Y, X) [K] without gaps, known -> coarse pixels [K], which are whole."""
    coarse = box_t4(fine, factor)
    if bool(known.all()):
        return coarse, torch.ones_like(coarse, dtype=torch.bool)
    return coarse, F.avg_pool2d(known[:, None].float(), factor)[:, 0] == 1


def _mtf(fine: Tensor, known: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """`sciml.modis.degradation.mtf`, the scan along x, in the same words."""
    along, across = (torch.from_numpy(point_spread(factor, scanning)) for scanning in (True, False))
    beside = (len(along) - factor) // 2

    def seen(field: Tensor) -> Tensor:
        x, y = along.to(field), across.to(field)
        rows = F.conv2d(field[:, None], x[None, None, None], stride=(1, factor), padding=(0, beside))
        return F.conv2d(rows, y[None, None, :, None], stride=(factor, 1), padding=(beside, 0))[:, 0]

    inside = seen(torch.ones_like(fine[:1]))
    coarse = REFERENCE_K * fourth_root(seen(fourth_power(fine / REFERENCE_K)) / inside)
    if bool(known.all()):
        return coarse, torch.ones_like(coarse, dtype=torch.bool)
    return coarse, seen((~known).double()) <= 1e-9 * inside


DEGRADED = {"box_t4": _box, "mtf": _mtf}


def filled(coarse: Tensor, known: Tensor, rounds: int = 4) -> Tensor:
    """Missing pixels take the mean of their known neighbours, from ring to ring; what is farther the image's mean."""
    if bool(known.all()):
        return coarse
    have = known.float()
    total = torch.where(known, coarse, 0.0)
    mean = total.sum((1, 2), keepdim=True) / have.sum((1, 2), keepdim=True).clamp_min(1)
    for _ in range(rounds):
        count = F.avg_pool2d(have[:, None], 3, 1, 1)[:, 0]
        near = F.avg_pool2d(total[:, None], 3, 1, 1)[:, 0] / count.clamp_min(1e-6)
        new = (have == 0) & (count > 0)
        total = torch.where(new, near, total)
        have = torch.where(new, 1.0, have)
    return torch.where(have > 0, total, mean)


def _clouds(shape: tuple[int, ...]) -> Tensor:
    """Where clouds cover coarse pixels (image, y, x): smooth noise above a height that differs between images."""
    noise = F.interpolate(torch.randn(shape[0], 1, 4, 4), size=shape[1:], mode="bicubic")[:, 0]
    return noise > 0.5 + 1.5 * torch.rand(shape[0], 1, 1)
