"""What is new, what was revised, and stores made longer."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import Records
from sciml.grace.gridded.lstm import GlobalSettings, predict_months
from sciml.grace.gridded.update import appended, growth, reach
from sciml.nn.lstm import GlobalLSTM

MONTHS = np.arange("2019-01", "2020-01", dtype="datetime64[M]")
START = MONTHS.astype("datetime64[s]")


def mascons(count: int) -> xr.Dataset:
    values = np.arange(2.0 * count).reshape(count, 2).T
    bounds = np.stack([START[:count], START[1 : count + 1]], axis=-1)
    return xr.Dataset(
        {
            "twsa": (("mascon", "time"), values),
            "twsa_uncertainty": (("mascon", "time"), np.ones_like(values)),
            "time_bounds": (("time", "bound"), bounds),
        },
        {"mascon_id": ("mascon", [5, 6])},
        {"source": "grace.nc"},
    )


def records(count: int) -> Records:
    return Records(START[:count], START[1 : count + 1])


def stored(count: int, months: int) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Series of so many records, predictors of so many months, and the product of both."""
    made, bounds = (
        mascons(count),
        {"record_start": ("record", START[:count]), "record_end": ("record", START[1:][:count])},
    )
    series = made[["twsa", "twsa_uncertainty"]].rename(time="record").assign_coords(bounds)
    predictors = xr.Dataset(coords={"month": START[:months], **bounds})
    windows = min(count, months)
    product = xr.Dataset(coords={"time_start": ("time", START[:windows]), "time_end": ("time", START[1:][:windows])})
    return series, predictors, product


def daily(first: str, stop: str) -> xr.Dataset:
    days = np.arange(first, stop, dtype="datetime64[D]").astype("datetime64[s]")
    return xr.Dataset({"pr": ("time", np.ones(len(days)))}, {"time": days})


def test_new_months_of_storage_of_predictors_and_of_both() -> None:
    for have, held, now, until, expected in (
        (6, 6, 8, "2019-09-10", (6, 6, 6)),  # both grow
        (6, 8, 8, "2019-09-10", (6, 6, 8 - 1)),  # predictors ran ahead: the last stored month is made again
        (8, 6, 8, "2019-09-10", (6, 6, 6)),  # GRACE ran ahead: its records had no predictors
    ):
        months, windows = reach(MONTHS[:held], daily("2019-05-01", until), records(now))
        found = growth(*stored(have, held), mascons(now), windows)
        assert found is not None and (found.window, found.record, found.month) == expected
    months, windows = reach(MONTHS[:6], daily("2019-05-01", "2019-07-20"), records(9))
    assert months[-1] == np.datetime64("2019-06") and growth(*stored(6, 6), mascons(9), windows) is None


def test_the_past_must_stay() -> None:
    def grown(now: xr.Dataset) -> object:
        _, windows = reach(MONTHS[:6], daily("2019-05-01", "2019-12-01"), records(now.sizes["time"]))
        return growth(*stored(6, 6), now, windows)

    revised = mascons(8)
    revised["twsa"][1, 2] += 1.0
    with pytest.raises(InputError, match=r"record 2019-03-01.* of mascon 6: found 6, expected 5 mm .*1 of 6 records"):
        grown(revised)
    with pytest.raises(InputError, match="found no record 2019-03-01"):
        grown(mascons(8).isel(time=[0, 1, 3, 4, 5, 6, 7]))
    with pytest.raises(InputError, match="found 1 mascons, expected the 2 of the run"):
        grown(mascons(8).isel(mascon=[0]))
    with pytest.raises(InputError, match="found 2019-09 as its first whole month, expected 2019-07 or before"):
        reach(MONTHS[:6], daily("2019-08-10", "2019-12-01"), records(8))


def test_a_longer_store_holds_the_old_then_the_new(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = xr.Dataset(
        {
            "a": (("cell", "month"), rng.normal(size=(4, 7))),
            "a_record": (("cell", "record"), rng.normal(size=(4, 5))),
            "area": ("cell", rng.normal(size=4)),
        },
        {"month": START[:7].astype("datetime64[ns]"), "record_end": ("record", START[:5].astype("datetime64[ns]"))},
    )
    whole.isel(month=slice(0, 5), record=slice(0, 4)).to_zarr(tmp_path / "old", zarr_format=3, consolidated=False)
    whole.isel(month=slice(4, 7), record=slice(3, 5)).to_zarr(tmp_path / "new", zarr_format=3, consolidated=False)
    found = appended(str(tmp_path / "old"), str(tmp_path / "new"), {"month": 4, "record": 3}, {"cell": 2})
    assert found["a"].chunks == ((2, 2), (7,))
    xr.testing.assert_equal(found.load(), whole)


def test_a_month_is_predicted_alike_however_many_follow_it_and_alone() -> None:
    config = GlobalSettings(hidden_size=8).training()
    torch.manual_seed(0)
    state = GlobalLSTM(3, 2, config.network).state_dict()
    rng = np.random.default_rng(0)
    inputs, static = rng.normal(size=(5, 90, 3)).astype(np.float32), rng.normal(size=(5, 2)).astype(np.float32)
    whole = predict_months(state, inputs, static, config, np.arange(90))
    assert np.isfinite(whole[:, config.network.history - 1 :]).all()
    for months in (60, 71, 83):
        shorter = predict_months(state, inputs[:, :months], static, config, np.arange(months))
        np.testing.assert_array_equal(shorter, whole[:, :months])
    newest = predict_months(state, inputs, static, config, np.array([88, 89]))
    np.testing.assert_array_equal(newest[:, 88:], whole[:, 88:])
    assert np.isnan(newest[:, :60]).all()
