"""The residual network: orders stay apart, gaps are continuum, five blocks of 1 x 7 kernels."""

import pytest
import torch
from torch import nn

from sciml.core.errors import ConfigError
from sciml.nn.training import seeded
from sciml.stellar.resnet import ResNet, ResNetConfig, convolution, image_of

CONFIG = ResNetConfig((4, 4, 8, 8, 8), (2, 2, 2, 2, 1), stride=2, dense=16, dropout=0.5)


def net(config: ResNetConfig = CONFIG) -> ResNet:
    with seeded(1):
        return ResNet(3, 64, config).eval()


def spectra(count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, 64, generator=generator), torch.full((count,), 20.0), torch.ones(count, 3, 64).bool()


def test_is_what_the_paper_says() -> None:
    model = net()
    kernels = [m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    assert kernels == [(1, 7)] * 11  # the first, then two in each of five blocks
    assert sum(isinstance(m, nn.Linear) for m in model.dense) == 3
    assert sum(isinstance(m, nn.Dropout) for m in model.dense) == 2
    assert model(*spectra()).shape == (2, 8)
    assert net(ResNetConfig(**{**vars(CONFIG), "full": True}))(*spectra()).shape == (2, 14)


def test_orders_are_mixed_by_the_dense_layers_alone() -> None:
    flux, _, mask = spectra()
    other = flux.clone()
    other[:, 1] = 0.3
    model = net()
    with torch.no_grad():
        before, after = (model.blocks(torch.relu(model.enter(image_of(x, mask)))) for x in (flux, other))
    same = (before == after).all(1).all(0).all(-1)
    assert same.tolist() == [True, False, True]


def test_what_was_not_observed_is_continuum_whatever_it_holds() -> None:
    flux, snr, mask = spectra()
    mask[:, 0, 10:20] = False
    torn, filled = flux.clone(), flux.clone()
    torn[:, 0, 10:20], filled[:, 0, 10:20] = torch.nan, 1.0
    model = net()
    assert torch.equal(model(torn, snr, mask), model(filled, snr, torch.ones_like(mask)))


def test_zero_padding_is_continuum() -> None:
    """A spectrum amid continuum gives, where it lies, what it gives alone."""
    flux, _, mask = spectra()
    wide = torch.ones(2, 3, 128)
    wide[..., 32:96] = flux
    with seeded(3):
        layer = convolution(1, 4, bias=False)
    alone, amid = layer(image_of(flux, mask)), layer(image_of(wide, torch.ones_like(wide).bool()))
    assert torch.allclose(alone, amid[..., 32:96], atol=1e-6)


def test_pixels_that_cannot_be_pooled_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"100 pixels.*multiple of 32"):
        ResNet(3, 100, CONFIG)
