"""Differential evolution for many problems at once (Storn and Price 1997, doi:10.1023/A:1008202821328).

best/1/bin or rand/1/bin with dithering, a Latin hypercube to begin with and values beyond a bound drawn anew: the
choices of `scipy.optimize.differential_evolution(updating="deferred")`, whose options keep their names and defaults.
All candidates of all problems are one call of the simulator. A problem whose energies agree,
std(E) <= atol + tol |mean(E)|, is frozen. Each problem has its own random stream: any grouping gives the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sciml.core.errors import ConfigError
from sciml.land.least_squares import Cost, Space


@dataclass(frozen=True)
class EvolutionOptions:
    """Of `evolve`; defaults are SciPy's."""

    strategy: Literal["best1bin", "rand1bin"] = "best1bin"
    generations: int = 1000
    population: int = 15  # candidates per parameter
    mutation: tuple[float, float] = (0.5, 1.0)  # drawn anew each generation
    recombination: float = 0.7
    tol: float = 0.01
    atol: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.mutation
        if self.strategy not in ("best1bin", "rand1bin"):
            raise ConfigError(f"strategy {self.strategy!r}: no such; give best1bin or rand1bin")
        if not 0.0 <= low <= high < 2.0 or not 0.0 <= self.recombination <= 1.0 or self.population < 1:
            raise ConfigError(
                f"differential evolution: mutation {self.mutation} within 0 to 2, recombination {self.recombination} "
                f"within 0 to 1 and population {self.population} of at least 1 were expected"
            )


@dataclass(frozen=True, eq=False)
class Evolution:
    """Of each problem. best: (problem, parameter) in real units; wsse: (problem,); population: (problem, candidate,
    parameter) in real units, best first, and its energy (problem, candidate); generations, evaluations (runs of the
    model), converged: (problem,)."""

    best: np.ndarray
    wsse: np.ndarray
    population: np.ndarray
    energy: np.ndarray
    generations: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray


def evolve(
    cost: Cost,
    space: Space,
    problems: np.ndarray,
    seeds: Sequence[int],
    options: EvolutionOptions | None = None,
    known: np.ndarray | None = None,
) -> Evolution:
    """Minimise each problem over its bounds.

    problems: (n,) numbers handed to `cost`; seeds: one for each. known: (n, some, parameter) members to begin with
    beside those of the hypercube, as shares of the way from low to high bound.
    """
    options = options or EvolutionOptions()
    size, parameters = len(problems), len(space.names)
    members = max(5, options.population * parameters)
    streams = [np.random.default_rng(seed) for seed in seeds]
    share = np.stack([_hypercube(stream, members, parameters) for stream in streams])
    if known is not None:
        share[:, : known.shape[1]] = known[:, :members]
    energy = _energy(cost, problems, space.scaled(share))
    generations = np.zeros(size, int)
    converged = _agree(energy, options)
    for _ in range(options.generations):
        active = np.flatnonzero(~converged)
        if not len(active):
            break
        trial = np.stack([_trials(streams[i], share[i], int(np.argmin(energy[i])), options) for i in active])
        found = _energy(cost, problems[active], space.scaled(trial))
        better = found <= energy[active]
        share[active] = np.where(better[:, :, None], trial, share[active])
        energy[active] = np.where(better, found, energy[active])
        generations[active] += 1
        converged[active] = _agree(energy[active], options)
    order = np.argsort(energy, axis=1, kind="stable")
    energy = np.take_along_axis(energy, order, axis=1)
    population = space.scaled(np.take_along_axis(share, order[:, :, None], axis=1))
    evaluations = members * (generations + 1)
    return Evolution(population[:, 0], energy[:, 0], population, energy, generations, evaluations, converged)


def _energy(cost: Cost, problems: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    energy = cost(problems, candidates)
    return np.where(np.isfinite(energy), energy, np.inf)


def _agree(energy: np.ndarray, options: EvolutionOptions) -> np.ndarray:
    finite = np.isfinite(energy).all(axis=1)
    known = np.where(finite[:, None], energy, 0.0)
    return finite & (known.std(axis=1) <= options.atol + options.tol * np.abs(known.mean(axis=1)))


def _hypercube(stream: np.random.Generator, members: int, parameters: int) -> np.ndarray:
    """(member, parameter) in 0 to 1, one member in each of `members` slices of each parameter."""
    slices = np.tile(np.arange(members)[:, None], (1, parameters))
    return (stream.permuted(slices, axis=0) + stream.random((members, parameters))) / members


def _trials(stream: np.random.Generator, share: np.ndarray, best: int, options: EvolutionOptions) -> np.ndarray:
    """(member, parameter): a mutant of each member, crossed with it."""
    members, parameters = share.shape
    row = np.arange(members)
    first, second, third = _others(stream, members)
    base = share[best] if options.strategy == "best1bin" else share[third]
    mutant = base + stream.uniform(*options.mutation) * (share[first] - share[second])
    crossed = stream.random((members, parameters)) < options.recombination
    crossed[row, stream.integers(parameters, size=members)] = True
    trial = np.where(crossed, mutant, share)
    beyond = (trial < 0.0) | (trial > 1.0)
    return np.where(beyond, stream.random((members, parameters)), trial)


def _others(stream: np.random.Generator, members: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three members for each member, all different and none itself."""
    taken = np.arange(members)[:, None]
    for _ in range(3):
        # uniform over those left: the k-th number that is not taken yet
        pick = stream.integers(members - taken.shape[1], size=members)
        for used in np.sort(taken, axis=1).T:
            pick += pick >= used
        taken = np.concatenate([taken, pick[:, None]], axis=1)
    return taken[:, 1], taken[:, 2], taken[:, 3]
