"""Stage functions of the super-resolution job: fit a network; super-resolve the images of an experiment."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sciml.core.seeds import seed_for
from sciml.data.stores import Template, Variable, spans
from sciml.modis import place_memory
from sciml.modis.atprk import atprk
from sciml.modis.degradation import box_t4
from sciml.modis.images import UNKNOWN_WINDOW, Guidance, Images, Method
from sciml.modis.interpolation import backprojection, bicubic, bilinear
from sciml.modis.networks import NETWORKS, WITH_MEMORY, Asked, Settings, train_network
from sciml.modis.place_memory import BLOCK_DAYS, PlaceMemory, PlaceRegression
from sciml.modis.setup import Setup
from sciml.modis.tsharp import tsharp
from sciml.nn.checkpoint import load_checkpoint

CLASSICAL: Mapping[str, Method] = {
    "bilinear": bilinear,
    "bicubic": bicubic,
    "backprojection": backprojection,
    "tsharp": tsharp,
    "atprk": atprk,
}
PLACE_MEMORY: Mapping[str, type[PlaceMemory] | type[PlaceRegression]] = {
    "place_memory": PlaceMemory,
    "place_regression": PlaceRegression,
}
METHODS = (*CLASSICAL, *PLACE_MEMORY, *NETWORKS)
REMEMBERING = (*PLACE_MEMORY, WITH_MEMORY)  # methods that know the place of an image
ANSWERS_VERSION = 1  # of the stage function: raise it where the same images give other answers
TURNS = 8  # positions in which a network of ours is shown each image
IMAGES_PER_ITEM = 64


@dataclass(frozen=True)
class ImageBlock:
    """Address of a run of images."""

    image_start: int
    image_stop: int


@dataclass(frozen=True)
class TrainNetwork:
    """What `cluster.train.Training` calls: a member of a network on an experiment's training images."""

    setup: Setup
    name: str
    settings: Settings

    def __call__(self, config: Mapping[str, Any], member: int, place: Any) -> dict[str, Any]:
        images = self.setup.prepare().train
        memory = remembered_apart(images, self.setup.factor) if self.name == WITH_MEMORY else None
        seed = seed_for(self.setup.seed, self.name, self.setup.experiment, member)
        setup = self.setup
        return train_network(
            self.name, images, self.settings, setup.factor, seed, memory, setup.degradation, **place.arguments()
        )


def remembered_apart(images: Images, factor: int) -> np.ndarray:
    """(image, Y, X) [K]: the detail that the window of each training image showed on other dates."""
    coarse = box_t4(images.lst, factor)
    ridge = PlaceRegression.fit(images, factor).ridge
    found = place_memory.regression_left_out(images, factor, ridge, block_days=BLOCK_DAYS)
    return np.asarray(found - backprojection(coarse, factor)[0], np.float32)


@dataclass(frozen=True)
class Estimate:
    """Stage function: one method on a block of an experiment's calibration and test images, and its raw spread.

    Each image is worked out from its own coarse pixels and its own guidance.
    """

    setup: Setup
    method: str
    settings: Settings | None = None
    checkpoints: tuple[str, ...] = ()

    def __call__(self, item: ImageBlock) -> dict[str, np.ndarray]:
        prepared = self.setup.prepare()
        images = prepared.estimated.select(np.arange(item.image_start, item.image_stop))
        coarse, guidance = self.setup.coarse(images.lst), images.guidance()
        if self.method not in REMEMBERING:
            guidance = replace(guidance, window=np.full(len(images), UNKNOWN_WINDOW))
        lst, sigma = self._method(guidance, coarse)
        return {"lst": lst.astype(np.float32), "sigma": sigma.astype(np.float32)}

    def _method(self, guidance: Guidance, coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        factor = self.setup.factor
        if self.method in CLASSICAL:
            fine, _ = CLASSICAL[self.method](coarse, factor, guidance)
            return fine, np.where(np.isfinite(fine), 1.0, np.nan)
        if self.method in PLACE_MEMORY:
            return _memory_of(self.setup, self.method).super_resolve(coarse, factor, guidance, sigma=1.0)
        assert self.settings is not None
        states = [load_checkpoint(url) for url in self.checkpoints]
        asked = Asked(self.method, self.settings, states, factor, TURNS, degradation=self.setup.degradation)
        if self.method != WITH_MEMORY:
            return asked(coarse, factor, guidance)
        base, _ = backprojection(coarse, factor)
        # as `remembered_apart` has it
        memory = _memory_of(self.setup, "place_regression").add(base, coarse, guidance) - base
        return asked(coarse, factor, guidance, memory=memory)


@functools.lru_cache(maxsize=2)
def _memory_of(setup: Setup, method: str) -> PlaceMemory | PlaceRegression:
    return PLACE_MEMORY[method].fit(setup.prepare().train, setup.factor)


def blocks(images: int) -> list[ImageBlock]:
    """Items over all images."""
    return [ImageBlock(*span) for span in spans(images, IMAGES_PER_ITEM)]


def template(shape: Sequence[int]) -> Template:
    """Store of a method's answers: (image, Y, X) [K]."""
    sizes = dict(zip(("image", "y", "x"), shape, strict=True))
    dims = tuple(sizes)
    variables = {
        "lst": Variable(dims, "K", "land surface temperature", valid_range=(100.0, 500.0), may_be_missing=True),
        "sigma": Variable(dims, "K", "spread, before calibration", valid_range=(0.0, 1e4), may_be_missing=True),
    }
    return Template(sizes, variables, {"image": IMAGES_PER_ITEM})
