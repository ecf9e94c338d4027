"""Local LSTMs: learn planted truth, one answer for any grouping of units, honest refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import ConfigError, InputError
from sciml.data.readers import basins, grace_months
from sciml.grace.local_lstm import LocalLSTMConfig, bootstrap_counts, fit_units, predict_units

CONFIG = LocalLSTMConfig(members=3, hidden_size=8, epochs=80, learning_rate=2e-2)
IDS = ["Amazon", 7, "Lena"]


def planted(units: int = 3, records: int = 120, seed: int = 0) -> dict[str, np.ndarray]:
    """Storage [mm] that follows this and last month's first feature, not linearly, with a little noise."""
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(units, records + 2, 4))
    features = np.stack([series[:, lag : lag + records] for lag in range(3)], axis=2)
    signal = 40.0 * np.tanh(features[:, :, 2, 0]) + 25.0 * features[:, :, 1, 0] + 100.0
    mask = rng.random((units, records)) < 0.9
    targets = signal + rng.normal(scale=3.0, size=signal.shape)
    targets[~mask] = np.nan
    return {
        "features": features,
        "targets": targets,
        "weights": np.ones((units, records)),
        "mask": mask,
        "truth": signal,
    }


def run(data: dict[str, np.ndarray], config: LocalLSTMConfig = CONFIG, ids=IDS, root_seed: int = 1):
    return fit_units(data["features"], data["targets"], data["weights"], data["mask"], config, ids, root_seed)


def take(data: dict[str, np.ndarray], units: list[int]) -> dict[str, np.ndarray]:
    return {name: values[units] for name, values in data.items()}


def test_learns_planted_storage_in_months_never_seen() -> None:
    data = planted()
    held = np.zeros_like(data["mask"])
    held[:, 90:] = True
    states = run({**data, "mask": data["mask"] & ~held})
    members = predict_units(states, data["features"])
    assert members.shape == (3, 3, 120) and members.dtype == np.float32
    error = (members.mean(axis=1) - data["truth"])[held]
    assert error.std() < 0.5 * data["truth"][held].std()


@pytest.mark.parametrize("groups", [[[0], [1], [2]], [[2, 0], [1]], [[1, 2, 0]]])
def test_any_grouping_of_units_gives_the_same_bits(groups: list[list[int]]) -> None:
    data = planted()
    whole = run(data)
    prediction = predict_units(whole, data["features"])
    for group in groups:
        part = run(take(data, group), ids=[IDS[unit] for unit in group])
        for name, values in part.items():
            assert np.array_equal(values, whole[name][group]), name
        assert np.array_equal(predict_units(part, data["features"][group]), prediction[group])


def test_seeds_come_from_root_unit_and_member() -> None:
    data = planted()
    data = take(data, [0, 0, 0])
    states = run(data)
    rows = states["parameters"].reshape(9, -1)
    assert len(np.unique(rows, axis=0)) == 9
    assert not np.array_equal(rows, run(data, root_seed=2)["parameters"].reshape(9, -1))
    fewer = run(data, replace(CONFIG, members=2))
    assert np.array_equal(fewer["parameters"], states["parameters"][:, :2])


def test_nothing_outside_the_mask_is_seen() -> None:
    data = planted()
    changed = {name: values.copy() for name, values in data.items()}
    changed["features"][~data["mask"]] = 1e6
    changed["targets"][~data["mask"]] = np.nan
    changed["weights"][~data["mask"]] = -1.0
    first, second = run(data), run(changed)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_places_use_their_parent_and_gaps_stay_gaps() -> None:
    data = planted()
    states = run(data)
    features = data["features"][[1, 1, 0, 2]].copy()
    features[2, 5, 0, 1] = np.nan
    members = predict_units(states, features, np.array([1, 1, 0, 2]))
    alone = predict_units(states, data["features"])
    assert np.isnan(members[2, :, 5]).all() and np.isnan(members).sum() == CONFIG.members
    known = np.isfinite(members)
    assert np.allclose(members[known], alone[[1, 1, 0, 2]][known], rtol=1e-5, atol=1e-4)


def test_weights_decide_between_contradicting_records() -> None:
    data = take(planted(units=1), [0])
    features = np.concatenate([data["features"]] * 2, axis=1)
    targets = np.concatenate([data["truth"], data["truth"] + 50.0], axis=1)
    mask = np.ones(targets.shape, bool)
    weights = np.concatenate([np.full((1, 120), 99.0), np.ones((1, 120))], axis=1)
    states = fit_units(features, targets, weights, mask, replace(CONFIG, epochs=150), ["u"], 0)
    offset = (predict_units(states, data["features"]).mean(axis=1) - data["truth"]).mean()
    assert abs(offset) < 5.0


def test_a_unit_without_records_is_nan_and_the_others_go_on() -> None:
    data = planted()
    data["mask"][1] = False
    states = run(data)
    assert np.isnan(states["parameters"][1]).all()
    members = predict_units(states, data["features"])
    assert np.isnan(members[1]).all() and np.isfinite(members[[0, 2]]).all()


def test_a_feature_that_was_constant_in_training_does_not_explode() -> None:
    data = planted()
    data["features"] = data["features"].astype(np.float32)
    data["features"][..., 3] = np.float32(0.1)
    states = run(data)
    assert (states["feature_scale"][:, 3] == 1.0).all()
    data["features"][..., 3] += np.float32(0.01)
    moved = predict_units(states, data["features"]).mean(axis=1) - data["truth"]
    assert np.sqrt((moved**2).mean()) < data["truth"].std()


@pytest.mark.parametrize("name", ["features", "targets", "weights"])
def test_values_that_cannot_be_trained_on_are_named(name: str) -> None:
    data = planted()
    unit, record = np.argwhere(data["mask"])[200]
    data[name][unit, record] = np.nan
    with pytest.raises(InputError, match=f"unit {IDS[unit]}: {name}"):
        run(data)


def test_units_of_different_length_trained_together_on_a_device_agree() -> None:
    data = planted()
    data["mask"][1, 80:] = False
    alone, together = (
        fit_units(data["features"], data["targets"], data["weights"], data["mask"], CONFIG, IDS, 1, device=device)
        for device in ("cpu", "cpu:0")
    )
    first, second = (predict_units(states, data["features"]) for states in (alone, together))
    assert np.abs(first - second).max() < 1e-3 * data["truth"].std()


def test_other_features_than_trained_on_are_refused() -> None:
    data = planted()
    states = run(data)
    with pytest.raises(ConfigError, match="features"):
        predict_units(states, data["features"][..., :3])
    with pytest.raises(ConfigError, match="members"):
        LocalLSTMConfig(members=0)
    with pytest.raises(ConfigError, match="epochs"):
        LocalLSTMConfig(epochs=0)


def test_bootstrap_draws_as_many_as_there_are() -> None:
    counts = np.stack([bootstrap_counts(130, seed) for seed in range(200)])
    assert (counts.sum(axis=1) == 130).all()
    assert abs((counts == 0).mean() - np.exp(-1.0)) < 0.01


def test_real_basins_beat_their_climatology_in_two_years_not_trained_on(real_data: Path) -> None:
    """Two years of history of real fluxes; trained to 2012, scored in 2013-2014, the last of the training years."""
    hydro = real_data / "hydro"
    table = basins.read(
        str(hydro / "basin_water_budget" / "basin_monthly_1979_2020.nc"),
        storage="TWS_GRACE_JPL_mascons",
        families=["ERA5_Land"],
        real_months=grace_months.read(str(hydro / "grace_months.csv")),
    )
    month = table["time"].values.astype("datetime64[M]")
    keep = np.flatnonzero((month >= np.datetime64("2002-08")) & (month <= np.datetime64("2014-12")))
    fluxes = np.stack([table[name].values[0] for name in ("pr", "evspsbl", "mrro")], axis=-1)
    has_all = np.isfinite(table["twsa"].values[:, keep]).any(axis=1) & np.isfinite(fluxes[:, keep]).all(axis=(1, 2))
    unit = np.flatnonzero(has_all)[::8]
    features = np.stack([fluxes[unit][:, keep - lag] for lag in range(23, -1, -1)], axis=2)
    storage = table["twsa"].values[unit][:, keep]
    weights = table["twsa_uncertainty"].values[unit][:, keep] ** -2.0
    early, observed = month[keep] <= np.datetime64("2012-12"), np.isfinite(storage)
    ids = [str(name) for name in table["basin"].values[unit]]
    states = fit_units(features, storage, weights, observed & early, LocalLSTMConfig(members=4), ids, 0)
    predicted = predict_units(states, features).mean(axis=1)

    season = month[keep].astype(int) % 12
    climatology = np.stack(
        [np.nanmean(np.where(early & (season == m), storage, np.nan), axis=1) for m in season], axis=1
    )
    late = ~early & observed.all(axis=0)
    errors = [np.sqrt(((x - storage)[:, late] ** 2).mean(axis=1)) for x in (predicted, climatology)]
    assert len(unit) >= 10 and late.sum() >= 15
    assert np.mean(errors[0] < errors[1]) > 0.6
