"""The global net: windows, determinism, resumption, no look ahead, and a planted relation that it must find."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sciml.core.errors import ConfigError, InputError
from sciml.grace import global_lstm
from sciml.grace.global_lstm import GlobalTraining
from sciml.nn.lstm import GlobalLSTM, GlobalLSTMConfig
from sciml.nn.training import TrainingConfig

CONFIG = GlobalTraining(
    network=GlobalLSTMConfig(hidden_size=8, embedding_size=4, dropout=0.1, history=6),
    fitting=TrainingConfig(epochs=3, batch_size=16, learning_rate=1e-2, clip_norm=1.0),
    span=7,
    stride=3,
    prediction_history=8,
)


def data(seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(5, 80, 3)).astype(np.float32)
    attributes = rng.normal(size=(5, 2)).astype(np.float32)
    target = inputs[..., 0] + 0.5 * np.roll(inputs[..., 1], 1, axis=1)
    target[:, 60:] = np.nan
    target[:, 10:13] = np.nan
    return inputs, attributes, target, np.ones(target.shape)


def test_every_target_with_a_full_history_is_in_some_window() -> None:
    samples = global_lstm.window_samples(*data(), CONFIG)
    seen = np.zeros((5, 80))
    for unit, start in zip(samples.units, samples.starts, strict=True):
        seen[unit, start + CONFIG.network.history - 1 : start + samples.length] += 1
    known = np.isfinite(data()[2])
    assert (seen[:, CONFIG.network.history - 1 :][known[:, CONFIG.network.history - 1 :]] > 0).all()
    (inputs, _), target, weight = samples.batch(torch.tensor([0, 3]))
    assert inputs.shape == (2, 12, 3) and target.shape == weight.shape == (2, 7)


def test_same_seed_same_bits_other_seed_other_net() -> None:
    one, two, other = (global_lstm.train_member(*data(), CONFIG, seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_a_resumed_training_ends_with_the_same_bits() -> None:
    reports = []
    whole = global_lstm.train_member(
        *data(), CONFIG, 1, report=lambda epoch, metrics, state: reports.append((epoch, copy_of(state)))
    )
    resumed = global_lstm.train_member(*data(), CONFIG, 1, resume=reports[0][1])
    assert [epoch for epoch, _ in reports] == [1, 2, 3]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def copy_of(state: dict) -> dict:
    import copy

    return copy.deepcopy(state)


def test_what_comes_after_the_last_target_changes_nothing() -> None:
    inputs, attributes, target, weights = data()
    changed = inputs.copy()
    changed[:, 60:] += 2
    one = global_lstm.train_member(inputs, attributes, target, weights, CONFIG, 3)
    two = global_lstm.train_member(changed, attributes, target, weights, CONFIG, 3)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_prediction_sees_its_history_and_nothing_else() -> None:
    inputs, attributes, *_ = data()
    state = global_lstm.new_model(3, 2, CONFIG, 0).state_dict()
    positions = np.array([2, 30, 40])
    before = global_lstm.predict(state, inputs, attributes, positions, CONFIG)
    changed = inputs.copy()
    changed[:, :23], changed[:, 31:33], changed[:, 41:] = 9, 9, 9
    after = global_lstm.predict(state, changed, attributes, positions, CONFIG)
    assert np.isnan(before[:, 0]).all()
    np.testing.assert_array_equal(before[:, 1], after[:, 1])
    now = inputs[:, positions] + 1
    own_window = global_lstm.predict(state, inputs, attributes, positions, CONFIG, now=now)
    assert not np.array_equal(own_window[:, 1:], before[:, 1:])


def test_a_planted_relation_is_learned_for_a_unit_left_out() -> None:
    config = replace(CONFIG, fitting=replace(CONFIG.fitting, epochs=40))
    inputs, attributes, target, weights = data()
    training = target.copy()
    training[4] = np.nan
    state = global_lstm.train_member(inputs, attributes, training, weights, config, 0)
    predicted = global_lstm.predict(state, inputs[4:], attributes[4:], np.arange(60, 80), config)[0]
    truth = (inputs[..., 0] + 0.5 * np.roll(inputs[..., 1], 1, axis=1))[4, 60:80]
    assert np.corrcoef(predicted, truth)[0, 1] > 0.7


def test_impossible_settings_and_empty_targets_are_refused() -> None:
    with pytest.raises(ConfigError, match="dropout"):
        GlobalLSTMConfig(dropout=1.0)
    inputs, attributes, target, weights = data()
    with pytest.raises(InputError, match="no target"):
        global_lstm.train_member(inputs, attributes, np.full(target.shape, np.nan), weights, CONFIG, 0)


def test_outputs_have_a_full_history_behind_them() -> None:
    model = GlobalLSTM(3, 2, CONFIG.network).eval()
    assert model(torch.zeros(4, 12, 3), torch.zeros(4, 2)).shape == (4, 12 - 6 + 1)
