"""TsHARP: a planted relation is found, what was seen is kept, and where there is no guidance it steps back."""

import numpy as np
import pytest

from sciml.core.errors import ConfigError, InputError
from sciml.modis.degradation import box_t4, replicate
from sciml.modis.images import Guidance
from sciml.modis.interpolation import backprojection
from sciml.modis.tsharp import completed, fitted, tsharp

FACTOR = 4


def vegetation(number: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.9, (number, 48, 40))


def guided(ndvi: np.ndarray, day: bool = True) -> Guidance:
    return Guidance(ndvi, np.full(len(ndvi), day), 926.6, np.zeros(len(ndvi), int))


@pytest.mark.parametrize("smooth", [True, False])
def test_a_planted_line_is_recovered(smooth):
    ndvi = vegetation()
    slope = np.array([-20.0, -5.0, 8.0])[:, None, None]
    truth = 300 + slope * (ndvi - 0.5)
    fine, _ = tsharp(box_t4(truth, FACTOR), FACTOR, guided(ndvi), smooth=smooth)
    # not exact: the mean of T^4 is not the mean of T, by some hundredths of a kelvin
    assert np.abs(fine - truth).max() < 0.1
    assert truth.std() > 2


def test_the_line_is_that_of_least_squares():
    rng = np.random.default_rng(1)
    lst, ndvi = 290 + rng.standard_normal((2, 9, 8)), rng.uniform(size=(2, 9, 8))
    known = rng.uniform(size=(2, 9, 8)) > 0.3
    lst[0, 3, 3] = np.nan
    line = fitted(lst, ndvi, known)
    for i in range(2):
        both = known[i] & np.isfinite(lst[i])
        coefficients, covariance = np.polyfit(ndvi[i][both], lst[i][both], 1, cov=True)
        assert np.allclose([line.slope[i], line.intercept[i]], coefficients)
        assert np.isclose(line.slope_variance[i], covariance[0, 0])
        assert np.array_equal(np.isfinite(line.residual[i]), both)


@pytest.mark.parametrize("smooth", [True, False])
def test_seen_as_the_input(smooth):
    coarse = 290 + np.random.default_rng(2).standard_normal((3, 12, 10))
    fine, _ = tsharp(coarse, FACTOR, guided(vegetation()), smooth=smooth)
    assert np.abs(box_t4(fine, FACTOR) / coarse - 1).max() < 1e-9


def test_without_guidance_it_is_backprojection():
    coarse = 290 + np.random.default_rng(3).standard_normal((2, 12, 10))
    expected = backprojection(coarse, FACTOR)[0]
    flat, unknown = np.full((2, 48, 40), 0.4), np.full((2, 48, 40), np.nan)
    for guidance in (None, guided(vegetation(2), day=False), guided(flat), guided(unknown)):
        assert np.array_equal(tsharp(coarse, FACTOR, guidance)[0], expected)


def test_missing_temperature_stays_missing_and_missing_ndvi_does_not_spread():
    ndvi = vegetation(1)
    truth = 300 - 15 * ndvi
    coarse = box_t4(truth, FACTOR)
    coarse[0, 5, 5] = np.nan
    holed = ndvi.copy()
    holed[0, 30:33, 20:30] = np.nan
    fine, sigma = tsharp(coarse, FACTOR, guided(holed), sigma=0.7)
    assert np.array_equal(np.isnan(fine), replicate(np.isnan(coarse), FACTOR))
    assert np.array_equal(np.isnan(sigma), np.isnan(fine)) and np.nanmax(sigma) == 0.7
    assert np.nanmax(np.abs(fine - truth)[0, :24]) < 0.1
    assert np.isfinite(completed(coarse, FACTOR, guided(holed)).fine).all()


def test_images_do_not_know_each_other():
    coarse = 290 + np.random.default_rng(4).standard_normal((3, 12, 10))
    ndvi = vegetation()
    coarse[1, 2, 3], ndvi[2, 7:20, 9] = np.nan, np.nan
    day = np.array([True, True, False])
    order = np.array([2, 0, 1])

    def run(which):
        return tsharp(coarse[which], FACTOR, Guidance(ndvi[which], day[which], 926.6, np.zeros(len(which), int)))[0]

    assert np.array_equal(run(order), run(np.arange(3))[order], equal_nan=True)
    assert np.array_equal(run(np.array([1])), run(np.arange(3))[1:2], equal_nan=True)


def test_refusals():
    coarse = np.full((3, 12, 10), 290.0)
    with pytest.raises(InputError, match="select the same images"):
        tsharp(coarse, FACTOR, guided(vegetation(2)))
    with pytest.raises(InputError, match="expected"):
        tsharp(coarse, 2, guided(vegetation()))
    with pytest.raises(ConfigError, match="factor"):
        completed(coarse, 0, None)
