"""Planted floods and the reports that people file about them, from model A's daily water, never from an index.

Rain on a wet soil runs off (model A's saturation excess), gathers down the rivers and leaves their banks. A cell's
banks and drains are as large as its own climate asks for: they overflow on a set share of days. Not every flood is
reported, and a few reports have causes that no land model knows (a broken dam, a blocked culvert).

How slow a flood is decides what can foretell it. Of the real `Flood` reports of Louisiana a quarter last a week or
more and a tenth 17 days or more, while half are over in six hours. Planted floods are of the slow kind, rivers that
stand high for a fortnight, the kind that storage could announce; flash floods are the runoff of one day. With floods
of a week or less rain alone is the better index here, as it is for the planted flash floods.
"""

from dataclasses import dataclass

import numpy as np

from sciml.core.seeds import seed_for
from sciml.data.stores import Template, Variable
from sciml.generated import earth
from sciml.generated.earth import EarthConfig
from sciml.generated.earth_store import Tile, tiles

KINDS = ("flood", "flash_flood")
DAYS_OVER = {"flood": 0.006, "flash_flood": 0.003}  # share of days: about two days a year, and one
RIVER_DAYS = 14  # a river that stands over its banks so long on average is a flood; a flash flood is over in a day
REPORTED = 0.75  # of the cells and months with a flood
OTHER_CAUSES = 0.002  # of all cells and months


def reports(config: EarthConfig, tile: int) -> dict[str, np.ndarray]:
    """Whether a flood, and a flash flood, was reported: kind -> (cell, month) bool, land cells, months of the config.

    A flood: the mean over a fortnight of the water in the cell's river, its own runoff and what comes from upstream,
    exceeds the banks. A flash flood: the surface runoff of one day exceeds the drains.
    """
    fields = earth.plant(config, tile).fields
    water = {"flood": _running_mean(fields["river"], RIVER_DAYS), "flash_flood": fields["mrros"]}
    months, place = np.unique(config.days.astype("datetime64[M]"), return_inverse=True)
    found = {}
    for kind, daily in water.items():
        over = daily > np.quantile(daily, 1 - DAYS_OVER[kind], axis=0)
        happened = np.stack([over[place == month].any(axis=0) for month in range(len(months))], axis=-1)
        rng = np.random.default_rng(seed_for(config.seed, "generated earth", tile, "reports", kind))
        seen, other = rng.random(happened.shape) < REPORTED, rng.random(happened.shape) < OTHER_CAUSES
        found[kind] = (happened & seen) | other
    return found


def template(config: EarthConfig) -> Template:
    """Store of all tiles' reports: (cell, month), 1 where a report was filed, NaN in padding."""
    items = tiles(config)
    months = np.unique(config.days.astype("datetime64[M]"))
    variables = {kind: Variable(("cell", "month"), "1", f"{kind} reported", may_be_missing=True) for kind in KINDS}
    sizes = {"cell": items[-1].cell_stop, "month": len(months)}
    return Template(sizes, variables, shards={"cell": items[0].cell_stop})


@dataclass(frozen=True)
class PlantFloods:
    """Stage function: reports of a tile."""

    config: EarthConfig

    def __call__(self, item: Tile) -> dict[str, np.ndarray]:
        out = {}
        for kind, reported in reports(self.config, item.tile).items():
            out[kind] = np.full((item.cell_stop - item.cell_start, reported.shape[1]), np.nan, np.float32)
            out[kind][: len(reported)] = reported
        return out


def _running_mean(daily: np.ndarray, days: int) -> np.ndarray:
    """Mean of each day and those before it: (day, cell)."""
    total = np.cumsum(np.pad(daily.astype(np.float64), ((days, 0), (0, 0)), mode="edge"), axis=0)
    return (total[days:] - total[:-days]) / days
