"""One experiment of `stellar_parameters` as its flows share it: who runs its stages, and what they depend on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.job import Engine, Plan
from cluster.stages import Stage
from cluster.train import Training
from sciml.core.digest import digest
from sciml.data.stores import Template
from sciml.stellar import steps
from sciml.stellar.config import StellarConfig
from sciml.stellar.experiments import Setup
from sciml.stellar.steps import SPECTRA_PER_ITEM, SpectrumBlock

MEMORY = 1_500_000_000  # bytes of a worker, asking or training


@dataclass(frozen=True)
class Task:
    """depends: what all results depend on beside the experiment's name."""

    config: StellarConfig
    engine: Engine | Plan
    setup: Setup
    depends: Mapping[str, Any]

    def stage(
        self,
        what: str,
        version: int,
        items: Sequence[SpectrumBlock],
        template: Template,
        function: Any,
        *,
        seconds: float,
        inputs: Mapping[str, Any],
    ) -> str:
        """URL of the store of a stage over spectra. seconds: of one core for one; inputs: what more it depends on."""
        return self.engine.stage(
            Stage(
                f"{what}_{self.setup.experiment.name}",
                version,
                items,
                template,
                function,
                config=self.config.result_fields("seed"),
                inputs={**self.depends, **inputs},
                seconds=seconds * SPECTRA_PER_ITEM,
                memory_bytes=MEMORY,
            )
        ).url

    def train(
        self,
        what: str,
        version: int,
        told: Any,
        function: Any,
        *,
        seconds: float,
        memory: float = MEMORY,
        together: bool = False,
    ) -> tuple[str, list[str]]:
        """Digest of a training and its checkpoints. told: its settings; together: all workers on one network."""
        training = Training(
            f"{what}_{self.setup.experiment.name}",
            digest([version, what, told, self.depends, self.config.seed]),
            function,
            together=together,
        )
        return training.digest, self.engine.train(training, seconds=seconds, memory_bytes=max(int(memory), MEMORY))


@dataclass(frozen=True)
class Answering:
    """How a method answers: where its answers to scored spectra are, its stage function, what that depends on beside
    the setup, and seconds a spectrum."""

    store: str
    function: steps.Answer
    inputs: Mapping[str, Any]
    seconds: float
