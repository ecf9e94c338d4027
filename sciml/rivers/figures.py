"""Figures of rivers: hydrographs, flooded land, what rivers carry against what runs off above them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from sciml.report import style
from sciml.report.maps import Cells, Layer, Scale, map_figure
from sciml.rivers.network import Network

SHOWN_YEARS = 2


def hydrographs(
    dates: np.ndarray, series: Mapping[str, np.ndarray], names: Sequence[str], spread: np.ndarray | None = None
) -> Figure:
    """One panel a gauge: the last years. series: label -> (time, gauge) [m3 s-1], the first is the reference where
    there are several; spread: (time, member, gauge)."""
    days = slice(max(len(dates) - SHOWN_YEARS * 365, 0), None)
    with style.rc():
        figure = style.new_figure(10.0, 0.9 + 1.5 * len(names))
        panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for number, (axes, name) in enumerate(zip(panels, names, strict=True)):
            if spread is not None:
                low, high = np.quantile(spread[days, :, number], [0.05, 0.95], axis=1)
                axes.fill_between(dates[days], low, high, color="0.85", lw=0, label="5 to 95 % of members")
            for index, (label, values) in enumerate(series.items()):
                colour = style.OBSERVED if index == 0 and len(series) > 1 else style.colour(max(index - 1, 0))
                axes.plot(dates[days], values[days, number], color=colour, lw=1.0, label=label)
            axes.set_title(name, fontsize="small", loc="left")
            axes.set_ylabel("m³ s⁻¹")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=6)
        return figure


def flooded(network: Network, layers: Mapping[str, np.ndarray]) -> Figure:
    """Maps of flooded shares, label -> (cell,) [1]."""
    scale = Scale("flooded share of the cell [%]", "sequential", low=0.0)
    return map_figure(cells_of(network), [Layer(name, 100.0 * values, scale) for name, values in layers.items()])


def carried(accumulated: np.ndarray, discharge: np.ndarray) -> Figure:
    """Mean discharge of each cell against the mean runoff of all land above it, (cell,) each [m3 s-1]."""
    with style.rc():
        figure = style.new_figure(5.0, 4.4)
        axes = figure.subplots()
        some = (accumulated > 0) & (discharge > 0)
        axes.plot(accumulated[some], discharge[some], ".", ms=3, alpha=0.4, color=style.colour(0))
        ends = [accumulated[some].min(), accumulated[some].max()] if some.any() else [1.0, 10.0]
        axes.plot(ends, ends, color="0.4", lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="accumulated runoff [m³ s⁻¹]", ylabel="mean discharge [m³ s⁻¹]")
        return figure


def cells_of(network: Network) -> Cells:
    """For a map."""
    step = abs(network.axis_lat[1] - network.axis_lat[0]) if len(network.axis_lat) > 1 else 0.5
    return Cells(network.lat, network.lon, float(step))
