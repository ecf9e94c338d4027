"""The stages of flags: the best fit to every spectrum, once for all methods; how far strangers are from the grid."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from sciml.data.stores import Template, Variable, open_store
from sciml.stellar.calibration_spectra import CalibrationSpectra
from sciml.stellar.consistency import WIDTHS, Fits, best_fits
from sciml.stellar.experiments import Setup
from sciml.stellar.forward import ForwardModel
from sciml.stellar.labels import LABELS
from sciml.stellar.refit import Fitting
from sciml.stellar.steps import SPECTRA_PER_ITEM, Scored, SpectrumBlock
from sciml.stellar.strangers import distance, nearest_fits

FITS_VERSION = 2  # raise it where the same spectra get other fits
_LIBRARY = 512  # spectra of the grid from which the nearest to a stranger is sought
_MUCH = 5.0  # standard deviations of noise that a fit leaves over, at which another start is tried


@dataclass(frozen=True)
class FitSpectra:
    """Stage function: best fits to a block of spectra from what the chi-square fit answered. answers: its store. seen:
    other spectra than the experiment's."""

    setup: Setup
    answers: str
    seen: CalibrationSpectra | None = None

    def __call__(self, item: SpectrumBlock) -> Mapping[str, np.ndarray]:
        start, stop = item.spectrum_start, item.spectrum_stop
        flux, sigma, mask, _ = (self.seen or Scored(self.setup))(start, stop)
        noise = torch.where(mask, sigma, torch.inf)
        with open_store(self.answers) as store:
            mean = store["mean"].values[start:stop]
        forward, fitting = self.setup.forward(), self.setup.experiment.fitting
        fits = _fits(forward, flux, noise, mean, fitting)
        away = np.full(stop - start, np.nan)
        if self.seen is not None and stop > self.seen.count:
            first = max(self.seen.count, start)
            strange = slice(first - start, None)
            away[strange] = distance(forward, self.seen.clean(first, stop), noise[strange], fitting, _LIBRARY)
        return {
            "snr": fits.snr,
            "scatter": fits.scatter,
            "lines": fits.lines[:, 0],
            "means": fits.means,
            "wanted": fits.wanted,
            "photons": fits.photons,
            "beyond": fits.beyond,
            "distance": away,
        }


def _fits(forward: ForwardModel, flux: Tensor, noise: Tensor, start: np.ndarray, fitting: Fitting) -> Fits:
    """Best fits from starts, and where those leave much over, from what of the grid is nearest: a start may have been
    wrong, or led into a minimum that is not the least."""
    fits = best_fits(forward, flux.numpy(), noise.numpy(), start, fitting)
    bad = np.flatnonzero(((fits.scatter - 1) / np.sqrt(2 / fits.means)).max(1) > _MUCH)
    if not len(bad):
        return fits
    other = nearest_fits(forward, flux[bad], noise.broadcast_to(flux.shape)[bad], fitting, _LIBRARY)
    better = fits.select(bad).better(other)
    for field in fields(Fits):
        getattr(fits, field.name)[bad] = getattr(better, field.name)
    return fits


def fits_template(count: int, free: int) -> Template:
    """Store of `FitSpectra`. free: parameters of a fit."""
    one, width = ("spectrum",), ("spectrum", "width")
    return Template(
        {"spectrum": count, "width": len(WIDTHS), "label": len(LABELS), "label_": len(LABELS), "end": 2, "free": free},
        {
            "snr": Variable(one, "1", "median signal to noise of pixels", dtype="float64"),
            "scatter": Variable(width, "1", "mean square of the residual's means over that of noise", dtype="float64"),
            "lines": Variable(one, "1", "mean square depth of lines over that of noise", dtype="float64"),
            "means": Variable(width, "1", "number of means", dtype="float64"),
            "wanted": Variable(("spectrum", "label"), "K, dex, dex, km/s", "best fit without ends", dtype="float64"),
            "photons": Variable(("spectrum", "label", "label_"), "1", "covariance of the fit", dtype="float64"),
            "beyond": Variable(("spectrum", "end", "free"), "1", "of the fit past each end, sigmas", dtype="float64"),
            "distance": Variable(one, "1", "to the nearest of the grid, sigmas", dtype="float64", may_be_missing=True),
        },
        {"spectrum": SPECTRA_PER_ITEM},
    )


def read_fits(url: str) -> tuple[Fits, np.ndarray]:
    """Fits of a store, and distances (n,), NaN for spectra of the grid."""
    with open_store(url) as store:
        values = {name: store[name].values for name in store.data_vars}
    away = values.pop("distance")
    values["lines"] = np.tile(values["lines"][:, None], (1, len(WIDTHS)))
    return Fits(**values), away
