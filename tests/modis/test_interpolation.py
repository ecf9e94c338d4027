"""Interpolation: identities, torch as the independent implementation, and missing pixels."""

import numpy as np
import pytest
import torch

from sciml.core.errors import ConfigError, InputError
from sciml.modis.degradation import box_t4, replicate
from sciml.modis.interpolation import backprojection, bicubic, bilinear, cubic_weights, fill, linear_weights

METHODS = [bilinear, bicubic, backprojection]


def scene(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return 290 + 5 * np.random.default_rng(seed).standard_normal(shape)


def resized(images: np.ndarray, factor: int, mode: str) -> np.ndarray:
    tensor = torch.from_numpy(images)[:, None]
    return torch.nn.functional.interpolate(tensor, scale_factor=factor, mode=mode, align_corners=False)[:, 0].numpy()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("method", "mode"), [(bilinear, "bilinear"), (bicubic, "bicubic")])
def test_as_torch(method, mode, factor):
    coarse = scene((3, 11, 14))
    assert np.allclose(method(coarse, factor)[0], resized(coarse, factor, mode), rtol=0, atol=1e-10)


@pytest.mark.parametrize("factor", [2, 4])
def test_backprojection_as_written(factor):
    """The update equation, word by word, over several strips of rows."""
    coarse = scene((2, 70, 9))
    estimate = resized(coarse, factor, "bicubic")
    for _ in range(20):
        estimate = estimate + resized(coarse - box_t4(estimate, factor), factor, "bicubic")
    assert np.allclose(backprojection(coarse, factor)[0], estimate, rtol=0, atol=1e-9)


def test_backprojection_agrees_with_what_was_seen():
    coarse = scene((2, 16, 16))
    once, often = (np.abs(box_t4(backprojection(coarse, 4, iterations=n)[0], 4) - coarse).max() for n in (1, 20))
    assert often < 1e-4 < once


@pytest.mark.parametrize("method", METHODS)
def test_constant_stays_constant(method):
    fine, sigma = method(np.full((2, 6, 7), 288.0), 4, sigma=0.5)
    assert np.allclose(fine, 288.0, rtol=1e-12) and fine.shape == (2, 24, 28)
    assert (sigma == 0.5).all()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7])
def test_weights_reproduce_a_line(factor):
    """Keys's own slope, -1/2, does so exactly; OpenCV's errs by at most 0.05 of the difference between two pixels."""
    at = (np.arange(factor) + 0.5) / factor - 0.5
    cases = ((linear_weights(factor), 1e-12), (cubic_weights(factor, -0.5), 1e-12), (cubic_weights(factor), 0.05))
    for weights, error in cases:
        reach = weights.shape[1] // 2
        assert np.allclose(weights.sum(axis=1), 1)
        assert np.allclose(weights, weights[::-1, ::-1])
        assert np.abs(weights @ np.arange(-reach, reach + 1) - at).max() <= error


def test_ramps_inside_an_image():
    slope = 0.3
    ramp = 290 + slope * np.arange(12) + np.zeros((1, 12, 1))
    expected = 290 + slope * ((np.arange(48) + 0.5) / 4 - 0.5)
    for method, edge, error in ((bilinear, 4, 1e-10), (bicubic, 8, 0.05 * slope), (backprojection, 16, 0.05 * slope)):
        inside = slice(edge, -edge)
        assert np.abs(method(ramp, 4)[0][0, 20, inside] - expected[inside]).max() <= error
        assert np.abs(method(ramp.swapaxes(1, 2), 4)[0][0, inside, 20] - expected[inside]).max() <= error


@pytest.mark.parametrize("method", METHODS)
def test_each_image_is_on_its_own(method):
    coarse = scene((5, 40, 8))
    coarse[2, 3:6, 3:5] = np.nan
    order = np.array([3, 0, 4, 2, 1])
    assert np.array_equal(method(coarse[order], 4)[0], method(coarse, 4)[0][order], equal_nan=True)
    assert np.array_equal(method(coarse[2:3], 4)[0], method(coarse, 4)[0][2:3], equal_nan=True)


@pytest.mark.parametrize("method", METHODS)
def test_missing_stays_missing_and_alone(method):
    coarse = scene((1, 20, 20))
    coarse[0, 8:11, 9] = np.nan
    fine, sigma = method(coarse, 4, sigma=1.0)
    assert np.array_equal(np.isnan(fine), replicate(np.isnan(coarse), 4))
    assert np.array_equal(np.isnan(sigma), np.isnan(fine))
    assert np.isnan(method(np.full((1, 4, 4), np.nan), 4)[0]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_hole_in_a_constant_leaves_no_trace(method):
    coarse = np.full((1, 12, 12), 300.0)
    coarse[0, 2:9, :5] = np.nan
    fine = method(coarse, 2)[0]
    assert np.allclose(fine[np.isfinite(fine)], 300.0, rtol=1e-12)


def test_fill_keeps_what_is_known_and_stays_in_range():
    images = scene((2, 30, 30))
    holed = images.copy()
    holed[0, 5:25, 5:25] = np.nan
    filled = fill(holed)
    known = np.isfinite(holed)
    assert np.array_equal(filled[known], images[known]) and np.isfinite(filled).all()
    assert images[0].min() <= filled[0].min() and filled[0].max() <= images[0].max()
    assert np.isnan(holed).any()  # the input is not written to


def test_single_precision_is_computed_in_double():
    coarse = scene((1, 8, 8)).astype(np.float32)
    assert backprojection(coarse, 4)[0].dtype == np.float64
    assert np.array_equal(backprojection(coarse, 4)[0], backprojection(coarse.astype(float), 4)[0])


def test_refusals():
    with pytest.raises(InputError, match=r"expected \(image, y, x\)"):
        bicubic(scene((8, 8)), 4)
    with pytest.raises(ConfigError, match="factor"):
        bilinear(scene((1, 8, 8)), 0)
