"""The page stands alone, escapes what it is given, and says who won."""

import base64
import re
from html.parser import HTMLParser

import pytest

from sciml.core.urls import list_sizes, read_bytes
from sciml.report import style
from sciml.report.comparison import comparison_table, verdict
from sciml.report.page import Cell, Illustration, Page, Section, Table, figure_bytes, provenance, render, write_page


class Links(HTMLParser):
    """Everything on a page that a browser would fetch or run, the ids, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "data", "srcset", "action"):
                self.sources.append(value)
            if name == "alt":
                self.alts.append(value)

    def handle_data(self, data):
        self.text += data


def figure():
    with style.rc():
        picture = style.new_figure(3, 2)
        picture.subplots().plot([0, 1], [0, 1])
    return picture


def page(name: str = "one") -> Page:
    block = Illustration(name, figure(), "Caption with <b>markup</b>", 'alt with "quotes" & <tags>')
    table = Table("Scores", ["", "NSE"], [[Cell("a & b", "baseline"), Cell("0.5", "0.4 to 0.6", best=True)]], ["note"])
    made = provenance(
        data={"twsa": "file.nc sha256 0123"},
        split={"train": "2002-08 to 2014-12"},
        sample_size={"units": 189},
        seed=7,
        stores={"ingest": "stages/ingest-0123"},
        config={"groups": 50, "models": ["lstm", "ridge"]},
    )
    section = Section("Skill & table", ["A paragraph with <script>alert(1)</script>."], [block, table])
    return Page("Title <i>", ["What was found."], [section], made)


def test_page_stands_alone_and_escapes(tmp_path):
    url = write_page(str(tmp_path / "run"), page())
    html = read_bytes(url).decode()
    seen = Links()
    seen.feed(html)
    assert "script" not in seen.tags and "i" not in seen.tags and "b" not in seen.tags and "link" not in seen.tags
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in seen.sources)
    assert not re.search(r"url\(|@import", html)
    assert seen.alts == ['alt with "quotes" & <tags>']
    for text in ("Title <i>", "189", "stages/ingest-0123", "groups: 50", "0.4 to 0.6", "torch", "note", "Seed", "7"):
        assert text in seen.text
    assert "<strong>0.5</strong>" in html


def test_anchors_lead_somewhere():
    html = render(page())[0].decode()
    for target in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{target}"' in html


def test_figures_lie_beside_the_page_and_are_the_embedded_ones(tmp_path):
    run = str(tmp_path)
    html = read_bytes(write_page(run, page())).decode()
    assert set(list_sizes(run)) == {"report.html", "figures/one.png", "figures/one.pdf"}
    embedded = re.search(r"base64,([^\"]+)\"", html).group(1)
    assert base64.b64decode(embedded) == read_bytes(f"{run}/figures/one.png")
    assert read_bytes(f"{run}/figures/one.pdf").startswith(b"%PDF")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_figure_gives_the_same_bytes(suffix):
    assert figure_bytes(figure(), suffix) == figure_bytes(figure(), suffix)


def test_page_on_s3(s3):
    assert read_bytes(write_page(s3, page())).startswith(b"<!DOCTYPE html>")
    assert f"{s3}/figures/one.png".removeprefix(f"{s3}/") in list_sizes(s3)


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="figure name 'Bad Name'"):
        Illustration("Bad Name", figure(), "caption", "alt")
    with pytest.raises(ValueError, match="alt text must not be empty"):
        Illustration("one", figure(), "caption", " ")
    with pytest.raises(ValueError, match="a row of 1 cells under 2 titles"):
        Table("t", ["", "NSE"], [[Cell("a")]])
    twice = page()
    with pytest.raises(ValueError, match="used twice: one"):
        render(Page("t", [], [*twice.sections, *twice.sections]))


def summary(nse: float, share: float, low: float, high: float, rival: str = "ridge") -> dict:
    return {
        "nse_median": nse,
        "nse_median_ci": [nse - 0.05, nse + 0.05],
        "rmse_median": 100 * (1 - nse),
        "rmse_median_ci": [1.0, 99.0],
        "coverage90": 0.88,
        "coverage90_ci": [0.86, 0.9],
        "n": 40,
        "n_months": 37,
        "fraction_better_than": {rival: share},
        "fraction_better_than_ci": {rival: [low, high]},
    }


@pytest.mark.parametrize(
    ("nse", "share", "low", "high", "said"),
    [
        (0.6, 0.8, 0.7, 0.9, "lstm beats the strongest baseline, ridge, with the lower RMSE in 80% of 40 units"),
        (0.3, 0.2, 0.1, 0.3, "the baseline wins: ridge has the lower RMSE"),
        (0.52, 0.55, 0.4, 0.7, "no clear winner"),
        (0.45, 0.8, 0.7, 0.9, "no clear winner"),
    ],
)
def test_verdict(nse, share, low, high, said):
    summaries = {"lstm": summary(nse, share, low, high), "ridge": summary(0.5, 0.0, 0, 0, "lstm"),
                 "last_year": summary(-0.5, 0.0, 0, 0, "lstm")}  # fmt: skip
    assert said in verdict(summaries, baselines=["ridge", "last_year"])


def test_ceiling_is_neither_winner_nor_bold():
    summaries = {"lstm": summary(0.6, 0.8, 0.7, 0.9), "ridge": summary(0.5, 0, 0, 0, "lstm"),
                 "gridded": summary(0.75, 1, 1, 1)}  # fmt: skip
    options = {"baselines": ["ridge"], "ceilings": ["gridded"]}
    assert verdict(summaries, **options).startswith("lstm beats")
    table = comparison_table(summaries, caption="c", reference="ridge", **options)
    bold = {row[0].text: row[1].best for row in table.rows}
    assert bold == {"lstm": True, "ridge": False, "gridded": False}
    assert table.rows[-1][0] == Cell("gridded", "upper bound, not a competitor")
    assert table.rows[0][-1] == Cell("80%", "70% to 90%")


def test_undefined_scores_are_dashes_and_do_not_win():
    summaries = {"lstm": {**summary(0.6, 0.8, 0.7, 0.9), "nse_median": None}, "ridge": summary(0.5, 0, 0, 0, "lstm")}
    table = comparison_table(summaries, caption="c", baselines=["ridge"])
    assert table.rows[0][1] == Cell("–") and table.rows[1][1].best
    assert "nothing can be said" in verdict(summaries, baselines=["ridge"])
