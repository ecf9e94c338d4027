"""Rows of scores per image and their summary: definitions, the same pixels for all, dates as blocks."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from sciml.core.errors import InputError
from sciml.modis.images import Images
from sciml.modis.scores import blocks_without_gaps, score_images, score_table, summarise

DATES, WINDOWS = 12, 4


def planted(seed: int = 0) -> Images:
    """Day and night of four windows on twelve dates of a year; the first window is flat by night."""
    rng = np.random.default_rng(seed)
    count = DATES * WINDOWS * 2
    lst = 290 + 25 * ndimage.gaussian_filter(rng.normal(size=(count, 32, 32)), (0, 2, 2))
    date = np.repeat(np.datetime64("2020-01-15") + 30 * np.arange(DATES), WINDOWS * 2)
    window = np.tile(np.repeat(np.arange(WINDOWS), 2), DATES)
    day = np.tile([True, False], count // 2)
    lst[(window == 0) & ~day] = 280 + 0.1 * (lst[(window == 0) & ~day] - 290)
    ndvi = np.broadcast_to(0.2 + 0.2 * window[:, None, None], lst.shape).copy()
    return Images(lst, ndvi, date, day, window, 926.6, "test")


def estimate_of(images: Images, sd: float, seed: int, shared: float = 0.0) -> np.ndarray:
    """Truth and an error of this sd, of which `shared` is common to all images of a date."""
    rng = np.random.default_rng(seed)
    _, of_date = np.unique(images.date, return_inverse=True)
    own = sd * rng.normal(size=images.lst.shape)
    return images.lst + own + shared * rng.normal(size=DATES)[of_date][:, None, None]


def rows(images: Images, estimates: dict[str, np.ndarray], sigma: float = 1.0, crops: tuple[int, ...] = (0, 4)):
    spread = np.full(images.lst.shape, sigma)
    return pd.concat(
        [
            score_images("place_split", name, images.lst, values, spread, images, 4, crop)
            for name, values in estimates.items()
            for crop in crops
        ],
        ignore_index=True,
    )


def test_summary_is_the_mean_of_the_images_and_the_pool_of_the_pixels() -> None:
    images = planted()
    images.lst[3, :9, :9] = np.nan  # a cloud over nine coarse pixels, whole or in part
    estimate = estimate_of(images, 0.7, 1) + 0.3
    table = rows(images, {"a": estimate})
    found = summarise(table)["a"]
    error = estimate - images.lst
    keep = np.isfinite(error)
    keep[3, :12, :12] = False
    each = [np.sqrt((e[k] ** 2).mean()) for e, k in zip(error, keep, strict=True)]
    assert found["rmse"] == pytest.approx(np.mean(each))
    assert found["rmse_pooled"] == pytest.approx(np.sqrt((error[keep] ** 2).mean()))
    assert found["coverage90"] == pytest.approx((np.abs(error[keep]) < 1.644854).mean())
    assert found["bias"] == pytest.approx(0.3, abs=0.02)
    assert (found["n"], found["n_dates"], found["n_pixels"]) == (96, DATES, keep.sum())
    inner = [np.sqrt((e[4:-4, 4:-4][k[4:-4, 4:-4]] ** 2).mean()) for e, k in zip(error, keep, strict=True)]
    assert found["rmse_crop"] == pytest.approx(np.mean(inner))
    assert found["rmse_crop_ci"][0] < found["rmse_crop"] < found["rmse_crop_ci"][1]
    json.dumps(summarise(table), allow_nan=False)


def test_a_cropped_image_is_scored_as_the_inner_image_alone() -> None:
    images = planted()
    estimate, spread = estimate_of(images, 0.7, 1), np.ones_like(images.lst)
    inner = (slice(None), slice(4, -4), slice(4, -4))
    small = replace(images, lst=images.lst[inner], ndvi=images.ndvi[inner])
    cropped = score_images("e", "m", images.lst, estimate, spread, images, 4, 4)
    alone = score_images("e", "m", small.lst, estimate[inner], spread[inner], small, 4)
    scores = ["range_K", "n", "psnr", "ssim", "ssim_global", "rmse", "bias", "detail_r", "crps", "coverage90"]
    pd.testing.assert_frame_equal(cropped[scores], alone[scores], rtol=1e-9)


def test_strata_are_what_they_say() -> None:
    images = planted()
    table = rows(images, {"a": estimate_of(images, 0.5, 1)}, crops=(0,))
    july = table[table["date"].dt.month == 7]
    assert set(july["season"]) == {"JJA"} and len(july)
    assert set(table.loc[table["date"].dt.month == 12, "season"]) == {"DJF"}
    assert table.loc[table["window"] == 0, "ndvi"].unique().tolist() == ["1 low"]
    assert table.loc[table["window"] == 3, "ndvi"].unique().tolist() == ["3 high"]
    assert table.groupby("gradient").size().tolist() == [24, 24, 24, 24]
    faint = (table["window"] == 0) & (table["overpass"] == "night")
    assert (table["low_contrast"] == faint).all()
    assert (table.loc[faint, "gradient"] == "1 least").all()
    found = summarise(table)["a"]
    assert found["n_low_contrast"] == faint.sum()
    assert found["psnr_low_contrast"] == pytest.approx(table.loc[faint, "psnr"].mean())
    for stratum in ("season", "overpass", "ndvi", "gradient", "range"):
        parts = found["by"][stratum].values()
        assert sum(p["n"] for p in parts) == found["n"]
        assert sum(p["n"] * p["rmse"] for p in parts) / found["n"] == pytest.approx(found["rmse"])


def test_unknown_guidance_and_dates_are_strata_of_their_own() -> None:
    images = planted()
    undated = replace(images, ndvi=np.full_like(images.ndvi, np.nan), date=np.full(96, np.datetime64("NaT", "D")))
    table = rows(undated, {"a": estimate_of(images, 0.5, 1)}, crops=(0,))
    found = summarise(table)["a"]
    assert list(found["by"]["ndvi"]) == list(found["by"]["season"]) == ["unknown"]
    assert found["ci_blocks"] == "images" and found["n_dates"] == 0
    assert found["rmse_ci"][0] < found["rmse"] < found["rmse_ci"][1]


def test_every_method_is_scored_on_the_same_pixels() -> None:
    images = planted()
    images.lst[:, 0, 0] = np.nan
    good = estimate_of(images, 0.5, 1)
    lame = good.copy()
    lame[5, 20:22, 20] = np.nan
    with pytest.raises(InputError, match=r"place_split, lame: 2 pixels of image 5 \(2020-01-15, window 2\)"):
        rows(images, {"lame": lame})
    lame[5, 20:22, 20], lame[:, :4, :4] = 290.0, np.nan  # where the coarse pixel is missing nothing is asked
    table = rows(images, {"good": good, "lame": lame})
    assert table.groupby("model")["n"].sum().nunique() == 1
    mine = table[(table["model"] == "good") | (table["unit"] > 2)]
    with pytest.raises(InputError, match="the same images and pixels"):
        summarise(mine)


def test_no_complete_block_is_refused() -> None:
    images = planted()
    images.lst[:, ::4, ::4] = np.nan
    assert not blocks_without_gaps(images.lst, 4).any()
    with pytest.raises(InputError, match="none of 96 images"):
        summarise(rows(images, {"a": np.full(images.lst.shape, 290.0)}))


def test_an_outlier_of_the_truth_is_scored_for_nobody() -> None:
    images = planted()
    clean = rows(images, {"a": images.lst + 0.1}, crops=(0,))
    estimate = images.lst + 0.1
    hot = replace(images, lst=images.lst.copy())
    hot.lst[7, 10, 10] = 402.0
    table = rows(hot, {"a": estimate}, crops=(0,))
    assert table["n"][7] == 32 * 32 - 1
    np.testing.assert_allclose(table["rmse"], 0.1, rtol=1e-9)
    np.testing.assert_allclose(table["psnr"], clean["psnr"], atol=1.0)


def test_the_better_method_wins_image_by_image() -> None:
    images = planted()
    table = rows(
        images, {"coarse": estimate_of(images, 0.8, 1), "fine": estimate_of(images, 0.4, 2), "same": images.lst}
    )
    found = summarise(table)
    assert found["fine"]["fraction_better_than"] == {"coarse": 1.0, "same": 0.0}
    gain = found["fine"]["difference"]["coarse"]
    assert gain["rmse"] == pytest.approx(found["fine"]["rmse"] - found["coarse"]["rmse"])
    assert gain["rmse_ci"][1] < 0 < gain["psnr_ci"][0]
    # an estimate without error has no finite PSNR: null, never Infinity
    assert found["same"]["psnr"] is None and found["same"]["rmse"] == 0
    json.dumps(found, allow_nan=False)
    only = summarise(table, reference="coarse")
    assert list(only["fine"]["difference"]) == ["coarse"] and not only["coarse"]["difference"]
    table = score_table(found, caption="Place split", baselines=["coarse"], reference="coarse")
    assert "96 images of 12 dates" in table.notes[0] and len(table.rows) == 3


def test_dates_are_drawn_whole() -> None:
    """Errors that a date's eight images share make the interval as wide as twelve dates allow, not 96 images."""
    images = planted()
    shared = [
        summarise(rows(images, {"a": estimate_of(images, 0.1, k, shared=1.0)}, crops=(0,)))["a"] for k in range(8)
    ]
    of_image = [np.diff(f["bias_ci"])[0] for f in shared]
    expected = 2 * 1.96 * 1.0 / np.sqrt(DATES)
    assert np.mean(of_image) == pytest.approx(expected, rel=0.25)


def test_the_order_of_the_rows_changes_nothing() -> None:
    images = planted()
    table = rows(images, {"a": estimate_of(images, 0.8, 1), "b": estimate_of(images, 0.4, 2)})
    mixed = pd.concat([table[table["model"] == "a"], table[table["model"] == "b"].sample(frac=1, random_state=0)])
    assert summarise(table)["b"]["rmse"] == pytest.approx(summarise(mixed)["b"]["rmse"])
    assert summarise(table)["b"]["difference"]["a"]["ssim_ci"] == pytest.approx(
        summarise(mixed)["b"]["difference"]["a"]["ssim_ci"]
    )
