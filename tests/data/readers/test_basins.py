"""The table of basin means: a small file in its layout, and the real one."""

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2
from sciml.data import months
from sciml.data.readers import basins, grace_months

MONTHS = 48
NAMES = ["RIO A", "RIO B", "RIO C"]


def table(path, *, edit=None):
    """Three basins, the last without storage; P of GLDAS under its first part, as in the real table."""
    rng = np.random.default_rng(0)
    shape = (3, MONTHS)
    storage = rng.normal(0, 50, shape).astype(np.float32)
    storage[2] = np.nan
    flux = {
        name: rng.uniform(20, 120, shape).astype(np.float32)
        for name in ("P_ERA5_Land", "ET_ERA5_Land", "R_ERA5_Land", "P_GLDAS21", "ET_GLDAS21_NOAH36", "R_GLDAS21_NOAH36")
    }
    time = (np.datetime64("2002-01", "M") + np.arange(MONTHS)).astype("datetime64[D]") + 14
    days = (time - np.datetime64("1979-01-15")).astype(int)
    ds = xr.Dataset(
        {
            **{name: (("basin", "time"), values, {"units": "mm month-1"}) for name, values in flux.items()},
            "TWS_GRACE_JPL_mascons": (("basin", "time"), storage, {"units": "mm"}),
            "TWS_uncertainty_GRACE_JPL_mascons": (("basin", "time"), np.full(shape, 12.0), {"units": "mm"}),
            "climate": ("basin", ["Af", "", "Dfc"]),
        },
        coords={"basin": NAMES, "time": ("time", days, {"units": "days since 1979-01-15 00:00:00"})},
    )
    if edit:
        ds = edit(ds)
    ds.to_netcdf(path)
    return ds


def mask(path, *, names=("RIO X", "RIO B", "RIO A"), descending=False):
    """Two-degree cells; the list of names has another order than the table, and a basin that the table lacks."""
    lat, lon = np.arange(-89.0, 90, 2), np.arange(-179.0, 180, 2)
    index = np.full((90, 180), -1, dtype=np.int16)
    index[45, 89:91] = 1  # RIO B: latitude 1, longitudes -1 and 1
    index[60, 179] = 2  # RIO A at the date line, both sides
    index[60, 0] = 2
    index[20, 20] = 0
    ds = xr.Dataset(
        {"basin_index": (("lat", "lon"), index, {"_FillValue": np.int16(-1)})},
        coords={"lat": lat, "lon": lon, "basin": list(names)},
    )
    if descending:
        ds = ds.isel(lat=slice(None, None, -1)).assign_coords(lon=lon % 360)
    ds.to_netcdf(path)


def read(path, **options):
    settings = {"storage": "TWS_GRACE_JPL_mascons", "families": ["ERA5_Land", "GLDAS21_NOAH36"], **options}
    return basins.read(str(path), **settings)


def test_storage_in_mm_and_fluxes_as_rates(tmp_path):
    raw = table(tmp_path / "b.nc")
    ds = read(tmp_path / "b.nc")
    np.testing.assert_allclose(ds["twsa"], raw["TWS_GRACE_JPL_mascons"], rtol=1e-6)
    np.testing.assert_allclose(ds["twsa_uncertainty"], 12.0)
    # February 2002 has 28 days: rate times seconds is the month's depth again
    np.testing.assert_allclose(ds["pr"][0, 0, 1] * 28 * 86400, raw["P_ERA5_Land"][0, 1], rtol=1e-5)
    seconds = months.month_seconds(ds["time"].values)
    np.testing.assert_allclose(ds["pr"].sel(family="GLDAS21_NOAH36") * seconds, raw["P_GLDAS21"], rtol=1e-5)
    np.testing.assert_allclose(ds["mrro"].sel(family="GLDAS21_NOAH36") * seconds, raw["R_GLDAS21_NOAH36"], rtol=1e-5)
    np.testing.assert_allclose(ds["evspsbl"].sel(family="ERA5_Land") * seconds, raw["ET_ERA5_Land"], rtol=1e-5)
    assert ds["time"].values[1].astype("datetime64[D]").astype(str) == "2002-02-01"
    assert ds["climate"].values.tolist() == ["Af", "", "Dfc"]
    assert any("1 of 3 basins hold no storage" in line for line in ds.attrs["notes"])


def test_storage_is_masked_to_the_months_that_grace_saw(tmp_path):
    table(tmp_path / "b.nc")
    start = np.array(["2002-04-04", "2002-06-01"], dtype="datetime64[s]")
    end = np.array(["2002-05-01", "2002-07-01"], dtype="datetime64[s]")
    ds = read(tmp_path / "b.nc", real_months=months.records(start, end, file=""))
    seen = ds["time"].values[ds["observed"].values].astype("datetime64[M]").astype(str).tolist()
    assert seen == ["2002-04", "2002-06"]
    np.testing.assert_array_equal(np.isfinite(ds["twsa"].values[0]), ds["observed"].values)
    np.testing.assert_array_equal(np.isfinite(ds["twsa_uncertainty"].values[0]), ds["observed"].values)
    assert np.isfinite(ds["pr"].values).all()


def listed(*first):
    start = np.array(first, dtype="datetime64[M]")
    return months.records(start.astype("datetime64[s]"), (start + 1).astype("datetime64[s]"), file="")


def test_real_months_that_are_not_of_this_storage_are_refused(tmp_path):
    def edit(ds):
        storage = ds["TWS_GRACE_JPL_mascons"].copy()
        storage[:, [4, 5]] = np.nan  # 2002-05 and 2002-06 were not seen
        return ds.assign(TWS_GRACE_JPL_mascons=storage)

    table(tmp_path / "b.nc", edit=edit)
    with pytest.raises(InputError, match=r"no basin holds storage in 2 months that the list.*: 2002-05, 2002-06;"):
        read(tmp_path / "b.nc", real_months=listed("2002-04", "2002-05", "2002-06", "2002-07"))
    with pytest.raises(InputError, match="2002-01 to 2005-12: no real GRACE month of the list lies there"):
        read(tmp_path / "b.nc", real_months=listed("2018-06", "2018-07"))
    # a list may begin before and end after the storage
    ds = read(tmp_path / "b.nc", real_months=listed("2001-12", "2002-04", "2018-06"))
    assert ds["observed"].values.sum() == 1


@pytest.mark.parametrize("descending", [False, True])
def test_places_are_matched_by_name_across_the_date_line(tmp_path, descending):
    table(tmp_path / "b.nc")
    mask(tmp_path / "m.nc", descending=descending)
    ds = read(tmp_path / "b.nc", mask=str(tmp_path / "m.nc"))
    assert ds["n_cells"].values.tolist() == [2, 2, 0]
    np.testing.assert_allclose(ds["lat"].values[:2], [31, 1], atol=0.01)
    assert abs(abs(ds["lon"].values[0]) - 180) < 1e-9 and abs(ds["lon"].values[1]) < 1e-9
    assert np.isnan(ds["lat"].values[2]) and np.isnan(ds["area_km2"].values[2])
    np.testing.assert_allclose(ds["area_km2"].values[:2], 2 * cell_area_km2(np.array([31.0, 1.0]), 2.0))
    np.testing.assert_array_equal(np.bincount(ds["cell_parent"], minlength=3), ds["n_cells"])
    assert any("1 of 3 basins have no cell" in line for line in ds.attrs["notes"])


def test_a_table_with_other_basins_and_fewer_variables_is_read(tmp_path):
    table(
        tmp_path / "b.nc",
        edit=lambda ds: ds.isel(basin=[1]).drop_vars(["climate", "P_GLDAS21", "TWS_uncertainty_GRACE_JPL_mascons"]),
    )
    ds = read(tmp_path / "b.nc")
    assert ds["basin"].values.tolist() == ["RIO B"] and "climate" not in ds and "twsa_uncertainty" not in ds
    assert np.isnan(ds["pr"].sel(family="GLDAS21_NOAH36")).all() and np.isfinite(ds["pr"].sel(family="ERA5_Land")).all()
    notes = " ".join(ds.attrs["notes"])
    assert "family 'GLDAS21_NOAH36' has no P_ variable" in notes and "without uncertainty" in notes


def test_products_that_end_early_or_lack_basins_are_said(tmp_path):
    def edit(ds):
        rain = ds["P_ERA5_Land"].values.copy()
        rain[:, -6:] = np.nan
        flow = ds["R_ERA5_Land"].values.copy()
        flow[0] = np.nan
        return ds.assign(P_ERA5_Land=ds["P_ERA5_Land"].copy(data=rain), R_ERA5_Land=ds["R_ERA5_Land"].copy(data=flow))

    table(tmp_path / "b.nc", edit=edit)
    notes = read(tmp_path / "b.nc").attrs["notes"]
    assert any("'P_ERA5_Land' ends in 2005-06, storage in 2005-12" in line for line in notes)
    assert any("'R_ERA5_Land' has no value for 1 basins with storage" in line for line in notes)
    assert not any("GLDAS" in line for line in notes)


def test_a_table_without_any_storage_is_refused(tmp_path):
    table(tmp_path / "b.nc", edit=lambda ds: ds.isel(basin=[2]))
    with pytest.raises(InputError, match="'TWS_GRACE_JPL_mascons': found no valid value"):
        read(tmp_path / "b.nc")


def shrink(ds, name, factor):
    return ds.assign({name: (ds[name].dims, ds[name].values * factor, ds[name].attrs)})


@pytest.mark.parametrize(
    ("edit", "options", "says"),
    [
        (None, {"storage": "TWS_JPL"}, "storage variable 'TWS_JPL' missing; found TWS_GRACE_JPL_mascons"),
        (None, {"families": ["ERA5"]}, "family 'ERA5' unknown; found ERA5_Land, GLDAS21_NOAH36"),
        (lambda ds: shrink(ds, "TWS_GRACE_JPL_mascons", 0.1), {}, "'TWS_GRACE_JPL_mascons'.*cm taken for mm"),
        (lambda ds: shrink(ds, "P_ERA5_Land", 0.001), {}, "'P_ERA5_Land'.*looks 1000 x too small"),
        (lambda ds: ds.isel(time=[0, 1, 3, 4]), {}, "axis 'time': 2002-04 follows 2002-02"),
        (lambda ds: ds.assign_coords(basin=["RIO A", "RIO B", "RIO A"]), {}, "'basin': 'RIO A' is listed 2 times"),
        (lambda ds: ds.rename(basin="catchment"), {}, "variable 'basin' missing; a table of basin means"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_one_line(tmp_path, edit, options, says):
    table(tmp_path / "b.nc", edit=edit)
    with pytest.raises(InputError, match=says) as refusal:
        read(tmp_path / "b.nc", **options)
    assert str(refusal.value).startswith(str(tmp_path)) and "\n" not in str(refusal.value)


def test_a_mask_of_other_basins_is_refused(tmp_path):
    table(tmp_path / "b.nc")
    mask(tmp_path / "m.nc", names=("U", "V", "W"))
    with pytest.raises(InputError, match="no cell belongs to a basin of the table"):
        read(tmp_path / "b.nc", mask=str(tmp_path / "m.nc"))


def test_the_real_table(real_data):
    folder = real_data / "hydro"
    ds = basins.read(
        str(folder / "basin_water_budget" / "basin_monthly_1979_2020.nc"),
        storage="TWS_GRACE_JPL_mascons",
        families=["ERA5_Land", "GLDAS21_NOAH36", "MERRA2"],
        mask=str(folder / "basin_water_budget" / "basin_mask_0p5deg.nc"),
        real_months=grace_months.read(str(folder / "grace_months.csv")),
    )
    has_storage = np.isfinite(ds["twsa"].values).any(axis=1)
    assert ds.sizes["basin"] == 204 and has_storage.sum() == 164 and (ds["n_cells"].values > 0).sum() == 189
    assert (has_storage & (ds["n_cells"].values > 0)).sum() == 152
    test = (ds["time"].values >= np.datetime64("2015-01")) & (ds["time"].values < np.datetime64("2020-01"))
    assert ds["observed"].values[test].sum() == 37
    amazon = ds.sel(basin="AMAZON")
    assert -10 < float(amazon["lat"]) < 0 and -70 < float(amazon["lon"]) < -55
    # rain, evaporation and runoff of the Amazon in mm a year
    year = 365.25 * 86400
    for name, low, high in (("pr", 1800, 2800), ("evspsbl", 900, 1500), ("mrro", 800, 1500)):
        assert low < float(amazon[name].sel(family="ERA5_Land").mean()) * year < high, name
