"""Calibration of spreads: 90 % of errors within the interval, by day and by night."""

from dataclasses import replace

import numpy as np
import pytest

from sciml.modis.spread import NINETY, SpreadScale, fit_spread


def errors(night: float, day: float, images: int = 40, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Truth, estimate, its stated spread (of 0.2 to 2 K), day; errors are `night` or `day` times what is stated."""
    rng = np.random.default_rng(seed)
    bright = np.arange(images) % 2 == 0
    sigma = rng.uniform(0.2, 2, (images, 32, 32))
    truth = 290 + rng.normal(0, 5, sigma.shape)
    times = np.where(bright, day, night)[:, None, None]
    return truth, truth + times * sigma * rng.normal(size=sigma.shape), sigma, bright


def test_ninety_of_a_hundred() -> None:
    """Fitted on some images, the intervals hold on others; the factors are those that were planted."""
    scale = fit_spread(*errors(0.5, 3.0))
    assert scale.night == pytest.approx(0.5, rel=0.03) and scale.day == pytest.approx(3.0, rel=0.03)
    truth, estimate, sigma, bright = errors(0.5, 3.0, seed=1)
    within = np.abs(truth - estimate) < NINETY * sigma * scale.of(bright)[:, None, None]
    for part in (bright, ~bright):
        assert within[part].mean() == pytest.approx(0.9, abs=0.01)


def test_other_errors_are_covered_too() -> None:
    """Nine in ten errors of any distribution lie within; a normal one is not assumed."""
    truth, _, sigma, bright = errors(1, 1)
    estimate = truth + sigma * np.random.default_rng(3).standard_t(2, sigma.shape)
    scale = fit_spread(truth, estimate, sigma, bright)
    within = np.abs(truth - estimate) < NINETY * sigma * scale.of(bright)[:, None, None]
    assert within.mean() == pytest.approx(0.9, abs=0.003)


def test_missing_pixels_do_not_count() -> None:
    truth, estimate, sigma, bright = errors(1, 2)
    expected = fit_spread(truth[:, 8:], estimate[:, 8:], sigma[:, 8:], bright)
    truth[:, :4], estimate[:, 4:6], sigma[:, 6:8] = np.nan, np.nan, np.nan
    assert fit_spread(truth, estimate, sigma, bright) == expected


def test_without_nights_the_day_stands_in() -> None:
    truth, estimate, sigma, bright = errors(1, 2)
    by_day = fit_spread(*(x[bright] for x in (truth, estimate, sigma, bright)))
    assert by_day.night == by_day.day
    at_night = fit_spread(*(x[~bright] for x in (truth, estimate, sigma, bright)))
    assert at_night.night == at_night.day < by_day.day


def test_by_image() -> None:
    scale = SpreadScale(night=2.0, day=3.0)
    np.testing.assert_array_equal(scale.of(np.array([True, False])), [3.0, 2.0])
    assert replace(scale, day=2.0).of(np.array([True]))[0] == 2.0
