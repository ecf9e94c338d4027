"""Stage functions: each image by itself, and training that knows no test image."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from cluster.train import Place
from sciml.generated import scenes
from sciml.modis import steps
from sciml.modis.degradation import box_t4, consistent
from sciml.modis.images import Images
from sciml.modis.networks import OURS, WITH_MEMORY, Settings
from sciml.modis.setup import PatchSource, Prepared, Setup
from sciml.modis.steps import (
    CLASSICAL,
    IMAGES_PER_ITEM,
    METHODS,
    REMEMBERING,
    Estimate,
    ImageBlock,
    TrainNetwork,
    blocks,
    template,
)
from sciml.nn.checkpoint import save_checkpoint

TINY = {name: Settings(8, 3, 1, 1, 16, 1e-3) for name in METHODS}


@dataclass(frozen=True)
class Fixed(Setup):
    """A setup of images that a test made: `prepared` in place of files."""

    number: int = 0

    def prepare(self) -> Prepared:
        return PREPARED[self.number]


PREPARED: dict[int, Prepared] = {}


def fixed(prepared: Prepared, degradation: str = "box_t4") -> Fixed:
    number = len(PREPARED)
    PREPARED[number] = prepared
    return Fixed("place_split", PatchSource("made"), PatchSource(""), 4, degradation, 0, number=number)


@pytest.fixture(scope="module")
def images() -> Images:
    """Generated scenes cut to 32 x 32 pixels, some with clouds."""
    whole = scenes.scenes(6, 12, seed=2)
    return replace(whole, lst=whole.lst[:, :32, :32], ndvi=whole.ndvi[:, :32, :32])


@pytest.fixture(scope="module")
def prepared(images: Images) -> Prepared:
    test = np.arange(len(images)) % 5 == 0
    return Prepared(images.select(~test), images.select(test), 4)


def train(setup: Setup, name: str, settings: Settings | None = None) -> dict[str, torch.Tensor]:
    place = Place(report=lambda *_: None)
    return dict(TrainNetwork(setup, name, settings or TINY[name])({}, 0, place)["model"])


@pytest.fixture(scope="module")
def checkpoints(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A hardly trained network of each kind."""
    folder, found = tmp_path_factory.mktemp("checkpoints"), {}
    for name in ("vdsr", "dmcn", "mrunet", OURS, WITH_MEMORY):
        found[name] = str(folder / f"{name}.pt")
        state = TrainNetwork(fixed(prepared), name, TINY[name])({}, 0, Place(report=lambda *_: None))
        save_checkpoint(found[name], {**state, "history": []})
    return found


def answers(prepared: Prepared, method: str, checkpoints: dict[str, str]) -> dict[str, np.ndarray]:
    steps._memory_of.cache_clear()
    estimate = Estimate(fixed(prepared), method, TINY[method], (checkpoints[method],) if method in checkpoints else ())
    return estimate(ImageBlock(0, len(prepared.estimated)))


@pytest.mark.parametrize("method", METHODS)
def test_each_image_by_its_own_input_alone(method: str, prepared: Prepared, checkpoints: dict[str, str]) -> None:
    """The others permuted, deleted, or of 50 K more: the same answer."""
    whole = answers(prepared, method, checkpoints)
    count = len(prepared.estimated)
    order = np.random.default_rng(0).permutation(count)
    permuted = answers(replace(prepared, estimated=prepared.estimated.select(order)), method, checkpoints)
    few = np.array([1, 5, count - 1])
    deleted = answers(replace(prepared, estimated=prepared.estimated.select(few)), method, checkpoints)
    other = prepared.estimated.lst + 50.0 * ~np.isin(np.arange(count), few)[:, None, None]
    heated = answers(replace(prepared, estimated=replace(prepared.estimated, lst=other)), method, checkpoints)
    for key in ("lst", "sigma"):
        np.testing.assert_allclose(permuted[key], whole[key][order], atol=1e-4)
        np.testing.assert_allclose(deleted[key], whole[key][few], atol=1e-4)
        np.testing.assert_allclose(heated[key][few], whole[key][few], atol=1e-4)
        assert np.isfinite(whole[key]).any(axis=(1, 2)).all()


@pytest.mark.parametrize("method", METHODS)
def test_truth_is_not_seen(method: str, prepared: Prepared, checkpoints: dict[str, str]) -> None:
    """Fine detail of which the coarse image knows nothing changes no answer."""
    truth = prepared.estimated.lst
    noisy = truth + np.random.default_rng(0).normal(0, 2, truth.shape)
    same = consistent(noisy, box_t4(truth, 4), 4)
    same[np.isnan(truth)] = np.nan
    assert np.nanstd(same - truth) > 1
    expected = answers(prepared, method, checkpoints)
    found = answers(replace(prepared, estimated=replace(prepared.estimated, lst=same)), method, checkpoints)
    np.testing.assert_allclose(found["lst"], expected["lst"], atol=1e-4)


@pytest.mark.parametrize("name", ["vdsr", OURS, WITH_MEMORY])
def test_test_images_leave_training_alone(name: str, prepared: Prepared) -> None:
    """Other test images, the same bits; another training image, others."""
    test = prepared.estimated
    wild = replace(test, lst=test.lst + 30, ndvi=1 - test.ndvi, day=~test.day, window=test.window[::-1].copy())
    once, again = train(fixed(prepared), name), train(fixed(replace(prepared, estimated=wild)), name)
    assert all(torch.equal(once[key], again[key]) for key in once)
    warmer = prepared.train.lst.copy()
    warmer[3, :8] += 5
    other = train(fixed(replace(prepared, train=replace(prepared.train, lst=warmer))), name)
    assert any(not torch.equal(once[key], other[key]) for key in once)


def test_only_methods_with_memory_know_the_place(prepared: Prepared, checkpoints: dict[str, str]) -> None:
    windows = np.full(len(prepared.estimated), 999)
    elsewhere = replace(prepared, estimated=replace(prepared.estimated, window=windows))
    for method in METHODS:
        here, there = (answers(p, method, checkpoints)["lst"] for p in (prepared, elsewhere))
        assert np.array_equal(here, there, equal_nan=True) != (method in REMEMBERING), method


def test_members_are_other_networks(prepared: Prepared) -> None:
    place = Place(report=lambda *_: None)
    first, second = (TrainNetwork(fixed(prepared), OURS, TINY[OURS])({}, member, place)["model"] for member in (0, 1))
    assert any(not torch.equal(first[key], second[key]) for key in first)


def test_what_the_scanner_sees_is_what_the_methods_get(prepared: Prepared) -> None:
    lst = [Estimate(fixed(prepared, name), "bicubic")(ImageBlock(0, 4))["lst"] for name in ("box_t4", "mtf")]
    assert 0.01 < np.nanstd(lst[0] - lst[1]) < 3
    assert np.isnan(lst[1]).sum() >= np.isnan(lst[0]).sum()


def test_remembered_detail_does_not_know_its_own_date(images: Images) -> None:
    """What an image's place showed is worked out without that image and those around its date."""
    lst = images.lst.copy()
    number = int(np.flatnonzero(np.isfinite(lst).all(axis=(1, 2)))[0])
    lst[number] = lst[number] + np.random.default_rng(0).normal(0, 3, lst[number].shape)
    before, after = (steps.remembered_apart(replace(images, lst=x), 4)[number] for x in (images.lst, lst))
    assert np.nanstd(after - before) < 1.0 < np.nanstd(lst[number] - images.lst[number])


def test_blocks_and_template_cover_all_images() -> None:
    found = blocks(2 * IMAGES_PER_ITEM + 1)
    assert [b.image_start for b in found[1:]] == [b.image_stop for b in found[:-1]]
    assert (found[0].image_start, found[-1].image_stop) == (0, 2 * IMAGES_PER_ITEM + 1)
    assert template((5, 8, 8)).sizes == {"image": 5, "y": 8, "x": 8}
    assert set(CLASSICAL) < set(METHODS)
