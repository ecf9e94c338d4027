"""A grid of model spectra: which models, how they are made block by block, and how they are read again.

Four sets, each a store of its own. An emulator learns from `nodes`, the 253 x 7 atmospheres of the paper, from `sobol`,
continuous labels and nuisances, and from `cool`, below 5250 K, where spectra change fastest: continuous labels as the
paper has them (vmic 2, no enhancement), and as many with nuisances. On `test`, of the same two halves but of all
temperatures, everything is scored and nothing is chosen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.seeds import seed_for
from sciml.core.urls import exists, join
from sciml.data.stores import Template, Variable, open_store, spans
from sciml.stellar import labels
from sciml.stellar.wavelengths import GRID

GRID_VERSION = 1  # raise it where the same points get other spectra
MODELS_PER_ITEM = 16  # half a minute of synthesis, 2 MB: small shards, so that little is lost and cores end together
SECONDS_PER_MODEL = 1.8  # of one core, 1.1 (hot) to 3.1 (3500 K, metal-rich)

Synthesis = Callable[[np.ndarray], tuple[np.ndarray, float]]
SetName = Literal["nodes", "sobol", "cool", "test"]
LEARNED: tuple[SetName, ...] = ("nodes", "sobol", "cool")  # by the emulator
COOL = 5250.0  # [K]


class Points(Protocol):
    """Parameters (model, 7) of model spectra, the same whenever they are asked for."""

    def parameters(self) -> np.ndarray: ...


@dataclass(frozen=True)
class PointSet:
    """Points of one set, from few numbers. count: of sobol, or of each half of cool and test; of nodes, every so
    many-th temperature and gravity is taken."""

    name: SetName
    count: int = 1
    seed: int = 0

    def parameters(self) -> np.ndarray:
        """(model, 7)."""
        if self.name == "nodes":
            return labels.nodes(self.count)
        if self.name == "sobol":
            return labels.draw(self.count, seed_for(self.seed, "sobol") % 2**32, "nuisance")
        hottest = COOL if self.name == "cool" else labels.RANGES["teff"][1]
        halves = [
            labels.draw(self.count, seed_for(self.seed, self.name, prior) % 2**32, prior, hottest)
            for prior in ("paper", "nuisance")
        ]
        return np.concatenate(halves)


@dataclass(frozen=True)
class ModelBlock:
    """Some models of a set."""

    model_start: int
    model_stop: int


@dataclass(frozen=True)
class Synthesise:
    """Stage function: spectra of a block of models. synthesis: see `sciml.stellar.synthesis.Atlas9Synthesis`."""

    points: Points
    synthesis: Synthesis

    def __call__(self, item: ModelBlock) -> dict[str, np.ndarray]:
        parameters = self.points.parameters()[item.model_start : item.model_stop]
        columns = [labels.PARAMETERS.index(name) for name in labels.ATMOSPHERIC]
        made = [self.synthesis(row[columns]) for row in parameters]
        return {
            "flux": np.stack([flux for flux, _ in made]).astype(np.float32),
            "limb_darkening": np.array([epsilon for _, epsilon in made], np.float32),
        }


def blocks(points: Points) -> list[ModelBlock]:
    """Items over a set."""
    return [ModelBlock(*span) for span in spans(len(points.parameters()), MODELS_PER_ITEM)]


def template(points: Points) -> Template:
    """Store of a set: flux (model, wavelength), limb_darkening (model); the parameters are coordinates."""
    parameters = points.parameters()
    coordinates = {
        name: xr.Variable(("model",), column, {"units": labels.UNITS[name], "long_name": labels.LONG_NAMES[name]})
        for name, column in zip(labels.PARAMETERS, parameters.T, strict=True)
    }
    wave = {"units": "angstrom", "standard_name": "radiation_wavelength", "long_name": "wavelength in air, at rest"}
    return Template(
        {"model": len(parameters), "wavelength": GRID.size},
        {
            "flux": Variable(("model", "wavelength"), "1", "flux over continuum, unbroadened", valid_range=(0.0, 1.5)),
            "limb_darkening": Variable(
                ("model",), "1", "linear limb darkening coefficient of the continuum", valid_range=(-1.0, 1.5)
            ),
        },
        {"model": MODELS_PER_ITEM},
        coordinates | {"wavelength": xr.Variable(("wavelength",), GRID.wave, wave)},
    )


@dataclass(frozen=True, eq=False)
class ModelSpectra:
    """Spectra of a set in memory: parameters (model, 7), flux (model, 29400) float32, epsilon (model,)."""

    parameters: np.ndarray
    flux: np.ndarray
    epsilon: np.ndarray

    def __len__(self) -> int:
        return len(self.parameters)

    def select(self, index: np.ndarray) -> "ModelSpectra":
        return ModelSpectra(self.parameters[index], self.flux[index], self.epsilon[index])


def read_models(urls: Sequence[str]) -> ModelSpectra:
    """The spectra of one or several sets. Raises InputError for a store of other wavelengths or with holes."""
    parts = []
    for url in urls:
        require_models(url)
        with open_store(url) as store:
            parameters = np.stack([store[name].values for name in labels.PARAMETERS], 1)
            parts.append(ModelSpectra(parameters, store["flux"].values, store["limb_darkening"].values.astype(float)))
            if not np.isfinite(parts[-1].flux).all():
                model = int(np.argwhere(~np.isfinite(parts[-1].flux))[0, 0])
                raise InputError(f"{url}: flux: a hole at model {model}; make it again")
    columns = ("parameters", "flux", "epsilon")
    return ModelSpectra(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def read_parameters(url: str) -> np.ndarray:
    """(model, 7) of a set."""
    require_models(url)
    with open_store(url) as store:
        return np.stack([store[name].values for name in labels.PARAMETERS], 1)


def require_models(url: str) -> None:
    """Refuse in one line what is no store of model spectra on GRID."""
    if not exists(join(url, "zarr.json")):
        raise InputError(f"{url}: no store of model spectra; make it with --only grid --store")
    with open_store(url) as store:
        absent = {"flux", "limb_darkening", "wavelength", *labels.PARAMETERS} - set(store.variables)
        if absent:
            raise InputError(f"{url}: variables {', '.join(sorted(absent))} missing; expected a grid of models")
        wave = store["wavelength"].values
    if wave.shape != (GRID.size,) or not np.allclose(wave, GRID.wave, rtol=1e-9):
        raise InputError(
            f"{url}: wavelength: {wave.size} from {wave[0]:.2f} to {wave[-1]:.2f} A, expected {GRID.size} from"
            f" {GRID.start} to {GRID.wave[-1]:.2f} A; made by another version? make it again"
        )
