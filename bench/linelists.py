"""What a line list makes of a star that is known: the labels of one spectrum by each of several lists.

    python bench/linelists.py --spectrum observed_s1d.npz --star sun_harps_ganymede_2007 --about 5772,4.438,0 \
        --atmospheres atlas9_odfnew.tar.xz --linelists merged_raw.csv.gz,solar_calibrated.csv.gz

Model spectra are made in a box about the star, an emulator is fitted to them, and the star is measured as
`stellar_parameters --apply` does. An eighth of the models is left out of another emulator to see what it errs by.
Printed is answer less `--about`, with the sigma that the fit itself gives, and what no model explains.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from scipy.stats import qmc

from sciml.core.errors import InputError, ScimlError
from sciml.data.readers.spectra import read_file
from sciml.stellar.apply import measure
from sciml.stellar.calibration_spectra import left_out
from sciml.stellar.emulator import EmulatorSettings, fit_emulator
from sciml.stellar.grid import ModelSpectra
from sciml.stellar.labels import ATMOSPHERIC, LABELS, PARAMETERS, RANGES, usual_alpha, usual_vmic
from sciml.stellar.synthesis import Atlas9Synthesis, require_inputs

HALF_WIDTH = {"teff": 250.0, "logg": 0.4, "feh": 0.4, "vmic": 0.6, "alpha": 0.2}


def box(about: np.ndarray, count: int) -> np.ndarray:
    """(count, 7) points about (teff, logg, feh), within the grid, without rotation."""
    found = np.zeros((count, len(PARAMETERS)))
    centre = dict(zip(("teff", "logg", "feh"), about, strict=True))
    centre |= {"vmic": float(usual_vmic(*about[:, None])[0]), "alpha": float(usual_alpha(about[2:])[0])}
    unit = qmc.Sobol(len(ATMOSPHERIC), seed=0).random(count)
    for name, column in zip(ATMOSPHERIC, unit.T, strict=True):
        values = centre[name] + HALF_WIDTH[name] * (2 * column - 1)
        found[:, PARAMETERS.index(name)] = np.clip(values, *RANGES[name])
    return found


def synthesised(synthesis: Atlas9Synthesis, points: np.ndarray) -> ModelSpectra:
    rows = points[:, [PARAMETERS.index(name) for name in ATMOSPHERIC]]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        flux, epsilon = zip(*pool.map(synthesis, rows), strict=True)
    return ModelSpectra(points, np.stack(flux).astype(np.float32), np.array(epsilon))


def known(text: str) -> np.ndarray:
    """Teff, log g, [M/H] of "5772,4.438,0"."""
    values = [float(value) for value in text.split(",")]
    if len(values) != 3:
        raise ValueError(text)
    return np.array(values)


def compared(given: argparse.Namespace) -> int:
    """Print a line a list. Raises ScimlError for files that cannot be used, before anything is synthesised."""
    spectra = read_file(given.spectrum, resolution=given.resolving_power, only=given.star)
    if len(spectra) != 1:
        names = ", ".join(one.name for one in spectra)
        raise InputError(f"{given.spectrum}: {len(spectra)} spectra, expected one; choose by --star: {names}")
    made = {name: Atlas9Synthesis(given.atmospheres, name) for name in given.linelists.split(",")}
    for synthesis in made.values():
        require_inputs(synthesis)
    points, settings = box(given.about, given.models), EmulatorSettings(components=given.models // 2)
    for linelist, synthesis in made.items():
        models = synthesised(synthesis, points)
        star = measure(spectra[0], fit_emulator(models, settings, 0).eval(), model_error=(0.0,) * len(LABELS))
        if star.fit is None:
            print(f"{linelist}: not measured: {', '.join(star.flags)}")
            continue
        best = star.methods[0]
        apart = ", ".join(
            f"{name} {value:+.3f} +- {sigma:.3f}"
            for name, value, sigma in zip(LABELS, best.mean - np.append(given.about, 0.0), best.sigma, strict=True)
        )
        error = float(np.percentile(left_out(models, settings, 0)[1].abs().numpy(), 95))
        print(
            f"{linelist}: {apart}; misfit {100 * star.fit.misfit:.2f} % of the continuum, vmic {star.fit.best[4]:.2f}"
            f" km/s; emulator errs by {100 * error:.3f} %; flags: {', '.join(best.flags)}",
            flush=True,
        )
    return 0


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--spectrum", required=True, help="a file that stellar_parameters --apply reads")
    parser.add_argument("--star", default=None, help="which spectrum of an .npz")
    parser.add_argument("--about", type=known, default="5772,4.438,0", help="Teff, log g, [M/H] that are known")
    parser.add_argument("--resolving-power", type=float, default=None)
    parser.add_argument("--atmospheres", required=True)
    parser.add_argument("--linelists", required=True, help="one or several, by commas")
    parser.add_argument("--models", type=int, default=96)
    try:
        return compared(parser.parse_args(words))
    except ScimlError as error:
        print(f"linelists: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
