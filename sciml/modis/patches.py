"""Patches as the readers give them, as images for the methods."""

import numpy as np
import xarray as xr

from sciml.modis.images import Images


def images_of(patches: xr.Dataset) -> Images:
    """Images of a dataset of `sciml.data.readers.modis_patches.read_patches`: lst [K], ndvi [1] (image, y, x)."""
    return Images(
        lst=patches["lst"].values,
        ndvi=patches["ndvi"].values,
        date=patches["date"].values.astype("datetime64[D]"),
        day=patches["day"].values.astype(bool),
        window=patches["window"].values.astype(np.int64),
        fine_pixel_m=float(patches.attrs["pixel_size_m"]),
        source=str(patches.attrs["source"]),
        reflectance=patches["reflectance"].values,
        notes=tuple(patches.attrs.get("notes", ())),
    )
