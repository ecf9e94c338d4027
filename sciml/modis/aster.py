"""Validation at 250 m against ASTER: everything on one grid, one shift for all, two experiments.

ASTER (UTM) is brought onto the fine grid of the MODIS frame (sinusoidal, the coarse pixel cut into factor x factor);
NDVI is moved there by its own corner. One constant shift between the sensors is found on `bilinear` alone, over all
pairs, before any other method is scored; nothing else is fitted on ASTER.

`aster_self` asks how well a method undoes the coarsening: ASTER seen at 1 km, super-resolved, against itself. `aster`
asks what a user gets: MODIS super-resolved, against ASTER; the sensors differ by scene, so judge by the RMSE without
bias.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform
from scipy import ndimage

from sciml.core.errors import ConfigError, InputError
from sciml.modis.degradation import box_t4, replicate
from sciml.modis.images import UNKNOWN_WINDOW, Guidance, Images
from sciml.modis.interpolation import bilinear

SINUSOIDAL = CRS.from_proj4("+proj=sinu +R=6371007.181 +units=m +no_defs")  # MODIS' sphere
BORDER_PIXELS = 8  # fine pixels left out of every score
REACH = 3  # largest shift sought [fine pixels]
HIGH_PASS = 2.0  # standard deviation [coarse pixels] of the smoothing taken off to seek the shift


@dataclass(frozen=True)
class Shift:
    """How far ASTER sits from MODIS [fine pixels]: its features lie `east` and `south` of where MODIS has them."""

    east: int = 0
    south: int = 0


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid: affine transform of pixel corners to metres, projection, (rows, columns)."""

    transform: Affine
    crs: CRS
    shape: tuple[int, int]

    def moved(self, shift: Shift) -> "Grid":
        """The grid `shift` pixels to the east and south."""
        return Grid(self.transform @ Affine.translation(shift.east, shift.south), self.crs, self.shape)

    def widened(self, margin: int) -> "Grid":
        """The grid with `margin` pixels more on every side."""
        rows, columns = (count + 2 * margin for count in self.shape)
        return Grid(self.transform @ Affine.translation(-margin, -margin), self.crs, (rows, columns))


@dataclass(frozen=True, eq=False)
class Pairs:
    """MODIS and ASTER on the MODIS frames.

    modis: (pair, y, x) [K], NaN missing. aster: images of ASTER on the fine grid, (pair, factor y, factor x) [K], with
    NDVI of that grid, by day, date and window unknown. number: (pair,) as the file has it. grids: of the fine images.
    """

    modis: np.ndarray
    aster: Images
    factor: int
    number: np.ndarray
    grids: tuple[Grid, ...]
    shift: Shift

    def __len__(self) -> int:
        return len(self.modis)

    def guidance(self) -> Guidance:
        """What a method may know beside the coarse image."""
        return self.aster.guidance()


@dataclass(frozen=True, eq=False)
class Trial:
    """One experiment: what a method is given and what it is held against.

    coarse: (pair, y, x) [K]. images: the truth on the fine grid, with guidance. mask: (pair, Y, X) the pixels that
    count, the same for all methods.
    """

    name: str
    coarse: np.ndarray
    images: Images
    mask: np.ndarray
    factor: int


def read_on_one_grid(pairs: xr.Dataset, shift: Shift | None = None) -> Pairs:
    """Pairs (`sciml.data.readers.aster_pairs`) on the MODIS frames; without `shift` it is found first (`found_shift`).

    Raises InputError where an ASTER scene does not meet its MODIS frame.
    """
    if shift is not None:
        return on_modis_grid(pairs, shift)
    around = _brought(pairs, REACH)
    return _placed(pairs, around, found_shift(_placed(pairs, around, Shift())))


def on_modis_grid(pairs: xr.Dataset, shift: Shift) -> Pairs:
    """ASTER brought onto the fine grid of the MODIS frames, moved back by `shift`, bilinearly; NDVI by its corner."""
    return _placed(pairs, _brought(pairs, max(abs(shift.east), abs(shift.south))), shift)


def on_aster_grid(estimate: np.ndarray, placed: Pairs, pairs: xr.Dataset) -> np.ndarray:
    """Estimates on the fine MODIS grid (pair, Y, X) [K] brought to each ASTER image's own UTM grid, (pair, ya, xa)."""
    return np.stack(
        [
            resampled(image, grid.moved(placed.shift), aster_grid(pairs, i))
            for i, (image, grid) in enumerate(zip(estimate, placed.grids, strict=True))
        ]
    )


def aster_grid(pairs: xr.Dataset, pair: int) -> Grid:
    """The UTM grid of an ASTER image."""
    corner = Affine(*pairs["aster_transform"].values[pair])
    return Grid(corner, CRS.from_epsg(int(pairs["aster_epsg"].values[pair])), pairs["aster"].shape[1:])


def found_shift(pairs: Pairs, reach: int = REACH) -> Shift:
    """The whole-pixel shift of ASTER that best fits MODIS interpolated by `bilinear`.

    pairs: brought together with no shift. The greatest mean over pairs of the correlation of what remains once a
    Gaussian of HIGH_PASS coarse pixels is taken off both images, over the same pixels for every shift up to `reach`.
    """
    score = shift_correlations(pairs, reach)
    south, east = np.unravel_index(int(np.argmax(score)), score.shape)
    return Shift(int(east) - reach, int(south) - reach)


def shift_correlations(pairs: Pairs, reach: int = REACH) -> np.ndarray:
    """(2 reach + 1, 2 reach + 1) mean correlation for shifts -reach..reach to the south (rows) and east (columns)."""
    width = HIGH_PASS * pairs.factor
    modis = bilinear(pairs.modis, pairs.factor)[0]
    scores = []
    for aster, estimate in zip(pairs.aster.lst, modis, strict=True):
        known = np.isfinite(aster)
        inside = ndimage.binary_erosion(known, np.ones((3, 3), bool), iterations=reach) & np.isfinite(estimate)
        inside &= _border(known.shape, max(reach, BORDER_PIXELS))
        if inside.sum() < 2:
            continue
        truth, mine = _high_pass(aster, width), _high_pass(estimate, width)[inside]
        y, x = np.nonzero(inside)
        steps = range(-reach, reach + 1)
        scores.append([[_correlation(mine, truth[y + south, x + east]) for east in steps] for south in steps])
    if not scores:
        raise InputError(
            f"{pairs.aster.source}: no pair has a pixel of both sensors {BORDER_PIXELS} pixels inside the frame;"
            " the shift between them cannot be found; expected overlapping images"
        )
    return np.nanmean(np.array(scores), axis=0)


def aster_self(pairs: Pairs, least_cover: float = 1.0) -> Trial:
    """ASTER at the coarse resolution (mean of T^4; pixels covered by less than `least_cover` are missing), against
    itself."""
    coarse = box_t4(pairs.aster.lst, pairs.factor, least_cover)
    return _trial("aster_self", coarse, pairs)


def aster(pairs: Pairs) -> Trial:
    """MODIS against ASTER."""
    return _trial("aster", pairs.modis, pairs)


def resampled(field: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """A field (rows, columns) bilinearly on another grid, NaN where any of the pixels it is made from is missing.

    From sinusoidal to UTM or back; both grids have pixels of nearly one size.
    """
    if field.shape != tuple(source.shape):
        raise ConfigError(f"field to reproject: shape {field.shape} found, expected that of its grid, {source.shape}")
    known = np.isfinite(field)
    if not known.any():
        return np.full(target.shape, np.nan)
    x, y = np.meshgrid(np.arange(target.shape[1]) + 0.5, np.arange(target.shape[0]) + 0.5)
    # GDAL's warper interpolates the projection, which moves pixels by up to an eighth: each centre is projected here
    there = transform(target.crs, source.crs, *(axis.ravel() for axis in target.transform @ (x, y)))
    column, row = ~source.transform @ tuple(np.asarray(axis) for axis in there)
    middle = float(field[known].mean())  # what fills the gaps has no weight in the answer

    def sampled(values: np.ndarray) -> np.ndarray:
        at = (row - 0.5, column - 0.5)
        return ndimage.map_coordinates(values.astype(float), at, order=1, mode="constant").reshape(target.shape)

    whole = sampled(known) > 1 - 1e-6
    return np.where(whole, sampled(np.where(known, field - middle, 0.0)) + middle, np.nan)


def aggregated(
    lst: np.ndarray, source: Affine, target: Affine, shape: tuple[int, int], least_cover: float
) -> np.ndarray:
    """Temperature of larger pixels: the mean of T^4 weighted by the area that each small pixel has in common.

    lst: (rows, columns) [K], NaN missing, e.g. AST_08 at 90 m. source, target: affine transforms in one projection, not
    turned, any corner and pixel size. shape: rows and columns of the result; pixels known over less than the fraction
    `least_cover` of their area are missing. Areas are exact, so that a field keeps its total.
    """
    if any((t.b, t.d) != (0.0, 0.0) or t.a <= 0 or t.e >= 0 for t in (source, target)):
        raise ConfigError("aggregation by area: a turned grid found, expected rows to the south, columns to the east")
    rows = overlap(source.f, source.e, lst.shape[0], target.f, target.e, shape[0])
    columns = overlap(source.c, source.a, lst.shape[1], target.c, target.a, shape[1])
    known = np.isfinite(lst)
    area = rows @ known.astype(float) @ columns.T
    power = rows @ np.where(known, lst.astype(float) ** 4, 0.0) @ columns.T
    enough = (area > 0) & (area >= (least_cover - 1e-9) * abs(target.a * target.e))
    return np.where(enough, power / np.where(enough, area, 1.0), np.nan) ** 0.25


def overlap(origin: float, step: float, count: int, to_origin: float, to_step: float, to_count: int) -> np.ndarray:
    """(to_count, count): length that cells of two regular axes have in common. origin: edge of the first cell."""
    edges = np.sort(origin + step * np.arange(count + 1)), np.sort(to_origin + to_step * np.arange(to_count + 1))
    low = np.maximum(edges[1][:-1, None], edges[0][None, :-1])
    length = np.clip(np.minimum(edges[1][1:, None], edges[0][None, 1:]) - low, 0.0, None)
    return length[:: int(np.sign(to_step)), :: int(np.sign(step))]


def _brought(pairs: xr.Dataset, margin: int) -> np.ndarray:
    """ASTER on the fine MODIS grids and `margin` pixels around: (pair, Y + 2 margin, X + 2 margin) [K]."""
    grids = (grid.widened(margin) for grid in _fine_grids(pairs))
    return np.stack([resampled(pairs["aster"].values[i], aster_grid(pairs, i), grid) for i, grid in enumerate(grids)])


def _placed(pairs: xr.Dataset, around: np.ndarray, shift: Shift) -> Pairs:
    """The pairs on one grid; a whole-pixel shift takes another part of what lies around."""
    factor = int(pairs.attrs["factor"])
    grids = _fine_grids(pairs)
    margin = (around.shape[1] - grids[0].shape[0]) // 2
    top, left = margin + shift.south, margin + shift.east
    aster = around[:, top : top + grids[0].shape[0], left : left + grids[0].shape[1]]
    number = pairs["pair_id"].values
    empty = ~np.isfinite(aster).any(axis=(1, 2))
    if empty.any():
        raise InputError(
            f"{pairs.attrs['source']}: variable 'aster_lst_dn', pair {number[empty][0]}: no valid pixel lies in the"
            " MODIS frame; expected overlapping images; check 'aster_transform', 'aster_epsg' and 'geo_lst'"
        )
    ndvi = np.stack(
        [
            _at_corner(field, own, frame, factor)
            for field, own, frame in zip(
                pairs["ndvi"].values, pairs["geo_ndvi"].values, pairs["geo_lst"].values, strict=True
            )
        ]
    )
    count = len(aster)
    images = Images(
        lst=aster,
        ndvi=ndvi,
        date=np.full(count, np.datetime64("NaT", "D")),
        day=np.ones(count, bool),
        window=np.full(count, UNKNOWN_WINDOW),
        fine_pixel_m=float(pairs.attrs["fine_pixel_m"]),
        source=str(pairs.attrs["source"]),
    )
    return Pairs(pairs["modis_lst"].values, images, factor, number, grids, shift)


def _trial(name: str, coarse: np.ndarray, pairs: Pairs) -> Trial:
    truth = pairs.aster.lst
    given = replicate(np.isfinite(coarse), pairs.factor)
    mask = np.isfinite(truth) & given & _border(truth.shape[1:], BORDER_PIXELS)
    return Trial(name, coarse, pairs.aster, mask, pairs.factor)


def _fine_grids(pairs: xr.Dataset) -> tuple[Grid, ...]:
    """The MODIS frames cut into fine pixels."""
    factor = int(pairs.attrs["factor"])
    size = (factor * pairs.sizes["y"], factor * pairs.sizes["x"])
    return tuple(
        Grid(Affine(geo[1] / factor, 0.0, geo[0], 0.0, geo[5] / factor, geo[3]), SINUSOIDAL, size)
        for geo in pairs["geo_lst"].values
    )


def _at_corner(field: np.ndarray, own: np.ndarray, frame: np.ndarray, factor: int) -> np.ndarray:
    """A field with a corner of its own moved by whole fine pixels onto the frame; NaN where it does not reach."""
    side = frame[1] / factor
    down, right = round((frame[3] - own[3]) / side), round((own[0] - frame[0]) / side)
    out = np.full(field.shape, np.nan, field.dtype)
    height, width = field.shape
    out[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = field[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return out


def _border(shape: tuple[int, ...], width: int) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[width:-width, width:-width] = True
    return inside


def _high_pass(image: np.ndarray, width: float) -> np.ndarray:
    """Image less its Gaussian mean of the known pixels; 0 where missing."""
    known = np.isfinite(image)
    values = np.where(known, image - image[known].mean(), 0.0)
    weight = ndimage.gaussian_filter(known.astype(float), width)
    return np.where(known, values - ndimage.gaussian_filter(values, width) / np.maximum(weight, 1e-6), 0.0)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    below = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / below if below > 0 else np.nan
