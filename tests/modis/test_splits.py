"""Splits keep their promises: shares, collars, gaps of days, and nothing on both sides."""

from collections.abc import Callable

import numpy as np
import pytest

from sciml.core.errors import ConfigError
from sciml.data.splits import Fold
from sciml.modis.images import Images
from sciml.modis.splits import COLUMNS, FEWEST_BLOCKS, GAP_DAYS, SPLITS, date_split, place_split, random_split


def made(windows: int = 144, dates: int = 100, images: int = 2000, days: int = 365, seed: int = 0) -> Images:
    """Images of a square of windows on random dates; tiny, since splits look at no pixel."""
    rng = np.random.default_rng(seed)
    side = round(np.sqrt(windows))
    known = np.array([row * COLUMNS + column for row in range(2, 2 + side) for column in range(3, 3 + side)])
    window = rng.choice(known, images)
    date = np.datetime64("2020-01-01") + rng.choice(rng.integers(0, days, dates), images).astype("timedelta64[D]")
    lst = np.zeros((images, 4, 4))
    return Images(lst, lst, date, np.arange(images) % 2 == 0, window, 926.6, "made.nc")


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("seed", range(3))
def test_no_image_on_both_sides_and_about_a_fifth_tests(name: str, seed: int) -> None:
    fold = SPLITS[name](made(), seed=seed)
    assert fold.train.any() and not (fold.train & fold.valid).any()
    assert fold.valid.mean() == pytest.approx(0.2, abs=0.06)  # half of the largest block of places


@pytest.mark.parametrize("name", SPLITS)
def test_the_seed_decides(name: str) -> None:
    images = made()
    folds = [SPLITS[name](images, seed=seed) for seed in (4, 4, 5)]
    np.testing.assert_array_equal(folds[0].valid, folds[1].valid)
    assert (folds[0].valid != folds[2].valid).any()


def test_a_random_split_leaks_places_and_dates() -> None:
    images = made()
    fold = random_split(images)
    assert (fold.train | fold.valid).all()
    assert np.isin(images.window[fold.valid], images.window[fold.train]).all()


@pytest.mark.parametrize("seed", range(5))
def test_dates_apart(seed: int) -> None:
    """Every test date is GAP_DAYS or more from every training date, and its window is known."""
    images = made(seed=seed)
    fold = date_split(images, seed=seed)
    day = images.date.astype(int)
    apart = np.abs(np.unique(day[fold.valid])[:, None] - np.unique(day[fold.train]))
    assert GAP_DAYS <= apart.min() < GAP_DAYS + 15
    assert np.isin(images.window[fold.valid], images.window[fold.train]).all()
    tested = np.unique(day[fold.valid])
    assert 1 <= np.sum(np.diff(tested) > GAP_DAYS) <= 1 or np.ptp(tested) < 365 / 2  # two runs of days


def test_a_window_that_training_never_saw_leaves_the_test_of_dates() -> None:
    images = made()
    fold = date_split(images)
    stranger = np.flatnonzero(fold.valid)[0]
    window = images.window.copy()
    window[stranger] = 0  # a corner of the tile where no other image lies
    alone = Images(images.lst, images.ndvi, images.date, images.day, window, 926.6, "made.nc")
    again = date_split(alone)
    assert not again.valid[stranger] and not again.train[stranger]
    np.testing.assert_array_equal(np.delete(again.valid, stranger), np.delete(fold.valid, stranger))


def chebyshev(images: Images, fold: Fold) -> np.ndarray:
    """Distances between windows of test and of training."""
    row, column = np.divmod(images.window, COLUMNS)
    parts = [np.unique(np.stack([row[m], column[m]], 1), axis=0) for m in (fold.valid, fold.train)]
    return np.abs(parts[0][:, None] - parts[1][None]).max(axis=2)


@pytest.mark.parametrize("collar", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_places_apart(collar: int, seed: int) -> None:
    images = made()
    assert chebyshev(images, place_split(images, collar=collar, seed=seed)).min() == collar + 1


def test_test_places_are_solid_blocks() -> None:
    """Most tested windows have a tested window beside them, and whole windows test or do not."""
    images = made()
    fold = place_split(images)
    tested = np.unique(images.window[fold.valid])
    assert not np.isin(images.window[~fold.valid], tested).any()
    row, column = np.divmod(tested, COLUMNS)
    beside = (np.abs(row[:, None] - row) + np.abs(column[:, None] - column) == 1).sum(axis=1)
    assert beside.min() >= 1 and beside.mean() > 2.5


def test_few_windows_make_smaller_blocks() -> None:
    images = made(windows=16, images=400)
    fold = place_split(images)
    assert len(np.unique(images.window[fold.valid])) < 16 / FEWEST_BLOCKS * 4
    assert chebyshev(images, fold).min() == 2


def one_place() -> Images:
    return made(windows=1, images=50)


@pytest.mark.parametrize(
    ("split", "images", "said"),
    [
        (place_split, one_place, "made.nc: place split: 0 images train and 50 test, expected some of both"),
        (date_split, lambda: made(days=90), "made.nc: date split: 88 days of images, expected at least 138"),
        (date_split, lambda: made(days=1), "made.nc: date split: 1 days of images, expected at least 122"),
    ],
)
def test_refusals(split: Callable[..., Fold], images: Callable[[], Images], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        split(images())
    assert said in str(refused.value) and "\n" not in str(refused.value)
