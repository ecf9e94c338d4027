"""Rows per unit and their summaries."""

import json

import numpy as np
import pandas as pd
import pytest

from sciml.core.errors import InputError
from sciml.metrics import seasonal
from sciml.metrics.table import score_pooled, score_units, summarise, summarise_all, yearly_statistics

TIME = np.arange("2015-01", "2020-01", dtype="datetime64[M]").astype("datetime64[s]") + np.timedelta64(14 * 86400, "s")
CLIMATOLOGY = np.tile(40 * np.cos(2 * np.pi * (np.arange(12) + 0.5) / 12), (20, 1))


def case(seed: int = 0, noise: float = 10.0, units: int = 20, members: int = 12):
    random = np.random.default_rng(seed)
    observed = CLIMATOLOGY[:units, seasonal.calendar_month(TIME)] + 20 * random.normal(size=(units, len(TIME)))
    members = observed[:, None] + noise * random.normal(size=(units, 1, len(TIME))) + noise * random.normal(
        size=(units, members, len(TIME))
    )  # fmt: skip
    return observed, members.astype(np.float32)


def frame(model: str = "ridge", seed: int = 0, noise: float = 10.0, **options) -> pd.DataFrame:
    observed, members = case(seed, noise)
    observed = case(0)[0]
    members = members - case(seed, noise)[0][:, None] + observed[:, None]
    return score_units(observed, members, TIME, climatology=CLIMATOLOGY, experiment="basins", model=model, **options)


def test_rows():
    names = [f"basin {i}" for i in range(20)]
    scored = frame(unit=names, uncertainty=np.full((20, 60), 10.0), region=np.arange(20) // 4)
    assert list(scored.columns[:6]) == ["experiment", "model", "unit", "region", "n", "n_months"]
    needed = "nse r rmse bias r_deseasonalised rmse_deseasonalised trend_error amplitude_ratio phase_error_months crps"
    assert set(needed.split()) | {"coverage90", "rmse_over_uncertainty"} <= set(scored)
    assert (scored["n"] == 60).all() and (scored["n_months"] == 60).all()
    assert scored.drop(columns=["experiment", "model", "unit"]).notna().all().all()


def test_two_records_in_a_month_count_as_two_records_and_one_month():
    time = TIME.copy()
    time[1] = time[0] + np.timedelta64(86400, "s")
    observed, members = case()
    scored = score_units(observed, members, time, climatology=CLIMATOLOGY, experiment="basins", model="ridge")
    assert (scored["n"] == 60).all() and (scored["n_months"] == 59).all()
    assert summarise(scored)["n_months"] == 59


def test_offset_and_trend_play_no_part_in_deseasonalised_scores():
    observed, members = case()
    drift = 300 + 25 * seasonal.years_since_2000(TIME)
    options = {"climatology": CLIMATOLOGY, "experiment": "basins", "model": "ridge"}
    plain, moved = (score_units(observed, m, TIME, **options) for m in (members, members + drift))
    for key in ("r_deseasonalised", "rmse_deseasonalised"):
        np.testing.assert_allclose(plain[key], moved[key], rtol=1e-4)
    np.testing.assert_allclose(moved["trend_error"] - plain["trend_error"], 25, rtol=1e-4)
    assert (moved["nse"] < plain["nse"]).all()


def test_climatology_and_trend_explain_no_anomaly():
    observed, _ = case()
    prediction = CLIMATOLOGY[:, seasonal.calendar_month(TIME)] + 3 * seasonal.years_since_2000(TIME)
    scored = score_units(
        observed, prediction[:, None].astype(np.float32), TIME, climatology=CLIMATOLOGY, experiment="b", model="c"
    )
    assert (scored["r_deseasonalised"] == 0).all()
    assert (scored["r"] > 0.5).all()


def test_blocks_of_units_change_nothing(monkeypatch):
    whole = frame()
    monkeypatch.setattr("sciml.metrics.table.BLOCK", 2000)
    pd.testing.assert_frame_equal(whole, frame())


def test_summary_keys_and_shares():
    good, bad = frame(noise=5.0), frame("climatology_trend", noise=30.0, seed=1)
    summary = summarise(good, {"climatology_trend": bad, "itself": good})
    for key in ("nse_median", "r_median", "rmse_median", "r_deseasonalised_median", "crps_median", "coverage90"):
        low, high = summary[f"{key}_ci"]
        assert low <= summary[key] <= high
    assert summary["n"] == 20 and summary["n_months"] == 60 and summary["n_records"] == 1200
    for share in ("fraction_better_than", "fraction_better_crps", "fraction_better_r_deseasonalised"):
        assert summary[share] == {"climatology_trend": 1.0, "itself": 0.0}
        assert summary[f"{share}_ci"]["climatology_trend"] == [1.0, 1.0]
    assert summary["nse_median"] == pytest.approx(np.median(good["nse"]))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_interval_over_years_agrees_with_the_rows_and_is_wider_when_years_differ():
    observed, members = case()
    year = TIME.astype("datetime64[Y]").astype(int)
    members = members + np.array([0, 0, 60, 0, 0], np.float32)[year - year[0]]
    options = {"climatology": CLIMATOLOGY}
    scored = score_units(observed, members, TIME, experiment="basins", model="ridge", **options)
    yearly = yearly_statistics(observed, members, TIME, **options)
    from sciml.metrics import scores

    np.testing.assert_allclose(scores.nse(yearly.raw.merged()), scored["nse"], rtol=1e-10)
    np.testing.assert_allclose(scores.r(yearly.deseasonalised.merged()), scored["r_deseasonalised"], rtol=1e-6)
    places, both = summarise(scored), summarise(scored, yearly=yearly)
    assert both["rmse_median"] == places["rmse_median"]
    assert np.ptp(both["rmse_median_ci"]) > 2 * np.ptp(places["rmse_median_ci"])
    assert both["ci_blocks"] == "units and years"


def test_all_models_of_all_experiments():
    table = pd.concat([frame(), frame("lstm", noise=4.0), frame().assign(experiment="regroup")])
    out = summarise_all(table)
    assert set(out) == {"basins", "regroup"}
    assert out["basins"]["lstm"]["fraction_better_than"] == {"ridge": 1.0}
    assert "fraction_better_than" not in out["regroup"]["ridge"]


def test_summary_survives_parquet(tmp_path):
    scored = frame(region=np.arange(20) // 4)
    scored.to_parquet(tmp_path / "scores.parquet")
    assert summarise(pd.read_parquet(tmp_path / "scores.parquet")) == summarise(scored)


def test_baseline_on_other_units_is_refused():
    scored = frame()
    with pytest.raises(InputError, match="baseline ridge was scored on other records"):
        summarise(scored, {"ridge": scored.iloc[:-1]})


def test_units_without_records_are_left_out_and_counted():
    mask = np.ones((20, 60), bool)
    mask[3] = False
    scored = frame(mask=mask)
    assert scored["n"].iloc[3] == 0 and np.isnan(scored["nse"].iloc[3])
    assert summarise(scored)["n"] == 19


def test_coverage_of_a_summary_is_the_share_of_all_records():
    mask = np.ones((20, 60), bool)
    mask[:10, 20:] = False
    scored = frame(mask=mask, noise=3.0)
    hits = (scored["coverage90"] * scored["n"]).sum()
    summary = summarise(scored)
    assert summary["coverage90"] == pytest.approx(hits / scored["n"].sum())
    assert summary["coverage90"] != pytest.approx(scored["coverage90"].mean(), abs=1e-6)


def test_nothing_scored_is_refused():
    scored = frame(mask=np.zeros((20, 60), bool))
    with pytest.raises(InputError, match="no unit has a scored record"):
        summarise(scored)


def test_pooled_rows_are_the_scores_of_all_cells_of_a_mascon_together():
    observed, members = case()
    parent = np.repeat([7, 3], 10)
    mask = np.random.default_rng(1).random(observed.shape) < 0.7
    options = {"climatology": CLIMATOLOGY, "experiment": "synthetic_t1", "model": "lstm"}
    pooled = score_pooled(observed, members, TIME, parent=parent, mask=mask, region={3: "a", 7: "b"}, **options)
    assert list(pooled["unit"]) == [3, 7] and list(pooled["region"]) == ["a", "b"]
    cells = score_units(observed, members, TIME, mask=mask, **options)
    for label, row in zip((3, 7), pooled.itertuples(), strict=True):
        inside = parent == label
        error = (members.mean(axis=1, dtype=float) - observed)[inside][mask[inside]]
        assert row.n == mask[inside].sum() == cells["n"][inside].sum()
        assert row.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
        assert row.nse == pytest.approx(1 - np.mean(error**2) / np.var(observed[inside][mask[inside]]))
        assert row.crps == pytest.approx(np.average(cells["crps"][inside], weights=cells["n"][inside]))
        assert row.trend_error == pytest.approx(cells["trend_error"][inside].abs().median())
    assert summarise(pooled)["n"] == 2
