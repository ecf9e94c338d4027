"""One row of scores per image, and their summary beside the other methods'.

Every method is scored on the same pixels: those of the truth that count, whatever a method says of them.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.metrics import images as metrics
from sciml.metrics.bootstrap import draws, percentile_interval
from sciml.modis.images import Images
from sciml.report.comparison import Column, comparison_table
from sciml.report.page import Table

# Below this range an image has little to resolve: interpolation is hard to beat there (the paper, section IV).
LOW_CONTRAST_K = 5.0
SLAB = 32  # images scored at a time: their arrays stay in the cache, which saves a third of the time
SEASONS = np.array(["DJF", "MAM", "JJA", "SON"])
UNKNOWN = "unknown"
ORDER = {"DJF": 1, "MAM": 2, "JJA": 3, "SON": 4, UNKNOWN: 5}  # other names sort by themselves

# Means over images. Coverage is the share of all pixels, and rmse_pooled the root of the mean square of all pixels.
MEANS = (
    "psnr", "ssim", "ssim_global", "rmse", "rmse_unbiased", "bias", "detail_r", "detail_amplitude", "crps"
)  # fmt: skip
COMPARED = ("psnr", "ssim", "rmse", "rmse_unbiased", "detail_r", "crps")
OF_STRATA = ("psnr", "ssim", "rmse", "bias", "detail_r", "crps", "coverage90")
STRATA = {"season": "season", "overpass": "overpass", "ndvi": "ndvi", "gradient": "gradient", "range": "contrast"}

COLUMNS = (
    Column("psnr", "PSNR [dB]", "high"),
    Column("ssim", "SSIM", "high", digits=3),
    Column("rmse", "RMSE [K]", "low", digits=3),
    Column("rmse_unbiased", "RMSE without bias [K]", "low", digits=3),
    Column("detail_r", "detail r", "high"),
    Column("detail_amplitude", "detail amplitude", 1.0),
    Column("crps", "CRPS [K]", "low", digits=3),
    Column("coverage90", "coverage of 90 % interval", 0.9, digits=1, percent=True),
)


def score_images(
    experiment: str,
    method: str,
    truth: np.ndarray,
    estimate: np.ndarray,
    sigma: np.ndarray,
    images: Images,
    factor: int,
    crop: int = 0,
    *,
    mask: np.ndarray | None = None,
) -> pd.DataFrame:
    """Scores of one method in one experiment, one row per image.

    truth, estimate, sigma: (image, Y, X) [K]; images: date, window, overpass and NDVI of each; factor: coarse over fine
    pixel; crop: width of the border that is left out [fine pixels]; mask: (image, Y, X) pixels of the truth that may
    count (default: those in coarse blocks without a missing pixel). `metrics.images.outliers` never count.

    Columns: experiment model unit crop date window overpass season ndvi (tercile of the images' mean NDVI) gradient
    (quartile of the mean gradient of the truth) contrast range_K low_contrast n psnr ssim ssim_global rmse
    rmse_unbiased bias detail_r detail_amplitude crps coverage90 sum_square (of errors [K2], over n pixels). The strata
    and low_contrast come from the whole image; range_K is of the scored pixels. Raises InputError where a scored pixel
    has no estimate.
    """
    keep = blocks_without_gaps(truth, factor) if mask is None else mask & np.isfinite(truth)
    keep = keep & ~metrics.outliers(truth, keep)
    strata = _strata(truth, keep, images)
    keep = _inside(keep, crop)
    _complete(estimate, keep, images, f"{experiment}, {method}")
    slabs = (slice(start, start + SLAB) for start in range(0, len(truth), SLAB))
    scores = [_measure(truth[s], estimate[s], sigma[s], keep[s], factor) for s in slabs]
    labels = {"experiment": experiment, "model": method, "unit": np.arange(len(truth)), "crop": crop}
    return pd.concat([pd.DataFrame(labels), strata, pd.concat(scores, ignore_index=True)], axis=1)


def blocks_without_gaps(truth: np.ndarray, factor: int) -> np.ndarray:
    """Pixels of coarse blocks that are complete, so that every method knows their input: (image, Y, X) bool."""
    count, height, width = truth.shape
    blocks = np.isfinite(truth).reshape(count, height // factor, factor, width // factor, factor)
    return np.broadcast_to(blocks.all(axis=(2, 4), keepdims=True), blocks.shape).reshape(truth.shape)


def summarise(
    table: pd.DataFrame, *, reference: str | None = None, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """`scores.<experiment>` of metrics.json: model -> key -> value, ready for JSON (undefined is None).

    table: rows of `score_images` of one experiment, every model on the same images; crops other than 0 give the same
    keys with `_crop`. Keys: MEANS (over images), `rmse_pooled` and `coverage90` (over all pixels), each with
    `<key>_ci: [lo, hi]` at `level`; `n` images, `n_dates`, `n_pixels`; `psnr_low_contrast` and `n_low_contrast` of
    images with a range below LOW_CONTRAST_K (which count in the other keys too); `by: {stratum: {value: {key:
    value}}}`; against `reference` (default: every other model) `fraction_better_than: {other: share of images with a
    lower RMSE}` and `difference: {other: {key: mean of model less other}}`, paired image by image, with intervals.

    Intervals draw whole dates, because images of one day share their weather and often their ground; images without a
    date are drawn one by one (`ci_blocks`). Raises InputError where two models were scored on different pixels.
    """
    _one_experiment(table)
    table = table[table["n"] > 0]
    out: dict[str, dict[str, Any]] = {str(model): {} for model in table["model"].unique()}
    for crop, rows in table.groupby("crop"):
        frames = {str(model): frame.set_index("unit") for model, frame in rows.groupby("model", sort=False)}
        _same_pixels(frames)
        some = next(iter(frames.values()))
        frames = {model: frame.loc[some.index] for model, frame in frames.items()}
        blocks = _blocks(some)
        counts = draws(np.arange(blocks.max() + 1), resamples=resamples, seed=seed, kind="dates")
        drawn = _Draws(blocks, counts, level)
        for model, frame in frames.items():
            found = _scores(frame, drawn)
            if crop:
                out[model] |= {(f"{k[:-3]}_crop_ci" if k.endswith("_ci") else f"{k}_crop"): v for k, v in found.items()}
                continue
            others = [o for o in frames if o != model and reference in (None, o)]
            out[model] |= found | {"by": _by(frame, drawn)} | _against(frame, {o: frames[o] for o in others}, drawn)
            out[model] |= {"n_dates": int(some["date"].nunique()), "ci_level": level}
            out[model]["ci_blocks"] = "dates" if some["date"].notna().all() else "images"
    return out


def score_table(
    summaries: Mapping[str, Mapping[str, Any]],
    *,
    caption: str,
    baselines: Sequence[str],
    labels: Mapping[str, str] | None = None,
    reference: str | None = None,
    ceilings: Sequence[str] = (),
) -> Table:
    """Table of the methods with intervals, the best of each column in bold. Arguments as in `comparison_table`."""
    months = {model: {"n_months": 0, **summary} for model, summary in summaries.items()}
    table = comparison_table(
        months,
        caption=caption,
        baselines=baselines,
        labels=labels,
        columns=COLUMNS,
        reference=reference,
        ceilings=ceilings,
    )
    some = next(iter(summaries.values()))
    note = (
        f"Means over n = {some['n']:,} images of {some['n_dates']:,} dates ({some['n_pixels']:,} pixels, the same for"
        f" every method); coverage is the share of all pixels, the last column (where given) the share of images. Below"
        f" each value its {round(100 * some['ci_level'])} % interval from a bootstrap over {some['ci_blocks']}. Bold:"
        " best of the column."
    )
    return replace(table, notes=[note])


class _Draws:
    """Means of values over images, and their intervals when whole blocks of images are drawn.

    blocks: (image,) number of the block of each image; counts: (resample, block).
    """

    def __init__(self, blocks: np.ndarray, counts: np.ndarray, level: float) -> None:
        self.blocks, self.counts, self.level = blocks, counts, level

    def mean(self, values: np.ndarray, weights: np.ndarray | None = None, root: bool = False) -> tuple[Any, list[Any]]:
        """Weighted mean (or its root) of values (image,), NaN left out, and its interval."""
        known = ~np.isnan(values)
        weight = np.where(known, 1.0 if weights is None else weights, 0.0)
        size = self.counts.shape[1]
        above = np.bincount(self.blocks, np.where(known, values, 0.0) * weight, minlength=size)
        below = np.bincount(self.blocks, weight, minlength=size)
        total = self.counts @ below
        with np.errstate(divide="ignore", invalid="ignore"):
            value = above.sum() / below.sum()
            sample = np.where(total > 0, (self.counts @ above) / total, np.nan)
        if root:
            value, sample = np.sqrt(value), np.sqrt(sample)
        return _number(value), [_number(x) for x in percentile_interval(sample, level=self.level)]


def _scores(frame: pd.DataFrame, drawn: _Draws) -> dict[str, Any]:
    out: dict[str, Any] = {}
    pixels = frame["n"].to_numpy(float)
    for key in MEANS:
        out[key], out[f"{key}_ci"] = drawn.mean(frame[key].to_numpy(float))
    out["coverage90"], out["coverage90_ci"] = drawn.mean(frame["coverage90"].to_numpy(float), pixels)
    square = frame["sum_square"].to_numpy(float) / pixels
    out["rmse_pooled"], out["rmse_pooled_ci"] = drawn.mean(square, pixels, root=True)
    faint = frame["low_contrast"].to_numpy(bool)
    faint_psnr = np.where(faint, frame["psnr"].to_numpy(float), np.nan)
    out["psnr_low_contrast"], out["psnr_low_contrast_ci"] = drawn.mean(faint_psnr)
    out["n_low_contrast"], out["n"], out["n_pixels"] = int(faint.sum()), len(frame), int(pixels.sum())
    return out


def _by(frame: pd.DataFrame, drawn: _Draws) -> dict[str, dict[str, dict[str, Any]]]:
    out: dict[str, dict[str, dict[str, Any]]] = {}
    pixels = frame["n"].to_numpy(float)
    for stratum, column in STRATA.items():
        out[stratum] = {}
        for value in sorted(frame[column].unique(), key=lambda name: (ORDER.get(name, 0), name)):
            inside = frame[column].to_numpy() == value
            part: dict[str, Any] = {"n": int(inside.sum())}
            for key in OF_STRATA:
                of_images = np.where(inside, frame[key].to_numpy(float), np.nan)
                part[key], part[f"{key}_ci"] = drawn.mean(of_images, pixels if key == "coverage90" else None)
            out[stratum][str(value)] = part
    return out


def _against(frame: pd.DataFrame, others: Mapping[str, pd.DataFrame], drawn: _Draws) -> dict[str, Any]:
    out: dict[str, Any] = {"fraction_better_than": {}, "fraction_better_than_ci": {}, "difference": {}}
    for name, other in others.items():
        gain = other["rmse"].to_numpy(float) - frame["rmse"].to_numpy(float)
        share, interval = drawn.mean(np.where(np.isnan(gain), np.nan, gain > 0))
        out["fraction_better_than"][name], out["fraction_better_than_ci"][name] = share, interval
        paired: dict[str, Any] = {}
        for key in COMPARED:
            with np.errstate(invalid="ignore"):
                difference = frame[key].to_numpy(float) - other[key].to_numpy(float)
            paired[key], paired[f"{key}_ci"] = drawn.mean(difference)
        out["difference"][name] = paired
    return out


def _measure(truth: np.ndarray, estimate: np.ndarray, sigma: np.ndarray, keep: np.ndarray, factor: int) -> pd.DataFrame:
    known = truth, estimate, keep
    span = metrics.extent(truth, keep)
    square = np.where(keep, np.subtract(estimate, truth, dtype=np.float64), 0.0) ** 2
    columns = {
        "range_K": span,
        "n": keep.sum(axis=(1, 2)),
        "psnr": metrics.psnr(*known, span),
        "ssim": metrics.ssim(*known, span),
        "ssim_global": metrics.ssim_global(*known, span),
        "rmse": metrics.rmse(*known),
        "rmse_unbiased": metrics.rmse_unbiased(*known),
        "bias": metrics.bias(*known),
        "detail_r": metrics.detail_correlation(*known, factor),
        "detail_amplitude": metrics.detail_amplitude(*known, factor),
        "crps": metrics.crps(truth, estimate, sigma, keep),
        "coverage90": metrics.coverage90(truth, estimate, sigma, keep),
        "sum_square": square.sum(axis=(1, 2)),
    }
    return pd.DataFrame(columns)


def _strata(truth: np.ndarray, keep: np.ndarray, images: Images) -> pd.DataFrame:
    some = keep.any(axis=(1, 2))
    known = keep & np.isfinite(images.ndvi)
    green = np.where(known, images.ndvi, 0.0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    span = metrics.extent(truth, keep)
    month = images.date.astype("datetime64[M]").astype(np.int64) % 12
    season = np.where(np.isnat(images.date), UNKNOWN, SEASONS[(month + 1) % 12 // 3])
    columns = {
        "date": images.date.astype("datetime64[s]"),
        "window": images.window,
        "overpass": np.where(images.day, "day", "night"),
        "season": season,
        "ndvi": _parts(np.where(known.any(axis=(1, 2)), green, np.nan), ("1 low", "2 middle", "3 high")),
        "gradient": _parts(
            np.where(some, _gradient(truth, keep, images.fine_pixel_m), np.nan),
            ("1 least", "2 less", "3 more", "4 most"),
        ),
        "contrast": np.where(span < LOW_CONTRAST_K, f"below {LOW_CONTRAST_K:.0f} K", f"{LOW_CONTRAST_K:.0f} K or more"),
        "low_contrast": span < LOW_CONTRAST_K,
    }
    return pd.DataFrame(columns)


def _gradient(truth: np.ndarray, keep: np.ndarray, pixel_m: float) -> np.ndarray:
    """Mean size of the gradient between neighbours that both count, (image,) [K/km]."""
    values = np.where(keep, truth, np.nan)
    south, east = np.diff(values, axis=1)[:, :, :-1], np.diff(values, axis=2)[:, :-1]
    size = np.hypot(south, east)
    count = np.isfinite(size).sum(axis=(1, 2))
    return np.where(count > 0, np.nansum(size, axis=(1, 2)) / np.maximum(count, 1), np.nan) * 1000.0 / pixel_m


def _parts(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Name of the quantile group of each image; unknown where the value is."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(values), UNKNOWN)
    bounds = np.quantile(values[known], np.arange(1, len(names)) / len(names))
    return np.where(
        known, np.array(names)[np.searchsorted(bounds, values, side="right").clip(max=len(names) - 1)], UNKNOWN
    )


def _inside(keep: np.ndarray, crop: int) -> np.ndarray:
    if not crop:
        return keep
    inner = np.zeros_like(keep)
    inner[:, crop:-crop, crop:-crop] = keep[:, crop:-crop, crop:-crop]
    return inner


def _complete(estimate: np.ndarray, keep: np.ndarray, images: Images, where: str) -> None:
    absent = (keep & ~np.isfinite(estimate)).sum(axis=(1, 2))
    if absent.any():
        i = int(absent.argmax())
        raise InputError(
            f"scores: {where}: {absent[i]} pixels of image {i} ({images.date[i]}, window {images.window[i]}) have a"
            " true value and no estimate; expected one wherever the coarse pixel is known, because every method is"
            " scored on the same pixels; leave them out of the mask for all"
        )


def _one_experiment(table: pd.DataFrame) -> None:
    experiments = table["experiment"].unique()
    if len(experiments) != 1:
        raise ValueError(f"summarise: rows of experiments {list(experiments)}, expected one")
    scored = table[(table["n"] > 0) & (table["crop"] == 0)]
    if scored.empty:
        raise InputError(
            f"scores: {experiments[0]}: none of {table['unit'].nunique()} images has a complete coarse block of the"
            " truth; expected at least one; check the files and the mask"
        )


def _same_pixels(frames: Mapping[str, pd.DataFrame]) -> None:
    for (one, a), (two, b) in itertools.pairwise(frames.items()):
        if not a["n"].sort_index().equals(b["n"].sort_index()):
            raise InputError(
                f"scores: {one} has {int(a['n'].sum())} scored pixels in {len(a)} images and {two} {int(b['n'].sum())}"
                f" in {len(b)}; expected the same images and pixels; score both in one run with one mask"
            )


def _blocks(frame: pd.DataFrame) -> np.ndarray:
    """Number of the block of each image: its date, or the image itself where a date is unknown."""
    if frame["date"].isna().any():
        return np.arange(len(frame))
    return np.unique(frame["date"].to_numpy(), return_inverse=True)[1]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
