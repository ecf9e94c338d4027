"""A search from the command line, killed on the way or on Ray Train, and the main job that takes its result."""

import json
import signal
from pathlib import Path

import pytest
import ray

from cluster.cli import main as sciml
from pipelines import grace_basins
from pipelines.grace_downscale import main
from sciml.grace.config import GraceConfig
from sciml.grace.search import BasinGlobalJudge, score
from sciml.nn.checkpoint import load_checkpoint
from sciml.report import page
from tests.fault.tools import start, wait_for
from tests.pipelines.test_grace_basins import write_table

SMALL = "--tiles 1 --mascon-rows 2 --mascon-columns 2 --members 2 --lags 1 --folds 2 --features pr,mrros".split()
SMALL += ["--models", "lstm"]
SPACE = "lstm:\n  learning_rate: [loguniform, 0.01, 0.1]\n  epochs: [integer, 120, 30000]\n"


def test_a_killed_search_keeps_its_trials_and_the_main_job_takes_the_best(
    tmp_path: Path, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver that is killed and the one that goes on belong to a cluster that outlives both."""
    (tmp_path / "space.yaml").write_text(SPACE)
    run, space = tmp_path / "run", ("--search-space", tmp_path / "space.yaml")
    command = (*SMALL, "--search", *space, "--search-trials", 4, "--run-dir", run, "--workers", 1)

    def finished() -> dict[str, str]:
        """Scores of the trials that Tune has written down as done, which cannot be any that still runs."""
        states = [path.read_text() for path in sorted(run.glob(".ray/*/experiment_state-*.json"))[-1:]]
        whole = [json.loads(state) for state in states if state.rstrip().endswith("}")]  # not while it is written
        trials = [json.loads(trial) for state in whole for trial, _ in state["trial_data"]]
        done = [trial["trial_id"] for trial in trials if trial["status"] == "TERMINATED"]
        return {trial: next(run.glob(f".ray/*/*_{trial}_*/result.json")).read_text() for trial in done}

    with monkeypatch.context() as patch:
        patch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
        patch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "1")  # what is finished is written down sooner than by default
        driver = start(*command, module="pipelines.grace_downscale")
    wait_for(lambda: bool(finished()), driver)
    kept = finished()
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not (run / "search.json").exists()
    assert main([str(word) for word in command]) == 0
    found = json.loads((run / "search.json").read_text())["lstm"]
    assert len(found["trials"]) == 4 and found["failed"] == 0 and found["seconds"] > 0
    assert kept.items() <= finished().items() and len(kept) < 4
    assert found["default"]["settings"]["lags"] == 1 and found["best"]["score"] <= found["default"]["score"]
    scores = json.loads((run / "metrics.json").read_text())["scores"]["search"]["lstm"]
    low, high = scores["improvement_ci"]
    assert low <= scores["improvement"] <= high and scores["n_months"] > 100
    assert {"search-lstm.png", "features-lstm.png"} <= {path.name for path in (run / "figures").iterdir()}
    assert sciml(["verify", str(run)]) == 0

    monkeypatch.setattr(page, "figure_bytes", lambda *_: b"")  # drawing takes longer than all else
    taken = [*SMALL, "--experiment", "synthetic_t2", "--executor", "serial", "--run-dir", str(tmp_path / "job")]
    assert main([*taken, "--search-result", str(run / "search.json")]) == 0
    (ledger,) = (tmp_path / "job/ledger").glob("lstm_t2-*/stage.json")
    assert json.loads(ledger.read_text())["config"]["settings"] == found["best"]["settings"]


def test_the_basins_network_is_searched_on_train_and_the_job_takes_it(
    tmp_path: Path, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial on a worker of Ray Train scores what the judge scores here; the job's networks are set as it was."""
    monkeypatch.setattr(page, "figure_bytes", lambda *_: b"")  # drawing takes longer than all else
    table = [*write_table(tmp_path, basins=4), "--experiment", "basins", "--models", "global_lstm"]
    table[table.index("--basin-mask") : table.index("--basin-mask") + 2] = []
    (tmp_path / "space.yaml").write_text("global_lstm: {epochs: [choice, [1, 2]], hidden_size: [choice, [4]]}")
    words = [*table, "--features", "evspsbl,pr", "--train-first", "2009-01", "--train-last", "2012-12"]
    words += ["--test-first", "2014-01"]
    search = ["--search", "--search-on-train", "--search-space", str(tmp_path / "space.yaml"), "--search-trials", "1"]
    assert main([*words, *search, "--workers", "1", "--run-dir", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "run/search.json").read_text())["global_lstm"]
    settings = found["best"]["settings"]
    assert settings["features"] == "pr,evspsbl" and settings["hidden_size"] in (4, 64)
    config = GraceConfig.parse(words)
    *_, crps = BasinGlobalJudge(grace_basins.setup_of(config)[0]).blocks(settings)
    assert found["best"]["score"] == pytest.approx(score(crps), rel=1e-6)

    result = ["--search-result", str(tmp_path / "run/search.json"), "--executor", "serial"]
    assert main([*words, *result, "--run-dir", str(tmp_path / "job")]) == 0
    (checkpoint, *_) = (tmp_path / "job/checkpoints").glob("basin_nets-*.pt")
    assert load_checkpoint(str(checkpoint))["model"]["lstm.weight_hh_l0"].shape[1] == settings["hidden_size"]


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
            "--features: no 'mrros'; did you mean 'mrro'?",
        ),
        (["--source", "wells", "--wells", "x.csv"], "--features: would not be read"),
        (["--search-on-train"], "--search-on-train: would not be read; expected --search"),
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
