"""Figures of the drought experiment: classes of a month as maps, series against the Drought Monitor, reliability."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from sciml.data.months import MONTH
from sciml.data.readers.usdm import CLASSES
from sciml.grace.drought.scores import PERCENTILES, Modelled, Observed
from sciml.report import figures, maps, style
from sciml.report.page import Illustration

LABELS = {
    "mascon": "GRACE mascons",
    "cubic_conserved": "interpolated",
    "ridge": "downscaled (ridge)",
    "lstm": "downscaled (LSTM per basin)",
    "global_lstm": "downscaled (global LSTM)",
}


def class_maps(cells: maps.Cells, month: np.datetime64, layers: Mapping[str, np.ndarray]) -> Illustration:
    """Drought classes of one month. layers: title -> (cell,) 0 for none, 1 for D0 .. 5 for D4, NaN without data."""
    scale = maps.Scale("drought class", classes=("none", *CLASSES))
    figure = maps.map_figure(cells, [maps.Layer(title, values, scale) for title, values in layers.items()])
    wide = {title: float(np.nanmean(values >= 2)) for title, values in layers.items()}
    shares = ", ".join(f"{title} {share:.0%}" for title, share in wide.items())
    return Illustration(
        "drought-classes",
        figure,
        f"Drought classes in {month}: where storage is among the lowest 30, 20, 10, 5 and 2 % for the time of year, and"
        f" what the Drought Monitor drew. Share of the cells in moderate drought (D1) or worse: {shares}.",
        f"Maps of the contiguous United States in {month}, one each for {', '.join(layers)}.",
    )


def series(
    found: Observed, models: Mapping[str, Modelled], shown: Sequence[int], which: Sequence[str], split: np.datetime64
) -> Illustration:
    """Storage of units against the Drought Monitor's index turned upside down, both in standard deviations.

    shown: units; which: models.
    """
    period = found.seen
    months = found.months[period].astype(MONTH)
    panels = []
    for unit in shown:
        lines = [
            figures.Prediction(LABELS[name], months, _standard(models[name].anomaly[unit, period])) for name in which
        ]
        index = -_standard(found.dsci[unit, period])
        title = str(found.units.name[unit]).title()
        panels.append(figures.SeriesPanel(title, months, index, lines, split=split))
    names = ", ".join(str(found.units.name[unit]).title() for unit in shown)
    return Illustration(
        "drought-series",
        figures.series_figure(
            panels, ylabel="standard deviations", observed_label="Drought Monitor index, upside down"
        ),
        f"Water storage without its season, and the Drought Monitor's index (DSCI) turned upside down, in {names}."
        f" Low is dry. Both are scaled to their own mean and deviation; the line marks {split}, where training ends.",
        f"Series of {names}: storage falls where the Drought Monitor's index rises.",
    )


def reliability(
    found: Observed, models: Mapping[str, Modelled], which: Sequence[str], seen: np.ndarray
) -> Illustration:
    """How often a unit was in drought, by the class that storage says. seen: (month,) bool."""
    edges = np.array([1.0, *PERCENTILES, 0.0])
    middle = np.arange(len(edges) - 1)
    names = ["none", *CLASSES]
    panels = {"D0": 0, "D2": 2}
    with style.rc():
        figure = style.new_figure(9.0, 3.8)
        for axes, (title, number) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            happened = found.worse[number][:, seen]
            for index, name in enumerate(which):
                percentile = models[name].percentile[:, seen]
                inside = [(percentile <= high) & (percentile > low) for high, low in itertools.pairwise(edges)]
                share = [happened[mask].mean() if mask.any() else np.nan for mask in inside]
                axes.plot(middle, share, marker="o", color=style.colour(index), label=LABELS[name])
            axes.axhline(happened.mean(), color=style.OBSERVED, linewidth=0.8, linestyle=":", label="all months")
            axes.set_xticks(middle, names)
            axes.set_ylim(0, 1)
            axes.set_xlabel("class by storage")
            axes.set_title(f"Drought Monitor: {title} or worse")
        figure.axes[0].set_ylabel("share of months")
        figure.axes[0].legend()
    count = int(seen.sum()) * len(found.units.name)
    return Illustration(
        "drought-reliability",
        figure,
        f"What a storage class means: how often most of a state or basin was in D0 or worse (left) and D2 or worse"
        f" (right) by the Drought Monitor, in months in which storage put it in each class. n = {count} unit-months.",
        "The drier the class by storage, the more often the Drought Monitor saw drought.",
    )


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - np.nanmean(values)) / max(float(np.nanstd(values)), 1e-9)
