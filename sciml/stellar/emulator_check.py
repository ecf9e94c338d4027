"""The emulator against direct syntheses that it did not learn from."""

import os
import time
from dataclasses import dataclass

import numpy as np
import torch

from sciml.stellar import labels
from sciml.stellar.experiments import direct, models_of
from sciml.stellar.forward import ForwardModel, covariance_of, cramer_rao, fisher_matrix
from sciml.stellar.labels import LABELS
from sciml.stellar.posterior import V0, to_working

SNR = 100.0
_AT_ONCE = 16
_TIMED = 2048  # spectra
_VSINI = LABELS.index("vsini")


@dataclass(frozen=True, eq=False)
class EmulatorErrors:
    """Of each test model: parameters (model, 7); pixel (model, 3): 50th, 95th and 99.9th percentile over pixels of the
    absolute error [continuum]; bias (model, 4): what it adds to each label in a fit, over the Cramer-Rao sigma at SNR
    100. everywhere, worst: 95th and 99.9th percentile over all models and pixels; worst_pixel: the largest, over
    pixels, of the 95th percentile over models."""

    parameters: np.ndarray
    pixel: np.ndarray
    bias: np.ndarray
    everywhere: float
    worst: float
    worst_pixel: float


def errors(forward: ForwardModel, test: str) -> EmulatorErrors:
    """Errors on the models of a store, as the spectrograph of the forward model sees them."""
    models = models_of(test)
    working = to_working(models.parameters)
    pixel, bias, everything = [], [], []
    for index in np.array_split(np.arange(len(models)), -(-len(models) // _AT_ONCE)):
        with torch.no_grad():
            true = direct(forward, models, index, torch.from_numpy(models.parameters[index]))
        error = forward.at(working[index]) - true
        size = error.abs().flatten(1).numpy()
        pixel.append(np.percentile(size, (50, 95, 99.9), axis=1).T)
        everything.append(size.astype(np.float16))
        jacobian = forward.jacobian(working[index])
        covariance = covariance_of(fisher_matrix(jacobian, torch.full((1, 1, 1), 1 / SNR)))
        gradient = torch.einsum("npox,nox->np", jacobian, error).double().numpy() * SNR**2
        induced = np.einsum("nij,nj->ni", covariance, gradient)
        u = np.maximum(working[index, _VSINI], 1e-6)
        induced[:, _VSINI] *= (u + V0) / np.sqrt(u * (u + 2 * V0))
        bias.append(induced / cramer_rao(covariance, working[index]))
    whole = np.concatenate(everything)
    by_pixel = np.percentile(whole, 95, axis=0)
    return EmulatorErrors(
        models.parameters,
        np.concatenate(pixel),
        np.concatenate(bias),
        float(np.percentile(whole, 95)),
        float(np.percentile(whole, 99.9)),
        float(by_pixel.max()),
    )


def spectra_per_second(forward: ForwardModel, device: str = "cpu") -> float:
    """How many spectra the forward model makes, all cores at work, at random parameters."""
    forward = forward.to(device)
    parameters = torch.from_numpy(labels.draw(_TIMED, 0, "nuisance")).to(device)
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        with torch.no_grad():
            forward(parameters[:64])
            began = time.perf_counter()
            for part in parameters.split(256):
                forward(part)
            if device != "cpu":
                torch.cuda.synchronize()
            return _TIMED / (time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
