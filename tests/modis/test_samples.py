"""Training samples: degraded as the coarse sensor sees, turned, partly covered, blind to what is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sciml.modis import degradation
from sciml.modis.images import Images
from sciml.modis.samples import COVERED_K, DEGRADED, GuidedSamples, filled, samples_of, turned, turned_back
from sciml.nn.training import seeded


def made(count: int = 6, size: int = 32, missing: bool = False) -> Images:
    """Smooth images with NDVI; missing: a hole in each."""
    rng = np.random.default_rng(1)
    lst = 290 + np.cumsum(rng.normal(0, 0.3, (count, size, size)), axis=2)
    if missing:
        lst[:, 5:9, 10:13] = np.nan
    ndvi = rng.uniform(0, 1, lst.shape)
    date = np.datetime64("2020-01-01") + np.arange(count)
    return Images(lst, ndvi, date, np.arange(count) % 2 == 0, np.arange(count), 926.6, "made")


@pytest.mark.parametrize("name", ["box_t4", "mtf"])
@pytest.mark.parametrize("missing", [False, True])
def test_degraded_as_numpy_degrades(name: str, missing: bool) -> None:
    lst = torch.tensor(made(missing=missing).lst)
    known = torch.isfinite(lst)
    coarse, whole = DEGRADED[name](torch.where(known, lst, COVERED_K), known, 4)
    expected = getattr(degradation, name)(lst.numpy(), 4)
    np.testing.assert_array_equal(whole.numpy(), np.isfinite(expected))
    assert whole.all() != missing
    np.testing.assert_allclose(coarse[whole].numpy(), expected[whole.numpy()], atol=1e-9)
    single, _ = DEGRADED[name](torch.where(known, lst, COVERED_K).float(), known, 4)
    np.testing.assert_allclose(single[whole].numpy(), expected[whole.numpy()], atol=3e-4)


@pytest.mark.parametrize("name", ["box_t4", "mtf"])
@pytest.mark.parametrize("way", range(12))
def test_the_coarse_image_of_a_batch_is_its_target_degraded(name: str, way: int) -> None:
    """However it was cut and turned, without clouds: also along the scan, which is along x whatever the image's way."""
    data = replace(samples_of(made(missing=True), 4, degradation=name), cloudy=0.0)
    with seeded(way):
        (coarse, whole, _, guides), target, weight = data.batch(torch.arange(4))
    truth = np.where(target.numpy() == COVERED_K, np.nan, target.double().numpy())
    expected = getattr(degradation, name)(truth, 4)
    seen = whole.numpy() == 1
    np.testing.assert_array_equal(seen, np.isfinite(expected))
    np.testing.assert_allclose(coarse.numpy()[seen], expected[seen], atol=3e-4)
    assert target.shape == guides.shape[:1] + guides.shape[2:] == weight.shape == (4, 28, 28)
    supervised = degradation.replicate(seen, 4) & np.isfinite(truth)
    np.testing.assert_array_equal(weight.numpy() == 1, supervised)


def test_clouds_take_weight_and_are_filled_from_beside() -> None:
    data = replace(samples_of(made()), cloudy=1.0)
    with seeded(3):
        (coarse, whole, _, _), target, weight = data.batch(torch.arange(6))
    assert 0 < whole.mean() < 1
    np.testing.assert_array_equal(weight.numpy(), degradation.replicate(whole.numpy(), 4))
    assert torch.isfinite(coarse).all() and (target.amin() <= coarse).all() and (coarse <= target.amax()).all()


def test_what_is_missing_changes_nothing() -> None:
    """No number of a batch depends on what stands in a pixel that is not known, but the stand-in itself."""
    images = made(missing=True)
    hidden = replace(images, ndvi=np.where(np.isnan(images.lst), np.nan, images.ndvi))
    found = []
    for stand_in in (np.nan, np.inf):
        lst = np.where(np.isnan(images.lst), stand_in, images.lst)
        with seeded(5):
            found.append(samples_of(replace(hidden, lst=lst)).batch(torch.tensor([0, 3, 4])))
    (first, one, weight), (second, other, same) = found
    for x, y in zip((*first, one, weight), (*second, other, same), strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    assert (one[weight == 1] != COVERED_K).all()


def test_a_missing_pixel_reaches_only_its_coarse_pixel() -> None:
    images = made()
    lst = images.lst.copy()
    lst[0, 6, 9] = np.nan
    data, holed = (samples_of(replace(images, lst=x), augment=False) for x in (images.lst, lst))
    (coarse, whole, *_), _, weight = data.batch(torch.arange(2))
    (less, partly, *_), _, lighter = holed.batch(torch.arange(2))
    gone = torch.zeros_like(whole, dtype=torch.bool)
    gone[0, 1, 2] = True
    assert torch.equal(whole - partly, gone.float()) and torch.equal(coarse[~gone], less[~gone])
    assert torch.equal(weight - lighter, gone.repeat_interleave(4, 1).repeat_interleave(4, 2).float())
    around = coarse[0, 0:3, 1:4].clone()
    around[1, 1] = 0
    assert less[0, 1, 2] == pytest.approx(float(around.sum() / 8), abs=1e-3)


@pytest.mark.parametrize("way", range(8))
def test_turning_back(way: int) -> None:
    image = torch.arange(24.0).reshape(1, 4, 6)
    assert torch.equal(turned_back(turned(image, way), way), image)
    assert way == 0 or not torch.equal(turned(image[:, :, :4], way), image[:, :, :4])


def test_eight_positions_differ() -> None:
    image = torch.arange(9.0).reshape(3, 3)
    assert len({tuple(turned(image, way).flatten().tolist()) for way in range(8)}) == 8


def test_every_offset_and_position_occurs_and_guides_go_along() -> None:
    """Guides that equal temperature still equal it after cutting and turning."""
    images = made(1)
    data = GuidedSamples(
        torch.tensor(images.lst).float(), torch.tensor(images.lst)[:, None].float(), torch.ones(1), cloudy=0.0,
        unguided=0.0, unbanded=0.0,
    )  # fmt: skip
    corners = set()
    with seeded(0):
        for _ in range(300):
            (_, _, _, guides), target, _ = data.batch(torch.zeros(1, dtype=torch.long))
            assert torch.equal(guides[:, 0], target)
            corners.add((float(target[0, 0, 0]), float(target[0, 0, 1])))
    assert len(corners) > 150  # of 25 offsets in 8 positions


def test_lost_guides() -> None:
    images = replace(made(), reflectance=np.random.default_rng(0).uniform(size=(6, 2, 32, 32)))
    found = []
    for shares in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        data = replace(samples_of(images), unguided=shares[0], unbanded=shares[1])
        with seeded(2):
            (_, _, _, guides), _, _ = data.batch(torch.arange(3))
        found.append([bool(torch.isfinite(guides[:, layer]).all()) for layer in range(3)])
        assert bool(torch.isfinite(data.guides).all())  # the source is left alone
    assert found == [[False, False, False], [True, False, False], [True, True, True]]


def test_filling_keeps_what_is_known_and_takes_the_mean_far_away() -> None:
    coarse = torch.tensor(np.random.default_rng(0).normal(290, 2, (2, 16, 16))).float()
    known = torch.zeros(2, 16, 16, dtype=torch.bool)
    known[:, :2, :2] = True
    found = filled(torch.where(known, coarse, COVERED_K), known)
    assert torch.equal(found[known], coarse[known])
    np.testing.assert_allclose(found[:, 15, 15], coarse[:, :2, :2].mean((1, 2)), rtol=1e-6)
    assert torch.equal(filled(coarse, torch.ones_like(known)), coarse)
