"""Whether attention maps say where a network looks: pixels they point at are deleted, and as many at other places.

Deleted pixels are masked, which every network sees as continuum. The other places are the same runs of pixels, each
order's moved along it by a random distance: single pixels among intact ones would be another, and harder, damage than
the runs that maps of pooled features point at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sciml.core.seeds import seed_for
from sciml.data.readers.linelist import read_linelist, strongest
from sciml.data.stores import Template, Variable
from sciml.metrics.bootstrap import draws, percentile_interval
from sciml.nn.checkpoint import load_checkpoint
from sciml.stellar.experiments import Setup, scored_stars, spectra
from sciml.stellar.labels import LABELS
from sciml.stellar.networks import Asked, Settings
from sciml.stellar.steps import SPECTRA_PER_ITEM, SpectrumBlock
from sciml.stellar.wavelengths import GRID

DELETED = 0.05  # of the pixels observed
DRAWS = 8  # of other places
SPECTRA = 256  # that are tried, one of each synthesis where there are as many
DELETION_VERSION = 1
CASES = ("whole", "attended", *(f"elsewhere {k}" for k in range(DRAWS)))
_SPECIES = {"Fe 1": "Fe I", "Fe 2": "Fe II", "Mg 1": "Mg I", "Ti 2": "Ti II", "Cr 1": "Cr I", "Ca 1": "Ca I"}
_NAMED = 45  # lines


class Attending(Protocol):
    """A method that answers as `networks.Asked` does and shows its maps."""

    def __call__(self, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    def maps(self, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Deletion:
    """Stage function: errors of an attention network on whole spectra, and on such with deleted pixels."""

    setup: Setup
    method: str
    settings: Settings
    checkpoints: tuple[str, ...]

    def __call__(self, item: SpectrumBlock) -> dict[str, np.ndarray]:
        tried = tried_spectra(self.setup)[item.spectrum_start : item.spectrum_stop]
        first, last = int(tried[0]), int(tried[-1]) + 1
        flux, _, mask = (part.numpy() for part in spectra(self.setup, first, last))
        everyone = scored_stars(self.setup)
        asked = attending(self.setup, self.method, self.settings, self.checkpoints)
        seeds = [seed_for(self.setup.seed, self.setup.experiment.name, "deletion", int(star)) for star in tried]
        labels = everyone.parameters[first:last, : len(LABELS)]
        return {"error": errors(asked, flux, everyone.snr[first:last], mask, labels, seeds)}


def attending(setup: Setup, method: str, settings: Settings, checkpoints: Sequence[str]) -> Asked:
    """A trained network."""
    return Asked(method, settings, setup.forward().shape, [load_checkpoint(url) for url in checkpoints])


def tried_spectra(setup: Setup) -> np.ndarray:
    """Numbers of the spectra, one after another: the first ones at continuous labels."""
    return scored_stars(setup).where("continuous")[:SPECTRA]


def deletion_template(count: int) -> Template:
    """Store of errors."""
    return Template(
        {"spectrum": count, "case": len(CASES), "label": len(LABELS)},
        {
            "error": Variable(
                ("spectrum", "case", "label"), "K, dex, dex, km/s", f"absolute error: {', '.join(CASES)}",
                dtype="float64",
            )
        },
        {"spectrum": SPECTRA_PER_ITEM},
    )  # fmt: skip


def errors(
    method: Attending, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray, labels: np.ndarray, seeds: Sequence[int]
) -> np.ndarray:
    """(n, case, 4) absolute errors. flux, mask: (n, order, pixel); labels: (n, 4) the truth; seeds: (n,)."""
    attention = method.maps(flux, snr, mask).mean(1)
    gone = np.stack([deleted(*given) for given in zip(attention, mask, seeds, strict=True)], 1)
    left = [mask, *(mask & ~case for case in gone)]
    return np.stack([np.abs(method(flux, snr, there)[0] - labels) for there in left], 1)


def deleted(attention: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
    """(1 + DRAWS, order, pixel) which pixels of those observed are deleted: the most attended ones, ties by lot; and as
    many of each order, in the same runs, elsewhere."""
    generator = np.random.default_rng(seed)
    lot = generator.permutation(attention.size).reshape(attention.shape)
    order = np.lexsort((lot.ravel(), np.where(mask, -attention, np.inf).ravel()))
    found = np.zeros((1 + DRAWS, *attention.shape), bool)
    found[0].ravel()[order[: round(DELETED * mask.sum())]] = True
    for row, there in enumerate(mask):
        places = np.flatnonzero(there)
        if len(places) > 1:
            for case in range(1, 1 + DRAWS):
                found[case, row, places] = np.roll(found[0, row, places], generator.integers(1, len(places)))
    return found


def deletion_scores(error: np.ndarray, model: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """`deletion_ratio_LABEL`: mean error with attended pixels deleted over that with others deleted, and its 95 %
    interval over syntheses (`_ci`); `deletion_error_LABEL`: mean error of whole spectra, and of these two.

    error: (n, case, 4); model: (n,) number of each spectrum's synthesis.
    """
    sums = np.stack([error[:, 0], error[:, 1], error[:, 2:].mean(1)], 1)  # (n, 3, 4)
    numbers, place = np.unique(model, return_inverse=True)
    by_model = np.zeros((len(numbers), *sums.shape[1:]))
    np.add.at(by_model, place, sums)
    counts = draws(np.arange(len(numbers)), resamples=resamples, seed=seed, kind="syntheses").astype(float)
    sample = np.einsum("rm,mcl->rcl", counts, by_model)
    found: dict[str, Any] = {}
    for i, label in enumerate(LABELS):
        found[f"deletion_ratio_{label}"] = float(sums[:, 1, i].sum() / sums[:, 2, i].sum())
        interval = percentile_interval(sample[:, 1, i] / sample[:, 2, i])
        found[f"deletion_ratio_{label}_ci"] = [float(end) for end in interval] if len(numbers) > 1 else [None, None]
        found[f"deletion_error_{label}"] = sums[:, :, i].mean(0).tolist()
    return found


def named_lines(linelist: str) -> list[tuple[float, str]]:
    """Strong lines of a list, to be found in a figure: (wavelength [A, air], name)."""
    table = read_linelist(linelist, (GRID.wave[0], GRID.wave[-1]))
    table = table[table["wlcent"].between(GRID.wave[0], GRID.wave[-1])]
    part = strongest(table, list(_SPECIES), _NAMED)
    return [(float(wave), _SPECIES[species]) for wave, species in zip(part["wlcent"], part["species"], strict=True)]
