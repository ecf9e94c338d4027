"""Memory of places: what it adds, what it must not add, and how far it is trusted."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sciml.core.errors import InputError
from sciml.modis.degradation import box_t4
from sciml.modis.images import UNKNOWN_WINDOW, Images
from sciml.modis.interpolation import backprojection
from sciml.modis.place_memory import (
    PlaceMemory,
    PlaceRegression,
    Shrinkage,
    coarse_detail,
    left_out,
    regression_left_out,
)

FACTOR, SIZE = 4, 16


def world(dates: int = 8, windows: int = 3, geography: float = 1.0, weather: float = 0.3, seed: int = 0) -> Images:
    """Smooth temperature, the detail of the window by day or night, and detail of the day; in random order."""
    rng = np.random.default_rng(seed)
    window, day, date = (a.ravel() for a in np.meshgrid(range(windows), (False, True), range(dates), indexing="ij"))
    detail = geography * np.random.default_rng(99).standard_normal((windows, 2, SIZE, SIZE))
    lst = 290 + 3 * rng.standard_normal((window.size, 1, 1)) + detail[window, day.astype(int)]
    lst = lst + weather * rng.standard_normal(lst.shape)
    dates_ = np.datetime64("2020-01-01") + (35 * date).astype("timedelta64[D]")
    order = rng.permutation(window.size)
    images = Images(lst, np.full(lst.shape, np.nan), dates_, day.astype(bool), window + 10, 926.6, "planted")
    return images.select(order)


def rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(error**2)))


def test_planted_geography_is_remembered_on_new_dates():
    memory, new = PlaceMemory.fit(world(), FACTOR), world(seed=1)
    coarse = box_t4(new.lst, FACTOR)
    before = backprojection(coarse, FACTOR)[0]
    after, _ = memory.super_resolve(coarse, FACTOR, new.guidance())
    assert rms(after - new.lst) < 0.45 * rms(before - new.lst)
    assert np.abs(box_t4(after, FACTOR) / coarse - 1).max() < 1e-9


def test_where_there_is_no_geography_little_is_added():
    memory, new = PlaceMemory.fit(world(geography=0.0), FACTOR), world(geography=0.0, seed=1)
    coarse = box_t4(new.lst, FACTOR)
    before = backprojection(coarse, FACTOR)[0]
    after, _ = memory.super_resolve(coarse, FACTOR, new.guidance())
    assert rms(after - new.lst) < 1.02 * rms(before - new.lst)


def test_unknown_windows_get_nothing():
    memory, new = PlaceMemory.fit(world(), FACTOR), world(seed=1)
    coarse = box_t4(new.lst, FACTOR)
    before = backprojection(coarse, FACTOR)[0]
    for number in (UNKNOWN_WINDOW, 5, 11 + 1000):
        guidance = new.guidance()
        guidance.window[:] = number
        assert np.array_equal(memory.super_resolve(coarse, FACTOR, guidance)[0], before)
        assert not memory.detail(guidance).any()
    assert np.array_equal(memory.super_resolve(coarse, FACTOR)[0], before)


def test_images_of_no_window_teach_nothing():
    images = world()
    images.window[:] = UNKNOWN_WINDOW
    memory = PlaceMemory.fit(images, FACTOR)
    coarse = box_t4(images.lst, FACTOR)
    assert memory.window.size == 0
    assert np.array_equal(
        memory.add(coarse.repeat(4, 1).repeat(4, 2), coarse, world().guidance()), coarse.repeat(4, 1).repeat(4, 2)
    )


def test_shrinkage_by_hand():
    total, count = np.array([[6.0], [1.0]]), np.array([[3.0], [1.0]])
    assert np.allclose(Shrinkage(0.0, 0.0).mean(total, count, axis=0), [[2.0], [1.0]])
    both = 7.0 / (4 + 1)
    expected = [[(6 + 2 * both) / 5], [(1 + 2 * both) / 3]]
    assert np.allclose(Shrinkage(1.0, 2.0).mean(total, count, axis=0), expected)
    assert (Shrinkage(0.0, 0.0).mean(0 * total, 0 * count, axis=0) == 0).all()


def test_shrinkage_follows_what_is_planted():
    """Loud weather asks for more shrinkage; detail that day and night share asks for pooling both."""
    quiet, loud = (PlaceMemory.fit(world(weather=w), FACTOR).shrinkage for w in (0.02, 3.0))
    assert loud.towards_zero + loud.towards_both > quiet.towards_zero + quiet.towards_both
    shared = world(weather=1.0)
    same = np.random.default_rng(99).standard_normal((3, SIZE, SIZE))[shared.window - 10]
    shared = Images(290 + same + np.random.default_rng(7).standard_normal(same.shape), *list(vars(shared).values())[1:])
    assert PlaceMemory.fit(shared, FACTOR).shrinkage.towards_both > 8


def test_left_out_is_a_fit_without_that_date():
    images, shrinkage = world(dates=4), Shrinkage(1.0, 2.0)
    result = left_out(images, FACTOR, shrinkage)
    which = 7
    memory = PlaceMemory.fit(images.select(images.date != images.date[which]), FACTOR)
    memory = PlaceMemory(memory.window, memory.total, memory.count, FACTOR, shrinkage)
    one = images.select(np.array([which]))
    expected, _ = memory.super_resolve(box_t4(one.lst, FACTOR), FACTOR, one.guidance())
    assert np.allclose(result[which], expected[0], rtol=1e-12)


def test_left_out_does_not_see_its_own_date():
    images = world(dates=4)
    changed = Images(images.lst.copy(), *list(vars(images).values())[1:])
    same = (images.date == images.date[3]) & (images.window == images.window[3])
    same[3] = False
    assert same.any()
    changed.lst[same] += np.random.default_rng(1).standard_normal(changed.lst[same].shape)
    shrinkage = Shrinkage(1.0, 2.0)
    assert np.array_equal(left_out(changed, FACTOR, shrinkage)[3], left_out(images, FACTOR, shrinkage)[3])
    assert not np.allclose(left_out(changed, FACTOR, shrinkage), left_out(images, FACTOR, shrinkage))


def test_missing_pixels_are_left_out_of_the_mean():
    images = world(geography=1.0, weather=0.0)
    holed = Images(images.lst.copy(), *list(vars(images).values())[1:])
    holed.lst[5, :4, :4] = np.nan
    whole, partial = (PlaceMemory.fit(i, FACTOR) for i in (images, holed))
    guidance = images.guidance()
    assert np.isfinite(partial.detail(guidance)).all()
    assert partial.count.sum() < whole.count.sum()
    coarse = box_t4(holed.lst, FACTOR)
    result, _ = partial.super_resolve(coarse, FACTOR, guidance)
    assert np.isnan(result[5, :4, :4]).all() and np.isnan(result).sum() == 16


def test_images_do_not_know_each_other():
    memory, new = PlaceMemory.fit(world(), FACTOR), world(seed=1)
    order = np.random.default_rng(0).permutation(len(new))
    coarse = box_t4(new.lst, FACTOR)
    whole, _ = memory.super_resolve(coarse, FACTOR, new.guidance())
    shuffled, _ = memory.super_resolve(coarse[order], FACTOR, new.select(order).guidance())
    assert np.array_equal(shuffled, whole[order])


def seasonal(seed: int = 0) -> Images:
    """Each window has one pattern, which the day's weather scales from -2 to 2: its mean over dates is near 0."""
    images = world(dates=12, seed=seed)
    pattern = np.random.default_rng(99).standard_normal((3, SIZE, SIZE))[images.window - 10]
    rng = np.random.default_rng(seed)
    weather = rng.uniform(-2, 2, (len(images), 1, 1))
    lst = 290 + weather * pattern + 0.05 * rng.standard_normal(pattern.shape)
    return Images(lst, *list(vars(images).values())[1:])


def test_regression_scales_what_it_remembers():
    new = seasonal(seed=1)
    coarse = box_t4(new.lst, FACTOR)
    before = rms(backprojection(coarse, FACTOR)[0] - new.lst)
    scaled, mean = (
        kind.fit(seasonal(), FACTOR).super_resolve(coarse, FACTOR, new.guidance())[0]
        for kind in (PlaceRegression, PlaceMemory)
    )
    assert rms(scaled - new.lst) < 0.35 * before < 0.7 * rms(mean - new.lst)
    assert np.abs(box_t4(scaled, FACTOR) / coarse - 1).max() < 1e-9


def test_regression_is_ridge_regression():
    images, new = seasonal(), seasonal(seed=1)
    memory = PlaceRegression.fit(images, FACTOR)
    coarse, there, asked = box_t4(new.lst, FACTOR), images.window == 11, new.window == 11
    details = images.lst - backprojection(box_t4(images.lst, FACTOR), FACTOR)[0]
    model = Ridge(alpha=memory.ridge, fit_intercept=False)
    model.fit(coarse_detail(box_t4(images.lst, FACTOR))[there], details[there].reshape(there.sum(), -1))
    expected = model.predict(coarse_detail(coarse)[asked]).reshape(-1, SIZE, SIZE)
    assert np.allclose(memory.detail(coarse, new.guidance())[asked], expected, atol=1e-5)  # details kept in float32


def test_regression_adds_nothing_where_it_knows_nothing():
    memory, new = PlaceRegression.fit(seasonal(), FACTOR), seasonal(seed=1)
    coarse = box_t4(new.lst, FACTOR)
    assert not memory.detail(np.full_like(coarse, 300.0), new.guidance()).any()
    guidance = new.guidance()
    guidance.window[:] = UNKNOWN_WINDOW
    before = backprojection(coarse, FACTOR)[0]
    assert np.array_equal(memory.super_resolve(coarse, FACTOR, guidance)[0], before)
    assert np.array_equal(memory.super_resolve(coarse, FACTOR)[0], before)
    nowhere = seasonal()
    nowhere.window[:] = UNKNOWN_WINDOW
    assert np.array_equal(PlaceRegression.fit(nowhere, FACTOR).add(before, coarse, guidance), before)


def test_regression_left_out_is_a_fit_without_that_date():
    images, which = seasonal(), 7
    memory = PlaceRegression.fit(images.select(images.date != images.date[which]), FACTOR)
    one = images.select(np.array([which]))
    expected, _ = memory.super_resolve(box_t4(one.lst, FACTOR), FACTOR, one.guidance())
    result = regression_left_out(images, FACTOR, memory.ridge)
    assert np.allclose(result[which], expected[0], rtol=1e-8)


def test_regression_with_missing_pixels_and_permuted_images():
    images, new = seasonal(), seasonal(seed=1)
    images.lst[5, :4, :4], new.lst[3, 8:12, :4] = np.nan, np.nan
    memory, coarse = PlaceRegression.fit(images, FACTOR), box_t4(new.lst, FACTOR)
    whole, _ = memory.super_resolve(coarse, FACTOR, new.guidance())
    assert np.isnan(whole[3, 8:12, :4]).all() and np.isnan(whole).sum() == 16
    order = np.random.default_rng(0).permutation(len(new))
    shuffled, _ = memory.super_resolve(coarse[order], FACTOR, new.select(order).guidance())
    assert np.allclose(shuffled, whole[order], rtol=1e-12, equal_nan=True)
    alone, _ = memory.super_resolve(coarse[3:4], FACTOR, new.select(np.array([3])).guidance())
    assert np.allclose(alone, whole[3:4], rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("kind", [PlaceMemory, PlaceRegression])
def test_refusals(kind):
    memory = kind.fit(world(dates=2), FACTOR)
    with pytest.raises(InputError, match="as remembered"):
        memory.add(np.full((1, 8, 8), 290.0), np.full((1, 2, 2), 290.0), world(dates=2).guidance())
    with pytest.raises(InputError, match="factor 2"):
        memory.super_resolve(np.full((12, 8, 8), 290.0), 2, world(dates=2).guidance())
