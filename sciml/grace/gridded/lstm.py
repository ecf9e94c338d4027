"""The global LSTM of the gridded job: trained on all mascons through Ray Train, run on mascons and cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sciml.core.seeds import seed_for
from sciml.grace.global_lstm import GlobalTraining, huber, new_model, window_samples
from sciml.grace.gridded import memory
from sciml.grace.gridded.layout import Block
from sciml.grace.gridded.steps import Problem
from sciml.grace.lags import month_position
from sciml.nn.checkpoint import load_checkpoint
from sciml.nn.lstm import GlobalLSTM, GlobalLSTMConfig
from sciml.nn.training import TrainingConfig, fit, single_thread

NETS_VERSION = 1  # raise it when training makes other networks, of mascons or of basins: old ones are not reused
FEWEST_EPOCHS = 8
BATCH = 32
FLOOR_MM = 50.0  # a mascon's weight stops growing where it hardly moves
LIMIT = 4.0  # deviations at which an attribute is held: beyond, nothing was learned


@dataclass(frozen=True)
class GlobalSettings:
    """What may be chosen of the network and its fitting. steps: of the optimiser, for one member, where that is more
    than the fewest epochs."""

    hidden_size: int = 32
    dropout: float = 0.2
    input_noise: float = 0.05
    history: int = 24
    steps: int = 600
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2

    def training(self, samples: int = BATCH) -> GlobalTraining:
        """Network and fitting; samples: windows in an epoch."""
        return GlobalTraining(
            network=GlobalLSTMConfig(
                hidden_size=self.hidden_size, dropout=self.dropout, input_noise=self.input_noise, history=self.history
            ),
            fitting=TrainingConfig(
                epochs=max(FEWEST_EPOCHS, round(self.steps * BATCH / samples)),
                batch_size=BATCH,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                clip_norm=1.0,
            ),
            prediction_history=self.history,
        )


@dataclass(frozen=True, eq=False)
class TrainGlobal:
    """What `cluster.train.Training` calls: member `m` of all training years, or of a fold once those are through."""

    problem: Problem
    members: int
    settings: GlobalSettings = GlobalSettings()

    @property
    def total(self) -> int:
        """Networks in all: the shipped members, then one for each fold."""
        return self.members + self.problem.folds

    def __call__(self, config: Mapping[str, Any], member: int, place: Any) -> dict[str, Any]:
        return self.train(member, **place.arguments())

    def train(self, member: int, **engine: Any) -> dict[str, Any]:
        """State of one member; engine: keyword arguments of `sciml.nn.training.fit`."""
        problem = self.problem
        use = problem.trained if member < self.members else self._fold(member - self.members)
        monthly, recorded = problem.predictors(problem.coarse_url)
        series, served = memory.record_series(
            memory.in_millimetres(monthly, problem.names),
            memory.in_millimetres(recorded, problem.names),
            problem.windows,
            problem.months,
        )[0]
        reference = problem.train.contains(problem.months)
        raw, static = memory.inputs(series, reference), memory.attributes(series, reference)
        storage = problem.anomaly()
        scaling = _scaling(raw[:, reference], static, float(np.nanstd(storage[:, use])))
        targets = np.full(raw.shape[:2], np.nan)
        known = served[use[served]]
        targets[:, month_position(problem.windows, problem.months)[known]] = storage[:, known] / float(
            scaling["storage"]
        )
        deviation = np.sqrt(np.nanmean(storage[:, use] ** 2, axis=1))
        certainty = 1 / (deviation**2 + FLOOR_MM**2)
        weights = np.broadcast_to((certainty / certainty.mean())[:, None], targets.shape)
        samples = window_samples(*_scaled(raw, static, scaling), targets, weights, self.settings.training())
        chosen = self.settings.training(len(samples))
        seed = seed_for(problem.seed, "global_lstm", problem.name, member)
        model = new_model(raw.shape[-1], static.shape[-1], chosen, seed)
        return fit(model, samples, chosen.fitting, seed=seed, loss=huber, scaling=scaling, **engine)

    def _fold(self, number: int) -> np.ndarray:
        return list(self.problem.year_folds())[number][0]


@dataclass(frozen=True, eq=False)
class PredictGlobal:
    """Stage function: members of a block's mascons and cells, and training years by networks that never saw them.

    first: the window from which on it predicts; an update needs the newest alone.
    """

    problem: Problem
    members: int
    checkpoints: Sequence[str]
    settings: GlobalSettings = GlobalSettings()
    first: int = 0

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        problem, mascons = self.problem, slice(item.mascon_start, item.mascon_stop)
        local = problem.layout.of(item) - item.cell_start
        coarse = problem.predictors(problem.coarse_url, mascon=mascons)
        fine = problem.predictors(problem.fine_url, cell=slice(item.cell_start, item.cell_stop))
        states = [load_checkpoint(url) for url in self.checkpoints]
        shipped = states[: self.members]
        windows = len(problem.windows) - self.first
        found = np.full((item.cell_stop - item.cell_start, self.members, windows), np.nan, np.float32)
        found[local] = self.predict(fine[0][local], fine[1][local], shipped)
        apart = np.full((item.mascon_stop - item.mascon_start, len(problem.windows)), np.nan, np.float32)
        for number, (_, valid) in enumerate(problem.year_folds()):
            if valid[self.first :].any():
                left_out = states[self.members + number]
                apart[:, valid] = self.predict(*coarse, [left_out])[:, 0, valid]
        return {"coarse": self.predict(*coarse, shipped), "fine": found, "out_of_fold": apart[:, self.first :]}

    def predict(self, monthly: np.ndarray, recorded: np.ndarray, states: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """(place, member, window from `first` on) [mm], NaN where the history does not reach."""
        problem = self.problem
        position = month_position(problem.windows, problem.months)
        reference = problem.train.contains(problem.months)
        out = np.full((len(monthly), len(states), len(problem.windows)), np.nan, np.float32)
        series = memory.record_series(
            memory.in_millimetres(monthly, problem.names),
            memory.in_millimetres(recorded, problem.names),
            problem.windows,
            problem.months,
        )
        for values, served in series:
            served = served[served >= self.first]
            inside = served[(position[served] >= 0) & (position[served] < len(problem.months))]
            raw, static = memory.inputs(values, reference), memory.attributes(values, reference)
            for member, state in enumerate(states):
                scaling = {name: np.asarray(value) for name, value in state["scaling"].items()}
                months = predict_months(
                    state["model"], *_scaled(raw, static, scaling), self.settings.training(), position[inside]
                )
                out[:, member, inside] = months[:, position[inside]] * float(scaling["storage"])
        return out[..., self.first :]


def predict_months(
    state: Mapping[str, torch.Tensor],
    inputs: np.ndarray,
    static: np.ndarray,
    config: GlobalTraining,
    wanted: np.ndarray,
) -> np.ndarray:
    """(place, month) in units of the storage scale, NaN in the first `history - 1` months.

    wanted: months (indices) to predict; others may be NaN. Windows are as long as in training and lie on a fixed raster
    from the first month, so each month sees `history` months or more, always the same ones, however many follow it.
    """
    history, length = config.network.history, config.network.history + config.span - 1
    places, months, _ = inputs.shape
    starts = np.arange(0, months - history + 1, config.span)
    starts = starts[np.isin(starts, (wanted - history + 1) // config.span * config.span)]
    beyond = max(int(starts.max(initial=0)) + length - months, 0)  # a network looks back only: what fills it is unseen
    inputs = np.pad(inputs, ((0, 0), (0, beyond), (0, 0)))
    model = GlobalLSTM(inputs.shape[-1], static.shape[-1], config.network)
    model.load_state_dict(dict(state))
    model.eval()
    out = np.full((places, months + beyond), np.nan, np.float32)
    values, described = torch.from_numpy(inputs), torch.from_numpy(static)
    with torch.no_grad(), single_thread():
        for start in starts:
            out[:, start + history - 1 : start + length] = model(values[:, start : start + length], described).numpy()
    return out[:, :months]


def _scaling(inputs: np.ndarray, static: np.ndarray, storage: float) -> dict[str, torch.Tensor]:
    """Numbers of all training mascons together."""

    def positive(values: np.ndarray) -> np.ndarray:
        return np.where(values > 1e-9, values, 1.0)

    found = {
        "input_scale": positive(inputs.std(axis=(0, 1))),
        "static_mean": static.mean(axis=0),
        "static_scale": positive(static.std(axis=0)),
        "storage": np.array(storage),
    }
    return {name: torch.from_numpy(np.asarray(value, np.float64)) for name, value in found.items()}


def _scaled(inputs: np.ndarray, static: np.ndarray, scaling: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    described = (static - np.asarray(scaling["static_mean"])) / np.asarray(scaling["static_scale"])
    values = inputs / np.asarray(scaling["input_scale"])
    return np.nan_to_num(values).astype(np.float32), np.clip(described, -LIMIT, LIMIT).astype(np.float32)
