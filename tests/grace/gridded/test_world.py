"""Where storage and predictors meet."""

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers.mascons import blocks_of_grid
from sciml.grace.gridded.layout import pack
from sciml.grace.gridded.predictors import packed_windows
from sciml.grace.gridded.world import covered_windows, open_predictors, records_of, with_predictors

LAT, LON = np.arange(-8.75, 9, 0.5), np.arange(0.25, 9, 0.5)


def mascons() -> xr.Dataset:
    """Six rows of blocks of 3 degrees, the southern ones of three columns."""
    values = np.random.default_rng(0).normal(size=(2, len(LAT), len(LON)))
    values[:, -6:, -1:] = np.nan
    bounds = np.array([["2003-01-01", "2003-02-01"], ["2003-02-01", "2003-03-01"]], "datetime64[s]")
    grid = xr.Dataset({"twsa": (("time", "lat", "lon"), values)}, {"lat": LAT, "lon": LON})
    return blocks_of_grid(grid.assign(time_bounds=(("time", "bound"), bounds)), file="f")


def predictors(lat: np.ndarray) -> xr.Dataset:
    days = np.arange("2003-01-01", "2003-03-01", dtype="datetime64[D]")
    values = np.random.default_rng(1).gamma(2.0, 1e-5, (len(days), len(lat), len(LON))).astype(np.float32)
    axes = {"time": days.astype("datetime64[s]"), "lat": lat, "lon": LON}
    return xr.Dataset({"pr": (("time", "lat", "lon"), values)}, axes)


def test_mascons_beyond_the_predictors_are_left_out_and_said() -> None:
    short = predictors(LAT[LAT > -4])  # GLDAS ends at 60 S; here the grid ends inside the second row of blocks
    found = with_predictors(mascons(), short)
    whole = mascons()
    out = int((whole["lat"] < -3).sum())
    assert found.sizes["mascon"] == whole.sizes["mascon"] - out and found["lat"].min() == -1.5
    assert found.attrs["notes"][-1].startswith(f"{out} of {whole.sizes['mascon']} mascons lie outside")
    same = np.isin(whole["mascon_id"].values, found["mascon_id"].values)
    np.testing.assert_array_equal(found["twsa"].values, whole["twsa"].values[same])
    np.testing.assert_array_equal(
        found["mascon_id"].values[found["cell_parent"].values],
        whole["mascon_id"].values[whole["cell_parent"].values][same[whole["cell_parent"].values]],
    )
    assert with_predictors(whole, predictors(LAT)).attrs["notes"] == whole.attrs["notes"]
    with pytest.raises(InputError, match=r"latitudes 40 \.\. 50 .* found no mascon there"):
        with_predictors(whole, predictors(np.arange(40.0, 50.5, 0.5)))


def test_cells_beyond_the_predictors_have_none_and_the_others_their_own() -> None:
    short = predictors(LAT[LAT > -2])  # ends inside the row of blocks from 3 S
    found = with_predictors(mascons(), short)
    layout = pack(found, 4)
    windows = packed_windows(short, layout, np.array(["2003-01"], "datetime64[M]"), records_of(found))
    beyond = ~layout.real | (np.nan_to_num(layout.lat) < -2)
    np.testing.assert_array_equal(np.isnan(windows["pr"].values[:, 0]), beyond)
    january = short["pr"].sel(time="2003-01").mean("time")
    here = np.flatnonzero(~beyond)
    expected = january.sel(lat=xr.DataArray(layout.lat[here]), lon=xr.DataArray(layout.lon[here])).values
    np.testing.assert_allclose(windows["pr"].values[here, 0], expected, rtol=1e-5)


def test_monthly_predictors_are_said_to_be(tmp_path) -> None:
    wide = np.concatenate([np.arange(-89.75, -9, 0.5), LAT, np.arange(9.25, 90, 0.5)])
    monthly = predictors(wide).resample(time="MS").mean()
    monthly["pr"].attrs["units"] = "kg m-2 s-1"
    monthly.to_netcdf(tmp_path / "p.nc")
    found = open_predictors(str(tmp_path / "p.nc"), 0.5)
    assert found.attrs["notes"] == [
        f"{tmp_path / 'p.nc'}: monthly predictors; each is taken to hold all month in means over GRACE's own bounds"
    ]
    covered, windows, said = covered_windows(found, records_of(mascons()))
    assert covered.astype(str).tolist() == ["2003-01", "2003-02"] and len(windows) == 2 and not said
