"""PCR-GLOBWB's and Caravan's tables: known values, and what each refusal says."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.catalogue import DAY
from sciml.data.readers.caravan import open_caravan
from sciml.data.readers.daily import calendar_of
from sciml.data.readers.pcrglobwb import open_pcrglobwb
from tests.data.readers.land_tables import DATES, caravan_columns, pcrglobwb_columns, weather, write_table


def pcrglobwb(folder: Path, dates: np.ndarray = DATES, **changed: np.ndarray | None) -> xr.Dataset:
    columns = {name: values for name, values in {**pcrglobwb_columns(), **changed}.items() if values is not None}
    write_table(folder / "pred_somewhere.csv.gz", columns, "datetime", dates)
    return open_pcrglobwb(str(folder / "pred_*.csv.gz"))[0]


def caravan(folder: Path, dates: np.ndarray = DATES, **changed: np.ndarray | None) -> xr.Dataset:
    columns = {name: values for name, values in {**caravan_columns(), **changed}.items() if values is not None}
    write_table(folder / "camelsxx_12.csv.gz", columns, "date", dates)
    return open_caravan(str(folder / "camels*.csv.gz"))[0]


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_pcrglobwb_units_become_the_catalogues(tmp_path: Path) -> None:
    ds = pcrglobwb(tmp_path)
    rain, celsius = weather()
    np.testing.assert_allclose(ds["pr"].values[:, 0] * DAY, rain, rtol=1e-8)
    np.testing.assert_allclose(ds["tas"].values[:, 0], celsius + 273.15, rtol=1e-8)
    stores = {"snw": 32, "soil_upper": 60, "soil_lower": 220, "mrgw": 70, "channel_storage": 2e7}
    for name, expected in stores.items():
        np.testing.assert_allclose(ds[name], expected, rtol=1e-8)
    for name, expected in {"mrro": 1.3, "evspsbl": 1.0, "evspsblpot": 1.8}.items():
        np.testing.assert_allclose(ds[name] * DAY, expected, rtol=1e-8)
    assert ds["cell"].values.tolist() == ["somewhere"] and ds.attrs["stamp"] == "end" and "dis" not in ds
    assert np.isnan(ds["area_km2"].item()) and "area is unknown" in ds.attrs["notes"][0]


def test_pcrglobwb_discharge_units_and_place_lie_beside_the_table(tmp_path: Path) -> None:
    observed = np.where(np.arange(len(DATES)) == 5, -999.0, 300.0)
    # starts later than the table: the days before have no discharge
    write_table(
        tmp_path / "q_somewhere.csv.gz", {"obs": observed[3:], "pcr": observed[3:] * 0 + 310}, "datetime", DATES[3:]
    )
    (tmp_path / "unit.txt").write_text("# units\nstorUppTotal mm\ntotalEvaporation  m/day\n")
    (tmp_path / "stationLatLon.csv").write_text("station,x,y,river,area\nSomewhere,50.1,7.2,Rhine,27088\n")
    ds = pcrglobwb(tmp_path, storUppTotal=np.full(len(DATES), 61.0))
    np.testing.assert_allclose(ds["soil_upper"], 61.0)
    assert (ds["lat"].item(), ds["lon"].item(), ds["area_km2"].item()) == (50.1, 7.2, 27088)
    assert np.flatnonzero(np.isnan(ds["dis"].values[:, 0])).tolist() == [0, 1, 2, 5]
    np.testing.assert_array_equal(ds["dis_routed"].values[3:, 0], 310)


def test_caravan_units_become_the_catalogues(tmp_path: Path) -> None:
    (tmp_path / "attributes_other_camelsxx.csv").write_text(
        "gauge_id,gauge_name,country,gauge_lat,gauge_lon,area\ncamelsxx_12,Mill,CH,47.1,8.2,86.4\n"
    )
    ds = caravan(tmp_path)
    rain, celsius = weather()
    np.testing.assert_allclose(ds["pr"].values[:, 0] * DAY, rain, rtol=1e-8)
    np.testing.assert_allclose(ds["tdps"].values[:, 0], celsius - 4 + 273.15, rtol=1e-8)
    np.testing.assert_allclose(ds["ps"], 95000.0)
    np.testing.assert_allclose(ds["snw"], 20.0)
    np.testing.assert_allclose(ds["soil_upper"], 70 * 0.1 + 210 * 0.2)
    np.testing.assert_allclose(ds["soil_lower"], 720 * 0.3 + 1890 * 0.4)
    np.testing.assert_allclose(ds["streamflow"] * DAY, 1.5)
    np.testing.assert_allclose(ds["dis"], 1.5)  # 1 mm a day from 86.4 km2 is 1 m3 s-1
    assert ds.attrs["label"] == "Mill" and "eobs" not in ds and ds.attrs["stamp"] == "mean"


def test_caravan_attributes_where_caravan_puts_them(tmp_path: Path) -> None:
    tables, attributes = tmp_path / "timeseries" / "csv" / "camelsxx", tmp_path / "attributes" / "camelsxx"
    tables.mkdir(parents=True)
    attributes.mkdir(parents=True)
    file = attributes / "attributes_other_camelsxx.csv"
    file.write_text("gauge_id,gauge_lat,gauge_lon,area\ncamelsxx_12,47.1,8.2,86.4\n")
    assert caravan(tables)["area_km2"].item() == 86.4
    file.write_text("gauge_id,gauge_lat,gauge_lon,area\ncamelsxx_12,47.1,8.2,-1\n")
    assert "'camelsxx_12': found area '-1', expected km2 above 0" in refusal(lambda: caravan(tables))
    file.write_text("gauge_id,gauge_lat,gauge_lon,area\ncamelsxx_13,47.1,8.2,86.4\n")
    assert "no area of 'camelsxx_12'" in caravan(tables).attrs["notes"][0]


def test_days_without_weather_at_the_ends_are_left_out(tmp_path: Path) -> None:
    rain, _ = weather()
    rain[:4] = np.nan
    rain[-1] = np.nan
    ds = caravan(tmp_path, total_precipitation_sum=rain)
    assert (ds["time"].values[[0, -1]].astype("M8[D]") == DATES[[4, -2]]).all() and "5 days" in ds.attrs["notes"][0]


def changed(values: np.ndarray, where: int | slice, to: float | np.ndarray) -> np.ndarray:
    out = values.copy()
    out[where] = to
    return out


RAIN, CELSIUS = weather()
BAD = {
    "negative precipitation": (
        changed(RAIN, 40, -3.0),
        None,
        "found -3.* on 1992-01-10.*expected 0 ..*negative amount",
    ),
    "rain in m/day": (RAIN / 1000, None, "1000 x too small: m taken for mm"),
    "rain in kg m-2 s-1": (RAIN / 86400, None, "86400 x too small: a rate per second"),
    "a spike": (changed(RAIN, 50, 1e9), None, "on 1992-01-20, expected 0 .. 2000.*check unit and fill value"),
    "kelvin from a day on": (
        None,
        changed(CELSIUS, slice(100, None), CELSIUS[100:] + 273.15),
        "on 1992-03-10 and 355 more",
    ),
    "kelvin throughout": (None, CELSIUS + 273.15, "K among degC in 456 of 456 values: give the whole series one unit"),
    "a gap": (changed(RAIN, slice(60, 63), np.nan), None, "no value on 1992-01-30 .and on 2 more days"),
    "infinite": (changed(RAIN, 7, np.inf), None, "line 9: found 'inf', expected a finite number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_weather_is_refused_in_both_tables(tmp_path: Path, case: str) -> None:
    rain, celsius, said = BAD[case]
    rain, celsius = RAIN if rain is None else rain, CELSIUS if celsius is None else celsius
    text = refusal(lambda: caravan(tmp_path, total_precipitation_sum=rain, temperature_2m_mean=celsius))
    assert "camelsxx_12.csv.gz" in text and ("total_precipitation_sum" in text or "temperature_2m_mean" in text)
    assert re.search(said, text)
    scaled = rain / 1000  # PCR-GLOBWB writes metres
    text = refusal(lambda: pcrglobwb(tmp_path, p=scaled, t=celsius))
    assert "pred_somewhere.csv.gz" in text and ("'p'" in text or "'t'" in text)


def test_millimetres_in_a_table_of_metres_are_refused(tmp_path: Path) -> None:
    assert "1000 x too large: mm taken for m" in refusal(lambda: pcrglobwb(tmp_path, p=RAIN))
    assert "mm taken for m" in refusal(lambda: pcrglobwb(tmp_path, storGroundwater=np.full(len(DATES), 70.0)))


def test_soil_water_is_a_fraction(tmp_path: Path) -> None:
    layer = "volumetric_soil_water_layer_3_mean"
    text = refusal(lambda: caravan(tmp_path, **{layer: np.full(len(DATES), 31.0)}))
    assert f"'{layer}': found 31 on 1991-12-01, expected 0 .. 1 m3 m-3" in text


def test_missing_rows_are_named(tmp_path: Path) -> None:
    columns = {name: values[np.r_[0:80, 90:456]] for name, values in caravan_columns().items()}
    file = write_table(tmp_path / "camelsxx_12.csv", columns, "date", DATES[np.r_[0:80, 90:456]])
    text = refusal(lambda: open_caravan(str(file)))
    assert "no 1992-02-19 (first of 10 missing days between 1991-12-01 and 1993-02-28); expected a day a step" in text


def test_a_series_without_any_29_february_is_a_calendar_not_a_gap(tmp_path: Path) -> None:
    keep = DATES != np.datetime64("1992-02-29")
    columns = {name: values[keep] for name, values in caravan_columns().items()}
    file = write_table(tmp_path / "camelsxx_12.csv", columns, "date", DATES[keep])
    assert open_caravan(str(file))[0].attrs["calendar"] == "noleap"
    assert calendar_of(DATES, file="f") == "standard"
    years = np.arange("1991-01-01", "1997-01-01", dtype="M8[D]")
    with pytest.raises(InputError, match=r"no 1992-02-29 \(first of 1 missing"):  # 1996 has its own: a gap
        calendar_of(years[years != np.datetime64("1992-02-29")], file="f")


def test_a_day_twice_is_refused_and_disorder_is_not(tmp_path: Path) -> None:
    dates = DATES.copy()
    dates[11] = dates[10]
    assert "1991-12-11 is there twice (first of 1 such days)" in refusal(lambda: caravan(tmp_path, dates))
    backwards = {name: values[::-1] for name, values in caravan_columns().items()}
    file = write_table(tmp_path / "camelsxx_12.csv", backwards, "date", DATES[::-1])
    np.testing.assert_allclose(open_caravan(str(file))[0]["pr"].values[:, 0] * DAY, RAIN, rtol=1e-8)


def test_damaged_tables_and_tables_of_another_kind(tmp_path: Path) -> None:
    caravan(tmp_path)
    file = tmp_path / "camelsxx_12.csv.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "truncated or damaged? fetch it again" in refusal(lambda: open_caravan(str(file)))
    file.write_bytes(whole[:60] + bytes(40) + whole[100:])
    assert "truncated or damaged? fetch it again" in refusal(lambda: open_caravan(str(file)))
    write_table(file, pcrglobwb_columns(), "datetime")
    text = refusal(lambda: open_caravan(str(file)))
    assert "column 'date', 'total_precipitation_sum', 'temperature_2m_mean' missing; a table of Caravan" in text
    write_table(file, caravan_columns(), "date")
    assert "a table of PCR-GLOBWB expected it; found date" in refusal(lambda: open_pcrglobwb(str(file)))
    file.write_bytes(gzip.compress(b"date,total_precipitation_sum,temperature_2m_mean\n1991-12-01,a lot,3\n"))
    assert "line 2: found 'a lot', expected a finite number" in refusal(lambda: open_caravan(str(file)))
    file.write_bytes(gzip.compress(b"date,total_precipitation_sum,temperature_2m_mean\nyesterday,1,3\n"))
    assert "line 2: found 'yesterday', expected YYYY-MM-DD" in refusal(lambda: open_caravan(str(file)))
    file.write_bytes(gzip.compress(b"date,total_precipitation_sum,temperature_2m_mean\n"))
    assert "no row below the header" in refusal(lambda: open_caravan(str(file)))
    assert "no such file" in refusal(lambda: open_caravan(str(tmp_path / "absent.csv")))
