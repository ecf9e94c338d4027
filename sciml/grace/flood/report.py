"""The flood part of the report: plain sentences, the table, ROC curves, a month on the map, and where storage helps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sciml.grace.figures import MODEL_LABELS
from sciml.grace.flood import potential
from sciml.grace.flood.potential import KINDS, FloodCase, Scored
from sciml.metrics import events
from sciml.report import style
from sciml.report.comparison import Column, comparison_table
from sciml.report.maps import Cells, Layer, Scale, map_figure
from sciml.report.page import Cell, Illustration, Section, Table
from sciml.report.results import Finding

LABELS = {
    **MODEL_LABELS,
    "ridge_stores": "ridge with stores",
    "mascon": "GRACE mascons",
    "precipitation_alone": "rain alone",
    "storage_alone": "storage alone",
}
COLUMNS = (
    Column("roc_area", "ROC area, same place", "high", digits=3),
    Column("roc_area_pooled", "ROC area, all pairs", "high", digits=3),
    Column("tpr", "floods announced", "high", digits=0, percent=True),
    Column("far", "false alarms", "low", digits=0, percent=True),
    Column("peirce", "Peirce score", "high"),
)
TITLES = {"flood": "Floods", "flash_flood": "Flash floods"}
INDEX = (
    "The index is the rain of the month less the room that was left in storage the month before, over its largest"
    " training value: near 1, rain meets land that is as full as it has ever been."
)
RATES = np.linspace(0, 1, 101)
SHOWN = 3  # models in a figure, beside the baselines
FEW_UNITS = 30  # are listed one by one


def findings(
    case: FloodCase, place: tuple[Cells, np.ndarray], points: Mapping[str, np.ndarray], where: str
) -> list[Finding]:
    """One finding for floods and one for flash floods, where the test months hold any.

    place: cells of a map and the unit that each shows (cell,), -1 for none; points: `latitude`, `longitude` [degrees],
    `month` and `kind` of the reports to draw, (report,) each; where: a phrase that says which data these are.
    """
    found = []
    for kind in KINDS:
        if kind != "flood" and not potential.scorable(case, kind):
            continue
        scored = potential.prepare(case, kind)
        rows = potential.table(scored)
        scores = potential.summarise(scored, rows)
        own = {name: values[points["kind"] == KINDS[kind]] for name, values in points.items()}
        found.append(Finding(kind, rows, scores, [_section(scored, rows, scores, place, own, where)]))
    return found


def _section(
    scored: Scored,
    rows: pd.DataFrame,
    scores: Mapping[str, Mapping[str, Any]],
    place: tuple[Cells, np.ndarray],
    points: Mapping[str, np.ndarray],
    where: str,
) -> Section:
    best = scored.headline
    table = comparison_table(
        scores,
        caption=f"{TITLES[scored.kind]}: months with a report against months without.",
        baselines=potential.BASELINES,
        labels=LABELS,
        columns=COLUMNS,
    )
    size = scores[best]
    note = (
        f"n = {size['n']:,} units, {size['n_months']} months, {size['n_records']:,} unit-months of which"
        f" {size['n_events']:,} hold a report. Below each value its 90 % interval from a block bootstrap over"
        f" {size['ci_blocks']}"
        + ("; with so few years none is given." if size["roc_area_ci"][0] is None else ".")
        + " Same place: pairs of months of one mascon or basin; all pairs compare places with each other too."
        " Thresholds let alarms into a fifth of the training months without a report. Bold: best of the column."
    )
    table = Table(table.caption, table.header, table.rows, [note])
    pictures = [_roc(scored, scores), *_maps(scored, best, place, points), *_gain(scored, rows, best, place)]
    told = sentences(scored, scores, where)
    if scored.kind == "flood":  # the second section is about the same index and data
        told += [INDEX, *scored.case.notes]
    return Section(TITLES[scored.kind], told, [table, *_units(scored, rows), *pictures])


def _units(scored: Scored, rows: pd.DataFrame) -> list[Table]:
    """ROC area of each unit, where they are few enough to be read."""
    shown = (scored.headline, *potential.BASELINES)
    area = rows.pivot(index="unit", columns="model", values="roc_area")
    size = rows[rows["model"] == scored.headline].set_index("unit")
    if len(size) > FEW_UNITS:
        return []
    lines = [
        [
            Cell(str(unit).title() if str(unit).isupper() else str(unit)),
            Cell(str(own["n_months"])),
            Cell(str(own["events"])),
            *(Cell("–" if np.isnan(area.loc[unit, m]) else f"{area.loc[unit, m]:.2f}") for m in shown),
        ]
        for unit, own in size.iterrows()
    ]
    return [
        Table(
            "ROC area of each unit on its own.",
            ["", "months", "with a report", *(LABELS.get(m, m) for m in shown)],
            lines,
            ["No area where all months, or none, hold a report; a handful of months says next to nothing."],
        )
    ]


def sentences(scored: Scored, scores: Mapping[str, Mapping[str, Any]], where: str) -> list[str]:
    """What a decision-maker needs: does the index tell floods, better than rain or storage alone, at which cost."""
    best = scored.headline
    own, kind = scores[best], KINDS[scored.kind].lower()
    rate = own["n_events"] / own["n_records"]
    if own["roc_area"] is None:
        told = "no place holds months with and months without a report, so nothing can be said about when it floods."
        return [f"{where}: {told}"]
    pairs = f"{own['roc_area']:.0%} of pairs{_span(own['roc_area_ci'])}; one half would be chance."
    first = (
        f"{where}: with storage from {LABELS.get(best, best)}, the best in the training years, the flood potential"
        f" ranks a month with a {kind} report above a month without one in the same place in {pairs} "
    )
    first += " ".join(_against(own, rival) for rival in potential.BASELINES)
    alarm = (
        f"Warned by a threshold set in the training years, one would have announced {own['tpr']:.0%} of the months with"
        f" a report and been wrong in {own['far']:.0%} of the months without; {rate:.1%} of all months have one."
    )
    chosen = LABELS.get(scored.storage_of, scored.storage_of)
    told = f"Storage alone is that of {chosen}, which told the training months best."
    return [first, alarm + " " + told]


def _against(own: Mapping[str, Any], rival: str) -> str:
    gain, (low, high) = own["roc_area_gain"][rival], own["roc_area_gain_ci"][rival]
    label = LABELS[rival]
    label = label[0].upper() + label[1:]
    told = f"(difference {gain:+.3f}{'' if low is None else f', 90 % interval {low:+.3f} to {high:+.3f}'})"
    if low is not None and low > 0:
        return f"{label} does worse {told}."
    if high is not None and high < 0:
        return f"{label} does better {told}: use it here."
    side = "somewhat worse" if gain > 0 else "as well or better"
    return f"{label} does {side} {told}, which these years cannot tell from no difference."


def _span(interval: Sequence[float | None]) -> str:
    low, high = interval
    return "" if low is None or high is None else f" (90 % interval {low:.0%} to {high:.0%})"


def _roc(scored: Scored, scores: Mapping[str, Mapping[str, Any]]) -> Illustration:
    others = sorted(scored.case.storage, key=lambda m: -(scores[m]["roc_area"] or 0.0))
    others.remove(scored.headline)
    shown = [scored.headline, *others[: SHOWN - 1], *potential.BASELINES]
    with style.rc():
        figure = style.new_figure(6.2, 5.2)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.9)
        for number, model in enumerate(shown):
            look: dict[str, Any] = {"color": style.colour(number), "linestyle": style.line(number)}
            curve = events.roc_curve(scored.index[model][scored.test], scored.reported[scored.test])
            label = f"{LABELS.get(model, model)} ({scores[model]['roc_area_pooled']:.2f})"
            axes.plot(curve.pofd, curve.pod, label=label, **look)
            if model in (scored.headline, "precipitation_alone") and scores[model]["roc_area_ci"][0] is not None:
                axes.fill_between(
                    RATES, *potential.roc_band(scored, model, RATES), color=look["color"], alpha=0.15, lw=0
                )
            axes.plot(scores[model]["far"], scores[model]["tpr"], "o", color=look["color"], markersize=5)
        axes.set(
            xlim=(0, 1), ylim=(0, 1), xlabel="false-alarm rate", ylabel="share of floods announced", aspect="equal"
        )
        axes.legend(loc="lower right", title="area, all places pooled")
    return Illustration(
        f"roc-{scored.kind.replace('_', '-')}",
        figure,
        "ROC curves of all places with one threshold: the share of months with a report that get an alarm, against that"
        " of months without, as the threshold falls. Dots: the threshold of the training years. Shaded: 90 % band of"
        " the first index and of rain alone, from draws of years.",
        "ROC curves. Areas: "
        + ", ".join(f"{LABELS.get(m, m)} {scores[m]['roc_area_pooled']:.2f}" for m in shown)
        + ".",
    )


def _maps(
    scored: Scored, best: str, place: tuple[Cells, np.ndarray], points: Mapping[str, np.ndarray]
) -> list[Illustration]:
    """Index and rain of the test month with the most reported units, reports drawn on both."""
    case, (cells, unit) = scored.case, place
    number = int(np.argmax((scored.reported & scored.test).sum(axis=0)))
    month = case.months[number]
    index, alone = scored.index[best][:, number], scored.index["precipitation_alone"][:, number]
    scale = Scale("index: 1 is the largest of the training years", low=-1.0, high=1.0)
    layers = [
        Layer(f"Flood potential, {month}", _spread(index, unit), scale),
        Layer("Rain alone", _spread(alone, unit), scale),
    ]
    figure = map_figure(cells, layers)
    own = points["month"] == month
    _draw_points(figure, points["longitude"][own], points["latitude"][own])
    return [
        Illustration(
            f"map-{scored.kind.replace('_', '-')}",
            figure,
            f"{month}, the test month with the most units reported. Left: flood potential with storage from"
            f" {LABELS.get(best, best)}; right: rain over its largest training month. Circles: {int(own.sum())}"
            f" {KINDS[scored.kind].lower()} reports.",
            f"Maps of flood potential and rain in {month} with {int(own.sum())} reports; flood potential has a median"
            f" of {np.nanmedian(index):.2f}, {np.nanmedian(index[scored.reported[:, number]]):.2f} where reports are.",
        )
    ]


def _gain(scored: Scored, rows: pd.DataFrame, best: str, place: tuple[Cells, np.ndarray]) -> list[Illustration]:
    """ROC area of each row over that of the baselines, where its test months hold both kinds."""
    cells, unit = place
    area = {model: part.set_index("unit")["roc_area"] for model, part in rows.groupby("model", sort=False)}
    scale = Scale("gain in ROC area", kind="skill")
    layers, told = [], []
    for rival in potential.BASELINES:
        gain = (area[best] - area[rival]).reindex(scored.case.row).to_numpy()
        if not np.isfinite(gain).any():
            return []
        layers.append(Layer(f"Over {LABELS[rival]}", _spread(gain, unit), scale))
        own = (area[best] - area[rival]).dropna()
        told.append(f"over {LABELS[rival]} in {int((own > 0).sum())} of {len(own)}")
    return [
        Illustration(
            f"gain-{scored.kind.replace('_', '-')}",
            map_figure(cells, layers),
            f"Where storage and rain together beat either alone: gain in ROC area of the index with storage from"
            f" {LABELS.get(best, best)}, {', '.join(told)} places; grey where test months do not hold both kinds.",
            f"Maps of the gain in ROC area: positive {' and '.join(told)} places.",
        )
    ]


def _spread(values: np.ndarray, unit: np.ndarray) -> np.ndarray:
    return np.where(unit >= 0, values[unit], np.nan)


def _draw_points(figure: Figure, longitude: np.ndarray, latitude: np.ndarray) -> None:
    """Circles on every map of a figure, without moving its limits."""
    for axes in figure.axes:
        if axes.images:
            axes.autoscale(False)
            axes.scatter(longitude, latitude, s=14, facecolors="none", edgecolors="#111111", linewidths=0.7, zorder=6)
