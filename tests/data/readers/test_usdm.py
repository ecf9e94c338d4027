"""Drought classes by county and week: both layouts, and what can be wrong with them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers import counties, usdm

SHARES = np.array([[0.5, 0.2], [0.2, 0.0], [0.1, 0.0], [0.0, 0.0], [0.2, 0.0]])  # (class, county)
WEEKS = np.array(["2015-01-06", "2015-01-27", "2015-02-03"], "M8[ns]")


def netcdf(folder: Path, *, county=(1001, 48001), weeks=WEEKS, shares=SHARES, **names) -> str:
    values = np.repeat(shares[:, :, None], len(weeks), axis=2).astype("f4")
    data = {names.get("variable", "area_fraction"): (("category", "county", "time"), values)}
    file = str(folder / "usdm.nc")
    xr.Dataset(data, {"category": list(usdm.CLASSES), "county": list(county), "time": weeks}).to_netcdf(file)
    return file


def table(kind: int = 1, shares=SHARES) -> pd.DataFrame:
    percent = 100 * (shares[::-1].cumsum(axis=0)[::-1] if kind == 1 else shares)
    rows = []
    for week in WEEKS:
        for number, code in enumerate((1001, 48001)):
            day = pd.Timestamp(week).strftime("%Y%m%d")
            rows.append([day, code, "X County", "XX", 0, *percent[:, number], day, day, kind])
    columns = ["MapDate", "FIPS", "County", "State", "None", *usdm.CLASSES, "ValidStart", "ValidEnd"]
    return pd.DataFrame(rows, columns=[*columns, "StatisticFormatID"])


def write(frame: pd.DataFrame, folder: Path) -> str:
    frame.to_csv(folder / "usdm.csv", index=False)
    return str(folder / "usdm.csv")


def test_lost_zeros_come_back_and_both_layouts_agree(tmp_path):
    found = usdm.read(netcdf(tmp_path))
    assert list(found["fips"].values) == ["01001", "48001"]
    np.testing.assert_allclose(found["area_fraction"].values[:, :, 0], SHARES, atol=1e-6)
    for kind in (1, 2):
        again = usdm.read(write(table(kind), tmp_path))
        np.testing.assert_allclose(again["area_fraction"].values, found["area_fraction"].values, atol=1e-6)
        np.testing.assert_array_equal(again["week"].values, found["week"].values)


def test_index_counts_classes_from_1_to_5():
    np.testing.assert_allclose(usdm.dsci(np.eye(5)), [100, 200, 300, 400, 500])
    np.testing.assert_allclose(usdm.dsci(SHARES), [50 + 40 + 30 + 100, 20])


def test_months_are_means_of_their_weeks():
    values = np.array([[1.0, 3.0, 5.0], [np.nan, 4.0, np.nan]])
    months = np.array(["2015-01", "2015-02", "2015-03"], "M8[M]")
    np.testing.assert_array_equal(usdm.monthly(values, WEEKS, months), [[2, 5, np.nan], [4, np.nan, np.nan]])


def centres(*codes: str) -> pd.DataFrame:
    size = len(codes)
    return pd.DataFrame({"fips": codes, "county": "X", "state": "Y", "latitude": [30.0] * size, "longitude": -90.0})


def test_a_county_without_a_centre_is_left_out_by_name(tmp_path):
    found = usdm.read(netcdf(tmp_path))
    kept = usdm.at_centres(found, centres("01001", "06001"), "usdm.nc")
    assert list(kept["fips"].values) == ["01001"] and kept["state"].values[0] == "Y"
    assert kept.attrs["notes"] == ["usdm.nc: 1 of 2 counties have no centre and are left out: 48001"]
    with pytest.raises(InputError, match="none of its 2 counties has a centre"):
        usdm.at_centres(found, centres("06001"), "usdm.nc")


def test_a_renamed_county_finds_its_centre(tmp_path):
    found = usdm.read(netcdf(tmp_path, county=("46102", "48001")))
    assert "notes" not in usdm.at_centres(found, centres("46113", "48001"), "usdm.nc").attrs


def second_time(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[:1]])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda f: netcdf(f, county=(1001, 1001)), "county 01001 is listed 2 times"),
        (lambda f: netcdf(f, weeks=WEEKS[[0, 0, 2]]), "week 2015-01-06T00:00:00 is listed 2 times"),
        (lambda f: netcdf(f, shares=SHARES[::-1].cumsum(axis=0)[::-1]), "they look cumulative"),
        (lambda f: netcdf(f, shares=SHARES * 100), "given in percent"),
        (lambda f: netcdf(f, county=("ABC", "48001")), "county code '00ABC'"),
        (lambda f: netcdf(f, variable="spi"), "variable 'area_fraction' missing"),
        (lambda f: write(second_time(table()), f), "line 8: county 01001 for the second time in the week of 2015"),
        (lambda f: write(table(2).assign(StatisticFormatID=1), f), "these look categorical"),
        (lambda f: write(table(1).assign(StatisticFormatID=2), f), "they look cumulative"),
        (lambda f: write(table().assign(StatisticFormatID=7), f), "found 7; expected 1 (cumulative) or 2"),
        (lambda f: write(table().assign(D0="-"), f), "line 2: expected a date as YYYYMMDD and percent"),
        (lambda f: write(table().drop(columns="D4"), f), "column D4 missing"),
        (lambda f: str(f / "absent.nc"), "no such file"),
    ],
)  # fmt: skip
def test_each_mistake_ends_in_one_line(tmp_path, make, line):
    with pytest.raises(InputError) as caught:
        usdm.read(make(tmp_path))
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_the_real_file(real_data):
    file = str(real_data / "hydro/usdm/usdm_county_weekly_2002_2021.nc")
    found = usdm.at_centres(
        usdm.read(file), counties.read(str(real_data / "hydro/storm_events/county_centers.csv.gz")), file
    )
    assert found.sizes["county"] > 3200 and found.sizes["week"] == 1044
    texas = found.isel(county=np.flatnonzero(found["state"].values == "Texas"))
    index = usdm.dsci(texas["area_fraction"].values).mean(axis=0)
    # the drought of 2011 was the worst of these twenty years in Texas
    assert str(texas["week"].values[np.argmax(index)])[:4] == "2011" and index.max() > 450
