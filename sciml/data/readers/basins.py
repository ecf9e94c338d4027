"""A table of basin means: storage, precipitation, evapotranspiration and runoff by month, in one NetCDF file.

Layout of Lehmann, Vishwakarma & Bamber 2022 (doi:10.5194/hess-26-35-2022) merged into one file: `P_<product>`,
`ET_<product>`, `R_<product>` (basin, time) [mm month-1], `TWS_<product>` and `TWS_uncertainty_<product>` [kg m-2,
which is mm], `climate` (basin), and a mask file `basin_index(lat, lon)` that points into its own list of basin names.
A file may hold other basins, fewer variables, basins without storage (all NaN) or without a place in the mask.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2, unit_vectors
from sciml.data import catalogue
from sciml.data.months import MONTH, SECOND, Records, month_seconds
from sciml.data.readers.common import (
    decode_time,
    note,
    open_netcdf,
    order_axes,
    reading,
    require,
    resolution_degrees,
    units_of,
)

LAYOUT = "a table of basin means"
FLUXES = {"pr": "P", "evspsbl": "ET", "mrro": "R"}


def read(
    file: str, *, storage: str, families: Sequence[str], mask: str | None = None, real_months: Records | None = None
) -> xr.Dataset:
    """Storage and fluxes of basins by calendar month, catalogue names and units.

    storage: the table's storage variable, e.g. `TWS_GRACE_JPL_mascons`. families: predictor families, e.g. `ERA5_Land`,
    `GLDAS21_NOAH36`; precipitation of a family that has none of its own is that of its first part (`P_GLDAS21`).
    real_months: where given, storage is NaN in months without a real GRACE record, since the table fills the gaps.

    Returns dimensions basin, time, family, cell. `twsa` (basin, time) [kg m-2, which is mm]; `twsa_uncertainty` where
    the table has it; `pr`, `evspsbl`, `mrro` (family, basin, time) [kg m-2 s-1], NaN where the table has none;
    `observed` (time) bool where real_months is given; `climate` (basin) str where the table has it; with a mask
    `lat`, `lon`, `area_km2`, `n_cells` (basin; NaN, NaN, NaN, 0 without a place) and `cell_parent`, `cell_lat`,
    `cell_lon`, `cell_area_km2` (cell). `time` is the month's first day. Attribute `notes` names what is missing.
    Raises InputError naming what was found and expected, also for a basin listed twice and for real months without
    storage inside its span.
    """
    ds = open_netcdf(file)
    require(ds, ("basin", "time"), file=file, layout=LAYOUT)
    if storage not in ds.variables:
        there = sorted(str(v) for v in ds if str(v).startswith("TWS_") and "uncertainty" not in str(v))
        raise InputError(
            f"{file}: storage variable '{storage}' missing; found {', '.join(there) or 'none that begins with TWS_'}"
        )
    with reading(file):
        month = _months(ds, file)
        names = _names(ds, file)
        out = xr.Dataset(coords={"basin": names, "time": month.astype(SECOND)})
        _add_storage(out, ds, storage, file)
        _add_fluxes(out, ds, families, month, file)
        if "climate" in ds:
            out["climate"] = ("basin", ds["climate"].values.astype(str))
    if real_months is not None:
        observed = np.isin(month, real_months.month)
        _agree(month, np.isfinite(out["twsa"].values).any(axis=0), observed, storage, file)
        out["observed"] = ("time", observed)
        for name in {"twsa", "twsa_uncertainty"} & set(out):
            out[name] = out[name].where(out["observed"])
    bare = names[~np.isfinite(out["twsa"].values).any(axis=1)]
    if len(bare):
        note(out, f"{file}: {len(bare)} of {len(names)} basins hold no storage in '{storage}'")
    if mask is not None:
        _add_places(out, mask)
    out.attrs["source"] = file
    return out


def _names(ds: xr.Dataset, file: str) -> np.ndarray:
    names = ds["basin"].values.astype(str)
    found, count = np.unique(names, return_counts=True)
    if (count > 1).any():
        raise InputError(
            f"{file}: axis 'basin': '{found[count > 1][0]}' is listed {count[count > 1][0]} times; expected each basin"
            " once; rename or remove the others"
        )
    return names


def _agree(month: np.ndarray, stored: np.ndarray, observed: np.ndarray, storage: str, file: str) -> None:
    """Refuse a list of real months that is not of this storage. stored, observed: (time,) bool, storage at any basin
    and months of the list."""
    span = month[stored][[0, -1]]
    inside = observed & (month >= span[0]) & (month <= span[1])
    wrong = month[inside & ~stored]
    said = f"{file}: variable '{storage}', {span[0]} to {span[1]}"
    if not inside.any():
        raise InputError(f"{said}: no real GRACE month of the list lies there; check --real-months")
    if len(wrong):
        shown = ", ".join(map(str, wrong[:3])) + (" ..." if len(wrong) > 3 else "")
        raise InputError(
            f"{said}: no basin holds storage in {len(wrong)} months that the list calls real GRACE months: {shown};"
            " expected a list of this storage's own months; check --real-months"
        )


def _months(ds: xr.Dataset, file: str) -> np.ndarray:
    month = decode_time(ds["time"], file=file).astype(MONTH)
    step = np.diff(month).astype(int)
    if (step != 1).any():
        i = int(np.flatnonzero(step != 1)[0])
        raise InputError(
            f"{file}: axis 'time': {month[i + 1]} follows {month[i]}; expected every calendar month once, in order"
        )
    return month


def _table(ds: xr.Dataset, variable: str, file: str) -> np.ndarray:
    data = ds[variable]
    if set(data.dims) != {"basin", "time"}:
        raise InputError(f"{file}: variable '{variable}': found dimensions {data.dims}, expected (basin, time)")
    return data.transpose("basin", "time").values


def _add_storage(out: xr.Dataset, ds: xr.Dataset, storage: str, file: str) -> None:
    sigma = storage.replace("TWS_", "TWS_uncertainty_", 1)
    for name, variable in (("twsa", storage), ("twsa_uncertainty", sigma)):
        if variable not in ds:
            note(out, f"{file}: no '{variable}'; storage comes without uncertainty")
            continue
        units = units_of(ds, variable)
        values = catalogue.convert(name, _table(ds, variable, file), units=units, file=file)
        catalogue.check_range(name, values, file=file, units=units, axis=1, what=variable)
        out[name] = (("basin", "time"), values.astype("float32"), catalogue.entry(name).attributes)


def _add_fluxes(out: xr.Dataset, ds: xr.Dataset, families: Sequence[str], month: np.ndarray, file: str) -> None:
    there = _families(ds)
    for family in families:
        if family not in there:
            raise InputError(f"{file}: predictor family '{family}' unknown; found {', '.join(there) or 'none'}")
    seconds = month_seconds(month)
    shape = (len(families), out.sizes["basin"], out.sizes["time"])
    for name, prefix in FLUXES.items():
        values = np.full(shape, np.nan, dtype=np.float32)
        for k, family in enumerate(families):
            variable = _variable_of(ds, prefix, family)
            if variable is None:
                note(out, f"{file}: family '{family}' has no {prefix}_ variable; its {name} is missing")
                continue
            units = units_of(ds, variable) or "mm month-1"
            table = catalogue.convert(name, _table(ds, variable, file), units=units, file=file, seconds=seconds)
            catalogue.check_range(name, table, file=file, units=units, what=variable)
            values[k] = table
            _say_gaps(out, variable, values[k], month, file)
        out[name] = (("family", "basin", "time"), values, catalogue.entry(name).attributes)
    out.coords["family"] = list(families)


def _say_gaps(out: xr.Dataset, variable: str, table: np.ndarray, month: np.ndarray, file: str) -> None:
    """Say where a product ends before storage does, and how many basins it lacks."""
    there = np.isfinite(table)
    seen = np.isfinite(out["twsa"].values)
    empty = int((seen.any(axis=1) & ~there.any(axis=1)).sum())
    if empty:
        note(out, f"{file}: '{variable}' has no value for {empty} basins with storage")
    last, needed = month[there.any(axis=0)][-1], month[seen.any(axis=0)][-1]
    if last < needed:
        note(out, f"{file}: '{variable}' ends in {last}, storage in {needed}; later months have no predictor")


def _families(ds: xr.Dataset) -> list[str]:
    """Families that a table has: the products of ET and R, and those of P that no longer name continues."""
    own = {str(v).split("_", 1)[1] for v in ds if str(v).startswith(("ET_", "R_"))}
    rain = {str(v).split("_", 1)[1] for v in ds if str(v).startswith("P_")}
    return sorted(own | {name for name in rain if not any(other.startswith(name + "_") for other in own)})


def _variable_of(ds: xr.Dataset, prefix: str, family: str) -> str | None:
    """`P_<family>`, or for precipitation the longest first part of the family that has one."""
    parts = family.split("_")
    lengths = range(len(parts), 0, -1) if prefix == "P" else [len(parts)]
    for length in lengths:
        variable = f"{prefix}_{'_'.join(parts[:length])}"
        if variable in ds:
            return variable
    return None


def read_mask(mask: str) -> tuple[xr.DataArray, np.ndarray]:
    """Number of the basin of each cell (lat, lon), -1 outside of all, both axes ascending; names of basins (basin,).

    Raises InputError for a number beyond the list of names.
    """
    ds = order_axes(open_netcdf(mask, decode=False), file=mask)
    require(ds, ("basin_index", "basin"), file=mask, layout="a basin mask")
    with reading(mask):
        index = ds["basin_index"].transpose("lat", "lon").values
        listed = ds["basin"].values.astype(str)
    if not np.issubdtype(index.dtype, np.integer):
        index = np.where(np.isfinite(index), index, -1).astype(np.int64)
    if index.max() >= len(listed):
        raise InputError(
            f"{mask}: variable 'basin_index': found {index.max()}, expected less than {len(listed)}, the list of basins"
        )
    coordinates = {"lat": ds["lat"].values, "lon": ds["lon"].values}
    return xr.DataArray(index, coordinates, ("lat", "lon")), listed


def _add_places(out: xr.Dataset, mask: str) -> None:
    basin, listed = read_mask(mask)
    index = basin.values
    where = {name: k for k, name in enumerate(out["basin"].values.tolist())}
    # the mask's number of a basin -> ours, by name: the two files may list other basins in another order
    ours = np.array([where.get(name, -1) for name in listed], dtype=np.int64)
    parent_map = np.where(index >= 0, ours[np.maximum(index, 0)], -1)
    rows, columns = np.nonzero(parent_map >= 0)
    if not len(rows):
        raise InputError(f"{mask}: no cell belongs to a basin of the table; expected basin names as in the table")
    lat, lon = basin["lat"].values[rows], basin["lon"].values[columns]
    area = cell_area_km2(lat, resolution_degrees(basin["lat"].values, file=mask, name="lat"))
    parent = parent_map[rows, columns]
    n = out.sizes["basin"]
    count = np.bincount(parent, minlength=n)
    xyz = unit_vectors(lat, lon) * area[:, None]
    centre = np.stack([np.bincount(parent, xyz[:, k], n) for k in range(3)], axis=-1)
    placed = count > 0
    nan = np.where(placed, 0.0, np.nan)
    out["lat"] = ("basin", np.rad2deg(np.arctan2(centre[:, 2], np.hypot(centre[:, 0], centre[:, 1]))) + nan)
    out["lon"] = ("basin", np.rad2deg(np.arctan2(centre[:, 1], centre[:, 0])) + nan)
    out["area_km2"] = ("basin", np.bincount(parent, area, n) + nan)
    out["n_cells"] = ("basin", count)
    for name, values in (("parent", parent), ("lat", lat), ("lon", lon), ("area_km2", area)):
        out[f"cell_{name}"] = ("cell", values)
    if not placed.all():
        note(out, f"{mask}: {int((~placed).sum())} of {n} basins have no cell in the mask")
