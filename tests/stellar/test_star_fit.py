"""Fits of planted stars: labels come back through bends, resolutions and wrong lines, with sigmas that hold."""

from dataclasses import replace

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.spectrum import Spectrum
from sciml.generated.spectra import LineModel
from sciml.stellar.chi2 import nuisance_prior
from sciml.stellar.emulator import Emulator
from sciml.stellar.labels import PARAMETERS, usual_alpha, usual_vmic
from sciml.stellar.observed_orders import LINES, stretches
from sciml.stellar.posterior import to_working
from sciml.stellar.star_fit import StarFit, fit_star
from tests.stellar.conftest import SUN, faulty, observed

NEAR = np.array([40.0, 0.12, 0.05, 0.6])  # the small emulator's own faults


def sigmas(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.diag(covariance))


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("power", [115_000.0, 47_000.0])
def test_labels_velocity_and_nuisances_come_back(
    emulator: Emulator, line_model: LineModel, merged: bool, power: float
) -> None:
    found = fit_star(observed(SUN, line_model, rv=0.4, merged=merged, power=power), emulator)
    assert (np.abs(found.mean - SUN[:4]) < NEAR).all()
    assert found.rv == pytest.approx(0.4, abs=0.01)
    assert found.best[4] == pytest.approx(SUN[4], abs=0.2)
    assert (found.beyond == 0).all()
    assert found.misfit < 0.004
    assert np.nanmedian(found.order_chi_square) < 1.4
    assert found.snr == pytest.approx(200.0, rel=0.05)


def test_what_bends_an_order_tells_nothing(emulator: Emulator, line_model: LineModel) -> None:
    straight = observed(SUN, line_model, snr=100.0)
    u = np.linspace(-1, 1, straight.wave.shape[1])
    bend = (1 + 0.3 * u) * np.arange(1, 8)[:, None]  # times the parabolas there are: cubics, as the fit's
    bent = replace(straight, flux=straight.flux * bend, sigma=straight.sigma * bend)
    one, other = (fit_star(spectrum, emulator) for spectrum in (straight, bent))
    assert (np.abs(one.mean - other.mean) < 0.05 * sigmas(one.covariance)).all()


def test_cosmic_rays_and_dead_pixels_change_little(emulator: Emulator, line_model: LineModel) -> None:
    clean = observed(SUN, line_model, snr=100.0)
    flux = clean.flux.copy()
    flux[2, 700:760] = np.nan
    flux[4, ::211] *= 4.0
    struck = fit_star(replace(clean, flux=flux), emulator)
    assert (np.abs(struck.mean - fit_star(clean, emulator).mean) < [12.0, 0.03, 0.015, 0.1]).all()
    assert not struck.used[4, 422]
    assert not struck.used[2, 700:760].any()


def test_wrong_lines_widen_the_sigmas_as_they_must(emulator: Emulator) -> None:
    fits: list[StarFit] = [fit_star(observed(SUN, faulty(seed), seed=seed), emulator) for seed in range(12)]
    error = np.array([found.mean - SUN[:4] for found in fits])[:, :3]
    pull = error / np.array([sigmas(found.covariance)[:3] for found in fits])
    white = error / np.array([sigmas(found.white)[:3] for found in fits])
    assert (np.sqrt((pull**2).mean(0)) < 1.9).all()
    assert (np.sqrt((pull**2).mean(0)) > 0.4).all()
    assert (np.sqrt((white**2).mean(0)) > 3.0).all()  # pixels that erred alone would have hidden it
    assert all(0.005 < found.misfit < 0.02 and found.shared > 5 for found in fits)


def test_photon_noise_alone_leaves_the_sigmas_nearly_as_they_are(emulator: Emulator, line_model: LineModel) -> None:
    found = fit_star(observed(SUN, line_model, snr=15.0), emulator)
    assert found.shared < 3.0
    assert (np.abs(found.mean - SUN[:4]) < 4 * sigmas(found.covariance)).all()
    reduced = (((found.flux - found.model) / found.sigma)[found.used] ** 2).mean()
    assert reduced == pytest.approx(1.0, abs=0.05)


def test_sigmas_of_misfit_make_the_residual_their_size(emulator: Emulator) -> None:
    found = fit_star(observed(SUN, faulty(3)), emulator)
    rest = ((found.flux - found.model) / found.sigma)[found.used]
    assert np.mean(rest**2) == pytest.approx(1.0, abs=0.05)
    assert np.nanmean(found.order_chi_square) > 2  # by photons alone


@pytest.mark.parametrize(("name", "value"), [("vsini", 45.0), ("logg", -0.8)], ids=["too fast", "too low a gravity"])
def test_a_star_beyond_the_grid_is_beyond_its_end(
    emulator: Emulator, line_model: LineModel, name: str, value: float
) -> None:
    planted = np.where(np.array(PARAMETERS) == name, value, SUN)
    planted[0] = 5000.0
    found = fit_star(observed(planted, line_model, snr=100.0), emulator)
    assert found.beyond[PARAMETERS.index(name)] > 1.5


def test_pixels_beyond_the_line_list_do_not_count(emulator: Emulator, line_model: LineModel) -> None:
    found = fit_star(observed(SUN, line_model), emulator)
    wave = found.wave[found.used]
    assert wave.min() >= LINES[0] - 0.1
    assert wave.max() <= LINES[1] + 0.1


def test_noise_of_interpolated_pixels_is_not_claimed(emulator: Emulator, line_model: LineModel) -> None:
    spectrum = observed(SUN, line_model, merged=True, power=47_000.0)
    fine = np.arange(5025.0, 5389.0, 0.008)[None]
    flux = np.interp(fine[0], spectrum.wave[0], spectrum.flux[0])[None]
    found = fit_star(replace(spectrum, wave=fine, flux=flux, sigma=None), emulator)
    assert np.isnan(found.snr)
    assert np.isnan(found.order_chi_square).all()
    assert (np.abs(found.mean - SUN[:4]) < NEAR).all()
    native = fit_star(replace(spectrum, sigma=None), emulator)
    assert native.snr == pytest.approx(200.0, rel=0.2)


def test_stretches_hold_every_pixel_once() -> None:
    wave = np.arange(5010.0, 5400.0, 0.02)[None]
    flux = np.random.default_rng(0).uniform(1, 2, wave.shape)
    cut = stretches(Spectrum("one", wave, flux, flux / 100, 47_000.0))
    inside = (wave[0] >= LINES[0] - 10) & (wave[0] <= LINES[1] + 10)
    assert len(cut.wave) == 7
    np.testing.assert_array_equal(np.sort(cut.flux[cut.good]), np.sort(flux[0, inside]))
    orders = Spectrum("orders", np.concatenate([wave, wave + 1]), np.ones((2, wave.shape[1])), None, 47_000.0)
    assert stretches(orders) is orders


def test_no_pixels_in_the_line_list_are_refused(emulator: Emulator) -> None:
    wave = np.arange(5375.0, 5400.0, 0.02)[None]
    with pytest.raises(InputError, match="no order has 200 good pixels"):
        fit_star(Spectrum("off", wave, np.ones(wave.shape), None, 115_000.0), emulator)


def test_the_prior_is_about_what_is_usual() -> None:
    star = np.array([5777.0, 4.44, -1.0, 3.0, 1.5, 0.5, 3.5])
    away, precision = nuisance_prior(to_working(star)[None], PARAMETERS)
    np.testing.assert_allclose(away[0, 4:6], [1.5 - usual_vmic(*star[:3]), 0.5 - usual_alpha(star[2])])
    assert away[0, 6] == pytest.approx(0.0)
    assert (precision[:4] == 0).all()
    assert (precision[4:] > 0).all()
