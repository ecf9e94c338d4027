"""LST GeoTIFFs: kelvin, and what is not kelvin."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from sciml.core.errors import InputError
from sciml.data.readers import lst_geotiff
from sciml.data.sinusoidal import PROJECTION


def tif(path, values, crs=PROJECTION, nodata=None, **tags):
    values = np.atleast_3d(values) if values.ndim == 3 else values[None]
    options = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2]}
    transform = from_origin(889560.0, 5559752.6, 926.625433, 926.625433)
    with rasterio.open(path, "w", dtype=values.dtype, crs=crs, nodata=nodata, transform=transform, **options) as made:
        made.write(values)
        if tags:
            made.scales, made.offsets = [tags["scale"]] * len(values), [tags.get("offset", 0.0)] * len(values)
    return str(path)


def kelvin(bands=2, seed=0):
    return np.random.default_rng(seed).normal(295, 5, (bands, 12, 15)).astype(np.float32)


def test_kelvin_passes_with_its_grid(tmp_path):
    values = kelvin()
    values[0, 2, 3] = -9999
    ds = lst_geotiff.read(tif(tmp_path / "a.tif", values, nodata=-9999))
    expected = values.copy()
    expected[0, 2, 3] = np.nan
    np.testing.assert_array_equal(ds["lst"], expected)
    np.testing.assert_allclose(ds["x"].values[:2], 889560.0 + 926.625433 * np.array([0.5, 1.5]))
    assert ds["lst"].odc.geobox.shape == (12, 15) and "notes" not in ds.attrs


def test_zero_is_missing_and_tags_are_applied(tmp_path):
    counts = (kelvin() / 0.02).astype(np.uint16)
    counts[1, 0, 0] = 0
    ds = lst_geotiff.read(tif(tmp_path / "a.tif", counts, scale=0.02))
    assert np.isnan(ds["lst"].values[1, 0, 0])
    np.testing.assert_allclose(ds["lst"].values[0], counts[0] * 0.02, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda k: k - 273.15, "looks like degrees Celsius: add 273.15"),
        (lambda k: (k / 0.02).astype(np.uint16), "looks like counts of MOD11: multiply by 0.02"),
        (lambda k: (k / 0.1).astype(np.uint16), "looks like counts of AST_08: multiply by 0.1"),
        (lambda k: k * 1e6, "check units and no-data value"),
        (lambda k: np.where(np.arange(15) < 2, 900, k).astype(np.float32), r"found 2\d\d\.\d+ .. 900 with median"),
    ],
)
def test_what_is_not_kelvin_is_refused_in_one_line(tmp_path, change, says):
    path = tif(tmp_path / "a.tif", change(kelvin(1)))
    with pytest.raises(InputError, match=says) as refusal:
        lst_geotiff.read(path)
    text = str(refusal.value)
    assert text.startswith(f"{path}: variable 'lst': found ") and "expected 200 .. 350 K" in text and "\n" not in text


def test_a_hot_outlier_stays_and_is_said(tmp_path):
    values = kelvin(1)
    values[0, 5, 5] = 402
    ds = lst_geotiff.read(tif(tmp_path / "a.tif", values))
    assert float(ds["lst"].max()) == 402 and "1 pixels outside 200 .. 350 K" in ds.attrs["notes"][0]


def test_an_all_cloud_image_is_missing_throughout(tmp_path):
    assert np.isnan(lst_geotiff.read(tif(tmp_path / "a.tif", np.zeros((1, 4, 4), np.float32)))["lst"]).all()


def test_no_projection_and_damaged_files(tmp_path):
    with pytest.raises(InputError, match=r"a.tif: no coordinate reference system"):
        lst_geotiff.read(tif(tmp_path / "a.tif", kelvin(), crs=None))
    path = tmp_path / "b.tif"
    tif(path, np.tile(kelvin(), (1, 20, 20)))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"b.tif: .*truncated or damaged\?") as refusal:
        lst_geotiff.read(str(path))
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="no such file"):
        lst_geotiff.read(str(tmp_path / "none.tif"))


def test_the_authors_own_samples(real_data):
    folder = real_data / "modis" / "imt-mrunet-2020" / "original_tif_samples"
    coarse, fine = (sorted(folder.glob(f"{size}_MOD11A1*.tif")) for size in ("2km", "1km"))
    assert coarse and len(coarse) == len(fine)
    for one, other in zip(coarse, fine, strict=True):
        small, large = lst_geotiff.read(str(one))["lst"], lst_geotiff.read(str(other))["lst"]
        assert small.shape == (2, 32, 32) and large.shape == (2, 64, 64)
        with rasterio.open(other) as opened:
            np.testing.assert_array_equal(large, opened.read())
        # their 2 km image is the Norm-L4 mean of 2 x 2: both on one scale, in kelvin
        means = (large.values.astype(float) ** 4).reshape(2, 32, 2, 32, 2).mean(axis=(2, 4)) ** 0.25
        np.testing.assert_allclose(small, means, atol=1e-3)
    with pytest.raises(InputError, match=r"expected 200 .. 350 K"):
        lst_geotiff.read(str(next(folder.glob("*MOD13A2*.tif"))))
