"""DMCN: a deep memory connected network (Xu, Xu, Deng, Zhou & Li 2018, doi:10.1109/IGARSS.2018.8518855, arXiv
2010.00472): an hourglass whose layers are joined by local memory connections inside each block and global ones across.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DMCN(nn.Module):
    """Interpolated image (image, Y, X), sides divisible by 4, in units of its scale -> the image with its detail.

    width: channels at full resolution, doubled at each of the two halvings. layers: convolutions of a memory block.
    """

    def __init__(self, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.enter = _Memory(1, width, layers)
        self.down = nn.ModuleList([_Down(width, 2 * width, layers), _Down(2 * width, 4 * width, layers)])
        self.up = nn.ModuleList([_Up(4 * width, 2 * width, layers), _Up(2 * width, width, layers)])
        self.leave = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, interpolated: Tensor) -> Tensor:
        first = self.enter(interpolated[:, None])
        second = self.down[0](first)
        hidden = self.up[0](self.down[1](second), second)
        return interpolated + self.leave(self.up[1](hidden, first))[:, 0]


class _Memory(nn.Module):
    """Convolutions whose outputs are all remembered and joined by one of 1 x 1."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        inputs = [channels] + [width] * (layers - 1)
        self.layers = nn.ModuleList(nn.Conv2d(count, width, 3, padding=1) for count in inputs)
        self.join = nn.Conv2d(width * layers, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        remembered = []
        for layer in self.layers:
            x = F.relu(layer(x))
            remembered.append(x)
        return F.relu(self.join(torch.cat(remembered, 1)))


class _Down(nn.Module):
    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.shrink = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.memory = _Memory(width, width, layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.memory(F.relu(self.shrink(x)))


class _Up(nn.Module):
    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.widen = nn.ConvTranspose2d(channels, width, 2, stride=2)
        self.memory = _Memory(2 * width, width, layers)

    def forward(self, x: Tensor, across: Tensor) -> Tensor:
        return self.memory(torch.cat([F.relu(self.widen(x)), across], 1))
