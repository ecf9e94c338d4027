"""The law of scale finds again what was planted, and knows a blur from a loss of relation."""

from dataclasses import replace

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.modis.images import Images
from sciml.modis.scale import LARGEST_KM, ScaleLaw, fit_scale_law, law_of, octave_share, slopes

SIZE = 64


def field(rng: np.random.Generator, images: int) -> np.ndarray:
    """Periodic NDVI with power at all scales (image, Y, X), of mean 0.5 and standard deviation 0.15."""
    wave = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    amplitude = np.where(wave > 0, np.maximum(wave, 1 / SIZE) ** -1.2, 0)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((images, SIZE, SIZE))) * amplitude, s=(SIZE, SIZE))
    return 0.5 + 0.15 * noise / noise.std(axis=(1, 2), keepdims=True)


def made(response: np.ndarray | float = 1.0, images: int = 40, noise: float = 0.0, km: float = 1.0) -> Images:
    """Day images whose temperature is -12 K x NDVI with its waves multiplied by `response`."""
    rng = np.random.default_rng(0)
    ndvi = field(rng, images)
    spectrum = np.fft.rfft2(ndvi - 0.5) * response
    lst = 300 - 12 * np.fft.irfft2(spectrum, s=(SIZE, SIZE)) + noise * rng.standard_normal(ndvi.shape)
    date = np.full(images, np.datetime64("2020-07-01"))
    return Images(lst, ndvi, date, np.ones(images, bool), np.arange(images), 1000 * km, "made")


@pytest.mark.parametrize("law", [ScaleLaw(0.7, 0.25, 0.55), ScaleLaw(0.9, 0.05, 0.8), ScaleLaw(0.4, 0.5, 0.0)])
def test_planted_numbers_are_found(law: ScaleLaw) -> None:
    fine = np.array([1.0, 2.0, 4.0, 8.0])
    found = law_of(fine, law.share(fine, sharp=False))
    np.testing.assert_allclose(
        [found.amplitude, found.decay, found.blur_km], [law.amplitude, law.decay, law.blur_km], atol=0.02
    )


def test_sharp_truth_knows_no_blur() -> None:
    law = ScaleLaw(0.8, 0.3, 0.6)
    assert law.share(LARGEST_KM, sharp=True) == pytest.approx(0.8)
    assert law.share(LARGEST_KM / 2, sharp=True) == pytest.approx(0.8 * 2**-0.3)
    assert law.share(1.0, sharp=False) < 0.6 * law.share(1.0, sharp=True)
    unblurred = replace(law, blur_km=0.0)
    np.testing.assert_array_equal(unblurred.share([1, 2], True), unblurred.share([1, 2], False))


def test_all_detail_follows_where_temperature_is_ndvi() -> None:
    """The same share in every octave; not 1 to the last digit, since means are of T^4."""
    images = made()
    for step in (1, 2, 4, 8):
        assert octave_share(images, step) == pytest.approx(1.0, abs=0.03)


def test_noise_that_ndvi_knows_nothing_of_leaves_the_share() -> None:
    assert octave_share(made(noise=1.0), 1) == pytest.approx(octave_share(made(), 1), abs=0.08)


@pytest.mark.parametrize("blur_km", [0.4, 0.7])
def test_a_planted_blur_is_found_in_images(blur_km: float) -> None:
    """Temperature blurred by a Gaussian and not the NDVI: no decay, and a blur of that width."""
    wave = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    law = fit_scale_law(made(np.exp(-2 * np.pi**2 * blur_km**2 * wave**2)))
    assert law.blur_km == pytest.approx(blur_km, abs=0.15)
    assert law.amplitude == pytest.approx(1.0, abs=0.1) and law.decay < 0.1


def test_a_planted_decay_is_found_in_images() -> None:
    """Waves whose response falls by 2^-0.4 an octave, as the law says of sharp truth."""
    wave = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    response = np.where(wave > 0, np.maximum(wave, 1 / 32) ** -0.4, 1.0)
    law = fit_scale_law(made(response / response.max()))
    assert law.decay > 0.2 and law.blur_km < 0.35
    assert law.share(1.0, True) / law.share(8.0, True) == pytest.approx(2 ** (-3 * law.decay))


def test_slopes_are_least_squares() -> None:
    rng = np.random.default_rng(1)
    green = rng.uniform(0.2, 0.8, (3, 8, 8))
    heat = 300 - np.array([5.0, 10.0, -2.0])[:, None, None] * green + rng.normal(0, 0.1, green.shape)
    expected = [np.polyfit(g.ravel(), t.ravel(), 1)[0] for g, t in zip(green, heat, strict=True)]
    np.testing.assert_allclose(slopes(heat, green), expected, rtol=1e-9)
    assert slopes(heat, np.full_like(green, 0.5) + 1e-3 * green).tolist() == [0.0, 0.0, 0.0]


def test_only_complete_days_with_ndvi_count() -> None:
    images = made(images=12)
    day, lst, ndvi = images.day.copy(), images.lst.copy(), images.ndvi.copy()
    day[0], lst[1, 5, 5], ndvi[2, 5, 5] = False, np.nan, np.nan
    lst[0] += 50 * ndvi[0]
    found = fit_scale_law(replace(images, day=day, lst=lst, ndvi=ndvi))
    assert found == fit_scale_law(images.select(np.arange(3, 12)))


def test_without_guidance_it_is_refused() -> None:
    images = made(images=2)
    with pytest.raises(InputError, match="made: no complete daytime image with NDVI"):
        fit_scale_law(replace(images, ndvi=np.full_like(images.ndvi, np.nan)))
