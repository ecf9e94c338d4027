"""JPL's mascon file: fixtures to the layout of GRCTellus RL06.3 (its public CDL), and the real-data file."""

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2
from sciml.data import months
from sciml.data.readers import grctellus
from sciml.data.readers.common import order_axes

RECORDS = 24
ORIGIN = np.datetime64("2002-01-01", "D")


def bounds_days(count=RECORDS):
    """Whole months from April 2002 on, as days since 2002-01-01."""
    month = np.datetime64("2002-04", "M") + np.arange(count + 1)
    return (month.astype("datetime64[D]") - ORIGIN).astype(float)


def mascon_file(path, *, edit=None, descending=False, east=True, units="cm", scale=1.0):
    """Four mascons of 2 x 2 cells on a 4 x 4 patch at 1 degree, the sea in the last column. Returns the truth in mm."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 60, (4, RECORDS)).round(1)  # mm
    lat = np.array([-1.5, -0.5, 0.5, 1.5])
    lon = np.array([-1.5, -0.5, 0.5, 1.5])
    ids = np.array([[11, 11, 12, 12], [11, 11, 12, 12], [13, 13, 14, 14], [13, 13, 14, 14]])
    land = np.ones((4, 4))
    land[:, 3] = 0
    day = bounds_days()
    lwe = truth[ids - 11].transpose(2, 0, 1) / 10.0
    lwe[:, land == 0] += 500.0  # the sea must not count
    if east:
        lon = lon % 360
        order = np.argsort(lon)
        lon, ids, land, lwe = lon[order], ids[:, order], land[:, order], lwe[:, :, order]
    if descending:
        lat, ids, land, lwe = lat[::-1], ids[::-1], land[::-1], lwe[:, ::-1]
    time_units = {"units": "days since 2002-01-01T00:00:00Z", "calendar": "gregorian", "bounds": "time_bounds"}
    attributes = {"units": units} if units else {}
    ds = xr.Dataset(
        {
            "lwe_thickness": (("time", "lat", "lon"), lwe * scale, {**attributes, "_FillValue": -99999.0}),
            "uncertainty": (("time", "lat", "lon"), np.full(lwe.shape, 1.5), {"units": "cm", "_FillValue": -99999.0}),
            "scale_factor": (("lat", "lon"), np.where(land > 0, 1.2, np.nan), {"_FillValue": -99999.0}),
            "mascon_ID": (("lat", "lon"), ids.astype(float)),
            "land_mask": (("lat", "lon"), land),
            "time_bounds": (("time", "bounds"), np.stack([day[:-1], day[1:]], axis=-1)),
        },
        coords={"time": ("time", (day[:-1] + day[1:]) / 2, time_units), "lat": lat, "lon": lon},
        attrs={"title": "JPL mascons"},
    )
    if edit:
        ds = edit(ds)
    ds.to_netcdf(path)
    return truth


def by_id(ds):
    return ds["twsa"].values[np.argsort(ds["mascon_id"].values)]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("east", [False, True])
def test_storage_is_the_land_mean_in_mm_whatever_the_order_of_the_axes(tmp_path, descending, east):
    truth = mascon_file(tmp_path / "m.nc", descending=descending, east=east)
    ds = grctellus.read(str(tmp_path / "m.nc"))
    np.testing.assert_allclose(by_id(ds), truth, atol=1e-4)
    np.testing.assert_allclose(ds["twsa_uncertainty"], 15.0, rtol=1e-6)
    assert ds["mascon_id"].values.tolist() == [11, 12, 13, 14]
    assert ds["cell_lat"].size == 12 and ds["cell_lon"].values.max() == 0.5 and ds["cell_lon"].values.min() == -1.5
    np.testing.assert_allclose(ds["cell_scale_factor"], 1.2, rtol=1e-6)
    owner = 11 + (ds["cell_lat"].values > 0) * 2 + (ds["cell_lon"].values > 0)
    np.testing.assert_array_equal(ds["mascon_id"].values[ds["cell_parent"].values], owner)
    np.testing.assert_allclose(ds["lat"], [-1, -1, 1, 1], atol=1e-3)
    np.testing.assert_allclose(ds["lon"], [-1, 1, -1, 1], atol=1e-3)
    np.testing.assert_allclose(ds["area_km2"].sum(), 4 * cell_area_km2(np.array([-1.5, -0.5, 0.5, 1.5]), 1.0).sum())
    np.testing.assert_allclose(ds["land_area_km2"] / ds["area_km2"], [1, 0.5, 1, 0.5], rtol=1e-6)
    assert ds["time_bounds"].values[0].astype("datetime64[D]").astype(str).tolist() == ["2002-04-01", "2002-05-01"]


def test_half_day_bounds_and_two_records_in_a_month_are_kept(tmp_path):
    def edit(ds):
        bounds = ds["time_bounds"].values.copy()
        bounds[1] = bounds[0] + [14.5, 15.5]  # April 15, noon, to May 16, noon
        ds["time_bounds"] = (("time", "bounds"), bounds)
        return ds

    mascon_file(tmp_path / "m.nc", edit=edit)
    ds = grctellus.read(str(tmp_path / "m.nc"))
    assert ds["time_bounds"].values[1].astype(str).tolist() == ["2002-04-15T12:00:00", "2002-05-16T12:00:00"]
    bounds = ds["time_bounds"].values
    assert months.records(bounds[:, 0], bounds[:, 1], file="").month[:2].astype(str).tolist() == ["2002-04", "2002-05"]


def test_records_out_of_order_are_put_in_order(tmp_path):
    truth = mascon_file(tmp_path / "m.nc", edit=lambda ds: ds.isel(time=slice(None, None, -1)))
    ds = grctellus.read(str(tmp_path / "m.nc"))
    assert (np.diff(ds["time"].values) > np.timedelta64(0)).all()
    np.testing.assert_allclose(by_id(ds), truth, atol=1e-4)


def test_an_empty_mascon_is_left_out_and_said(tmp_path):
    truth = mascon_file(
        tmp_path / "m.nc", edit=lambda ds: ds.assign(lwe_thickness=ds["lwe_thickness"].where(ds["mascon_ID"] != 13))
    )
    ds = grctellus.read(str(tmp_path / "m.nc"))
    assert ds["mascon_id"].values.tolist() == [11, 12, 14]
    np.testing.assert_allclose(by_id(ds), truth[[0, 1, 3]], atol=1e-4)
    # its four cells go with it; the others keep their mascon
    assert np.bincount(ds["cell_parent"]).tolist() == [4, 2, 2]
    assert (ds["cell_lat"].values[ds["cell_parent"].values == 2] > 0).all()
    assert any("1 of 4 land mascons hold no value and are left out: 13" in line for line in ds.attrs["notes"])


def test_a_record_without_value_stays_missing(tmp_path):
    def edit(ds):
        lwe = ds["lwe_thickness"].values.copy()
        lwe[3][ds["mascon_ID"].values == 12] = np.nan
        return ds.assign(lwe_thickness=(ds["lwe_thickness"].dims, lwe, ds["lwe_thickness"].attrs))

    mascon_file(tmp_path / "m.nc", edit=edit)
    missing = np.isnan(grctellus.read(str(tmp_path / "m.nc"))["twsa"].values)
    assert np.argwhere(missing).tolist() == [[1, 3]]


def identical(ds):
    bounds = ds["time_bounds"].values.copy()
    bounds[5] = bounds[4]
    return ds.assign(time_bounds=(("time", "bounds"), bounds))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"edit": lambda ds: ds.drop_vars("mascon_ID")}, "variable 'mascon_ID' missing; a GRCTellus mascon file"),
        ({"edit": lambda ds: ds.drop_vars("time_bounds")}, "variable 'time_bounds' missing"),
        ({"edit": identical}, "records 4 and 5 have identical time bounds 2002-08-01"),
        ({"units": "mm"}, "variable 'lwe_thickness'.*looks 10 x too small: cm taken for mm"),
        ({"units": "cm", "scale": 10.0}, "variable 'lwe_thickness'.*looks 10 x too large: mm taken for cm"),
        ({"units": None, "scale": 10.0}, "variable 'lwe_thickness'.*looks 10 x too large"),
        ({"units": "inch"}, "found units 'inch', expected 'kg m-2' or one of cm, kg m-2, m, mm"),
        ({"edit": lambda ds: ds.assign_coords(lat=ds["lat"] * 100)}, "axis 'lat': found"),
        ({"edit": lambda ds: ds.rename(lat="row", lon="column")}, "no one-dimensional axis 'lat'"),
        ({"edit": lambda ds: ds.assign(lwe_thickness=ds["lwe_thickness"] * np.nan)}, "found no valid value over land"),
        ({"edit": lambda ds: ds.assign(land_mask=ds["land_mask"] * 0)}, "found no land cell"),
    ],
)
def test_files_that_cannot_be_right_are_refused_in_one_line(tmp_path, options, says):
    mascon_file(tmp_path / "m.nc", **options)
    with pytest.raises(InputError, match=says) as refusal:
        grctellus.read(str(tmp_path / "m.nc"))
    text = str(refusal.value)
    assert text.startswith(str(tmp_path / "m.nc")) and "\n" not in text


def test_units_that_are_absent_are_the_layouts_own(tmp_path):
    truth = mascon_file(tmp_path / "m.nc", units=None)
    np.testing.assert_allclose(by_id(grctellus.read(str(tmp_path / "m.nc"))), truth, atol=1e-4)


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.97])
@pytest.mark.parametrize("layout", ["NETCDF4", "NETCDF3_64BIT"])
def test_a_truncated_file_is_refused(tmp_path, keep, layout):
    file = tmp_path / "m.nc"
    mascon_file(file)
    with xr.open_dataset(file, decode_times=False, mask_and_scale=False) as ds:
        ds.load()
    ds.to_netcdf(file, format=layout)
    raw = file.read_bytes()
    file.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(InputError, match=r"truncated|damaged|no NetCDF file") as refusal:
        grctellus.read(str(file))
    assert str(refusal.value).startswith(str(file)) and "\n" not in str(refusal.value)


def test_a_missing_file_and_a_file_of_another_kind(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.nc: no such file"):
        grctellus.read(str(tmp_path / "nowhere.nc"))
    (tmp_path / "text.nc").write_text("lwe_thickness\n1.0\n")
    with pytest.raises(InputError, match=r"text\.nc: "):
        grctellus.read(str(tmp_path / "text.nc"))


@given(st.integers(2, 30), st.integers(0, 359), st.booleans(), st.booleans())
@settings(max_examples=50, deadline=None)
def test_any_order_of_axes_ends_the_same(rows, shift, flip, east):
    """A field that knows its own coordinates must still know them after the axes are ordered."""
    lat = np.linspace(-80, 80, rows)
    lon = np.roll(np.arange(-179.5, 180), shift)
    lat, lon = (lat[::-1] if flip else lat), (lon % 360 if east else lon)
    wrapped = (lon + 180) % 360 - 180
    field = lat[:, None] * 1000 + wrapped[None]
    ds = order_axes(xr.Dataset({"x": (("lat", "lon"), field)}, coords={"lat": lat, "lon": lon}), file="f")
    assert (np.diff(ds["lat"]) > 0).all() and (np.diff(ds["lon"]) > 0).all()
    assert -180 <= ds["lon"].values.min() and ds["lon"].values.max() < 180
    np.testing.assert_array_equal(ds["x"].values, ds["lat"].values[:, None] * 1000 + ds["lon"].values[None])


def test_the_real_mascons(real_data):
    file = real_data / "hydro" / "grace_jpl_l2" / "grace_jpl_gsm_mascon3deg_0p5grid_2002_2025.nc"
    ds = grctellus.read(str(file))
    assert dict(ds.sizes) | {"bound": 2} == {"mascon": 1887, "time": 236, "cell": 67420, "bound": 2}
    with netCDF4.Dataset(file) as raw:  # the file keeps its own series per mascon
        own = raw["mascon_lwe"][:][ds["mascon_id"].values - 1]
        np.testing.assert_allclose(ds["twsa"], np.asarray(own) * 10, atol=1e-3)
        fraction = np.asarray(raw["mascon_land_fraction"][:])[ds["mascon_id"].values - 1]
        np.testing.assert_allclose(ds["land_area_km2"] / ds["area_km2"], fraction, atol=1e-6)
    bounds = ds["time_bounds"].values
    found = months.records(bounds[:, 0], bounds[:, 1], file="")
    month, count = np.unique(found.month, return_counts=True)
    assert month[count == 2].astype(str).tolist() == ["2012-01", "2015-04"]


def test_the_real_file_called_mm_is_refused_with_the_factor(real_data, tmp_path):
    source = real_data / "hydro" / "grace_jpl_l2" / "grace_jpl_gsm_mascon3deg_0p5grid_2002_2025.nc"
    with xr.open_dataset(source, decode_times=False) as ds:
        part = ds[["lwe_thickness", "mascon_ID", "land_mask", "time_bounds"]].isel(time=slice(0, 40)).load()
    part["lwe_thickness"].attrs["units"] = "mm"
    part["lwe_thickness"].encoding = {}
    part.to_netcdf(tmp_path / "wrong.nc")
    with pytest.raises(InputError, match=r"'lwe_thickness'.*looks 10 x too small: cm taken for mm"):
        grctellus.read(str(tmp_path / "wrong.nc"))


def test_a_mascon_file_on_s3_and_a_bucket_that_is_not_there(s3_server, tmp_path):
    import s3fs

    truth = mascon_file(tmp_path / "m.nc")
    s3fs.S3FileSystem().put_file(str(tmp_path / "m.nc"), "bucket/m.nc")
    np.testing.assert_allclose(by_id(grctellus.read("s3://bucket/m.nc")), truth, atol=1e-4)
    for url in ("s3://bucket/nowhere.nc", "s3://no-such-bucket/m.nc"):
        with pytest.raises(InputError, match=f"{url}: no such file, folder or bucket") as refusal:
            grctellus.read(url)
        assert "\n" not in str(refusal.value)
    (tmp_path / "half.nc").write_bytes((tmp_path / "m.nc").read_bytes()[:9000])
    s3fs.S3FileSystem().put_file(str(tmp_path / "half.nc"), "bucket/half.nc")
    with pytest.raises(InputError, match=r"s3://bucket/half\.nc: .*(truncated|damaged|no NetCDF file)"):
        grctellus.read("s3://bucket/half.nc")


def test_an_endpoint_that_does_not_answer_is_one_line(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match=r"s3://bucket/m\.nc: cannot read: ") as refusal:
        grctellus.read("s3://bucket/m.nc")
    assert "\n" not in str(refusal.value)
    s3fs.S3FileSystem.clear_instance_cache()
