"""Scores of images against scikit-image, scipy, limits and planted truth."""

from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, ndimage
from scipy.stats import norm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sciml.metrics import images
from sciml.modis.interpolation import bicubic

KELVIN = 290.0


def smooth(seed: int, count: int = 6, size: int = 40, sd: float = 3.0) -> np.ndarray:
    """Fields with structure at several scales, around KELVIN."""
    noise = np.random.default_rng(seed).normal(size=(count, size, size))
    field = ndimage.gaussian_filter(noise, (0, 3, 3)) * 10 + ndimage.gaussian_filter(noise, (0, 1, 1))
    return KELVIN + sd * field / field.std()


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = smooth(0)
    return truth, truth + smooth(1, sd=0.7) - KELVIN + 0.2, np.ones(truth.shape, bool)


def test_complete_images_score_as_in_scikit_image(pair: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, estimate, mask = pair
    span = images.dynamic_range(truth, mask)
    np.testing.assert_allclose(span, np.ptp(truth, axis=(1, 2)), rtol=0)
    psnr, ssim = images.psnr(truth, estimate, mask, span), images.ssim(truth, estimate, mask, span)
    for i in range(len(truth)):
        assert psnr[i] == pytest.approx(peak_signal_noise_ratio(truth[i], estimate[i], data_range=span[i]), abs=1e-10)
        # scikit-image squares kelvins, which costs it ten of its sixteen digits: see the next test
        reference = structural_similarity(truth[i], estimate[i], win_size=7, data_range=span[i])
        assert ssim[i] == pytest.approx(reference, abs=1e-8)


def test_ssim_of_small_numbers_is_scikit_images_to_1e_10(pair: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, estimate, mask = pair[0] - KELVIN + 5, pair[1] - KELVIN + 5, pair[2]
    span = np.ptp(truth, axis=(1, 2))
    for i, value in enumerate(images.ssim(truth, estimate, mask, span)):
        assert value == pytest.approx(
            structural_similarity(truth[i], estimate[i], win_size=7, data_range=span[i]), abs=1e-10
        )


def test_windows_with_a_hole_are_left_out_of_ssim(pair: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, estimate, mask = pair
    mask[:, 5:8, 20] = False
    mask[1] = False
    truth, estimate = np.where(mask, truth, np.nan), np.where(mask, estimate, np.nan)
    span = np.full(len(truth), 12.0)
    found = images.ssim(truth, estimate, mask, span)
    assert np.isnan(found[1])
    for i in (0, 2):
        whole = ndimage.minimum_filter(mask[i], size=7)[3:-3, 3:-3]
        filled = [np.where(mask[i], a[i], KELVIN) for a in (truth, estimate)]
        _, every = structural_similarity(*filled, win_size=7, data_range=12.0, full=True)
        assert 0 < whole.sum() < whole.size
        assert found[i] == pytest.approx(every[3:-3, 3:-3][whole].mean(), abs=1e-8)


def test_ssim_global_is_the_papers_equation(pair: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, estimate, mask = pair
    mask[:, :, :4] = False
    span = images.dynamic_range(truth, mask)
    found = images.ssim_global(truth, estimate, mask, span)
    for i in range(len(truth)):
        x, y = truth[i, :, 4:].ravel(), estimate[i, :, 4:].ravel()
        (xx, xy), (_, yy) = np.cov(x, y, ddof=0)
        c1, c2 = (0.01 * span[i]) ** 2, (0.03 * span[i]) ** 2
        expected = (2 * x.mean() * y.mean() + c1) * (2 * xy + c2)
        expected /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (xx + yy + c2)
        assert found[i] == pytest.approx(expected, rel=1e-9)


def test_what_lies_outside_the_mask_changes_no_score(pair: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, estimate, mask = pair
    mask[:, 8:12, 8:16] = False
    wild = np.where(mask, 0, np.random.default_rng(3).normal(scale=500, size=mask.shape))
    wild[:, 9, 9] = np.nan
    sigma = np.ones_like(truth)

    def every(t: np.ndarray, e: np.ndarray) -> np.ndarray:
        span = images.dynamic_range(t, mask)
        scores = [images.psnr(t, e, mask, span), images.ssim(t, e, mask, span), images.ssim_global(t, e, mask, span)]
        scores += [images.rmse(t, e, mask), images.bias(t, e, mask), images.rmse_unbiased(t, e, mask), span]
        scores += [images.detail_correlation(t, e, mask, 4), images.detail_amplitude(t, e, mask, 4)]
        scores += [images.crps(t, e, sigma + wild, mask), images.coverage90(t, e, sigma + wild, mask)]
        return np.array(scores)

    np.testing.assert_allclose(every(truth + wild, estimate - wild), every(truth, estimate), rtol=1e-9)


def test_error_is_bias_and_what_is_left(pair: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, estimate, mask = pair
    mask[2, 3:9] = False
    bias, left = images.bias(truth, estimate, mask), images.rmse_unbiased(truth, estimate, mask)
    np.testing.assert_allclose(images.rmse(truth, estimate, mask) ** 2, bias**2 + left**2, rtol=1e-12)
    np.testing.assert_allclose(images.rmse_unbiased(truth, estimate + 7, mask), left, rtol=1e-9)
    np.testing.assert_allclose(images.bias(truth, estimate + 7, mask), bias + 7, rtol=1e-9)


def test_an_image_without_pixels_has_no_score(pair: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, estimate, mask = pair
    mask[3] = False
    span = images.dynamic_range(truth, mask)
    assert np.isnan(span).tolist() == [False, False, False, True, False, False]
    for score in (images.psnr, images.ssim, images.ssim_global):
        assert np.isnan(score(truth, estimate, mask, span)[3])
    assert np.isnan(images.rmse(truth, estimate, mask)[3])
    assert np.isnan(images.detail_correlation(truth, estimate, mask, 4)[3])


def test_a_hot_pixel_does_not_set_the_range() -> None:
    truth = smooth(4)
    clean = images.dynamic_range(truth, np.ones(truth.shape, bool))
    hot, mask = truth.copy(), np.ones(truth.shape, bool)
    hot[0, 7, 9] = 402.0
    hot[1, 0, 0] = 355.0  # within physics, far from its neighbours
    hot[2, 20, 20] = 0.0
    hot[3, 5, 5] = np.nan
    mask[3, 5, 5] = False
    rejected = images.outliers(hot, mask)
    assert np.argwhere(rejected).tolist() == [[0, 7, 9], [1, 0, 0], [2, 20, 20]]
    np.testing.assert_allclose(images.dynamic_range(hot, mask), clean, atol=0.5)


def test_steep_ground_is_no_outlier() -> None:
    """A lake in a hot plain, 18 K colder with a straight coast, and a ridge line one pixel wide, 12 K colder."""
    lake = np.where(np.arange(40)[None, :] < 17, 290.0, 308.0) + np.zeros((40, 1))
    ridge = np.where(np.arange(40)[None, :] == 17, 288.0, 300.0) + np.zeros((40, 1))
    truth = np.stack([lake, ridge])
    assert not images.outliers(truth, np.ones(truth.shape, bool)).any()


def test_detail_is_what_the_bicubic_of_the_coarse_image_lacks() -> None:
    truth = smooth(5)
    mask = np.ones(truth.shape, bool)
    coarse = truth.reshape(6, 10, 4, 10, 4).mean(axis=(2, 4))
    own, known = images.detail(truth, mask, 4)
    np.testing.assert_allclose(own, truth - bicubic(coarse, 4)[0], atol=1e-9)
    assert known.all()
    np.testing.assert_allclose(images.detail_correlation(truth, truth + 3, mask, 4), 1, rtol=1e-9)
    half = 0.5 * truth + 145
    np.testing.assert_allclose(images.detail_correlation(truth, half, mask, 4), 1, rtol=1e-9)
    np.testing.assert_allclose(images.detail_amplitude(truth, half, mask, 4), 0.5, rtol=1e-9)
    np.testing.assert_allclose(images.detail_amplitude(truth, np.full_like(truth, 290.0), mask, 4), 0, atol=1e-9)
    mask[0, 5, 6] = False
    truth[0, 5, 6] = 400.0
    own, known = images.detail(truth, mask, 4)
    assert np.argwhere(~known[0]).min(axis=0).tolist() == [4, 4] and (~known).sum() == 16 and np.isfinite(own).all()


def test_crps_is_the_integral_of_its_definition() -> None:
    truth, estimate, sigma = (np.full((1, 2, 2), v) for v in (290.0, 291.3, 0.8))
    expected, _ = integrate.quad(lambda x: (norm.cdf(x, 291.3, 0.8) - (x >= 290.0)) ** 2, 280, 300, points=[290.0])
    mask = np.ones((1, 2, 2), bool)
    assert images.crps(truth, estimate, sigma, mask)[0] == pytest.approx(expected, rel=1e-6)
    # a certain forecast: the absolute error
    assert images.crps(truth, estimate, sigma * 1e-9, mask)[0] == pytest.approx(1.3, rel=1e-6)


def test_the_interval_of_the_right_width_covers_nine_tenths() -> None:
    rng = np.random.default_rng(6)
    sigma = rng.uniform(0.3, 2.0, size=(3, 200, 200))
    estimate = KELVIN + np.zeros_like(sigma)
    truth, mask = estimate + sigma * rng.standard_normal(sigma.shape), np.ones(sigma.shape, bool)
    np.testing.assert_allclose(images.coverage90(truth, estimate, sigma, mask), 0.9, atol=0.01)
    assert (images.coverage90(truth, estimate, 0.8 * sigma, mask) < 0.85).all()
    honest = images.crps(truth, estimate, sigma, mask)
    assert (honest < images.crps(truth, estimate, np.full_like(sigma, sigma.mean()), mask)).all()
    sigma[0, 4, 4] = np.nan
    assert np.isnan(images.coverage90(truth, estimate, sigma, mask)).tolist() == [True, False, False]
    assert np.isnan(images.crps(truth, estimate, sigma, mask)).tolist() == [True, False, False]


def test_the_spectrum_of_a_wave_lies_at_its_wavelength_and_white_noise_is_flat() -> None:
    x = np.arange(64)
    wave = KELVIN + np.sin(2 * np.pi * x / 8)[None, :, None] + np.zeros((1, 1, 64))
    wavelength, power = images.power_spectrum(wave, 1000.0)
    assert wavelength[power[0].argmax()] == pytest.approx(8000.0)
    noise = KELVIN + 1.5 * np.random.default_rng(7).standard_normal((300, 64, 64))
    _, flat = images.power_spectrum(noise, 1000.0)
    np.testing.assert_allclose(flat.mean(axis=0)[1:], 1.5**2, rtol=0.06)
    noise[0, 3, 3] = np.nan
    assert np.isnan(images.power_spectrum(noise[:2], 1000.0)[1]).all(axis=1).tolist() == [True, False]


def test_coherence_counts_the_pattern_and_not_its_size() -> None:
    truth = smooth(8, count=40)
    noise = smooth(9, count=40)
    assert images.spectra(truth, 5 + 0.3 * truth, 1.0).coherence == pytest.approx(1)
    # squared coherence of unrelated fields is about 1 over the independent modes of a ring
    assert images.spectra(truth, noise, 1.0).coherence[:, 8:].mean() < 0.1


def test_effective_resolution_is_where_a_sharp_filter_cuts() -> None:
    truth = KELVIN + np.random.default_rng(10).standard_normal((30, 64, 64))
    wave = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    cut = np.fft.ifft2(np.where(wave <= 1 / 8, np.fft.fft2(truth), 0)).real
    # wavelengths below 8 pixels of 250 m are lost: worth pixels of 1000 m
    assert images.effective_resolution(images.spectra(truth, cut, 250.0)) == pytest.approx(1000.0, rel=0.05)
    assert images.effective_resolution(images.spectra(truth, truth, 250.0)) == 250.0
    assert images.effective_resolution(images.spectra(truth, truth * 0 + 290, 250.0)) == float("inf")


def test_real_patches_have_no_outliers(real_data: Path) -> None:
    netCDF4 = pytest.importorskip("netCDF4")
    path = real_data / "modis" / "imt-mrunet-2020" / "mod11a1_h18v04_2020_patches64.nc"
    if not path.is_file():
        pytest.skip(f"real data: no file {path.name}")
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        truth = (file["lst_dn"][::10] * 0.02).reshape(-1, 64, 64)
    mask = truth > 0
    assert images.outliers(truth, mask).sum() == 0
    planted = truth.copy()
    planted[:, 30, 30] = 402.0
    assert (images.outliers(planted, mask).sum(axis=(1, 2)) == 1).all()
    np.testing.assert_allclose(images.dynamic_range(planted, mask), images.dynamic_range(truth, mask), atol=2)
