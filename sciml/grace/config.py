"""What the GRACE downscaling job can be told."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from sciml.core.config import Config, options_of
from sciml.core.errors import ConfigError
from sciml.core.urls import exists, join, read_bytes
from sciml.data.splits import Period

MONTH = r"^\d{4}-(0[1-9]|1[0-2])$"
Model = Literal["lstm", "global_lstm", "ridge"]
Experiment = Literal["synthetic_t1", "synthetic_t2", "basins", "regroup", "downscale", "drought", "flood", "wells"]


class GraceConfig(Config):
    """Options of `grace_downscale`. Periods are months, the last one included."""

    pipeline: ClassVar[str] = "grace_downscale"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "demo": {},
        "synthetic": {"tiles": 6, "members": 50, "global_members": 8},
        "paper": {
            "members": 50,
            "lags": 2,
            "train_first": "2002-04",
            "train_last": "2018-12",
            "test_first": "2019-01",
            "test_last": "2021-08",
        },
        "global": {"source": "gridded", "members": 50, "lags": 2, "global_members": 8, "mascons_per_item": 8},
    }

    source: Literal["generated", "basins", "gridded", "wells"] = Field(
        "generated", description="where the data come from"
    )
    experiment: tuple[Experiment, ...] = Field((), description="what is tried [what the source alone allows]")
    models: tuple[Model, ...] = Field(("lstm", "global_lstm", "ridge"), description="trained models")

    twsa: str = Field("", description="storage: GRACE files (gridded) or a basin table (basins)")
    twsa_variable: str = Field("TWS_GRACE_JPL_mascons", description="storage variable of a basin table")
    predictors: str = Field("", description="predictors: daily or monthly files (gridded), or a basin table (basins)")
    predictor_family: tuple[str, ...] = Field(("ERA5_Land",), description="products of a basin table")
    real_months: str = Field("", description="CSV of GRACE's real months, masks a table's filled gaps")
    basin_mask: str = Field("", description="NetCDF with basin_index(lat, lon), places the basins")
    mascons: str = Field("", description="a mascon NetCDF beside the basins: trend and amplitude maps, ceiling row")
    usdm: str = Field("", description="Drought Monitor by county and week, NetCDF or CSV (drought)")
    county_centers: str = Field("", description="CSV of county centres by FIPS code (drought, flood)")
    flood_reports: str = Field("", description="NCEI Storm Events: a file or a quoted pattern (flood)")
    precipitation: str = Field("", description="gridded rain in place of the predictors' own (flood)")
    wells: str = Field("", description="CSV of wells with their predictors and monthly water level (wells)")
    groups: int = Field(50, ge=2, description="neighbourhoods of `regroup`")

    update: bool = Field(False, description="append new months of --twsa and --predictors to the product of --run-dir")

    train_first: str = Field("2002-08", description="first training month", pattern=MONTH)
    train_last: str = Field("2014-12", description="last training month", pattern=MONTH)
    test_first: str = Field("2015-01", description="first test month", pattern=MONTH)
    test_last: str = Field("2019-12", description="last test month", pattern=MONTH)

    features: tuple[str, ...] = Field((), description="predictors that the models see, by name [all there are]")
    search: bool = Field(False, description="search settings of the networks instead; writes RUN/search.json")
    search_trials: int = Field(16, ge=1, description="settings that a search tries for each model")
    search_space: str = Field("", description="YAML, model: setting: how drawn, instead of tune_spaces")
    search_on_train: bool = Field(
        False, description="every trial on a worker of Ray Train, as those of global_lstm on accelerators always are"
    )
    search_result: str = Field("", description="search.json of a search run, whose best settings the models take")

    folds: int = Field(4, ge=2, description="blocks of training years for cross-validation; 3 for basins")

    tiles: int = Field(2, ge=1, description="regions of the generated Earth, about 12 mascons each")
    mascon_rows: int = Field(3, ge=2, description="mascons of a region from south to north")
    mascon_columns: int = Field(4, ge=2, description="mascons of a region from west to east")
    case: tuple[Literal["different", "identical", "uninformative"], ...] = Field(
        ("different",), description="predictors of the generated Earth"
    )

    members: int = Field(8, ge=2, description="members of each mascon's or basin's LSTM ensemble")
    global_members: int = Field(4, ge=2, description="members of the global LSTM; 8 for basins")
    lags: int = Field(23, ge=0, le=35, description="lagged months that the local LSTM sees; the paper has 2")
    smoothing_km: float = Field(300.0, ge=0, description="half-width of the storage product's Gaussian, 0 for none")
    mascons_per_item: int = Field(6, ge=1, description="mascons or basins in one item")

    @model_validator(mode="before")
    @classmethod
    def _by_source(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What basins do better with: validated on years within the training period."""
        own = {"global_members": 8, "folds": 3} if values.get("source") == "basins" else {}
        return own | values

    @classmethod
    def parse(cls, argv: Sequence[str] | None = None) -> Self:
        """As every job's; with --update all else is as the run was told, and must not be told otherwise."""
        words = list(sys.argv[1:] if argv is None else argv)
        given = options_of(cls, words)
        if not _is_true(given.get("update", "false")):
            found = super().parse(words)
            if found.update:
                raise ConfigError(
                    f"{given['config']}: update: true; an update is asked for with --update --run-dir RUN"
                )
            return found
        if set(given) & {"config", "preset"} or "run_dir" not in given:
            raise ConfigError("--update needs --run-dir of a finished run, and takes its options from there")
        recorded = join(str(given["run_dir"]), "config.yaml")
        if not exists(recorded):
            raise ConfigError(f"--update: {recorded}: no such file; expected the folder of a finished run")
        found = super().parse(["--config", recorded, *words])
        old = yaml.safe_load(read_bytes(recorded))
        for name in sorted(set(given) - cls.engine_fields - {"update", "twsa", "predictors"}):
            if found.model_dump(mode="json")[name] != old.get(name):
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag}: the run was made with {old.get(name)}; an update cannot change it")
        if found.source != "gridded" or found.dry_run:
            raise ConfigError("--update appends to runs of --source gridded, and has no --dry-run")
        return found

    @property
    def train(self) -> Period:
        """Training months."""
        return _period(self.train_first, self.train_last)

    @property
    def test(self) -> Period:
        """Test months."""
        return _period(self.test_first, self.test_last)

    @property
    def amends(self) -> bool:
        return self.update

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.train_first <= self.train_last < self.test_first <= self.test_last:
            raise ConfigError(
                f"training {self.train_first}..{self.train_last} and test {self.test_first}..{self.test_last}:"
                " expected non-empty periods, the test after the training"
            )
        needed = {"twsa": ("basins", "gridded"), "predictors": ("basins", "gridded"), "wells": ("wells",)}
        for field, source in needed.items():
            if self.source in source and not getattr(self, field):
                raise ConfigError(f"--source {self.source} needs --{field.replace('_', '-')}")
        if self.source == "basins" and self.predictors != self.twsa:
            raise ConfigError(
                f"--predictors {self.predictors}: a basin table holds storage and predictors; expected the file of"
                f" --twsa, {self.twsa}"
            )
        if self.wells and self.source != "wells":
            raise ConfigError(f"--wells {self.wells} would not be read; expected --source wells")
        allowed = EXPERIMENTS[self.source] + ON_REQUEST.get(self.source, ())
        for name in self.experiment:
            if name not in allowed:
                raise ConfigError(f"--experiment {name}: source {self.source} offers {', '.join(allowed)}")
        if "regroup" in self.experiments and not self.basin_mask and not self.search:
            raise ConfigError("--experiment regroup needs --basin-mask, which places the basins")
        if self.search and self.source not in SEARCHED:
            raise ConfigError(f"--search: source {self.source} has no search; expected {' or '.join(SEARCHED)}")
        if self.search and self.search_result:
            raise ConfigError("--search-result is read by the job itself; leave --search")
        if self.search_space and not self.search:
            raise ConfigError(f"--search-space {self.search_space}: would not be read; expected --search")
        if self.search_on_train and not self.search:
            raise ConfigError("--search-on-train: would not be read; expected --search")
        if self.search_result and self.source not in SEARCHED:
            raise ConfigError(f"--search-result: would not be read with --source {self.source}")
        if self.features and self.source not in SEARCHED:
            raise ConfigError(f"--features: would not be read with --source {self.source}")
        if "drought" in self.experiments:
            for field in ("usdm", "county_centers", "mascons", "basin_mask"):
                if not getattr(self, field):
                    raise ConfigError(f"--experiment drought needs --{field.replace('_', '-')}")
        if "flood" in self.experiments and self.source != "generated":
            for field in ("flood_reports", *(["basin_mask"] if self.source == "basins" else [])):
                if not getattr(self, field):
                    raise ConfigError(f"--experiment flood needs --{field.replace('_', '-')}")
        for field, readers in READ_BY.items():
            if getattr(self, field) and (self.source == "generated" or not set(readers) & set(self.experiments)):
                sources = " or ".join(s for s in ("basins", "gridded") if set(readers) & set(ON_REQUEST[s]))
                raise ConfigError(
                    f"--{field.replace('_', '-')} would not be read; expected --experiment {' or '.join(readers)} with"
                    f" --source {sources}"
                )
        return self

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments to run: those named, or all that the source alone allows."""
        return self.experiment or EXPERIMENTS[self.source]


def _is_true(word: str) -> bool:
    """A switch's word; one that is neither true nor false is left to the model's complaint."""
    try:
        return TypeAdapter(bool).validate_python(word)
    except ValidationError:
        return False


def _period(first: str, last: str) -> Period:
    return Period(first, str(np.datetime64(last, "M") + 1))


EXPERIMENTS: Mapping[str, tuple[str, ...]] = {
    "generated": ("synthetic_t1", "synthetic_t2"),
    "basins": ("basins", "regroup"),
    "gridded": ("downscale",),
    "wells": ("wells",),
}

# Networks that can be searched, by source.
SEARCHED: Mapping[str, tuple[str, ...]] = {
    "generated": ("lstm", "global_lstm"),
    "gridded": ("lstm", "global_lstm"),
    "basins": ("lstm", "global_lstm"),
}

# Experiments that need files of their own besides the source's.
ON_REQUEST: Mapping[str, tuple[str, ...]] = {
    "generated": ("flood",),
    "basins": ("drought", "flood"),
    "gridded": ("flood",),
}

# Files that only these experiments read, and those of the generated Earth never.
READ_BY: Mapping[str, tuple[str, ...]] = {
    "usdm": ("drought",),
    "county_centers": ("drought", "flood"),
    "flood_reports": ("flood",),
    "precipitation": ("flood",),
}
