"""CSR's RL06 mascon grid: `CSR_GRACE_GRACE-FO_RL06*_Mascons_all-corrections.nc`.

`lwe_thickness(time, lat, lon)` in cm on 0.25 degree, longitudes 0..360, `time_bounds`; the time axis spells its
attribute `Units`. The hexagons of one degree under the grid carry no number, so this is a map and not a set of
mascons. Reference: Save, Bettadpur & Tapley 2016, doi:10.1002/2016JB013007. Not tried on a real file.
"""

import xarray as xr

from sciml.data.readers.common import storage_map

LAYOUT = "CSR's mascon grid"


def read(file: str) -> xr.Dataset:
    """`twsa` (time, lat, lon) [kg m-2, which is mm], lazily, and `time_bounds`; see `common.storage_map`."""
    return storage_map(file, layout=LAYOUT)
