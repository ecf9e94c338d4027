"""Area-to-point regression kriging: a dense kriging solve, planted semivariograms and relations, coherence."""

import numpy as np
import pytest

from sciml.modis import atprk as module
from sciml.modis.atprk import RANGES, atprk, deconvolved, kriged, kriging_weights, semivariogram
from sciml.modis.degradation import box_t4, replicate
from sciml.modis.images import Guidance


def field(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def guided(ndvi: np.ndarray, day: bool = True) -> Guidance:
    return Guidance(ndvi, np.full(len(ndvi), day), 926.6, np.zeros(len(ndvi), int))


@pytest.mark.parametrize("sides", [(2, 2, 2, 2), (0, 2, 1, 2), (2, 0, 0, 0), (0, 0, 0, 0)])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_weights_sum_to_one_and_keep_the_mean(factor, sides):
    for which in (0, 9, len(RANGES) - 1):
        weights, variance = kriging_weights(factor, which, *sides)
        assert np.allclose(weights.sum(axis=1), 1)
        middle = np.zeros(25)
        middle[12] = 1
        assert np.allclose(weights.mean(axis=0), middle, atol=1e-8)
        assert (variance >= 0).all()


def dense(residual: np.ndarray, factor: int, point_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Ordinary kriging with covariances, pixel by pixel from coordinates, each from the 5 x 5 around its block."""
    height, width = residual.shape
    fine, variance = np.empty((2, height * factor, width * factor))
    for i, j in np.ndindex(fine.shape):
        near = [
            (r, c)
            for r in range(i // factor - 2, i // factor + 3)
            for c in range(j // factor - 2, j // factor + 3)
            if 0 <= r < height and 0 <= c < width
        ]
        points = np.array(
            [[(r * factor + a, c * factor + b) for a in range(factor) for b in range(factor)] for r, c in near]
        )
        flat = points.reshape(-1, 2) / factor

        def covariance(p, q):
            return np.exp(-np.linalg.norm(p[:, None] - q[None], axis=2) / point_range)

        n = len(near)
        system = np.ones((n + 1, n + 1))
        system[:n, :n] = covariance(flat, flat).reshape(n, factor**2, n, factor**2).mean(axis=(1, 3))
        system[n, n] = 0
        target = np.ones(n + 1)
        target[:n] = covariance(flat, np.array([[i, j]]) / factor).reshape(n, factor**2).mean(axis=1)
        solution = np.linalg.solve(system, target)
        fine[i, j] = solution[:n] @ [residual[r, c] for r, c in near]
        variance[i, j] = 1 - solution @ target
    return fine, variance


@pytest.mark.parametrize(("shape", "factor"), [((6, 7), 2), ((3, 5), 2), ((1, 4), 3), ((2, 2), 4)])
def test_against_a_dense_solve(shape, factor):
    residual = field((2, *shape))
    which = np.array([4, 9])
    fine, variance = kriged(residual, factor, which)
    for image in range(2):
        expected, spread = dense(residual[image], factor, RANGES[which[image]])
        assert np.allclose(fine[image], expected, atol=1e-9)
        assert np.allclose(variance[image], spread, atol=1e-9)


def test_kriging_is_coherent_to_the_edges():
    residual = field((3, 70, 9))
    fine, _ = kriged(residual, 4, np.array([0, 9, 18]))
    assert np.allclose(fine.reshape(3, 70, 4, 9, 4).mean(axis=(2, 4)), residual, atol=1e-7)


def test_semivariogram_by_hand_and_with_holes():
    residual = np.array([[[1.0, 3.0, np.nan], [1.0, 2.0, 6.0]]])
    measured, pairs = semivariogram(residual)
    squares = np.array([4.0, 1.0, 16.0, 0.0, 1.0])  # pairs at lag 1: three along rows, two along columns
    assert pairs.tolist() == [[5.0]] and np.isclose(measured[0, 0], 0.5 * squares.mean())


@pytest.mark.parametrize("planted", [0.8, 3.0])
def test_deconvolution_finds_the_planted_range_and_sill(planted):
    """Fields on a torus of fine pixels, averaged over blocks: the medians over images are near what was planted."""
    factor, size = 4, 256
    ahead = np.minimum(np.arange(size), size - np.arange(size)) / factor
    spectrum = np.fft.fft2(np.exp(-np.hypot(ahead[:, None], ahead) / planted)).real.clip(0)
    noise = np.fft.fft2(field((12, size, size)))
    point = 2.0 * np.fft.ifft2(np.sqrt(spectrum) * noise).real
    residual = point.reshape(12, size // factor, factor, size // factor, factor).mean(axis=(2, 4))
    which, sill = deconvolved(residual, factor)
    assert abs(np.log(np.median(np.array(RANGES)[which]) / planted)) < np.log(1.4)
    assert abs(np.log(np.median(sill) / 4.0)) < np.log(1.3)


@pytest.mark.parametrize("shrink", [True, False])
def test_a_planted_relation_is_recovered(shrink):
    ndvi = np.random.default_rng(0).uniform(0.1, 0.9, (3, 48, 40))
    truth = 300 + np.array([-20.0, -5.0, 8.0])[:, None, None] * (ndvi - 0.5)
    fine, _ = atprk(box_t4(truth, 4), 4, guided(ndvi), shrink=shrink)
    assert np.abs(fine - truth).max() < 0.1
    assert truth.std() > 2


def test_an_accidental_relation_is_shrunk_away():
    """Where NDVI has nothing to do with temperature the shrunk slope adds far less detail than the published one."""
    truth = 290 + field((20, 64, 64))
    ndvi = np.random.default_rng(1).uniform(size=(20, 64, 64))
    coarse = box_t4(truth, 4)
    alone = atprk(coarse, 4)[0]
    added = [np.sqrt(np.mean((atprk(coarse, 4, guided(ndvi), shrink=s)[0] - alone) ** 2)) for s in (True, False)]
    assert added[0] < 0.3 * added[1]


@pytest.mark.parametrize("guidance", [None, guided(np.random.default_rng(5).uniform(size=(2, 48, 40)))])
def test_seen_as_the_input(guidance):
    coarse = 290 + field((2, 12, 10))
    fine, _ = atprk(coarse, 4, guidance)
    assert np.abs(box_t4(fine, 4) / coarse - 1).max() < 1e-9


def test_constant_image_and_its_deviation():
    fine, sigma = atprk(np.full((1, 8, 8), 285.0), 4)
    assert np.allclose(fine, 285.0) and (sigma == 0).all()
    assert (atprk(np.full((1, 8, 8), 285.0), 4, sigma=0.4)[1] == 0.4).all()


def test_night_is_kriging_alone():
    coarse, ndvi = 290 + field((2, 12, 10)), np.random.default_rng(5).uniform(size=(2, 48, 40))
    assert np.array_equal(atprk(coarse, 4, guided(ndvi, day=False))[0], atprk(coarse, 4)[0])
    assert not np.allclose(atprk(coarse, 4, guided(ndvi), shrink=False)[0], atprk(coarse, 4)[0])


def test_kriging_deviation_is_honest_on_its_own_fields():
    """Of fields with the assumed semivariogram, the error divided by the deviation has unit variance."""
    factor, size = 4, 128
    ahead = np.minimum(np.arange(size), size - np.arange(size)) / factor
    spectrum = np.fft.fft2(np.exp(-np.hypot(ahead[:, None], ahead) / 2.0)).real.clip(0)
    point = np.fft.ifft2(np.sqrt(spectrum) * np.fft.fft2(field((10, size, size)))).real
    truth = 290 + 0.2 * point
    fine, sigma = atprk(box_t4(truth, factor), factor)
    assert 0.9 < np.sqrt(np.mean(((fine - truth) / sigma) ** 2)) < 1.1


def test_missing_pixels_stay_missing_and_images_do_not_know_each_other():
    coarse, ndvi = 290 + field((4, 12, 10)), np.random.default_rng(5).uniform(size=(4, 48, 40))
    coarse[1, 2:5, 3], coarse[3], ndvi[2, 7:20, 9] = np.nan, np.nan, np.nan
    whole, sigma = atprk(coarse, 4, guided(ndvi))
    assert np.array_equal(np.isnan(whole), replicate(np.isnan(coarse), 4))
    assert np.array_equal(np.isnan(sigma), np.isnan(whole))
    order = np.array([2, 3, 0, 1])
    assert np.allclose(atprk(coarse[order], 4, guided(ndvi[order]))[0], whole[order], rtol=1e-14, equal_nan=True)
    for i in range(4):
        alone = atprk(coarse[i : i + 1], 4, guided(ndvi[i : i + 1]))[0]
        assert np.allclose(alone, whole[i : i + 1], rtol=1e-14, equal_nan=True)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 130])
def test_bands_cover_each_pixel_once(size):
    covered = []
    for rows, before, after in module._bands(size):
        for i in range(size)[rows]:
            assert (min(2, i), min(2, size - 1 - i)) == (before, after)
            covered.append(i)
    assert covered == list(range(size))
