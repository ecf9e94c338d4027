"""Grids in the catalogue's own names (as Today's Earth daily output is kept): NetCDF or Zarr, daily or monthly.

Variables such as `pr tas cw snw mrso hfls mrros` (time, lat, lon), each with a `units` attribute; depths per step
(`mm`) become rates by the length of the step. Not tried on a real file.
"""

from collections.abc import Collection

import xarray as xr

from sciml.data import catalogue
from sciml.data.readers.common import units_of
from sciml.data.readers.gridded import finish, intervals, seconds_of

LAYOUT = "the catalogue's names"
NAMES = frozenset(catalogue.CATALOGUE) - {"twsa", "twsa_uncertainty"}


def recognised(names: Collection[str]) -> int:
    """How many variables this reader knows."""
    return len(NAMES & set(names))


def convert(ds: xr.Dataset, *, file: str) -> xr.Dataset:
    """Catalogue units, lazily. ds: from `gridded.open_gridded`. Raises InputError for unknown units."""
    bounds = intervals(ds["time"].values, file=file)
    out: dict[str, xr.DataArray] = {}
    notes: list[str] = []
    for name in sorted(NAMES & set(map(str, ds.data_vars))):
        if set(ds[name].dims) != {"time", "lat", "lon"}:
            notes.append(f"{file}: variable '{name}' {ds[name].dims} is no series of maps and is left out")
            continue
        seconds = seconds_of(bounds, ds[name])
        out[name] = catalogue.convert(name, ds[name], units=units_of(ds, name), file=file, seconds=seconds)
    return finish(out, bounds, file=file, layout=LAYOUT, notes=notes)
