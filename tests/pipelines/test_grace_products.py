"""The gridded job on CSR's, GSFC's and Tellus' layouts, with predictors by month: from the generated Earth."""

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from pipelines.grace_downscale import main
from sciml.core.grid import cell_area_km2
from tests.pipelines.test_grace_files import OPTIONS, files  # noqa: F401 (a fixture)

Files = tuple[xr.Dataset, xr.Dataset]
ORIGIN = np.datetime64("2002-01-01", "s")


def days(bounds: np.ndarray) -> np.ndarray:
    return (bounds.astype("datetime64[s]") - ORIGIN).astype(float) / 86400


def csr(folder: Path, grace: xr.Dataset) -> str:
    """A quarter-degree grid in centimetres, longitudes 0..360, and the mask in a file of its own."""
    fine = grace.isel(lat=np.repeat(np.arange(grace.sizes["lat"]), 2), lon=np.repeat(np.arange(grace.sizes["lon"]), 2))
    shift = np.tile([-0.125, 0.125], grace.sizes["lat"]), np.tile([-0.125, 0.125], grace.sizes["lon"])
    axes = {"lat": fine["lat"].values + shift[0], "lon": (fine["lon"].values + shift[1]) % 360}
    bounds = days(grace["time_bounds"].values)
    lwe = np.nan_to_num(fine["lwe_thickness"].values, nan=50.0)  # a value everywhere, as CSR has it
    xr.Dataset(
        {
            "lwe_thickness": (("time", "lat", "lon"), lwe, {"units": "cm"}),
            "time_bounds": (("time", "timebound"), bounds),
        },
        {"time": ("time", bounds.mean(axis=1), {"Units": "days since 2002-01-01T00:00:00Z"}), **axes},
    ).to_netcdf(folder / "CSR.nc")
    xr.Dataset({"LO_val": (("lat", "lon"), fine["land_mask"].values.astype(float))}, axes).to_netcdf(folder / "LAND.nc")
    return f"{folder}/CSR.nc,{folder}/LAND.nc"


def gsfc(folder: Path, grace: xr.Dataset) -> str:
    """Mascons of one degree: the grid's cells two by two, the sea among them."""
    even = grace.isel(lat=slice(0, 2 * (grace.sizes["lat"] // 2)), lon=slice(0, 2 * (grace.sizes["lon"] // 2)))
    ones = even[["lwe_thickness", "uncertainty", "land_mask"]].coarsen(lat=2, lon=2).mean()
    lat, lon = (axis.ravel() for axis in np.meshgrid(ones["lat"].values, ones["lon"].values % 360, indexing="ij"))
    first, last = days(grace["time_bounds"].values).T
    rows = {
        "mascon/lat_center": lat,
        "mascon/lon_center": lon,
        "mascon/lat_span": np.ones(len(lat)),
        "mascon/lon_span": np.ones(len(lat)),
        "mascon/area_km2": 4 * cell_area_km2(lat, 0.5),
        "mascon/location": np.where(ones["land_mask"].values.ravel() > 0.5, 80.0, 90.0),
        "time/ref_days_first": first + 1,
        "time/ref_days_last": last,
    }
    with h5py.File(folder / "gsfc.h5", "w") as file:
        for name, row in rows.items():
            file[name] = row[None]
        file["solution/cmwe"] = np.nan_to_num(ones["lwe_thickness"].values.reshape(len(first), -1).T)
        noise = np.nan_to_num(ones["uncertainty"].values.reshape(len(first), -1).T, nan=2.0)
        file["uncertainty/noise_2sigma"] = 2 * noise
    return str(folder / "gsfc.h5")


def tellus(folder: Path, grace: xr.Dataset) -> str:
    """A file a record, metres on one degree, -99999 at sea."""
    even = grace.isel(lat=slice(0, 2 * (grace.sizes["lat"] // 2)), lon=slice(0, 2 * (grace.sizes["lon"] // 2)))
    ones = even[["lwe_thickness", "uncertainty"]].coarsen(lat=2, lon=2).mean()
    lat, lon = np.meshgrid(ones["lat"].values, ones["lon"].values % 360, indexing="ij")
    for number, (start, end) in enumerate(np.datetime_as_string(grace["time_bounds"].values, unit="s")):
        header = (
            f"header:\n dimensions:\n  lon : {lat.shape[1]}\n  lat : {lat.shape[0]}\n  time: 1\n"
            f" time_coverage_start : {start}\n time_coverage_end : {end}\n lwe:\n  unit : m\n# End of YAML header\n"
        )
        part = ones.isel(time=number)
        values = [np.nan_to_num(part[v].values / 100, nan=-99999.0) for v in ("lwe_thickness", "uncertainty")]
        table = np.stack([lon, lat, *values], axis=-1).reshape(-1, 4)
        body = "\n".join(" ".join(f"{x:.6f}" for x in row) for row in table)
        (folder / f"GRD-3_{number:03d}.txt.gz").write_bytes(gzip.compress((header + body + "\n").encode()))
    return str(folder / "GRD-3_*.txt.gz")


@pytest.mark.parametrize("layout", [csr, gsfc, tellus])
def test_a_product_without_three_degree_mascons_runs_on_blocks(
    layout: object,
    files: Files,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    grace, daily = files
    monthly = daily.resample(time="MS").mean()
    for year, part in monthly.groupby("time.year"):
        part.to_netcdf(tmp_path / f"monthly_{year}.nc")
    twsa = layout(tmp_path, grace)  # type: ignore[operator]
    options = [*OPTIONS, "--models", "ridge", "--twsa", twsa, "--predictors", str(tmp_path / "monthly_*.nc")]
    options = options[: options.index("--models")] + options[options.index("--models") + 2 :]
    assert main([*options, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 0
    said = capsys.readouterr().out
    assert "blocks of 3 degrees" in said and "monthly predictors; each is taken to hold all month" in said
    scores = json.loads((tmp_path / "run/metrics.json").read_text())["scores"]["downscale"]
    assert scores["ridge"]["n"] >= 6 and np.isfinite(scores["ridge"]["rmse_median"])
    with xr.open_dataset(tmp_path / "run/downscale.nc") as found:
        held = np.isfinite(found["cell_area"].values)
        assert np.isfinite(found["twsa"].values[:, held]).all()
        assert abs(held.sum() - float(grace["land_mask"].sum())) < 0.25 * held.sum()
