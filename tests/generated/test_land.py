"""Reference land models of the generated Earth: model A's record, and models with planted parameters."""

from dataclasses import replace

import numpy as np
import pytest

from sciml.generated import land
from sciml.generated.forcing import CLIMATES
from sciml.land.forcing import Record
from sciml.land.models import check_parameters
from sciml.land.registry import MODELS
from sciml.land.run import simulate
from sciml.land.steps import FREELY

CONFIG = land.LandConfig(seed=3, cells=2, first="1998-01", stop="2000-01")


@pytest.fixture(scope="module")
def record() -> Record:
    return land.record(CONFIG)


def test_cells_of_three_climates_each_day(record: Record) -> None:
    assert record.names == tuple(f"{CLIMATES[tile].name} {k}" for tile in land.KINDS for k in (1, 2))
    dates = record.forcing.dates
    assert str(dates[0]) == "1998-01-01" and str(dates[-1]) == "1999-12-31" and (np.diff(dates).astype(int) == 1).all()
    assert len(set(zip(record.forcing.lat, record.forcing.lon, strict=True))) == 6
    for values in record.targets.values.values():
        assert values.shape == (730, 6) and np.isfinite(values).all()


def test_the_weather_is_in_the_emulators_units(record: Record) -> None:
    sky = record.forcing
    mean = sky.precipitation.mean(axis=0) * 365.25
    expected = np.repeat([CLIMATES[tile].rain for tile in land.KINDS], 2)
    assert ((mean > 0.5 * expected) & (mean < 2 * expected)).all()  # two years; mountains are wetter than their tile
    assert 230 < sky.temperature.min() and sky.temperature.max() < 325
    assert sky.demand_kind == "humidity_deficit" and 0 <= sky.demand.min() and sky.demand.max() < 0.05
    assert (sky.snowfall[sky.temperature > 275.2] == 0).all() and (sky.rain[sky.temperature < 273.1] == 0).all()


def test_model_a_keeps_its_water_within_what_it_is_said_to_take(record: Record) -> None:
    """Rain and snow become evaporation, runoff and change of stores; abstraction and rivers are small beside them."""
    values, sky = record.targets.values, record.forcing
    came = sky.precipitation[1:].sum(axis=0)
    gone = (values["runoff"] + values["evaporation"])[1:].sum(axis=0)
    stores = sum(values[name][-1] - values[name][0] for name in ("snow", "soil_upper", "groundwater"))
    assert (np.abs(came - gone - stores) < 0.1 * came).all()


def test_a_seed_is_a_record(record: Record) -> None:
    again, other = land.record(CONFIG), land.record(replace(CONFIG, seed=4))
    np.testing.assert_array_equal(again.forcing.rain, record.forcing.rain)
    np.testing.assert_array_equal(again.targets.values["runoff"], record.targets.values["runoff"])
    assert (other.forcing.rain != record.forcing.rain).any()


@pytest.mark.parametrize("name", MODELS)
def test_planted_parameters_lie_within_bounds_and_differ_between_cells(name: str) -> None:
    model = MODELS[name]
    theta = land.planted_theta(model, ("A", "B", "C"), seed=1)
    check_parameters(model, theta)
    assert theta.shape[1] == (1 if name in FREELY else 12)  # as it is fitted
    assert (theta[:, 0, 0] != theta[:, 0, 1]).all()
    np.testing.assert_array_equal(land.planted_theta(model, ("C",), seed=1)[..., 0], theta[..., 2])
    for row, p in enumerate(model.parameters):
        assert p.monthly or (theta[row] == theta[row, :1]).all()


@pytest.mark.parametrize("name", ["sciml", "paper"])
def test_a_planted_record_is_the_models_own_run(name: str, record: Record) -> None:
    model = MODELS[name]
    planted, theta = land.planted_record(model, record, seed=2)
    assert planted.names == record.names and planted.forcing is record.forcing
    assert set(planted.targets.values) == set(model.outputs) & set(record.targets.values)
    state = model.start(6)
    for _ in range(3):
        _, state = simulate(model, record.forcing.days(slice(0, 365)), theta, state)
    runoff, _ = simulate(model, record.forcing, theta, state, outputs=("runoff",))
    np.testing.assert_array_equal(planted.targets.values["runoff"], runoff[:, 0])


def test_made_gives_what_its_settings_say(record: Record) -> None:
    (one,) = land.made(CONFIG)
    np.testing.assert_array_equal(one.targets.values["snow"], record.targets.values["snow"])
    (two,) = land.made(land.PlantedConfig(CONFIG, "linear_reservoir"))
    assert set(two.targets.values) <= set(MODELS["linear_reservoir"].outputs) and two.names == record.names
