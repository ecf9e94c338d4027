"""The learning curve: our network fitted to parts of what it is fitted to, and asked about the same spectra."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from sciml.report.page import Illustration, Section
from sciml.stellar.experiments import Setup, scored_stars
from sciml.stellar.figures import learning_figure
from sciml.stellar.labels import LABELS
from sciml.stellar.networks import OURS, Settings
from sciml.stellar.paper import SHORT
from sciml.stellar.results import Results, read_answers
from sciml.stellar.scores import summarise
from sciml.stellar.steps import Scored
from sciml.stellar.tables import NAMES, name_of

PARTS = (1 / 16, 1 / 4)
_FEWEST = 8  # spectra of the bank for each of the directions whose noise it must tell


@dataclass(frozen=True)
class ScoredContinuous:
    """Spectra at continuous labels, counted from the first of them."""

    setup: Setup

    def __call__(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
        first = int(scored_stars(self.setup).where("continuous")[0])
        return Scored(self.setup)(first + start, first + stop)


def part_of(settings: Settings, part: float) -> Settings:
    """Settings of a network that is fitted to a part of the spectra, drawn ones and all that are shown, as often over
    these, and to a part of the table of atmospheres."""
    bank = max(round(part * settings.bank), _FEWEST * settings.components)
    fitted = replace(settings.estimating, spectra=max(round(part * settings.estimating.spectra), 1))
    steps = replace(settings.sciml, atmospheres=round(part * settings.sciml.atmospheres))
    return replace(settings, bank=min(bank, settings.bank), estimating=fitted, sciml=steps)


def seen(settings: Settings) -> int:
    """Spectra that a fit of ours sees, each with noise of its own."""
    return settings.estimating.epochs * settings.estimating.spectra


def learning_scores(results: Results, stores: Mapping[int, str], *, resamples: int, seed: int) -> dict[int, Any]:
    """Spectra seen -> summary of what the network then says. stores: spectra seen -> store of answers."""
    truth, found = results.truth("continuous"), {}
    for count, url in stores.items():
        found[count] = summarise(truth, {OURS: read_answers(url)}, resamples=resamples, seed=seed)[OURS]
    return found


def learning_keys(curve: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """`learning_curve` of metrics.json: spectra seen -> ratios and errors."""
    names = [f"{key}_{label}" for key in ("crb_ratio", "informed_ratio", "mae") for label in LABELS]
    kept = {str(n): {k: s[k] for name in names for k in (name, f"{name}_ci")} for n, s in sorted(curve.items())}
    return {"learning_curve": kept}


def learning_section(
    experiment: str, curve: Mapping[int, Mapping[str, Any]], flat: Mapping[str, Mapping[str, Any]], asked: float = 1.3
) -> Section:
    """curve: spectra seen -> summary, the whole training last; flat: method that learns nothing -> summary; asked: of
    the ratio to the bound that noise and the grid's ends set."""
    order = sorted(curve)
    gains = [
        f"{NAMES[label]} {', '.join(_two(curve[n][f'informed_ratio_{label}']) for n in order)}" for label in LABELS
    ]
    last = {label: curve[order[-1]][f"informed_ratio_{label}"] for label in LABELS}
    above = [NAMES[label] for label, ratio in last.items() if ratio is not None and ratio > asked]
    end = f"above the {asked:g} asked for in {', '.join(above)}" if above else f"within the {asked:g} asked for"
    text = (
        f"RMSE of {name_of(OURS)} over the least that noise and the grid's ends allow, after"
        f" {', '.join(f'{n:,}' for n in order)} spectra seen:"
        f" {'; '.join(gains)}. In the end it is {end}. Sigmas are not calibrated here; they do not enter."
    )
    picture = Illustration(
        f"{experiment.replace('_', '-')}-learning",
        learning_figure({OURS: curve}, flat, labels=SHORT),
        "RMSE over the least possible against spectra seen in training, with 95 % intervals; level line: the χ² fit,"
        " which learns nothing.",
        "Curves of the network by number of training spectra, a panel for each label.",
    )
    return Section(f"Learning curve: {experiment}", [text], [picture])


def _two(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"
