"""Generated stars at two short orders, and their emulator: small enough for tests."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from sciml.generated.spectra import LineModel
from sciml.stellar import labels
from sciml.stellar.emulator import EmulatorSettings, fit_emulator
from sciml.stellar.forward import ForwardModel
from sciml.stellar.grid import ModelSpectra
from sciml.stellar.instrument import generated
from sciml.stellar.labels import ATMOSPHERIC, PARAMETERS

LINES = LineModel(0)


def synthesised(parameters: np.ndarray) -> ModelSpectra:
    made = [LINES(row[[PARAMETERS.index(name) for name in ATMOSPHERIC]]) for row in parameters]
    return ModelSpectra(parameters, np.stack([flux for flux, _ in made]), np.array([epsilon for _, epsilon in made]))


@cache
def forward() -> ForwardModel:
    """Learned from 200 models as the paper has them, 5130 to 5220 A in two orders of 1,000 pixels."""
    emulator = fit_emulator(synthesised(labels.draw(200, 77, "paper")), EmulatorSettings(60, 100), seed=0)
    return ForwardModel(emulator, generated(2, 1000, 5130.0, 5220.0).pixels)


def observed(models: ModelSpectra) -> Tensor:
    """(n, order, pixel) without noise, by the syntheses themselves."""
    parameters, epsilon = (torch.from_numpy(values).float() for values in (models.parameters, models.epsilon))
    with torch.no_grad():
        return forward().sampler.observe(torch.fft.rfft(torch.from_numpy(models.flux)), parameters, epsilon)
