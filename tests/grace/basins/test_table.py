"""Basins that cannot be modelled are left out by name, and do not spoil the others."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.splits import Period
from sciml.grace import features
from sciml.grace.basins import table as basin_table
from sciml.grace.basins.nets import Setup
from sciml.grace.basins.table import BasinSource

MONTHS = np.arange(np.datetime64("2000-01"), np.datetime64("2018-01"))
TRAIN, TEST = Period("2002-01", "2012-01"), Period("2012-01", "2018-01")
NAMES = [f"BASIN {k}" for k in range(5)]


def write(folder: Path, *, bare: tuple[int, ...] = (), short: tuple[int, ...] = (), placed: int = 5, step: int = 60):
    """Five basins `step` half-degree columns apart, the first `placed` in the mask; bare ones have no R at all, short
    ones storage from 2011 on."""
    values = np.random.default_rng(0).uniform(20, 120, (8, len(NAMES), len(MONTHS))).astype("f4")
    storage = values[7] - 70
    storage[list(short)] = np.where(MONTHS < np.datetime64("2011-01"), np.nan, storage[list(short)])
    fluxes = [f"{flux}_{family}" for flux in ("P", "ET", "R") for family in ("ERA5_Land", "MERRA2")]
    for number in (4, 5):
        values[number, list(bare)] = np.nan
    variables = {name: (("basin", "time"), values[k], {"units": "mm month-1"}) for k, name in enumerate(fluxes)}
    variables["TWS_X"] = (("basin", "time"), storage, {"units": "mm"})
    xr.Dataset(variables, {"basin": NAMES, "time": MONTHS.astype("M8[ns]")}).to_netcdf(folder / "b.nc")
    index = np.full((360, 720), -1, np.int16)
    for basin in range(placed):
        index[180:182, step * basin : step * basin + 2] = basin
    axes = {"lat": np.arange(-89.75, 90, 0.5), "lon": np.arange(-179.75, 180, 0.5), "basin": NAMES}
    xr.Dataset({"basin_index": (("lat", "lon"), index)}, axes).to_netcdf(folder / "m.nc")
    return BasinSource(str(folder / "b.nc"), "TWS_X", ("ERA5_Land", "MERRA2"), "", str(folder / "m.nc"))


def prepared(source: BasinSource):
    return Setup(source, TRAIN, TEST, groups=2, folds=2, members=2, global_members=2, lags=2, seed=0).prepare()


def test_basins_without_predictors_or_storage_to_train_on_are_left_out_and_named(tmp_path: Path) -> None:
    table, data = basin_table.read(write(tmp_path, bare=(1,), short=(3,)), TRAIN, TEST)
    assert data.names.tolist() == table["basin"].values.tolist() == ["BASIN 0", "BASIN 2", "BASIN 4"]
    assert np.isfinite(data.predictors).all() and np.isfinite(data.storage).all()
    # cells go with their basins
    np.testing.assert_array_equal(np.bincount(table["cell_parent"]), [4, 4, 4])
    np.testing.assert_allclose(table["cell_lon"].values[table["cell_parent"].values == 1].mean(), -180 + 60.5)
    notes = " ".join(table.attrs["notes"])
    assert "1 basins are left out, mrro is known in fewer than 24 training months: BASIN 1" in notes
    assert "1 basins are left out, storage in 'TWS_X' is known in fewer than 24 training months: BASIN 3" in notes
    # notes of one split are not those of the next
    again = basin_table.read(
        write(tmp_path, bare=(1,), short=(3,)), Period("2002-01", "2016-01"), Period("2016-01", "2018-01")
    )
    assert "BASIN 3" in again[1].names and "BASIN 3" not in " ".join(again[0].attrs["notes"])


def test_a_table_of_basins_that_cannot_be_trained_on_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of 5 basins with storage has 24 real GRACE months"):
        basin_table.read(write(tmp_path, bare=(0, 1, 2), short=(3, 4)), TRAIN, TEST)


def test_a_unit_that_every_product_lacks_does_not_blank_the_others() -> None:
    predictors = np.random.default_rng(1).uniform(20, 80, (3, 48, 2, 3))
    predictors[1, :, :, 2] = np.nan
    filled = features.fill_families(predictors, np.ones(48, bool))
    np.testing.assert_array_equal(filled[[0, 2]], predictors[[0, 2]])
    # lacked by one family alone it is still replaced at every unit
    predictors[1, :, 0, 2] = 50
    assert (features.fill_families(predictors, np.ones(48, bool))[0, :, 1, 2] != predictors[0, :, 1, 2]).all()


@pytest.mark.parametrize(("placed", "step", "regions"), [(1, 60, 0), (5, 2, 0), (5, 60, 2)])
def test_regions_are_left_out_where_places_are_too_few_or_too_near(tmp_path: Path, placed, step, regions) -> None:
    ready = prepared(write(tmp_path, placed=placed, step=step))
    assert len(ready.regions) == regions and len(ready.placed) == placed
    assert any("basins_region_out is left out" in line for line in ready.table.attrs["notes"]) == (regions == 0)
