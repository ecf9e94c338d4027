"""Scores and the page of the drought experiment."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml.data.months import MONTH
from sciml.data.readers.usdm import CLASSES
from sciml.data.stores import open_store
from sciml.grace.drought import figures
from sciml.grace.drought import scores as drought_scores
from sciml.grace.drought.figures import LABELS
from sciml.grace.drought.scores import MOST_AREA, Observed
from sciml.grace.drought.storage import BASELINES, DroughtSetup, Ready
from sciml.report import maps
from sciml.report.page import Cell, Illustration, Section, Table
from sciml.report.results import Finding

PREFERRED = ("global_lstm", "lstm", "ridge")  # whose product the figures show, the first that was asked for
STATES = ("Texas", "Georgia", "Kansas", "California")
NOTES = [
    "The Drought Monitor is not independent of GRACE: its authors have looked at drought maps made from GRACE since"
    " about 2011, beside rain, soil, streams and reports from the ground. Agreement is agreement with experts.",
    "Storage is what differs from the season of the training years. Mascons, interpolation and downscaled storage are"
    " compared in the months that GRACE saw. Downscaled storage mixes what GRACE saw with what precipitation and"
    " modelled storage of the basins nearby say, by the errors of both in training years left out; the Drought Monitor"
    " is never used to fit. In months without GRACE it relaxes to the model.",
    "The correlation is that of ranks, negative where drought comes with low storage; closer to -1 is better. A state"
    f" or basin counts as in a class when at least {MOST_AREA:.0%} of its area is in that class or a worse one. Areas"
    " of counties come from their centres. Classes of storage are percentiles of a frozen reconstruction without GRACE"
    " from 1980, or where the predictors suffice, to 2014 or the end of training where that is earlier, at 30, 20, 10,"
    " 5 and 2 %. All intervals are 90 %, over whole years drawn again.",
    "Scores begin with the first test month and run to the last month that has predictors and a Drought Monitor,"
    " whatever last test month was asked for.",
]


def finding(setup: DroughtSetup, observed: Observed, store_url: str, seed: int) -> Finding:
    """Every model against the Drought Monitor from the first test month to the last month with predictors.

    observed: from `drought_scores.observe`; store_url: store of `drought.Downscale`.
    """
    ready, first = setup.prepare(), np.datetime64(setup.basins.test.first, "M")
    models = drought_scores.modelled(ready, observed.units, store_url)
    scored = observed.months.astype(MONTH) >= first
    table, scores = drought_scores.score(observed, models, scored, seed)
    best = next(name for name in PREFERRED if name in models)
    seen, every = drought_scores.compared(observed, models, scored)
    period = f"{observed.months[every][0]} to {observed.months[every][-1]}"
    blocks: list[Illustration | Table] = [
        _skill_table(scores, period),
        _event_table(scores, best),
        _class_maps(ready, observed, store_url, best, seen),
        figures.series(observed, models, _shown(observed), ["cubic_conserved", best], first),
        figures.reliability(observed, models, ["cubic_conserved", best], seen),
    ]
    paragraphs = [_verdict(scores, best, period), *NOTES, *observed.notes]
    return Finding("drought", table, scores, [Section("Drought", paragraphs, blocks)])


def _verdict(scores: Mapping[str, Mapping[str, Any]], best: str, period: str) -> str:
    ours, theirs = scores[best], scores["cubic_conserved"]
    share, gain = ours["fraction_better_than"]["cubic_conserved"], ours["gain_over"]["cubic_conserved"]
    low, high = ours["gain_over_ci"]["cubic_conserved"]
    sure = "more than chance" if low > 0 else "less than interpolation" if high < 0 else "no more than chance"
    rates = [one[key] for one in (ours, theirs) for key in ("pod_D0", "far_D0")]
    events = "" if None in rates else (
        " When the Drought Monitor had most of a state or basin in drought (D0 or worse), storage said so {:.0%} of the"
        " time, and gave a false alarm in {:.0%} of the months without; interpolated GRACE {:.0%} and"
        " {:.0%}.".format(*rates)
    )  # fmt: skip
    return (
        f"Drought, {period}: storage follows the Drought Monitor in {ours['n']} states and basins with a mean rank"
        f" correlation of {ours['dsci_spearman']:.2f} (interpolated GRACE {theirs['dsci_spearman']:.2f}). Downscaled"
        f" storage is closer than interpolated GRACE in {share:.0%} of them; the mean difference is {gain:+.3f}"
        f" ({low:+.3f} to {high:+.3f}), {sure}.{events}"
    )


def _skill_table(scores: Mapping[str, Mapping[str, Any]], period: str) -> Table:
    keys = {
        "dsci_spearman": "rank correlation",
        "dsci_spearman_states": "states",
        "dsci_spearman_basins": "basins",
        "dsci_spearman_detrended": "without trend",
        "dsci_spearman_all_months": "all months",
    }
    rows = []
    for name, one in scores.items():
        cells = [_cell(one.get(key), one.get(f"{key}_ci"), 3) for key in keys]
        share = one["fraction_better_than"].get("cubic_conserved")
        cells.append(_cell(share, one["fraction_better_than_ci"].get("cubic_conserved"), 2))
        gain = one["gain_over"].get("cubic_conserved")
        cells.append(_cell(gain, one["gain_over_ci"].get("cubic_conserved"), 3))
        rows.append([Cell(LABELS[name]), *cells])
    first = next(iter(scores.values()))
    return Table(
        f"Rank correlation of storage with DSCI, mean over states and basins, {period}",
        ["model", *keys.values(), "share better than interpolated", "mean gain over it"],
        rows,
        [
            f"n = {first['n']} states and basins, {first['n_months']} months with GRACE, {first['n_months_all']} in all"
            " (there the baselines are filled by straight lines in time). 90 % intervals over years.",
        ],
    )


def _event_table(scores: Mapping[str, Mapping[str, Any]], best: str) -> Table:
    rows = []
    for name in (*BASELINES, best):
        for drought in CLASSES:
            one = scores[name]
            cells = [
                _cell(one[f"{key}_{drought}"], one[f"{key}_{drought}_ci"], 2) for key in drought_scores.EVENT_SCORES
            ]
            counts = [str(one[f"{key}_{drought}"]) for key in ("hits", "misses", "false_alarms")]
            rows.append([Cell(f"{LABELS[name]}, {drought}"), *cells, *map(Cell, counts)])
    header = ["hit rate", "false-alarm rate", "false-alarm ratio", "equitable threat score"]
    return Table(
        "Drought classes hit and missed, all states and basins pooled",
        ["", *header, "hits", "misses", "false alarms"],
        rows,
        [
            "Counts are unit-months. The false-alarm rate is the share of months without the class that had an alarm,"
            " the false-alarm ratio the share of alarms that were false. 90 % intervals over years.",
        ],
    )


def _class_maps(ready: Ready, observed: Observed, store_url: str, best: str, seen: np.ndarray) -> Illustration:
    """The month with the most drought in the period."""
    month = int(np.argmax(np.where(seen, observed.dsci.mean(axis=0), -1)))
    cells, store = ready.places.cells, open_store(store_url)
    names = store.attrs["models"].split(", ")
    mine = np.flatnonzero(np.asarray(ready.places.area.sum(axis=0)).ravel() > 0)
    wanted = np.arange(len(ready.months)) == month
    fallback = store["reconstruction"].isel(model=names.index("ridge")).values[mine].astype(float)
    layers = {}
    for name in (*BASELINES, best):
        one = store.isel(model=names.index(name))
        own = one["reconstruction"].values[mine].astype(float)
        frozen = own if np.isfinite(own).any() else fallback
        found = drought_scores.percentiles(
            one["anomaly"].values[mine].astype(float), frozen, ready.months, ready.train, wanted
        )
        layers[LABELS[name]] = drought_scores.drought_class(found[:, month])
    layers["Drought Monitor"] = _drawn(ready, observed, month)[mine]
    where = maps.Cells(cells.latitude[mine], cells.longitude[mine], 0.5)
    return figures.class_maps(where, observed.months[month].astype(MONTH), layers)


def _drawn(ready: Ready, observed: Observed, month: int) -> np.ndarray:
    """Class of each cell by the counties in it: the worst class that covers most of it, or a worse one does."""
    known = np.isfinite(observed.county_area[0, :, month])
    area = ready.places.area[known]
    share = np.stack([area.T @ one for one in observed.county_area[:, known, month]])
    whole = np.asarray(area.sum(axis=0)).ravel()
    worse = np.cumsum(share[::-1], axis=0)[::-1] >= MOST_AREA * np.maximum(whole, 1e-9)
    return np.where(whole > 0, worse.sum(axis=0), np.nan)


def _shown(observed: Observed) -> list[int]:
    """Well-known states where they are there, and the two basins of most counties."""
    name, kind = observed.units.name, observed.units.kind
    states = [int(np.flatnonzero((name == state) & (kind == "state"))[0]) for state in STATES if state in name]
    basins = np.flatnonzero(kind == "basin")
    count = np.diff(observed.units.counties.indptr)[basins]
    return (states or [0]) + [int(unit) for unit in basins[np.argsort(-count)][:2]]


def _cell(value: float | None, interval: list[float | None] | None, digits: int) -> Cell:
    if value is None:
        return Cell("–")
    detail = ""
    if interval and None not in interval:
        detail = f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"
    return Cell(f"{value:.{digits}f}".replace("-", "−"), detail.replace("-", "−"))
