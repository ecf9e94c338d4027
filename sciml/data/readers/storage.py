"""Storage by mascon from any GRACE product we read, recognised by its content, not by its name."""

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.urls import files_in, filesystem, is_folder, members, refused
from sciml.data.readers import csr, grctellus, gsfc, tellus_ascii
from sciml.data.readers.common import open_netcdf, reading, rename_axes, require_file, resolution_degrees
from sciml.data.readers.mascons import CELL_DEGREES, blocks_of_grid, blocks_of_mascons

ENDINGS = (".nc", ".nc4", ".h5", ".hdf5", ".txt", ".txt.gz")


def read(url: str) -> xr.Dataset:
    """Mascon series and the half-degree land cells of each, as `grctellus.read` describes them.

    url: JPL's mascon NetCDF (its own 3-degree mascons); GSFC's HDF5 mascons, CSR's grid (with CSR's land mask as a
    second file), or Tellus level-3 ASCII records, which are averaged over blocks of 3 degrees. A file, a folder, a
    pattern or a list separated by commas. Raises InputError naming the file, what was found and what was expected.
    """
    files = [file for name in members(url) for file in (files_in(name, ENDINGS) if is_folder(name) else [name])]
    ascii_grids = [file for file in files if _is_tellus(file)]
    if ascii_grids:
        if len(ascii_grids) < len(files):
            other = next(file for file in files if file not in ascii_grids)
            raise InputError(f"{other}: found beside Tellus ASCII grids, expected one product; give its files alone")
        return blocks_of_grid(tellus_ascii.read(files), file=files[0])
    masks = [file for file in files if len(files) > 1 and csr.is_land_mask(file)]
    products = [file for file in files if file not in masks]
    if len(products) != 1 or len(masks) > 1:
        raise InputError(
            f"{url}: found {len(products)} storage files and {len(masks)} land masks, expected one product: one NetCDF"
            " or HDF5 file (and CSR's land mask), or Tellus ASCII records"
        )
    file, mask = products[0], (masks or [""])[0]
    if gsfc.recognised(file):
        return blocks_of_mascons(gsfc.read(file), file=file)
    if mask or _is_grid(file):
        return blocks_of_grid(csr.read(file, mask), file=file)
    return grctellus.read(file)


def _is_tellus(file: str) -> bool:
    require_file(file)
    fs, path = filesystem(file)
    with refused(file, "read"), fs.open(path, "rb") as raw:
        head = raw.read(64).lstrip()
    return head[:2] == b"\x1f\x8b" or head.startswith(b"header:")


def _is_grid(file: str) -> bool:
    """Whether a NetCDF file is a grid that never had mascons: JPL's are on half degrees and number them."""
    with reading(file), open_netcdf(file) as ds:
        if "mascon_ID" in ds or "lwe_thickness" not in ds:
            return False
        lat = rename_axes(ds, file=file)["lat"].values
    step = resolution_degrees(np.sort(lat), file=file, name="lat")
    return abs(step - CELL_DEGREES) > 0.01
