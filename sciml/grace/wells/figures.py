"""Figures of the wells: where a model follows the water table, how it compares with GRACE alone, some series."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sciml.grace.wells.table import Wells
from sciml.report import figures, style
from sciml.report.page import Illustration

LABELS = {
    "mascon": "GRACE storage alone",
    "ridge": "ridge, lags and sums",
    "ridge_stores": "ridge on stores",
    "global_lstm": "global LSTM",
    "blend": "stores and LSTM, mean",
    "selected": "chosen by inner folds",
}


def skill_maps(wells: Wells, table: pd.DataFrame, model: str = "selected") -> Illustration:
    """Correlation of `model` at each well, and its gain over GRACE alone. table: rows of scores.parquet."""
    ours, storage = _of(table, model), _of(table, "mascon")
    order, values = pd.Index(wells.names).get_indexer(ours.index), (ours, ours - storage)
    looks = (
        ("r with deseasonalised level", {"cmap": style.SEQUENTIAL, "vmin": 0.0, "vmax": 1.0}),
        ("gain over GRACE alone", {"cmap": style.SKILL, "vmin": -0.5, "vmax": 0.5}),
    )
    with style.rc():
        figure = style.new_figure(7.0, 6.4)
        for axes, shown, (title, look) in zip(figure.subplots(1, 2, sharey=True), values, looks, strict=True):
            place = wells.longitude[order], wells.latitude[order]
            dots = axes.scatter(*place, c=shown, s=70, edgecolors="#333333", linewidths=0.6, **look)
            axes.set(title=title, xlabel="longitude [°E]")
            axes.set_aspect(1 / np.cos(np.deg2rad(wells.latitude.mean())))
            figure.colorbar(dots, ax=axes, orientation="horizontal", extend="both", label="correlation")
        figure.axes[0].set_ylabel("latitude [°N]")
    better = float((values[1] > 0).mean())
    return Illustration(
        "wells-map",
        figure,
        f"Skill at each of {len(ours)} wells in months predicted with the well's region and the years left out; wells"
        " at one grid point overlap.",
        f"Two maps of wells. Median correlation {ours.median():.2f}; above GRACE alone at {better:.0%} of wells.",
    )


def against_storage(table: pd.DataFrame, model: str = "selected") -> Illustration:
    """Correlation at each well, model against GRACE alone."""
    ours, storage = _of(table, model), _of(table, "mascon")
    low = float(np.floor(10 * min(ours.min(), storage.min(), 0.0)) / 10)
    with style.rc():
        figure = style.new_figure(5.4, 5.0)
        axes = figure.subplots()
        axes.plot([low, 1], [low, 1], color="#888888", linewidth=1)
        axes.plot(storage, ours, "o", color=style.colour(0), markersize=5)
        axes.plot(storage.median(), ours.median(), "P", color=style.colour(1), markersize=11, label="medians")
        for well in (ours - storage).abs().sort_values().index[-4:]:
            axes.annotate(well, (storage[well], ours[well]), (5, -3), textcoords="offset points", fontsize=8)
        axes.set(xlim=(low, 1), ylim=(low, 1), xlabel="r of GRACE storage alone", ylabel=f"r, model {LABELS[model]}")
        axes.legend(loc="upper left")
    return Illustration(
        "wells-against-storage",
        figure,
        f"Correlation with the deseasonalised, detrended level at {len(ours)} wells. Above the line the model is"
        " better; the wells that differ most are named.",
        f"Scatter of correlations: medians {storage.median():.2f} for GRACE alone and {ours.median():.2f} for the"
        " model.",
    )


def series(
    wells: Wells,
    table: pd.DataFrame,
    observed: np.ndarray,
    members: Mapping[str, np.ndarray],
    model: str = "selected",
) -> Illustration:
    """Level at the wells at the 90th, 50th and 10th percentile of skill, with the band and with GRACE alone.

    observed: (well, month) [m], NaN where not scored; members: model -> (well, member, month) [m].
    """
    ours = _of(table, model).sort_values(ascending=False)
    picked = [ours.index[round(share * (len(ours) - 1))] for share in (0.1, 0.5, 0.9)]
    time, panels = wells.months.astype("datetime64[s]"), []
    for well in picked:
        row = int(np.flatnonzero(wells.names == well)[0])
        lines = [
            figures.prediction(LABELS[model], time, members[model][row]),
            figures.Prediction(LABELS["mascon"], time, members["mascon"][row].mean(axis=0)),
        ]
        panels.append(figures.SeriesPanel(f"{well}, r {ours[well]:.2f}", time, observed[row], lines))
    return Illustration(
        "wells-series",
        figures.series_figure(panels, ylabel="groundwater level anomaly [m], up is wet", observed_label="well"),
        "Deseasonalised groundwater level at the wells at the 90th, 50th and 10th percentile of skill, predicted with"
        " their region and the years left out. Blocks of years come from different models.",
        f"Three series of observed levels with predicted bands: {', '.join(picked)}.",
    )


def _of(table: pd.DataFrame, model: str) -> pd.Series:
    return table[table["model"] == model].set_index("unit")["r_deseasonalised"]
