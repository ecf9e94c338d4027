"""GRDC's catalogue of stations."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.readers.grdc import read_grdc

HEAD = "grdc_no\triver\tstation\tcountry\tlat\tlong\tarea\tt_start\tt_end\tlta_discharge\n"
ROWS = '1\tA "B\tUPPER\tXX\t-1.5\t20.25\t1000\t1950\t1999\t12.5\n2\tC\tLOWER\tXX\t10\t-20\t-999\t\t\tn.a.\n'


def test_a_catalogue_plain_and_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(HEAD + ROWS)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress((HEAD + ROWS).encode()))
    for name in ("a.txt", "a.txt.gz"):
        found = read_grdc(str(tmp_path / name))
        assert found.number.tolist() == [1, 2]
        assert found.river.tolist() == ['A "B', "C"]
        assert found.lat.tolist() == [-1.5, 10]
        np.testing.assert_array_equal(found.area, [1e9, np.nan])
        np.testing.assert_array_equal(found.flow, [12.5, np.nan])
        assert found.last_year.tolist() == [1999, 0]


def test_other_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("name,lat\nx,1\n")
    with pytest.raises(InputError, match=r"column grdc_no, river, .* missing; found name,lat"):
        read_grdc(str(tmp_path / "a.txt"))
    (tmp_path / "b.txt").write_text((HEAD + ROWS).replace("-1.5", "-99"))
    with pytest.raises(InputError, match="station 1: found -99"):
        read_grdc(str(tmp_path / "b.txt"))


def test_the_whole_list(real_data: Path) -> None:
    found = read_grdc(str(real_data / "hydro/river_network_ddm30/grdc_2022_10701.txt.gz"))
    assert len(found) == 10701
    assert len(set(found.number)) == 10701
    assert np.nanmax(found.flow) > 1e5  # the Amazon
    assert np.nanmax(found.area) < 7e12
