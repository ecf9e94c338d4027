"""The Multi-residual U-Net of the paper (Nguyen et al. 2022, hal-03580148), from its text and figure 2.

What they leave open: at each level a residual unit keeps the channels and a convolution block doubles them, a 2 x 2
convolution of stride 2 halves the image, one residual block with reflected borders makes the bridge, transposed
convolutions lead up again. At width 64 these are 45 million parameters, as many as the paper's.
"""

import torch
from torch import Tensor, nn

LEVELS = 4


class MRUNet(nn.Module):
    """Interpolated image (image, Y, X), sides divisible by 16, in units of its scale -> the image with its detail.

    width: channels at full resolution; 16 times as many at the bridge.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        self.enter = nn.Sequential(_convolution(1, width), _Residual(width), _convolution(width, width))
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, w, 2, stride=2), _Residual(w), _convolution(w, 2 * w)) for w in widths[:-1]
        )
        self.bridge = _Residual(widths[-1], padding_mode="reflect")
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.merge = nn.ModuleList(nn.Sequential(_convolution(2 * w, w), _convolution(w, w)) for w in widths[-2::-1])
        self.leave = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.leave.weight)  # at first the interpolated image
        nn.init.zeros_(self.leave.bias)

    def forward(self, interpolated: Tensor) -> Tensor:
        across = [self.enter(interpolated[:, None])]
        for down in self.down:
            across.append(down(across[-1]))
        hidden = self.bridge(across.pop())
        for up, merge in zip(self.up, self.merge, strict=True):
            hidden = merge(torch.cat([up(hidden), across.pop()], 1))
        return interpolated + self.leave(hidden)[:, 0]


def _convolution(channels: int, width: int, padding_mode: str = "zeros") -> nn.Sequential:
    layer = nn.Conv2d(channels, width, 3, padding=1, padding_mode=padding_mode)
    return nn.Sequential(layer, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, width: int, padding_mode: str = "zeros") -> None:
        super().__init__()
        self.unit = nn.Sequential(_convolution(width, width, padding_mode), _convolution(width, width, padding_mode))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.unit(x)
