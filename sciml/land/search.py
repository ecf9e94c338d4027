"""Where to look for a minimum: from several starts down, and where these disagree, by evolution and down again.

The wSSE of a land model has jumps (snow that lasts a day longer holds back that day's evaporation) and long flat
valleys. Levenberg-Marquardt runs along a valley in a few steps but ends at a jump; differential evolution jumps, but
crawls along a valley. Most problems need no evolution: half of the starts agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.land.evolution import EvolutionOptions, evolve
from sciml.land.least_squares import EDGE, EVEN, DescentOptions, Space, descend

Method = Literal["best", "descent", "evolution"]


class Objective(Protocol):
    """Problems to be minimised; see `least_squares` for the two functions. together: problems in one Jacobian."""

    @property
    def together(self) -> int: ...

    def cost(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray: ...

    def residuals(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class SearchOptions:
    """Of `search`. method "best": descent, then evolution where half of the starts are not within `agree` of the best,
    relative to it, and descent again; "descent": the starts alone; "evolution": SciPy's way.

    evolution: SciPy's defaults if None, but 3 members per parameter for "best", which knows where valleys end. Chosen
    on 48 cell-months of a real table, where "best" took a fifth of the runs of SciPy's evolution and ended 2 % lower
    (`bench/land_fit.py`).
    """

    method: Method = "best"
    screened: int = 200  # candidates of the prior, of which
    starts: int = 12  # the best are taken further, the prior's middle among them
    agree: float = 5e-3
    finalists: int = 6  # members of the evolved population taken down
    descent: DescentOptions = field(default_factory=DescentOptions)
    evolution: EvolutionOptions | None = None

    def __post_init__(self) -> None:
        if self.method not in ("best", "descent", "evolution"):
            raise ConfigError(f"method {self.method!r}: no such; give best, descent or evolution")
        if not 1 <= self.starts <= self.screened or self.finalists < 1:
            raise ConfigError(
                f"search: {self.starts} starts of {self.screened} screened, {self.finalists} finalists; expected at "
                "least one of each and no more starts than screened"
            )


@dataclass(frozen=True, eq=False)
class Found:
    """Of each problem. free: (problem, parameter) logit; wsse: (problem,); ends: (problem, end, parameter) logits at
    which descents ended, best first, and end_wsse (problem, end); evaluations: (problem,) runs of the model;
    converged: (problem,)."""

    free: np.ndarray
    wsse: np.ndarray
    ends: np.ndarray
    end_wsse: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray


def search(
    objective: Objective, space: Space, problems: np.ndarray, seeds: Sequence[int], options: SearchOptions | None = None
) -> Found:
    """Minimise each problem. seeds: one for each; a problem's result is the same in whatever company."""
    options = options or SearchOptions()
    if options.method == "evolution":
        return _evolved(objective, space, problems, seeds, options)
    starts, evaluations = _screened(objective, space, problems, seeds, options)
    found = _descended(objective, space, problems, starts, options)
    found = replace(found, evaluations=found.evaluations + evaluations)
    if options.method == "descent":
        return found
    half = found.end_wsse[:, max(options.starts // 2, 1) - 1]
    with np.errstate(invalid="ignore"):
        open_ = np.flatnonzero(~(half <= found.wsse * (1.0 + options.agree)) & np.isfinite(found.wsse))
    if not len(open_):
        return found
    again = [seed_for(seeds[i], "evolution") for i in open_]
    known = 1.0 / (1.0 + np.exp(-found.ends[open_]))
    evolved = evolve(
        objective.cost, space, problems[open_], again, options.evolution or EvolutionOptions(population=3), known
    )
    further = _descended(
        objective, space, problems[open_], space.free(evolved.population[:, : options.finalists]), options
    )
    return _merged(found, further, open_, evolved.evaluations)


def _screened(
    objective: Objective, space: Space, problems: np.ndarray, seeds: Sequence[int], options: SearchOptions
) -> tuple[np.ndarray, int]:
    """(problem, start, parameter) logits, the prior's middle first; runs of the model for each."""
    drawn = [np.random.default_rng(seed).standard_normal((options.screened, len(space.names))) for seed in seeds]
    free = np.clip(space.middle + EVEN * np.array(drawn), -EDGE, EDGE)
    free[:, 0] = space.middle
    energy = objective.cost(problems, space.real(free))
    energy = np.where(np.isfinite(energy), energy, np.inf)
    energy[:, 0] = -np.inf
    best = np.argsort(energy, axis=1, kind="stable")[:, : options.starts]
    return np.take_along_axis(free, best[:, :, None], axis=1), options.screened


def _descended(
    objective: Objective, space: Space, problems: np.ndarray, starts: np.ndarray, options: SearchOptions
) -> Found:
    size, count, parameters = starts.shape
    ends = descend(
        objective.residuals,
        objective.cost,
        space,
        np.repeat(problems, count),
        starts.reshape(-1, parameters),
        options.descent,
        objective.together,
    )
    wsse = ends.wsse.reshape(size, count)
    order = np.argsort(wsse, axis=1, kind="stable")
    wsse = np.take_along_axis(wsse, order, axis=1)
    free = np.take_along_axis(ends.free.reshape(starts.shape), order[:, :, None], axis=1)
    converged = np.take_along_axis(ends.converged.reshape(size, count), order, axis=1)
    evaluations = ends.evaluations.reshape(size, count).sum(axis=1)
    return Found(free[:, 0], wsse[:, 0], free, wsse, evaluations, converged[:, 0])


def _merged(found: Found, further: Found, which: np.ndarray, evaluations: np.ndarray) -> Found:
    """The ends of both, best first, as many as before."""
    wsse = np.concatenate([found.end_wsse[which], further.end_wsse], axis=1)
    ends = np.concatenate([found.ends[which], further.ends], axis=1)
    order = np.argsort(wsse, axis=1, kind="stable")[:, : found.end_wsse.shape[1]]
    all_ends, all_wsse = found.ends.copy(), found.end_wsse.copy()
    all_ends[which] = np.take_along_axis(ends, order[:, :, None], axis=1)
    all_wsse[which] = np.take_along_axis(wsse, order, axis=1)
    total, converged = found.evaluations.copy(), found.converged.copy()
    total[which] += evaluations + further.evaluations
    better = further.wsse < found.wsse[which]
    converged[which] = np.where(better, further.converged, converged[which])
    return Found(all_ends[:, 0], all_wsse[:, 0], all_ends, all_wsse, total, converged)


def _evolved(
    objective: Objective, space: Space, problems: np.ndarray, seeds: Sequence[int], options: SearchOptions
) -> Found:
    evolved = evolve(objective.cost, space, problems, seeds, options.evolution)
    ends = space.free(evolved.population[:, : options.starts])
    return Found(ends[:, 0], evolved.wsse, ends, evolved.energy[:, : options.starts], evolved.evaluations,
                 evolved.converged)  # fmt: skip
