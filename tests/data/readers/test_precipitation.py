"""Gridded precipitation in CPC's layout, its units and its traps."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import month_seconds
from sciml.data.readers.precipitation import monthly_totals, open_precipitation

FILL = np.float32(-9.96921e36)
DAYS = np.arange("2016-01-01", "2016-03-21", dtype="M8[D]")


def cpc(folder: Path, units: str | None = "mm", name: str = "precip", values: np.ndarray | None = None) -> str:
    """Latitude descending, longitude 0..360, hours since 1900; rain of a day is its row plus a tenth of its column."""
    lat, lon = np.arange(34.75, 29.5, -0.5), np.arange(0.25, 360, 0.5)
    rain = np.arange(len(lat))[:, None] + 0.1 * (np.arange(len(lon)) % 100)[None] + 1.0
    field = np.broadcast_to(rain, (len(DAYS), *rain.shape)).astype(np.float32).copy() if values is None else values
    hours = (DAYS - np.datetime64("1900-01-01")) / np.timedelta64(1, "h")
    ds = xr.Dataset(
        {name: (("time", "lat", "lon"), field, {"units": units} if units else {})},
        {"lat": lat, "lon": lon, "time": ("time", hours.astype(float), {"units": "hours since 1900-01-01 00:00:00"})},
    )
    file = folder / "precip.2016.nc"
    ds.to_netcdf(file, encoding={name: {"_FillValue": None}})
    return str(file)


def test_days_in_millimetres_become_monthly_totals_at_the_right_place(tmp_path: Path) -> None:
    ds = open_precipitation(cpc(tmp_path))
    assert (np.diff(ds["lat"]) > 0).all() and ds["lon"].values.min() >= -180
    # 30.25 N, 90.25 W is row 9 from the north and column 539 eastward from Greenwich
    months, total = monthly_totals(ds, np.array([30.25, 30.25]), np.array([-90.25, -90.10]))
    assert list(months.astype(str)) == ["2016-01", "2016-02"]  # March is not whole
    daily = 9 + 0.1 * (539 % 100) + 1
    np.testing.assert_allclose(total[0], daily * np.array([31, 29]), rtol=1e-5)
    np.testing.assert_allclose(total[1], total[0])  # the same cell of half a degree


@pytest.mark.parametrize(("units", "factor"), [("mm/day", 1.0), ("kg m-2 s-1", 1 / 86400), ("cm/day", 0.1)])
def test_rates_are_converted(tmp_path: Path, units: str, factor: float) -> None:
    field = np.full((len(DAYS), 11, 720), 5.0 * factor, np.float32)
    _, total = monthly_totals(open_precipitation(cpc(tmp_path, units, values=field)), np.array([32.0]), np.array([7.0]))
    np.testing.assert_allclose(total[0], [155, 145], rtol=1e-5)


def test_missing_days_and_cells_stay_missing(tmp_path: Path) -> None:
    field = np.full((len(DAYS), 11, 720), 2.0, np.float32)
    field[3, 5] = FILL  # a day of a row of cells, without an attribute that says so
    _, total = monthly_totals(
        open_precipitation(cpc(tmp_path, values=field)), np.array([32.25, 31.0, 10.0]), np.array([5.0, 5.0, 5.0])
    )
    assert np.isnan(total[0, 0]) and total[0, 1] == pytest.approx(58)
    assert np.isfinite(total[1]).all() and np.isnan(total[2]).all()  # the last lies off the grid


def test_monthly_files_keep_their_totals(tmp_path: Path) -> None:
    months = np.arange("2016-01", "2016-07", dtype="M8[M]")
    lat, lon = np.arange(30.25, 33, 0.5), np.arange(-92.75, -90, 0.5)
    field = np.full((6, len(lat), len(lon)), 80.0, np.float32)
    xr.Dataset(
        {"pr": (("time", "lat", "lon"), field, {"units": "mm/month"})},
        {"time": months.astype("M8[ns]"), "lat": lat, "lon": lon},
    ).to_netcdf(tmp_path / "monthly.nc")
    found, total = monthly_totals(open_precipitation(str(tmp_path / "monthly.nc")), lat[:1], lon[:1])
    np.testing.assert_array_equal(found, months)
    np.testing.assert_allclose(total[0], 80.0, rtol=1e-5)
    assert len(month_seconds(found)) == 6


def test_coarser_cells_hold_the_area_mean(tmp_path: Path) -> None:
    field = np.full((len(DAYS), 11, 720), 4.0, np.float32)
    ds = open_precipitation(cpc(tmp_path, values=field), resolution=1.0)
    np.testing.assert_allclose(ds["pr"].values * 86400, 4.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("units", "name", "said"),
    [
        ("inches", "precip", "found units 'inches', expected millimetres; multiply by 25.4"),
        ("in/day", "precip", "multiply by 25.4"),
        (None, "precip", "no units attribute; expected mm/day"),
        ("furlongs", "precip", "found units 'furlongs'"),
        ("mm", "temperature", "no precipitation: found variables temperature"),
        ("kg m-2 s-1", "precip", "86400"),
    ],
)
def test_other_units_and_variables_are_refused(tmp_path: Path, units: str | None, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        open_precipitation(cpc(tmp_path, units, name))
    assert "precip.2016.nc" in str(caught.value) and "\n" not in str(caught.value)
