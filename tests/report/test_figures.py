"""Figures show what they are given: no blank panel, colours centred, tiles where cells lie apart."""

import io

import numpy as np
import pytest
from PIL import Image

from sciml.report import figures, maps, style
from sciml.report.page import figure_bytes
from sciml.report.projection import equal_earth, equal_earth_inverse


def box(south: float, west: float, rows: int = 12, columns: int = 18, step: float = 0.5):
    centres = south + step * (0.5 + np.arange(rows)), west + step * (0.5 + np.arange(columns))
    lat, lon = np.meshgrid(*centres, indexing="ij")
    return lat.ravel(), lon.ravel()


def cells(*boxes, **options) -> maps.Cells:
    return maps.Cells(*(np.concatenate(part) for part in zip(*boxes, strict=True)), 0.5, **options)


def picture(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure_bytes(figure))).convert("RGB")).astype(int)


def nearest(image: np.ndarray, colour: tuple[float, ...]) -> float:
    """Share of pixels of about this colour."""
    return float((np.abs(image - 255 * np.array(colour[:3])).max(axis=-1) < 12).mean())


def test_equal_earth_goes_back_and_keeps_areas():
    random = np.random.default_rng(0)
    latitude, longitude = random.uniform(-89.9, 89.9, 500), random.uniform(-180, 180, 500)
    back = equal_earth_inverse(*equal_earth(latitude, longitude))
    np.testing.assert_allclose(back, (latitude, longitude), atol=1e-8)
    d = 1e-4
    east = np.subtract(equal_earth(latitude, longitude + d), equal_earth(latitude, longitude - d))
    north = np.subtract(equal_earth(latitude + d, longitude), equal_earth(latitude - d, longitude))
    area = (east[0] * north[1] - east[1] * north[0]) / (2 * np.radians(d)) ** 2
    np.testing.assert_allclose(area, np.cos(np.radians(latitude)), rtol=1e-4)


def test_tiles_partition_the_cells_and_only_where_they_lie_apart():
    near, far = cells(box(0, 0), box(0, 9)), cells(box(0, 0), box(40, -100), box(60, 80))
    assert len(maps.tiles(near)) == 1
    parts = maps.tiles(far)
    assert len(parts) == 3
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(far.latitude)))
    assert [round(far.longitude[p].min()) for p in parts] == [-100, 0, 80]
    stacked = cells(*(box(south, 0) for south in (-36, 0, 9, 18, 27, 36, 54)))  # three degrees between some
    assert len(maps.tiles(stacked)) == 7
    crumb = cells(box(0, 0), box(20, 20, 1, 1))
    assert len(maps.tiles(crumb)) == 1
    many = cells(*(box(0, west, 2, 2) for west in range(-170, 170, 20)))
    assert len(maps.tiles(many)) == 1


@pytest.mark.parametrize(
    "where",
    [
        cells(box(0, 0)),
        cells(box(0, 0), box(40, -100), box(60, 80)),
        cells(box(-40, -170, 200, 670)),
    ],
    ids=["region", "tiles", "globe"],
)
@pytest.mark.parametrize("layers", [1, 3])
def test_every_panel_shows_its_values(where, layers):
    """A map of one value is mostly of that value's colour, in every layout."""
    scale = maps.Scale("storage [mm]", low=-100, high=100)
    field = np.full(len(where.latitude), 50.0)
    figure = maps.map_figure(where, [maps.Layer(f"layer {i}", field, scale) for i in range(layers)])
    colours, norm, _ = scale.resolve(field)
    image = picture(figure)
    assert nearest(image, colours(norm(50.0))) > 0.2
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == layers * len(maps.tiles(where))
    assert sum(axes.get_label() == "<colorbar>" for axes in figure.axes) == 1


def test_cells_are_drawn_where_they_lie():
    where = cells(box(0, 0))
    north_east = (where.latitude > 3) & (where.longitude > 4.5)
    scale = maps.Scale("x [mm]", low=-1, high=1)
    figure = maps.map_figure(where, [maps.Layer("x", np.where(north_east, 1.0, -1.0), scale)])
    image = figure.axes[0].images[1].get_array()
    rows, columns = np.nonzero(image == 1.0)
    assert figure.axes[0].images[1].origin == "lower"
    assert rows.min() > image.shape[0] / 2 - 1 and columns.min() > image.shape[1] / 2 - 1
    assert (image == 1.0).sum() == north_east.sum()


def test_coast_is_the_outline_of_the_cells():
    """One block of cells has a perimeter of 2 (rows + columns) cell sides, wherever it lies in its land."""
    where = cells(box(0, 0))
    frame = maps._Frame(where, np.arange(len(where.latitude)))
    length = sum(np.linalg.norm(np.diff(s, axis=0), axis=1).sum() for s in frame.coast)
    assert np.isclose(length, 2 * (6 + 9))
    inland = maps.Cells(where.latitude, where.longitude, 0.5, *box(-10, -10, 60, 70))
    assert maps._Frame(inland, np.arange(len(where.latitude))).coast == []


def test_diverging_colours_are_centred_on_zero_and_say_what_they_cut():
    random = np.random.default_rng(1)
    values = np.concatenate([random.uniform(-20, 28, 1000), [500.0]])
    _, norm, extend = maps.Scale("x").resolve(values)
    assert norm.vmin == -norm.vmax == -30 and extend == "max"
    _, norm, extend = maps.Scale("x", "sequential").resolve(np.array([3.0, 9.0]))
    assert norm.vmin <= 3 and norm.vmax >= 9 and extend == "neither"
    _, norm, _ = maps.Scale("x", centre=1.0).resolve(np.array([0.5, 1.2]))
    assert np.isclose(norm.vmax - 1, 1 - norm.vmin)


def test_each_class_has_a_colour_of_its_own() -> None:
    colours, norm, extend = maps.Scale("class", classes=("none", "bad", "worse")).resolve(np.array([0.0, 2.0]))
    assert len({tuple(colours(norm(k))) for k in range(3)}) == 3 and extend == "neither"
    lightness = [sum(colours(norm(k))[:3]) for k in range(3)]
    assert lightness == sorted(lightness, reverse=True)


@pytest.mark.parametrize(
    ("value", "up", "expected"),
    [(17, True, 20), (-17, False, -20), (-17, True, -15), (0.0234, True, 0.025), (100, True, 100), (0, True, 0)],
)
def test_plain_numbers(value, up, expected):
    assert np.isclose(maps._plain(value, up=up), expected)


def test_blank_panels_are_refused():
    where = cells(box(0, 0))
    nothing = np.full(len(where.latitude), np.nan)
    with pytest.raises(ValueError, match="map 'empty': no finite value"):
        maps.map_figure(where, [maps.Layer("empty", nothing, maps.Scale("x"))])
    with pytest.raises(ValueError, match="values for 216 cells"):
        maps.map_figure(where, [maps.Layer("short", np.zeros(3), maps.Scale("x"))])
    time = np.arange("2003-01", "2004-01", dtype="datetime64[M]")
    with pytest.raises(ValueError, match="blank panel"):
        figures.series_figure([figures.SeriesPanel("p", time, np.full(12, np.nan), [])], ylabel="mm")
    with pytest.raises(ValueError, match="no value"):
        figures.calibration_figure({"a": (np.array([np.nan]), 5)})


def test_gap_months_join_into_runs():
    months = np.array(["2011-05", "2003-06", "2011-06", "2011-07", "2017-12", "2018-01"], dtype="datetime64[M]")
    runs = figures.month_runs(months)
    assert [(str(a), str(b)) for a, b in runs] == [
        ("2003-06", "2003-07"), ("2011-05", "2011-08"), ("2017-12", "2018-02"),
    ]  # fmt: skip
    assert figures.month_runs(None) == [] and figures.month_runs(np.array([], "datetime64[M]")) == []


def test_series_shows_points_bands_and_gaps():
    random = np.random.default_rng(2)
    time = np.arange("2003-01", "2013-01", dtype="datetime64[M]").astype("datetime64[s]")
    members = random.normal(size=(20, 120)).cumsum(axis=1)
    panel = figures.SeriesPanel(
        "Basin", time, members[0], [figures.prediction("model", time, members)],
        np.array(["2005-03", "2005-04"], "datetime64[M]"), np.datetime64("2010-01"),
    )  # fmt: skip
    figure = figures.series_figure([panel], ylabel="storage [mm]")
    image = picture(figure)
    assert nearest(image, (0, 0, 0)) > 0.002
    assert nearest(image, tuple(int(style.GAP[i : i + 2], 16) / 255 for i in (1, 3, 5))) > 0.002
    texts = {text.get_text() for text in figure.legends[0].get_texts()}
    assert texts == {"GRACE", "model", "90 % interval", "month without a record"}


def test_one_member_has_a_line_and_no_band():
    one = figures.prediction("m", np.arange(3), np.zeros((1, 3)))
    assert one.lower is None and one.upper is None


def test_shares_by_group_have_the_shares_of_the_records():
    random = np.random.default_rng(3)
    hits = (random.random((40, 25)) < 0.9).astype(float)
    hits[0, :5] = np.nan
    groups = np.repeat(["arid", "polar"], [30, 10])
    found = {s.label: s for s in figures.shares(hits, groups)}
    assert found["arid"].n == 745 and found["polar"].units == 10
    assert np.isclose(found["polar"].value, hits[30:].mean())
    for share in found.values():
        assert share.low < share.value < share.high
    alone = figures.shares(hits[:1], np.array(["one"]))[0]
    assert np.isnan(alone.low)


def test_skill_and_calibration_figures_hold_a_line_for_each_model():
    random = np.random.default_rng(4)
    scores = {name: {"nse": random.normal(size=50)} for name in ("a", "b", "c")}
    scores["b"]["nse"][:5] = np.nan
    figure = figures.distribution_figure(scores, [figures.Skill("nse", "NSE", low=-1, high=1)])
    assert len(figure.axes) == 1 and len(figure.legends[0].get_texts()) == 3
    ranks = {name: (random.integers(0, 11, 300), 10) for name in "ab"}
    left, right = figures.calibration_figure(ranks).axes
    assert len(left.lines) == 3 and len(right.patches) == 2
    for curve in left.lines[1:]:
        assert np.abs(curve.get_ydata() - curve.get_xdata()).max() < 0.12  # calibrated by construction
