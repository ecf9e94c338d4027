"""The attention network: maps that sum to one, eleven convolutions, an attention that follows its formula."""

import pytest
import torch
from torch import nn

from sciml.core.errors import ConfigError
from sciml.nn.training import seeded
from sciml.stellar.attention import AttentionConfig, AttentionNet

CONFIG = AttentionConfig((4, 4, 8, 8), stride=2, between=4, stretches=8, dense=8, full=True)


def net(orders: int = 3, config: AttentionConfig = CONFIG) -> AttentionNet:
    with seeded(1):
        return AttentionNet(orders, 64, config).eval()


def spectra(orders: int = 3, count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    flux = torch.rand(count, orders, 64, generator=torch.Generator().manual_seed(2))
    return flux, torch.full((count,), 20.0), torch.ones_like(flux).bool()


def test_is_what_the_paper_says() -> None:
    model = net(8)
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 7) for m in model.modules()) == 11
    flux, snr, mask = spectra(8)
    assert [tuple(alpha.shape[1:]) for alpha in model.attention(flux, mask)] == [(8, 32), (4, 16), (2, 8)]
    assert model(flux, snr, mask).shape == (2, 14)


@pytest.mark.parametrize("orders", [1, 2, 3, 5, 8])
def test_maps_sum_to_one_on_their_positions_and_on_the_pixels(orders: int) -> None:
    model = net(orders)
    flux, _, mask = spectra(orders)
    with torch.no_grad():
        for alpha in model.attention(flux, mask):
            assert (alpha >= 0).all() and torch.allclose(alpha.sum((1, 2)), torch.ones(2), atol=1e-5)
        maps = model.maps(flux, mask)
    assert maps.shape == (2, 3, orders, 64)
    assert (maps >= 0).all() and torch.allclose(maps.sum((2, 3)), torch.ones(2, 3), atol=1e-5)


def test_maps_on_the_pixels_keep_the_attention_of_each_stretch() -> None:
    model = net(8)
    flux, _, mask = spectra(8)
    with torch.no_grad():
        maps = model.maps(flux, mask)
        for number, alpha in enumerate(model.attention(flux, mask)):
            across, along = 8 // alpha.shape[1], 64 // alpha.shape[2]
            shares = maps[:, number].unflatten(1, (-1, across)).unflatten(3, (-1, along)).sum((2, 4))
            assert torch.allclose(shares, alpha, atol=1e-6)


def test_a_gate_follows_the_papers_equation() -> None:
    gate = net(8).gates[2]
    generator = torch.Generator().manual_seed(4)
    x, last = torch.randn(1, 8, 2, 8, generator=generator), torch.randn(1, 8, 1, 4, generator=generator)
    q = torch.zeros(2, 8)
    for row in range(2):
        for column in range(8):
            inner = (
                gate.of_x.weight[:, :, 0, 0] @ x[0, :, row, column]
                + gate.of_g.weight[:, :, 0, 0] @ last[0, :, row // 2, column // 2]
                + gate.of_g.bias
            )
            q[row, column] = gate.psi.weight[0, :, 0, 0] @ inner.relu() + gate.psi.bias[0]
    assert torch.allclose(gate(x, last)[0], q.exp() / q.exp().sum(), atol=1e-6)


def test_a_head_sees_only_what_is_attended_to() -> None:
    model = net(8)
    head, x = model.heads[0], torch.rand(1, 4, 8, 32, generator=torch.Generator().manual_seed(5))
    alpha = torch.zeros(1, 8, 32)
    alpha[0, 3, 7] = 1.0
    other = x.clone()
    other[:, :, :3], other[:, :, 4:], other[..., :7], other[..., 8:] = 9.0, 9.0, 9.0, 9.0
    assert torch.allclose(head(x, alpha), head(other, alpha))
    alpha[0, 3, 7], alpha[0, 3, 8] = 0.0, 1.0
    assert not torch.allclose(head(x, alpha), head(other, alpha))


def test_gradients_reach_every_parameter() -> None:
    model = net(8).train()
    model(*spectra(8)).square().sum().backward()
    # a softmax does not know a number that is added everywhere
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-12]
    assert all("psi.bias" in name for name in silent)


def test_pixels_that_cannot_be_pooled_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"72 pixels.*multiple of 16"):
        AttentionNet(3, 72, CONFIG)
