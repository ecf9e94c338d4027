"""New code that trains other networks makes new checkpoints, and new predictions from them, in an old run directory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from cluster.job import Plan
from cluster.stages import Stage, StoreRef
from cluster.train import Training
from pipelines import grace_basins, grace_downscale
from sciml.grace import search
from sciml.grace.config import GraceConfig
from sciml.grace.global_lstm import GlobalTraining
from sciml.grace.gridded import lstm
from sciml.grace.gridded.lstm import GlobalSettings

from .test_grace_basins import write_table

SMALL = "--tiles 1 --mascon-rows 2 --mascon-columns 2 --members 2 --global-members 2 --lags 1 --folds 2".split()


@dataclass(frozen=True)
class Noted(Plan):
    """Keeps the digest of everything that would be made."""

    digests: dict[str, str] = field(default_factory=dict)

    def stage(self, stage: Stage) -> StoreRef:
        self.digests[stage.name] = stage.digest
        return super().stage(stage)

    def train(self, training: Training, **cost: float) -> list[str]:
        self.digests[training.name] = training.digest
        return super().train(training, **cost)


def planned(words: list[str]) -> dict[str, str]:
    config = GraceConfig.parse([*words, "--dry-run"])
    noted = Noted(config)
    grace_downscale.plan(config, noted)
    return noted.digests


def changed(words: list[str], change: Callable[[], None]) -> set[str]:
    before = planned(words)
    change()
    after = planned(words)
    assert before.keys() == after.keys()
    return {name for name, digest in before.items() if after[name] != digest}


def test_gridded(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*SMALL, "--experiment", "synthetic_t2"]
    found = changed(words, lambda: monkeypatch.setattr(lstm, "NETS_VERSION", -1))
    assert {"global_lstm_t2", "share_global_lstm_t2", "downscaled_global_lstm_t2"} <= found
    assert all("global_lstm" in name for name in found)
    other = partial(GlobalSettings, steps=7)
    assert "global_lstm_t2" in changed(words, lambda: monkeypatch.setattr(search, "GlobalSettings", other))


def test_basins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*write_table(tmp_path), "--experiment", "basins"]
    found = changed(words, lambda: monkeypatch.setattr(grace_basins, "NETS_VERSION", -1))
    assert {"basin_nets", "predicted_basin_nets", "members_basins"} <= found and "basin_lstm" not in found
    other = partial(GlobalTraining, span=7)
    assert "basin_nets" in changed(words, lambda: monkeypatch.setattr(grace_basins, "GlobalTraining", other))
