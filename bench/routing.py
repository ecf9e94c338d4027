"""What a year of global rivers costs: linear reservoirs and local-inertial flow, in core-seconds, beside plain NumPy.

    python bench/routing.py --network FILE:variable --runoff FILE:variable [--days 365] [--peer-days 5]

The network is DDM30 at half a degree (67,424 cells); the runoff the file's yearly mean [km3 yr-1 a cell] under a season
and a wave of a few days, both made up, so that rivers rise and fall. CPU time of one thread, compiling left out. The
peers do the same in NumPy, whole arrays at a time: reservoirs level by level down the rivers, local-inertial flow with
one step for the globe; they run few days and are scaled.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers.common import require_file
from sciml.rivers.channel import Channel, channel, level
from sciml.rivers.gauges import mean_flow
from sciml.rivers.inertial import ALPHA, LONGEST, State, ends, route_inertial, steady
from sciml.rivers.inertial_kernel import DRY, NORMAL, G
from sciml.rivers.linear import Reservoirs, balanced, lags, reservoirs, route_linear
from sciml.rivers.network import SECONDS, Network, accumulate, describe, open_network, to_cells, water_input

MOST = {"linear reservoirs": 20.0, "local-inertial": 120.0}  # core-seconds a year
FILE = Path(os.environ.get("SCIML_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILE /= "hydro/river_network/river_networks_0p5deg.nc"


def made_runoff(network: Network, source: str, days: int) -> np.ndarray:
    """(time, cell) [kg m-2 day-1]: the mean of a file under a season of +-60 % and waves of 9 days."""
    file, _, variable = source.rpartition(":")
    require_file(file)
    with xr.open_dataset(file) as ds:
        volume = np.nan_to_num(to_cells(network, ds[variable].values.astype(np.float64))).clip(0)
    mean = volume * 1e12 / 365.25 / network.area
    day = np.arange(days)[:, None]
    season = 1 + 0.6 * np.sin(2 * np.pi * day / 365 + np.deg2rad(network.lat))
    return mean * season * (1 + 0.5 * np.sin(2 * np.pi * day / 9 + np.deg2rad(network.lon)))


def linear_peer(network: Network, runoff: np.ndarray, made: Reservoirs, steps: int) -> np.ndarray:
    """Discharge (time, cell) from empty rivers, a level of cells at a time."""
    behind = lags(network)
    levels = [np.flatnonzero(behind == lag) for lag in range(behind.max() + 1)]
    k, dt = made.river_days * SECONDS, SECONDS / steps
    decay, river, out = np.exp(-dt / k), np.zeros(len(network)), np.zeros(runoff.shape)
    for day, water in enumerate(water_input(network, runoff)):
        for _ in range(steps):
            inflow = water.copy()
            for cells in levels:
                after = river[cells] * decay[cells] + inflow[cells] * k[cells] * (1 - decay[cells])
                flow = inflow[cells] - (after - river[cells]) / dt
                river[cells] = after
                out[day, cells] += flow / steps
                inner = network.downstream[cells] >= 0
                np.add.at(inflow, network.downstream[cells][inner], flow[inner])
    return out


def inertial_peer(network: Network, runoff: np.ndarray, made: Channel, start: State) -> np.ndarray:
    """Discharge (time, cell), all cells in the same step, the shortest of the globe."""
    kind, sea = ends(network, made, "sea", None)
    inner, normal = kind >= 0, kind == NORMAL
    following = np.where(inner, kind, np.arange(len(network)))
    sill = np.where(inner, np.maximum(made.bed, made.bed[following]), made.bed)
    held, ran, out = start.storage.copy(), start.flow.copy(), np.zeros(runoff.shape)

    def below(values: np.ndarray) -> np.ndarray:
        return np.bincount(following[inner], values[inner], len(network))

    for day, water in enumerate(water_input(network, runoff)):
        remaining = SECONDS
        while remaining > 1e-6:
            depth, share = level(made, held)
            top = made.surface[:, 0] + share * made.area
            here = made.bed + depth
            there = np.where(inner, here[following], np.where(normal, here - made.slope * made.distance, sea))
            deep = np.where(normal, depth, np.maximum(here, there) - sill)
            wet = deep > DRY
            deep = np.where(wet, deep, 1.0)
            link = np.where(wet & ~normal, G * deep * made.width / made.distance, 0.0)
            slow = np.sqrt(((link + below(link)) / (2 * top)).max())
            fast = np.where(wet, np.abs(ran) * 5 / 3 / (deep * top), 0.0).max()
            dt = remaining / np.ceil(remaining / min(LONGEST, ALPHA / max(slow, fast)))
            r = ran + G * dt * made.width * deep * (here - there) / made.distance
            b = G * dt * made.manning**2 / (made.width * deep ** (7 / 3))
            ran = np.where(wet, 2 * r / (1 + np.sqrt(1 + 4 * b * np.abs(r))), 0.0)
            leaving = np.maximum(ran, 0) + below(np.maximum(-ran, 0))
            give = np.minimum(1.0, held / np.maximum(leaving * dt, 1e-300))
            ran *= np.where(ran > 0, give, np.where(inner, give[following], 1.0))
            held = held + dt * (water - ran + below(ran))
            out[day] += ran * dt / SECONDS
            remaining -= dt
    return out


def seconds(work: object) -> tuple[float, object]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def off(network: Network, runoff: np.ndarray, discharge: np.ndarray, stayed: np.ndarray) -> float:
    """Largest difference of the mean discharge from the accumulated runoff less what stayed, relative."""
    carried = accumulate(network, water_input(network, runoff.mean(0)))
    expected = carried - accumulate(network, stayed) / (len(runoff) * SECONDS)
    return float((np.abs(discharge.mean(0) - expected) / np.maximum(np.abs(expected), 1e-3 * carried + 1e-9)).max())


def report(name: str, spent: float, days: int, peer: float, mass: float, mean: float, near: float) -> None:
    a_year = spent * 365 / days
    print(
        f"{name}: {a_year:.1f} core-s a year (must be {MOST[name]:g}), {peer / a_year:.0f} times faster than NumPy "
        f"({peer:.0f} core-s; discharge within {near:.1e}), mass {mass:.1e}, mean flow {mean:.1e}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What a year of global rivers costs.")
    parser.add_argument("--network", default=f"{FILE}:ddm30_ldd")
    parser.add_argument("--runoff", default=f"{FILE}:runoff_wbm")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--peer-days", type=int, default=5)
    args = parser.parse_args(argv)
    try:
        network = open_network(args.network)
        runoff = made_runoff(network, args.runoff, args.days)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(*describe(network), sep="\n")
    few, scale = runoff[: args.peer_days], 365 / args.peer_days

    stores = reservoirs(network)
    start = balanced(network, runoff.mean(0), stores)
    first = route_linear(network, few, stores)  # compiles
    spent, run = seconds(lambda: route_linear(network, runoff, stores, start))
    peer, plain = seconds(lambda: linear_peer(network, few, stores, 4))
    near = np.abs(first.discharge - plain).max() / plain.max()
    mean = off(network, runoff, run.discharge, run.stores.river - start.river)
    report("linear reservoirs", spent, args.days, peer * scale, run.mass_error, mean, near)

    made = channel(network, mean_flow(network, runoff.mean(0)))
    begin = steady(network, made, runoff.mean(0))
    first = route_inertial(network, few, made, begin)
    spent, run = seconds(lambda: route_inertial(network, runoff, made, begin))
    peer, plain = seconds(lambda: inertial_peer(network, few, made, begin))
    near = np.abs(first.discharge - plain).max() / plain.max()
    mean = off(network, runoff, run.discharge, run.state.storage - begin.storage)
    report("local-inertial", spent, args.days, peer * scale, run.mass_error, mean, near)
    flooded = (run.fraction @ network.area).mean() / network.area.sum()
    steps = run.steps / len(network) / args.days
    print(f"{steps:.1f} steps a day and cell, {spent / run.steps * 1e9:.0f} ns each; flooded {flooded:.2%} of the land")
    return 0


if __name__ == "__main__":
    sys.exit(main())
