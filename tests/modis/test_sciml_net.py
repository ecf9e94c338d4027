"""Our network keeps what was observed, knows what is absent, and answers for each image alone."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.modis import degradation
from sciml.modis.samples import turned
from sciml.modis.sciml_net import (
    SMALLEST_ERROR_K,
    SciMLNet,
    SciMLNetConfig,
    box_t4,
    consistent,
    error_and_spread,
)
from sciml.nn.training import seeded

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def network(**settings: object) -> SciMLNet:
    """One whose parameters are all at random, so that its detail is none of the zeros it would start from."""
    with seeded(4):
        model = SciMLNet(SciMLNetConfig(**{"width": 16, "blocks": 2, "bfloat16": False, **settings}))  # type: ignore[arg-type]
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def asked(images: int = 5, guides: int = 3, size: int = 8) -> Inputs:
    with seeded(7):
        coarse = 290 + 2 * torch.randn(images, size, size)
        fine = torch.rand(images, guides, 4 * size, 4 * size)
    return coarse, torch.ones_like(coarse), (torch.arange(images) % 2).float(), fine


def test_torch_agrees_with_numpy() -> None:
    coarse, *_ = asked()
    fine = 285 + 20 * torch.rand(5, 32, 32)
    seen = degradation.box_t4(fine.double().numpy(), 4)
    kept = degradation.consistent(fine.double().numpy(), coarse.double().numpy(), 4)
    np.testing.assert_allclose(box_t4(fine.double(), 4), seen, atol=1e-9)
    np.testing.assert_allclose(consistent(fine.double(), coarse.double(), 4), kept, atol=1e-9)
    np.testing.assert_allclose(box_t4(fine, 4), seen, atol=2e-4)
    np.testing.assert_allclose(consistent(fine, coarse, 4), kept, atol=2e-4)


def test_what_a_block_adds_does_not_grow_with_its_input() -> None:
    block = network().blocks[0]
    with seeded(1):
        hidden = 10 * torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        added, of_a_thousandfold = block(hidden) - hidden, block(1000 * hidden) - 1000 * hidden
    assert added.abs().mean() > 0.01
    assert (of_a_thousandfold - added).abs().max() < 0.1 * added.abs().max()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_input_is_kept(bfloat16: bool) -> None:
    coarse, *rest = asked()
    found = network(bfloat16=bfloat16)(coarse, *rest)[:, 0].detach()
    np.testing.assert_allclose(box_t4(found, 4), coarse, atol=2e-4)
    np.testing.assert_allclose(degradation.box_t4(found.double().numpy(), 4), coarse, atol=2e-4)
    assert (
        found - coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
    ).abs().mean() > 0.5  # of detail there is some


def test_a_pixel_that_is_no_mean_is_not_kept() -> None:
    inputs = asked()
    found = network(exact=False)(*inputs)[:, 0].detach()
    assert (box_t4(found, 4) - inputs[0]).abs().mean() > 0.1


def test_an_untrained_network_is_bicubic() -> None:
    """Zeros at the end and in every block: the bicubic image, kept to its means, and a spread of the contrast."""
    inputs = asked()
    with seeded(0):
        model = SciMLNet(SciMLNetConfig(width=16, blocks=2))
    found = model(*inputs).detach()
    bicubic = torch.nn.functional.interpolate(inputs[0][:, None], scale_factor=4, mode="bicubic")[:, 0]
    assert torch.equal(found[:, 0], consistent(bicubic, inputs[0], 4))
    np.testing.assert_allclose(found[:, 1].exp().mean((1, 2)), inputs[0].std((1, 2), correction=0) + 0.5, rtol=1e-5)


def test_missing_guidance_is_absent_and_not_a_number() -> None:
    """Without any guide the answer is that of another network in which no weight reads one."""
    coarse, known, day, guides = asked()
    model = network()
    nothing = model(coarse, known, day, torch.full_like(guides, torch.nan))
    assert torch.isfinite(nothing).all()
    assert (nothing - model(coarse, known, day, guides)).abs().max() > 0.1
    assert (nothing - model(coarse, known, day, torch.zeros_like(guides))).abs().max() > 0.01
    with torch.no_grad():
        model.enter.weight[:, 6:] = 0
    blind = model(coarse, known, day, guides)
    np.testing.assert_allclose(blind.detach(), nothing.detach(), atol=2e-4)


def test_one_missing_fine_pixel_of_guidance_takes_no_other_with_it() -> None:
    """What stands in for it does not matter, and only what the convolutions can reach may change."""
    coarse, known, day, guides = asked(size=24)
    model, holed = network(), guides.clone()
    holed[0, 0, 3, 3] = torch.nan
    difference = (model(coarse, known, day, holed) - model(coarse, known, day, guides)).abs().amax(1).detach()
    assert difference[0].max() > 0 and difference[1:].max() == 0
    reach = 4 * (1 + 2 * 2 + 2)  # convolutions of 3 x 3 on the coarse grid
    assert difference[0, reach:].max() == 0 and difference[0, :, reach:].max() == 0


def test_heat_alone_moves_no_detail() -> None:
    """Where no weight reads the mean, an image that is 8 K warmer has the same detail and spread."""
    coarse, known, day, guides = asked()
    model = network()
    with torch.no_grad():
        model.enter.weight[:, 2:6] = 0  # day and the numbers of the image
    shifted = model(coarse + 8, known, day, guides).detach()
    found = model(coarse, known, day, guides).detach()
    np.testing.assert_allclose(shifted[:, 1], found[:, 1], atol=1e-3)
    inner = shifted[:, 0] - found[:, 0] - 8
    assert inner.abs().max() < 0.05 * (found[:, 0] - 290).abs().max()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_other_images_change_nothing(bfloat16: bool) -> None:
    """Permuted, alone, or beside others: the same answer to a thousandth of a kelvin."""
    inputs = asked(12)
    model = network(bfloat16=bfloat16)
    whole = model(*inputs).detach()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    tolerance = 1e-3 if bfloat16 else 2e-4
    np.testing.assert_allclose(model(*(x[order] for x in inputs)).detach(), whole[order], atol=tolerance)
    for number in (0, 7):
        alone = model(*(x[number : number + 1] for x in inputs)).detach()
        np.testing.assert_allclose(alone[0], whole[number], atol=tolerance)


def test_memory_is_a_guide_of_its_own() -> None:
    assert SciMLNetConfig(memory=True).channels == SciMLNetConfig().channels + 18 == 6 + 4 * 18
    coarse, known, day, guides = asked(guides=4)
    model, forgotten = network(memory=True), guides.clone()
    forgotten[:, 3] = torch.nan
    assert (model(coarse, known, day, guides) - model(coarse, known, day, forgotten)).abs().max() > 0.05


def test_it_is_small() -> None:
    """A hundredth of the parameters of the paper's U-Net."""
    assert sum(p.numel() for p in SciMLNet(SciMLNetConfig()).parameters()) < 0.55e6


def output_of(error: float, log_sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Constant error and spread over two images, of which half a row is unknown."""
    target = torch.full((2, 8, 8), 290.0)
    weight = torch.ones_like(target)
    weight[:, 0, :4] = 0
    output = torch.stack([target + error, torch.full_like(target, log_sigma)], 1)
    return output.requires_grad_(), target, weight


def test_the_spread_does_not_pull_the_temperature() -> None:
    """The gradient of the temperature is that of log(rms) alone, whatever the spread."""
    gradients = []
    for log_sigma in (-2.0, 0.0, 3.0):
        output, target, weight = output_of(0.7, log_sigma)
        error_and_spread(output, target, weight).backward()
        assert output.grad is not None
        gradients.append(output.grad[:, 0])
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])
    count = 60
    expected = 0.7 / count / (0.7**2 + SMALLEST_ERROR_K**2) / 2  # d log(rms) / d pixel, mean of two images
    np.testing.assert_allclose(gradients[0][:, 1:], expected, rtol=1e-4)
    assert (gradients[0][:, 0, :4] == 0).all()  # unknown


def test_the_best_spread_is_the_error() -> None:
    """d loss / d log(sigma) is 0 where sigma is the error, and of the right sign beside it."""
    for log_sigma, sign in ((np.log(0.7), 0), (np.log(0.5), -1), (np.log(1.0), 1)):
        output, target, weight = output_of(0.7, float(log_sigma))
        error_and_spread(output, target, weight).backward()
        assert output.grad is not None
        total = float(output.grad[:, 1].sum())
        assert (abs(total) < 1e-4) if sign == 0 else np.sign(total) == sign


def test_unknown_pixels_do_not_count() -> None:
    output, target, weight = output_of(0.7, 0.3)
    expected = error_and_spread(output, target, weight).detach()
    wild = target.clone()
    wild[weight == 0] = 500.0
    assert torch.equal(error_and_spread(output, wild, weight).detach(), expected)


@pytest.mark.parametrize("way", range(1, 8))
def test_turning_the_weights_turns_the_answer(way: int) -> None:
    """Nothing in the network but its weights prefers a direction: with symmetric ones a turned image is turned."""
    coarse, known, day, guides = asked()
    model = network()
    with torch.no_grad():
        model.enter.weight.copy_(torch.stack([turned(model.enter.weight, w) for w in range(8)]).mean(0))
        model.enter.weight[:, 6:] = 0  # their channels are places inside a pixel
        for block in model.blocks:
            for layer in (block.first, block.second):
                layer.weight.copy_(torch.stack([turned(layer.weight, w) for w in range(8)]).mean(0))
        model.leave.weight.zero_()
        model.leave.bias.zero_()
    straight = model(coarse, known, day, guides)
    other = model(turned(coarse, way), turned(known, way), day, turned(guides, way))
    np.testing.assert_allclose(other.detach(), turned(straight, way).detach(), atol=2e-3)
