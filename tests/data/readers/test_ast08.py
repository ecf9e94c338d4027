"""AST_08 to the layout of NASA's sample listings: counts, fills, and the turned UTM grid from a lattice."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from sciml.core.errors import InputError
from sciml.data.readers import ast08
from tests.data.readers.hdf_fixtures import aster_swath, lst_granule

SHAPE = (70, 83)
TURN = np.deg2rad(8.5)  # Terra's path against north
SOUTH = Affine(90 * np.cos(TURN), 90 * np.sin(TURN), 281279.4, 90 * np.sin(TURN), -90 * np.cos(TURN), 9073854.5)
NORTH = Affine(90.0, 0.0, 431000.0, 0.0, -90.0, 5360000.0)


def counts(seed=0):
    values = np.random.default_rng(seed).normal(2950, 40, SHAPE).round().astype(np.uint16)
    values[:3], values[:, :2] = 0, 2000
    values[40, 40] = 2001
    return values


def lattice(transform, epsg, size=11):
    row, column = np.meshgrid(np.arange(size) * 7, np.arange(size) * 8, indexing="ij")
    x = transform.a * column + transform.b * row + transform.c
    y = transform.d * column + transform.e * row + transform.f
    longitude, latitude = Transformer.from_crs(epsg, "EPSG:4326", always_xy=True).transform(x, y)
    return latitude, longitude


@pytest.mark.parametrize(("transform", "epsg"), [(SOUTH, "EPSG:32750"), (NORTH, "EPSG:32630")])
def test_the_grid_comes_back_from_the_lattice(tmp_path, transform, epsg):
    path = aster_swath(tmp_path / "AST_08_003.hdf", counts(), *lattice(transform, epsg), steps=(7, 8))
    ds = ast08.read(str(path))
    box = ds["lst"].odc.geobox
    assert box.shape == SHAPE and box.crs.epsg == int(epsg.split(":")[1])
    np.testing.assert_allclose(box.affine[:6], transform[:6], atol=1e-3)


def test_counts_are_tenths_of_kelvin_and_both_fills_are_missing(tmp_path):
    values = counts()
    path = aster_swath(tmp_path / "AST_08_003.hdf", values, *lattice(SOUTH, "EPSG:32750"), steps=(7, 8))
    lst = ast08.read(str(path))["lst"]
    known = (values != 0) & (values != 2000)
    np.testing.assert_allclose(lst.values[known], values[known] / 10, rtol=1e-6)
    assert np.isnan(lst.values[~known]).all() and lst.values[40, 40] == pytest.approx(200.1)
    assert lst.dtype == np.float32 and lst.attrs["units"] == "K"


def geotiff(path, values, crs="EPSG:32750", transform=SOUTH, dtype="uint16"):
    options = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": dtype}
    with rasterio.open(path, "w", crs=crs, transform=transform, **options) as made:
        made.write(values.astype(dtype), 1)
    return str(path)


def test_hdf_and_geotiff_tell_the_same(tmp_path):
    hdf = aster_swath(tmp_path / "AST_08_003.hdf", counts(), *lattice(SOUTH, "EPSG:32750"), steps=(7, 8))
    one, other = ast08.read(str(hdf)), ast08.read(geotiff(tmp_path / "AST_08_003.tif", counts()))
    np.testing.assert_array_equal(one["lst"], other["lst"])
    np.testing.assert_allclose(one["lst"].odc.geobox.affine[:6], other["lst"].odc.geobox.affine[:6], atol=1e-3)


def test_a_turned_image_is_put_north_up(tmp_path):
    """A plane T = T0 + gx x + gy y keeps its values at their places when it is reprojected."""
    row, column = np.meshgrid(np.arange(SHAPE[0]) + 0.5, np.arange(SHAPE[1]) + 0.5, indexing="ij")
    x = SOUTH.a * column + SOUTH.b * row + SOUTH.c
    y = SOUTH.d * column + SOUTH.e * row + SOUTH.f
    plane = 2900 + (x - SOUTH.c) / 90 * 3 - (y - SOUTH.f) / 90 * 2
    ds = ast08.read(geotiff(tmp_path / "a.tif", plane.round()))
    up = ds["lst"].odc.reproject("EPSG:32750", resolution=90, resampling="bilinear")
    expected = 290 + (up["x"].values[None] - SOUTH.c) / 300 - (up["y"].values[:, None] - SOUTH.f) / 450
    known = np.isfinite(up.values)
    assert known.mean() > 0.6
    np.testing.assert_allclose(up.values[known], expected[known], atol=0.35)
    assert np.abs((up.values - expected)[known]).mean() < 0.05


def test_fill_alone_is_missing_and_said(tmp_path):
    ds = ast08.read(geotiff(tmp_path / "a.tif", np.zeros(SHAPE)))
    assert np.isnan(ds["lst"]).all() and "no pixel holds a temperature" in ds.attrs["notes"][0]


def test_what_is_no_ast_08_is_refused(tmp_path):
    path = aster_swath(tmp_path / "a.hdf", counts(), *lattice(SOUTH, "EPSG:32750"), product="AST_05", field="Band10")
    cases = (
        (str(path), "found product AST_05 without 'KineticTemperature', expected AST_08"),
        (str(lst_granule(tmp_path)), "found product MOD11A1 without 'KineticTemperature'"),
        (geotiff(tmp_path / "k.tif", counts() / 10, dtype="float32"), "found values that are no counts"),
        (geotiff(tmp_path / "g.tif", counts(), crs="EPSG:4326"), "found a projection other than UTM"),
        (geotiff(tmp_path / "d.tif", np.full(SHAPE, 700)), "found a median of 70 K, expected 200 .. 350 K"),
    )
    for file, says in cases:
        with pytest.raises(InputError) as refusal:
            ast08.read(file)
        assert says in str(refusal.value) and file in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_lattice_that_is_no_utm_grid_is_refused(tmp_path):
    latitude, longitude = lattice(SOUTH, "EPSG:32750")
    for change, says in ((1.5, "found pixels of 135 m"), (1.0, "miss a UTM grid by")):
        bent = (latitude - latitude[0, 0]) * change + latitude[0, 0]
        wide = (longitude - longitude[0, 0]) * change + longitude[0, 0]
        if change == 1.0:
            bent = bent + 0.003 * np.linspace(-1, 1, 11)[:, None] ** 2
        path = aster_swath(tmp_path / "a.hdf", counts(), bent, wide, steps=(7, 8))
        with pytest.raises(InputError, match=says):
            ast08.read(str(path))
