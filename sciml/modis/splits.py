"""Which images train and which test: at random, by whole dates, by solid blocks of places.

Windows repeat on many dates, so a random split lets a network remember the place of almost every test image. Dates set
apart test new weather over known places; blocks of windows with a collar test places that were never seen.
"""

import numpy as np

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.data.splits import Fold
from sciml.modis.images import Images

TEST_SHARE = 0.2
GAP_DAYS = 30
BLOCK = 4  # windows along a side of a block, at most
FEWEST_BLOCKS = 8
COLLAR = 1  # windows around a test block that do not train
COLUMNS = 18  # windows in a row of a MODIS tile


def random_split(images: Images, *, share: float = TEST_SHARE, seed: int = 0) -> Fold:
    """Images at random: exposes leakage, and sets no bar."""
    order = np.random.default_rng(seed_for(seed, "random_split")).permutation(len(images))
    valid = np.zeros(len(images), bool)
    valid[order[: max(1, round(share * len(images)))]] = True
    return _both(images, Fold(train=~valid, valid=valid), "random split")


def date_split(
    images: Images, *, share: float = TEST_SHARE, gap_days: int = GAP_DAYS, periods: int = 2, seed: int = 0
) -> Fold:
    """Whole dates at least `gap_days` from any in training; windows that training never saw are left out of the test.

    The dates in test are `periods` runs of days, one in each equal part of the time that the images span, placed by
    the seed.
    """
    day = images.date.astype("datetime64[D]").astype(int)
    first, span = int(day.min()), int(np.ptp(day)) + 1
    part, length = span / periods, max(1, round(share * span / periods))
    if part < length + 2 * gap_days:
        raise ConfigError(
            f"{images.source}: date split: {span} days of images, expected at least"
            f" {round(periods * (length + 2 * gap_days))} to set {periods} periods {gap_days} days apart from training;"
            " take another experiment"
        )
    draw = np.random.default_rng(seed_for(seed, "date_split"))
    valid, near = np.zeros(len(images), bool), np.zeros(len(images), bool)
    for number in range(periods):
        start = first + round(number * part) + int(draw.integers(0, int(part) - length + 1))
        valid |= (day >= start) & (day < start + length)
        near |= (day >= start - gap_days) & (day < start + length + gap_days)
    train = ~near
    valid &= np.isin(images.window, np.unique(images.window[train]))
    return _both(images, Fold(train=train, valid=valid), "date split")


def place_split(
    images: Images,
    *,
    share: float = TEST_SHARE,
    block: int = BLOCK,
    collar: int = COLLAR,
    columns: int = COLUMNS,
    seed: int = 0,
) -> Fold:
    """Solid blocks of windows; windows within `collar` of one in test do not train.

    Blocks of at most `block` x `block` windows, smaller where there would be too few of them, are drawn, and those kept
    that bring the test nearer to `share` of the images.
    """
    row, column = np.divmod(images.window, columns)
    label = _blocks(row, column, columns, block)
    order = np.random.default_rng(seed_for(seed, "place_split")).permutation(np.unique(label))
    valid = np.zeros(len(images), bool)
    for one in order:
        if not valid.any() or abs((valid | (label == one)).mean() - share) < abs(valid.mean() - share):
            valid |= label == one
    tested = np.unique(images.window[valid])
    at_row, at_column = np.divmod(tested, columns)
    near = (np.abs(row[:, None] - at_row) <= collar) & (np.abs(column[:, None] - at_column) <= collar)
    return _both(images, Fold(train=~near.any(axis=1), valid=valid), "place split")


def _blocks(row: np.ndarray, column: np.ndarray, columns: int, largest: int) -> np.ndarray:
    """Number of the block of each image: the largest blocks of which there are FEWEST_BLOCKS or more."""
    for size in range(largest, 0, -1):
        label = (row // size) * columns + column // size
        if len(np.unique(label)) >= FEWEST_BLOCKS:
            break
    return label


def _both(images: Images, fold: Fold, name: str) -> Fold:
    if not (fold.train.any() and fold.valid.any()):
        raise ConfigError(
            f"{images.source}: {name}: {int(fold.train.sum())} images train and {int(fold.valid.sum())} test, expected"
            " some of both; give more windows or dates"
        )
    return fold


SPLITS = {"random_split": random_split, "date_split": date_split, "place_split": place_split}
