"""The basin experiments: no leak from the test years or from held-out places, mass kept, real basins fitted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sciml.data.splits import region_folds, separation_km
from sciml.grace import calibration
from sciml.grace.basins import experiments
from sciml.grace.basins.experiments import LeftOut, Problem
from sciml.grace.global_lstm import GlobalTraining
from sciml.nn.lstm import GlobalLSTMConfig
from sciml.nn.training import TrainingConfig

MONTHS = np.arange(np.datetime64("1998-01"), np.datetime64("2014-01"))
TRAIN = (np.datetime64("2002-01") <= MONTHS) & (np.datetime64("2011-01") > MONTHS)
CONFIG = GlobalTraining(
    network=GlobalLSTMConfig(hidden_size=8, embedding_size=4),
    fitting=TrainingConfig(epochs=2, batch_size=32, learning_rate=1e-2, clip_norm=1.0),
)
ALL = np.ones(6, bool)


def problem(seed: int = 0) -> Problem:
    """Six basins whose storage is a leaky store of P - ET - R."""
    rng = np.random.default_rng(seed)
    t = np.arange(len(MONTHS))
    wave = np.cos(2 * np.pi * t[None] / 12 + rng.uniform(0, 6, (6, 1)))
    rain = rng.uniform(40, 90, (6, 1)) * (1 + 0.5 * wave) + 15 * rng.standard_normal((6, len(t)))
    fluxes = np.stack([rain, 0.6 * rain.mean(1, keepdims=True) + 10 * wave, 0.3 * rain], axis=-1)
    predictors = fluxes[:, :, None] * rng.uniform(0.95, 1.05, (6, 1, 2, 3))
    budget = fluxes[..., 0] - fluxes[..., 1] - fluxes[..., 2]
    storage = np.zeros((6, len(t)))
    for month in range(1, len(t)):
        storage[:, month] = 0.9 * storage[:, month - 1] + (budget - budget.mean(axis=1, keepdims=True))[:, month]
    storage = storage - storage[:, TRAIN].mean(axis=1, keepdims=True)
    return Problem(MONTHS, predictors, storage, np.full(storage.shape, 5.0), TRAIN)


def after_training_perturbed(work: Problem) -> Problem:
    later = np.datetime64("2011-01") <= MONTHS
    return replace(
        work,
        predictors=np.where(later[None, :, None, None], work.predictors * 2 + 5, work.predictors),
        storage=np.where(later, 1e4, work.storage),
    )


def test_nothing_after_the_training_period_changes_a_fitted_state() -> None:
    states = []
    for work in (problem(), after_training_perturbed(problem())):
        level, scale = experiments.scales(work, TRAIN)
        states.append(experiments.net_states(work, TRAIN, ALL, scale, level, CONFIG, 1))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_nothing_after_the_training_period_changes_calibration_or_ridge() -> None:
    results = []
    for work in (problem(), after_training_perturbed(problem())):
        blocks, halves = experiments.folds(MONTHS, TRAIN, 3), experiments.folds(MONTHS, TRAIN, 2)
        nets = np.zeros((2, 6, len(MONTHS)))
        out = experiments.assemble_basins(work, nets, nets[0], nets[0], blocks, halves, 10, 0)
        results.append((out.sigma, out.point[:, TRAIN]))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_a_left_out_unit_and_year_do_not_reach_the_net() -> None:
    work, units = problem(), np.arange(6) < 4
    keep = TRAIN & (np.datetime64("2008-01") > MONTHS)
    spoiled = replace(work, storage=np.where(units[:, None] & keep, work.storage, -999.0))
    states = []
    for one in (work, spoiled):
        level, scale = experiments.scales(one, keep)
        states.append(experiments.net_states(one, keep, units, scale, level, CONFIG, 2))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_climatology_months_are_whole_years_of_training() -> None:
    work = problem()
    for keep in (TRAIN, TRAIN & (np.datetime64("2008-01") > MONTHS)):
        reference = MONTHS[work.reference(keep)]
        assert len(reference) % 12 == 0 and reference[-1] < np.datetime64("2011-01")
        assert not np.isin(reference, MONTHS[TRAIN & ~keep]).any()


def test_region_folds_leave_out_nested_and_near_basins() -> None:
    place = [(np.array([0.0, 0.5]), np.array([x, x + 0.5])) for x in (0.0, 0.5, 3.0, 30.0, 60.0)]
    place.append((np.empty(0), np.empty(0)))
    separation = separation_km(place)
    latitude = np.array([0.25] * 5 + [np.nan])
    longitude = np.array([0.25, 0.75, 3.25, 30.25, 60.25, np.nan])
    for fold in region_folds(latitude, longitude, separation, 3):
        assert not (fold.train & fold.valid).any() and not fold.train[5]
        assert (separation[np.ix_(fold.train, fold.valid)] > 500).all()


def left_out(predicted: np.ndarray, observed: np.ndarray, use: np.ndarray) -> list[LeftOut]:
    """Predictions of each half of the training years by what saw the other."""
    return [LeftOut(predicted, observed, TRAIN & ~half, half, use) for half in experiments.folds(MONTHS, TRAIN, 2)]


def region_out(work: Problem, nets: np.ndarray) -> experiments.Prediction:
    regions = [(np.arange(6) >= 3, np.arange(6) < 3), (np.arange(6) < 3, np.arange(6) >= 3)]
    left = []
    for one, (_, valid) in zip(left_out(nets[0], work.storage, ALL), regions, strict=True):
        level, deviation = experiments.scales(work, one.kept)
        observed = (work.storage - level[:, None]) / deviation[:, None]
        left.append(replace(one, observed=observed, use=valid))
    return experiments.assemble_region_out(work, nets, regions, left, 12, 0)


def test_region_out_is_scaled_by_the_deviation_of_the_unit_and_nothing_else_of_it() -> None:
    work, nets = problem(), np.random.default_rng(0).normal(size=(3, 6, len(MONTHS)))
    plain = region_out(work, nets)
    taller = np.array([1.0, 1, 1, 5, 1, 1])[:, None]
    scaled = region_out(replace(work, storage=work.storage * taller), nets)
    np.testing.assert_allclose(scaled.point[3], 5 * plain.point[3], rtol=1e-6)
    np.testing.assert_allclose(scaled.sigma[3], 5 * plain.sigma[3], rtol=1e-6)
    np.testing.assert_allclose(scaled.point[:3], plain.point[:3], rtol=1e-6)


def test_shares_are_what_unseen_years_show() -> None:
    parts = np.random.default_rng(3).normal(size=(3, 40, 60))
    planted = np.array([0.9, 0.4, 0.0])
    observed = np.tensordot(planted, parts, axes=1) + 0.1 * np.random.default_rng(4).normal(size=(40, 60))
    np.testing.assert_allclose(experiments.component_shares(parts, observed), planted, atol=0.02)
    assert experiments.component_shares(parts, -observed).max() == 0


def test_relative_error_is_the_deviation_of_normal_errors() -> None:
    error = np.random.default_rng(0).normal(0, 0.7, (40, 500))
    assert experiments.relative_error(error, np.zeros(error.shape)) == pytest.approx(0.7, rel=0.02)


def test_regrouping_never_reads_the_storage_of_basins_and_conserves_the_group() -> None:
    work = grouped(problem())
    assert np.isnan(work.problem.storage[~work.is_group]).all()
    nets = np.random.default_rng(1).normal(0, 30, (2, 9, len(MONTHS)))
    left = left_out(nets[0, :3], work.observed, np.ones(3, bool))
    out = experiments.assemble_regroup(work, nets, left, np.full(9, 20.0), 15, 0)
    np.testing.assert_allclose(work.grouping.mean(out.point), work.observed, atol=1e-6)
    for member in out.members.swapaxes(0, 1):
        np.testing.assert_allclose(work.grouping.mean(member), work.observed, atol=1e-3)


def grouped(work: Problem) -> experiments.Regrouped:
    """Three groups of two, far apart, seen sharply."""
    label, place = np.repeat(np.arange(3), 2), np.repeat(np.eye(3), 2, axis=0)
    return experiments.regrouped(work, label, np.arange(1.0, 7.0), place, np.eye(6))


def with_holes(work: Problem) -> Problem:
    """The first basin is known in the last three training years alone, the third lacks every other month."""
    storage = work.storage.copy()
    storage[0, MONTHS < np.datetime64("2008-01")] = np.nan
    storage[2, ::2] = np.nan
    return replace(work, storage=storage)


def test_basins_with_holes_are_fitted_where_they_are_known_and_do_not_spoil_the_others() -> None:
    whole, work = problem(), with_holes(problem())
    halves = experiments.folds(MONTHS, TRAIN, 2)
    level, scale = experiments.scales(work, TRAIN & ~halves[1])
    assert np.isfinite(level).all() and (scale > 0).all()
    nets = np.random.default_rng(1).normal(0, 30, (2, 6, len(MONTHS)))
    out, plain = (
        experiments.assemble_basins(one, nets, nets[0], nets[0], experiments.folds(MONTHS, TRAIN, 3), halves, 10, 0)
        for one in (work, whole)
    )
    np.testing.assert_array_equal(np.isfinite(out.point), np.isfinite(plain.point))
    assert (out.sigma > 0).all()
    np.testing.assert_allclose(out.point[[1, 3, 4, 5]], plain.point[[1, 3, 4, 5]])


def test_groups_of_basins_with_holes_are_means_of_those_that_are_known() -> None:
    work, whole = grouped(with_holes(problem())), grouped(problem())
    known = np.isfinite(whole.observed)
    assert np.isfinite(work.observed[known]).all()
    np.testing.assert_array_equal(work.observed[2], whole.observed[2])
    nets = np.random.default_rng(1).normal(0, 30, (2, 9, len(MONTHS)))
    left = left_out(nets[0, :3], work.observed, np.ones(3, bool))
    out = experiments.assemble_regroup(work, nets, left, experiments.group_scale(work, work.is_group, TRAIN), 15, 0)
    counted = np.where(work.counted, out.point, np.nan)
    np.testing.assert_allclose(work.grouping.mean(counted), work.observed, atol=1e-6)


def test_networks_speak_of_all_months_that_predictors_reach() -> None:
    work = problem()
    level, scale = experiments.scales(work, TRAIN)
    state = experiments.net_states(work, TRAIN, ALL, scale, level, CONFIG, 1)
    said = experiments.net_prediction(work, state, TRAIN, ALL, CONFIG)
    np.testing.assert_array_equal(
        np.isfinite(said).all(axis=0), np.arange(len(MONTHS)) >= CONFIG.prediction_history - 1
    )


def test_persistent_misses_are_half_carried_into_the_test_years() -> None:
    work = problem()
    blocks = experiments.folds(MONTHS, TRAIN, 3)
    residual = np.where(TRAIN, 8.0, np.nan)[None].repeat(6, axis=0)
    assert calibration.recent_error(residual, MONTHS, work.train) == pytest.approx(8.0)
    assert np.array_equal(np.any(blocks, axis=0), TRAIN) and sum(block.sum() for block in blocks) == TRAIN.sum()
