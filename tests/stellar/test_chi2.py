"""The chi-square fit on spectra of the emulator itself: unbiased, as scattered as it says, at the bound."""

from typing import cast

import numpy as np
import pytest
import torch

from sciml.stellar import chi2, continuum, instrument, labels
from sciml.stellar.emulator import EmulatorSettings, fit_emulator
from sciml.stellar.experiments import direct
from sciml.stellar.forward import ForwardModel, covariance_of, cramer_rao, fisher_matrix
from sciml.stellar.grid import ModelSpectra
from sciml.stellar.labels import LABELS, PARAMETERS
from sciml.stellar.posterior import V0, from_working, to_working
from sciml.stellar.refit import Fitting, refit
from tests.stellar.test_emulator import made

SIGMA = 1 / 50.0
SUN = np.array([5770.0, 4.4, 0.0, 8.0, 1.1, 0.0, 3.0])


@pytest.fixture(scope="module")
def models() -> ModelSpectra:
    return made(120, 1)


@pytest.fixture(scope="module")
def forward(models: ModelSpectra) -> ForwardModel:
    emulator = fit_emulator(models, EmulatorSettings(components=30, searched=100), 0)
    return ForwardModel(emulator, instrument.generated(orders=3, pixels=1024, start=5150.0, stop=5200.0).pixels)


def noisy(forward: ForwardModel, stars: np.ndarray, seed: int = 0) -> torch.Tensor:
    clean = forward.at(to_working(stars))
    return clean + SIGMA * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


def test_derivatives_are_those_of_any_step(forward: ForwardModel) -> None:
    working = to_working(SUN[None])
    jacobian = forward.jacobian(working, PARAMETERS)
    for column, step in enumerate((40.0, 0.08, 0.04, 0.4, 0.08, 0.04, 0.4)):
        ends = [working + side * step * np.eye(7)[column] for side in (-0.5, 0.5)]
        wide = (forward.at(ends[1]) - forward.at(ends[0])) / step
        narrow = jacobian[:, column]
        assert float((wide - narrow).norm() / narrow.norm()) < 0.03, PARAMETERS[column]


def test_the_bound_of_vsini_is_that_of_its_working_coordinate(forward: ForwardModel) -> None:
    working = to_working(SUN[None])
    fisher = fisher_matrix(forward.jacobian(working), torch.full((1, 1, 1), SIGMA))
    covariance = covariance_of(fisher)
    np.testing.assert_allclose(covariance[0] @ fisher[0], np.eye(4), atol=1e-5)
    slope = np.hypot(SUN[3], V0) / SUN[3]
    assert cramer_rao(covariance, working)[0, 3] == pytest.approx(slope * np.sqrt(covariance[0, 3, 3]))
    four_times = fisher_matrix(forward.jacobian(working), torch.full((1, 1, 1), SIGMA / 2))
    np.testing.assert_allclose(covariance_of(four_times), covariance / 4, rtol=1e-3)


def test_fits_scatter_as_photons_let_them(forward: ForwardModel) -> None:
    stars = np.repeat(SUN[None], 96, 0)
    start = stars.copy()
    start[:, :4] += [250.0, -0.3, 0.2, 4.0]
    found = chi2.fit(forward, noisy(forward, stars), torch.full((1, 1, 1), SIGMA), start)
    error = found.mean - SUN[:4]
    sigma = np.sqrt(np.einsum("nii->ni", found.covariance))
    bound = cramer_rao(
        covariance_of(fisher_matrix(forward.jacobian(to_working(SUN[None])), torch.full((1, 1, 1), SIGMA))),
        to_working(SUN[None]),
    )[0]
    assert np.abs(error.mean(0) / (bound / np.sqrt(96))).max() < 4
    np.testing.assert_allclose(np.sqrt((error**2).mean(0)), bound, rtol=0.3)
    np.testing.assert_allclose(sigma.mean(0), bound, rtol=0.1)
    assert (found.chi_square / found.pixels).mean() == pytest.approx(1.0, abs=0.02)


def test_masked_pixels_count_for_nothing(forward: ForwardModel) -> None:
    flux = noisy(forward, SUN[None])
    sigma = torch.full(flux.shape, SIGMA)
    sigma[0, 1, 200:400] = torch.inf
    spoiled = flux.clone()
    spoiled[0, 1, 200:400] = 7.0
    kept, lost = (chi2.fit(forward, seen, sigma, SUN[None]) for seen in (flux, spoiled))
    np.testing.assert_allclose(lost.best, kept.best)
    assert kept.pixels[0] == flux[0].numel() - 200


def test_nuisances_widen_what_is_known_and_are_found(forward: ForwardModel) -> None:
    star = SUN.copy()
    star[4:] = (1.6, 0.15, 5.0)
    flux = noisy(forward, np.repeat(star[None], 8, 0))
    start = np.repeat(SUN[None], 8, 0)
    sigma = torch.full((1, 1, 1), SIGMA)
    free = chi2.fit(forward, flux, sigma, start, LABELS + labels.NUISANCES)
    fixed = chi2.fit(forward, flux, sigma, start)
    wide, narrow = (
        chi2.least_covariance(forward, to_working(star[None]), sigma, names)
        for names in (LABELS + labels.NUISANCES, LABELS)
    )
    assert (np.diag(wide[0])[:4] > np.diag(narrow[0])).all()
    assert free.chi_square.mean() < fixed.chi_square.mean()
    error = np.abs(free.mean - star[:4]) / np.sqrt(np.einsum("nii->ni", free.covariance))
    assert np.median(error) < 1.5


def test_a_star_beyond_the_grid_ends_at_its_edge(forward: ForwardModel) -> None:
    flux = 1.2 - 0.2 * noisy(forward, SUN[None])  # lines go up: no star
    found = chi2.fit(forward, flux, torch.full((1, 1, 1), SIGMA), SUN[None])
    assert labels.in_grid(found.best).all()
    assert np.isfinite(found.mean).all()
    assert found.chi_square[0] > 1.3 * found.pixels[0]


def test_the_nearest_spectrum_is_the_stars_own(forward: ForwardModel) -> None:
    tried = labels.draw(40, 4, "paper")
    tried[:, 0] = np.clip(tried[:, 0], 4600, 6900)
    flux = noisy(forward, tried[[3, 30]])
    sigma = torch.full((1, 1, 1), SIGMA)
    np.testing.assert_array_equal(chi2.nearest(forward, flux, sigma, tried), tried[[3, 30]])


class Blanketed:
    """A forward model whose cool stars lack light over the whole order, which a continuum through it does not show."""

    def at(self, working: np.ndarray) -> torch.Tensor:
        u, cool = torch.linspace(-1, 1, 1024), torch.from_numpy((7000 - working[:, :1]) / 3000).float()
        lines = 0.2 * cool * torch.exp(-(((u * 512 + 512) % 100 - 50) ** 2) / 8)
        return ((1 - 0.3 * cool * (1 - 0.5 * u**2)) * (1 - lines))[:, None]


def test_the_nearest_of_renormalised_spectra_is_the_stars_own() -> None:
    tried, forward = np.zeros((13, 7)), cast(ForwardModel, Blanketed())
    tried[:, 0] = np.linspace(4000, 7000, 13)
    flux = forward.at(tried)
    sigma = torch.full((1, 1, 1), SIGMA)
    seen = flux / continuum.estimate(flux, sigma, torch.ones_like(flux))
    np.testing.assert_array_equal(chi2.nearest(forward, seen, sigma, tried, renormalised=True), tried)
    assert np.abs(chi2.nearest(forward, seen, sigma, tried) - tried).max() > 1000


def test_a_fit_with_the_continuum_free_finds_stars_under_a_bent_one(forward: ForwardModel) -> None:
    stars = np.tile([*SUN[:4], 2.0, 0.0, 0.0], (24, 1))
    bent = noisy(forward, stars) * (1 + 0.1 * torch.linspace(-1, 1, forward.shape[1]) ** 2)
    sigma = np.full(bent.shape, SIGMA, np.float32)
    near = SUN[None, :4] + [150.0, -0.2, 0.1, 1.0]
    free = refit(forward, bent.numpy(), sigma, np.tile(near, (24, 1)), Fitting(LABELS, 4, rounds=20))
    known = chi2.fit(forward, bent, torch.from_numpy(sigma), stars)
    mean, covariance = free.moments()
    deviation = np.sqrt(np.einsum("nii->ni", covariance)) / np.sqrt(24)
    bias = np.abs(mean.mean(0) - SUN[:4])
    assert (bias < 4 * deviation.mean(0)).all()
    assert (np.abs(known.mean.mean(0) - SUN[:4])[:3] > 3 * bias[:3]).all()


def test_direct_spectra_pass_the_same_instrument(forward: ForwardModel, models: ModelSpectra) -> None:
    index = np.array([5, 50])
    with torch.no_grad():
        seen = direct(forward, models, index, torch.from_numpy(models.parameters[index]))
    emulated = forward.at(to_working(models.parameters[index]))
    assert np.percentile((seen - emulated).abs().numpy(), 99) < 0.01
    np.testing.assert_allclose(from_working(to_working(models.parameters)), models.parameters, atol=1e-9)
