"""Calibration: coverage comes out right on planted faults of standard deviations, and nothing else is touched."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2, norm

from sciml.core.errors import InputError
from sciml.stellar.answers import Answers, Truth, mahalanobis
from sciml.stellar.calibration import LEVELS, Calibration, fit_calibration
from sciml.stellar.labels import draw
from tests.stellar.planted import CORRELATION, planted_answers, planted_truth


def planted(count: int, seed: int, tails: float | None = None) -> tuple[np.ndarray, np.ndarray, Answers]:
    """Labels, SNR and answers whose sigmas are wrong by SNR, temperature and metallicity; tails: degrees of freedom of
    Student's t."""
    random = np.random.default_rng(seed)
    labels = draw(count, seed, "paper")[:, :4]
    snr = 10 * 10 ** random.random(count)
    hot = ((labels[:, 0] - 6500) / 3000)[:, None]
    base = np.array([60, 0.1, 0.05, 0.4]) * (20 / snr)[:, None] ** 0.7 * np.exp(0.3 * random.normal(size=(count, 4)))
    right = base * (20 / snr)[:, None] ** 0.3 * np.exp(0.8 * hot - 0.4 * (labels[:, 2:3] + 1))
    noise = random.normal(size=(count, 4)) if tails is None else random.standard_t(tails, size=(count, 4))
    given = 1.6 * base * np.exp(0.3 * hot)
    return labels, snr, Answers(labels + right * noise, given[:, :, None] * given[:, None, :] * CORRELATION)


def shares(labels: np.ndarray, answers: Answers) -> np.ndarray:
    scaled = np.abs(answers.mean - labels) / answers.sigma
    return np.array([(scaled < k).mean(0) for k in (1, 2)])


@pytest.fixture(scope="module")
def gaussian():
    labels, snr, answers = planted(2000, 1)
    return fit_calibration(labels, answers, snr)


def test_coverage_is_right_in_every_region(gaussian):
    labels, snr, answers = planted(8000, 2)
    assert np.abs(shares(labels, answers)[0] - 0.683).min() > 0.1  # before
    after = gaussian.apply(answers, snr)
    assert np.abs(shares(labels, after)[0] - 0.683).max() < 0.02
    assert np.abs(shares(labels, after)[1] - 0.954).max() < 0.01
    for low, high in ((3500, 5500), (5500, 7500), (7500, 9750)):
        inside = (labels[:, 0] >= low) & (labels[:, 0] < high)
        found = shares(labels[inside], after.select(inside))
        assert np.abs(found[0] - 0.683).max() < 0.04 and np.abs(found[1] - 0.954).max() < 0.02
    for inside in (snr < 20, snr > 50):
        assert np.abs(shares(labels[inside], after.select(inside))[0] - 0.683).max() < 0.04


def test_heavy_tails_are_shared_between_one_and_two_sigma():
    """No factor makes both shares of Student's t right: the fault at one sigma is to be twice that at two."""
    labels, snr, answers = planted(4000, 3, tails=8.0)
    calibrated = fit_calibration(labels, answers, snr)
    labels, snr, answers = planted(12000, 4, tails=8.0)
    one, two = shares(labels, calibrated.apply(answers, snr)).mean(1)
    assert abs(one - 0.683) < 0.03 and abs(two - 0.954) < 0.015
    assert one > 0.683 and two < 0.954
    # the widest factor, of a likelihood, would leave the first share far off
    wide = np.sqrt(((answers.mean - labels) ** 2).mean(0)) / np.sqrt((answers.sigma**2).mean(0))
    scaled = Answers(answers.mean, answers.covariance * wide[:, None] * wide)
    assert shares(labels, scaled)[0].mean() > one + 0.05


def test_one_factor_is_found_where_one_is_right():
    truth = planted_truth(3000)
    answers = planted_answers(truth, 1.2, said=2.0)
    factor = fit_calibration(truth.labels, answers, truth.snr).factor(answers, truth.snr)
    assert np.abs(np.median(factor, 0) - 0.5).max() < 0.03
    assert np.quantile(factor, 0.05) > 0.42 and np.quantile(factor, 0.95) < 0.58


def correlation_of(answers: Answers) -> np.ndarray:
    return answers.covariance / (answers.sigma[:, :, None] * answers.sigma[:, None, :])


def test_means_and_flags_stay_and_sigmas_are_multiplied(gaussian):
    _, snr, answers = planted(300, 5)
    answers = replace(answers, flagged=np.arange(300) % 2 == 0)
    after = gaussian.apply(answers, snr)
    assert after.mean is answers.mean and after.flagged is answers.flagged
    assert np.allclose(after.sigma, answers.sigma * gaussian.factor(answers, snr))


def test_noise_in_correlations_is_averaged_away():
    """Right sigmas with noisy correlations: the ellipsoid holds too few truths before, and the right share after."""

    def noisy(count: int, seed: int) -> tuple[Truth, Answers]:
        truth = planted_truth(count, seed=seed)
        answers = planted_answers(truth, 1.0, seed=seed + 10)
        factor = np.linalg.cholesky(CORRELATION) + 0.3 * np.tril(
            np.random.default_rng(seed).normal(size=(count, 4, 4)), -1
        )
        wrong = factor @ factor.swapaxes(1, 2)
        size = answers.sigma / np.sqrt(np.diagonal(wrong, axis1=1, axis2=2))
        return truth, replace(answers, covariance=wrong * size[:, :, None] * size[:, None, :])

    truth, answers = noisy(2000, 1)
    calibrated = fit_calibration(truth.labels, answers, truth.snr)
    truth, answers = noisy(6000, 2)
    level = chi2.ppf(LEVELS[0], 4)
    assert (mahalanobis(truth, answers) < level).mean() < 0.6
    assert abs((mahalanobis(truth, calibrated.apply(answers, truth.snr)) < level).mean() - 0.683) < 0.02


def test_right_correlations_stay():
    """Correlations that differ by star and are right: no mean of them is taken instead."""
    truth = planted_truth(3000)
    random = np.random.default_rng(3)
    strength = np.where(random.random(3000) < 0.5, 0.9, -0.9)
    correlation = np.repeat(np.eye(4)[None], 3000, 0)
    correlation[:, 0, 1] = correlation[:, 1, 0] = strength
    noise = np.einsum("nij,nj->ni", np.linalg.cholesky(correlation), random.normal(size=(3000, 4)))
    sigma = truth.bound
    answers = Answers(truth.labels + sigma * noise, correlation * sigma[:, :, None] * sigma[:, None, :])
    calibrated = fit_calibration(truth.labels, answers, truth.snr)
    assert calibrated.blend < 0.05


def test_a_diagonal_covariance_stays_diagonal():
    truth = planted_truth(1000)
    answers = planted_answers(truth, 1.0, full=False)
    after = fit_calibration(truth.labels, answers, truth.snr).apply(answers, truth.snr)
    assert np.allclose(correlation_of(after), np.eye(4))


def test_beyond_its_split_a_factor_stays(gaussian):
    _, snr, answers = planted(300, 6)
    far = Answers(answers.mean, answers.covariance * 1e8)
    further = Answers(answers.mean, answers.covariance * 1e12)
    assert np.array_equal(gaussian.factor(far, snr), gaussian.factor(further, snr))
    assert np.array_equal(gaussian.factor(answers, np.full(300, 1e4)), gaussian.factor(answers, np.full(300, 1e6)))


def test_one_signal_to_noise_is_no_feature():
    truth = planted_truth(500)
    answers = planted_answers(truth)
    calibrated = fit_calibration(truth.labels, answers, truth.snr)
    assert np.allclose(calibrated.factor(answers, truth.snr), calibrated.factor(answers, truth.snr * 3))


def test_shares_of_one_and_two_sigma_are_those_of_a_gaussian():
    assert np.allclose(LEVELS, [norm.cdf(k) - norm.cdf(-k) for k in (1, 2)])


def test_plain_values_and_back(gaussian):
    again = Calibration.from_json(json.loads(json.dumps(gaussian.to_json())))
    assert again == gaussian
    with pytest.raises(InputError, match="calibrate again"):
        Calibration.from_json(gaussian.to_json() | {"features": ["1"]})


def test_too_few_spectra_are_refused():
    truth = planted_truth(20)
    with pytest.raises(InputError, match="20 spectra"):
        fit_calibration(truth.labels, planted_answers(truth), truth.snr)
