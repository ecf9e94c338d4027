"""Generated scenes of surface temperature with a truth that is known at 250 m: for demonstration and tests.

A periodic country of fractal relief, forests, lakes and parcels of fields with their own seasons. By day the ground
is heated as the sun stands on its slope, and vegetation cools it; by night relief, cold air and water count, and
vegetation does not. Air levels the broad contrasts of vegetation more than the fine ones, so the temperature that goes
with a step of NDVI grows from coarse to fine scales, as it is seen to do. Nothing here is fitted by any method: the
response is not linear in NDVI, parcels differ in what no guidance shows, and every date has weather of its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from sciml.core.seeds import seed_for
from sciml.modis.degradation import box_t4
from sciml.modis.images import Images

PIXEL_M = 926.6254331391667  # of MOD11A1, "1 km"
FINER = 4  # fine pixels in one of 1 km, each way
SIZE = 64  # pixels of a window, each way
TILE_WINDOWS = 18  # windows of a tile, each way
FIRST_ROW, FIRST_COLUMN = 4, 5  # of the country in its tile
TILE_TOP_M = 5559752.598333  # upper edge of tile h18v04, sinusoidal; its left edge is 0
LST_STEP = 0.02  # [K], what the product stores
PERIOD_DAYS = 16  # of a composite of NDVI
REFLECTANCE_FILL = -1000

LAPSE = 6.5e-3  # [K/m]
LOWEST_M, RELIEF_M = 150.0, 450.0
COOLING = 14.0  # [K] from bare ground to closed vegetation at noon in summer, at the finest scale
LEAST_RESPONSE = 0.25  # of COOLING that is left of the broadest contrasts of vegetation
MIXING_M = 3000.0  # wavelength of contrasts that the air levels by half
WEATHER_SLOPE = 3.5  # of the power spectrum of a date's weather, over the modes' wave number
NOISE_K = 0.08  # of the instrument
LONGEST = 512  # [pixels], wavelength beyond which fields have no more power: 119 km at 250 m


@dataclass(frozen=True, eq=False)
class Country:
    """What does not change from date to date, on a periodic grid of `pixel_m`, (Y, X).

    relief [m]; sunny: cosine of the sun's incidence at the morning overpass over its mean; pool: -1 in valleys where
    cold air gathers at night .. 1 on heights; water: bool; forest: share; soil [K]: what a dry parcel is warmer by at
    noon, unseen by any guidance; peak: day of the year when a parcel is greenest; rows, columns: windows each way.
    """

    relief: np.ndarray
    sunny: np.ndarray
    pool: np.ndarray
    water: np.ndarray
    forest: np.ndarray
    soil: np.ndarray
    peak: np.ndarray
    rows: int
    columns: int
    pixel_m: float
    seed: int


def scenes(windows: int = 9, dates: int = 16, *, seed: int = 0, cloudy: float = 0.2, seen: float = 0.7) -> Images:
    """Day and night images at 1 km of `windows` neighbouring places on `dates` days of 2020.

    cloudy: share of the images that lack pixels under clouds; seen: share of places that are given on a date. Images
    of one place and date follow each other, day first. NDVI is that of the 16-day composite.
    """
    country = make_country(windows, seed)
    rng = np.random.default_rng(seed_for(seed, "scenes", "choice"))
    places, parts = window_numbers(country, windows), []
    for date in _dates(dates):
        given = rng.random(windows) < seen
        given[rng.integers(windows)] = True  # never a date without a place
        ndvi = _mean(greenness(country, composite(date)))
        lst = [box_t4(temperature(country, date, day)[None], FINER)[0] for day in (True, False)]
        for k in np.flatnonzero(given):
            for day, field in zip((True, False), lst, strict=True):
                image = _window(field, country, k, SIZE)
                if rng.random() < cloudy:
                    image = np.where(_clouds(rng), np.nan, image)
                parts.append((image, _window(ndvi, country, k, SIZE), date, day, places[k]))
    return _images(parts, PIXEL_M, f"generated, {windows} windows, {dates} dates, seed {seed}")


def fine_scenes(windows: int = 4, dates: int = 4, *, seed: int = 1) -> Images:
    """Day images of the truth at 250 m, 256 x 256 pixels, with their NDVI of the same day: what a finer sensor sees.

    `box_t4(lst, 4)` is what MODIS sees of them. Same country as `scenes` of as many windows and the same seed.
    """
    country = make_country(windows, seed)
    places, parts = window_numbers(country, windows), []
    for date in _dates(dates):
        ndvi, lst = greenness(country, date), temperature(country, date, True)
        for k in range(windows):
            side = SIZE * FINER
            parts.append((_window(lst, country, k, side), _window(ndvi, country, k, side), date, True, places[k]))
    return _images(parts, PIXEL_M / FINER, f"generated at 250 m, {windows} windows, {dates} dates, seed {seed}")


def make_country(windows: int, seed: int) -> Country:
    """A block of at least `windows` windows, as square as can be."""
    columns = int(np.ceil(np.sqrt(windows)))
    rows = -(-windows // columns)
    if max(rows + FIRST_ROW, columns + FIRST_COLUMN) > TILE_WINDOWS:
        raise ValueError(f"{windows} windows do not fit into a tile of {TILE_WINDOWS} x {TILE_WINDOWS}")
    shape, pixel = (rows * SIZE * FINER, columns * SIZE * FINER), PIXEL_M / FINER

    def field(name: str, slope: float) -> np.ndarray:
        return fractal(shape, slope, np.random.default_rng(seed_for(seed, "scenes", name)))

    relief = LOWEST_M + RELIEF_M * np.abs(field("relief", 3.1)) ** 1.3  # valleys where the field changes sign
    south, east = (
        (np.roll(relief, -1, axis) - np.roll(relief, 1, axis)) / (2 * pixel) for axis in (0, 1)
    )  # rise towards south and east
    # the sun of 10:30 stands 50 degrees high in the south-east; a slope that rises towards it turns away
    sunny = (np.tan(np.radians(50)) - (south + east) / np.sqrt(2)) / np.sqrt(1 + south**2 + east**2)
    basin = relief - _smooth(relief, 12_000.0, pixel)
    lowland = field("water", 3.0) - basin / 150.0
    rng = np.random.default_rng(seed_for(seed, "scenes", "parcels"))
    parcel = _parcels(shape, rng)
    count = parcel.max() + 1
    early = rng.random(count) < 0.55
    peak = np.where(early, rng.normal(140, 12, count), rng.normal(205, 15, count))
    return Country(
        relief=relief,
        sunny=sunny / sunny.mean(),
        pool=np.tanh(basin / 120.0),
        water=lowland > np.quantile(lowland, 0.988),
        forest=1 / (1 + np.exp(-2.5 * (field("forest", 2.4) + (relief - 600) / 1500))),
        soil=0.9 * rng.standard_normal(count)[parcel] + 0.6 * field("soil", 2.2),
        peak=peak[parcel],
        rows=rows,
        columns=columns,
        pixel_m=pixel,
        seed=seed,
    )


def window_numbers(country: Country, windows: int) -> np.ndarray:
    """Number of each window in its tile, row-major: (window,)."""
    k = np.arange(windows)
    return (FIRST_ROW + k // country.columns) * TILE_WINDOWS + FIRST_COLUMN + k % country.columns


def greenness(country: Country, date: np.datetime64) -> np.ndarray:
    """NDVI (Y, X) on a date."""
    day = _day_of_year(date)
    crop = 0.22 + 0.55 * np.exp(-(((day - country.peak) / 45.0) ** 2))
    leaves = 0.45 + 0.38 / (1 + np.exp(-(75 - np.abs(day - 200)) / 12.0))
    ndvi = country.forest * leaves + (1 - country.forest) * crop - 0.08 * (country.relief > 2000)
    return np.where(country.water, -0.05, ndvi)


def temperature(country: Country, date: np.datetime64, day: bool) -> np.ndarray:
    """Surface temperature (Y, X) [K] on a date at the morning overpass (day) or the evening one, without clouds."""
    season = np.cos(2 * np.pi * (_day_of_year(date) - 200) / 365.25)  # 1 in July, -1 in January
    rng = np.random.default_rng(seed_for(country.seed, "scenes", "weather", str(date), int(day)))
    warmth, lapse, dryness = rng.normal(0, 3), LAPSE * rng.uniform(0.8, 1.1), rng.uniform(0.6, 1.1)
    weather = 0.9 * fractal(country.relief.shape, WEATHER_SLOPE, rng)
    ground = weather - lapse * (country.relief - LOWEST_M) + NOISE_K * rng.standard_normal(country.relief.shape)
    if not day:
        still = rng.uniform(0.5, 1.8)  # nights without wind fill the valleys with cold air
        ground = ground + 282.0 + 9 * season + 0.7 * warmth + still * (country.pool - 0.4 * country.soil)
        return np.where(country.water, ground + 1.5, ground)
    sun = 0.65 + 0.35 * season
    bare = 1 - np.clip(greenness(country, date) / 0.85, 0, 1) ** 1.5
    heated = dryness * sun * (COOLING * levelled(bare, country.pixel_m) + 3 * (country.sunny - 1) + country.soil)
    land = ground + 291.0 + 14 * season + warmth + heated
    lake = 286.0 + 9 * season + 0.5 * weather
    return np.where(country.water, lake, land)


def levelled(contrast: np.ndarray, pixel_m: float) -> np.ndarray:
    """What is left of a contrast of the ground once the air has mixed: all of the finest waves, LEAST_RESPONSE of the
    broadest. contrast: (Y, X), periodic."""
    wave = _wave_numbers(contrast.shape, pixel_m)
    response = LEAST_RESPONSE + (1 - LEAST_RESPONSE) * wave**2 / (wave**2 + MIXING_M**-2.0)
    return np.fft.irfft2(np.fft.rfft2(contrast) * response, s=contrast.shape)


def fractal(shape: tuple[int, int], slope: float, rng: np.random.Generator) -> np.ndarray:
    """Periodic field (Y, X) of mean 0 and variance 1 whose power falls as wave number to the -slope; waves longer than
    LONGEST pixels have no more than those of that length."""
    amplitude = np.maximum(_wave_numbers(shape, 1.0), 1 / LONGEST) ** (-slope / 2)
    amplitude[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * amplitude, s=shape)
    return field / field.std()


def composite(date: np.datetime64) -> np.datetime64:
    """First day of the 16-day composite that a date lies in."""
    start = date.astype("datetime64[Y]").astype("datetime64[D]")
    return start + (date - start).astype(int) // PERIOD_DAYS * PERIOD_DAYS


def write_patches(images: Images, patches: Path, ndvi: Path) -> None:
    """Two NetCDF files in the layout that `sciml.data.readers.modis_patches` reads, temperature and reflectances.

    images: day and night of a place and date follow each other, as `scenes` gives them.
    """
    day, night = images.select(np.arange(0, len(images), 2)), images.select(np.arange(1, len(images), 2))
    if not (day.day.all() and not night.day.any() and (day.window == night.window).all()):
        raise ValueError("patches: expected day and night of each place and date in turn")
    lst = np.stack([day.lst, night.lst], axis=1)
    row, column = day.window // TILE_WINDOWS, day.window % TILE_WINDOWS
    period = np.array([composite(d) for d in day.date])
    keys = np.stack([day.window, period.astype(int)], axis=1)
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    counts = np.where(np.isfinite(lst), np.rint(np.nan_to_num(lst) / LST_STEP), 0).astype(np.uint16)
    xr.Dataset(
        {
            "lst_dn": (("patch", "overpass", "y", "x"), counts),
            "date": ("patch", _yyyyddd(day.date)),
            "window": ("patch", day.window.astype(np.int16)),
            "ulx": ("patch", column * SIZE * PIXEL_M),
            "uly": ("patch", TILE_TOP_M - row * SIZE * PIXEL_M),
            "ndvi_index": ("patch", index.ravel().astype(np.int32)),
        },
        coords={"overpass": ["day", "night"]},
        attrs={"title": images.source, "pixel_size_m": images.fine_pixel_m},
    ).to_netcdf(patches)
    green, total = day.ndvi[first], 0.35  # red and near-infrared together
    both = np.rint(np.stack([1 - green, 1 + green], axis=1) * total / 2 * 1e4)
    xr.Dataset(
        {
            "refl_dn": (
                ("patch", "band", "y", "x"),
                np.where(np.isfinite(both), both, REFLECTANCE_FILL).astype(np.int16),
            ),
            "date": ("patch", _yyyyddd(period[first])),
            "window": ("patch", day.window[first].astype(np.int16)),
        },
        coords={"band": ["red", "nir"]},
        attrs={"title": images.source},
    ).to_netcdf(ndvi)


def _images(
    parts: list[tuple[np.ndarray, np.ndarray, np.datetime64, bool, np.int64]], pixel_m: float, source: str
) -> Images:
    lst, ndvi, date, day, window = zip(*parts, strict=True)
    return Images(
        np.rint(np.stack(lst) / LST_STEP) * LST_STEP,
        np.stack(ndvi),
        np.array(date),
        np.array(day),
        np.array(window),
        pixel_m,
        source,
    )


def _dates(count: int) -> np.ndarray:
    """Days spread over 2020, (date,) datetime64[D]."""
    return np.datetime64("2020-01-10") + (np.arange(count) * 346 // max(count, 1)).astype("timedelta64[D]")


def _day_of_year(date: np.datetime64) -> int:
    return int((date - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)) + 1


def _yyyyddd(dates: np.ndarray) -> np.ndarray:
    return np.array([(int(str(d)[:4])) * 1000 + _day_of_year(d) for d in dates], np.int32)


def _window(field: np.ndarray, country: Country, number: int, side: int) -> np.ndarray:
    row, column = divmod(int(number), country.columns)
    return field[row * side : (row + 1) * side, column * side : (column + 1) * side]


def _mean(field: np.ndarray) -> np.ndarray:
    height, width = field.shape
    return field.reshape(height // FINER, FINER, width // FINER, FINER).mean(axis=(1, 3))


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Pixels under clouds, 5 to 60 % of a window."""
    field = fractal((SIZE, SIZE), 2.8, rng)
    return field > np.quantile(field, 1 - rng.uniform(0.05, 0.6))


def _parcels(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Label of each pixel's parcel: the nearest of random centres, one in 60 pixels (4 km2), on the periodic grid."""
    centres = rng.random((shape[0] * shape[1] // 60, 2)) * shape
    pixels = np.stack(np.indices(shape), axis=-1).reshape(-1, 2) + 0.5
    return cKDTree(centres, boxsize=shape).query(pixels)[1].reshape(shape)


def _smooth(field: np.ndarray, width_m: float, pixel_m: float) -> np.ndarray:
    wave = _wave_numbers(field.shape, pixel_m)
    return np.fft.irfft2(np.fft.rfft2(field) * np.exp(-((np.pi * wave * width_m) ** 2) / 4), s=field.shape)


def _wave_numbers(shape: tuple[int, ...], pixel_m: float) -> np.ndarray:
    """Cycles a metre of the modes of rfft2, (Y, X // 2 + 1)."""
    return np.hypot(np.fft.fftfreq(shape[0], pixel_m)[:, None], np.fft.rfftfreq(shape[1], pixel_m)[None])
