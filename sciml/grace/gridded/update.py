"""New months for a run that stands: what is new, whether the old is still true, and stores made longer.

Networks learn from the training period alone, so later months change nothing that was learned. An update keeps every
stored window and adds those that follow; a history that was revised is refused, for then the whole run is another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import MONTH, SECOND, Records, Timeline, timeline
from sciml.data.stores import open_store
from sciml.grace.windows import months_covered, predictor_steps

SAME = 1e-4  # relative difference up to which stored and new values are one value


@dataclass(frozen=True, eq=False)
class Growth:
    """What a longer series adds. window, record, month: the first that is new, on axes of the longer series."""

    window: int
    record: int
    month: int


def growth(
    stored_series: xr.Dataset,
    stored_predictors: xr.Dataset,
    stored_product: xr.Dataset,
    mascons: xr.Dataset,
    windows: Timeline,
) -> Growth | None:
    """What is new, or None. Raises InputError where the past was revised.

    stored_series: `twsa`, `twsa_uncertainty` (mascon, record); stored_predictors: with `month`, `record_end`;
    stored_product: with `time_start`, `time_end`. mascons: as read now, windows: those that can be predicted now.
    """
    file = str(mascons.attrs.get("source", "storage"))
    _refuse_revised(stored_series, mascons, file)
    months = stored_predictors["month"].values.astype(MONTH)
    covered = (months[-1] + 1).astype(SECOND)  # a record that reaches beyond had no predictors
    record = int((stored_predictors["record_end"].values.astype(SECOND) <= covered).sum())
    start, end = (stored_product[f"time_{side}"].values.astype(SECOND) for side in ("start", "end"))
    late = np.flatnonzero(windows.observed & (windows.record >= record))
    window = min(len(start), int(late[0]) if len(late) else len(windows))
    if (
        len(windows) < window
        or (windows.start[:window] != start[:window]).any()
        or (windows.end[:window] != end[:window]).any()
    ):
        count = min(window, len(windows))
        changed = np.flatnonzero(windows.start[:count] != start[:count])
        where = windows.month[changed[0]] if len(changed) else windows.month[count - 1]
        raise InputError(
            f"{file}: its months differ from those of the run from {where} on, expected the same and later ones; a"
            " revised history needs a whole run in a new --run-dir"
        )
    # a second record of the last stored month needs that month again
    month = len(months) - int(windows.month[-1] <= months[-1])
    return Growth(window, record, month) if window < len(windows) else None


def _refuse_revised(stored: xr.Dataset, mascons: xr.Dataset, file: str) -> None:
    numbers, records = stored.sizes["mascon"], stored.sizes["record"]
    if mascons.sizes["mascon"] != numbers or (mascons["mascon_id"].values != stored["mascon_id"].values).any():
        raise InputError(
            f"{file}: found {mascons.sizes['mascon']} mascons, expected the {numbers} of the run; a new set of mascons"
            " needs a whole run in a new --run-dir"
        )
    bounds = np.stack([stored["record_start"].values, stored["record_end"].values], axis=-1).astype(SECOND)
    found = mascons["time_bounds"].values.astype(SECOND)
    if len(found) < records or (found[:records] != bounds).any():
        gone = next((i for i in range(records) if i >= len(found) or (found[i] != bounds[i]).any()), 0)
        raise InputError(
            f"{file}: found no record {bounds[gone, 0]} .. {bounds[gone, 1]} in its place, expected the run's"
            f" {records} records before any new one; a revised history needs a whole run in a new --run-dir"
        )
    for name in ("twsa", "twsa_uncertainty"):
        old, new = stored[name].values, mascons[name].values[:, :records]
        differ = ~np.isclose(old, new, rtol=SAME, atol=SAME, equal_nan=True)
        if differ.any():
            mascon, record = np.argwhere(differ)[0]
            raise InputError(
                f"{file}: variable '{name}': record {bounds[record, 0]} of mascon {stored['mascon_id'].values[mascon]}:"
                f" found {new[mascon, record]:.4g}, expected {old[mascon, record]:.4g} mm as in the run"
                f" ({int(differ.any(axis=0).sum())} of {records} records differ); a revised history needs a whole run"
                " in a new --run-dir"
            )


def refuse_other_predictors(stored: xr.Dataset, found: xr.Dataset, names: Sequence[str], file: str) -> None:
    """The last stored month must come out of the new predictors as it did, where they still hold it.

    stored, found: (cell, month) means of the same cells and of that one month.
    """
    for name in names:
        old, new = stored[name].values, found[name].values
        differ = ~np.isclose(old, new, rtol=SAME, atol=1e-9, equal_nan=True) & np.isfinite(new)
        if differ.any():
            cell = int(np.argwhere(differ)[0][0])
            raise InputError(
                f"{file}: variable '{name}': the run's last month, cell {cell}: found {new[cell].item():.4g}, expected"
                f" {old[cell].item():.4g} as in the run; other predictors need a whole run in a new --run-dir"
            )


def appended(old_url: str, new_url: str, first: dict[str, int], chunks: dict[str, int]) -> xr.Dataset:
    """A store made longer, lazily: old values up to `first` of each dimension, then the new store's.

    chunks: of the objects of the result; dimensions not named are whole.
    """
    old, new = open_store(old_url, chunks={}), open_store(new_url, chunks={})
    for dim, size in first.items():
        held = [name for name in old.variables if dim in old[name].dims]
        kept = old[held].isel({dim: slice(0, size)})
        joined = xr.concat(
            [kept, new[held]], dim=dim, data_vars="all", coords="minimal", compat="override", join="override"
        )
        old = old.drop_vars(held).merge(joined) if set(held) != set(old.variables) else joined
    whole = {str(dim): chunks.get(str(dim), -1) for dim in old.dims}
    out = old.chunk(whole)
    out.attrs = {key: value for key, value in out.attrs.items() if key != "template_digest"}
    return out


def lineage_entry(
    windows: Timeline, first: int, inputs: dict[str, Any], files: dict[str, str], when: str
) -> dict[str, Any]:
    """One line of a product's history, as JSON values. inputs: fingerprints of the files."""
    months = windows.month[first:].astype(str)
    span = {"first_month": str(months[0]), "last_month": str(months[-1]), "windows": len(months)}
    return {"when": when} | span | {"files": files, "inputs": inputs}


def reach(stored_months: np.ndarray, predictors: xr.Dataset, records: Records) -> tuple[np.ndarray, Timeline]:
    """Months of stored and new predictors together, and all windows that they and GRACE allow.

    predictors: may begin anywhere, as long as no month is left between the stored ones and theirs.
    """
    fresh = months_covered(predictor_steps(predictors))
    last = stored_months[-1]
    if len(fresh) and fresh[0] > last + 1:
        raise InputError(
            f"{predictors.attrs.get('source', 'predictors')}: found {fresh[0]} as its first whole month, expected"
            f" {last + 1} or before, for the run's predictors end in {last}; fetch the months between"
        )
    covered = np.arange(stored_months[0], max(last, fresh[-1] if len(fresh) else last) + 1)
    first, stop = max(records.month[0], covered[0]), min(records.month[-1], covered[-1]) + 1
    return covered, timeline(first, stop, records)
