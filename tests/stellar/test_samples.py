"""Spectra drawn afresh: never twice the same, and yet the same in a run that was resumed."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from sciml.core.errors import ConfigError
from sciml.nn.training import TrainingConfig, evaluate, fit, seeded
from sciml.stellar.heads import negative_log_likelihood, outputs, scaled
from sciml.stellar.samples import SNR, SpectrumSamples, draw
from tests.stellar.toy import ToyLines

SOURCE = ToyLines(orders=2, pixels=64, lines=20, masked=0.05)
CONFIG = TrainingConfig(epochs=4, batch_size=16, learning_rate=1e-2)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2 * 64, outputs(False))
        self.seen: list[Tensor] = []

    def forward(self, flux: Tensor, snr: Tensor, mask: Tensor) -> Tensor:
        self.seen.append(flux.clone())
        return 0.1 * self.layer(flux.flatten(1) - 1.0)


def net() -> Linear:
    with seeded(3):
        return Linear()


def test_no_spectrum_comes_twice_and_the_same_seed_gives_the_same_ones() -> None:
    runs = []
    for _ in range(2):
        model = net()
        fit(model, SpectrumSamples(SOURCE, SNR(20, 20), 48), CONFIG, seed=1, loss=negative_log_likelihood)
        runs.append(torch.cat(model.seen))
    assert torch.equal(*runs) and len(runs[0]) == 4 * 48
    assert len(torch.unique(runs[0], dim=0)) == 4 * 48


def test_a_resumed_run_sees_what_an_uninterrupted_one_sees() -> None:
    data, states = SpectrumSamples(SOURCE, SNR(5, 50), 48), []
    whole, resumed = net(), net()
    fit(
        whole,
        data,
        CONFIG,
        seed=1,
        loss=negative_log_likelihood,
        report=lambda epoch, metrics, state: states.append(copy.deepcopy(state)),
    )
    fit(resumed, data, CONFIG, seed=1, loss=negative_log_likelihood, resume=states[1])
    assert torch.equal(torch.cat(whole.seen)[2 * 48 :], torch.cat(resumed.seen))
    assert torch.equal(whole.layer.weight, resumed.layer.weight)


def test_fixed_samples_are_the_same_at_every_look() -> None:
    data = SpectrumSamples(SOURCE, SNR(20, 20), 30, fixed_seed=7)
    torch.manual_seed(1)
    first = evaluate(net(), data, negative_log_likelihood)
    torch.manual_seed(2)
    assert evaluate(net(), data, negative_log_likelihood) == first
    other = SpectrumSamples(SOURCE, SNR(20, 20), 30, fixed_seed=8)
    assert evaluate(net(), other, negative_log_likelihood) != first


def test_a_batch_is_what_was_drawn_in_half_ranges_gaps_filled() -> None:
    (flux, snr, mask), target, weight = SpectrumSamples(SOURCE, SNR(9, 9), 8, fixed_seed=7).batch(torch.arange(8))
    assert flux.shape == mask.shape == (8, 2, 64) and target.shape == (8, 4) and weight.tolist() == [1.0] * 8
    assert (flux[~mask] == 1.0).all() and not mask.all() and (snr == 9.0).all()
    assert target.abs().max() <= 1.0
    clean = SpectrumSamples(SOURCE, SNR(9, 9), 8, fixed_seed=7, clean=True).batch(torch.arange(8))[1]
    noise = (flux - clean)[mask]
    assert float(noise.std()) == pytest.approx(1 / 9, rel=0.1)
    _, drawn = draw(SOURCE, SNR(9, 9), 3, seed=4)
    assert torch.allclose(SOURCE.clean(drawn.labels), drawn.clean)
    assert scaled(drawn.labels).shape == (3, 4)


def test_signal_to_noise_is_even_in_its_logarithm() -> None:
    drawn = SNR(10.0, 300.0).draw(torch.Generator().manual_seed(1), 20000)
    assert drawn.min() >= 10.0 and drawn.max() <= 300.0 * (1 + 1e-6)
    assert float((drawn < math.sqrt(3000.0)).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert (SNR(20.0, 20.0).draw(torch.Generator(), 5) == 20.0).all()
    for ends in ((0.0, 5.0), (9.0, 3.0), (1.0, math.inf)):
        with pytest.raises(ConfigError, match="SNR"):
            SNR(*ends)
