"""Members per second of the local LSTM ensemble against torch.nn.LSTM, at equal validation NSE, one thread each.

Every engine trains the same members (starting parameters, bootstrap, weights) of the same generated basins. The goal is
the best NSE of the full-batch torch.nn.LSTM over all epochs and step sizes tried, less 0.01, in months never seen. Both
torch loops are timed with the fewest epochs (and whatever step size) that reach it; the compiled and the stacked engine
do the same steps as the full-batch loop and take its setting. On the CPU, seconds are those of this process alone, the
better of two runs, so that a busy neighbour weighs little.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import nn

from sciml.grace.local_lstm import LocalLSTMConfig, bootstrap_counts
from sciml.nn.ensemble import (
    SequenceLSTM,
    Shape,
    initial_parameters,
    predict_plain,
    train_compiled,
    train_plain,
    train_stacked,
)
from sciml.nn.losses import weighted_mse
from sciml.nn.training import TrainingConfig, learning_rate_at

BASINS, MEMBERS = 3, 5
RECORDS, VALIDATION, LAGS, FEATURES = 130, 48, 3, 8
HIDDEN_SIZES = (8, 64)  # the default, and the size of the paper's networks
EPOCHS = (10, 20, 40, 80, 120)
STEP_SIZES = (1e-2, 3e-2, 1e-1)
MINI_BATCH = 32
MASCONS, GLOBAL_MEMBERS, CORES = 1887, 50, 2
TOLERANCE = 0.01

Engine = Callable[[list["Problem"], Shape, TrainingConfig], list[np.ndarray]]


@dataclass(frozen=True)
class Problem:
    """One basin: training samples, starting parameters and weights of its members, and months to validate on."""

    initial: np.ndarray
    inputs: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    validation_inputs: np.ndarray
    validation_target: np.ndarray


@dataclass(frozen=True)
class Row:
    """What one engine needed; reached: whether its validation NSE is the common one."""

    hidden_size: int
    engine: str
    epochs: int
    step_size: float
    validation_nse: float
    reached: bool
    members_per_second: float


def problem(basin: int, shape: Shape) -> Problem:
    """A store that fills and drains, seen through rain, evaporation, runoff, season and their like, with noise."""
    rng = np.random.default_rng(basin)
    months = RECORDS + VALIDATION + LAGS - 1
    season = 2.0 * np.pi * np.arange(months) / 12.0
    rain = np.maximum(0.0, 1.0 + np.sin(season + basin) + 0.7 * rng.normal(size=months))
    heat = 1.0 - np.sin(season) + 0.2 * rng.normal(size=months)
    store, storage, runoff = 2.0, np.empty(months), np.empty(months)
    for month in range(months):
        runoff[month] = 0.15 * store**1.5
        store = max(0.05, store + rain[month] - 0.5 * heat[month] * min(store, 1.5) - runoff[month])
        storage[month] = store
    series = np.stack([rain, heat, runoff, np.sin(season), np.cos(season)], axis=1)
    series = np.concatenate([series, series[:, :3] + 0.5 * rng.normal(size=(months, 3))], axis=1)
    series = (series - series.mean(axis=0)) / series.std(axis=0)
    inputs = np.stack([series[lag : lag + RECORDS + VALIDATION] for lag in range(LAGS)], axis=1).astype(np.float32)
    target = storage[LAGS - 1 :] + 0.2 * storage.std() * rng.normal(size=RECORDS + VALIDATION)
    target = ((target - target[:RECORDS].mean()) / target[:RECORDS].std()).astype(np.float32)
    seeds = [1000 * basin + member for member in range(MEMBERS)]
    return Problem(
        initial=np.stack([initial_parameters(shape, seed) for seed in seeds]),
        inputs=inputs[:RECORDS],
        target=target[:RECORDS],
        weight=np.stack([bootstrap_counts(RECORDS, seed) for seed in seeds]),
        validation_inputs=inputs[RECORDS:],
        validation_target=target[RECORDS:],
    )


def compiled(problems: list[Problem], shape: Shape, config: TrainingConfig) -> list[np.ndarray]:
    return [train_compiled(p.initial, p.inputs, p.target, p.weight, shape, config) for p in problems]


def full_batch(problems: list[Problem], shape: Shape, config: TrainingConfig) -> list[np.ndarray]:
    return [train_plain(p.initial, p.inputs, p.target, p.weight, shape, config) for p in problems]


def mini_batch(problems: list[Problem], shape: Shape, config: TrainingConfig) -> list[np.ndarray]:
    return [
        np.stack([_mini_batch_member(p, member, shape, config) for member in range(len(p.initial))]) for p in problems
    ]


def _mini_batch_member(p: Problem, member: int, shape: Shape, config: TrainingConfig) -> np.ndarray:
    seen = p.weight[member] > 0
    inputs, target, weight = (torch.from_numpy(x[seen]) for x in (p.inputs, p.target, p.weight[member]))
    model = SequenceLSTM(shape.features, shape.hidden_size)
    nn.utils.vector_to_parameters(torch.from_numpy(p.initial[member].copy()), model.parameters())
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    generator = torch.Generator().manual_seed(member)
    batches = -(-len(target) // MINI_BATCH)
    for epoch in range(config.epochs):
        for step, index in enumerate(torch.randperm(len(target), generator=generator).tensor_split(batches)):
            rate = learning_rate_at(epoch * batches + step, config.epochs * batches, config)
            optimiser.param_groups[0]["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
            weighted_mse(model(inputs[index]), target[index], weight[index]).backward()
            optimiser.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach().numpy()


def stacked(problems: list[Problem], shape: Shape, config: TrainingConfig) -> list[np.ndarray]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    initial, inputs, target, weight = (
        torch.from_numpy(np.stack([getattr(p, name) for p in problems])).to(device)
        for name in ("initial", "inputs", "target", "weight")
    )
    return list(train_stacked(initial, inputs, target, weight, shape, config).cpu().numpy())


def nse(problems: list[Problem], trained: list[np.ndarray], shape: Shape) -> float:
    """Mean over basins of the NSE of the member mean in the validation months."""
    scores = []
    for p, parameters in zip(problems, trained, strict=True):
        error = predict_plain(parameters, p.validation_inputs, shape).mean(axis=0) - p.validation_target
        scores.append(1.0 - np.mean(error**2) / np.var(p.validation_target))
    return float(np.mean(scores))


def timed(
    engine: Engine, problems: list[Problem], shape: Shape, config: TrainingConfig
) -> tuple[float, list[np.ndarray]]:
    clock = time.perf_counter if engine is stacked and torch.cuda.is_available() else time.process_time
    start = clock()
    trained = engine(problems, shape, config)
    return clock() - start, trained


def scores(engine: Engine, problems: list[Problem], shape: Shape, goal: float = np.inf) -> dict[TrainingConfig, float]:
    """NSE by setting, epochs rising, until one number of epochs reaches the goal."""
    found: dict[TrainingConfig, float] = {}
    settings = LocalLSTMConfig().training()
    for epochs in EPOCHS:
        for step_size in STEP_SIZES:
            config = replace(settings, epochs=epochs, learning_rate=step_size)
            found[config] = nse(problems, engine(problems, shape, config), shape)
        if max(found.values()) >= goal:
            break
    return found


def fastest(found: dict[TrainingConfig, float], goal: float) -> TrainingConfig:
    """The setting of fewest epochs that reaches the goal, the best where none does."""
    return min(
        found, key=lambda config: (found[config] < goal, config.epochs if found[config] >= goal else -found[config])
    )


def measure(hidden_size: int) -> list[Row]:
    """One row an engine, each with a setting that reaches the common NSE."""
    shape = Shape(FEATURES, hidden_size)
    problems = [problem(basin, shape) for basin in range(BASINS)]
    whole = scores(full_batch, problems, shape)
    goal = max(whole.values()) - TOLERANCE
    full = fastest(whole, goal)
    mini = fastest(scores(mini_batch, problems, shape, goal), goal)
    timed(compiled, problems[:1], shape, replace(full, epochs=1))  # compile before the clock starts
    rows = []
    for name, engine, config, copies in (
        ("compiled", compiled, full, 1),
        ("torch full batch", full_batch, full, 1),
        ("torch mini-batch", mini_batch, mini, 1),
        ("stacked", stacked, full, 400 if torch.cuda.is_available() else 1),  # a GPU wants many networks
    ):
        runs = [timed(engine, problems * copies, shape, config) for _ in range(2)]
        score = nse(problems, runs[0][1][:BASINS], shape)
        speed = copies * BASINS * MEMBERS / min(seconds for seconds, _ in runs)
        rows.append(
            Row(
                hidden_size,
                name,
                config.epochs,
                config.learning_rate,
                round(score, 3),
                score >= goal,
                round(speed, 2),
            )
        )
    return rows


def global_job(samples: int = 40) -> float:
    """Hours that all mascons' ensembles with the default configuration take, from a sample of members."""
    settings = LocalLSTMConfig()
    shape = Shape(FEATURES, settings.hidden_size)
    problems = [problem(basin, shape) for basin in range(samples // MEMBERS)]
    seconds, _ = timed(compiled, problems, shape, settings.training())
    return MASCONS * GLOBAL_MEMBERS * seconds / (len(problems) * MEMBERS) / CORES / 3600.0


def main() -> int:
    torch.set_num_threads(1)
    rows, ratios = [], {}
    print(f"{'hidden':>6}  {'engine':<18}{'epochs':>7}{'step':>7}{'NSE':>8}{'members/s':>11}{'ratio':>8}")
    for hidden_size in HIDDEN_SIZES:
        mine = measure(hidden_size)
        rows += mine
        peer = max(row.members_per_second for row in mine if "torch" in row.engine and row.reached)
        for row in mine:
            ratios[f"{row.engine}, hidden {hidden_size}"] = ratio = round(row.members_per_second / peer, 2)
            missed = "" if row.reached else "  (does not reach the NSE)"
            print(
                f"{row.hidden_size:>6}  {row.engine:<18}{row.epochs:>7}{row.step_size:>7}{row.validation_nse:>8}"
                f"{row.members_per_second:>11}{ratio:>8}{missed}",
                flush=True,
            )
    hours = global_job()
    print(f"global job, {MASCONS} mascons x {GLOBAL_MEMBERS} members on {CORES} cores: {60 * hours:.1f} minutes")
    rows_json = [asdict(row) for row in rows]
    print(json.dumps({"bench": "training", "ratios": ratios, "global_job_hours": round(hours, 3), "rows": rows_json}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
