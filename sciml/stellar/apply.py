"""A star's labels from its spectrum: velocity first, then the best model, then the networks of a training run.

sigmas: what the residuals of the fit say (`star_fit`), and in squares what methods disagree by on the same spectra of
FGK stars, which no residual shows: 55 K, 0.13 and 0.07 dex (median over stars of the dispersion of the methods of the
Gaia-ESO survey: Smiljanic et al. 2014, A&A 570, A122); for v sin i 0.73 km/s, by which macroturbulence scatters
(Doyle et al. 2014, MNRAS 444, 3592).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sciml.data.spectrum import Spectrum, to_rest, vacuum_to_air
from sciml.stellar.broadening import Broadening
from sciml.stellar.emulator import Emulator
from sciml.stellar.instrument import HARPS_POWER
from sciml.stellar.labels import LABELS, PARAMETERS, UNRESOLVED_VSINI, usual_alpha, usual_vmic
from sciml.stellar.network_view import TrainedNetwork, asked, resolves
from sciml.stellar.star_fit import StarFit, fit_star
from sciml.stellar.velocity import Velocity, find_velocity
from sciml.stellar.wavelengths import GRID

CHI2 = "chi2"
METHODS_DISAGREE = (55.0, 0.13, 0.07, 0.73)  # [K, dex, dex, km/s]
COOLEST = 4250.0  # [K] below it the line list lacks C2 and TiO
LOWEST_SNR = 10.0
MOST_MISFIT, MOST_UNEXPLAINED = 0.05, 0.1  # of the continuum, 0.01 to 0.02 in real stars; of the flux's variance
OUTSIDE = {"teff": 1.5, "logg": 1.5, "feh": 1.5, "vsini": 1.5, "vmic": 3.0, "alpha": 3.0}  # sigmas beyond an end
APART = 18.5  # chi-square of four labels that one star in a thousand exceeds
TEMPLATES = (  # teff, logg, feh
    (3900.0, 1.5, 0.0),
    (4500.0, 4.6, 0.0),
    (4800.0, 2.0, -1.5),
    (5800.0, 4.4, 0.0),
    (6500.0, 4.2, -0.5),
    (8500.0, 4.0, 0.0),
)
MEANING = {  # in the order of the bits by which stores hold them: new ones come last
    "no_lines": "no velocity at which lines of a star show; not measured",
    "emission": "lines go up; not measured",
    "rv_at_edge": "velocity at the end of the search",
    "vacuum": "wavelengths were those of vacuum; converted",
    "vacuum_or_fast": "a velocity of 83 km/s: wavelengths of vacuum, or a fast star",
    "outside_grid": "the best model lies at an end of the grid and the star beyond",
    "poor_fit": "no model of the grid fits",
    "low_snr": "SNR per pixel below 10",
    "cool": "below 4250 K: internal consistency only, the line list lacks C2 and TiO",
    "vsini_upper_limit": "rotation is not resolved; the upper limit holds",
    "lower_resolution": "lines less sharp than in training: networks were not asked",
    "partly_observed": "less than half of the networks' pixels: networks were not asked",
    "disagrees": "far from the best model, by more than both uncertainties",
    "outside_training": "hotter or cooler than the stars of training: networks were not asked",
}


# what is said beside labels and not against them
NOTICES = ("vacuum", "vsini_upper_limit", "lower_resolution", "partly_observed", "outside_training")


def doubts(flags: Sequence[str]) -> tuple[str, ...]:
    """Flags that cast doubt on labels."""
    return tuple(flag for flag in flags if flag not in NOTICES)


@dataclass(frozen=True, eq=False)
class Measured:
    """Labels by one method: mean (4,), covariance (4, 4) of LABELS, NaN where not measured. vsini_is: `rotation`
    (macroturbulence marginalised) or `total` broadening. vsini_limit: 95 % upper limit [km/s], NaN where resolved."""

    method: str
    mean: np.ndarray
    covariance: np.ndarray
    vsini_is: str
    vsini_limit: float
    flags: tuple[str, ...]

    @property
    def sigma(self) -> np.ndarray:
        """(4,)."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True, eq=False)
class Star:
    """velocity, fit: None where there was none. methods: `chi2` first, then networks. flags: of the spectrum; those of
    a method have them too."""

    name: str
    spectrum: Spectrum
    velocity: Velocity
    fit: StarFit | None
    methods: tuple[Measured, ...]
    flags: tuple[str, ...]

    @property
    def rv(self) -> float:
        """[km/s]."""
        return self.velocity.rv


def measure(
    spectrum: Spectrum,
    emulator: Emulator,
    networks: Sequence[TrainedNetwork] = (),
    *,
    model_error: Sequence[float] = METHODS_DISAGREE,
    expected_rv: float | None = None,
    seed: int = 0,
) -> Star:
    """Labels of one star. expected_rv: [km/s] where it is known otherwise. model_error (4,): sigmas that models have in
    common, added in squares. Raises InputError for spectra outside the window."""
    velocity, spectrum = first_velocity(spectrum, emulator, expected_rv)
    if {"no_lines", "emission"} & set(velocity.flags):
        nothing = [_nothing(name, velocity.flags) for name in (CHI2, *(one.name for one in networks))]
        return Star(spectrum.name, spectrum, velocity, None, tuple(nothing), velocity.flags)
    fit = fit_star(to_rest(spectrum, velocity.rv), emulator, seed)
    again = find_velocity(spectrum, broadened(emulator, fit.best), expected=expected_rv)
    flags = _flags(spectrum, fit, (*velocity.flags, *again.flags), networks)
    common = np.diag(np.square(np.asarray(model_error, float)))
    best = _measured(CHI2, fit.mean, fit.covariance + common, "rotation", flags, spectrum.resolving_power)
    others = [_by_network(one, fit, spectrum, best, flags, common) for one in networks]
    return Star(spectrum.name, spectrum, again, fit, (best, *others), flags)


def first_velocity(spectrum: Spectrum, emulator: Emulator, expected: float | None = None) -> tuple[Velocity, Spectrum]:
    """Velocity by the most significant of six templates; the spectrum, its wavelengths in air if they were not."""

    def best(seen: Spectrum) -> Velocity:
        tried = [find_velocity(seen, template, expected=expected) for template in _templates(emulator)]
        return max(tried, key=lambda found: found.significance)

    velocity = best(spectrum)
    if "vacuum" not in velocity.flags:
        return velocity, spectrum
    corrected = replace(spectrum, wave=vacuum_to_air(spectrum.wave))
    velocity = best(corrected)
    return replace(velocity, flags=("vacuum", *velocity.flags)), corrected


def broadened(emulator: Emulator, parameters: np.ndarray) -> np.ndarray:
    """(29400,) flux over continuum on GRID of a star (7,), without an instrument."""
    with torch.no_grad():
        fourier, epsilon = emulator(torch.from_numpy(parameters[None]))
        columns = (PARAMETERS.index(name) for name in ("vsini", "vmac"))
        vsini, vmac = (torch.tensor([parameters[column]]) for column in columns)
        factor = Broadening(np.inf).stars(vsini, vmac, epsilon)
        return torch.fft.irfft(fourier * factor[:, : fourier.shape[1]], n=GRID.size)[0].numpy()


def _templates(emulator: Emulator) -> list[np.ndarray]:
    found = []
    for teff, logg, feh in TEMPLATES:
        nuisances = [float(x) for x in (usual_vmic(*np.array([teff, logg, feh])), usual_alpha(np.array(feh)))]
        found.append(broadened(emulator, np.array([teff, logg, feh, 2.0, *nuisances, 3.0])))
    return found


def _flags(
    spectrum: Spectrum, fit: StarFit, found: Sequence[str], networks: Sequence[TrainedNetwork]
) -> tuple[str, ...]:
    flags = list(dict.fromkeys(found))
    if any(fit.beyond[PARAMETERS.index(name)] > most for name, most in OUTSIDE.items()):
        flags.append("outside_grid")
    if fit.misfit > MOST_MISFIT or (fit.unexplained > MOST_UNEXPLAINED and fit.misfit > 0.01):
        flags.append("poor_fit")
    if fit.snr < LOWEST_SNR:
        flags.append("low_snr")
    if fit.mean[0] - np.sqrt(fit.covariance[0, 0]) < COOLEST:
        flags.append("cool")
    if any(not resolves(one, spectrum.resolving_power) for one in networks):
        flags.append("lower_resolution")
    return tuple(flags)


def _by_network(
    network: TrainedNetwork,
    fit: StarFit,
    spectrum: Spectrum,
    best: Measured,
    flags: tuple[str, ...],
    common: np.ndarray,
) -> Measured:
    if not resolves(network, spectrum.resolving_power):
        return _nothing(network.name, flags)
    if not network.teff[0] <= best.mean[0] <= network.teff[1]:
        return _nothing(network.name, (*flags, "outside_training"))
    answer = asked(network, fit, spectrum.resolving_power)
    if answer is None:
        return _nothing(network.name, (*flags, "partly_observed"))
    mean, covariance = answer.mean[0], answer.covariance[0] + common
    apart = (mean - best.mean)[:3]  # v sin i may mean another thing
    together = (covariance + best.covariance)[:3, :3]
    if apart @ np.linalg.solve(together, apart) > APART:
        flags = (*flags, "disagrees")
    meaning = "total" if network.total else "rotation"
    return _measured(network.name, mean, covariance, meaning, flags, spectrum.resolving_power)


def _measured(
    method: str, mean: np.ndarray, covariance: np.ndarray, meaning: str, flags: tuple[str, ...], power: float
) -> Measured:
    """v sin i that no line shows: below 2 km/s at R = 115,000, in proportion to the instrument's profile elsewhere. No
    star turns by less than nothing, though the mean of a network's Gaussian may."""
    column = LABELS.index("vsini")
    mean, limit = mean.copy(), float("nan")
    mean[column] = max(mean[column], 0.0)
    if mean[column] < UNRESOLVED_VSINI * max(HARPS_POWER / power, 1.0):
        limit = float(mean[column] + 1.645 * np.sqrt(covariance[column, column]))
        flags = (*flags, "vsini_upper_limit")
    return Measured(method, mean, covariance, meaning, limit, flags)


def _nothing(method: str, flags: tuple[str, ...]) -> Measured:
    count = len(LABELS)
    return Measured(method, np.full(count, np.nan), np.full((count, count), np.nan), "", float("nan"), flags)
