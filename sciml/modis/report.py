"""Scores and the page of super-resolution experiments."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sciml.data.stores import open_store
from sciml.metrics.images import spectra
from sciml.modis.config import ModisConfig
from sciml.modis.degradation import replicate
from sciml.modis.figures import MOST_METHODS, Scene, calibration_figure, image_figure, spectra_figure
from sciml.modis.images import Images
from sciml.modis.score_figures import learning_figure, place_figure, strata_figure
from sciml.modis.scores import blocks_without_gaps, score_images, score_table, summarise
from sciml.modis.setup import Prepared, Setup
from sciml.modis.splits import COLUMNS, GAP_DAYS
from sciml.modis.spread import SpreadScale, fit_spread
from sciml.modis.steps import REMEMBERING
from sciml.report.page import Illustration, Section, provenance
from sciml.report.results import Finding

REFERENCE = "backprojection"
CROP = 4  # fine pixels, the border that is left out in the second set of scores
LABELS = {
    "bilinear": "bilinear (the paper's bicubic)",
    "bicubic": "bicubic",
    "backprojection": "back-projection",
    "tsharp": "TsHARP",
    "atprk": "ATPRK",
    "place_memory": "back-projection + mean detail of the place",
    "place_regression": "back-projection + detail regressed at the place",
    "vdsr": "VDSR",
    "dmcn": "DMCN",
    "mrunet": "Multi-residual U-Net",
    "sciml": "sciml",
    "sciml_place": "sciml + place memory",
}
SHOWN = ("bicubic", "backprojection", "atprk", "mrunet", "sciml", "sciml_place")  # on pictures, of those there are
DEGRADED_BY = {
    "box_t4": "the mean of T⁴ over each coarse pixel",
    "mtf": "the mean of T⁴ weighted as a scanner weighs it (of which back-projection, TsHARP and ATPRK, which take it"
    " for a plain mean, know nothing)",
}
TITLES = {
    "random_split": "Random images: what leakage makes of it",
    "date_split": f"Known places, dates {GAP_DAYS} days and more from training",
    "place_split": "Places never seen",
    "test_patches": "Test patches",
    "aster_self": "ASTER at 1 km against itself at 250 m",
    "aster": "MODIS at 250 m against ASTER",
}
Answers = dict[str, tuple[np.ndarray, np.ndarray]]


def answers(prepared: Prepared, stores: Mapping[str, str]) -> tuple[Answers, dict[str, SpreadScale]]:
    """Estimates of the test images with calibrated spread, and the calibration, of every method.

    stores: method -> URL of its `steps.Estimate` store.
    """
    found, scales, count = {}, {}, prepared.calibrating
    images = prepared.estimated
    for name, url in stores.items():
        store = open_store(url)
        lst, sigma = store["lst"].values, store["sigma"].values
        scale = fit_spread(images.lst[:count], lst[:count], sigma[:count], images.day[:count])
        found[name] = lst[count:], sigma[count:] * scale.of(images.day[count:])[:, None, None]
        scales[name] = scale
    return found, scales


def finding(setup: Setup, prepared: Prepared, found: Answers) -> Finding:
    """Scores of an experiment's methods on the same pixels, and its section."""
    test = prepared.test
    paragraphs = [
        f"Trained on {len(prepared.train):,} images of {_count(prepared.train.window)} windows and"
        f" {_count(prepared.train.date)} dates; {prepared.calibrating:,} more calibrated the spreads; tested on"
        f" {len(test):,} images of {_count(test.window)} windows and {_count(test.date)} dates, of which training knew"
        f" {len(np.intersect1d(test.window, prepared.train.window))} windows and"
        f" {len(np.intersect1d(test.date, prepared.train.date))} dates. Each image of"
        f" {test.fine_pixel_m / 1000:.2g} km was degraded by {setup.factor}: {DEGRADED_BY[setup.degradation]}.",
        *prepared.notes,
    ]
    coarse = setup.coarse(test.lst)
    mask = _known(test, coarse, setup.factor)
    return scored(setup.experiment, test, coarse, setup.factor, found, paragraphs, mask=mask, crops=(0, CROP))


def scores_of(setup: Setup, prepared: Prepared, found: Answers) -> Mapping[str, Mapping[str, Any]]:
    """Summaries alone, of an experiment whose figures nobody asks for."""
    test, factor = prepared.test, setup.factor
    mask = _known(test, setup.coarse(test.lst), factor)
    tables = [
        score_images(setup.experiment, name, test.lst, *answer, test, factor, mask=mask)
        for name, answer in found.items()
    ]
    return summarise(pd.concat(tables, ignore_index=True))


def curve_section(
    experiment: str,
    networks: Sequence[str],
    sizes: Mapping[int, Mapping[str, Mapping[str, Any]]],
    whole: Mapping[str, Mapping[str, Any]],
) -> Section:
    """Scores of networks against the number of training images. sizes: number -> model -> summary."""
    curves = {name: {size: summary[name] for size, summary in sizes.items()} for name in networks}
    flat = {name: whole[name] for name in ("backprojection", "atprk") if name in whole}
    few, many = min(sizes), max(sizes)
    gains = ", ".join(
        f"{LABELS[name]} {curves[name][few]['psnr']:.2f} to {curves[name][many]['psnr']:.2f} dB" for name in networks
    )
    return Section(
        "Learning curves",
        [f"From {few:,} to {many:,} training images, the same epochs each: {gains}."],
        [
            Illustration(
                f"{experiment.replace('_', '-')}-learning",
                learning_figure(curves, flat, labels=LABELS),
                f"{TITLES[experiment]}: scores against the number of training images, with 95 % intervals; level lines"
                " learn nothing.",
                "Curves of PSNR and other scores of each network by number of training images.",
            )
        ],
    )


def scored(
    experiment: str,
    test: Images,
    coarse: np.ndarray,
    factor: int,
    found: Answers,
    paragraphs: Sequence[str],
    mask: np.ndarray,
    crops: Sequence[int] = (0,),
) -> Finding:
    """Scores and section of methods on images whose truth is `test`. mask: (image, Y, X) the pixels that count; crops:
    borders that are left out of one more set of scores each."""
    table = pd.concat(
        [
            score_images(experiment, name, test.lst, lst, sigma, test, factor, crop, mask=mask)
            for name, (lst, sigma) in found.items()
            for crop in crops
        ],
        ignore_index=True,
    )
    scores = summarise(table)
    section = Section(
        TITLES[experiment],
        [_verdict(scores), *paragraphs],
        [
            score_table(
                scores,
                caption=TITLES[experiment],
                baselines=[name for name in found if not name.startswith("sciml")],
                labels=LABELS,
                reference=REFERENCE,
            ),
            *_illustrations(experiment, test, coarse, factor, found, table, scores, mask),
        ],
    )
    return Finding(experiment, table, scores, [section])


def facts(
    config: ModisConfig, stores: Mapping[str, str], data: Mapping[str, str], prepared: Mapping[str, Prepared]
) -> dict[str, Any]:
    """Provenance of the page and of metrics.json. prepared: experiment -> its images."""
    notes = {name: "; ".join(p.notes) for name, p in prepared.items() if p.notes}
    found = provenance(
        data=data,
        split={name: f"{len(p.train)} train, {p.calibrating} calibrate" for name, p in prepared.items()},
        sample_size={f"test images of {name}": len(p.test) for name, p in prepared.items()},
        seed=config.seed,
        stores=stores,
        config=config.model_dump(mode="json"),
    )
    return found | ({"Notes": notes} if notes else {})


def _known(test: Images, coarse: np.ndarray, factor: int) -> np.ndarray:
    """Pixels whose coarse pixel is complete and was seen, whatever gaps a wide degradation reached into."""
    return blocks_without_gaps(test.lst, factor) & replicate(np.isfinite(coarse), factor)


def _count(values: np.ndarray) -> int:
    return len(np.unique(values))


def _verdict(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """The best method, and whether ours beats the simple ones."""
    if any(summary["psnr"] is None for summary in scores.values()):
        return "Every test image is flat: there is no contrast to resolve and no PSNR."
    best = max(scores, key=lambda name: scores[name]["psnr"])
    text = f"Best by PSNR: {LABELS[best]}, {_with_interval(scores[best], 'psnr', 2)} dB."
    ours = next((name for name in ("sciml", *scores) if name in scores and name.startswith("sciml")), None)
    if ours is None or ours == REFERENCE:
        return text
    mine, simple = scores[ours], scores[REFERENCE]
    share = mine["fraction_better_than"][REFERENCE]
    text += (
        f" {LABELS[ours]}: RMSE {_with_interval(mine, 'rmse', 3)} K, SSIM {mine['ssim']:.3f}; back-projection"
        f" {simple['rmse']:.3f} K and {simple['ssim']:.3f}; the former errs less in {share:.0%} of"
        f" {mine['n']:,} images."
    )
    rivals = [LABELS[name] for name in scores if not name.startswith("sciml") and scores[name]["rmse"] < mine["rmse"]]
    if rivals:
        text += f" {' and '.join(rivals)} {'err' if len(rivals) > 1 else 'errs'} less than it does."
    if any(name in REMEMBERING for name in scores):
        text += " Methods with place memory know each place from its other dates: that is geography, not resolution."
    return text


def _with_interval(summary: Mapping[str, Any], key: str, digits: int) -> str:
    low, high = summary[f"{key}_ci"]
    return f"{summary[key]:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _illustrations(
    experiment: str,
    test: Images,
    coarse: np.ndarray,
    factor: int,
    found: Answers,
    table: pd.DataFrame,
    scores: Mapping[str, Mapping[str, Any]],
    keep: np.ndarray,
) -> list[Illustration]:
    shown = [name for name in SHOWN if name in found]
    shown += [name for name in found if name not in shown][: MOST_METHODS - len(shown)]
    shown.sort(key=list(found).index)
    stem = experiment.replace("_", "-")
    pictures = []
    for day in (True, False):
        number = _typical(table, test, shown[-1], day)
        if number is None:
            continue
        when = "day" if day else "night"
        date = "" if np.isnat(test.date[number]) else f"{test.date[number]}, "
        place = f"window {test.window[number]}" if test.window[number] >= 0 else f"image {number}"
        ndvi = test.ndvi[number]
        scene = Scene(f"{date}{when}, {place}", coarse[number], test.lst[number], ndvi, test.fine_pixel_m)
        answer = {LABELS[name].split(" (")[0]: tuple(values[number] for values in found[name]) for name in shown}
        pictures.append(
            Illustration(
                f"{stem}-{when}",
                image_figure(scene, answer),
                f"The {when} image whose error by {LABELS[shown[-1]]} is the median ({place}): estimates, their"
                " difference from the truth and their standard deviation.",
                f"Input, truth and estimates of one {when} image side by side with difference and spread maps.",
            )
        )
    complete = np.isfinite(test.lst).all(axis=(1, 2))
    if complete.any():
        drawn = {name: spectra(test.lst[complete], found[name][0][complete], test.fine_pixel_m) for name in shown}
        pictures.append(
            Illustration(
                f"{stem}-spectra",
                spectra_figure(drawn, labels=LABELS),
                f"Mean spectra of {int(complete.sum()):,} complete images. A method's error reaches half of the truth's"
                " power at the wavelength of its effective resolution.",
                "Power spectra of methods and truth, and the share of power in the error by wavelength.",
            )
        )
    pictures.append(
        Illustration(
            f"{stem}-calibration",
            calibration_figure(test.lst, keep, {name: found[name] for name in shown}, labels=LABELS),
            "Coverage of central intervals and the error found where a standard deviation was given.",
            "Observed against nominal coverage, and error against given standard deviation, by method.",
        )
    )
    if len(np.unique(test.day)) > 1:
        pictures.append(
            Illustration(
                f"{stem}-strata",
                strata_figure({name: scores[name] for name in shown}, labels=LABELS),
                "Scores by season, overpass, NDVI, gradient and contrast, with 95 % intervals.",
                "Point ranges of scores by stratum and method.",
            )
        )
    numbered = test.window[test.window >= 0]
    if len(numbered) and numbered.max() < COLUMNS**2 and REFERENCE in found and shown[-1] != REFERENCE:
        pictures.append(
            Illustration(
                f"{stem}-places",
                place_figure(table, shown[-1], REFERENCE, labels=LABELS),
                f"RMSE by window of the tile: {LABELS[shown[-1]]}, and its difference from back-projection.",
                "Two maps of windows coloured by RMSE and by difference of RMSE.",
            )
        )
    return pictures


def _typical(table: pd.DataFrame, test: Images, model: str, day: bool) -> int | None:
    """The image in the middle of a model's errors by day or by night, a complete one where there is one."""
    rows = table[(table["model"] == model) & (table["crop"] == 0) & (table["n"] > 0)]
    numbers = rows["unit"].to_numpy()
    rows = rows[test.day[numbers] == day]
    if rows.empty:
        return None
    full = rows[rows["n"] == rows["n"].max()]
    order = full.sort_values("rmse")["unit"].to_numpy()
    return int(order[len(order) // 2])
