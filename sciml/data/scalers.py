"""Standard scores: mean and deviation, fitted on the training period alone, kept as JSON beside the split."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sciml.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Scaler:
    """Standardisation of the last axis.

    names: (variable,); mean, sd: (variable,), or (unit, variable) where each unit has its own.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray

    def transform(self, values: np.ndarray) -> np.ndarray:
        """(x - mean) / sd. values: (..., variable), or (..., unit, time, variable) per unit; NaN stays NaN."""
        mean, sd = self._fitting(values)
        return ((values - mean) / sd).astype(np.result_type(values, np.float32), copy=False)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Undo `transform`, same shapes."""
        mean, sd = self._fitting(values)
        return (values * sd + mean).astype(np.result_type(values, np.float32), copy=False)

    def to_json(self) -> str:
        """JSON text; `from_json` gives back the same numbers bit for bit."""
        return json.dumps(
            {"names": list(self.names), "mean": self.mean.tolist(), "sd": self.sd.tolist()}, allow_nan=False
        )

    @staticmethod
    def from_json(text: str) -> "Scaler":
        found = json.loads(text)
        return Scaler(tuple(found["names"]), np.array(found["mean"], float), np.array(found["sd"], float))

    def _fitting(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.mean.ndim == 1:
            return self.mean, self.sd
        return self.mean[:, None, :], self.sd[:, None, :]


def fit(values: np.ndarray, training: np.ndarray, names: Sequence[str], *, per_unit: bool = False) -> Scaler:
    """Mean and deviation over the training times, NaN left out.

    values: (..., time, variable), with per_unit (unit, time, variable); training: (time,) bool. A variable that does
    not vary keeps the deviation 1, so that it becomes 0. Raises InputError for a variable without a single training
    value.
    """
    values = np.asarray(values)
    training = np.asarray(training)
    if training.dtype != bool or training.shape != (values.shape[-2],) or len(names) != values.shape[-1]:
        raise ValueError(
            f"values {values.shape}, training {training.dtype}{training.shape}, {len(names)} names do not fit"
        )
    if per_unit and values.ndim != 3:
        raise ValueError(f"per_unit expects (unit, time, variable), found {values.shape}")
    seen = values[..., training, :].astype(np.float64)
    axes = (1,) if per_unit else tuple(range(seen.ndim - 1))
    finite = np.isfinite(seen)
    count = finite.sum(axis=axes)
    if (count == 0).any():
        bad = names[int(np.argwhere(count == 0)[0][-1])]
        raise InputError(f"predictor '{bad}': no value in the training period; leave it out or change the period")
    mean = np.where(finite, seen, 0.0).sum(axis=axes) / count
    centred = np.where(finite, seen - np.expand_dims(mean, axes), 0.0)
    sd = np.sqrt((centred**2).sum(axis=axes) / count)
    # a constant leaves rounding noise, relative to its own size
    constant = sd <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
    return Scaler(tuple(names), mean, np.where(constant, 1.0, sd))
