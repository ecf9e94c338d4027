"""Predictors as a global network and a ridge take them, for whatever variables a source has.

Water storage integrates fluxes, so besides the last two years month by month a model gets leaky stores of each
variable's anomaly, which remember longer than any history that is unrolled:

    S_t = exp(-1 / memory) S_(t-1) + (x_t - mean of x over the reference months)

All scaling is by the unit's own climatology over the reference months (training years), so that a basin, a mascon or a
group of basins never seen in training enters on the same footing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciml.core.errors import InputError

Array = NDArray[np.float64]

MEMORIES = (3.0, 12.0, 36.0, 120.0)  # months
LAGS = (0, 1, 2)  # months
SUMS = (3, 6, 12, 24)  # months
LIMIT = 6.0  # standard deviations; what lies beyond is held there
ABSOLUTE_SCALE = 30.0  # mm month-1, where asinh turns from linear to logarithmic


def fill_families(predictors: NDArray[np.floating], reference: NDArray[np.bool_]) -> Array:
    """Make products comparable between units where some lack a variable.

    predictors: (unit, month, family, variable), NaN where missing; reference: (month,) bool. A variable that a family
    lacks at some unit in all reference months becomes the mean of the other families at every unit: one net for all
    units must not meet a product at a few of them only. A unit that every family lacks says nothing of the families
    and stays NaN. Other gaps take the others' mean anomaly on the family's own climatology. Months of which a family
    has no variable at all stay NaN: its record has not begun, or has ended.
    """
    raw = np.asarray(predictors, np.float64)
    present = np.isfinite(raw).any(axis=3, keepdims=True)
    absent = ~np.isfinite(raw[:, reference]).any(axis=1)  # (unit, family, variable)
    elsewhere = absent & ~absent.all(axis=1, keepdims=True)
    values = np.where(elsewhere.any(axis=0), np.nan, raw)
    own = _mean(values, reference[None, :, None, None], axis=1)
    others = _mean(own, True, axis=1)[:, None]
    level = np.where(np.isfinite(own), own, others)[:, None]
    anomaly = _mean(values - level, True, axis=2)[:, :, None]
    return np.where(present, np.where(np.isfinite(values), values, level + anomaly), np.nan)


def append_budget(values: Array, signs: Sequence[float]) -> Array:
    """Append sum_v sign_v x_v, the net flux into storage. values: (..., variable) -> (..., variable + 1)."""
    if len(signs) != values.shape[-1]:
        raise InputError(f"water budget: {len(signs)} signs for {values.shape[-1]} variables; give one for each")
    return np.concatenate([values, (values * np.asarray(signs, float)).sum(axis=-1, keepdims=True)], axis=-1)


def leaky_stores(flux: Array, reference: NDArray[np.bool_], memories: Sequence[float] = MEMORIES) -> Array:
    """Leaky sums of anomalies: (unit, month, k) -> (unit, month, k, memory), in the flux's unit times a month.

    A missing month adds nothing, so a store starts empty at the first month that is known.
    """
    anomaly = flux - _mean(flux, reference[None, :, None], axis=1)[:, None]
    anomaly = np.where(np.isfinite(anomaly), anomaly, 0.0)[..., None]
    keep = np.exp(-1.0 / np.asarray(memories, float))
    out = np.zeros((*flux.shape, len(keep)))
    level = np.zeros(out[:, 0].shape)
    for month in range(flux.shape[1]):
        level = level * keep + anomaly[:, month]
        out[:, month] = level
    return out


def season(months: NDArray[np.datetime64], harmonics: int = 1) -> Array:
    """Cosine and sine of the season: (month,) -> (month, 2 harmonics)."""
    phase = 2 * np.pi * (months.astype("datetime64[M]").astype(np.int64) % 12) / 12
    waves = [wave(k * phase) for k in range(1, harmonics + 1) for wave in (np.cos, np.sin)]
    return np.stack(waves, axis=-1)


@dataclass(frozen=True, eq=False)
class Features:
    """inputs: (unit, month, feature) float32, bounded. stores: (unit, month, store) in units of their own rms, float64.
    attributes: (unit, attribute) float64, not yet scaled across units; `size` is log rms of the 12-month store [mm].
    """

    inputs: NDArray[np.float32]
    stores: Array
    attributes: Array
    size: Array


def build(
    predictors: NDArray[np.floating],
    months: NDArray[np.datetime64],
    reference: NDArray[np.bool_],
    signs: Sequence[float] | None = None,
    memories: Sequence[float] = MEMORIES,
) -> Features:
    """Features of each unit and month.

    predictors: (unit, month, family, variable) [mm month-1 for fluxes]; months: (month,); reference: (month,) bool,
    the training months that define climatology and scale, nothing outside them does. signs: one per variable makes
    the water budget, from which the stores are filled; without it every variable fills its own.
    Raises InputError where a variable has no value at all in a unit's reference months.
    """
    known = np.isfinite(predictors[:, reference]).any(axis=(1, 2))
    if not known.all():
        unit, variable = np.argwhere(~known)[0]
        raise InputError(
            f"features: unit {unit}, variable {variable}: no product has a value in the reference months; "
            "leave the unit or the variable out"
        )
    filled = fill_families(predictors, reference)
    values = append_budget(filled, signs) if signs is not None else filled
    flat = values.reshape(*values.shape[:2], -1)
    source = values[..., -1] if signs is not None else flat
    stores = leaky_stores(source, reference, memories)
    rms = np.sqrt((stores[:, reference] ** 2).mean(axis=(1, 2)))  # (unit, memory): families keep their proportions
    scaled = stores / np.maximum(rms, 1e-6)[:, None, None, :]
    scaled = scaled.reshape(*scaled.shape[:2], -1)
    waves = np.broadcast_to(season(months), (len(flat), len(months), 2))
    parts = [_standardised(flat, reference), scaled, np.arcsinh(flat / ABSOLUTE_SCALE), waves]
    inputs = np.clip(np.concatenate(parts, axis=-1), -LIMIT, LIMIT)
    size = np.log(np.maximum(rms[:, int(np.argmin(np.abs(np.asarray(memories) - 12)))], 1e-3))
    described = _attributes(filled, months, reference, stores, rms, size)
    return Features(np.nan_to_num(inputs).astype(np.float32), scaled, described, size)


def lag_table(
    monthly: NDArray[np.floating],
    months: NDArray[np.datetime64],
    lags: Sequence[int] = LAGS,
    sums: Sequence[int] = SUMS,
    extra: Array | None = None,
) -> Array:
    """Table for a linear model: lagged months, running sums, season (two harmonics), and `extra` columns.

    monthly: (unit, month, variable); extra: (unit, month, k). Returns (unit, month, column), NaN where the history does
    not reach.
    """
    values = np.asarray(monthly, np.float64)
    columns = [_lagged(values, lag) for lag in lags]
    total = np.cumsum(np.nan_to_num(values), axis=1)
    known = np.cumsum(np.isfinite(values), axis=1)
    for length in sums:
        whole = known - _shifted(known, length) == length
        columns.append(np.where(whole, total - _shifted(total, length), np.nan))
    columns.append(np.broadcast_to(season(months, 2), (len(values), len(months), 4)))
    if extra is not None:
        columns.append(extra)
    return np.concatenate(columns, axis=-1)


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and scale of attributes across the units that train. mean, scale: (attribute,)."""

    mean: Array
    scale: Array

    @classmethod
    def fit(cls, attributes: Array, units: NDArray[np.bool_]) -> "Scaler":
        """attributes: (unit, attribute); units: (unit,) bool, those that train."""
        deviation = attributes[units].std(axis=0)
        return cls(attributes[units].mean(axis=0), np.where(deviation > 1e-9, deviation, 1.0))

    def apply(self, attributes: Array) -> NDArray[np.float32]:
        """(unit, attribute) -> the same, standardised and held within 4 deviations: elsewhere nothing was learned."""
        return np.clip((attributes - self.mean) / self.scale, -4, 4).astype(np.float32)


def _attributes(
    filled: Array, months: NDArray[np.datetime64], reference: NDArray[np.bool_], stores: Array, rms: Array, size: Array
) -> Array:
    values = _mean(filled, True, axis=2)[:, reference]  # (unit, month, variable), mean of the families
    wave = season(months[reference])
    mean = _mean(values, True, axis=1)
    harmonic = np.stack([2 * _mean(values * wave[None, :, k, None], True, axis=1) for k in (0, 1)])
    amplitude, phase = np.hypot(*harmonic), np.arctan2(harmonic[1], harmonic[0])
    level = np.log(np.maximum(np.abs(mean), 0.1))
    columns = [level, level - level[:, :1], amplitude / (np.abs(mean) + 1), size[:, None]]
    columns.append(np.log(np.maximum(rms, 1e-3)) - size[:, None])
    columns += [np.cos(phase - phase[:, :1])[:, 1:], np.sin(phase - phase[:, :1])[:, 1:]]
    if filled.shape[2] > 1:  # how far the products disagree
        spread = stores[:, reference].std(axis=2).mean(axis=1)
        columns.append(np.log(np.maximum(spread, 1e-3)) - size[:, None])
    return np.concatenate(columns, axis=-1)


def _standardised(values: Array, reference: NDArray[np.bool_]) -> Array:
    inside = values[:, reference]
    mean = _mean(inside, True, axis=1)[:, None]
    deviation = np.sqrt(_mean((inside - mean) ** 2, True, axis=1))[:, None]
    return (values - mean) / (deviation + 1e-3)


def _mean(values: Array, use: NDArray[np.bool_] | bool, axis: int) -> Array:
    """Mean of the finite values where `use`, NaN where there is none."""
    known = np.isfinite(values) & use
    count = known.sum(axis=axis)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def _lagged(values: Array, lag: int) -> Array:
    out = np.full_like(values, np.nan)
    out[:, lag:] = values[:, : values.shape[1] - lag]
    return out


def _shifted(values: Array, length: int) -> Array:
    out = np.zeros_like(values)
    out[:, length:] = values[:, :-length]
    return out
