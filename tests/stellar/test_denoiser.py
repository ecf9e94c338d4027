"""The denoiser: it takes noise away, its code is smaller than a spectrum, and it is frozen where it should be."""

import pytest
import torch
from torch import nn

from sciml.core.errors import ConfigError
from sciml.nn.training import TrainingConfig, fit, seeded
from sciml.stellar.denoiser import Denoised, Denoiser, DenoiserConfig
from sciml.stellar.samples import SNR, SpectrumSamples, draw
from tests.stellar.toy import ToyLines

CONFIG = DenoiserConfig((16, 16), latent=4)
SOURCE = ToyLines(orders=2, pixels=128, lines=30)


def net(config: DenoiserConfig = CONFIG) -> Denoiser:
    with seeded(1):
        return Denoiser(*SOURCE.shape, config)


def test_takes_noise_away() -> None:
    snr = SNR(10.0, 10.0)
    model = net()
    fit(model, SpectrumSamples(SOURCE, snr, 1600, clean=True), TrainingConfig(6, 32, 5e-3), seed=1)
    values, drawn = draw(SOURCE, snr, 200, seed=5)
    with torch.no_grad():
        left = (model(drawn.flux, values, drawn.mask) - drawn.clean).square().mean()
    assert left < 0.5 * (drawn.flux - drawn.clean).square().mean()


def test_the_code_is_smaller_than_the_spectrum() -> None:
    flux = torch.rand(2, 1, *SOURCE.shape)
    code = net().encoder(flux)
    assert code.shape == (2, 4, 2, 8) and code[0].numel() < flux[0].numel() / 3


def test_keeps_shape_order_and_the_place_of_pixels() -> None:
    model = net()
    flux, snr, mask = torch.rand(3, *SOURCE.shape), torch.ones(3), torch.ones(3, *SOURCE.shape).bool()
    moved = flux.clone()
    moved[:, 1, 64] += 1.0
    with torch.no_grad():
        change = (model(moved, snr, mask) - model(flux, snr, mask)).abs().amax(0)
    assert change.shape == SOURCE.shape
    assert change[0].max() == 0.0 and change[1].max() > 0.0
    near = change[1].nonzero().squeeze(1)
    assert near.min() < 64 < near.max()
    assert (near - 64).abs().max() <= 6 * 16  # six kernels, at most 16 pixels a step


@pytest.mark.parametrize("fine_tune", [False, True])
def test_is_frozen_or_fitted_on(fine_tune: bool) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, flux: torch.Tensor, snr: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            assert mask.all()  # gaps are filled by then
            return self.weight * flux.sum((1, 2))

    model = Denoised(net(), Sum(), fine_tune)
    mask = torch.ones(2, *SOURCE.shape).bool()
    mask[0, 0, :9] = False
    model(torch.rand(2, *SOURCE.shape), torch.ones(2), mask).sum().backward()
    assert model.network.weight.grad is not None
    assert all((p.grad is not None) == fine_tune for p in model.denoiser.parameters())


def test_pixels_that_cannot_be_strided_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"100 pixels.*multiple of 16"):
        Denoiser(2, 100, CONFIG)
