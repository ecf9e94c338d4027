import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import records
from sciml.grace.windows import months_covered, window_means

DAYS = np.arange(np.datetime64("2011-12-10"), np.datetime64("2012-04-05"))
MONTHS = np.arange(np.datetime64("2011-12"), np.datetime64("2012-05"))
RECORDS = records(
    np.array(["2012-01-01", "2012-01-20T12", "2012-03-30"], "datetime64[s]"),
    np.array(["2012-01-16", "2012-02-10", "2012-04-20"], "datetime64[s]"),
    file="bounds",
)


def daily(chunks: dict[str, int] | None = None) -> xr.Dataset:
    values = np.random.default_rng(0).gamma(2.0, size=(len(DAYS), 6)).astype(np.float32)
    made = xr.Dataset({"pr": (("time", "cell"), values, {"units": "kg m-2 s-1"})}, {"time": DAYS})
    return made.chunk(chunks) if chunks else made


def test_windows_are_means_over_months_and_over_graces_own_bounds() -> None:
    found = window_means(daily(), MONTHS, RECORDS)
    values = daily()["pr"].values.astype(float)
    january = (DAYS >= np.datetime64("2012-01-01")) & (DAYS < np.datetime64("2012-02-01"))
    np.testing.assert_allclose(found["pr"].sel(month="2012-01").values.squeeze(), values[january].mean(0), rtol=1e-6)
    weight = np.where((DAYS >= np.datetime64("2012-01-20")) & (DAYS < np.datetime64("2012-02-10")), 1.0, 0.0)
    weight[np.datetime64("2012-01-20") == DAYS] = 0.5
    expected = (weight[:, None] * values).sum(0) / weight.sum()
    np.testing.assert_allclose(found["pr_record"].values[:, 1], expected, rtol=1e-6)


def test_a_window_that_the_days_do_not_cover_is_missing_not_a_mean_of_a_part() -> None:
    found = window_means(daily(), MONTHS, RECORDS)
    assert np.isnan(found["pr"].isel(month=[0, -1])).all()
    assert np.isnan(found["pr_record"].isel(record=2)).all()
    assert list(months_covered(DAYS)) == [np.datetime64(m) for m in ("2012-01", "2012-02", "2012-03")]


def test_chunked_equals_whole() -> None:
    lazy = window_means(daily({"cell": 2, "time": 40}), MONTHS, RECORDS)
    assert lazy["pr"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), window_means(daily(), MONTHS, RECORDS))


def test_a_gap_in_the_days_is_refused() -> None:
    with pytest.raises(InputError, match="after 2011-12-19: found a step that is not one day"):
        window_means(daily().isel(time=[*range(10), *range(12, 60)]), MONTHS, RECORDS)
