"""The two searches on problems whose answer is known: recovery, freezing, bounds, bits, what is not identifiable."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from sciml.core.errors import ConfigError
from sciml.land import evolution as de
from sciml.land import least_squares as lm
from sciml.land import search as se
from sciml.land.fit import _equifinality

TIME = np.linspace(0.0, 5.0, 60)
SPACE = lm.Space(
    ("height", "rate", "level", "unused"),
    low=np.array([0.1, 0.05, -2.0, 0.0]),
    high=np.array([9.0, 3.0, 2.0, 1.0]),
    centre=np.array([2.0, 0.5, 0.1, 0.4]),
    log=np.array([False, True, False, False]),
    spread=np.full(4, 2.0),
)
PLANTED = np.array([[3.0, 0.8, 0.5, 0.2], [0.7, 2.0, -1.0, 0.7], [6.0, 0.2, 1.2, 0.5]])


def curve(x: np.ndarray) -> np.ndarray:
    return x[..., 0:1] * np.exp(-x[..., 1:2] * TIME) + x[..., 2:3]


class Counted:
    """Residuals of exponential decay against planted curves; remembers which problems were asked for."""

    def __init__(self, noise: float = 0.0, gap: bool = False) -> None:
        self.target = curve(PLANTED) + noise * np.random.default_rng(1).standard_normal((3, len(TIME)))
        self.known = np.ones((3, len(TIME)))
        if gap:
            self.known[:, 20:30] = 0.0
            self.target[:, 20:30] = np.nan
        self.asked: list[np.ndarray] = []

    def __call__(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray:
        self.asked.append(problems)
        target = np.nan_to_num(self.target)[problems][:, None]
        return (curve(x) - target) * self.known[problems][:, None]

    def cost(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.sum(self(problems, x) ** 2, axis=-1)


def start(problems: int) -> np.ndarray:
    return np.tile(SPACE.middle, (problems, 1))


@pytest.mark.parametrize("gap", [False, True])
def test_descent_recovers_what_the_data_show(gap: bool) -> None:
    residuals = Counted(gap=gap)
    found = lm.descend(residuals, residuals.cost, SPACE, np.arange(3), start(3), lm.DescentOptions(prior=1e-8))
    np.testing.assert_allclose(SPACE.real(found.free)[:, :3], PLANTED[:, :3], rtol=1e-3)
    np.testing.assert_allclose(SPACE.real(found.free)[:, 3], SPACE.centre[3])  # the prior alone speaks
    assert found.converged.all()


def test_descent_agrees_with_scipy_within_the_noise() -> None:
    residuals = Counted(noise=0.05)
    found = lm.descend(
        residuals, residuals.cost, SPACE, np.arange(3), start(3), lm.DescentOptions(prior=1e-6, tolerance=1e-8)
    )
    for i in range(3):
        fit = optimize.least_squares(
            lambda x, i=i: residuals(np.array([i]), x[None, None])[0, 0], SPACE.centre, bounds=(SPACE.low, SPACE.high)
        )
        np.testing.assert_allclose(SPACE.real(found.free[i])[:3], fit.x[:3], rtol=1e-3)


def test_converged_problems_are_not_simulated_and_company_changes_no_bit() -> None:
    residuals = Counted(noise=0.05)
    together = lm.descend(residuals, residuals.cost, SPACE, np.arange(3), start(3))
    assert {len(problems) for problems in residuals.asked} > {3}
    for i in range(3):
        alone = lm.descend(residuals, residuals.cost, SPACE, np.array([i]), start(1), together=1)
        np.testing.assert_array_equal(alone.free[0], together.free[i])
        assert alone.iterations[0] == together.iterations[i]


def test_standard_errors_cover_the_spread_of_repeated_noise_and_flag_the_unused() -> None:
    draws, count = [], np.full(3, len(TIME))
    for seed in range(40):
        residuals = Counted()
        residuals.target = residuals.target + 0.05 * np.random.default_rng(seed).standard_normal((3, len(TIME)))
        found = lm.descend(
            residuals, residuals.cost, SPACE, np.arange(3), start(3), lm.DescentOptions(prior=1e-6, tolerance=1e-7)
        )
        draws.append(SPACE.real(found.free))
    known = lm.uncertainty(residuals, SPACE, np.arange(3), found.free, count)
    spread = np.std(draws, axis=0)[:, :3]
    np.testing.assert_allclose(known.standard_error[:, :3], spread, rtol=0.4)
    assert known.identifiable[:, :3].all() and not known.identifiable[:, 3].any()
    np.testing.assert_allclose(known.ratio[:, 3], 1.0)
    sample = lm.draw(SPACE, found.free, known.covariance, 4000, [0, 1, 2])
    np.testing.assert_allclose(sample.std(axis=1)[:, :3], known.standard_error[:, :3], rtol=0.1)


def test_broken_runs_are_no_answer() -> None:
    residuals = Counted()

    def broken(problems: np.ndarray, x: np.ndarray) -> np.ndarray:
        values = residuals(problems, x)
        values[problems == 1] = np.nan  # never a number
        values[x[..., 0] > 4.0] = np.nan  # not a number for some parameters
        return values

    def cost(problems: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.sum(broken(problems, x) ** 2, axis=-1)

    found = lm.descend(broken, cost, SPACE, np.arange(2), start(2), lm.DescentOptions(prior=1e-8))
    assert np.isinf(found.wsse[1]) and not found.converged[1]
    np.testing.assert_allclose(SPACE.real(found.free[0])[:3], PLANTED[0, :3], rtol=1e-3)


@pytest.mark.parametrize("strategy", ["best1bin", "rand1bin"])
def test_evolution_finds_the_same_minimum_as_descent(strategy: str) -> None:
    residuals = Counted(noise=0.05)
    options = de.EvolutionOptions(strategy=strategy, tol=1e-4)
    found = de.evolve(residuals.cost, SPACE, np.arange(3), [5, 6, 7], options)
    local = lm.descend(
        residuals, residuals.cost, SPACE, np.arange(3), start(3), lm.DescentOptions(prior=1e-6, tolerance=1e-8)
    )
    assert found.converged.all()
    np.testing.assert_allclose(found.wsse, local.wsse, rtol=1e-3)
    assert (found.population >= SPACE.low).all() and (found.population <= SPACE.high).all()
    assert {len(problems) for problems in residuals.asked} > {3}
    alone = de.evolve(residuals.cost, SPACE, np.array([1]), [6], options)
    np.testing.assert_array_equal(alone.best[0], found.best[1])


def test_evolution_needs_as_many_generations_as_scipy() -> None:
    residuals, space = Counted(noise=0.05), SPACE
    ours = de.evolve(residuals.cost, space, np.zeros(12, int), range(12)).generations
    theirs = [
        optimize.differential_evolution(
            lambda x: residuals.cost(np.array([0]), space.scaled(x.T)[None])[0],
            [(0.0, 1.0)] * 4,
            vectorized=True,
            updating="deferred",
            polish=False,
            rng=seed,
        ).nit
        for seed in range(12)
    ]
    assert abs(np.mean(ours) - np.mean(theirs)) < 3 * np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(12) + 1


def test_others_are_different_and_evenly_drawn() -> None:
    stream, members = np.random.default_rng(0), 6
    tally = np.zeros((3, members, members))
    for _ in range(3000):
        picked = np.stack(de._others(stream, members))
        assert all(len({i, *picked[:, i]}) == 4 for i in range(members))
        for k in range(3):
            tally[k, np.arange(members), picked[k]] += 1
    off = ~np.eye(members, dtype=bool)
    np.testing.assert_allclose(tally[:, off], 600, rtol=0.2)


def test_refusals_name_the_option() -> None:
    with pytest.raises(ConfigError, match="parameter b: bounds 0 to 1, prior 2"):
        lm.Space(("b",), np.zeros(1), np.ones(1), np.full(1, 2.0), np.zeros(1, bool), np.ones(1))
    with pytest.raises(ConfigError, match="strategy"):
        de.EvolutionOptions(strategy="best2bin")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mutation"):
        de.EvolutionOptions(mutation=(1.0, 0.5))


class Twofold:
    """(s - 0.25)(s - 0.75) of each parameter's share s of its bounds: minima at both, equally good."""

    together = 7

    def residuals(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray:
        s = SPACE.share(x)[..., :3]  # nothing depends on the last
        return 10.0 * (s - 0.25) * (s - 0.75)

    def cost(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.sum(self.residuals(problems, x) ** 2, axis=-1)


def test_equally_good_ends_lie_where_the_minima_are() -> None:
    options = se.SearchOptions(method="descent", starts=16, descent=lm.DescentOptions(prior=1e-9, tolerance=1e-6))
    found = se.search(Twofold(), SPACE, np.arange(2), [1, 2], options)
    share = SPACE.share(SPACE.real(found.ends))[..., :3]
    np.testing.assert_allclose(np.minimum(np.abs(share - 0.25), np.abs(share - 0.75)), 0.0, atol=1e-3)
    found = replace(found, wsse=found.wsse + 1e-3)
    spread, equals = _equifinality(SPACE, found)
    np.testing.assert_allclose(spread[:, :3], 0.5, atol=2e-3)
    np.testing.assert_allclose(spread[:, 3], 0.0, atol=0.05)
    assert (equals == 16).all()


def test_search_with_evolution_is_never_worse_and_starts_come_best_first() -> None:
    class Rough(Twofold):
        def cost(self, problems: np.ndarray, x: np.ndarray) -> np.ndarray:
            return super().cost(problems, x) + 3.0 * np.floor(6.0 * SPACE.share(x)).sum(axis=-1)  # jumps

    down = se.search(Rough(), SPACE, np.arange(4), range(4), se.SearchOptions(method="descent"))
    best = se.search(Rough(), SPACE, np.arange(4), range(4))
    assert (best.wsse <= down.wsse).all() and (best.wsse < down.wsse).any()
    assert (best.evaluations > down.evaluations).any()
    for found in (down, best):
        assert (np.diff(found.end_wsse, axis=1) >= 0).all()
        np.testing.assert_array_equal(found.wsse, found.end_wsse[:, 0])
        np.testing.assert_allclose(Rough().cost(np.arange(4), SPACE.real(found.free)[:, None])[:, 0], found.wsse)
