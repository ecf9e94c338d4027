"""Stage function of pairs: a method sharpens some pairs, from 1 km to the fine grid of NDVI."""

import functools
from dataclasses import dataclass, replace

import numpy as np

from sciml.data.readers.aster_pairs import read_pairs
from sciml.data.stores import Template, Variable
from sciml.modis.aster import Pairs, Trial, aster, aster_self, read_on_one_grid
from sciml.modis.images import UNKNOWN_WINDOW, Guidance
from sciml.modis.networks import OURS
from sciml.modis.sharpen import Models, load_models, sharpen
from sciml.modis.steps import CLASSICAL, ImageBlock

PAIRS_PER_ITEM = 8
STAND_IN = "backprojection"  # whose calibration a method takes that the networks' run did not try
PAIRS_VERSION = 4


@dataclass(frozen=True)
class SharpenPairs:
    """A method on a block of pairs of an experiment. checkpoint: run directory of the networks."""

    pairs: str
    checkpoint: str
    experiment: str
    method: str

    def __call__(self, item: ImageBlock) -> dict[str, np.ndarray]:
        pairs, trials = prepared(self.pairs)
        models = _models(self.checkpoint)
        part = slice(item.image_start, item.image_stop)
        coarse, given = trials[self.experiment].coarse[part], pairs.guidance()
        count = len(coarse)
        guidance = Guidance(given.ndvi[part], given.day[part], given.fine_pixel_m, np.full(count, UNKNOWN_WINDOW))
        if self.method == OURS:
            # MODIS knows clouds; where ASTER alone is missing its swath ends
            cloud = ~np.isfinite(pairs.modis[part])
            sharp = self.experiment == "aster_self"
            lst, sigma = sharpen(coarse, pairs.factor, guidance, models, cloud, sharp)
        else:
            lst, sigma = _as_trained(self.method, coarse, pairs.factor, guidance, models)
        return {"lst": lst.astype(np.float32), "sigma": sigma.astype(np.float32)}


def _as_trained(
    method: str, coarse: np.ndarray, factor: int, guidance: Guidance, models: Models
) -> tuple[np.ndarray, np.ndarray]:
    """Methods that do not know of scale, with the calibration of the scale they were tried at."""
    spread = models.spread.get(method, models.spread[STAND_IN]).of(guidance.day)[:, None, None]
    if method in CLASSICAL:
        lst, _ = CLASSICAL[method](coarse, factor, guidance)
        return lst, np.where(np.isfinite(lst), spread, np.nan)
    lst, sigma = models.asked(method)(coarse, factor, guidance)
    return lst, sigma * spread


@functools.lru_cache(maxsize=1)
def prepared(url: str) -> tuple[Pairs, dict[str, Trial]]:
    """The pairs on one grid and their experiments; read once in each process."""
    pairs = read_on_one_grid(read_pairs(url))
    return pairs, {trial.name: trial for trial in (aster_self(pairs), aster(pairs))}


@functools.lru_cache(maxsize=1)
def _models(url: str) -> Models:
    return load_models(url)


def pair_blocks(pairs: int) -> list[ImageBlock]:
    """Items over all pairs."""
    return [ImageBlock(start, min(start + PAIRS_PER_ITEM, pairs)) for start in range(0, pairs, PAIRS_PER_ITEM)]


def pair_template(shape: tuple[int, int, int]) -> Template:
    """Store of a method's answers: (image, Y, X) [K]."""
    sizes = dict(zip(("image", "y", "x"), shape, strict=True))
    lst = Variable(tuple(sizes), "K", "land surface temperature", valid_range=(100.0, 500.0), may_be_missing=True)
    sigma = replace(lst, long_name="standard deviation", valid_range=(0.0, 1e4))
    return Template(sizes, {"lst": lst, "sigma": sigma}, {"image": PAIRS_PER_ITEM})
