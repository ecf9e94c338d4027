"""What a run of an emulator leaves on the page: means of what it gives, and what it cost."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sciml.data.stores import open_store
from sciml.land.simulation import Places
from sciml.report.maps import Cells, Layer, Scale, map_figure
from sciml.report.page import Cell, Illustration, Section, Table
from sciml.report.results import Finding

GLOBAL_CELLS = 67_000  # of land at half a degree
ENOUGH = 20  # cells of a map
TOLD = 5_000  # cells from which on the cost of all land is told


def findings(url: str, model: str, where: Places, took: Mapping[str, float]) -> Finding:
    """Experiment `speed`, with the means of what was run."""
    means = yearly_means(url)
    cells, years = len(where.names), next(iter(means.values())).shape[0]
    weight = np.where(np.isfinite(where.area_km2), where.area_km2, 1.0)
    scores = {
        **took,
        "n": cells,
        "years": years,
        **(
            {"worker_seconds_per_year_of_67000_cells": took["worker_seconds_per_year"] / cells * GLOBAL_CELLS}
            if cells >= TOLD
            else {}
        ),
        **{f"mean_{name}": float(np.average(values.mean(axis=0), weights=weight)) for name, values in means.items()},
    }
    rows = [
        [Cell(name.replace("_", " ")), *(Cell(f"{v:.3g}") for v in np.quantile(values.mean(axis=0), [0.05, 0.5, 0.95]))]
        for name, values in means.items()
    ]
    table = Table(
        f"Means over {years} years: stores [kg m-2], rates [kg m-2 day-1]; quantiles of {cells} cells.",
        ["variable", "5 %", "median", "95 %"],
        rows,
    )
    alone, written = took["worker_seconds_per_year"], took["worker_seconds_per_year_with_writing"]
    said = (
        f"{cells:,} cells ran through {years} years with model {model}: {alone:.3g} s of a worker a year, reading"
        f" included, {written:.3g} s with writing; the largest worker had {took['peak_memory_gib']:.2f} GiB."
    )
    blocks: list[Illustration | Table] = [table]
    if cells >= ENOUGH:
        blocks.append(_maps(where, means))
    frame = pd.DataFrame(
        [
            {
                "experiment": "speed",
                "model": model,
                "unit": "all cells",
                "n": cells,
                **{k: float(v) for k, v in took.items()},
            }
        ]
    )
    return Finding("speed", frame, {model: scores}, [Section("The land", [said], blocks)])


def yearly_means(url: str) -> dict[str, np.ndarray]:
    """variable -> (year, cell), of the best fit."""
    with open_store(url) as store:
        names = [str(name) for name in store.data_vars if name != "state"]
        found: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for year in range(store.sizes["year"]):
            for name in names:
                part = store[name].isel(year=year)
                part = part.isel(member=0) if "member" in part.dims else part
                found[name].append(np.nanmean(part.values, axis=0, dtype=np.float64))
    return {name: np.stack(values) for name, values in found.items()}


def _maps(where: Places, means: Mapping[str, np.ndarray]) -> Illustration:
    steps = np.diff(np.unique(where.lat))
    cells = Cells(where.lat, where.lon, float(steps.min()) if len(steps) else 0.5)
    layers = [
        Layer(name.replace("_", " "), values.mean(axis=0), Scale(name.replace("_", " "), "sequential"))
        for name, values in means.items()
    ]
    return Illustration(
        "land", map_figure(cells, layers), "Means over all years: stores [kg m-2], rates [kg m-2 day-1].",
        "Maps of mean runoff and stores.",
    )  # fmt: skip
