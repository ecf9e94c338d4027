"""MODIS and ASTER on one grid: positions by pyproj, planted shift, exact areas, the anchors of the real file."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyproj import Transformer
from rasterio.transform import Affine

from sciml.core.errors import ConfigError, InputError
from sciml.data.readers.aster_pairs import masked_aster, read_pairs
from sciml.modis import aster as validation
from sciml.modis.aster import Grid, Pairs, Shift, Trial
from sciml.modis.degradation import box_t4
from sciml.modis.interpolation import bicubic

FACTOR, COARSE = 4, 926.6254330558334
FINE = COARSE / FACTOR
SIDE, ASTER = 24, 150
CORNER = (277061.0, 5100146.0)
EPSG = 32631
PROJ = "+proj=sinu +R=6371007.181 +units=m +no_defs"
TO_SINUSOIDAL = Transformer.from_crs(EPSG, PROJ, always_xy=True)
TO_UTM = Transformer.from_crs(PROJ, EPSG, always_xy=True)


def _ground(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Temperature of the ground [K] at sinusoidal metres: waves of 4 to 16 km in many directions."""
    rng = np.random.default_rng(11)
    out = np.full(np.broadcast(x, y).shape, 300.0)
    for _ in range(12):
        k, angle, phase = 2 * np.pi / rng.uniform(4e3, 16e3), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        out += np.cos(k * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return out


def _frame(corner: tuple[float, float] = CORNER, count: int = FACTOR * SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Sinusoidal metres of the fine pixels' centres."""
    step = (np.arange(count) + 0.5) * FINE
    return corner[0] + step[None, :], corner[1] - step[:, None]


def _utm(count: int = ASTER) -> tuple[Affine, np.ndarray, np.ndarray]:
    """A UTM grid around the frame, and the sinusoidal metres of its pixels' centres."""
    half = FACTOR * SIDE / 2 * FINE
    middle = TO_UTM.transform(CORNER[0] + half, CORNER[1] - half)
    west, north = middle[0] - count / 2 * FINE, middle[1] + count / 2 * FINE
    step = (np.arange(count) + 0.5) * FINE
    x, y = TO_SINUSOIDAL.transform(*np.meshgrid(west + step, north - step))
    return Affine(FINE, 0, west, 0, -FINE, north), x, y


def _dataset(shift: Shift, pairs: int = 2) -> xr.Dataset:
    """As the reader gives it: ASTER sees the ground `shift` fine pixels to the east and south; NDVI is the ground's
    temperature turned round, with a corner 2 pixels west and 3 pixels north of the frame."""
    transform, x, y = _utm()
    aster = _ground(x - shift.east * FINE, y + shift.south * FINE)
    modis = box_t4(_ground(*_frame()), FACTOR)
    ndvi_corner = (CORNER[0] - 2 * FINE, CORNER[1] + 3 * FINE)
    ndvi = (310.0 - _ground(*_frame(ndvi_corner))) / 40.0

    def each(values: np.ndarray) -> np.ndarray:
        return np.stack([values] * pairs)

    geo = np.array([CORNER[0], COARSE, 0, CORNER[1], 0, -COARSE])
    geo_ndvi = np.array([ndvi_corner[0], FINE, 0, ndvi_corner[1], 0, -FINE])
    return xr.Dataset(
        {
            "modis_lst": (("pair", "y", "x"), each(modis)),
            "ndvi": (("pair", "Y", "X"), each(ndvi)),
            "aster": (("pair", "ya", "xa"), each(aster)),
            "geo_lst": (("pair", "six"), each(geo)),
            "geo_ndvi": (("pair", "six"), each(geo_ndvi)),
            "aster_transform": (("pair", "six"), each(np.array(transform[:6]))),
            "aster_epsg": ("pair", np.full(pairs, EPSG)),
            "pair_id": ("pair", np.arange(pairs)),
        },
        attrs={"factor": FACTOR, "pixel_size_m": COARSE, "fine_pixel_m": FINE, "source": "planted.nc"},
    )


@pytest.mark.parametrize("shift", [Shift(0, 0), Shift(1, 1), Shift(2, -1), Shift(-3, 3)])
def test_a_planted_shift_is_found_and_taken_off(shift: Shift) -> None:
    pairs = validation.read_on_one_grid(_dataset(shift))
    assert pairs.shift == shift
    known = np.isfinite(pairs.aster.lst)
    assert known.mean() > 0.95
    # bilinear of waves of 4 km at 232 m: amplitude falls by (pi 232 / 4000)^2 / 2 = 1.7 % at most
    error = (pairs.aster.lst - _ground(*_frame()))[known]
    assert np.sqrt((error**2).mean()) < 0.05
    unmoved = validation.on_modis_grid(_dataset(shift), Shift()).aster.lst - _ground(*_frame())
    assert shift == Shift() or np.sqrt(np.nanmean(unmoved**2)) > 0.3


def test_ndvi_is_moved_by_its_own_corner() -> None:
    ndvi = validation.on_modis_grid(_dataset(Shift()), Shift()).guidance().ndvi[0]
    known = np.isfinite(ndvi)
    np.testing.assert_allclose(ndvi[known], ((310.0 - _ground(*_frame())) / 40.0)[known], atol=1e-9)
    # the NDVI begins 2 pixels west and 3 north of the frame, so that its last columns and rows are not known
    assert known[:-3, :-2].all() and not known[-3:].any() and not known[:, -2:].any()


def test_positions_are_those_of_pyproj() -> None:
    """Bilinear keeps a linear field, so eastings and northings come back as coordinates of the target's centres."""
    transform, *_ = _utm()
    source = Grid(transform, validation.CRS.from_epsg(EPSG), (ASTER, ASTER))
    target = Grid(Affine(FINE, 0, CORNER[0], 0, -FINE, CORNER[1]), validation.SINUSOIDAL, (96, 96))
    step = (np.arange(ASTER) + 0.5) * FINE
    east, north = np.meshgrid(transform.c + step, transform.f - step)
    expected = TO_UTM.transform(*np.broadcast_arrays(*_frame()))
    for field, exact in zip((east, north), expected, strict=True):
        found = validation.resampled(field, source, target)
        known = np.isfinite(found)
        assert known.mean() > 0.95
        np.testing.assert_allclose(found[known], exact[known], atol=1e-3 * FINE)


def test_there_and_back_a_smooth_field_is_itself() -> None:
    pairs = _dataset(Shift(2, -1))
    placed = validation.on_modis_grid(pairs, Shift(2, -1))
    truth = _ground(*_frame())
    there = validation.on_aster_grid(np.stack([truth, truth]), placed, pairs)
    both = np.isfinite(there)
    assert np.sqrt(((there - pairs["aster"].values)[both] ** 2).mean()) < 0.05  # with the shift put on again
    back = validation.on_modis_grid(pairs.assign(aster=(("pair", "ya", "xa"), there)), Shift(2, -1)).aster.lst[0]
    known = np.isfinite(back)
    assert known[4:-4, 4:-4].all()
    assert np.sqrt(((back - truth)[known] ** 2).mean()) < 0.1


def test_fill_inside_aster_never_reaches_the_fine_grid() -> None:
    pairs = _dataset(Shift(), pairs=1)
    stored = pairs["aster"].values[0].copy()
    stored[60:75, 70:95] = 200.0
    stored[59, 70:95] = 0.5 * (stored[59, 70:95] + 200.0)
    stored[75, 70:95] = 0.8 * stored[75, 70:95] + 0.2 * 200.0  # the interpolation smeared it
    placed = validation.on_modis_grid(pairs.assign(aster=(("pair", "ya", "xa"), masked_aster(stored)[None])), Shift())
    hole = np.isnan(placed.aster.lst[0, 8:-8, 8:-8])
    assert 15 * 25 < hole.sum() < 25 * 35
    error = placed.aster.lst[0] - _ground(*_frame())
    assert np.nanmax(np.abs(error)) < 0.2
    for trial in (validation.aster_self(placed), validation.aster(placed)):
        estimate = bicubic(trial.coarse, FACTOR)[0]
        assert np.isfinite(estimate[trial.mask]).all() and np.isfinite(trial.images.lst[trial.mask]).all()
        assert not trial.mask[0, :8].any() and not trial.mask[0, :, -8:].any() and trial.mask.any()


def test_aster_that_misses_the_frame_is_refused() -> None:
    pairs = _dataset(Shift())
    pairs["aster_transform"][1, 2] += 2e5
    with pytest.raises(InputError, match=r"planted\.nc.*pair 1: no valid pixel lies in the MODIS frame"):
        validation.on_modis_grid(pairs, Shift())


def test_every_pair_uses_its_own_images_alone() -> None:
    pairs = _dataset(Shift(), pairs=3)
    pairs["aster"][0] += 5.0
    pairs["modis_lst"][2] -= 4.0
    whole = validation.on_modis_grid(pairs, Shift(1, 1))
    alone = validation.on_modis_grid(pairs.isel(pair=[2]), Shift(1, 1))
    for trial in (validation.aster, validation.aster_self):
        np.testing.assert_array_equal(trial(whole).coarse[2:], trial(alone).coarse)
        np.testing.assert_array_equal(trial(whole).mask[2:], trial(alone).mask)
    np.testing.assert_array_equal(whole.aster.lst[2:], alone.aster.lst)


def test_areas_of_90_m_in_250_m_are_exact() -> None:
    """Both are whole numbers of 10 m: the mean over 10-m pixels is the independent truth."""
    lst = np.random.default_rng(2).uniform(280, 320, (50, 75))  # 4.5 km x 6.75 km
    target = Affine(250, 0, 0, 0, -250, 0)
    found = validation.aggregated(lst, Affine(90, 0, 0, 0, -90, 0), target, (18, 27), 1.0)
    small = np.kron(lst, np.ones((9, 9)))
    np.testing.assert_allclose(found, box_t4(small, 25), rtol=1e-12)
    # and the radiated power of the whole is kept
    assert (found**4).sum() * 250**2 == pytest.approx((lst**4).sum() * 90**2, rel=1e-12)


def test_areas_with_other_corners_and_gaps() -> None:
    rng = np.random.default_rng(4)
    lst = rng.uniform(280, 320, (40, 40))
    lst[10:14, 20:30] = np.nan
    source, target = Affine(90, 0, 1000, 0, -90, 5000), Affine(250, 0, 1030, 0, -250, 4960)
    found = validation.aggregated(lst, source, target, (12, 13), 1.0)
    small = np.kron(lst, np.ones((9, 9)))[4 : 4 + 300, 3 : 3 + 325]
    np.testing.assert_allclose(found, box_t4(small, 25), rtol=1e-12)  # missing alike, too
    assert 0 < np.isnan(found).sum() < found.size
    some = validation.aggregated(lst, source, target, (12, 13), 0.3)
    np.testing.assert_allclose(some, box_t4(small, 25, 0.3), rtol=1e-12)
    constant = validation.aggregated(np.full((40, 40), 300.0), source, target, (20, 20), 0.0)
    assert np.isnan(constant[-1]).all()  # beyond the scene
    np.testing.assert_allclose(constant[np.isfinite(constant)], 300.0, rtol=1e-12)
    with pytest.raises(ConfigError, match="turned grid"):
        validation.aggregated(lst, Affine(90, 1, 0, 0, -90, 0), target, (3, 3), 1.0)


@pytest.fixture(scope="module")
def real_pairs(real_data: Path) -> Pairs:
    ds = read_pairs(str(real_data / "modis" / "imt-sif-aster-modis" / "modis_aster_pairs.nc"))
    return validation.read_on_one_grid(ds)


def _per_pair(trial: Trial, estimate: np.ndarray) -> dict[str, float]:
    """RMSE, RMSE without bias and correlation of detail (image less bicubic of its own coarse image), mean of pairs."""
    rows = []
    truth = trial.images.lst
    fine = [a - bicubic(box_t4(a, FACTOR), FACTOR)[0] for a in (truth, estimate)]
    for i, mask in enumerate(trial.mask):
        error = (estimate[i] - truth[i])[mask]
        both = mask & np.isfinite(fine[0][i]) & np.isfinite(fine[1][i])
        r = np.corrcoef(fine[0][i][both], fine[1][i][both])[0, 1]
        rows.append((np.sqrt((error**2).mean()), error.std(), r))
    return dict(zip(("rmse", "unbiased", "detail_r"), np.mean(rows, axis=0), strict=True))


def test_real_pairs_sit_where_they_were_measured_to(real_pairs: Pairs, real_data: Path) -> None:
    assert real_pairs.shift == Shift(east=1, south=1)
    difference = np.nanmean(real_pairs.aster.lst, axis=(1, 2)) - np.nanmean(real_pairs.modis, axis=(1, 2))
    assert np.abs(difference).mean() < 1.5  # 1.16 K with the right mask, 11.7 K with fill left in


def test_real_pairs_give_the_anchors_of_bicubic(real_pairs: Pairs, real_data: Path) -> None:
    trial = validation.aster_self(real_pairs)
    own = _per_pair(trial, bicubic(trial.coarse, FACTOR)[0])
    assert own["rmse"] == pytest.approx(1.09, abs=0.02) and own["detail_r"] == pytest.approx(0.32, abs=0.02)
    trial = validation.aster(real_pairs)
    across = _per_pair(trial, bicubic(trial.coarse, FACTOR)[0])
    assert across["rmse"] == pytest.approx(1.87, abs=0.03) and across["unbiased"] == pytest.approx(1.52, abs=0.03)
    assert across["detail_r"] == pytest.approx(0.19, abs=0.02)


def test_ndvi_lies_where_aster_does(real_pairs: Pairs, real_data: Path) -> None:
    """The README's anchor of bicubic + 0.4 of the scene's regression on NDVI: a pixel off, it would not be reached."""
    trial = validation.aster(real_pairs)
    blocks = real_pairs.aster.ndvi.reshape(len(real_pairs), 64, FACTOR, 64, FACTOR)
    coarse_ndvi = blocks.mean(axis=(2, 4))
    detail = real_pairs.aster.ndvi - bicubic(coarse_ndvi, FACTOR)[0]
    slope = np.empty(len(real_pairs))
    for i, (lst, ndvi) in enumerate(zip(trial.coarse, coarse_ndvi, strict=True)):
        known = np.isfinite(lst) & np.isfinite(ndvi)
        slope[i] = np.polyfit(ndvi[known], lst[known], 1)[0]
    estimate = bicubic(trial.coarse, FACTOR)[0] + 0.4 * slope[:, None, None] * detail
    found = _per_pair(trial, estimate)
    assert found["unbiased"] == pytest.approx(1.355, abs=0.02) and found["rmse"] == pytest.approx(1.735, abs=0.03)
