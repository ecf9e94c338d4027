"""The emulator on the page: what it is off by against direct syntheses, beside what it may be."""

import numpy as np

from sciml.report.page import Cell, Section, Table
from sciml.stellar.emulator_check import EmulatorErrors
from sciml.stellar.labels import LABELS
from sciml.stellar.tables import NAMES

MOST_PIXEL, MOST_BIAS = 0.005, 0.3  # of the continuum, and of sigma at SNR 100
LEAST_CPU, LEAST_GPU = 2_000, 100_000  # spectra a second
BANDS = ((3500, 4250), (4250, 5000), (5000, 6000), (6000, 9750))  # [K]
_WORDS = {True: "kept", False: "missed", None: "–"}


def emulator_section(errors: EmulatorErrors, cpu: float, gpu: float | None = None) -> Section:
    """cpu, gpu: spectra a second. Biases are the medians over models of their sizes, the 95th percentile in small."""
    rows = [
        ("95th percentile of a pixel's error", f"{100 * errors.everywhere:.3f} % of the continuum",
         f"≤ {100 * MOST_PIXEL:g} %", errors.everywhere <= MOST_PIXEL),
        ("99.9th percentile", f"{100 * errors.worst:.3f} %", "–", None),
    ]  # fmt: skip
    for title, speed, least in (("CPU", cpu, LEAST_CPU), ("GPU", gpu, LEAST_GPU)):
        if speed is not None:
            rows.append((f"spectra a second, {title}", f"{speed:,.0f}", f"≥ {least:,}", speed >= least))
    middle = float(np.median(np.abs(errors.bias)))
    rows.append(
        ("error induced in a label at SNR 100, median", f"{middle:.2f} σ", f"≤ {MOST_BIAS} σ", middle <= MOST_BIAS)
    )
    missed = [title for title, _, _, kept in rows if kept is False]
    text = f"The emulator against {len(errors.parameters):,} direct syntheses that it did not learn from: "
    text += "within all its limits." if not missed else f"outside its limit in {'; '.join(missed)}."
    cells = [[Cell(a), Cell(b), Cell(c), Cell(_WORDS[kept])] for a, b, c, kept in rows]
    return Section(
        "Emulator", [text], [Table("Emulator against synthesis", ["", "found", "limit", ""], cells), _biases(errors)]
    )


def _biases(errors: EmulatorErrors) -> Table:
    teff, kinds = errors.parameters[:, 0], errors.parameters[:, 4:6]
    plain = (kinds == (2.0, 0.0)).all(1)  # as the paper has them
    rows = []
    for name, of_kind in (("as in the paper", plain), ("with nuisances", ~plain)):
        for low, high in BANDS:
            chosen = np.abs(errors.bias[of_kind & (teff >= low) & (teff <= high)])
            if len(chosen):
                most = np.percentile(chosen, (50, 95), axis=0).T
                found = [Cell(f"{half:.2f} σ", detail=f"{top:.2f}") for half, top in most]
                rows.append([Cell(f"{low}–{high} K, {name}"), Cell(f"{len(chosen):,}"), *found])
    caption = "Error induced in labels at SNR 100, of their Cramér-Rao sigma: median, and 95th percentile"
    return Table(caption, ["stars", "models", *(NAMES[label] for label in LABELS)], rows)
