"""The ensemble that `regroup` trains itself: weighed by GRACE's uncertainty, set as a search or the defaults say."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sciml.grace import search
from sciml.grace.basins import group_models
from sciml.grace.basins.table import FLUXES, BasinArrays

MONTHS = np.arange(np.datetime64("2002-01"), np.datetime64("2012-01"))
SETTINGS = search.defaults("lstm", FLUXES, 2, 3) | {"epochs": 10}


def said(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], wrong: np.ndarray, sigma: float, leak: float = 0.0
) -> np.ndarray:
    """What two groups' models say of themselves. wrong: (month,) bool, storage there is nonsense of uncertainty sigma;
    leak: added to all predictors but the first."""
    rng = np.random.default_rng(0)
    predictors = rng.normal(size=(2, len(MONTHS), 1, len(FLUXES))).astype(np.float32)
    storage = 50 * predictors[..., 0, 0].astype(float)
    storage[:, wrong] = 1000.0 * rng.normal(size=int(wrong.sum()))
    uncertainty = np.where(wrong, sigma, 1.0) * np.ones(storage.shape)
    train = np.ones(len(MONTHS), bool)
    predictors[..., 1:] += leak * rng.normal(size=predictors[..., 1:].shape)
    data = BasinArrays(np.array(["a", "b"]), MONTHS, predictors, storage, uncertainty, train, ~train)
    problem = SimpleNamespace(months=MONTHS, predictors=predictors, storage=storage, uncertainty=uncertainty)
    grouped = SimpleNamespace(problem=problem, observed=storage)
    ready: Any = SimpleNamespace(grouped=grouped, data=data, setup=SimpleNamespace(seed=0, fluxes=FLUXES))
    monkeypatch.setattr(group_models, "_with_contrast", lambda ready, apply: apply)
    apply: Any = group_models.lstm(ready, {}, settings)
    return apply(train, np.arange(2), np.arange(2))


def test_records_of_great_uncertainty_count_less(monkeypatch: pytest.MonkeyPatch) -> None:
    none, some = np.zeros(len(MONTHS), bool), np.arange(len(MONTHS)) % 10 == 0
    clean, trusted, doubted = (said(monkeypatch, SETTINGS, *case) for case in ((none, 1.0), (some, 1.0), (some, 1e4)))
    known = np.isfinite(clean)
    spread = [np.std(values[known]) for values in (trusted, doubted)]
    assert known.any() and spread[1] < 0.5 * spread[0]


def test_settings_choose_lags_and_predictors(monkeypatch: pytest.MonkeyPatch) -> None:
    none = np.zeros(len(MONTHS), bool)
    for lags in (3, 6):
        values = said(monkeypatch, SETTINGS | {"lags": lags}, none, 1.0)
        assert (np.isfinite(values).all(axis=0) == (np.arange(len(MONTHS)) >= lags)).all()
    alone = SETTINGS | {"features": FLUXES[0]}
    np.testing.assert_array_equal(said(monkeypatch, alone, none, 1.0), said(monkeypatch, alone, none, 1.0, leak=1.0))
    assert not np.allclose(
        said(monkeypatch, SETTINGS, none, 1.0), said(monkeypatch, SETTINGS, none, 1.0, leak=1.0), equal_nan=True
    )
