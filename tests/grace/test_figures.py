"""The report's GRACE figures say the truth about what they were given."""

import numpy as np
import pandas as pd
import pytest

from sciml.grace import figures
from sciml.metrics import seasonal
from sciml.metrics.table import score_units, summarise_all
from sciml.report.maps import Cells
from sciml.report.page import Illustration, Page, Section, Table, render

TIME = np.arange("2010-01", "2020-01", dtype="datetime64[M]").astype("datetime64[s]") + np.timedelta64(15, "D")
UNITS = ["AMAZON", "LENA", "NILE", "OB"]


def grid() -> tuple[Cells, np.ndarray]:
    """Two tiles of two units each, 6 x 12 cells a tile."""
    parts = []
    for south, west in ((0.0, 10.0), (45.0, -100.0)):
        lat, lon = np.meshgrid(south + 0.25 + 0.5 * np.arange(6), west + 0.25 + 0.5 * np.arange(12), indexing="ij")
        parts.append((lat.ravel(), lon.ravel()))
    lat, lon = (np.concatenate(p) for p in zip(*parts, strict=True))
    parent = np.where(lat > 20, 2 + (lon >= -97), (lon >= 13).astype(int))
    return Cells(lat, lon, 0.5, borders=parent), parent


def case():
    random = np.random.default_rng(0)
    observed = 50 * np.cos(2 * np.pi * seasonal.years_since_2000(TIME)) + 20 * random.normal(size=(4, len(TIME)))
    members = {
        "global_lstm": observed[:, None] + 8 * random.normal(size=(4, 1, 120)) + 8 * random.normal(size=(4, 20, 120)),
        "ridge": observed[:, None] + 30 * random.normal(size=(4, 1, 120)) + 9 * random.normal(size=(4, 20, 120)),
    }
    return observed, members


@pytest.fixture(scope="module")
def scored():
    observed, members = case()
    cycle = seasonal.climatology(observed, TIME)
    rows = [
        score_units(observed, m, TIME, climatology=cycle, experiment="basins", model=name, unit=UNITS)
        for name, m in members.items()
    ]
    frame = pd.concat(rows)
    return frame, summarise_all(frame, resamples=200)["basins"]


def test_downscaling_maps_share_their_colours():
    cells, parent = grid()
    random = np.random.default_rng(1)
    mascon = np.array([10.0, -20, 30, 40])[parent]
    truth = mascon + random.normal(size=len(parent))
    fields = {"mascon": mascon, "interpolated": mascon, "downscaled": truth}
    shown = figures.downscaling_maps(cells, "2010-05", **fields, truth=truth)
    panels = [axes for axes in shown.figure.axes if axes.images]
    assert len(panels) == 8
    assert len({axes.images[1].norm.vmax for axes in panels}) == 1
    assert "2010-05" in shown.caption and "truth" in shown.caption
    without = figures.downscaling_maps(cells, "2010-05", **fields)
    assert len([axes for axes in without.figure.axes if axes.images]) == 6 and "truth" not in without.caption


def test_trend_map_states_what_was_planted():
    cells, parent = grid()
    years = seasonal.years_since_2000(TIME)
    trend, amplitude = np.array([[-30.0, 2, 3, 9], [10, 20, 250, 40]])[..., None]
    storage = trend * years + amplitude * np.cos(2 * np.pi * years)
    shown = figures.trend_amplitude_maps(cells, storage, TIME, parent)
    assert "from -30 to 9 mm per year" in shown.alt and "reach 250 mm" in shown.alt
    assert "near 2°N, 12°E" in shown.alt and "near 46°N, 98°W" in shown.alt
    assert "4 mascons over 120 records" in shown.caption


def test_skill_map_puts_each_unit_on_its_own_cells(scored):
    frame, _ = scored
    cells, parent = grid()
    unit_of_cell = np.array(UNITS)[parent]
    unit_of_cell[0] = "elsewhere"
    shown = figures.skill_maps(cells, unit_of_cell, frame, model="global_lstm", baseline="ridge")
    drawn = np.concatenate([axes.images[1].get_array().compressed() for axes in shown.figure.axes if axes.images])
    expected = frame[frame["model"] == "global_lstm"]["rmse"].to_numpy()
    assert np.isin(np.round(expected, 9), np.round(drawn, 9)).all()
    assert "lower than that of ridge regression in 100% of units" in shown.alt


def test_series_shade_the_months_without_a_record():
    observed, members = case()
    seen = np.ones(120, bool)
    seen[[30, 31, 77]] = False
    two = {m: v[:2] for m, v in members.items()}
    when = {"predicted_time": TIME, "split": "2018-01"}
    shown = figures.basin_series(UNITS[:2], TIME[seen], observed[:2, seen], two, **when)
    assert "the 3 months without a GRACE record" in shown.caption
    assert [axes.get_title(loc="left") for axes in shown.figure.axes] == UNITS[:2]


def test_coverage_names_the_groups_that_fail():
    observed, members = case()
    mask = np.ones(observed.shape, bool)
    climate = figures.climate_class(["Af", "Dfc", "", "Dwc"])
    assert list(climate) == ["tropical", "continental", "unclassified", "continental"]
    gap = np.arange(120) % 10 == 0
    narrow = figures.coverage_by_group(observed, members["ridge"], mask, climate=climate, gap=gap)
    assert "gap months" in narrow.alt and "Outside 85 to 95 percent: all" in narrow.alt
    random = np.random.default_rng(2)
    true = figures.coverage_by_group(
        random.normal(size=(40, 120)), random.normal(size=(40, 30, 120)), np.ones((40, 120), bool),
        climate=np.repeat(["arid", "polar"], 20),
    )  # fmt: skip
    assert "All groups lie within 85 to 95 percent" in true.alt


def test_section_of_an_experiment_renders(scored):
    frame, summaries = scored
    observed, members = case()
    mask = np.ones(observed.shape, bool)
    section = figures.comparison_section(
        "basins", frame, summaries, illustrations=[figures.calibration(observed, members, mask)]
    )
    kinds = [type(block) for block in section.blocks]
    assert kinds == [Table, Table, Illustration, Illustration]
    assert section.paragraphs[0].startswith("Global LSTM beats the strongest baseline, ridge regression")
    skill, season = section.blocks[:2]
    assert "NSE" in skill.header and "lower RMSE than ridge regression" in skill.header
    assert any("trend" in title for title in season.header) and any("phase" in title for title in season.header)
    html, files = render(Page("t", ["s"], [section]))
    assert b"global LSTM" in html and set(files) == {
        "skill-distribution-basins.png", "skill-distribution-basins.pdf", "calibration.png", "calibration.pdf",
    }  # fmt: skip


def test_uncertainty_is_wider_in_gaps_as_stated():
    cells, parent = grid()
    shown = figures.uncertainty_maps(cells, np.full(len(parent), 10.0), np.full(len(parent), 25.0))
    assert "median 10 mm in months with a record, 25 mm in gap months" in shown.alt
    assert isinstance(Section("s", [], [shown]), Section)
