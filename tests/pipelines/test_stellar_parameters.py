"""Stellar parameters from the command line: scores, reuse, a grid put elsewhere, engines that agree, bad options."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.job import Plan
from pipelines.stellar_grid import model_stores
from pipelines.stellar_parameters import main
from sciml.data.stores import open_store
from sciml.report import page
from sciml.stellar import consistency, experiments, flag_steps, networks, steps
from sciml.stellar.config import StellarConfig
from sciml.stellar.labels import LABELS

KEYS = [f"{name}_{label}" for name in ("mae", "crb_ratio", "coverage1", "coverage2", "crps") for label in LABELS]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few stars and steps, and no drawing, which takes longer than all else."""
    from dataclasses import replace

    made = networks.PRESETS["generated"]
    quick = replace(made.estimating, epochs=2, spectra=2048)
    short = replace(made.fitting, epochs=1, spectra=64)
    settings = replace(made, estimating=quick, fitting=short, denoising=short, drawn=120, derivatives=16, bank=500)
    monkeypatch.setitem(networks.PRESETS, "generated", settings)  # type: ignore[arg-type]
    monkeypatch.setattr(consistency, "FEWEST", 60)
    monkeypatch.setattr(experiments, "ROTATIONS", 2)
    monkeypatch.setattr(experiments, "OTHER_SNR", (50.0,))
    monkeypatch.setattr(steps, "_TRIED", 128)
    monkeypatch.setattr(flag_steps, "_LIBRARY", 32)
    monkeypatch.setattr(page, "figure_bytes", lambda *_: b"")
    yield


def run(folder: Path, *words: object, models: str = "sciml", serial: bool = True) -> int:
    """A run on a coarse grid of generated lines."""
    engine = ("--executor", "serial") if serial else ("--workers", "2")
    size = (
        "--node-step",
        5,
        "--sobol-points",
        60,
        "--test-points",
        10,
        "--components",
        24,
        "--calibration-spectra",
        100,
        "--strangers",
        2,
    )
    return main([str(w) for w in (*size, "--models", models, *engine, "--run-dir", folder, *words)])


def scores(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    return json.loads((folder / "metrics.json").read_text())["scores"]


def files(folder: Path) -> dict[str, int]:
    places = [*(folder / "checkpoints").rglob("*"), *(folder / "stages").rglob("*")]
    return {str(path): path.stat().st_mtime_ns for path in places if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stellar") / "run"


def test_methods_are_scored_and_a_second_run_does_nothing(finished: Path) -> None:
    assert run(finished) == 0
    found = scores(finished)["snr20"]
    assert set(found) == {"chi2", "sciml"}
    for method in found.values():
        assert all(isinstance(method[key], float) for key in KEYS if not key.startswith("crb"))
        assert method["n"] == 2 * 10
    assert found["chi2"]["mae_teff"] < 500
    assert (finished / "report.html").exists()
    before = files(finished)
    assert run(finished) == 0
    assert files(finished) == before


def test_another_network_leaves_what_is_there(finished: Path) -> None:
    before = files(finished)
    assert run(finished, models="dae_resnet") == 0
    assert {name: when for name, when in files(finished).items() if name in before} == before
    assert set(scores(finished)["snr20"]) == {"chi2", "dae_resnet"}


def test_ray_and_serial_agree(finished: Path, tmp_path: Path, ray_local: None) -> None:
    assert run(tmp_path / "run", "--only", "grid", serial=False) == 0
    for path in (tmp_path / "run" / "stages").iterdir():
        ours, theirs = (open_store(str(folder / "stages" / path.name)) for folder in (tmp_path / "run", finished))
        np.testing.assert_array_equal(ours["flux"].values, theirs["flux"].values)


def test_the_plan_lists_all_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "run", "--dry-run", "--experiment", "grid,limited,observed", models="all") == 0
    said = capsys.readouterr().out
    for name in ("models_nodes", "emulator", "chi2_snr20", "ridge_snr100_limited", "dae_attention_full_observed"):
        assert name in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--source", "atlas9"), "--source atlas9 needs --store, or --atmospheres and --linelist"),
        (("--source", "atlas9", "--only", "grid", "--store", "x"), "needs --atmospheres and --linelist"),
        (("--store", "x"), "--store would not be read; it needs --source atlas9"),
        (("--source", "atlas9", "--store", "nowhere.zarr"), "no store of model spectra; make it with --only grid"),
        (("--spectrograph", "nowhere.npz"), "nowhere.npz"),
        (("--calibration-spectra", "20"), "--calibration-spectra 20: expected 60 or more"),
        (("--modles", "chi2"), "did you mean 'models'"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    models = ("--modles", "chi2") if words[0] == "--modles" else ("--models", "chi2")
    rest = () if words[0] == "--modles" else words
    assert main([*models, *rest, "--executor", "serial", "--run-dir", str(tmp_path / "run"), "--dry-run"]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


def test_a_store_is_found_from_wherever_workers_work(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (finished / "stages").glob("models_*"):
        (tmp_path / "G.zarr").mkdir(exist_ok=True)
        (tmp_path / "G.zarr" / path.name.split("-")[0].removeprefix("models_")).symlink_to(path)
    config = StellarConfig.parse(["--source", "atlas9", "--store", "G.zarr"])
    for name, store in model_stores(config, Plan(config)).items():
        assert store.url == str(tmp_path / "G.zarr" / name)
