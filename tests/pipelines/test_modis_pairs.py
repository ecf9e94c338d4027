"""The job on pairs: generated scenes seen by both sensors, refusals in one line, the real pairs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform

from pipelines.modis_superres import main
from sciml.data.readers.aster_pairs import read_pairs
from sciml.data.stores import open_store
from sciml.generated.scenes import fine_scenes
from sciml.modis.aster import SINUSOIDAL, Grid, read_on_one_grid, resampled
from sciml.modis.degradation import box_t4
from sciml.modis.pair_steps import SharpenPairs, prepared
from sciml.modis.steps import ImageBlock
from tests.modis.test_sharpen import FACTOR, write_run

COARSE_M = 926.6254330558334
FINE_M = COARSE_M / FACTOR
SIDE, ASTER = 40, 190  # coarse pixels of the frame, pixels of ASTER
CORNER = (277061.0, 5100146.0)
EPSG = 32631
KEYS = {
    "psnr", "ssim", "ssim_global", "rmse", "rmse_unbiased", "rmse_pooled", "bias", "detail_r", "crps", "coverage90", "n"
}  # fmt: skip


def write_pairs(file: Path, dates: int = 3) -> Path:
    """Windows of generated scenes as the two sensors see them: MODIS by block means, ASTER on a UTM grid 1 K warmer."""
    scenes = fine_scenes(1, 6, seed=2)
    scenes = scenes.select(np.flatnonzero(np.nanmin(scenes.lst, axis=(1, 2)) > 274)[:dates])  # ASTER is cut at 270 K
    side = FACTOR * SIDE
    lst, ndvi = scenes.lst[:, :side, :side], scenes.ndvi[:, :side, :side]
    fine = Grid(Affine(FINE_M, 0, CORNER[0], 0, -FINE_M, CORNER[1]), SINUSOIDAL, (side, side))
    utm = CRS.from_epsg(EPSG)
    half = side / 2 * FINE_M
    (east,), (north,) = transform(SINUSOIDAL, utm, [CORNER[0] + half], [CORNER[1] - half])
    there = Affine(FINE_M, 0, east - ASTER / 2 * FINE_M, 0, -FINE_M, north + ASTER / 2 * FINE_M)
    aster = np.stack([resampled(image + 1.0, fine, Grid(there, utm, (ASTER, ASTER))) for image in lst])
    count = len(lst)

    def each(values: object) -> np.ndarray:
        return np.stack([np.array(values)] * count)

    xr.Dataset(
        {
            "pair_id": ("pair", np.arange(count)),
            "modis_lst_dn": (("pair", "y1", "x1"), np.rint(box_t4(lst, FACTOR) / 0.02).astype("uint16")),
            "geo_lst": (("pair", "six"), each([CORNER[0], COARSE_M, 0, CORNER[1], 0, -COARSE_M])),
            "modis_ndvi_e4": (("pair", "y250", "x250"), np.rint(ndvi * 1e4).astype("int16")),
            "geo_ndvi": (("pair", "six"), each([CORNER[0], FINE_M, 0, CORNER[1], 0, -FINE_M])),
            "aster_lst_dn": (("pair", "ya", "xa"), np.rint(np.nan_to_num(aster, nan=200.0) / 0.02).astype("uint16")),
            "aster_rows": ("pair", each(ASTER)),
            "aster_cols": ("pair", each(ASTER)),
            "aster_transform": (("pair", "six"), each(there[:6])),
            "aster_epsg": ("pair", each(EPSG)),
        }
    ).to_netcdf(file)
    return file


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.nc")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("checkpoint"))


def _options(pairs: Path, checkpoint: Path, run: Path) -> list[str]:
    named = {"--pairs": pairs, "--checkpoint": checkpoint, "--run-dir": run}
    return ["--source", "pairs", "--executor", "serial", *(str(x) for pair in named.items() for x in pair)]


@pytest.fixture(scope="module")
def run(pairs: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main(_options(pairs, checkpoint, folder)) == 0
    return folder


def test_scores_of_both_experiments(run: Path) -> None:
    scores = json.loads((run / "metrics.json").read_text())["scores"]
    methods = {"bilinear", "bicubic", "backprojection", "tsharp", "atprk", "sciml"}
    assert {name: set(found) for name, found in scores.items()} == {"aster_self": methods, "aster": methods}
    for found in scores.values():
        assert all(set(found[name]) >= KEYS and found[name]["n"] == 3 for name in methods)
        assert found["sciml"]["rmse_unbiased"] < found["backprojection"]["rmse_unbiased"]
    for name in methods:  # ASTER was made 1 K warmer than MODIS and is not warmer than itself
        assert scores["aster"][name]["bias"] == pytest.approx(-1.0, abs=0.1)
        assert scores["aster_self"][name]["bias"] == pytest.approx(0.0, abs=0.05)
    assert (run / "report.html").exists()


def test_pairs_are_sharpened_each_by_itself(run: Path, pairs: Path, checkpoint: Path) -> None:
    store = json.loads((run / "stores.json").read_text())
    alone = SharpenPairs(str(pairs), str(checkpoint), "aster", "sciml")(ImageBlock(1, 2))
    among = open_store(str(run / "stages" / store["sciml_pairs_aster"]))
    for name in ("lst", "sigma"):
        np.testing.assert_array_equal(alone[name][0], among[name].values[1])


def test_again_nothing_is_done_and_another_checkpoint_is_noticed(
    run: Path, pairs: Path, checkpoint: Path, tmp_path: Path
) -> None:
    before = json.loads((run / "stores.json").read_text())
    times = {store: (run / "stages" / store / "zarr.json").stat().st_mtime_ns for store in before.values()}
    assert main(_options(pairs, checkpoint, run)) == 0
    assert json.loads((run / "stores.json").read_text()) == before
    assert {store: (run / "stages" / store / "zarr.json").stat().st_mtime_ns for store in times} == times
    other = write_run(tmp_path)
    said = json.loads((other / "models.json").read_text())
    said["scale_law"]["amplitude"] = 0.4
    (other / "models.json").write_text(json.dumps(said))
    assert main([*_options(pairs, other, run), "--experiment", "aster_self", "--models", "sciml"]) == 0
    name = "sciml_pairs_aster_self"
    assert json.loads((run / "stores.json").read_text())[name] != before[name]


def test_the_plan_writes_nothing(
    pairs: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_options(pairs, checkpoint, tmp_path / "no"), "--dry-run"]) == 0
    assert "sciml_pairs_aster_self" in capsys.readouterr().out and not (tmp_path / "no").exists()


def _no_run(pairs: Path, folder: Path) -> tuple[Path, Path]:
    return pairs, folder


def _other_factor(pairs: Path, folder: Path) -> tuple[Path, Path]:
    return pairs, write_run(folder, factor=2)


def _truncated(pairs: Path, folder: Path) -> tuple[Path, Path]:
    whole = pairs.read_bytes()
    (folder / "cut.nc").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.nc", write_run(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_run, "no models.json found"),
        (_other_factor, "a factor of 2 found, the pairs"),
        (_truncated, "cut.nc"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path, Path], tuple[Path, Path]],
    words: str,
) -> None:
    file, checkpoint = spoil(pairs, tmp_path)
    assert main(_options(file, checkpoint, tmp_path / "run")) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said


def test_real_pairs_are_sharpened_better_than_by_back_projection(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "modis" / "imt-sif-aster-modis" / "modis_aster_pairs.nc"
    some = tmp_path / "some.nc"
    with xr.open_dataset(file, decode_cf=False) as whole:
        whole.isel(pair=slice(0, 56, 14)).to_netcdf(some)
    placed, trials = prepared(str(some))
    assert len(placed) == 4 and read_on_one_grid(read_pairs(str(some)), placed.shift).shift == placed.shift
    checkpoint = write_run(tmp_path)
    for name, trial in trials.items():
        errors = {}
        for method in ("backprojection", "sciml"):
            found = SharpenPairs(str(some), str(checkpoint), name, method)(ImageBlock(0, 4))
            error = np.where(trial.mask, found["lst"] - trial.images.lst, np.nan)
            errors[method] = float(np.nanstd(error, axis=(1, 2)).mean())
            assert np.isfinite(found["lst"][trial.mask]).all() and (found["sigma"][trial.mask] > 0).all()
        assert errors["sciml"] < 0.95 * errors["backprojection"]
