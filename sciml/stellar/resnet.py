"""The paper's residual network: five residual blocks of 1 x 7 convolutions, then three dense layers with dropout.

Convolutions run along the pixels and never mix orders, zero padding stands for continuum. The paper gives neither
widths nor pooling: between blocks the pixels are pooled, so that the dense layers see places along each order.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciml.core.errors import ConfigError
from sciml.stellar.heads import outputs

KERNEL = 7
DEPTH = 0.2  # of lines: the unit in which convolutions see a spectrum


@dataclass(frozen=True)
class ResNetConfig:
    """widths: channels of each block. pools: pixels that are pooled after each block. stride: of the first convolution,
    in pixels. dense: width of the dense layers. full: whether the covariance is."""

    widths: tuple[int, ...] = (16, 16, 32, 32, 32)
    pools: tuple[int, ...] = (4, 4, 2, 2, 1)
    stride: int = 4
    dense: int = 128
    dropout: float = 0.1
    full: bool = False


class ResNet(nn.Module):
    """Spectra -> Gaussians of their labels, as `sciml.stellar.heads` writes them."""

    def __init__(self, orders: int, pixels: int, config: ResNetConfig) -> None:
        super().__init__()
        reduced = config.stride
        for pool in config.pools:
            reduced *= pool
        if pixels % reduced:
            raise ConfigError(f"residual network: {pixels} pixels an order, expected a multiple of {reduced}")
        self.enter = convolution(1, config.widths[0], config.stride)
        blocks, before = [], config.widths[0]
        for width, pool in zip(config.widths, config.pools, strict=True):
            blocks += [_Residual(before, width), nn.MaxPool2d((1, pool))]
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.dense = nn.Sequential(
            nn.Linear(before * orders * (pixels // reduced), config.dense),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense, config.dense),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense, outputs(config.full)),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, flux: Tensor, snr: Tensor, mask: Tensor) -> Tensor:
        """flux, mask: (batch, order, pixel), continuum 1, mask true where it was observed; snr: (batch,), which this
        network does not look at -> (batch, 8 or 14)."""
        return self.dense(self.blocks(F.relu(self.enter(image_of(flux, mask)))).flatten(1))


def image_of(flux: Tensor, mask: Tensor) -> Tensor:
    """What convolutions see: flux less its continuum in units of DEPTH, 0 where nothing was observed (and beyond the
    edges, where padding is 0): (batch, order, pixel) -> (batch, 1, order, pixel)."""
    image = torch.where(mask, (flux - 1.0) / DEPTH, 0.0)[:, None]
    return image.contiguous(memory_format=torch.channels_last)  # several times quicker for few channels


def convolution(inside: int, outside: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """1 x 7 along the pixels of each order, zeros beyond its edges."""
    return nn.Conv2d(inside, outside, (1, KERNEL), (1, stride), (0, KERNEL // 2), bias=bias)


class _Residual(nn.Module):
    """He et al. 2015, figure 2: two convolutions with batch norms beside a path that changes the width at most."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.first = nn.Sequential(convolution(inside, outside, bias=False), nn.BatchNorm2d(outside))
        self.second = nn.Sequential(convolution(outside, outside, bias=False), nn.BatchNorm2d(outside))
        self.past = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.past(x) + self.second(F.relu(self.first(x))))
