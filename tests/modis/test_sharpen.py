"""Sharpening beyond the trained scale: planted laws come back, blocks have no seams, doubtful pixels are left alone."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from sciml.core.errors import ConfigError, InputError
from sciml.generated.scenes import fine_scenes
from sciml.modis import sharpen as module
from sciml.modis.degradation import box_t4
from sciml.modis.images import Guidance, Images
from sciml.modis.interpolation import backprojection, bicubic
from sciml.modis.networks import Settings, new_network
from sciml.modis.scale import ScaleLaw
from sciml.modis.sharpen import Models, load_models, scale_aware, sharpen, slope_of, trial_error, trusted
from sciml.modis.spread import SpreadScale
from sciml.nn.checkpoint import save_checkpoint

FACTOR, FINE_M = 4, 231.656
EVEN = ScaleLaw(1.0, 0.0, 0.0)  # all octaves follow the coarse slope
LAW = ScaleLaw(0.8, 0.15, 0.67)


def _guidance(ndvi: np.ndarray, day: bool = True, pixel_m: float = FINE_M) -> Guidance:
    count = len(ndvi)
    return Guidance(ndvi, np.full(count, day), pixel_m, np.full(count, -1))


def _models(law: ScaleLaw | None = LAW, **more: Any) -> Models:
    spread = {"backprojection": SpreadScale(0.6, 0.9), "sciml": SpreadScale(1.2, 1.1)}
    return Models("run", FACTOR, 926.6, {}, spread, law, **more)


@pytest.fixture(scope="module")
def scene() -> Images:
    return fine_scenes(1, 2, seed=4)


def _rough(side: int, seed: int = 0) -> np.ndarray:
    """NDVI (1, side, side) with waves of all lengths."""
    noise = np.random.default_rng(seed).standard_normal((side, side))
    fields = [ndimage.gaussian_filter(noise, width, mode="wrap") * width for width in (0.8, 2, 4, 8)]
    return 0.5 + 0.3 * sum(fields)[None] / 4


def _rmse(estimate: np.ndarray, truth: np.ndarray) -> float:
    inner = (slice(None), slice(16, -16), slice(16, -16))
    return float(np.sqrt(np.nanmean((estimate - truth)[inner] ** 2)))


def test_where_temperature_is_ndvi_the_slope_is_found_and_the_detail_put_back() -> None:
    ndvi = _rough(128)
    truth = 300.0 - 20.0 * ndvi
    lst, coarse = box_t4(truth, FACTOR), ndvi.reshape(1, 32, 4, 32, 4).mean(axis=(2, 4))
    slope = slope_of(lst, coarse, 0.9266, EVEN, sharp=True)
    np.testing.assert_allclose(slope, -20.0, rtol=0.15)  # drawn to 0 where NDVI varies little
    exact = scale_aware(lst, FACTOR, _guidance(ndvi), EVEN, sharp=True)
    assert _rmse(exact, truth) < 0.35 * _rmse(backprojection(lst, FACTOR)[0], truth)
    np.testing.assert_allclose(box_t4(exact, FACTOR), lst, rtol=1e-12)


def test_a_law_without_share_is_back_projection_and_a_half_share_is_between() -> None:
    ndvi = _rough(128, 1)
    lst = box_t4(300.0 - 20.0 * ndvi, FACTOR)
    plain = backprojection(lst, FACTOR)[0]
    none, half, full = (
        scale_aware(lst, FACTOR, _guidance(ndvi), ScaleLaw(share, 0.0, 0.0), sharp=True) - plain
        for share in (1e-9, 0.5, 1.0)
    )
    assert np.abs(none).max() < 0.2 < np.abs(full).max()  # what is left is the projection onto the input
    assert none.std() < half.std() < full.std()


def test_blurred_input_is_given_back_the_octaves_that_the_blur_took() -> None:
    ndvi = _rough(256, 2)
    truth = 300.0 - 20.0 * ndvi
    blur = LAW.blur_km / (FINE_M / 1000)
    seen = box_t4(ndimage.gaussian_filter(truth, (0, blur, blur), mode="nearest"), FACTOR)
    law = replace(EVEN, blur_km=LAW.blur_km)
    aware = scale_aware(seen, FACTOR, _guidance(ndvi), law, sharp=False)
    taken_as_sharp = scale_aware(seen, FACTOR, _guidance(ndvi), law, sharp=True)
    assert _rmse(aware, truth) < 0.9 * _rmse(taken_as_sharp, truth) < 0.9 * _rmse(bicubic(seen, FACTOR)[0], truth)


def test_generated_scenes_are_sharpened_and_the_spread_holds(scene: Images) -> None:
    lst = box_t4(scene.lst, FACTOR)
    fine, sigma = sharpen(lst, FACTOR, scene.guidance(), _models(replace(LAW, blur_km=0.0)), sharp=True)
    assert _rmse(fine, scene.lst) < 0.9 * _rmse(backprojection(lst, FACTOR)[0], scene.lst)
    assert np.mean(np.abs(fine - scene.lst) < 1.645 * sigma) > 0.85  # not below 90 % by more than scenes differ


def test_another_image_or_its_absence_changes_nothing(scene: Images) -> None:
    lst = box_t4(scene.lst, FACTOR)
    both = sharpen(lst, FACTOR, scene.guidance(), _models())
    for number in (0, 1):
        one = scene.select(np.array([number]))
        for alone, among in zip(sharpen(lst[[number]], FACTOR, one.guidance(), _models()), both, strict=True):
            np.testing.assert_array_equal(alone[0], among[number])


def test_blocks_meet_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 pixels that see 128 around them, on a tile of 330 x 40 pixels with clouds, against one block."""
    rng = np.random.default_rng(5)
    ndvi = np.concatenate([_rough(4 * 110, s)[:, :, : 4 * 40] for s in (3, 4, 5)], axis=1)
    lst = box_t4(300 - 15 * ndvi + ndimage.gaussian_filter(rng.standard_normal(ndvi.shape), (0, 6, 6)) * 5, FACTOR)
    lst[:, 50:70, 10:30] = np.nan
    lst[:, 300, 5] = np.nan
    monkeypatch.setattr(module, "CORE", 1000)
    whole = sharpen(lst, FACTOR, _guidance(ndvi), _models())
    monkeypatch.setattr(module, "CORE", 64)
    parts = sharpen(lst, FACTOR, _guidance(ndvi), _models())
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9)
    np.testing.assert_array_equal(np.isnan(whole[0]), np.kron(np.isnan(lst[0]), np.ones((4, 4), bool))[None])


def test_blocks_without_a_pixel_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three blocks that see each other, the middle one missing: the same as if it were worked out."""
    ndvi = np.concatenate([_rough(4 * 64, s)[:, :, : 4 * 40] for s in (3, 4, 5)], axis=1)
    lst = box_t4(300 - 15 * ndvi, FACTOR)
    lst[:, 64:128] = np.nan
    monkeypatch.setattr(module, "CORE", 64)
    worked, real = [], module._by_law

    def by_law(*args: Any) -> Any:
        worked.append(args[0].shape)
        return real(*args)

    monkeypatch.setattr(module, "_by_law", by_law)
    skipped = sharpen(lst, FACTOR, _guidance(ndvi), _models())
    assert len(worked) == 2
    monkeypatch.setattr(module, "CORE", 1000)
    for a, b in zip(skipped, sharpen(lst, FACTOR, _guidance(ndvi), _models()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        assert np.isnan(a[:, 256:512]).all() and np.isfinite(a[:, :256]).all()


def test_sizes_that_blocks_do_not_divide_are_taken() -> None:
    ndvi = _rough(4 * 19)
    fine, sigma = sharpen(box_t4(300 - 10 * ndvi, FACTOR), FACTOR, _guidance(ndvi), _models())
    assert fine.shape == ndvi.shape and np.isfinite(fine).all() and (sigma > 0).all()


@pytest.mark.parametrize("case", ["night", "no guidance", "no law", "NDVI unknown"])
def test_without_guidance_it_is_back_projection_with_a_larger_spread(case: str) -> None:
    ndvi = _rough(256, 6)
    lst = box_t4(300.0 - 20.0 * ndvi, FACTOR)
    unknown = np.full(ndvi.shape, np.nan) if case == "NDVI unknown" else ndvi
    guidance = None if case == "no guidance" else _guidance(unknown, day=case != "night")
    fine, sigma = sharpen(lst, FACTOR, guidance, _models(None if case == "no law" else LAW))
    np.testing.assert_allclose(fine, backprojection(lst, FACTOR)[0], rtol=1e-12)
    guided = sharpen(lst, FACTOR, _guidance(ndvi), _models())[1]
    assert np.isfinite(sigma).all() and sigma.mean() > 1.1 * guided.mean()


def test_snow_and_the_rims_of_clouds_are_not_trusted() -> None:
    lst = np.full((1, 16, 16), 285.0)
    ndvi = np.full((1, 64, 64), 0.5)
    lst[0, 0, 0] = np.nan
    lst[0, 10:12, 10:12] = 270.0  # cold and green: a forest in winter
    lst[0, 14, 14], ndvi[0, 56:60, 56:60] = 270.0, 0.02  # cold and bare: snow
    ndvi[0, 56:60, 0:4] = 0.02  # warm and bare
    found = trusted(lst, FACTOR, _guidance(ndvi))[0]
    expected = np.ones((16, 16), bool)
    expected[:4, :4] = False
    expected[14, 14] = False
    np.testing.assert_array_equal(found, expected)
    clear = trusted(lst, FACTOR, _guidance(ndvi), cloud=np.zeros(lst.shape, bool))[0]
    assert clear[1, 1] and not clear[0, 0]  # missing without a cloud is no reason to doubt its neighbours


def test_a_trial_of_a_smooth_image_finds_no_error_and_of_a_rough_one_its_own() -> None:
    y, x = np.mgrid[:32, :32]
    smooth = (300 + 0.1 * x + 0.05 * y)[None]
    assert trial_error(smooth, None, None, sharp=False)[0, 8:-8, 8:-8].max() < 0.05
    rough = smooth + np.random.default_rng(0).standard_normal((1, 32, 32))
    assert 0.7 < trial_error(rough, None, None, sharp=False).mean() < 1.5


def test_only_powers_of_two() -> None:
    with pytest.raises(ConfigError, match="3 found, expected a power of two"):
        scale_aware(np.full((1, 8, 8), 300.0), 3, _guidance(np.full((1, 24, 24), 0.5)), LAW)


def write_run(folder: Path, factor: int = FACTOR) -> Path:
    """A run directory as a job on patches leaves it, with a network that was not trained."""
    settings = Settings(width=8, blocks=1, epochs=1)
    save_checkpoint(
        str(folder / "checkpoints" / "net.pt"), {"model": new_network("sciml", settings, factor).state_dict()}
    )
    said = {
        "experiment": "place_split", "factor": factor, "fine_pixel_m": 926.6254,
        "networks": {"sciml": {"settings": asdict(settings), "checkpoints": ["net.pt"]}},
        "spread": {name: {"night": 0.6, "day": 0.9} for name in ("backprojection", "sciml")},
        "scale_law": asdict(LAW),
    }  # fmt: skip
    (folder / "models.json").write_text(json.dumps(said))
    return folder


def test_at_its_own_scale_it_is_the_network(tmp_path: Path) -> None:
    models = load_models(str(write_run(tmp_path)))
    ndvi = _rough(64)
    lst = box_t4(300 - 10 * ndvi, FACTOR)
    lst[0, 3, 3] = np.nan
    guidance = _guidance(ndvi, pixel_m=926.6)
    fine, sigma = sharpen(lst, FACTOR, guidance, models)
    asked, spread = models.asked("sciml")(lst, FACTOR, guidance)
    far, near = (slice(None), slice(40, 64), slice(40, 64)), (slice(None), slice(0, 12), slice(0, 12))
    np.testing.assert_allclose(fine[far], asked[far])
    np.testing.assert_allclose(sigma[far], 0.9 * spread[far])
    np.testing.assert_allclose(fine[near], backprojection(lst, FACTOR)[0][near])


def _drop(folder: Path) -> None:
    (folder / "models.json").unlink()


def _cut(folder: Path) -> None:
    (folder / "models.json").write_text("{")


def _without_network(folder: Path) -> None:
    (folder / "checkpoints" / "net.pt").unlink()


def _other_settings(folder: Path) -> None:
    said = json.loads((folder / "models.json").read_text())
    said["networks"]["sciml"]["settings"]["depth"] = 3
    (folder / "models.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_drop, "no models.json found, expected the run directory"),
        (_cut, "models.json: not what a job on patches writes"),
        (_without_network, "net.pt: no such checkpoint"),
        (_other_settings, "models.json: .*depth"),
    ],
)
def test_a_run_directory_without_networks_is_refused(tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(write_run(tmp_path))
    with pytest.raises(InputError, match=words) as refused:
        load_models(str(tmp_path))
    assert "\n" not in str(refused.value)
