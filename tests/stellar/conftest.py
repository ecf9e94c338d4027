"""An emulator of generated stars, and observed spectra of them with what befalls real ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sciml.data.spectrum import LIGHT, Spectrum, shifted
from sciml.generated.spectra import LineModel
from sciml.stellar import labels
from sciml.stellar.emulator import Emulator, EmulatorSettings, fit_emulator
from sciml.stellar.grid import ModelSpectra
from sciml.stellar.labels import ATMOSPHERIC, PARAMETERS
from sciml.stellar.sampling import PixelGrid, Sampler

_COLUMNS = [PARAMETERS.index(name) for name in ATMOSPHERIC]
SUN = np.array([5777.0, 4.44, 0.0, 3.0, 1.1, 0.0, 3.0])


def spectra_of(parameters: np.ndarray, model: LineModel) -> ModelSpectra:
    made = [model(row[_COLUMNS]) for row in parameters]
    return ModelSpectra(parameters, np.stack([flux for flux, _ in made]), np.array([e for _, e in made]))


@pytest.fixture(scope="session")
def line_model() -> LineModel:
    return LineModel(0)


@pytest.fixture(scope="session")
def emulator(line_model: LineModel) -> Emulator:
    """Fitted to 250 stars all over the grid."""
    models = spectra_of(labels.draw(250, 1, "nuisance"), line_model)
    return fit_emulator(models, EmulatorSettings(components=80, searched=150), seed=0)


class LinesOff(LineModel):
    """Lines whose strengths are wrong by 0.1 dex each: what a line list is to a real star."""

    def strength(self, parameters: np.ndarray) -> np.ndarray:
        wrong = np.random.default_rng(self.seed_of_faults).normal(0.0, self.fault, len(self.log_solar))
        return super().strength(parameters) * 10**wrong

    fault: float = 0.1
    seed_of_faults: int = 0


def faulty(seed: int, fault: float = 0.1) -> LineModel:
    model = LinesOff(0)
    object.__setattr__(model, "seed_of_faults", seed)
    object.__setattr__(model, "fault", fault)
    return model


def observed(
    parameters: np.ndarray,
    model: LineModel,
    *,
    rv: float = 0.0,
    snr: float = 200.0,
    seed: int = 0,
    orders: int = 7,
    pixels: int = 2600,
    power: float = 115_000.0,
    merged: bool = False,
) -> Spectrum:
    """A star in orders of 57 A, bent by what the blaze left, with white noise; sigma is known. merged: one order."""
    if merged:
        wave = np.arange(5025.0, 5390.0, 0.02)[None]
    else:
        first = np.linspace(5026.0, 5330.0, orders)
        wave = first[:, None] + np.linspace(0.0, 57.0, pixels)
    spectrum = spectra_of(parameters[None], model)
    sampler = Sampler(PixelGrid(wave / (1 + rv / LIGHT), power))
    fourier = torch.fft.rfft(torch.from_numpy(spectrum.flux))
    seen = sampler.observe(fourier, torch.from_numpy(parameters[None]).float(), torch.tensor(spectrum.epsilon).float())
    u = np.linspace(-1, 1, wave.shape[1])
    generator = np.random.default_rng(seed)
    bend = 1 + 0.08 * generator.normal(size=(len(wave), 1)) * u + 0.05 * generator.normal(size=(len(wave), 1)) * u**2
    level = 700.0 * (1 + np.arange(len(wave)))[:, None]
    flux = seen[0].double().numpy() + generator.normal(size=wave.shape) / snr
    return Spectrum("planted", wave, flux * bend * level, np.broadcast_to(bend * level / snr, wave.shape), power)


def moved(spectrum: Spectrum, velocity: float) -> Spectrum:
    return replace(spectrum, wave=shifted(spectrum.wave, velocity))
