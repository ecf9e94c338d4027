"""Gridded forcing in ISIMIP3's layout and its like: merged, packed, checked, and refused in one line."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import ConfigError, InputError
from sciml.core.grid import cell_area_km2
from sciml.data.catalogue import DAY
from sciml.data.readers.land_forcing import land_cells, load_cells, open_land_forcing

LAT, LON = np.arange(52.25, 49.0, -0.5), np.arange(0.25, 4.0, 0.5)  # latitude descends, as ISIMIP's
YEARS = {"1989_1990": ("1989-01-01", "1991-01-01"), "1991_1992": ("1991-01-01", "1993-01-01")}
UNITS = {"pr": "kg m-2 s-1", "prsn": "kg m-2 s-1", "tas": "K", "huss": "kg kg-1", "ps": "Pa"}
SEA = (2, 3)  # row from the north, column


def values(name: str, dates: np.ndarray) -> np.ndarray:
    """(time, lat, lon): precipitation of a cell grows with its row and column; NaN over the sea."""
    place = (10 * np.arange(len(LAT))[:, None] + np.arange(len(LON))[None]) / 100
    season = np.cos(2 * np.pi * (dates - np.datetime64("1989-01-15")).astype(float) / 365.25)[:, None, None]
    field = {
        "pr": 3e-5 * (1 + place) * (1 + 0.5 * season),
        "prsn": 3e-6 * (1 + place) * np.maximum(season, 0),
        "tas": 283.0 - 12 * season + place,
        "huss": 0.007 - 0.003 * season + 0 * place,
        "ps": 98000.0 + 100 * place + 0 * season,
    }[name]
    out = np.broadcast_to(field, (len(dates), *place.shape)).astype(np.float32).copy()
    out[(slice(None), *SEA)] = np.nan
    return out


def dataset(name: str, years: str, **changes: object) -> xr.Dataset:
    first, stop = YEARS[years]
    dates = np.arange(first, stop, dtype="M8[D]")
    number = (dates - np.datetime64("1850-01-01")).astype(float)
    time = {"units": "days since 1850-01-01", "calendar": changes.get("calendar", "proleptic_gregorian")}
    field = changes.get("field", values(name, dates))
    return xr.Dataset(
        {
            str(changes.get("called", name)): (
                ("time", "lat", "lon"),
                field,
                {"units": changes.get("units", UNITS[name])},
            )
        },
        {"time": ("time", number, time), "lat": LAT, "lon": LON},
    )


def write(folder: Path, name: str, years: str, **changes: object) -> Path:
    file = folder / f"model_ssp_{name}_global_daily_{years}.nc"
    file.unlink(missing_ok=True)  # a reader may still hold the one before open
    dataset(name, years, **changes).to_netcdf(file)
    return file


def isimip(folder: Path, **changes: dict) -> str:
    for name in UNITS:
        for years in YEARS:
            write(folder, name, years, **changes.get(name, {}))
    return str(folder / "*_daily_*.nc")


def refusal(url: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        open_land_forcing(url, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_of_variables_and_decades_become_one_lazy_forcing(tmp_path: Path) -> None:
    ds = open_land_forcing(isimip(tmp_path))
    dates = np.arange("1989-01-01", "1993-01-01", dtype="M8[D]")
    assert set(ds.data_vars) == set(UNITS) and (ds["time"].values.astype("M8[D]") == dates).all()
    assert all(ds[name].chunks is not None for name in UNITS) and (np.diff(ds["lat"]) > 0).all()
    assert ds.attrs["calendar"] == "standard" and not ds.attrs["notes"]
    cells = land_cells(ds)
    assert cells.sizes["cell"] == len(LAT) * len(LON) - 1
    loaded = load_cells(ds, cells)
    i = int(np.flatnonzero((loaded["lat"] == 51.75) & (loaded["lon"] == 2.25))[0])  # row 1 from the north, column 4
    for name in UNITS:
        np.testing.assert_allclose(loaded[name].values[:, i], values(name, dates)[:, 1, 4], rtol=1e-6)
    assert loaded["pr"].dtype == np.float64
    np.testing.assert_allclose(cells["area_km2"], cell_area_km2(cells["lat"].values, 0.5))


def test_a_block_of_cells_and_days_is_that_of_the_whole(tmp_path: Path) -> None:
    ds = open_land_forcing(isimip(tmp_path))
    cells = land_cells(ds)
    whole, part = load_cells(ds, cells), load_cells(ds, cells.isel(cell=slice(11, 30)), slice(100, 200))
    xr.testing.assert_equal(part, whole.isel(time=slice(100, 200), cell=slice(11, 30)))


def test_packed_cells_in_zarr_are_the_same_as_maps(tmp_path: Path) -> None:
    ds = open_land_forcing(isimip(tmp_path))
    whole = load_cells(ds, land_cells(ds))
    for name in whole.data_vars:
        whole[name].attrs["units"] = {**UNITS, "huss": "1"}[str(name)]
    numbers = (whole["time"].values.astype("M8[D]") - np.datetime64("1900-01-01")).astype(float)
    packed = whole.assign_coords(time=("time", numbers, {"units": "days since 1900-01-01"}))
    packed.attrs = {}
    packed.chunk({"cell": 20}).to_zarr(tmp_path / "packed.zarr", zarr_format=3, consolidated=False)
    again = open_land_forcing(str(tmp_path / "packed.zarr"))
    assert again["pr"].chunks is not None
    loaded = load_cells(again, land_cells(again))
    for name in whole.data_vars:
        np.testing.assert_allclose(loaded[name], whole[name], rtol=1e-12)
    np.testing.assert_array_equal(loaded["area_km2"], whole["area_km2"])
    chunk = next(file for file in sorted((tmp_path / "packed.zarr" / "tas" / "c").rglob("*")) if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(InputError, match=r"packed.zarr: 'tas' cannot be decoded|packed.zarr: cannot be read"):
        load_cells(again, land_cells(again))


def test_steps_of_hours_become_days(tmp_path: Path) -> None:
    hours = np.arange(0, 240, 6)
    field = np.broadcast_to((4e-5 + 1e-6 * (hours % 24))[:, None, None], (40, len(LAT), len(LON)))
    xr.Dataset(
        {"Rainf": (("time", "lat", "lon"), field, {"units": "kg m-2 s-1"})},
        {"time": ("time", hours, {"units": "hours since 1990-01-01"}), "lat": LAT, "lon": LON},
    ).to_netcdf(tmp_path / "rainf.nc")
    ds = open_land_forcing(str(tmp_path / "rainf.nc"))
    assert (
        ds.sizes["time"] == 10
        and "rain without a variable of snow is taken as all precipitation" in ds.attrs["notes"][0]
    )
    np.testing.assert_allclose(ds["pr"], 4e-5 + 1e-6 * 9, rtol=1e-5)


@pytest.mark.parametrize("units", ["undefined", ""])
@pytest.mark.parametrize(("factor", "told"), [(1.0, "kg m-2 s-1"), (DAY / 1000, "m/day"), (DAY, "mm/day")])
def test_a_mean_tells_the_unit_that_no_attribute_does(tmp_path: Path, units: str, factor: float, told: str) -> None:
    dates = np.arange(*YEARS["1989_1990"], dtype="M8[D]")
    file = write(tmp_path, "pr", "1989_1990", called="precipitation", units=units, field=values("pr", dates) * factor)
    ds = open_land_forcing(str(file))
    assert f"taken as {told} by its mean" in ds.attrs["notes"][0]
    np.testing.assert_allclose(ds["pr"].values[:, ::-1], values("pr", dates), rtol=1e-5)


def test_a_mean_that_tells_nothing_is_refused_until_the_user_says_the_unit(tmp_path: Path) -> None:
    dates = np.arange(*YEARS["1989_1990"], dtype="M8[D]")
    file = str(write(tmp_path, "pr", "1989_1990", units="", field=values("pr", dates) * 4))  # 1.6e-4: 14 mm, or 0.16 m
    assert "fits kg m-2 s-1 and m/day" in refusal(file)
    ds = open_land_forcing(file, units={"pr": "kg m-2 s-1"})
    np.testing.assert_allclose(ds["pr"].values[:, ::-1], values("pr", dates) * 4, rtol=1e-5)
    with pytest.raises(ConfigError, match="units of precip: no such variable; found pr"):
        open_land_forcing(file, units={"precip": "mm/day"})
    assert "found units 'furlongs'" in refusal(file, units={"pr": "furlongs"})


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("pr", {"units": "mm/day"}, "1989_1990.nc: variable 'pr': .*86400 x too small: a rate per second"),
        ("pr", {"units": "m/day", "factor": DAY}, "1989_1990.nc: variable 'pr': .*1000 x too large: mm taken for m"),
        ("pr", {"units": "mm/day", "factor": DAY / 1000}, "1989_1990.nc: .* 1000 x too small: m taken for mm"),
        ("pr", {"add": -3e-4}, "1989_1990.nc.*'pr': found -.*(negative|expected)"),
        ("huss", {"add": -0.02}, "1989_1990.nc.*'huss': found -.* expected 0 .. 0.06 kg kg-1; a negative amount"),
        ("ps", {"factor": 0.01}, "1989_1990.nc.*'ps'.*expected 3e"),
        (
            "tas",
            {"add": -273.15},
            "1989_1990.nc: 'tas': .*looks like degC among K in .*: give the whole series one unit",
        ),
        ("tas", {"units": "degC"}, "1989_1990.nc: 'tas': .*looks like K among degC"),
        ("tas", {"units": "parsec"}, "found units 'parsec', expected 'K'"),
    ],
)
def test_values_against_their_units(tmp_path: Path, name: str, change: dict, said: str) -> None:
    dates = np.arange(*YEARS["1989_1990"], dtype="M8[D]")
    field = values(name, dates) * change.pop("factor", 1.0) + change.pop("add", 0.0)
    text = refusal(str(write(tmp_path, name, "1989_1990", field=field.astype(np.float32), **change)))
    assert re.search(said, text), text


def test_celsius_among_kelvin_between_files_and_within_one(tmp_path: Path) -> None:
    write(tmp_path, "tas", "1989_1990")
    dates = np.arange(*YEARS["1991_1992"], dtype="M8[D]")
    field = values("tas", dates)
    write(tmp_path, "tas", "1991_1992", field=field - 273.15)  # the attribute still says K
    text = refusal(str(tmp_path / "*.nc"))
    assert "1991_1992.nc: 'tas': found" in text and "on 1991-01-01" in text and "degC among K" in text
    write(tmp_path, "tas", "1991_1992", field=field - 273.15, units="degC")
    assert "found units 'degC', expected 'K'" in refusal(str(tmp_path / "*.nc"))
    field[400:] -= 273.15
    write(tmp_path, "tas", "1991_1992", field=field)
    assert "on 1992-02-05" in refusal(str(tmp_path / "*.nc"))


def test_gaps_and_years_that_differ(tmp_path: Path) -> None:
    dates = np.arange(*YEARS["1991_1992"], dtype="M8[D]")
    url = isimip(tmp_path)
    ds = dataset("tas", "1991_1992").isel(time=np.r_[0:50, 57 : len(dates)])
    ds.to_netcdf(tmp_path / "model_ssp_tas_global_daily_1991_1992.nc")
    text = refusal(url)
    assert "_tas_" in text and "no 1991-02-20 (first of 7 missing days between 1989-01-01 and 1992-12-31)" in text
    (tmp_path / "model_ssp_tas_global_daily_1991_1992.nc").unlink()
    cut = open_land_forcing(url)
    assert (
        cut.sizes["time"] == 730
        and "cut to 1989-01-01 .. 1990-12-31, the days of all variables" in cut.attrs["notes"][0]
    )
    (tmp_path / "model_ssp_tas_global_daily_1989_1990.nc").unlink()
    write(tmp_path, "tas", "1991_1992")
    for name in set(UNITS) - {"tas"}:
        (tmp_path / f"model_ssp_{name}_global_daily_1991_1992.nc").unlink()
    assert "no day is in all variables" in refusal(url)


@pytest.mark.parametrize("calendar", ["noleap", "365_day", "360_day"])
def test_other_calendars_are_refused_with_the_way_out(tmp_path: Path, calendar: str) -> None:
    text = refusal(str(write(tmp_path, "tas", "1989_1990", calendar=calendar)))
    assert f"found calendar '{calendar}', expected the standard one; convert with xarray, ds.convert_calendar(" in text
    assert ("align_on='year'" in text) == (calendar == "360_day")


def test_what_xarray_makes_of_noleap_is_taken_as_it_is(tmp_path: Path) -> None:
    ds = dataset("tas", "1991_1992", calendar="noleap").isel(time=slice(0, 730))
    turned = xr.decode_cf(ds).convert_calendar("standard")
    turned.to_netcdf(tmp_path / "tas.nc")
    found = open_land_forcing(str(tmp_path / "tas.nc"))
    days = found["time"].values.astype("M8[D]")
    assert found.attrs["calendar"] == "noleap" and len(days) == 730 and np.datetime64("1992-02-29") not in days
    np.testing.assert_allclose(found["tas"].values[:, ::-1], ds["tas"].values, rtol=1e-6)


def test_holes_in_time_are_named_when_the_cell_is_loaded(tmp_path: Path) -> None:
    url = isimip(tmp_path)
    dates = np.arange(*YEARS["1991_1992"], dtype="M8[D]")
    field = values("huss", dates)
    field[33, 5, 1] = np.nan
    write(tmp_path, "huss", "1991_1992", field=field)
    ds = open_land_forcing(url)
    with pytest.raises(InputError, match=r"'huss' has no value on 1991-02-03 at 49.75 N 0.75 E \(first of 1\)"):
        load_cells(ds, land_cells(ds))


def test_masks(tmp_path: Path) -> None:
    ds = open_land_forcing(isimip(tmp_path))
    mask = xr.DataArray(np.zeros((len(LAT), len(LON)), bool), {"lat": LAT, "lon": LON}, ("lat", "lon"))
    mask.loc[{"lat": 50.75, "lon": 1.25}] = True
    cells = land_cells(ds, mask)
    assert cells.sizes["cell"] == 1 and (cells["lat"].item(), cells["lon"].item()) == (50.75, 1.25)
    with pytest.raises(InputError, match=r"mask: axis 'lat' differs from that of .*; regrid the mask"):
        land_cells(ds, mask.assign_coords(lat=LAT + 1))
    with pytest.raises(InputError, match="no cell with forcing in the mask"):
        land_cells(ds, mask & False)
    with pytest.raises(InputError, match=r"'.*' has no value on 1989-01-01 at 51.25 N 1.75 E"):
        load_cells(ds, land_cells(ds, mask | (mask["lat"] > 0)))  # the sea too


def test_grids_variables_and_files_that_do_not_fit(tmp_path: Path) -> None:
    url = isimip(tmp_path)
    shifted = dataset("ps", "1989_1990").assign_coords(lat=LAT + 0.25)
    shifted.to_netcdf(tmp_path / "model_ssp_ps_global_daily_1989_1990.nc")
    dataset("ps", "1991_1992").assign_coords(lat=LAT + 0.25).to_netcdf(
        tmp_path / "model_ssp_ps_global_daily_1991_1992.nc"
    )
    assert "axis 'lat' differs from that of" in refusal(url)
    extra = write(tmp_path, "pr", "1989_1990", called="precipitation")
    assert "'pr' is there as 'precipitation' in" in refusal(f"{extra},{tmp_path}/*_pr_global_daily_1991_1992.nc")
    snow = write(tmp_path, "prsn", "1989_1990", called="snow", units="kg m-2")
    assert "snowfall or snow on the ground?" in refusal(str(snow))
    other = write(tmp_path, "tas", "1989_1990", called="albedo", units="1")
    assert "no forcing: found variables albedo; expected some of pr, prra" in refusal(str(other))
    whole = snow.read_bytes()
    snow.write_bytes(whole[: len(whole) // 2])
    assert snow.name in refusal(str(snow))


def test_rhine_files_of_pcrglobwb(real_data: Path) -> None:
    """Metres a day and degC under units 'undefined'; 13 x 17 cells of half a degree, 2001-2010."""
    ds = open_land_forcing(str(real_data / "hydro" / "rhine_meuse" / "*.nc"))
    cells = land_cells(ds)
    loaded = load_cells(ds, cells, slice(0, 365))
    assert cells.sizes["cell"] == 221 and str(ds["time"].values[0])[:10] == "2001-01-01" and ds.sizes["time"] == 3652
    assert len(ds.attrs["notes"]) == 2 and 600 < loaded["pr"].values.mean() * DAY * 365 < 1600
    assert 275 < loaded["tas"].values.mean() < 290
