"""Figures of super-resolution show what they are given and state what was planted: no blank panel, no cut label."""

import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from sciml.metrics.images import spectra
from sciml.modis import figures, score_figures
from sciml.modis.images import Images
from sciml.modis.scores import score_images, summarise
from sciml.report.page import figure_bytes

PIXEL = 926.6


def pixels(figure: Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure_bytes(figure))).convert("RGB")).astype(int)


def words(figure: Figure) -> str:
    """Every title, label and legend of a figure."""
    texts = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return " | ".join(texts)


def not_cut(figure: Figure) -> None:
    """The outermost pixels are white: nothing runs over the edge."""
    image = pixels(figure)
    for edge in (image[:2], image[-2:], image[:, :2], image[:, -2:]):
        assert (edge > 250).all()


def panels(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


@pytest.fixture(scope="module")
def images() -> Images:
    rng = np.random.default_rng(0)
    count = 24
    lst = 290 + 25 * ndimage.gaussian_filter(rng.normal(size=(count, 32, 32)), (0, 2, 2))
    date = np.repeat(np.datetime64("2020-01-15") + 60 * np.arange(6), 4)
    window = np.tile([77, 77, 96, 96], 6)
    ndvi = np.clip(0.5 + 0.02 * (290 - lst), 0, 1)
    return Images(lst, ndvi, date, np.tile([True, False], 12), window, PIXEL, "test")


@pytest.fixture(scope="module")
def estimates(images: Images) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng, sigma = np.random.default_rng(1), np.full(images.lst.shape, 0.5)
    coarse = images.lst.reshape(24, 8, 4, 8, 4).mean(axis=(2, 4))
    return {
        "blocks": (np.kron(coarse, np.ones((1, 4, 4))), sigma),
        "noisy": (images.lst + 0.5 * rng.normal(size=images.lst.shape), sigma),
    }


@pytest.fixture(scope="module")
def table(images: Images, estimates: dict[str, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    return pd.concat([score_images("e", name, images.lst, e, s, images, 4) for name, (e, s) in estimates.items()])


def scene(images: Images, **changes: Any) -> figures.Scene:
    coarse = images.lst[0].reshape(8, 4, 8, 4).mean(axis=(1, 3))
    values = {"title": "one day", "coarse": coarse, "truth": images.lst[0], "ndvi": images.ndvi[0], **changes}
    return figures.Scene(fine_pixel_m=PIXEL, **values)


def test_one_image_has_a_column_for_each_method_and_one_scale_for_each_row(images, estimates) -> None:
    figure = figures.image_figure(scene(images), {name: (e[0], s[0]) for name, (e, s) in estimates.items()})
    not_cut(figure)
    shown = panels(figure)
    assert len(shown) == 9
    titles = [axes.get_title("left") for axes in shown]
    assert titles[0] == "input, 3.7 km" and titles[3] == "truth, 927 m"
    error = np.sqrt(np.mean((estimates["noisy"][0][0] - images.lst[0]) ** 2))
    assert titles[5] == f"RMSE {error:.2f} K" and titles[8] == "mean σ 0.50 K"
    norms = [(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in shown]
    # input, estimates and truth in one scale; differences in one that is centred on zero
    assert norms[0] == norms[1] == norms[2] == norms[3]
    assert norms[4] == norms[5] and norms[4][0] == -norms[4][1]
    assert norms[7] == norms[8] and norms[7][0] == 0
    east, north = shown[0].images[0].get_extent()[1:3]
    assert east == north == pytest.approx(32 * PIXEL / 1e3)
    np.testing.assert_array_equal(shown[5].images[0].get_array(), estimates["noisy"][0][0] - images.lst[0])


def test_missing_pixels_are_grey_and_unknown_truth_guidance_and_sigma_are_left_out(images, estimates) -> None:
    estimate = estimates["noisy"][0][0].copy()
    estimate[8:24, 8:24] = np.nan
    coarse = scene(images).coarse.copy()
    coarse[2:6, 2:6] = np.nan
    unknown = np.full_like(estimate, np.nan)
    figure = figures.image_figure(scene(images, truth=None, ndvi=None, coarse=coarse), {"ours": (estimate, unknown)})
    assert [axes.get_title("left") for axes in panels(figure)][:2] == ["input, 3.7 km", "ours"]
    assert len(panels(figure)) == 3 and "estimate − input [K]" in words(figure) and "σ" not in words(figure)
    grey = np.array([int(figures.MISSING[i : i + 2], 16) for i in (1, 3, 5)])
    image = pixels(figure)
    share = (np.abs(image - grey).max(axis=-1) < 3).mean()
    whole = sum(axes.get_window_extent().width * axes.get_window_extent().height for axes in panels(figure))
    whole /= figure.bbox.width * figure.bbox.height
    assert share == pytest.approx(0.25 * whole, rel=0.15)
    guided = figures.image_figure(scene(images, truth=None), {"ours": (estimate, unknown)})
    assert "NDVI" in words(guided)


def test_blank_or_crowded_figures_are_refused(images, estimates) -> None:
    nothing = np.full((32, 32), np.nan)
    with pytest.raises(ValueError, match="no finite"):
        figures.image_figure(scene(images), {"ours": (nothing, nothing)})
    with pytest.raises(ValueError, match="9 methods, expected 1 to 6"):
        figures.image_figure(scene(images), {str(k): (images.lst[0], nothing) for k in range(9)})
    cloudy = np.full_like(images.lst, np.nan)
    with pytest.raises(ValueError, match="no complete image"):
        figures.spectra_figure({"ours": spectra(cloudy, cloudy, PIXEL)})
    with pytest.raises(ValueError, match="no pixel"):
        figures.calibration_figure(images.lst, cloudy > 0, {"ours": (images.lst, cloudy)})
    with pytest.raises(ValueError, match="no size"):
        score_figures.learning_figure({}, {})


def test_spectra_state_what_a_method_resolves(images: Images) -> None:
    wave = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    truth = 290 + np.random.default_rng(2).normal(size=(20, 64, 64))
    cut = np.fft.ifft2(np.where(wave <= 1 / 8, np.fft.fft2(truth), 0)).real
    found = {"cut": spectra(truth, cut, 250.0), "mean": spectra(truth, truth * 0 + 290, 250.0)}
    figure = figures.spectra_figure(found, labels={"cut": "Cut"})
    not_cut(figure)
    assert "Cut: worth pixels of 1.0 km" in words(figure) and "mean: resolves nothing" in words(figure)
    assert "Power (20 images)" in words(figure)


def test_calibration_states_coverage_and_lies_on_the_diagonal_where_sigma_is_right() -> None:
    rng = np.random.default_rng(3)
    sigma = rng.uniform(0.3, 2.0, size=(10, 64, 64))
    truth = 290 + sigma * rng.standard_normal(sigma.shape)
    estimate, mask = np.full(truth.shape, 290.0), np.ones(truth.shape, bool)
    figure = figures.calibration_figure(truth, mask, {"right": (estimate, sigma), "one": (estimate, sigma * 0 + 1.2)})
    not_cut(figure)
    covered = re.search(r"right: 90 % interval covers ([0-9.]+)%", words(figure))
    assert covered and float(covered[1]) == pytest.approx(90, abs=0.6)
    left, right = figure.axes[:2]
    level, share = left.lines[1].get_data()
    np.testing.assert_allclose(share, level, atol=0.01)
    given, found = right.lines[0].get_data()
    np.testing.assert_allclose(found, given, rtol=0.05)
    assert len(right.lines[1].get_xdata()) == 1


def test_learning_curve_draws_every_size_and_level(table: pd.DataFrame) -> None:
    found = summarise(table)
    curve = {size: {**found["noisy"], "psnr": 20.0 + k} for k, size in enumerate((100, 400, 1600))}
    figure = score_figures.learning_figure({"net": curve}, {"blocks": found["blocks"]}, labels={"net": "Network"})
    not_cut(figure)
    first = figure.axes[0]
    assert first.lines[0].get_xydata().tolist() == [[100, 20], [400, 21], [1600, 22]]
    assert [found["blocks"]["psnr"]] * 2 in [list(line.get_ydata()) for line in first.lines]
    assert [label.get_text() for label in first.get_xticklabels()] == ["100", "400", "1,600"]
    assert "Network" in words(figure)


def test_strata_are_drawn_in_order_with_their_numbers(table: pd.DataFrame) -> None:
    found = summarise(table)
    figure = score_figures.strata_figure(found)
    not_cut(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:4] == ["DJF  (n = 4)", "MAM  (n = 8)", "JJA  (n = 4)", "SON  (n = 8)"]
    points = [line.get_xdata()[0] for line in figure.axes[1].lines if line.get_marker() == "o"]
    expected = [part["rmse"] for s in found.values() for values in s["by"].values() for part in values.values()]
    assert points == pytest.approx(expected)
    assert "mean NDVI, terciles" in words(figure)


def test_places_lie_where_their_numbers_say(table: pd.DataFrame) -> None:
    figure = score_figures.place_figure(table, "noisy", "blocks")
    not_cut(figure)
    own, other = (axes.images[0].get_array() for axes in panels(figure))
    mean = table[table["model"] == "noisy"].groupby("window")["rmse"].mean()
    # windows 77 = (4, 5) and 96 = (5, 6) of 18 x 18: north-west and south-east of a square of four
    np.testing.assert_allclose(own[0, 0], mean[77])
    np.testing.assert_allclose(own[1, 1], mean[96])
    assert np.ma.getmaskarray(np.ma.masked_invalid(own))[[0, 1], [1, 0]].all()
    base = table[table["model"] == "blocks"].groupby("window")["rmse"].mean()
    np.testing.assert_allclose(other[0, 0], mean[77] - base[77])
    assert "2 windows, 12 to 12 images each" in words(figure)
    with pytest.raises(ValueError, match="no image has a window"):
        score_figures.place_figure(table.assign(window=-1), "noisy", "blocks")
