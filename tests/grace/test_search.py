"""What a search judges by, what it may draw, and what of its result another run accepts."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from sciml.core.errors import ConfigError
from sciml.data.splits import Period
from sciml.grace import search
from sciml.grace.basins.nets import Setup
from sciml.grace.basins.table import BasinSource
from sciml.grace.global_lstm import GlobalTraining
from sciml.grace.search_report import _change, _gain
from tests.pipelines.test_grace_basins import write_table
from tune_spaces import grace_global_lstm, grace_lstm

NAMES = ("pr", "tas", "mrso")
SPACES = {"lstm": grace_lstm.SPACE, "global_lstm": grace_global_lstm.SPACE, "basins": grace_global_lstm.BASINS}


def default(model: str) -> dict[str, Any]:
    return search.defaults(model, NAMES, 8, 23, basins=model == "basins")


@pytest.mark.parametrize(("error", "sigma"), [(0.0, 1.0), (2.5, 0.7), (-40.0, 12.0)])
def test_crps_of_a_normal_is_the_integral_of_its_definition(error: float, sigma: float) -> None:
    x = np.linspace(-400, 400, 800_001)
    integral = np.trapezoid((norm.cdf(x, error, sigma) - (x >= 0)) ** 2, x)
    assert search.normal_crps(np.array(error), np.array(sigma)) == pytest.approx(integral, rel=1e-3)


def test_the_error_of_a_block_comes_from_the_others() -> None:
    rng = np.random.default_rng(0)
    observed, blocks = rng.normal(size=(3, 40)), [np.arange(40) // 10 == k for k in range(4)]
    apart = observed + rng.normal(size=observed.shape)
    crps = search.judged(apart, observed, blocks)
    assert np.isfinite(crps).all()
    wild = apart.copy()
    wild[:, blocks[0]] += 100
    changed = search.judged(wild, observed, blocks)
    others = np.sqrt(((apart - observed)[:, ~blocks[0]] ** 2).mean(axis=1))
    expected = search.normal_crps((wild - observed)[:, blocks[0]], others[:, None])
    np.testing.assert_allclose(changed[:, blocks[0]], expected)
    assert not np.isfinite(search.judged(apart, observed, blocks[:2])[:, blocks[2]]).any()


def test_subsets_leave_out_so_many() -> None:
    assert search.subsets(NAMES, 1) == ["pr,tas,mrso", "pr,tas", "pr,mrso", "tas,mrso"]
    assert search.subsets(("pr",), 1) == ["pr"]


@pytest.mark.parametrize("model", sorted(SPACES))
def test_every_space_holds_the_default_and_every_end_is_accepted(model: str) -> None:
    space = search.checked_space(model, SPACES[model], default(model))
    settings = {"lstm": search.local_config, "global_lstm": search.global_settings, "basins": search.net_settings}
    accept = settings[model]
    for setting, (kind, *ends) in space.items():
        values = ends[0] if kind == "choice" else ends
        if kind == "choice":
            assert default(model)[setting] in values and len(set(values)) == len(values) > 1
        else:
            assert kind in ("uniform", "loguniform", "integer") and ends[0] <= default(model)[setting] <= ends[1]
        for value in values:
            accept(default(model) | {setting: value})


@pytest.mark.parametrize(
    ("space", "line"),
    [
        ({}, "search space of lstm: empty; expected some of features, lags"),
        ({"hiden_size": ("choice", [4])}, "search space of lstm: no 'hiden_size'; did you mean 'hidden_size'"),
        ({8: ("choice", [4])}, "search space of lstm: no '8'"),
        ({"hidden_size": 8}, "lstm: hidden_size is drawn by 8; expected .choice, .whole numbers"),
        ({"hidden_size": None}, "hidden_size is drawn by None"),
        ({"hidden_size": "choice"}, "hidden_size is drawn by 'choice'"),
        ({"hidden_size": ["choice", 5]}, "hidden_size is drawn by .'choice', 5."),
        ({"hidden_size": ["choice", [8, "many"]]}, "hidden_size is drawn by"),
        ({"hidden_size": ["choice", []]}, "hidden_size is drawn by"),
        ({"hidden_size": ["subsets", 1]}, "hidden_size is drawn by"),
        ({"hidden_size": ["uniform", 4, 8]}, "hidden_size is drawn by"),
        ({"hidden_size": ["integer", 8, 4]}, "hidden_size is drawn by"),
        ({"lags": []}, "lags is drawn by"),
        ({"learning_rate": ["uniform", "a", "b"]}, "learning_rate is drawn by .*; expected .choice, .numbers"),
        ({"learning_rate": ["uniform", 0.1]}, "learning_rate is drawn by"),
        ({"learning_rate": ["uniform", 0.1, float("inf")]}, "learning_rate is drawn by"),
        ({"learning_rate": ["loguniform", 0, 0.1]}, "learning_rate is drawn by"),
        ({"features": ["subsets", -1]}, "features is drawn by"),
        ({"features": ["choice", [4]]}, "features is drawn by"),
        ({"features": ["choice", ["pr,tass"]]}, "lstm: features: no 'tass'; did you mean 'tas'"),
    ],
)
def test_a_space_that_is_not_the_models_is_refused(space: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line) as caught:
        search.checked_space("lstm", space, default("lstm"))
    assert "\n" not in str(caught.value)


def test_local_networks_and_their_baseline_are_judged_on_the_same_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Climatology of the judged units, and of them alone, whatever the others hold; a shared network has them all."""
    months = np.arange(np.datetime64("2003-01"), np.datetime64("2011-01"))
    storage = np.random.default_rng(0).normal(size=(7, len(months)))
    half = np.arange(len(months)) < len(months) // 2
    folds = [(half, ~half), (~half, half)]
    monkeypatch.setattr(search, "MOST_UNITS", 3)
    problem: Any = SimpleNamespace(
        layout=SimpleNamespace(mascons=7),
        windows=SimpleNamespace(month=months),
        anomaly=lambda part=slice(None): storage[part],
        year_folds=lambda: iter(folds),
    )
    data = SimpleNamespace(names=list("abcdefg"), storage=storage, months=months, train=np.ones(len(months), bool))
    setup: Any = SimpleNamespace(prepare=lambda: SimpleNamespace(data=data, blocks=[~half, half]))
    whole = search.GlobalJudge(problem).climatology()
    assert whole.shape == storage.shape and np.isfinite(whole).all()
    np.testing.assert_allclose(search.BasinGlobalJudge(setup).climatology(), whole)
    for judge in (search.LocalJudge(problem), search.BasinJudge(setup)):
        np.testing.assert_allclose(judge.climatology(), whole[[0, 3, 6]])


def test_the_basins_network_is_the_jobs_own_unless_set() -> None:
    assert search.net_settings(default("basins")).training(GlobalTraining()) == GlobalTraining()
    chosen = search.net_settings(default("basins") | {"features": "tas,pr", "history": 48, "epochs": 2})
    training = chosen.training(GlobalTraining())
    assert chosen.fluxes == ("tas", "pr") and training.fitting.epochs == 2
    assert training.network.history == training.prediction_history == 48


def test_the_basins_judge_reads_training_years_and_chosen_fluxes_alone(tmp_path: Path) -> None:
    """Another storage in the test years, or another runoff where none is chosen, changes no bit of the scores;
    another rain changes them."""
    write_table(tmp_path, basins=3)
    settings = search.defaults("global_lstm", ("pr", "evspsbl"), 2, 2, basins=True)
    settings |= {"epochs": 1, "hidden_size": 4}
    train, test = Period("2002-08", "2013-01"), Period("2013-01", "2015-01")

    def judged(change: Callable[[xr.Dataset], None] = lambda table: None) -> list[np.ndarray]:
        number = len(list(tmp_path.glob("b*.nc")))
        with xr.open_dataset(tmp_path / "basins.nc") as table:
            changed = table.load().copy(deep=True)
        change(changed)
        changed.to_netcdf(tmp_path / f"b{number}.nc")
        source = BasinSource(str(tmp_path / f"b{number}.nc"), "TWS_X", ("ERA5_Land", "MERRA2"), "", "")
        setup = Setup(source, train, test, groups=2, folds=2, members=2, global_members=2, lags=2, seed=0)
        return list(search.BasinGlobalJudge(setup).blocks(settings))

    def other_test_years(table: xr.Dataset) -> None:
        table["TWS_X"][:, table["time"].values >= np.datetime64("2013-01")] *= -3

    def other_runoff(table: xr.Dataset) -> None:
        for family in ("ERA5_Land", "MERRA2"):
            table[f"R_{family}"][:] = table[f"R_{family}"].values[:, ::-1]

    def other_rain(table: xr.Dataset) -> None:
        table["P_MERRA2"][:] = table["P_MERRA2"].values[:, ::-1]

    plain = judged()
    assert len(plain) == 2
    for change in (other_test_years, other_runoff):
        for one, other in zip(plain, judged(change), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.allclose(plain[-1], judged(other_rain)[-1], equal_nan=True)


def test_a_result_comes_back_and_one_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    url, best = tmp_path / "search.json", default("lstm") | {"features": "pr,mrso", "lags": 5}

    def leave(settings: object) -> None:
        url.write_text(json.dumps({"lstm": {"best": {"settings": settings}}}))

    leave(best)
    assert search.read_result(str(url), ("lstm", "ridge"), NAMES) == {"lstm": best}
    with pytest.raises(ConfigError, match="nothing for ridge; found lstm"):
        search.read_result(str(url), ("ridge",), NAMES)
    for settings, line in (
        (best | {"lag": 3}, "no 'lag'; did you mean 'lags'"),
        (best | {"features": "pr,mrsoo"}, "lstm, features: no 'mrsoo'; did you mean 'mrso'"),
        ({"features": "pr"}, "lstm lacks 'epochs'; search again"),
        ("best", "not the result of a search"),
    ):
        leave(settings)
        with pytest.raises(ConfigError, match=line):
            search.read_result(str(url), ("lstm",), NAMES)
    url.write_text("{")
    with pytest.raises(ConfigError, match="not the result of a search"):
        search.read_result(str(url), ("lstm",), NAMES)


def test_variants_lose_gain_and_keep_one_predictor() -> None:
    best = default("lstm") | {"features": "pr,mrso"}
    found = {v.name: v.settings["features"] for v in search.variants(default("lstm"), best, NAMES)}
    assert found["default"] == found["default, other years"] == "pr,tas,mrso"
    assert found["best"] == "pr,mrso"
    assert found["without pr"] == "mrso" and found["without mrso"] == "pr"
    assert found["with tas"] == "pr,tas,mrso" and found["only tas"] == "tas"


def test_gain_and_loss_are_one_comparison_with_an_interval() -> None:
    months = np.arange(np.datetime64("2003-01"), np.datetime64("2013-01"))
    best = 10 + np.random.default_rng(1).normal(size=len(months))
    change, low, high = _change(best, 1.25 * best, months)
    assert change == pytest.approx(25) and low == pytest.approx(25) and high == pytest.approx(25)
    gain, low, high = _gain(best / 0.8, best, months)
    assert gain == pytest.approx(20) and low == pytest.approx(20) and high == pytest.approx(20)
    noisy = _change(best, best + np.random.default_rng(2).normal(size=len(months)), months)
    assert noisy[1] < 0 < noisy[2]
