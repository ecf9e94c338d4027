"""What one more month costs: `--update` against the whole run it appends to, in CPU time and in work of the items.

    python bench/update.py [--copies 12] [--folder FOLDER] [options of grace_downscale, such as --preset global]

Files of 2002-2020 are written: six mascons of the generated Earth, repeated eastward, for cost does not look at values.
Each run is a process of its own with the serial executor, so that its CPU time is all that was spent. A second update
finds nothing new: its CPU time is what every command costs (imports, checks of the files).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from cluster.ledger import Ledger
from sciml.generated import earth
from sciml.generated.earth import EarthConfig
from sciml.generated.grace_signal import mission_records

TARGET = 0.02
ROOT = Path(__file__).parents[1]
REGION = EarthConfig(tiles=1, mascon_rows=2, mascon_columns=3)
LAST, BEFORE = "2020-12", "2020-11"  # months: the one appended, and the last of the whole run


@dataclass(frozen=True)
class Cost:
    """Of one command [s]: CPU of its processes, wall time, and work that its ledgers record (with writing)."""

    cpu: float
    wall: float
    work: float


def region() -> tuple[xr.Dataset, xr.Dataset]:
    """A mascon file and daily predictors of one region, on one grid."""
    tile = earth.simulate_tile(REGION, 0)
    grace = earth.grace_dataset(REGION, {0: earth.observe_tile(REGION, tile, "total", mission_records())})
    place = tile.assign_coords(lat=tile["cell_lat"], lon=tile["cell_lon"])[list(earth.PREDICTORS)]
    daily = place.set_index(cell=("lat", "lon")).unstack("cell").transpose("time", "lat", "lon")
    return grace, daily.reindex(lat=grace["lat"], lon=grace["lon"])


def repeated(grace: xr.Dataset, daily: xr.Dataset, copies: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Copies of a region side by side from west to east, every mascon with a number of its own."""
    step = float(grace["lon"][-1] - grace["lon"][0] + (grace["lon"][1] - grace["lon"][0]))
    mascons, numbers = [], int(grace["mascon_ID"].max())
    for copy in range(copies):
        number = grace["mascon_ID"] + copy * numbers * (grace["mascon_ID"] > 0)
        mascons.append(grace.assign(mascon_ID=number).assign_coords(lon=grace["lon"] + copy * step))
    days = [daily.assign_coords(lon=daily["lon"] + copy * step) for copy in range(copies)]
    wide = xr.concat(mascons, dim="lon", data_vars="minimal", coords="minimal", compat="override", join="outer")
    for name in ("time", "time_bounds"):
        wide[name].encoding = grace[name].encoding
    return wide, xr.concat(days, dim="lon")


def write(folder: Path, grace: xr.Dataset, daily: xr.Dataset, last: str) -> list[str]:
    """Files that end with a month; the options that name them."""
    folder.mkdir(parents=True)
    until = np.datetime64(last, "M") + 1
    kept = grace.isel(time=np.flatnonzero(grace["time_bounds"].values[:, 1] <= until.astype("datetime64[s]")))
    kept["time_bounds"].encoding = grace["time_bounds"].encoding
    kept.to_netcdf(folder / "grace.nc")
    days = daily.sel(time=slice(None, until.astype("datetime64[D]") - 1)).chunk({"time": 366})
    days.to_zarr(folder / "daily.zarr", zarr_format=3, consolidated=False)
    return ["--twsa", str(folder / "grace.nc"), "--predictors", str(folder / "daily.zarr")]


def cost(run: Path, options: Sequence[str]) -> Cost:
    """Run the pipeline in a process of its own and ask for what it took."""
    before, began = _work(run), time.perf_counter()
    command = [sys.executable, "pipelines/grace_downscale.py", "--run-dir", str(run), "--executor", "serial", *options]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - began, _work(run) - before)


def _work(run: Path) -> float:
    ledgers = [Ledger(str(path)) for path in run.glob("ledger/*")]
    return sum(entry.total_seconds for ledger in ledgers for entry in ledger.entries())


def measure(folder: Path, copies: int, options: Sequence[str]) -> dict[str, Cost]:
    """Costs of the whole run, of one month more, and of an update that finds nothing."""
    grace, daily = repeated(*region(), copies)
    short, long = (write(folder / last, grace, daily, last) for last in (BEFORE, LAST))
    del grace, daily
    return {
        "whole run": cost(folder / "run", ["--source", "gridded", *options, *short]),
        "one month more": cost(folder / "run", ["--update", *long]),
        "nothing new": cost(folder / "run", ["--update", *long]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--copies", type=int, default=12, help="of six mascons")
    parser.add_argument("--folder", default="", help="an empty folder to keep files and run in")
    options, given = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(options.folder or folder), options.copies, given)
    for name, one in found.items():
        print(f"{name:<16} CPU {one.cpu:7.1f} s   work {one.work:7.1f} s   wall {one.wall:7.1f} s")
    whole, update, start = found.values()
    for name, share in (
        ("CPU", update.cpu / whole.cpu),
        ("CPU beyond that of a command with nothing to do", (update.cpu - start.cpu) / (whole.cpu - start.cpu)),
        ("work of the items", update.work / whole.work),
    ):
        verdict = "within" if share <= TARGET else "ABOVE"
        print(f"one month of {6 * options.copies} mascons, {name}: {share:.1%}, {verdict} the {TARGET:.0%} promised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
