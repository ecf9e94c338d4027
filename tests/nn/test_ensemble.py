"""Three engines, one network: kernel against torch and against finite differences, stacked against one by one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.core.errors import ConfigError
from sciml.nn import lstm_kernel
from sciml.nn.ensemble import (
    SequenceLSTM,
    Shape,
    initial_parameters,
    predict_compiled,
    predict_plain,
    predict_stacked,
    shape_of,
    train_compiled,
    train_plain,
    train_stacked,
)
from sciml.nn.training import TrainingConfig

CONFIG = TrainingConfig(epochs=40, learning_rate=2e-2, weight_decay=0.3)


def problem(seed: int, samples: int = 37, features: int = 5, hidden: int = 6, lags: int = 3, networks: int = 4):
    rng = np.random.default_rng(seed)
    shape = Shape(features, hidden)
    inputs = rng.normal(size=(samples, lags, features)).astype(np.float32)
    target = (inputs[:, -1, 0] - np.tanh(inputs[:, 0, 1])).astype(np.float32)
    weight = rng.integers(0, 3, size=(networks, samples)).astype(np.float32) * (0.5 + rng.random(samples))
    initial = np.stack([initial_parameters(shape, seed + network) for network in range(networks)])
    return initial, inputs, target, weight.astype(np.float32), shape


def doubles(seed: int, samples: int, features: int, hidden: int, lags: int):
    rng = np.random.default_rng(seed)
    weight = rng.random(samples)
    return (
        rng.normal(scale=0.6, size=Shape(features, hidden).parameters),
        rng.normal(size=(lags, features, samples)),
        rng.normal(size=samples),
        weight / weight.sum(),
    )


sizes = {
    "seed": st.integers(0, 2**31),
    "samples": st.integers(1, 40),
    "features": st.integers(1, 9),
    "hidden": st.integers(1, 9),
    "lags": st.integers(1, 5),
}


@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_kernel_equals_torch_in_float64(seed: int, samples: int, features: int, hidden: int, lags: int) -> None:
    row, inputs, target, weight = doubles(seed, samples, features, hidden, lags)
    loss, gradient = lstm_kernel.loss_and_gradient(row, inputs, target, weight, hidden)
    model = SequenceLSTM(features, hidden).double()
    torch.nn.utils.vector_to_parameters(torch.from_numpy(row.copy()), model.parameters())
    output = model(torch.from_numpy(np.ascontiguousarray(inputs.transpose(2, 0, 1))))
    expected = (torch.from_numpy(weight) * (output - torch.from_numpy(target)).square()).sum()
    expected.backward()
    reference = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).numpy()
    assert np.abs(lstm_kernel.predict(row, inputs, hidden) - output.detach().numpy()).max() < 1e-10
    assert abs(loss - expected.item()) < 1e-10 * max(1.0, abs(loss))
    assert np.abs(gradient - reference).max() < 1e-10 * max(1.0, np.abs(reference).max())


@settings(max_examples=10, deadline=None)
@given(**sizes)
def test_gradient_equals_finite_differences(seed: int, samples: int, features: int, hidden: int, lags: int) -> None:
    row, inputs, target, weight = doubles(seed, samples, features, hidden, lags)
    _, gradient = lstm_kernel.loss_and_gradient(row, inputs, target, weight, hidden)
    direction = np.random.default_rng(seed + 1).normal(size=row.shape)
    step = 1e-5
    ahead, behind = (
        lstm_kernel.loss_and_gradient(row + side * step * direction, inputs, target, weight, hidden)[0]
        for side in (1, -1)
    )
    assert (ahead - behind) / (2 * step) == pytest.approx(gradient @ direction, rel=1e-5, abs=1e-7)


def test_activation_is_tanh_everywhere() -> None:
    x = np.concatenate([np.linspace(-40, 40, 4001), [0.0, -1e-300, 1e-9, 1e6, -1e6]])
    assert np.abs(np.array([lstm_kernel._tanh(v) for v in x]) - np.tanh(x)).max() < 1e-12
    assert (
        np.abs(np.array([lstm_kernel._sigmoid(v) for v in x]) - 1 / (1 + np.exp(-np.clip(x, -700, 700)))).max() < 1e-12
    )
    single = x[:-2].astype(np.float32)
    assert np.abs(np.array([lstm_kernel._tanh(v) for v in single]) - np.tanh(single)).max() < 5e-7


def test_nan_is_not_hidden() -> None:
    row, inputs, target, weight = doubles(0, 16, 3, 4, 3)
    inputs[1, 2, 5] = np.nan
    output = lstm_kernel.predict(row, inputs, 4)
    assert np.isnan(output[5]) and np.isfinite(np.delete(output, 5)).all()
    assert np.isnan(lstm_kernel.loss_and_gradient(row, inputs, target, weight, 4)[0])


@pytest.mark.parametrize("hidden", [3, 8])
def test_engines_agree_after_training(hidden: int) -> None:
    initial, inputs, target, weight, shape = problem(1, hidden=hidden)
    plain = train_plain(initial, inputs, target, weight, shape, CONFIG)
    compiled = train_compiled(initial, inputs, target, weight, shape, CONFIG)
    stacked = train_stacked(
        *(torch.from_numpy(x)[None] for x in (initial, inputs, target, weight)), shape=shape, config=CONFIG
    )[0].numpy()
    assert np.abs(plain - initial).max() > 0.1
    expected = predict_plain(plain, inputs, shape)
    assert np.abs(predict_compiled(compiled, inputs, shape) - expected).max() < 1e-5
    assert np.abs(predict_plain(stacked, inputs, shape) - expected).max() < 1e-5


def test_forward_of_all_engines_agrees_to_rounding() -> None:
    initial, inputs, _, _, shape = problem(2, samples=700)
    expected = predict_plain(initial, inputs, shape)
    assert np.abs(predict_compiled(initial, inputs, shape) - expected).max() < 1e-6
    stacked = predict_stacked(torch.from_numpy(initial)[None], torch.from_numpy(inputs)[None], shape)[0].numpy()
    assert np.abs(stacked - expected).max() < 1e-6


def test_stacked_units_do_not_know_each_other() -> None:
    parts = [problem(seed) for seed in (3, 4)]
    shape = parts[0][4]
    together = train_stacked(
        *(torch.from_numpy(np.stack([part[i] for part in parts])) for i in range(4)), shape=shape, config=CONFIG
    )
    for unit, part in enumerate(parts):
        alone = train_stacked(*(torch.from_numpy(x)[None] for x in part[:4]), shape=shape, config=CONFIG)[0]
        assert torch.allclose(together[unit], alone, atol=1e-5)


def test_weight_zero_is_absence_and_weight_two_is_repetition() -> None:
    initial, inputs, target, weight, shape = problem(5, networks=1)
    weight = np.random.default_rng(5).integers(0, 3, size=weight.shape).astype(np.float32)
    repeated = np.repeat(np.arange(len(target)), weight[0].astype(int))
    once = train_compiled(initial, inputs, target, weight, shape, CONFIG)
    ones = np.ones((1, len(repeated)), np.float32)
    drawn = train_compiled(initial, inputs[repeated], target[repeated], ones, shape, CONFIG)
    assert np.abs(predict_compiled(once, inputs, shape) - predict_compiled(drawn, inputs, shape)).max() < 1e-4


def test_a_prediction_depends_on_no_other_sample() -> None:
    initial, inputs, _, _, shape = problem(6, samples=1100)
    whole = predict_compiled(initial, inputs, shape)
    order = np.random.default_rng(6).permutation(1100)
    assert np.array_equal(predict_compiled(initial, inputs[order], shape), whole[:, order])
    assert np.array_equal(predict_compiled(initial, inputs[601:640], shape), whole[:, 601:640])


def test_networks_do_not_depend_on_their_neighbours() -> None:
    initial, inputs, target, weight, shape = problem(7)
    whole = train_compiled(initial, inputs, target, weight, shape, CONFIG)
    for network in range(len(initial)):
        one = slice(network, network + 1)
        assert np.array_equal(
            train_compiled(initial[one], inputs, target, weight[one], shape, CONFIG)[0], whole[network]
        )


def test_start_is_that_of_torch_and_shapes_are_recovered() -> None:
    shape = Shape(7, 16)
    row = initial_parameters(shape, 3)
    assert np.abs(row).max() <= 0.25 and row.std() == pytest.approx(0.5 / np.sqrt(12), rel=0.05)
    assert sum(parameter.numel() for parameter in SequenceLSTM(7, 16).parameters()) == shape.parameters == len(row)
    assert shape_of(len(row), 7) == shape
    with pytest.raises(ConfigError, match="8 features"):
        shape_of(len(row), 8)
