"""A search from the command line, killed on the way, and the main job that takes its result."""

import json
import signal
from pathlib import Path

import pytest

from cluster.cli import main as sciml
from pipelines.grace_downscale import main
from tests.fault.tools import finish, start, wait_for

SMALL = "--tiles 1 --mascon-rows 2 --mascon-columns 2 --members 2 --lags 1 --folds 2 --features pr,mrros".split()
SMALL += ["--models", "lstm"]
SPACE = "lstm:\n  learning_rate: [loguniform, 0.01, 0.1]\n  epochs: [choice, [5, 10]]\n"


def test_a_killed_search_keeps_its_trials_and_the_main_job_takes_the_best(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    run, space = tmp_path / "run", ("--search-space", tmp_path / "space.yaml")
    command = (*SMALL, "--search", *space, "--search-trials", 5, "--run-dir", run, "--workers", 1)

    def finished() -> dict[str, str]:
        found = {path.parent.name: path.read_text() for path in run.glob(".ray/*/*/result.json")}
        return {trial: rows for trial, rows in found.items() if rows.count("\n") == 2}  # one a block of years

    driver = start(*command, module="pipelines.grace_downscale")
    wait_for(lambda: bool(finished()), driver)
    kept = finished()
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not (run / "search.json").exists()
    code, _, err = finish(start(*command, module="pipelines.grace_downscale"))
    assert code == 0, err
    found = json.loads((run / "search.json").read_text())["lstm"]
    assert len(found["trials"]) == 5 and found["failed"] == 0 and found["seconds"] > 0
    assert kept.items() <= finished().items() and len(kept) < 5
    assert found["default"]["settings"]["lags"] == 1 and found["best"]["score"] <= found["default"]["score"]
    scores = json.loads((run / "metrics.json").read_text())["scores"]["search"]["lstm"]
    low, high = scores["improvement_ci"]
    assert low <= scores["improvement"] <= high and scores["n_months"] > 100
    assert {"search-lstm.png", "features-lstm.png"} <= {path.name for path in (run / "figures").iterdir()}
    assert sciml(["verify", str(run)]) == 0

    taken = [*SMALL, "--experiment", "synthetic_t2", "--executor", "serial", "--run-dir", str(tmp_path / "job")]
    assert main([*taken, "--search-result", str(run / "search.json")]) == 0
    (ledger,) = (tmp_path / "job/ledger").glob("lstm_t2-*/stage.json")
    assert json.loads(ledger.read_text())["config"]["settings"] == found["best"]["settings"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--search", "--models", "ridge"], "the search space is empty: none for ridge"),
        (["--search", "--source", "wells", "--wells", "x.csv"], "--search: source wells has no search"),
        (["--search", "--search-space", "SPACE"], "search space of lstm: no 'epoch'; did you mean 'epochs'?"),
        (["--search", "--search-space", "FLAT"], "search space of lstm: epochs is drawn by 8; expected [choice,"),
        (["--search-space", "SPACE"], "would not be read; expected --search"),
        (
            ["--source", "basins", "--experiment", "basins", "--twsa", "x.nc", "--predictors", "x.nc"],
            "--features: would not be read",
        ),
    ],
)
def test_a_mistake_is_a_line(options: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "space.yaml").write_text("lstm:\n  epoch: [choice, [5, 10]]\n")
    (tmp_path / "flat.yaml").write_text("lstm:\n  epochs: 8\n")
    files = {"SPACE": str(tmp_path / "space.yaml"), "FLAT": str(tmp_path / "flat.yaml")}
    words = [files.get(word, word) for word in options]
    small = SMALL[:-2] if "--models" in options else SMALL
    assert main([*small, *words, "--run-dir", str(tmp_path / "run"), "--executor", "serial"]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert line in said
