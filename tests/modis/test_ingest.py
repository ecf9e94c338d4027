"""Ingest of granules: counts kept bit by bit, a year made at the start, new days added and nothing else done again."""

import dataclasses

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers the accessor `rio`
import xarray as xr

from cluster.executors import SerialExecutor
from cluster.run import open_run
from cluster.stages import Stage, run_stage
from cluster.verify import verify_run
from sciml.core.errors import InputError, RunError
from sciml.core.urls import list_sizes
from sciml.data.readers import mod11a1
from sciml.data.sinusoidal import Tile, tile_geobox
from sciml.data.stores import open_store
from sciml.modis import ingest
from tests.cluster.toy import config
from tests.data.readers.hdf_fixtures import lst_fields, lst_granule

PIXELS = 48


@dataclasses.dataclass(frozen=True)
class Counted:
    """The stage function with a note of what it was asked for."""

    function: ingest.Ingest
    asked: list

    def __call__(self, item):
        self.asked.append(item.day)
        return self.function(item)


def stage(tile_year, asked=None):
    function = ingest.ingest(tile_year)
    items, template = ingest.items(tile_year), ingest.template(tile_year)
    made = function if asked is None else Counted(function, asked)
    return Stage(tile_year.name, ingest.VERSION, items, template, made, config=tile_year.config, open_ended=True)


def run(folder, files, asked=None):
    """Ingest everything that a pattern names; returns the store's URL of the only tile and year."""
    (tile_year,), _ = ingest.find(str(files))
    with open_run(config(folder)) as opened:
        return run_stage(stage(tile_year, asked), opened, SerialExecutor()).url


def test_the_store_decodes_to_what_the_reader_says(tmp_path):
    path = lst_granule(tmp_path, day="2020-07-01", pixels=PIXELS)
    found = open_store(run(tmp_path / "run", path)).sel(time="2020-07-01")
    read = mod11a1.read(str(path))
    for name in ("view_angle", "overpass_time", "emissivity_31", "emissivity_32"):
        np.testing.assert_allclose(found[name], read[name], rtol=1e-6)
    np.testing.assert_allclose(found["lst_dn"], read["lst"], rtol=1e-6)
    errors = read["lst_error_class"].values.astype(float)
    np.testing.assert_array_equal(found["lst_error_class"], np.where(errors == 255, np.nan, errors))
    assert found["lst_dn"].attrs["units"] == "K" and found["lst_dn"].attrs["standard_name"] == "surface_temperature"
    assert found["lst_error_class"].attrs["flag_meanings"].startswith("at_most_1_K")


def test_counts_are_kept_bit_by_bit_and_packed_as_cf_says(tmp_path):
    path = lst_granule(tmp_path, pixels=PIXELS)
    url = run(tmp_path / "run", path)
    raw = xr.open_zarr(url, consolidated=False, mask_and_scale=False)
    truth = lst_fields(PIXELS, PIXELS)
    for i, over in enumerate(("Day", "Night")):
        np.testing.assert_array_equal(raw["lst_dn"].values[182, i], truth[f"LST_{over}_1km"][0])
        np.testing.assert_array_equal(raw["overpass_time"].values[182, i], truth[f"{over}_view_time"][0])
    assert raw["lst_dn"].dtype == np.uint16 and raw["view_angle"].dtype == np.uint8
    attributes = raw["lst_dn"].attrs
    assert (attributes["scale_factor"], attributes["add_offset"], attributes["_FillValue"]) == (0.02, 0.0, 0)
    assert (raw["view_angle"].attrs["add_offset"], raw["view_angle"].attrs["_FillValue"]) == (-65.0, 255)


def test_the_year_is_whole_and_days_without_granule_are_missing(tmp_path):
    url = run(tmp_path / "run", lst_granule(tmp_path, day="2020-12-31", pixels=PIXELS))
    found = open_store(url)
    assert found.sizes["time"] == 366 and str(found["time"].values[-1])[:10] == "2020-12-31"
    assert {key for key in list_sizes(url) if key.startswith("lst_dn/c/")} == {"lst_dn/c/365/0/0/0"}
    for name in found.data_vars:
        assert np.isnan(found[name].values[:365]).all() and np.isfinite(found[name].values[365]).any(), name


def test_the_grid_is_georeferenced_for_xarray(tmp_path):
    found = open_store(run(tmp_path / "run", lst_granule(tmp_path, pixels=PIXELS)))
    box = tile_geobox(Tile(18, 4), PIXELS)
    np.testing.assert_allclose(found["lst_dn"].odc.geobox.affine[:6], box.affine[:6], rtol=1e-9)
    assert found["lst_dn"].attrs["grid_mapping"] == "spatial_ref" and "spatial_ref" in found.coords
    mapping = found["spatial_ref"].attrs
    assert mapping["grid_mapping_name"] == "sinusoidal" and mapping["semi_major_axis"] == pytest.approx(6371007.181)
    assert found["x"].attrs == {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"}
    np.testing.assert_allclose(found.rio.transform()[:6], box.affine[:6], rtol=1e-9)


def test_running_again_adds_new_granules_alone(tmp_path):
    folder = tmp_path / "granules"
    folder.mkdir()
    asked: list = []
    for day in ("2020-07-01", "2020-07-02"):
        lst_granule(folder, day=day, pixels=PIXELS)
    first = run(tmp_path / "run", folder / "*.hdf", asked)
    assert asked == ["2020-07-01", "2020-07-02"]
    before = open_store(first)["lst_dn"].sel(time=slice("2020-07-01", "2020-07-02")).values
    run(tmp_path / "run", folder / "*.hdf", asked)
    assert len(asked) == 2
    lst_granule(folder, day="2020-02-29", pixels=PIXELS, seed=3)
    second = run(tmp_path / "run", folder / "*.hdf", asked)
    assert second == first and asked[2:] == ["2020-02-29"]
    after = open_store(first)["lst_dn"]
    np.testing.assert_array_equal(after.sel(time=slice("2020-07-01", "2020-07-02")), before)
    assert np.isfinite(after.sel(time="2020-02-29")).any()
    assert verify_run(str(tmp_path / "run")) == (18, [])


def test_a_granule_that_was_produced_again_is_ingested_again(tmp_path):
    folder = tmp_path / "granules"
    folder.mkdir()
    asked: list = []
    lst_granule(folder, pixels=PIXELS, produced="2020190000000")
    lst_granule(folder, pixels=PIXELS, day="2020-07-05")
    run(tmp_path / "run", folder / "*.hdf", asked)
    new = lst_granule(folder, pixels=PIXELS, produced="2021003092415", seed=9)
    url = run(tmp_path / "run", folder / "*.hdf", asked)
    assert asked == ["2020-07-01", "2020-07-05", "2020-07-01"]
    expected = mod11a1.read(str(new))["lst"]
    np.testing.assert_allclose(open_store(url)["lst_dn"].sel(time="2020-07-01"), expected, rtol=1e-6)


def test_moving_the_folder_changes_nothing(tmp_path):
    folder, asked = tmp_path / "a", []
    folder.mkdir()
    lst_granule(folder, pixels=PIXELS)
    run(tmp_path / "run", folder / "*.hdf", asked)
    folder.rename(tmp_path / "b")
    run(tmp_path / "run", tmp_path / "b" / "*.hdf", asked)
    assert len(asked) == 1


def test_the_store_of_a_year_does_not_depend_on_its_granules(tmp_path):
    for number, days in enumerate((["2020-07-01"], ["2020-07-01", "2020-08-01"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        for day in days:
            lst_granule(folder, day=day, pixels=PIXELS)
    made = [stage(ingest.find(str(tmp_path / str(number) / "*.hdf"))[0][0]) for number in (0, 1)]
    assert made[0].store == made[1].store
    assert made[0].template.signature() == made[1].template.signature()


def test_tiles_years_and_satellites_have_stores_of_their_own(tmp_path):
    for tile, day, product in (
        ("h18v04", "2019-12-31", "MOD11A1"),
        ("h18v04", "2020-01-01", "MOD11A1"),
        ("h17v04", "2020-01-01", "MOD11A1"),
        ("h18v04", "2020-01-01", "MYD11A1"),
    ):
        lst_granule(tmp_path, tile=tile, day=day, product=product, pixels=PIXELS)
    found, notes = ingest.find(str(tmp_path / "*.hdf"))
    assert [one.name for one in found] == [
        "granules_mod11a1_h17v04_2020",
        "granules_mod11a1_h18v04_2019",
        "granules_mod11a1_h18v04_2020",
        "granules_myd11a1_h18v04_2020",
    ]
    assert len({stage(one).store for one in found}) == 4 and notes == []
    assert [item.time for one in found for item in ingest.items(one)] == [0, 364, 0, 0]


def test_a_damaged_granule_fails_by_name_while_the_others_go_on(tmp_path):
    lst_granule(tmp_path, day="2020-07-01", pixels=PIXELS)
    edit = lambda fields: {k: v for k, v in fields.items() if k != "Emis_31"}  # noqa: E731
    bad = lst_granule(tmp_path, day="2020-07-02", pixels=PIXELS, edit=edit)
    with pytest.raises(RunError, match=rf"1 of 2 items failed .*{bad.name}: variable emissivity_31 missing"):
        run(tmp_path / "run", tmp_path / "*.hdf")
    lst_granule(tmp_path, day="2020-07-02", pixels=PIXELS)
    asked: list = []
    run(tmp_path / "run", tmp_path / "*.hdf", asked)
    assert asked == ["2020-07-02"]


def test_a_truncated_granule_or_mixed_collections_are_refused_before_any_work(tmp_path):
    bad = lst_granule(tmp_path, day="2020-07-02", pixels=PIXELS)
    lst_granule(tmp_path, day="2020-07-01", pixels=PIXELS)
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"{bad.name}: .*truncated or damaged"):
        ingest.find(str(tmp_path / "*.hdf"))
    bad.unlink()
    lst_granule(tmp_path, day="2020-07-02", collection="006", pixels=PIXELS)
    with pytest.raises(InputError, match=r"found collection 061, expected 006|found collection 006, expected 061"):
        ingest.find(str(tmp_path / "*.hdf"))


def test_granules_of_other_sizes_are_refused(tmp_path):
    lst_granule(tmp_path, day="2020-07-01", pixels=48)
    lst_granule(tmp_path, day="2020-07-02", pixels=24)
    with pytest.raises(InputError, match=r"found 24 x 24 pixels, expected 48 as "):
        ingest.find(str(tmp_path / "*.hdf"))


def test_the_genuine_granule_keeps_every_count(tmp_path, real_data):
    path = next((real_data / "modis" / "hdf-granules").glob("*/MOD11A1.*.hdf"))
    url = run(tmp_path / "run", path)
    raw = xr.open_zarr(url, consolidated=False, mask_and_scale=False).sel(time="2019-11-01")
    with mod11a1.open_granule(str(path), mod11a1.PRODUCTS) as granule:
        for i, over in enumerate(("Day", "Night")):
            np.testing.assert_array_equal(raw["lst_dn"].values[i], granule.values(f"LST_{over}_1km", "uint16"))
        np.testing.assert_array_equal(raw["emissivity_32"], granule.values("Emis_32", "uint8"))
    assert raw["lst_dn"].shape == (2, 1200, 1200)
    np.testing.assert_allclose(raw["x"].values[0] - 926.6254331 / 2, -4447802.079066, atol=1e-2)


def test_a_day_of_the_store_as_a_geotiff(tmp_path):
    """From the store to a file that any GIS opens."""
    from sciml.modis import export

    found = open_store(run(tmp_path / "run", lst_granule(tmp_path, pixels=PIXELS)))
    day = found["lst_dn"].sel(time="2020-07-01", overpass="day")
    made = export.field(day.values, day.odc.geobox, "lst", units="K")
    with rasterio.open(export.write(made, str(tmp_path / "lst.tif"))) as opened:
        np.testing.assert_allclose(opened.read(1), day.values.astype(np.float32))
        assert opened.crs.to_dict()["proj"] == "sinu"
