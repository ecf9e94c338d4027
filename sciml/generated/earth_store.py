"""The generated Earth as a stage: one tile an item; predictors by day, truth and GRACE's view of it by window."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.grid import unit_vectors
from sciml.data import catalogue, months
from sciml.data.months import Records, Timeline
from sciml.data.stores import Template, Variable
from sciml.generated import earth
from sciml.generated.earth import PREDICTORS, RESOLUTION, EarthConfig, Predictand

TARGETS: dict[str, Predictand] = {"t1": "groundwater", "t2": "total"}


@dataclass(frozen=True)
class Tile:
    """Address of a tile and of its slots in the packed axes."""

    tile: int
    cell_start: int
    cell_stop: int
    mascon_start: int
    mascon_stop: int


def tiles(config: EarthConfig) -> list[Tile]:
    """One item a tile; every slot holds the land of the largest one."""
    slot = _slot(config)
    count = config.mascon_rows * config.mascon_columns
    return [Tile(t, t * slot, (t + 1) * slot, t * count, (t + 1) * count) for t in range(config.tiles)]


def _slot(config: EarthConfig) -> int:
    return max(int(earth.geometry(config, tile).land.sum()) for tile in range(config.tiles))


def template(config: EarthConfig, found: Records, windows: Timeline) -> Template:
    """Store of all tiles: predictors (cell, day), truth (cell, window), records (mascon, record); padding is NaN."""
    items = tiles(config)
    slot, count = items[0].cell_stop, items[0].mascon_stop
    variables = {
        name: Variable(
            ("cell", "day"),
            catalogue.entry(name).units,
            standard_name=catalogue.entry(name).standard_name,
            may_be_missing=True,
        )
        for name in PREDICTORS
    }
    for target, predictand in TARGETS.items():
        variables |= {
            f"truth_{target}": Variable(("cell", "window"), "mm", f"planted {predictand} anomaly", may_be_missing=True),
            f"twsa_{target}": Variable(("mascon", "record"), "mm", f"{predictand} anomaly as GRACE sees it"),
            f"uncertainty_{target}": Variable(("mascon", "record"), "mm", "standard error of the observation"),
        }
    sizes = {
        "cell": slot * config.tiles,
        "mascon": count * config.tiles,
        "day": len(config.days),
        "window": len(windows),
        "record": len(found),
    }
    coordinates = {
        "day": xr.Variable("day", config.days.astype("datetime64[s]")),
        "window": xr.Variable("window", windows.middle),
        "record": xr.Variable("record", found.middle),
    }
    return Template(sizes, variables, shards={"cell": slot, "mascon": count}, coordinates=coordinates)


@dataclass(frozen=True, eq=False)
class Simulate:
    """Stage function: a tile's weather, truth, predictors and GRACE records."""

    config: EarthConfig
    records: Records
    windows: Timeline

    def __call__(self, item: Tile) -> dict[str, np.ndarray]:
        simulated = earth.simulate_tile(self.config, item.tile)
        slot = item.cell_stop - item.cell_start
        found = {name: _padded(simulated[name].values.T, slot) for name in PREDICTORS}
        bounds = np.stack([self.windows.start, self.windows.end], axis=-1)
        for target, predictand in TARGETS.items():
            observed = earth.observe_tile(self.config, simulated, predictand, self.records)
            found[f"truth_{target}"] = _padded(earth.truth_anomalies(simulated, predictand, bounds), slot)
            found[f"twsa_{target}"] = observed["twsa"]
            found[f"uncertainty_{target}"] = observed["uncertainty"]
        return found


def _padded(values: np.ndarray, slot: int) -> np.ndarray:
    out = np.full((slot, values.shape[1]), np.nan, np.float32)
    out[: len(values)] = values
    return out


def mascons(config: EarthConfig, found: Records) -> xr.Dataset:
    """Geometry of all mascons as `sciml.data.readers.grctellus.read` gives it for a file, without the series.

    `cell_source` (cell) is each land cell's place in the packed axis of the store.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("parent", "lat", "lon", "area_km2", "source")}
    for item in tiles(config):
        grid = earth.geometry(config, item.tile)
        land = np.flatnonzero(grid.land)
        parts["parent"].append(grid.mascon[land] + item.mascon_start)
        parts["lat"].append(grid.latitude[land])
        parts["lon"].append(grid.longitude[land])
        parts["area_km2"].append(grid.area[land])
        parts["source"].append(item.cell_start + np.arange(len(land)))
    cell = {name: np.concatenate(values) for name, values in parts.items()}
    count = int(cell["parent"].max()) + 1
    centre = np.stack(
        [
            np.bincount(cell["parent"], axis * cell["area_km2"], count)
            for axis in unit_vectors(cell["lat"], cell["lon"]).T
        ],
        axis=-1,
    )
    bounds = np.stack([found.start, found.end], axis=-1)
    return xr.Dataset(
        {
            "lat": ("mascon", np.rad2deg(np.arctan2(centre[:, 2], np.hypot(centre[:, 0], centre[:, 1])))),
            "lon": ("mascon", np.rad2deg(np.arctan2(centre[:, 1], centre[:, 0]))),
            "land_area_km2": ("mascon", np.bincount(cell["parent"], cell["area_km2"], count)),
            **{f"cell_{name}": ("cell", values) for name, values in cell.items()},
            "time_bounds": (("time", "bound"), bounds),
        },
        coords={"mascon_id": ("mascon", 1 + np.arange(count)), "time": found.middle},
        attrs={"resolution_degrees": RESOLUTION},
    )


def all_windows(config: EarthConfig, found: Records) -> Timeline:
    """Every month from the first to the last record, with the records' own bounds."""
    mine = found.month
    return months.timeline(mine[0], min(mine[-1] + 1, np.datetime64(config.stop, "M")), found)
