"""Flags in a run on generated lines: promised shares, wrong answers found, thresholds kept for later, nothing twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.stellar_flags import FLAGS
from pipelines.stellar_parameters import main
from sciml.data.stores import open_store
from sciml.report import page
from sciml.stellar import experiments, flag_steps, steps
from sciml.stellar.answers import Answers
from sciml.stellar.consistency import REASONS, Thresholds, excess
from sciml.stellar.flag_steps import read_fits
from sciml.stellar.strangers import KINDS

WORDS = (
    "--node-step 4 --sobol-points 200 --test-points 24 --components 60 --calibration-spectra 300"
    " --strangers 3 --models chi2,ridge --executor serial"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("flags") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "OTHER_SNR", (50.0,))
        patch.setattr(steps, "_TRIED", 128)
        patch.setattr(flag_steps, "_LIBRARY", 64)
        patch.setattr(page, "figure_bytes", lambda *_: b"")
        assert main([*WORDS.split(), "--run-dir", str(folder)]) == 0
        yield folder


@pytest.fixture(scope="module")
def scores(finished: Path) -> dict[str, Any]:
    return json.loads((finished / "metrics.json").read_text())["scores"]["snr20"]


def store(finished: Path, name: str) -> str:
    (found,) = (finished / "stages").glob(f"{name}-*")
    return str(found)


@pytest.mark.parametrize("method", ["chi2", "ridge"])
def test_few_of_the_grid_are_flagged_and_all_strangers_that_differ_from_it(scores: dict[str, Any], method: str) -> None:
    found = scores[method]
    count = found["n_in_grid"]
    assert count == 96
    assert found["flagged_in_grid"] <= 0.02 + 3 * np.sqrt(0.02 / count)
    assert found["flagged_plain_strangers"] >= 0.95
    assert found["n_strangers"] == 3 * len(KINDS) > found["n_plain_strangers"] > 10
    assert found["flagged_strangers"] < found["flagged_plain_strangers"]  # some look like stars of the grid
    for what in ("in_grid", "strangers", "plain_strangers"):
        low, high = found[f"flagged_{what}_ci"]
        assert 0 <= low <= found[f"flagged_{what}"] <= high <= 1
    assert set(found["flagged_by"]["kind"]) == set(KINDS)
    assert set(found["flagged_by"]["snr"]) == {"50", "nodes"}


def test_answers_of_other_stars_are_found_out(scores: dict[str, Any]) -> None:
    for found in scores.values():
        assert found["n_liars"] > 30
        assert found["flagged_liars"] >= 0.95


def test_a_confidently_wrong_answer_is_flagged_by_what_a_run_keeps(finished: Path) -> None:
    limits = Thresholds.from_json(json.loads((finished / FLAGS).read_text())["snr20"]["chi2"])
    fits, away = read_fits(store(finished, "fits_snr20"))
    assert np.isnan(away).all()
    with open_store(store(finished, "chi2_snr20")) as found:
        given = Answers(found["mean"].values, found["covariance"].values)
    right = excess(fits.against(given), limits) > 1
    clear = given.sigma[:, 0] < 60  # [K]
    wrong = Answers(given.mean - (425.0, 0, 0, 0), np.tile(np.diag([10.0, 0.05, 0.02, 0.3]) ** 2, (len(given), 1, 1)))
    disagrees = (excess(fits.against(wrong), limits) > 1)[:, REASONS.index("disagrees")]
    assert clear.sum() > 30
    assert disagrees[clear].mean() > 0.95 and right[clear].mean(0).max() < 0.05


def test_strangers_lie_at_a_distance_and_others_have_none(finished: Path) -> None:
    _, away = read_fits(store(finished, "flag_fits_snr20"))
    assert np.isnan(away[:300]).all()
    assert (away[300:] > 0).all()


def test_a_second_run_makes_nothing(finished: Path) -> None:
    files = [path for name in ("stages", "checkpoints") for path in (finished / name).rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    kept = (finished / FLAGS).read_bytes()
    assert main([*WORDS.split(), "--run-dir", str(finished)]) == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert (finished / FLAGS).read_bytes() == kept
