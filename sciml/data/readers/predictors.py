"""Gridded predictors of any format we read, recognised by their variables."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers import era5_land, gldas, todays_earth
from sciml.data.readers.gridded import open_gridded
from sciml.data.readers.regrid import to_resolution

# what the paper uses, in its order
PREDICTORS = ("pr", "tas", "cw", "snw", "mrso", "hfls", "mrros")


@dataclass(frozen=True)
class Format:
    """One reader: how many of a file's variables it knows, and its conversion."""

    layout: str
    recognised: Callable[[Collection[str]], int]
    convert: Callable[..., xr.Dataset]
    example: str


FORMATS = (
    Format(todays_earth.LAYOUT, todays_earth.recognised, todays_earth.convert, "pr tas snw mrso"),
    Format(gldas.LAYOUT, gldas.recognised, gldas.convert, "Rainf_tavg SoilMoi0_10cm_inst Qs_acc"),
    Format(era5_land.LAYOUT, era5_land.recognised, era5_land.convert, "tp t2m swvl1 slhf"),
)


def open_predictors(url: str, *, resolution: float | None = None) -> xr.Dataset:
    """Predictors in catalogue names and units, lazily (dask): whichever of the catalogue's variables a source has.

    url: Zarr store, NetCDF file, local folder or pattern of NetCDF files; local or s3://. resolution: where given,
    area means over regular cells of so many degrees (`regrid.to_resolution`). Returns (time, lat, lon)
    float32, lat and lon ascending, lon in [-180, 180), `time` the start of each interval and `time_bounds` (time,
    bound); attributes `layout`, `notes`. Raises InputError naming what was found and expected.
    """
    ds = open_gridded(url)
    names = [str(name) for name in ds.data_vars]
    best = max(FORMATS, key=lambda form: form.recognised(names))
    if best.recognised(names) == 0:
        known = "; ".join(f"{form.layout} ({form.example} ...)" for form in FORMATS)
        hint = (
            " (a table of basin means is read with --source basins)" if any(n.startswith("ET_") for n in names) else ""
        )
        shown = ", ".join(sorted(names)[:12]) + (" ..." if len(names) > 12 else "")
        raise InputError(f"{url}: unknown predictor format: found variables {shown or 'none'}; expected {known}{hint}")
    out = best.convert(ds, file=url)
    return out if resolution is None else to_resolution(out, resolution, file=url)
