"""The generated Earth as the world of the gridded job."""

import numpy as np
import xarray as xr

from sciml.data.months import Records
from sciml.data.stores import open_store
from sciml.generated import earth_store
from sciml.generated.earth import PREDICTORS, EarthConfig
from sciml.generated.forcing import CLIMATES
from sciml.generated.grace_signal import mission_records
from sciml.grace.gridded.world import Target, World

TARGETS = {
    name: Target(name, f"synthetic_{name}", f"twsa_{name}", f"uncertainty_{name}") for name in earth_store.TARGETS
}


def records(config: EarthConfig) -> Records:
    """The mission's records in the simulated period."""
    return mission_records(stop=config.stop)


def world(config: EarthConfig, url: str, digest: str, experiments: tuple[str, ...], slot: int) -> World:
    """What the job works on, once the earth's store (`earth_store`) is at `url`; slot: its cells an object."""
    found, per_tile = records(config), config.mascon_rows * config.mascon_columns
    months = np.arange(np.datetime64(config.first, "M"), np.datetime64(config.stop, "M"))

    def daily() -> xr.Dataset:
        store = open_store(url, {"cell": slot, "day": -1})[list(PREDICTORS)]
        return store.rename(day="time")

    return World(
        mascons=earth_store.mascons(config, found),
        records=found,
        names=PREDICTORS,
        months=months,
        windows=earth_store.all_windows(config, found),
        daily=daily,
        series_url=url,
        digest=digest,
        targets=tuple(t for t in TARGETS.values() if t.experiment in experiments),
        truth_url=url,
        climate=tuple(CLIMATES[tile].name for tile in range(config.tiles) for _ in range(per_tile)),
    )
