"""Scores of rivers driven by two sources of runoff: perfect, none, and counted by hand."""

import numpy as np
import pytest
from scipy import stats

from sciml.rivers.coupled import discharge_scores, flood_scores, nse


def test_a_driver_that_is_the_reference_has_perfect_scores() -> None:
    rng = np.random.default_rng(0)
    flow, fraction = rng.gamma(2.0, 10.0, (400, 3)), rng.random((24, 5)) * 0.2
    np.testing.assert_array_equal(nse(flow, flow), 1.0)
    assert discharge_scores(nse(flow, flow), flow, flow)["bias"] == 0.0
    scores = flood_scores(fraction, fraction)
    assert scores["csi"] == 1.0 and scores["r_fraction"] == pytest.approx(1.0)
    assert scores["n_floods"] == (fraction > 0.05).sum()


def test_the_mean_has_no_skill() -> None:
    flow = np.random.default_rng(1).gamma(2.0, 10.0, (400, 2))
    np.testing.assert_allclose(nse(flow, np.broadcast_to(flow.mean(axis=0), flow.shape)), 0.0, atol=1e-12)


def test_floods_are_counted() -> None:
    truth = np.array([[0.0, 0.1, 0.2, 0.01], [0.3, 0.0, 0.06, 0.0]])
    driven = np.array([[0.0, 0.2, 0.0, 0.10], [0.3, 0.0, 0.07, 0.0]])
    scores = flood_scores(truth, driven)  # three hits, one missed, one false
    assert scores["csi"] == pytest.approx(3 / 5)
    assert scores["r_fraction"] == pytest.approx(stats.pearsonr(truth.ravel(), driven.ravel()).statistic)


def test_a_dry_world_has_no_score_of_floods() -> None:
    scores = flood_scores(np.zeros((3, 4)), np.zeros((3, 4)))
    assert scores["csi"] is None and scores["r_fraction"] is None and scores["n_flooding_cells"] == 0
