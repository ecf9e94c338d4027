"""Local-inertial flow: the momentum of shallow water without its advection, cell to cell (Bates et al. 2010,
doi:10.1016/j.jhydrol.2010.03.027; on river networks with floodplain storage Yamazaki et al. 2013,
doi:10.1002/wrcr.20552).

    Q(t + dt) = Q + g dt W h ((z + d)_here - (z + d)_next) / L - g dt n^2 |Q(t + dt)| Q(t + dt) / (W h^(7/3))
    h = max((z + d)_here, (z + d)_next) - max(z_here, z_next)
    S(t + dt) = S + dt (runoff + sum Q_above - Q)

z bed, d depth from storage (`channel`), W and L of the cell above. Bates takes |Q(t)| Q(t + dt) in the friction; all of
it at t + dt is a quadratic with one root, Q = 2 r / (1 + sqrt(1 + 4 b |r|)), that goes over into Manning's flow for
long steps on steep slopes instead of swinging about it. Conveyance is the channel's; the floodplain stores only.

The step is each basin's own. Leapfrog steps are stable while dt^2 <= 2 A_i / sum_l (g h_l W_l / L_l), l the links of
the cell and A its water surface (Gershgorin's bound; in an even channel the known dt <= L / sqrt(g h); de Almeida &
Bates 2013, doi:10.1002/wrcr.20366); where flow is fast the kinematic dt <= A h / (5/3 Q) binds. dt is `alpha` of the
lesser. No cell gives more than it holds: what would leave it in a step is cut in proportion. A lake at rest stays so.
"""

from dataclasses import dataclass

import numpy as np

from sciml.core.errors import ConfigError
from sciml.rivers.channel import Channel, fill, normal_depth
from sciml.rivers.inertial_kernel import NORMAL, SEA_LEVEL, Cells, route_basin
from sciml.rivers.linear import checked, mass_error, over_basins
from sciml.rivers.network import Network, accumulate, water_input

ALPHA = 0.7
LONGEST = 10800.0  # s
BOUNDARIES = ("sea", "normal")


@dataclass(frozen=True, eq=False)
class State:
    """storage [m3] and flow to the next cell [m3 s-1] at an instant, each ([member,] cell)."""

    storage: np.ndarray
    flow: np.ndarray


@dataclass(frozen=True, eq=False)
class InertialRun:
    """Means of each day, (time, [member,] cell): discharge [m3 s-1], flooded share of the cell [1], depth [m] of water
    above the bed, the two last in single precision. state at the end; mass_error: relative; steps: of cells, taken."""

    discharge: np.ndarray
    fraction: np.ndarray
    depth: np.ndarray
    state: State
    mass_error: float
    steps: int


def steady(
    network: Network, made: Channel, runoff: np.ndarray, *, boundary: str = "sea", sea_level: float | None = None
) -> State:
    """A start that shortens the spin-up: the accumulated runoff ([member,] cell) [kg m-2 day-1] at normal depth, and no
    cell lower than the sea at its mouth. Not exact: backwater is left to the first days of a run.
    """
    flow = accumulate(network, water_input(network, np.asarray(runoff, np.float64)))
    following = np.where(network.downstream >= 0, network.downstream, np.arange(len(network)))
    slope = np.maximum((made.bed - made.bed[following]) / made.distance, 1e-5)
    slope = np.where(network.downstream >= 0, slope, made.slope)
    kind, sea = ends(network, made, boundary, sea_level)
    mouth = network.outlet[network.basin]
    drowned = np.where(kind[mouth] == SEA_LEVEL, sea[mouth] - made.bed, 0.0)
    return State(fill(made, np.maximum(normal_depth(made, flow, slope), drowned)), flow)


def route_inertial(
    network: Network,
    runoff: np.ndarray,
    made: Channel,
    state: State | None = None,
    *,
    boundary: str = "sea",
    sea_level: float | None = None,
    alpha: float = ALPHA,
    longest: float = LONGEST,
    threads: int = 1,
) -> InertialRun:
    """Route daily runoff on the CPU, compiled. runoff: (time, [member,] cell) [kg m-2 day-1], not negative.

    state: the start, None for empty rivers. boundary: "sea" holds the sea at `sea_level` [m], None at the bank of each
    last cell; water then runs both ways, and what enters is negative discharge. "normal" lets all rivers leave at
    normal depth; inland sinks always do. Threads share the basins, the result is the same to the bit.
    """
    water, single = checked(network, runoff)
    kind, sea = ends(network, made, boundary, sea_level)
    if not (0 < alpha <= 1 and longest > 0):
        raise ConfigError(f"alpha: found {alpha}, longest {longest}; expected 0 < alpha <= 1 and longest > 0 s")
    members = water.shape[1:]
    empty = state is None
    storage = np.zeros(members) if empty else np.broadcast_to(state.storage, members).astype(np.float64)
    flow = np.zeros(members) if empty else np.broadcast_to(state.flow, members).astype(np.float64)
    before = storage.copy()
    discharge = np.empty(water.shape)
    fraction, depth = np.empty(water.shape, np.float32), np.empty(water.shape, np.float32)
    taken = np.zeros(len(network.basin_start) - 1, np.int64)
    cells = Cells(
        kind, sea, made.width, made.depth, made.bed, made.distance, made.slope, made.manning, made.area, made.height,
        made.surface, made.volume,
    )  # fmt: skip

    def part(begin: int, end: int) -> None:
        for basin in range(network.basin[begin], network.basin[end - 1] + 1):
            a, b = network.basin_start[basin : basin + 2]
            taken[basin] = route_basin(
                a, b, cells, water, alpha, longest, storage, flow, discharge, fraction, depth
            )  # fmt: skip

    over_basins(network, part, threads)
    error = mass_error(network, water, discharge, storage - before)
    steps = int(taken @ np.diff(network.basin_start))
    if single:
        discharge, fraction, depth, storage, flow = (
            discharge[:, 0], fraction[:, 0], depth[:, 0], storage[0], flow[0],
        )  # fmt: skip
    return InertialRun(discharge, fraction, depth, State(storage, flow), error, steps)


def ends(network: Network, made: Channel, boundary: str, sea_level: float | None) -> tuple[np.ndarray, np.ndarray]:
    """What is below each cell, an index, NORMAL or SEA_LEVEL, and the level of the sea there [m], each (cell,)."""
    if boundary not in BOUNDARIES:
        raise ConfigError(f"boundary: found {boundary!r}, expected one of {', '.join(BOUNDARIES)}")
    at_sea = (network.downstream < 0) & ~network.sink & (boundary == "sea")
    kind = np.where(network.downstream >= 0, network.downstream, np.where(at_sea, SEA_LEVEL, NORMAL))
    return kind, made.bed + made.depth if sea_level is None else np.full(len(network), float(sea_level))
