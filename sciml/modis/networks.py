"""The networks of super-resolution: how each is made, what it is trained on, and how it is asked.

Ours is guided and works on the coarse grid; the paper's and its rivals correct an interpolated image, less the mean and
over the deviation of the training images. (The paper divides by the largest temperature; then what a network should see
is a few hundredths beside one, and those without batch normalisation hardly learn.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciml.modis.degradation import consistent, replicate
from sciml.modis.dmcn import DMCN
from sciml.modis.images import Guidance, Images
from sciml.modis.interpolation import bilinear, fill
from sciml.modis.mrunet import MRUNet
from sciml.modis.samples import guides_of, samples_of, turned, turned_back
from sciml.modis.sciml_net import SciMLNet, SciMLNetConfig, error_and_spread
from sciml.modis.setup import DEGRADATIONS
from sciml.modis.vdsr import VDSR
from sciml.nn.losses import weighted_mse
from sciml.nn.training import Loss, Samples, Schedule, TensorSamples, TrainingConfig, fit, seeded, single_thread

OURS = "sciml"
WITH_MEMORY = "sciml_place"
BOX = "box_t4"
NETWORKS = ("vdsr", "dmcn", "mrunet", OURS, WITH_MEMORY)
NETS_VERSION = 5  # raise it when training makes other networks: old ones are not reused
BATCH = 32  # images at a time when a network is asked


@dataclass(frozen=True)
class Settings:
    """What may be chosen of a network and its fitting.

    width: channels (at full resolution). blocks: residual blocks of ours, convolutions of VDSR and of a memory block of
    DMCN. members: networks whose mean is taken. most_shown: images in all epochs together, at most, 0 for no limit.
    """

    width: int = 64
    blocks: int = 6
    members: int = 1
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 2e-3
    schedule: Schedule = "one_cycle"
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    most_shown: int = 0

    def of(self, images: int) -> "Settings":
        """The settings for so many training images: fewer epochs where more than `most_shown` would be shown."""
        most = max(1, round(self.most_shown / images)) if self.most_shown else self.epochs
        return replace(self, epochs=min(self.epochs, most))

    def fitting(self, workers: int = 1) -> TrainingConfig:
        """workers: how many share each batch."""
        batch = max(1, self.batch_size // workers)
        return TrainingConfig(self.epochs, batch, self.learning_rate, self.schedule, self.weight_decay, self.clip_norm)


def new_network(name: str, settings: Settings, factor: int, degradation: str = BOX) -> nn.Module:
    """A network with the parameters that the surrounding random state gives it. degradation: name in DEGRADATIONS."""

    def ours(memory: bool) -> SciMLNet:
        size = SciMLNetConfig(factor, settings.width, settings.blocks, memory, exact=degradation == BOX)
        return SciMLNet(size)

    make: Mapping[str, Callable[[], nn.Module]] = {
        OURS: lambda: ours(memory=False),
        WITH_MEMORY: lambda: ours(memory=True),
        "vdsr": lambda: VDSR(settings.width, settings.blocks),
        "dmcn": lambda: DMCN(settings.width, settings.blocks),
        "mrunet": lambda: MRUNet(settings.width),
    }
    return make[name]()


def train_network(
    name: str,
    images: Images,
    settings: Settings,
    factor: int,
    seed: int,
    memory: np.ndarray | None = None,
    degradation: str = BOX,
    **engine: Any,
) -> dict[str, Any]:
    """State of a network fitted to images; engine: keyword arguments of `sciml.nn.training.fit`.

    memory: (image, Y, X) [K] what a place memory without each image's own date says, for WITH_MEMORY.
    """
    with seeded(seed):
        model = new_network(name, settings, factor, degradation)
    data: Samples
    loss: Loss
    if isinstance(model, SciMLNet):
        data, loss, scaling = samples_of(images, factor, memory, degradation=degradation), error_and_spread, {}
    else:
        data, (mean, deviation) = _interpolated(images, factor, degradation)
        loss, scaling = weighted_mse, {"mean": torch.tensor(mean), "deviation": torch.tensor(deviation)}
    fitting = settings.of(len(images)).fitting(engine.get("world_size", 1))
    return fit(model, data, fitting, seed=seed, loss=loss, scaling=scaling, **engine)


@dataclass(frozen=True, eq=False)
class Asked:
    """Trained networks of one kind as a method; `turns`: in how many of the eight positions each image is shown, dealt
    out among the networks."""

    name: str
    settings: Settings
    states: Sequence[Mapping[str, Any]]
    factor: int
    turns: int = 1
    degradation: str = BOX

    def __call__(
        self,
        lst: np.ndarray,
        factor: int,
        guidance: Guidance | None = None,
        memory: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As every method; the spread is 1 K where the network gives none. memory: (image, Y, X) [K]."""
        models = []
        for state in self.states:
            model = new_network(self.name, self.settings, self.factor, self.degradation)
            model.load_state_dict(dict(state["model"]))
            models.append(model.eval())
        fine = np.empty((len(lst), factor * lst.shape[1], factor * lst.shape[2]))
        sigma = np.ones_like(fine)
        ask = self._guided if isinstance(models[0], SciMLNet) else self._interpolated
        with torch.no_grad(), single_thread():
            for start in range(0, len(lst), BATCH):
                part = slice(start, start + BATCH)
                fine[part], sigma[part] = ask(models, lst[part], part, guidance, memory)
        missing = replicate(~np.isfinite(lst), factor)
        fine[missing] = sigma[missing] = np.nan
        return fine, sigma

    def _guided(
        self,
        models: Sequence[nn.Module],
        lst: np.ndarray,
        part: slice,
        guidance: Guidance | None,
        memory: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        shape = (len(lst), self.factor * lst.shape[1], self.factor * lst.shape[2])
        nothing = np.full(shape, np.nan)
        if guidance is None:
            day, ndvi, bands = np.zeros(len(lst)), nothing, None
        else:
            day, ndvi = guidance.day[part], guidance.ndvi[part]
            bands = None if guidance.reflectance is None else guidance.reflectance[part]
        remembered = (nothing if memory is None else memory[part]) if self.name == WITH_MEMORY else None
        guides = guides_of(ndvi, bands, remembered)
        coarse, known = _tensor(fill(lst)), _tensor(np.isfinite(lst))
        inputs = (coarse, known, _tensor(day))
        found = self._mean(models, inputs, guides)
        fine = found[:, 0].double().numpy()
        if self.degradation == BOX:  # a mean of images that keep the input in T^4 keeps it almost
            fine = consistent(fine, fill(lst), self.factor)
        return fine, found[:, 1].double().exp().numpy()

    def _mean(self, models: Sequence[nn.Module], inputs: tuple[Tensor, ...], guides: Tensor) -> Tensor:
        """Of members and positions: temperatures and logarithms of spread, (image, 2, Y, X)."""
        coarse, known, day = inputs
        turns = self.turns if self.degradation == BOX else min(self.turns, 4)  # a scan is never upright
        # each member is shown its share of the positions: all of them to all gain nothing for as many times the cost
        found = [
            turned_back(model(turned(coarse, way), turned(known, way), day, turned(guides, way)), way)
            for number, model in enumerate(models)
            for way in (range(number, turns, len(models)) if turns >= len(models) else range(turns))
        ]
        return torch.stack(found).mean(0)

    def _interpolated(
        self,
        models: Sequence[nn.Module],
        lst: np.ndarray,
        part: slice,
        guidance: Guidance | None,
        memory: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        image = _tensor(bilinear(fill(lst), self.factor)[0])
        found = []
        for model, state in zip(models, self.states, strict=True):
            mean, deviation = (float(state["scaling"][name]) for name in ("mean", "deviation"))
            found.append(mean + deviation * model((image - mean) / deviation))
        fine = torch.stack(found).mean(0).double().numpy()
        return fine, np.ones(fine.shape)


def _interpolated(images: Images, factor: int, degradation: str) -> tuple[TensorSamples, tuple[float, float]]:
    """Interpolated images and their truth, both less the mean and over the deviation of all, and these two."""
    mean, deviation = float(np.nanmean(images.lst)), float(np.nanstd(images.lst))
    coarse = DEGRADATIONS[degradation](images.lst, factor)
    known = np.isfinite(images.lst) & replicate(np.isfinite(coarse), factor)
    image = bilinear(fill(coarse), factor)[0]
    target = np.where(known, images.lst, image)
    scaled = [_tensor((field - mean) / deviation) for field in (image, target)]
    return TensorSamples((scaled[0],), scaled[1], _tensor(known)), (mean, deviation)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
