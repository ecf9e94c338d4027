"""What super-resolution costs: pixels a second beside the paper's U-Net, and the share of a step that its input takes.

    python bench/superres.py [--images 64] [--steps 10]

Both networks answer for the same 64 x 64 images on one thread; ours is asked as the job asks it, from arrays in kelvin
to arrays in kelvin, the U-Net in plain PyTorch on tensors that lie ready. What counts is CPU time, of rounds that
alternate the fastest one, so other processes on the machine weigh little. Parameters are untrained: time does not know.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sciml.modis.config import NETWORK_SETTINGS
from sciml.modis.degradation import box_t4
from sciml.modis.images import Images
from sciml.modis.interpolation import bilinear
from sciml.modis.mrunet import MRUNet
from sciml.modis.networks import OURS, Asked, new_network
from sciml.modis.samples import samples_of
from sciml.modis.sciml_net import error_and_spread
from sciml.nn.training import Samples, fit, single_thread

FACTOR, SIZE = 4, 64
FASTEST, INPUT_SHARE = 5.0, 0.05  # what is to be reached
ROUNDS = 5


def made(count: int) -> Images:
    """Images with guidance; one in ten has a hole."""
    rng = np.random.default_rng(0)
    shape = (count, SIZE, SIZE)
    lst = 290 + rng.normal(0, 2, shape)
    lst[::10, 8:20, 8:20] = np.nan
    date = np.full(count, np.datetime64("2020-07-01"))
    day, window = np.arange(count) % 2 == 0, np.arange(count)
    ndvi, bands = rng.uniform(0, 1, shape), rng.uniform(0, 0.5, (count, 2, SIZE, SIZE))
    return Images(lst, ndvi, date, day, window, 926.6, "made", bands)


def ratios(slow: Callable[[], object], fast: Callable[[], object]) -> float:
    """Time of `slow` over time of `fast`."""
    slow(), fast()
    rounds = [(seconds(slow), seconds(fast)) for _ in range(ROUNDS)]
    return float(np.divide(*np.min(rounds, axis=0)))


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def inference(count: int) -> dict[tuple[int, int], float]:
    """(members, turns) -> pixels a second of ours over those of the U-Net."""
    images = made(count)
    coarse, guidance = box_t4(images.lst, FACTOR), images.guidance()
    settings = NETWORK_SETTINGS["small"][OURS]
    states = [{"model": new_network(OURS, settings, FACTOR).state_dict()} for _ in range(2)]
    unet = MRUNet(64).eval()
    ready = torch.from_numpy(np.nan_to_num(bilinear(coarse, FACTOR)[0], nan=290.0).astype(np.float32)) / 330

    def theirs() -> None:
        with torch.no_grad(), single_thread():
            for part in ready.split(16):
                unet(part)

    found = {}
    for members, turns in ((1, 1), (2, 1), (1, 8), (2, 4), (2, 8)):
        asked = Asked(OURS, settings, states[:members], FACTOR, turns)
        found[members, turns] = ratios(theirs, lambda asked=asked: asked(coarse, FACTOR, guidance))  # type: ignore[misc]
    return found


@dataclass(frozen=True, eq=False)
class Ready:
    """The first batch of other samples over and over: a step without its input."""

    source: Samples
    first: tuple[tuple[Tensor, ...], Tensor, Tensor]

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        return self.first


@dataclass(eq=False)
class Timed:
    """Samples that note what their batches cost."""

    source: Samples
    spent: float = 0.0

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        began = time.process_time()
        found = self.source.batch(index)
        self.spent += time.process_time() - began
        return found


def training(steps: int) -> dict[str, float]:
    """Shares of a step's time that making its batch takes."""
    images = made(4 * NETWORK_SETTINGS["small"][OURS].batch_size)
    settings = replace(NETWORK_SETTINGS["small"][OURS], epochs=max(1, steps // 4))
    real = samples_of(images, FACTOR)
    with single_thread():
        first = real.batch(torch.arange(settings.batch_size))
    timed = Timed(real)

    def fitted(data: Samples) -> float:
        model = new_network(OURS, settings, FACTOR)
        return seconds(lambda: fit(model, data, settings.fitting(), seed=0, loss=error_and_spread))

    fitted(Ready(real, first))
    rounds = []
    for _ in range(ROUNDS):
        before = timed.spent
        synthetic, actual = fitted(Ready(real, first)), fitted(timed)
        rounds.append((synthetic, actual, timed.spent - before))
    synthetic, actual, spent = np.min(rounds, axis=0)
    return {"inside the step": float(spent / actual), "real less synthetic": float(1 - synthetic / actual)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args(argv)
    for (members, turns), ratio in inference(options.images).items():
        verdict = "reaches" if ratio >= FASTEST else "BELOW"
        print(
            f"inference, {members} member(s) in {turns} position(s): {ratio:.1f} x the U-Net's pixels a second,"
            f" {verdict} the {FASTEST:g} asked",
            flush=True,
        )
    for name, share in training(options.steps).items():
        verdict = "within" if share <= INPUT_SHARE else "ABOVE"
        print(f"training input, {name}: {share:.1%} of a step, {verdict} the {INPUT_SHARE:.0%} allowed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
