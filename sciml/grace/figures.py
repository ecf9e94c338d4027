"""The report's figures and tables of GRACE downscaling. Inputs are plain arrays and data frames, storage in mm.

Each function returns an `Illustration` or a `Section` for `sciml.report.page`, captions and alternative texts included:
these state what was computed from what, so the page can be read without the code. Packed cells are given without
padding.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sciml.metrics import seasonal
from sciml.metrics.ensembles import central_interval, ranks
from sciml.report import figures, maps
from sciml.report.comparison import SEASON_COLUMNS, comparison_table, verdict
from sciml.report.maps import Cells, Layer, Scale
from sciml.report.page import Illustration, Section, Table

MODEL_LABELS = {
    "lstm": "LSTM per unit",
    "global_lstm": "global LSTM",
    "ridge": "ridge regression",
    "climatology_trend": "climatology + trend",
    "last_year": "last year's value",
    "bilinear": "bilinear interpolation",
    "cubic": "cubic interpolation",
    "cubic_conserved": "area-conserving cubic",
    "group_mean": "group mean",
}
BASELINES = ("ridge", "climatology_trend", "last_year", "bilinear", "cubic", "cubic_conserved", "group_mean")
EXPERIMENT_LABELS = {
    "synthetic_t1": "Synthetic, groundwater (T1)",
    "synthetic_t2": "Synthetic, total storage (T2)",
    "basins": "Basins, years never seen",
    "basins_region_out": "Basins, regions never seen",
    "regroup": "Neighbourhoods to basins",
}
CLIMATES = {"A": "tropical", "B": "arid", "C": "temperate", "D": "continental", "E": "polar"}
STORAGE = "water storage anomaly [mm]"
SKILLS = (
    figures.Skill("nse", "NSE", low=-1.0, high=1.0),
    figures.Skill("r_deseasonalised", "r, deseasonalised", low=-0.5, high=1.0),
    figures.Skill("rmse", "RMSE [mm]", low=0.0, larger_is_better=False),
)


def climate_class(koeppen: Sequence[str] | np.ndarray) -> np.ndarray:
    """Köppen codes ("Dfb") -> main classes ("continental"); "unclassified" where the code is empty or unknown."""
    return np.array([CLIMATES.get(str(code)[:1], "unclassified") for code in koeppen])


def downscaling_maps(
    cells: Cells,
    month: np.datetime64 | str,
    *,
    mascon: np.ndarray,
    interpolated: np.ndarray,
    downscaled: np.ndarray,
    truth: np.ndarray | None = None,
    name: str = "downscaling",
    quantity: str = STORAGE,
) -> Illustration:
    """One month as GRACE saw it, interpolated, downscaled, and as it was where that is known.

    mascon, interpolated, downscaled, truth: (cell,) [mm], mascon values repeated over their cells. Cells should carry
    the mascons as `borders`. All panels share one colour scale.
    """
    scale = Scale(quantity)
    layers = [
        Layer("Mascons as observed", mascon, scale),
        Layer("Interpolated", interpolated, scale),
        Layer("Downscaled", downscaled, scale),
    ]
    if truth is not None:
        layers.append(Layer("Truth", truth, scale))
    when = np.datetime64(str(month), "M")
    spread = ", ".join(f"{layer.title.lower()} {np.nanstd(layer.values):.0f} mm" for layer in layers)
    return Illustration(
        name,
        maps.map_figure(cells, layers),
        f"{quantity.split(' [')[0].capitalize()} in {when}: {_listed(layers)}. Cells of {cells.resolution:g} degrees, "
        f"n = {len(cells.latitude):,}; thin lines are mascon borders. The interpolation is smooth and keeps "
        "each mascon's area-weighted mean. One colour scale for all panels.",
        f"Maps of the same month in {len(layers)} panels. Standard deviation over cells: {spread}.",
    )


def uncertainty_maps(
    cells: Cells, observed_months: np.ndarray, gap_months: np.ndarray | None = None, *, name: str = "uncertainty"
) -> Illustration:
    """Standard deviation of the members in each cell, mean over months with a record and over gap months.

    observed_months, gap_months: (cell,) [mm].
    """
    scale = Scale("standard deviation of members [mm]", "sequential", low=0.0)
    layers = [Layer("Months with a GRACE record", observed_months, scale)]
    text = f"median {np.nanmedian(observed_months):.0f} mm in months with a record"
    if gap_months is not None:
        layers.append(Layer("Gap months", gap_months, scale))
        text += f", {np.nanmedian(gap_months):.0f} mm in gap months"
    return Illustration(
        name,
        maps.map_figure(cells, layers),
        "Uncertainty of the downscaled storage: standard deviation of the members in each cell, averaged over months. "
        "In gap months nothing was observed, so the bands are wider.",
        f"Maps of the ensemble's standard deviation; {text}.",
    )


def skill_maps(
    cells: Cells,
    unit_of_cell: np.ndarray,
    frame: pd.DataFrame,
    *,
    model: str,
    baseline: str,
    name: str = "skill",
    labels: Mapping[str, str] = MODEL_LABELS,
) -> Illustration:
    """Where the model is good, and where it is better than a baseline.

    frame: rows of one experiment from scores.parquet, unit labels in `unit`; unit_of_cell: (cell,) label of the unit
    each cell belongs to. Maps: NSE, deseasonalised r, the RMSE skill 1 - RMSE / RMSE of the baseline, RMSE.
    """
    ours, theirs = (frame[frame["model"] == m].set_index("unit") for m in (model, baseline))
    gain = 1 - ours["rmse"] / theirs["rmse"].reindex(ours.index)
    position = pd.Index(ours.index).get_indexer(unit_of_cell)
    first, second = labels.get(model, model), labels.get(baseline, baseline)

    def on_cells(values: pd.Series) -> np.ndarray:
        return np.where(position >= 0, values.to_numpy(float)[position], np.nan)

    layers = [
        Layer("NSE", on_cells(ours["nse"]), Scale("NSE (0: no better than the mean)", "skill", high=1.0)),
        Layer("r, deseasonalised", on_cells(ours["r_deseasonalised"]), Scale("correlation", "skill", high=1.0)),
        Layer("RMSE skill", on_cells(gain), Scale("1 − RMSE ratio (> 0: better)", "skill", high=0.6)),
        Layer("RMSE", on_cells(ours["rmse"]), Scale("RMSE [mm]", "sequential", low=0.0)),
    ]
    better = float((gain.dropna() > 0).mean())
    return Illustration(
        name,
        maps.map_figure(cells, layers),
        f"Skill of {first} per unit over the test records, n = {len(ours)} units: Nash-Sutcliffe efficiency, "
        f"correlation without season and trend, RMSE relative to {second}, and RMSE. Grey: land without an "
        "observed unit.",
        f"Four maps of skill. Median NSE {ours['nse'].median():.2f}; RMSE is lower than that of {second} in "
        f"{better:.0%} of units.",
    )


def trend_amplitude_maps(
    cells: Cells,
    storage: np.ndarray,
    time: np.ndarray,
    parent: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    name: str = "trend-amplitude",
    trend_limit: float | None = None,
) -> Illustration:
    """Linear trend and annual amplitude of all mascons, fitted together at the true record times.

    storage: (mascon, record) [mm]; time: (record,) datetime64, middles; parent: (cell,) mascon of each cell; mask:
    (mascon, record) bool; trend_limit: end of the trend's scale [mm/yr], by default the 95th percentile of its size,
    so that melting ice sheets do not bleach the continents.
    """
    fitted = seasonal.cycle(storage, time, mask)
    trend, amplitude = fitted.trend[parent], fitted.amplitude[parent]
    limit = trend_limit or max(5.0, 5.0 * np.ceil(np.nanquantile(np.abs(trend), 0.95) / 5))
    layers = [
        Layer("Linear trend", trend, Scale("trend [mm yr⁻¹]", high=limit)),
        Layer("Annual amplitude", amplitude, Scale("amplitude [mm]", "sequential", low=0.0)),
    ]
    months = np.asarray(time).astype("datetime64[M]")
    lowest, highest = int(np.nanargmin(fitted.trend)), int(np.nanargmax(fitted.amplitude))
    return Illustration(
        name,
        maps.map_figure(cells, layers),
        f"Trend and annual amplitude of {len(np.unique(parent)):,} mascons over {len(time)} records, {months[0]} to "
        f"{months[-1]}: one least-squares fit of line, annual and semi-annual wave at the record times. Arrows: values "
        "beyond the scale.",
        f"Two maps. Trends reach from {np.nanmin(fitted.trend):.0f} to {np.nanmax(fitted.trend):.0f} mm per year "
        f"(lowest {_place(cells, parent, lowest)}); amplitudes reach {np.nanmax(fitted.amplitude):.0f} mm "
        f"(highest {_place(cells, parent, highest)}).",
    )


def basin_series(
    titles: Sequence[str],
    time: np.ndarray,
    observed: np.ndarray,
    members: Mapping[str, np.ndarray],
    *,
    predicted_time: np.ndarray | None = None,
    gaps: np.ndarray | None = None,
    split: np.datetime64 | str | None = None,
    name: str = "series",
    quantity: str = STORAGE,
    labels: Mapping[str, str] = MODEL_LABELS,
) -> Illustration:
    """Series of a few units with 90 % bands.

    titles: (unit,); observed: (unit, record) [mm] at time (record,), NaN where nothing was observed; members: model ->
    (unit, member, time) [mm] at predicted_time (default: the records); gaps: months without a record, shaded (default:
    the calendar months between the first and the last record that hold none); split: first month of the test period.
    """
    when = np.asarray(time if predicted_time is None else predicted_time)
    if gaps is None:
        seen = np.unique(np.asarray(time)[np.isfinite(observed).any(axis=0)].astype("datetime64[M]"))
        gaps = np.setdiff1d(np.arange(seen[0], seen[-1] + 1), seen)
    panels = [
        figures.SeriesPanel(
            title,
            np.asarray(time),
            observed[i],
            [figures.prediction(labels.get(m, m), when, values[i]) for m, values in members.items()],
            gaps,
            None if split is None else np.datetime64(str(split), "M"),
        )
        for i, title in enumerate(titles)
    ]
    names = " and ".join(labels.get(m, m) for m in members)
    count = {labels.get(m, m): v.shape[1] for m, v in members.items()}
    return Illustration(
        name,
        figures.series_figure(panels, ylabel=quantity),
        "Observed (points) and predicted storage: median and central 90 % interval of the members "
        f"({', '.join(f'{m} {n}' for m, n in count.items())}). Grey bars: the {len(gaps)} months without a GRACE "
        "record, which are not scored."
        + ("" if split is None else f" Test period from {np.datetime64(str(split), 'M')}."),
        f"Time series for {', '.join(titles)}: observations and predictions by {names} with bands.",
    )


def skill_distributions(
    frame: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    name: str = "skill-distribution",
    skills: Sequence[figures.Skill] = SKILLS,
    labels: Mapping[str, str] = MODEL_LABELS,
) -> Illustration:
    """Distribution of scores over units, one line per model. frame: rows of one experiment from scores.parquet."""
    models = list(dict.fromkeys(frame["model"])) if models is None else list(models)
    scores = {m: {s.key: frame.loc[frame["model"] == m, s.key].to_numpy() for s in skills} for m in models}
    middle = ", ".join(f"{labels.get(m, m)} {np.nanmedian(v[skills[0].key]):.2f}" for m, v in scores.items())
    return Illustration(
        name,
        figures.distribution_figure(scores, skills, labels=labels),
        f"Distribution of scores over {frame.groupby('model').size().max()} units: share of units below each value; "
        "dots mark medians.",
        f"Cumulative distributions of {', '.join(s.label for s in skills)}. Median {skills[0].label}: {middle}.",
    )


def calibration(
    observed: np.ndarray,
    members: Mapping[str, np.ndarray],
    mask: np.ndarray,
    *,
    name: str = "calibration",
    labels: Mapping[str, str] = MODEL_LABELS,
) -> Illustration:
    """Coverage at every level and place of the observation in the ensemble.

    observed: (unit, record) [mm]; members: model -> (unit, member, record) [mm]; mask: (unit, record) bool, scored.
    """
    places = {m: (ranks(observed, values)[mask], values.shape[1]) for m, values in members.items()}
    bounds = {m: central_interval(values) for m, values in members.items()}
    coverage = {m: float(((observed >= low) & (observed <= high))[mask].mean()) for m, (low, high) in bounds.items()}
    return Illustration(
        name,
        figures.calibration_figure(places, labels=labels),
        "Calibration over all scored records. Left: observed coverage of the central interval of each nominal level; "
        "below the diagonal the intervals are too narrow. Right: place of the observation among the members.",
        "Calibration curves. Share within the central 90 percent: "
        + ", ".join(f"{labels.get(m, m)} {v:.0%}" for m, v in coverage.items())
        + ".",
    )


def coverage_by_group(
    observed: np.ndarray,
    members: np.ndarray,
    mask: np.ndarray,
    *,
    climate: np.ndarray,
    gap: np.ndarray | None = None,
    region: np.ndarray | None = None,
    model: str = "",
    name: str = "coverage",
) -> Illustration:
    """Coverage of the 90 % interval by climate, and by gap and non-gap months.

    observed: (unit, record) [mm]; members: (unit, member, record) [mm]; mask: (unit, record) bool, scored; climate:
    (unit,) label, e.g. from `climate_class`; gap: (record,) or (unit, record) bool, true for a month without a GRACE
    record (scored only where truth is known otherwise); region: (unit,) blocks of the bootstrap.
    """
    lower, upper = central_interval(members)
    hits = np.where(mask, (observed >= lower) & (observed <= upper), np.nan).astype(float)
    groups = {
        "all records": figures.shares(hits, np.full(len(hits), "all"), blocks=region),
        "by climate": figures.shares(hits, np.asarray(climate), blocks=region),
    }
    if gap is not None:
        label = np.where(np.broadcast_to(gap, hits.shape), "gap months", "months with a record")
        groups["by month"] = figures.shares(hits, label, blocks=region)
    flat = [share for members_ in groups.values() for share in members_]
    outside = [s.label for s in flat if not 0.85 <= s.value <= 0.95]
    told = f"Outside 85 to 95 percent: {', '.join(outside)}." if outside else "All groups lie within 85 to 95 percent."
    of = f" of {MODEL_LABELS.get(model, model)}" if model else ""
    return Illustration(
        name,
        figures.coverage_figure(groups),
        f"Coverage of the central 90 % interval{of} ({np.shape(members)[1]} members), with 95 % block-bootstrap "
        "intervals; n counts records.",
        "Coverage by group: " + ", ".join(f"{s.label} {s.value:.0%}" for s in flat) + f". {told}",
    )


def comparison_section(
    experiment: str,
    frame: pd.DataFrame,
    summaries: Mapping[str, Mapping[str, Any]],
    *,
    baselines: Sequence[str] = BASELINES,
    reference: str | None = None,
    ceilings: Sequence[str] = (),
    paragraphs: Sequence[str] = (),
    labels: Mapping[str, str] = MODEL_LABELS,
    illustrations: Sequence[Illustration | Table] = (),
) -> Section:
    """The part of the report on one experiment: verdict, tables of scores and of season and trend, distributions.

    frame: the experiment's rows of scores.parquet; summaries: model -> summary (`scores.<experiment>` of metrics.json);
    reference: baseline of the last column (default: the baseline with the highest median NSE); ceilings: models that
    saw the answer and are shown as upper bounds.
    """
    title = EXPERIMENT_LABELS.get(experiment, experiment)
    rivals = [m for m in summaries if m in baselines and m not in ceilings]
    if reference is None and rivals:
        reference = max(rivals, key=lambda m: summaries[m].get("nse_median") or -np.inf)
    options: dict[str, Any] = {"baselines": baselines, "labels": labels, "ceilings": ceilings}
    tables: list[Table] = [
        comparison_table(summaries, caption=f"{title}: skill on the test records.", reference=reference, **options),
        comparison_table(summaries, caption=f"{title}: level, trend and season.", columns=SEASON_COLUMNS, **options),
    ]
    distribution = skill_distributions(frame, name=f"skill-distribution-{experiment.replace('_', '-')}", labels=labels)
    said = verdict(summaries, **options)
    return Section(title, [said[0].upper() + said[1:], *paragraphs], [*tables, distribution, *illustrations])


def _listed(layers: Sequence[Layer]) -> str:
    titles = [layer.title[0].lower() + layer.title[1:] for layer in layers]
    return ", ".join(titles[:-1]) + " and " + titles[-1]


def _place(cells: Cells, parent: np.ndarray, unit: int) -> str:
    inside = parent == unit
    if not inside.any():
        return "outside the map"
    latitude, longitude = float(cells.latitude[inside].mean()), float(cells.longitude[inside].mean())
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"near {abs(latitude):.0f}°{north}, {abs(longitude):.0f}°{east}"
