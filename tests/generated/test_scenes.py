"""What was planted in the generated scenes is in them, and the reader of patch files reads them back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sciml.data.readers.modis_patches import read_patches
from sciml.generated.scenes import (
    COOLING,
    LAPSE,
    LEAST_RESPONSE,
    LOWEST_M,
    Country,
    composite,
    fine_scenes,
    fractal,
    greenness,
    levelled,
    make_country,
    scenes,
    temperature,
    write_patches,
)
from sciml.metrics.images import detail, outliers, power_spectrum
from sciml.modis.degradation import box_t4
from sciml.modis.images import Images

SUMMER = np.datetime64("2020-07-08")


@pytest.fixture(scope="module")
def country() -> Country:
    return make_country(4, 0)


@pytest.fixture(scope="module")
def some() -> Images:
    return scenes(4, 6, seed=0, cloudy=0.3)


def coarse(field: np.ndarray, factor: int) -> np.ndarray:
    height, width = field.shape
    return field.reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3))


def slope_of_detail(lst: np.ndarray, ndvi: np.ndarray, factor: int) -> float:
    """Regression of the detail of temperature on that of NDVI [K]."""
    every = np.ones((1, *lst.shape), bool)
    (t, _), (g, _) = (detail(a[None], every, factor) for a in (lst, ndvi))
    return float((t * g).sum() / (g * g).sum())


def test_images_are_in_the_shape_of_the_real_ones(some: Images) -> None:
    assert some.lst.shape == some.ndvi.shape == (len(some), 64, 64)
    assert some.day.tolist() == [True, False] * (len(some) // 2)
    assert (some.date[::2] == some.date[1::2]).all() and (some.window[::2] == some.window[1::2]).all()
    assert len(np.unique(some.date)) == 6 and len(np.unique(some.window)) <= 4
    assert np.nanmin(some.lst) > 240 and np.nanmax(some.lst) < 330
    assert outliers(some.lst, np.isfinite(some.lst)).sum() == 0
    np.testing.assert_allclose(some.lst / 0.02, np.rint(some.lst / 0.02), atol=1e-6)


def test_the_same_seed_gives_the_same_scenes_and_another_others(some: Images) -> None:
    again, other = scenes(4, 6, seed=0, cloudy=0.3), scenes(4, 6, seed=1, cloudy=0.3)
    np.testing.assert_array_equal(again.lst, some.lst)
    np.testing.assert_array_equal(again.ndvi, some.ndvi)
    assert not np.array_equal(other.lst[:2], some.lst[:2])


def test_some_images_are_partly_cloudy(some: Images) -> None:
    missing = np.isnan(some.lst).mean(axis=(1, 2))
    partly = missing > 0
    assert 0.1 < partly.mean() < 0.55
    assert missing[partly].min() > 0.04 and missing.max() < 0.61
    assert not np.isnan(scenes(4, 2, cloudy=0.0).lst).any()


def test_the_night_knows_relief_and_not_vegetation(country: Country) -> None:
    bare = replace(country, forest=np.zeros_like(country.forest), peak=np.zeros_like(country.peak))
    assert np.abs(greenness(bare, SUMMER) - greenness(country, SUMMER)).max() > 0.3
    np.testing.assert_array_equal(temperature(bare, SUMMER, False), temperature(country, SUMMER, False))
    assert (temperature(bare, SUMMER, True) - temperature(country, SUMMER, True)).mean() > 0.5
    higher = replace(country, relief=country.relief + 1000)
    fall = (temperature(country, SUMMER, False) - temperature(higher, SUMMER, False))[~country.water]
    assert fall.mean() == pytest.approx(1000 * LAPSE, rel=0.25)
    assert fall.std() < 1e-9


def test_temperature_falls_with_height_at_the_planted_rate(country: Country) -> None:
    land = ~country.water
    heights = coarse(country.relief, 64)
    rates = []
    for date in np.datetime64("2020-01-05") + 30 * np.arange(12):
        field = np.where(land, temperature(country, date, False), np.nan)
        mean = np.nanmean(field.reshape(8, 64, 8, 64), axis=(1, 3))
        rates.append(np.polyfit(heights.ravel() - LOWEST_M, mean.ravel(), 1)[0])
    assert -np.mean(rates) == pytest.approx(0.95 * LAPSE, rel=0.3)


def test_vegetation_cools_the_fine_scales_more_than_the_coarse(country: Country) -> None:
    lst, ndvi = (
        np.where(country.water, np.nan, f) for f in (temperature(country, SUMMER, True), greenness(country, SUMMER))
    )
    lst, ndvi = (np.where(np.isnan(f), np.nanmean(f), f) for f in (lst, ndvi))
    slopes = [
        slope_of_detail(coarse(lst, fine), coarse(ndvi, fine), 2) for fine in (1, 4, 8, 16)
    ]  # 500 -> 250 m, 2 -> 1 km, 4 -> 2 km, 8 -> 4 km
    assert slopes[0] < slopes[1] < slopes[2] < slopes[3]
    assert slopes[0] < -3 and abs(slopes[3]) < 0.6 * abs(slopes[0])
    assert -slopes[0] < 2 * COOLING


def test_waves_are_levelled_as_said() -> None:
    x = np.arange(1024) * 231.66
    for wavelength, expected in ((x[-1] + x[1], LEAST_RESPONSE), (4 * x[1], 1.0)):
        wave = np.cos(2 * np.pi * x / wavelength)[None, :] + np.zeros((64, 1))
        assert levelled(wave, x[1]).std() / wave.std() == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("slope", [2.2, 3.5])
def test_the_spectrum_of_a_fractal_has_its_slope(slope: float) -> None:
    field = np.stack([fractal((256, 256), slope, np.random.default_rng(k)) for k in range(6)])
    np.testing.assert_allclose(field.std(axis=(1, 2)), 1)
    wavelength, power = power_spectrum(field, 1.0)
    part = (wavelength > 4) & (wavelength < 40)
    found = np.polyfit(np.log(wavelength[part]), np.log(power.mean(axis=0)[part]), 1)[0]
    assert found == pytest.approx(slope, abs=0.2)


def test_windows_are_cut_from_one_country() -> None:
    """The step across the border between two windows is no larger than the steps beside it."""
    images = scenes(4, 3, seed=3, cloudy=0.0, seen=1.0)
    by_day = images.select(np.flatnonzero(images.day))
    assert by_day.window[:4].tolist() == [77, 78, 95, 96]
    west, east, south = by_day.lst[0::4], by_day.lst[1::4], by_day.lst[2::4]
    inside = np.abs(np.diff(west, axis=2)).mean()
    assert np.abs(east[:, :, 0] - west[:, :, -1]).mean() < 1.6 * inside
    assert np.abs(south[:, 0] - west[:, -1]).mean() < 1.6 * inside
    assert np.abs(south[:, 0] - west[:, 0]).mean() > 1.6 * inside


def test_fine_scenes_are_the_truth_of_the_coarse_ones() -> None:
    fine, coarse_images = fine_scenes(2, 3, seed=0), scenes(2, 3, seed=0, cloudy=0.0, seen=1.0)
    by_day = coarse_images.select(np.flatnonzero(coarse_images.day))
    assert fine.lst.shape == (6, 256, 256) and fine.fine_pixel_m == pytest.approx(by_day.fine_pixel_m / 4)
    np.testing.assert_allclose(box_t4(fine.lst, 4), by_day.lst, atol=0.03)
    assert (fine.window == by_day.window).all() and (fine.date == by_day.date).all()


def test_files_are_read_back(some: Images, tmp_path: Path) -> None:
    patches, ndvi = tmp_path / "lst.nc", tmp_path / "ndvi.nc"
    write_patches(some, patches, ndvi)
    read = read_patches(str(patches), str(ndvi))
    assert read.sizes["image"] == len(some) and read.attrs["outliers"] == 0
    np.testing.assert_allclose(read["lst"].values, some.lst, atol=1e-3)
    np.testing.assert_allclose(read["ndvi"].values, some.ndvi, atol=1e-3)
    assert (read["date"].values.astype("datetime64[D]") == some.date).all()
    assert (read["day"].values == some.day).all() and (read["window"].values == some.window).all()


def test_composites_begin_with_the_year() -> None:
    assert composite(np.datetime64("2020-01-16")) == np.datetime64("2020-01-01")
    assert composite(np.datetime64("2020-01-17")) == np.datetime64("2020-01-17")
    assert composite(np.datetime64("2020-12-31")) == np.datetime64("2020-12-18")


def test_a_country_larger_than_its_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        make_country(400, 0)
