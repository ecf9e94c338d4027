"""The paper's attention network: eleven 1 x 7 convolutions and three gated soft-attention blocks, eq. 3,

    q = psi^T sigma_1(W_x^T x_n + W_g^T g + b_xg) + b_psi,   alpha_n = softmax(q),   xhat_n = alpha_n x_n

x_n is the map of features before the n-th 2 x 2 max pooling and g that of the last convolution, repeated onto the
positions of x_n (Oktay et al. 2018). alpha_n sums to one over all positions of all orders. The trunk goes on with x_n
itself: alpha_n needs g, which comes after it. Each block has a head of its own and their outputs are averaged.

A head sees xhat_n summed over stretches of each order, times their number: summed over all of it, as Jetley et al. 2018
do with pictures, it would no longer say which line was attended to. Convolutions never mix orders; the pooling does.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciml.core.errors import ConfigError
from sciml.stellar.heads import averaged, outputs
from sciml.stellar.resnet import convolution, image_of

BLOCKS = 3  # of attention
LAYERS = (3, 3, 3, 2)  # convolutions before each block, and after the last


@dataclass(frozen=True)
class AttentionConfig:
    """widths: channels before each attention block and after the last. stride: of the first convolution, in pixels.
    between: channels of a block (F_int). stretches: of each order, in which a head sees attended features; dense: width
    of a head's hidden layer. full: whether the covariance is."""

    widths: tuple[int, int, int, int] = (16, 16, 32, 32)
    stride: int = 4
    between: int = 16
    stretches: int = 32
    dense: int = 64
    full: bool = False


class AttentionNet(nn.Module):
    """Spectra -> Gaussians of their labels, as `sciml.stellar.heads` writes them."""

    def __init__(self, orders: int, pixels: int, config: AttentionConfig) -> None:
        super().__init__()
        least = config.stride * 2**BLOCKS
        if pixels % least:
            raise ConfigError(f"attention network: {pixels} pixels an order, expected a multiple of {least}")
        self.trunk = nn.ModuleList()
        self.gates, self.heads = nn.ModuleList(), nn.ModuleList()
        before, rows = 1, orders
        for stage, (layers, width) in enumerate(zip(LAYERS, config.widths, strict=True)):
            self.trunk.append(_stage(before, width, layers, config.stride if stage == 0 else 1))
            before = width
            if stage < BLOCKS:
                self.gates.append(_Gate(width, config.widths[-1], config.between))
                seen = min(config.stretches, pixels // config.stride // 2**stage)
                self.heads.append(_Head(width, rows, seen, config.dense, outputs(config.full)))
                rows = -(-rows // 2)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, flux: Tensor, snr: Tensor, mask: Tensor) -> Tensor:
        """flux, mask: (batch, order, pixel), continuum 1, mask true where it was observed; snr: (batch,), which this
        network does not look at -> (batch, 8 or 14)."""
        features, last = self._features(flux, mask)
        found = [head(x, gate(x, last)) for x, gate, head in zip(features, self.gates, self.heads, strict=True)]
        return averaged(torch.stack(found))

    def attention(self, flux: Tensor, mask: Tensor) -> list[Tensor]:
        """The maps alpha_n of each block on its own positions, (batch, y, x): each sums to one."""
        features, last = self._features(flux, mask)
        return [gate(x, last) for x, gate in zip(features, self.gates, strict=True)]

    def maps(self, flux: Tensor, mask: Tensor) -> Tensor:
        """(batch, 3, order, pixel): the maps spread evenly over the pixels that each position stands for; each still
        sums to one."""
        shape = flux.shape[1:]
        return torch.stack([_spread(alpha, shape) for alpha in self.attention(flux, mask)], 1)

    def _features(self, flux: Tensor, mask: Tensor) -> tuple[list[Tensor], Tensor]:
        x, found = image_of(flux, mask), []
        for stage in self.trunk[:-1]:
            x = stage(x)
            found.append(x)
            x = F.max_pool2d(x, 2, ceil_mode=True)
        return found, self.trunk[-1](x)


class _Gate(nn.Module):
    """Features (batch, F_x, y, x) and the last ones (batch, F_g, y', x') -> alpha (batch, y, x)."""

    def __init__(self, inside: int, last: int, between: int) -> None:
        super().__init__()
        self.of_x = nn.Conv2d(inside, between, 1, bias=False)
        self.of_g = nn.Conv2d(last, between, 1)
        self.psi = nn.Conv2d(between, 1, 1)

    def forward(self, x: Tensor, last: Tensor) -> Tensor:
        gate = self.of_g(last)
        while gate.shape[-1] < x.shape[-1]:  # as often as the pooling went, odd rows at the end included
            gate = gate.repeat_interleave(2, -2).repeat_interleave(2, -1)
        q = self.psi(F.relu(self.of_x(x) + gate[..., : x.shape[-2], :]))
        return q.flatten(1).softmax(1).view(x.shape[0], *x.shape[2:])


class _Head(nn.Module):
    """Features (batch, channel, y, x) and alpha (batch, y, x) -> (batch, 8 or 14)."""

    def __init__(self, width: int, rows: int, stretches: int, dense: int, out: int) -> None:
        super().__init__()
        self.stretches = stretches
        self.inner = nn.Linear(width * rows * stretches, dense)
        self.outer = nn.Linear(dense, out)

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        attended = x * (alpha * alpha[0].numel())[:, None]  # of mean alpha 1: else it would vanish beside the biases
        seen = F.avg_pool2d(attended, (1, x.shape[-1] // self.stretches))
        return self.outer(F.relu(self.inner(seen.flatten(1))))


def _stage(inside: int, outside: int, layers: int, stride: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for layer in range(layers):
        first = layer == 0
        parts.append(convolution(inside if first else outside, outside, stride if first else 1, bias=False))
        parts += [nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*parts)


def _spread(alpha: Tensor, shape: torch.Size) -> Tensor:
    """(batch, y, x) onto (order, pixel), where the last row may stand for one order alone."""
    across = -(-shape[0] // alpha.shape[-2])
    while across & (across - 1):  # rows halve, rounded up: each stands for a power of two
        across += 1
    along = shape[1] // alpha.shape[-1]
    rows = torch.arange(shape[0], device=alpha.device) // across
    share = torch.bincount(rows, minlength=alpha.shape[-2]) * along
    return (alpha / share[:, None])[:, rows].repeat_interleave(along, -1)
