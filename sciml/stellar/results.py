"""From the stores of an experiment to what is scored: truths, and every method's calibrated answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sciml.data.stores import open_store
from sciml.stellar.answers import Answers, Truth
from sciml.stellar.calibration import Calibration, fit_calibration
from sciml.stellar.experiments import Kind, Setup, Stars, scored_stars
from sciml.stellar.labels import LABELS


@dataclass(frozen=True, eq=False)
class Results:
    """stars: the spectra; bound, bayes (n, 4); answers: method -> as it gave them; calibrations: method -> how its
    sigmas are corrected, fitted on the calibration split alone."""

    stars: Stars
    bound: np.ndarray
    bayes: np.ndarray
    answers: Mapping[str, Answers]
    calibrations: Mapping[str, Calibration]

    def truth(self, kind: Kind, snr: float | None = None) -> Truth:
        """What the spectra of a kind are, of one SNR if it is given."""
        at = self._at(kind, snr)
        columns = (self.stars.parameters, self.stars.snr, self.bound, self.bayes, self.stars.model)
        return Truth(*(values[at] for values in columns), kind="node" if kind == "node" else "continuous")

    def calibrated(self, kind: Kind, snr: float | None = None) -> dict[str, Answers]:
        """Every method's answers to the spectra of a kind, their sigmas corrected."""
        at = self._at(kind, snr)
        return {
            name: self.calibrations[name].apply(found.select(at), self.stars.snr[at])
            for name, found in self.answers.items()
        }

    def _at(self, kind: Kind, snr: float | None) -> np.ndarray:
        at = self.stars.where(kind)
        return at if snr is None else at[self.stars.snr[at] == snr]


def read_results(setup: Setup, stores: Mapping[str, str]) -> Results:
    """Results of an experiment's stores: `bound`, and each method's answers."""
    stars = scored_stars(setup)
    with open_store(stores["bound"]) as store:
        bound, bayes = store["bound"].values, store["bayes"].values
    answers = {}
    for name, url in stores.items():
        if name != "bound":
            with open_store(url) as store:
                answers[name] = Answers(store["mean"].values, store["covariance"].values)
    split = stars.where("calibration")
    labels = stars.parameters[split, : len(LABELS)]
    calibrations = {
        name: fit_calibration(labels, found.select(split), stars.snr[split]) for name, found in answers.items()
    }
    return Results(stars, bound, bayes, answers, calibrations)
