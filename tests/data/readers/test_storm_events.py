"""Storm event files: columns, zones, damage, places; and county centres with lost zeros."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sciml.core.errors import InputError
from sciml.data.readers import counties, storm_events
from sciml.data.readers.storm_events import COLLECTION, DETAILS, NATION, read

CENTERS = "fips,county_name,state_name,population,latitude,longitude\n"


def details(folder: Path, *events: dict[str, str], name: str = "details.csv.gz") -> str:
    """A details file; each event changes some fields of one flood in Kentucky."""
    flood = dict.fromkeys(DETAILS, "") | {
        "BEGIN_YEARMONTH": "201703", "BEGIN_DAY": "1", "BEGIN_TIME": "905", "END_YEARMONTH": "201703", "END_DAY": "2",
        "END_TIME": "5", "STATE": "KENTUCKY", "STATE_FIPS": "21", "EVENT_TYPE": "Flood", "CZ_TYPE": "C",
        "CZ_FIPS": "7", "CZ_TIMEZONE": "EST-5", "DAMAGE_PROPERTY": "10.00K", "BEGIN_LAT": "37.9", "BEGIN_LON": "-83.2",
    }  # fmt: skip
    rows = [flood | {"EVENT_ID": str(number)} | event for number, event in enumerate(events or ({},))]
    file = folder / name
    file.write_bytes(gzip.compress(pd.DataFrame(rows, columns=list(DETAILS)).to_csv(index=False).encode()))
    return str(file)


def collection(folder: Path, *events: dict[str, str], name: str = "collection.csv") -> str:
    """A collection of Louisiana; blanks are single spaces, as in the real files."""
    flood = dict.fromkeys(COLLECTION, " ") | {
        "BEGIN_DATE": "04/14/1996", "BEGIN_TIME": "2300", "END_DATE": "04/15/1996", "END_TIME": "30",
        "EVENT_TYPE": "Flood", "STATE_ABBR": "LA", "CZ_TIMEZONE": "CST", "CZ_TYPE": "C", "CZ_FIPS": "3",
        "DAMAGE_PROPERTY_NUM": "5000", "DAMAGE_CROPS_NUM": "0",
    }  # fmt: skip
    rows = [flood | {"EVENT_ID": f"c{number}"} | event for number, event in enumerate(events or ({},))]
    pd.DataFrame(rows, columns=list(COLLECTION)).to_csv(folder / name, index=False)
    return str(folder / name)


def centers(folder: Path, *lines: str) -> pd.DataFrame:
    (folder / "centers.csv").write_text(CENTERS + "\n".join(lines) + "\n")
    return counties.read(str(folder / "centers.csv"))


def test_local_times_of_several_zones_become_utc(tmp_path: Path) -> None:
    file = details(tmp_path, {}, {"CZ_TIMEZONE": "CST"}, {"CZ_TIMEZONE": "PST-8"}, {"CZ_TIMEZONE": "GST10"})
    found = read(file).table.set_index("event")["start"]
    hours = (found - np.datetime64("2017-03-01T09:05")) / np.timedelta64(1, "h")
    assert hours.to_dict() == {"0": 5, "1": 6, "2": 8, "3": -10}


def test_a_late_evening_belongs_to_the_next_month_in_utc(tmp_path: Path) -> None:
    late = {"BEGIN_DAY": "31", "BEGIN_TIME": "2200", "END_YEARMONTH": "201704", "END_DAY": "1"}
    start = read(details(tmp_path, late)).table["start"][0]
    assert start == np.datetime64("2017-04-01T03:00")


@pytest.mark.parametrize(
    ("text", "dollars"),
    [("10.00K", 1e4), ("0.00K", 0), ("5.00M", 5e6), ("1.50B", 1.5e9), ("2h", 200), ("30000", 3e4), ("", np.nan)],
)
def test_damage_in_letters(text: str, dollars: float) -> None:
    np.testing.assert_equal(storm_events.damage(text), dollars)


def test_only_floods_count_but_every_event_tells_the_months_covered(tmp_path: Path) -> None:
    file = details(tmp_path, {}, {"EVENT_TYPE": "Hail", "BEGIN_YEARMONTH": "201701"}, {"EVENT_TYPE": "Flash Flood"})
    found = read(file)
    assert list(found.table["kind"]) == ["Flood", "Flash Flood"]
    np.testing.assert_array_equal(found.coverage[NATION], np.arange("2017-01", "2017-04", dtype="M8[M]"))


def test_a_collection_covers_whole_years_of_its_state(tmp_path: Path) -> None:
    collection(tmp_path, {"BEGIN_LAT": "30", "BEGIN_LON": "-91"}, name="a.csv")
    later = {"BEGIN_DATE": "05/02/1998", "END_DATE": "05/02/1998", "BEGIN_LAT": "30", "BEGIN_LON": "-91"}
    collection(tmp_path, later | {"EVENT_ID": "later"}, name="b.csv")
    covered = read(str(tmp_path / "*.csv")).coverage
    assert set(covered) == {"LA"}
    assert set(covered["LA"].astype("M8[Y]").astype(str)) == {"1996", "1998"} and len(covered["LA"]) == 24


def test_reports_without_coordinates_come_to_their_county_or_go_with_a_count(tmp_path: Path) -> None:
    file = collection(tmp_path, {}, {"CZ_TYPE": "Z"}, {"BEGIN_LAT": "31.5", "BEGIN_LON": "-92.5"})
    alone = read(file)
    assert len(alone.table) == 1 and "2 of 3 flood reports have no coordinates" in alone.notes[0]
    assert "--county-centers" in alone.notes[0]
    # the county's code has lost its zeros nowhere: state 22, county 3
    placed = read(file, centers(tmp_path, "22003,Allen,Louisiana,1,30.65,-92.82", "1001,Autauga,Alabama,1,32.5,-86.5"))
    assert len(placed.table) == 2
    row = placed.table.set_index("fips").loc["22003"].iloc[0]
    assert (row["latitude"], row["longitude"]) == (30.65, -92.82)
    assert (
        "1 of 3 flood reports have no coordinates and are left out (1 of them from forecast zones)" in placed.notes[1]
    )


def test_lost_zeros_of_county_codes_are_put_back(tmp_path: Path) -> None:
    assert list(centers(tmp_path, "1001,Autauga,Alabama,1,32.5,-86.5")["fips"]) == ["01001"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["1001,A,Alabama,1,32.5,-86.5", "01001,A,Alabama,1,32.5,-86.5"], "county 01001 for the second time"),
        (["x1,A,Alabama,1,32.5,-86.5"], "expected five digits"),
        (["1001,A,Alabama,1,132.5,-86.5"], "expected degrees within -90 .. 90"),
    ],
)
def test_bad_county_centres_are_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        centers(tmp_path, *lines)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"CZ_TIMEZONE": "XYZ-3"}, "line 2: unknown time zone 'XYZ-3'"),
        ({"CZ_TIMEZONE": "CST-9"}, "contradicts itself"),
        ({"DAMAGE_PROPERTY": "10Q"}, "column 'DAMAGE_PROPERTY', line 2: found '10Q'"),
        ({"BEGIN_TIME": "2575"}, "expected a date and a time HHMM"),
        ({"BEGIN_YEARMONTH": "2017-3"}, "expected YYYYMM"),
    ],
)
def test_bad_fields_are_refused_in_one_line(tmp_path: Path, event: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(details(tmp_path, event))
    assert "details.csv.gz" in str(caught.value) and "\n" not in str(caught.value)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    file = details(tmp_path)
    table = pd.read_csv(file, dtype=str).drop(columns="CZ_TIMEZONE").assign(EXTRA="x")
    table.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(InputError, match="found 51 columns, missing CZ_TIMEZONE; not known EXTRA; expected a Storm"):
        read(str(tmp_path / "other.csv"))
    with pytest.raises(InputError, match="no file matches"):
        read(str(tmp_path / "nothing*.csv"))


def test_real_files(real_data: Path) -> None:
    folder = real_data / "hydro/storm_events"
    places = counties.read(str(folder / "county_centers.csv.gz"))
    found = read(str(folder / "louisiana/*.csv.gz"), places)
    assert len(found.table) + 95 == 2529 and len(found.coverage["LA"]) == 27 * 12
    assert found.table["fips"][found.table["fips"] != ""].str.startswith("22").all()
    nation = read(str(folder / "StormEvents_details*.csv.gz"))
    assert len(nation.table) == 953 and list(nation.coverage[NATION].astype(str)) == ["2017-01", "2017-02", "2017-03"]
    # places of reports and centres of their counties agree: most are within a county's width
    own = places.set_index("fips").reindex(nation.table["fips"])
    apart = np.abs(own["latitude"].to_numpy() - nation.table["latitude"].to_numpy())
    assert np.nanquantile(apart, 0.9) < 0.6
