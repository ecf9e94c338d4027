import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.core.errors import ConfigError
from sciml.stellar import continuum
from sciml.stellar.instrument import generated
from sciml.stellar.observation import PRESETS, Observation, Observer, preset

MADE = generated(3, 512, 5100.0, 5130.0)
COUNT = 70  # more than one chunk


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ones() -> Tensor:
    return torch.ones(COUNT, *MADE.wave.shape)


def dense_lines(pixels: int = 4096, seed: int = 1) -> Tensor:
    """Flux (1, 2, pixel): 60 lines an order, down to a tenth of the continuum."""
    draws, place = np.random.default_rng(seed), np.arange(pixels)
    centre, depth = draws.uniform(0, pixels, (2, 60, 1)), draws.uniform(0.05, 0.9, (2, 60, 1))
    return torch.from_numpy(np.prod(1 - depth * np.exp(-0.5 * ((place - centre) / 6) ** 2), 1)[None]).float()


def test_paper_is_white_noise_and_nothing_else() -> None:
    flux, snr = 0.5 * ones(), torch.full((COUNT,), 25.0)
    seen = Observer(preset("paper"), MADE)(flux, snr, generator())
    noise = (seen.flux - flux) * 25
    assert noise.mean().abs() < 4 / noise.numel() ** 0.5
    assert noise.std().item() == pytest.approx(1.0, abs=4 / (2 * noise.numel()) ** 0.5)
    assert torch.equal(seen.sigma, torch.full_like(flux, 1 / 25.0))
    assert seen.mask.all() and seen.mask.shape == flux.shape
    assert torch.equal(seen.clean, flux) and torch.equal(flux, 0.5 * ones())


def test_each_spectrum_has_its_own_snr() -> None:
    snr = torch.linspace(5, 200, COUNT)
    noise = Observer(preset("paper"), MADE)(ones(), snr, generator()).flux - 1
    np.testing.assert_allclose(noise.std((1, 2)) * snr, 1.0, atol=0.1)


@pytest.mark.parametrize("name", PRESETS)
def test_same_state_same_answer(name: str) -> None:
    observer, snr = Observer(preset(name), MADE), torch.full((COUNT,), 30.0)
    first, again, other = (observer(ones(), snr, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.flux, other.flux)


def test_noise_follows_the_blaze() -> None:
    seen = Observer(Observation(noise="blaze"), MADE)(ones(), torch.full((COUNT,), 20.0), generator())
    torch.testing.assert_close(seen.sigma[0], torch.from_numpy(MADE.blaze**-0.5 / 20).float())
    found = (seen.flux - 1).square().mean((0, 1)).sqrt()
    np.testing.assert_allclose(found / seen.sigma[0, 0], 1.0, atol=0.3)
    assert found[:40].mean() > 1.4 * found[236:276].mean()


def test_slant_is_linear_over_each_order() -> None:
    seen = Observer(Observation(slant=0.2), MADE)(ones(), torch.full((COUNT,), 20.0), generator())
    expected = torch.linspace(0.8, 1.2, MADE.wave.shape[1]).expand_as(seen.clean)
    torch.testing.assert_close(seen.clean, expected)


def test_slopes_are_parabolas_of_the_asked_size() -> None:
    observation = Observation(slope=0.02, curvature=0.03)
    clean = Observer(observation, MADE)(ones(), torch.full((COUNT,), 20.0), generator()).clean
    u = np.linspace(-1, 1, MADE.wave.shape[1])
    coefficients = np.polynomial.polynomial.polyfit(u, clean.flatten(0, 1).numpy().T, 3)
    assert np.abs(coefficients[3]).max() < 1e-5
    assert coefficients[1].std() == pytest.approx(0.02, rel=0.25)
    assert coefficients[2].std() == pytest.approx(0.03, rel=0.25)


def test_air_takes_a_little_at_few_places() -> None:
    clean = Observer(Observation(telluric=0.01), MADE)(ones(), torch.full((COUNT,), 20.0), generator()).clean
    assert clean.max() <= 1.0 and clean.min() > 0.3
    depth = 1 - clean
    assert 0.001 < (depth > 1e-4).float().mean() < 0.4
    same_night = depth[0].amax(1) > 1e-4
    moved = (depth[:, same_night].argmax(2).float().std(0) > 2).all()
    assert moved  # lines of the air shift against the star's


def test_cosmic_rays_are_found_where_they_stand_out() -> None:
    snr = torch.full((COUNT,), 100.0)
    given = Observation(cosmic_rays=6.0, cosmic_height=1.0)
    seen = Observer(given, MADE)(ones(), snr, generator())
    per_spectrum = (~seen.mask).float().sum((1, 2)).mean().item()
    assert 6.0 < per_spectrum < 12.0  # of each a pixel, mostly two
    assert seen.flux.max() < 1.12 and (seen.flux[~seen.mask] == 1).all()
    assert (seen.clean > 1.01).any()  # low ones stay, with and without noise


def test_dead_columns_cross_all_orders() -> None:
    seen = Observer(Observation(dead_columns=3.0), MADE)(ones(), torch.full((COUNT,), 20.0), generator())
    dead = ~seen.mask
    assert torch.equal(dead.any(1), dead.all(1))
    assert 3.0 < dead[:, 0].float().sum(1).mean() < 6.0


def test_an_order_is_missing_as_often_as_asked() -> None:
    seen = Observer(Observation(missing_order=0.5), MADE)(ones(), torch.full((COUNT,), 20.0), generator())
    lost = (~seen.mask).all(2)
    assert set(lost.sum(1).tolist()) == {0, 1}
    assert 0.25 < lost.any(1).float().mean() < 0.75
    assert lost.any(0).all()


def test_realistic_residuals_are_as_sigma_says() -> None:
    flux = ones() - 0.5 * torch.rand(COUNT, *MADE.wave.shape, generator=generator(5)) ** 8
    seen = Observer(preset("realistic"), MADE)(flux, torch.full((COUNT,), 40.0), generator())
    pull = ((seen.flux - seen.clean) / seen.sigma)[seen.mask]
    assert pull.std().item() == pytest.approx(1.0, abs=0.02)
    assert seen.flux.isfinite().all()


def test_velocities_stay_in_range() -> None:
    found = Observer(Observation(rv=0.5), MADE).velocities(400, generator())
    assert found is not None and found.abs().max() <= 0.5 and found.std() > 0.2
    assert Observer(preset("paper"), MADE).velocities(4, generator()) is None


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="paper, realistic"):
        preset("ideal")


def test_continuum_of_a_parabola_is_itself() -> None:
    u = torch.linspace(-1, 1, 1000)
    flux = torch.stack([3 + u - 0.5 * u**2, 200 * (1 - 0.3 * u)])[None]
    found = continuum.estimate(flux, torch.tensor(0.01), torch.ones_like(flux))
    torch.testing.assert_close(found, flux, rtol=2e-4, atol=0)


def test_continuum_runs_above_lines() -> None:
    flux = dense_lines()
    assert flux.mean() < 0.92
    found = continuum.estimate(flux, torch.tensor(0.01), torch.ones_like(flux))
    assert (found - 1).abs().max() < 0.01


def test_division_by_the_continuum_forgets_slopes() -> None:
    """What renormalisation is for: the same spectrum under another slope and scale gives the same normalised flux."""
    flux = dense_lines()
    u = torch.linspace(-1, 1, flux.shape[2])
    bent = 7 * flux * (1 + 0.1 * u + 0.05 * u**2)
    whole = torch.ones_like(flux)
    plain, other = (one / continuum.estimate(one, s, whole) for one, s in ((flux, whole / 100), (bent, whole * 0.07)))
    torch.testing.assert_close(plain, other, rtol=0, atol=4e-3)


def test_continuum_follows_noise_and_gaps() -> None:
    flux = dense_lines().expand(40, -1, -1)
    noise = 0.05 * torch.randn(flux.shape, generator=generator(3))
    mask = torch.ones_like(flux)
    mask[:, 0, 1000:1400], mask[:, 1] = 0, 0
    found = continuum.estimate(flux + noise, torch.tensor(0.05), mask)
    assert (found[:, 0].mean(1) - 1).abs().max() < 0.03
    assert torch.equal(found[:, 1], torch.ones_like(found[:, 1]))
