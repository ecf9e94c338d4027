"""CSR's RL06 mascon grid: `CSR_GRACE_GRACE-FO_RL06*_Mascons_all-corrections.nc`.

`lwe_thickness(time, lat, lon)` in cm on 0.25 degree, longitudes 0..360, `time_bounds`; the time axis spells its
attribute `Units`. The hexagons of one degree under the grid carry no number, so this is a map and not a set of
mascons. The land mask is a file of its own, `LO_val(lat, lon)` 1 on land. Level-3 grids of one degree in the same
variables are read too. Reference: Save, Bettadpur & Tapley 2016, doi:10.1002/2016JB013007. Not tried on a real file.
"""

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers.common import open_netcdf, order_axes, reading, storage_map

LAYOUT = "a GRACE grid such as CSR's"
MASKS = ("LO_val", "land_mask")


def read(file: str, land_mask: str = "") -> xr.Dataset:
    """`twsa` (time, lat, lon) [kg m-2, which is mm], lazily, `time_bounds`, and `land`; see `common.storage_map`.

    land_mask: the file that holds the mask, where the grid's own does not. Raises InputError where the two differ.
    """
    grid = storage_map(file, layout=LAYOUT)
    if not land_mask:
        return grid
    mask = order_axes(open_netcdf(land_mask), file=land_mask)
    name = next(name for name in MASKS if name in mask)
    for axis in ("lat", "lon"):
        if mask.sizes[axis] != grid.sizes[axis] or not np.allclose(mask[axis], grid[axis], atol=1e-3):
            raise InputError(f"{land_mask}: axis '{axis}' differs from that of {file}; expected the same grid")
    with reading(land_mask):
        land = mask[name].squeeze(drop=True).transpose("lat", "lon").values > 0.5
    return grid.assign(land=(("lat", "lon"), land))


def is_land_mask(file: str) -> bool:
    """Whether a NetCDF file holds a land mask and no storage."""
    with reading(file), open_netcdf(file) as ds:
        return "lwe_thickness" not in ds and any(name in ds for name in MASKS)
