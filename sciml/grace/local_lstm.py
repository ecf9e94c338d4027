"""The paper's model: an LSTM for each unit of storage, an ensemble of members, trained on that unit alone.

Members differ by their starting parameters and by a bootstrap of the months; the loss is weighted by GRACE's
uncertainty. Units do not know each other, so that any grouping of units into items gives the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciml.core.errors import ConfigError, InputError
from sciml.core.seeds import seed_for
from sciml.nn.ensemble import Shape, initial_parameters, predict_compiled, shape_of, train_compiled, train_stacked
from sciml.nn.training import TrainingConfig

Floats = NDArray[np.float32]
States = dict[str, Floats]

MINIMUM_RECORDS = 24  # fewer observed months than two years say nothing of a season


@dataclass(frozen=True)
class LocalLSTMConfig:
    """Size of the ensemble, of its networks and of their training (full batch, one-cycle steps)."""

    members: int = 50
    hidden_size: int = 8
    epochs: int = 120
    learning_rate: float = 3e-2
    weight_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.members < 1 or self.hidden_size < 1:
            raise ConfigError(f"{self}: members and hidden size must be at least 1")
        self.training()

    def training(self) -> TrainingConfig:
        return TrainingConfig(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule="one_cycle",
        )


def fit_units(
    features: NDArray[Any],
    targets: NDArray[Any],
    weights: NDArray[Any],
    mask: NDArray[np.bool_],
    config: LocalLSTMConfig,
    unit_ids: Sequence[int | str],
    root_seed: int,
    *,
    device: str = "cpu",
) -> States:
    """Train every member of every unit.

    features: (unit, record, lag, feature), oldest lag first; targets: (unit, record) [mm]; weights: (unit, record), 1 /
    sigma^2 of GRACE up to a factor; mask: (unit, record), True for records to train on, where everything must be
    finite. Scaling is fitted on these records too. unit_ids: what each unit is; its seeds derive from this.
    device: on the CPU units are trained one by one and do not depend on their company, to the last bit; elsewhere (a
    torch device) all at once in batched products.

    Returns arrays that lead with `unit`: parameters (unit, member, parameter), feature_mean and feature_scale (unit,
    feature), target_mean and target_scale (unit,) [mm]. A unit with fewer than 24 records to train on gets NaN, and so
    do its predictions. Raises InputError for values that are not finite, or weights that are not positive, where mask
    is True.
    """
    shape = Shape(features.shape[-1], config.hidden_size)
    states = _empty_states(len(unit_ids), config.members, shape)
    usable = mask.sum(axis=1) >= MINIMUM_RECORDS
    problems = []
    for unit, unit_id in enumerate(unit_ids):
        if not usable[unit]:
            continue
        use = mask[unit]
        x, y, w = features[unit, use], targets[unit, use], weights[unit, use]
        _require_usable(x, y, w, unit_id)
        scaling = _fit_scaling(x, y)
        for name, value in scaling.items():
            states[name][unit] = value
        seeds = [seed_for(root_seed, "local_lstm", unit_id, member) for member in range(config.members)]
        problems.append(_problem(x, y, w, scaling, shape, seeds))
        if device == "cpu":
            states["parameters"][unit] = train_compiled(*problems.pop(), shape=shape, config=config.training())
    if problems:
        states["parameters"][usable] = _train_together(problems, shape, config.training(), device)
    return states


def predict_units(states: States, features: NDArray[Any], parent: NDArray[np.int64] | None = None) -> Floats:
    """Members (place, member, record) [mm] of the trained networks on features (place, record, lag, feature).

    parent: (place,), the unit whose networks and scaling each place uses (default: place i uses unit i), so that a net
    of a mascon runs on its cells. A record with a feature that is not finite gets NaN.
    """
    places, records = features.shape[:2]
    parent = np.arange(places) if parent is None else np.asarray(parent)
    members, row = states["parameters"].shape[1:]
    shape = shape_of(row, features.shape[-1])
    result = np.full((places, members, records), np.nan, np.float32)
    for unit in np.unique(parent):
        if not np.isfinite(states["parameters"][unit]).all():
            continue
        place = np.flatnonzero(parent == unit)
        x = features[place]
        known = np.isfinite(x).all(axis=(2, 3))
        inputs = _scaled(x[known], states["feature_mean"][unit], states["feature_scale"][unit])
        values = predict_compiled(states["parameters"][unit], inputs, shape)
        values = values * states["target_scale"][unit] + states["target_mean"][unit]
        where, when = np.nonzero(known)
        result[place[where], :, when] = values.T
    return result


def _problem(
    features: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any],
    scaling: dict[str, Any],
    shape: Shape,
    seeds: Sequence[int],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Initial parameters (member, parameter), inputs, target and weights (member, record) of one unit, scaled."""
    counts = np.stack([bootstrap_counts(len(target), seed_for(seed, "bootstrap")) for seed in seeds])
    return (
        np.stack([initial_parameters(shape, seed_for(seed, "parameters")) for seed in seeds]),
        _scaled(features, scaling["feature_mean"], scaling["feature_scale"]),
        ((target - scaling["target_mean"]) / scaling["target_scale"]).astype(np.float32),
        (counts * weight / weight.mean()).astype(np.float32),
    )


def _train_together(
    problems: Sequence[tuple[Floats, ...]], shape: Shape, config: TrainingConfig, device: str
) -> Floats:
    """Units of different length side by side: shorter ones are filled with records of weight 0."""
    records = max(len(target) for _, _, target, _ in problems)
    stacked = [np.stack([row for row, _, _, _ in problems])]
    for index, axis in ((1, 0), (2, 0), (3, 1)):
        padded = []
        for problem in problems:
            values = problem[index]
            widths = [(0, records - size if place == axis else 0) for place, size in enumerate(values.shape)]
            padded.append(np.pad(values, widths))
        stacked.append(np.stack(padded))
    initial, inputs, target, weight = (torch.from_numpy(values).to(device) for values in stacked)
    return train_stacked(initial, inputs, target, weight, shape, config).cpu().numpy()


def bootstrap_counts(records: int, seed: int) -> Floats:
    """(record,): how often each record is drawn when as many as there are are drawn with replacement."""
    draws = np.random.default_rng(seed).integers(records, size=records)
    return np.bincount(draws, minlength=records).astype(np.float32)


def _empty_states(units: int, members: int, shape: Shape) -> States:
    sizes = {
        "parameters": (units, members, shape.parameters),
        "feature_mean": (units, shape.features),
        "feature_scale": (units, shape.features),
        "target_mean": (units,),
        "target_scale": (units,),
    }
    return {name: np.full(size, np.nan, np.float32) for name, size in sizes.items()}


def _fit_scaling(features: NDArray[Any], target: NDArray[Any]) -> dict[str, Any]:
    """Mean and standard deviation of features (over records and lags) and of the target; a constant has scale 1."""
    feature_mean = features.mean(axis=(0, 1), dtype=np.float64)
    target_mean = target.mean(dtype=np.float64)
    return {
        "feature_mean": feature_mean.astype(np.float32),
        "feature_scale": _scale(features.std(axis=(0, 1), dtype=np.float64), feature_mean),
        "target_mean": np.float32(target_mean),
        "target_scale": _scale(target.std(dtype=np.float64), target_mean),
    }


def _scale(deviation: Any, mean: Any) -> Floats:
    # the deviation of a constant is rounding noise, and dividing by it would blow up the first value that differs
    return np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0).astype(np.float32)


def _scaled(features: NDArray[Any], mean: Floats, scale: Floats) -> Floats:
    return ((features - mean) / scale).astype(np.float32)


def _require_usable(features: NDArray[Any], target: NDArray[Any], weight: NDArray[Any], unit_id: int | str) -> None:
    for name, values in (("features", features), ("targets", target), ("weights", weight)):
        if not np.isfinite(values).all():
            raise InputError(
                f"local LSTM, unit {unit_id}: {name} hold values that are not finite in records to train on; "
                "leave such records out of the mask"
            )
    if not (weight > 0).all():
        raise InputError(f"local LSTM, unit {unit_id}: weights must be positive in records to train on")
