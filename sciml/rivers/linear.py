"""Linear reservoirs: a cell's stretch of river is one store S that empties with Q = S / k, k = length / velocity.

Over a step, with what flows in held at its mean I, the store is exact:

    S(t + dt) = S e + I k (1 - e),   e = exp(-dt / k),   mean outflow = I - (S(t + dt) - S(t)) / dt

so mass closes for any step, and water stays k in the mean whatever the step is. What leaves a cell is what enters the
next in the same step, cells in order; more steps a day sharpen a wave, not its mean. A store of the same kind before
the river, for the way over the land and through the ground, is a choice (`delay_days`).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from sciml.core.errors import ConfigError, InputError
from sciml.data.readers.river_network import place
from sciml.rivers.network import SECONDS, WATER, Network, accumulate, water_input

VELOCITY = 0.5  # m s-1, of flow in rivers as global models take it (Oki et al. 1999: 0.3 .. 0.5; assumption)
MEANDER = 1.4  # river over straight length (Oki & Sud 1998, doi:10.1175/1087-3562(1998)002<0001:DOTRIP>2.3.CO;2)


@dataclass(frozen=True, eq=False)
class Reservoirs:
    """Mean stay [day], each (cell,): in the river, and on the way to it (0: none)."""

    river_days: np.ndarray
    delay_days: np.ndarray


@dataclass(frozen=True, eq=False)
class Stores:
    """Water at an instant [m3], each (member, cell) or (cell,)."""

    river: np.ndarray
    delay: np.ndarray


@dataclass(frozen=True, eq=False)
class LinearRun:
    """discharge: (time, [member,] cell) [m3 s-1], the mean of each day; stores at the end; mass_error: relative."""

    discharge: np.ndarray
    stores: Stores
    mass_error: float


def reservoirs(
    network: Network,
    *,
    velocity: float | np.ndarray = VELOCITY,
    meander: float = MEANDER,
    delay_days: float | np.ndarray = 0.0,
) -> Reservoirs:
    """Stays by length and velocity [m s-1]. A network with lengths of its own channels wants meander = 1."""
    shape = (len(network),)
    v, delay = np.broadcast_to(velocity, shape), np.broadcast_to(delay_days, shape)
    if not ((v > 0).all() and (delay >= 0).all() and meander >= 1):
        raise ConfigError("reservoirs: expected velocity > 0, delay_days >= 0 and meander >= 1; found others")
    return Reservoirs(network.length * meander / (v * SECONDS), np.array(delay, np.float64))


def balanced(network: Network, runoff: np.ndarray, reservoirs: Reservoirs) -> Stores:
    """Stores that stay as they are under a constant runoff. runoff: ([member,] cell) [kg m-2 day-1]."""
    water = water_input(network, np.asarray(runoff, np.float64))
    river = accumulate(network, water) * reservoirs.river_days * SECONDS
    return Stores(river, water * reservoirs.delay_days * SECONDS)


def route_linear(
    network: Network,
    runoff: np.ndarray,
    reservoirs: Reservoirs,
    stores: Stores | None = None,
    *,
    steps: int = 4,
    threads: int = 1,
) -> LinearRun:
    """Route daily runoff on the CPU, compiled. runoff: (time, [member,] cell) [kg m-2 day-1], not negative.

    stores: the start, None for empty rivers; steps: a day. Basins are independent: threads share them, the result is
    the same to the bit. Raises InputError for runoff that is negative, missing or of other cells.
    """
    water, single = checked(network, runoff)
    start = _start(stores, water.shape[1:])
    river, delay = start[0].copy(), start[1].copy()
    factors = _factors(reservoirs, steps)
    out = np.empty(water.shape)

    def part(begin: int, end: int) -> None:
        _route(begin, end, network.downstream, network.area, water, *factors, steps, river, delay, out)

    over_basins(network, part, threads)
    error = mass_error(network, water, out, river + delay - start[0] - start[1])
    return LinearRun(*(_squeezed(out, river, delay, single)), error)


def route_linear_torch(
    network: Network,
    runoff: Tensor,
    reservoirs: Reservoirs,
    stores: tuple[Tensor, Tensor] | None = None,
    *,
    steps: int = 4,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same on torch, differentiable, on runoff's device. runoff: (time, member, cell) -> discharge, river, delay.

    A pass down the rivers is as deep as the longest river. Here each cell runs `lag` steps behind the cells above it,
    so that all cells work at once, each at its own time: time + depth passes in place of time x depth.
    """
    device, (days, members, cells) = runoff.device, runoff.shape

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), device=device)

    e_river, g_river, e_delay, g_delay = (tensor(factor)[:, None] for factor in _factors(reservoirs, steps))
    lag, cell = tensor(lags(network)), torch.arange(cells, device=device)
    down = tensor(np.where(network.downstream >= 0, network.downstream, cells))
    to_rate = tensor(network.area / (WATER * SECONDS))[:, None]
    rows = runoff.to(torch.float64).transpose(1, 2).reshape(days * cells, members)
    zero = torch.zeros(cells, members, dtype=torch.float64, device=device)
    river, delay = (zero, zero) if stores is None else (store.transpose(0, 1) for store in stores)
    out = torch.zeros(days * cells, members, dtype=torch.float64, device=device)
    outflow, dt = zero, SECONDS / steps
    for step in range(days * steps + int(lag.max())):
        time = step - lag
        active = ((time >= 0) & (time < days * steps))[:, None]
        at = torch.div(time.clamp(0, days * steps - 1), steps, rounding_mode="floor") * cells + cell
        water = rows[at] * to_rate
        later = delay * e_delay + water * g_delay
        inflow = torch.zeros(cells + 1, members, dtype=torch.float64, device=device).index_add(0, down, outflow)[:-1]
        inflow = inflow + water - (later - delay) / dt
        after = river * e_river + inflow * g_river
        outflow = torch.where(active, inflow - (after - river) / dt, zero)
        delay, river = torch.where(active, later, delay), torch.where(active, after, river)
        out = out.index_add_(0, at, outflow / steps)
    return out.reshape(days, cells, members).transpose(1, 2), river.transpose(0, 1), delay.transpose(0, 1)


def lags(network: Network) -> np.ndarray:
    """Steps by which each cell runs behind the furthest of its basin: one more than all cells right above it."""
    depth = _depth(network.downstream)
    return np.maximum.reduceat(depth, network.basin_start[:-1])[network.basin] - depth


def checked(network: Network, runoff: np.ndarray) -> tuple[np.ndarray, bool]:
    """Runoff as (time, member, cell) float64, and whether there was no axis of members."""
    runoff = np.asarray(runoff)
    if runoff.ndim not in (2, 3) or runoff.shape[-1] != len(network):
        raise InputError(
            f"runoff: found shape {runoff.shape}, expected (time, cell) or (time, member, cell) with the "
            f"{len(network)} cells of {network.source}"
        )
    whole = runoff if runoff.ndim == 3 else runoff[:, None]
    if not whole.min(initial=0.0) >= 0:
        time, _, cell = np.argwhere(~(whole >= 0))[0]
        raise InputError(
            f"runoff: at {place(network.lat[cell], network.lon[cell])}, time {time}, found "
            f"{whole[time, :, cell].min():g}, expected 0 or more kg m-2 day-1; fill gaps, take losses off first"
        )
    return np.ascontiguousarray(whole, np.float64), runoff.ndim == 2


def mass_error(network: Network, runoff: np.ndarray, discharge: np.ndarray, change: np.ndarray) -> float:
    """|in - out - change of storage|, relative to the largest of the three; the worst member's."""
    entered = (runoff @ (network.area / WATER)).sum(0)
    left = discharge[..., network.outlet].sum((0, -1)) * SECONDS
    gained = change.sum(-1)
    scale = np.maximum(entered, np.maximum(np.abs(left), np.abs(gained)))
    return float((np.abs(entered - left - gained) / np.where(scale > 0, scale, 1.0)).max())


def over_basins(network: Network, part: Callable[[int, int], None], threads: int, cells: int = 1024) -> None:
    """Call part(begin, end) for groups of whole basins, slices of cells, by threads (the compiled code lets go)."""
    edges = network.basin_start
    cuts = np.unique(edges[np.searchsorted(edges, np.arange(0, len(network), cells))])
    cuts = np.append(cuts, len(network)) if cuts[-1] < len(network) else cuts
    groups = list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
    if threads == 1:
        for begin, end in groups:
            part(begin, end)
        return
    groups.sort(key=lambda group: group[0] - group[1])
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda group: part(*group), groups))


def _start(stores: Stores | None, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    if stores is None:
        return np.zeros(shape), np.zeros(shape)
    return np.broadcast_to(stores.river, shape).astype(float), np.broadcast_to(stores.delay, shape).astype(float)


def _squeezed(out: np.ndarray, river: np.ndarray, delay: np.ndarray, single: bool) -> tuple[np.ndarray, Stores]:
    return (out[:, 0], Stores(river[0], delay[0])) if single else (out, Stores(river, delay))


def _factors(reservoirs: Reservoirs, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """e and k (1 - e) [s] of both stores."""
    if steps < 1:
        raise ConfigError(f"steps: found {steps}, expected at least one a day")
    out = []
    for days in (reservoirs.river_days, reservoirs.delay_days):
        k = np.asarray(days, np.float64) * SECONDS
        ratio = np.divide(SECONDS / steps, k, out=np.full(len(k), np.inf), where=k > 0)
        out += [np.exp(-ratio), -k * np.expm1(-ratio)]
    return tuple(out)


@numba.njit(cache=True)
def _depth(downstream: np.ndarray) -> np.ndarray:
    """Steps down to the outlet."""
    depth = np.zeros(len(downstream), np.int64)
    for i in range(len(downstream) - 1, -1, -1):
        if downstream[i] >= 0:
            depth[i] = depth[downstream[i]] + 1
    return depth


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _route(begin, end, downstream, area, runoff, e_river, g_river, e_delay, g_delay, steps, river, delay, out):
    days, members, _ = runoff.shape
    rate = 1.0 / (SECONDS / steps)
    inflow = np.zeros(end - begin)
    for m in range(members):
        for t in range(days):
            for i in range(begin, end):
                out[t, m, i] = 0.0
            for _ in range(steps):
                for i in range(begin, end):
                    water = runoff[t, m, i] * area[i] / (WATER * SECONDS)
                    later = delay[m, i] * e_delay[i] + water * g_delay[i]
                    enters = inflow[i - begin] + water - (later - delay[m, i]) * rate
                    inflow[i - begin] = 0.0
                    after = river[m, i] * e_river[i] + enters * g_river[i]
                    outflow = enters - (after - river[m, i]) * rate
                    delay[m, i] = later
                    river[m, i] = after
                    out[t, m, i] += outflow
                    if downstream[i] >= 0:
                        inflow[downstream[i] - begin] += outflow
            for i in range(begin, end):
                out[t, m, i] /= steps
