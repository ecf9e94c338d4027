"""Scores of emulators against plain loops, formulas by hand, and what is known of perfect and of shifted runs."""

import numpy as np
import pandas as pd
import pytest

from sciml.land import skill
from sciml.land.forcing import Targets
from sciml.land.skill import climatology, day_of_year, score, snowy, summary, table


def days(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first), np.datetime64(last) + 1)


def smooth(count: int, cells: int, seed: int = 0) -> np.ndarray:
    """Series with memory and a season."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count + 40, cells))
    memory = np.stack([np.convolve(noise[:, c], np.exp(-np.arange(30) / 6.0), "valid") for c in range(cells)], axis=1)
    return 30.0 + 8.0 * np.sin(2 * np.pi * np.arange(count)[:, None] / 365.25) + memory[:count]


def test_a_date_has_one_number_in_every_year() -> None:
    dates = days("2000-01-01", "2003-12-31")
    stamps = pd.DatetimeIndex(dates)
    by_number = pd.Series(stamps.strftime("%m-%d")).groupby(day_of_year(dates)).unique()
    assert (by_number.map(len) == 1).all() and by_number.index.tolist() == list(range(366))
    assert by_number[59].tolist() == ["02-29"] and by_number[365].tolist() == ["12-31"]


@pytest.mark.parametrize("gaps", [False, True])
def test_climatology_is_the_plain_mean_of_dates_around_the_year(gaps: bool) -> None:
    dates = days("1995-06-01", "2001-03-10")
    values = smooth(len(dates), 2)
    if gaps:
        values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan
    training = (dates >= np.datetime64("1996-01-01")) & (dates < np.datetime64("2000-07-01"))
    at = days("2004-01-01", "2004-12-31")  # a leap year, unseen
    found = climatology(values, dates, training, at)
    names = [str(d)[5:] for d in days("2004-01-01", "2004-12-31")]
    for cell in range(2):
        means = {}
        for name in names:
            some = [values[t, cell] for t in np.flatnonzero(training)
                    if str(dates[t])[5:] == name and np.isfinite(values[t, cell])]  # fmt: skip
            means[name] = sum(some) / len(some) if some else None
        for k in (0, 1, 30, 58, 59, 60, 200, 359, 365):
            near = [means[names[(k + shift) % 366]] for shift in range(-7, 8)]
            near = [value for value in near if value is not None]
            assert found[k, cell] == pytest.approx(sum(near) / len(near), rel=1e-12)


def test_climatology_sees_training_days_alone() -> None:
    dates = days("1995-01-01", "2000-12-31")
    values, training = smooth(len(dates), 1), dates < np.datetime64("1999-01-01")
    spoilt = np.where(training[:, None], values, 1e9)
    np.testing.assert_array_equal(
        climatology(values, dates, training, dates), climatology(spoilt, dates, training, dates)
    )


def test_no_training_day_near_gives_nothing() -> None:
    dates = days("1999-01-01", "2000-12-31")
    found = climatology(smooth(len(dates), 1), dates, dates < np.datetime64("1999-03-01"), dates)[:, 0]
    assert np.isfinite(found[:60]).all() and np.isnan(found[90:330]).all()
    assert np.isfinite(found[359])  # 26 December is within seven days of January


def test_a_perfect_run() -> None:
    dates = days("1996-01-01", "1999-12-31")
    values = smooth(len(dates), 3)
    usual = climatology(values, dates, np.ones(len(dates), bool), dates)
    found = score(values, values, usual)
    for name, expected in {"nse": 1, "ss": 1, "kge": 1, "r": 1, "bias": 0, "variability": 1, "lag_days": 0}.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-12, err_msg=name)
    assert (found["n"] == len(dates)).all()


def test_climatology_has_no_skill_over_itself_and_the_mean_no_efficiency() -> None:
    dates = days("1996-01-01", "1999-12-31")
    values = smooth(len(dates), 2)
    usual = climatology(values, dates, np.ones(len(dates), bool), dates)
    np.testing.assert_allclose(score(values, usual, usual)["ss"], 0.0, atol=1e-12)
    np.testing.assert_allclose(score(values, np.broadcast_to(values.mean(axis=0), values.shape), usual)["nse"], 0.0,
                               atol=1e-12)  # fmt: skip


def test_scores_by_their_formulas_with_gaps() -> None:
    rng = np.random.default_rng(4)
    observed, usual = smooth(900, 2), smooth(900, 2, seed=9)
    predicted = 0.8 * observed + 3.0 + rng.standard_normal(observed.shape)
    observed[rng.random(observed.shape) < 0.1] = np.nan
    predicted[rng.random(observed.shape) < 0.1] = np.nan
    found = score(observed, predicted, usual)
    for cell in range(2):
        keep = np.isfinite(observed[:, cell]) & np.isfinite(predicted[:, cell])
        o, p, u = observed[keep, cell], predicted[keep, cell], usual[keep, cell]
        r = np.corrcoef(o, p)[0, 1]
        kge = 1 - np.sqrt((r - 1) ** 2 + (p.std() / o.std() - 1) ** 2 + (p.mean() / o.mean() - 1) ** 2)
        expected = {
            "n": keep.sum(),
            "nse": 1 - np.sum((o - p) ** 2) / np.sum((o - o.mean()) ** 2),
            "ss": 1 - np.sum((o - p) ** 2) / np.sum((o - u) ** 2),
            "kge": kge,
            "r": r,
            "bias": (p - o).mean(),
            "variability": p.std() / o.std(),
        }
        for name, value in expected.items():
            assert found[name][cell] == pytest.approx(value, rel=1e-10), name


@pytest.mark.parametrize("late", [-6, 0, 1, 9])
def test_the_lag_is_found(late: int) -> None:
    values = smooth(1500, 2)
    usual = np.full_like(values, 30.0)
    found = score(values, np.roll(values, late, axis=0), usual)["lag_days"]
    assert found.tolist() == [late, late]


def test_too_few_days_and_no_variance_are_not_scored() -> None:
    values = smooth(500, 3)
    values[:, 1] = 4.0
    values[300:, 2] = np.nan
    found = score(values, values + 1.0, np.zeros_like(values))
    assert found["n"].tolist() == [500, 500, 300]
    assert np.isfinite(found["nse"]).tolist() == [True, False, False]
    assert np.isnan(found["kge"][1:]).all() and np.isnan(found["lag_days"][1:]).all()


def test_snow_counts_where_there_is_enough_of_it_in_training() -> None:
    dates = days("1995-01-01", "2000-12-31")
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    snow = np.zeros((len(dates), 4))
    january = dates.astype("datetime64[M]").astype(int) % 12 == 0
    snow[january, 0] = 21.0
    snow[january, 1] = 19.0
    snow[january & (years >= 1999), 2] = 500.0  # only where it is tested
    snow[january & (years == 1996), 3] = 100.0  # one of four years: 25 in the mean
    assert snowy(snow, dates, years < 1999).tolist() == [True, False, False, True]
    gap = np.where(years[:, None] == 1997, np.nan, snow)
    assert snowy(gap, dates, years < 1999).tolist() == [False, False, False, True]


def test_table_lists_who_gives_what_and_climatology_always() -> None:
    dates = days("1996-01-01", "2000-12-31")
    runoff, snow = smooth(len(dates), 2), np.zeros((len(dates), 2))
    snow[dates.astype("datetime64[M]").astype(int) % 12 < 3, 0] = 40.0 + np.random.default_rng(0).random()
    snow[:, 0] += np.random.default_rng(1).random(len(dates))
    targets = Targets(dates, {"runoff": runoff, "snow": snow})
    training = dates < np.datetime64("1999-01-01")
    runs = {"good": {"runoff": runoff, "snow": snow, "canopy": snow}, "dry": {"runoff": runoff * 0.5}}
    found = table("free_run", targets, runs, training, ~training, ("A", "B"))
    listed = set(zip(found["model"], found["unit"], found["variable"], strict=True))
    assert listed == {(m, u, "runoff") for m in ("good", "dry", "climatology") for u in "AB"} | {
        (m, "A", "snow") for m in ("good", "climatology")
    }
    ss = found.set_index(["model", "unit", "variable"])["ss"]
    assert ss["good", "A", "runoff"] == 1.0 and ss["climatology", "B", "runoff"] == pytest.approx(0.0, abs=1e-12)
    scores = summary(found)
    assert scores["dry"]["n"] == 2 and set(scores["dry"]["units"]) == {"A", "B"}
    nse = found[(found["model"] == "dry") & (found["variable"] == "runoff")]["nse"]
    assert scores["dry"]["nse_runoff"] == pytest.approx(nse.median())
    assert scores["dry"]["units"]["B"]["nse_runoff"] == pytest.approx(nse.iloc[1])
    assert scores["dry"]["n_days"] == 2 * (~training).sum()


def test_variance_of_the_anomaly_leaves_the_season_out() -> None:
    dates = days("1996-01-01", "2003-12-31")
    season = np.repeat(20.0 * np.sin(2 * np.pi * day_of_year(dates)[:, None] / 366.0), 2, axis=1)
    noise = np.random.default_rng(0).standard_normal(season.shape) * [1.0, 3.0]
    training = np.ones(len(dates), bool)
    found = skill.anomaly_variance(Targets(dates, {"runoff": season + noise}), training)["runoff"]
    np.testing.assert_allclose(found, [1.0, 9.0], rtol=0.1)
