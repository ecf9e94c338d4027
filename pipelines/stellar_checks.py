"""The stages that look into trained networks: pixels deleted where attention networks look, the learning curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.stellar_task import Answering, Task
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
from sciml.stellar.experiments import Setup, lines_span, scored_stars
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
        return [attention_section(self.setup, settings, checkpoints, told, _lines(config, self.setup))]


def deletions(task: Task, answered: Mapping[str, Answering]) -> Deletions:
    """Delete pixels of each attention network's spectra. answered: method -> how it answered scored spectra."""
    setup, stores, functions = task.setup, {}, {}
    count = len(tried_spectra(setup))
    for method, how in answered.items():
        if "attention" not in method:
            continue
        functions[method] = Deletion(setup, method, how.function.settings, how.function.checkpoints)
        stores[method] = task.stage(
            f"deletion_{method}",
            DELETION_VERSION,
            [SpectrumBlock(*span) for span in spans(count, SPECTRA_PER_ITEM)],
            deletion_template(count),
            functions[method],
            seconds=how.seconds * len(CASES),
            inputs=how.inputs,
        )
    return Deletions(setup, stores, functions)


def learning(task: Task, answered: Mapping[str, Answering]) -> dict[int, str]:
    """Fit parts of our network and let each answer for spectra at continuous labels: spectra seen -> store; none where
    it was not asked for."""
    if not task.config.learning_curve:
        return {}
    setup, how, stores = task.setup, answered[OURS], {}
    count = len(scored_stars(setup).where("continuous"))
    for part in PARTS:
        settings, name = part_of(how.function.settings, part), f"{OURS}_{round(1 / part)}th"
        function, seconds = TrainNetwork(setup, OURS, settings), training_seconds(OURS, settings)
        trained, checkpoints = task.train(
            name, NETS_VERSION, settings.of(OURS), function, seconds=seconds, together=True
        )
        stores[seen(settings)] = task.stage(
            name,
            ANSWERS_VERSION,
            [SpectrumBlock(*span) for span in spans(count, SPECTRA_PER_ITEM)],
            answers_template(count),
            Answer(setup, OURS, settings, tuple(checkpoints), ScoredContinuous(setup)),
            seconds=how.seconds,
            inputs={"training": trained},
        )
    return stores


def _lines(config: StellarConfig, setup: Setup) -> Sequence[tuple[float, str]]:
    """To be named: of the run's list, or well known ones that model spectra have; generated lines have no names."""
    if config.source == "generated":
        return ()
    if config.linelist:
        return named_lines(config.linelist)
    low, high = lines_span(setup.nodes)
    return [line for line in LINES if low <= line[0] <= high]
