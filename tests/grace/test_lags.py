import numpy as np

from sciml.data.months import Records, timeline
from sciml.grace.gridded.memory import inputs, record_series
from sciml.grace.lags import lag_sequences

MONTHS = np.arange(np.datetime64("2011-01"), np.datetime64("2013-01"))
RECORDS = Records(
    np.array(["2012-01-01", "2012-01-16", "2012-03-01"], "M8[s]"),
    np.array(["2012-01-16", "2012-02-01", "2012-04-01"], "M8[s]"),
)
WINDOWS = timeline("2012-01", "2012-05", RECORDS)
MONTHLY = np.arange(48, dtype=np.float32).reshape(1, 24, 2)
RECORDED = -np.ones((1, 3, 2), np.float32) * np.array([1, 2, 3], np.float32)[None, :, None]


def test_the_predicted_month_enters_by_its_record_and_the_months_before_by_the_calendar() -> None:
    assert list(WINDOWS.record) == [0, 1, -1, 2, -1]  # two records in January, none in February and April
    table = lag_sequences(MONTHLY, RECORDED, WINDOWS, MONTHS, 2)
    assert table.shape == (1, 5, 3, 4)
    np.testing.assert_array_equal(table[0, :, 2, 0], [-1, -2, MONTHLY[0, 13, 0], -3, MONTHLY[0, 15, 0]])
    np.testing.assert_array_equal(table[0, :, 1, 0], MONTHLY[0, [11, 11, 12, 13, 14], 0])
    np.testing.assert_allclose(table[..., -2] ** 2 + table[..., -1] ** 2, 1, rtol=1e-6)


def test_a_history_that_does_not_reach_is_missing() -> None:
    assert np.isnan(lag_sequences(MONTHLY, RECORDED, WINDOWS, MONTHS, 23)[..., 0, 0]).all()


def test_two_records_of_a_month_make_two_series() -> None:
    first, second = record_series(MONTHLY, RECORDED, WINDOWS, MONTHS)
    assert first[0][0, 12, 0] == -1 and second[0][0, 12, 0] == -2
    np.testing.assert_array_equal(first[1], [0, 2, 3, 4])
    np.testing.assert_array_equal(second[1], [1])
    np.testing.assert_array_equal(first[0][0, :12], MONTHLY[0, :12])


def test_running_means_are_of_anomalies_in_physical_units() -> None:
    reference = np.ones(len(MONTHS), bool)
    found = inputs(MONTHLY, reference)
    anomaly = MONTHLY - MONTHLY.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found[..., :2], anomaly)
    np.testing.assert_allclose(found[0, 20, 2], anomaly[0, 18:21, 0].mean())
    np.testing.assert_allclose(found[0, 1, -2], anomaly[0, :2, 0].mean())
    np.testing.assert_allclose(inputs(3 * MONTHLY, reference), 3 * found, rtol=1e-6)
