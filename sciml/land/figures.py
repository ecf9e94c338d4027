"""Figures of emulators: hydrographs, skill of units, what the data say of parameters, maps."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sciml.data.stores import open_store
from sciml.land import skill
from sciml.land.forcing import Record
from sciml.land.models import Parameter
from sciml.land.source import LandSource, Layout
from sciml.land.steps import model_for
from sciml.land.trials import Trial
from sciml.report import style
from sciml.report.maps import Cells, Layer, Scale, map_figure
from sciml.report.page import Illustration

SHOWN_YEARS = 2
LEAST_CELLS = 60  # of a map
LEVELS = {
    "snow": "snow [kg m⁻²]",
    "soil_upper": "upper soil [kg m⁻²]",
    "soil_lower": "lower soil [kg m⁻²]",
    "groundwater": "groundwater [kg m⁻²]",
    "runoff": "runoff [kg m⁻² d⁻¹]",
    "evaporation": "evaporation [kg m⁻² d⁻¹]",
}
SUPERSCRIPT = str.maketrans("-12", "⁻¹²")


def of_free_run(
    runs: Mapping[str, str], trial: Trial, table: pd.DataFrame, source: LandSource, where: Layout
) -> list[Illustration]:
    """Series of the middling unit, and the skill of all."""
    unit = _middling(table)
    item = next(i for i in where.items if unit in where.names[i.cell_start : i.cell_stop])
    at = where.names.index(unit)
    record = item.of(source).select(slice(at - item.cell_start, at - item.cell_start + 1))
    dates = record.forcing.dates
    place = (dates - where.dates[0]).astype(int)
    series = {}
    for name, url in runs.items():
        with open_store(url) as store:
            part = store.isel(cell=at, time=place).load()
        series[name] = {str(v): part[v].values for v in part.data_vars}
    shown = [
        Illustration(
            "series",
            series_figure(record, series, trial),
            f"{unit}, the unit of middling skill: the last {SHOWN_YEARS} test years of the reference (black) and of"
            " each emulator's free run.",
            f"Daily series of {unit}: reference and emulators.",
        ),
    ]
    return shown + _skill_maps(table, where)


def of_skill(experiment: str, table: pd.DataFrame) -> Illustration:
    """Skill of all units of an experiment."""
    return Illustration(
        f"skill_{experiment}",
        skill_figure(table),
        f"Skill over climatology of each variable and model; a point is one of {table['unit'].nunique()} units, the bar"
        " their median. Below 0 the climatology is better; what is below -1 stands at the edge.",
        "Skill of each variable and model by unit.",
    )


def _middling(table: pd.DataFrame) -> str:
    model = "sciml" if "sciml" in set(table["model"]) else str(table["model"].iloc[0])
    means = table[table["model"] == model].groupby("unit")["ss"].mean().sort_values()
    return str(means.index[len(means) // 2])


def series_figure(record: Record, series: Mapping[str, Mapping[str, np.ndarray]], trial: Trial) -> Figure:
    """One panel a variable; a record of one cell."""
    dates = record.forcing.dates
    tested = np.flatnonzero(trial.test.of(dates))
    days = tested[-min(SHOWN_YEARS * 365, len(tested)) :]
    usual = {
        name: skill.climatology(values, dates, trial.train.of(dates), dates[days])
        for name, values in record.targets.values.items()
    }
    names = [name for name in LEVELS if name in record.targets.values]
    with style.rc():
        figure = style.new_figure(10.0, 0.8 + 1.6 * len(names))
        panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(panels, names, strict=True):
            axes.plot(dates[days], usual[name][:, 0], color="0.75", lw=1.0, label="climatology")
            axes.plot(
                dates[days], record.targets.values[name][days, 0], color=style.OBSERVED, lw=1.1, label="reference"
            )
            for index, (model, found) in enumerate(series.items()):
                if name in found:
                    axes.plot(dates[days], found[name][days], color=style.colour(index), lw=0.9, label=model)
            axes.set_ylabel(LEVELS[name])
        handles = {text: line for axes in panels for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=6)
        return figure


def skill_figure(table: pd.DataFrame) -> Figure:
    """Skill over climatology, a column of points for each model in a panel for each variable."""
    variables = [name for name in LEVELS if name in set(table["variable"])]
    models = [name for name in dict.fromkeys(table["model"]) if name != "climatology"]
    with style.rc():
        figure = style.new_figure(10.0, 4.0)
        panels = figure.subplots(1, len(variables), sharey=True, squeeze=False)[0]
        for axes, variable in zip(panels, variables, strict=True):
            for index, model in enumerate(models):
                rows = table[(table["variable"] == variable) & (table["model"] == model)]
                values = rows["ss"].dropna().values
                if not len(values):
                    continue
                axes.plot(
                    np.full(len(values), index),
                    np.maximum(values, -1.0),
                    "o",
                    ms=3.5,
                    alpha=0.6,
                    color=style.colour(index),
                )
                middle = max(float(np.median(values)), -1.0)
                axes.plot([index - 0.3, index + 0.3], [middle, middle], color=style.colour(index), lw=2.5)
            axes.axhline(0.0, color="0.4", lw=0.8)
            axes.set(
                title=variable.replace("_", " "),
                xticks=range(len(models)),
                ylim=(-1.05, 1.05),
                xlim=(-0.6, len(models) - 0.4),
            )
            axes.set_xticklabels(
                [name.replace("_", " ") for name in models], rotation=60, ha="right", rotation_mode="anchor"
            )
        panels[0].set_ylabel("skill over climatology")
        return figure


def of_parameters(fits: Mapping[str, str], source: LandSource, where: Layout) -> list[Illustration]:
    """What the data say of each parameter: posterior over prior deviation; maps where there are enough cells."""
    found, like = [], source.outline()[0]
    for name, url in fits.items():
        parameters = model_for(name, like.forcing, like.targets.stamp).parameters
        with open_store(url) as store:
            ratio = store["ratio"].mean("month").values
            theta = store["theta"].mean("month").values
        found.append(
            Illustration(
                f"parameters_{name}",
                identified_figure(ratio, [p.name for p in parameters]),
                f"{name}: standard deviation of each parameter after the fit over that of its prior, in"
                f" {len(ratio)} cells: 1 where the data say nothing (equifinality), near 0 where they determine it.",
                f"How far the data determine each parameter of {name}.",
            )
        )
        if len(ratio) >= LEAST_CELLS and np.isfinite(where.lat).all():
            layers = [parameter_layer(p, theta[:, k]) for k, p in enumerate(parameters[:6])]
            found.append(
                Illustration(
                    f"map_{name}", map_figure(_cells(where), layers),
                    f"{name}: fitted parameters, mean over the months.", f"Maps of parameters of {name}.",
                )
            )  # fmt: skip
    return found


def parameter_layer(parameter: Parameter, values: np.ndarray) -> Layer:
    """A map of one parameter with its unit at the colour bar. values: (cell,)."""
    name = parameter.name.replace("_", " ")
    units = parameter.units.replace("day", "d").replace("chi", "ᵡ")
    label = f"{name} [{units if units == '1' else units.translate(SUPERSCRIPT)}]"
    return Layer(name, values, Scale(label, "sequential"))


def identified_figure(ratio: np.ndarray, parameters: list[str]) -> Figure:
    """ratio: (cell, parameter)."""
    with style.rc():
        figure = style.new_figure(10.0, 0.9 + 0.19 * len(parameters))
        axes = figure.subplots()
        for row in range(len(parameters)):
            axes.plot(ratio[:, row], np.full(len(ratio), row), "o", ms=3.5, alpha=0.5, color=style.colour(0))
            axes.plot(np.median(ratio[:, row]), row, "|", ms=11, mew=2.0, color=style.colour(1))
        axes.axvline(0.7, color="0.4", lw=0.8)
        axes.set(yticks=range(len(parameters)), xlim=(0, 1.05), xlabel="posterior / prior standard deviation")
        axes.set_yticklabels([p.replace("_", " ") for p in parameters])
        axes.invert_yaxis()
        return figure


def _skill_maps(table: pd.DataFrame, where: Layout) -> list[Illustration]:
    if len(where.names) < LEAST_CELLS or not np.isfinite(where.lat).all():
        return []
    rows = table[table["model"] == "sciml"]
    scale, layers = Scale("skill over climatology", "skill", high=1.0), []
    for variable in dict.fromkeys(rows["variable"]):
        of = rows[rows["variable"] == variable].set_index("unit")["ss"]
        layers.append(Layer(variable.replace("_", " "), of.reindex(where.names).values, scale))
    if not layers:
        return []
    return [Illustration("skill_map", map_figure(_cells(where), layers), "Skill of sciml.", "Maps of skill of sciml.")]


def _cells(where: Layout) -> Cells:
    steps = np.diff(np.unique(where.lat))
    return Cells(where.lat, where.lon, float(np.median(steps)) if len(steps) else 0.5)
