"""What the job of stellar parameters can be told."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sciml.core.config import Config
from sciml.core.urls import absolute
from sciml.nn.search import read_result
from sciml.stellar import consistency
from sciml.stellar.emulator import EmulatorSettings
from sciml.stellar.networks import OURS, Settings
from sciml.stellar.networks import PRESETS as NETWORK_PRESETS
from sciml.stellar.search import drawn_of, taken
from sciml.stellar.steps import METHODS

Model = Literal["all", "chi2", "ridge", "sciml", "resnet", "attention", "dae_resnet", "dae_attention", "resnet_full",
                "attention_full", "dae_resnet_full", "dae_attention_full"]  # fmt: skip
# what is 0 in the options, from atlas9 and of generated lines
_SIZES = {
    "node_step": (1, 2),
    "sobol_points": (1500, 400),
    "test_points": (256, 48),
    "calibration_spectra": (2048, 512),
    "strangers": (32, 16),
    "components": (240, 60),
}
APPLY_OPTIONS = ("resolving_power", "expected_rv", "blaze")
_NETWORKS = {"demo": "generated", "small": "small", "paper": "paper"}


class StellarConfig(Config):
    """Options of `stellar_parameters`."""

    pipeline: ClassVar[str] = "stellar_parameters"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "demo": {},
        "small": {"source": "atlas9"},
        "paper": {"source": "atlas9", "sobol_points": 6000, "test_points": 1024, "components": 320, "models": ("all",)},
    }

    source: Literal["generated", "atlas9"] = Field("generated", description="where model spectra come from")
    only: Literal["", "grid"] = Field("", description="grid: make the model spectra and stop")
    experiment: tuple[Literal["grid", "limited", "observed"], ...] = Field(
        ("grid",), description="whole grid at --snr, the paper's limited one at 100, all that befalls real spectra"
    )
    models: tuple[Model, ...] = Field(("chi2", "ridge", "sciml"), description="methods; all for every one")
    search: bool = Field(False, description="search settings of sciml; writes RUN/search.json")
    search_trials: int = Field(20, ge=1, description="settings that a search tries")
    search_result: str = Field("", description="search.json of a search whose best settings sciml takes")
    learning_curve: bool = Field(False, description="also train sciml with 1/16 and 1/4 of its spectra")
    snr: float = Field(20.0, gt=1, description="signal to noise of the whole grid's experiment, per pixel of continuum")

    atmospheres: str = Field("", description="ATLAS9 models: an archive or a folder (atlas9)")
    linelist: str = Field("", description="CSV of spectral lines with their damping (atlas9)")
    solar_mixture: Literal["asplund2009", "grevesse2007", "lodders2003"] = Field(
        "grevesse2007", description="elements of a star of [M/H] = 0 (atlas9)"
    )
    store: str = Field("", description="where --only grid puts the model spectra, and where they are read otherwise")
    node_step: int = Field(0, ge=0, description="take every so many-th node of the paper's [1; generated 2]")
    sobol_points: int = Field(0, ge=0, description="models at continuous labels and nuisances [1500; generated 400]")
    test_points: int = Field(0, ge=0, description="models that only test, of each kind [256; generated 48]")
    calibration_spectra: int = Field(
        0, ge=0, description="emulated, to set limits of flags; half of them calibrate sigmas [2048; generated 512]"
    )
    strangers: int = Field(0, ge=0, description="of each kind, to try flags on [32; generated 16]")
    components: int = Field(0, ge=0, description="of the emulator [240; generated 60]")
    spectrograph: str = Field("", description="file of wavelengths and blaze [HARPS-N; generated: three short orders]")

    apply: str = Field("", description="spectra to be measured: a file, folder, pattern or list; with --checkpoint")
    checkpoint: str = Field("", description="run directory of a finished training (--apply)")
    resolving_power: float | None = Field(
        None, gt=1000, lt=1e6, description="wavelength over FWHM where a file does not say it; overrides it (--apply)"
    )
    expected_rv: float | None = Field(
        None, description="radial velocity known otherwise [km/s], to tell wavelengths of vacuum (--apply)"
    )
    blaze: str = Field("", description="FITS file of the blaze of e2ds [one beside it, else theoretical] (--apply)")

    @model_validator(mode="after")
    def _applied(self) -> Self:
        own = ("apply", "checkpoint", *APPLY_OPTIONS)
        if not self.apply:
            given = [name for name in own if getattr(self, name) not in ("", None)]
            if given:
                raise ValueError(f"--{given[0].replace('_', '-')} would not be read; it needs --apply SPECTRA")
            return self
        if not self.checkpoint:
            raise ValueError("--apply needs --checkpoint, the run directory of a finished training")
        if self.run_dir and absolute(self.run_dir).rstrip("/") == absolute(self.checkpoint).rstrip("/"):
            raise ValueError(f"--run-dir {self.run_dir} is the training's own; give another one for the stars")
        fields = type(self).model_fields
        kept = {"seed", *own, *self.engine_fields}
        for name in fields:
            if name not in kept and getattr(self, name) != fields[name].default:
                raise ValueError(f"--{name.replace('_', '-')} would not be read with --apply; it belongs to training")
        return self

    @model_validator(mode="after")
    def _sources(self) -> Self:
        if self.apply:
            return self
        made_from = [name for name in ("atmospheres", "linelist") if getattr(self, name)]
        if self.source == "generated" and (made_from or self.store):
            raise ValueError(f"--{(made_from or ['store'])[0]} would not be read; it needs --source atlas9")
        if 0 < self.calibration_spectra < consistency.FEWEST:
            raise ValueError(
                f"--calibration-spectra {self.calibration_spectra}: expected {consistency.FEWEST} or more, flags and"
                " sigmas are set on them"
            )
        if self.search and (self.search_result or self.learning_curve or self.only or len(self.experiment) > 1):
            raise ValueError("--search takes one --experiment, without --only, --learning-curve and --search-result")
        if self.learning_curve and (self.only or "sciml" not in self.methods):
            raise ValueError(
                "--learning-curve trains sciml, which this run does not; add it to --models, without --only"
            )
        if self.source == "atlas9" and len(made_from) < 2:
            if self.only == "grid":
                raise ValueError("--source atlas9 --only grid needs --atmospheres and --linelist")
            if not self.store:
                raise ValueError("--source atlas9 needs --store, or --atmospheres and --linelist")
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods by name, chi2 always among them: nothing else is worth having unless it stands beside that."""
        wanted = set(METHODS) if "all" in self.models else {*self.models, "chi2"}
        return tuple(name for name in METHODS if name in wanted)

    def size(self, name: str) -> int:
        """An option of _SIZES, or what the source has in its place."""
        return getattr(self, name) or _SIZES[name][self.source == "generated"]

    @property
    def emulator(self) -> EmulatorSettings:
        return replace(EmulatorSettings(), components=self.size("components"))

    @property
    def settings(self) -> Settings:
        """Of the networks under this preset, ours as a search found it where its result is given."""
        made = NETWORK_PRESETS[_NETWORKS[self.preset]]
        if not self.search_result:
            return made
        return taken(made, read_result(self.search_result, OURS, drawn_of(Settings())))

    @property
    def instrument(self) -> str:
        """The spectrograph's name or file."""
        return self.spectrograph or ("generated" if self.source == "generated" else "harpsn")
