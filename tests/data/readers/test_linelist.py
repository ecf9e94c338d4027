"""Line lists: columns, damping, wavelengths."""

from pathlib import Path

import pandas as pd
import pytest

from sciml.core.errors import InputError
from sciml.data.readers.linelist import COLUMNS, read_linelist, strongest

SPAN = (5020.0, 5402.0)


def table() -> pd.DataFrame:
    rows = [
        ("Mg 1", 5183.6, 2.717, -0.167, 7.99, -5.47, -7.267, 12, 1),
        ("Fe 1", 5079.7, 0.99, -3.22, 7.6, -6.2, -7.7, 26, 1),
        ("Fe 1", 5198.7, 2.22, -2.13, 0.0, 0.0, 0.0, 26, 1),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_lines_come_by_wavelength(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "lines.csv.gz", index=False)
    found = read_linelist(str(tmp_path / "lines.csv.gz"), SPAN)
    assert found["wlcent"].tolist() == [5079.7, 5183.6, 5198.7]
    assert strongest(found, ["Fe 1"], 1)["wlcent"].tolist() == [5079.7]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines.drop(columns=["gamvw", "gamrad"]), "damping constants gamrad, gamvw missing"),
        (lambda lines: lines.drop(columns=["excit"]), "columns excit missing"),
        (lambda lines: lines.assign(gamvw=[1.0, None, 2.0]), "gamvw: row 1 (Fe 1 at 5079.7 A) has 'nan'"),
        (lambda lines: lines.assign(gflog=["-1", "x", "2"]), "gflog: row 1 (Fe 1 at 5079.7 A) has 'x'"),
        (lambda lines: lines.assign(wlcent=[6000.0, 6100.0, 6200.0]), "lines from 6000.0 to 6200.0 A, expected some"),
    ],
)
def test_bad_lists_are_refused_in_one_line(tmp_path: Path, change, words: str) -> None:
    change(table()).to_csv(tmp_path / "lines.csv", index=False)
    with pytest.raises(InputError) as refusal:
        read_linelist(str(tmp_path / "lines.csv"), SPAN)
    assert words in str(refusal.value)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lines.csv.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(InputError, match="no readable CSV"):
        read_linelist(str(tmp_path / "lines.csv.gz"), SPAN)


def test_the_real_lists_are_read(real_data: Path) -> None:
    folder = real_data / "stellar" / "linelists"
    assert len(read_linelist(str(folder / "solar_calibrated_5030_5370.csv.gz"), SPAN)) == 3451
    assert len(read_linelist(str(folder / "merged_raw_5030_5370.csv.gz"), SPAN)) == 18658
