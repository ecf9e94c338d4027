"""A generated Earth with planted truth, for downscaling GRACE where every cell is known.

Tiles of different climate, each a block of mascons on a half-degree grid with a coast. The truth is model A
(`sciml.land.process_model`): snow, soil, slow groundwater, irrigation, rivers. The predictors are model B, the
emulator (`sciml.land.emulator`) behind a canopy store: another structure, parameters drawn on their own, precipitation
wrong by a quarter, no groundwater and no river. So what a network learns is never the truth's own equations. Weather
and truth of a tile depend on (seed, tile) alone: a tile is the same whatever else is made, and by whom.

Variants. `different`: as above, the headline. `identical`: predictors are model A's own, unperturbed, an upper bound
that nobody may quote as skill. `uninformative`: model B's predictors in shuffled order of months and cells; nothing
can be won.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import xarray as xr

from sciml.core.errors import ConfigError
from sciml.core.grid import cell_area_km2
from sciml.core.seeds import seed_for
from sciml.data import catalogue, months
from sciml.generated import forcing, grace_signal, predictors, truth
from sciml.generated.forcing import CLIMATES, Land
from sciml.grace.mascons import gaussian_kernel

Variant = Literal["different", "identical", "uninformative"]
Predictand = Literal["groundwater", "total"]
RESOLUTION = 0.5  # degrees
PREDICTORS = ("pr", "tas", "cw", "snw", "mrso", "hfls", "mrros")
TRUTH: tuple[Predictand, ...] = ("groundwater", "total")
BASELINE = ("2004-01", "2010-01")  # GRACE's anomalies are to the mean of these years


@dataclass(frozen=True)
class EarthConfig:
    """tiles: the first so many of `CLIMATES`. mascon_rows, mascon_columns: mascons of a tile. mascon_cells: cells from
    south to north of a mascon; from west to east as many more as meridians converge. noise_mm: least and largest error
    of a solution at a point. first, stop: half-open period of the output; the truth has run `spin_up_years` before."""

    seed: int = 0
    tiles: int = 2
    variant: Variant = "different"
    first: str = "2000-01"
    stop: str = "2021-09"
    mascon_rows: int = 3
    mascon_columns: int = 4
    mascon_cells: int = 6
    spin_up_years: int = 3
    precipitation_error: float = 0.25
    noise_mm: tuple[float, float] = (10.0, 20.0)

    def __post_init__(self) -> None:
        if not 1 <= self.tiles <= len(CLIMATES):
            raise ConfigError(f"tiles: found {self.tiles}, expected 1 to {len(CLIMATES)}")
        if self.variant not in get_args(Variant):
            raise ConfigError(f"variant: found {self.variant!r}, expected one of {', '.join(get_args(Variant))}")
        if np.datetime64(self.stop, "M") <= np.datetime64(self.first, "M"):
            raise ConfigError(f"period {self.first} .. {self.stop} is empty; the last month must come after the first")

    @property
    def days(self) -> np.ndarray:
        """(day,) datetime64[D]."""
        return np.arange(*(np.datetime64(m, "M").astype("datetime64[D]") for m in (self.first, self.stop)))


@dataclass(frozen=True, eq=False)
class Geometry:
    """All cells of a tile, land and ocean, row by row from the south-west: latitude, longitude [degrees], area [km2],
    land, mascon (index in the tile), each (cell,); shape (rows, columns)."""

    latitude: np.ndarray
    longitude: np.ndarray
    area: np.ndarray
    land: np.ndarray
    mascon: np.ndarray
    shape: tuple[int, int]
    mascons: int


def geometry(config: EarthConfig, tile: int) -> Geometry:
    """Grid, coast and mascons of a tile. Every mascon has land; those on the east coast have ocean too."""
    climate, k = CLIMATES[tile], config.mascon_cells
    rows = config.mascon_rows * k
    middle = climate.south + rows * RESOLUTION / 2
    width = round(k / np.cos(np.deg2rad(middle)))
    columns = config.mascon_columns * width
    row, column = np.divmod(np.arange(rows * columns), columns)
    latitude = climate.south + (row + 0.5) * RESOLUTION
    longitude = (column + 0.5) * RESOLUTION
    rng = _rng(config, tile, "coast")
    wave = rng.uniform(0, 2 * np.pi, 2)
    bay = 0.55 * np.sin(2 * np.pi * row / rows + wave[0]) + 0.3 * np.sin(2 * np.pi * 2.7 * row / rows + wave[1])
    land = column < columns - width * (0.35 + 0.3 * bay)
    mascon = (row // k) * config.mascon_columns + column // width
    area = cell_area_km2(latitude, RESOLUTION)
    return Geometry(
        latitude, longitude, area, land, mascon, (rows, columns), config.mascon_rows * config.mascon_columns
    )


@dataclass(frozen=True, eq=False)
class Nature:
    """What is true of a tile: weather with `spin_up` days before the output begins, and model A's own storage and
    fluxes by day, `fields`: name -> (day, cell)."""

    grid: Geometry
    climate: forcing.Climate
    land: Land
    sky: forcing.Weather
    spin_up: int
    fields: dict[str, np.ndarray]


def plant(config: EarthConfig, tile: int) -> Nature:
    """Weather of a tile and what model A makes of it: see `truth.simulate`."""
    grid, days = geometry(config, tile), config.days
    spin_up = np.arange(days[0] - np.timedelta64(round(365.25 * config.spin_up_years), "D"), days[0])
    every_day = np.concatenate([spin_up, days])
    where = grid.land
    latitude, longitude, area = grid.latitude[where], grid.longitude[where], grid.area[where]
    climate = CLIMATES[tile]
    height = forcing.elevation(climate, latitude, longitude, _rng(config, tile, "elevation"))
    land = Land(latitude, longitude, area, height)
    sky = forcing.weather(climate, land, every_day, _rng(config, tile, "weather"))
    downstream = truth.drainage(grid.shape, where, height)
    fields = truth.simulate(climate, land, sky, every_day, downstream, len(spin_up), _rng(config, tile, "model A"))
    return Nature(grid, climate, land, sky, len(spin_up), fields)


def simulate_tile(config: EarthConfig, tile: int) -> xr.Dataset:
    """Daily predictors and truth of a tile's land cells.

    Returns (time, cell) float32 in the catalogue's units: the seven predictors, `truth_groundwater` and
    `truth_total` storage [kg m-2]; `cell_lat`, `cell_lon` [degrees], `cell_area_km2`, `cell_elevation` [m],
    `cell_mascon_id` (cell);
    `restoring_gain` (mascon).
    """
    nature = plant(config, tile)
    grid, land, planted = nature.grid, nature.land, nature.fields
    seen = predictors.simulate(
        nature.climate,
        land,
        nature.sky,
        nature.spin_up,
        config.precipitation_error,
        _rng(config, tile, "model B"),
    )
    gain = restoring_gain(grid, seen["cw"] + seen["snw"] + seen["mrso"])
    if config.variant == "identical":
        seen = {name: planted[name] for name in PREDICTORS}
    if config.variant == "uninformative":
        seen = _shuffled(seen, _rng(config, tile, "shuffle"))
    storage = {"units": "kg m-2", "long_name": "planted storage"}
    first_id = 1 + tile * grid.mascons
    return xr.Dataset(
        {name: (("time", "cell"), value, catalogue.entry(name).attributes) for name, value in seen.items()}
        | {f"truth_{name}": (("time", "cell"), planted[name], storage) for name in TRUTH}
        | {
            "cell_lat": ("cell", land.latitude, {"units": "degrees_north"}),
            "cell_lon": ("cell", land.longitude, {"units": "degrees_east"}),
            "cell_area_km2": ("cell", land.area, {"units": "km2"}),
            "cell_elevation": ("cell", land.elevation, {"units": "m"}),
            "cell_mascon_id": ("cell", grid.mascon[grid.land] + first_id),
            "restoring_gain": ("mascon", gain),
        },
        coords={"time": config.days},
        attrs={
            "title": f"generated Earth, tile {tile}: {nature.climate.name}",
            "variant": config.variant,
            "tile": tile,
        },
    )


def truth_anomalies(tile: xr.Dataset, predictand: Predictand, bounds: np.ndarray) -> np.ndarray:
    """The planted truth as GRACE counts it: means over the windows less the mean of 2004-2009, (cell, window) [mm].

    tile: from `simulate_tile`; bounds: (window, 2) datetime64.
    """
    daily, days = tile[f"truth_{predictand}"].values, tile["time"].values
    windows = months.record_means(daily, days, bounds)
    return (windows - _baseline(daily, days)).T


def observe_tile(
    config: EarthConfig, tile: xr.Dataset, predictand: Predictand, found: months.Records
) -> dict[str, np.ndarray]:
    """What GRACE sees of a tile: `twsa`, `uncertainty` (mascon, record) [mm], `time_bounds` (record, 2).

    The anomaly is smoothed over the tile with its ocean (where it is 0: water leaks across the coast and between
    mascons), gets an error that is correlated in space, is averaged over the land of each mascon as the coastline
    filter does, and multiplied by the mascon's gain. The uncertainty is the error's own sigma in the mascon's mean with
    the typical size of the leakage, both known to within a fifth.
    """
    index = int(tile.attrs["tile"])
    grid = geometry(config, index)
    bounds = np.stack([found.start, found.end], axis=-1)
    signal = np.zeros((len(grid.land), len(found)))
    signal[grid.land] = truth_anomalies(tile, predictand, bounds)
    kernel = gaussian_kernel(grid.latitude, grid.longitude, grid.area)
    weight = _land_means(grid)
    gain = tile["restoring_gain"].values[:, None]
    smooth = gain * (weight @ (kernel @ signal))
    rng = _rng(config, index, "grace", predictand)
    sigma = rng.uniform(*config.noise_mm, size=len(found))
    error = gain * weight @ grace_signal.noise(grid.latitude, grid.longitude, sigma, rng).T
    leakage = np.sqrt(((smooth - weight @ signal) ** 2).mean(axis=1, keepdims=True))
    share = np.sqrt((error**2).mean(axis=1, keepdims=True) / (sigma**2).mean())
    known = np.exp(0.2 * rng.standard_normal((grid.mascons, 1)))
    return {"twsa": smooth + error, "uncertainty": known * np.hypot(leakage, share * sigma), "time_bounds": bounds}


def restoring_gain(grid: Geometry, storage: np.ndarray) -> np.ndarray:
    """Gain of each mascon that undoes most of the damping, from a land model's storage: (mascon,).

    Least squares of the model's own means on its smoothed ones (Landerer & Swenson 2012, doi:10.1029/2011WR011453), as
    GRACE products do. storage: (day, land cell) of model B, never the truth.
    """
    monthly = storage[: len(storage) // 30 * 30].reshape(-1, 30, storage.shape[1]).mean(axis=1, dtype=np.float64)
    field = np.zeros((len(grid.land), len(monthly)))
    field[grid.land] = (monthly - monthly.mean(axis=0)).T
    weight = _land_means(grid)
    own, smooth = weight @ field, weight @ (gaussian_kernel(grid.latitude, grid.longitude, grid.area) @ field)
    return np.clip((own * smooth).sum(axis=1) / (smooth**2).sum(axis=1), 0.7, 1.6)


def _land_means(grid: Geometry) -> np.ndarray:
    """(mascon, cell): area-weighted mean over land, rows sum to 1."""
    weight = np.where(grid.land, grid.area, 0.0)[None, :] * (grid.mascon[None, :] == np.arange(grid.mascons)[:, None])
    return weight / weight.sum(axis=1, keepdims=True)


def grace_dataset(
    config: EarthConfig, observed: dict[int, dict[str, np.ndarray]], title: str = "generated Earth"
) -> xr.Dataset:
    """The tiles in one file of GRCTellus' layout: `lwe_thickness`, `uncertainty` (time, lat, lon) [cm], `mascon_ID`,
    `land_mask` (lat, lon), `time_bounds` (time, bounds).

    observed: tile -> what `observe_tile` returned. The grid holds all tiles, NaN and ID -1 between them.
    """
    grids = {tile: geometry(config, tile) for tile in sorted(observed)}
    low = min(float(g.latitude.min()) for g in grids.values())
    high = max(float(g.latitude.max()) for g in grids.values())
    lat = np.arange(low, high + RESOLUTION / 2, RESOLUTION)
    lon = np.arange(RESOLUTION / 2, max(float(g.longitude.max()) for g in grids.values()) + RESOLUTION / 2, RESOLUTION)
    bounds = next(iter(observed.values()))["time_bounds"]
    thickness = np.full((len(bounds), len(lat), len(lon)), np.nan, np.float32)
    sigma = thickness.copy()
    mascon_id = np.full((len(lat), len(lon)), -1, np.int32)
    land = np.zeros((len(lat), len(lon)), np.int8)
    for tile, g in grids.items():
        row = np.round((g.latitude - low) / RESOLUTION).astype(int)
        column = np.round((g.longitude - lon[0]) / RESOLUTION).astype(int)
        mascon_id[row, column] = g.mascon + 1 + tile * g.mascons
        land[row, column] = g.land
        thickness[:, row[g.land], column[g.land]] = observed[tile]["twsa"][g.mascon[g.land]].T / 10.0
        sigma[:, row[g.land], column[g.land]] = observed[tile]["uncertainty"][g.mascon[g.land]].T / 10.0
    middle = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) // 2
    units = {"units": "cm"}
    out = xr.Dataset(
        {
            "lwe_thickness": (
                ("time", "lat", "lon"),
                thickness,
                units | {"long_name": "Liquid_Water_Equivalent_Thickness"},
            ),
            "uncertainty": (("time", "lat", "lon"), sigma, units | {"long_name": "one sigma"}),
            "mascon_ID": (("lat", "lon"), mascon_id),
            "land_mask": (("lat", "lon"), land),
            "time_bounds": (("time", "bounds"), bounds.astype("datetime64[ns]")),
        },
        coords={
            "time": ("time", middle.astype("datetime64[ns]"), {"bounds": "time_bounds"}),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
        attrs={"title": title},
    )
    for name in ("time", "time_bounds"):  # the same units for both, as CF asks
        out[name].encoding = {"units": "hours since 2002-01-01", "dtype": "float64"}
    return out


def _baseline(daily: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Mean of 2004-2009 where the days hold it, else of all days: (cell,)."""
    first, stop = (np.datetime64(m, "M").astype("datetime64[D]") for m in BASELINE)
    inside = (days >= first) & (days < stop)
    return (daily[inside] if inside.any() else daily).mean(axis=0, dtype=np.float64)


def _shuffled(fields: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Thirty-day blocks in random order and cells in random order, the same for all variables."""
    days, cells = next(iter(fields.values())).shape
    blocks = np.array_split(np.arange(days), max(days // 30, 1))
    order = np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])
    place = rng.permutation(cells)
    return {name: value[order][:, place] for name, value in fields.items()}


def _rng(config: EarthConfig, tile: int, *what: str) -> np.random.Generator:
    return np.random.default_rng(seed_for(config.seed, "generated earth", tile, *what))
