"""From the stores of an experiment to what is scored: truths, and every method's calibrated answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sciml.data.stores import open_store
from sciml.stellar.answers import Answers, Truth
from sciml.stellar.calibration import Calibration, fit_calibration
from sciml.stellar.calibration_spectra import GRID_STARS, CalibrationSpectra, calibration_stars
from sciml.stellar.experiments import Kind, Stars, scored_stars
from sciml.stellar.labels import LABELS


@dataclass(frozen=True, eq=False)
class Results:
    """stars: the spectra; bound, bayes (n, 4); answers: method -> as it gave them; calibrations: method -> how its
    sigmas are corrected, fitted on the calibration split alone; calibrated_on: its spectra."""

    stars: Stars
    bound: np.ndarray
    bayes: np.ndarray
    answers: Mapping[str, Answers]
    calibrations: Mapping[str, Calibration]
    calibrated_on: int

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


def read_results(
    which: CalibrationSpectra, bound: str, answers: Mapping[str, str], split: Mapping[str, str]
) -> Results:
    """Results of an experiment. bound: its store; answers: method -> store of its answers; split: the same of `which`,
    on whose stars at the experiment's signal to noise sigmas are calibrated."""
    setup = which.setup
    with open_store(bound) as store:
        least, bayes = store["bound"].values, store["bayes"].values
    apart = calibration_stars(which)
    used = np.flatnonzero((apart.kind == GRID_STARS) & (apart.snr == setup.experiment.snr))
    labels = apart.parameters[used, : len(LABELS)]
    calibrations = {
        name: fit_calibration(labels, read_answers(url).select(used), apart.snr[used]) for name, url in split.items()
    }
    given = {name: read_answers(url) for name, url in answers.items()}
    return Results(scored_stars(setup), least, bayes, given, calibrations, len(used))


def read_answers(url: str) -> Answers:
    """What a store of `steps.Answer` holds."""
    with open_store(url) as store:
        return Answers(store["mean"].values, store["covariance"].values)
