"""What the job of stellar parameters can be told."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sciml.core.config import Config


class StellarConfig(Config):
    """Options of `stellar_parameters`."""

    pipeline: ClassVar[str] = "stellar_parameters"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"demo": {}, "small": {}, "paper": {}}

    source: Literal["generated", "atlas9"] = Field("generated", description="where model spectra come from")
    only: Literal["", "grid"] = Field("", description="grid: make the model spectra and stop")
    atmospheres: str = Field("", description="ATLAS9 models: an archive or a folder (atlas9)")
    linelist: str = Field("", description="CSV of spectral lines with their damping (atlas9)")
    solar_mixture: Literal["asplund2009", "grevesse2007", "lodders2003"] = Field(
        "grevesse2007", description="elements of a star of [M/H] = 0 (atlas9)"
    )
    store: str = Field("", description="where the grid of model spectra is put by --only grid, and read otherwise")
    sobol_points: int = Field(1500, ge=0, description="models at continuous labels and nuisances")
    test_points: int = Field(256, ge=8, description="models that only test, of each kind")

    @model_validator(mode="after")
    def _sources(self) -> Self:
        if self.source == "atlas9":
            makes = self.atmospheres and self.linelist
            if self.only == "grid" and not makes:
                raise ValueError("--source atlas9 --only grid needs --atmospheres and --linelist")
            if not (makes or self.store):
                raise ValueError("--source atlas9 needs --store, or --atmospheres and --linelist")
        return self
