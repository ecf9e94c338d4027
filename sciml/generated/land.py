"""Land surface models of the generated Earth, for emulators to be fitted to: model A, and models with planted theta.

Model A (`sciml.land.process_model`) is no emulator's structure: it is what a fit meets in practice. A planted model has
the emulator's own equations, so that what a fit finds can be held against what was planted; its skill is an upper bound
that nobody may quote.
"""

from dataclasses import dataclass

import numpy as np

from sciml.core.seeds import seed_for
from sciml.generated import earth
from sciml.generated.earth import EarthConfig, Nature
from sciml.generated.forcing import CLIMATES
from sciml.land.forcing import Forcing, Record, Targets, saturation_humidity, split_precipitation
from sciml.land.models import Model
from sciml.land.process_model import DAY, LATENT_HEAT
from sciml.land.registry import MODELS
from sciml.land.run import simulate
from sciml.land.steps import FREELY

KINDS = (0, 1, 5)  # mountain snow, monsoon, boreal plain
VERSION = 1  # raise it where the same seed gives another record
SPREAD = 0.08  # of a planted parameter within its bounds, about the prior


@dataclass(frozen=True)
class LandConfig:
    """cells: of each climate. first, stop: half-open period in months; three years of spin-up come before it."""

    seed: int = 0
    cells: int = 2
    first: str = "1990-01"
    stop: str = "2002-01"

    @property
    def earth(self) -> EarthConfig:
        """Seven tiles of one mascon; a run makes those of KINDS alone."""
        return EarthConfig(
            self.seed, len(CLIMATES), first=self.first, stop=self.stop, mascon_rows=1, mascon_columns=1, mascon_cells=4
        )


def natures(config: LandConfig) -> list[Nature]:
    """Weather and model A of each climate."""
    return [earth.plant(config.earth, tile) for tile in KINDS]


def record(config: LandConfig) -> Record:
    """Forcing, and what model A makes of it, of `cells` cells of each climate spread over its tile."""
    return record_of(config, natures(config))


def record_of(config: LandConfig, tiles: list[Nature]) -> Record:
    """As `record`, of tiles that are there already."""
    found = [_record(config, nature) for nature in tiles]
    parts = [one.forcing for one in found]
    forcing = Forcing(
        parts[0].dates,
        *(np.concatenate([getattr(p, name) for p in parts], axis=1) for name in _SERIES),
        "humidity_deficit",
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("cells", "lat", "lon", "area_km2")),
    )
    names = tuple(name for one in found for name in one.names)
    values = {
        name: np.concatenate([one.targets.values[name] for one in found], axis=1) for name in found[0].targets.values
    }
    return Record(forcing, Targets(forcing.dates, values), names)


_SERIES = ("rain", "snowfall", "temperature", "demand")


def _record(config: LandConfig, nature: Nature) -> Record:
    count = len(nature.land.area)
    some = np.linspace(0, count - 1, min(config.cells, count)).round().astype(int)
    forcing = forcing_of(config, nature, some)
    fields = {name: nature.fields[name][:, some].astype(np.float64) for name in nature.fields}
    values = {
        "snow": fields["snw"],
        "soil_upper": fields["mrso"],
        "groundwater": fields["groundwater"],
        "runoff": fields["mrro"] * DAY,
        "evaporation": fields["hfls"] * DAY / LATENT_HEAT,
    }
    names = tuple(f"{nature.climate.name} {number + 1}" for number in range(len(some)))
    return Record(forcing, Targets(forcing.dates, values), names)


def forcing_of(config: LandConfig, nature: Nature, cells: np.ndarray) -> Forcing:
    """What the sky of a tile is to an emulator: humidity deficit where model A saw net radiation."""
    sky, land = nature.sky, nature.land
    every = slice(nature.spin_up, None)
    temperature = sky.temperature[every, cells].astype(np.float64)
    rain, snowfall = split_precipitation(sky.precipitation[every, cells].astype(np.float64), temperature)
    saturated = saturation_humidity(temperature, sky.pressure[cells])
    deficit = saturated * (1.0 - sky.relative_humidity[every, cells].astype(np.float64))
    ids = np.array([f"{nature.climate.name}:{cell}" for cell in cells])
    return Forcing(
        config.earth.days, rain, snowfall, temperature, deficit, "humidity_deficit", ids, land.latitude[cells],
        land.longitude[cells], land.area[cells],
    )  # fmt: skip


def planted_theta(model: Model, names: tuple[str, ...], seed: int) -> np.ndarray:
    """theta (parameter, month, cell) about the priors, smooth over the year where a parameter is monthly."""
    months = 1 if model.name in FREELY else 12
    theta = np.empty((len(model.parameters), months, len(names)))
    season = np.cos(2.0 * np.pi * (np.arange(months) - 6.0) / 12.0)
    for cell, name in enumerate(names):
        rng = np.random.default_rng(seed_for(seed, "planted", model.name, name))
        for row, p in enumerate(model.parameters):
            low, high, prior = np.log([p.low, p.high, p.prior]) if p.log else (p.low, p.high, p.prior)
            middle = rng.normal(0.0, SPREAD) + (
                rng.normal(0.0, SPREAD / 2) * season if p.monthly and months > 1 else 0.0
            )
            free = np.log((prior - low) / (high - prior)) if low < prior < high else 0.0
            value = low + (high - low) / (1.0 + np.exp(-free - 4.0 * middle))
            theta[row, :, cell] = np.exp(value) if p.log else value
    return theta


def planted_record(model: Model, base: Record, seed: int) -> tuple[Record, np.ndarray]:
    """The forcing of a record with what a planted model makes of it, and its theta."""
    theta = planted_theta(model, base.names, seed)
    state = model.start(len(base.names))
    for _ in range(3):
        _, state = simulate(model, base.forcing.days(slice(0, 365)), theta, state)
    values, _ = simulate(model, base.forcing, theta, state)
    known = {name: values[:, k] for k, name in enumerate(model.outputs) if name in base.targets.values}
    return Record(base.forcing, Targets(base.forcing.dates, known), base.names), theta


@dataclass(frozen=True)
class PlantedConfig:
    """A model with planted theta on the cells of `base`."""

    base: LandConfig
    model: str


def made(settings: LandConfig | PlantedConfig) -> list[Record]:
    """For `LandSource`: model A's record, or that of a planted model."""
    if isinstance(settings, LandConfig):
        return [record(settings)]
    return [planted_record(MODELS[settings.model], record(settings.base), settings.base.seed)[0]]
