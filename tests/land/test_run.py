"""Runs: the compiled loop against torch and NumPy, cut in two, with candidates, scored, for a century."""

from dataclasses import dataclass
from itertools import pairwise
from types import FunctionType

import numpy as np
import pytest
import torch

from sciml.core.errors import ConfigError, InputError
from sciml.land import compiled, equations
from sciml.land.models import CLOSED, MODELS, PAPER, Model, Scheme
from sciml.land.run import chain, humidity_deficit, months_of, simulate, squared_errors, step_days

ALL = [(model, scheme) for model in MODELS.values() for scheme in model.steps]


@dataclass(frozen=True, eq=False)
class Weather:
    dates: np.ndarray
    rain: np.ndarray
    snowfall: np.ndarray
    temperature: np.ndarray
    demand: np.ndarray

    def between(self, start: int, stop: int) -> "Weather":
        return Weather(**{name: value[start:stop] for name, value in vars(self).items()})

    def at(self, cells: slice) -> "Weather":
        return Weather(**{n: v if n == "dates" else v[:, cells] for n, v in vars(self).items()})


def weather(days: int, cells: int, seed: int = 0, start: str = "2001-01-20") -> Weather:
    rng = np.random.default_rng(seed)
    dates = np.datetime64(start) + np.arange(days)
    season = 12 * np.cos(2 * np.pi * (np.arange(days)[:, None] - 200) / 365.25)
    temperature = rng.uniform(260, 298, cells) + season + rng.normal(0, 3, (days, cells))
    water = rng.exponential(9, (days, cells)) * (rng.random((days, cells)) < 0.35)
    cold = temperature < 273.15
    deficit = np.where(cold, 1e-4, 6e-4 * (temperature - 270)) * rng.uniform(0, 1, (days, cells))
    return Weather(dates, np.where(cold, 0, water), np.where(cold, water, 0), temperature, deficit)


def drawn(model: Model, shape: tuple[int, ...], seed: int = 3) -> np.ndarray:
    """theta (parameter, *shape) around the priors, within the bounds."""
    rng = np.random.default_rng(seed)
    rows = [np.clip(p.prior * rng.uniform(0.7, 1.3, shape), p.low, p.high) for p in model.parameters]
    rows[model.index("melt_temperature")] = rng.uniform(271, 275, shape)
    return np.array(rows)


@pytest.mark.parametrize(("model", "scheme"), ALL, ids=lambda x: x if isinstance(x, str) else x.name)
def test_compiled_equals_torch_and_numpy(model: Model, scheme: Scheme) -> None:
    sky, theta = weather(150, 21), drawn(model, (12, 21))
    everything = model.states + model.fluxes
    state = model.start(21)
    one, end = simulate(model, sky, theta, state, scheme=scheme, outputs=everything)
    two, other = simulate(model, sky, theta, state, scheme=scheme, outputs=everything, backend="torch")
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(end, other, rtol=1e-10, atol=1e-10)
    now = tuple(state)
    for t, month in enumerate(months_of(sky.dates)):
        forcing = (sky.rain[t], sky.snowfall[t], sky.temperature[t], sky.demand[t])
        now, _ = model.steps[scheme](now, forcing, tuple(theta[:, month]), 1.0)
    np.testing.assert_allclose(end, np.array(now), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scheme", PAPER.steps)
def test_a_run_cut_in_two_is_the_whole_bit_for_bit(scheme: Scheme) -> None:
    cells = 300  # more than a block
    sky, theta = weather(120, cells), drawn(CLOSED, (12, cells))
    whole, end = simulate(CLOSED, sky, theta, CLOSED.start(cells), scheme=scheme)
    for cut in (1, 47, 64):
        pieces = list(chain(CLOSED, [sky.between(0, cut), sky.between(cut, 120)], theta, CLOSED.start(cells),
                            scheme=scheme))  # fmt: skip
        np.testing.assert_array_equal(np.concatenate([values for _, values, _ in pieces]), whole)
        np.testing.assert_array_equal(pieces[-1][2], end)


def test_a_cell_does_not_know_its_neighbours() -> None:
    cells = 2 * compiled.WIDTH + 5
    sky, theta = weather(60, cells), drawn(PAPER, (1, cells))
    whole, _ = simulate(PAPER, sky, theta, PAPER.start(cells))
    for a, b in ((0, 1), (3, 11), (compiled.WIDTH - 1, compiled.WIDTH + 2), (cells - 1, cells)):
        alone, _ = simulate(PAPER, sky.at(slice(a, b)), theta[..., a:b], PAPER.start(b - a))
        np.testing.assert_array_equal(alone, whole[..., a:b])


@pytest.mark.parametrize("cells", [1, 7, compiled.WIDTH + 3])
def test_candidates_are_runs_of_their_own(cells: int) -> None:
    count = 41 if cells < 10 else 3  # few cells: candidates fill more than one block
    sky, theta = weather(70, cells), drawn(PAPER, (12, count, cells))
    begin = PAPER.start(cells) + 5.0
    values, end = simulate(PAPER, sky, theta, begin)
    assert values.shape == (70, len(PAPER.outputs), count, cells) and end.shape == (3, count, cells)
    for k in (0, count - 1):
        alone, last = simulate(PAPER, sky, theta[:, :, k], begin)
        np.testing.assert_array_equal(values[:, :, k], alone)
        np.testing.assert_array_equal(end[:, k], last)
    by_torch, _ = simulate(PAPER, sky, theta, begin, backend="torch")
    np.testing.assert_allclose(values, by_torch, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cells", [2, compiled.WIDTH + 3])
def test_squared_errors_are_those_of_the_outputs(cells: int) -> None:
    names, rng = ("runoff", "snow", "soil_upper"), np.random.default_rng(5)
    sky, theta = weather(80, cells), drawn(PAPER, (12, 6, cells))
    values, end = simulate(PAPER, sky, theta, PAPER.start(cells), outputs=names)
    targets = rng.uniform(0, 100, (80, 3, cells))
    targets[rng.random(targets.shape) < 0.2] = np.nan
    weights = rng.uniform(0, 2, (3, cells))
    errors, last = squared_errors(PAPER, sky, theta, PAPER.start(cells), targets, weights, names)
    expected = np.nansum(weights[:, None] * (values - targets[:, :, None]) ** 2, axis=(0, 1))
    np.testing.assert_allclose(errors, expected, rtol=1e-12)
    np.testing.assert_array_equal(last, end)
    single, _ = squared_errors(PAPER, sky, theta[:, :, 2], PAPER.start(cells), targets, weights[:, 0], names)
    flat, _ = squared_errors(PAPER, sky, theta[:, :, 2], PAPER.start(cells), targets,
                             np.repeat(weights[:, :1], cells, 1), names)  # fmt: skip
    np.testing.assert_array_equal(single, flat)
    assert single.shape == (cells,)


def test_a_century_of_the_closed_model_keeps_its_water() -> None:
    cells = 64
    first = np.random.default_rng(0).uniform(0, 200, (4, cells))
    theta = drawn(CLOSED, (12, cells))
    gained, scale = np.zeros(cells), np.zeros(cells)
    names = ("evaporation", "runoff")
    years = [np.datetime64(f"{y}-01-01") for y in range(1901, 2002)]
    skies = (weather(int((b - a).astype(int)), cells, i, str(a)) for i, (a, b) in enumerate(pairwise(years)))
    buffer = np.empty((366, 2, cells))
    for sky, values, last in chain(CLOSED, skies, theta, first, outputs=names, buffer=buffer):  # noqa: B007
        assert values.base is buffer or values is buffer
        rain = (sky.rain + sky.snowfall).sum(0)
        gained += rain - values.sum((0, 1))
        scale += rain
    assert np.all(np.abs(gained - (last - first).sum(0)) < 1e-10 * scale)
    assert np.all(scale > 1e4)


def test_gradients_of_a_run_against_differences() -> None:
    sky, cells = weather(60, 3, start="2001-03-01"), 3
    base = drawn(PAPER, (1, cells))
    begin = np.array([[40.0, 5.0, 0.0], [150.0] * 3, [10.0] * 3])
    theta = torch.tensor(base, requires_grad=True)
    values, _ = simulate(PAPER, sky, theta, begin, backend="torch")
    weight = torch.tensor(np.random.default_rng(2).normal(size=values.shape))
    (gradient,) = torch.autograd.grad((weight * values).sum(), theta)
    assert torch.isfinite(gradient).all()

    def total(shift: np.ndarray) -> np.ndarray:
        run, _ = simulate(PAPER, sky, base + shift, begin, check=False)
        return (weight.numpy() * run).sum((0, 1))

    for j, p in enumerate(PAPER.parameters):
        shift = np.zeros_like(base)
        shift[j] = 1e-6 * max(p.prior, 1e-2)
        difference = (total(shift) - total(-shift)) / (2 * shift[j, 0])
        np.testing.assert_allclose(gradient[j, 0], difference, rtol=2e-4, atol=1e-5 * np.abs(difference).max() + 1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("model", "scheme"), ALL, ids=lambda x: x if isinstance(x, str) else x.name)
def test_the_gpu_agrees(model: Model, scheme: Scheme) -> None:
    sky, theta = weather(60, 33), drawn(model, (12, 2, 33))
    here, _ = simulate(model, sky, theta, model.start(33), scheme=scheme)
    there, _ = simulate(model, sky, theta, model.start(33), scheme=scheme, backend="torch", device="cuda")
    np.testing.assert_allclose(here, there, rtol=1e-9, atol=1e-9)


def test_single_precision_in_and_out_is_rounded_double_arithmetic() -> None:
    sky, theta = weather(40, 10), drawn(PAPER, (1, 10))
    single = Weather(sky.dates, *(getattr(sky, n).astype(np.float32) for n in PAPER.forcings))
    double = Weather(sky.dates, *(getattr(single, n).astype(float) for n in PAPER.forcings))
    out = np.empty((40, len(PAPER.outputs), 10), np.float32)
    values, end = simulate(PAPER, single, theta, PAPER.start(10), out=out)
    expected, last = simulate(PAPER, double, theta, PAPER.start(10))
    assert values is out
    np.testing.assert_array_equal(out, expected.astype(np.float32))
    np.testing.assert_array_equal(end, last)


def test_months_follow_the_dates_and_steps_may_be_longer_than_a_day() -> None:
    theta = PAPER.prior(1, 12)
    theta[PAPER.index("baseflow_rate"), :, 0] = np.arange(12.0)
    dates = np.arange("2003-12-30", "2004-03-03", dtype="datetime64[D]")
    zero = np.zeros((len(dates), 1))
    sky = Weather(dates, zero, zero, zero + 260, zero)
    values, _ = simulate(PAPER, sky, theta, PAPER.start(1), outputs=["runoff"])
    expected = [11.0] * 2 + [0.0] * 31 + [1.0] * 29 + [2.0] * 2
    np.testing.assert_array_equal(values[:, 0, 0], expected)
    long = Weather(dates[::5], zero[::5], zero[::5] + 4, zero[::5] + 260, zero[::5])
    assert step_days(long.dates) == 5.0
    _, end = simulate(PAPER, long, theta, PAPER.start(1))
    np.testing.assert_allclose(end[0], 4 * 5.0 * len(long.dates))


def test_exponential_power_and_saturation_of_the_compiled_loop() -> None:
    import numba

    exp, power = compiled.NAMES["exp"], compiled.NAMES["power"]

    @numba.njit
    def both(x: np.ndarray, y: np.ndarray, raised: np.ndarray, exponent: np.ndarray) -> None:
        for i in range(len(x)):
            y[i] = exp(x[i])
            raised[i] = power(x[i] * x[i], exponent[i])

    rng = np.random.default_rng(0)
    x, exponent = rng.uniform(-700, 700, 20_000), rng.uniform(0, 3, 20_000)
    y, raised = np.empty_like(x), np.empty_like(x)
    both(x, y, raised, exponent)
    np.testing.assert_allclose(y, np.exp(x), rtol=1e-14)
    np.testing.assert_allclose(raised, (x * x) ** exponent, rtol=1e-13)
    both(np.array([-1e4, 0.0, 1e4]), y, raised, exponent)
    assert y[0] < 1e-300 and y[1] == 1.0 and y[2] > 1e300
    kelvin, pascal = rng.uniform(220, 320, (3, 50)), rng.uniform(5e4, 1.05e5, (3, 50))
    expected = equations.saturation_humidity(kelvin, pascal) - 0.003
    np.testing.assert_allclose(humidity_deficit(kelvin, pascal, np.full((3, 50), 0.003)), expected, rtol=1e-12)


def test_refusals_name_the_place() -> None:
    sky, theta, state = weather(5, 4), PAPER.prior(4), PAPER.start(4)
    with pytest.raises(InputError, match=r"2001-01-24 follows 2001-01-21, expected steps of 1 days"):
        dates = np.array(["2001-01-20", "2001-01-21", "2001-01-24"], "datetime64[D]")
        part = sky.between(0, 3)
        simulate(PAPER, Weather(dates, *(getattr(part, n) for n in PAPER.forcings)), theta, state)
    with pytest.raises(InputError, match=r"state of model paper: shape \(4, 1, 4\).*snow, soil_upper, wetland"):
        simulate(PAPER, sky, theta, CLOSED.start(4))
    with pytest.raises(InputError, match=r"forcing rain: shape \(5, 4\), expected \(time, cell\) \(5, 3\)"):
        simulate(PAPER, sky, PAPER.prior(3), PAPER.start(3))
    with pytest.raises(InputError, match=r"melt_rate \(b\) of model paper: -1 .* at cell 2, month 7; expected"):
        bad = PAPER.prior(4, 12)
        bad[1, 6, 2] = -1.0
        simulate(PAPER, sky, bad, state)
    with pytest.raises(ConfigError, match="no state or flux 'rain'"):
        simulate(PAPER, sky, theta, state, outputs=["rain"])
    with pytest.raises(ConfigError, match="backend 'compiled' on device 'cuda'"):
        simulate(PAPER, sky, theta, state, device="cuda")
    with pytest.raises(InputError, match="targets: shape"):
        squared_errors(PAPER, sky, theta, state, np.zeros((4, 1, 4)), np.ones(1), ["runoff"])


def _times(x: float) -> float:
    return x * SCALE  # noqa: F821


def _plus(x: float) -> float:
    return x + SCALE  # noqa: F821


def _calls(x: float) -> float:
    return helper(x)  # noqa: F821


def test_yesterdays_machine_code_is_not_found_for_other_equations() -> None:
    digests = set()
    for inner in (_times, _plus):
        for scale in (2.0, 3.0):
            helper = FunctionType(inner.__code__, {"SCALE": scale}, "helper")
            step = FunctionType(_calls.__code__, {"helper": helper}, "step")
            assert compiled._digest(step) == compiled._digest(step)
            digests.add(compiled._digest(step))
    assert len(digests) == 4
