"""GLDAS version 2.1 (and 2.2), Noah and Catchment (CLSM): NetCDF files as GES DISC distributes them.

Names end in what a value is: `_tavg` the mean of the step, `_inst` an instant, `_acc` the sum of 3 hours, also in
monthly files, where it is the mean of the 3-hour sums (README of GLDAS 2.1, section on accumulated variables).
Three-hourly stamps are the end of the step. Reference: Rodell et al. 2004, doi:10.1175/BAMS-85-3-381. Not tried on a
real file.
"""

import re
from collections.abc import Collection

import xarray as xr

from sciml.core.errors import InputError
from sciml.data import catalogue
from sciml.data.readers.common import units_of
from sciml.data.readers.gridded import finish, intervals

LAYOUT = "GLDAS Noah or CLSM"
ACCUMULATION_SECONDS = 3 * 3600.0

# catalogue name -> the file's name without ending
_SINGLE = {
    "tas": "Tair_f",
    "huss": "Qair_f",
    "ps": "Psurf_f",
    "cw": "CanopInt",
    "snw": "SWE",
    "hfls": "Qle",
    "hfss": "Qh",
    "evspsbl": "Evap",
    "prsn": "Snowf",
    "mrros": "Qs",
    "mrgw": "GWS",
    "mrtws": "TWS",
}
_ENDINGS = ("_tavg", "_inst", "_acc")
_LAYER = re.compile(r"SoilMoi(\d+)_(\d+)cm_inst")
NAMES = frozenset(
    [*(base + ending for base in {*_SINGLE.values(), "Rainf", "Rainf_f", "Qsb", "SoilMoist_P"} for ending in _ENDINGS)]
    + [f"SoilMoi{layer}cm_inst" for layer in ("0_10", "10_40", "40_100", "100_200")]
)


def recognised(names: Collection[str]) -> int:
    """How many variables this reader knows."""
    return len(NAMES & set(names))


def convert(ds: xr.Dataset, *, file: str) -> xr.Dataset:
    """Catalogue names and units, lazily: `pr tas cw snw mrso hfls mrros ...`, whichever the file has.

    ds: from `gridded.open_gridded`. Precipitation is rain and snow, or the forcing's total where the model's are
    absent. Soil moisture is the sum of Noah's four layers (2 m) or Catchment's profile. Raises InputError for wrong
    units.
    """
    bounds = intervals(ds["time"].values, file=file, stamp="end")
    notes: list[str] = []
    out: dict[str, xr.DataArray] = {}
    for name, base in _SINGLE.items():
        if (found := _find(ds, base)) is not None:
            out[name] = _in_units(ds, found, name, file)
    if (rain := _find(ds, "Rainf")) is not None and (snow := _find(ds, "Snowf")) is not None:
        out["pr"] = _in_units(ds, rain, "pr", file) + _in_units(ds, snow, "pr", file)
    elif (total := _find(ds, "Rainf_f")) is not None:
        out["pr"] = _in_units(ds, total, "pr", file)
    if (below := _find(ds, "Qsb")) is not None and "mrros" in out:
        out["mrro"] = out["mrros"] + _in_units(ds, below, "mrro", file)
    soil = _soil(ds, file)
    if soil is not None:
        out["mrso"] = soil
    missing = [name for name in ("pr", "tas", "cw", "snw", "mrso", "hfls", "mrros") if name not in out]
    if missing:
        notes.append(f"{file}: no {', '.join(missing)}")
    return finish(out, bounds, file=file, layout=LAYOUT, notes=notes)


def _find(ds: xr.Dataset, base: str) -> str | None:
    return next((base + ending for ending in _ENDINGS if base + ending in ds), None)


def _in_units(ds: xr.Dataset, variable: str, name: str, file: str) -> xr.DataArray:
    seconds = ACCUMULATION_SECONDS if variable.endswith("_acc") else None
    units = units_of(ds, variable)
    if units is None and seconds is not None:
        units = "kg m-2"
    return catalogue.convert(name, ds[variable], units=units, file=f"{file}: {variable}", seconds=seconds)


def _soil(ds: xr.Dataset, file: str) -> xr.DataArray | None:
    profile = _find(ds, "SoilMoist_P")
    if profile is not None:
        return _in_units(ds, profile, "mrso", file)
    layers = sorted((int(m[1]), int(m[2]), str(v)) for v in ds.data_vars if (m := _LAYER.fullmatch(str(v))))
    if not layers:
        return None
    edges = [0, *(bottom for _, bottom, _ in layers)]
    if [top for top, _, _ in layers] != edges[:-1] or edges[-1] != 200:
        found = ", ".join(f"{top}-{bottom}" for top, bottom, _ in layers)
        raise InputError(
            f"{file}: soil moisture: found layers {found} cm, "
            "expected 0-10, 10-40, 40-100, 100-200; fetch the missing layers"
        )
    parts = [_in_units(ds, variable, "mrso", file) for _, _, variable in layers]
    return sum(parts[1:], start=parts[0])
