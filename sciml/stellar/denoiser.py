"""The paper's denoising auto-encoder (eq. 4, Vincent et al. 2008): noisy spectra in, the same without noise out.

Strided 1 x 7 convolutions lead along the pixels of each order to a latent code of fewer numbers than the spectrum has;
transposed ones lead back. Before a network it is frozen, or fitted on with it.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciml.core.errors import ConfigError
from sciml.stellar.resnet import DEPTH, convolution, image_of

STRIDE = 4


@dataclass(frozen=True)
class DenoiserConfig:
    """widths: channels after each of the convolutions that shorten an order by STRIDE. latent: channels of the code."""

    widths: tuple[int, ...] = (16, 32, 32)
    latent: int = 16


class Denoiser(nn.Module):
    """Spectra -> spectra of their shape without noise; pixels that were not observed are filled."""

    def __init__(self, orders: int, pixels: int, config: DenoiserConfig) -> None:
        super().__init__()
        shorter = STRIDE ** len(config.widths)
        if pixels % shorter:
            raise ConfigError(f"denoiser: {pixels} pixels an order, expected a multiple of {shorter}")
        down: list[nn.Module] = []
        for inside, outside in zip((1, *config.widths), config.widths, strict=False):
            down += [convolution(inside, outside, STRIDE), nn.GELU()]
        up: list[nn.Module] = [convolution(config.latent, config.widths[-1]), nn.GELU()]
        back = config.widths[::-1]
        for inside, outside in itertools.pairwise(back):
            up += [nn.ConvTranspose2d(inside, outside, (1, 2 * STRIDE), (1, STRIDE), (0, STRIDE // 2)), nn.GELU()]
        # the last step up only deals out channels as pixels: at full length even few channels would cost most of all
        self.encoder = nn.Sequential(*down, convolution(config.widths[-1], config.latent))
        self.decoder = nn.Sequential(*up, convolution(back[-1], STRIDE))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, flux: Tensor, snr: Tensor, mask: Tensor) -> Tensor:
        """flux, mask: (batch, order, pixel); snr: (batch,), which it does not look at -> (batch, order, pixel)."""
        dealt = self.decoder(self.encoder(image_of(flux, mask)))  # (batch, STRIDE, order, pixel / STRIDE)
        return 1.0 + DEPTH * dealt.permute(0, 2, 3, 1).flatten(2)


class Denoised(nn.Module):
    """A network behind a denoiser. fine_tune: whether the denoiser is fitted on with it."""

    def __init__(self, denoiser: nn.Module, network: nn.Module, fine_tune: bool) -> None:
        super().__init__()
        self.denoiser, self.network, self.fine_tune = denoiser, network, fine_tune
        self.denoiser.requires_grad_(fine_tune)

    def forward(self, flux: Tensor, snr: Tensor, mask: Tensor) -> Tensor:
        """As the network's."""
        with torch.set_grad_enabled(self.fine_tune and torch.is_grad_enabled()):
            clean = self.denoiser(flux, snr, mask)
        return self.network(clean, snr, torch.ones_like(mask))
