"""The `discharge` experiment of `emulator_fit`: runoff of nested gauges routed by unit hydrographs.

The tables hold mean runoff upstream of gauges. Gauges of one river lie one within the next, so differences of their
volumes are what runs off the sub-areas between them. For each gauge, hydrographs of the sub-areas above it are fitted
to the land model's own runoff and its own routed discharge in the training years; then the runoff of every emulator's
free run goes through the same hydrographs. No test year and no observation is seen by a fit.

The tables do not say which area they are means over: the upstream cells of the land model's own network, whose area
differs from that of the real basin, which GRDC lists. So the area of a gauge is implied by its water: mean routed
discharge over mean runoff of the training years. Water taken or evaporated on the way is in it too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cluster.job import Engine
from cluster.stages import StoreRef
from sciml.core.errors import InputError
from sciml.data.readers.pcrglobwb import Station, stations_of
from sciml.land import report, skill
from sciml.land.forcing import Record
from sciml.land.source import LandSource, Layout
from sciml.land.trials import Trial
from sciml.report import style
from sciml.report.page import Cell, Illustration, Section, Table
from sciml.report.results import Finding
from sciml.rivers.hydrograph import Routing, fit, flood_peaks, peak_lags, route

VOLUME = 1.0 / 86.4  # [kg m-2 day-1 km2] to [m3 s-1]
PEAKS_A_YEAR = 2  # floods whose timing counts
SHOWN_DAYS = 2 * 365
OWN, ONE, REFERENCE = "own_runoff", "own_runoff_one_hydrograph", "pcrglobwb"
LABELS = {
    OWN: "own runoff",
    ONE: "own runoff, one hydrograph for all",
    REFERENCE: "PCR-GLOBWB's routed discharge",
    **report.LABELS,
}
AGAINST = ("routed", "observed")
SHOWN = ("nse", "kge", "r", "bias", "peak_lag_days")


@dataclass(frozen=True, eq=False)
class Gauge:
    """The lowest of `names`, gauges from the highest down, on the days that all of them hold.

    runoff: of what is scored, above each of them, (time, gauge) [kg m-2 day-1]; routed: by the land model (time, gauge)
    [m3 s-1]; observed: (time,) at this one, NaN where missing. stations: of each.
    """

    names: tuple[str, ...]
    stations: tuple[Station, ...]
    dates: np.ndarray
    runoff: Mapping[str, np.ndarray]
    routed: np.ndarray
    observed: np.ndarray

    @property
    def name(self) -> str:
        return self.names[-1]


@dataclass(frozen=True, eq=False)
class Routed:
    """areas: implied, of `gauge.names` [km2]; series: what is scored -> discharge (time,) [m3 s-1]."""

    gauge: Gauge
    areas: np.ndarray
    routing: Routing
    series: Mapping[str, np.ndarray]


def discharge(engine: Engine, source: LandSource, where: Layout, trial: Trial, runs: Mapping[str, StoreRef]) -> Finding:
    """Fits hydrographs, routes the reference's and the emulators' runoff, scores and draws them; hydrographs.json."""
    found = [routed(gauge, trial) for gauge in _tested(gauges(source, where, runs, stations_of(source.files)), trial)]
    engine.run.write_json("hydrographs.json", {one.gauge.name: _written(one) for one in found})
    table = pd.concat([scores(one, trial) for one in found], ignore_index=True)
    biggest = max(found, key=lambda one: one.areas[-1])
    blocks: list[Illustration | Table] = [scores_table(table), areas_table(found), picture(biggest, trial)]
    section = Section("Discharge at gauges", _words(table, biggest, trial), blocks)
    return Finding("discharge", table, skill.summary(table), [section])


def require_gauges(source: LandSource, where: Layout, trial: Trial) -> None:
    """Raises InputError where there is nothing to be routed or to be held against, before anything is fitted."""
    _tested(gauges(source, where, {}, stations_of(source.files)), trial)


def _tested(found: Sequence[Gauge], trial: Trial) -> list[Gauge]:
    """Those with days in the test years."""
    some = [gauge for gauge in found if trial.test.of(gauge.dates).any()]
    if not some:
        raise InputError(f"discharge: no gauge has a day of the test years {trial.test.first}:{trial.test.last} in"
                         " common with those above it; change --test")  # fmt: skip
    return some


def nested(stations: Mapping[str, Station]) -> dict[str, tuple[str, ...]]:
    """Gauge -> gauges of its river from the highest down to it: in order of area. One of no known river or area stands
    alone."""
    rivers: dict[str, list[str]] = {}
    for name, station in stations.items():
        known = station.river and np.isfinite(station.area_km2)
        rivers.setdefault(station.river if known else f"alone: {name}", []).append(name)
    found = {}
    for names in rivers.values():
        ordered = sorted(names, key=lambda name: (stations[name].area_km2, name))
        found |= {name: tuple(ordered[: place + 1]) for place, name in enumerate(ordered)}
    return found


def gauges(
    source: LandSource, where: Layout, runs: Mapping[str, StoreRef], stations: Mapping[str, Station]
) -> list[Gauge]:
    """Every gauge with a routed discharge, with those of its river above it."""
    records = {one.names[0]: one for one in source.records() if one.routed_discharge is not None}
    if not records:
        raise InputError("discharge: no table has routed discharge; put its q_NAME.csv, with the column pcr, beside it")
    order = nested({name: stations.get(name, Station()) for name in records})
    known = {name: stations.get(name, Station()) for name in records}
    return [_gauge([records[n] for n in names], [known[n] for n in names], where, runs) for names in order.values()]


def _gauge(
    records: Sequence[Record], stations: Sequence[Station], where: Layout, runs: Mapping[str, StoreRef]
) -> Gauge:
    names = tuple(record.names[0] for record in records)
    first = max(record.forcing.dates[0] for record in records)
    dates = np.arange(first, min(record.forcing.dates[-1] for record in records) + 1)
    if len(dates) < skill.FEWEST_DAYS:
        raise InputError(f"gauges {', '.join(names)}: {len(dates)} days are in all of them; expected a year at least")
    rows = [np.searchsorted(record.forcing.dates, first) + np.arange(len(dates)) for record in records]

    def beside(values: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([v[days] for v, days in zip(values, rows, strict=True)], axis=1)

    runoff = {OWN: beside([record.targets.values["runoff"] for record in records])}
    if not np.isfinite(runoff[OWN]).all():
        name = names[int(np.flatnonzero(~np.isfinite(runoff[OWN]).all(axis=0))[0])]
        raise InputError(f"discharge: {name} has days without runoff; expected one a day to be routed; fill them")
    for model, run in runs.items():
        cells = [where.names.index(name) for name in names]
        series = [report.series(run.url, slice(cell, cell + 1), dates, where)["runoff"] for cell in cells]
        runoff[model] = np.concatenate(series, axis=1)
    observed = np.full(len(dates), np.nan) if records[-1].discharge is None else records[-1].discharge[rows[-1], 0]
    routed = beside([record.routed_discharge for record in records if record.routed_discharge is not None])
    return Gauge(names, tuple(stations), dates, runoff, routed, observed)


def routed(gauge: Gauge, trial: Trial) -> Routed:
    """Areas and hydrographs of the training years; all runoff through them."""
    training = trial.train.of(gauge.dates)
    known = training[:, None] & np.isfinite(gauge.routed)
    areas = skill.mean_of(gauge.routed, known) / (VOLUME * skill.mean_of(gauge.runoff[OWN], known))
    if not (np.isfinite(areas).all() and (areas > 0.0).all()):
        raise InputError(f"gauge {gauge.name}: no routed discharge or no runoff in the training years; change --train")

    def volumes(runoff: np.ndarray) -> np.ndarray:
        return np.diff(VOLUME * areas * runoff, axis=1, prepend=0.0)

    own, target = volumes(gauge.runoff[OWN]), gauge.routed[:, -1]
    routing = fit(own, target, training)
    series = {name: route(volumes(runoff), routing) for name, runoff in gauge.runoff.items()}
    if len(gauge.names) > 1:
        whole = own.sum(axis=1, keepdims=True)
        series[ONE] = route(whole, fit(whole, target, training))
    return Routed(gauge, areas, routing, series)


def scores(found: Routed, trial: Trial) -> pd.DataFrame:
    """Rows of one gauge (experiment, model, unit, variable, n, scores): against the routed discharge and the observed,
    beside which stands the land model's own. Lags of floods are medians over the highest, `PEAKS_A_YEAR`."""
    gauge, rows = found.gauge, []
    tested, training = trial.test.of(gauge.dates), trial.train.of(gauge.dates)
    series = dict(found.series)
    for against, truth in (("routed", gauge.routed[:, -1]), ("observed", gauge.observed)):
        usual = skill.climatology(truth[:, None], gauge.dates, training, gauge.dates[tested])
        years = len(np.unique(gauge.dates[tested].astype("datetime64[Y]")))
        peaks = flood_peaks(truth[tested], PEAKS_A_YEAR * years)
        for name, values in series.items():
            scored = skill.score(truth[tested, None], values[tested, None], usual)
            lags = peak_lags(values[tested], peaks)
            row = {"experiment": "discharge", "model": name, "unit": gauge.name, "variable": against}
            row |= {key: value[0] for key, value in scored.items()}
            late = float(np.median(lags)) if len(lags) else np.nan
            off = float(np.median(np.abs(lags))) if len(lags) else np.nan
            rows.append(row | {"peak_lag_days": late, "peak_off_days": off, "peaks": len(lags), "floods": len(peaks)})
        series[REFERENCE] = gauge.routed[:, -1]
    return pd.DataFrame(rows)


def scores_table(table: pd.DataFrame) -> Table:
    """A row for each gauge and model; against the routed discharge, then the observed."""
    rows = []
    for (unit, model), of in table.groupby(["unit", "model"], sort=False):
        by = of.set_index("variable")
        cells = [Cell(str(unit)), Cell(LABELS[str(model)])]
        for against in AGAINST:
            for key in SHOWN:
                value = by.loc[against, key] if against in by.index else np.nan
                digits = {"bias": ".0f", "peak_lag_days": "+.1f"}.get(key, ".3f")
                text = f"{value:{digits}}" if np.isfinite(value) else "-"
                cells.append(Cell(text, f"{by.loc[against, 'peaks']:.0f} of {by.loc[against, 'floods']:.0f} floods")
                             if key == "peak_lag_days" and text != "-" else Cell(text))  # fmt: skip
        rows.append(cells)
    titles = {"nse": "NSE", "kge": "KGE", "r": "r", "bias": "bias [m3/s]", "peak_lag_days": "floods late [d]"}
    return Table(
        "Daily discharge of the test years, against PCR-GLOBWB's routed discharge and against the observed one."
        f" Floods: the highest, {PEAKS_A_YEAR} a year; median days by which they come late, of those that have a"
        " summit within 5 days.",
        ["gauge", "runoff of", *(f"{titles[key]}, {against}" for against in AGAINST for key in SHOWN)],
        rows,
    )


def areas_table(found: Sequence[Routed]) -> Table:
    """What was fitted at each gauge."""
    rows = []
    for one in found:
        stays = [h.slow_share * h.slow_days + (1.0 - h.slow_share) * h.reservoirs * h.stay_days
                 for h in one.routing.hydrographs]  # fmt: skip
        listed, implied = one.gauge.stations[-1].area_km2, one.areas[-1]
        rows.append([
            Cell(one.gauge.name),
            Cell(", ".join(one.gauge.names)),
            Cell(f"{listed:,.0f}" if np.isfinite(listed) else "-"),
            Cell(f"{implied:,.0f}", f"{implied / listed - 1.0:+.1%}" if np.isfinite(listed) else ""),
            Cell(f"{one.routing.gain:.3f}"),
            Cell(", ".join(f"{stay:.1f}" for stay in stays)),
        ])  # fmt: skip
    return Table(
        "Gauges: area of the real basin, area implied by the land model's water, gain of the fit beside it, and mean"
        " stay of each sub-area's water.",
        ["gauge", "sub-areas end at", "area listed [km2]", "area implied [km2]", "gain", "stay [d]"],
        rows,
    )


def picture(found: Routed, trial: Trial) -> Illustration:
    """The last two test years of a gauge."""
    gauge = found.gauge
    days = np.flatnonzero(trial.test.of(gauge.dates))[-SHOWN_DAYS:]
    emulators = [name for name in gauge.runoff if name != OWN]
    shown = [OWN, *(["sciml"] if "sciml" in emulators else emulators[:1])]
    with style.rc():
        figure: Figure = style.new_figure(10.0, 3.6)
        axes = figure.subplots()
        axes.plot(gauge.dates[days], gauge.observed[days], color=style.OBSERVED, lw=0.9, label="observed")
        axes.plot(gauge.dates[days], gauge.routed[days, -1], color="0.65", lw=2.6, label=LABELS[REFERENCE])
        for index, name in enumerate(shown):
            label = f"{LABELS[name]}, by hydrographs"
            axes.plot(gauge.dates[days], found.series[name][days], color=style.colour(index), lw=1.0, label=label)
        axes.set(ylabel="discharge [m³ s⁻¹]", ylim=(0.0, None))
        figure.legend(loc="outside upper center", ncols=4)
    return Illustration(
        "discharge",
        figure,
        f"Daily discharge at {gauge.name}, the last {len(days)} test days: observed, as the land model routed it, and"
        " runoff of the reference and of an emulator's free run through the fitted hydrographs.",
        f"Hydrographs at {gauge.name}.",
    )


def _words(table: pd.DataFrame, biggest: Routed, trial: Trial) -> list[str]:
    name = biggest.gauge.name
    at = table[table["unit"] == name].set_index(["variable", "model"])
    emulators = {m: at.loc[("routed", m), "nse"] for m in biggest.gauge.runoff if m != OWN}
    best = max(emulators, key=lambda m: np.nan_to_num(emulators[m], nan=-np.inf)) if emulators else None
    told = (
        f"{name}, tested on {trial.test.first}-{trial.test.last}: the land model's own runoff through"
        f" {len(biggest.areas)} fitted unit hydrographs gives NSE {at.loc[('routed', OWN), 'nse']:.3f} of its routed"
        f" discharge; floods come {at.loc[('routed', OWN), 'peak_lag_days']:+.1f} days late."
    )
    if best:
        told += f" Best emulated runoff: {LABELS[best]} ({emulators[best]:.3f})."
    area = (
        "The tables are means over the upstream cells of the land model's own network and do not say how many, so the"
        " area of each gauge is implied: mean routed discharge over mean runoff of the training years. It can differ"
        " from the real basin's area, which the list of gauges has from GRDC, either way, because the network's cells"
        " follow the divides roughly; it is smaller where water is taken from rivers or evaporates from them before it"
        " reaches the gauge. The tables cannot tell these apart. Lakes and dams are in the hydrographs only as delay."
    )
    if not np.isfinite(at.loc[("observed", OWN), "nse"]):
        return [told, area]
    against = (
        f"Against the observed discharge there NSE is {at.loc[('observed', OWN), 'nse']:.2f},"
        f" and {at.loc[('observed', REFERENCE), 'nse']:.2f} for the land model's own routing: what is wrong with its"
        " runoff no routing mends."
    )
    return [told, against, area]


def _written(found: Routed) -> dict[str, Any]:
    return {
        "gauges": list(found.gauge.names),
        "area_km2_implied": [float(area) for area in found.areas],
        "gain": found.routing.gain,
        "hydrographs": [asdict(h) for h in found.routing.hydrographs],
    }
