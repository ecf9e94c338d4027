"""The baseline: what it must find when the answer is known, and that its covariances hold."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from sciml.core.errors import ConfigError, InputError
from sciml.stellar.labels import LABELS, RANGES, scale
from sciml.stellar.ridge import RidgeModel, RidgeSettings, fit_ridge, ridge_weights
from sciml.stellar.samples import SNR, Drawn, draw
from tests.stellar.toy import ToyLines

SETTINGS = RidgeSettings(drawn=200, components=20, products=8, fitted=600, held=600, bands=3)
SOURCE = ToyLines(orders=2, pixels=64, lines=30)


@dataclass(frozen=True)
class Planted:
    """Spectra that are linear in the labels."""

    shape: tuple[int, int] = (2, 40)

    def draw(self, generator: torch.Generator, snr: Tensor) -> Drawn:
        low, high = torch.tensor([RANGES[name] for name in LABELS]).T
        unit = 2 * torch.rand(len(snr), 4, generator=generator) - 1
        patterns = torch.linalg.qr(torch.randn(80, 4, generator=torch.Generator().manual_seed(5)))[0]
        clean = 1 + 0.2 * (unit @ patterns.T).view(-1, *self.shape)
        flux = clean + torch.randn(clean.shape, generator=generator) / snr[:, None, None]
        return Drawn(flux, clean, torch.ones_like(flux, dtype=torch.bool), (low + high) / 2 + unit * (high - low) / 2)


@pytest.fixture(scope="module")
def toy() -> RidgeModel:
    return fit_ridge(SOURCE, SNR(50.0, 50.0), SETTINGS, seed=1)


def asked(model: RidgeModel, source: object, snr: SNR, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors (n, 4) in standard deviations and in half ranges."""
    ratio, drawn = draw(source, snr, count, seed)  # type: ignore[arg-type]
    mean, covariance = model(drawn.flux.numpy(), ratio.numpy(), drawn.mask.numpy())
    error = mean - drawn.labels.numpy()
    return error / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)), error / scale()[1]


def test_labels_that_spectra_are_linear_in_are_found_to_the_noise() -> None:
    settings = RidgeSettings(drawn=100, components=4, products=0, fitted=1000, held=300, bands=2)
    model = fit_ridge(Planted(), SNR(100.0, 100.0), settings, seed=0)
    error = asked(model, Planted(), SNR(100.0, 100.0), 2000, 9)[1]
    # orthonormal patterns of 0.2 a half range: each label is one projection with noise 0.01 / 0.2, cut at the ends
    assert 0.9 * 0.05 < np.sqrt((error**2).mean()) < 1.02 * 0.05


def test_products_of_components_hold_what_saturates(toy: RidgeModel) -> None:
    straight = fit_ridge(SOURCE, SNR(50.0, 50.0), RidgeSettings(200, 20, 0, 600, 600, 3), seed=1)
    error = [np.sqrt((asked(m, SOURCE, SNR(50.0, 50.0), 600, 3)[1] ** 2).mean()) for m in (straight, toy)]
    assert error[1] < 0.9 * error[0]


def test_weights_are_those_of_another_implementation() -> None:
    draws = np.random.default_rng(0)
    x, noise = draws.standard_normal((200, 30)), draws.standard_normal((200, 2))
    target = np.stack([3 + x[:, 0], 0.02 * x[:, :5].sum(1)], 1) + noise * (0.1, 1.0)
    penalties = np.logspace(-1, 5, 7)
    folds = [(np.flatnonzero(np.arange(200) % 4 != k), np.flatnonzero(np.arange(200) % 4 == k)) for k in range(4)]
    found = ridge_weights(x, target, penalties, 4)
    for column in range(2):
        other = RidgeCV(penalties, cv=folds, scoring="neg_mean_squared_error").fit(x, target[:, column])
        np.testing.assert_allclose(found[:-1, column], other.coef_, atol=1e-10)
        np.testing.assert_allclose(found[-1, column], other.intercept_, atol=1e-10)


def test_covariances_hold_on_fresh_draws_of_each_ratio() -> None:
    model = fit_ridge(SOURCE, SNR(10.0, 80.0), SETTINGS, seed=1)
    np.testing.assert_allclose(model.ratios, [10, 20, 40, 80])
    for ratio in (11.0, 72.0):
        pull, _ = asked(model, SOURCE, SNR(ratio, ratio), 600, 4)
        assert np.all(abs((pull**2).mean(0) - 1) < 0.25)  # 0.06 of a Gaussian's
    noisy, clear = (asked(model, SOURCE, SNR(r, r), 600, 4)[1] for r in (10.0, 80.0))
    assert np.sqrt((clear**2).mean()) < 0.8 * np.sqrt((noisy**2).mean())


def test_masked_pixels_are_as_on_average_whatever_they_hold(toy: RidgeModel) -> None:
    ratio, drawn = draw(SOURCE, SNR(50.0, 50.0), 20, 2)
    flux, mask = drawn.flux.numpy(), np.ones((20, *SOURCE.shape), bool)
    mask[:, 1, 20:50] = False
    filled = np.where(mask, flux, toy.average)
    spoiled = np.where(mask, flux, np.nan)
    whole = toy(filled, ratio.numpy(), np.ones_like(mask))
    for found, expected in zip(toy(spoiled, ratio.numpy(), mask), whole, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not np.allclose(whole[0], toy(flux, ratio.numpy(), np.ones_like(mask))[0])


def test_nothing_but_masked_pixels_gives_the_middle_of_the_grid(toy: RidgeModel) -> None:
    mask = np.zeros((1, *SOURCE.shape), bool)
    mean, covariance = toy(np.full(mask.shape, np.nan), np.array([50.0]), mask)
    low, high = np.array([RANGES[name] for name in LABELS]).T
    assert np.all((mean[0] > low) & (mean[0] < high))
    assert np.all(np.linalg.eigvalsh(covariance) > 0)


def test_a_checkpoint_gives_the_same_answers(toy: RidgeModel) -> None:
    state = toy.state()
    assert all(isinstance(value, Tensor) for value in state.values())
    ratio, drawn = draw(SOURCE, SNR(50.0, 50.0), 10, 2)
    given = drawn.flux.numpy(), ratio.numpy(), drawn.mask.numpy()
    for found, expected in zip(RidgeModel.from_state(state)(*given), toy(*given), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_same_seed_gives_the_same_model(toy: RidgeModel) -> None:
    again = fit_ridge(SOURCE, SNR(50.0, 50.0), SETTINGS, seed=1)
    other = fit_ridge(SOURCE, SNR(50.0, 50.0), SETTINGS, seed=2)
    np.testing.assert_array_equal(again.weights, toy.weights)
    assert not np.array_equal(other.weights, toy.weights)


def test_wrong_input_is_refused(toy: RidgeModel) -> None:
    flux, mask = np.ones((2, *SOURCE.shape)), np.ones((2, *SOURCE.shape), bool)
    with pytest.raises(InputError, match=r"\(2, 2, 32\).*expected \(n, 2, 64\)"):
        toy(flux[..., ::2], np.full(2, 50.0), mask[..., ::2])
    flux[1, 0, 3] = np.nan
    with pytest.raises(InputError, match="spectrum 1 has a pixel that is not finite"):
        toy(flux, np.full(2, 50.0), mask)
    with pytest.raises(ConfigError, match="10 products, 5 components"):
        RidgeSettings(components=5, products=10)
