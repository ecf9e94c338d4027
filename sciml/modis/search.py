"""What a search of our network's settings minimises, and how its result is read.

Settings are judged on places that are left out within the training images of the place split: no image that this split
tests on with the same seed is looked at. Other splits of the same file do test on some of them: `looked_at` tells.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sciml.core.seeds import seed_for
from sciml.core.urls import read_bytes
from sciml.data.splits import Fold
from sciml.modis.images import Images
from sciml.modis.networks import OURS, Asked, Settings, train_network
from sciml.modis.setup import PatchSource, Prepared, Setup, addresses
from sciml.modis.splits import place_split
from sciml.nn.search import read_result


@dataclass(frozen=True)
class Objective:
    """What `cluster.tune.Search` calls: after each epoch the mean logarithm of RMSE [ln K] on the places left out,
    which is PSNR in other units. setup: of the place split. default: settings that are not drawn."""

    setup: Setup
    default: Settings

    def __call__(self, config: Mapping[str, Any], settings: Mapping[str, Any], report: Callable[[float], None]) -> None:
        setup, chosen = self.setup, replace(self.default, members=1, **settings)
        images = setup.prepare().train
        fold = left_out(setup, images)
        apart = images.select(fold.valid)
        coarse = setup.coarse(apart.lst)

        def after(epoch: int, metrics: Mapping[str, float], state: Mapping[str, Any]) -> None:
            asked = Asked(OURS, chosen, [state], setup.factor, degradation=setup.degradation)
            report(log_rmse(asked(coarse, setup.factor, apart.guidance())[0], apart.lst))

        seed = seed_for(setup.seed, OURS, "search")
        train_network(
            OURS, images.select(fold.train), chosen, setup.factor, seed, degradation=setup.degradation, report=after,
            device=config["device"],
        )  # fmt: skip


def left_out(setup: Setup, images: Images) -> Fold:
    """Blocks of windows within training images, with their collar."""
    return place_split(images, seed=seed_for(setup.seed, "search"))


def log_rmse(fine: np.ndarray, truth: np.ndarray) -> float:
    """Mean over images of the logarithm of their RMSE over known pixels: (image, Y, X) [K] -> [ln K]."""
    square = (fine - truth) ** 2
    known = np.isfinite(square)
    count = known.sum(axis=(1, 2))
    mean = np.where(known, square, 0.0).sum(axis=(1, 2))[count > 0] / count[count > 0]
    return float(0.5 * np.log(mean).mean())


def looked_at(url: str, setup: Setup, prepared: Prepared) -> tuple[str, ...]:
    """A word on those test images of an experiment by which the search of RUN/search.json, in the same patches, chose
    its settings; () where there are none. What does not tell its seed is taken to have had that of `setup`."""
    read_result(url, OURS, asdict(Settings()))  # or it is refused
    seed = int(json.loads(read_bytes(url))[OURS].get("seed", setup.seed))
    other = replace(setup, experiment="place_split", test=PatchSource(""), seed=seed, share=1.0)
    known, test = set(addresses(other.prepare().train)), addresses(prepared.test)
    seen = sum(one in known for one in test)
    if not seen:
        return ()
    return (
        f"{setup.experiment}: {seen} of its {len(test)} test images are among those by which the search of {url} chose"
        " settings, if it searched in these patches: scores of our networks may owe something to that; place_split"
        " with the search's seed tests on none of them",
    )
