"""Stars whose labels are known otherwise, to hold measurements against; by name.

Values were fixed before any of these stars was measured. Checked since, against copies of the papers' tables: all of
Soubiran et al. 2024; of Heiter et al. 2015 and Jofre et al. 2014 those of 61 Cyg B, and teff and feh of Aldebaran. The
others are written from memory and could not be checked: they carry `checked=False`.
"""

import re
from dataclasses import dataclass

import numpy as np

from sciml.stellar.labels import LABELS

_HEITER = "Heiter et al. 2015, A&A 582, A49; [Fe/H] Jofre et al. 2014, A&A 564, A133"
_SOUBIRAN = "Soubiran et al. 2024, A&A 682, A145"


@dataclass(frozen=True)
class Known:
    """teff [K], logg, feh [dex] and their standard deviations, and where they are from. checked: against the source or
    a copy of its table."""

    values: tuple[float, float, float]
    sigma: tuple[float, float, float]
    source: str
    checked: bool = True


@dataclass(frozen=True)
class Benchmark:
    """known: what is compared with. others: what other sources say, which shows how well it is known. calibrates:
    whether the line list was calibrated on this star, so that it tests nothing. pattern: of names in files,
    in small letters, with blanks for hyphens and underscores."""

    name: str
    pattern: str
    known: Known
    others: tuple[Known, ...] = ()
    calibrates: bool = False


# interferometric temperatures throughout; Soubiran's metallicities come without sigma: 0.05 stands for it
BENCHMARKS = (
    Benchmark(
        "Sun",
        r"sun|solar|ganymede|vesta|ceres|moon",
        Known((5772.0, 4.438, 0.0), (1.0, 0.001, 0.01), "IAU 2015 resolution B3 (Prsa et al. 2016, AJ 152, 41)"),
        calibrates=True,
    ),
    Benchmark(
        "bet Hyi",
        r"beta? ?hyi|hd ?2151|hip ?2021",
        Known((5917.0, 3.97, -0.12), (25.0, 0.04, 0.05), _SOUBIRAN),
        (Known((5873.0, 3.98, -0.04), (45.0, 0.02, 0.06), _HEITER, checked=False),),
    ),
    Benchmark(
        "HD 175305",
        r"hd ?175305|hip ?92167",
        Known((4902.0, 2.53, -1.45), (30.0, 0.02, 0.05), _SOUBIRAN),
    ),
    Benchmark(
        "HD 189733",
        r"hd ?189733|hip ?98505",
        Known(
            (4875.0, 4.56, -0.03),
            (43.0, 0.03, 0.08),
            "Boyajian et al. 2015, MNRAS 447, 846; [Fe/H] Torres et al. 2008, ApJ 677, 1324",
            checked=False,
        ),
        (Known((5040.0, 4.587, -0.03), (50.0, 0.015, 0.08), "Torres et al. 2008, ApJ 677, 1324", checked=False),),
    ),
    Benchmark(
        "61 Cyg B",
        r"61 ?cyg ?b|hd ?201092|hip ?104217",
        Known((4174.0, 4.68, -0.21), (47.0, 0.02, 0.05), _SOUBIRAN),
        (Known((4044.0, 4.67, -0.38), (32.0, 0.04, 0.03), _HEITER),),
    ),
    Benchmark(
        "Aldebaran",
        r"aldebaran|(alf|alpha) ?tau|hd ?29139|hip ?21421",
        Known((3921.0, 1.17, -0.20), (80.0, 0.05, 0.05), _SOUBIRAN),
        (Known((3927.0, 1.11, -0.37), (40.0, 0.19, 0.17), _HEITER, checked=False),),
    ),
)


def benchmark(name: str) -> Benchmark | None:
    """The star that a name in a file stands for."""
    plain = re.sub(r"[\s_\-]+", " ", name).lower()
    return next((star for star in BENCHMARKS if re.search(rf"(?<![a-z0-9])({star.pattern})(?![a-z0-9])", plain)), None)


def errors(star: Benchmark, mean: np.ndarray) -> np.ndarray:
    """(3,) measured less known teff, logg, feh. mean: (4,) LABELS."""
    return np.asarray(mean, float)[: len(LABELS) - 1] - np.array(star.known.values)
