"""Spectra that are none of the grid's, planted to see whether flags find them.

A kind moves the parameters of a star of the grid beyond it, or spoils what the spectrograph sees of that star, or both.
How far is drawn from ranges that were set before any score was seen. Some strangers look like stars of the grid all the
same (a star just beyond its end, few lines in much noise): `distance` tells how far each is from the nearest spectrum
of the grid, and `detectable` from which distance on a test of all pixels would find it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.random import Generator
from scipy.optimize import brentq
from scipy.stats import chi2 as chi_square
from scipy.stats import ncx2
from torch import Tensor

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.stellar import labels
from sciml.stellar.consistency import Fits, best_fits
from sciml.stellar.forward import ForwardModel
from sciml.stellar.grid import ModelSpectra, Synthesis
from sciml.stellar.labels import ATMOSPHERIC, LABELS, PARAMETERS, RANGES, Prior
from sciml.stellar.posterior import to_working
from sciml.stellar.refit import Fitting
from sciml.stellar.sampling import Sampler
from sciml.stellar.wavelengths import SPEED_OF_LIGHT

REFRACTION = 2.78e-4  # n - 1 of air at 5200 A (Ciddor 1996)
_COLUMN = {name: number for number, name in enumerate(PARAMETERS)}
_NEAREST = 2  # spectra of a library from which the nearest of the grid is sought
_BATCH = 32
_ROUNDS = 8
_LABELS_ALONE = Fitting()

Move = Callable[[np.ndarray, Generator], np.ndarray]
Look = Callable[[Sampler, ModelSpectra, Generator], Tensor]


@dataclass(frozen=True)
class Kind:
    """name: of what is wrong. moved: parameters (n, 7) of stars of the grid -> of strangers. seen: pixels (n, order,
    pixel) of models, without noise. outside: whether spectra must be synthesised where the grid has no models."""

    name: str
    moved: Move
    seen: Look
    outside: bool = False


@dataclass(frozen=True, eq=False)
class Planted:
    """parameters (n, 7): of the stars, before they were spoiled. flux: (n, order, pixel) without noise."""

    kind: str
    parameters: np.ndarray
    flux: Tensor


def moved(kind: str, stars: np.ndarray, seed: int) -> np.ndarray:
    """Parameters (n, 7) of strangers of a kind, from those of stars of the grid."""
    return _kind(kind).moved(stars.copy(), _generator(seed, kind, "moved"))


def seen(kind: str, sampler: Sampler, models: ModelSpectra, seed: int) -> Tensor:
    """(n, order, pixel) of strangers of a kind, without noise. models: at their parameters, already `moved`."""
    return _kind(kind).seen(sampler, models, _generator(seed, kind, "seen"))


def plant(kind: str, sampler: Sampler, stars: np.ndarray, synthesis: Synthesis, seed: int) -> Planted:
    """Strangers of a kind from stars (n, 7) of the grid, each synthesised."""
    parameters = moved(kind, stars, seed)
    columns = [_COLUMN[name] for name in ATMOSPHERIC]
    made = [synthesis(row[columns]) for row in parameters]
    models = ModelSpectra(parameters, np.stack([flux for flux, _ in made]), np.array([epsilon for _, epsilon in made]))
    return Planted(kind, parameters, seen(kind, sampler, models, seed))


def spoil(kind: str, sampler: Sampler, models: ModelSpectra, seed: int) -> Planted:
    """Strangers of a kind from models of the grid at hand. Raises ConfigError for a kind that lies outside of it."""
    if _kind(kind).outside:
        raise ConfigError(f"strangers: {kind!r} has other atmospheres than the models at hand; use plant()")
    parameters = moved(kind, models.parameters, seed)
    return Planted(kind, parameters, seen(kind, sampler, replace(models, parameters=parameters), seed))


def distance(
    forward: ForwardModel,
    flux: Tensor,
    sigma: Tensor,
    fitting: Fitting = _LABELS_ALONE,
    library: int = 512,
    seed: int = 0,
) -> np.ndarray:
    """(n,) how far spectra without noise are from the nearest one of the grid [standard deviations].

    The root of the least chi-square over the grid of the forward model, by fits from the two nearest of a library of
    its spectra. flux: (n, order, pixel); sigma: of the noise that is thought of, broadcast to it, inf where masked.
    """
    fits = nearest_fits(forward, flux, sigma.broadcast_to(flux.shape), fitting, library, seed)
    return np.sqrt(fits.scatter[:, 0] * fits.means[:, 0])


def nearest_fits(
    forward: ForwardModel, flux: Tensor, sigma: Tensor, fitting: Fitting, library: int = 512, seed: int = 0
) -> Fits:
    """The best fits to spectra (n, order, pixel) from the two nearest of a library of the grid's. sigma: as flux."""
    points, spectra = _library(forward, library, seed, "paper" if fitting.free == LABELS else "nuisance")
    away = [((star - spectra) / noise).square().flatten(1).sum(1) for star, noise in zip(flux, sigma, strict=True)]
    nearest = torch.topk(torch.stack(away), _NEAREST, largest=False).indices.numpy()
    longer = replace(fitting, rounds=_ROUNDS)
    found = best_fits(forward, flux.numpy(), sigma.numpy(), points[nearest[:, 0], : len(LABELS)], longer)
    for start in nearest.T[1:]:
        found = found.better(best_fits(forward, flux.numpy(), sigma.numpy(), points[start, : len(LABELS)], longer))
    return found


def detectable(pixels: int, false: float = 0.015, power: float = 0.95) -> float:
    """Distance [standard deviations] from which on chi-square over so many pixels shows a stranger.

    With the share `power` of them above what `false` of right spectra exceed: non-central chi-square.
    """
    limit = chi_square.isf(false, pixels)
    return float(
        np.sqrt(brentq(lambda square: ncx2.sf(limit, pixels, square) - power, 1e-3, 100 * np.sqrt(pixels) + 1e3))
    )


@lru_cache(maxsize=1)
def _library(forward: ForwardModel, count: int, seed: int, prior: Prior) -> tuple[np.ndarray, Tensor]:
    """Points (n, 7) of the grid and their spectra (n, order, pixel)."""
    points = labels.draw(count, seed, prior)
    return points, torch.cat([forward.at(to_working(part)) for part in np.array_split(points, -(-count // _BATCH))])


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise ConfigError(f"stranger {name!r} is unknown; choose one of {', '.join(KINDS)}")
    return KINDS[name]


def _generator(seed: int, *content: str) -> Generator:
    return np.random.default_rng(seed_for(seed, "strangers", *content))


def _same(parameters: np.ndarray, draws: Generator) -> np.ndarray:
    return parameters


def _beyond(name: str, low: float, high: float, parameters: np.ndarray, draws: Generator) -> np.ndarray:
    """A parameter between low and high past its range: its end where both are positive, its start where negative."""
    start, end = RANGES[name]
    parameters[:, _COLUMN[name]] = (end if low > 0 else start) + draws.uniform(low, high, len(parameters))
    return parameters


def _too_light(low: float, high: float, parameters: np.ndarray, draws: Generator) -> np.ndarray:
    """Gravity below that of the lowest model of its temperature."""
    least = labels.lowest_logg(parameters[:, 0])
    parameters[:, _COLUMN["logg"]] = least - draws.uniform(low, high, len(parameters))
    return parameters


def _plain(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    return _observed(sampler, models, np.zeros(len(models)))


def _shifted(low: float, high: float, sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    sign = draws.choice([-1.0, 1.0], len(models))
    return _observed(sampler, models, sign * draws.uniform(low, high, len(models)))


def _vacuum(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    return _observed(sampler, models, np.full(len(models), REFRACTION * SPEED_OF_LIGHT))


def _binary(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    """Light of another star of the set, 0.3 to 1 times as much, 20 to 80 km/s off."""
    other = models.select(np.roll(np.arange(len(models)), 1))
    share = torch.from_numpy(draws.uniform(0.3, 1.0, len(models))).float()[:, None, None]
    second = _shifted(20.0, 80.0, sampler, other, draws)
    return (_plain(sampler, models, draws) + share * second) / (1 + share)


def _emission(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    """Ten lines in emission, 0.2 to 1 of the continuum high and of a deviation of 4 to 10 pixels."""
    flux = _plain(sampler, models, draws).clone()
    pixel = torch.arange(flux.shape[2])
    for star in flux:
        for _ in range(10):
            order, centre = draws.integers(flux.shape[1]), draws.uniform(0, flux.shape[2])
            star[order] += draws.uniform(0.2, 1.0) * torch.exp(-0.5 * ((pixel - centre) / draws.uniform(4, 10)) ** 2)
    return flux


def _mirrored(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    """Every line in emission."""
    return 2 - _plain(sampler, models, draws)


def _veiled(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    """A fifth of the continuum's light scattered over all pixels, and divided out as if it were continuum."""
    return (_plain(sampler, models, draws) + 0.2) / 1.2


def _bent(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    """A continuum that is wrong by 10 % at the ends of orders, up at one and down at the other."""
    flux = _plain(sampler, models, draws)
    return flux * (1 + 0.1 * torch.linspace(-1.0, 1.0, flux.shape[2]))


def _flat(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    return torch.ones(len(models), *sampler.shape)


def _noise(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    """Nothing but scatter of half the continuum."""
    return torch.from_numpy(1 + 0.5 * draws.standard_normal((len(models), *sampler.shape))).float()


def _reversed(sampler: Sampler, models: ModelSpectra, draws: Generator) -> Tensor:
    """One order from its red end to its blue one."""
    flux = _plain(sampler, models, draws).clone()
    for star in flux:
        order = draws.integers(flux.shape[1])
        star[order] = star[order].flip(0)
    return flux


def _observed(sampler: Sampler, models: ModelSpectra, velocity: np.ndarray) -> Tensor:
    found = []
    for part in np.array_split(np.arange(len(models)), -(-len(models) // _BATCH)):
        fourier = torch.fft.rfft(torch.from_numpy(models.flux[part]))
        given = (models.parameters[part], models.epsilon[part], velocity[part])
        with torch.no_grad():
            found.append(sampler.observe(fourier, *(torch.from_numpy(np.asarray(x)).float() for x in given)))
    return torch.cat(found)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("hotter", partial(_beyond, "teff", 500.0, 3000.0), _plain, outside=True),
        Kind("cooler", partial(_beyond, "teff", -800.0, -200.0), _plain, outside=True),
        Kind("denser", partial(_beyond, "logg", 0.5, 2.0), _plain, outside=True),
        Kind("lighter", partial(_too_light, 0.5, 1.5), _plain, outside=True),
        Kind("poorer", partial(_beyond, "feh", -1.5, -0.5), _plain, outside=True),
        Kind("richer", partial(_beyond, "feh", 0.3, 1.0), _plain, outside=True),
        Kind("alpha", partial(_beyond, "alpha", 0.2, 0.8), _plain, outside=True),
        Kind("rotator", partial(_beyond, "vsini", 30.0, 70.0), _plain),
        Kind("binary", _same, _binary),
        Kind("velocity", _same, partial(_shifted, 30.0, 30.0)),
        Kind("vacuum", _same, _vacuum),
        Kind("emission lines", _same, _emission),
        Kind("mirrored", _same, _mirrored),
        Kind("scattered light", _same, _veiled),
        Kind("bent continuum", _same, _bent),
        Kind("flat", _same, _flat),
        Kind("noise", _same, _noise),
        Kind("reversed order", _same, _reversed),
    )
}
