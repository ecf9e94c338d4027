"""Whole tiles sharpened: what guides an image, what a pixel becomes, no seams, nothing of other granules."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from sciml.core.errors import InputError
from sciml.data.readers import hdf_eos, mod11a1, mod13
from sciml.modis import apply, ingest, sharpen
from sciml.modis.apply import BACK_PROJECTED, MISSING, SHARPENED, SIGMA_SCALE, Apply, Composites, TileImage
from sciml.modis.degradation import box_t4, replicate
from sciml.modis.images import Guidance
from sciml.modis.interpolation import backprojection
from tests.data.readers.hdf_fixtures import lst_granule, vegetation_granule

FACTOR = 4
PACKED_K = 0.02
DAY, NIGHT = (TileImage("h18v04", "2020-07-15", 0, overpass, "") for overpass in (0, 1))


@pytest.fixture
def models(tmp_path):
    """A run directory whose law of scale is that temperature follows NDVI alike at all scales."""
    folder = tmp_path / "models"
    folder.mkdir()
    law = {"amplitude": 1.0, "decay": 0.0, "blur_km": 0.0}
    said = {"factor": 4, "fine_pixel_m": 926.6, "networks": {}, "spread": {}, "scale_law": law}
    (folder / "models.json").write_text(json.dumps(said))
    return str(folder)


def scene(pixels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth (Y, X) [K] that follows NDVI at all scales, NDVI (Y, X) float32, and what a coarse sensor sees (y, x)."""
    rng = np.random.default_rng(seed)
    size = FACTOR * pixels
    rough = sum(ndimage.zoom(rng.normal(size=(size // n, size // n)), n, order=1) for n in (4, 8, 16, 32))
    ndvi = np.clip(0.5 + 0.08 * rough, 0.05, 0.95).astype(np.float32)
    truth = 310.0 - 20.0 * ndvi.astype(float)
    return truth, ndvi, box_t4(truth[None], FACTOR)[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Guided(Apply):
    """The stage function with NDVI from memory."""

    ndvi: np.ndarray | None = None

    def guidance(self, item, shape):
        if self.ndvi is None or not item.sunlit:
            return None
        return Guidance(self.ndvi[None], np.array([True]), self.pixel_m / self.factor, np.array([-1]))


def function(models: str, ndvi: np.ndarray | None = None) -> Guided:
    return Guided("", {}, models, FACTOR, 926.6, ndvi)


def kelvin(counts: dict[str, np.ndarray]) -> np.ndarray:
    return np.where(counts["lst"] > 0, counts["lst"] * PACKED_K, np.nan)[0, 0]


def test_planted_detail_is_found_where_ndvi_guides(models):
    truth, ndvi, coarse = scene(48)
    made = function(models, ndvi).sharpened(coarse, DAY)
    plain = function(models).sharpened(coarse, DAY)
    sharp = made["how"][0, 0] == SHARPENED
    error, without = (np.sqrt(np.mean((kelvin(x) - truth)[sharp] ** 2)) for x in (made, plain))
    assert sharp.mean() > 0.9 and error < 0.5 * without


def test_what_is_missing_stays_missing_and_what_was_seen_has_a_temperature_and_a_spread(models):
    _, ndvi, coarse = scene(48)
    coarse[:16, :12] = coarse[40, 40] = np.nan
    ndvi[100:140, 100:140] = np.nan
    made = function(models, ndvi).sharpened(coarse, DAY)
    missing = replicate(~np.isfinite(coarse), FACTOR)
    for name in ("lst", "sigma", "how"):
        np.testing.assert_array_equal(made[name][0, 0] == MISSING, missing)
    how = made["how"][0, 0]
    assert set(np.unique(how)) == {MISSING, BACK_PROJECTED, SHARPENED}
    assert (how[100:140, 100:140] == BACK_PROJECTED).all()
    expected = backprojection(coarse[None], FACTOR)[0][0]
    plain = how == BACK_PROJECTED
    np.testing.assert_allclose(kelvin(made)[plain], expected[plain], atol=0.51 * PACKED_K)


def test_by_night_and_without_ndvi_every_pixel_is_back_projected(models):
    _, ndvi, coarse = scene(32)
    expected = backprojection(coarse[None], FACTOR)[0][0]
    for made in (function(models, ndvi).sharpened(coarse, NIGHT), function(models).sharpened(coarse, DAY)):
        assert (made["how"] == BACK_PROJECTED).all()
        np.testing.assert_allclose(kelvin(made), expected, atol=0.51 * PACKED_K)


def test_a_tile_under_cloud_is_empty_and_asks_for_no_model():
    made = function("nowhere").sharpened(np.full((16, 16), np.nan), DAY)
    assert set(made) == {"lst", "sigma", "how"}
    assert all(values.shape == (1, 1, 64, 64) and not values.any() for values in made.values())


def test_blocks_of_a_tile_meet_without_seams(models, monkeypatch):
    _, ndvi, coarse = scene(384)
    coarse, ndvi = coarse[:, :32].copy(), ndvi[:, : 32 * FACTOR]
    coarse[100:130, 5:20] = np.nan
    guidance = function(models, ndvi).guidance(DAY, ())
    answers = {}
    for core in (64, 1 << 20):
        monkeypatch.setattr(sharpen, "CORE", core)
        answers[core] = sharpen.sharpen(coarse[None], FACTOR, guidance, sharpen.load_models(models))
    (blocks, block_sigma), (whole, sigma) = answers.values()
    for part, one in ((blocks, whole), (block_sigma, sigma)):
        np.testing.assert_allclose(part, one, rtol=1e-9)


def test_counts_are_the_nearest_and_none_of_what_is_known_becomes_missing():
    rng = np.random.default_rng(0)
    values = rng.uniform(0.02, 20, (300, 40))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[0, :2] = 1e-9, 1e9
    counts = apply._counts(values, SIGMA_SCALE, "uint16")
    np.testing.assert_array_equal(counts == 0, np.isnan(values))
    assert tuple(counts[0, :2]) == (1, 65535)
    np.testing.assert_allclose(counts[1:] * SIGMA_SCALE, np.nan_to_num(values[1:]), atol=0.51 * SIGMA_SCALE)


def headers(tmp_path, *days: str) -> Composites:
    paths = [str(vegetation_granule(tmp_path, day=day, product="MOD13Q1")) for day in days]
    found = tuple(hdf_eos.header(path, mod13.PRODUCTS) for path in paths)
    return Composites(found, {h.file: h.day for h in found})


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2020-07-15", "2020-07-11"),
        ("2020-07-27", "2020-07-11"),  # eight days from the middle of both: the earlier
        ("2020-07-28", "2020-07-27"),
        ("2020-06-25", "2020-07-11"),  # 24 days before the middle
        ("2020-06-24", None),
        ("2020-08-28", "2020-07-27"),
        ("2020-08-29", None),
    ],
)
def test_the_composite_whose_middle_is_nearest_guides_a_day(tmp_path, day, expected):
    found = headers(tmp_path, "2020-07-11", "2020-07-27").nearest(day)
    assert (found.day if found else None) == expected


def test_an_address_names_the_content_that_its_image_is_made_from(tmp_path):
    for day in ("2020-07-15", "2020-12-01"):
        lst_granule(tmp_path, day=day)
    (tile_year,), _ = ingest.find(str(tmp_path / "MOD11*"))
    days = ingest.items(tile_year)
    bare, guided = (apply.items(days, one) for one in (Composites(), headers(tmp_path, "2020-07-11")))
    changed = [one.day for one, other in zip(bare, guided, strict=True) if one != other]
    assert changed == ["2020-07-15"] and next(one for one in guided if one.day == "2020-07-15").sunlit
    assert apply.unguided_note(tile_year, headers(tmp_path, "2020-07-11"))[0].endswith(
        "1 of 2 days, the first 2020-12-01; they are back-projected"
    )


def test_composites_of_other_tiles_are_refused_and_of_other_grids_left_out(tmp_path):
    lst_granule(tmp_path, pixels=48)
    tile_years, _ = ingest.find(str(tmp_path / "MOD11*"))
    fine = vegetation_granule(tmp_path, product="MOD13Q1", pixels=192)
    coarse = vegetation_granule(tmp_path, product="MOD13A2", pixels=48)
    found, notes = apply.find_composites(str(tmp_path / "MOD13*"), tile_years, FACTOR)
    assert [h.file for h in found["h18v04"].headers] == [str(fine)]
    assert len(notes) == 1 and notes[0].startswith(f"{coarse}: MOD13A2 has 48 x 48 pixels")
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    lst_granule(elsewhere, tile="h17v04")
    with pytest.raises(InputError, match=r"found NDVI of tile h18v04, expected h17v04"):
        apply.find_composites(str(fine), ingest.find(str(elsewhere / "*.hdf"))[0], FACTOR)


def test_the_fine_store_depends_on_the_tile_and_year_alone(tmp_path):
    made = []
    for days in (["2020-07-15"], ["2020-07-15", "2020-12-01"]):
        for day in days:
            lst_granule(tmp_path, day=day)
        (tile_year,), _ = ingest.find(str(tmp_path / "MOD11*"))
        made.append(apply.template(tile_year, FACTOR))
    assert made[0].signature() == made[1].signature()
    assert made[0].sizes == {"time": 366, "overpass": 2, "y": 192, "x": 192}


def test_a_genuine_tile_is_sharpened_within_the_memory_that_is_stated(models, real_data):
    """Its clouds stay; NDVI of that tile is not among the files, so a made one guides it."""
    path = next((real_data / "modis" / "hdf-granules").glob("*/MOD11A1.*.hdf"))
    coarse = mod11a1.read(str(path))["lst"].sel(overpass="day").values.astype(float)
    ndvi = np.random.default_rng(0).random((4800, 4800), np.float32)
    tracemalloc.start()
    made = function(models, ndvi).sharpened(coarse, DAY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak + ndvi.nbytes < apply.MEMORY_BYTES
    seen = int(np.isfinite(coarse).sum())
    found = np.bincount(made["how"].ravel(), minlength=3)
    assert found[MISSING] == (coarse.size - seen) * FACTOR**2 and found[SHARPENED] > 0.1 * seen * FACTOR**2
    known = replicate(np.isfinite(coarse), FACTOR)
    assert np.sqrt(np.nanmean((kelvin(made) - replicate(coarse, FACTOR))[known] ** 2)) < np.nanstd(coarse)
