"""What routed rivers show: discharge at gauges, flooded land, whether the water adds up, what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sciml.data.readers.grdc import Stations
from sciml.data.stores import open_store
from sciml.report.page import Cell, Illustration, Section, Table
from sciml.report.results import Finding
from sciml.rivers import figures
from sciml.rivers.gauges import NINE_RIVERS, mean_flow, river_table
from sciml.rivers.network import Network
from sciml.rivers.stations import Gauge
from sciml.rivers.steps import Rivers

ABSENT = "Lakes, dams, abstraction of water and losses along the river are absent: every river is its runoff alone."
SHOWN = 6
KM2 = 1e6


@dataclass(frozen=True, eq=False)
class Routed:
    """A finished store of `RouteYear` with the mean runoff that shaped its channels."""

    url: str
    mean: str
    rivers: Rivers
    gauges: Sequence[Gauge]
    model: str
    routing: str


def series(url: str) -> tuple[np.ndarray, np.ndarray]:
    """dates (time,), discharge (time, member, gauge) of a store, the days that short years lack left out."""
    with open_store(url) as store:
        values, years = store["discharge"].values, store["year"].values
    dates, found = [], []
    for year, part in zip(years, values, strict=True):
        days = int(np.isfinite(part).all(axis=(0, 2)).sum())
        dates.append(np.datetime64(f"{year}-01-01") + np.arange(days))
        found.append(part[:, :days].swapaxes(0, 1))
    return np.concatenate(dates), np.concatenate(found)


def findings(routed: Routed, stations: Stations | None, seconds_per_year: float) -> list[Finding]:
    """discharge and routing."""
    dates, flow = series(routed.url)
    network = routed.rivers.network
    means = _means(routed.url, dates)
    with open_store(routed.mean) as mean:
        accumulated = mean_flow(network, routed.rivers.runoff(mean["runoff"].values))
    average = means.flow
    table, scores = _discharge(routed, dates, flow, accumulated)
    blocks: list[Illustration | Table] = [_gauge_table(scores["gauges"])]
    words = [_words(routed, dates, scores), *routed.rivers.notes, ABSENT]
    if stations is not None and (rows := _nine(network, stations, average)):
        blocks.append(rows)
    blocks += _illustrations(routed, dates, flow, means, accumulated)
    discharge = Finding(
        "discharge", table, {routed.model: scores}, [Section("Rivers: discharge at gauges and mouths", words, blocks)]
    )
    return [discharge, _routing(routed, means, seconds_per_year)]


@dataclass(frozen=True, eq=False)
class _Means:
    """Over all years, (cell,): discharge [m3 s-1], flooded share by months and on its worst day; worst errors."""

    flow: np.ndarray
    flooded: np.ndarray
    most_flooded: np.ndarray
    mass_error: float
    balance_error: float


def _means(url: str, dates: np.ndarray) -> _Means:
    """A year at a time: a century of flooded shares is no array to hold."""
    days = np.unique(dates.astype("datetime64[Y]"), return_counts=True)[1]
    with open_store(url) as store:
        cells = store.sizes["cell"]
        flow, flooded, most = np.zeros(cells), np.zeros(cells), np.zeros(cells)
        for year, weight in enumerate(days / days.sum()):
            part = store.isel(year=year)
            flow += weight * part["flow"].values
            flooded += part["fraction_mean"].values.mean(axis=0, dtype=np.float64) / len(days)
            most = np.maximum(most, part["fraction_max"].values.max(axis=0))
        errors = [float(store[name].values.max()) for name in ("mass_error", "balance_error")]
    return _Means(flow, flooded, most, *errors)


def _discharge(
    routed: Routed, dates: np.ndarray, flow: np.ndarray, accumulated: np.ndarray
) -> tuple[pd.DataFrame, dict[str, Any]]:
    gauges = {}
    for number, gauge in enumerate(routed.gauges):
        own = flow[:, 0, number]
        found: dict[str, Any] = {
            "mean_m3s": float(own.mean()),
            "accumulated_runoff_m3s": float(accumulated[gauge.cell]),
            "upstream_km2": gauge.cell_area / KM2,
            "n": len(own),
        }
        if flow.shape[1] > 1:
            means = flow[:, 1:, number].mean(axis=0)
            found["members_mean_m3s_sd"] = float(means.std(ddof=1)) if len(means) > 1 else 0.0
            found["members_daily_sd_share"] = float(
                flow[:, 1:, number].std(axis=1).mean() / max(own.mean(), np.finfo(float).tiny)
            )
        if np.isfinite(gauge.observed):
            found |= {"observed_mean_m3s": gauge.observed, "observed_years": gauge.years}
            found |= {"area_km2": gauge.area / KM2, "bias": float(own.mean() / gauge.observed - 1.0)}
        gauges[gauge.name] = found
    rows = pd.DataFrame(
        [
            {"experiment": "discharge", "model": routed.model, "unit": name, "n": v["n"], "mean_m3s": v["mean_m3s"],
             "bias": v.get("bias", np.nan)}
            for name, v in gauges.items()
        ]
    )  # fmt: skip
    return rows, {"n": len(gauges), "n_days": len(dates), "gauges": gauges}


def _words(routed: Routed, dates: np.ndarray, scores: Mapping[str, Any]) -> str:
    total = sum(v["mean_m3s"] for name, v in scores["gauges"].items() if name.startswith("mouth"))
    way = {"linear": "linear reservoirs", "inertial": "local-inertial flow with floodplains"}[routed.routing]
    return (
        f"Runoff of {routed.model} routed by {way} through {dates[0]} .. {dates[-1]}: daily discharge at"
        f" {len(routed.gauges)} places; the mouths among them carry {total:,.0f} m3/s in the mean."
    )


def _gauge_table(gauges: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for name, v in gauges.items():
        spread = f"± {v['members_mean_m3s_sd']:,.0f}" if "members_mean_m3s_sd" in v else ""
        observed = f"{v['observed_mean_m3s']:,.0f}" if "observed_mean_m3s" in v else "-"
        rows.append(
            [Cell(name), Cell(f"{v['upstream_km2']:,.0f}"), Cell(f"{v['mean_m3s']:,.0f}", spread),
             Cell(f"{v['accumulated_runoff_m3s']:,.0f}"), Cell(observed, str(v.get("observed_years", "")))]
        )  # fmt: skip
    return Table(
        "Mean discharge [m3 s-1], with the deviation of the members' means where there is an ensemble.",
        ["gauge", "upstream [km2]", "routed", "accumulated runoff", "observed (GRDC)"],
        rows,
        ["Runoff and record are of different years: a difference is not the routing's alone."],
    )


def _nine(network: Network, stations: Stations, average: np.ndarray) -> Table | None:
    found = river_table(network, stations, average)
    if not found:
        return None
    rows = [
        [Cell(row.river, row.station), Cell(f"{row.observed:,.0f}", row.years), Cell(f"{row.modelled:,.0f}"),
         Cell(f"{row.bias:+.0%}"), Cell(f"{row.area_bias:+.0%}"), Cell(f"{row.depth_bias:+.0%}")]
        for row in found
    ]  # fmt: skip
    absent = sorted(set(NINE_RIVERS) - {row.river for row in found})
    unknown = [river for river in absent if NINE_RIVERS[river] not in stations.number]
    absent = [river for river in absent if river not in unknown]
    notes = [f"Not on this network: {', '.join(absent)}."] if absent else []
    notes += [f"Not in the list of stations: {', '.join(unknown)}."] if unknown else []
    return Table(
        "The paper's nine rivers: mean discharge [m3 s-1]. The bias is split into that of the catchment on the network"
        " and what is left, the depth of runoff (its source, other years, and the absent lakes, dams and abstraction).",
        ["river", "observed", "routed", "bias", "of area", "of depth"],
        rows,
        notes,
    )


def _illustrations(
    routed: Routed, dates: np.ndarray, flow: np.ndarray, means: _Means, accumulated: np.ndarray
) -> list[Illustration]:
    network, shown = routed.rivers.network, slice(0, SHOWN)
    spread = flow[:, 1:, shown] if flow.shape[1] > 2 else None
    names = [gauge.name for gauge in routed.gauges[shown]]
    most = {"mean of all months": means.flooded, "largest of any day": means.most_flooded}
    return [
        Illustration(
            "hydrographs", figures.hydrographs(dates, {routed.model: flow[:, 0, shown]}, names, spread),
            f"Daily discharge at the {len(names)} largest, last years of {dates[0]} .. {dates[-1]}.",
            "Hydrographs of the largest rivers.",
        ),
        Illustration(
            "flooded", figures.flooded(network, most),
            f"Flooded share of each of {len(network)} cells, channels not counted."
            + ("" if routed.routing == "inertial" else " From the level of normal flow: linear reservoirs have none."),
            "Maps of the flooded share of cells.",
        ),
        Illustration(
            "carried", figures.carried(accumulated, means.flow),
            f"Mean discharge of each of {len(network)} cells against the mean runoff of all land above it; what is off"
            " the line has gone into storage.",
            "Mean discharge against accumulated runoff.",
        ),
    ]  # fmt: skip


def _routing(routed: Routed, means: _Means, seconds: float) -> Finding:
    mass, balance = means.mass_error, means.balance_error
    scores = {
        "mass_error": mass,
        "balance_error_of_a_cell": balance,
        "n": len(routed.rivers.network),
        "worker_seconds_per_year": seconds,
        "cells_without_runoff": int((routed.rivers.land < 0).sum()),
        "cells_left_out": routed.rivers.left_out,
    }
    table = pd.DataFrame(
        [{"experiment": "routing", "model": routed.routing, "unit": "network", "n": scores["n"], "mass_error": mass}]
    )
    said = (
        f"Water in, out and stored differ by {mass:.1e} of the largest over a year of the whole network, and by"
        f" {balance:.1e} at the worst cell against all land above it."
    )
    return Finding("routing", table, {routed.routing: scores}, [Section("Whether the water adds up", [said])])
