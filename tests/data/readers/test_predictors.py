"""Predictors: GLDAS, ERA5-Land and catalogue grids, written to their specifications, recognised and converted."""

import dask.array
import numpy as np
import pytest
import xarray as xr

from sciml.core.digest import fingerprint
from sciml.core.errors import InputError
from sciml.data.readers.predictors import PREDICTORS, open_predictors

LAT = np.array([45.0, 15.0, -15.0])  # descending, as GLDAS is not but ERA5-Land is
LON = np.array([0.0, 90.0, 180.0, 270.0])


def field(rng, time, low, high):
    return rng.uniform(low, high, (time, len(LAT), len(LON)))


def dataset(values, time, time_units, units, *, lat=LAT, lon=LON, attributes=None):
    names = ("time", "lat", "lon")
    return xr.Dataset(
        {k: (names, v, ({"units": units[k]} if units.get(k) else {}) | (attributes or {})) for k, v in values.items()},
        coords={"time": ("time", time, {"units": time_units}), "lat": lat, "lon": lon},
    )


def as_ours(values):
    """The same field on ascending latitudes and longitudes -180, -90, 0, 90."""
    return np.roll(values[:, ::-1], 2, axis=2)


# --- GLDAS ----------------------------------------------------------------------------------------------------------

NOAH_UNITS = {
    "Rainf_tavg": "kg m-2 s-1",
    "Snowf_tavg": "kg m-2 s-1",
    "Tair_f_inst": "K",
    "CanopInt_inst": "kg m-2",
    "SWE_inst": "kg m-2",
    "Qle_tavg": "W m-2",
    "Qs_acc": "kg m-2",
    "Qsb_acc": "kg m-2",
    "Evap_tavg": "kg m-2 s-1",
    **{f"SoilMoi{layer}cm_inst": "kg m-2" for layer in ("0_10", "10_40", "40_100", "100_200")},
}


def noah(steps=16):
    rng = np.random.default_rng(0)
    span = {
        "Rainf_tavg": (0, 1e-4),
        "Snowf_tavg": (0, 2e-5),
        "Tair_f_inst": (250, 310),
        "CanopInt_inst": (0, 0.5),
        "SWE_inst": (0, 100),
        "Qle_tavg": (0, 200),
        "Qs_acc": (0, 2),
        "Qsb_acc": (0, 2),
        "Evap_tavg": (0, 5e-5),
        "SoilMoi0_10cm_inst": (10, 40),
        "SoilMoi10_40cm_inst": (30, 120),
        "SoilMoi40_100cm_inst": (60, 240),
        "SoilMoi100_200cm_inst": (100, 400),
    }
    return {name: field(rng, steps, *limits) for name, limits in span.items()}


def noah_files(folder, values, steps=16):
    """One file per three hours; each counts its time from itself, as the real ones do."""
    start = np.datetime64("2003-01-01T03:00", "m")
    for k in range(steps):
        stamp = (start + 180 * k).astype(str).replace("T", " ")
        one = {name: part[k : k + 1] for name, part in values.items()}
        part = dataset(one, np.array([0.0]), f"minutes since {stamp}:00", NOAH_UNITS)
        part.to_netcdf(folder / f"GLDAS_NOAH025_3H.A{stamp[:10].replace('-', '')}.{stamp[11:13]}00.021.nc4")


def test_gldas_noah_three_hourly_files(tmp_path):
    values = noah()
    noah_files(tmp_path, values)
    ds = open_predictors(str(tmp_path))
    assert set(PREDICTORS) <= set(ds.data_vars) and ds.attrs["layout"] == "GLDAS Noah or CLSM"
    assert isinstance(ds["pr"].data, dask.array.Array) and ds["lon"].values.tolist() == [-180, -90, 0, 90]
    # stamps are ends of steps: the first covers 00 to 03 UTC, so that 16 of them are two whole days
    bounds = ds["time_bounds"].values.astype("datetime64[D]").astype(str).tolist()
    assert bounds == [["2003-01-01", "2003-01-02"], ["2003-01-02", "2003-01-03"]]

    def of_day(field):
        return as_ours(field).reshape(2, 8, 3, 4).mean(axis=1)

    np.testing.assert_allclose(ds["pr"], of_day(values["Rainf_tavg"] + values["Snowf_tavg"]), rtol=1e-5)
    # a sum of 3 hours of 1.08 kg m-2 is a rate of 1e-4 kg m-2 s-1
    np.testing.assert_allclose(ds["mrros"], of_day(values["Qs_acc"]) / 10800, rtol=1e-5)
    np.testing.assert_allclose(ds["mrro"], of_day(values["Qs_acc"] + values["Qsb_acc"]) / 10800, rtol=1e-5)
    soil = sum(v for k, v in values.items() if k.startswith("SoilMoi"))
    np.testing.assert_allclose(ds["mrso"], of_day(soil), rtol=1e-5)
    for ours, theirs in (("tas", "Tair_f_inst"), ("cw", "CanopInt_inst"), ("snw", "SWE_inst"), ("hfls", "Qle_tavg")):
        np.testing.assert_allclose(ds[ours], of_day(values[theirs]), rtol=1e-5)


def test_a_hole_between_three_hourly_files_is_named(tmp_path):
    noah_files(tmp_path, noah())
    sorted(tmp_path.iterdir())[6].unlink()
    with pytest.raises(InputError, match="2003-01-01T21:00:00 follows 2003-01-01T18:00:00; fetch the steps between"):
        open_predictors(str(tmp_path))


def test_gldas_monthly_sums_are_still_of_three_hours(tmp_path):
    values = {"Qs_acc": noah(3)["Qs_acc"], "Rainf_f_tavg": noah(3)["Rainf_tavg"]}
    time = np.array([0.0, 31.0, 59.0])
    units = {"Qs_acc": "kg m-2", "Rainf_f_tavg": "kg m-2 s-1"}
    dataset(values, time, "days since 2003-01-01", units).to_netcdf(tmp_path / "m.nc4")
    ds = open_predictors(str(tmp_path / "m.nc4"))
    np.testing.assert_allclose(ds["mrros"], as_ours(values["Qs_acc"]) / 10800, rtol=1e-5)
    np.testing.assert_allclose(ds["pr"], as_ours(values["Rainf_f_tavg"]), rtol=1e-5)
    assert ds["time_bounds"].values[1].astype("datetime64[D]").astype(str).tolist() == ["2003-02-01", "2003-03-01"]
    assert any("no tas, cw, snw, mrso, hfls" in line for line in ds.attrs["notes"])


def test_gldas_catchment_daily(tmp_path):
    rng = np.random.default_rng(3)
    values = {
        "Rainf_tavg": field(rng, 5, 0, 1e-4),
        "Snowf_tavg": field(rng, 5, 0, 1e-5),
        "Tair_f_tavg": field(rng, 5, 250, 310),
        "CanopInt_tavg": field(rng, 5, 0, 0.5),
        "SWE_tavg": field(rng, 5, 0, 50),
        "SoilMoist_P_tavg": field(rng, 5, 200, 900),
        "Qle_tavg": field(rng, 5, 0, 150),
        "Qs_tavg": field(rng, 5, 0, 1e-5),
        "GWS_tavg": field(rng, 5, 300, 2000),
        "TWS_tavg": field(rng, 5, 600, 3000),
    }
    units = dict.fromkeys(values, "kg m-2") | {
        "GWS_tavg": "mm",
        "TWS_tavg": "mm",
        "Tair_f_tavg": "K",
        "Qle_tavg": "W m-2",
    }
    units |= dict.fromkeys(("Rainf_tavg", "Snowf_tavg", "Qs_tavg"), "kg m-2 s-1")
    dataset(values, np.arange(5.0), "days since 2003-02-01", units).to_netcdf(tmp_path / "c.nc4")
    ds = open_predictors(str(tmp_path / "c.nc4"))
    assert set(PREDICTORS) <= set(ds.data_vars)
    for ours, theirs in (
        ("mrgw", "GWS_tavg"),
        ("mrtws", "TWS_tavg"),
        ("mrso", "SoilMoist_P_tavg"),
        ("mrros", "Qs_tavg"),
    ):
        np.testing.assert_allclose(ds[ours], as_ours(values[theirs]), rtol=1e-5)
    assert ds["time_bounds"].values[0].astype("datetime64[D]").astype(str).tolist() == ["2003-02-01", "2003-02-02"]


def test_a_missing_soil_layer_is_refused(tmp_path):
    values = noah()
    del values["SoilMoi40_100cm_inst"]
    dataset(values, np.arange(16) * 3.0, "hours since 2003-01-01", NOAH_UNITS).to_netcdf(tmp_path / "n.nc4")
    with pytest.raises(InputError, match="found layers 0-10, 10-40, 100-200 cm, expected 0-10, 10-40, 40-100, 100-200"):
        open_predictors(str(tmp_path / "n.nc4"))


# --- ERA5-Land ------------------------------------------------------------------------------------------------------

ERA_UNITS = {
    "tp": "m",
    "t2m": "K",
    "sd": "m of water equivalent",
    "src": "m of water equivalent",
    "slhf": "J m**-2",
    "sro": "m",
    "e": "m of water equivalent",
    **{f"swvl{i}": "m**3 m**-3" for i in range(1, 5)},
}


def hourly(days=3):
    """Hourly rates, and ERA5-Land's accumulations of them: growing from 00 UTC, the day's total at the next 00 UTC."""
    rng = np.random.default_rng(4)
    hours = 24 * days + 1
    rain = rng.uniform(0, 4e-4, (hours, 3, 4))  # m in the hour that ends at the stamp
    heat = rng.uniform(0, 5e5, (hours, 3, 4))
    tp, slhf = np.zeros_like(rain), np.zeros_like(heat)
    for k in range(hours):
        fresh = k % 24 == 1  # 01 UTC begins the day's sum
        tp[k] = rain[k] + (0 if fresh or k == 0 else tp[k - 1])
        slhf[k] = -heat[k] + (0 if fresh or k == 0 else slhf[k - 1])
    state = {
        "t2m": field(rng, hours, 250, 310),
        "sd": field(rng, hours, 0, 0.3),
        "src": field(rng, hours, 0, 5e-4),
        **{f"swvl{i}": field(rng, hours, 0.1, 0.4) for i in range(1, 5)},
    }
    return rain, heat, {"tp": tp, "slhf": slhf, **state}


def test_era5_land_hourly_accumulations_become_days(tmp_path):
    rain, heat, values = hourly()
    ds = dataset(values, np.arange(73.0), "hours since 2003-01-01", ERA_UNITS)
    ds = ds.rename(time="valid_time", lat="latitude", lon="longitude")
    ds.to_netcdf(tmp_path / "era.nc")
    out = open_predictors(str(tmp_path / "era.nc"))
    assert out.attrs["layout"] == "ERA5-Land" and out.sizes["time"] == 3
    assert out["time_bounds"].values[0].astype("datetime64[D]").astype(str).tolist() == ["2003-01-01", "2003-01-02"]
    by_day = rain[1:].reshape(3, 24, 3, 4).sum(axis=1)  # 01 UTC to the next 00 UTC
    np.testing.assert_allclose(out["pr"], as_ours(by_day) * 1000 / 86400, rtol=1e-5)
    # ECMWF's flux is positive downward: evaporation is negative there and a positive upward heat flux here
    np.testing.assert_allclose(out["hfls"], as_ours(heat[1:].reshape(3, 24, 3, 4).sum(axis=1)) / 86400, rtol=1e-5)
    assert float(out["hfls"].min()) > 0
    mean = values["t2m"][:72].reshape(3, 24, 3, 4).mean(axis=1)
    np.testing.assert_allclose(out["tas"], as_ours(mean), rtol=1e-5)
    np.testing.assert_allclose(
        out["snw"], as_ours(values["sd"][:72].reshape(3, 24, 3, 4).mean(axis=1)) * 1000, rtol=1e-5
    )
    np.testing.assert_allclose(
        out["cw"], as_ours(values["src"][:72].reshape(3, 24, 3, 4).mean(axis=1)) * 1000, rtol=1e-5
    )


def test_era5_land_soil_column_is_2890_mm_when_full(tmp_path):
    values = {f"swvl{i}": np.full((2, 3, 4), 0.5) for i in range(1, 5)}
    values["swvl2"][:] = 1.0
    dataset(values, np.array([0.0, 1.0]), "days since 2003-01-01", ERA_UNITS).to_netcdf(tmp_path / "s.nc")
    np.testing.assert_allclose(open_predictors(str(tmp_path / "s.nc"))["mrso"], 0.5 * 2890 + 0.5 * 210, rtol=1e-6)


def test_era5_land_monthly_means_are_per_day(tmp_path):
    rng = np.random.default_rng(5)
    values = {"tp": field(rng, 3, 0, 0.01), "e": -field(rng, 3, 0, 0.005), "sro": field(rng, 3, 0, 0.002)}
    dataset(values, np.array([0.0, 31, 59]), "days since 2003-01-01", ERA_UNITS).to_netcdf(tmp_path / "m.nc")
    ds = open_predictors(str(tmp_path / "m.nc"))
    np.testing.assert_allclose(ds["pr"] * 86400, as_ours(values["tp"]) * 1000, rtol=1e-5)
    np.testing.assert_allclose(ds["evspsbl"] * 86400, -as_ours(values["e"]) * 1000, rtol=1e-5)
    np.testing.assert_allclose(ds["mrros"] * 86400, as_ours(values["sro"]) * 1000, rtol=1e-5)


def test_era5_land_midnight_accumulations_belong_to_the_day_before(tmp_path):
    rng = np.random.default_rng(6)
    values = {"tp": field(rng, 4, 0, 0.01), "t2m": field(rng, 4, 270, 300)}
    ds = dataset(values, np.arange(4.0), "days since 2003-01-01", ERA_UNITS)
    ds["tp"].attrs["GRIB_stepType"] = "accum"
    ds.to_netcdf(tmp_path / "d.nc")
    out = open_predictors(str(tmp_path / "d.nc"))
    np.testing.assert_allclose(out["pr"] * 86400, as_ours(values["tp"])[1:] * 1000, rtol=1e-5)
    np.testing.assert_allclose(out["tas"], as_ours(values["t2m"])[:3], rtol=1e-5)
    assert any("count for the day before" in line for line in out.attrs["notes"])


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda ds: ds.drop_vars("swvl3"), "found swvl1, swvl2, swvl4, expected swvl1 to swvl4"),
        (lambda ds: ds.drop_isel(time=30), "expected a step of 3600 seconds throughout"),
        (lambda ds: ds.isel(time=slice(0, 20)), "holds no whole day"),
    ],
)
def test_era5_land_with_holes_is_refused(tmp_path, edit, says):
    ds = edit(dataset(hourly()[2], np.arange(73.0), "hours since 2003-01-01", ERA_UNITS))
    ds.to_netcdf(tmp_path / "era.nc")
    with pytest.raises(InputError, match=says):
        open_predictors(str(tmp_path / "era.nc"))


# --- the catalogue's names, and what is common ----------------------------------------------------------------------


def daily(days=40, *, lat=None, lon=None):
    """A grid of half the globe in the catalogue's names, units as a land model writes them."""
    lat = np.arange(-80.0, 81, 10) if lat is None else lat
    lon = np.arange(0.0, 360, 15) if lon is None else lon
    rng = np.random.default_rng(7)
    shape = (days, len(lat), len(lon))
    return xr.Dataset(
        {
            "pr": (("time", "lat", "lon"), rng.gamma(0.3, 10, shape), {"units": "mm/day"}),
            "tas": (("time", "lat", "lon"), rng.normal(12, 8, shape), {"units": "degC"}),
            "mrso": (("time", "lat", "lon"), rng.uniform(100, 500, shape), {"units": "kg m-2"}),
            "mrros": (("time", "lat", "lon"), rng.gamma(0.3, 2, shape), {"units": "mm"}),
        },
        coords={"time": ("time", np.arange(days) + 0.5, {"units": "days since 2003-01-01"}), "lat": lat, "lon": lon},
    )


def expected(ds):
    wrapped = ds.assign_coords(lon=(ds["lon"] + 180) % 360 - 180).sortby("lat").sortby("lon")
    return {"pr": wrapped["pr"] / 86400, "tas": wrapped["tas"] + 273.15, "mrros": wrapped["mrros"] / 86400}


def test_catalogue_grids_from_netcdf_and_zarr_are_the_same(tmp_path):
    raw = daily()
    raw.to_netcdf(tmp_path / "te.nc")
    raw.to_zarr(tmp_path / "te.zarr", zarr_format=3, consolidated=False, encoding={"pr": {"chunks": (10, 17, 24)}})
    one, two = open_predictors(str(tmp_path / "te.nc")), open_predictors(str(tmp_path / "te.zarr"))
    for name, values in expected(raw).items():
        np.testing.assert_allclose(one[name], values, rtol=1e-5)
    xr.testing.assert_identical(one.drop_attrs(), two.drop_attrs())
    assert one["pr"].attrs["units"] == "kg m-2 s-1" and isinstance(two["pr"].data, dask.array.Array)
    assert one["time"].values[0] == np.datetime64("2003-01-01T00:00:00")  # stamped at noon, it stands for its day


def test_a_sharded_store_is_read_a_shard_at_a_time(tmp_path):
    encoding = {"tas": {"chunks": (2, 17, 24), "shards": (20, 17, 24)}}
    daily()[["tas"]].to_zarr(tmp_path / "s.zarr", zarr_format=3, consolidated=False, encoding=encoding)
    assert open_predictors(str(tmp_path / "s.zarr"))["tas"].chunksizes["time"] == (20, 20)


def test_a_zarr_store_on_s3_and_what_is_missing_there(s3_server):
    raw = daily()
    raw.to_zarr("s3://bucket/predictors.zarr", zarr_format=3, consolidated=False)
    ds = open_predictors("s3://bucket/predictors.zarr")
    np.testing.assert_allclose(ds["pr"], expected(raw)["pr"], rtol=1e-5)
    for url in ("s3://bucket/nowhere.zarr", "s3://no-such-bucket/predictors.zarr"):
        with pytest.raises(InputError, match=f"{url}: no such file, folder or bucket") as refusal:
            open_predictors(url)
        assert "\n" not in str(refusal.value)


def test_a_netcdf_file_on_s3(s3_server, tmp_path):
    import s3fs

    raw = daily(days=4)
    raw.to_netcdf(tmp_path / "te.nc")
    s3fs.S3FileSystem().put_file(str(tmp_path / "te.nc"), "bucket/te.nc")
    np.testing.assert_allclose(open_predictors("s3://bucket/te.nc")["tas"], expected(raw)["tas"], rtol=1e-5)


def cut(file):
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) // 2])


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            lambda ds: ds.rename(pr="rain", tas="heat", mrso="mud", mrros="flow"),
            "unknown predictor format: found variables flow",
        ),
        (lambda ds: ds.assign(pr=ds["pr"].assign_attrs(units="kg m-2 s-1")), "'pr'.*86400 x too large: a daily amount"),
        (lambda ds: ds.assign(pr=ds["pr"] / 1000), "'pr'.*looks 1000 x too small"),
        (lambda ds: ds.assign(tas=ds["tas"].assign_attrs(units="K")), "'tas'.*degC taken for K: add 273.15"),
        (lambda ds: ds.assign(tas=ds["tas"].assign_attrs(units="mm")), "'tas': found units 'mm'"),
        (lambda ds: ds.isel(time=[0, 1, 1, 2]), "axis 'time' holds 2003-01-02T12:00:00 twice"),
        (lambda ds: ds.isel(time=0, drop=True), "no axis 'time'"),
        (lambda ds: ds.isel(time=[0]), "axis 'time' has 1 step"),
        (lambda ds: ds.isel(time=[0, 9, 18]), "step of 777600 seconds"),
        (
            lambda ds: ds.rename(pr="ET_ERA5_Land")[["ET_ERA5_Land"]],
            "table of basin means is read with --source basins",
        ),
    ],
)
def test_predictors_that_cannot_be_right_are_refused_in_one_line(tmp_path, edit, says):
    file = tmp_path / "te.nc"
    edit(daily().assign(pr=lambda ds: ds["pr"].assign_attrs(units="mm/day"))).to_netcdf(file)
    with pytest.raises(InputError, match=says) as refusal:
        open_predictors(str(file))
    assert str(refusal.value).startswith(str(file)) and "\n" not in str(refusal.value)


def test_damaged_and_missing_predictors(tmp_path):
    daily().to_netcdf(tmp_path / "te.nc")
    cut(tmp_path / "te.nc")
    with pytest.raises(InputError, match=r"te\.nc: cannot be read to its end"):
        open_predictors(str(tmp_path / "te.nc"))
    daily().to_zarr(tmp_path / "te.zarr", zarr_format=3, consolidated=True)
    cut(next(p for p in (tmp_path / "te.zarr" / "tas" / "c").rglob("*") if p.is_file()))
    with pytest.raises(InputError, match=r"te\.zarr: .*(damaged|truncated)"):
        open_predictors(str(tmp_path / "te.zarr"))
    for url in (tmp_path / "nowhere.zarr", tmp_path / "nowhere.nc"):
        with pytest.raises(InputError, match="no such file, folder or bucket"):
            open_predictors(str(url))
    (tmp_path / "empty").mkdir()
    for url in (tmp_path / "empty", tmp_path / "GLDAS*.nc4"):
        with pytest.raises(InputError, match=r"no file .*; check the path or the pattern"):
            open_predictors(str(url))
    (tmp_path / "text.nc").write_text("pr,tas\n1,2\n")
    with pytest.raises(InputError, match=r"text\.nc: "):
        open_predictors(str(tmp_path / "text.nc"))


def monthly_members(folder):
    """Three files of a month each, in the catalogue's names."""
    for k in range(3):
        part = daily(30).assign_coords(time=("time", 30.0 * k + np.arange(30), daily()["time"].attrs))
        part.to_netcdf(folder / f"m{k}.nc")
    return [str(folder / f"m{k}.nc") for k in range(3)]


@pytest.mark.parametrize("how", ["folder", "pattern", "list"])
def test_files_named_in_any_way_are_one_series_and_each_counts_in_the_fingerprint(tmp_path, how):
    files = monthly_members(tmp_path)
    url = {"folder": str(tmp_path), "pattern": str(tmp_path / "m?.nc"), "list": ", ".join(files)}[how]
    assert open_predictors(url).sizes["time"] == 90
    before = fingerprint(url)
    assert before == fingerprint(url)
    with (tmp_path / "m1.nc").open("ab") as file:
        file.write(b" ")
    assert fingerprint(url) != before


def test_a_store_and_a_file_that_follow_each_other(tmp_path):
    files = monthly_members(tmp_path)
    with xr.open_dataset(files[0], decode_times=False) as first:
        first.load().to_zarr(tmp_path / "m0.zarr", zarr_format=3, consolidated=False)
    found = open_predictors(f"{tmp_path}/m0.zarr,{files[1]}")
    xr.testing.assert_equal(found["pr"].load(), open_predictors(",".join(files[:2]))["pr"].load())


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda ds: ds.drop_vars("tas"), "variables differ from .*m0.nc: tas"),
        (lambda ds: ds.assign(tas=ds["tas"].assign_attrs(units="K")), "'tas': found units 'K', expected 'degC'"),
        (lambda ds: ds.assign_coords(lat=ds["lat"] + 0.5), "axis 'lat' differs"),
        (lambda ds: ds.rename(time="step"), "no axis 'time'"),
        (None, "cannot be read to its end"),
    ],
)
def test_a_member_that_does_not_fit_is_named(tmp_path, spoil, says):
    files = monthly_members(tmp_path)
    if spoil is None:
        cut(tmp_path / "m1.nc")
    else:
        with xr.open_dataset(files[1], decode_times=False) as ds:
            changed = spoil(ds.load())
        changed.to_netcdf(files[1])
    with pytest.raises(InputError, match=says) as refusal:
        open_predictors(str(tmp_path / "*.nc"))
    assert str(refusal.value).startswith(files[1])
