"""What drives a land model and what it is fitted to: daily series of cells, and the humidity between them.

Water in kg m-2 (= mm), rates per day, temperature in K, time first, cells last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from sciml.core.errors import ConfigError, InputError
from sciml.land.equations import FREEZING, humidity, vapour_pressure
from sciml.land.equations import saturation_humidity as saturation_humidity  # for those who read weather

DemandKind = Literal["humidity_deficit", "potential_evaporation"]
Stamp = Literal["end", "mean"]
TARGETS = ("snow", "soil_upper", "soil_lower", "groundwater", "runoff", "evaporation")
# Half of the precipitation falls as snow at 1.0 C on average over the land of the Northern Hemisphere, and at -0.4 to
# 2.4 C at 95 % of its stations (Jennings et al. 2018, doi:10.1038/s41467-018-03629-7): a ramp of a degree either side.
SNOW_RAMP = (273.15, 275.15)  # K


@dataclass(frozen=True, eq=False)
class Forcing:
    """Daily weather of cells.

    dates: (time,) datetime64[D], a day a step; in calendar "noleap" 29 February is no gap. rain, snowfall [kg m-2
    day-1], temperature [K], demand: (time, cell) float64. demand: q* - q [1] ("humidity_deficit"), or where the source
    has no humidity its potential evaporation [kg m-2 day-1]. cells: (cell,) names or numbers. lat, lon [degrees],
    area_km2: (cell,), NaN where not known.
    """

    dates: np.ndarray
    rain: np.ndarray
    snowfall: np.ndarray
    temperature: np.ndarray
    demand: np.ndarray
    demand_kind: DemandKind
    cells: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    area_km2: np.ndarray
    calendar: str = "standard"

    def __post_init__(self) -> None:
        shape = (len(self.dates), len(self.cells))
        for name in ("rain", "snowfall", "temperature", "demand"):
            found = getattr(self, name)
            if found.shape != shape or found.dtype != np.float64:
                raise ValueError(f"{name}: found {found.dtype} {found.shape}, expected float64 {shape}")
        for name in ("lat", "lon", "area_km2"):
            if getattr(self, name).shape != shape[1:]:
                raise ValueError(f"{name}: found {getattr(self, name).shape}, expected {shape[1:]}")

    @property
    def precipitation(self) -> np.ndarray:
        """Rain and snowfall, (time, cell) [kg m-2 day-1]."""
        return self.rain + self.snowfall

    @property
    def month(self) -> np.ndarray:
        """(time,) 0 for January to 11, for parameters that differ by month."""
        return (self.dates.astype("datetime64[M]").astype(int)) % 12

    @property
    def year(self) -> np.ndarray:
        """(time,)."""
        return self.dates.astype("datetime64[Y]").astype(int) + 1970

    @property
    def cos_year(self) -> np.ndarray:
        """(time, cell) cosine of the season, 1 on 1 January."""
        return self._season(np.cos)

    @property
    def sin_year(self) -> np.ndarray:
        """(time, cell) sine of the season, 1 on 1 April."""
        return self._season(np.sin)

    def _season(self, wave: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        day = (self.dates - self.dates.astype("datetime64[Y]").astype(self.dates.dtype)).astype(float)
        return np.repeat(wave(2.0 * np.pi * day / 365.25)[:, None], len(self.cells), axis=1)

    def days(self, which: slice) -> "Forcing":
        """Some days, without a copy."""
        series = {name: getattr(self, name)[which] for name in ("dates", "rain", "snowfall", "temperature", "demand")}
        return replace(self, **series)

    def select(self, which: slice | np.ndarray) -> "Forcing":
        """Some cells."""
        series = {name: getattr(self, name)[:, which] for name in ("rain", "snowfall", "temperature", "demand")}
        places = {name: getattr(self, name)[which] for name in ("cells", "lat", "lon", "area_km2")}
        return replace(self, **series, **places)


@dataclass(frozen=True, eq=False)
class Targets:
    """What a land surface model made of the forcing, by the names of `TARGETS`; absent where the source has none.

    values: (time, cell), NaN where missing; stores [kg m-2], rates [kg m-2 day-1]. stamp: whether a store is that at
    the "end" of its day or the "mean" over it.
    """

    dates: np.ndarray
    values: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    stamp: Stamp = "end"

    def __post_init__(self) -> None:
        for name, found in self.values.items():
            if name not in TARGETS:
                raise ValueError(f"target '{name}': expected one of {', '.join(TARGETS)}")
            if found.ndim != 2 or len(found) != len(self.dates):
                raise ValueError(f"target '{name}': found {found.shape}, expected ({len(self.dates)}, cell)")

    def days(self, which: slice) -> "Targets":
        """Some days, without a copy."""
        return replace(self, dates=self.dates[which], values={name: v[which] for name, v in self.values.items()})

    def select(self, which: slice | np.ndarray) -> "Targets":
        """Some cells."""
        return replace(self, values={name: v[:, which] for name, v in self.values.items()})


def days_between(dates: np.ndarray, first: str | int, last: str | int, *, what: str) -> slice:
    """The steps from the first day of `first` to the last of `last`, years, months or days: 1981, "1981-03".

    dates: (time,) datetime64[D] in order. Raises ConfigError where the record does not hold all of them.
    """
    start, stop = np.datetime64(str(first)).astype("datetime64[D]"), (np.datetime64(str(last)) + 1).astype(dates.dtype)
    if not len(dates) or start < dates[0] or stop - 1 > dates[-1] or stop <= start:
        held = f"{dates[0]} .. {dates[-1]}" if len(dates) else "no day"
        raise ConfigError(f"{what}: period {first}:{last}, but the record holds {held}; ask for days inside it")
    return slice(int(np.searchsorted(dates, start)), int(np.searchsorted(dates, stop)))


def humidity_from_relative(relative: np.ndarray, temperature: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """Specific humidity [1]; relative humidity over water as a share [1], temperature [K], pressure [Pa]."""
    return humidity(relative * vapour_pressure(temperature), pressure)


def split_precipitation(
    precipitation: np.ndarray, temperature: np.ndarray, ramp: tuple[float, float] = SNOW_RAMP
) -> tuple[np.ndarray, np.ndarray]:
    """Rain and snowfall, in the unit of precipitation: all snow below the ramp [K], all rain above it."""
    share = np.clip((ramp[1] - temperature) / (ramp[1] - ramp[0]), 0.0, 1.0)
    snowfall = share * precipitation
    return precipitation - snowfall, snowfall


def day_length(dates: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Hours from sunrise to sunset, (time, cell); declination by Spencer (1971). dates: (time,); lat: (cell,)."""
    first = dates.astype("datetime64[Y]").astype("datetime64[D]")
    angle = 2.0 * np.pi * (dates - first).astype(float) / 365.0
    declination = (
        0.006918
        - 0.399912 * np.cos(angle)
        + 0.070257 * np.sin(angle)
        - 0.006758 * np.cos(2 * angle)
        + 0.000907 * np.sin(2 * angle)
        - 0.002697 * np.cos(3 * angle)
        + 0.00148 * np.sin(3 * angle)
    )
    hour_angle = np.arccos(np.clip(-np.tan(np.deg2rad(lat))[None] * np.tan(declination)[:, None], -1.0, 1.0))
    return 24.0 / np.pi * hour_angle


def hamon(temperature: np.ndarray, dates: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Potential evaporation from temperature alone, (time, cell) [kg m-2 day-1]: Hamon (1963) as Lu et al. 2005,
    doi:10.1111/j.1752-1688.2005.tb03759.x: 0.1651 L rho, L daylight in units of 12 hours, rho [g m-3] the saturated
    vapour density. temperature: (time, cell) [K]."""
    celsius = temperature - FREEZING
    density = 216.7 * 6.108 * np.exp(17.26939 * celsius / (celsius + 237.3)) / (celsius + 273.3)
    return 0.1651 * day_length(dates, lat) / 12.0 * density


@dataclass(frozen=True, eq=False)
class Record:
    """One source as read: forcing, targets, and rivers where it knows any; each (time, cell), None where it has none.

    names: (cell,) for tables and figures. discharge: observed [m3 s-1]; streamflow: observed [kg m-2 day-1];
    routed_discharge: the source model's own [m3 s-1]; channel_storage: its mean over the cells upstream [m3]. NaN where
    missing. notes: what a run should say about the reading.
    """

    forcing: Forcing
    targets: Targets
    names: tuple[str, ...]
    discharge: np.ndarray | None = None
    streamflow: np.ndarray | None = None
    routed_discharge: np.ndarray | None = None
    channel_storage: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def days(self, which: slice) -> "Record":
        """Some days, without a copy."""
        return self._each(lambda values: values[which], self.forcing.days(which), self.targets.days(which))

    def select(self, which: slice | np.ndarray) -> "Record":
        """Some cells."""
        kept = replace(self, names=tuple(np.asarray(self.names)[which]))
        return kept._each(lambda values: values[:, which], self.forcing.select(which), self.targets.select(which))

    def _each(self, cut: Callable[[np.ndarray], np.ndarray], forcing: Forcing, targets: Targets) -> "Record":
        rivers = {name: None if getattr(self, name) is None else cut(getattr(self, name)) for name in RIVERS}
        return replace(self, forcing=forcing, targets=targets, **rivers)


RIVERS = ("discharge", "streamflow", "routed_discharge", "channel_storage")


def joined(records: Sequence[Record]) -> Record:
    """Records beside each other as cells of one, over the days that all of them hold.

    A target or river series that only some have is NaN at the others. Raises InputError where demands or calendars are
    of two kinds, or no day is common.
    """
    for what in ("demand_kind", "calendar"):
        found = {getattr(record.forcing, what): record.names[0] for record in records}
        if len(found) > 1:
            said = ", ".join(f"'{kind}' ({name})" for kind, name in sorted(found.items()))
            raise InputError(f"records to join: {what}: found {said}; expected one kind; read them apart")
    first = max(record.forcing.dates[0] for record in records)
    last = min(record.forcing.dates[-1] for record in records)
    if last < first:
        spans = ", ".join(f"{r.names[0]} {r.forcing.dates[0]} .. {r.forcing.dates[-1]}" for r in records)
        raise InputError(f"records to join: no day is in all of them ({spans}); join fewer")
    parts = [r.days(days_between(r.forcing.dates, str(first), str(last), what=r.names[0])) for r in records]
    cut = [f"{r.names[0]}: {len(r.forcing.dates) - len(p.forcing.dates)} days are outside those that all records hold"
           for r, p in zip(records, parts, strict=True) if len(r.forcing.dates) > len(p.forcing.dates)]  # fmt: skip
    forcings = [part.forcing for part in parts]
    series = {name: np.concatenate([getattr(f, name) for f in forcings], axis=1)
              for name in ("rain", "snowfall", "temperature", "demand")}  # fmt: skip
    places = {
        name: np.concatenate([getattr(f, name) for f in forcings]) for name in ("cells", "lat", "lon", "area_km2")
    }
    stamps = {part.targets.stamp for part in parts}
    if len(stamps) > 1:
        raise InputError("records to join: stores of the end of a day and means over it; read them apart")
    targets = {name: _beside([p.targets.values.get(name) for p in parts], forcings) for name in TARGETS}
    rivers = {name: _beside([getattr(p, name) for p in parts], forcings) for name in RIVERS}
    return Record(
        replace(forcings[0], **series, **places),
        Targets(forcings[0].dates, {n: v for n, v in targets.items() if v is not None}, parts[0].targets.stamp),
        tuple(name for part in parts for name in part.names),
        notes=tuple(dict.fromkeys([*(note for part in parts for note in part.notes), *cut])),
        **rivers,
    )


def _beside(series: list[np.ndarray | None], forcings: list[Forcing]) -> np.ndarray | None:
    if all(values is None for values in series):
        return None
    blank = [np.full(f.rain.shape, np.nan) for f in forcings]
    return np.concatenate([b if v is None else v for v, b in zip(series, blank, strict=True)], axis=1)
