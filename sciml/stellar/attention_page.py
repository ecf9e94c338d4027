"""The section on attention: where networks look in a few stars, and whether what they look at matters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sciml.report.page import Cell, Illustration, Section, Table
from sciml.stellar.attention_check import DELETED, DRAWS, attending, tried_spectra
from sciml.stellar.experiments import Setup, scored_stars, spectra, spectrograph_of
from sciml.stellar.labels import LABELS
from sciml.stellar.networks import Settings
from sciml.stellar.spectrum_figures import attention_figure
from sciml.stellar.tables import DIGITS, NAMES, name_of, span_of

# stars to be shown, if such were tried: Teff, log g, [M/H], and what they are
EXAMPLES = (
    (5800.0, 4.4, 0.0, "a dwarf like the Sun"),
    (4500.0, 2.0, -0.5, "a cool giant"),
    (7500.0, 4.0, 0.0, "a hot dwarf"),
)
_FAR = np.array([500.0, 0.5, 0.5])  # of labels, in which stars are compared


def attention_section(
    setup: Setup,
    settings: Settings,
    checkpoints: Mapping[str, Sequence[str]],
    scores: Mapping[str, Mapping[str, Any]],
    lines: Sequence[tuple[float, str]],
) -> Section:
    """checkpoints: attention network -> its files; scores: network -> keys with `attention_check.deletion_scores`;
    lines: to be named in figures."""
    best = min(scores, key=lambda name: sum(np.log(scores[name][f"mae_{label}"]) for label in LABELS))
    text = (
        f"Maps of {name_of(best)}, the attention network that errs least, average the three blocks where pixels are"
        f" ranked. Deleted are {DELETED:.0%} of the pixels (masked, so that a network sees continuum), beside {DRAWS}"
        " draws of as many in the same runs elsewhere in each order, for the same spectra with the same noise."
    )
    return Section(
        f"Attention: {setup.experiment.name}",
        [verdict(scores), text],
        [deletion_table(scores), *_pictures(setup, settings, best, checkpoints[best], lines)],
    )


def verdict(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Of which networks and labels it is certain that attended pixels matter more than others."""
    said = []
    for name, found in scores.items():
        sure = [label for label in LABELS if (found[f"deletion_ratio_{label}_ci"][0] or 0.0) > 1.0]
        less = [label for label in LABELS if (found[f"deletion_ratio_{label}_ci"][1] or 2.0) < 1.0]
        open_ones = [label for label in LABELS if label not in sure and label not in less]
        parts = [f"it does for {_listed(found, sure)}"] if sure else []
        parts += [f"it does less for {_listed(found, less)}"] if less else []
        parts += [f"not surely for {_listed(found, open_ones)}"] if open_ones else []
        said.append(f"{name_of(name)}: {', '.join(parts)}")
    passed = all((s[f"deletion_ratio_{label}_ci"][0] or 0.0) > 1.0 for s in scores.values() for label in LABELS)
    end = "" if passed else " Where it does not, a map does not say what the answer rests on."
    return (
        f"Deleting the {DELETED:.0%} most attended pixels should raise the mean error more than deleting others"
        f" (ratio above 1). {'; '.join(said)}.{end}"
    )


def deletion_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """Ratios with intervals, and the errors they are made of."""
    rows = []
    for name, found in scores.items():
        cells = [
            Cell(f"{found[f'deletion_ratio_{label}']:.2f}", span_of(found[f"deletion_ratio_{label}_ci"], 2))
            for label in LABELS
        ]
        rows.append([Cell(f"{name_of(name)}: attended over others"), *cells])
        for case, words in enumerate(("whole spectra", "attended deleted", "others deleted")):
            cells = [Cell(f"{found[f'deletion_error_{label}'][case]:.{DIGITS[label]}f}") for label in LABELS]
            rows.append([Cell(f"mean error, {words}"), *cells])
    notes = ["95 % intervals of a bootstrap over syntheses."]
    return Table("Deleted pixels", ["", *(NAMES[label] for label in LABELS)], rows, notes)


def _listed(found: Mapping[str, Any], labels: Sequence[str]) -> str:
    return ", ".join(f"{NAMES[label]} ({found[f'deletion_ratio_{label}']:.2f})" for label in labels)


def _pictures(
    setup: Setup, settings: Settings, method: str, checkpoints: Sequence[str], lines: Sequence[tuple[float, str]]
) -> list[Illustration]:
    tried, everyone = tried_spectra(setup), scored_stars(setup)
    asked = attending(setup, method, settings, checkpoints)
    made = []
    for *wanted, what in EXAMPLES:
        apart = (everyone.parameters[tried, :3] - np.array(wanted)) / _FAR
        star = int(tried[np.argmin((apart**2).sum(1))])
        flux, _, mask = (part.numpy() for part in spectra(setup, star, star + 1))
        maps = asked.maps(flux, everyone.snr[star : star + 1], mask)[0]
        teff, logg, feh, vsini = everyone.parameters[star, : len(LABELS)]
        clean = np.where(mask[0], flux[0], np.nan)
        made.append(
            Illustration(
                f"attention-{setup.experiment.name.replace('_', '-')}-{len(made) + 1}",
                attention_figure(spectrograph_of(setup.spectrograph).wave, clean, maps, lines),
                f"Attention maps of {name_of(method)} above the spectrum of {what}, over an even spread, with lines"
                f" named: Teff {teff:.0f} K, log g {logg:.2f}, [M/H] {feh:.2f}, v sin i {vsini:.1f} km/s.",
                "Attention along wavelength above a spectrum; peaks are compared with named lines.",
            )
        )
    return made
