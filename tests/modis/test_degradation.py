"""Degradation: identities of the means of T^4 and of the scanner's weights."""

import numpy as np
import pytest

from sciml.core.errors import ConfigError, InputError
from sciml.modis.degradation import box_t4, consistent, mtf, point_spread, replicate


def scene(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return 290 + 5 * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("degrade", [box_t4, mtf])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_a_constant_image_stays_constant(degrade, factor):
    assert np.allclose(degrade(np.full((2, 24, 36), 291.5), factor), 291.5, rtol=1e-12)


def test_box_is_the_mean_of_radiated_power():
    fine = scene((2, 12, 8))
    block = fine[1, 4:8, 0:4]
    assert np.isclose(box_t4(fine, 4)[1, 1, 0], np.mean(block**4) ** 0.25, rtol=1e-14)
    assert (box_t4(fine, 4) > fine.reshape(2, 3, 4, 2, 4).mean(axis=(2, 4))).all()  # hot pixels shine more


def test_box_of_boxes_is_the_box():
    fine = scene((3, 16, 16))
    assert np.allclose(box_t4(box_t4(fine, 2), 2), box_t4(fine, 4), rtol=1e-13)


def test_box_needs_its_cover():
    fine = scene((1, 8, 8))
    fine[0, 0, 0] = np.nan
    fine[0, 4:, 4:] = np.nan
    whole, most, some = (box_t4(fine, 4, cover) for cover in (1.0, 0.9, 0.0))
    assert np.isnan(whole[0]).tolist() == [[True, False], [False, True]]
    assert np.isnan(most[0]).tolist() == np.isnan(some[0]).tolist() == [[False, False], [False, True]]
    assert np.isclose(most[0, 0, 0], np.nanmean(fine[0, :4, :4] ** 4) ** 0.25)
    assert whole[0, 0, 1] == most[0, 0, 1]


@pytest.mark.parametrize("degrade", [box_t4, mtf])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_no_shift(degrade, factor):
    """A ramp comes out at the coarse pixels' centres, away from the edges."""
    column = np.arange(24 * factor)
    fine = np.broadcast_to((280 + 0.2 * column / factor) ** 0.25, (24 * factor, 24 * factor))  # a ramp of T^4
    expected = 280 + 0.2 * ((np.arange(24) + 0.5) * factor - 0.5) / factor
    for image, along in ((fine, np.s_[10, 4:-4]), (fine.T, np.s_[4:-4, 10])):
        assert np.allclose((degrade(image, factor) ** 4)[along], expected[4:-4], rtol=1e-10)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_point_spread_is_a_triangle_blurred(factor):
    bare = point_spread(factor, scanning=True, gaussian=0.0)
    track = point_spread(factor, scanning=False, gaussian=0.0)
    assert np.isclose(bare.sum(), 1) and np.isclose(track.sum(), 1)
    assert np.count_nonzero(bare) in (2 * factor, 2 * factor - 1)
    assert np.allclose(track[track > 0], 1 / factor) and np.count_nonzero(track) == factor
    blurred = point_spread(factor, scanning=True)
    assert np.allclose(blurred, blurred[::-1]) and blurred.max() < bare.max()


def test_scanner_keeps_three_tenths_at_nyquist():
    """Modulation of a wave of two coarse pixels along the scan; the triangle and the Gaussian in the continuum."""
    factor = 64
    weights = point_spread(factor, scanning=True)
    at = np.arange(weights.size) - (weights.size - 1) / 2
    assert abs((weights * np.cos(np.pi * at / factor)).sum() - 0.30) < 0.01


def test_scanner_blurs_more_along_the_scan():
    fine = scene((4, 64, 64))
    rough_x = np.diff(mtf(fine, 4), axis=2)[:, 1:-1].std()
    rough_y = np.diff(mtf(fine, 4), axis=1)[:, :, 1:-1].std()
    assert rough_x < rough_y
    assert np.allclose(mtf(fine.swapaxes(1, 2), 4, scan_axis=-2), mtf(fine, 4).swapaxes(1, 2), rtol=1e-12)


def test_scanner_and_missing_pixels():
    fine = scene((1, 32, 32))
    holed = fine.copy()
    holed[0, 13, 13] = np.nan
    strict, lenient = mtf(holed, 4), mtf(holed, 4, least_cover=0.5)
    assert np.isnan(strict).sum() > 1 and np.isfinite(lenient).all()
    far = np.s_[0, 6:, 6:]
    assert np.array_equal(strict[far], mtf(fine, 4)[far])
    holed[:] = np.nan
    assert np.isnan(mtf(holed, 4, least_cover=0.0)).all()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_consistent_is_exact_and_idempotent(factor):
    fine, coarse = scene((3, 5 * factor, 7 * factor)), scene((3, 5, 7), seed=1)
    result = consistent(fine, coarse, factor)
    assert np.abs(box_t4(result, factor) / coarse - 1).max() < 1e-12
    assert np.allclose(consistent(result, coarse, factor), result, rtol=1e-13)
    assert np.allclose(consistent(fine, box_t4(fine, factor), factor), fine, rtol=1e-13)


def test_consistent_with_missing_pixels():
    fine, coarse = scene((1, 8, 8)), scene((1, 2, 2), seed=1)
    fine[0, 0, 0], coarse[0, 1, 1] = np.nan, np.nan
    result = consistent(fine, coarse, 4)
    assert np.isnan(result[0, 0, 0]) and np.isnan(result[0, 4:, 4:]).all() and np.isnan(result).sum() == 17
    assert np.allclose(box_t4(result, 4, least_cover=0.5)[0].ravel()[:3], coarse[0].ravel()[:3], rtol=1e-12)


def test_replicate_is_undone_by_the_box():
    coarse = scene((2, 3, 5))
    assert np.allclose(box_t4(replicate(coarse, 4), 4), coarse, rtol=1e-14)


def test_refusals():
    with pytest.raises(InputError, match="divisible by the factor 4"):
        box_t4(scene((1, 10, 8)), 4)
    with pytest.raises(ConfigError, match="least_cover"):
        box_t4(scene((1, 8, 8)), 4, least_cover=4.0)
    with pytest.raises(ConfigError, match="factor"):
        mtf(scene((1, 8, 8)), 0)
    with pytest.raises(ConfigError, match="scan_axis"):
        mtf(scene((1, 8, 8)), 2, scan_axis=0)
    with pytest.raises(InputError, match="expected 4 times"):
        consistent(scene((1, 8, 8)), scene((1, 4, 4)), 4)
