import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.months import records
from sciml.grace.windows import is_monthly, months_covered, predictor_steps, window_means

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
    assert list(months_covered(predictor_steps(daily()))) == [
        np.datetime64(m) for m in ("2012-01", "2012-02", "2012-03")
    ]


def test_chunked_equals_whole() -> None:
    lazy = window_means(daily({"cell": 2, "time": 40}), MONTHS, RECORDS)
    assert lazy["pr"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), window_means(daily(), MONTHS, RECORDS))


def test_a_gap_in_the_days_is_refused() -> None:
    with pytest.raises(InputError, match="after 2011-12-19: found 2011-12-22, a step that is not one day"):
        window_means(daily().isel(time=[*range(10), *range(12, 60)]), MONTHS, RECORDS)


def test_monthly_means_of_days_that_do_not_vary_inside_a_month_give_the_same_windows() -> None:
    months = np.arange(np.datetime64("2011-12"), np.datetime64("2012-05"))
    values = np.random.default_rng(1).gamma(2.0, size=(len(months), 6))
    monthly = xr.Dataset({"pr": (("time", "cell"), values)}, {"time": months.astype("datetime64[s]")})
    days = np.arange(np.datetime64("2011-12-01"), np.datetime64("2012-05-01"))
    same = monthly.isel(time=np.searchsorted(months, days.astype("datetime64[M]"))).assign_coords(time=days)
    assert is_monthly(predictor_steps(monthly)) and not is_monthly(predictor_steps(same))
    assert list(months_covered(predictor_steps(monthly))) == list(months)
    xr.testing.assert_allclose(window_means(monthly, MONTHS, RECORDS), window_means(same, MONTHS, RECORDS), rtol=1e-6)
    # a record of 20.5 days, 11.5 of January and 9 of February
    spanning = (11.5 * values[1] + 9 * values[2]) / 20.5
    np.testing.assert_allclose(window_means(monthly, MONTHS, RECORDS)["pr_record"].values[:, 1], spanning, rtol=1e-6)


def test_a_missing_month_is_named() -> None:
    time = np.array(["2011-12", "2012-01", "2012-03", "2012-04"], "datetime64[s]")
    with pytest.raises(InputError, match="after 2012-01-01: found 2012-03-01, a step that is not one month"):
        window_means(xr.Dataset({"pr": ("time", np.ones(4))}, {"time": time}), MONTHS, RECORDS)
