"""JPL's mascon file as GRCTellus distributes it (RL06 and later): `GRCTellus.JPL.*.GLO.RL06*.MSCNv*[CRI].nc`.

A half-degree grid `lwe_thickness(time, lat, lon)` in cm that repeats the value of each 3-degree equal-area cap;
`mascon_ID` says which. Where the coastline filter (CRI) was applied, land and ocean cells of a coastal cap differ, so
a cap's storage is the mean over its land. Optional: `uncertainty` (one sigma per cap, cm), `scale_factor` (gain per
cell), `land_mask`. Reference: Watkins et al. 2015, doi:10.1002/2014JB011547; Wiese et al. 2016,
doi:10.1002/2016WR019344.
"""

import numpy as np
import xarray as xr
from scipy.sparse import csr_array

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2, unit_vectors
from sciml.data import catalogue, months
from sciml.data.readers.common import (
    note,
    open_netcdf,
    order_axes,
    order_records,
    reading,
    require,
    resolution_degrees,
    units_of,
)
from sciml.data.readers.mascons import Places, mascon_dataset, select

LAYOUT = "a GRCTellus mascon file"
_BLOCK = 61  # records read at once; the files are chunked so


def read(file: str) -> xr.Dataset:
    """Mascon series and the land cells of each mascon.

    Dimensions: mascon, record (dimension `time`), cell, bound. Variables: `twsa` (mascon, time) [mm], mean over the
    land cells; `twsa_uncertainty` (mascon, time) [mm] where the file has it; `mascon_id`, `lat`, `lon` (centre of the
    cap), `area_km2`, `land_area_km2` (mascon); `cell_parent` (index of the mascon), `cell_lat`, `cell_lon`,
    `cell_area_km2` (cell), `cell_scale_factor` (cell) where the file has it; `time_bounds` (time, bound). Mascons
    without land or without a single value are dropped; attribute `notes` says so. Raises InputError: see the module
    `common`, and for a file without `mascon_ID`, identical time bounds, or values that cannot be what the units say.
    """
    ds = order_axes(open_netcdf(file), file=file)
    require(ds, ("lwe_thickness", "mascon_ID", "time_bounds"), file=file, layout=LAYOUT)
    with reading(file):
        ds, records = order_records(ds, "lwe_thickness", file=file)
        cells = _cells(ds, file)
        twsa = _land_means(ds, "lwe_thickness", "twsa", cells, file)
        sigma = _land_means(ds, "uncertainty", "twsa_uncertainty", cells, file) if "uncertainty" in ds else None
    empty = ~np.isfinite(twsa).any(axis=1)
    if empty.all():
        raise InputError(f"{file}: variable 'lwe_thickness': found no valid value over land; check the fill value")
    catalogue.check_range(
        "twsa", twsa, file=file, units=units_of(ds, "lwe_thickness") or "none", axis=1, what="lwe_thickness"
    )
    out = select(_pack(ds, records, cells, twsa, sigma), ~empty)
    out.attrs.update(source=file, title=str(ds.attrs.get("title", "")), resolution_degrees=cells["resolution"])
    if empty.any():
        dropped = cells["mascon_id"][empty]
        shown = ", ".join(str(i) for i in dropped[:8]) + (" ..." if len(dropped) > 8 else "")
        note(out, f"{file}: {len(dropped)} of {len(empty)} land mascons hold no value and are left out: {shown}")
    if "land_mask" not in ds:
        note(out, f"{file}: no land_mask; every cell counts as land")
    return out


def _cells(ds: xr.Dataset, file: str) -> dict[str, np.ndarray]:
    """Geometry: which mascon each grid cell belongs to and which cells are land."""
    shape = (ds.sizes["lat"], ds.sizes["lon"])
    raw = ds["mascon_ID"].transpose("lat", "lon").values.astype(np.float64)
    if raw.shape != shape:
        raise InputError(f"{file}: variable 'mascon_ID': found shape {raw.shape}, expected {shape}")
    has_id = np.isfinite(raw) & (raw >= 0)
    ids = np.where(has_id, raw, -1).astype(np.int64)
    land = has_id.copy()
    if "land_mask" in ds:
        land &= ds["land_mask"].transpose("lat", "lon").values.astype(np.float64) > 0.5
    if not land.any():
        raise InputError(f"{file}: variable 'land_mask': found no land cell with a mascon_ID; expected 1 on land")
    step = resolution_degrees(ds["lat"].values, file=file, name="lat")
    area = np.broadcast_to(cell_area_km2(ds["lat"].values, step)[:, None], shape)
    lat, lon = np.meshgrid(ds["lat"].values, ds["lon"].values, indexing="ij")
    flat = np.flatnonzero(land)
    mascon_id, parent = np.unique(ids.ravel()[flat], return_inverse=True)
    whole = np.flatnonzero(np.isin(ids.ravel(), mascon_id) & has_id.ravel())
    owner = np.searchsorted(mascon_id, ids.ravel()[whole])
    weight = area.ravel()[whole]
    xyz = unit_vectors(lat.ravel()[whole], lon.ravel()[whole]) * weight[:, None]
    centre = np.stack([np.bincount(owner, xyz[:, k], len(mascon_id)) for k in range(3)], axis=-1)
    return {
        "resolution": np.float64(step),
        "mascon_id": mascon_id,
        "flat": flat,
        "parent": parent,
        "cell_lat": lat.ravel()[flat],
        "cell_lon": lon.ravel()[flat],
        "cell_area_km2": area.ravel()[flat],
        "lat": np.rad2deg(np.arctan2(centre[:, 2], np.hypot(centre[:, 0], centre[:, 1]))),
        "lon": np.rad2deg(np.arctan2(centre[:, 1], centre[:, 0])),
        "area_km2": np.bincount(owner, weight, len(mascon_id)),
    }


def _land_means(ds: xr.Dataset, variable: str, name: str, cells: dict[str, np.ndarray], file: str) -> np.ndarray:
    """Area-weighted means over each mascon's land cells: (mascon, time); cells without value count not."""
    data = ds[variable]
    units = units_of(ds, variable)
    if units is None:
        units = "cm"  # what the layout says; the range check is the judge
    if not {"lat", "lon"} <= set(data.dims) or not set(data.dims) <= {"time", "lat", "lon"}:
        raise InputError(f"{file}: variable '{variable}': found dimensions {data.dims}, expected (time, lat, lon)")
    flat, parent = cells["flat"], cells["parent"]
    weights = csr_array(
        (cells["cell_area_km2"], (parent, np.arange(len(flat)))), shape=(len(cells["mascon_id"]), len(flat))
    )
    constant = "time" not in data.dims
    count = 1 if constant else ds.sizes["time"]
    out = np.empty((len(cells["mascon_id"]), count), dtype=np.float64)
    for begin in range(0, count, _BLOCK):
        part = data.expand_dims("time") if constant else data.isel(time=slice(begin, begin + _BLOCK))
        block = part.transpose("time", "lat", "lon").values
        values = block.reshape(len(block), -1)[:, flat].astype(np.float64).T
        valid = np.isfinite(values)
        total = weights @ valid.astype(np.float64)
        mean = (weights @ np.where(valid, values, 0.0)) / np.where(total > 0, total, np.nan)
        out[:, begin : begin + _BLOCK] = catalogue.convert(name, mean, units=units, file=file)
    return np.repeat(out, ds.sizes["time"], axis=1) if constant else out


def _pack(
    ds: xr.Dataset, records: months.Records, cells: dict[str, np.ndarray], twsa: np.ndarray, sigma: np.ndarray | None
) -> xr.Dataset:
    own = Places(cells["mascon_id"], cells["lat"], cells["lon"], cells["area_km2"])
    land = Places(cells["parent"], cells["cell_lat"], cells["cell_lon"], cells["cell_area_km2"])
    out = mascon_dataset(records, twsa, sigma, own, land)
    if "scale_factor" in ds:
        gain = ds["scale_factor"].transpose("lat", "lon").values.ravel()[cells["flat"]]
        out["cell_scale_factor"] = ("cell", gain.astype(np.float32), {"units": "1"})
    return out
