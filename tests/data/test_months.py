import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.core.errors import InputError
from sciml.data import months
from sciml.data.readers import grace_months

S = "datetime64[s]"


def make(*pairs):
    start, end = zip(*pairs, strict=True)
    return months.records(np.array(start, dtype=S), np.array(end, dtype=S), file="f.nc")


def test_a_record_belongs_to_the_month_it_overlaps_most():
    found = make(("2011-10-17", "2011-11-17"), ("2011-12-17", "2012-01-16"), ("2012-01-01", "2012-02-01"))
    assert found.month.astype(str).tolist() == ["2011-11", "2012-01", "2012-01"]  # 15 + 16 days; a tie; whole month


def test_two_records_in_a_month_are_two_windows_and_gaps_are_whole_months():
    found = make(("2011-12-17", "2012-01-16"), ("2012-01-01", "2012-02-01"), ("2012-03-05T12", "2012-03-20T12"))
    line = months.timeline("2012-01", "2012-05", found)
    assert line.month.astype(str).tolist() == ["2012-01", "2012-01", "2012-02", "2012-03", "2012-04"]
    assert line.observed.tolist() == [True, True, False, True, False]
    assert line.record.tolist() == [0, 1, -1, 2, -1]
    assert line.days.tolist() == [30, 31, 29, 15, 30]
    np.testing.assert_array_equal(line.scatter(np.array([[1.0, 2.0, 3.0]])), [[1, 2, np.nan, 3, np.nan]])
    assert line.select(line.observed).month.astype(str).tolist() == ["2012-01", "2012-01", "2012-03"]


def test_a_record_outside_the_period_is_no_window_of_it():
    found = make(("2011-12-01", "2012-01-01"), ("2012-05-01", "2012-06-01"))
    assert not months.timeline("2012-01", "2012-05", found).observed.any()


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (
            [("2012-01-01", "2012-02-01"), ("2012-01-01", "2012-02-01")],
            "records 0 and 1 have identical time bounds 2012-01-01",
        ),
        ([("2012-02-01", "2012-01-01")], "record 0 ends at 2012-01-01"),
        ([("2012-03-01", "2012-04-01"), ("2012-01-01", "2012-02-01")], "record 1 .* comes after a later one"),
        ([("2012-03-01", "NaT")], "record 0 are missing"),
    ],
)
def test_impossible_bounds_are_refused_by_number(pairs, says):
    with pytest.raises(InputError, match=says) as refusal:
        make(*pairs)
    assert "\n" not in str(refusal.value)


def test_days_covered_in_part_count_in_part():
    days = np.arange("2012-01-01", "2012-01-05", dtype="datetime64[D]")
    bounds = np.array([["2012-01-01T12", "2012-01-03T00"], ["2012-01-02", "2012-01-04"]], dtype=S)
    means = months.record_means(np.array([1.0, 4.0, 8.0, 100.0]), days, bounds)
    np.testing.assert_allclose(means, [(0.5 * 1 + 4) / 1.5, 6.0])


def test_a_window_that_the_days_do_not_cover_is_missing_not_guessed():
    days = np.array(["2012-01-01", "2012-01-02", "2012-01-04"], dtype="datetime64[D]")
    bounds = np.array(
        [["2012-01-01", "2012-01-03"], ["2012-01-02", "2012-01-05"], ["2012-01-04", "2012-01-06"]], dtype=S
    )
    means = months.record_means(np.ones((3, 2)), days, bounds)
    np.testing.assert_array_equal(np.isnan(means), [[False] * 2, [True] * 2, [True] * 2])


def test_a_missing_day_does_not_spread_to_records_without_it():
    days = np.arange("2012-01-01", "2012-01-05", dtype="datetime64[D]")
    bounds = np.array([["2012-01-01", "2012-01-03"], ["2012-01-03", "2012-01-05"]], dtype=S)
    means = months.record_means(np.array([np.nan, 1.0, 2.0, 4.0]), days, bounds)
    np.testing.assert_array_equal(means, [np.nan, 3.0])


def test_calendar_means_agree_with_xarray():
    import xarray as xr

    days = np.arange("2011-11-01", "2012-04-01", dtype="datetime64[D]")
    values = np.random.default_rng(0).normal(size=(len(days), 3))
    month = np.unique(days.astype("datetime64[M]"))
    reference = xr.DataArray(values, {"time": days.astype("datetime64[ns]")}, ("time", "x")).resample(time="MS").mean()
    bounds = np.stack([month.astype(S), (month + 1).astype(S)], axis=-1)
    np.testing.assert_allclose(months.record_means(values, days, bounds), reference.values, rtol=1e-12)
    np.testing.assert_array_equal(months.month_seconds(month) / 86400, [30, 31, 31, 29, 31])


bounds_of_records = st.lists(
    st.tuples(st.integers(0, 400 * 24), st.integers(1, 45 * 24)), min_size=1, max_size=8, unique=True
).map(lambda pairs: sorted(pairs, key=lambda p: (2 * p[0] + p[1], p)))


@given(bounds_of_records)
@settings(max_examples=60, deadline=None)
def test_no_month_holds_more_of_a_record_than_its_own(pairs):
    origin = np.datetime64("2010-01-01", "s")
    start = origin + np.array([a * 3600 for a, _ in pairs]).astype("timedelta64[s]")
    end = start + np.array([b * 3600 for _, b in pairs]).astype("timedelta64[s]")
    found = months.records(start, end, file="f.nc")

    def inside(month):
        left, right = np.maximum(start, month.astype(S)), np.minimum(end, (month + 1).astype(S))
        return np.maximum((right - left).astype(np.int64), 0)

    own = inside(found.month)
    for month in np.arange(np.datetime64("2009-12"), np.datetime64("2011-12")):
        assert (inside(np.full(len(found), month)) <= own).all()


@given(bounds_of_records, st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=60, deadline=None)
def test_the_mean_of_a_line_is_its_value_at_the_middle(pairs, level, slope):
    """Daily means of a straight line in time, averaged over whole-hour bounds: exact only if parts of days are
    weighted.

    Steps within a day are flat, so the identity holds for bounds on whole days; hours are rounded to them here.
    """
    start = np.datetime64("2010-01-01", "D") + np.array([a // 24 for a, _ in pairs]).astype("timedelta64[D]")
    length = np.array([-(-b // 24) for _, b in pairs])
    bounds = np.stack([start, start + length.astype("timedelta64[D]")], axis=-1).astype(S)
    days = np.arange("2010-01-01", "2011-12-01", dtype="datetime64[D]")
    noon = np.arange(len(days)) + 0.5
    middle = (start - np.datetime64("2010-01-01", "D")).astype(int) + length / 2
    np.testing.assert_allclose(
        months.record_means(level + slope * noon, days, bounds), level + slope * middle, rtol=1e-9, atol=1e-9
    )


@given(st.lists(st.integers(1, 60), min_size=2, max_size=12), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_means_of_parts_add_up_to_the_mean_of_the_whole(lengths, shift):
    """Half-day borders partition a span: the length-weighted mean of the parts is the mean over the span."""
    border = np.datetime64("2010-01-01T12", "s") + 43200 * (shift + np.cumsum([0, *lengths])).astype("timedelta64[s]")
    days = np.arange("2010-01-01", "2013-01-01", dtype="datetime64[D]")
    values = np.random.default_rng(shift).normal(size=len(days))
    parts = months.record_means(values, days, np.stack([border[:-1], border[1:]], axis=-1))
    whole = months.record_means(values, days, border[[0, -1]][None])
    np.testing.assert_allclose(np.average(parts, weights=lengths), whole[0], rtol=1e-9, atol=1e-12)


def test_the_real_month_list_holds_two_double_months_and_the_mission_gap(real_data):
    found = grace_months.read(str(real_data / "hydro" / "grace_months.csv"))
    month, count = np.unique(found.month, return_counts=True)
    assert month[count > 1].astype(str).tolist() == ["2012-01", "2015-04"]
    assert len(found) == 236 and count.max() == 2
    line = months.timeline("2015-01", "2020-01", found)
    assert len(np.unique(line.month[line.observed])) == 37 and len(line) == 61
    whole = months.timeline("2002-04", "2020-01", found)
    assert np.isin(np.arange("2017-07", "2018-06", dtype="datetime64[M]"), whole.month[~whole.observed]).all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time,begin,end\n", "column start missing; found time, begin, end"),
        ("start,end\n2002-04-04,2002-05-01\n2002-05-32,2002-06-01\n", "column 'start', line 3: found '2002-05-32'"),
        ("start,end\n2002-04-04,2002-05-01\n2002-04-04,2002-05-01\n", "identical time bounds"),
        ("", "no CSV table"),
    ],
)
def test_month_lists_that_cannot_be_read(tmp_path, text, says):
    file = tmp_path / "months.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        grace_months.read(str(file))
    with pytest.raises(InputError, match="no such file"):
        grace_months.read(str(tmp_path / "nowhere.csv"))
