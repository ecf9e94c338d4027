"""Records from tables and grids: what stands for the humidity, how water is split, and what real files hold."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import ConfigError, InputError
from sciml.data.catalogue import DAY
from sciml.land.forcing import hamon, joined, saturation_humidity, split_precipitation
from sciml.land.sources import read_records, record
from tests.data.readers.land_tables import caravan_columns, pcrglobwb_columns, write_table


def table(folder: Path, **changed: np.ndarray | None) -> str:
    columns = {name: values for name, values in {**caravan_columns(), **changed}.items() if values is not None}
    return str(write_table(folder / "camelsxx_12.csv.gz", columns, "date"))


DEW, PRESSURE, POTENTIAL = "dewpoint_temperature_2m_mean", "surface_pressure_mean", "potential_evaporation_sum"


def test_a_table_of_caravan_as_a_record(tmp_path: Path) -> None:
    (found,) = read_records("caravan", table(tmp_path))
    columns, forcing = caravan_columns(), found.forcing
    kelvin = columns["temperature_2m_mean"][:, None] + 273.15
    expected = saturation_humidity(kelvin, 95000.0) - saturation_humidity(kelvin - 4, 95000.0)
    np.testing.assert_allclose(forcing.demand, expected, rtol=1e-6)
    assert forcing.demand_kind == "humidity_deficit" and (forcing.demand > 0).all()
    rain, snowfall = split_precipitation(columns["total_precipitation_sum"][:, None], kelvin)
    np.testing.assert_allclose(forcing.rain, rain, atol=1e-7)
    np.testing.assert_allclose(forcing.snowfall, snowfall, atol=1e-7)
    assert set(found.targets.values) == {"snow", "soil_upper", "soil_lower"} and found.targets.stamp == "mean"
    np.testing.assert_allclose(found.streamflow, 1.5)
    assert found.discharge is None and found.names == ("camelsxx_12",)
    (warm,) = read_records("caravan", table(tmp_path), snow_ramp=(200.0, 201.0))
    assert (warm.forcing.snowfall == 0).all()


@pytest.mark.parametrize("lacking", [DEW, PRESSURE])
def test_potential_evaporation_stands_for_a_missing_humidity(tmp_path: Path, lacking: str) -> None:
    (found,) = read_records("caravan", table(tmp_path, **{lacking: None}))
    assert found.forcing.demand_kind == "potential_evaporation"
    np.testing.assert_allclose(found.forcing.demand, 1.9)
    assert any("its potential evaporation stands for the humidity deficit" in note for note in found.notes)
    both = {lacking: None, POTENTIAL: None}
    with pytest.raises(InputError, match=r"and no potential evaporation; expected specific humidity .huss., dew point"):
        read_records("caravan", table(tmp_path, **both))
    (thirsty,) = read_records("pcrglobwb", pcrglobwb(tmp_path))
    assert thirsty.forcing.demand_kind == "potential_evaporation"


def pcrglobwb(folder: Path) -> str:
    return str(write_table(folder / "pred_here.csv.gz", pcrglobwb_columns(), "datetime"))


def test_a_demand_that_is_asked_for_is_given_or_refused(tmp_path: Path) -> None:
    (found,) = read_records("caravan", table(tmp_path), demand="potential_evaporation")
    np.testing.assert_allclose(found.forcing.demand, 1.9)
    with pytest.raises(InputError, match="no humidity; expected specific humidity"):
        read_records("pcrglobwb", pcrglobwb(tmp_path), demand="humidity_deficit")
    with pytest.raises(InputError, match="no latitude, which the day length"):
        read_records("pcrglobwb", pcrglobwb(tmp_path), demand="hamon")
    with pytest.raises(ConfigError, match="source 'matsiro': expected one of pcrglobwb, caravan, grid"):
        read_records("matsiro", pcrglobwb(tmp_path))


def dataset(**variables: float) -> xr.Dataset:
    time = np.arange("1991-01-01", "1991-01-11", dtype="M8[D]").astype("M8[s]")
    ds = xr.Dataset(
        {n: (("time", "cell"), np.full((10, 2), v)) for n, v in variables.items()}, {"time": time, "cell": [7, 8]}
    )
    ds = ds.assign_coords({name: ("cell", np.array([50.0, 51.0])) for name in ("lat", "lon", "area_km2")})
    ds.attrs = {"source": "f.nc", "stamp": "mean"}
    return ds


def test_rain_and_snow_as_sources_give_them() -> None:
    wet = {"tas": 280.0, "evspsblpot": 2 / DAY}
    given = record(dataset(pr=5 / DAY, prsn=2 / DAY, **wet)).forcing
    np.testing.assert_allclose((given.rain[0, 0], given.snowfall[0, 0]), (3, 2))
    more = record(dataset(pr=1 / DAY, prsn=2 / DAY, **wet)).forcing  # packing: never more snow than precipitation
    np.testing.assert_allclose((more.rain[0, 0], more.snowfall[0, 0]), (0, 1))
    apart = record(dataset(prra=5 / DAY, prsn=2 / DAY, **wet)).forcing
    np.testing.assert_allclose((apart.rain[0, 0], apart.snowfall[0, 0]), (5, 2))
    with pytest.raises(InputError, match=r"f.nc: no 'pr': found evspsblpot, tas"):
        record(dataset(**wet))


def test_three_ways_to_the_same_deficit() -> None:
    temperature, pressure, dew = 285.0, 9.5e4, 280.0
    air, full = saturation_humidity(dew, pressure), saturation_humidity(temperature, pressure)
    # vapour pressure from specific humidity: e = q p / (0.622 + 0.378 q)
    relative = (air / (0.622 + 0.378 * air)) / (full / (0.622 + 0.378 * full)) * 100
    for humidity in ({"huss": air}, {"tdps": dew}, {"hurs": relative}):
        found = record(dataset(pr=0.0, tas=temperature, ps=pressure, **humidity)).forcing
        np.testing.assert_allclose(found.demand, full - air, rtol=1e-9)


def test_pcrglobwb_tables_close_their_budget(real_data: Path) -> None:
    """P = E + R + dS to 10 mm a year at Lobith, day by day to a few hundredths of a mm: units, sums and stamps hold."""
    (found,) = read_records("pcrglobwb", str(real_data / "hydro" / "pcrglobwb_rhine" / "pred_lobith.csv.gz"))
    values, water = found.targets.values, found.forcing.precipitation
    storage = sum(values[name] for name in ("snow", "soil_upper", "soil_lower", "groundwater"))[:, 0]
    residual = (water - values["evaporation"] - values["runoff"])[1:, 0] - np.diff(storage)
    assert abs(residual.mean() * 365.25) < 12 and residual.std() < 0.05
    shifted = (water - values["evaporation"] - values["runoff"])[:-1, 0] - np.diff(storage)
    assert shifted.std() > 1  # stores are those at the end of the day
    # the model's own routed discharge carries its runoff from an area within a tenth of the gauge's
    implied = np.nanmean(found.routed_discharge) * DAY / 1e3 / values["runoff"].mean()
    assert implied == pytest.approx(found.forcing.area_km2.item(), rel=0.1)
    assert found.forcing.area_km2.item() == 160800 and 2000 < np.nanmean(found.discharge) < 2700


def test_pcrglobwb_tables_join_and_hamon_is_near_their_potential(real_data: Path) -> None:
    records = read_records("pcrglobwb", str(real_data / "hydro" / "pcrglobwb_rhine" / "pred_*.csv.gz"))
    found = joined(records)
    assert found.names == ("basel", "borgharen", "lobith", "maxau") and len(found.forcing.dates) == 7305
    assert np.isnan(found.discharge[:, 1]).any() and np.nanmin(found.discharge) >= 0  # -999 at Borgharen is missing
    forcing = found.forcing
    own = hamon(forcing.temperature, forcing.dates, forcing.lat)
    for cell in range(4):
        assert np.corrcoef(own[:, cell], forcing.demand[:, cell])[0, 1] > 0.95
        assert own[:, cell].mean() == pytest.approx(forcing.demand[:, cell].mean(), rel=0.15)


def test_caravan_tables_are_weather(real_data: Path) -> None:
    records = read_records("caravan", str(real_data / "hydro" / "caravan" / "*.csv.gz"))
    assert len(records) >= 4
    for found in records:
        forcing = found.forcing
        assert forcing.demand_kind == "humidity_deficit" and 1e-3 < forcing.demand.mean() < 4e-3
        assert (forcing.demand > -1e-3).all() and forcing.area_km2.item() > 0
        assert {"snow", "soil_upper", "soil_lower"} <= set(found.targets.values)
        # of 0.28 and 2.61 m of soil
        assert found.targets.values["soil_upper"].max() < 280 and found.targets.values["soil_lower"].max() < 2610
        runoff = np.nanmean(found.streamflow) / forcing.precipitation.mean()
        assert 0.1 < runoff < 1.0
        np.testing.assert_allclose(found.discharge, found.streamflow * forcing.area_km2 * 1e3 / DAY)


def test_era5_points_hold_humidity_of_three_kinds(real_data: Path) -> None:
    """Cells along `location`; the file's own specific humidity (Sonntag 1990) against ours from its dew point."""
    file = real_data / "hydro" / "era5_points" / "daily_surface_cancities_1990-1993.nc"
    (found,) = read_records("grid", str(file))
    assert found.names[0] == "Halifax" and found.forcing.demand_kind == "humidity_deficit"
    assert set(found.targets.values) == {"snow"} and len(found.forcing.dates) == 1461
    raw = xr.open_dataset(file)
    ours = saturation_humidity(raw["tdps"].values.T.astype(float), raw["ps"].values.T)
    np.testing.assert_allclose(ours, raw["huss"].values.T, rtol=0.03)  # through daily relative humidity
    assert ours.mean() == pytest.approx(raw["huss"].values.mean(), rel=0.01)
    np.testing.assert_allclose(
        found.forcing.precipitation, np.maximum(raw["pr"].values.T, 0) * DAY, rtol=1e-5, atol=1e-6
    )
