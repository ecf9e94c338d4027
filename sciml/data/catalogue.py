"""The catalogue: what a variable is called, in which unit it is kept, and which values are believed.

Names follow CMIP and CF. Every reader returns these names and units, or refuses.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from sciml.core.errors import InputError

WATER = 1000.0  # density of water [kg m-3]: 1 m of water is 1000 kg m-2, 1 mm is 1 kg m-2
DAY = 86400.0  # seconds
ZERO_CELSIUS = 273.15  # K

Band = tuple[float, float]


@dataclass(frozen=True)
class Entry:
    """One variable.

    standard_name: CF's, empty where CF has none. valid_min, valid_max: no single value may lie outside [units].
    typical: where the mean size of a whole field must lie (the mean of |x|; for an anomaly, the median over places of
    its deviation in time), a band narrow enough that a wrong unit falls out of it although each value alone is
    possible.
    """

    name: str
    standard_name: str
    long_name: str
    units: str
    valid_min: float
    valid_max: float
    typical: Band
    anomaly: bool = False
    dtype: str = "float32"
    fill: float = float("nan")

    @property
    def attributes(self) -> dict[str, str]:
        """CF attributes."""
        found = {"standard_name": self.standard_name, "long_name": self.long_name, "units": self.units}
        return {key: value for key, value in found.items() if value}


def _rate(name: str, standard_name: str, long_name: str, low: float, high: float, typical: Band) -> Entry:
    """A flux of water whose limits are given in mm per day."""
    band = (typical[0] / DAY, typical[1] / DAY)
    return Entry(name, standard_name, long_name, "kg m-2 s-1", low / DAY, high / DAY, band)


def _water(name: str, standard_name: str, long_name: str, low: float, high: float, typical: Band) -> Entry:
    """An amount of water [kg m-2], which is mm."""
    return Entry(name, standard_name, long_name, "kg m-2", low, high, typical)


# Typical bands are wide enough for a single basin or season, yet narrower than the factor of the commonest confusion on
# the side where it strikes: centimetres for millimetres (10), metres (1000), days for seconds (86400). Packing and
# de-accumulation leave a little negative precipitation and runoff.
_TABLE = (
    _rate("pr", "precipitation_flux", "precipitation", -10, 2000, (0.02, 100)),
    _rate("prsn", "snowfall_flux", "snowfall", -10, 1000, (0, 100)),
    _rate("prra", "rainfall_flux", "rainfall", -10, 2000, (0, 100)),
    _rate("evspsbl", "water_evapotranspiration_flux", "evaporation with transpiration", -20, 60, (0, 15)),
    _rate("mrro", "runoff_flux", "total runoff", -10, 2000, (0, 60)),
    _rate("mrros", "surface_runoff_flux", "surface runoff", -10, 2000, (0, 60)),
    _rate("evspsblpot", "water_potential_evapotranspiration_flux", "potential evaporation", -20, 60, (0.02, 30)),
    _water("cw", "canopy_water_amount", "water on the canopy", -0.01, 20, (0, 5)),
    _water("snw", "surface_snow_amount", "snow water equivalent", -1, 2e5, (0, 2e4)),
    _water("mrso", "mass_content_of_water_in_soil", "soil moisture of the whole profile", 0, 8000, (5, 5000)),
    _water("soil_upper", "mass_content_of_water_in_soil_layer", "water of the upper soil store", 0, 4000, (0.5, 2000)),
    _water("soil_lower", "mass_content_of_water_in_soil_layer", "water of the lower soil store", 0, 8000, (0.5, 5000)),
    _water("mrgw", "", "groundwater storage", -1e4, 2e4, (0, 1e4)),
    _water("mrtws", "land_water_amount", "terrestrial water storage", 0, 1e6, (1, 1e5)),
    # Greenland's outlets reach -22 m in the JPL mascons; a basin or mascon deviates by 8 to 1300 mm, most by 20 to 150.
    Entry(
        "twsa",
        "change_in_land_water_amount",
        "terrestrial water storage anomaly",
        "kg m-2",
        -3e4,
        2e4,
        (7, 250),
        anomaly=True,
    ),
    _water(
        "twsa_uncertainty",
        "change_in_land_water_amount standard_error",
        "one sigma of the terrestrial water storage anomaly",
        0,
        2000,
        (1, 300),
    ),
    Entry("tas", "air_temperature", "air temperature near the surface", "K", 170, 345, (200, 325)),
    Entry("tdps", "dew_point_temperature", "dew point near the surface", "K", 150, 320, (190, 305)),
    Entry("hurs", "relative_humidity", "relative humidity near the surface", "%", -0.1, 200, (2, 105)),
    Entry("lst", "surface_temperature", "land surface temperature", "K", 170, 360, (200, 340)),
    Entry("huss", "specific_humidity", "specific humidity near the surface", "1", -1e-4, 0.06, (1e-5, 0.04)),
    Entry("ps", "surface_air_pressure", "surface pressure", "Pa", 3e4, 1.2e5, (4e4, 1.1e5)),
    Entry("hfls", "surface_upward_latent_heat_flux", "latent heat, upward", "W m-2", -500, 1500, (0.05, 400)),
    Entry("hfss", "surface_upward_sensible_heat_flux", "sensible heat, upward", "W m-2", -1000, 1500, (0.05, 400)),
    Entry("dis", "water_volume_transport_in_river_channel", "river discharge", "m3 s-1", 0, 4e5, (0, 4e5)),
)
CATALOGUE: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _TABLE})


@dataclass(frozen=True)
class Conversion:
    """x [catalogue units] = factor * x [found units] + offset."""

    factor: float = 1.0
    offset: float = 0.0


# Spellings of units that mean the same, after `_canonical`.
_ALIASES = {
    "kg/m2/s": "kg m-2 s-1",
    "kg/m^2/s": "kg m-2 s-1",
    "kg/m2": "kg m-2",
    "kg/m^2": "kg m-2",
    "mm s-1": "kg m-2 s-1",
    "mm/s": "kg m-2 s-1",
    "mm/day": "mm day-1",
    "mm/d": "mm day-1",
    "mm d-1": "mm day-1",
    "kg m-2 d-1": "mm day-1",
    "kg m-2 day-1": "mm day-1",
    "m/day": "m day-1",
    "m/d": "m day-1",
    "m d-1": "m day-1",
    "m of water equivalent per day": "m day-1",
    "cm/day": "cm day-1",
    "kelvin": "K",
    "k": "K",
    "degk": "K",
    "c": "degC",
    "degc": "degC",
    "deg c": "degC",
    "deg_c": "degC",
    "celsius": "degC",
    "degree_celsius": "degC",
    "degrees_celsius": "degC",
    "degrees celsius": "degC",
    "°c": "degC",
    "w/m2": "W m-2",
    "w/m^2": "W m-2",
    "w m-2": "W m-2",
    "w m**-2": "W m-2",
    "j m-2": "J m-2",
    "j/m2": "J m-2",
    "j m**-2": "J m-2",
    "j m-2 day-1": "J m-2 day-1",
    "kg m-2 of water": "kg m-2",
    "meter": "m",
    "metre": "m",
    "meters": "m",
    "metres": "m",
    "m of water equivalent": "m",
    "m of water": "m",
    "mm of water equivalent": "mm",
    "millimeter": "mm",
    "millimetre": "mm",
    "millimeters": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "centimeters": "cm",
    "hpa": "hPa",
    "mbar": "hPa",
    "pa": "Pa",
    "kpa": "kPa",
    "percent": "%",
    "fraction": "1",
    "kg/kg": "1",
    "kg kg-1": "1",
    "kg kg**-1": "1",
    "g/kg": "g kg-1",
    "m3/s": "m3 s-1",
    "m**3 s**-1": "m3 s-1",
    "mm/month": "mm month-1",
}

_CONVERSIONS: dict[tuple[str, str], Conversion] = {
    ("mm", "kg m-2"): Conversion(),
    ("cm", "kg m-2"): Conversion(10.0),
    ("m", "kg m-2"): Conversion(WATER),
    ("mm day-1", "kg m-2 s-1"): Conversion(1.0 / DAY),
    ("cm day-1", "kg m-2 s-1"): Conversion(10.0 / DAY),
    ("m day-1", "kg m-2 s-1"): Conversion(WATER / DAY),
    ("m s-1", "kg m-2 s-1"): Conversion(WATER),
    ("degC", "K"): Conversion(1.0, ZERO_CELSIUS),
    ("hPa", "Pa"): Conversion(100.0),
    ("kPa", "Pa"): Conversion(1000.0),
    ("1", "%"): Conversion(100.0),
    ("g kg-1", "1"): Conversion(0.001),
    ("J m-2 day-1", "W m-2"): Conversion(1.0 / DAY),
}

# Depths and energies that a file accumulates over its own time step: they need the step to become rates.
_ACCUMULATIONS: dict[tuple[str, str], float] = {
    ("mm", "kg m-2 s-1"): 1.0,
    ("kg m-2", "kg m-2 s-1"): 1.0,
    ("cm", "kg m-2 s-1"): 10.0,
    ("m", "kg m-2 s-1"): WATER,
    ("mm month-1", "kg m-2 s-1"): 1.0,
    ("J m-2", "W m-2"): 1.0,
}

# Slips that are common enough to be named: (factor that mends the values, what was taken for what).
_SLIPS = (
    (10.0, "cm taken for mm"),
    (0.1, "mm taken for cm"),
    (1000.0, "m taken for mm"),
    (0.001, "mm taken for m"),
    (100.0, "m taken for cm, or hPa for Pa"),
    (1.0 / DAY, "a daily amount taken for a rate per second"),
    (DAY, "a rate per second taken for a daily amount"),
    (WATER / DAY, "metres per day taken for kg m-2 s-1"),
    (0.01, "cm taken for m"),
)


def entry(name: str) -> Entry:
    """The catalogue's entry of a name. Raises KeyError: an unknown name is a defect of the caller."""
    return CATALOGUE[name]


def canonical_units(units: str) -> str:
    """One spelling per unit: `kg/m2/s`, `kg m**-2 s**-1` and `kg m-2 s-1` are the same."""
    text = re.sub(r"\s+", " ", str(units).strip())
    text = text.replace("**", "").replace("^", "")
    if text in _ALIASES:
        return _ALIASES[text]
    return _ALIASES.get(text.lower(), text)


def conversion(name: str, units: str | None, *, file: str, seconds: Any = None) -> Conversion | Any:
    """How values of a variable come into the catalogue's unit.

    units: what the file says, None where it says nothing (the catalogue's unit is then assumed and the range check is
    the judge). seconds: length of the accumulation [s], scalar or array, for depths and energies per time step.
    Raises InputError for a unit that cannot be converted.
    """
    target = entry(name).units
    if units is None or str(units).strip() == "":
        return Conversion()
    found = canonical_units(units)
    if found == canonical_units(target):
        return Conversion()
    if (found, target) in _CONVERSIONS:
        return _CONVERSIONS[found, target]
    if (found, target) in _ACCUMULATIONS and seconds is not None:
        return Conversion(_ACCUMULATIONS[found, target] / seconds)
    known = sorted({a for a, b in _CONVERSIONS if b == target} | {target})
    raise InputError(
        f"{file}: variable '{name}': found units '{units}', expected '{target}' or one of {', '.join(known)}; "
        "correct the attribute"
    )


def convert(name: str, array: Any, *, units: str | None, file: str, seconds: Any = None) -> Any:
    """Values in the catalogue's unit. array: NumPy, dask or DataArray; nothing is computed and no range is checked."""
    how = conversion(name, units, file=file, seconds=seconds)
    out = array
    if not np.isscalar(how.factor) or how.factor != 1.0:
        out = out * how.factor
    return out + how.offset if how.offset else out


def check(
    name: str, array: np.ndarray, *, file: str, units: str | None = None, seconds: Any = None, axis: int | None = None
) -> np.ndarray:
    """Convert to the catalogue's unit and dtype, and refuse values that cannot be what the file says.

    array: any shape; axis: its time axis, needed for the scale of an anomaly (default: 0 is not assumed, the whole
    array is one place). Returns the same shape in the catalogue's dtype. Raises InputError that names variable, what
    was found, what was expected and the likely factor.
    """
    out = np.asarray(convert(name, array, units=units, file=file, seconds=seconds)).astype(
        entry(name).dtype, copy=False
    )
    check_range(name, out, file=file, units=units, axis=axis)
    return out


def check_range(
    name: str,
    array: np.ndarray,
    *,
    file: str,
    units: str | None = None,
    axis: int | None = None,
    what: str | None = None,
    judge_size: bool = True,
) -> None:
    """Refuse values outside the catalogue's range, or whose whole field is too small or too large for its unit.

    array: values in the catalogue's unit. units: what the file said, for the message. what: the file's own name of it.
    judge_size: off for a sample too small to tell a mean.
    """
    known = entry(name)
    label = f"{file}: variable '{what or name}'"
    said = f" (file says '{units}')" if units else " (no units attribute)"
    finite = np.isfinite(array)
    if not finite.any():
        raise InputError(
            f"{label}: found no valid value, expected {known.units} within {_span(known)}; check the fill value"
        )
    low, high = float(np.min(array, where=finite, initial=np.inf)), float(np.max(array, where=finite, initial=-np.inf))
    size = _size(array, finite, known.anomaly, axis) if judge_size else None
    bad = low < known.valid_min or high > known.valid_max
    small = size is not None and size < known.typical[0] and size > 0
    large = size is not None and size > known.typical[1]
    if not (bad or small or large):
        return
    if bad:
        found = f"found {low:.4g} .. {high:.4g}, expected {_span(known)}{said}"
    else:
        kind = "a typical deviation in time" if known.anomaly else "a mean size"
        bounds = f"{known.typical[0]:.3g} .. {known.typical[1]:.3g} {_unit(known)}"
        found = f"found {kind} of {size:.3g}, expected {bounds}{said}"
    raise InputError(f"{label}: {found}; {_guess(known, low, high, size)}")


def _size(array: np.ndarray, finite: np.ndarray, anomaly: bool, axis: int | None) -> float | None:
    if not anomaly:
        return float(np.mean(np.abs(array), where=finite))
    if axis is None or array.shape[axis] < 12:
        return None  # fewer than 12 records do not tell a deviation
    count = finite.sum(axis=axis)
    places = count >= 12
    if not places.any():
        return None
    value = np.where(finite, array, 0.0).astype(np.float64)
    mean = value.sum(axis=axis) / np.maximum(count, 1)
    square = (value**2).sum(axis=axis) / np.maximum(count, 1) - mean**2
    return float(np.median(np.sqrt(np.maximum(square[places], 0.0))))


def _guess(known: Entry, low: float, high: float, size: float | None) -> str:
    if known.units == "K":
        inside = known.valid_min <= low + ZERO_CELSIUS and high + ZERO_CELSIUS <= known.valid_max
        return "looks like degC taken for K: add 273.15" if inside else "check units and fill value"
    if size is not None and size > 0:
        middle = float(np.sqrt(max(known.typical[0], known.typical[1] / 1e4) * known.typical[1]))
        fits = [
            (abs(np.log(size * factor / middle)), factor, text)
            for factor, text in _SLIPS
            if known.typical[0] <= size * factor <= known.typical[1]
            and known.valid_min <= low * factor
            and high * factor <= known.valid_max
        ]
        if fits:
            _, factor, text = min(fits)
            return f"looks {_times(factor)}: {text}? multiply by {factor:.6g} or correct the units attribute"
    return "check units and fill value"


def _times(factor: float) -> str:
    return f"{factor:.6g} x too small" if factor > 1 else f"{1 / factor:.6g} x too large"


def _span(known: Entry) -> str:
    return f"{known.valid_min:.4g} .. {known.valid_max:.4g} {_unit(known)}"


def _unit(known: Entry) -> str:
    return "kg m-2 (= mm)" if known.units == "kg m-2" else known.units
