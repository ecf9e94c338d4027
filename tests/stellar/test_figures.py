"""Figures: what is drawn is what was planted, nothing leaves the page, nothing overlaps."""

import itertools
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import norm

from sciml.stellar import figures, spectrum_figures
from sciml.stellar.labels import LABELS
from sciml.stellar.paper import METHODS, SHORT
from sciml.stellar.scores import summarise
from sciml.stellar.spectrum_figures import Star, StarFit
from tests.stellar.planted import planted_answers, planted_truth

TRUTH = planted_truth(1200)
ANSWERS = {
    name: planted_answers(TRUTH, over, said=said, seed=number)
    for number, (name, over, said) in enumerate(
        (("chi2", 1.0, 1.0), ("resnet", 3.0, 0.7), ("dae_attention_full", 2.0, 1.4), ("sciml", 1.2, 1.0))
    )
}


@pytest.fixture(scope="module")
def summaries():
    return summarise(TRUTH, ANSWERS, resamples=100)


def whole(figure: Figure) -> None:
    """Draws a figure; its legends and labels lie on the page and tick labels of an axis do not meet."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        canvas.draw()
    page = figure.bbox
    for artist in [*figure.legends, *(x for a in figure.axes for x in (a.xaxis.label, a.yaxis.label, a.title))]:
        box = artist.get_window_extent()
        if box.width > 0:
            assert box.x0 > page.x0 - 2 and box.x1 < page.x1 + 2 and box.y0 > page.y0 - 2 and box.y1 < page.y1 + 2
    for axes in figure.axes:
        if not axes.axison:
            continue
        for axis, low, high in ((axes.xaxis, "x0", "x1"), (axes.yaxis, "y0", "y1")):
            span = sorted(axis.get_view_interval())
            boxes = [
                text.get_window_extent()
                for text, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=False)
                if text.get_text() and text.get_visible() and span[0] <= place <= span[1]
            ]
            boxes.sort(key=lambda box: getattr(box, low))
            assert all(getattr(a, high) <= getattr(b, low) + 1 for a, b in itertools.pairwise(boxes))


def test_residuals_and_sigmas_stand_against_every_label():
    for draw in (figures.residuals_figure, figures.sigmas_figure):
        figure = draw(TRUTH, ANSWERS["sciml"])
        assert len(figure.axes) == 16
        points = figure.axes[4 * 1 + 2].lines[0]  # of log g against [M/H]
        assert np.array_equal(points.get_xdata(), TRUTH.labels[:, 2])
        whole(figure)
    sigma = figures.sigmas_figure(TRUTH, ANSWERS["sciml"]).axes[0]
    given, bound = (line.get_ydata() for line in sigma.lines[1:3])
    assert np.nanmax(np.abs(given / bound - 1.2)) < 1e-6  # planted: 1.2 of the bound everywhere


def test_part_of_the_grid_fills_its_figure():
    part = TRUTH.select((TRUTH.labels[:, 0] > 4000) & (TRUTH.labels[:, 0] < 6000))
    figure = figures.residuals_figure(part, planted_answers(part))
    low, high = figure.axes[-4].get_xlim()
    assert 3900 < low < 4100 and 5900 < high < 6100
    whole(figure)


def test_coverage_is_observed_less_nominal():
    figure = figures.coverage_figure(TRUTH, ANSWERS, labels=SHORT)
    whole(figure)
    axes = figure.axes[0]
    marks = [line for line in axes.lines if line.get_marker() == "o"]
    inside = (np.abs(ANSWERS["resnet"].mean - TRUTH.labels) < ANSWERS["resnet"].sigma)[:, 0].mean()
    curve = axes.lines[2]
    nominal, off = curve.get_xdata(), curve.get_ydata()
    scaled = np.abs(ANSWERS["resnet"].mean - TRUTH.labels)[:, 0] / ANSWERS["resnet"].sigma[:, 0]
    half = 100 * (scaled < norm.ppf(0.75)).mean()  # the central half of a Gaussian
    assert off[np.argmin(np.abs(nominal - 50))] == pytest.approx(half - 50, abs=1e-9)
    assert marks[1].get_xdata() == pytest.approx([68.27, 95.45])
    assert marks[1].get_ydata()[0] == pytest.approx(100 * inside - 68.27, abs=0.1)


def test_ratios_by_region(summaries):
    figure = figures.ratio_figure(summaries, labels=METHODS)
    whole(figure)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    shown = sorted(line.get_xdata()[0] for line in dots)
    parts = [p for s in summaries.values() for p in s["by"]["region"].values() if p["n_told_teff"] >= figures.FEWEST]
    assert shown == pytest.approx(sorted(p["crb_ratio_teff"] for p in parts))
    whole(figures.ratio_figure(summaries, key="bayes_ratio", labels=SHORT))


def test_curves(summaries):
    curve = {m: {10: summaries[m], 20: summaries[m], 100: summaries[m]} for m in ("chi2", "sciml")}
    best = {snr: TRUTH.bayes.mean(0) for snr in (10, 20, 100)}
    for trained in ((20, 20), (15, 50)):
        whole(figures.snr_figure(curve, trained, best=best, labels=METHODS))
    learned = {"sciml": {1000: summaries["resnet"], 100000: summaries["sciml"]}}
    figure = figures.learning_figure(learned, {"chi2": summaries["chi2"]}, labels=METHODS)
    whole(figure)
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx(
        [summaries["resnet"]["informed_ratio_logg"], summaries["sciml"]["informed_ratio_logg"]]
    )
    with pytest.raises(ValueError, match="blank"):
        figures.learning_figure({"sciml": {}})


def spectrum() -> tuple[np.ndarray, np.ndarray]:
    wave = np.linspace(5026, 5083, 512) + 43.0 * np.arange(8)[:, None]
    flux = np.ones_like(wave)
    for place, _ in spectrum_figures.LINES:
        flux -= 0.6 * np.exp(-0.5 * ((wave - place) / 0.15) ** 2)
    return wave, flux


def test_attention_above_its_spectrum():
    wave, flux = spectrum()
    maps = np.full((3, 8, 512), 1.0)
    maps[:, 6, 100:110] = 50.0
    maps /= maps.sum((1, 2), keepdims=True)
    figure = spectrum_figures.attention_figure(wave, flux, maps)
    whole(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")] == [
        "5155–5212 Å",
        "5284–5341 Å",
    ]  # Mg b, and where the maps peak
    one = spectrum_figures.attention_figure(wave, flux, maps, orders=[3])
    assert len(one.axes) == 4


def test_names_of_lines_do_not_meet():
    wave, flux = spectrum()
    crowd = [*spectrum_figures.LINES, *((5180.0 + 0.1 * k, f"Fe I {k}") for k in range(6))]
    figure = spectrum_figures.attention_figure(wave, flux, np.full((3, 8, 512), 1 / 4096), crowd, orders=[3, 4, 5])
    FigureCanvasAgg(figure).draw()
    seen = 0
    for axes in figure.axes:
        boxes = sorted(
            (text.get_window_extent() for text in axes.texts if text.get_rotation() == 90), key=lambda b: b.x0
        )
        seen += len(boxes)
        assert all(a.x1 <= b.x0 + 1 for a, b in itertools.pairwise(boxes))
    assert seen > 15


def test_a_star_and_its_model():
    wave, flux = spectrum()
    model = 1 - 0.9 * (1 - flux)
    used = np.ones(flux.shape, bool)
    used[2, 100:200] = False
    used[6] = False
    chi_square = np.array([1.0, 1.1, 3.0, 1.2, 0.9, 1.0, np.nan, 1.1])
    fit = StarFit("HD 189733", "chi2", wave, np.where(used, flux, np.nan), model, used, chi_square)
    figure = spectrum_figures.star_figure(fit)
    whole(figure)
    assert len(figure.axes) == 1 + 2 * 2  # orders of Mg b and of the largest chi-square
    assert [bar.get_height() for bar in figure.axes[0].patches] == pytest.approx(np.nan_to_num(chi_square))
    residual = figure.axes[2].lines[0].get_ydata()
    assert np.allclose(residual[used[2]], (flux - model)[2, used[2]])


def star(name: str, literature: tuple[float, ...], **more) -> Star:
    answers = {
        "chi2": (np.array([5800, 4.4, 0.0, 2.0]), np.array([30, 0.1, 0.05, 0.3])),
        "resnet": (np.array([5900, 4.2, 0.1, 3.0]), np.array([130, 0.2, 0.1, 1.0])),
    }
    return Star(name, answers, {"resnet": ["chi-square"]}, np.array(literature), np.full(4, 0.1), "Gaia", **more)


def test_stars_against_literature():
    stars = [
        star("Sun", (5772, 4.44, 0.0, 1.8), calibrates=True),
        star("Aldebaran", (3900, 1.6, -0.3, np.nan), note="R = 115,000"),
    ]
    figure = spectrum_figures.stars_figure(stars, labels=METHODS)
    whole(figure)
    assert len(figure.axes) == len(LABELS)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert "calibrates" in names[0] and "consistency only" in names[1]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([28, 128, 1900, 2000])
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, True, False, True]
    assert any(text.get_text() == "no literature value" for text in figure.axes[3].texts)
    with pytest.raises(ValueError, match="blank"):
        spectrum_figures.stars_figure([])
