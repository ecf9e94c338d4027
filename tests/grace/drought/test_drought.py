"""Kernels of the drought experiment: identities, limits, planted relations, leaks."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sciml.data.readers import counties, usdm
from sciml.data.splits import Period
from sciml.grace.basins.models import Whole
from sciml.grace.basins.nets import Setup
from sciml.grace.basins.table import BasinSource
from sciml.grace.drought import places
from sciml.grace.drought import scores as drought_scores
from sciml.grace.drought import storage as drought
from sciml.grace.drought.places import Units
from sciml.grace.drought.scores import Modelled, Observed
from sciml.metrics import events

MONTHS = np.arange(np.datetime64("1980-01"), np.datetime64("2021-01"))
TRAIN = (np.datetime64("2002-08") <= MONTHS) & (np.datetime64("2015-01") > MONTHS)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_an_anomaly_has_no_season_in_training_and_keeps_its_trend():
    t = np.arange(len(MONTHS)) / 12
    season = 50 * np.cos(2 * np.pi * t)
    left = drought.deseasonalised((season + 3 * t)[None], MONTHS, TRAIN)[0]
    np.testing.assert_allclose(np.diff(left), 3 / 12, atol=0.02)
    assert abs(left[TRAIN].mean()) < 1e-9


def columns_and_storage() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two basins of two columns; mascon 0 follows basin 0, mascon 1 nothing, mascon 2 has no basin near it."""
    columns = noise(2, 2, len(MONTHS))
    storage = np.stack([30 * columns[0, 0] - 20 * columns[0, 1], 30 * noise(len(MONTHS), seed=1), columns[1, 0]])
    return columns, storage + 5 * noise(3, len(MONTHS), seed=2), np.array([[1, 0], [1, 0], [0, 0]], bool)


BLOCKS = [TRAIN & (np.arange(len(MONTHS)) // 36 % 3 == k) for k in range(3)]


def test_a_mascon_that_follows_a_basin_is_told_apart_from_one_that_does_not():
    columns, storage, near = columns_and_storage()
    model = drought.follow(storage, columns, near, TRAIN, BLOCKS)
    assert np.corrcoef(model[0, TRAIN], storage[0, TRAIN])[0, 1] > 0.95
    assert abs(np.corrcoef(model[1, TRAIN], storage[1, TRAIN])[0, 1]) < 0.35
    assert (model[2] == 0).all()
    w, memory = drought.trust(model, storage, near, TRAIN)
    assert w[0] > w[1] > 0 and w[2] == 0
    assert ((memory >= 0) & (memory < 1)).all()


def test_nothing_after_training_reaches_the_model():
    columns, storage, near = columns_and_storage()
    changed = np.where(MONTHS > MONTHS[TRAIN].max(), 1e6, storage)
    before, after = (drought.follow(s, columns, near, TRAIN, BLOCKS) for s in (storage, changed))
    np.testing.assert_array_equal(before, after)
    for one, other in zip(
        drought.trust(before, storage, near, TRAIN), drought.trust(after, changed, near, TRAIN), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_analysis_returns_grace_without_trust_and_the_model_with_all_of_it():
    model, storage = noise(3, 40), noise(3, 40, seed=1)
    memory = np.full(3, 0.5)
    np.testing.assert_allclose(drought.analysis(model, storage, np.zeros(3), memory), storage)
    np.testing.assert_allclose(drought.analysis(model, storage, np.ones(3), memory), model)


def test_in_a_gap_the_analysis_relaxes_to_the_model():
    model, storage = np.zeros((1, 8)), np.full((1, 8), np.nan)
    storage[0, 2] = 8.0
    found = drought.analysis(model, storage, np.zeros(1), np.array([0.5]))
    np.testing.assert_allclose(found[0], [0, 0, 8, 4, 2, 1, 0.5, 0.25])


def test_rain_stores_do_not_depend_on_what_comes_after_the_reference():
    rain = 80 + 20 * noise(2, len(MONTHS), 1, 3)
    later = np.where((MONTHS > MONTHS[TRAIN].max())[None, :, None, None], 500.0, rain)
    one, other = (drought.rain_stores(p, MONTHS, TRAIN) for p in (rain, later))
    upto = MONTHS[TRAIN].max() >= MONTHS
    np.testing.assert_array_equal(one[..., upto], other[..., upto])
    assert one.shape == (2, 4, len(MONTHS)) and np.isfinite(one).all()


def test_percentiles_are_flat_for_what_the_reference_holds_and_frozen_in_2014():
    x = noise(1, len(MONTHS))
    found = drought_scores.percentiles(x, x, MONTHS, TRAIN)
    assert abs(found.mean() - 0.5) < 0.03
    np.testing.assert_allclose([(found <= p).mean() for p in (0.3, 0.2, 0.1)], [0.3, 0.2, 0.1], atol=0.04)
    later = np.where(MONTHS > np.datetime64("2014-12"), 1e3, x)
    np.testing.assert_array_equal(drought_scores.percentiles(x, later, MONTHS, TRAIN), found)


def test_percentiles_know_nothing_beyond_the_training_months():
    x, train = noise(1, len(MONTHS)), TRAIN & (np.datetime64("2010-01") > MONTHS)
    later = np.where(MONTHS >= np.datetime64("2010-01"), 1e3, x)
    found, other = (drought_scores.percentiles(x, r, MONTHS, train) for r in (x, later))
    np.testing.assert_array_equal(found, other)


@given(st.floats(0.1, 10), st.floats(-50, 50))
def test_a_reconstruction_that_varies_less_gives_the_same_percentiles(scale, shift):
    x = noise(1, len(MONTHS))
    found = [drought_scores.percentiles(x, r, MONTHS, TRAIN) for r in (x, shift + scale * x)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)


def test_classes_begin_at_their_thresholds():
    p = np.array([0.31, 0.30, 0.20, 0.10, 0.05, 0.02, 0.0, np.nan])
    np.testing.assert_array_equal(drought_scores.drought_class(p), [0, 1, 2, 3, 4, 5, 5, np.nan])


def world() -> tuple[xr.Dataset, xr.Dataset, pd.DataFrame]:
    """Two mascons of 6 x 6 cells, a basin over the western half, a county in each cell."""
    lat, lon = np.meshgrid(np.arange(36.25, 39, 0.5), np.arange(-101.75, -96, 0.5), indexing="ij")
    lat, lon = lat.ravel(), lon.ravel()
    parent = (lon > -99).astype(int)
    cells = {"cell_lat": ("cell", lat), "cell_lon": ("cell", lon), "cell_area_km2": ("cell", np.full(len(lat), 2500.0))}
    mascons = xr.Dataset({**cells, "cell_parent": ("cell", parent)})
    west = lon < -99
    table = xr.Dataset({name: ("cell", v.values[west]) for name, v in mascons.items()}, {"basin": ["W"]})
    fips = [f"{'20' if west_ else '29'}{k:03d}" for k, west_ in enumerate(lat > 37.5)]
    centres = pd.DataFrame(
        {"fips": fips, "county_name": fips, "state_name": np.where(lat > 37.5, "Kansas", "Missouri")}
    )
    return mascons, table, centres.assign(latitude=lat, longitude=lon)


def test_states_and_basins_are_means_over_their_counties(tmp_path):
    mascons, table, centres = world()
    centres.to_csv(tmp_path / "c.csv", index=False)
    found = places.places(mascons, table, str(tmp_path / "c.csv"))
    assert found.area.sum() == pytest.approx(72 * 2500)
    np.testing.assert_allclose(np.asarray(found.area.sum(axis=1)).ravel(), 2500, rtol=0.3)
    made = places.units(found, np.array(["W"]), np.ones(72, bool))
    assert list(made.name) == ["Kansas", "Missouri", "W"] and list(made.kind) == ["state", "state", "basin"]
    for weights in (made.cells, made.counties):
        np.testing.assert_allclose(weights.sum(axis=1), 1)
    # a field that is the latitude: a state's mean is the latitude of its middle, whether by cell or by county
    place = dict(zip(centres["fips"], centres["latitude"], strict=True))
    by_county = made.counties @ np.array([place[code] for code in found.fips])
    by_cell = made.cells @ found.cells.latitude
    np.testing.assert_allclose(by_cell, [38.25, 36.75, 37.5], atol=0.1)
    np.testing.assert_allclose(by_county, by_cell, atol=0.1)
    few = np.zeros(72, bool)
    few[:4] = True
    assert "W" not in places.units(found, np.array(["W"]), few).name


def monitor(fips: np.ndarray) -> xr.Dataset:
    """A map each month of 2002 to 2020, everything in D0."""
    week = np.arange(np.datetime64("2002-01"), np.datetime64("2021-01")).astype("M8[D]") + 9
    area = np.zeros((5, len(fips), len(week)))
    area[0] = 1
    return xr.Dataset(
        {"area_fraction": (("category", "county", "week"), area)}, {"fips": ("county", fips), "week": week}
    )


def test_a_county_that_begins_late_is_unknown_and_does_not_blank_the_monitor(tmp_path):
    mascons, table, centres = world()
    centres.to_csv(tmp_path / "c.csv", index=False)
    found = places.places(mascons, table, str(tmp_path / "c.csv"))
    ready = drought.Ready(found, MONTHS, np.zeros((2, len(MONTHS))), TRAIN, np.ones((2, 1), bool), np.zeros(0))
    whole = monitor(found.fips)
    late = whole.copy(deep=True)
    late["area_fraction"][:, 3, :160] = np.nan  # until 2015
    late["area_fraction"][:, 4, 5] = np.nan  # one month alone
    one, other = (drought_scores.observe(ready, t, np.array(["W"])) for t in (whole, late))
    assert one.notes == () and other.notes == (
        f"1 counties lack more than 10% of the Drought Monitor's months and count as unknown: {found.fips[3]}.",
    )
    assert one.seen.sum() == 228 and other.seen.sum() == 227
    assert np.isnan(other.county_area[:, 3]).all()
    np.testing.assert_allclose(other.dsci[:, other.seen], 100)


@pytest.mark.parametrize("size", [0.25, 0.5, 1.0])
def test_basins_of_cells_and_counties_are_found_at_any_resolution_of_the_mask(tmp_path, size):
    mascons, _, centres = world()
    centres.to_csv(tmp_path / "c.csv", index=False)
    lat, lon = np.meshgrid(np.arange(36 + size / 2, 39, size), np.arange(-102 + size / 2, -99, size), indexing="ij")
    cells = {"cell_lat": lat.ravel(), "cell_lon": lon.ravel(), "cell_parent": np.zeros(lat.size, int)}
    table = xr.Dataset({name: ("cell", v) for name, v in cells.items()}, {"basin": ["W"]})
    found = places.places(mascons, table, str(tmp_path / "c.csv"))
    np.testing.assert_array_equal(found.cell_basin, np.where(found.cells.longitude < -99, 0, -1))
    assert (found.county_basin == 0).sum() == 36


def test_real_storage_follows_the_drought_monitor_before_any_model(real_data):
    """Interpolated GRACE against DSCI in the training years, four states where this is known to be strong."""
    hydro = real_data / "hydro"
    water = hydro / "basin_water_budget"
    source = BasinSource(
        str(water / "basin_monthly_1979_2020.nc"),
        "TWS_GRACE_JPL_mascons",
        ("ERA5_Land",),
        str(hydro / "grace_months.csv"),
        str(water / "basin_mask_0p5deg.nc"),
    )
    train, test = Period("2002-08", "2015-01"), Period("2015-01", "2020-01")
    basins = Setup(source, train, test, groups=50, folds=2, members=2, global_members=2, lags=2, seed=0)
    centres = str(hydro / "storm_events/county_centers.csv.gz")
    mascons = str(hydro / "grace_jpl_l2/grace_jpl_gsm_mascon3deg_0p5grid_2002_2025.nc")
    setup = drought.DroughtSetup(basins, mascons, centres)
    ready = setup.prepare()
    file = str(hydro / "usdm/usdm_county_weekly_2002_2021.nc")
    table = usdm.at_centres(usdm.read(file), counties.read(centres), file)
    observed = drought_scores.observe(ready, table, basins.prepare().data.names)
    assert (observed.units.kind == "state").sum() == 49 and "BRAZOS" in observed.units.name
    field = drought.Downscale(setup, ("cubic_conserved",), "")(Whole(0))["anomaly"][0]
    storage = observed.units.cells @ field.astype(float)
    for state in ("Texas", "Georgia", "Kansas", "California"):
        unit = int(np.flatnonzero(observed.units.name == state)[0])
        found = events.spearman(storage[unit, ready.train], observed.dsci[unit, ready.train])
        assert -0.95 < found < -0.65, state


def planted() -> tuple[Observed, dict[str, Modelled]]:
    """Drought that is storage turned into classes by its percentile; a perfect model, and two behind noise."""
    truth = noise(6, len(MONTHS)).cumsum(axis=1)
    truth -= np.array([np.convolve(row, np.ones(60) / 60, "same") for row in truth])
    percentile = drought_scores.percentiles(truth, truth, MONTHS, TRAIN)
    level = drought_scores.drought_class(percentile)
    area = np.stack([level == k for k in range(1, 6)]).astype(float)
    one = csr_array(np.eye(6))
    units = Units(np.array([f"U{k}" for k in range(6)]), np.array(["state"] * 3 + ["basin"] * 3), one, one)
    observed = Observed(units, MONTHS, area, area, np.ones(len(MONTHS), bool))
    blurred = truth + 1.5 * truth.std() * noise(*truth.shape, seed=5)
    blurred[:, 450:456] = np.nan  # GRACE's gap

    def model(x: np.ndarray) -> Modelled:
        return Modelled(x, drought_scores.percentiles(x, truth, MONTHS, TRAIN))

    return observed, {"mascon": model(blurred), "cubic_conserved": model(blurred), "ridge": model(truth)}


def test_a_perfect_model_hits_every_class_and_the_blurred_one_loses():
    observed, models = planted()
    scored = np.datetime64("2015-01") <= MONTHS
    table, scores = drought_scores.score(observed, models, scored, seed=0)
    ours, blurred = scores["ridge"], scores["cubic_conserved"]
    assert ours["n_months"] == 72 - 6 and ours["n_months_all"] == 72
    assert (ours["pod_D0"], ours["far_D0"], ours["ets_D0"]) == (1, 0, 1)
    false, right = (blurred[f"{count}_D0"] for count in ("false_alarms", "correct_negatives"))
    assert blurred["far_D0"] == pytest.approx(false / (false + right))
    assert blurred["false_alarm_ratio_D0"] == pytest.approx(false / (false + blurred["hits_D0"]))
    assert ours["dsci_spearman"] < blurred["dsci_spearman"] < 0
    assert ours["fraction_better_than"]["cubic_conserved"] == 1 and ours["gain_over_ci"]["cubic_conserved"][0] > 0
    assert blurred["gain_over"]["ridge"] == pytest.approx(-ours["gain_over"]["cubic_conserved"])
    assert blurred["gain_over"]["mascon"] == 0 and blurred["fraction_better_than"]["mascon"] == 0
    own = table[(table["model"] == "ridge") & (table["unit"] == "U0")].iloc[0]
    assert own["events_D0"] == own["alarms_D0"] and own["n"] == 66
    halves = [
        table[(table["model"] == "ridge") & (table["kind"] == kind)]["dsci_spearman"].mean()
        for kind in ("state", "basin")
    ]
    assert [ours["dsci_spearman_states"], ours["dsci_spearman_basins"]] == pytest.approx(halves)


def test_a_unit_never_in_drought_has_no_correlation_and_is_left_out_of_the_mean():
    observed, models = planted()
    area = observed.area.copy()
    area[:, 0] = 0
    _, scores = drought_scores.score(
        Observed(observed.units, MONTHS, area, area, observed.seen), models, np.datetime64("2015-01") <= MONTHS, seed=0
    )
    assert np.isfinite(scores["ridge"]["dsci_spearman"])
    assert scores["ridge"]["fraction_better_than"]["cubic_conserved"] == 1
