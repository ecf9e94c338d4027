"""The flow of patches from the command line: scores, reuse, resumption, engines that agree, and a search."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from pipelines import modis_patches, modis_search
from pipelines.modis_superres import main
from sciml.data.stores import open_store
from sciml.generated import scenes
from sciml.modis import networks
from sciml.modis.config import ModisConfig
from sciml.modis.networks import OURS
from sciml.modis.search import Objective, log_rmse, looked_at
from sciml.modis.setup import PatchSource, Setup
from sciml.nn.checkpoint import load_checkpoint
from sciml.report import page

KEYS = "psnr ssim ssim_global rmse rmse_unbiased rmse_pooled bias detail_r crps coverage90".split()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few scenes, and no drawing, which takes longer than all else."""
    monkeypatch.setattr(modis_patches, "WINDOWS", 36)
    monkeypatch.setattr(modis_patches, "DATES", 4)
    monkeypatch.setattr(page, "figure_bytes", lambda *_: b"")
    yield


def run(folder: Path, *words: object, models: str = OURS, serial: bool = True) -> int:
    """A run of one epoch; by Ray with two workers where it is not serial."""
    engine = ("--executor", "serial") if serial else ("--workers", "2")
    return main([str(w) for w in ("--epochs", 1, "--models", models, *engine, "--run-dir", folder, *words)])


def checkpoints(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.name: load_checkpoint(str(path))["model"] for path in (folder / "checkpoints").glob("*.pt")}


def answers(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: open_store(str(path))["lst"].values for path in (folder / "stages").iterdir() if path.is_dir()}


def files(folder: Path) -> dict[str, int]:
    places = [*(folder / "checkpoints").rglob("*"), *(folder / "stages").rglob("*")]
    return {str(path): path.stat().st_mtime_ns for path in places if path.is_file()}


def test_methods_are_scored_and_a_second_run_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert run(folder, models="bilinear,atprk,mrunet,sciml") == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    scores = metrics["scores"]["place_split"]
    assert set(scores) == {"bilinear", "backprojection", "atprk", "mrunet", OURS}
    for name, found in scores.items():
        for key in KEYS:
            low, high = found[f"{key}_ci"]
            assert low <= found[key] <= high, (name, key)
        assert found["n"] == scores[OURS]["n"] > 0 and found["n_pixels"] == scores[OURS]["n_pixels"]
        assert 0 <= found["coverage90"] <= 1 and found["crps"] > 0
    models = json.loads((folder / "models.json").read_text())
    assert models["experiment"] == "place_split" and set(models["networks"]) == {"mrunet", OURS}
    urls = [url for network in models["networks"].values() for url in network["checkpoints"]]
    assert all((folder / "checkpoints" / url).exists() for url in urls)
    assert models["scale_law"]["amplitude"] > 0 and models["spread"][OURS]["night"] > 0

    before = files(folder)
    monkeypatch.setattr(networks, "fit", lambda *_, **__: pytest.fail("trained again"))
    capsys.readouterr()
    assert run(folder, models="bilinear,atprk,mrunet,sciml") == 0
    assert files(folder) == before
    again = json.loads((folder / "metrics.json").read_text())
    assert again["scores"] == metrics["scores"]


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run(folder, "--dry-run", "--experiment", "place_split,random_split") == 0
    said = capsys.readouterr().out
    rows = {line.split()[0] for line in said.splitlines() if line}
    assert {"sciml_place_split", "sciml_answers_random_split"} <= rows
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--source", "patches"], "--source patches needs --patches"),
        (["--source", "patches", "--patches", "no/such.nc"], "such.nc"),
        (["--factor", "5"], "--factor 5: the patches of"),
        (["--search"], "needs Ray; give --executor ray"),
        (["--search-result", "no/such.json"], "such.json"),
    ],
)
def test_a_mistake_is_a_line(words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "run", *words) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert line in said


def test_ray_and_serial_make_the_same(tmp_path: Path, ray_local: None) -> None:
    """Members of an ensemble, one on each worker, and all answers: bit for bit."""
    words = ("--members", 2, "--degradation", "mtf")
    assert run(tmp_path / "here", *words) == 0
    assert run(tmp_path / "there", *words, serial=False) == 0
    here, there = checkpoints(tmp_path / "here"), checkpoints(tmp_path / "there")
    assert here.keys() == there.keys() and len(here) == 2
    for name in here:
        assert all(torch.equal(here[name][key], there[name][key]) for key in here[name])
    mine, theirs = answers(tmp_path / "here"), answers(tmp_path / "there")
    assert mine.keys() == theirs.keys() and len(mine) == 2
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name])


class Killed(KeyboardInterrupt):
    """Stands in for a signal after an epoch."""


def test_a_killed_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after its second epoch of three it ends with the bits of one that was not."""
    words = ("--epochs", 3, "--models", OURS, "--executor", "serial", "--run-dir")
    assert main([*map(str, words), str(tmp_path / "whole")]) == 0
    real, epochs = networks.fit, []

    def fit(*args: Any, report: Any, **more: Any) -> Any:
        def told(epoch: int, metrics: dict[str, float], state: Any) -> None:
            report(epoch, metrics, state)
            epochs.append(epoch)
            if len(epochs) == 2:
                raise Killed

        return real(*args, report=told, **more)

    with monkeypatch.context() as patch:
        patch.setattr(networks, "fit", fit)
        clock = iter(range(0, 10_000_000, 1000))
        patch.setattr("cluster.train.time.monotonic", lambda: float(next(clock)))  # every epoch is worth a checkpoint
        assert main([*map(str, words), str(tmp_path / "killed")]) == 130
    assert not list((tmp_path / "killed/checkpoints").glob("*-000.pt"))
    monkeypatch.setattr(networks, "fit", lambda *a, **k: epochs.append(-k["resume"]["epoch"]) or real(*a, **k))
    assert main([*map(str, words), str(tmp_path / "killed")]) == 0
    assert epochs[2:] == [-2]
    (whole,), (resumed,) = checkpoints(tmp_path / "whole").values(), checkpoints(tmp_path / "killed").values()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_search_never_sees_the_test_and_its_result_is_taken(
    tmp_path: Path, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modis_search, "SPACE", {"width": ("choice", [4, 8, 32]), "blocks": ("integer", 1, 3)})
    assert run(tmp_path / "search", "--search", "--search-trials", 2, serial=False) == 0
    found = json.loads((tmp_path / "search/search.json").read_text())[OURS]
    assert len(found["trials"]) == 2 and found["failed"] == 0 and found["seed"] == 0
    assert found["best"]["score"] <= found["default"]["score"]

    class Run:
        url = str(tmp_path / "search")

    config = ModisConfig.parse(["--epochs", "1"])
    setup, _ = modis_patches.searched(config, Run())  # type: ignore[arg-type]
    scored: list[float] = []
    best = {name: found["best"]["settings"][name] for name in found["space"]}
    Objective(setup, config.settings(OURS))({"device": "cpu"}, best, scored.append)
    assert scored == [pytest.approx(found["best"]["score"], abs=1e-6)]
    assert run(tmp_path / "job", "--search-result", tmp_path / "search/search.json") == 0
    (checkpoint,) = checkpoints(tmp_path / "job").values()
    assert checkpoint["enter.bias"].shape == (best["width"],)


def test_the_score_of_a_search_is_psnr_in_other_units() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(290, 3, (3, 8, 8))
    fine = truth + np.array([0.5, 1.0, 2.0])[:, None, None] * np.sign(rng.normal(size=truth.shape))
    truth[0, 2, 2] = np.nan
    assert log_rmse(fine, truth) == pytest.approx(np.log([0.5, 1.0, 2.0]).mean())


def _written(folder: Path, windows: int, seed: int, name: str) -> str:
    """A file of patches, and one of their reflectances beside it."""
    scenes.write_patches(scenes.scenes(windows, 4, seed=seed), folder / f"{name}.nc", folder / f"{name}-ndvi.nc")
    return str(folder / f"{name}.nc")


def test_other_test_patches_train_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test patches of other places: networks stay, answers are new. Where they keep images out of training, it is
    done again."""
    train, folder = _written(tmp_path, 36, 0, "train"), tmp_path / "run"
    apart = []
    for number in (1, 2):
        with xr.open_dataset(_written(tmp_path, 4, number, f"test{number}"), mask_and_scale=False) as found:
            moved = found.load().assign(window=found["window"] + 200, uly=found["uly"] - 2e7)
        apart.append(str(tmp_path / f"apart{number}.nc"))
        moved.to_netcdf(apart[-1])
    words = ("--source", "patches", "--patches", train, "--test-patches")
    assert run(folder, *words, apart[0]) == 0
    before, answered = checkpoints(folder), set(answers(folder))
    with monkeypatch.context() as patch:
        patch.setattr(networks, "fit", lambda *_, **__: pytest.fail("trained again"))
        assert run(folder, *words, apart[1]) == 0
    assert checkpoints(folder).keys() == before.keys()
    assert len(set(answers(folder)) - answered) == len(answered)
    assert run(folder, *words, str(tmp_path / "test1.nc")) == 0  # of the training's places and dates
    assert len(checkpoints(folder)) == len(before) + 1


def test_a_word_on_tests_that_a_search_has_seen(tmp_path: Path) -> None:
    """Of which splits, by counting; the place split with the search's seed has none, with another it has."""
    url = tmp_path / "search.json"
    url.write_text(json.dumps({OURS: {"space": {"width": []}, "best": {"settings": {"width": 8}}, "seed": 0}}))
    source = PatchSource(_written(tmp_path, 36, 0, "all"))
    found = {}
    for split, seed in (("place_split", 0), ("place_split", 1), ("random_split", 0)):
        setup = Setup(split, source, PatchSource(""), 4, "box_t4", seed)
        found[split, seed] = looked_at(str(url), setup, setup.prepare())
    assert found["place_split", 0] == ()
    for (word,) in (found["place_split", 1], found["random_split", 0]):
        assert "are among those by which the search of" in word
    assert run(tmp_path / "run", "--search-result", url, "--experiment", "random_split") == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert "random_split: " in metrics["notes"]["random_split"]
    assert str(url) in (tmp_path / "run/report.html").read_text()
