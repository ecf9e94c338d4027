"""The page: the paper's tables are whole, the sentences say who won, leaks and limits are named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sciml.report.page import Page, Section, Table, render
from sciml.stellar.labels import LABELS
from sciml.stellar.observed import observed_finding, observed_scores
from sciml.stellar.paper import MEAN_ABSOLUTE_ERRORS, METHODS, SHORT
from sciml.stellar.report import (
    finding,
    limits_section,
    paper_section,
    snr_section,
    verdict,
)
from sciml.stellar.scores import summarise
from sciml.stellar.tables import sun_table
from tests.stellar.planted import planted_answers, planted_truth
from tests.stellar.test_figures import star

TRUTH = planted_truth(1500)


def text_of(table: Table) -> list[list[str]]:
    return [[f"{cell.text} {cell.detail}".strip() for cell in row] for row in table.rows]


def scores_of(**over: float) -> dict:
    answers = {name: planted_answers(TRUTH, factor, seed=seed) for seed, (name, factor) in enumerate(over.items())}
    return summarise(TRUTH, answers, resamples=100)


def test_all_rows_of_the_paper_are_there():
    scores = {"snr20": scores_of(resnet=2.0, sciml=1.2, chi2=1.0), "snr100_limited": scores_of(attention=1.0)}
    section = paper_section(scores)
    rows = text_of(section.blocks[0])
    assert len(MEAN_ABSOLUTE_ERRORS) == 12  # ten of the paper's networks, two of other authors
    for row, printed in zip(MEAN_ABSOLUTE_ERRORS, rows, strict=False):
        assert printed[0] == row.title and printed[1] == str(row.snr)
        assert printed[2].endswith(f"paper {row.values[0]:.1f}")
        assert printed[4].endswith(f"paper {row.values[2]:.3f}")
    assert rows[0][2].startswith(f"{scores['snr20']['resnet']['mae_teff']:.1f} ")
    assert rows[1][2].startswith("–")  # not run
    assert {row[0] for row in rows[12:]} >= {f"{METHODS[m]} not in the paper" for m in ("sciml", "chi2")}
    assert any("4250–6000 K" in row[0] for row in rows)
    coverage = {row[0]: row for row in text_of(section.blocks[1])}
    assert "paper 79.9 %" in coverage[METHODS["resnet"]][1] and "paper 98.4 %" in coverage[METHODS["resnet"]][2]
    within = 100 * scores["snr20"]["resnet"]["coverage1"]
    assert coverage[METHODS["resnet"]][1].startswith(f"{within:.1f} % ")
    by_label = {row[0]: row for row in text_of(section.blocks[2])}
    share = 100 * scores["snr20"]["sciml"]["coverage2_logg"]
    assert by_label["sciml"][6].startswith(f"{share:.1f} ")
    better = [cell.best for cell in section.blocks[0].rows[0][2:]]
    ours = [scores["snr20"]["resnet"][f"mae_{label}"] for label in LABELS]
    assert better == [a < b for a, b in zip(ours, MEAN_ABSOLUTE_ERRORS[0].values, strict=True)]
    small = {"snr20": {"resnet": scores["snr20"]["resnet"] | {"mae_teff": 1.0}}}
    assert paper_section(small).blocks[0].rows[0][2].best
    assert "repeats no row" in paper_section({}).paragraphs[0]


def test_the_sentence_says_who_wins():
    assert "The χ² fit wins" in verdict(scores_of(sciml=1.6, chi2=1.0, ridge=5.0))
    assert "sciml, wins over the χ² fit" in verdict(scores_of(sciml=1.0, resnet=3.0, chi2=1.6))
    alike = verdict(scores_of(sciml=1.0, chi2=1.0))
    assert "Neither wins" in alike and "1,500 spectra of 750 syntheses" in alike
    assert "errs least" in verdict(scores_of(chi2=1.0))


def test_leaks_and_snapping_are_named():
    nodes = planted_truth(800, seed=3, kind="node")
    answers = {"sciml": planted_answers(TRUTH, 0.7), "resnet": planted_answers(TRUTH, 2.0, seed=2)}
    at_nodes = {"sciml": planted_answers(nodes, 0.7, seed=3), "resnet": planted_answers(nodes, 1.0, seed=4)}
    found = finding("snr20", TRUTH, answers, nodes=(nodes, at_nodes), resamples=100)
    text = found.sections[1].paragraphs[0]
    assert "A leak to be found" in text and "sciml, Teff at" in text
    assert "residual network, log g (nodes err less" in text and "sciml, log g (nodes" not in text
    assert found.scores["resnet"]["nodes"]["n"] == 800
    assert set(found.table["kind"]) == {"continuous", "node"} and len(found.table) == 2 * (1500 + 800)
    json.dumps(found.scores, allow_nan=False)
    fair = finding("snr20", TRUTH, {"chi2": planted_answers(TRUTH, 1.05)}, resamples=100)
    assert fair.sections[1].paragraphs[0].startswith("No leak")
    assert not fair.sections[1].blocks


def test_the_page_renders():
    answers = {"chi2": planted_answers(TRUTH), "sciml": planted_answers(TRUTH, 1.2, seed=2)}
    found = finding("snr20", TRUTH, answers, ["Trained on planted numbers."], scored={"sciml": {"train_s": 3.0}})
    assert found.scores["sciml"]["train_s"] == 3.0
    curve = {name: {20: summary, 50: summary} for name, summary in found.scores.items()}
    more = [
        snr_section(curve, 20.0, {20: np.ones(4), 50: np.ones(4)}, "snr20"),
        limits_section(["Planted."]),
    ]
    main = found.sections[0]
    assert [type(block).__name__ for block in main.blocks] == ["Table"] + 5 * ["Illustration"]
    shown = [block for block in main.blocks if getattr(block, "name", "") in ("", "snr20-coverage")]
    html, files = render(Page("Stars", ["-"], [Section(main.title, main.paragraphs, shown), *more]))
    assert "snr20-coverage.png" in files and "snr20-snr.png" in files
    assert "Trained on planted numbers." in html.decode() and "C2 and TiO" in html.decode()
    assert "scored at 20, 50" in more[0].paragraphs[0]


def test_real_stars_that_count():
    stars = [
        star("Sun", (5772, 4.44, 0.0, 1.8), calibrates=True),
        star("Aldebaran", (3900, 1.6, -0.3, 4.0)),
        star("HD 1", (5750, 4.30, 0.0, np.nan)),
        star("HD 2", (5700, 4.45, 0.1, 2.0)),
    ]
    found = observed_finding(stars, sun=stars[:1])
    s = found.scores["chi2"]
    assert s["n"] == 2 and s["n_flagged"] == 0 and found.scores["resnet"]["n_flagged"] == 2
    assert s["median_error_teff"] == pytest.approx(75.0)  # of 50 and 100
    assert s["median_error_vsini"] == pytest.approx(0.0)  # one star has no literature value
    assert list(found.table.loc[found.table["model"] == "chi2", "scored"]) == [False, False, True, True]
    assert "errs by 75 K" in found.sections[0].paragraphs[0]
    again = observed_finding([*stars, replace(stars[3], name="HD 2, another night", same_as="HD 2")])
    assert again.scores["chi2"] == s | {"n_spectra": 3}  # of stars, not of spectra
    only = observed_finding(stars[:2])
    assert "nothing is scored" in only.sections[0].paragraphs[0]
    assert only.scores["chi2"]["mae_teff"] is None
    assert observed_scores([], "chi2")["n"] == 0
    json.dumps(only.scores, allow_nan=False)
    render(Page("Stars", ["-"], [Section("s", [], found.sections[0].blocks)]))


def test_the_sun_beside_the_papers():
    rows = text_of(sun_table([star("Sun", (5772, 4.44, 0.0, 1.8), calibrates=True)]))
    assert rows[2][1] == "5325.2 ± 10.0" and rows[2][3] == "−0.576 ± 0.01"
    assert rows[4][0] == f"{METHODS['chi2']} lines calibrated on the Sun"
    assert rows[4][1] == "5800.0 ± 30.0"
    assert rows[5][-1] == "chi-square"


def test_every_method_has_a_short_name():
    assert set(SHORT) == set(METHODS)
