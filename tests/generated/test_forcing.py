"""Weather of the generated Earth: fields with the asked correlation, climates with the asked rain, errors of the asked
size."""

import numpy as np
import pytest

from sciml.core.grid import cell_area_km2, great_circle_km
from sciml.generated import fields, forcing, predictors
from sciml.generated.forcing import CLIMATES, Land

ROW, COLUMN = np.divmod(np.arange(120), 12)
LATITUDE, LONGITUDE = 30.25 + ROW / 2, 0.25 + COLUMN / 2
DAYS = np.arange("2001-01-01", "2009-01-01", dtype="datetime64[D]")


def land(elevation: np.ndarray | float = 300.0) -> Land:
    return Land(LATITUDE, LONGITUDE, cell_area_km2(LATITUDE, 0.5), np.broadcast_to(elevation, LATITUDE.shape).copy())


def test_fields_have_the_correlation_and_the_memory_that_was_asked() -> None:
    pattern = fields.modes(LATITUDE, LONGITUDE, 150.0)
    np.testing.assert_allclose((pattern**2).sum(axis=1), 1.0)
    distance = great_circle_km(LATITUDE[0], LONGITUDE[0], LATITUDE, LONGITUDE)
    np.testing.assert_allclose(pattern @ pattern[0], np.exp(-((distance / 150.0) ** 2) / 2), atol=0.03)
    drawn = fields.persistent(pattern, 6000, 20.0, np.random.default_rng(0))
    assert drawn.std() == pytest.approx(1.0, abs=0.05)
    assert (drawn[20:] * drawn[:-20]).mean() == pytest.approx(np.exp(-1), abs=0.06)
    assert abs(drawn[0].std() - 1) < 0.7  # stationary from the first day: no start from zero


@pytest.mark.parametrize("climate", CLIMATES, ids=lambda c: c.name)
def test_rain_and_warmth_are_the_climates_own(climate: forcing.Climate) -> None:
    sky = forcing.weather(climate, land(climate.elevation_m), DAYS, np.random.default_rng(1))
    yearly = sky.precipitation.mean() * 365.25
    assert 0.65 * climate.rain < yearly < 1.5 * climate.rain  # eight years of a climate with dry and wet years
    assert abs(sky.temperature.mean() - (climate.temperature - 0.006 * climate.elevation_m)) < 2.5
    dry = (sky.precipitation == 0).mean()
    assert abs(dry - (1 - climate.wet_share)) < 0.05
    for field in (sky.precipitation, sky.net_radiation):
        assert (field >= 0).all()
    assert (sky.relative_humidity > 0).all() and (sky.relative_humidity <= 1).all()


def test_the_monsoon_comes_in_its_season() -> None:
    monsoon = next(c for c in CLIMATES if c.name == "monsoon")
    sky = forcing.weather(monsoon, land(), DAYS, np.random.default_rng(1))
    month = DAYS.astype("datetime64[M]").astype(int) % 12
    rain = np.array([sky.precipitation[month == m].mean() for m in range(12)])
    assert rain[[6, 7]].mean() > 8 * rain[[0, 1]].mean()


def test_mountains_are_wetter_and_colder() -> None:
    high = land(np.where(COLUMN < 6, 200.0, 1200.0))
    sky = forcing.weather(CLIMATES[0], high, DAYS, np.random.default_rng(2))
    up, down = (sky.temperature[:, side].mean() for side in (COLUMN >= 6, COLUMN < 6))
    assert up - down == pytest.approx(-6.0, abs=0.5)
    ratio = sky.precipitation[:, COLUMN >= 6].mean() / sky.precipitation[:, COLUMN < 6].mean()
    assert 1.3 < ratio < 2.6  # e^0.6 = 1.8, times texture


def test_precipitation_of_model_b_is_wrong_by_the_asked_share_and_not_biased() -> None:
    rain = np.ones((4000, len(LATITUDE)), np.float32)
    seen = predictors.perturbed(rain, land(), 0.25, np.random.default_rng(3))
    assert np.log(seen).std() == pytest.approx(0.25, abs=0.05)
    tiles = [predictors.perturbed(rain[:400], land(), 0.25, np.random.default_rng(k)).mean() for k in range(20)]
    assert np.mean(tiles) == pytest.approx(1.0, abs=0.05)
    passing = np.log(seen) - np.log(seen).mean(axis=0)
    assert np.corrcoef(passing[:-10].ravel(), passing[10:].ravel())[0, 1] == pytest.approx(np.exp(-1), abs=0.08)
    assert np.corrcoef(passing[:, 0], passing[:, 1])[0, 1] > 0.9
