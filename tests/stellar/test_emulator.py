"""The emulator: exact where it may be, close where it is asked, smooth."""

import numpy as np
import pytest
import torch

from sciml.core.errors import InputError
from sciml.generated.spectra import LineModel
from sciml.stellar import labels
from sciml.stellar.emulator import (
    FREQUENCIES,
    Emulator,
    EmulatorSettings,
    fit_emulator,
    load_emulator,
    principal_components,
)
from sciml.stellar.grid import ModelSpectra
from sciml.stellar.labels import PARAMETERS
from sciml.stellar.wavelengths import GRID

SETTINGS = EmulatorSettings(components=40, searched=120)


def made(count: int, seed: int) -> ModelSpectra:
    """Generated models of 4500-7000 K, where a few of them say what the others are."""
    parameters = labels.draw(8 * count, seed, "nuisance")
    inside = (parameters[:, 0] > 4500) & (parameters[:, 0] < 7000) & (parameters[:, 1] > 2)
    parameters = parameters[inside][:count]
    columns = [PARAMETERS.index(name) for name in labels.ATMOSPHERIC]
    spectra = [LineModel(0)(row[columns]) for row in parameters]
    return ModelSpectra(parameters, np.stack([f for f, _ in spectra]), np.array([e for _, e in spectra]))


@pytest.fixture(scope="module")
def learned() -> ModelSpectra:
    return made(160, 1)


@pytest.fixture(scope="module")
def emulator(learned: ModelSpectra) -> Emulator:
    return fit_emulator(learned, SETTINGS, 0)


def flux_of(emulator: Emulator, parameters: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.fft.irfft(emulator(torch.from_numpy(parameters))[0], n=GRID.size).numpy()


def test_components_are_orthonormal_and_give_the_models_back(learned: ModelSpectra) -> None:
    mean, components, coefficients = principal_components(learned.flux, 100)
    np.testing.assert_allclose(components @ components.T, np.eye(len(components)), atol=2e-3)
    error = learned.flux - (mean + coefficients @ components)
    spread = ((learned.flux - learned.flux.mean(0)) ** 2).sum()
    assert (error**2).sum() < 1e-3 * spread
    assert (error**2).sum() == pytest.approx(spread - (coefficients**2).sum(), rel=0.05)


def test_what_it_learned_it_knows(learned: ModelSpectra, emulator: Emulator) -> None:
    whole = fit_emulator(learned, EmulatorSettings(components=len(learned), searched=120), 0)
    kept = np.fft.irfft(np.fft.rfft(learned.flux)[:, :FREQUENCIES], n=GRID.size)
    np.testing.assert_allclose(flux_of(whole, learned.parameters), kept, atol=1e-3)
    with torch.no_grad():
        epsilon = emulator(torch.from_numpy(learned.parameters))[1].numpy()
    np.testing.assert_allclose(epsilon, learned.epsilon, atol=1e-3)


def test_it_is_close_to_models_that_it_has_not_seen(learned: ModelSpectra, emulator: Emulator) -> None:
    test = made(40, 2)
    error = np.abs(flux_of(emulator, test.parameters) - test.flux)
    few = fit_emulator(learned.select(np.arange(40)), SETTINGS, 0)
    assert np.percentile(error, 95) < 0.01
    assert np.sqrt((error**2).mean()) < 0.5 * np.sqrt(((flux_of(few, test.parameters) - test.flux) ** 2).mean())


def test_its_derivatives_are_those_of_differences(emulator: Emulator) -> None:
    star = torch.tensor([[5600.0, 4.1, -0.3, 5.0, 1.2, 0.1, 2.0]], dtype=torch.float64)
    steps = torch.tensor([1.0, 1e-3, 1e-3, 1.0, 1e-3, 1e-3, 1.0], dtype=torch.float64)
    star.requires_grad_(True)
    coefficients, _ = emulator.predict(star)
    (slope,) = torch.autograd.grad(coefficients[0, 0], star)
    for column in (0, 1, 2, 4, 5):
        ends = [star.detach().clone() for _ in range(2)]
        for sign, end in zip((-1, 1), ends, strict=True):
            end[0, column] += sign * steps[column]
        low, high = (float(emulator.predict(end)[0][0, 0]) for end in ends)
        assert float(slope[0, column]) == pytest.approx((high - low) / (2 * float(steps[column])), rel=1e-3, abs=1e-8)
    assert slope[0, 3] == slope[0, 6] == 0


def test_its_state_is_all_there_is(emulator: Emulator) -> None:
    again = load_emulator(emulator.state_dict())
    star = labels.draw(4, 9, "paper")
    np.testing.assert_array_equal(flux_of(again, star), flux_of(emulator, star))


def test_a_checkpoint_of_another_version_is_refused(emulator: Emulator) -> None:
    state = emulator.state_dict()
    with pytest.raises(InputError, match="another version"):
        load_emulator(state | {"components": state["components"][:, :100]})
