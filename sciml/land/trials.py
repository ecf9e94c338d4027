"""Which years train and which test: one trial for each fit and its free run."""

from dataclasses import dataclass

import numpy as np

from sciml.core.errors import ConfigError
from sciml.land.config import EmulatorFitConfig, years_of
from sciml.land.forcing import Record
from sciml.land.skill import FEWEST_DAYS
from sciml.land.steps import Years

FOLDS = 3
LENGTHS = (2, 5, 10, 20, 40)  # years of training


@dataclass(frozen=True)
class Trial:
    """experiment: under which its scores are listed; label: of what a fit is called."""

    experiment: str
    label: str
    train: Years
    test: Years


def trials(config: EmulatorFitConfig, records: list[Record]) -> list[Trial]:
    """All that the experiments ask for, the free run first: others are held against it."""
    train, test = periods(config, records)
    found = [Trial("free_run", "", Years(*train), Years(*test))]
    if "cross_validation" in config.experiments:
        for fold, block in enumerate(np.array_split(np.arange(train[0], train[1] + 1), FOLDS)):
            if len(block):
                held = tuple(int(year) for year in block)
                name = f"{held[0]}-{held[-1]}"
                found.append(
                    Trial("cross_validation", f"fold{fold + 1} {name}", Years(*train, held), Years(held[0], held[-1]))
                )
    if "training_length" in config.experiments:
        span = train[1] - train[0] + 1
        found += [
            Trial(f"training_length_{length}", f"{length} years", Years(train[1] - length + 1, train[1]), Years(*test))
            for length in LENGTHS
            if length < span
        ]
    if "warmer" in config.experiments:
        found.append(_warmer(records))
    for trial in found:
        _check(trial, records)
    return found


def _check(trial: Trial, records: list[Record]) -> None:
    """Refuses, before any fit, a trial that would score no unit."""
    days = [int(trial.test.of(record.forcing.dates).sum()) for record in records]
    if max(days) < FEWEST_DAYS:
        raise ConfigError(
            f"{trial.experiment}: test years {trial.test.first}:{trial.test.last} hold {max(days)} days of"
            f" {records[int(np.argmax(days))].names[0]}, expected {FEWEST_DAYS} at least; choose others with --test"
        )


def periods(config: EmulatorFitConfig, records: list[Record]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Years of training and test: those asked for, or the first two thirds of what any record holds, and the rest.

    Where one is asked for, the other is what comes before the test, after the training, or else on its other side.
    """
    first = min(int(record.forcing.year[0]) for record in records)
    last = max(int(record.forcing.year[-1]) for record in records)
    if last - first < 2:
        raise ConfigError(
            f"{records[0].names[0]}: found years {first}:{last}, expected three at least to train and test"
        )
    train, test = years_of(config.train, "train"), years_of(config.test, "test")
    for name, asked in (("train", train), ("test", test)):
        if asked and (asked[0] > last or asked[1] < first):
            raise ConfigError(f"--{name} {asked[0]}:{asked[1]}: the records hold {first}:{last}; choose years within")
    if not train:
        train = (first, first + max(2 * (last - first + 1) // 3, 2) - 1)
        if test:
            train = (first, test[0] - 1) if test[0] > first else (test[1] + 1, last)
    if not test:
        test = (train[1] + 1, last) if train[1] < last else (first, train[0] - 1)
    for name, other, (start, stop) in (("test", "train", train), ("train", "test", test)):
        if start > stop:
            raise ConfigError(f"--{name} leaves no year to {other}: the records hold {first}:{last}; choose fewer")
    return train, test


def _warmer(records: list[Record]) -> Trial:
    """Training on the cooler half of the years, tested on the warmest quarter: mean temperature of all cells."""
    years = np.unique(np.concatenate([record.forcing.year for record in records]))
    warmth = []
    for year in years:
        means = [
            record.forcing.temperature[record.forcing.year == year].mean()
            for record in records
            if (record.forcing.year == year).sum() > 360
        ]
        warmth.append(np.mean(means) if len(means) == len(records) else np.nan)
    order = [int(years[place]) for place in np.argsort(warmth) if np.isfinite(warmth[place])]
    cool, warm = order[: len(order) // 2], order[-max(len(order) // 4, 1) :]
    every = range(int(years[0]), int(years[-1]) + 1)
    return Trial(
        "warmer",
        "cool years",
        Years(every[0], every[-1], tuple(year for year in every if year not in cool)),
        Years(every[0], every[-1], tuple(year for year in every if year not in warm)),
    )
