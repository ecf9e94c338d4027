"""`modis_superres --source granules` on small tiles: whole runs, more granules later, refusals in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers the accessor `rio`
import xarray as xr

from cluster.verify import verify_run
from pipelines.modis_superres import main
from sciml.data.stores import open_store
from sciml.modis import apply
from sciml.modis.apply import BACK_PROJECTED, MISSING, SHARPENED
from sciml.report import page
from tests.data.readers.hdf_fixtures import lst_granule, vegetation_granule

PIXELS = 32
FIRST, SECOND, WINTER = "2020-07-01", "2020-07-13", "2020-12-01"


@pytest.fixture
def folder(tmp_path):
    """A folder of granules beside one of models without networks: beyond their own scale only the law is used."""
    (tmp_path / "in").mkdir()
    (tmp_path / "models").mkdir()
    law = {"amplitude": 0.8, "decay": 0.2, "blur_km": 0.5}
    said = {"factor": 4, "fine_pixel_m": 926.6, "networks": {}, "spread": {}, "scale_law": law}
    (tmp_path / "models" / "models.json").write_text(json.dumps(said))
    return tmp_path / "in"


def run(folder: Path, name: str = "run", *options: str, sharpened: bool = True, ndvi: bool = True) -> int:
    """The command line; an option that is given again takes the later value."""
    told = {"--source": "granules", "--executor": "serial", "--granules": f"{folder}/MOD11*.hdf"}
    if sharpened:
        told |= {"--apply": "true", "--checkpoint": str(folder.parent / "models")}
    if ndvi:
        told["--ndvi-granules"] = f"{folder}/MOD13*.hdf"
    told |= {"--run-dir": str(folder.parent / name)} | dict(zip(options[::2], options[1::2], strict=True))
    return main([word for pair in told.items() for word in pair])


@pytest.fixture
def without_pictures(monkeypatch):
    """Drawing is most of a small run's time; other tests look at it."""
    monkeypatch.setattr(page, "figure_bytes", lambda figure, suffix="png": b"")


def granules(folder: Path, *days: str, ndvi: bool = True) -> None:
    for day in days:
        lst_granule(folder, day=day, pixels=PIXELS, seed=int(day[-2:]))
    if ndvi:
        vegetation_granule(folder, product="MOD13Q1", pixels=4 * PIXELS)


def sharpened(folder: Path, name: str = "run", tile: str = "h18v04") -> xr.Dataset:
    (store,) = (folder.parent / name / "stages").glob(f"sharpened_mod11a1_{tile}_2020-*")
    return open_store(str(store))


def entries(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder.parent / "run/ledger").glob("*/items/*.json")}


def test_more_granules_later_are_all_that_is_done(folder, capsys):
    granules(folder, FIRST, WINTER)
    assert run(folder) == 0
    said = capsys.readouterr().out
    assert f"within 24 days of 1 of 2 days, the first {WINTER}; they are back-projected" in said
    before, images = entries(folder), sharpened(folder)["lst"].sel(time=[FIRST, WINTER]).load()
    granules(folder, SECOND)
    for path in folder.glob(f"*A2020{183:03d}*"):
        path.unlink()  # what was ingested may be gone
    assert run(folder) == 0
    after = entries(folder)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) * 3 // 2
    np.testing.assert_array_equal(sharpened(folder)["lst"].sel(time=[FIRST, WINTER]), images)
    assert np.isfinite(sharpened(folder)["lst"].sel(time=SECOND)).any()
    objects, findings = verify_run(str(folder.parent / "run"))
    assert findings == [] and objects == 3 * 6 + 6 * 3 + 6
    numbers = json.loads((folder.parent / "run/metrics.json").read_text())
    day, night = (numbers["counts"]["MOD11A1 h18v04 2020"][half] for half in ("day", "night"))
    assert day["images"] == night["images"] == 3 and numbers["scores"] == {}
    how = sharpened(folder)["how"].sel(time=[FIRST, SECOND, WINTER])
    for half, found in (("day", day), ("night", night)):
        image = how.sel(overpass=half).values
        assert [found[name] for name in apply.HOW_NAMES] == np.bincount(image.ravel(), minlength=3).tolist()
    assert day["sharpened"] > 0 and night["sharpened"] == 0 and night["back_projected"] > 0
    assert set(np.unique(how.sel(time=WINTER))) == {MISSING, BACK_PROJECTED}
    assert (how.sel(overpass="day").sel(time=FIRST) == SHARPENED).mean() > 0.3
    text = (folder.parent / "run/report.html").read_text()
    assert "There is no truth at this scale" in text and "close-up" in text


def test_an_image_knows_nothing_of_other_granules(folder, without_pictures):
    """All in another order of names, and one alone, give the same bits."""
    granules(folder, FIRST, SECOND, WINTER)
    assert run(folder, "all") == 0
    expected = sharpened(folder, "all").sel(time=SECOND).load()
    for path in folder.glob("MOD11*"):
        path.rename(path.with_name(f"MOD11-{path.stat().st_size % 7}-{path.name}"))
    assert run(folder, "renamed") == 0
    xr.testing.assert_identical(sharpened(folder, "renamed").sel(time=SECOND).load(), expected)
    for path in folder.glob("MOD11*"):
        if "A2020195" not in path.name:
            path.unlink()
    assert run(folder, "alone") == 0
    xr.testing.assert_identical(sharpened(folder, "alone").sel(time=SECOND).load(), expected)


def test_maps_and_store_open_elsewhere_and_a_lost_map_is_drawn_again(folder, without_pictures):
    granules(folder, FIRST)
    assert run(folder, "run", "--crs", "EPSG:32632") == 0
    maps = folder.parent / "run/maps"
    names = sorted(path.name for path in maps.iterdir())
    assert names == [
        f"{name}_mod11a1_h18v04_{FIRST}_{half}_EPSG32632.tif" for name in ("lst", "sigma") for half in ("day", "night")
    ]
    with rasterio.open(maps / names[0]) as opened:
        assert opened.crs.to_epsg() == 32632 and opened.profile["tiled"]
        drawn = opened.read(1)
    store = sharpened(folder)
    assert store.rio.crs.to_dict()["proj"] == "sinu" and {"x", "y", "spatial_ref"} <= set(store.coords)
    assert store["lst"].shape == (366, 2, 4 * PIXELS, 4 * PIXELS)
    day = store["lst"].sel(time=FIRST, overpass="day").values
    assert np.nanmin(day) <= np.nanmin(drawn) and np.nanmax(drawn) <= np.nanmax(day)
    assert store["sigma"].sel(time=FIRST).min() > 0
    (maps / names[0]).unlink()
    assert run(folder, "run", "--crs", "EPSG:32632") == 0
    with rasterio.open(maps / names[0]) as opened:
        np.testing.assert_array_equal(opened.read(1), drawn)


def test_without_apply_granules_are_ingested_and_drawn_as_they_are(folder):
    granules(folder, FIRST, ndvi=False)
    assert run(folder, sharpened=False, ndvi=False) == 0
    drawn = [path.name for path in sorted((folder.parent / "run/maps").iterdir())]
    assert drawn == [f"lst_mod11a1_h18v04_{FIRST}_{half}.tif" for half in ("day", "night")]
    numbers = json.loads((folder.parent / "run/metrics.json").read_text())["counts"]["MOD11A1 h18v04 2020"]
    store = open_store(str(next((folder.parent / "run/stages").glob("granules_*"))))
    seen = np.isfinite(store["lst_dn"].sel(time=FIRST)).sum(("y", "x")).values
    assert [numbers[half]["observed"] for half in ("day", "night")] == seen.tolist()


def test_a_tile_under_cloud_is_a_run_without_a_picture(folder):
    def cloudy(fields):
        for half in ("Day", "Night"):
            fields[f"LST_{half}_1km"][0][:] = 0
        return fields

    lst_granule(folder, day=FIRST, pixels=PIXELS, edit=cloudy)
    assert run(folder, ndvi=False) == 0
    assert "there is nothing to show" in (folder.parent / "run/report.html").read_text()
    assert not (folder.parent / "run/maps").exists()
    assert (sharpened(folder)["how"].sel(time=FIRST) == MISSING).all()


def test_what_is_left_out_is_said(folder, capsys):
    granules(folder, FIRST, ndvi=False)
    (folder / f"._{next(folder.glob('MOD11*')).name}").write_bytes(b"\x00\x05\x16\x07")
    vegetation_granule(folder, product="MOD13A2", pixels=PIXELS)
    assert run(folder, "run", "--granules", f"{folder}/*MOD11*.hdf") == 0
    said = capsys.readouterr().out
    text = (folder.parent / "run/report.html").read_text()
    for what in ("AppleDouble companion, no granule; left out", "it guides nothing and is left out"):
        assert what in said and what in text
    assert not (sharpened(folder)["how"] == SHARPENED).any()


def test_a_plan_reads_headers_alone_and_writes_nothing(folder, capsys):
    granules(folder, FIRST, SECOND)
    assert run(folder, "run", "--dry-run", "true") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "mod11a1" in line]
    rows = {line[0]: line[1] for line in lines}
    year = "mod11a1_h18v04_2020"
    assert rows == {f"granules_{year}": "2", f"sharpened_{year}": "4", f"maps_{year}": "4"}
    sizes = {line[0]: " ".join(line[2:4]) for line in lines}
    fine = 4 * (4 * PIXELS) ** 2 * (2 + 2 + 1)  # bytes of four images, not of a year
    assert sizes[f"maps_{year}"] == "96 B" and sizes[f"sharpened_{year}"] == f"{fine / 1000:.3g} kB"
    assert not (folder.parent / "run").exists()


def truncated(folder):
    path = lst_granule(folder, day=SECOND, pixels=PIXELS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def mixed(folder):
    lst_granule(folder, day=SECOND, pixels=PIXELS, collection="006")


def other_tile(folder):
    for path in folder.glob("MOD11*"):
        path.unlink()
    lst_granule(folder, tile="h17v04", pixels=PIXELS)


def no_models(folder):
    (folder.parent / "models/models.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (truncated, "truncated or damaged"),
        (mixed, "ingest one collection at a time"),
        (other_tile, "found NDVI of tile h18v04, expected h17v04"),
        (no_models, "no models.json found"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(folder, capsys, spoil, complaint):
    granules(folder, FIRST)
    spoil(folder)
    assert run(folder) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and complaint in said[0]
    assert not list(folder.parent.glob("run/stages/sharpened*"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--crs", "EPSG:0"], "found no such projection"),
        (["--apply", "false"], "--ndvi-granules guides what --apply sharpens"),
        (["--checkpoint", ""], "needs --checkpoint"),
    ],
)
def test_options_that_do_not_go_together_are_refused(folder, capsys, options, complaint):
    granules(folder, FIRST)
    assert run(folder, "run", *options) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and complaint in said[0]
