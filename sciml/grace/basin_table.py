"""A basin table as arrays for models: predictors of several families side by side, storage in real GRACE months."""

import functools
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import MEAN_MONTH_S, MONTH, Timeline
from sciml.data.readers import basins, grace_months
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

    def read(self) -> xr.Dataset:
        """The table, read once in each process; basins without storage are left out."""
        return _read(self)


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
    stored = np.isfinite(table["twsa"].values).any(axis=1)
    if not stored.any():
        raise InputError(f"{source.file}: variable '{source.storage}': no basin holds storage in a real GRACE month")
    return table.isel(basin=np.flatnonzero(stored)) if "cell_parent" not in table else _keep(table, stored)


def _keep(table: xr.Dataset, stored: np.ndarray) -> xr.Dataset:
    """Basins that hold storage, with their cells."""
    number = np.cumsum(stored) - 1
    parent = table["cell_parent"].values
    kept = table.isel(basin=np.flatnonzero(stored), cell=np.flatnonzero(stored[parent]))
    return kept.assign(cell_parent=("cell", number[parent[stored[parent]]]))


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


def arrays(source: BasinSource, train: Period, test: Period) -> BasinArrays:
    """The table for a split. Basins need storage in at least 24 training months and predictors in all of them."""
    table = source.read()
    months = table["time"].values.astype(MONTH)
    fluxes = np.stack([table[name].values for name in FLUXES], axis=-1)  # (family, basin, month, flux)
    predictors = (np.moveaxis(fluxes, 0, 2) * MEAN_MONTH_S).astype(np.float32)
    storage = table["twsa"].values
    known = np.isfinite(storage).any(axis=0)
    trained, tested = known & train.contains(months), known & test.contains(months)
    if not trained.any() or not tested.any():
        empty = "training" if not trained.any() else "test"
        raise InputError(f"{source.file}: no real GRACE month in the {empty} period; check --{empty[:5].strip()}-first")
    enough = np.isfinite(storage[:, trained]).sum(axis=1) >= FEWEST_MONTHS
    if not enough.all():
        poor = table["basin"].values[np.flatnonzero(~enough)[0]]
        raise InputError(
            f"{source.file}: variable '{source.storage}', basin {poor}: found fewer than {FEWEST_MONTHS} real GRACE"
            " months in the training period; leave the basin out or lengthen the period"
        )
    uncertainty = (
        table["twsa_uncertainty"].values if "twsa_uncertainty" in table else np.full(storage.shape, 20.0, np.float32)
    )
    baseline = np.nanmean(storage[:, trained], axis=1, keepdims=True)
    return BasinArrays(
        names=table["basin"].values.astype(str),
        months=months,
        predictors=predictors,
        storage=(storage - baseline).astype(np.float32),
        uncertainty=uncertainty,
        train=trained,
        test=tested,
    )
