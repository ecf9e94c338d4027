"""Rivers driven by an emulator beside the same rivers driven by the model that it emulates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sciml.data.stores import open_store
from sciml.report.page import Cell, Illustration, Section, Table
from sciml.report.results import Finding
from sciml.rivers import figures
from sciml.rivers.network import Network
from sciml.rivers.report import ABSENT, KM2, SHOWN, series
from sciml.rivers.stations import Gauge

FLOODED = 0.05  # share of a cell
MUST = {"nse_discharge": 0.8, "r_fraction": 0.85, "csi": 0.6}


@dataclass(frozen=True, eq=False)
class Coupled:
    """Stores of `RouteYear`: the reference's, and each driver's, on one network with one set of channels. land:
    (cell,) bool, cells with runoff, whose floods count: a mouth below the last gauge may be under the sea's level.
    """

    reference: str
    driven: Mapping[str, str]
    network: Network
    land: np.ndarray
    gauges: Sequence[Gauge]
    first_test: int
    last_test: int
    trained: str


def finding(found: Coupled, labels: Mapping[str, str]) -> Finding:
    """Experiment `coupled`, scored on the test years."""
    dates, flow = series(found.reference)
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    tested = (years >= found.first_test) & (years <= found.last_test)
    reference = flow[tested, 0]
    truth = _fractions(found.reference, found)
    frames, scores, shown = [], {}, {"reference": reference}
    for name, url in found.driven.items():
        driven = series(url)[1][tested, 0]
        shown[name] = driven
        each = nse(reference, driven)
        scores[name] = discharge_scores(each, reference, driven) | flood_scores(
            truth[:, found.land], _fractions(url, found)[:, found.land]
        )
        scores[name]["gauges"] = {g.name: float(v) for g, v in zip(found.gauges, each, strict=True)}
        frames.append(
            pd.DataFrame({"experiment": "coupled", "model": name, "unit": [g.name for g in found.gauges],
                          "n": int(tested.sum()), "nse": each})
        )  # fmt: skip
    most = slice(0, SHOWN)
    blocks: list[Illustration | Table] = [
        _table(scores, labels),
        Illustration(
            "coupled_hydrographs",
            figures.hydrographs(
                dates[tested], {k: v[:, most] for k, v in shown.items()}, [g.name for g in found.gauges[most]]
            ),
            f"The {min(SHOWN, len(found.gauges))} largest of {len(found.gauges)} gauges, last test years: the same"
            " rivers driven by the reference's runoff (black) and by emulated runoff.",
            "Hydrographs of rivers driven by reference and emulators.",
        ),
        Illustration(
            "coupled_flooded",
            figures.flooded(
                found.network,
                {"reference": truth.mean(axis=0)}
                | {name: _fractions(url, found).mean(axis=0) for name, url in found.driven.items()},
            ),
            f"Flooded share, mean of {len(truth)} test months, driven by reference and by emulators.",
            "Maps of the flooded share by driver.",
        ),
    ]
    section = Section("The same rivers, two sources of runoff", _words(found, scores, labels), blocks)
    return Finding("coupled", pd.concat(frames, ignore_index=True), scores, [section])


def _fractions(url: str, found: Coupled) -> np.ndarray:
    """(month, cell) of the test years."""
    with open_store(url) as store:
        part = store["fraction_mean"].sel(year=slice(found.first_test, found.last_test)).values.astype(np.float64)
    return part.reshape(-1, part.shape[-1])


def nse(reference: np.ndarray, driven: np.ndarray) -> np.ndarray:
    """(gauge,) of (time, gauge)."""
    return 1.0 - ((driven - reference) ** 2).mean(axis=0) / reference.var(axis=0)


def discharge_scores(each: np.ndarray, reference: np.ndarray, driven: np.ndarray) -> dict[str, float | int]:
    """nse_discharge: the median gauge's, with the worst, the share at or above 0.8, and the bias of the mean."""
    return {
        "n": len(each),
        "nse_discharge": float(np.median(each)),
        "nse_discharge_least": float(each.min()),
        "share_nse_08": float((each >= MUST["nse_discharge"]).mean()),
        "bias": float(driven.mean() / reference.mean() - 1.0),
    }


def flood_scores(truth: np.ndarray, driven: np.ndarray) -> dict[str, float | int | None]:
    """r_fraction over all cells and months and of the median flooding cell; csi of cells and months above FLOODED.

    truth, driven: (month, cell) [1]. None where nothing is flooded.
    """
    floods, said = truth > FLOODED, driven > FLOODED
    either = int((floods | said).sum())
    moving = np.flatnonzero((truth.std(axis=0) > 0) & (truth.max(axis=0) > 0.01) & (driven.std(axis=0) > 0))
    each = [np.corrcoef(truth[:, cell], driven[:, cell])[0, 1] for cell in moving]
    varied = truth.std() > 0 and driven.std() > 0
    return {
        "r_fraction": float(np.corrcoef(truth.ravel(), driven.ravel())[0, 1]) if varied else None,
        "r_fraction_of_a_cell": float(np.median(each)) if each else None,
        "n_flooding_cells": len(moving),
        "csi": float((floods & said).sum() / either) if either else None,
        "n_floods": int(floods.sum()),
    }


def _table(scores: Mapping[str, Mapping[str, object]], labels: Mapping[str, str]) -> Table:
    def told(value: object) -> Cell:
        return Cell("-" if value is None else f"{value:.2f}")

    rows = [
        [Cell(labels.get(name, name)), Cell(f"{v['nse_discharge']:.2f}", f"worst {v['nse_discharge_least']:.2f}"),
         Cell(f"{v['bias']:+.1%}"), told(v["r_fraction"]), told(v["r_fraction_of_a_cell"]), told(v["csi"])]
        for name, v in scores.items()
    ]  # fmt: skip
    return Table(
        "Daily discharge and monthly flooded share of rivers driven by emulated runoff, against the same rivers driven"
        " by the reference's. CSI: of cells and months more than 5 % flooded.",
        ["runoff of", "NSE, median gauge", "bias", "r of flooded share", "r, median cell", "CSI"],
        rows,
    )


def _words(found: Coupled, scores: Mapping[str, Mapping[str, object]], labels: Mapping[str, str]) -> list[str]:
    best = max(scores, key=lambda name: scores[name]["nse_discharge"])
    first = scores[best]
    told = (
        f"Fitted on {found.trained}, routed and scored on {found.first_test}-{found.last_test}: the best runoff is that"
        f" of {labels.get(best, best)}, median NSE {first['nse_discharge']:.2f} at {first['n']} gauges (all cells above"
        f" {min(g.cell_area for g in found.gauges) / KM2:,.0f} km2), worst {first['nse_discharge_least']:.2f}."
    )
    misses = [
        f"{name}: {key} {value:.2f} (wanted {MUST[key]})"
        for name, v in scores.items()
        for key in MUST
        if (value := v[key]) is not None and value < MUST[key]
    ]
    floods = f"{first['n_floods']} cells and months of the reference are more than 5 % flooded."
    return [told, floods + (" Below what was wanted: " + "; ".join(misses) + "." if misses else ""), ABSENT]
