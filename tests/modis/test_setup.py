"""Experiments: nothing that tests is trained on or calibrates, and test patches keep to themselves."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import ConfigError
from sciml.generated import scenes
from sciml.modis import degradation
from sciml.modis.images import Images
from sciml.modis.setup import TEST_PATCHES, PatchSource, Prepared, Setup, joined
from sciml.modis.splits import COLUMNS


def made(windows: int, dates: int) -> Images:
    """Noise of days and nights of a square of windows on dates over a year."""
    rng = np.random.default_rng(windows)
    side = round(np.sqrt(windows))
    known = [COLUMNS * (5 + k // side) + 5 + k % side for k in range(windows)]
    date = np.datetime64("2020-01-10") + (np.arange(dates) * 346 // dates).astype("timedelta64[D]")
    window, day = np.tile(np.repeat(known, 2), dates), np.tile([True, False], windows * dates)
    lst = 290 + rng.normal(0, 2, (len(window), 64, 64))
    ndvi = np.repeat(rng.uniform(0, 1, (windows * dates, 64, 64)), 2, axis=0)
    return Images(lst, ndvi, np.repeat(date, 2 * windows), day, window, 926.6, "noise")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchSource, PatchSource]:
    """Generated patches, and others of the same layout without NDVI."""
    folder = tmp_path_factory.mktemp("patches")
    for name, windows, dates in (("train", 36, 12), ("test", 4, 1)):
        scenes.write_patches(made(windows, dates), folder / f"{name}.nc", folder / f"{name}-ndvi.nc")
    return (
        PatchSource(str(folder / "train.nc"), str(folder / "train-ndvi.nc")),
        PatchSource(str(folder / "test.nc")),
    )


def setup(experiment: str, sources: tuple[PatchSource, PatchSource], **more: object) -> Setup:
    test = sources[1] if experiment == TEST_PATCHES else PatchSource("")
    return replace(Setup(experiment, sources[0], test, 4, "box_t4", 0), **more)  # type: ignore[arg-type]


def rows(images: Images) -> set[tuple[object, ...]]:
    return set(zip(images.window.tolist(), images.date.tolist(), images.day.tolist(), strict=True))


def parts(prepared: Prepared) -> tuple[Images, Images, Images]:
    return prepared.train, prepared.estimated.select(np.arange(prepared.calibrating)), prepared.test


@pytest.mark.parametrize("experiment", ["random_split", "date_split", "place_split"])
def test_three_parts_that_share_no_image(experiment: str, sources: tuple[PatchSource, PatchSource]) -> None:
    prepared = setup(experiment, sources).prepare()
    train, calibrate, test = parts(prepared)
    assert min(map(len, (train, calibrate, test))) > 0
    assert len(rows(train) | rows(calibrate) | rows(test)) == len(train) + len(calibrate) + len(test)
    if experiment == "place_split":
        assert not np.isin(test.window, train.window).any() and not np.isin(calibrate.window, train.window).any()
    if experiment == "date_split":
        days = [x.date.astype(int) for x in (test, train, calibrate)]
        assert min(np.abs(days[0][:, None] - other).min() for other in days[1:]) >= 30


def test_test_patches_test_alone(sources: tuple[PatchSource, PatchSource]) -> None:
    """All of them test, none trains, not even where it is among the others too; without NDVI there is none."""
    prepared = setup(TEST_PATCHES, sources).prepare()
    train, calibrate, test = parts(prepared)
    everything, apart = sources[0].read(), sources[1].read()
    both = rows(everything) & rows(apart)
    assert both and f"{len(both)} images are in" in prepared.notes[-1]
    assert len(train) + len(calibrate) == len(everything) - len(both) and len(test) == len(apart)
    assert not rows(train) & rows(test) and not rows(calibrate) & rows(test)
    np.testing.assert_array_equal(test.lst, apart.lst)
    assert np.isnan(test.ndvi).all() and not np.isnan(train.ndvi).all()


def test_equal_setups_are_prepared_once(sources: tuple[PatchSource, PatchSource]) -> None:
    one = setup("place_split", sources)
    assert one.prepare() is replace(one).prepare()
    assert one.prepare() is not replace(one, seed=1).prepare()


def test_a_share_of_the_training_images_changes_no_other_part(sources: tuple[PatchSource, PatchSource]) -> None:
    whole, half = (setup("place_split", sources, share=share).prepare() for share in (1.0, 0.5))
    assert len(half.train) == pytest.approx(len(whole.train) / 2, abs=1) and rows(half.train) < rows(whole.train)
    np.testing.assert_array_equal(half.estimated.lst, whole.estimated.lst)


@pytest.mark.parametrize("name", ["box_t4", "mtf"])
def test_degradation_by_name(name: str, sources: tuple[PatchSource, PatchSource]) -> None:
    lst = sources[1].read().lst
    np.testing.assert_array_equal(
        setup("place_split", sources, degradation=name).coarse(lst), getattr(degradation, name)(lst, 4)
    )


def test_refusals(sources: tuple[PatchSource, PatchSource]) -> None:
    with pytest.raises(ConfigError, match=r"--factor 3: the patches of .* have 64 x 64 pixels"):
        setup("place_split", sources, factor=3).prepare()
    images = sources[0].read()
    cut = replace(images, lst=images.lst[:, :32, :32], source="small.nc")
    with pytest.raises(ConfigError, match=r"small.nc: patches of \(32, 32\) pixels"):
        joined(images, cut)


def _rewritten(patches: str, folder: Path, name: str, **changed: Callable[[np.ndarray], np.ndarray]) -> PatchSource:
    """A copy of a file of patches with other numbers or corners, without NDVI."""
    with xr.open_dataset(patches, mask_and_scale=False) as found:
        copy = found.load().assign({key: ("patch", value(found[key].values)) for key, value in changed.items()})
    copy.to_netcdf(folder / f"{name}.nc")
    return PatchSource(str(folder / f"{name}.nc"))


def test_a_place_is_known_by_its_corner_whatever_its_number(
    tmp_path: Path, sources: tuple[PatchSource, PatchSource]
) -> None:
    """Test patches with numbers of their own: the same images are kept out of training as with training's numbers."""
    renumbered = _rewritten(sources[1].patches, tmp_path, "renumbered", window=lambda w: 1000 + w)
    alike, other = (setup(TEST_PATCHES, (sources[0], test)).prepare() for test in (sources[1], renumbered))
    np.testing.assert_array_equal(other.estimated.window, alike.estimated.window)
    assert rows(other.train) == rows(alike.train)
    assert any("4 windows have other numbers" in note for note in other.notes)
    assert not any("other numbers" in note for note in alike.notes)


def test_a_number_that_training_gives_to_another_place_is_not_that_place(
    tmp_path: Path, sources: tuple[PatchSource, PatchSource]
) -> None:
    """Windows of another tile: none is taken for one that training has seen, and every image trains."""
    tile_m = 18 * 64 * 926.6
    elsewhere = _rewritten(sources[1].patches, tmp_path, "elsewhere", ulx=lambda x: x + tile_m)
    prepared = setup(TEST_PATCHES, (sources[0], elsewhere)).prepare()
    train, calibrate, test = parts(prepared)
    assert not np.isin(test.window, sources[0].read().window).any() and len(np.unique(test.window)) == 4
    assert test.window.min() >= COLUMNS**2
    assert len(train) + len(calibrate) == len(sources[0].read())
