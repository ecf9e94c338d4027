"""A training small enough to see through: a line is learned, and planned faults stop it on the way."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cluster.train import Place, State, Training
from sciml.core.seeds import seed_for
from sciml.nn.training import TensorSamples, TrainingConfig, fit, seeded

EPOCHS = 6


def training(directory: object, name: str = "line", **change: Any) -> Training:
    """Two members; `directory` receives a file for each start of a member, named by the epoch it started from."""
    config = {"directory": str(directory), "epochs": EPOCHS, **change.pop("config", {})}
    values = {"digest": "0123456789abcdef", "members": 2, "checkpoint_seconds": 0.0} | change
    return Training(name, function=learn, config=config, **values)


def learn(config: Mapping[str, Any], member: int, place: Place) -> State:
    """Fit y = x0 - 2 x1. config: `die` = {member: epoch} kills this process at that epoch, the first time."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, 2, generator=generator)
    data = TensorSamples((x,), x[:, :1] - 2 * x[:, 1:], torch.ones(40, 1))
    with seeded(seed_for(0, "member", member)):
        model = torch.nn.Linear(2, 1)
    start = place.resume["epoch"] if place.resume else 0
    (Path(config["directory"]) / f"start-{member}-rank{place.rank}-epoch{start}-{time.time_ns()}").touch()

    def report(epoch: int, metrics: dict[str, float], state: State) -> None:
        place.report(epoch, metrics, state)
        time.sleep(config.get("seconds", 0.0))
        marker = Path(config["directory"]) / f"died-{member}"
        if config.get("die", {}).get(member) == epoch and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    settings = TrainingConfig(epochs=config["epochs"], batch_size=20 // place.world_size, learning_rate=0.05)
    return fit(model, data, settings, seed=member, **(place.arguments() | {"report": report}))


def starts(directory: object, member: int) -> list[int]:
    """The epochs from which rank 0 of a member began, in order."""
    files = sorted(Path(str(directory)).glob(f"start-{member}-rank0-*"), key=lambda p: int(p.name.split("-")[-1]))
    return [int(path.name.split("epoch")[1].split("-")[0]) for path in files]
