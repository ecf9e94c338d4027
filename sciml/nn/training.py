"""The plain training loop: one process, one thread, the same bits for the same seed.

The loop knows no engine. It reports through a callback, and what an engine must add (a wrapper for gradients that are
averaged over workers, a share of the samples) is injected. Randomness is drawn afresh in each epoch from (seed, epoch,
rank), so a run that is resumed after epoch e continues as if it had never stopped, on every rank.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.nn.checkpoint import require_same_config, require_same_tensors
from sciml.nn.losses import weighted_mse

State = dict[str, Any]
Report = Callable[[int, dict[str, float], State], None]
Loss = Callable[[Any, Tensor, Tensor], Tensor]
Batch = tuple[tuple[Tensor, ...], Tensor, Tensor]  # inputs, target, weight
Schedule = Literal["constant", "cosine", "one_cycle", "drop"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is fitted.

    epochs: passes over the samples. batch_size: samples a step on each worker, 0 for all of them (full batch).
    learning_rate: peak step of AdamW. weight_decay: decoupled, per unit of step. clip_norm: largest norm of a
    gradient, 0 for no limit. last_epochs: how many at the end take a tenth of the step. (Without weight decay AdamW
    is Adam, bit by bit.)
    """

    epochs: int = 100
    batch_size: int = 0
    learning_rate: float = 3e-3
    schedule: Schedule = "one_cycle"
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    last_epochs: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 0 or self.weight_decay < 0 or self.clip_norm < 0:
            raise ConfigError(f"{self}: epochs must be at least 1; batch size, weight decay and clip norm at least 0")
        if not 0 <= self.last_epochs <= self.epochs:
            raise ConfigError(f"last epochs {self.last_epochs}: must be between 0 and epochs={self.epochs}")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning rate {self.learning_rate}: must be positive")
        if self.schedule not in get_args(Schedule):
            raise ConfigError(f"schedule {self.schedule!r}: expected one of {', '.join(get_args(Schedule))}")

    def identity(self) -> dict[str, Any]:
        """What a checkpoint remembers of it: `last_epochs`, which older ones do not know, only where it is used."""
        return {key: value for key, value in asdict(self).items() if key != "last_epochs" or value}


class Samples(Protocol):
    """What the loop trains on: a number of samples and a way to gather some of them."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Batch:
        """index: (batch,) int64 -> (inputs of the model, target, weight), each with a leading axis (batch, ...)."""
        ...


@runtime_checkable
class Sequenced(Protocol):
    """Samples whose batches of an epoch are made one from another: cheaper than each by itself."""

    def batches(self, indices: Sequence[Tensor]) -> Iterable[Batch]:
        """What `Samples.batch` gives for each index, in this order, when each is asked for. All randomness comes from
        the loop's state at that moment, nothing is kept from one epoch to the next."""
        ...


@dataclass(frozen=True)
class TensorSamples:
    """Samples that lie in memory: inputs, target and weight share their first axis; weight 0 marks a missing target."""

    inputs: tuple[Tensor, ...]
    target: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def batch(self, index: Tensor) -> Batch:
        return tuple(x[index] for x in self.inputs), self.target[index], self.weight[index]


def fit(
    model: nn.Module,
    data: Samples,
    config: TrainingConfig,
    *,
    seed: int,
    loss: Loss = weighted_mse,
    validation: Samples | None = None,
    scaling: Mapping[str, Tensor] | None = None,
    report: Report | None = None,
    resume: State | None = None,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | str = "cpu",
) -> State:
    """Train `model` in place and return the state after the last epoch.

    loss: (model output, target, weight) -> scalar. validation: scored after each epoch (`validation_loss`).
    scaling: tensors that turn raw features into inputs; they only travel in the state.
    report: called on every rank after every epoch with (epoch counted from 1, metrics, state); the state refers to live
    tensors, so save or copy it before returning. resume: a state that an equal run reported.
    wrap: called once, on the model with its starting parameters (DistributedDataParallel for several workers). All
    ranks walk through the same shuffled order, each takes every `world_size`-th sample, and all take as many steps.
    Raises ConfigError where `resume` comes from another configuration, seed, model or scaling.
    """
    scaling = dict(scaling or {})
    model.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    identity = {**config.identity(), "seed": seed, "samples": len(data)}  # another number of workers may resume
    start = 0
    if resume is not None:
        _require_same_run(resume, identity, model, scaling)
        model.load_state_dict(resume["model"])
        optimiser.load_state_dict(deepcopy(resume["optimiser"]))  # else it would train on in the caller's tensors
        start = int(resume["epoch"])
    trained = wrap(model)
    steps = _steps_per_epoch(len(data), config, world_size)
    state: State = {}
    with single_thread():
        for epoch in range(start, config.epochs):
            with seeded(seed_for(seed, "epoch", epoch, "rank", rank)):
                order = _order(len(data), seed_for(seed, "order", epoch), steps * world_size)[rank::world_size]
                mean_loss = _epoch(trained, optimiser, data, order, epoch, steps, config, loss, device)
            metrics = {"loss": mean_loss, "learning_rate": optimiser.param_groups[0]["lr"]}
            if validation is not None:
                metrics["validation_loss"] = evaluate(model, validation, loss, device=device)
            if report is not None:
                state = _state(model, optimiser, epoch + 1, steps, identity, scaling)
                report(epoch + 1, metrics, state)
    return _state(model, optimiser, config.epochs, steps, identity, scaling)


def evaluate(
    model: nn.Module, data: Samples, loss: Loss = weighted_mse, *, batch: int = 4096, device: torch.device | str = "cpu"
) -> float:
    """Weighted mean loss over all samples, without dropout. The loss must be a weighted mean, as those here are."""
    total = weight_sum = 0.0
    model.eval()
    with torch.no_grad():
        for index in torch.arange(len(data)).split(batch):
            inputs, target, weight = _to(data.batch(index), device)
            share = float(weight.sum())
            total += share * float(loss(model(*inputs), target, weight))
            weight_sum += share
    return total / weight_sum if weight_sum > 0 else math.nan


def learning_rate_at(step: int, steps: int, config: TrainingConfig) -> float:
    """Step size of optimiser step `step` of `steps` in all (both counted over the whole run).

    cosine: half a cosine from the peak to 0. one_cycle: a linear rise from 1/10 over the first fifth, then the cosine.
    drop: the peak for the first sixth, then a hundredth of it (Nguyen et al. 2022, hal-03580148). Each times a tenth
    in the last epochs, where the configuration has such.
    """
    peak, done = config.learning_rate, step / max(steps, 1)
    if config.last_epochs and step * config.epochs >= (config.epochs - config.last_epochs) * steps:
        peak *= 0.1
    if config.schedule == "drop":
        return peak if done < 1 / 6 else peak / 100
    if config.schedule == "constant":
        return peak
    if config.schedule == "cosine":
        return peak * 0.5 * (1.0 + math.cos(math.pi * done))
    rise = 0.2
    if done < rise:
        return peak * (0.1 + 0.9 * done / rise)
    return peak * 0.5 * (1.0 + math.cos(math.pi * (done - rise) / (1.0 - rise)))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator set to `seed` inside the block and restored after it (for initialisation, dropout)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def single_thread() -> Iterator[None]:
    """One compute thread inside the block: sums in one order, and no spinning against other busy processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: Samples,
    order: Tensor,
    epoch: int,
    steps: int,
    config: TrainingConfig,
    loss: Loss,
    device: torch.device | str,
) -> float:
    model.train()
    losses = torch.zeros(steps)
    parts = order.tensor_split(steps)
    for step, batch in enumerate(data.batches(parts) if isinstance(data, Sequenced) else map(data.batch, parts)):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(epoch * steps + step, config.epochs * steps, config)
        inputs, target, weight = _to(batch, device)
        optimiser.zero_grad(set_to_none=True)
        value = loss(model(*inputs), target, weight)
        value.backward()
        if config.clip_norm > 0:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
        losses[step] = value.detach()
    return float(losses.mean())


def _steps_per_epoch(samples: int, config: TrainingConfig, world_size: int) -> int:
    return 1 if config.batch_size == 0 else max(1, math.ceil(samples / (config.batch_size * world_size)))


def _order(samples: int, seed: int, multiple: int) -> Tensor:
    """A permutation, its first few repeated at the end until every rank has a sample in every step."""
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    return order[torch.arange(math.ceil(samples / multiple) * multiple) % samples]


def _to(batch: Batch, device: torch.device | str) -> Batch:
    inputs, target, weight = batch
    return tuple(x.to(device) for x in inputs), target.to(device), weight.to(device)


def _state(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    epoch: int,
    steps: int,
    identity: Mapping[str, Any],
    scaling: Mapping[str, Tensor],
) -> State:
    return {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": {"step": epoch * steps},
        "epoch": epoch,
        "identity": dict(identity),
        "scaling": dict(scaling),
    }


def _require_same_run(
    resume: State, identity: Mapping[str, Any], model: nn.Module, scaling: Mapping[str, Tensor]
) -> None:
    require_same_tensors(resume["model"], model.state_dict(), "parameter")
    require_same_tensors(resume["scaling"], scaling, "scaling")
    stored = {
        **resume["identity"],
        **{f"scaling of {name}": tensor.tolist() for name, tensor in resume["scaling"].items()},
    }
    current = {**identity, **{f"scaling of {name}": tensor.tolist() for name, tensor in scaling.items()}}
    require_same_config(stored, current)
