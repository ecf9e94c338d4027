"""Which years train and which test: never the same, whatever is asked for."""

from typing import Any

import numpy as np
import pytest

from sciml.core.errors import ConfigError
from sciml.land.config import EmulatorFitConfig
from sciml.land.forcing import Forcing, Record, Targets
from sciml.land.steps import Years
from sciml.land.trials import FOLDS, LENGTHS, periods, trials

EVERYTHING = ("free_run", "cross_validation", "training_length", "warmer")


def record(first: str, last: str, warmth: dict[int, float] | None = None, name: str = "A") -> Record:
    dates = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    temperature = np.array([(warmth or {}).get(int(year), 280.0) for year in years])[:, None]
    nothing, place = np.zeros((len(dates), 1)), np.full(1, np.nan)
    forcing = Forcing(dates, nothing, nothing, temperature, nothing, "humidity_deficit", np.array([name]), place, place,
                      place)  # fmt: skip
    return Record(forcing, Targets(dates, {"runoff": nothing}), (name,))


def config(**options: Any) -> EmulatorFitConfig:
    return EmulatorFitConfig(run_dir="r", **({"experiment": EVERYTHING} | options))


DATES = np.arange(np.datetime64("1975-01-01"), np.datetime64("2026-01-01"))


@pytest.mark.parametrize(
    "options",
    [{}, {"train": "1981:1990"}, {"test": "1996:2000"}, {"test": "1981:1984"}, {"train": "1984:1985"},
     {"train": "1990:2000", "test": "1981:1989"}, {"train": "1981:1982", "test": "1999:2000"}],
)  # fmt: skip
def test_no_test_year_ever_trains(options: dict[str, str]) -> None:
    rng = np.random.default_rng(3)
    warmth = {year: 280.0 + rng.random() for year in range(1981, 2001)}
    records = [record("1981-01-01", "2000-12-31", warmth), record("1983-05-01", "1999-06-30", warmth, "B")]
    found = trials(config(**options), records)
    assert {trial.experiment.split("_length")[0] for trial in found} >= {"free_run", "cross_validation", "warmer"}
    assert len({trial.label for trial in found}) == len(found)  # a label names the store of a fit
    for trial in found:
        trained, tested = trial.train.of(DATES), trial.test.of(DATES)
        assert trained.any() and tested.any()
        assert not (trained & tested).any(), trial


def test_folds_cover_the_training_years_once_and_leave_the_test_years_alone() -> None:
    found = trials(config(train="1981:1991", test="1992:2000"), [record("1981-01-01", "2000-12-31")])
    folds = [trial for trial in found if trial.experiment == "cross_validation"]
    assert len(folds) == FOLDS
    held = sum(trial.test.of(DATES).astype(int) for trial in folds)
    years = DATES.astype("datetime64[Y]").astype(int) + 1970
    np.testing.assert_array_equal(held, ((years >= 1981) & (years <= 1991)).astype(int))
    for trial in folds:
        np.testing.assert_array_equal(trial.train.of(DATES) | trial.test.of(DATES), held == 1)


def test_lengths_end_where_training_ends() -> None:
    found = trials(config(train="1981:1995", test="1996:2000"), [record("1981-01-01", "2000-12-31")])
    lengths = [trial for trial in found if trial.experiment.startswith("training_length")]
    expected = [length for length in LENGTHS if length < 15]
    assert [(t.train.first, t.train.last) for t in lengths] == [(1996 - length, 1995) for length in expected]
    assert {(t.test.first, t.test.last) for t in lengths} == {(1996, 2000)}


def test_warmer_trains_on_cool_whole_years_and_tests_the_warmest() -> None:
    warmth = {year: 280.0 + (year * 7) % 10 for year in range(1991, 2001)}  # all different
    warmth[1990] = 350.0  # not whole
    found = trials(config(), [record("1990-06-01", "2000-12-31", warmth)])[-1]
    years = DATES.astype("datetime64[Y]").astype(int) + 1970
    trained, tested = (sorted(set(years[part.of(DATES)])) for part in (found.train, found.test))
    ranked = sorted(range(1991, 2001), key=warmth.__getitem__)
    assert trained == sorted(ranked[:5]) and tested == sorted(ranked[-2:])


def test_the_free_run_comes_first_and_always() -> None:
    records = [record("1981-01-01", "2000-12-31")]
    assert trials(config(experiment=("warmer",)), records)[0].experiment == "free_run"
    assert [t.experiment for t in trials(config(experiment=()), records)] == ["free_run"]


def test_periods_by_default_are_two_thirds_and_the_rest() -> None:
    records = [record("1981-01-01", "1995-12-31"), record("1984-01-01", "1998-12-31", name="B")]
    assert periods(config(), records) == ((1981, 1992), (1993, 1998))
    assert periods(config(test="1990:1991"), records) == ((1981, 1989), (1990, 1991))
    assert periods(config(test="1980:1985"), records) == ((1986, 1998), (1980, 1985))
    assert periods(config(train="1981:1983"), records) == ((1981, 1983), (1984, 1998))
    assert periods(config(train="1990:1998"), records) == ((1990, 1998), (1981, 1989))


@pytest.mark.parametrize(
    ("first", "last", "options", "said"),
    [
        ("1981-01-01", "1982-12-31", {}, "A: found years 1981:1982, expected three at least"),
        ("1981-01-01", "1990-12-31", {"test": "1995:1999"}, "--test 1995:1999: the records hold 1981:1990"),
        ("1981-01-01", "1990-12-31", {"train": "1960:1970"}, "--train 1960:1970: the records hold 1981:1990"),
        (
            "1981-01-01",
            "1990-12-31",
            {"train": "1981:1990"},
            "--train leaves no year to test: the records hold",
        ),
        ("1981-01-01", "1990-12-31", {"test": "1980:1995"}, "--test leaves no year to train: the records hold"),
    ],
)
def test_years_that_are_not_there(first: str, last: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        trials(config(**options), [record(first, last)])


def test_years_of_a_period() -> None:
    dates = np.arange(np.datetime64("1999-12-30"), np.datetime64("2003-01-03"))
    found = Years(2000, 2002, (2001,)).of(dates)
    assert [str(day) for day in dates[found][[0, 365, 366, -1]]] == [
        "2000-01-01", "2000-12-31", "2002-01-01", "2002-12-31"
    ]  # fmt: skip
    assert found.sum() == 366 + 365


def test_too_few_days_to_test_are_refused_before_any_fit() -> None:
    short = record("1990-01-01", "1999-09-30")
    with pytest.raises(ConfigError, match="1999:1999 hold 273 days of A, expected 365"):
        trials(config(train="1990:1998", test="1999:1999", experiment=("free_run",)), [short])


def test_warmer_years_of_records_with_a_hole_between_them() -> None:
    early, late = record("1980-01-01", "1984-12-31"), record("1990-01-01", "1994-12-31", name="B")
    with pytest.raises(ConfigError, match="warmer: "):
        trials(config(train="1980:1984", test="1990:1994", experiment=("warmer",)), [early, late])
