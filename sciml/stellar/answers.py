"""What methods say of stars, and what the stars are: the values that scores, calibration and figures are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sciml.core.errors import InputError
from sciml.stellar.labels import COUNT

Kind = Literal["continuous", "node"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Gaussians of one method over the labels of n spectra.

    mean: (n, 4) LABELS [K, dex, dex, km/s]; covariance: (n, 4, 4) in their units; flagged: (n,) bool, spectra that the
    method says are none of its grid's, where it says so.
    """

    mean: np.ndarray
    covariance: np.ndarray
    flagged: np.ndarray | None = None

    @property
    def sigma(self) -> np.ndarray:
        """(n, 4) standard deviations."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    def __len__(self) -> int:
        return len(self.mean)

    def select(self, index: np.ndarray) -> "Answers":
        """Some of the spectra."""
        flagged = None if self.flagged is None else self.flagged[index]
        return Answers(self.mean[index], self.covariance[index], flagged)


@dataclass(frozen=True, eq=False)
class Truth:
    """What n scored spectra are, each made from a direct synthesis.

    parameters: (n, 7) PARAMETERS; snr: (n,) per pixel; bound: (n, 4) Cramer-Rao standard deviation at the truth with
    the four labels free, inf where pixels do not tell; bayes: (n, 4) the Bayesian bound, with the grid's prior, finite;
    model: (n,) number of the synthesis: spectra of one share its faults, so whole syntheses are drawn for intervals;
    kind: labels between the grid's nodes, or at them.
    """

    parameters: np.ndarray
    snr: np.ndarray
    bound: np.ndarray
    bayes: np.ndarray
    model: np.ndarray
    kind: Kind = "continuous"

    @property
    def labels(self) -> np.ndarray:
        """(n, 4) LABELS."""
        return self.parameters[:, :COUNT]

    def __len__(self) -> int:
        return len(self.parameters)

    def select(self, index: np.ndarray) -> "Truth":
        """Some of the spectra."""
        columns = (self.parameters, self.snr, self.bound, self.bayes, self.model)
        return Truth(*(values[index] for values in columns), self.kind)


def require_spectra(who: str, shape: tuple[int, ...], flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> None:
    """Refuse what a trained method cannot be asked: spectra of another shape (order, pixel), numbers that are none."""
    if flux.shape[1:] != shape or mask.shape != flux.shape or snr.shape != flux.shape[:1]:
        raise InputError(
            f"{who}: spectra of shape {flux.shape} with masks {mask.shape} and SNR {snr.shape} found, expected"
            f" (n, {shape[0]}, {shape[1]}) twice and (n,); sample them as in training"
        )
    bad = ~np.isfinite(np.where(mask, flux, 1.0)).all((1, 2)) | ~(snr > 0)
    if bad.any():
        raise InputError(
            f"{who}: spectrum {int(np.flatnonzero(bad)[0])} has a pixel that is not finite though its mask says it was"
            " observed, or an SNR that is not positive; mask such pixels"
        )


def checked(truth: Truth, answers: Mapping[str, Answers]) -> None:
    """Raises InputError where a method left a spectrum out, answered without a number, or gave no covariance."""
    for name, found in answers.items():
        if found.mean.shape != (len(truth), COUNT) or found.covariance.shape != (len(truth), COUNT, COUNT):
            raise InputError(
                f"scores: {name}: mean {found.mean.shape}, covariance {found.covariance.shape} for {len(truth)}"
                f" spectra; expected ({len(truth)}, {COUNT}) and ({len(truth)}, {COUNT}, {COUNT}): every method answers"
                " every spectrum"
            )
        whole = np.isfinite(found.mean).all(1) & np.isfinite(found.covariance).all((1, 2))
        whole &= (np.diagonal(found.covariance, axis1=1, axis2=2) > 0).all(1)
        if not whole.all():
            first = int(np.argmin(whole))
            raise InputError(
                f"scores: {name}: spectrum {first}: labels {found.mean[first]}, variances"
                f" {np.diagonal(found.covariance[first])}; expected finite numbers and variances above 0"
            )


def mahalanobis(truth: Truth, answers: Answers) -> np.ndarray:
    """(n,) squared distance e^T Sigma^-1 e of the truth from the answer: chi-square with 4 degrees of freedom where the
    covariance is right."""
    sigma = answers.sigma
    error = (answers.mean - truth.labels) / sigma  # labels differ by 10^5 in size: correlations invert, covariances not
    correlation = answers.covariance / (sigma[:, :, None] * sigma[:, None, :])
    return np.einsum("ni,nij,nj->n", error, np.linalg.pinv(correlation, rcond=1e-12, hermitian=True), error)
