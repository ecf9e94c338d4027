"""Training and use of the global LSTM on arrays of months.

A window of `history + span - 1` months gives `span` predictions, each with at least `history` months behind it: the
months of a window share their recurrence, which trains ten times faster than one sequence per record. In prediction
every month sees exactly `prediction_history` months, so a value does not depend on where a window began.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.core.errors import InputError
from sciml.nn.lstm import GlobalLSTM, GlobalLSTMConfig
from sciml.nn.training import Report, TrainingConfig, fit, single_thread

Array = NDArray[np.floating[Any]]
_BLOCK = 512  # sequences predicted at once


@dataclass(frozen=True)
class GlobalTraining:
    """network, fitting, and windows: span predictions each, one begun every `stride` months."""

    network: GlobalLSTMConfig = field(default_factory=GlobalLSTMConfig)
    fitting: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            epochs=13, batch_size=32, learning_rate=3e-3, weight_decay=1e-3, clip_norm=1.0
        )
    )
    span: int = 25
    stride: int = 8
    prediction_history: int = 36


@dataclass(frozen=True)
class WindowSamples:
    """Windows of series that lie in memory. inputs: (unit, month, feature), attributes: (unit, attribute),
    target, weight: (unit, month), weight 0 where there is no target; units, starts: (sample,).
    """

    inputs: Tensor
    attributes: Tensor
    target: Tensor
    weight: Tensor
    units: Tensor
    starts: Tensor
    length: int
    history: int

    def __len__(self) -> int:
        return len(self.units)

    def batch(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        unit = self.units[index]
        months = self.starts[index][:, None] + torch.arange(self.length)
        ready = months[:, self.history - 1 :]
        inputs = (self.inputs[unit[:, None], months], self.attributes[unit])
        return inputs, self.target[unit[:, None], ready], self.weight[unit[:, None], ready]


def window_samples(
    inputs: Array, attributes: Array, targets: Array, weights: Array, config: GlobalTraining
) -> WindowSamples:
    """Windows that hold at least one target.

    inputs: (unit, month, feature); attributes: (unit, attribute); targets: (unit, month) in units of the unit's scale,
    NaN where there is none or where a unit must not train; weights: (unit, month), positive.
    """
    known = np.isfinite(targets)
    if not known.any():
        raise InputError("global LSTM: no target to train on; check the training period")
    length, history = config.network.history + config.span - 1, config.network.history
    when = np.flatnonzero(known.any(axis=0))
    first, last = int(when[0]) - length + 1, int(when[-1]) - history + 1
    starts = np.arange(max(first, 0), min(last, inputs.shape[1] - length) + 1, config.stride)
    total = np.cumsum(np.pad(known, ((0, 0), (1, 0))), axis=1)
    held = total[:, starts + length] - total[:, starts + history - 1]
    unit, start = np.nonzero(held > 0)
    if not len(unit):
        raise InputError(f"global LSTM: no target has {length} months of predictors around it; lengthen the predictors")
    return WindowSamples(
        inputs=torch.from_numpy(np.ascontiguousarray(inputs, np.float32)),
        attributes=torch.from_numpy(np.ascontiguousarray(attributes, np.float32)),
        target=torch.from_numpy(np.where(known, targets, 0).astype(np.float32)),
        weight=torch.from_numpy(np.where(known, weights, 0).astype(np.float32)),
        units=torch.from_numpy(unit),
        starts=torch.from_numpy(starts[start]),
        length=length,
        history=history,
    )


def huber(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of Huber's loss, quadratic up to 1.5 of the unit's scale: a few basins lose or gain ice."""
    loss = torch.nn.functional.huber_loss(prediction, target, reduction="none", delta=1.5)
    return (weight * loss).sum() / weight.sum().clamp(min=1.0)


def train_member(
    inputs: Array,
    attributes: Array,
    targets: Array,
    weights: Array,
    config: GlobalTraining,
    seed: int,
    report: Report | None = None,
    resume: dict[str, Any] | None = None,
) -> dict[str, Tensor]:
    """Train one member and return its parameters. Arguments as in `window_samples`; report, resume as in `fit`."""
    samples = window_samples(inputs, attributes, targets, weights, config)
    model = new_model(inputs.shape[-1], attributes.shape[-1], config, seed)
    state = fit(model, samples, config.fitting, seed=seed, loss=huber, report=report, resume=resume)
    return {name: value.detach().clone() for name, value in state["model"].items()}


def new_model(features: int, attributes: int, config: GlobalTraining, seed: int) -> GlobalLSTM:
    """The network with its starting parameters, which depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GlobalLSTM(features, attributes, config.network)


def predict(
    state: Mapping[str, Tensor],
    inputs: Array,
    attributes: Array,
    positions: NDArray[np.int64],
    config: GlobalTraining,
    now: Array | None = None,
) -> NDArray[np.float32]:
    """Predictions (unit, record) in units of the unit's scale, from the months that end at each record's month.

    inputs: (unit, month, feature); positions: (record,) index of each record's month; now: (unit, record, feature)
    replaces the last month by the record's own window. A record whose history does not reach gets NaN.
    """
    model = GlobalLSTM(inputs.shape[-1], attributes.shape[-1], config.network)
    model.load_state_dict(dict(state))
    model.eval()
    history = config.prediction_history
    out = np.full((len(inputs), len(positions)), np.nan, np.float32)
    inside = (positions >= history - 1) & (positions < inputs.shape[1])
    if not inside.any():
        return out
    months = positions[inside][:, None] + np.arange(1 - history, 1)
    with torch.no_grad(), single_thread():
        for unit in range(len(inputs)):
            sequence = np.array(inputs[unit][months], np.float32)
            if now is not None:
                sequence[:, -1] = now[unit, inside]
            static = torch.from_numpy(np.asarray(attributes[unit : unit + 1], np.float32))
            parts = torch.from_numpy(sequence).split(_BLOCK)
            out[unit, inside] = torch.cat([model(x, static.expand(len(x), -1))[:, -1] for x in parts]).numpy()
    return out
