"""Our network: it works on the coarse grid, is guided by what is known on the fine one, and keeps what was observed.

The coarse image and the fine guidance, its pixels folded into channels, pass through residual blocks on the coarse grid
(Shi et al. 2016, sub-pixel convolution; Lim et al. 2017, EDSR), which cost a sixteenth of the same blocks on the fine
one. What comes out is the detail inside each coarse pixel, in units of the image's own contrast, and its spread. The
detail is added to the bicubic image and the mean of T^4 over every coarse pixel is then made that of the input.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REFERENCE_K = 300.0  # T^4 in single precision is worked out relative to it
LEAST_CONTRAST_K = 0.5
SMALLEST_ERROR_K = 0.05  # below it an image counts no more
SPREAD_WEIGHT = 0.3
LIMIT = 4.0  # of log(spread / contrast)
SMALLEST_SIZE = 0.1  # of a pixel's channels: smaller ones stay as they are
GUIDES = 3  # NDVI, red, near-infrared
OFFSET, SCALE = (0.5, 0.1, 0.25, 0.0), (0.25, 0.05, 0.1, 0.5)  # of the guides and of a place's mean detail [K]


@dataclass(frozen=True)
class SciMLNetConfig:
    """Size of the network. memory: whether the mean detail of the place is a guide too. bfloat16: whether convolutions
    are worked out in it. exact: whether a coarse pixel is the mean of T^4 over its fine ones, and is kept."""

    factor: int = 4
    width: int = 64
    blocks: int = 6
    memory: bool = False
    bfloat16: bool = True
    exact: bool = True

    @property
    def channels(self) -> int:
        """Of the input on the coarse grid: temperature, its coverage and four numbers of the image; for each guide its
        fine pixels less their mean, that mean, and whether it is there."""
        return 6 + (GUIDES + self.memory) * (self.factor**2 + 2)


class SciMLNet(nn.Module):
    """Temperature and its spread on the fine grid from coarse temperature and fine guidance."""

    def __init__(self, config: SciMLNetConfig) -> None:
        super().__init__()
        self.config = config
        self.enter = nn.Conv2d(config.channels, config.width, 3, padding=1)
        self.blocks = nn.Sequential(*(_Residual(config.width) for _ in range(config.blocks)))
        self.leave = nn.Conv2d(config.width, 2 * config.factor**2, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, coarse: Tensor, known: Tensor, day: Tensor, guides: Tensor) -> Tensor:
        """coarse: (image, y, x) [K] without gaps; known: (image, y, x) 1 where it was observed; day: (image,) 1 or 0;
        guides: (image, guide, Y, X), NaN unknown -> (image, 2, Y, X): temperature [K], logarithm of its spread [K]."""
        factor = self.config.factor
        mean, contrast = _moments(coarse, known)
        image = ((coarse - mean) / contrast)[:, None]
        ones = torch.ones_like(image)
        numbers = [day[:, None, None, None], (mean[:, None] - 285) / 20, (contrast[:, None] - 2) / 2]
        parts = [image, known[:, None], *(n * ones for n in numbers), ones]
        for number, guide in enumerate(guides.unbind(1)):
            parts.extend(_folded((guide - OFFSET[number]) / SCALE[number], factor))
        with torch.autocast(coarse.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            hidden = self.enter(torch.cat(parts, 1).contiguous(memory_format=torch.channels_last))
            detail, spread = self.leave(self.blocks(hidden)).float().chunk(2, 1)
        inner = detail - detail.mean(1, keepdim=True) if self.config.exact else detail
        detail = F.pixel_shuffle(inner, factor)[:, 0]
        fine = F.interpolate(coarse[:, None], scale_factor=factor, mode="bicubic")[:, 0] + detail * contrast
        log_sigma = F.pixel_shuffle(spread.clamp(-LIMIT, LIMIT), factor)[:, 0] + contrast.log()
        return torch.stack([consistent(fine, coarse, factor) if self.config.exact else fine, log_sigma], 1)


def consistent(fine: Tensor, coarse: Tensor, factor: int) -> Tensor:
    """`sciml.modis.degradation.consistent` in single precision: (image, Y, X), (image, y, x) -> (image, Y, X) [K]."""
    power = fourth_power(fine / REFERENCE_K)
    lacking = fourth_power(coarse / REFERENCE_K) - F.avg_pool2d(power[:, None], factor)[:, 0]
    whole = power + lacking.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    return REFERENCE_K * fourth_root(whole.clamp_min(1e-3))


def box_t4(fine: Tensor, factor: int) -> Tensor:
    """`sciml.modis.degradation.box_t4` of complete images in single precision: (image, Y, X) -> (image, y, x) [K]."""
    return REFERENCE_K * fourth_root(F.avg_pool2d(fourth_power(fine / REFERENCE_K)[:, None], factor)[:, 0])


def fourth_power(x: Tensor) -> Tensor:
    """By two squares: forty times faster than a power."""
    return x.square().square()


def fourth_root(x: Tensor) -> Tensor:
    return x.sqrt().sqrt()


class _Residual(nn.Module):
    """Two convolutions of the input at unit size, whose sum with the input is at first the input.

    Without the norm a block's gain is not bounded: networks that fitted their training images well gave hundreds of
    kelvin on other dates.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(unit_size(x))))


def unit_size(x: Tensor) -> Tensor:
    """Each pixel's channels (image, channel, y, x) over their root mean square (Zhang & Sennrich 2019, RMSNorm)."""
    return x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + SMALLEST_SIZE**2).to(x.dtype)


def _moments(coarse: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and contrast (image, 1, 1) [K] of what was observed."""
    count = known.sum((1, 2), keepdim=True).clamp_min(1)
    mean = (coarse * known).sum((1, 2), keepdim=True) / count
    variance = ((coarse - mean) ** 2 * known).sum((1, 2), keepdim=True) / count
    return mean, variance.sqrt() + LEAST_CONTRAST_K


def _folded(guide: Tensor, factor: int) -> list[Tensor]:
    """Channels of one guide (image, Y, X) on the coarse grid, 0 where it is unknown."""
    there = torch.isfinite(guide)
    count = F.avg_pool2d(there[:, None].float(), factor)
    total = F.avg_pool2d(torch.where(there, guide, 0.0)[:, None], factor)
    mean = torch.where(count > 0, total / count.clamp_min(1e-6), 0.0)
    unfold = partial(F.pixel_unshuffle, downscale_factor=factor)
    detail = unfold(torch.nan_to_num(guide)[:, None]) - mean
    return [detail * unfold(there[:, None].float()), mean, count]


def error_and_spread(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Loss: mean over images of log(rms error), which is PSNR in other units, and the negative log-likelihood of the
    spread given that error, through which no gradient reaches the temperature. Errors are taken to be Laplacian: one
    surprising pixel then weighs as its error, not as its square (with normal ones training was thrown off its course).

    output: (image, 2, Y, X) temperature and log(sigma) [K]; target: (image, Y, X) [K]; weight: 0 where unknown.
    """
    fine, log_sigma = output.unbind(1)
    difference = (fine - target) * weight
    count = weight.sum((1, 2)).clamp_min(1)
    error = 0.5 * torch.log(difference.square().sum((1, 2)) / count + SMALLEST_ERROR_K**2)
    size = difference.detach().abs()
    spread = (log_sigma * weight + size * torch.exp(-log_sigma)).sum((1, 2)) / count
    return (error + SPREAD_WEIGHT * spread).mean()
