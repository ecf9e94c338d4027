"""VDSR: twenty convolutions learn what interpolation lacks (Kim, Lee & Lee 2016, doi:10.1109/CVPR.2016.182)."""

import torch.nn.functional as F
from torch import Tensor, nn


class VDSR(nn.Module):
    """Interpolated image (image, Y, X) in units of its scale -> the image with its detail, same shape.

    width: channels. depth: convolutions of 3 x 3.
    """

    def __init__(self, width: int = 64, depth: int = 20) -> None:
        super().__init__()
        inner = [nn.Conv2d(width, width, 3, padding=1) for _ in range(depth - 2)]
        self.layers = nn.ModuleList([nn.Conv2d(1, width, 3, padding=1), *inner])
        self.leave = nn.Conv2d(width, 1, 3, padding=1)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.leave.weight)  # at first the interpolated image, not one hundreds of kelvin off
        nn.init.zeros_(self.leave.bias)

    def forward(self, interpolated: Tensor) -> Tensor:
        hidden = interpolated[:, None]
        for layer in self.layers:
            hidden = F.relu(layer(hidden))
        return interpolated + self.leave(hidden)[:, 0]
