"""What the super-resolution job can be told."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sciml.core.config import Config
from sciml.modis.networks import NETWORKS, OURS, WITH_MEMORY, Settings
from sciml.modis.setup import TEST_PATCHES
from sciml.modis.steps import METHODS, REMEMBERING
from sciml.nn.search import read_result

Model = Literal["all", "bilinear", "bicubic", "backprojection", "tsharp", "atprk", "place_memory", "place_regression",
                "vdsr", "dmcn", "mrunet", "sciml", "sciml_place"]  # fmt: skip
Experiment = Literal["random_split", "date_split", "place_split", "test_patches", "aster_self", "aster"]
OF_PATCHES: tuple[Experiment, ...] = ("random_split", "date_split", "place_split", "test_patches")
OF_PAIRS: tuple[Experiment, ...] = ("aster_self", "aster")

# the paper's: Adam at 1e-4 for 50 of 300 epochs, then a hundredth of it, batches of 32, mean square error
_PAPER = Settings(64, 0, 1, 300, 32, 1e-4, "drop", 0.0, 0.0)
NETWORK_SETTINGS: Mapping[str, Mapping[str, Settings]] = {
    "demo": {
        OURS: Settings(width=32, blocks=3, epochs=12, batch_size=16),
        WITH_MEMORY: Settings(width=32, blocks=3, epochs=12, batch_size=16),
        "vdsr": Settings(8, 6, 1, 3, 16, 1e-3, "cosine", 0.0),
        "dmcn": Settings(8, 2, 1, 3, 16, 1e-3, "cosine", 0.0),
        "mrunet": Settings(4, 0, 1, 3, 16, 1e-3, "cosine", 0.0),
    },
    # about five minutes of one core for each rival and four for each of our two members, however many the images
    "small": {
        OURS: Settings(members=2, epochs=60, batch_size=16, most_shown=84_000),
        WITH_MEMORY: Settings(members=2, epochs=60, batch_size=16, most_shown=84_000),
        "vdsr": Settings(32, 10, 1, 60, 16, 1e-3, "cosine", 0.0, 0.4, most_shown=15_000),
        "dmcn": Settings(32, 2, 1, 60, 16, 1e-3, "cosine", 0.0, 1.0, most_shown=12_000),
        "mrunet": Settings(16, 0, 1, 60, 16, 1e-3, "cosine", 0.0, 1.0, most_shown=22_000),
    },
    "paper": {
        OURS: Settings(width=96, blocks=8, members=4, epochs=200, batch_size=16, learning_rate=1.5e-3),
        WITH_MEMORY: Settings(width=96, blocks=8, members=4, epochs=200, batch_size=16, learning_rate=1.5e-3),
        "vdsr": replace(_PAPER, blocks=20),
        "dmcn": replace(_PAPER, blocks=3),
        "mrunet": _PAPER,
    },
}


class ModisConfig(Config):
    """Options of `modis_superres`."""

    pipeline: ClassVar[str] = "modis_superres"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "demo": {},
        "small": {"source": "patches"},
        "paper": {"source": "patches", "models": ("all",)},
    }

    source: Literal["generated", "patches", "pairs", "granules"] = Field(
        "generated", description="where the images come from"
    )
    experiment: tuple[Experiment, ...] = Field((), description="what is tried [test patches where given, else splits]")
    models: tuple[Model, ...] = Field(
        ("bilinear", "bicubic", "backprojection", "atprk", OURS), description="methods; all for every one"
    )

    patches: str = Field("", description="NetCDF of MODIS temperature patches (patches)")
    ndvi: str = Field("", description="NetCDF of their red and near-infrared; without it there is no guidance")
    test_patches: str = Field("", description="patches that only test")
    test_ndvi: str = Field("", description="red and near-infrared of the test patches")
    pairs: str = Field("", description="NetCDF of concomitant MODIS and ASTER images (pairs)")
    granules: str = Field("", description="MOD11A1 or MYD11A1 granules: a file or a quoted pattern (granules)")
    ndvi_granules: str = Field("", description="MOD13 granules of the same tiles that guide them (granules)")
    apply: bool = Field(False, description="super-resolve whole granules with the networks of --checkpoint")
    checkpoint: str = Field("", description="run directory whose trained networks are used (pairs, granules)")
    crs: str = Field("", description="projection of the maps, e.g. EPSG:32632 [sinusoidal] (granules)")

    factor: int = Field(4, description="coarse over fine pixel", ge=2, le=8)
    degradation: Literal["box_t4", "mtf"] = Field("box_t4", description="how a coarse pixel comes from fine ones")
    epochs: int = Field(0, ge=0, description="passes of every network, however many its images [the preset's]")
    members: int = Field(0, ge=0, description="networks of ours whose mean is taken [the preset's]")
    learning_curve: bool = Field(
        False, description="train the networks of the first experiment on parts of its images too"
    )

    search: bool = Field(False, description="search settings of our network; writes RUN/search.json")
    search_trials: int = Field(20, ge=1, description="settings that a search tries")
    search_result: str = Field("", description="search.json of a search whose best settings our networks take")

    @model_validator(mode="after")
    def _sources(self) -> Self:
        needs = {
            "generated": (),
            "patches": ("patches",),
            "pairs": ("pairs", "checkpoint"),
            "granules": ("granules", "checkpoint") if self.apply else ("granules",),
        }[self.source]
        for name in needs:
            if not getattr(self, name):
                raise ValueError(f"--source {self.source} needs --{name.replace('_', '-')}")
        own = {"patches": OF_PATCHES, "generated": OF_PATCHES, "pairs": OF_PAIRS, "granules": ()}[self.source]
        for name in self.experiment:
            if name not in own:
                raise ValueError(f"--source {self.source} has no experiment {name}; it has {', '.join(own) or 'none'}")
        if TEST_PATCHES in self.experiment and not self.test_patches:
            raise ValueError("--experiment test_patches needs --test-patches")
        for name in ("patches", "ndvi", "test_patches", "test_ndvi"):
            if getattr(self, name) and self.source != "patches":
                raise ValueError(f"--{name.replace('_', '-')} would not be read; it needs --source patches")
        if self.learning_curve and not (networks_of(self.methods) and self.source in ("patches", "generated")):
            raise ValueError("--learning-curve needs a network among --models, and --source patches or generated")
        if self.degradation != "box_t4" and set(self.methods) & set(REMEMBERING):
            raise ValueError(
                f"--degradation mtf: places are remembered by box means; leave {', '.join(REMEMBERING)} out"
            )
        if self.apply and self.source != "granules":
            raise ValueError("--apply needs --source granules")
        if self.ndvi_granules and not self.apply:
            raise ValueError("--ndvi-granules guides what --apply sharpens; give --apply and --checkpoint too")
        if self.search and self.source not in ("generated", "patches"):
            raise ValueError(f"--search needs --source patches or generated; found {self.source}")
        if self.search and self.search_result:
            raise ValueError("--search-result would not be read by --search; give one of them")
        return self

    @property
    def experiments(self) -> tuple[str, ...]:
        """What is tried, in order."""
        if self.experiment:
            return self.experiment
        if self.source == "pairs":
            return OF_PAIRS
        return (TEST_PATCHES,) if self.test_patches else ("place_split",)

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods by name, back-projection always among them: nothing else is worth having unless it beats that."""
        wanted = set(METHODS) if "all" in self.models else {*self.models, "backprojection"}
        return tuple(name for name in METHODS if name in wanted)

    def settings(self, network: str) -> Settings:
        """Settings of a network under this preset."""
        found = NETWORK_SETTINGS[self.preset][network]
        if self.epochs:
            found = replace(found, epochs=self.epochs, most_shown=0)
        if network not in (OURS, WITH_MEMORY):
            return found
        if self.search_result:
            found = replace(found, **read_result(self.search_result, OURS, asdict(Settings())))
        return replace(found, members=self.members) if self.members else found


def networks_of(methods: tuple[str, ...]) -> tuple[str, ...]:
    """The methods among them that are trained."""
    return tuple(name for name in methods if name in NETWORKS)


def without_places(methods: tuple[str, ...]) -> tuple[str, ...]:
    """The methods that need no memory of places."""
    return tuple(name for name in methods if name not in REMEMBERING)
