"""The stages that look into trained networks: pixels deleted where attention networks look, the learning curve."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cluster.job import Engine, Plan
from cluster.stages import Stage
from cluster.train import Training
from pipelines.stellar_flags import Answering
from sciml.core.digest import digest
from sciml.data.stores import open_store, spans
from sciml.report.page import Section
from sciml.stellar.attention_check import (
    CASES,
    DELETION_VERSION,
    Deletion,
    deletion_scores,
    deletion_template,
    named_lines,
    tried_spectra,
)
from sciml.stellar.attention_page import attention_section
from sciml.stellar.config import StellarConfig
from sciml.stellar.experiments import Setup, scored_stars
from sciml.stellar.learning import PARTS, ScoredContinuous, part_of, seen
from sciml.stellar.networks import NETS_VERSION, OURS
from sciml.stellar.spectrum_figures import LINES
from sciml.stellar.steps import (
    ANSWERS_VERSION,
    SPECTRA_PER_ITEM,
    Answer,
    SpectrumBlock,
    TrainNetwork,
    answers_template,
    training_seconds,
)

MEMORY = 1_500_000_000


@dataclass(frozen=True)
class Deletions:
    """stores: attention network -> its store of errors with deleted pixels; functions: what made them."""

    setup: Setup
    stores: Mapping[str, str]
    functions: Mapping[str, Deletion]

    def scores(self, seed: int) -> dict[str, dict[str, Any]]:
        """Network -> keys for metrics.json."""
        model = scored_stars(self.setup).model[tried_spectra(self.setup)]
        found = {}
        for name, url in self.stores.items():
            with open_store(url) as store:
                found[name] = deletion_scores(store["error"].values, model, seed=seed)
        return found

    def sections(self, config: StellarConfig, scores: Mapping[str, Mapping[str, Any]]) -> list[Section]:
        """scores: of all methods, with the keys of `scores`."""
        if not self.stores:
            return []
        settings = next(iter(self.functions.values())).settings
        checkpoints = {name: function.checkpoints for name, function in self.functions.items()}
        told = {name: scores[name] for name in self.stores}
        return [attention_section(self.setup, settings, checkpoints, told, _lines(config))]


def deletions(
    config: StellarConfig,
    engine: Engine | Plan,
    setup: Setup,
    depends: Mapping[str, Any],
    answered: Mapping[str, tuple[str, Answering]],
) -> Deletions:
    """Delete pixels of each attention network's spectra. answered: method -> its store and how it answers."""
    count, stores, functions = len(tried_spectra(setup)), {}, {}
    for method, (_, how) in answered.items():
        if "attention" not in method:
            continue
        functions[method] = Deletion(setup, method, how.function.settings, how.function.checkpoints)
        stores[method] = engine.stage(
            Stage(
                f"deletion_{method}_{setup.experiment.name}",
                DELETION_VERSION,
                [SpectrumBlock(*span) for span in spans(count, SPECTRA_PER_ITEM)],
                deletion_template(count),
                functions[method],
                config=config.result_fields("seed"),
                inputs={**depends, **how.inputs},
                seconds=SPECTRA_PER_ITEM * how.seconds * len(CASES),
                memory_bytes=MEMORY,
            )
        ).url
    return Deletions(setup, stores, functions)


def learning(
    config: StellarConfig,
    engine: Engine | Plan,
    setup: Setup,
    depends: Mapping[str, Any],
    answered: Mapping[str, tuple[str, Answering]],
) -> dict[int, str]:
    """Fit parts of our network and let each answer for spectra at continuous labels: spectra seen -> store; none where
    it was not asked for."""
    if not config.learning_curve:
        return {}
    how, stores = answered[OURS][1], {}
    count = len(scored_stars(setup).where("continuous"))
    for part in PARTS:
        settings, name = part_of(how.function.settings, part), f"{OURS}_{round(1 / part)}th_{setup.experiment.name}"
        training = Training(
            name,
            digest([NETS_VERSION, OURS, asdict(settings), depends, config.seed]),
            TrainNetwork(setup, OURS, settings),
        )
        seconds = part * training_seconds(OURS, settings)
        checkpoints = engine.train(training, seconds=seconds, memory_bytes=MEMORY)
        stores[seen(settings)] = engine.stage(
            Stage(
                name,
                ANSWERS_VERSION,
                [SpectrumBlock(*span) for span in spans(count, SPECTRA_PER_ITEM)],
                answers_template(count),
                Answer(setup, OURS, settings, tuple(checkpoints), ScoredContinuous(setup)),
                config=config.result_fields("seed"),
                inputs={**depends, "training": training.digest},
                seconds=SPECTRA_PER_ITEM * how.seconds,
                memory_bytes=MEMORY,
            )
        ).url
    return stores


def _lines(config: StellarConfig) -> Sequence[tuple[float, str]]:
    """To be named: of the run's list, or well known ones; generated lines have no names."""
    if config.source == "generated":
        return ()
    return named_lines(config.linelist) if config.linelist else LINES
