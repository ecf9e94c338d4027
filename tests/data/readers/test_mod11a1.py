"""MOD11A1 and the HDF-EOS2 file around it: fixtures to the real layout, bad files, and a genuine granule."""

import numpy as np
import pytest
from pyhdf.SD import SD, SDC

from sciml.core.errors import InputError
from sciml.data.readers import hdf_eos, mod11a1
from sciml.data.sinusoidal import TILE_M, Tile, tile_geobox
from tests.data.readers.hdf_fixtures import core_metadata, lst_fields, lst_granule, struct_metadata, write_hdf

SIZE = 48


def refused(call, *says):
    with pytest.raises(InputError) as refusal:
        call()
    text = str(refusal.value)
    assert "\n" not in text
    for part in says:
        assert part in text, text


@pytest.mark.parametrize("collection", ["006", "061"])
@pytest.mark.parametrize("product", ["MOD11A1", "MYD11A1"])
def test_counts_become_physical_values(tmp_path, collection, product):
    path = lst_granule(tmp_path, collection=collection, product=product)
    ds = mod11a1.read(str(path))
    truth = lst_fields(SIZE, SIZE)
    for i, over in enumerate(("Day", "Night")):
        counts = truth[f"LST_{over}_1km"][0].astype(float)
        expected = np.where(counts == 0, np.nan, counts * 0.02)
        np.testing.assert_allclose(ds["lst"].isel(overpass=i), expected, rtol=1e-6)
        missing = np.isnan(expected)
        angle = truth[f"{over}_view_angl"][0].astype(float) - 65
        np.testing.assert_allclose(ds["view_angle"].isel(overpass=i), np.where(missing, np.nan, angle))
        hour = truth[f"{over}_view_time"][0] / 10
        np.testing.assert_allclose(ds["overpass_time"].isel(overpass=i), np.where(missing, np.nan, hour), rtol=1e-6)
    known = np.isfinite(ds["lst"].values[0])
    np.testing.assert_allclose(ds["emissivity_31"].values[known], 0.97, rtol=1e-6)  # 240 * 0.002 + 0.49
    np.testing.assert_allclose(ds["emissivity_32"].values[known], 0.976, rtol=1e-6)
    np.testing.assert_allclose(ds["clear_sky"].values[:, known], 1.0, rtol=1e-6)
    assert np.isnan(ds["emissivity_31"].values[~known]).all()
    assert (ds.attrs["product"], ds.attrs["collection"], ds.attrs["tile"]) == (product, collection, "h18v04")
    assert ds.attrs["day"] == "2020-07-01" and ds["lst"].attrs["units"] == "K"
    assert list(ds["overpass"].values) == ["day", "night"] and ds["lst"].dtype == np.float32


def test_the_grid_is_the_tiles(tmp_path):
    ds = mod11a1.read(str(lst_granule(tmp_path)))
    box = tile_geobox(Tile(18, 4), SIZE)
    np.testing.assert_allclose(ds["x"], box.coordinates["x"].values, atol=1e-2)
    np.testing.assert_allclose(ds["y"], box.coordinates["y"].values, atol=1e-2)
    assert ds["y"].values[0] > ds["y"].values[-1]
    assert ds.odc.geobox.shape == (SIZE, SIZE) and "Sinusoidal" in ds.odc.geobox.crs.to_wkt()


def test_every_value_of_qc_becomes_its_named_bits():
    """By the users' guide: bits 0-1 mandatory, 2-3 data, 4-5 emissivity, 6-7 temperature, as binary text says it."""
    qc = np.arange(256, dtype=np.uint8)
    found = {name: mod11a1.flag(qc, np.full(256, 15000, np.uint16), name) for name in mod11a1.FLAGS}
    for value in range(256):
        bits = f"{value:08b}"
        expected = {
            "lst_error_class": int(bits[0:2], 2),
            "emissivity_error_class": int(bits[2:4], 2),
            "data_quality": int(bits[4:6], 2),
            "mandatory_qa": int(bits[6:8], 2),
        }
        assert {name: int(values[value]) for name, values in found.items()} == expected


def test_the_text_na_as_fill_of_qc_hides_no_good_pixel(tmp_path):
    path = lst_granule(tmp_path, collection="061")
    with hdf_eos.open_granule(str(path), mod11a1.PRODUCTS) as granule:
        assert granule.attributes("QC_Day")["_FillValue"] == "NA"
    ds = mod11a1.read(str(path))
    best = lst_fields(SIZE, SIZE)["QC_Day"][0] == 0
    assert best.any() and (ds["mandatory_qa"].values[0][best] == 0).all() and (ds["qc"].values[0][best] == 0).all()
    assert (ds["lst_error_class"].values[0][best] == 0).all()


def test_classes_of_what_was_not_produced_are_missing(tmp_path):
    ds = mod11a1.read(str(lst_granule(tmp_path)))
    absent = np.isnan(ds["lst"].values)
    assert absent.any() and (ds["mandatory_qa"].values[absent] >= 2).all()
    for name in ("lst_error_class", "emissivity_error_class", "data_quality"):
        assert (ds[name].values[absent] == 255).all() and (ds[name].values[~absent] <= 3).all()
    assert ds["lst_error_class"].attrs["flag_meanings"].split()[1] == "at_most_2_K"


def test_counts_below_the_valid_range_are_missing_and_a_hot_pixel_stays(tmp_path):
    def edit(fields):
        fields["LST_Day_1km"][0][30, 30:32] = (7499, 20100)
        return fields

    ds = mod11a1.read(str(lst_granule(tmp_path, edit=edit)))
    assert np.isnan(ds["lst"].values[0, 30, 30])
    assert ds["lst"].values[0, 30, 31] == pytest.approx(402.0)


def test_an_all_cloud_granule_is_missing_throughout(tmp_path):
    def edit(fields):
        for name in ("LST_Day_1km", "LST_Night_1km"):
            fields[name][0][:] = 0
        return fields

    ds = mod11a1.read(str(lst_granule(tmp_path, edit=edit)))
    assert np.isnan(ds["lst"].values).all()


def test_without_core_metadata_the_name_says_what_it_is(tmp_path):
    path = lst_granule(tmp_path, core=False)
    found = hdf_eos.header(str(path), mod11a1.PRODUCTS)
    assert (found.product, found.collection, str(found.tile), found.day) == ("MOD11A1", "061", "h18v04", "2020-07-01")
    assert found.whole


def test_with_core_metadata_the_name_does_not_matter(tmp_path):
    path = lst_granule(tmp_path, day="2019-12-31", collection="006").rename(tmp_path / "mine.hdf")
    found = hdf_eos.header(str(path), mod11a1.PRODUCTS)
    assert (found.product, found.collection, str(found.tile), found.day) == ("MOD11A1", "006", "h18v04", "2019-12-31")


def test_neither_metadata_nor_name(tmp_path):
    path = lst_granule(tmp_path, core=False).rename(tmp_path / "MOD11A1.hdf")
    refused(lambda: mod11a1.read(str(path)), "MOD11A1.hdf", "neither CoreMetadata.0 nor the name", "expected a name")


@pytest.mark.parametrize("share", [0.0001, 0.02, 0.5, 0.99])
def test_a_truncated_file(tmp_path, share):
    path = lst_granule(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(4, int(len(whole) * share))])
    refused(lambda: mod11a1.read(str(path)), path.name, "truncated or damaged? fetch it again")


def test_fields_damaged_inside(tmp_path):
    """Zeros over compressed data: opening works, and the library may even return numbers; they must not pass."""
    path = lst_granule(tmp_path, pixels=240)
    data = bytearray(path.read_bytes())
    data[8_000:60_000] = bytes(52_000)
    path.write_bytes(bytes(data))
    refused(lambda: mod11a1.read(str(path)), path.name, "fetch it again")


def test_what_is_no_hdf4(tmp_path):
    for name, content, says in (
        ("page.hdf", b"<html>Earthdata login</html>", "begins with b'<htm'"),
        ("new.hdf", b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 or NetCDF4"),
        ("empty.hdf", b"", "begins with b''"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(lambda name=name: mod11a1.read(str(tmp_path / name)), name, says, "expected HDF4")
    refused(lambda: mod11a1.read(str(tmp_path / "none.hdf")), "none.hdf", "no such file")


def test_another_product(tmp_path):
    path = lst_granule(tmp_path, product="MOD11A2")
    refused(lambda: mod11a1.read(str(path)), path.name, "found product MOD11A2", "expected MOD11A1 or MYD11A1")


def test_another_tile(tmp_path):
    path = lst_granule(tmp_path, tile="h17v04")
    call = lambda: mod11a1.read(str(path), tile=Tile(18, 4))  # noqa: E731
    refused(call, path.name, "found tile h17v04", "expected h18v04")


def test_a_tile_in_the_name_that_the_corners_deny(tmp_path):
    path = lst_granule(tmp_path, corners_of="h20v05")
    refused(lambda: mod11a1.read(str(path)), path.name, "found tile h18v04 in its name", "corners lie in h20v05")


def test_a_rescaled_field(tmp_path):
    def edit(fields):
        values, attributes = fields["LST_Day_1km"]
        return fields | {"LST_Day_1km": (values, {**attributes, "scale_factor": 0.01})}

    path = lst_granule(tmp_path, edit=edit)
    refused(lambda: mod11a1.read(str(path)), path.name, "'LST_Day_1km'", "found scale_factor 0.01", "expected 0.02")


def test_a_field_that_is_missing_or_of_another_type(tmp_path):
    path = lst_granule(tmp_path, edit=lambda f: {k: v for k, v in f.items() if k != "LST_Day_1km"})
    refused(lambda: mod11a1.read(str(path)), path.name, "LST_Day_1km", "missing", "found ", "LST_Night_1km")
    edit = lambda f: f | {"LST_Day_1km": (f["LST_Day_1km"][0].astype(np.int16), {})}  # noqa: E731
    path = lst_granule(tmp_path, edit=edit)
    refused(lambda: mod11a1.read(str(path)), "'LST_Day_1km'", "found type int16", "expected uint16")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("GCTP_SNSOID", "GCTP_GEO", "found GCTP_GEO, expected GCTP_SNSOID"),
        ("6371007.181000", "6378137.000000", "found a sphere of 6.37814e+06 m"),
        ("UpperLeftPointMtrs", "UpperRightPointMtrs", "no UpperLeftPointMtrs"),
        ("XDim=48", "XDim=47", "found shape (48, 48), expected (48, 47)"),
    ],
)
def test_a_grid_that_is_not_modis(tmp_path, old, new, says):
    fields = lst_fields(SIZE, SIZE)
    text = struct_metadata("MODIS_Grid_Daily_1km_LST", SIZE, SIZE, 0.0, 5559752.598333, TILE_M / SIZE, list(fields))
    name = "MOD11A1.A2020183.h18v04.061.2021003092415.hdf"
    core = {"CoreMetadata.0": core_metadata(name, "MOD11A1", 61)}
    write_hdf(tmp_path / name, fields, "G", {"StructMetadata.0": text.replace(old, new), **core})
    refused(lambda: mod11a1.read(str(tmp_path / name)), name, says)
    write_hdf(tmp_path / name, fields, "G", core)
    refused(lambda: mod11a1.read(str(tmp_path / name)), name, "no StructMetadata.0")


def test_a_pattern_leaves_out_apples_companions_and_says_so(tmp_path):
    path = lst_granule(tmp_path)
    (tmp_path / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    found, notes = hdf_eos.granules(str(tmp_path / "*.hdf"), mod11a1.PRODUCTS)
    assert [one.file for one in found] == [str(path)]
    assert len(notes) == 1 and f"._{path.name}: an AppleDouble companion" in notes[0]


@pytest.mark.parametrize("listed", [False, True])
def test_an_apple_companion_that_is_named_is_refused(tmp_path, listed):
    path = lst_granule(tmp_path)
    companion = tmp_path / f"._{path.name}"
    companion.write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    names = f"{path},{companion}" if listed else str(companion)
    says = (companion.name, "AppleDouble", f"name {path.name}")
    refused(lambda: hdf_eos.granules(names, mod11a1.PRODUCTS), *says)


def test_mixed_collections_in_a_list(tmp_path):
    lst_granule(tmp_path, collection="006", day="2020-07-01")
    other = lst_granule(tmp_path, collection="061", day="2020-07-02")
    call = lambda: hdf_eos.granules(str(tmp_path / "*.hdf"), mod11a1.PRODUCTS)  # noqa: E731
    refused(call, other.name, "found collection 061", "expected 006", "one collection at a time")


def test_of_two_productions_of_a_day_the_later_counts(tmp_path):
    old = lst_granule(tmp_path, produced="2020190000000")
    new = lst_granule(tmp_path, produced="2021003092415")
    found, notes = hdf_eos.granules(str(tmp_path / "*.hdf"), mod11a1.PRODUCTS)
    assert [one.file for one in found] == [str(new)]
    assert old.name in notes[0] and "left out" in notes[0]


def test_a_list_comes_in_order_of_tile_and_day(tmp_path):
    for tile, day in (("h18v04", "2020-07-02"), ("h18v04", "2019-12-31"), ("h17v04", "2020-07-02")):
        lst_granule(tmp_path, tile=tile, day=day)
    found, _ = hdf_eos.granules(str(tmp_path / "*.hdf"), mod11a1.PRODUCTS)
    places = [(str(one.tile), one.day) for one in found]
    assert places == [("h17v04", "2020-07-02"), ("h18v04", "2019-12-31"), ("h18v04", "2020-07-02")]


def test_a_granule_on_s3(tmp_path, s3):
    import s3fs

    path = lst_granule(tmp_path)
    s3fs.S3FileSystem().put(str(path), f"{s3}/{path.name}")
    np.testing.assert_array_equal(mod11a1.read(f"{s3}/{path.name}")["lst"], mod11a1.read(str(path))["lst"])


def test_the_genuine_granule(real_data):
    """Against a plain read of the file: CF attributes applied by hand, bits taken apart by division."""
    path = next((real_data / "modis" / "hdf-granules").glob("*/MOD11A1.*.hdf"))
    ds = mod11a1.read(str(path), tile=Tile(14, 9), collection="006")
    assert (ds.attrs["product"], ds.attrs["day"]) == ("MOD11A1", "2019-11-01")
    sd = SD(str(path), SDC.READ)
    for i, over in enumerate(("Day", "Night")):
        lst = sd.select(f"LST_{over}_1km").get().astype(float)
        lst[lst == 0] = np.nan
        np.testing.assert_allclose(ds["lst"].values[i], lst * 0.02, rtol=1e-6)
        for name, field in (("view_angle", f"{over}_view_angl"), ("overpass_time", f"{over}_view_time")):
            raw, attributes = sd.select(field).get().astype(float), sd.select(field).attributes()
            raw[raw == attributes["_FillValue"]] = np.nan
            expected = raw * attributes["scale_factor"] + attributes.get("add_offset", 0)
            np.testing.assert_allclose(ds[name].values[i], expected, rtol=1e-6)
        qc = sd.select(f"QC_{over}").get().astype(int)
        np.testing.assert_array_equal(ds["mandatory_qa"].values[i], qc % 4)
        known = np.isfinite(lst)
        np.testing.assert_array_equal(ds["lst_error_class"].values[i][known], qc[known] // 64)
        np.testing.assert_array_equal(ds["emissivity_error_class"].values[i][known], qc[known] // 16 % 4)
        # a cloud or the sea where nothing was produced, and only there
        np.testing.assert_array_equal(ds["mandatory_qa"].values[i] >= 2, ~known)
    sd.end()
    assert 280 < float(ds["lst"].median()) < 320  # north-east Brazil in November
    np.testing.assert_allclose(ds["x"].values[[0, -1]], (-4447802.079 + 463.3127, -3335851.559 - 463.3127), atol=1e-3)
    np.testing.assert_allclose(ds.odc.geobox.affine[:6], tile_geobox(Tile(14, 9)).affine[:6], atol=1e-2)
