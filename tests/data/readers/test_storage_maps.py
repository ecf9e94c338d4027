"""CSR and GSFC products to their specifications, Tellus ASCII (also the real sample), and the Illinois wells."""

import gzip

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2
from sciml.data.readers import csr, gsfc, tellus_ascii, wells

HEADER = """header:
  dimensions:
    lon : 4
    lat : 2
    time: 1
  global_attributes:
    postprocess_2           : Background model added back:
    time_coverage_start     : {start}T00:00:00
    time_coverage_end       : {end}T00:00:00
  variables:
    lwe:
      name     : lwe
      unit     : {unit}
      comment  : 3rd column
    uncertainty:
      name     : uncertainty
      unit     : m
# End of YAML header
"""


def tellus(path, *, start="2002-04-05", end="2002-05-01", unit="m", lines=8, shift=0.0):
    rows = []
    for k, lon in enumerate((45.0, 135.0, 225.0, 315.0)):
        for j, lat in enumerate((-45.0, 45.0)):
            value = -99999.0 if (k, j) == (0, 0) else 0.01 * k + 0.1 * j + shift
            rows.append(f"  {lon}\t {lat}\t {value:.5f}\t {-99999.0 if value < -1 else 0.02}\t 0 0 0 0")
    path.write_bytes(
        gzip.compress((HEADER.format(start=start, end=end, unit=unit) + "\n".join(rows[:lines]) + "\n").encode())
    )
    return str(path)


def test_tellus_grids_are_mm_on_ordered_axes(tmp_path):
    late = tellus(tmp_path / "b.txt.gz", start="2002-08-01", end="2002-09-01", shift=0.001)
    early = tellus(tmp_path / "a.txt.gz")
    ds = tellus_ascii.read([late, early])
    assert ds["lon"].values.tolist() == [-135, -45, 45, 135] and ds["lat"].values.tolist() == [-45, 45]
    np.testing.assert_allclose(ds["twsa"][0].sel(lat=45), [120, 130, 100, 110], rtol=1e-6)  # 225E is -135
    np.testing.assert_allclose(
        ds["twsa"][1] - ds["twsa"][0], np.where(np.isfinite(ds["twsa"][0]), 1.0, np.nan), atol=1e-4
    )
    assert np.isnan(ds["twsa"][0].sel(lat=-45, lon=45)) and np.isnan(ds["twsa_uncertainty"][0].sel(lat=-45, lon=45))
    np.testing.assert_allclose(ds["twsa_uncertainty"][0].sel(lat=45), 20, rtol=1e-6)
    assert ds["time_bounds"].values[0].astype("datetime64[D]").astype(str).tolist() == ["2002-04-05", "2002-05-01"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lines": 7}, "found 7 lines of cells, expected 2 x 4; truncated"),
        ({"unit": "stone"}, "found units 'stone'"),
        ({"start": "2002-13-05"}, "'time_coverage_start': found '2002-13-05T00:00:00'"),
        ({"start": "2002-06-05"}, "record 0 ends at 2002-05-01"),
    ],
)
def test_tellus_files_that_cannot_be_right(tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        tellus_ascii.read(tellus(tmp_path / "a.txt.gz", **options))


def test_tellus_damaged_or_twice(tmp_path):
    file = tellus(tmp_path / "a.txt.gz")
    with pytest.raises(InputError, match="identical time bounds"):
        tellus_ascii.read([file, tellus(tmp_path / "b.txt.gz")])
    raw = (tmp_path / "a.txt.gz").read_bytes()
    (tmp_path / "a.txt.gz").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="truncated or damaged"):
        tellus_ascii.read(file)
    (tmp_path / "c.txt").write_text("1 2 3 4\n")
    with pytest.raises(InputError, match="no line '# End of YAML header'"):
        tellus_ascii.read(str(tmp_path / "c.txt"))


def test_the_real_tellus_sample(real_data):
    (file,) = sorted((real_data / "hydro" / "grace_csr_l3_sample").glob("*.txt.gz"))
    ds = tellus_ascii.read(str(file))
    assert ds["twsa"].shape == (1, 180, 360)
    # the first line of the table: 0.5E 89.5S -0.02807 m, 0.02730 m
    np.testing.assert_allclose(ds["twsa"].sel(lat=-89.5, lon=0.5), -28.07, rtol=1e-5)
    np.testing.assert_allclose(ds["twsa_uncertainty"].sel(lat=-89.5, lon=0.5), 27.3, rtol=1e-5)
    assert ds["time_bounds"].values[0].astype("datetime64[D]").astype(str).tolist() == ["2002-04-05", "2002-05-01"]
    assert 0.2 < float(np.isfinite(ds["twsa"]).mean()) < 0.5  # land alone


def grid(path, *, units="cm", scale=1.0, attribute="Units"):
    """CSR's layout at 30 degrees: longitudes 0..360, `Units` in capitals, bounds without attributes."""
    rng = np.random.default_rng(0)
    lwe = rng.normal(0, 6, (24, 6, 12)).astype(np.float32) * scale
    day = np.arange(25) * 30.5 + 94
    ds = xr.Dataset(
        {
            "lwe_thickness": (("time", "lat", "lon"), lwe, {"units": units}),
            "time_bounds": (("time", "timebound"), np.stack([day[:-1], day[1:]], -1)),
        },
        coords={
            "time": ("time", (day[:-1] + day[1:]) / 2, {attribute: "days since 2002-01-01T00:00:00Z"}),
            "lat": np.arange(-75.0, 90, 30),
            "lon": np.arange(15.0, 360, 30),
        },
    )
    ds.to_netcdf(path)
    return lwe


def test_storage_maps_are_lazy_mm_on_ordered_axes(tmp_path):
    lwe = grid(tmp_path / "g.nc")
    ds = csr.read(str(tmp_path / "g.nc"))
    assert ds["twsa"].chunks is not None and ds["lon"].values.tolist() == list(np.arange(-165.0, 180, 30))
    np.testing.assert_allclose(ds["twsa"].values, np.roll(lwe, 6, axis=-1) * 10, rtol=1e-6)
    assert ds["time_bounds"].values[0].astype(str).tolist() == ["2002-04-05T00:00:00", "2002-05-05T12:00:00"]


def test_storage_maps_in_the_wrong_unit_are_refused(tmp_path):
    grid(tmp_path / "g.nc", units="mm")
    with pytest.raises(InputError, match=r"'lwe_thickness'.*cm taken for mm"):
        csr.read(str(tmp_path / "g.nc"))


def gsfc_file(path, *, drop=None, scale=1.0):
    """Four mascons of one degree and a wide polar one; the first is ocean."""
    rng = np.random.default_rng(1)
    cmwe = rng.normal(0, 5, (5, 24)) * scale
    values = {
        "mascon/lat_center": [0.5, 0.5, 0.5, 1.5, 89.5],
        "mascon/lon_center": [0.5, 1.5, 359.5, 0.0, 180.0],
        "mascon/lat_span": [1, 1, 1, 1, 1],
        "mascon/lon_span": [1, 1, 1, 2, 360],
        "mascon/area_km2": [12364.0, 12364.0, 12364.0, 24720.0, 3000.0],
        "mascon/location": [90, 80, 80, 80, 1],
        "mascon/labels": [1, 2, 3, 4, 5],
        "time/ref_days_first": 94 + 31.0 * np.arange(24),
        "time/ref_days_last": 120 + 31.0 * np.arange(24),
    }
    with h5py.File(path, "w") as file:
        for name, row in values.items():
            if name != drop:
                file[name] = np.atleast_2d(np.asarray(row, float))
        if drop != "solution/cmwe":
            file["solution/cmwe"] = cmwe
        file["uncertainty/noise_2sigma"] = np.full((5, 24), 0.6)
        file["uncertainty/leakage_2sigma"] = np.full((5, 24), 0.8)
    return cmwe


def test_gsfc_mascons_and_their_cells(tmp_path):
    cmwe = gsfc_file(tmp_path / "g.h5")
    ds = gsfc.read(str(tmp_path / "g.h5"))
    assert ds["mascon_id"].values.tolist() == [2, 3, 4]
    np.testing.assert_allclose(ds["twsa"], cmwe[1:4] * 10, rtol=1e-5)
    np.testing.assert_allclose(ds["twsa_uncertainty"], 5.0, rtol=1e-6)  # two sigma of 6 and 8 mm: one sigma of 5
    bounds = ds["time_bounds"].values[0].astype("datetime64[D]").astype(str).tolist()
    assert bounds == ["2002-04-04", "2002-05-01"]  # day 1 is the first of January; the last day counts whole
    assert np.bincount(ds["cell_parent"]).tolist() == [4, 4, 8]
    total = np.bincount(ds["cell_parent"], ds["cell_area_km2"])
    np.testing.assert_allclose(total[0], 2 * cell_area_km2(np.array([0.25, 0.75]), 0.5).sum())
    wide = ds["cell_lon"].values[ds["cell_parent"].values == 2]
    assert sorted(set(wide.tolist())) == [-0.75, -0.25, 0.25, 0.75]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"drop": "solution/cmwe"}, "'/solution/cmwe' missing"),
        ({"drop": "mascon/location"}, "'/mascon/location' missing"),
        ({"scale": 0.1}, "'/solution/cmwe'.*looks 10 x too small"),
    ],
)
def test_gsfc_files_that_cannot_be_right(tmp_path, options, says):
    gsfc_file(tmp_path / "g.h5", **options)
    with pytest.raises(InputError, match=says):
        gsfc.read(str(tmp_path / "g.h5"))


def test_gsfc_truncated_or_absent(tmp_path):
    gsfc_file(tmp_path / "g.h5")
    raw = (tmp_path / "g.h5").read_bytes()
    (tmp_path / "g.h5").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="truncated or damaged"):
        gsfc.read(str(tmp_path / "g.h5"))
    with pytest.raises(InputError, match="no such file"):
        gsfc.read(str(tmp_path / "nowhere.h5"))


def well_table(path, *, edit=None):
    month = np.tile(np.arange(1, 13), 2)
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "Month": month,
            "Year": np.repeat([2003, 2004], 12),
            "wellme": "Barry",
            "Discharge": 20.0,
            "TRMM": 31.0,
            "LST": np.where(month == 1, -171.7, 10.0),
            "Vegetation": 40.0,
            "Canopy": 0.2,
            "SoilMoisture": 600.0,
            "SWE": 1.0,
            "Thickness": 67.0,
            "Conductivity": 32.0,
            "Lat": 39.8,
            "Long": -90.6,
            "GRACE_TWSA": rng.normal(0, 60, 24),
            "DGWL_m": 4.0,
        }
    )
    (edit(frame) if edit else frame).to_csv(path, index=False)
    return str(path)


def test_wells_in_catalogue_units_with_impossible_temperatures_said(tmp_path):
    ds = wells.read(well_table(tmp_path / "w.csv.gz"))
    np.testing.assert_allclose(ds["pr"][0, 0], 1.0 / 86400, rtol=1e-6)  # 31 mm in January
    assert np.isnan(ds["lst"][0, [0, 12]]).all() and float(ds["lst"][0, 1]) == pytest.approx(283.15)
    assert any("2 values below" in line for line in ds.attrs["notes"])
    assert float(ds["lat"][0]) == 39.8 and ds["time"].values[1].astype("datetime64[D]").astype(str) == "2003-02-01"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda f: f.drop(columns="TRMM"), "column TRMM missing"),
        (lambda f: pd.concat([f, f.iloc[[3]]]), "line 26: well 'Barry' in 2003-04 for the second time"),
        (lambda f: f.assign(SWE=["x", *["1.0"] * 23]), "column 'SWE', line 2: found 'x', expected a number"),
        (lambda f: f.assign(GRACE_TWSA=f["GRACE_TWSA"] / 10), "'GRACE_TWSA'.*cm taken for mm"),
    ],
)
def test_well_tables_that_cannot_be_right(tmp_path, edit, says):
    with pytest.raises(InputError, match=says):
        wells.read(well_table(tmp_path / "w.csv", edit=edit))


def test_the_real_wells(real_data):
    ds = wells.read(str(real_data / "hydro" / "illinois_seyoum" / "dgwlData.csv.gz"))
    assert ds.sizes["well"] == 32 and ds.sizes["time"] == 172
    assert 800 < float(ds["pr"].mean()) * 365.25 * 86400 < 1300  # Illinois: about 1000 mm a year
    assert 36.9 < float(ds["lat"].min()) and float(ds["lat"].max()) < 42.6
