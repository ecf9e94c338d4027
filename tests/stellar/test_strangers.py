"""Planted spectra: each is what its name says, and flags find those that differ from all of the grid."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from sciml.core.errors import ConfigError
from sciml.stellar import labels
from sciml.stellar.answers import Answers
from sciml.stellar.consistency import Thresholds, fit_thresholds, flag, flagged, weigh
from sciml.stellar.posterior import to_working
from sciml.stellar.sampling import Sampler
from sciml.stellar.strangers import KINDS, REFRACTION, Planted, detectable, distance, plant, spoil
from sciml.stellar.wavelengths import SPEED_OF_LIGHT
from tests.stellar.generated_stars import LINES, forward, observed, synthesised

STARS = labels.draw(6, 4, "paper")
SIGMA = np.array([300.0, 0.5, 0.2, 2.0])
OUTSIDE = [name for name, kind in KINDS.items() if kind.outside]


def sampler() -> Sampler:
    return forward().sampler


def planted(kind: str, stars: np.ndarray = STARS, seed: int = 1) -> Planted:
    return plant(kind, sampler(), stars, LINES, seed)


@pytest.mark.parametrize("kind", [*OUTSIDE, "rotator"])
def test_these_stars_lie_outside_the_grid_and_in_one_parameter(kind: str) -> None:
    found = planted(kind)
    assert not labels.in_grid(found.parameters).any()
    assert ((found.parameters != STARS).sum(0) > 0).sum() == 1
    torch.testing.assert_close(found.flux, observed(synthesised(found.parameters)))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(OUTSIDE)))
def test_spoiled_spectra_need_no_new_synthesis_and_follow_from_the_seed(kind: str) -> None:
    models = synthesised(STARS)
    found = spoil(kind, sampler(), models, 1)
    torch.testing.assert_close(found.flux, planted(kind).flux)
    assert torch.isfinite(found.flux).all()
    assert (found.flux - observed(models)).abs().flatten(1).amax(1).min() > 0


def test_models_at_hand_cannot_be_hotter_than_they_are() -> None:
    with pytest.raises(ConfigError, match="'hotter' has other atmospheres"):
        spoil("hotter", sampler(), synthesised(STARS[:1]), 1)
    with pytest.raises(ConfigError, match="'hot' is unknown; choose one of hotter"):
        planted("hot")


def test_velocities_are_what_they_are_called() -> None:
    models = synthesised(STARS)
    fourier = torch.fft.rfft(torch.from_numpy(models.flux))
    parameters, epsilon = (torch.from_numpy(values).float() for values in (models.parameters, models.epsilon))

    def at(velocity: float) -> torch.Tensor:
        return sampler().observe(fourier, parameters, epsilon, torch.full((len(STARS),), velocity))

    both = torch.stack([at(-30.0), at(30.0)])
    found = spoil("velocity", sampler(), models, 1).flux
    assert (found - both).abs().flatten(2).amax(2).amin(0).max() < 1e-5
    # in vacuum lines lie 1.4 to 1.5 A redder than in air
    torch.testing.assert_close(spoil("vacuum", sampler(), models, 1).flux, at(REFRACTION * SPEED_OF_LIGHT))
    assert 1.4 < REFRACTION * 5200 < 1.5


def test_a_binary_is_the_weighted_light_of_two() -> None:
    same = np.tile(STARS[:1], (2, 1))
    flux, single = planted("binary", same).flux, observed(synthesised(same))
    torch.testing.assert_close(flux.mean((1, 2)), single.mean((1, 2)), atol=0.02, rtol=0)
    assert (1 - flux).amax() < (1 - single).amax()  # no line of either is whole


def test_light_that_is_spoiled_is_spoiled_as_told() -> None:
    clean, u = observed(synthesised(STARS)), torch.linspace(-1.0, 1.0, 1000)
    torch.testing.assert_close(planted("mirrored").flux + clean, torch.full_like(clean, 2.0))
    torch.testing.assert_close(planted("scattered light").flux * 1.2 - 0.2, clean)
    torch.testing.assert_close(
        planted("bent continuum").flux / clean - 1, (0.1 * u).expand_as(clean), atol=1e-4, rtol=0
    )
    assert (planted("flat").flux == 1).all()
    assert (planted("emission lines").flux >= clean).all()
    changed = (planted("reversed order").flux != clean).flatten(2).any(2)
    assert changed.sum(1).eq(1).all()
    assert planted("noise").flux.std() == pytest.approx(0.5, rel=0.05)


def test_distance_is_none_within_the_grid_and_goes_with_the_noise() -> None:
    inside = forward().at(to_working(labels.draw(4, 8, "paper")))
    sigma = torch.full((1, 1, 1), 0.01)
    assert distance(forward(), inside, sigma, library=64).max() < 2  # a fit may end at a step of the lowest gravity
    shifted = planted("velocity", STARS[:3]).flux
    near, far = (distance(forward(), shifted, s, library=64) for s in (2 * sigma, sigma))
    assert np.all(near > 3)
    np.testing.assert_allclose(far, 2 * near, rtol=0.02)


def test_detectable_is_where_chi_square_finds_the_share() -> None:
    pixels, draws = 400, np.random.default_rng(0)
    away = detectable(pixels, false=0.05, power=0.9)
    offset = np.full(pixels, away / np.sqrt(pixels))
    found = ((draws.standard_normal((4000, pixels)) + offset) ** 2).sum(1)
    assert (found > chi2.isf(0.05, pixels)).mean() == pytest.approx(0.9, abs=0.02)
    assert detectable(4 * pixels) > detectable(pixels) > detectable(pixels, power=0.5)


@pytest.fixture(scope="module")
def thresholds() -> Thresholds:
    stars = labels.draw(400, 1, "paper")
    draws = np.random.default_rng(0)
    snr = 10 * 20 ** draws.random(400)
    clean = observed(synthesised(stars))
    return fit_thresholds(weigh(forward(), noisy(clean, snr, 1), 1 / snr[:, None, None], answers(stars, 2)))


def noisy(clean: torch.Tensor, snr: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    return (clean.numpy() + noise / snr[:, None, None]).astype(np.float32)


def answers(parameters: np.ndarray, seed: int) -> Answers:
    """What a network would say: somewhere in the grid."""
    low, high = np.array([labels.RANGES[name] for name in labels.LABELS]).T
    mean = parameters[:, :4] + np.random.default_rng(seed).standard_normal((len(parameters), 4)) * SIGMA
    return Answers(np.clip(mean, low, high), np.tile(np.diag(SIGMA**2), (len(mean), 1, 1)))


def test_strangers_that_differ_from_the_whole_grid_are_flagged(thresholds: Thresholds) -> None:
    snr, stars, found = np.full(5, 50.0), labels.draw(5, 12, "paper"), []
    sigma = torch.full((1, 1, 1), 1 / 50.0)
    for kind in ("richer", "denser", "binary", "velocity", "mirrored", "bent continuum"):
        one = planted(kind, stars)
        far = distance(forward(), one.flux, sigma, library=64) >= detectable(2000)
        evidence = weigh(forward(), noisy(one.flux, snr, 5), 1 / snr[:, None, None], answers(one.parameters, 6))
        found.append(flagged(flag(evidence, thresholds))[far])
    everything = np.concatenate(found)
    assert len(everything) >= 15
    assert everything.mean() >= 0.95
