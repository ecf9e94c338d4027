"""Flags: silent for right answers to spectra of the grid, and each reason for what it is meant for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sciml.core.errors import InputError
from sciml.stellar import chi2, labels
from sciml.stellar.answers import Answers
from sciml.stellar.consistency import (
    WIDTHS,
    Evidence,
    Thresholds,
    fit_thresholds,
    flag,
    flagged,
    scores,
    weigh,
)
from sciml.stellar.posterior import to_working
from sciml.stellar.refit import Fitting
from tests.stellar.generated_stars import forward, observed, synthesised

SIGMA = np.array([100.0, 0.2, 0.1, 1.0])  # of honest answers
SUN = np.array([[5777.0, 4.44, 0.0, 4.0, 2.0, 0.0, 0.0]])


def noisy(clean: torch.Tensor, snr: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    return (clean.numpy() + noise / snr[:, None, None]).astype(np.float32)


def honest(parameters: np.ndarray, seed: int) -> Answers:
    """As wrong as they say."""
    error = np.random.default_rng(seed).standard_normal((len(parameters), 4)) * SIGMA
    return told(parameters[:, :4] + error, SIGMA)


def told(mean: np.ndarray, sigma: np.ndarray) -> Answers:
    return Answers(mean, np.tile(np.diag(sigma**2), (len(mean), 1, 1)))


def weighed(parameters: np.ndarray, snr: np.ndarray, seed: int) -> Evidence:
    flux = noisy(observed(synthesised(parameters)), snr, seed)
    return weigh(forward(), flux, 1 / snr[:, None, None], honest(parameters, seed + 1))


@pytest.fixture(scope="module")
def thresholds() -> Thresholds:
    count = 500
    snr = 10 * 20 ** np.random.default_rng(0).random(count)
    return fit_thresholds(weighed(labels.draw(count, 1, "paper"), snr, 2))


def test_stars_of_the_grid_pass_at_ratios_that_were_not_calibrated_on(thresholds: Thresholds) -> None:
    count = 150
    for snr in (20.0, 100.0):
        reasons = flag(weighed(labels.draw(count, 5, "paper"), np.full(count, snr), 6), thresholds)
        assert flagged(reasons).mean() < 0.015 + 3 * np.sqrt(0.015 / count)


def test_thresholds_flag_the_share_they_were_set_for(thresholds: Thresholds) -> None:
    draws = np.random.default_rng(1)
    normal = draws.standard_normal((4000, 5))
    evidence = made_of(normal, 10 ** draws.uniform(1, 2.5, 4000))
    found = fit_thresholds(evidence, share=0.05)
    each = scores(evidence, found.floor) > found.at(evidence.snr)
    assert 0.03 < each.any(1).mean() < 0.06  # rows that exceed two of the three count once
    low, high = (each[evidence.snr < 50].any(1).mean(), each[evidence.snr > 50].any(1).mean())
    assert 0.025 < low < 0.065 and 0.025 < high < 0.065


def made_of(normal: np.ndarray, snr: np.ndarray) -> Evidence:
    """Evidence whose scores are, but for the floor, given numbers (n, width + 2)."""
    count, unit = len(normal), np.tile(np.eye(4), (len(normal), 1, 1))
    means = np.full((count, 3), 1000.0)
    scatter = 1 + normal[:, :3] * np.sqrt(2 / means)
    step = np.zeros((count, 4))
    step[:, 0] = 2 * abs(normal[:, 3])
    beyond = np.tile(normal[:, 4, None, None], (1, 2, 4))
    return Evidence(snr, scatter, np.full((count, 3), 1e-3), means, step, unit / 2, unit / 2, beyond)


def test_a_confident_answer_that_is_wrong_disagrees_and_a_modest_one_does_not(thresholds: Thresholds) -> None:
    snr = np.full(1, 100.0)
    flux = noisy(observed(synthesised(SUN)), snr, 3)
    mean = SUN[:, :4] + (-425.0, 0.0, 0.0, 0.0)
    for sigma, expected in ((10.0, ("disagrees",)), (425.0, ())):
        answers = told(mean, np.array([sigma, *SIGMA[1:]]))
        evidence = weigh(forward(), flux, 1 / snr[:, None, None], answers, Fitting(rounds=3))
        assert flag(evidence, thresholds) == [expected]


def test_what_the_model_does_not_have_is_a_misfit(thresholds: Thresholds) -> None:
    snr = np.full(3, 50.0)
    clean = observed(synthesised(SUN)).repeat(3, 1, 1)
    clean[0] = 2 - clean[0]
    clean[1, 1] = clean[1, 1].flip(0)
    clean[2] = (clean[2] + 0.3) / 1.3
    answers = told(SUN[:, :4].repeat(3, 0), SIGMA)
    reasons = flag(weigh(forward(), noisy(clean, snr, 4), 1 / snr[:, None, None], answers), thresholds)
    assert all("misfit" in one for one in reasons)


def test_a_star_beyond_the_grid_wants_out_of_it(thresholds: Thresholds) -> None:
    rich = SUN.repeat(2, 0)
    rich[:, 2] = (1.0, 0.2)
    snr = np.full(2, 50.0)
    flux = noisy(observed(synthesised(rich)), snr, 4)
    beyond, inside = flag(weigh(forward(), flux, 1 / snr[:, None, None], told(rich[:, :4], SIGMA)), thresholds)
    assert "edge" in beyond and not inside


def test_no_noise_at_all_is_a_misfit_too(thresholds: Thresholds) -> None:
    flux = observed(synthesised(SUN)).numpy()
    reasons = flag(weigh(forward(), flux, np.full((1, 1, 1), 0.02), told(SUN[:, :4], SIGMA)), thresholds)
    assert reasons == [("misfit",)]


def test_the_fit_is_the_one_that_chi_square_finds() -> None:
    parameters, snr = labels.draw(24, 9, "paper"), np.full(24, 30.0)
    flux = noisy(observed(synthesised(parameters)), snr, 7)
    evidence = weigh(forward(), flux, 1 / snr[:, None, None], honest(parameters, 8), Fitting(rounds=8))
    sigma = torch.full((1, 1, 1), 1 / 30.0)
    best = chi2.fit(forward(), torch.from_numpy(flux), sigma, parameters)
    excess = evidence.scatter[:, 0] * evidence.means[:, 0] - best.chi_square
    assert np.median(abs(excess)) < 0.05 and excess.max() < 3.0  # of 2,000 +- 60


def test_means_of_pixels_are_those_of_a_plain_loop() -> None:
    draws, snr = np.random.default_rng(3), 40.0
    model = forward().at(to_working(SUN)).numpy()
    flux = model + draws.standard_normal(model.shape) / snr
    mask = draws.random(model.shape) > 0.2
    sigma = np.where(mask, 1 / snr, np.inf)
    answers = told(SUN[:, :4], SIGMA)
    evidence = weigh(forward(), np.where(mask, flux, np.nan), sigma, answers, Fitting(rounds=0))
    for column, width in enumerate(WIDTHS):
        squares = []
        for order in range(2):
            for start in range(0, 1000 // width * width, width):
                inside = mask[0, order, start : start + width]
                residual = (flux - model)[0, order, start : start + width][inside] * snr
                squares += [residual.sum() ** 2 / len(residual)] if len(residual) else []
        np.testing.assert_allclose(evidence.scatter[0, column], np.mean(squares), rtol=1e-3)
        assert evidence.means[0, column] == len(squares)
    assert evidence.snr == pytest.approx([snr])


def test_a_free_continuum_takes_out_a_slope_of_each_order() -> None:
    u = torch.linspace(-1.0, 1.0, 1000)
    bent = (forward().at(to_working(SUN)) * torch.stack([1.05 + 0.04 * u, 0.9 - 0.03 * u])).numpy()
    given = forward(), bent, np.full((1, 1, 1), 0.01), told(SUN[:, :4], SIGMA)
    assert weigh(*given, Fitting(continuum=2)).scatter.max() < 1e-3
    assert weigh(*given).scatter.min() > 5


def test_masked_pixels_count_for_nothing_and_used_ones_must_be_numbers() -> None:
    clean = observed(synthesised(SUN)).numpy()
    sigma = np.full(clean.shape, 0.02)
    sigma[0, 1, 100:200] = np.inf
    answers = told(SUN[:, :4], SIGMA)
    spoiled = clean.copy()
    spoiled[0, 1, 100:200] = np.nan
    one, other = (weigh(forward(), flux, sigma, answers) for flux in (clean, spoiled))
    np.testing.assert_allclose(one.scatter, other.scatter)
    spoiled[0, 1, 300] = np.nan
    with pytest.raises(InputError, match=r"spectrum 0: flux nan, sigma 0\.02 at order 1, pixel 300"):
        weigh(forward(), spoiled, sigma, answers)


def test_thresholds_are_kept_as_plain_values(thresholds: Thresholds) -> None:
    assert Thresholds.from_json(thresholds.to_json()) == thresholds
    with pytest.raises(InputError, match="thresholds for means of"):
        Thresholds.from_json(thresholds.to_json() | {"widths": [1, 2]})
    with pytest.raises(InputError, match="20 spectra, expected 300 or more"):
        fit_thresholds(made_of(np.zeros((20, 5)), np.full(20, 20.0)))
    assert replace(thresholds, spectra=3).spectra == 3
