"""What an item of the gridded job will take, by timing a sample on this machine and counting arrays."""

import time
from typing import Any

import numpy as np

from sciml.grace.config import GraceConfig
from sciml.grace.local_lstm import LocalLSTMConfig, fit_units
from sciml.grace.steps import FOLD_MEMBERS, LocalLstm, Problem

SAMPLE_MEMBERS = 2
SECONDS_PER_PLACE = 0.01  # one member of the global LSTM over twenty years of one place, on one core


def seconds_per_member(features: int, lags: int, records: int) -> float:
    """Training one member of one unit's LSTM [s], measured on random numbers of the real shape.

    The first call compiles the kernel, the second is timed.
    """
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((1, records, lags + 1, features)).astype(np.float32)
    target = rng.standard_normal((1, records))
    mask, config = np.ones((1, records), bool), LocalLSTMConfig(members=SAMPLE_MEMBERS)
    for _ in range(2):
        began = time.perf_counter()
        fit_units(inputs, target, np.ones_like(target), mask, config, ["sample"], 0)
        taken = time.perf_counter() - began
    return taken / SAMPLE_MEMBERS


def seconds_of(config: GraceConfig, problem: Problem, function: Any) -> float:
    """One item of a model's stage [s]: all members of its mascons, and fewer for each fold."""
    if not isinstance(function, LocalLstm):
        return SECONDS_PER_PLACE * len(problem.layout.cells.parent) / len(problem.layout.blocks) * config.global_members
    features = len(problem.names) + 2
    trained = min(config.members, FOLD_MEMBERS) * config.folds + config.members
    mascons = problem.layout.mascons_per_item
    return mascons * trained * seconds_per_member(features, config.lags, int(problem.trained.sum()))


def memory_of(config: GraceConfig, problem: Problem, members: int) -> int:
    """One item of a model's stage [bytes]: its predictors, features and members, with copies in flight."""
    variables, windows = len(problem.names), len(problem.windows)
    features = variables + 2
    monthly = len(problem.months) + problem.windows.observed.sum()
    per_place = 3 * variables * monthly + 2 * windows * (config.lags + 1) * features + 2 * members * windows
    return int(4 * (problem.layout.slot + problem.layout.mascons_per_item) * per_place)
