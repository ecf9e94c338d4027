"""The search of our network's settings: what it looks at, and how its result is taken."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import stellar_search
from pipelines.stellar_parameters import main
from sciml.core.errors import ConfigError
from sciml.nn.search import read_result
from sciml.stellar import experiments, search
from sciml.stellar.config import StellarConfig
from sciml.stellar.networks import OURS, Settings
from sciml.stellar.search import drawn_of, shorter, taken
from tests.pipelines.test_stellar_parameters import _small, run  # noqa: F401 (the fixture acts by itself)

SPACE = {"width": ("choice", [16, 64]), "learning_rate": ("loguniform", 1e-3, 1e-2)}


def test_a_search_never_sees_a_synthesis_that_scores_and_its_result_is_taken(
    tmp_path: Path, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stellar_search, "SPACE", SPACE)
    assert run(tmp_path / "run", "--search", "--search-trials", 2, serial=False) == 0
    url = tmp_path / "run/search.json"
    found = json.loads(url.read_text())[OURS]
    assert len(found["trials"]) == 2 and found["failed"] == 0
    assert found["best"]["score"] <= found["default"]["score"]
    best = {name: found["best"]["settings"][name] for name in SPACE}
    config = StellarConfig.parse(["--search-result", str(url)])
    assert {name: drawn_of(config.settings)[name] for name in SPACE} == best
    assert config.settings == taken(StellarConfig.parse([]).settings, best)

    def never(*_: object) -> None:
        raise AssertionError("a spectrum that scores was made")

    for name in ("spectra", "direct", "models_of", "scored_stars"):
        monkeypatch.setattr(experiments, name, never)
    (emulator,) = (tmp_path / "run/checkpoints").glob("emulator-*.pt")
    setup = experiments.Setup(
        experiments.experiment("grid", 20.0), "generated", "", "", str(emulator), 0, ()  # type: ignore[arg-type]
    )  # fmt: skip
    again: list[float] = []
    settings = replace(StellarConfig.parse([]).settings, our_snr=experiments.training_snr(setup.experiment))
    search.Objective(setup, shorter(settings))({"device": "cpu"}, best, again.append)
    assert again[-1] == pytest.approx(found["best"]["score"], abs=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "not the result"), ('{"sciml": {"space": ["width"], "best": {"settings": {"width": "x"}}}}', "width 'x'")],
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_result(str(tmp_path / "search.json"), "sciml", drawn_of(Settings()))


def test_a_search_of_several_experiments_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--search", "--experiment", "grid,limited", "--run-dir", str(tmp_path / "run")]
    assert main(words) == 2
    assert "--search takes one --experiment" in capsys.readouterr().err
