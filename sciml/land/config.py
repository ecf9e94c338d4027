"""What the emulator jobs can be told."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sciml.core.config import Config
from sciml.land.forcing import TARGETS

EmulatorModel = Literal["all", "paper", "closed", "sciml", "linear_reservoir"]
EMULATORS = ("paper", "closed", "sciml", "linear_reservoir")
Experiment = Literal["free_run", "planted", "discharge", "cross_validation", "training_length", "warmer",
                     "sensitivity", "speed", "coupled"]  # fmt: skip


class EmulatorFitConfig(Config):
    """Options of `emulator_fit`."""

    pipeline: ClassVar[str] = "emulator_fit"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"demo": {}}

    source: Literal["generated", "pcrglobwb", "caravan", "grid"] = Field(
        "generated", description="where forcing and reference come from"
    )
    files: str = Field("", description="tables or grids: a file, a list or a quoted pattern")
    demand: Literal["auto", "humidity_deficit", "potential_evaporation", "hamon"] = Field(
        "auto", description="what draws evaporation"
    )
    train: str = Field("", description="first:last year of training [the first two thirds]")
    test: str = Field("", description="first:last year of test [the rest]")
    experiment: tuple[Experiment, ...] = Field(
        (), description="what is tried [free_run, speed, and planted or discharge]"
    )
    models: tuple[EmulatorModel, ...] = Field(("all",), description="emulators; climatology stands beside them")
    weights: tuple[str, ...] = Field((), description="variable=weight in the fit, each beside 1 / variance of anomaly")
    scheme: Literal["explicit", "implicit"] = Field("explicit", description="time step of paper and closed")
    fit: Literal["best", "descent", "evolution"] = Field(
        "best", description="how minima are looked for; best: descent, and evolution where months disagree"
    )
    starts: int = Field(4, ge=1, description="descents of each fit")
    network: str = Field("", description="of coupled on tables: FILE:variable of directions")
    cells_per_item: int = Field(3, ge=1, description="cells that one item fits")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.source == "generated" and self.files:
            raise ValueError("--files would not be read by --source generated; give --source")
        if self.source != "generated" and not self.files:
            raise ValueError(f"--source {self.source} needs --files")
        for name in ("train", "test"):
            years_of(getattr(self, name), name)
        if self.train and self.test:
            train, test = years_of(self.train, "train"), years_of(self.test, "test")
            if train and test and train[0] <= test[1] and test[0] <= train[1]:
                raise ValueError(f"--train {self.train} and --test {self.test} share years")
        if "planted" in self.experiment and self.source != "generated":
            raise ValueError("--experiment planted needs --source generated: nothing is planted in files")
        if "discharge" in self.experiment and self.source != "pcrglobwb":
            raise ValueError("--experiment discharge needs --source pcrglobwb, which has routed discharge")
        if (
            "coupled" in self.experiment
            and self.source != "generated"
            and not (self.source == "pcrglobwb" and self.network)
        ):
            raise ValueError("--experiment coupled needs --source generated, or pcrglobwb with --network")
        if self.network and (self.source != "pcrglobwb" or "coupled" not in self.experiment):
            raise ValueError("--network would not be read: it is of --source pcrglobwb with --experiment coupled")
        _ = self.fitting_weights
        return self

    @property
    def emulators(self) -> tuple[str, ...]:
        """Models by name."""
        return EMULATORS if "all" in self.models else tuple(name for name in EMULATORS if name in self.models)

    @property
    def fitting_weights(self) -> tuple[tuple[str, float], ...]:
        """(variable, weight)."""
        found = []
        for word in self.weights:
            name, _, value = word.partition("=")
            if name not in TARGETS or not re.fullmatch(r"\d+(\.\d*)?", value):
                raise ValueError(f"--weights {word}: expected VARIABLE=WEIGHT with one of {', '.join(TARGETS)}")
            found.append((name, float(value)))
        return tuple(found)

    @property
    def experiments(self) -> tuple[str, ...]:
        """What is tried, in order."""
        if self.experiment:
            return self.experiment
        own = {"generated": ("planted",), "pcrglobwb": ("discharge",)}
        return ("free_run", *own.get(self.source, ()), "speed")


class EmulatorRunConfig(Config):
    """Options of `emulator_run`."""

    pipeline: ClassVar[str] = "emulator_run"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"demo": {}}

    parameters: str = Field("", description="run directory of emulator_fit, of a grid [a generated Earth is fitted]")
    forcing: str = Field("", description="daily forcing, Zarr or NetCDF, maps or packed cells")
    network: str = Field("", description="FILE:variable of directions, a map, a CaMa-Flood folder [no rivers]")
    model: Literal["paper", "closed", "sciml", "linear_reservoir"] = Field("sciml", description="emulator to run")
    years: str = Field("", description="first:last year [all whole years of the forcing]")
    ensemble: int = Field(0, ge=0, le=100, description="members drawn from the uncertainty of the parameters")
    outputs: tuple[str, ...] = Field(
        ("runoff", "snow", "soil_upper", "evaporation"), description="what is stored daily of each cell"
    )
    spin_up: int = Field(3, ge=0, description="times that the first year is run before the record")
    routing: Literal["linear", "inertial"] = Field("linear", description="linear reservoirs, or local-inertial flow")
    velocity: float = Field(0.5, gt=0, description="of water in linear reservoirs [m s-1]")
    gauges: str = Field("", description="GRDC's list of stations [the largest outlets alone]")
    most_gauges: int = Field(30, ge=1, description="stations and outlets whose discharge is stored daily")
    unrouted: float = Field(0.0, ge=0, le=1, description="share of land cells that the network may lack")
    cells_per_item: int = Field(4096, ge=1, description="cells that one item runs through a year")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if bool(self.parameters) != bool(self.forcing):
            given, lacks = ("parameters", "forcing") if self.parameters else ("forcing", "parameters")
            raise ValueError(f"--{given} needs --{lacks}: the weather of the cells that were fitted")
        if self.network and not self.parameters:
            raise ValueError("--network would not be read: the generated Earth has its own; give --parameters")
        if self.gauges and not self.network:
            raise ValueError("--gauges needs --network")
        if "runoff" not in self.outputs:
            raise ValueError("--outputs: expected runoff among them, it is what rivers carry")
        years_of(self.years, "years")
        return self


def years_of(text: str, name: str) -> tuple[int, int] | None:
    """`1981:1995` as two years, None where nothing is said."""
    if not text:
        return None
    match = re.fullmatch(r"(\d{4}):(\d{4})", text)
    if not match or int(match[1]) > int(match[2]):
        raise ValueError(f"--{name} {text}: expected FIRST:LAST, as 1981:1995")
    return int(match[1]), int(match[2])
