"""Many small LSTMs of one shape at once: their parameters are rows of one array, so they live in a store.

A network reads a short sequence x_1 .. x_L and predicts one number from the last hidden state:

    i, f, g, o = split(W_x x_t + b_x + W_h h_(t-1) + b_h);  c_t = sig(f) c_(t-1) + sig(i) tanh(g)
    h_t = sig(o) tanh(c_t);  y = w . h_L + b

the equations and the parameter order of `torch.nn.LSTM` with one layer, followed by the head's weight and bias.
Every network is trained with all its samples in each step (full batch) by Adam with decoupled weight decay, and the
loss is sum(w (y - target)^2) / sum(w). Three engines solve the same problem: `compiled` (CPU; the default), `plain`
(torch.nn.LSTM, one network after another; the reference) and `stacked` (all networks of many units in batched products;
for a GPU).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sciml.core.errors import ConfigError
from sciml.nn import lstm_kernel
from sciml.nn.losses import weighted_mse
from sciml.nn.training import TrainingConfig, learning_rate_at, single_thread

Floats = NDArray[np.float32]

_BLOCK = 512  # samples predicted at once: the working arrays stay in the cache


class SequenceLSTM(nn.Module):
    """One network of the ensemble: (sample, lag, feature) -> (sample,)."""

    def __init__(self, features: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden, _ = self.lstm(inputs)
        return self.head(hidden[:, -1]).squeeze(-1)


@dataclass(frozen=True)
class Shape:
    """Features and hidden size of a network, and where its parameters lie in a row."""

    features: int
    hidden_size: int

    @property
    def parameters(self) -> int:
        gates = 4 * self.hidden_size
        return gates * (self.features + self.hidden_size + 2) + self.hidden_size + 1

    def split(self, row: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(..., parameters) -> W_x (..., 4H, F), W_h (..., 4H, H), b_x, b_h (..., 4H), w (..., H), b (...)."""
        gates, hidden = 4 * self.hidden_size, self.hidden_size
        sizes = [gates * self.features, gates * hidden, gates, gates, hidden, 1]
        w_x, w_h, b_x, b_h, head, bias = row.split(sizes, dim=-1)
        lead = row.shape[:-1]
        return (
            w_x.reshape(*lead, gates, self.features),
            w_h.reshape(*lead, gates, hidden),
            b_x,
            b_h,
            head,
            bias.squeeze(-1),
        )


def shape_of(parameters: int, features: int) -> Shape:
    """The shape whose rows have this many parameters; ConfigError where there is none."""
    for hidden_size in range(1, 4097):
        shape = Shape(features, hidden_size)
        if shape.parameters == parameters:
            return shape
        if shape.parameters > parameters:
            break
    raise ConfigError(
        f"a network with {features} features cannot have {parameters} parameters; "
        "predict with the features that the networks were trained on"
    )


def initial_parameters(shape: Shape, seed: int) -> Floats:
    """(parameters,): uniform in +-1/sqrt(H), as torch.nn.LSTM and its head start."""
    bound = shape.hidden_size**-0.5
    return np.random.default_rng(seed).uniform(-bound, bound, shape.parameters).astype(np.float32)


def train_compiled(
    initial: Floats, inputs: Floats, target: Floats, weight: Floats, shape: Shape, config: TrainingConfig
) -> Floats:
    """Train networks one after another in compiled code.

    initial: (network, parameters); inputs: (sample, lag, feature); target: (sample,); weight: (network, sample), 0 for
    a sample that a network does not see. Returns (network, parameters).
    """
    rates = _learning_rates(config)
    series = np.ascontiguousarray(np.transpose(inputs, (1, 2, 0)), dtype=np.float32)
    rows = []
    for start, share in zip(initial, weight, strict=True):
        seen = np.flatnonzero(share > 0)
        count = _padded(len(seen))
        rows.append(
            lstm_kernel.train(
                start.astype(np.float32),
                _pad(series[..., seen], count),
                _pad(target[seen], count),
                _pad(share[seen] / share[seen].sum(dtype=np.float64), count),
                shape.hidden_size,
                rates,
                config.weight_decay,
            )
        )
    return np.stack(rows)


def predict_compiled(parameters: Floats, inputs: Floats, shape: Shape) -> Floats:
    """(network, parameters), (sample, lag, feature) -> (network, sample); a sample's value depends on no other."""
    samples = len(inputs)
    result = np.empty((len(parameters), samples), np.float32)
    for first in range(0, samples, _BLOCK):
        stop = min(first + _BLOCK, samples)
        block = _pad(np.transpose(inputs[first:stop], (1, 2, 0)), _padded(stop - first))
        for network, row in enumerate(parameters):
            values = lstm_kernel.predict(row.astype(np.float32), block, shape.hidden_size)
            result[network, first:stop] = values[: stop - first]
    return result


def train_plain(
    initial: Floats, inputs: Floats, target: Floats, weight: Floats, shape: Shape, config: TrainingConfig
) -> Floats:
    """What `train_compiled` does, with torch.nn.LSTM, autograd and torch.optim.AdamW."""
    with single_thread():
        rows = [_train_one(*row, inputs, target, shape, config) for row in zip(initial, weight, strict=True)]
    return np.stack(rows)


def predict_plain(parameters: Floats, inputs: Floats, shape: Shape) -> Floats:
    """What `predict_compiled` does, with torch.nn.LSTM."""
    model = SequenceLSTM(shape.features, shape.hidden_size)
    sequences = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))
    rows = []
    with single_thread(), torch.no_grad():
        for row in parameters:
            nn.utils.vector_to_parameters(torch.from_numpy(np.array(row, dtype=np.float32)), model.parameters())
            rows.append(model(sequences).numpy())
    return np.stack(rows)


def train_stacked(
    initial: Tensor, inputs: Tensor, target: Tensor, weight: Tensor, shape: Shape, config: TrainingConfig
) -> Tensor:
    """Train all networks of many units at once, on the device where the tensors lie.

    initial: (unit, network, parameters); inputs: (unit, sample, lag, feature); target: (unit, sample); weight: (unit,
    network, sample), 0 where there is no sample. Returns (unit, network, parameters).
    """
    parameters = initial.clone().requires_grad_()
    optimiser = torch.optim.AdamW(
        [parameters], lr=config.learning_rate, weight_decay=config.weight_decay, fused=initial.device.type == "cuda"
    )
    share = weight / weight.sum(dim=-1, keepdim=True)
    for rate in _learning_rates(config):
        optimiser.param_groups[0]["lr"] = float(rate)
        error = predict_stacked(parameters, inputs, shape) - target[:, None]
        # a sum over networks: no network's gradient knows the others
        (gradient,) = torch.autograd.grad((share * error.square()).sum(), parameters)
        parameters.grad = gradient
        optimiser.step()
    return parameters.detach()


def predict_stacked(parameters: Tensor, inputs: Tensor, shape: Shape) -> Tensor:
    """(unit, network, parameters), (unit, sample, lag, feature) -> (unit, network, sample)."""
    w_x, w_h, b_x, b_h, head, bias = shape.split(parameters)
    units, networks = parameters.shape[:2]
    into, between = w_x.transpose(-1, -2), w_h.transpose(-1, -2)
    offset = (b_x + b_h)[:, :, None]
    hidden = cell = None
    for lag in range(inputs.shape[2]):
        gates = torch.matmul(inputs[:, None, :, lag], into) + offset
        if hidden is not None:
            gates = gates + torch.matmul(hidden, between)
        i, f, g, o = gates.split(shape.hidden_size, dim=-1)
        written = torch.sigmoid(i) * torch.tanh(g)
        cell = written if cell is None else torch.sigmoid(f) * cell + written
        hidden = torch.sigmoid(o) * torch.tanh(cell)
    assert hidden is not None and hidden.shape[:2] == (units, networks)
    return torch.matmul(hidden, head[..., None]).squeeze(-1) + bias[..., None]


def _train_one(
    start: Floats, weight: Floats, inputs: Floats, target: Floats, shape: Shape, config: TrainingConfig
) -> Floats:
    seen = weight > 0
    sequences, truth, share = (torch.from_numpy(x[seen]) for x in (inputs, target, weight))
    model = SequenceLSTM(shape.features, shape.hidden_size)
    nn.utils.vector_to_parameters(torch.from_numpy(start.copy()), model.parameters())
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    for rate in _learning_rates(config):
        optimiser.param_groups[0]["lr"] = float(rate)
        optimiser.zero_grad(set_to_none=True)
        weighted_mse(model(sequences), truth, share).backward()
        optimiser.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()


def _learning_rates(config: TrainingConfig) -> NDArray[np.float64]:
    return np.array([learning_rate_at(epoch, config.epochs, config) for epoch in range(config.epochs)])


def _padded(samples: int) -> int:
    return -(-samples // lstm_kernel.LANES) * lstm_kernel.LANES


def _pad(values: NDArray[np.floating], samples: int) -> Floats:
    """Contiguous float32, the last axis filled with zeros up to `samples`."""
    result = np.zeros((*values.shape[:-1], samples), np.float32)
    result[..., : values.shape[-1]] = values
    return result
