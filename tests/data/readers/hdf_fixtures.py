"""HDF-EOS2 files as NASA lays them out, written with pyhdf: gridded MODIS products and ASTER's AST_08 swath."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pyhdf.SD import SD, SDC

from sciml.data.sinusoidal import TILE_M, tile_named

_TYPES = {"uint8": SDC.UINT8, "int8": SDC.INT8, "uint16": SDC.UINT16, "int16": SDC.INT16, "float64": SDC.FLOAT64}
LST_GRID = "MODIS_Grid_Daily_1km_LST"

Field = tuple[np.ndarray, Mapping[str, Any]]


def struct_metadata(
    grid: str, rows: int, columns: int, west: float, north: float, size: float, fields: list[str]
) -> str:
    """The text that HDF-EOS puts beside a grid; size: side of a pixel [m]."""
    objects = "".join(
        f'\t\t\tOBJECT=DataField_{i}\n\t\t\t\tDataFieldName="{name}"\n\t\t\t\tDimList=("YDim","XDim")\n'
        f"\t\t\tEND_OBJECT=DataField_{i}\n"
        for i, name in enumerate(fields, 1)
    )
    return (
        "GROUP=SwathStructure\nEND_GROUP=SwathStructure\nGROUP=GridStructure\n\tGROUP=GRID_1\n"
        f'\t\tGridName="{grid}"\n\t\tXDim={columns}\n\t\tYDim={rows}\n'
        f"\t\tUpperLeftPointMtrs=({west:.6f},{north:.6f})\n"
        f"\t\tLowerRightMtrs=({west + columns * size:.6f},{north - rows * size:.6f})\n"
        "\t\tProjection=GCTP_SNSOID\n\t\tProjParams=(6371007.181000,0,0,0,0,0,0,0,86400,0,0,0,0)\n\t\tSphereCode=-1\n"
        f"\t\tGridOrigin=HDFE_GD_UL\n\t\tGROUP=DataField\n{objects}\t\tEND_GROUP=DataField\n\tEND_GROUP=GRID_1\n"
        "END_GROUP=GridStructure\nEND\n"
    ).ljust(32000, "\0")


def core_metadata(name: str, product: str, version: int) -> str:
    """The objects of CoreMetadata.0 that say what the granule is."""

    def object_(key: str, value: str) -> str:
        return f"    OBJECT         = {key}\n      NUM_VAL      = 1\n      VALUE        = {value}\n"

    return "\nGROUP                  = INVENTORYMETADATA\n" + "".join(
        object_(key, value) + f"    END_OBJECT     = {key}\n\n"
        for key, value in (
            ("LOCALGRANULEID", f'"{name}"'),
            ("VERSIONID", str(version)),
            ("SHORTNAME", f'"{product}"'),
        )
    )


def write_hdf(path: Path, fields: Mapping[str, Field], grid: str, attributes: Mapping[str, str]) -> None:
    sd = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    for name, (values, extra) in fields.items():
        made = sd.create(name, _TYPES[str(values.dtype)], values.shape)
        made.dim(0).setname(f"YDim:{grid}")
        made.dim(1).setname(f"XDim:{grid}")
        if min(values.shape) > 1:
            made.setcompress(SDC.COMP_DEFLATE, 5)
        for key, value in extra.items():
            kind = SDC.CHAR if isinstance(value, str) else SDC.FLOAT64
            if key in {"_FillValue", "valid_range"} and not isinstance(value, str):
                kind = _TYPES[str(values.dtype)]
            made.attr(key).set(kind, value)
        made[:] = values
        made.endaccess()
    for key, text in attributes.items():
        sd.attr(key).set(SDC.CHAR, text)
    sd.end()


def lst_fields(rows: int, columns: int, seed: int = 0, collection: str = "061") -> dict[str, Field]:
    """MOD11A1's twelve fields: a summer field of temperature, a cloud in the north-west, sea in the south-east."""
    rng = np.random.default_rng(seed)
    missing = np.zeros((rows, columns), bool)
    missing[: rows // 4, : columns // 3] = True
    sea = np.zeros_like(missing)
    sea[-(rows // 5) :, -(columns // 4) :] = True
    qc_fill = {"_FillValue": "NA"} if collection == "061" else {}  # the trap of collection 6.1
    fields: dict[str, Field] = {}
    for over, middle, hour in (("Day", 15000, 110), ("Night", 14300, 215)):
        wave = 300 * np.sin(np.arange(rows)[:, None] / 9) * np.cos(np.arange(columns) / 7)
        lst = np.where(missing | sea, 0, middle + wave + rng.normal(0, 20, (rows, columns))).astype(np.uint16)
        qc = np.where(missing, 0b10, np.where(sea, 0b11, rng.choice([0, 17, 65, 81, 145], (rows, columns))))
        seen = ~(missing | sea)
        view = np.where(seen, 65 + (np.arange(columns) * 100 // columns) - 50, 255).astype(np.uint8)
        time = np.where(seen, hour + np.arange(rows)[:, None] % 3, 255).astype(np.uint8)
        lst_attributes = {"units": "K", "valid_range": [7500, 65535], "_FillValue": 0, "scale_factor": 0.02}
        angle = {"units": "deg", "valid_range": [0, 130], "_FillValue": 255, "scale_factor": 1.0, "add_offset": -65.0}
        hours = {"units": "hrs", "valid_range": [0, 240], "_FillValue": 255, "scale_factor": 0.1}
        fields[f"LST_{over}_1km"] = (lst, lst_attributes)
        fields[f"QC_{over}"] = (qc.astype(np.uint8), {"valid_range": [0, 255], **qc_fill})
        fields[f"{over}_view_time"] = (time, hours)
        fields[f"{over}_view_angl"] = (view, angle)
    emissivity = {"valid_range": [1, 255], "_FillValue": 0, "scale_factor": 0.002, "add_offset": 0.49}
    for band, dn in ((31, 240), (32, 243)):
        fields[f"Emis_{band}"] = (np.where(missing | sea, 0, dn).astype(np.uint8), emissivity)
    clear = {"valid_range": [1, 65535], "_FillValue": 0, "scale_factor": 0.0005}
    for over in ("day", "night"):
        fields[f"Clear_{over}_cov"] = (np.where(missing | sea, 0, 2000).astype(np.uint16), clear)
    return fields


def lst_granule(
    folder: Path,
    *,
    day: str = "2020-07-01",
    tile: str = "h18v04",
    pixels: int = 48,
    collection: str = "061",
    product: str = "MOD11A1",
    core: bool = True,
    seed: int = 0,
    produced: str = "2021003092415",
    corners_of: str | None = None,
    edit: Any = None,
) -> Path:
    """A MOD11A1 granule. pixels: of the tile's side, 1200 in the real one. corners_of: lies in that tile instead."""
    date = np.datetime64(day)
    number = int((date - date.astype("datetime64[Y]")).astype(int)) + 1
    name = f"{product}.A{day[:4]}{number:03d}.{tile}.{collection}.{produced}.hdf"
    fields = lst_fields(pixels, pixels, seed, collection)
    if edit:
        fields = edit(fields)
    place = tile_named(corners_of or tile)
    text = struct_metadata(LST_GRID, pixels, pixels, place.west, place.north, TILE_M / pixels, list(fields))
    attributes = {"StructMetadata.0": text}
    if core:
        attributes["CoreMetadata.0"] = core_metadata(name, product, int(collection))
    write_hdf(folder / name, fields, LST_GRID, attributes)
    return folder / name


def vegetation_granule(
    folder: Path,
    *,
    day: str = "2020-07-11",
    pixels: int = 24,
    product: str = "MOD13A2",
    only: tuple[str, ...] | None = None,
    edit: Any = None,
) -> Path:
    """A MOD13 granule: NDVI, red, near-infrared, the picked day and the rank, with a hole of fill in the middle."""
    date = np.datetime64(day)
    number = int((date - date.astype("datetime64[Y]")).astype(int)) + 1
    name = f"{product}.A{day[:4]}{number:03d}.h18v04.061.2021003092415.hdf"
    prefix = "1 km 16 days " if product.endswith("A2") else "250m 16 days "
    red = np.linspace(300, 1500, pixels * pixels).reshape(pixels, pixels).round().astype(np.int16)
    nir = np.linspace(4000, 2000, pixels * pixels).reshape(pixels, pixels).round().astype(np.int16)
    ndvi = np.round(1e4 * (nir.astype(float) - red) / (nir.astype(float) + red)).astype(np.int16)
    picked = (number + np.arange(pixels * pixels) % 16).reshape(pixels, pixels)
    last = int((date.astype("datetime64[Y]") + 1 - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(int))
    picked = np.where(picked > last, picked - last, picked).astype(np.int16)
    rank = np.zeros((pixels, pixels), np.int8)
    hole = (slice(pixels // 2, pixels // 2 + 3), slice(4, 7))
    red[hole] = nir[hole] = -1000
    ndvi[hole], picked[hole], rank[hole] = -3000, -1, -1
    scale = {"scale_factor": 10000.0, "add_offset": 0.0}
    fields: dict[str, Field] = {
        prefix + "NDVI": (ndvi, {"valid_range": [-2000, 10000], "_FillValue": -3000, **scale}),
        prefix + "red reflectance": (red, {"valid_range": [0, 10000], "_FillValue": -1000, **scale}),
        prefix + "NIR reflectance": (nir, {"valid_range": [0, 10000], "_FillValue": -1000, **scale}),
        prefix + "composite day of the year": (picked, {"valid_range": [1, 366], "_FillValue": -1}),
        prefix + "pixel reliability": (rank, {"valid_range": [0, 4], "_FillValue": -1}),
    }
    fields = {key: value for key, value in fields.items() if only is None or key.endswith(only)}
    fields = edit(fields) if edit else fields
    place = tile_named("h18v04")
    text = struct_metadata(
        "MODIS_Grid_16DAY_VI", pixels, pixels, place.west, place.north, TILE_M / pixels, list(fields)
    )
    attributes = {"StructMetadata.0": text, "CoreMetadata.0": core_metadata(name, product, 61)}
    write_hdf(folder / name, fields, "MODIS_Grid_16DAY_VI", attributes)
    return folder / name


def aster_swath(
    path: Path,
    counts: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
    *,
    steps: tuple[int, int] | None = None,
    product: str = "AST_08",
    field: str = "KineticTemperature",
) -> Path:
    """AST_08 as its sample listing shows it: an image and an 11 x 11 lattice of geodetic places. steps: in the map."""
    swath = "SurfaceKineticTemperature"
    sd = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    for name, values, dims in (
        (field, counts, ("ImageLine", "ImagePixel")),
        ("GeodeticLatitude", latitude, ("GeoTrack", "GeoXtrack")),
        ("Longitude", longitude, ("GeoTrack", "GeoXtrack")),
    ):
        made = sd.create(name, _TYPES[str(values.dtype)], values.shape)
        for axis, dim in enumerate(dims):
            made.dim(axis).setname(f"{dim}:{swath}")
        made[:] = values
        made.endaccess()
    maps = "".join(
        f'\t\t\tOBJECT=DimensionMap_{i}\n\t\t\t\tGeoDimension="{geo}"\n\t\t\t\tDataDimension="{image}"\n'
        f"\t\t\t\tOffset=0\n\t\t\t\tIncrement={step}\n\t\t\tEND_OBJECT=DimensionMap_{i}\n"
        for i, (geo, image, step) in enumerate(
            zip(("GeoTrack", "GeoXtrack"), ("ImageLine", "ImagePixel"), steps or (), strict=False), 1
        )
    )
    sd.attr("StructMetadata.0").set(SDC.CHAR, f'GROUP=SwathStructure\n\tSwathName="{swath}"\n{maps}END\n')
    sd.attr("coremetadata.0").set(SDC.CHAR, core_metadata(path.name, product, 3))
    sd.end()
    return path
