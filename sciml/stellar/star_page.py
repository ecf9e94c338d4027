"""The page of measured stars: their labels, those that are known otherwise, how the best models fit, what failed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sciml.report.page import Cell, Illustration, Section, Table, provenance
from sciml.report.results import Finding, write_report
from sciml.stellar import observed, report, spectrum_figures
from sciml.stellar.apply import CHI2, COOLEST, MEANING, METHODS_DISAGREE, Measured, doubts
from sciml.stellar.benchmarks import Benchmark, Known, benchmark
from sciml.stellar.config import StellarConfig
from sciml.stellar.labels import LABELS, UNITS
from sciml.stellar.paper import SHORT
from sciml.stellar.star_record import Record
from sciml.stellar.tables import DIGITS, NAMES, name_of
from sciml.stellar.trained import OBSERVED, TrainedRun, read_trained

MOST_ROWS, MOST_FIGURES = 60, 8  # of the page; tables in files hold all
MOST_LETTERS = 16  # of a file's name
USUAL_POWER = 115_000.0
CONSISTENCY = "internal consistency only"
Named = tuple[str, Record]  # where a spectrum came from, and what was found


def drawn(stars: Sequence[Record]) -> set[int]:
    """Which stars the page draws: known ones first, then those whose best model fits worst."""
    fitted = [row for row, star in enumerate(stars) if np.isfinite(star.misfit)]
    wanted = sorted(fitted, key=lambda row: (benchmark(stars[row].name) is None, -stars[row].misfit))
    return set(wanted[:MOST_FIGURES])


def write(
    config: StellarConfig,
    run_url: str,
    stores: Mapping[str, str],
    stars: Sequence[Named],
    shown: Mapping[int, Record],
    failed: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """Page, scores.parquet and metrics.json of a run; the page's URL. shown: row of `stars` -> it with its spectrum;
    failed: file -> reason."""
    trained = read_trained(config.checkpoint)
    titles = _titles(stars)
    findings = [_measured(stars, titles, failed, [*_asked(trained), *notes])]
    fits = [_fit(titles[row], star) for row, star in sorted(shown.items())]
    known = [row for row, (_, star) in enumerate(stars) if benchmark(star.name)]
    if known:
        findings.append(_known(stars, titles, known))
    more = [_fits_section(fits)] if fits else []
    facts = provenance(
        data={"spectra": config.apply, "checkpoint": config.checkpoint},
        split={},
        sample_size={"spectra": len(stars), "spectra that could not be measured": len(failed)},
        seed=config.seed,
        stores=stores,
        config=config.model_dump(mode="json"),
        packages=("sciml", "numpy", "scipy", "torch", "xarray", "zarr", "ray", "astropy"),
    )
    return write_report(
        run_url,
        config.pipeline,
        "Stellar parameters of observed spectra",
        findings,
        facts,
        [*more, report.limits_section()],
    )


def _titles(stars: Sequence[Named]) -> list[str]:
    """Name of each star; with the end of its file's where several are called so."""
    count = Counter(star.name for _, star in stars)
    return [star.name if count[star.name] == 1 else f"{star.name} ({_ending(file)})" for file, star in stars]


def _ending(file: str) -> str:
    name = file.rsplit("/", 1)[-1]
    return name if len(name) <= MOST_LETTERS else "…" + name[-MOST_LETTERS:]


def _asked(trained: TrainedRun) -> list[str]:
    """What answers and what it learned from."""
    said = []
    if trained.source == "generated":
        said.append(
            "The model spectra have generated lines: only spectra made from those can be measured with them, no star."
        )
    chosen = trained.chosen
    if chosen is None:
        return [*said, "The training run has no networks: the χ² fit alone answers."]
    names = ", ".join(name_of(one.name) for one in chosen.networks)
    told = f"Networks asked: {names}, of experiment {chosen.experiment}."
    if chosen.experiment != OBSERVED:
        told += (
            " Their training spectra had no more than noise; the run has none of experiment observed, in which"
            " velocities, continuum, air and detector are as in real ones: expect them to be off."
        )
    return [*said, told]


def _measured(
    stars: Sequence[Named], titles: Sequence[str], failed: Mapping[str, str], paragraphs: Sequence[str]
) -> Finding:
    answers: dict[str, list[Measured]] = {}
    for _, star in stars:
        for one in star.methods:
            answers.setdefault(one.method, []).append(one)
    scores: dict[str, dict[str, Any]] = {
        method: {
            "n": len(given),
            "n_answered": sum(bool(np.isfinite(one.mean).all()) for one in given),
            "n_flagged": sum(bool(doubts(one.flags)) for one in given),
            "n_failed": len(failed),
            "flags": dict(Counter(flag for one in given for flag in one.flags)),
        }
        for method, given in answers.items()
    }
    rows = [
        {"experiment": "stars", "model": one.method, "unit": title, "n": 1, "flags": ", ".join(one.flags)}
        | {f"found_{label}": value for label, value in zip(LABELS, one.mean, strict=True)}
        | {f"sigma_{label}": value for label, value in zip(LABELS, one.sigma, strict=True)}
        for title, (_, star) in zip(titles, stars, strict=True)
        for one in star.methods
    ]
    best = scores[CHI2]
    summary = f"{len(stars)} spectra measured, {best['n_flagged']} of them with a flag that casts doubt on the labels"
    summary += f"; {len(failed)} could not be measured." if failed else "."
    blocks = [_table(stars, titles)]
    used = sorted({flag for _, star in stars for one in star.methods for flag in one.flags})
    if used:
        cells = [[Cell(flag), Cell(MEANING[flag])] for flag in used]
        blocks.append(Table("What the flags mean", ["flag", "meaning"], cells))
    if failed:
        cells = [[Cell(file.rsplit("/", 1)[-1]), Cell(reason)] for file, reason in list(failed.items())[:MOST_ROWS]]
        blocks.append(Table("Spectra that could not be measured", ["file", "reason"], cells, ["All: failed.csv."]))
    section = Section("Measured stars", [summary, *paragraphs], blocks)
    return Finding("stars", pd.DataFrame(rows), scores, [section])


def _table(stars: Sequence[Named], titles: Sequence[str]) -> Table:
    rows = []
    for title, (_, star) in zip(titles, stars, strict=True):
        detail = [] if star.resolving_power == USUAL_POWER else [f"R = {star.resolving_power:,.0f}"]
        detail += _marks(star) + ([star.notes] if star.notes else [])
        for number, one in enumerate(star.methods):
            rv = "–" if not np.isfinite(star.rv) else _number(star.rv, star.rv_sigma, 3)
            snr = "–" if not np.isfinite(star.snr) else f"{star.snr:.0f}"
            rows.append(
                [
                    Cell(title, "; ".join(detail)) if not number else Cell(""),
                    Cell(name_of(one.method)),
                    *(_label(one, column) for column in range(len(LABELS))),
                    Cell(rv if not number else ""),
                    Cell(snr if not number else ""),
                    Cell(", ".join(one.flags).replace("_", " ") or "none"),
                ]
            )
    header = ["star", "method", *(f"{NAMES[x]} [{UNITS[x]}]" for x in LABELS), "rv [km/s]", "SNR", "flags"]
    notes = [
        "One standard deviation, with what methods disagree by on the same spectra added in squares"
        f" ({METHODS_DISAGREE[0]:.0f} K, {METHODS_DISAGREE[1]:g} and {METHODS_DISAGREE[2]:g} dex,"
        f" {METHODS_DISAGREE[3]:g} km/s). v sin i: < is a 95 % upper limit where rotation is not resolved. SNR per"
        " pixel, of photons; – where pixels were interpolated and the file gives no error."
    ]
    if len(rows) > MOST_ROWS:
        notes.append(f"The first {MOST_ROWS} of {len(rows)} rows; all are in labels.csv, .fits and .parquet.")
    return Table("Labels", header, rows[:MOST_ROWS], notes)


def _marks(star: Record) -> list[str]:
    """What a reader must know before he uses the labels."""
    known = benchmark(star.name)
    cool = "cool" in star.flags or (known is not None and known.known.values[0] < COOLEST)
    return ["calibrates the lines"] * (known is not None and known.calibrates) + [CONSISTENCY] * cool


def _label(one: Measured, column: int) -> Cell:
    label, digits = LABELS[column], min(DIGITS[LABELS[column]], 2)
    if not np.isfinite(one.mean[column]):
        return Cell("–")
    if label == "vsini":
        meaning = "total broadening" if one.vsini_is == "total" else ""
        if np.isfinite(one.vsini_limit):
            return Cell(f"< {one.vsini_limit:.1f}", meaning)
        return Cell(_number(one.mean[column], one.sigma[column], 1), meaning)
    return Cell(_number(one.mean[column], one.sigma[column], 0 if label == "teff" else digits))


def _number(value: float, sigma: float, digits: int) -> str:
    return f"{value:.{digits}f} ± {sigma:.{digits}f}".replace("-", "−")


def _fit(title: str, star: Record) -> spectrum_figures.StarFit:
    return spectrum_figures.StarFit(
        title, SHORT[CHI2], star.wave, star.flux, star.model, np.isfinite(star.residual), star.order_chi_square
    )


def _fits_section(fits: Sequence[spectrum_figures.StarFit]) -> Section:
    pictures = [
        Illustration(
            f"fit-{number}",
            spectrum_figures.star_figure(fit),
            f"{fit.name}: {_of_orders(fit)}, and spectrum, best model and residual of two orders.",
            "Bars by order above spectra with model and residual.",
        )
        for number, fit in enumerate(fits)
    ]
    return Section("Best models: known stars first, then those that fit worst", [], pictures)


def _of_orders(fit: spectrum_figures.StarFit) -> str:
    if fit.noise_known:
        return "χ² of each order over its degrees of freedom, by photon noise alone"
    return "rms residual of each order over the continuum (the file says nothing of its noise)"


def _known(stars: Sequence[Named], titles: Sequence[str], rows: Sequence[int]) -> Finding:
    """Against the literature."""
    compared, tables = [], []
    for row in rows:
        star, found = stars[row][1], benchmark(stars[row][1].name)
        assert found is not None
        answers = {one.method: (one.mean, one.sigma) for one in star.methods if star.method(one.method)}
        flags = {one.method: doubts(one.flags) for one in star.methods}
        compared.append(_compared(titles[row], found, answers, flags))
        tables.append((titles[row], found, answers))
    sun = [star for star in compared if star.calibrates]
    said = [
        f"Stars that calibrated the list of lines are marked and not scored; below {COOLEST:.0f} K answers are"
        " for internal consistency only and not scored either."
    ]
    finding = observed.observed_finding(compared, sun=sun, paragraphs=said)
    (section,) = finding.sections
    blocks = [*section.blocks, _literature(tables)]
    return Finding(
        finding.experiment, finding.table, finding.scores, [Section("Known stars", section.paragraphs, blocks)]
    )


def _compared(
    title: str,
    found: Benchmark,
    answers: Mapping[str, tuple[np.ndarray, np.ndarray]],
    flags: Mapping[str, Sequence[str]],
) -> spectrum_figures.Star:
    unknown = [float("nan")]  # of v sin i
    return spectrum_figures.Star(
        title,
        answers,
        flags,
        np.array([*found.known.values, *unknown]),
        np.array([*found.known.sigma, *unknown]),
        found.known.source,
        found.calibrates,
        same_as=found.name,
    )


def _literature(
    tables: Sequence[tuple[str, Benchmark, Mapping[str, tuple[np.ndarray, np.ndarray]]]],
) -> Table:
    """Each star: what is known and how far answers are from it."""
    rows = []
    for title, found, answers in tables:
        marks = ["calibrates the lines"] * found.calibrates + [CONSISTENCY] * (found.known.values[0] < COOLEST)
        for number, known in enumerate((found.known, *found.others)):
            first = Cell("", "") if number else Cell(title, ", ".join(marks))
            source = known.source if known.checked else f"{known.source}; values not checked against it"
            rows.append([first, Cell("another source" if number else "literature", source), *_cells(known)])
        for method, (mean, sigma) in answers.items():
            off = np.asarray(mean)[:3] - found.known.values
            cells = [_three(mean[i], sigma[i], i, _signed(off[i], i)) for i in range(3)]
            rows.append([Cell(""), Cell(name_of(method)), *cells])
    header = ["star", "from", *(f"{NAMES[label]} [{UNITS[label]}]" for label in LABELS[:3])]
    return Table("Known stars one by one", header, rows, ["Small: answer less literature."])


def _cells(known: Known) -> list[Cell]:
    return [_three(value, known.sigma[i], i) for i, value in enumerate(known.values)]


def _three(value: float, sigma: float, column: int, detail: str = "") -> Cell:
    return Cell(_number(value, sigma, 2 if column else 0), detail)


def _signed(value: float, column: int) -> str:
    return f"{value:+.{0 if not column else 2}f}".replace("-", "−")
