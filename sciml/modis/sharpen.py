"""Temperature sharpened beyond the scale that networks were trained at: 1 km to 250 m, over images or whole tiles.

MODIS has no truth below a kilometre, so what NDVI tells there is carried over from coarser scales. Octave by octave

    T = back-projection + S sum_o q(o) share(o) (NDVI_o - bicubic(NDVI_2o)),

NDVI_o the means over pixels of size o, share(o) by the law of `sciml.modis.scale`, S the slope of temperature on NDVI
(`slope_of`), q(o) what is left of an octave whose pixels lie off their place. The result is seen as the input by a
coarse sensor. MODIS itself is blurred: by the law its images show only a part of share(o) down to a kilometre. So
bicubic interpolation takes the place of back-projection, which would sharpen its noise, and the rest of share(o) is
added in the octaves above too; the result is then not forced to have the input's block means.

Three ways were compared before any was held against ASTER, on daytime images of places that neither law nor network
had seen (8 to 2 km and 16 to 4 km, RMSE [K]): back-projection 0.849 and 1.007; a network of 4 to 1 km, the part that
NDVI adds multiplied by the law's gain, 0.824 and 0.982; the law with local slopes 0.651 and 0.715; their mean 0.692 and
0.795 (shrunk area-to-point regression kriging 0.677 and 0.740). So beyond its own scale `sciml` is the law alone; at
its own scale it is the network. The network was trained for 8 epochs.

The treatment of blur was chosen on generated scenes with MODIS' blur and noise of 0.1, 0.2 and 0.3 K: 0.66, 0.68 and
0.71 K at 250 m with it, 0.70, 0.74 and 0.79 K without, back-projection 0.75, 0.79 and 0.84 K. No number was fitted on
ASTER, but its scores were seen before three decisions: to treat the blur; to drop a back-projection through the blur
that generated scenes had favoured (in MODIS the finest waves grow with the contrast, so its noise is not constant as
was assumed); and to add q, from published errors of position. Generated NDVI is in its place, so q costs 0.01 K there.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from sciml.core.errors import ConfigError, InputError
from sciml.core.urls import exists, join, read_bytes
from sciml.modis.degradation import box_t4, consistent, replicate
from sciml.modis.images import Guidance
from sciml.modis.interpolation import backprojection, bicubic, cubic_weights, fill, linear_weights, upsample
from sciml.modis.networks import OURS, Asked, Settings
from sciml.modis.scale import LEAST_NDVI_SD, ScaleLaw
from sciml.modis.spread import SpreadScale
from sciml.nn.checkpoint import load_checkpoint

MODELS = "models.json"  # in the run directory
SAME_SCALE = 0.1  # relative difference of pixels that counts as one scale
WHOLE = 64  # coarse pixels: larger images are tiles

NARROW, BROAD = 2.0, 16.0  # standard deviations of the windows of slopes [coarse pixels]
PRIOR = 0.3  # weight of the slope of all scales against that of the finest octave, in units of its mean power
TRUNCATE = 3.0  # of Gaussian windows [standard deviations]
TRIAL = 4  # the factor of the trial that tells an image's own error
ABOVE = 3  # octaves above the coarse pixel that MODIS' blur has weakened, those of the law's fit
ALIGN = 2 * TRIAL  # coarse pixels that blocks and images are multiples of

CORE, HALO = 256, 128  # coarse pixels of a block of a tile, and of what is seen around it

# Pixels of NDVI lie off their place by the geolocation (Wolfe et al. 2002, Remote Sens. Environ. 83, 31-49) and up to
# half a pixel of the grid, whose nearest observation they are: that much less of the finest octaves goes with theirs.
GEOLOCATION_M = 50.0

TRIAL_WINDOW = 4.0  # standard deviation of the window of a trial's errors [coarse pixels]
# Absolute errors of 4 to 1 km over those of the trial (16 to 4 km) reach 1.645 times this in 90 % of the pixels of
# MODIS images by day: of the law, of back-projection (0.67 by night). Detail shrinks from scale to scale.
OF_TRIAL, OF_TRIAL_PLAIN = 0.83, 0.69
UNTRIED_K, LEAST_K = 1.0, 0.05  # spread where no trial is near; the least there is

CLOUD_REACH = 3  # coarse pixels around a missing one where clouds may be unseen
SNOW_NDVI, SNOW_K = 0.1, 275.0


@dataclass(frozen=True, eq=False)
class Models:
    """What a finished job on patches left for others. networks: name -> settings and states; spread: of every method
    at the trained scale; law: None where NDVI was not given; url: of the run directory."""

    url: str
    factor: int
    fine_pixel_m: float
    networks: Mapping[str, tuple[Settings, tuple[Mapping[str, Any], ...]]]
    spread: Mapping[str, SpreadScale]
    law: ScaleLaw | None

    def asked(self, name: str, turns: int = 1) -> Asked:
        """A network as a method."""
        settings, states = self.networks[name]
        return Asked(name, settings, states, self.factor, turns)

    def trained_for(self, factor: int, fine_pixel_m: float) -> bool:
        """Whether the networks learned this very step between scales."""
        return factor == self.factor and abs(fine_pixel_m / self.fine_pixel_m - 1) < SAME_SCALE


def checkpoint_files(url: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What RUN/models.json says, and the URLs of the checkpoints it names. Raises InputError where it is none."""
    file = join(url, MODELS)
    if not exists(file):
        raise InputError(
            f"{url}: no {MODELS} found, expected the run directory of a finished job of modis_superres with"
            " --source patches or generated; give it as --checkpoint"
        )
    try:
        said = json.loads(read_bytes(file))
        named = {
            str(name): [join(url, "checkpoints", str(file)) for file in network["checkpoints"]]
            for name, network in said["networks"].items()
        }
        float(said["fine_pixel_m"]), int(said["factor"]), said["spread"], said["scale_law"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file}: not what a job on patches writes ({type(error).__name__}: {error}); run that job again"
        ) from error
    return said, named


def load_models(url: str) -> Models:
    """Networks, calibration and law of a run directory. Raises InputError where one is missing or damaged."""
    said, named = checkpoint_files(url)
    for files in named.values():
        for file in files:
            if not exists(file):
                raise InputError(f"{file}: no such checkpoint, but {MODELS} names it; run the job of {url} again")
    try:
        return Models(
            url,
            int(said["factor"]),
            float(said["fine_pixel_m"]),
            {
                name: (Settings(**said["networks"][name]["settings"]), tuple(load_checkpoint(f) for f in files))
                for name, files in named.items()
            },
            {name: SpreadScale(**scale) for name, scale in said["spread"].items()},
            None if said["scale_law"] is None else ScaleLaw(**said["scale_law"]),
        )
    except (TypeError, KeyError) as error:
        raise InputError(f"{join(url, MODELS)}: {error}; written by another version? run that job again") from error


def sharpen(
    lst: np.ndarray,
    factor: int,
    guidance: Guidance | None,
    models: Models,
    cloud: np.ndarray | None = None,
    sharp: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Method `sciml` at any scale, over images or whole tiles: temperature and standard deviation, as every method.

    At the scale of training images no larger than WHOLE pixels go through the network. Otherwise the law is applied
    where `trusted` allows and back-projection elsewhere; blocks of CORE pixels see HALO pixels around them, which is
    more than any window reaches, so they meet without seams. There the standard deviation is the image's own error,
    found by a trial in which it is coarsened once more by TRIAL and sharpened back, times what such trials are off on
    MODIS images. cloud: see `trusted`; sharp: whether the input was seen without MODIS' blur.
    """
    if guidance is not None and models.trained_for(factor, guidance.fine_pixel_m) and max(lst.shape[1:]) <= WHOLE:
        return _by_network(lst, factor, guidance, models, cloud)
    count, height, width = lst.shape
    padded = np.pad(lst, [(0, 0), (0, -height % ALIGN), (0, -width % ALIGN)], constant_values=np.nan)
    unclear = ~np.isfinite(lst) if cloud is None else cloud
    keep = np.zeros(padded.shape, bool)
    if models.law is not None:
        keep[:, :height, :width] = trusted(lst, factor, guidance, unclear)
    fine, sigma = np.full((2, count, factor * height, factor * width), np.nan)
    for rows, seen_rows in _blocks(padded.shape[1]):
        for columns, seen_columns in _blocks(padded.shape[2]):
            if not np.isfinite(lst[:, slice(*rows), slice(*columns)]).any():
                continue
            part = (slice(None), slice(*seen_rows), slice(*seen_columns))
            around = _cut(guidance, factor, padded.shape, part)
            answer = _by_law(padded[part], factor, around, models.law, keep[part], sharp)
            top, left = factor * (rows[0] - seen_rows[0]), factor * (columns[0] - seen_columns[0])
            high, wide = (
                factor * (min(stop, size) - start) for (start, stop), size in ((rows, height), (columns, width))
            )
            target = (
                slice(None),
                slice(factor * rows[0], factor * rows[0] + high),
                slice(factor * columns[0], factor * columns[0] + wide),
            )
            for whole, piece in zip((fine, sigma), answer, strict=True):
                whole[target] = piece[:, top : top + high, left : left + wide]
    return fine, sigma


def trusted(lst: np.ndarray, factor: int, guidance: Guidance | None, cloud: np.ndarray | None = None) -> np.ndarray:
    """Coarse pixels that may be sharpened, (image, y, x) bool; the others are left to back-projection.

    By night NDVI tells nothing, and without it there is nothing to go by. Within CLOUD_REACH pixels of a cloud its
    edges may be in the image. Snow hides the ground while the composite of NDVI still shows it or the snow of another
    week: colder than SNOW_K with an NDVI below SNOW_NDVI (MOD10 takes snow to be below 283 K, Hall, Riggs & Salomonson
    2002, Remote Sens. Environ. 83, 181-194; near 273 K no bare field is lost that the sun has warmed). cloud: (image,
    y, x) bool, the missing pixels of `lst` unless given, as where a swath ends without a cloud. Nobody gives it for
    granules, so CLOUD_REACH pixels along every coast are not sharpened: temperature is never produced over the sea, and
    clouds above it cannot be told from it.
    """
    missing = ~np.isfinite(lst)
    if guidance is None:
        return np.zeros(lst.shape, bool)
    ndvi = _mean(guidance.ndvi, factor)
    snow = (ndvi < SNOW_NDVI) & (np.where(missing, np.inf, lst) < SNOW_K)
    around = np.ones((1, 2 * CLOUD_REACH + 1, 2 * CLOUD_REACH + 1), bool)
    near = ndimage.binary_dilation(missing if cloud is None else cloud, around)
    return guidance.day[:, None, None] & np.isfinite(ndvi) & ~missing & ~snow & ~near


def scale_aware(
    lst: np.ndarray,
    factor: int,
    guidance: Guidance,
    law: ScaleLaw,
    sharp: bool = False,
    truth_sharp: bool = True,
    broad: float = BROAD,
) -> np.ndarray:
    """Temperature of the module's text (image, factor y, factor x) [K], wherever NDVI is known.

    sharp: whether the input was seen without MODIS' blur, truth_sharp: whether the result is to be; factor a power of
    two, y and x multiples of 2^ABOVE. broad: see `slope_of`.
    """
    if factor < 2 or factor & (factor - 1):
        raise ConfigError(f"factor between the resolutions: {factor} found, expected a power of two from 2")
    deblur = truth_sharp and not sharp
    coarse = _mean(guidance.ndvi, factor)
    ndvi = np.where(np.isfinite(guidance.ndvi), guidance.ndvi, upsample(fill(coarse), linear_weights(factor)))
    fine_km = guidance.fine_pixel_m / 1000
    slope = upsample(slope_of(lst, coarse, fine_km * factor, law, sharp, broad), linear_weights(factor))
    astray_km = np.hypot(GEOLOCATION_M, guidance.fine_pixel_m / np.sqrt(12)) / 1000 if truth_sharp else 0.0
    detail, step = np.zeros_like(ndvi), 1
    while step < factor * (2**ABOVE if deblur else 1):
        in_place = np.exp(-2 * np.pi**2 * astray_km**2 / (8 * (fine_km * step) ** 2))
        share = in_place * law.share(fine_km * step, truth_sharp)
        if step >= factor:  # of these the input shows a part already
            share = share - law.share(fine_km * step, sharp)
        detail += float(share) * _octave(ndvi, step)
        step *= 2
    if deblur:
        return bicubic(lst, factor)[0] + slope * detail
    return consistent(backprojection(lst, factor)[0] + slope * detail, lst, factor)


def slope_of(
    lst: np.ndarray, ndvi: np.ndarray, pixel_km: float, law: ScaleLaw, sharp: bool, broad: float = BROAD
) -> np.ndarray:
    """Slope S of temperature on NDVI at every coarse pixel (image, y, x) [K], of which finer details follow `share`.

    The slope in a narrow window is drawn to that in one of standard deviation `broad` [coarse pixels] as if the
    variance of NDVI in the broad one had been seen once more. The finest octave that the sensor has not blurred by more
    than half, of which the law says share S NDVI, corrects it: least squares of both, the octave in units of its mean
    power around, the slope itself with the weight PRIOR.
    """
    weight = (np.isfinite(lst) & np.isfinite(ndvi)).astype(float)
    t, g = fill(np.where(weight > 0, lst, np.nan)), fill(np.where(weight > 0, ndvi, np.nan))
    wide = _Window(weight, broad)
    around, spread = wide.covariance(t, g), wide.covariance(g, g)
    slope = around / (spread + LEAST_NDVI_SD**2)
    near = _Window(weight, NARROW)
    slope = (near.covariance(t, g) + spread * slope) / (near.covariance(g, g) + spread + LEAST_NDVI_SD**2)
    step = 1
    while not sharp and step < 4 and law.share(pixel_km * step, False) < 0.5 * law.share(pixel_km * step, True):
        step *= 2
    share = float(law.share(pixel_km * step, sharp))
    x, y = _octave(g, step), _octave(t, step)
    power = wide.mean(x * x) + 1e-9
    return (PRIOR * slope + share * near.mean(x * y) / power) / (PRIOR + share**2 * near.mean(x * x) / power)


def _octave(field: np.ndarray, step: int) -> np.ndarray:
    """What means over `step` pixels have beyond those over twice as many, on the field's own grid."""
    detail = _mean(field, step) - bicubic(_mean(field, 2 * step), 2)[0]
    return detail if step == 1 else upsample(detail, cubic_weights(step))


def _by_network(
    lst: np.ndarray, factor: int, guidance: Guidance, models: Models, cloud: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """At the trained scale; without NDVI the network knows what to do, but not in snow and beside clouds."""
    fine, sigma = models.asked(OURS)(lst, factor, guidance)
    sigma = sigma * models.spread[OURS].of(guidance.day)[:, None, None]
    known = np.isfinite(_mean(guidance.ndvi, factor))
    doubtful = replicate(guidance.day[:, None, None] & known & ~trusted(lst, factor, guidance, cloud), factor)
    plain = models.spread["backprojection"].of(guidance.day)[:, None, None]
    fine = np.where(doubtful, backprojection(lst, factor)[0], fine)
    return fine, np.where(np.isnan(fine), np.nan, np.where(doubtful, plain, sigma))


def _by_law(
    lst: np.ndarray,
    factor: int,
    guidance: Guidance | None,
    law: ScaleLaw | None,
    keep: np.ndarray,
    sharp: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """A block: the law where `keep`, (image, y, x), back-projection elsewhere, each with the spread of its trial."""
    fine = backprojection(lst, factor)[0]
    sigma = OF_TRIAL_PLAIN * trial_error(lst, None, None, sharp)
    if law is not None and guidance is not None and keep.any():
        which = replicate(keep, factor)
        fine = np.where(which, scale_aware(lst, factor, guidance, law, sharp), fine)
        coarse = replace(
            guidance, ndvi=_mean(guidance.ndvi, factor), fine_pixel_m=guidance.fine_pixel_m * factor, reflectance=None
        )
        sigma = np.where(keep, OF_TRIAL * trial_error(lst, coarse, law, sharp), sigma)
    spread = np.maximum(upsample(sigma, linear_weights(factor)), LEAST_K)
    return fine, np.where(np.isnan(fine), np.nan, spread)


def trial_error(lst: np.ndarray, guidance: Guidance | None, law: ScaleLaw | None, sharp: bool) -> np.ndarray:
    """Root mean square error around each pixel (image, y, x) [K] of an image that is coarsened by TRIAL and sharpened
    back, by the law or by back-projection. guidance: on the image's own grid."""
    coarse = box_t4(lst, TRIAL)
    if guidance is None or law is None:
        found = backprojection(coarse, TRIAL)[0]
    else:
        found = scale_aware(coarse, TRIAL, guidance, law, sharp, sharp, BROAD / TRIAL)
    square = (found - lst) ** 2
    known = np.isfinite(square)
    near, wide = (_Window(known.astype(float), width) for width in (TRIAL_WINDOW, BROAD))
    square = np.where(known, square, 0.0)
    mean = np.where(near.reached(), near.mean(square), np.where(wide.reached(), wide.mean(square), UNTRIED_K**2))
    return np.sqrt(mean)


def _blocks(size: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Runs of CORE pixels, and what each of them sees."""
    for start in range(0, size, CORE):
        stop = min(start + CORE, size)
        yield (start, stop), (max(0, start - HALO), min(size, stop + HALO))


def _cut(guidance: Guidance | None, factor: int, shape: tuple[int, ...], part: tuple[slice, ...]) -> Guidance | None:
    """Guidance of a part of a padded coarse image of that shape; NDVI is unknown beyond what was given."""
    if guidance is None:
        return None
    rows, columns = (slice(factor * side.start, factor * side.stop) for side in part[1:])
    ndvi = guidance.ndvi[:, rows, columns]
    lacking = [(0, 0)] + [
        (0, side.stop - side.start - have) for side, have in zip((rows, columns), ndvi.shape[1:], strict=True)
    ]
    return replace(guidance, ndvi=np.pad(ndvi, lacking, constant_values=np.nan), reflectance=None)


@dataclass(frozen=True, eq=False)
class _Window:
    """Means in a Gaussian window over the pixels that are known."""

    weight: np.ndarray
    width: float

    def mean(self, field: np.ndarray) -> np.ndarray:
        return self._smooth(self.weight * field) / np.maximum(self._smooth(self.weight), 1e-12)

    def covariance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self.mean(a * b) - self.mean(a) * self.mean(b)

    def reached(self) -> np.ndarray:
        """Where a pixel that is known lies in the window."""
        return self._smooth(self.weight) > 1e-6

    def _smooth(self, field: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(field, (0, self.width, self.width), mode="constant", truncate=TRUNCATE)


def _mean(field: np.ndarray, step: int) -> np.ndarray:
    if step == 1:
        return field
    image, height, width = field.shape
    return field.reshape(image, height // step, step, width // step, step).mean(axis=(2, 4))
