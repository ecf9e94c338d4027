"""Reader of MODIS and ASTER pairs: planted values come back, fill goes with its border, bad files are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers.aster_pairs import masked_aster, read_pairs

COARSE = 926.6254330558334
SIDE, FACTOR, ASTER = 8, 4, 50
NAME = "pairs.nc"


def _pairs() -> xr.Dataset:
    rng = np.random.default_rng(3)
    fine = COARSE / FACTOR
    geo_lst = np.array([[277e3, COARSE, 0, 5100e3, 0, -COARSE], [46e3, COARSE, 0, 4902e3, 0, -COARSE]])
    geo_ndvi = np.array(
        [[277e3 + 2 * fine, fine, 0, 5100e3 + fine, 0, -fine], [46e3, fine, 0, 4902e3 - 3 * fine, 0, -fine]]
    )
    aster = np.zeros((2, ASTER, ASTER), "uint16")
    aster[0] = rng.integers(14800, 15500, (ASTER, ASTER))
    aster[1, : ASTER - 5, : ASTER - 9] = rng.integers(14800, 15500, (ASTER - 5, ASTER - 9))
    return xr.Dataset(
        {
            "pair_id": ("pair", np.array([4, 9], "int32")),
            "modis_lst_dn": (("pair", "y1", "x1"), rng.integers(14800, 15300, (2, SIDE, SIDE)).astype("uint16")),
            "geo_lst": (("pair", "six"), geo_lst),
            "modis_ndvi_e4": (
                ("pair", "y250", "x250"),
                rng.integers(-2000, 9000, (2, SIDE * FACTOR, SIDE * FACTOR)).astype("int16"),
            ),
            "geo_ndvi": (("pair", "six"), geo_ndvi),
            "aster_lst_dn": (("pair", "ya", "xa"), aster),
            "aster_rows": ("pair", np.array([ASTER, ASTER - 5], "int32")),
            "aster_cols": ("pair", np.array([ASTER, ASTER - 9], "int32")),
            "aster_transform": (("pair", "six"), np.array([[fine, 0, 5e5, 0, -fine, 5e6]] * 2)),
            "aster_epsg": ("pair", np.array([32631, 32632], "int32")),
        }
    )


def _read(folder: Path, pairs: xr.Dataset | None = None) -> xr.Dataset:
    (_pairs() if pairs is None else pairs).to_netcdf(folder / NAME)
    return read_pairs(str(folder / NAME))


def test_values_come_back_with_their_grids(tmp_path: Path) -> None:
    ds = _pairs()
    out = _read(tmp_path, ds)
    np.testing.assert_allclose(out["modis_lst"].values, ds["modis_lst_dn"].values * 0.02, atol=1e-4)
    np.testing.assert_allclose(out["ndvi"].values, ds["modis_ndvi_e4"].values * 1e-4, atol=1e-6)
    inner = (0, slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(out["aster"].values[inner], ds["aster_lst_dn"].values[inner] * 0.02, atol=1e-4)
    assert out["pair_id"].values.tolist() == [4, 9] and out.attrs["factor"] == FACTOR
    assert out.attrs["fine_pixel_m"] == pytest.approx(COARSE / FACTOR)
    known = np.isfinite(out["aster"].values[1])
    assert known[2 : ASTER - 7, 2 : ASTER - 11].all()
    assert known.sum() == (ASTER - 9) * (ASTER - 13)  # the padding and two pixels inside it are no data


def test_fill_inside_goes_with_what_the_interpolation_smeared() -> None:
    truth = np.full((40, 40), 310.0)
    fill = np.zeros((40, 40), bool)
    fill[15:22, 18:30] = True
    stored = np.where(fill, 200.0, truth)
    stored[14, 18:30], stored[22, 18:30] = 265.0, 290.0  # half and less of the fill
    found = masked_aster(stored)
    valid = np.isfinite(found)
    assert not valid[fill].any() and not valid[22, 18:30].any() and not valid[12:14, 18:30].any()
    np.testing.assert_array_equal(found[valid], np.float32(310.0))
    assert valid[4:10, 4:36].all()  # far from fill and edge nothing is lost
    assert not valid[:2].any() and not valid[:, -2:].any()


def test_one_hot_pixel_of_modis_is_set_missing(tmp_path: Path) -> None:
    ds = _pairs()
    ds["modis_lst_dn"][1, 4, 4] = 20106  # 402 K, as found in nature's files
    out = _read(tmp_path, ds)
    assert np.argwhere(np.isnan(out["modis_lst"].values)).tolist() == [[1, 4, 4]] and out.attrs["outliers"] == 1


def test_missing_or_constant_ndvi_is_no_guidance(tmp_path: Path) -> None:
    without = _read(tmp_path, _pairs().drop_vars(["modis_ndvi_e4", "geo_ndvi"]))
    assert np.isnan(without["ndvi"].values).all() and without["ndvi"].shape == (2, SIDE * FACTOR, SIDE * FACTOR)
    assert any("no guidance" in line for line in without.attrs["notes"])
    (tmp_path / "second").mkdir()
    ds = _pairs()
    ds["modis_ndvi_e4"][1] = -3000
    flat = _read(tmp_path / "second", ds)
    assert np.isnan(flat["ndvi"].values[1]).all() and np.isfinite(flat["ndvi"].values[0]).all()
    assert any("1 of 2 pairs have no NDVI" in line for line in flat.attrs["notes"])


def test_a_pair_of_fill_alone_is_left_out_with_a_note(tmp_path: Path) -> None:
    ds = _pairs()
    ds["aster_lst_dn"][0] = 10000
    out = _read(tmp_path, ds)
    assert out["pair_id"].values.tolist() == [9] and any("pairs 4 lack" in line for line in out.attrs["notes"])


def _set(name: str, place: tuple, value: float) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(ds: xr.Dataset) -> xr.Dataset:
        ds[name][place] = value
        return ds

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.drop_vars("aster_epsg"), "'aster_epsg' missing"),
        (lambda ds: ds.drop_vars("geo_ndvi"), "'geo_ndvi' missing"),
        (lambda ds: ds.assign(modis_lst_dn=ds["modis_lst_dn"] * 0.02 - 273.15), "'modis_lst_dn', pair 0.*Celsius"),
        (lambda ds: ds.assign(modis_lst_dn=ds["modis_lst_dn"] * 0.02), "'modis_lst_dn', pair 0.*kelvin"),
        (lambda ds: ds.assign(aster_lst_dn=ds["aster_lst_dn"] * 0.02), "no pair has valid pixels"),
        (lambda ds: ds.assign(aster_lst_dn=ds["aster_lst_dn"] * 2), "'aster_lst_dn', pair 0: median 6"),
        (_set("geo_ndvi", (1, 0), 146e3), "'geo_ndvi', pair 1: the corner lies .* give NDVI of the same place"),
        (lambda ds: ds.isel(x250=slice(0, 16)), "found 32 x 16 pixels"),
        (_set("geo_lst", (1, 2), 3.0), "'geo_lst', pair 1"),
        (_set("geo_lst", (1, 1), 1000.0), "'geo_lst', pair 1"),
        (_set("aster_epsg", (1,), 4326), "'aster_epsg', pair 1: found 4326"),
        (_set("aster_transform", (0, 0), 90.0), "'aster_transform', pair 0.*231.66 m"),
        (_set("aster_rows", (0,), 51), "pair 0: found 51 x 50"),
    ],
)
def test_bad_pairs_are_refused_in_one_line(
    tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], words: str
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        _read(tmp_path, change(_pairs()))
    assert "\n" not in str(refused.value) and NAME in str(refused.value)


def test_truncated_and_absent_files_are_refused(tmp_path: Path) -> None:
    _pairs().to_netcdf(tmp_path / "whole.nc")
    whole = (tmp_path / "whole.nc").read_bytes()
    (tmp_path / NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=NAME):
        read_pairs(str(tmp_path / NAME))
    with pytest.raises(InputError, match="no such file"):
        read_pairs(str(tmp_path / "absent.nc"))


def test_the_real_file_holds_no_fill(real_data: Path) -> None:
    out = read_pairs(str(real_data / "modis" / "imt-sif-aster-modis" / "modis_aster_pairs.nc"))
    assert out.sizes["pair"] == 56 and out.attrs["factor"] == 4
    assert np.nanmin(out["aster"].values) >= 270.0
    assert np.nanmax(out["modis_lst"].values) < 350.0 and out.attrs["outliers"] >= 1  # one MODIS pixel has 402 K
    means = np.nanmean(out["aster"].values, axis=(1, 2)) - np.nanmean(out["modis_lst"].values, axis=(1, 2))
    assert np.abs(means).mean() < 2.0  # fill left inside makes the sensors differ by 11 K
