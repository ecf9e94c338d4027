"""Storage by mascon into a store: storage and its uncertainty by record, trend and annual cycle of each mascon."""

import functools
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.data.readers import storage
from sciml.data.stores import Template, Variable, spans
from sciml.metrics.seasonal import cycle

SERIES = ("mascon", "record")
MASCONS_PER_ITEM = 512
TYPICAL_SIGMA_MM = 20.0  # of a mascon's monthly solution (Wiese et al. 2016, doi:10.1002/2016WR019344)


@functools.lru_cache(maxsize=2)
def read_mascons(url: str) -> xr.Dataset:
    """Storage by mascon, of any product: see `sciml.data.readers.storage.read`. Read once in each process.

    A product without uncertainty gets that of a typical solution, and says so.
    """
    mascons = storage.read(url)
    if "twsa_uncertainty" not in mascons:
        sigma = np.full(mascons["twsa"].shape, TYPICAL_SIGMA_MM, np.float32)
        mascons["twsa_uncertainty"] = (mascons["twsa"].dims, sigma)
        said = f"{url}: no variable 'uncertainty'; {TYPICAL_SIGMA_MM:g} mm is taken for every mascon and record"
        mascons.attrs["notes"] = [*mascons.attrs.get("notes", []), said]
    return mascons


@dataclass(frozen=True)
class MasconBlock:
    """Address of some mascons of a file, in the reader's order."""

    mascon_start: int
    mascon_stop: int


def blocks(count: int, size: int) -> list[MasconBlock]:
    """Mascons in blocks of `size`, the last one shorter."""
    return [MasconBlock(*span) for span in spans(count, size)]


def template(mascons: xr.Dataset, size: int) -> Template:
    """Store of a mascon file: (mascon, record) series and (mascon) maps, `size` mascons an object."""
    variables = {
        "twsa": Variable(SERIES, "mm", "terrestrial water storage anomaly", may_be_missing=True),
        "trend": Variable(("mascon",), "mm year-1", "linear trend of storage", may_be_missing=True),
        "amplitude": Variable(("mascon",), "mm", "amplitude of the annual wave of storage", may_be_missing=True),
        "phase": Variable(("mascon",), "day", "day of year of the annual maximum", may_be_missing=True),
        "twsa_uncertainty": Variable(SERIES, "mm", "standard error of storage", may_be_missing=True),
    }
    bounds = mascons["time_bounds"].values
    coordinates = {
        "mascon_id": xr.Variable("mascon", mascons["mascon_id"].values),
        "lat": xr.Variable("mascon", mascons["lat"].values, {"units": "degrees_north"}),
        "lon": xr.Variable("mascon", mascons["lon"].values, {"units": "degrees_east"}),
        "record_start": xr.Variable("record", bounds[:, 0]),
        "record_end": xr.Variable("record", bounds[:, 1]),
    }
    sizes = {"mascon": mascons.sizes["mascon"], "record": mascons.sizes["time"]}
    return Template(sizes, variables, shards={"mascon": size}, coordinates=coordinates)


@dataclass(frozen=True, eq=False)
class Ingest:
    """Stage function: the block's series as they were observed, and what they say of trend and season."""

    mascons: xr.Dataset

    def __call__(self, item: MasconBlock) -> dict[str, np.ndarray]:
        mascons = self.mascons.isel(mascon=slice(item.mascon_start, item.mascon_stop))
        values = mascons["twsa"].values
        fit = cycle(values, mascons["time"].values, np.isfinite(values))
        sigma = mascons["twsa_uncertainty"].values
        maps = {"trend": fit.trend, "amplitude": fit.amplitude, "phase": fit.phase_days}
        return {"twsa": values, "twsa_uncertainty": sigma, **maps}
