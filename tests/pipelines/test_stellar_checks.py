"""What a run adds about its networks: deleted pixels and the learning curve."""

from pathlib import Path

import pytest

from pipelines.stellar_parameters import main
from sciml.stellar.labels import LABELS
from tests.pipelines.test_stellar_parameters import _small, run, scores  # noqa: F401 (the fixture acts by itself)


def test_deleted_pixels_and_the_learning_curve_are_told(tmp_path: Path) -> None:
    assert run(tmp_path / "run", "--learning-curve", models="sciml,attention") == 0
    ((experiment, found),) = scores(tmp_path / "run").items()
    attention, ours = found["attention"], found["sciml"]
    for label in LABELS:
        low, high = attention[f"deletion_ratio_{label}_ci"]
        assert low <= attention[f"deletion_ratio_{label}"] <= high
    counts = [int(count) for count in ours["learning_curve"]]
    assert len(counts) == 2 and 3 < counts[1] / counts[0] < 5
    assert "deletion_ratio_teff" not in ours and "learning_curve" not in attention
    page = (tmp_path / "run/report.html").read_text()
    assert "Learning curve: " in page and "most attended pixels" in page
    pictures = [path.name for path in (tmp_path / "run/figures").glob("*.png")]
    assert all(experiment in name for name in pictures)  # else a second experiment's would have the same names


def test_a_learning_curve_needs_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--learning-curve", "--models", "ridge", "--run-dir", str(tmp_path / "run")]) == 2
    assert "--learning-curve trains sciml" in capsys.readouterr().err
