"""Weather of a tile: daily precipitation, temperature, humidity, radiation, with season, relief and persistence."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from sciml.generated.fields import modes, persistent, static

DAY_OF_SOLSTICE = 172  # northern summer
WIDE_KM = 700.0  # weather of a day and anomalies of a season: a usual decorrelation of monthly anomalies
LOCAL_KM = 80.0  # showers, and what is left of them after a season


@dataclass(frozen=True)
class Climate:
    """What a tile's weather and land are like. Latitudes [degrees], temperature at sea level [K], precipitation
    [mm/yr].

    relief_m: standard deviation of elevation. rain_texture: standard deviation of the log of mean precipitation on
    100 km, beside what elevation brings. convective: share of the variance of daily weather on LOCAL_KM; the rest is on
    WIDE_KM. wet_season: amplitude of the log of the seasonal cycle; wet_day: its peak; wet_share: of the days.
    dryness: deficit of relative humidity. irrigated: scale of the share of cells under irrigation. floodplain: how much
    slower water moves there than in the river.
    """

    name: str
    south: float
    temperature: float
    temperature_amplitude: float
    synoptic: float
    rain: float
    wet_season: float
    wet_day: int
    wet_share: float
    convective: float
    rain_texture: float
    relief_m: float
    elevation_m: float
    dryness: float
    irrigated: float
    floodplain: float


CLIMATES = (
    Climate("mountain snow", 42.0, 287.5, 13.0, 3.5, 850, 0.4, 20, 0.45, 0.3, 0.32, 550, 950, 0.35, 0.01, 0.2),
    Climate("monsoon", 18.0, 300.0, 5.5, 1.5, 1100, 2.2, 210, 0.40, 0.5, 0.32, 300, 350, 0.45, 0.03, 0.4),
    Climate("humid tropics", -12.0, 299.5, 1.0, 1.0, 2100, 0.9, 40, 0.60, 0.6, 0.22, 150, 200, 0.15, 0.00, 0.6),
    Climate("savanna", 5.0, 300.5, 2.5, 1.2, 950, 1.8, 215, 0.35, 0.7, 0.25, 200, 400, 0.45, 0.01, 0.4),
    Climate("humid subtropics", 30.0, 292.5, 10.0, 3.5, 1250, 0.3, 60, 0.40, 0.5, 0.24, 250, 300, 0.25, 0.02, 0.3),
    Climate("boreal plain", 54.0, 276.5, 17.0, 4.5, 600, 0.5, 200, 0.45, 0.4, 0.20, 180, 250, 0.25, 0.00, 0.4),
    Climate("semi-arid south", -36.0, 290.0, 8.5, 3.0, 560, 0.5, 190, 0.25, 0.5, 0.28, 280, 350, 0.55, 0.005, 0.2),
)


@dataclass(frozen=True, eq=False)
class Land:
    """Cells of a tile: latitude, longitude [degrees], area [km2], elevation [m], each (cell,)."""

    latitude: np.ndarray
    longitude: np.ndarray
    area: np.ndarray
    elevation: np.ndarray


@dataclass(frozen=True, eq=False)
class Weather:
    """Precipitation [kg m-2 day-1], temperature [K], relative humidity [1] and net radiation [W m-2], (day, cell) each;
    pressure (cell,) [Pa]."""

    precipitation: np.ndarray
    temperature: np.ndarray
    relative_humidity: np.ndarray
    net_radiation: np.ndarray
    pressure: np.ndarray


def season(days: np.ndarray) -> np.ndarray:
    """-1 at the northern winter solstice, 1 at the summer solstice. days: (day,) datetime64[D]."""
    return np.cos(2 * np.pi * (_day_of_year(days) - DAY_OF_SOLSTICE) / 365.25)


def weather(climate: Climate, land: Land, days: np.ndarray, rng: np.random.Generator) -> Weather:
    """Draw the weather of a tile. days: (day,) datetime64[D], without a hole."""
    count = len(days)
    wide, local = (modes(land.latitude, land.longitude, length) for length in (WIDE_KM, LOCAL_KM))
    state = np.sqrt(1 - climate.convective) * persistent(wide, count, 1.6, rng)
    state += np.sqrt(climate.convective) * persistent(local, count, 0.7, rng)
    rain, wet = _precipitation(climate, land, days, state, wide, local, rng)
    hemisphere = np.sign(land.latitude)
    lag = _cosine(days, DAY_OF_SOLSTICE + 28)[:, None] * hemisphere
    temperature = climate.temperature + climate.temperature_amplitude * lag - 0.006 * land.elevation
    temperature = temperature + climate.synoptic * (1 - 0.3 * lag) * persistent(wide, count, 4.0, rng)
    temperature = temperature + 0.9 * persistent(wide, count, 60.0, rng) - 1.5 * wet
    humidity = np.clip(0.85 - climate.dryness + 0.15 * wet + 0.06 * persistent(wide, count, 20.0, rng), 0.1, 1.0)
    radiation = np.maximum(0.42 * _extraterrestrial(land.latitude, days) * (1 - 0.35 * wet) - 20.0, 5.0)
    pressure = 101325.0 * np.exp(-land.elevation / 8000.0)
    single = np.float32
    return Weather(
        rain.astype(single), temperature.astype(single), humidity.astype(single), radiation.astype(single), pressure
    )


def elevation(climate: Climate, latitude: np.ndarray, longitude: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Relief on 400 and 90 km above a mean height. latitude, longitude: (cell,) -> (cell,) [m], never below 5 m."""
    broad, fine = (static(modes(latitude, longitude, length), rng) for length in (400.0, 90.0))
    return np.maximum(climate.elevation_m + climate.relief_m * (0.45 * broad + 0.9 * fine), 5.0)


def _precipitation(
    climate: Climate,
    land: Land,
    days: np.ndarray,
    state: np.ndarray,
    wide: np.ndarray,
    local: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Precipitation [kg m-2 day-1] and whether it falls, (day, cell) each.

    It falls where the Gaussian state exceeds a threshold, and grows with the excess to the power 1.5; the mean follows
    climate, season, elevation (6 % for 100 m up to a ceiling: usual orographic gradients are 5 to 20 %) and persistent
    anomalies of 100 days (wide and local) and 500 days.
    """
    height = np.minimum((land.elevation - climate.elevation_m) / 100.0, 12.0)
    texture = climate.rain_texture * static(modes(land.latitude, land.longitude, 100.0), rng)
    normal = np.exp(0.06 * height + texture)
    cycle = np.exp(climate.wet_season * _cosine(days, climate.wet_day))
    threshold = _quantile(1 - climate.wet_share)
    wet = state > threshold
    amount = np.maximum(state - threshold, 0.0) ** 1.5 / _mean_excess(threshold)
    slow = 0.22 * persistent(wide, len(days), 100.0, rng) + 0.30 * persistent(local, len(days), 100.0, rng)
    slow += 0.16 * persistent(wide, len(days), 500.0, rng)
    normal = normal / normal.mean() * climate.rain / 365.25
    return amount * normal * (cycle / cycle.mean())[:, None] * np.exp(slow - slow.var() / 2), wet


def _mean_excess(threshold: float) -> float:
    """E[max(z - threshold, 0)^1.5] for a standard normal z."""
    z = np.linspace(threshold, 8.0, 20001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.trapezoid((z - threshold) ** 1.5 * density, z))


def _quantile(share: float) -> float:
    return float(ndtri(share))


def _extraterrestrial(latitude: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Daily mean radiation at the top of the atmosphere (Allen et al. 1998, FAO 56, eq. 21): (day, cell) [W m-2]."""
    phi = np.deg2rad(latitude)[None, :]
    angle = 2 * np.pi * _day_of_year(days)[:, None] / 365.25
    declination = 0.409 * np.sin(angle - 1.39)
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1.0, 1.0))
    shape = sunset * np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.sin(sunset)
    return 1361.0 / np.pi * (1 + 0.033 * np.cos(angle)) * shape


def _cosine(days: np.ndarray, peak: int) -> np.ndarray:
    return np.cos(2 * np.pi * (_day_of_year(days) - peak) / 365.25)


def _day_of_year(days: np.ndarray) -> np.ndarray:
    return (days - days.astype("datetime64[Y]")).astype(int) + 1.0
