"""Continua: planted ones come back, with a model exactly, by an envelope nearly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.readers.spectra import read_spectra
from sciml.data.spectrum import Spectrum
from sciml.stellar.normalisation import by_envelope, by_model, noise_of
from tests.data.readers.spectrum_fixtures import star

X = np.linspace(-1, 1, 4096)
WAVE = np.stack([np.linspace(low, low + 57.0, 4096) for low in (5030.0, 5150.0, 5280.0)])
SHAPE = 900.0 * np.stack([1 + 0.4 * X - 0.3 * X**2, 2 - 0.7 * X + 0.2 * X**3, 0.5 + 0.1 * X])


def planted(snr: float, seed: int = 0) -> Spectrum:
    clean = SHAPE * star(WAVE)
    sigma = SHAPE / snr
    return Spectrum("planted", WAVE, clean + np.random.default_rng(seed).normal(size=WAVE.shape) * sigma, sigma, 1e5)


def test_with_the_right_model_the_continuum_is_exact() -> None:
    found = by_model(planted(1e9), star(WAVE))
    np.testing.assert_allclose(found.continuum, SHAPE, rtol=1e-6)
    np.testing.assert_allclose(found.flux, star(WAVE), rtol=1e-6)
    assert found.sigma is not None
    np.testing.assert_allclose(found.sigma, 1e-9, rtol=1e-6)


def test_with_the_right_model_noise_does_not_bias_it() -> None:
    ratios = np.stack([by_model(planted(20.0, seed), star(WAVE)).continuum / SHAPE for seed in range(20)])
    # four coefficients an order of 4096 pixels: 0.05 sqrt(4 / 4096) = 0.16 % each, a fifth of that the mean of twenty
    assert np.abs(ratios.mean((0, 2)) - 1).max() < 1e-3
    assert ratios.std(0).mean() < 3e-3


def test_cosmic_rays_and_unknown_lines_do_not_bend_it() -> None:
    spectrum = planted(100.0)
    flux = spectrum.flux.copy()
    flux[0, ::101] *= 5.0
    flux[1, 700:760] *= 0.4
    flux[2, 100:140] = np.nan
    found = by_model(replace(spectrum, flux=flux), star(WAVE))
    np.testing.assert_allclose(found.continuum, SHAPE, rtol=3e-3)
    assert not found.used[0, ::101].any()
    assert not found.used[1, 700:760].any()
    assert np.isnan(found.flux[2, 100:140]).all()


def test_beyond_the_model_there_is_no_continuum() -> None:
    model = star(WAVE)
    model[0, :3000], model[1, 2000:2100] = np.nan, np.nan
    found = by_model(planted(1e9), model)
    assert np.isnan(found.continuum[0, :3000]).all()
    np.testing.assert_allclose(found.continuum[0, 3000:], SHAPE[0, 3000:], rtol=1e-6)
    np.testing.assert_allclose(found.continuum[1], SHAPE[1], rtol=1e-6)


@pytest.mark.parametrize(("snr", "off"), [(1e4, 0.005), (100.0, 0.01), (20.0, 0.05)])
def test_the_envelope_is_near_and_nearer_with_less_noise(snr: float, off: float) -> None:
    found = by_envelope(planted(snr))
    ratio = found.continuum / SHAPE
    assert np.abs(ratio - 1).mean() < off
    assert 0.02 < found.used.mean() < 0.97


def test_pure_noise_has_its_mean_as_envelope() -> None:
    flux = np.random.default_rng(2).normal(1.0, 0.1, (1, 4096))
    found = by_envelope(Spectrum("flat", WAVE[:1], flux, np.full(flux.shape, 0.1), 1e5))
    np.testing.assert_allclose(found.continuum, 1.0, atol=0.04)  # less than half a standard deviation


def test_scale_and_unknown_sigma() -> None:
    spectrum = planted(100.0)
    for find in (by_envelope, lambda s: by_model(s, star(WAVE))):
        first, louder = find(spectrum), find(replace(spectrum, flux=spectrum.flux * 1e6, sigma=spectrum.sigma * 1e6))
        np.testing.assert_allclose(louder.flux, first.flux, rtol=1e-8)
        blind = find(replace(spectrum, sigma=None))
        assert blind.sigma is None
        np.testing.assert_allclose(blind.continuum, first.continuum, rtol=0.02)


def test_the_result_can_replace_the_spectrum() -> None:
    found = by_model(planted(50.0), star(WAVE))
    applied = found.applied(planted(50.0))
    np.testing.assert_array_equal(applied.flux, found.flux)
    assert applied.sigma is not None
    assert float(np.nanmedian(1 / applied.sigma)) == pytest.approx(50.0, rel=0.02)


def test_noise_of_pixels() -> None:
    rng = np.random.default_rng(0)
    assert noise_of(star(WAVE[0]) + rng.normal(0, 0.02, 4096)) == pytest.approx(0.02, rel=0.06)


def test_what_cannot_be_normalised_is_refused() -> None:
    with pytest.raises(InputError, match=r"found a model of shape \(2, 3\), expected \(3, 4096\)"):
        by_model(planted(10.0), np.ones((2, 3)))
    with pytest.raises(InputError, match="no order has 50 good pixels"):
        by_envelope(replace(planted(10.0), flux=np.full(WAVE.shape, np.nan)))


def test_a_real_order_by_its_envelope(real_data: Path) -> None:
    (sun,) = read_spectra(str(real_data / "stellar/fasma/Sun_HARPS.fits"))
    found = by_envelope(sun)
    clear = (sun.wave > 5060) & (sun.wave < 5290) & sun.good
    highest = np.nanpercentile(found.flux[clear], [50, 99])
    assert highest[0] < 0.985  # lines are everywhere
    assert highest[1] == pytest.approx(1.0, abs=0.03)
