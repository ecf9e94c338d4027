"""The hand of all figures: type, lines, colours."""

from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Okabe & Ito (2008), readable with any colour vision; black is the observation's.
OBSERVED = "#000000"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B8A800")
LINES = ("-", "--", "-.", ":")

LAND = "#d9d9d9"
OCEAN = "#f4f7fa"
COAST = "#555555"
GAP = "#e8e8e8"

DIVERGING = "RdBu"  # blue is wet, red is dry
SEQUENTIAL = "viridis"
SKILL = "PuOr"
CLASSES = "YlOrRd"  # classes that get worse

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.hashsalt": "sciml",
    "axes.unicode_minus": True,
}


def rc() -> AbstractContextManager[None]:
    """Our settings for the length of a `with`, whatever the user's own are."""
    return matplotlib.rc_context(RC)


def new_figure(width: float, height: float) -> Figure:
    """Empty figure of a size in inches, outside pyplot's global list, so that nothing has to be closed."""
    return Figure(figsize=(width, height), layout="constrained")


def colour(index: int) -> str:
    """Colour of the series number `index`."""
    return COLOURS[index % len(COLOURS)]


def line(index: int) -> str:
    """Dash of the series number `index`: changes when the colours repeat, and once half way, for print in grey."""
    return LINES[(index // 4) % len(LINES)]
