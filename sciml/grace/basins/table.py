"""A basin table as arrays for models: predictors of several families side by side, storage in real GRACE months."""

import functools
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import MEAN_MONTH_S, MONTH, Timeline
from sciml.data.readers import basins, grace_months
from sciml.data.readers.common import note
from sciml.data.splits import Period
from sciml.grace.baselines import FEWEST_MONTHS

FLUXES = ("pr", "evspsbl", "mrro")


@dataclass(frozen=True)
class BasinSource:
    """Where a basin table lies and what is taken from it: see `sciml.data.readers.basins.read`."""

    file: str
    storage: str
    families: tuple[str, ...]
    real_months: str
    mask: str


@functools.lru_cache(maxsize=2)
def _read(source: BasinSource) -> xr.Dataset:
    real = grace_months.read(source.real_months) if source.real_months else None
    table = basins.read(
        source.file,
        storage=source.storage,
        families=source.families,
        mask=source.mask or None,
        real_months=real,
    )
    if not np.isfinite(table["twsa"].values).any():
        raise InputError(f"{source.file}: variable '{source.storage}': no basin holds storage in a real GRACE month")
    return table


def _keep(table: xr.Dataset, kept: np.ndarray) -> xr.Dataset:
    """Some of the basins, (basin,) bool, with their cells. A copy: its notes are its own."""
    out = table.isel(basin=np.flatnonzero(kept)).copy()
    if "cell_parent" not in table:
        return out
    number, parent = np.cumsum(kept) - 1, table["cell_parent"].values
    out = out.isel(cell=np.flatnonzero(kept[parent]))
    return out.assign(cell_parent=("cell", number[parent[kept[parent]]])).copy()


@dataclass(frozen=True, eq=False)
class BasinArrays:
    """What models take.

    names: (basin,). months: (month,). predictors: (basin, month, family, flux) [mm month-1], NaN where missing; fluxes
    as in FLUXES. storage: (basin, month) [mm], anomaly to the basin's mean over the training months, NaN outside real
    GRACE months. uncertainty: (basin, month) [mm]. train, test: (month,) bool, real GRACE months of either period.
    """

    names: np.ndarray
    months: np.ndarray
    predictors: np.ndarray
    storage: np.ndarray
    uncertainty: np.ndarray
    train: np.ndarray
    test: np.ndarray

    @property
    def family_mean(self) -> np.ndarray:
        """Mean over the families that have a value: (basin, month, flux) [mm month-1]."""
        known = np.isfinite(self.predictors)
        total = np.where(known, self.predictors, 0).sum(axis=2, dtype=np.float64)
        count = known.sum(axis=2)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)

    @property
    def windows(self) -> Timeline:
        """Every calendar month as a window; months of the table are calendar months."""
        start = self.months.astype(MONTH).astype("datetime64[s]")
        end = (self.months.astype(MONTH) + 1).astype("datetime64[s]")
        observed = np.isfinite(self.storage).any(axis=0)
        return Timeline(start, end, self.months, observed, np.where(observed, np.arange(len(start)), -1))


def read(source: BasinSource, train: Period, test: Period) -> tuple[xr.Dataset, BasinArrays]:
    """The table and its arrays for a split; the file is read once in each process.

    Basins without storage are left out, and those with storage, or with a flux by any family, in fewer than 24 training
    months: the table's notes name them. Raises InputError where none is left, or no real GRACE month in a period.
    """
    table = _read(source)
    table = _keep(table, np.isfinite(table["twsa"].values).any(axis=1))
    table = _enough(table, _seen(table, train, test, source)[0], source)
    trained, tested = _seen(table, train, test, source)
    fluxes = np.stack([table[name].values for name in FLUXES], axis=-1)  # (family, basin, month, flux)
    storage = table["twsa"].values
    uncertainty = (
        table["twsa_uncertainty"].values if "twsa_uncertainty" in table else np.full(storage.shape, 20.0, np.float32)
    )
    baseline = np.nanmean(storage[:, trained], axis=1, keepdims=True)
    return table, BasinArrays(
        names=table["basin"].values.astype(str),
        months=table["time"].values.astype(MONTH),
        predictors=(np.moveaxis(fluxes, 0, 2) * MEAN_MONTH_S).astype(np.float32),
        storage=(storage - baseline).astype(np.float32),
        uncertainty=uncertainty,
        train=trained,
        test=tested,
    )


def _seen(table: xr.Dataset, train: Period, test: Period, source: BasinSource) -> tuple[np.ndarray, np.ndarray]:
    """Real GRACE months of either period with storage at any basin: (month,) bool each."""
    months, known = table["time"].values.astype(MONTH), np.isfinite(table["twsa"].values).any(axis=0)
    trained, tested = known & train.contains(months), known & test.contains(months)
    if not trained.any() or not tested.any():
        empty = "training" if not trained.any() else "test"
        raise InputError(f"{source.file}: no real GRACE month in the {empty} period; check --{empty[:5].strip()}-first")
    return trained, tested


def _enough(table: xr.Dataset, trained: np.ndarray, source: BasinSource) -> xr.Dataset:
    """Basins that can be trained on. trained: (month,) bool."""
    known = {name: np.isfinite(table[name].values).any(axis=0) for name in FLUXES}
    known = {f"storage in '{source.storage}'": np.isfinite(table["twsa"].values)} | known
    few = {name: there[:, trained].sum(axis=1) < FEWEST_MONTHS for name, there in known.items()}
    poor = np.any(list(few.values()), axis=0)
    if poor.all():
        raise InputError(
            f"{source.file}: none of {len(poor)} basins with storage has {FEWEST_MONTHS} real GRACE months in the"
            f" training period with '{source.storage}', P, ET and R; lengthen the period or choose other families"
        )
    kept = _keep(table, ~poor)
    for name, basins_without in few.items():
        names = table["basin"].values[basins_without]
        if len(names):
            shown = ", ".join(map(str, names[:8])) + (" ..." if len(names) > 8 else "")
            why = f"{name} is known in fewer than {FEWEST_MONTHS} training months"
            note(kept, f"{source.file}: {len(names)} basins are left out, {why}: {shown}")
    return kept
