"""MOD13: the scale that divides, fills, composites over New Year, parts of a tile, and a genuine subset."""

import numpy as np
import pytest
from pyhdf.SD import SD, SDC

from sciml.core.errors import InputError
from sciml.data.readers import mod13
from tests.data.readers.hdf_fixtures import lst_granule, vegetation_granule


@pytest.mark.parametrize("product", ["MOD13A2", "MYD13A2", "MOD13Q1", "MYD13Q1"])
def test_counts_become_an_index_and_reflectances(tmp_path, product):
    ds = mod13.read(str(vegetation_granule(tmp_path, product=product)))
    assert ds.attrs["product"] == product and ds["ndvi"].dtype == np.float32
    assert (ds.attrs["first_day"], ds.attrs["last_day"]) == ("2020-07-11", "2020-07-26")
    red, nir = ds["red"].values, ds["nir"].values
    assert 0.02 < np.nanmin(red) and np.nanmax(nir) < 0.5
    # the index that the reflectances give; counts are rounded to 1e-4
    np.testing.assert_allclose(ds["ndvi"], (nir - red) / (nir + red), atol=1e-4)
    for name in ("ndvi", "red", "nir"):
        assert int(np.isnan(ds[name].values).sum()) == 9
    assert int((ds["reliability"].values == -1).sum()) == 9


def test_a_composite_that_reaches_into_january(tmp_path):
    ds = mod13.read(str(vegetation_granule(tmp_path, day="2020-12-18")))
    dates = ds["composite_date"].values.astype("datetime64[D]")
    known = ~np.isnat(dates)
    expected = np.datetime64("2020-12-18") + np.arange(dates.size).reshape(dates.shape) % 16
    np.testing.assert_array_equal(dates[known], expected[known])
    assert dates[known].max() == np.datetime64("2021-01-02") and int((~known).sum()) == 9


def test_a_subset_with_the_index_alone(tmp_path):
    ds = mod13.read(str(vegetation_granule(tmp_path, only=("NDVI",))))
    assert set(ds.data_vars) == {"ndvi"}


def test_values_outside_the_valid_range_are_missing(tmp_path):
    def edit(fields):
        fields["1 km 16 days NDVI"][0][0, :3] = (-2001, 10001, -2000)
        return fields

    row = mod13.read(str(vegetation_granule(tmp_path, edit=edit)))["ndvi"].values[0, :3]
    np.testing.assert_allclose(row, [np.nan, np.nan, -0.2], rtol=1e-6)


@pytest.mark.parametrize(("scale", "fine"), [(0.0001, True), (1.0, False), (1000.0, False)])
def test_the_scale_divides_whichever_way_it_is_written(tmp_path, scale, fine):
    def edit(fields):
        values, attributes = fields["1 km 16 days NDVI"]
        return fields | {"1 km 16 days NDVI": (values, {**attributes, "scale_factor": scale})}

    path = vegetation_granule(tmp_path, edit=edit)
    if fine:
        assert 0.1 < float(mod13.read(str(path))["ndvi"].median()) < 0.9
    else:
        with pytest.raises(InputError, match=rf"{path.name}: .*NDVI.* found scale_factor {scale}, expected 10000"):
            mod13.read(str(path))


def test_another_product_or_no_index_is_refused(tmp_path):
    with pytest.raises(InputError, match="found product MOD11A1, expected MOD13A2"):
        mod13.read(str(lst_granule(tmp_path)))
    with pytest.raises(InputError, match="16 days NDVI' missing; found 1 km 16 days red"):
        mod13.read(str(vegetation_granule(tmp_path, only=("red reflectance",))))


def test_the_genuine_subset(real_data):
    """A part that crosses into the tile north of it, made by a tool that kept no CoreMetadata."""
    path = next((real_data / "modis" / "hdf-granules").glob("*/MOD13A2.*.hdf"))
    ds = mod13.read(str(path))
    sd = SD(str(path), SDC.READ)
    counts = sd.select("1 km 16 days NDVI").get()
    sd.end()
    np.testing.assert_allclose(ds["ndvi"], counts / 10000.0, rtol=1e-6)  # no fill in this part
    assert ds["ndvi"].shape == (185, 219) and 0.1 < float(ds["ndvi"].min()) and float(ds["ndvi"].max()) < 0.95
    assert (ds.attrs["tile"], ds.attrs["collection"], ds.attrs["first_day"]) == ("h18v04", "006", "2016-05-24")
    np.testing.assert_allclose(ds["x"].values[0], 670117.907295 + 926.625433 / 2, atol=0.01)
    np.testing.assert_allclose(np.diff(ds["y"].values), -926.625433, atol=1e-3)
