"""Spectra drawn from an emulator: batches that share atmospheres are spectra like any others."""

from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

from sciml.core.errors import ConfigError
from sciml.nn.training import TrainingConfig, fit
from sciml.stellar.heads import DIAGONAL, negative_log_likelihood
from sciml.stellar.instrument import generated
from sciml.stellar.labels import PARAMETERS, Prior, in_grid
from sciml.stellar.observation import PRESETS, Observer
from sciml.stellar.samples import SNR, Drawn, Reusing, SpectrumSamples
from sciml.stellar.source import DrawnStars, _turned, stars
from tests.stellar.generated_stars import forward

SIZE, USES = 12, 4


def source(preset: str = "paper", prior: Prior = "paper") -> DrawnStars:
    return DrawnStars(forward(), Observer(PRESETS[preset], generated(2, 1000, 5130.0, 5220.0)), prior)


def drawn(seed: int = 1, batches: int = 8, given: DrawnStars | None = None) -> list[Drawn]:
    generator = torch.Generator().manual_seed(seed)
    return list((given or source()).draws(generator, [torch.full((SIZE,), 50.0)] * batches, USES))


def test_atmospheres_are_shared_as_often_as_said_and_never_within_a_batch() -> None:
    found = drawn()
    atmospheres = [part.labels[:, :3] for part in found]
    assert all(len(torch.unique(part, dim=0)) == SIZE for part in atmospheres)
    _, counts = torch.unique(torch.cat(atmospheres), dim=0, return_counts=True)
    assert counts.tolist() == [USES] * (8 * SIZE // USES)
    assert len(torch.unique(torch.cat([part.labels for part in found]), dim=0)) == 8 * SIZE  # rotations are their own
    assert isinstance(source(), Reusing)


def test_each_spectrum_is_that_of_its_labels_with_noise_of_its_own() -> None:
    found = drawn()
    parameters = np.zeros((SIZE, len(PARAMETERS)))
    parameters[:, 4] = 2.0
    noises = []
    for part in found:
        parameters[:, :4] = part.labels.numpy()
        with torch.no_grad():
            expected = forward()(torch.from_numpy(parameters))
        assert torch.allclose(part.clean, expected, atol=2e-5)
        noises.append(part.flux - part.clean)
    noise = torch.cat(noises).flatten(1)
    assert float(noise.std()) == pytest.approx(1 / 50, rel=0.02)
    assert float((torch.corrcoef(noise) - torch.eye(len(noise))).abs().max()) < 6 / np.sqrt(noise.shape[1])


@pytest.mark.parametrize("prior", ["paper", "nuisance"])
def test_turned_stars_keep_their_atmospheres_and_stay_in_the_grid(prior: Prior) -> None:
    generator = torch.Generator().manual_seed(1)
    before = stars(generator, 4000, prior)
    after = _turned(generator, before, prior)
    moved = {name for column, name in enumerate(PARAMETERS) if (before[:, column] != after[:, column]).any()}
    assert moved == ({"vsini"} if prior == "paper" else {"vsini", "vmac"})
    assert in_grid(after).all()
    place = PARAMETERS.index("vsini")
    quantiles = np.linspace(0.1, 0.9, 9)
    assert np.quantile(after[:, place], quantiles) == pytest.approx(np.quantile(before[:, place], quantiles), abs=0.8)
    assert abs(np.corrcoef(before[:, place], after[:, place])[0, 1]) < 0.06


def test_what_befalls_real_spectra_befalls_these() -> None:
    part = drawn(given=source("realistic", "nuisance"))[0]
    assert not part.whole and not part.mask.all()
    (flux, _, mask), _, _ = next(
        iter(SpectrumSamples(source("realistic"), SNR(50, 50), 24).batches([torch.arange(24)]))
    )
    assert (flux[~mask] == 1.0).all() and torch.isfinite(flux).all()


def test_a_resumed_epoch_draws_what_an_uninterrupted_one_does() -> None:
    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.seen = nn.Linear(1, DIAGONAL), []

        def forward(self, flux: torch.Tensor, snr: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            self.seen.append(flux.clone())
            return self.layer(flux.mean((1, 2))[:, None])

    samples, config, states = SpectrumSamples(source(), SNR(20, 20), 60), TrainingConfig(3, 8), []
    whole, resumed = Seen(), Seen()
    fit(whole, samples, config, seed=1, loss=negative_log_likelihood, report=lambda e, m, state: states.append(state))
    first = {**states[0], "model": whole.state_dict()}  # parameters do not matter to what is drawn
    fit(resumed, samples, config, seed=1, loss=negative_log_likelihood, resume={**first, "epoch": 1})
    steps = len(whole.seen) // 3
    assert all(torch.equal(*pair) for pair in zip(whole.seen[steps:], resumed.seen, strict=True))
    spectra = torch.cat(list(chain(whole.seen))).flatten(1)
    assert len(torch.unique(spectra, dim=0)) == len(spectra)


def test_a_table_of_rotating_atmospheres_has_the_spectra_of_their_labels() -> None:
    atmospheres, vsini = np.array([(5500.0, 4.0, -0.3), (6100.0, 3.2, 0.1)]), np.array([0.0, 7.0, 20.0])
    found = source().rotated(atmospheres, vsini)
    for i, star in enumerate(atmospheres):
        for j, value in enumerate(vsini):
            parameters = torch.tensor([[*star, value, 2.0, 0.0, 0.0]], dtype=torch.float64)
            with torch.no_grad():
                assert torch.allclose(found[i, j], forward()(parameters)[0], atol=1e-5)


@pytest.mark.parametrize(("preset", "prior"), [("realistic", "paper"), ("paper", "nuisance")])
def test_where_spectra_depend_on_more_there_is_no_such_table(preset: str, prior: Prior) -> None:
    with pytest.raises(ConfigError, match="depend on more than the labels"):
        source(preset, prior).rotated(np.array([(5500.0, 4.0, -0.3)]), np.array([1.0]))
