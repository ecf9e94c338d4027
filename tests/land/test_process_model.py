"""Model A closes its budget, in each cell and down the river, and stays within its limits."""

import numpy as np
import pytest

from sciml.land import process_model as a

CELLS = 12
NORTH = np.ones(CELLS)


def parameters(**changed: float) -> a.Parameters:
    rng = np.random.default_rng(1)
    middle = {
        "canopy_capacity": 1.5,
        "snow_temperature": 274.0,
        "melt_factor": 3.5,
        "soil_capacity": 220.0,
        "soil_shape": 2.0,
        "stress": 0.6,
        "quick_share": 0.4,
        "percolation": 1.0,
        "groundwater_base": 500.0,
        "groundwater_days": 120.0,
        "capillary": 0.4,
        "river_days": 1.3,
        "bankfull": 5.0,
        "floodplain_delay": 2.0,
        "irrigated": 0.3,
    } | changed
    spread = {name: value * rng.uniform(0.99, 1.01, CELLS) for name, value in middle.items()}
    return a.Parameters(**spread, hemisphere=NORTH)


def forcing(days: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.3, 12.0, (days, CELLS))
    season = np.cos(2 * np.pi * (np.arange(days) - 172) / 365)
    temperature = 278.0 + 14.0 * season[:, None] + rng.normal(0, 3, (days, CELLS))
    return rain, temperature, 90.0 + 80.0 * season[:, None] + np.zeros((days, CELLS)), season


CHAIN = np.append(np.arange(1, CELLS), CELLS)  # each cell drains to the next, the last one to the sea
AREA = np.linspace(2000.0, 3000.0, CELLS)


def test_every_cell_and_every_day_closes() -> None:
    p = parameters()
    rain, temperature, radiation, season = forcing(800)
    before = a.initial_state(p)
    worst, scale = 0.0, 0.0
    for day, (state, f) in enumerate(a.run(before, rain, temperature, radiation, season, p, CHAIN, AREA)):
        residual = state.total - before.total - (rain[day] + f.inflow - f.evaporation - f.outflow)
        worst, scale = max(worst, np.abs(residual).max()), max(scale, state.total.max())
        before = state
    assert worst < 1e-9 * scale


def test_the_domain_loses_water_to_air_and_sea_alone() -> None:
    p = parameters()
    rain, temperature, radiation, season = forcing(800)
    start = a.initial_state(p)
    air = sea = 0.0
    state = start
    for state, f in a.run(start, rain, temperature, radiation, season, p, CHAIN, AREA):  # noqa: B007
        air += float(AREA @ f.evaporation)
        sea += float(AREA[-1] * f.outflow[-1])
    gained = float(AREA @ rain.sum(axis=0)) - air - sea
    assert gained == pytest.approx(float(AREA @ (state.total - start.total)), rel=1e-9)
    assert sea > 0


def test_storage_stays_in_its_limits() -> None:
    p = parameters()
    rain, temperature, radiation, season = forcing(800)
    snow_seen = False
    for state, f in a.run(a.initial_state(p), rain, temperature, radiation, season, p, CHAIN, AREA):
        for store in (state.canopy, state.snow, state.soil, state.groundwater, state.river):
            assert (store >= 0).all()
        assert (state.soil <= p.soil_capacity * (1 + 1e-12) + p.capillary).all()
        assert (state.canopy <= p.canopy_capacity).all()
        assert (f.evaporation >= 0).all()
        snow_seen |= bool((state.snow > 20).any())
    assert snow_seen


def test_irrigation_alone_draws_groundwater_below_its_base() -> None:
    rain, temperature, radiation, season = forcing(3 * 365)
    rain[:] = 0.2
    levels = {}
    for share in (0.0, 0.6):
        p = parameters(irrigated=share)
        *_, (state, _) = a.run(a.initial_state(p), rain, temperature, radiation, season, p, CHAIN, AREA)
        levels[share] = state.groundwater - p.groundwater_base
    assert (levels[0.0] >= 0).all()
    assert (levels[0.6] < -20).all()


def test_a_wave_travels_down_the_river() -> None:
    p = parameters()
    dry = np.zeros(CELLS)
    state = a.initial_state(p)
    state = a.State(dry, dry, dry, dry, np.eye(CELLS)[0] * 100.0)
    warm, nothing = np.full(CELLS, 290.0), np.zeros(CELLS)
    centre = []
    for _ in range(6):
        state, _ = a.step(state, nothing, warm, nothing, 0.0, p, CHAIN, AREA)
        volume = state.river * AREA
        centre.append(float(volume @ np.arange(CELLS) / volume.sum()))
    assert (np.diff(centre) > 0).all()


def test_too_fast_a_store_is_refused() -> None:
    with pytest.raises(ValueError, match="river_days"):
        a.checked(parameters(river_days=0.5))
