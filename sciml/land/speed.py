"""What a model year of the globe costs: a year of a record, repeated to a thousand cells, on one core."""

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd

from sciml.land.forcing import Forcing, Record
from sciml.land.models import Model
from sciml.land.run import simulate
from sciml.report.page import Cell, Section, Table
from sciml.report.results import Finding

GLOBE = 67_000  # land cells at half a degree
CELLS, ROUNDS = 1000, 3


def finding(models: Mapping[str, Model], record: Record) -> Finding:
    """Core-seconds of the fastest of three rounds, every output in memory, for GLOBE cells and a year."""
    forcing = _thousand(record.forcing)
    seconds = {name: _fastest(model, forcing) * GLOBE / CELLS for name, model in models.items()}
    table = pd.DataFrame({"experiment": "speed", "model": list(seconds), "unit": "globe", "n": CELLS})
    scores = {name: {"core_seconds_per_global_year": value, "n": CELLS} for name, value in seconds.items()}
    rows = [[Cell(name.replace("_", " ")), Cell(f"{value:.2f}")] for name, value in seconds.items()]
    text = (
        f"Core-seconds for a year of {GLOBE:,} cells, measured on {CELLS:,} in this run while its machine may have had"
        " other work; the paper's own code took 7.2 on 36 processes together, its land surface model 1,448 seconds."
    )
    block = Table("Speed of one core.", ["model", "core-seconds for a year of the globe"], rows)
    return Finding(
        "speed", table.assign(core_seconds=list(seconds.values())), scores, [Section("Speed", [text], [block])]
    )


def _thousand(forcing: Forcing) -> Forcing:
    year = forcing.days(slice(0, 365))
    return year.select(np.resize(np.arange(len(forcing.cells)), CELLS))


def _fastest(model: Model, forcing: Forcing) -> float:
    months = 12 if any(p.monthly for p in model.parameters) else 1
    theta, state = model.prior(CELLS, months), model.start(CELLS)
    out = np.empty((len(forcing.dates), len(model.outputs), CELLS))
    best = np.inf
    for _ in range(ROUNDS + 1):  # the first compiles
        began = time.process_time()
        simulate(model, forcing, theta, state, out=out)
        best = min(best, time.process_time() - began)
    return best
