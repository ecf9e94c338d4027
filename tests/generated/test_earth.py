"""The generated Earth: the same whoever makes it, read back by the ordinary reader, honest in its variants."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import ConfigError
from sciml.core.grid import EARTH_RADIUS_KM
from sciml.data import catalogue
from sciml.data.readers import grctellus
from sciml.generated import earth, grace_signal, truth
from sciml.generated.earth import EarthConfig
from sciml.grace.mascons import gaussian_kernel

SMALL = EarthConfig(
    tiles=2, first="2002-01", stop="2004-01", mascon_rows=2, mascon_columns=2, mascon_cells=4, spin_up_years=1
)
RECORDS = grace_signal.mission_records(stop="2003-12")


@pytest.fixture(scope="module")
def tile() -> earth.xr.Dataset:
    return earth.simulate_tile(SMALL, 0)


def test_predictors_are_what_the_catalogue_says(tile: earth.xr.Dataset) -> None:
    for name in earth.PREDICTORS:
        catalogue.check(name, tile[name].values, file="tile", units=tile[name].attrs["units"], axis=0)
    assert (tile["snw"].max() > 20) and (tile["truth_total"] >= tile["truth_groundwater"]).all()


def test_a_tile_does_not_depend_on_the_others(tile: earth.xr.Dataset) -> None:
    alone = earth.simulate_tile(replace(SMALL, tiles=1), 0)
    for name in ("pr", "mrso", "truth_total"):
        np.testing.assert_array_equal(alone[name].values, tile[name].values)
    other = earth.simulate_tile(replace(SMALL, seed=1), 0)
    assert not np.array_equal(other["pr"].values[:, :5], tile["pr"].values[:, :5])


def test_variants_share_the_truth_and_differ_in_what_is_seen(tile: earth.xr.Dataset) -> None:
    same, shuffled = (earth.simulate_tile(replace(SMALL, variant=v), 0) for v in ("identical", "uninformative"))
    for other in (same, shuffled):
        np.testing.assert_array_equal(other["truth_total"].values, tile["truth_total"].values)
    rain = tile["pr"].values
    ratio = rain[same["pr"].values > 1e-5] / same["pr"].values[same["pr"].values > 1e-5]
    assert 0.2 < np.log(ratio).std() < 0.3  # wrong by 20 to 30 %
    # the same values in another order: no tie to the truth is left
    np.testing.assert_array_equal(np.sort(shuffled["snw"].values, axis=None), np.sort(tile["snw"].values, axis=None))
    tie = [np.corrcoef(x["mrso"].values.ravel(), tile["truth_total"].values.ravel())[0, 1] for x in (same, shuffled)]
    assert tie[0] > 0.3 > 0.15 > abs(tie[1])


def test_models_a_and_b_differ_in_soil_and_runoff(tile: earth.xr.Dataset) -> None:
    same = earth.simulate_tile(replace(SMALL, variant="identical"), 0)
    for name in ("mrso", "hfls", "mrros"):
        one, other = tile[name].values, same[name].values
        assert np.sqrt(((one - other) ** 2).mean()) > 0.3 * other.std()


def test_the_file_is_read_back_by_the_ordinary_reader(tile: earth.xr.Dataset, tmp_path: Path) -> None:
    tiles = {0: tile, 1: earth.simulate_tile(SMALL, 1)}
    seen = {k: earth.observe_tile(SMALL, t, "total", RECORDS) for k, t in tiles.items()}
    path = tmp_path / "mascons.nc"
    earth.grace_dataset(SMALL, seen).to_netcdf(path)
    back = grctellus.read(str(path))
    np.testing.assert_allclose(back["twsa"].values, np.concatenate([seen[0]["twsa"], seen[1]["twsa"]]), atol=1e-3)
    np.testing.assert_array_equal(back["time_bounds"].values[:, 0], RECORDS.start)
    assert back.sizes["cell"] == sum(t.sizes["cell"] for t in tiles.values())
    assert (back["twsa_uncertainty"].values > 0).all()


def test_every_mascon_has_land_and_some_have_ocean() -> None:
    config = EarthConfig(tiles=7)
    for k in range(config.tiles):
        grid = earth.geometry(config, k)
        share = np.bincount(grid.mascon, grid.land) / np.bincount(grid.mascon)
        assert share.min() > 0.15 and (share < 1).any() and (share == 1).any()
        area = np.bincount(grid.mascon, grid.area)
        assert area.max() / area.min() < 1.5


def test_observations_differ_from_the_land_mean_by_leakage_and_noise(tile: earth.xr.Dataset) -> None:
    seen = earth.observe_tile(SMALL, tile, "total", RECORDS)
    grid = earth.geometry(SMALL, 0)
    planted = earth.truth_anomalies(tile, "total", seen["time_bounds"])
    area = grid.area[grid.land]
    mean = np.stack(
        [
            np.average(planted[grid.mascon[grid.land] == m], axis=0, weights=area[grid.mascon[grid.land] == m])
            for m in range(4)
        ]
    )
    error = np.sqrt(((seen["twsa"] - mean) ** 2).mean())
    assert 0.5 < error / np.sqrt((seen["uncertainty"] ** 2).mean()) < 2


def test_smoothing_keeps_constants_and_the_mean_of_the_domain() -> None:
    grid = earth.geometry(SMALL, 1)
    kernel = gaussian_kernel(grid.latitude, grid.longitude, grid.area)
    np.testing.assert_allclose(kernel.sum(axis=1), 1.0, rtol=1e-12)
    field = np.random.default_rng(0).normal(size=len(grid.area))
    assert grid.area @ (kernel @ field) == pytest.approx(grid.area @ field, rel=1e-9, abs=1e-9 * grid.area.sum())
    assert (kernel @ field).std() < 0.3 * field.std()


def test_the_kernel_halves_at_its_radius() -> None:
    latitude, longitude = np.zeros(2), np.array([0.0, np.rad2deg(300.0 / EARTH_RADIUS_KM)])
    # far from any edge the scaling is the same for all cells, so that the ratio is the kernel's own
    kernel = gaussian_kernel(latitude, longitude, np.ones(2))
    np.testing.assert_allclose(kernel[0, 1] / kernel[0, 0], 0.5, rtol=1e-9)


def test_months_of_the_mission() -> None:
    found = grace_signal.mission_records()
    gaps = set(np.setdiff1d(np.arange(found.month[0], found.month[-1]), found.month).astype(str))
    assert {"2002-06", "2011-06", "2017-08", "2018-02"} <= gaps
    month = found.month.astype(str)
    assert (np.unique(month, return_counts=True)[1].max() == 2) and list(month).count("2015-04") == 2
    assert 185 <= len(found) <= 200


def test_months_of_the_mission_against_a_real_list(real_data: Path) -> None:
    from sciml.data.readers import grace_months

    real = grace_months.read(str(real_data / "hydro" / "grace_months.csv"))
    real_months = {m for m in real.month.astype(str) if m < "2021"}
    assert real_months <= set(grace_signal.mission_records().month.astype(str))


def test_rivers_reach_the_sea_and_keep_their_area() -> None:
    grid = earth.geometry(SMALL, 0)
    height = np.random.default_rng(0).uniform(0, 1000, int(grid.land.sum()))
    down = truth.drainage(grid.shape, grid.land, height)
    area = grid.area[grid.land]
    total = truth.upstream_area(down, area)
    assert total[down == len(area)].sum() == pytest.approx(area.sum())
    assert (total >= area).all()


def test_an_impossible_earth_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="tiles: found 99"):
        EarthConfig(tiles=99)
    with pytest.raises(ConfigError, match="variant: found 'same'"):
        EarthConfig(variant="same")  # type: ignore[arg-type]
