"""An observed star as a network was trained to see one: on its spectrograph's pixels, at rest, over the continuum."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter1d

from sciml.data.spectrum import LIGHT
from sciml.stellar import continuum
from sciml.stellar.answers import Answers
from sciml.stellar.calibration import Calibration
from sciml.stellar.instrument import Spectrograph
from sciml.stellar.labels import RANGES
from sciml.stellar.star_fit import StarFit

SAME_RESOLUTION = 0.95  # resolving power over the network's from which on lines are as sharp as in training
_FWHM = 2.3548
_FEWEST = 0.5  # share of a network's pixels that must have been observed

Ask = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network and what it was trained on.

    ask: as `networks.Asked`: flux (n, order, pixel), snr (n,), mask -> labels (n, 4), covariance (n, 4, 4). used:
    (order, pixel) false where it saw nothing in training, None for everywhere. renormalise: whether orders were divided
    by `continuum.estimate`. snr: range of training. total: whether stars had rotation alone, so that its v sin i is the
    total broadening. teff: [K] of the stars of training.
    """

    name: str
    ask: Ask
    spectrograph: Spectrograph
    used: np.ndarray | None = None
    renormalise: bool = False
    snr: tuple[float, float] = (10.0, 300.0)
    total: bool = True
    calibration: Calibration | None = None
    teff: tuple[float, float] = RANGES["teff"]


def resolves(network: TrainedNetwork, resolving_power: float) -> bool:
    """Whether lines are as sharp as the network knows them, or can be made so."""
    return resolving_power >= SAME_RESOLUTION * network.spectrograph.resolving_power


def asked(network: TrainedNetwork, fit: StarFit, resolving_power: float) -> Answers | None:
    """The network's answer (1 spectrum), None where less than half of its pixels were observed.

    It is told the SNR of the residual from the best model, not that of photons. Its covariance is that of white noise,
    so it is multiplied by the number of pixels that err together.
    """
    flux, mask = seen(network, fit, resolving_power)
    there = mask.mean() if network.used is None else mask[network.used].mean()
    if there < _FEWEST:
        return None
    rms = float(np.std((fit.flux - fit.model)[fit.used]))
    snr = np.clip(np.array([1 / max(rms, 1e-6)]), *network.snr)
    mean, covariance = network.ask(flux[None], snr, mask[None])
    answers = Answers(mean, covariance * max(fit.shared, 1.0))
    return answers if network.calibration is None else network.calibration.apply(answers, snr)


def seen(network: TrainedNetwork, fit: StarFit, resolving_power: float) -> tuple[np.ndarray, np.ndarray]:
    """Flux over continuum and mask (order, pixel) on the network's pixels: 1 and false where nothing was observed.

    Where orders overlap their mean, by weight. Sharper spectra are smoothed to the network's resolution.
    """
    wave = network.spectrograph.wave
    total, weights = np.zeros_like(wave), np.zeros_like(wave)
    target = network.spectrograph.resolving_power
    for row in range(len(fit.wave)):
        along, used = fit.wave[row], fit.used[row]
        filled = np.where(used, fit.flux[row], fit.model[row])
        if resolving_power > target / SAME_RESOLUTION:
            width = LIGHT / _FWHM * np.sqrt(target**-2.0 - resolving_power**-2.0)
            filled = gaussian_filter1d(filled, width / (LIGHT * np.median(np.diff(np.log(along)))))
        place = np.interp(wave, along, np.arange(float(len(along))), left=-1.0, right=-1.0)
        whole = used[np.floor(np.maximum(place, 0)).astype(int)] & used[np.ceil(np.maximum(place, 0)).astype(int)]
        whole &= place >= 0
        counts = np.where(whole, 1 / fit.sigma[row][np.round(np.maximum(place, 0)).astype(int)] ** 2, 0.0)
        total += counts * np.where(whole, make_interp_spline(along, filled, k=3)(np.clip(wave, *along[[0, -1]])), 0.0)
        weights += counts
    mask = weights > 0
    if network.used is not None:
        mask &= network.used
    flux = np.where(mask, total / np.where(weights > 0, weights, 1.0), 1.0)
    if not network.renormalise:
        return flux, mask
    rms = float(np.std((fit.flux - fit.model)[fit.used]))
    level = continuum.estimate(*(torch.from_numpy(x)[None] for x in (flux, np.full_like(flux, rms), mask)))[0].numpy()
    return np.where(mask, flux / level, 1.0), mask
