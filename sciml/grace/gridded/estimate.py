"""What an item of the gridded job will take, by timing a sample on this machine and counting arrays."""

import time
from typing import Any

import numpy as np

from sciml.grace.config import GraceConfig
from sciml.grace.gridded.lstm import BATCH, FEWEST_EPOCHS, GlobalSettings
from sciml.grace.gridded.steps import FOLD_MEMBERS, LocalLstm, Problem
from sciml.grace.local_lstm import LocalLSTMConfig, fit_units

SAMPLE_MEMBERS = 2
SECONDS_PER_PLACE = 0.0015  # one member over twenty years of one place, on one core
SECONDS_PER_STEP = 0.006  # of training the global LSTM, on one core
SECONDS_PER_SOLVE = 3e-7  # of interpolating one field, a cell
WINDOWS_PER_MASCON = 20  # training sequences of thirteen years
COMPILER_BYTES = 150e6
BYTES_PER_FACTOR = 15e3  # of the sparse factorisation, a cell


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
    """One item of a model's stage [s]: the local LSTM by timing a sample, the others by what a place took elsewhere."""
    layout = problem.layout
    places = len(layout.cells.parent) / len(layout.blocks)
    if not isinstance(function, LocalLstm):
        return SECONDS_PER_PLACE * places * config.global_members
    trained = min(config.members, FOLD_MEMBERS) * config.folds + config.members
    each = seconds_per_member(len(problem.names) + 2, config.lags, int(problem.trained.sum()))
    return layout.mascons_per_item * trained * each + SECONDS_PER_PLACE * places * config.members


def seconds_of_net(problem: Problem) -> float:
    """Training one member of the global LSTM [s]."""
    epoch = WINDOWS_PER_MASCON * problem.layout.mascons / BATCH
    return SECONDS_PER_STEP * max(GlobalSettings.steps, FEWEST_EPOCHS * epoch)


def seconds_of_windows(problem: Problem, members: int, windows: int) -> float:
    """One item of the downscaling [s]: two solves for each member and window, and the factorisation."""
    return SECONDS_PER_SOLVE * len(problem.layout.cells.parent) * (2 * members * windows + 100)


def memory_of(config: GraceConfig, problem: Problem, members: int) -> int:
    """One item of a model's stage [bytes]: its predictors, features and members with copies in flight, and the compiler
    of the local LSTM's kernel."""
    variables, windows = len(problem.names), len(problem.windows)
    monthly = len(problem.months) + problem.windows.observed.sum()
    per_place = 3 * variables * monthly + 2 * windows * (config.lags + 1) * (variables + 2) + 2 * members * windows
    return int(COMPILER_BYTES + 4 * (problem.layout.slot + problem.layout.mascons_per_item) * per_place)


def memory_of_windows(problem: Problem, members: int, windows: int) -> int:
    """One item of the downscaling [bytes]: members with copies in flight, and the factorised interpolation."""
    cells = len(problem.layout.cells.parent)
    return int(12 * 4 * cells * members * windows + BYTES_PER_FACTOR * cells)
