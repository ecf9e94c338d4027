"""What an experiment is about: which images train, which calibrate the spread of every method, which test."""

import functools
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from sciml.core.digest import digest
from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.data.readers.modis_patches import read_patches
from sciml.data.splits import Fold
from sciml.modis.degradation import box_t4, mtf
from sciml.modis.images import Images
from sciml.modis.patches import images_of
from sciml.modis.splits import COLUMNS, SPLITS, place_split, random_split

TEST_PATCHES = "test_patches"
DEGRADATIONS = {"box_t4": box_t4, "mtf": mtf}
CALIBRATION_SHARE = 0.08  # of the training images


@dataclass(frozen=True)
class PatchSource:
    """Files of patches; equal sources are read once in each process."""

    patches: str
    ndvi: str = ""

    def read(self) -> Images:
        return _read(self)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the windows, and the upper-left corner of each: (window,), (window, 2) [m]."""
        patches = _patches(self)
        number, first = np.unique(patches["window"].values.astype(np.int64), return_index=True)
        return number, np.stack([patches["ulx"].values, patches["uly"].values], axis=1)[first]


@dataclass(frozen=True)
class Setup:
    """An experiment: a split of the patches, or test patches of their own. Equal setups are prepared once a process.

    degradation: name in DEGRADATIONS of how a coarse pixel comes from factor x factor fine ones. share: of the training
    images that are used, for learning curves.
    """

    experiment: str
    source: PatchSource
    test: PatchSource
    factor: int
    degradation: str
    seed: int
    share: float = 1.0

    @property
    def name(self) -> str:
        """Of the experiment in names of stages."""
        return self.experiment if self.share == 1.0 else f"{self.experiment}_{round(1000 * self.share):03d}"

    def prepare(self) -> "Prepared":
        return _prepare(self)

    def coarse(self, lst: np.ndarray) -> np.ndarray:
        """What the coarse sensor sees: (image, Y, X) -> (image, y, x) [K]."""
        return DEGRADATIONS[self.degradation](lst, self.factor)


@dataclass(frozen=True, eq=False)
class Prepared:
    """train: what everything is fitted on. estimated: images that every method super-resolves, first `calibrating`
    ones that training left out and that calibrate the spreads, then those that test. notes: what should be said."""

    train: Images
    estimated: Images
    calibrating: int
    notes: tuple[str, ...] = ()

    @property
    def test(self) -> Images:
        return self.estimated.select(np.arange(self.calibrating, len(self.estimated)))


@functools.lru_cache(maxsize=4)
def _patches(source: PatchSource) -> xr.Dataset:
    return read_patches(source.patches, source.ndvi)


@functools.lru_cache(maxsize=4)
def _read(source: PatchSource) -> Images:
    return images_of(_patches(source))


@functools.lru_cache(maxsize=4)
def _prepare(setup: Setup) -> Prepared:
    images = setup.source.read()
    size = images.lst.shape[1:]
    if size[0] % setup.factor or size[1] % setup.factor:
        raise ConfigError(
            f"--factor {setup.factor}: the patches of {images.source} have {size[0]} x {size[1]} pixels, expected a"
            " factor that divides both"
        )
    if setup.experiment == TEST_PATCHES:
        test, said = numbered_alike(setup.source, setup.test)
        train, more = _without(images, test)
        said += more
    else:
        fold = SPLITS[setup.experiment](images, seed=setup.seed)
        train, test, said = images.select(fold.train), images.select(fold.valid), ()
    calibrate = _calibration(setup, train, test)
    fitted = train.select(calibrate.train)
    if setup.share < 1.0:
        fitted = fitted.select(random_split(fitted, share=setup.share, seed=setup.seed + 2).valid)
    notes = tuple(dict.fromkeys((*images.notes, *test.notes, *said)))
    return Prepared(fitted, joined(train.select(calibrate.valid), test), int(calibrate.valid.sum()), notes)


def addresses(images: Images) -> list[tuple[int, int, bool]]:
    """Window, date and overpass of each image, which no other of its file shares."""
    date = images.date.astype("datetime64[D]").astype(int)
    return list(zip(images.window.tolist(), date.tolist(), images.day.tolist(), strict=True))


def listed(images: Images) -> str:
    """Digest of which images of a file these are, and in which order."""
    return digest(addresses(images))


def numbered_alike(source: PatchSource, test: PatchSource) -> tuple[Images, tuple[str, ...]]:
    """Test images whose windows have the numbers that training has for the same places, and a word on new numbers.

    A place is known by its corner. One that training does not have keeps its number, unless training calls another
    place so: then it gets a number beyond those of a tile.
    """
    images = test.read()
    (known, at), (number, corner) = source.places(), test.places()
    near = (np.abs(corner[:, None] - at) < images.fine_pixel_m / 2).all(axis=2)
    same = near.any(axis=1)
    renamed = np.where(same, known[near.argmax(axis=1)], number)
    taken = ~same & np.isin(number, known)
    first = 1 + max(int(known.max()), int(number.max()), COLUMNS**2 - 1)
    renamed[taken] = first + np.arange(taken.sum())
    changed = np.flatnonzero(renamed != number)
    if not len(changed):
        return images, ()
    window = renamed[np.searchsorted(number, images.window)]
    return replace(images, window=window), (
        f"{images.source}: {len(changed)} windows have other numbers than their places in {source.patches}, the first"
        f" {number[changed[0]]}, here {renamed[changed[0]]}; places are told by their corners",
    )


def _without(images: Images, test: Images) -> tuple[Images, tuple[str, ...]]:
    """The images that are not among those in test, and a word on those that were."""
    known = set(addresses(test))
    both = np.array([one in known for one in addresses(images)])
    if both.all():
        raise ConfigError(
            f"--test-patches {test.source}: all images of {images.source} are among them by window, date and overpass;"
            " nothing is left to train on; give other patches"
        )
    if not both.any():
        return images, ()
    return images.select(~both), (
        f"{images.source}: {int(both.sum())} images are in {test.source} too and do not train",
    )


def _calibration(setup: Setup, train: Images, test: Images) -> Fold:
    """Windows left out of training calibrate where most windows in test are new, else whole dates: single images would
    have their place and their weather in training, and calibrated on them every spread is too small."""
    if setup.experiment == "random_split":
        return random_split(train, share=CALIBRATION_SHARE, seed=setup.seed + 1)
    if np.isin(test.window, train.window).mean() < 0.5:
        return place_split(train, share=CALIBRATION_SHARE, block=2, collar=0, seed=setup.seed + 1)
    dates = np.unique(train.date)
    draw = np.random.default_rng(seed_for(setup.seed, "calibration"))
    drawn = draw.permutation(dates)[: max(1, round(CALIBRATION_SHARE * len(dates)))]
    valid = np.isin(train.date, drawn)
    return Fold(train=~valid, valid=valid)


def joined(first: Images, second: Images) -> Images:
    """The images of two sets of one size."""
    if first.lst.shape[1:] != second.lst.shape[1:] or not np.isclose(first.fine_pixel_m, second.fine_pixel_m):
        raise ConfigError(
            f"{second.source}: patches of {second.lst.shape[1:]} pixels of {second.fine_pixel_m:.0f} m found, expected"
            f" those of {first.source}: {first.lst.shape[1:]} pixels of {first.fine_pixel_m:.0f} m"
        )
    bands = [
        np.full((len(x), 2, *x.lst.shape[1:]), np.nan, np.float32) if x.reflectance is None else x.reflectance
        for x in (first, second)
    ]
    return Images(
        np.concatenate([first.lst, second.lst]),
        np.concatenate([first.ndvi, second.ndvi]),
        np.concatenate([first.date, second.date]),
        np.concatenate([first.day, second.day]),
        np.concatenate([first.window, second.window]),
        first.fine_pixel_m,
        second.source,
        np.concatenate(bands),
    )
