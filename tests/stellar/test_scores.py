"""Scores: planted errors come back, sums agree with direct computation, leaks and snapping are seen."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis

from sciml.core.errors import InputError
from sciml.stellar.answers import Answers, mahalanobis
from sciml.stellar.labels import LABELS, NODES
from sciml.stellar.scores import (
    flag_rates,
    leaks,
    node_ratio,
    score_rows,
    snapping,
    strata,
    summarise,
    told,
)
from tests.stellar.planted import planted_answers, planted_truth

TRUTH = planted_truth(4000)


@pytest.fixture(scope="module")
def scores():
    answers = {"chi2": planted_answers(TRUTH, 1.02), "sciml": planted_answers(TRUTH, 1.25, said=0.8, seed=2)}
    return answers, summarise(TRUTH, answers, resamples=300)


def test_planted_errors_are_found_again(scores):
    _, found = scores
    for model, over in (("chi2", 1.02), ("sciml", 1.25)):
        for label in LABELS:
            low, high = found[model][f"crb_ratio_{label}_ci"]
            assert low < found[model][f"crb_ratio_{label}"] < high
            assert abs(found[model][f"crb_ratio_{label}"] / over - 1) < 0.05
    for key, share in (("coverage1", 0.683), ("coverage2", 0.954), ("ellipsoid1", 0.683), ("ellipsoid2", 0.954)):
        assert abs(found["chi2"][key] - share) < 0.02
    # standard deviations 0.8 of what they should be: P(|z| < 0.8) = 0.576, P(|z| < 1.6) = 0.890
    assert abs(found["sciml"]["coverage1"] - 0.576) < 0.02
    assert abs(found["sciml"]["coverage2_teff"] - 0.890) < 0.02


def test_sums_agree_with_direct_computation(scores):
    answers, found = scores
    error = answers["sciml"].mean - TRUTH.labels
    keep = told(TRUTH)
    for i, label in enumerate(LABELS):
        s, e, k = found["sciml"], error[:, i], keep[:, i]
        assert s[f"mae_{label}"] == pytest.approx(np.abs(e).mean())
        assert s[f"rmse_{label}"] == pytest.approx(np.sqrt((e**2).mean()))
        assert s[f"bias_{label}"] == pytest.approx(e.mean())
        bound = np.sqrt((TRUTH.bound[k, i] ** 2).mean())
        assert s[f"crb_ratio_{label}"] == pytest.approx(np.sqrt((e[k] ** 2).mean()) / bound)
        assert s[f"n_told_{label}"] == k.sum()
        prior, bayes = np.sqrt((e[~k] ** 2).mean()), np.sqrt((TRUTH.bayes[~k, i] ** 2).mean())
        assert s[f"bayes_ratio_{label}"] == pytest.approx(prior / bayes)
        informed = np.sqrt((TRUTH.bayes[k, i] ** 2).mean())
        assert s[f"informed_ratio_{label}"] == pytest.approx(np.sqrt((e[k] ** 2).mean()) / informed)
    assert found["sciml"]["n"] == 4000 and found["sciml"]["n_models"] == 2000


def test_what_a_spectrum_tells():
    """v sin i of 2 km/s and more, and a bound below a sixth of the label's range: 1041.7 K of 6250."""
    truth = TRUTH.select(np.arange(4))
    parameters = truth.parameters.copy()
    parameters[:, 3] = (1.9, 2.0, 10.0, 10.0)
    easy = [1.0, 0.1, 0.1, 0.1]
    bound = np.array([easy, easy, [1041.0, 0.83, 0.49, 4.9], [1042.0, 0.84, 0.51, np.inf]])
    expected = np.array([[False] * 4, [True] * 4, [True] * 4, [False] * 4])
    assert np.array_equal(told(replace(truth, parameters=parameters, bound=bound)), expected)


def test_a_region_scores_as_its_spectra_alone(scores):
    answers, found = scores
    for region, inside in strata(TRUTH)["region"].items():
        alone = summarise(TRUTH.select(inside), {"sciml": answers["sciml"].select(inside)}, resamples=10)["sciml"]
        part = found["sciml"]["by"]["region"][region]
        for key in ("mae_teff", "crb_ratio_feh", "coverage1", "ellipsoid1", "n"):
            assert part[key] == pytest.approx(alone[key])


def test_regions_and_trust_divide_the_spectra():
    for name in ("region", "trust", "snr"):
        assert np.array_equal(sum(inside.astype(int) for inside in strata(TRUTH)[name].values()), np.ones(len(TRUTH)))


def test_many_signal_to_noises_go_into_octaves():
    snr = np.exp(np.random.default_rng(0).uniform(np.log(10), np.log(200), len(TRUTH)))
    parts = strata(replace(TRUTH, snr=snr))["snr"]
    assert set(parts) == {"10-20", "20-40", "40-80", "80-160", "160-320"}
    assert snr[parts["20-40"]].min() >= 20 and snr[parts["20-40"]].max() < 40


def test_spectra_of_one_synthesis_do_not_narrow_the_interval():
    once = planted_truth(500, each=1)
    answers = planted_answers(once, 1.3)
    index = np.repeat(np.arange(500), 8)
    one, eight, eight_alone = (
        summarise(truth, {"a": found}, resamples=400)["a"]["mae_teff_ci"]
        for truth, found in (
            (once, answers),
            (once.select(index), answers.select(index)),
            (replace(once.select(index), model=np.arange(4000)), answers.select(index)),
        )
    )
    assert np.diff(eight) == pytest.approx(np.diff(one), rel=1e-6)
    assert np.diff(eight_alone) < 0.6 * np.diff(one)


def test_an_interval_needs_two_syntheses():
    found = summarise(TRUTH.select(np.arange(2)), {"a": planted_answers(TRUTH).select(np.arange(2))})["a"]
    assert found["mae_teff"] is not None and found["mae_teff_ci"] == [None, None]


def test_better_than_the_bound_is_a_leak():
    answers = {"leaky": planted_answers(TRUTH, 0.7), "fair": planted_answers(TRUTH, 1.0, seed=3)}
    found = leaks(summarise(TRUTH, answers, resamples=300))
    assert {leak.model for leak in found if not leak.explained} == {"leaky"}
    assert all(leak.ratio < leak.high < 0.95 for leak in found)
    assert {leak.label for leak in found if leak.model == "leaky"} == set(LABELS)


def test_the_prior_explains_what_is_no_leak():
    """A posterior mean under a Gaussian prior errs less than the Cramer-Rao bound, and as much as the Bayesian."""
    random = np.random.default_rng(5)
    truth = planted_truth(4000, each=1)
    bound = np.broadcast_to(np.array([900.0, 0.7, 0.4, 4.5]), (4000, 4))  # just below a sixth of the ranges
    spread = np.array([1500.0, 1.2, 0.7, 8.0])
    middle = np.array([6500.0, 2.5, -1.0, 15.0])
    labels = middle + spread * random.normal(size=(4000, 4))
    labels[:, 3] = np.maximum(labels[:, 3], 2.0)
    parameters = np.concatenate([labels, truth.parameters[:, 4:]], 1)
    weight = spread**2 / (spread**2 + bound**2)
    mean = middle + weight * (labels + bound * random.normal(size=(4000, 4)) - middle)
    bayes = np.sqrt(weight) * bound
    truth = replace(truth, parameters=parameters, bound=bound, bayes=bayes)
    answers = Answers(mean, bayes[:, :, None] * bayes[:, None, :] * np.eye(4))
    summary = summarise(truth, {"posterior": answers}, resamples=200)
    assert summary["posterior"]["crb_ratio_teff_ci"][1] < 0.95
    found = leaks(summary)
    assert len(found) > 3
    assert np.mean([leak.explained for leak in found]) > 0.8


def test_few_spectra_accuse_nobody():
    few = np.arange(20)
    assert not leaks(summarise(TRUTH.select(few), {"leaky": planted_answers(TRUTH, 0.3).select(few)}))


def test_snapping_is_seen():
    answers = planted_answers(TRUTH, 1.0)
    fair = snapping(TRUTH, answers)
    step = np.array([NODES[label][1] - NODES[label][0] for label in LABELS])
    first = np.array([NODES[label][0] for label in LABELS])
    snapped = snapping(TRUTH, replace(answers, mean=first + step * np.round((answers.mean - first) / step)))
    for label in LABELS:
        assert abs(fair[f"snap_ratio_{label}"] - 1) < 0.05
        assert snapped[f"snap_ratio_{label}"] == pytest.approx(0, abs=1e-9)


def test_knowing_the_nodes_better_is_seen():
    nodes = planted_truth(2000, seed=4, kind="node")
    ratio = node_ratio(
        (nodes, planted_answers(nodes, 0.6, seed=8)), (TRUTH, planted_answers(TRUTH, 1.2)), resamples=200
    )
    for label in LABELS:
        low, high = ratio[f"node_ratio_{label}_ci"]
        assert abs(ratio[f"node_ratio_{label}"] - 0.5) < 0.05 and low < 0.5 * 1.1 and high > 0.5 * 0.9
    assert not any(key.startswith("snap_ratio") for key in summarise(nodes, {"a": planted_answers(nodes)})["a"])


def test_comparisons_are_paired(scores):
    answers, _ = scores
    rival = planted_answers(TRUTH, 1.25, seed=9)
    found = summarise(TRUTH, {"chi2": answers["chi2"], "ridge": rival, "same": answers["chi2"]}, resamples=100)
    assert found["same"]["fraction_better_than"]["chi2"] == 0.0
    assert found["same"]["crps_ratio"]["chi2"] == pytest.approx(dict.fromkeys(LABELS, 1.0))
    assert found["same"]["crps_ratio_ci"]["chi2"]["teff"] == pytest.approx([1.0, 1.0])
    both = found["chi2"]["fraction_better_than"]["ridge"] + found["ridge"]["fraction_better_than"]["chi2"]
    assert both == pytest.approx(1.0)
    assert found["chi2"]["fraction_better_than_ci"]["ridge"][0] > 0.5
    assert abs(found["ridge"]["crps_ratio"]["chi2"]["feh"] - 1.25 / 1.02) < 0.06


def test_distance_of_labels_of_very_different_size():
    answers = planted_answers(TRUTH, 1.3)
    found = mahalanobis(TRUTH, answers)
    for i in range(0, 4000, 500):
        inverse = np.linalg.inv(answers.covariance[i])
        assert found[i] == pytest.approx(scipy_mahalanobis(answers.mean[i], TRUTH.labels[i], inverse) ** 2, rel=1e-6)


def test_summaries_are_plain_and_whole(scores):
    _, found = scores
    assert json.loads(json.dumps(found, allow_nan=False)).keys() == found.keys()
    assert "flagged" not in found["sciml"]
    flagged = replace(planted_answers(TRUTH), flagged=np.arange(4000) % 50 == 0)
    assert summarise(TRUTH, {"a": flagged}, resamples=50)["a"]["flagged"] == pytest.approx(0.02)


def test_rows_hold_every_spectrum(scores):
    answers, found = scores
    rows = score_rows("snr20", TRUTH, answers)
    assert len(rows) == 8000 and not rows.isna().any().any()
    mine = rows[rows["model"] == "sciml"]
    assert mine["error_logg"].abs().mean() == pytest.approx(found["sciml"]["mae_logg"])
    assert mine["crps_vsini"].mean() == pytest.approx(found["sciml"]["crps_vsini"])


def test_rates_of_flags():
    rates = flag_rates(np.arange(100) < 2, np.arange(40) < 38)
    assert rates["flagged_in_grid"] == 0.02 and rates["flagged_out_of_grid"] == 0.95


def test_a_missing_answer_is_refused():
    answers = planted_answers(TRUTH)
    mean = answers.mean.copy()
    mean[7, 2] = np.nan
    with pytest.raises(InputError, match="resnet: spectrum 7"):
        summarise(TRUTH, {"resnet": replace(answers, mean=mean)})
    with pytest.raises(InputError, match="every spectrum"):
        score_rows("snr20", TRUTH, {"resnet": answers.select(np.arange(10))})
