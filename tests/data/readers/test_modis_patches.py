"""Reader of MODIS patches: planted values come back, bad files are refused in one line, the real file agrees."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers.modis_patches import day_of_year, read_patches
from sciml.modis.patches import images_of

PIXEL = 926.6254331391667
SIDE = 16
NAME = "patches.nc"
NDVI = "ndvi.nc"


def _patches() -> xr.Dataset:
    """Three patches of two windows; window 7 on two dates."""
    rng = np.random.default_rng(5)
    smooth = 290.0 + 8.0 * np.sin(np.linspace(0, 3, SIDE))[:, None] + rng.uniform(-2, 2, (3, 2, SIDE, SIDE))
    return xr.Dataset(
        {
            "lst_dn": (("patch", "overpass", "y", "x"), np.round(smooth / 0.02).astype("uint16")),
            "overpass": ("overpass", np.array(["day", "night"])),
            "date": ("patch", np.array([2020005, 2020005, 2020020], "int32")),
            "window": ("patch", np.array([7, 8, 7], "int16")),
            "ulx": ("patch", np.array([0.0, SIDE * PIXEL, 0.0])),
            "uly": ("patch", np.array([5e6, 5e6, 5e6])),
            "ndvi_index": ("patch", np.array([1, 0, -1], "int32")),
        },
        attrs={"pixel_size_m": PIXEL},
    )


def _ndvi() -> xr.Dataset:
    rng = np.random.default_rng(6)
    red = rng.integers(300, 900, (2, SIDE, SIDE))
    return xr.Dataset(
        {
            "refl_dn": (("patch", "band", "y", "x"), np.stack([red, 3 * red], axis=1).astype("int16")),
            "band": ("band", np.array(["red", "nir"])),
            "date": ("patch", np.array([2020001, 2020001], "int32")),
            "window": ("patch", np.array([8, 7], "int16")),
        }
    )


def _read(folder: Path, patches: xr.Dataset | None = None, ndvi: xr.Dataset | None = None) -> xr.Dataset:
    (_patches() if patches is None else patches).to_netcdf(folder / NAME)
    (_ndvi() if ndvi is None else ndvi).to_netcdf(folder / NDVI)
    return read_patches(str(folder / NAME), str(folder / NDVI))


def test_values_dates_and_overpasses_come_back(tmp_path: Path) -> None:
    ds = _patches()
    out = _read(tmp_path, ds)
    assert out["lst"].dims == ("image", "y", "x")
    np.testing.assert_allclose(out["lst"].values.reshape(3, 2, SIDE, SIDE), ds["lst_dn"].values * 0.02, atol=1e-4)
    assert out["day"].values.tolist() == [True, False] * 3
    assert out["window"].values.tolist() == [7, 7, 8, 8, 7, 7]
    np.testing.assert_array_equal(
        out["date"].values.astype("datetime64[D]"),
        np.array(["2020-01-05"] * 4 + ["2020-01-20"] * 2, "datetime64[D]"),
    )
    np.testing.assert_allclose(out["ndvi"].values[:4], 0.5, atol=1e-6)  # nir = 3 red
    assert np.isnan(out["ndvi"].values[4:]).all()
    assert any("1 of 3 patches have no NDVI" in line for line in out.attrs["notes"])
    images = images_of(out)
    assert len(images) == 6 and images.fine_pixel_m == PIXEL and images.select(images.day).window.tolist() == [7, 8, 7]


def test_bands_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    swapped = _ndvi().isel(band=[1, 0])
    np.testing.assert_allclose(_read(tmp_path, ndvi=swapped)["ndvi"].values[:4], 0.5, atol=1e-6)


def test_fill_of_one_band_is_unknown_ndvi(tmp_path: Path) -> None:
    ndvi = _ndvi()
    ndvi["refl_dn"][1, 0, 3, 4] = -1000
    out = _read(tmp_path, ndvi=ndvi)
    assert np.isnan(out["ndvi"].values[0, 3, 4]) and np.isnan(out["ndvi"].values[:2]).sum() == 2


def test_without_ndvi_there_is_no_guidance_and_it_is_said(tmp_path: Path) -> None:
    _patches().to_netcdf(tmp_path / NAME)
    for url in ("", str(tmp_path / "absent.nc")):
        out = read_patches(str(tmp_path / NAME), url)
        assert np.isnan(out["ndvi"].values).all() and out["ndvi"].shape == out["lst"].shape
        assert any("no guidance" in line for line in out.attrs["notes"])


def test_clouds_stay_missing_and_images_of_cloud_alone_are_left_out(tmp_path: Path) -> None:
    ds = _patches()
    ds["lst_dn"][0, 0, 2:9, 3:7] = 0
    ds["lst_dn"][1, 1] = 0
    out = _read(tmp_path, ds)
    assert out.sizes["image"] == 5 and out.attrs["empty_images"] == 1
    missing = np.isnan(out["lst"].values)
    assert missing[0, 2:9, 3:7].all() and missing.sum() == 28
    assert out["day"].values.tolist() == [True, False, True, True, False]


@pytest.mark.parametrize("kelvin", [402.0, 335.0, 20.0])
def test_one_outlier_is_set_missing_and_counted(tmp_path: Path, kelvin: float) -> None:
    ds = _patches()
    ds["lst_dn"][1, 0, 5, 5] = round(kelvin / 0.02)
    out = _read(tmp_path, ds)
    assert np.argwhere(np.isnan(out["lst"].values)).tolist() == [[2, 5, 5]]
    assert out.attrs["outliers"] == 1 and any("1 pixels set missing" in line for line in out.attrs["notes"])


def test_a_warm_town_beside_cold_mountains_is_no_outlier(tmp_path: Path) -> None:
    ds = _patches()
    warm = ds["lst_dn"].values[0, 0].copy()
    warm[:, : SIDE // 2] -= 1500  # 30 K colder
    ds["lst_dn"][0, 0] = warm
    assert _read(tmp_path, ds).attrs["outliers"] == 0


def _celsius(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign(lst_dn=ds["lst_dn"] * 0.02 - 273.15)


def _kelvin(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign(lst_dn=ds["lst_dn"] * 0.02)


def _scaled(ds: xr.Dataset) -> xr.Dataset:
    ds["lst_dn"].attrs["scale_factor"] = 0.1
    return ds


def _with(name: str, values: list) -> object:
    return lambda ds: ds.assign({name: (ds[name].dims, np.array(values))})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_celsius, "patch 0, overpass 0.*Celsius"),
        (_kelvin, "patch 0, overpass 0.*kelvin"),
        (lambda ds: ds.assign(lst_dn=ds["lst_dn"] * 2), "counts of another scale"),
        (lambda ds: ds.rename(lst_dn="raw"), "'lst_dn' missing.*found.*raw"),
        (lambda ds: ds.drop_vars("ulx"), "'ulx' missing"),
        (lambda ds: ds.drop_vars("ndvi_index"), "'ndvi_index' missing"),
        (_scaled, "scale 0.1"),
        (lambda ds: ds.assign(lst_dn=ds["lst_dn"] * 0), "every patch is missing throughout"),
        (lambda ds: ds.isel(overpass=0, drop=True).assign(overpass=("o", ["day"])), "found axes patch, y, x"),
        (_with("overpass", ["day", "dawn"]), "found day, dawn"),
        (_with("date", [2020005, 2020366, 2021366]), "place 2: found 2021366.*YYYYDDD"),
        (_with("date", [2020005, 20200106, 2020007]), "place 1: found 20200106"),
        (_with("date", [2020005, 2020005, 2020005]), "window 7 stands 2 times on 2020-01-05"),
        (_with("ulx", [0.0, SIDE * PIXEL, 5000.0]), "patch 2: window 7 lies at 5000"),
        (_with("ulx", [0.0, np.nan, 0.0]), "patch 1: missing"),
        (_with("ndvi_index", [1, 0, 2]), "found 2, but .* holds 2 patches"),
        (_with("ndvi_index", [0, 1, -1]), "found window 8, expected 7"),
        (_with("date", [2020005, 2020040, 2020020]), "found 2020-01-01, but temperature patch 1 is of 2020-02-09"),
    ],
)
def test_bad_patches_are_refused_in_one_line(tmp_path: Path, change: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        _read(tmp_path, change(_patches()))
    assert "\n" not in str(refused.value) and NAME.split(".")[0] in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.isel(x=slice(0, 8)), "grid of 16 x 8.*16 x 16"),
        (_with("date", [2019001, 2019001]), "found 2019-01-01"),
        (_with("window", [9, 7]), "found window 9, expected 8"),
        (lambda ds: ds.assign(ulx=("patch", [SIDE * PIXEL, 3 * PIXEL]), uly=("patch", [5e6, 5e6])), "'ulx'.*2780 m"),
        (lambda ds: ds.drop_vars("refl_dn"), "'refl_dn' missing"),
        (_with("band", ["red", "blue"]), "found red, blue"),
        (lambda ds: ds.assign(refl_dn=ds["refl_dn"] * 0 - 1000), "no usable red and near-infrared"),
    ],
)
def test_bad_ndvi_is_refused_in_one_line(tmp_path: Path, change: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        _read(tmp_path, ndvi=change(_ndvi()))
    assert "\n" not in str(refused.value) and NDVI in str(refused.value)


def test_truncated_and_absent_files_are_refused(tmp_path: Path) -> None:
    _patches().to_netcdf(tmp_path / "whole.nc")
    whole = (tmp_path / "whole.nc").read_bytes()
    (tmp_path / NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=NAME):
        read_patches(str(tmp_path / NAME))
    with pytest.raises(InputError, match="no such file"):
        read_patches(str(tmp_path / "absent.nc"))


def test_day_of_year_knows_leap_years() -> None:
    dates = day_of_year(np.array([2020060, 2021060, 2020366]), file="x")
    np.testing.assert_array_equal(dates, np.array(["2020-02-29", "2021-03-01", "2020-12-31"], "datetime64[D]"))


def test_the_real_file(real_data: Path) -> None:
    folder = real_data / "modis" / "imt-mrunet-2020"
    out = read_patches(
        str(folder / "mod11a1_h18v04_2020_patches64.nc"), str(folder / "mod13a2_h18v04_2020_patches64.nc")
    )
    assert out.sizes["image"] == 2 * 1311 and len(np.unique(out["window"])) == 148
    assert len(np.unique(out["date"])) == 144
    assert np.isfinite(out["lst"].values).all() and out.attrs["outliers"] == 0
    day = out["day"].values
    assert out["lst"].values[day].mean() > out["lst"].values[~day].mean() + 5
    assert 0.3 < np.nanmedian(out["ndvi"].values) < 0.7
