"""The compiled kernel of `inertial`: one basin through all days, step by step.

The parts are pasted into the loop when it is compiled, and arrays are handed on one by one: reading them from a tuple
within a loop made it 1.7 times slower.
"""

from typing import NamedTuple

import numba
import numpy as np

from sciml.rivers.network import SECONDS, WATER

G = 9.80665  # m s-2
DRY = 1e-5  # m
NORMAL, SEA_LEVEL = -1, -2  # below a last cell, in place of an index

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(inline="always", error_model="numpy")


class Cells(NamedTuple):
    """What does not change, (cell,) or (cell, layer + 1): `channel.Channel`; below and sea as of `inertial.ends`."""

    below: np.ndarray
    sea: np.ndarray
    width: np.ndarray
    bank: np.ndarray
    bed: np.ndarray
    distance: np.ndarray
    slope: np.ndarray
    manning: np.ndarray
    area: np.ndarray
    height: np.ndarray
    surface: np.ndarray
    volume: np.ndarray


@_inlined
def _levels(begin, held, bank, full, across, height, surface, volume, depth, top):
    """Depth [m] and water surface [m2] from storage [m3]."""
    for i in range(len(held)):
        c = begin + i
        if held[i] < full[i]:
            top[i] = across[i]
            depth[i] = held[i] / across[i]
            continue
        layer, last = 0, volume.shape[1] - 1
        while layer < last and held[i] >= volume[c, layer + 1]:
            layer += 1
        over, base = held[i] - volume[c, layer], surface[c, layer]
        steep = 0.0
        if layer < last:
            steep = (surface[c, layer + 1] - base) / (height[c, layer + 1] - height[c, layer])
        rise = 2.0 * over / (base + np.sqrt(base * base + 2.0 * steep * over))
        depth[i] = bank[c] + height[c, layer] + rise
        top[i] = base + steep * rise


@_inlined
def _falls(begin, below, sea, width, bed, distance, slope, depth, deep, fall, stiff):
    """Depth [m] and fall [1] of the flow to the next cell; stiff: sum of g h W / L over a cell's links [m2 s-2]."""
    for i in range(len(depth)):
        stiff[i] = 0.0
    for i in range(len(depth)):
        c, j = begin + i, below[begin + i]
        here = bed[c] + depth[i]
        if j >= 0:
            there = bed[j] + depth[j - begin]
            deep[i] = max(here, there) - max(bed[c], bed[j])
        elif j == NORMAL:
            there = here - slope[c] * distance[c]
            deep[i] = depth[i]
        else:
            there = sea[c]
            deep[i] = max(here, there) - bed[c]
        fall[i] = (here - there) / distance[c]
        if deep[i] > DRY and j != NORMAL:
            link = G * deep[i] * width[c] / distance[c]
            stiff[i] += link
            if j >= 0:
                stiff[j - begin] += link


@_inlined
def _limit(ran, top, deep, stiff):
    """One over the longest stable step of the basin [s-1]."""
    square, fast = 0.0, 0.0
    for i in range(len(ran)):
        square = max(square, stiff[i] / (2.0 * top[i]))
        if deep[i] > DRY:
            fast = max(fast, abs(ran[i]) * (5.0 / 3.0) / (deep[i] * top[i]))
    return max(np.sqrt(square), fast)


@_inlined
def _momentum(begin, dt, below, width, manning, deep, fall, ran, leaving):
    """Flow [m3 s-1] at the end of the step, and what all flows together take from each cell."""
    for i in range(len(ran)):
        leaving[i] = 0.0
    for i in range(len(ran)):
        c, j = begin + i, below[begin + i]
        if deep[i] <= DRY:
            ran[i] = 0.0
            continue
        h, w = deep[i], width[c]
        r = ran[i] + G * dt * w * h * fall[i]
        b = G * dt * manning[c] * manning[c] / (w * h * h * np.cbrt(h))
        q = 2.0 * r / (1.0 + np.sqrt(1.0 + 4.0 * b * abs(r)))
        ran[i] = q
        if q > 0.0:
            leaving[i] += q
        elif j >= 0:
            leaving[j - begin] -= q


@_inlined
def _move(begin, dt, below, water, held, ran, leaving, mean_flow):
    """Carry water to the next cells, no more than there is at the beginning of the step."""
    for i in range(len(held)):
        out = leaving[i] * dt
        leaving[i] = held[i] / out if out > held[i] else 1.0
        held[i] += dt * water[i]
    for i in range(len(held)):
        j = below[begin + i]
        if ran[i] > 0.0:
            ran[i] *= leaving[i]
        elif j >= 0:
            ran[i] *= leaving[j - begin]
        moved = dt * ran[i]
        held[i] -= moved
        if j >= 0:
            held[j - begin] += moved
        mean_flow[i] += moved


@_compiled
def route_basin(begin, end, cells, runoff, alpha, longest, storage, flow, discharge, fraction, flood_depth):
    """Cells begin .. end of runoff (time, member, cell) [kg m-2 day-1], into the three daily means; storage and flow
    (member, cell) change in place. Returns the number of steps."""
    below, sea, width, bank, bed, distance, slope, manning, area, height, surface, volume = cells
    rows = np.zeros((14, end - begin))
    held, ran, water, depth, top, deep = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    fall, stiff, leaving, mean_flow, mean_top, mean_depth = rows[6], rows[7], rows[8], rows[9], rows[10], rows[11]
    full, across = rows[12], rows[13]
    for i in range(len(held)):
        full[i], across[i] = volume[begin + i, 0], surface[begin + i, 0]
    taken = 0
    for m in range(runoff.shape[1]):
        for i in range(len(held)):
            held[i], ran[i] = storage[m, begin + i], flow[m, begin + i]
        for t in range(runoff.shape[0]):
            for i in range(len(held)):
                water[i] = runoff[t, m, begin + i] * area[begin + i] / (WATER * SECONDS)
                mean_flow[i] = mean_top[i] = mean_depth[i] = 0.0
            remaining = SECONDS
            while remaining > 0.0:
                _levels(begin, held, bank, full, across, height, surface, volume, depth, top)
                _falls(begin, below, sea, width, bed, distance, slope, depth, deep, fall, stiff)
                limit = _limit(ran, top, deep, stiff)
                step = longest if limit * longest <= alpha else alpha / limit
                dt = remaining / np.ceil(remaining / step)
                _momentum(begin, dt, below, width, manning, deep, fall, ran, leaving)
                _move(begin, dt, below, water, held, ran, leaving, mean_flow)
                for i in range(len(held)):
                    mean_top[i] += dt * (top[i] - across[i])
                    mean_depth[i] += dt * depth[i]
                taken += 1
                remaining -= dt
                if remaining < 1e-6:
                    remaining = 0.0
            for i in range(len(held)):
                discharge[t, m, begin + i] = mean_flow[i] / SECONDS
                fraction[t, m, begin + i] = mean_top[i] / (SECONDS * area[begin + i])
                flood_depth[t, m, begin + i] = mean_depth[i] / SECONDS
        for i in range(len(held)):
            storage[m, begin + i], flow[m, begin + i] = held[i], ran[i]
    return taken
