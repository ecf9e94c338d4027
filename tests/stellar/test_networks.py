"""How networks are made, trained through their phases, resumed, and asked."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from sciml.core.errors import ConfigError, InputError
from sciml.nn.checkpoint import load_checkpoint, save_checkpoint
from sciml.nn.training import TrainingConfig, learning_rate_at, seeded
from sciml.stellar.denoiser import Denoised
from sciml.stellar.labels import LABELS, RANGES
from sciml.stellar.networks import (
    DENOISER,
    NETS,
    OURS,
    PRESETS,
    Asked,
    Fitting,
    Settings,
    new_network,
    size_of,
    train_network,
)
from sciml.stellar.samples import SNR, draw
from sciml.stellar.sciml_net import Compression, SciMLConfig, price_of_compression
from tests.stellar.toy import ToyLines

SOURCE = ToyLines(orders=2, pixels=128, lines=30)
SHORT = replace(
    PRESETS["generated"],
    fitting=Fitting(2, 64),
    denoising=Fitting(2, 64),
    estimating=Fitting(2, 512, 128),
    sciml=SciMLConfig(32, 1, 32, atmospheres=200),
    components=8,
    drawn=60,
    bank=200,
)


def asked(name: str, settings: Settings, *states: dict) -> Asked:
    return Asked(name, settings, SOURCE.shape, states)


def spectra(count: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    snr, drawn = draw(SOURCE, SNR(20, 20), count, seed=9)
    return drawn.flux.numpy(), snr.numpy(), drawn.mask.numpy()


@pytest.mark.parametrize("name", [*NETS, DENOISER])
def test_every_network_is_trained_resumed_and_saved(name: str, tmp_path) -> None:
    told = []
    state = train_network(
        name, SOURCE, SHORT, 1, report=lambda epoch, metrics, state: told.append((epoch, metrics, copy.deepcopy(state)))
    )
    phases = 2 if name.startswith("dae_") else 1
    assert [epoch for epoch, _, _ in told] == list(range(1, 2 * phases + 1))
    assert "loss" in told[-1][1] and all(np.isfinite(list(metrics.values())).all() for _, metrics, _ in told)
    for stop in range(1, 2 * phases + 1):
        url = str(tmp_path / f"{stop}.pt")
        save_checkpoint(url, told[stop - 1][2])
        resumed = train_network(name, SOURCE, SHORT, 1, resume=load_checkpoint(url))
        assert all(torch.equal(state["model"][key], resumed["model"][key]) for key in state["model"])
    save_checkpoint(str(tmp_path / "done.pt"), state)
    if name != DENOISER:
        stored = load_checkpoint(str(tmp_path / "done.pt"))
        for a, b in zip(asked(name, SHORT, state)(*spectra()), asked(name, SHORT, stored)(*spectra()), strict=True):
            assert np.array_equal(a, b)


def test_ours_projects_on_derivatives_where_the_source_has_them() -> None:
    class WithDerivatives(ToyLines):
        def derivatives(self, generator: torch.Generator, count: int) -> torch.Tensor:
            return self.jacobian(self.draw(generator, torch.ones(count)).labels).float()

    settings = replace(SHORT, drawn=200, derivatives=100, sciml=SciMLConfig(32, 1, 32))
    test = SOURCE.jacobian(draw(SOURCE, SNR(50, 50), 50, seed=8)[1].labels)
    prices = []
    for source in (SOURCE, WithDerivatives(**vars(SOURCE))):
        found = train_network(OURS, source, settings, 1)["model"]
        made = Compression(found["mean"], found["directions"], found["estimator.spread"])
        prices.append(price_of_compression(made, test, 50.0).mean(0))
    assert (prices[1] < prices[0]).all()


def test_a_denoiser_that_is_given_is_not_fitted_again_and_stays_as_it_is_where_frozen() -> None:
    denoiser, told = train_network(DENOISER, SOURCE, SHORT, 5), []
    kept = copy.deepcopy(denoiser["model"])
    for fine_tune in (False, True):
        settings = replace(SHORT, fine_tune=fine_tune)
        told.clear()
        state = train_network(
            "dae_resnet", SOURCE, settings, 1, denoiser=denoiser, report=lambda epoch, m, s: told.append(epoch)
        )
        assert told == [1, 2]
        same = [torch.equal(state["model"][f"denoiser.{key}"], value) for key, value in kept.items()]
        assert all(same) != fine_tune
        assert all(torch.equal(denoiser["model"][key], value) for key, value in kept.items())


def test_a_checkpoint_of_another_phase_is_refused_in_one_line() -> None:
    denoiser = train_network(DENOISER, SOURCE, SHORT, 5)
    with pytest.raises(ConfigError, match="made in phase 'denoiser', this run has network") as caught:
        train_network("resnet", SOURCE, SHORT, 1, resume=denoiser)
    assert "\n" not in str(caught.value)


def test_the_residual_network_learns() -> None:
    settings = replace(PRESETS["generated"], fitting=Fitting(6, 640, learning_rate=3e-3))
    losses = []
    state = train_network("resnet", SOURCE, settings, 1, report=lambda e, metrics, s: losses.append(metrics["loss"]))
    assert losses[-1] < losses[0] - 1.0
    snr, drawn = draw(SOURCE, SNR(20, 20), 200, seed=3)
    mean, covariance = asked("resnet", settings, state)(drawn.flux.numpy(), snr.numpy(), drawn.mask.numpy())
    prior = np.diff([RANGES[name] for name in LABELS])[:, 0] / np.sqrt(12)
    error = np.sqrt(np.mean((mean - drawn.labels.numpy()) ** 2, axis=0))
    assert (error < 0.75 * prior).all()
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_answers_depend_on_no_other_spectrum() -> None:
    state = {"model": seeded_network("attention_full").state_dict()}
    flux, snr, mask = spectra(70)  # more than are asked at once
    method = asked("attention_full", SHORT, state)
    for whole, alone in zip(method(flux, snr, mask), method(flux[66:], snr[66:], mask[66:]), strict=True):
        assert whole[66:] == pytest.approx(alone, rel=1e-5, abs=1e-5)


def seeded_network(name: str, seed: int = 3) -> torch.nn.Module:
    with seeded(seed):
        return new_network(name, SHORT, SOURCE.shape)


def test_members_are_a_mixture() -> None:
    states = [{"model": seeded_network("resnet_full", seed).state_dict()} for seed in range(3)]
    each = [asked("resnet_full", SHORT, state)(*spectra()) for state in states]
    mean, covariance = asked("resnet_full", SHORT, *states)(*spectra())
    rng = np.random.default_rng(1)
    drawn = np.concatenate([rng.multivariate_normal(m[0], c[0], 200_000) for m, c in each])
    sigma = np.sqrt(np.diag(covariance[0]))
    assert np.abs((drawn.mean(0) - mean[0]) / sigma).max() < 0.01
    assert np.abs((np.cov(drawn.T) - covariance[0]) / np.outer(sigma, sigma)).max() < 0.01


@pytest.mark.parametrize("name", ["attention", "dae_attention_full"])
def test_maps_of_attention(name: str) -> None:
    method = asked(name, SHORT, {"model": seeded_network(name).state_dict()})
    maps = method.maps(*spectra())
    assert maps.shape == (6, 3, *SOURCE.shape) and maps.sum((2, 3)) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ConfigError, match=r"'resnet'.*no attention"):
        asked("resnet", SHORT, {"model": seeded_network("resnet").state_dict()}).maps(*spectra())


def test_bad_spectra_are_refused_in_one_line() -> None:
    method = asked("resnet", SHORT, {"model": seeded_network("resnet").state_dict()})
    flux, snr, mask = spectra()
    flux[4, 1, 3] = np.nan
    with pytest.raises(InputError, match="spectrum 4 has a pixel that is not finite"):
        method(flux, snr, mask)
    mask[4, 1, 3] = False
    assert np.isfinite(method(flux, snr, mask)[0]).all()
    with pytest.raises(InputError, match="spectrum 0"):
        method(flux, snr * [0, 1, 1, 1, 1, 1], mask)
    with pytest.raises(InputError, match=r"expected \(n, 2, 128\)"):
        method(flux[:, :, :-1], snr, mask[:, :, :-1])


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_ours_has_the_operations_counted_by_hand_and_a_third_of_any_others(preset: str) -> None:
    settings, (orders, pixels) = PRESETS[preset], (8, 4096)
    net, size = settings.sciml, 8 * settings.components
    dense = size * net.width + net.blocks * (2 * net.width**2 + 32 * 2 * net.width) + net.width * 14
    decoder = 4 * net.inner + net.inner**2 + net.inner * size
    gain = (5 + orders) * net.inner + net.inner**2 + net.inner * 4 * size + 4 * size
    steering = (1 + orders) * 32 + 32 * 32
    found = size_of(OURS, settings, (orders, pixels))[1]
    grid = 4 * (net.atmospheres * 150 + 150 * 10 * size) + 14 * 10 * size
    assert found - (size * pixels + dense + decoder + gain + steering) == pytest.approx(2 * grid, rel=0.05)
    others = [size_of(name, settings, (orders, pixels))[1] for name in ("resnet", "attention", "dae_resnet")]
    assert found < 0.33 * min(others)


def test_presets_have_the_papers_schedules() -> None:
    paper = PRESETS["paper"]
    assert paper.fitting.config() == TrainingConfig(750, 32, 1e-4, "constant", last_epochs=50)
    assert paper.denoising.config() == TrainingConfig(1500, 32, 3e-4, "constant", weight_decay=1e-2, last_epochs=50)
    steps = 1500 * 10
    config = paper.denoising.config()
    assert learning_rate_at(steps - 501, steps, config) == 3e-4
    assert learning_rate_at(steps - 500, steps, config) == pytest.approx(3e-5)


@pytest.mark.parametrize(("preset", "name"), list(itertools.product(PRESETS, [*NETS, DENOISER])))
def test_every_preset_makes_every_network_for_the_papers_spectra(preset: str, name: str) -> None:
    with torch.device("meta"):
        model = new_network(name, PRESETS[preset], (8, 4096))
    head = [parameter for key, parameter in model.named_parameters() if "full" in name and parameter.shape[0] == 14]
    assert bool(head) == ("full" in name)
    assert isinstance(model, Denoised) == name.startswith("dae_")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="'resnt'"):
        new_network("resnt", SHORT, SOURCE.shape)
