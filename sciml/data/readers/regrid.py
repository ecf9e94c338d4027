"""Area means of a regular grid over the cells of another one, lazily.

GLDAS comes at 0.25 or 1 degree and ERA5-Land at 0.1 degree with centres on the whole tenths; the mascons' cells are
half degrees. First-order conservative: each target is the mean of what overlaps it, weighted by the area of overlap.
"""

import numpy as np
import xarray as xr
from scipy.sparse import csr_array

from sciml.data.readers.common import resolution_degrees


def to_resolution(ds: xr.Dataset, resolution: float, *, file: str) -> xr.Dataset:
    """Predictors on the regular cells of `resolution` degrees (centres at -90 + resolution/2, ...).

    ds: (time, lat, lon), axes ascending, as `predictors.open_predictors` gives it, lazy or not. A grid that is these
    cells already comes back as it is. NaN cells (the sea) do not count; a target without any value is NaN; targets
    that the grid does not touch are left out. Raises InputError for an irregular grid.
    """
    lat_step = resolution_degrees(ds["lat"].values, file=file, name="lat")
    lon_step = resolution_degrees(ds["lon"].values, file=file, name="lon")
    lat = np.arange(-90 + resolution / 2, 90, resolution)
    lon = np.arange(-180 + resolution / 2, 180, resolution)
    rows, lat = _touched(_lat_weights(ds["lat"].values, lat_step, lat, resolution), lat)
    columns, lon = _touched(_lon_weights(ds["lon"].values, lon_step, lon, resolution), lon)
    if _same(ds["lat"].values, lat) and _same(ds["lon"].values, lon):
        return ds
    lazy = ds.chunk({"lat": -1, "lon": -1}) if ds.chunks else ds
    out = xr.apply_ufunc(
        lambda block: _means(block, rows, columns),
        lazy[list(ds.data_vars)],
        input_core_dims=[["lat", "lon"]],
        output_core_dims=[["row", "column"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"row": len(lat), "column": len(lon)}},
        keep_attrs=True,
    )
    out = out.rename(row="lat", column="lon").assign_coords(lat=lat, lon=lon)
    for name in ("lat", "lon"):
        out[name].attrs = ds[name].attrs
    if "time_bounds" in ds.coords:
        out = out.assign_coords(time_bounds=ds["time_bounds"])
    return out.assign_attrs(ds.attrs)


def _means(block: np.ndarray, rows: csr_array, columns: csr_array) -> np.ndarray:
    """block: (..., lat, lon) -> (..., row, column), float32."""
    flat = block.reshape(-1, *block.shape[-2:])
    out = np.empty((len(flat), rows.shape[0], columns.shape[0]), dtype=np.float32)
    for k, field in enumerate(flat):
        valid = np.isfinite(field)
        total = columns @ (rows @ np.where(valid, field, 0.0).astype(np.float64)).T
        weight = columns @ (rows @ valid.astype(np.float64)).T
        out[k] = np.where(weight > 1e-12, total / np.where(weight > 1e-12, weight, 1.0), np.nan).T
    return out.reshape(*block.shape[:-2], *out.shape[1:])


def _touched(weights: np.ndarray, centres: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """Targets that the grid overlaps by more than the rounding of single-precision axes."""
    total = weights.sum(axis=1)
    kept = total > 1e-3 * total.max(initial=0.0)
    return csr_array(weights[kept]), centres[kept]


def _same(source: np.ndarray, target: np.ndarray) -> bool:
    return len(source) == len(target) and bool(np.allclose(source, target, atol=1e-4))


def _lat_weights(source: np.ndarray, step: float, target: np.ndarray, resolution: float) -> np.ndarray:
    """Shares of area: overlap in the sine of latitude. (target, source)"""

    def sine(edge: np.ndarray) -> np.ndarray:
        return np.sin(np.deg2rad(np.clip(edge, -90, 90)))

    low = np.maximum(sine(target - resolution / 2)[:, None], sine(source - step / 2)[None])
    high = np.minimum(sine(target + resolution / 2)[:, None], sine(source + step / 2)[None])
    return _clean(high - low)


def _lon_weights(source: np.ndarray, step: float, target: np.ndarray, resolution: float) -> np.ndarray:
    """Overlap in longitude [degrees], around the globe: a cell on the date line has a part on either side."""
    total = np.zeros((len(target), len(source)))
    for turn in (-360.0, 0.0, 360.0):
        low = np.maximum((target - resolution / 2)[:, None], (source - step / 2 + turn)[None])
        high = np.minimum((target + resolution / 2)[:, None], (source + step / 2 + turn)[None])
        total += _clean(high - low)
    return total


def _clean(overlap: np.ndarray) -> np.ndarray:
    return np.where(overlap > 1e-9, overlap, 0.0)
