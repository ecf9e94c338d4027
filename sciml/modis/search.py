"""What a search of our network's settings minimises, and how its result is read.

Settings are judged on places that are left out within the training images of the place split: no image that the place
split or test patches test on is looked at. Random and date splits of the same file do test on some of them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.core.urls import read_bytes
from sciml.data.splits import Fold
from sciml.modis.images import Images
from sciml.modis.networks import OURS, Asked, Settings, train_network
from sciml.modis.setup import Setup
from sciml.modis.splits import place_split


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


def read_result(url: str) -> dict[str, Any]:
    """Searched settings of the best trial, from what a search left. Raises ConfigError where the file is none."""
    try:
        found = json.loads(read_bytes(url))[OURS]
        best = {name: found["best"]["settings"][name] for name in found["space"]}
        default = asdict(Settings())
        wrong = [name for name, value in best.items() if type(value) is not type(default[name])]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--search-result {url}: not the result of a search of {OURS} ({type(error).__name__}: {error}); give the"
            " search.json of a --search run"
        ) from error
    if wrong:
        raise ConfigError(
            f"--search-result {url}: {wrong[0]} {best[wrong[0]]!r} found, expected a"
            f" {type(default[wrong[0]]).__name__}; search again"
        )
    return best
