"""Flags of a whole method: shares and their intervals, one fit for all methods, spectra with the emulator's error."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom

from sciml.nn.checkpoint import save_checkpoint
from sciml.stellar import calibration_spectra, flag_steps, labels
from sciml.stellar.answers import Answers
from sciml.stellar.calibration_spectra import CalibrationSpectra, TrainErrors
from sciml.stellar.consistency import best_fits, excess, fit_thresholds, flag, weigh
from sciml.stellar.experiments import Setup, Stars, experiment
from sciml.stellar.flags import interval
from sciml.stellar.grid import PointSet
from sciml.stellar.posterior import to_working
from sciml.stellar.refit import Fitting
from sciml.stellar.strangers import KINDS
from tests.stellar.generated_stars import forward, observed, synthesised

SIGMA = np.array([100.0, 0.2, 0.1, 1.0])


def answers(parameters: np.ndarray, seed: int) -> Answers:
    mean = parameters[:, :4] + np.random.default_rng(seed).standard_normal((len(parameters), 4)) * SIGMA
    return Answers(mean, np.tile(np.diag(SIGMA**2), (len(mean), 1, 1)))


def noisy(parameters: np.ndarray, snr: float, seed: int) -> np.ndarray:
    clean = observed(synthesised(parameters)).numpy()
    return (clean + np.random.default_rng(seed).standard_normal(clean.shape) / snr).astype(np.float32)


def test_one_fit_serves_answers_that_it_did_not_begin_from() -> None:
    stars, sigma = labels.draw(12, 9, "paper"), np.full((1, 1, 1), 1 / 60)
    stars = stars[(stars[:, 0] < 6500) & (stars[:, 2] > -1.5)]  # of many lines: one best fit
    flux, other = noisy(stars, 60.0, 7), answers(stars, 8)
    shared = best_fits(forward(), flux, sigma, stars[:, :4], Fitting(rounds=8)).against(other)
    own = weigh(forward(), flux, sigma, other, Fitting(rounds=8))
    np.testing.assert_allclose(shared.scatter, own.scatter, rtol=2e-3)
    spread = np.sqrt(np.einsum("nii->ni", own.photons))
    assert (np.abs(shared.step - own.step) / spread).max() < 0.1
    np.testing.assert_array_equal(shared.answered, own.answered)


def test_limits_are_set_at_the_ratios_that_there_are_and_follow_the_logarithm_between_them() -> None:
    count, random = 900, np.random.default_rng(0)
    snr = np.resize([10.0, 20.0, 200.0], count)
    stars = np.tile([[5777.0, 4.4, 0.0, 4.0, 2.0, 0.0, 0.0]], (count, 1))
    one = best_fits(forward(), noisy(stars[:2], 50.0, 1), np.full((1, 1, 1), 0.02), stars[:2, :4])
    fits = one.select(np.zeros(count, int))
    means = fits.means
    scatter = 1 + random.standard_normal(means.shape) * np.sqrt(2 / means) * np.where(snr > 100, 3, 1)[:, None]
    for name, values in (("snr", snr * random.uniform(0.99, 1.01, count)), ("scatter", scatter)):
        object.__setattr__(fits, name, values)
    limits = fit_thresholds(fits.against(answers(stars, 2)))
    np.testing.assert_allclose(limits.snr, (10, 20, 200), rtol=0.01)
    first, last = np.array(limits.limits)[1:, 0]
    assert last > 1.3 * first  # wider where spectra of the grid scatter more
    middle = limits.at(np.array([np.sqrt(limits.snr[1] * limits.snr[2])]))[0, 0]
    assert middle == pytest.approx((first + last) / 2)


def test_excess_is_above_one_exactly_where_a_reason_is_given() -> None:
    stars, sigma = labels.draw(320, 3, "paper"), np.full((1, 1, 1), 0.02)
    evidence = weigh(forward(), noisy(stars, 50.0, 3), sigma, answers(stars, 4))
    limits = fit_thresholds(evidence, share=0.3)
    over = excess(evidence, limits) > 1
    assert 0.1 < over.any(1).mean() < 0.4
    assert [len(one) for one in flag(evidence, limits)] == over.sum(1).tolist()


def test_intervals_are_of_syntheses_and_never_empty() -> None:
    random = np.random.default_rng(2)
    alike, own = np.repeat(random.random(60) < 0.3, 4), random.random(240) < 0.3
    model = np.repeat(np.arange(60), 4)
    (low, high), (a, b) = interval(alike, model), interval(own, model)
    assert low < alike.mean() < high and a < own.mean() < b
    assert high - low > 1.4 * (b - a)  # four alike tell as much as one
    for none in (np.zeros(240, bool), np.ones(240, bool)):
        low, high = interval(none, model)
        end = high if not none.any() else 1 - low
        assert binom.cdf(0, 60, end) == pytest.approx(0.025)


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CalibrationSpectra:
    """40 stars of the grid and 3 strangers of each of two kinds, by two models that were left out."""
    held = labels.draw(2, 5, "paper")
    held[:, :3] = [(4000.0, 3.0, -1.0), (9000.0, 3.0, -1.0)]
    errors = str(tmp_path / "errors.pt")
    wave = torch.arange(29400) / 29400
    save_checkpoint(errors, {"parameters": torch.from_numpy(held), "error": torch.stack([0.02 * wave, -0.02 * wave])})
    points = (PointSet("nodes", 5), PointSet("test", 4))
    setup = Setup(experiment("grid", 20.0), "generated", "", "", "", 0, points)
    monkeypatch.setattr(Setup, "forward", lambda _: forward())
    spectrograph = type("Seen", (), {"wave": np.zeros(forward().shape), "blaze": np.ones(forward().shape)})
    monkeypatch.setattr(calibration_spectra.experiments, "spectrograph_of", lambda _: spectrograph)
    models = synthesised(points[1].parameters())
    monkeypatch.setattr(calibration_spectra, "models_of", lambda _: models)
    monkeypatch.setattr("sciml.stellar.experiments._between", lambda p, t: np.ones(len(p), bool))
    return CalibrationSpectra(setup, errors, 40, 3, ("binary", "velocity"))


def test_stars_of_the_split_have_the_error_of_the_nearest_model_that_was_left_out(tried: CalibrationSpectra) -> None:
    stars: Stars = calibration_spectra.calibration_stars(tried)
    assert len(stars) == len(tried) == 46
    clean = tried.clean(0, 40)
    plain = forward().at(to_working(stars.parameters[:40]))
    wave = forward().sampler.observe(
        torch.fft.rfft((0.02 * torch.arange(29400) / 29400)[None]), torch.zeros(1, 7), torch.full((1,), 0.5)
    )
    sign = torch.from_numpy(np.where(stars.parameters[:40, 0] > 6500, -1.0, 1.0)).float()
    torch.testing.assert_close(clean - plain, sign[:, None, None] * wave, atol=2e-4, rtol=0)


def test_blocks_of_any_size_are_parts_of_one_whole(tried: CalibrationSpectra) -> None:
    whole = tried.clean(0, 46)
    parts = torch.cat([tried.clean(0, 33), tried.clean(33, 42), tried.clean(42, 46)])
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
    seen = torch.cat([tried(0, 41)[0], tried(41, 46)[0]])
    assert (seen - whole)[40:].std() == pytest.approx(1 / 20, rel=0.03)
    stars = calibration_spectra.calibration_stars(tried)
    assert set(stars.snr[:40]) == {10.0, 20.0, 50.0, 200.0} and (stars.snr[:40] == 20).mean() == 0.5
    assert stars.kind[40:].tolist() == ["binary"] * 3 + ["velocity"] * 3


def test_errors_are_of_models_that_were_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    models = synthesised(labels.draw(120, 3, "paper"))
    monkeypatch.setattr(calibration_spectra, "read_models", lambda _: models)
    monkeypatch.setattr(calibration_spectra, "read_parameters", lambda _: models.parameters[:40])
    settings = calibration_spectra.EmulatorSettings(60, 80)
    state = TrainErrors(("whole",), ("parted",), settings, 0)(None, 0, None)
    held = [np.flatnonzero((models.parameters == row).all(1)).item() for row in state["parameters"].numpy()]
    assert len(set(held)) == 10 and min(held) >= 40
    assert np.ptp(models.parameters[held, 0]) > 0.5 * np.ptp(models.parameters[:, 0])
    known = calibration_spectra.fit_emulator(models, settings, 0)
    made = torch.fft.irfft(known(state["parameters"])[0].detach(), n=29400)
    learned = (torch.from_numpy(models.flux[held]) - made).square().mean().sqrt()
    assert state["error"].square().mean().sqrt() > 1.5 * learned


def test_real_spectrographs_bend_every_continuum_so_that_it_is_no_stranger() -> None:
    points = (PointSet("nodes"), PointSet("test"))
    for name, absent in (("grid", set()), ("observed", {"bent continuum"})):
        setup = Setup(experiment(name, 20.0), "", "", "", "", 0, points)
        assert set(calibration_spectra.kinds_for(setup, True)) == set(KINDS) - absent
        assert not any(KINDS[kind].outside for kind in calibration_spectra.kinds_for(setup, False))


def test_a_fit_that_began_wrongly_is_begun_again_from_what_is_nearest() -> None:
    stars = np.array([[4500.0, 4.5, 0.2, 4.0, 2.0, 0.0, 0.0], [5777.0, 4.4, 0.0, 8.0, 2.0, 0.0, 0.0]])
    flux = torch.from_numpy(noisy(stars, 100.0, 5))
    noise, wrong = torch.full(flux.shape, 0.01), np.array([[9500.0, 4.5, -2.4, 29.0], [9500.0, 4.5, -2.4, 29.0]])
    direct = best_fits(forward(), flux.numpy(), noise.numpy(), stars[:, :4])
    lost = best_fits(forward(), flux.numpy(), noise.numpy(), wrong, Fitting(rounds=0))
    found = flag_steps._fits(forward(), flux, noise, wrong, Fitting(rounds=0))
    assert lost.scatter.min() > 5
    np.testing.assert_allclose(found.scatter, direct.scatter, rtol=0.02)
    kept = flag_steps._fits(forward(), flux, noise, stars[:, :4], Fitting())
    np.testing.assert_allclose(kept.wanted, direct.wanted)  # a fit that leaves nothing over stays
