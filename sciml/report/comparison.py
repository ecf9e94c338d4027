"""Models against baselines: the table, and the sentence that says who won."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sciml.report.page import Cell, Table


@dataclass(frozen=True)
class Column:
    """One score in the table. key: in the summary; best: "high", "low", or the number it should be near."""

    key: str
    title: str
    best: str | float
    digits: int = 2
    percent: bool = False


COLUMNS = (
    Column("nse_median", "NSE", "high"),
    Column("r_median", "r", "high"),
    Column("rmse_median", "RMSE [mm]", "low", digits=1),
    Column("r_deseasonalised_median", "r, deseason.", "high"),
    Column("rmse_deseasonalised_median", "RMSE, deseason. [mm]", "low", digits=1),
    Column("crps_median", "CRPS [mm]", "low", digits=1),
    Column("coverage90", "coverage of 90 % interval", 0.9, digits=0, percent=True),
)
SEASON_COLUMNS = (
    Column("bias_median", "bias [mm]", 0.0, digits=1),
    Column("trend_error_abs_median", "size of trend error [mm/yr]", "low", digits=1),
    Column("amplitude_ratio_median", "annual amplitude, predicted / observed", 1.0),
    Column("phase_error_months_abs_median", "size of phase error [months]", "low"),
    Column("rmse_over_uncertainty_median", "RMSE / uncertainty of GRACE", "low"),
)


def comparison_table(
    summaries: Mapping[str, Mapping[str, Any]],
    *,
    caption: str,
    baselines: Sequence[str],
    labels: Mapping[str, str] | None = None,
    columns: Sequence[Column] = COLUMNS,
    reference: str | None = None,
    ceilings: Sequence[str] = (),
) -> Table:
    """Table of models and baselines with intervals, the best of each column in bold.

    summaries: model -> what `metrics.table.summarise` returned; baselines, ceilings: names that are baselines or
    labelled upper bounds (never bold); reference: baseline whose `fraction_better_than` becomes the last column.
    """
    labels = labels or {}
    shown = [c for c in columns if any(s.get(c.key) is not None for s in summaries.values())]
    best = {c.key: _best(c, {m: s for m, s in summaries.items() if m not in ceilings}) for c in shown}
    rows = []
    for model in sorted(summaries, key=lambda m: (m in ceilings, m in baselines)):
        summary = summaries[model]
        kind = "upper bound, not a competitor" if model in ceilings else "baseline" if model in baselines else ""
        row = [Cell(labels.get(model, model), kind)]
        row += [_cell(c, summary, model in best[c.key]) for c in shown]
        if reference:
            row.append(_share(summary, reference))
        rows.append(row)
    header = ["", *(c.title for c in shown)]
    if reference:
        header.append(f"lower RMSE than {labels.get(reference, reference)}")
    any_one = next(iter(summaries.values()))
    level = round(100 * any_one.get("ci_level", 0.95))
    blocks = any_one.get("ci_blocks", "units")
    notes = [
        f"Medians over n = {any_one['n']} units, up to {any_one['n_months']} months each; coverage is the share of all "
        f"records, the last column (where given) the share of units. Below each value its {level} % interval from a "
        f"block bootstrap over {blocks}. Bold: best of the column."
    ]
    return Table(caption, header, rows, notes)


def verdict(
    summaries: Mapping[str, Mapping[str, Any]],
    *,
    baselines: Sequence[str],
    labels: Mapping[str, str] | None = None,
    ceilings: Sequence[str] = (),
    experiment: str = "",
) -> str:
    """Who won, in plain words, by RMSE unit by unit against the strongest baseline (highest median NSE).

    Says so when the baseline wins, and when the interval of the share of units includes one half.
    """
    name = {m: (labels or {}).get(m, m) for m in summaries}
    scored = {m: s for m, s in summaries.items() if m not in ceilings and s.get("nse_median") is not None}
    models = [m for m in scored if m not in baselines]
    rivals = [m for m in scored if m in baselines]
    where = f"{experiment}: " if experiment else ""
    if not models or not rivals:
        return f"{where}no model stands beside a baseline here, so nothing can be said about skill."
    best = max(models, key=lambda m: scored[m]["nse_median"])
    rival = max(rivals, key=lambda m: scored[m]["nse_median"])
    a, b = scored[best], scored[rival]
    share = a.get("fraction_better_than", {}).get(rival)
    figures = (
        f"median NSE {a['nse_median']:.2f} against {b['nse_median']:.2f}, "
        f"median RMSE {a['rmse_median']:.1f} mm against {b['rmse_median']:.1f} mm"
    )
    if share is None:
        lead = "is ahead of" if a["nse_median"] > b["nse_median"] else "does not beat"
        return f"{where}{name[best]} {lead} the strongest baseline, {name[rival]} ({figures}; {a['n']} units)."
    low, high = a["fraction_better_than_ci"][rival]
    units = f"{share:.0%} of {a['n']} units"
    span = "" if low is None or high is None else f" (95 % interval {low:.0%} to {high:.0%})"
    if low is not None and low > 0.5 and a["nse_median"] > b["nse_median"]:
        return (
            f"{where}{name[best]} beats the strongest baseline, {name[rival]}, with the lower RMSE in {units}{span}: "
            f"{figures}."
        )
    if high is not None and high < 0.5:
        return (
            f"{where}the baseline wins: {name[rival]} has the lower RMSE than the best model, {name[best]}, which is "
            f"better in only {units}{span}; {figures}. Use {name[rival]} here."
        )
    return (
        f"{where}no clear winner: {name[best]} has a lower RMSE than the strongest baseline, {name[rival]}, in "
        f"{units}{span}; {figures}. The difference is within the sampling uncertainty."
    )


def _best(column: Column, summaries: Mapping[str, Mapping[str, Any]]) -> set[str]:
    values = {m: s[column.key] for m, s in summaries.items() if s.get(column.key) is not None}
    if not values:
        return set()
    if column.best == "high":
        distance = {m: -v for m, v in values.items()}
    elif column.best == "low":
        distance = dict(values)
    else:
        distance = {m: abs(v - float(column.best)) for m, v in values.items()}
    # models that print alike share the bold type
    scale = 10 ** (column.digits + (2 if column.percent else 0))
    least = round(min(distance.values()) * scale)
    return {m for m, d in distance.items() if round(d * scale) == least}


def _cell(column: Column, summary: Mapping[str, Any], best: bool) -> Cell:
    value, interval = summary.get(column.key), summary.get(f"{column.key}_ci")
    if value is None:
        return Cell("–")
    detail = ""
    if interval and None not in interval:
        detail = f"{_number(column, interval[0])} to {_number(column, interval[1])}"
    return Cell(_number(column, value), detail, best)


def _share(summary: Mapping[str, Any], reference: str) -> Cell:
    value = summary.get("fraction_better_than", {}).get(reference)
    if value is None:
        return Cell("–")
    low, high = summary["fraction_better_than_ci"][reference]
    return Cell(f"{value:.0%}", "" if low is None else f"{low:.0%} to {high:.0%}")


def _number(column: Column, value: float) -> str:
    shown = round(100 * value if column.percent else value, column.digits) + 0.0  # no minus before a zero
    return f"{shown:.{column.digits}f}{' %' if column.percent else ''}".replace("-", "−")
