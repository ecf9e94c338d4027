"""Fits of the paper's model to runs of its own: planted parameters, gaps, weights, what is not identifiable, bits."""

from dataclasses import replace

import numpy as np
import pytest

from sciml.core.errors import ConfigError, InputError
from sciml.land import fit as f
from sciml.land.evolution import EvolutionOptions
from sciml.land.forcing import Forcing, Targets
from sciml.land.least_squares import DescentOptions, Space
from sciml.land.models import MODELS, Model
from sciml.land.objective import days_per_independent
from sciml.land.run import simulate
from sciml.land.search import SearchOptions, search

PAPER = MODELS["paper"]
COLD, MILD, TROPICAL = 0, 1, 2
SNOW = [PAPER.index(name) for name in ("snow_share", "melt_rate", "melt_temperature", "melt_exponent", "melt_share")]
EXACTLY = DescentOptions(prior=1e-6, tolerance=1e-4, iterations=60)  # of data without noise even a weak prior is heard
QUICK = SearchOptions(method="descent", screened=60, starts=3)


def sky(years: int = 4) -> Forcing:
    """Weather of a cold, a mild and a tropical cell."""
    rng = np.random.default_rng(2)
    dates = np.arange(np.datetime64("2001-01-01"), np.datetime64(str(2001 + years)).astype("datetime64[D]"))
    season = -np.cos(2 * np.pi * (np.arange(len(dates))[:, None] - 20) / 365.25)
    temperature = np.array([273.0, 285.0, 299.0]) + season * [15.0, 7.0, 2.0] + rng.normal(0, 3, (len(dates), 3))
    water = rng.exponential(9, temperature.shape) * (rng.random(temperature.shape) < 0.4)
    cold = temperature < 274.15
    demand = 6e-4 * np.maximum(temperature - 270, 1.0) * rng.uniform(0.3, 1, temperature.shape)
    where = np.full(3, np.nan)
    return Forcing(dates, np.where(cold, 0, water), np.where(cold, water, 0), temperature, demand, "humidity_deficit",
                   np.arange(3), where, where, where)  # fmt: skip


def planted(model: Model = PAPER) -> np.ndarray:
    """theta (parameter, 1, cell), unlike the prior; the wetland, which no reference knows, forgets in days."""
    rng = np.random.default_rng(4)
    space = Space.of(model.parameters)
    theta = space.real(space.middle + 0.5 * rng.standard_normal((3, len(space.names)))).T[:, None].copy()
    theta[model.index("runoff_share")] = 0.6
    theta[model.index("wetland_rate")] = 0.7
    theta[model.index("snow_share")] = 0.9
    theta[model.index("melt_temperature")] = 273.6
    theta[model.index("deep_level")] = 60.0
    theta[model.index("soil_threshold")] = 120.0
    return theta


def reference(weather: Forcing, theta: np.ndarray, noise: float = 0.0) -> Targets:
    """What the model itself makes of the weather, with noise of a share of each variable's standard deviation."""
    names = ("snow", "soil_upper", "runoff", "evaporation")
    values, _ = simulate(PAPER, weather, theta, PAPER.start(theta.shape[-1]), outputs=names)
    rng = np.random.default_rng(9)
    values = values + noise * values.std(axis=0) * rng.standard_normal(values.shape)
    return Targets(weather.dates, {name: values[:, i] for i, name in enumerate(names)})


WEATHER, TRUTH = sky(), planted()
EXACT = reference(WEATHER, TRUTH)


def deviations(found: f.Fit, month: int = 0) -> np.ndarray:
    """|fitted - planted| as a share of the bounds, (parameter, cell)."""
    space = Space.of(PAPER.parameters)
    return np.abs(space.share(found.theta[:, month].T) - space.share(TRUTH[:, 0].T)).T


def test_free_run_recovers_what_is_identifiable_and_flags_the_rest() -> None:
    options = SearchOptions(method="descent", screened=100, starts=5, descent=EXACTLY)
    found = f.fit_free(PAPER, WEATHER, EXACT, "abc", options=options)
    values, _ = simulate(PAPER, WEATHER, found.theta, PAPER.start(3), outputs=found.variables)
    for i, name in enumerate(found.variables):
        truth = EXACT.values[name][365:]
        error = np.mean((values[365:, i] - truth) ** 2, axis=0)
        assert (error <= 1e-3 * np.maximum(truth.var(axis=0), 1e-3)).all(), name
    sharp = found.ratio[:, 0] < 0.02
    assert sharp.sum() >= 30
    assert np.quantile(deviations(found)[sharp], 0.9) < 0.01
    # where it never snows, the prior alone speaks of snow
    np.testing.assert_allclose(found.ratio[SNOW, 0, TROPICAL], 1.0)
    np.testing.assert_allclose(found.theta[SNOW, 0, TROPICAL], Space.of(PAPER.parameters).centre[SNOW])
    assert not found.identifiable[SNOW, 0, TROPICAL].any() and found.identifiable[SNOW, 0, COLD].all()


def test_months_recover_planted_parameters_and_find_no_snow_in_summer() -> None:
    found = f.fit_months(PAPER, WEATHER, EXACT, "abc", options=replace(QUICK, descent=EXACTLY))
    assert found.theta.shape == (16, 12, 3) and found.wsse.shape == (12, 3)
    # weights are 1 / variance: the climatology's wSSE is near the number of targets
    assert np.median(found.wsse / found.scored) < 1e-3
    off = np.stack([deviations(found, month) for month in range(12)], axis=1)
    assert np.median(off[found.ratio < 0.02]) < 0.005
    assert not found.identifiable[SNOW][:, :, TROPICAL].any() and not found.identifiable[SNOW][:, 6, COLD].any()
    assert found.identifiable[PAPER.index("melt_temperature"), :, COLD].any()


def test_wsse_is_that_of_runs_begun_from_the_references_stores() -> None:
    targets = reference(WEATHER, TRUTH, noise=0.1)
    found = f.fit_months(PAPER, WEATHER, targets, "abc", options=replace(QUICK, starts=1))
    weights = f.anomaly_weights(targets, found.variables)
    dates, total, count = WEATHER.dates, np.zeros(3), 0
    for year in range(2001, 2005):
        first = int(np.searchsorted(dates, np.datetime64(f"{year}-03-01")))
        days = slice(first - 10, first + 31)
        start = np.stack([targets.values["snow"][first - 11], targets.values["soil_upper"][first - 11], np.zeros(3)])
        values, _ = simulate(PAPER, WEATHER.days(days), found.theta[:, 2:3], start, outputs=found.variables)
        truth = np.stack([targets.values[name][days] for name in found.variables], axis=1)
        total += np.sum(weights * (values - truth)[10:] ** 2, axis=(0, 1))
        count += 31 * 4
    np.testing.assert_allclose(found.wsse[2], total, rtol=1e-10)
    assert (found.scored[2] == count).all()


def test_descent_and_evolution_agree() -> None:
    targets = reference(WEATHER, TRUTH, noise=0.2)
    runs = f.month_runs(PAPER, WEATHER, targets, 6)
    space, cells = Space.of(PAPER.parameters), np.arange(3)
    down = search(runs, space, cells, [1, 2, 3], SearchOptions(method="descent"))
    both = search(runs, space, cells, [1, 2, 3])
    evolved = search(
        runs, space, cells, [1, 2, 3], SearchOptions(method="evolution", evolution=EvolutionOptions(tol=1e-3))
    )
    assert (both.wsse <= down.wsse).all()
    assert (both.wsse <= 1.001 * evolved.wsse).all()
    np.testing.assert_allclose(both.wsse, evolved.wsse, rtol=0.03)  # evolution ends early in the cold cell's valley


def test_company_and_memory_change_no_bit() -> None:
    targets = reference(WEATHER, TRUTH, noise=0.2)
    options = SearchOptions(screened=40, starts=3, evolution=EvolutionOptions(population=1, generations=20))
    together = f.fit_free(PAPER, WEATHER, targets, "abc", options=options)
    for i in (2, 0):
        one = f.fit_free(
            PAPER, WEATHER.select(slice(i, i + 1)), targets.select(slice(i, i + 1)), "abc"[i], options=options, memory=1
        )
        for part in ("theta", "standard_error", "spread"):
            np.testing.assert_array_equal(getattr(one, part)[..., 0], getattr(together, part)[..., i])
        for part in ("wsse", "free", "covariance", "evaluations"):
            np.testing.assert_array_equal(getattr(one, part)[:, 0], getattr(together, part)[:, i])
    months = f.fit_months(PAPER, WEATHER, targets, "abc", options=QUICK)
    one = f.fit_months(PAPER, WEATHER.select([1]), targets.select([1]), "b", options=QUICK, memory=2**20)
    np.testing.assert_array_equal(one.theta[..., 0], months.theta[..., 1])
    other = f.fit_months(PAPER, WEATHER.select([1]), targets.select([1]), "x", options=QUICK)
    assert (other.theta != one.theta).any()  # the stream is the cell's


def test_gaps_count_nowhere_and_an_empty_cell_keeps_the_prior() -> None:
    rng = np.random.default_rng(5)
    gappy = {name: np.where(rng.random(v.shape) < 0.3, np.nan, v) for name, v in EXACT.values.items()}
    for name in gappy:
        gappy[name][:, TROPICAL] = np.nan
    gappy["runoff"][:, MILD] = np.nan
    targets = Targets(WEATHER.dates, gappy)
    found = f.fit_free(PAPER, WEATHER, targets, "abc", spin_up=365, options=QUICK)
    known = [np.isfinite(gappy[name][365:, :2]).sum(axis=0) for name in found.variables]
    np.testing.assert_array_equal(found.scored[0, :2], np.sum(known, axis=0))
    assert (found.wsse[0, :2] < 0.01 * found.scored[0, :2]).all()
    space = Space.of(PAPER.parameters)
    np.testing.assert_allclose(found.theta[:, 0, TROPICAL], space.centre)
    assert np.isnan(found.wsse[0, TROPICAL]) and not found.identifiable[:, 0, TROPICAL].any()
    # without runoff, baseflow is anybody's guess
    assert not found.identifiable[PAPER.index("baseflow_rate"), 0, MILD]
    assert found.identifiable[PAPER.index("baseflow_rate"), 0, COLD]


def test_a_weight_of_zero_is_a_variable_left_out() -> None:
    targets = reference(WEATHER, TRUTH, noise=0.1)
    dropped = f.fit_free(PAPER, WEATHER, targets, "abc", weights={"runoff": 0.0}, options=QUICK)
    absent = replace(targets, values={k: v for k, v in targets.values.items() if k != "runoff"})
    left_out = f.fit_free(PAPER, WEATHER, absent, "abc", options=QUICK)
    assert dropped.variables == ("snow", "soil_upper", "evaporation")
    np.testing.assert_array_equal(dropped.theta, left_out.theta)
    heavy = f.fit_free(PAPER, WEATHER, targets, "abc", weights={"runoff": 100.0}, options=QUICK)

    def misfit(found: f.Fit) -> np.ndarray:
        values, _ = simulate(PAPER, WEATHER, found.theta, PAPER.start(3), outputs=("runoff",))
        return np.sum((values[365:, 0] - targets.values["runoff"][365:]) ** 2)

    assert misfit(heavy) < misfit(dropped)


def test_days_per_independent_residual_of_an_autoregression() -> None:
    rng, r = np.random.default_rng(0), 0.8
    series = rng.standard_normal((2, 4000, 3, 2))
    for t in range(1, 4000):
        series[:, t] = r * series[:, t - 1] + np.sqrt(1 - r**2) * series[:, t]
    series[:, ::50] = 0.0  # gaps
    np.testing.assert_allclose(days_per_independent(series), (1 + r) / (1 - r), rtol=0.1)
    np.testing.assert_allclose(days_per_independent(rng.standard_normal((1, 4000, 3, 2))), 1.0, atol=0.1)


def test_a_parameter_that_the_data_push_to_its_bound_is_said_to_be_there() -> None:
    doubled = replace(EXACT, values=EXACT.values | {"evaporation": 12.0 * EXACT.values["evaporation"]})
    found = f.fit_free(PAPER, WEATHER, doubled, "abc", weights={"soil_upper": 0.0}, options=QUICK)
    rate = PAPER.index("evaporation_rate")
    assert found.at_bound[rate, 0, :TROPICAL].all() and (found.theta[rate, 0, :TROPICAL] > 3900).all()
    usual = f.fit_free(PAPER, WEATHER, EXACT, "abc", options=QUICK)
    assert not usual.at_bound[rate].any() and not usual.at_bound[SNOW, 0, TROPICAL].any()


def test_noise_widens_standard_errors() -> None:
    options = replace(QUICK, descent=DescentOptions(tolerance=1e-4))
    quiet, loud = (
        f.fit_free(PAPER, WEATHER, reference(WEATHER, TRUTH, noise), "abc", options=options) for noise in (0.05, 0.5)
    )
    both = (quiet.ratio < 0.2) & (loud.ratio < 0.5)
    assert both.sum() > 15 and np.median(loud.standard_error[both] / quiet.standard_error[both]) > 5


def test_runs_know_their_memory() -> None:
    runs = f.month_runs(PAPER, WEATHER, EXACT, 2, 2**24)
    assert runs.targets.shape == (39, 4, 3, 4)  # 10 days, and February of the leap year
    assert np.isnan(runs.targets[:10]).all() and np.isnan(runs.targets[38, :, :, :3]).all()
    one = runs.residuals(np.array([0]), np.tile(Space.of(PAPER.parameters).centre, (1, 17, 1)))
    assert runs.together * 3 * one.nbytes <= 2**24 * 29 / 39 * 1.01


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="weight of soil_lower"):
        f.fit_free(PAPER, WEATHER, EXACT, "abc", weights={"soil_lower": 1.0})
    with pytest.raises(ConfigError, match="weight of snow: -1"):
        f.fit_free(PAPER, WEATHER, EXACT, "abc", weights={"snow": -1.0})
    with pytest.raises(ConfigError, match="no variable"):
        f.fit_free(PAPER, WEATHER, EXACT, "abc", weights=dict.fromkeys(EXACT.values, 0.0))
    with pytest.raises(ConfigError, match="spin-up of 4000 days"):
        f.fit_free(PAPER, WEATHER, EXACT, "abc", spin_up=4000)
    with pytest.raises(InputError, match="expected the same days"):
        f.fit_free(PAPER, WEATHER.days(slice(0, 900)), EXACT, "abc")
    with pytest.raises(InputError, match="fit of month 1: the record 2001-01-01 to 2001-07-09"):
        f.fit_months(PAPER, WEATHER.days(slice(0, 190)), EXACT.days(slice(0, 190)), "abc", options=QUICK)
    with pytest.raises(ConfigError, match="through free runs"):
        constant = tuple(replace(p, monthly=False) for p in PAPER.parameters)
        f.fit_months(replace(PAPER, parameters=constant), WEATHER, EXACT, "abc")
    with pytest.raises(ConfigError, match="method 'anneal'"):
        SearchOptions(method="anneal")  # type: ignore[arg-type]
