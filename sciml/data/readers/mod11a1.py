"""MOD11A1 and MYD11A1, daily land surface temperature at 1 km, collections 6 and 6.1.

Counts, scales and the bits of QC follow the MODIS Land Surface Temperature Products Users' Guide (Wan 2013). The file's
own scale factors are held against them: a granule that was rescaled is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from sciml.core.errors import InputError
from sciml.data import catalogue
from sciml.data.readers.hdf_eos import Granule, open_granule
from sciml.data.sinusoidal import Tile

PRODUCTS = ("MOD11A1", "MYD11A1")  # Terra and Aqua
OVERPASSES = ("day", "night")
MISSING_CLASS = 255


@dataclass(frozen=True)
class Packed:
    """A field as it is stored: value = count * scale + offset, `fill` where there is none.

    valid: lowest and highest count that means something.
    """

    fields: tuple[str, ...]
    dtype: str
    scale: float
    offset: float
    fill: int
    valid: tuple[int, int]
    units: str
    long_name: str
    standard_name: str = ""


# by the names that we give them; two fields are those of day and night
FIELDS: Mapping[str, Packed] = MappingProxyType(
    {
        "lst": Packed(
            ("LST_Day_1km", "LST_Night_1km"),
            "uint16",
            0.02,
            0.0,
            0,
            (7500, 65535),
            "K",
            "land surface temperature",
            "surface_temperature",
        ),
        "view_angle": Packed(
            ("Day_view_angl", "Night_view_angl"),
            "uint8",
            1.0,
            -65.0,
            255,
            (0, 130),
            "degree",
            "view zenith angle, its sign says from which side",
            "sensor_zenith_angle",
        ),
        "overpass_time": Packed(
            ("Day_view_time", "Night_view_time"),
            "uint8",
            0.1,
            0.0,
            255,
            (0, 240),
            "h",
            "local solar time of the observation",
        ),
        "emissivity_31": Packed(
            ("Emis_31",), "uint8", 0.002, 0.49, 0, (1, 255), "1", "emissivity of band 31 (10.78-11.28 um)"
        ),
        "emissivity_32": Packed(
            ("Emis_32",), "uint8", 0.002, 0.49, 0, (1, 255), "1", "emissivity of band 32 (11.77-12.27 um)"
        ),
        "clear_sky": Packed(
            ("Clear_day_cov", "Clear_night_cov"),
            "uint16",
            0.0005,
            0.0,
            0,
            (1, 65535),
            "1",
            "clear-sky coverage of the pixel",
        ),
    }
)
QC_FIELDS = ("QC_Day", "QC_Night")


@dataclass(frozen=True)
class Flag:
    """Two bits of QC: the lower one's number and what the four values mean."""

    bit: int
    long_name: str
    meanings: tuple[str, str, str, str]


FLAGS: Mapping[str, Flag] = MappingProxyType(
    {
        "mandatory_qa": Flag(
            0, "mandatory quality", ("good", "produced_see_other_bits", "not_produced_cloud", "not_produced_other")
        ),
        "data_quality": Flag(2, "quality of the radiances", ("good", "other", "reserved_2", "reserved_3")),
        "emissivity_error_class": Flag(
            4, "average error of emissivity", ("at_most_0.01", "at_most_0.02", "at_most_0.04", "above_0.04")
        ),
        "lst_error_class": Flag(
            6, "average error of temperature", ("at_most_1_K", "at_most_2_K", "at_most_3_K", "above_3_K")
        ),
    }
)


def read(file: str, *, tile: Tile | None = None, collection: str | None = None) -> xr.Dataset:
    """One granule, in physical units.

    Dimensions overpass (day, night), y, x; sinusoidal x, y [m] with `spatial_ref`. `lst` [K], `view_angle` [degree],
    `overpass_time` [h local solar time], `clear_sky` [1] (overpass, y, x); `emissivity_31`, `emissivity_32` (y, x); NaN
    where there is none. `qc` and its named flags `mandatory_qa`, `data_quality`, `emissivity_error_class`,
    `lst_error_class` (overpass, y, x) uint8; the last three are 255 where no temperature was produced. Attributes:
    product, collection, tile, day, source. A field that a subset lacks, `lst` apart, is left out. Raises InputError:
    see `hdf_eos.open_granule`.
    """
    with open_granule(file, PRODUCTS, tile=tile, collection=collection) as granule:
        counts = read_counts(granule)
        header = granule.header
    arrays = {name: _decoded(FIELDS[name], values) for name, values in counts.items() if name in FIELDS}
    if "qc" in counts:
        arrays["qc"] = xr.Variable(("overpass", "y", "x"), counts["qc"], {"long_name": "quality bits as distributed"})
        arrays |= {name: _flag_variable(name, flag(counts["qc"], counts["lst"], name)) for name in FLAGS}
    coordinates = xr_coords(header.grid.geobox(), dims=("y", "x"))
    out = xr.Dataset(arrays, coords={**coordinates, "overpass": list(OVERPASSES)})
    for name in out.data_vars:
        out[name].encoding["grid_mapping"] = "spatial_ref"
    out.attrs.update(
        product=header.product, collection=header.collection, tile=str(header.tile), day=header.day, source=file
    )
    return out


def read_counts(granule: Granule, names: tuple[str, ...] = (*FIELDS, "qc")) -> dict[str, np.ndarray]:
    """Fields as they are stored, by our names: (overpass, y, x), emissivities (y, x).

    A temperature outside the valid counts becomes 0. A field that the file lacks is left out, but for `lst`. Raises
    InputError for a scale, offset or fill that is not the product's, and for temperatures that cannot be.
    """
    there, grid, found = set(granule.fields), granule.header.grid, {}
    for name in names:
        fields = QC_FIELDS if name == "qc" else FIELDS[name].fields
        dtype = "uint8" if name == "qc" else FIELDS[name].dtype
        if name != "lst" and not set(fields) <= there:
            continue
        if name != "qc":
            for field in set(fields) & there:
                _refuse_rescaled(granule, field, FIELDS[name])
        # one field at a time into its place: its memory serves for the next, and fresh memory costs as much as a copy
        values = np.empty((len(fields), grid.rows, grid.columns), dtype)
        for place, field in enumerate(fields):
            part = granule.values(field, dtype)
            values[place] = _usable_lst(part, granule.header.file) if name == "lst" else part
        found[name] = values if len(fields) > 1 else values[0]
    return found


def flag(qc: np.ndarray, lst_counts: np.ndarray, name: str) -> np.ndarray:
    """QC [bits] -> one named value 0 .. 3, uint8, same shape.

    Where no temperature was produced (count 0) all but the mandatory bits mean nothing: they become 255. QC itself has
    no fill: 0 is the best quality, whatever an attribute says.
    """
    found = (qc >> np.uint8(FLAGS[name].bit)) & np.uint8(3)
    if name == "mandatory_qa":
        return found
    absent = lst_counts == FIELDS["lst"].fill
    # a product and an "or" are five times as fast here as an assignment by mask
    return found | absent.view(np.uint8) * np.uint8(MISSING_CLASS)


def flag_attributes(name: str) -> dict[str, object]:
    """CF attributes of a flag."""
    known = FLAGS[name]
    return {"long_name": known.long_name, "flag_values": [0, 1, 2, 3], "flag_meanings": " ".join(known.meanings)}


def _flag_variable(name: str, values: np.ndarray) -> xr.Variable:
    attributes = flag_attributes(name) | {"flag_values": np.arange(4, dtype=np.uint8)}
    return xr.Variable(("overpass", "y", "x"), values, attributes)


def _decoded(packed: Packed, counts: np.ndarray) -> xr.Variable:
    """value = count * scale + offset through a table of all counts; NaN where the count is the fill or not valid."""
    count = np.arange(np.iinfo(packed.dtype).max + 1)
    usable = (count >= packed.valid[0]) & (count <= packed.valid[1]) & (count != packed.fill)
    table = np.where(usable, count * packed.scale + packed.offset, np.nan).astype(np.float32)
    dims = ("overpass", "y", "x")[-counts.ndim :]
    attributes = {"units": packed.units, "long_name": packed.long_name, "standard_name": packed.standard_name}
    return xr.Variable(dims, table[counts], {key: value for key, value in attributes.items() if value})


def _refuse_rescaled(granule: Granule, field: str, packed: Packed) -> None:
    attributes = granule.attributes(field)
    expected = {"scale_factor": packed.scale, "add_offset": packed.offset, "_FillValue": packed.fill}
    for name, value in expected.items():
        found = attributes.get(name, value)
        if not isinstance(found, (int, float)) or abs(found - value) > 1e-6:
            raise InputError(
                f"{granule.header.file}: variable {field!r}: found {name} {found!r}, expected {value};"
                " fetch the granule as NASA distributes it"
            )


def _usable_lst(counts: np.ndarray, file: str) -> np.ndarray:
    """Counts of temperature with 0 for those below the valid range; refuses those that cannot be.

    Deflate in HDF4 carries no checksum that the library looks at: damage can come out as numbers. Real granules hold
    single hot pixels (402 K, a fire), so one in a thousand may lie outside.
    """
    packed, known = FIELDS["lst"], catalogue.entry("lst")
    low, high = (round(limit / packed.scale) for limit in (known.valid_min, known.valid_max))
    valid = np.count_nonzero(counts)
    outside = np.count_nonzero(counts > high) + np.count_nonzero(counts < low) - (counts.size - valid)
    if outside > valid / 1000 + 1:
        raise InputError(
            f"{file}: variable 'LST': found {outside} of {valid} pixels outside {known.valid_min:g} .."
            f" {known.valid_max:g} K, expected single ones at most; damaged? fetch it again"
        )
    return counts * (counts >= packed.valid[0]) if outside else counts
