"""CaMa-Flood parameters, written here as their description says."""

from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.readers.cama import INLAND, MOUTH, OCEAN, is_cama, read_cama
from sciml.data.readers.river_network import SEA, SINK
from sciml.rivers.channel import channel
from sciml.rivers.inertial import route_inertial
from sciml.rivers.network import open_network

# 3 columns x 2 rows: (1,1) -> (2,2) -> mouth; (3,1) an inland end; (1,2) -> (2,2); the rest ocean
NEXT_X = [[2, OCEAN, INLAND], [2, MOUTH, OCEAN]]
NEXT_Y = [[2, OCEAN, INLAND], [2, MOUTH, OCEAN]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.txt").write_text("3 !! columns\n2\n10\n0.25\n178.0\n178.75\n-1.0\n-0.5\n")
    np.array([NEXT_X, NEXT_Y], "<i4").tofile(tmp_path / "nextxy.bin")
    for number, name in enumerate(("ctmare", "elevtn", "nxtdst", "rivlen", "rivwth", "rivhgt")):
        (100.0 * (number + 1) + np.arange(6)).astype("<f4").tofile(tmp_path / f"{name}.bin")
    heights = np.arange(1, 11)[:, None] * (1 + np.arange(6))
    heights.astype("<f4").tofile(tmp_path / "fldhgt.bin")
    return tmp_path


def test_a_folder_reads_as_it_was_written(folder: Path) -> None:
    assert is_cama(str(folder))
    assert not is_cama(str(folder / "params.txt"))
    found = read_cama(str(folder))
    assert found.target.tolist() == [3, SINK, 3, SEA]
    assert found.lat.tolist() == [-0.625, -0.625, -0.875, -0.875]
    assert found.lon.tolist() == [178.125, 178.625, 178.125, 178.375]
    assert found.area.tolist() == [100, 102, 103, 104]
    assert found.elevation.tolist() == [200, 202, 203, 204]
    assert found.length.tolist() == [300, 302, 303, 304]
    assert found.channel_length.tolist() == [400, 402, 403, 404]
    assert found.width.tolist() == [500, 502, 503, 504]
    assert found.depth.tolist() == [600, 602, 603, 604]
    assert found.floodplain[1].tolist() == [3.0 * k for k in range(1, 11)]


def test_it_is_a_network_with_its_own_channels(folder: Path) -> None:
    network = open_network(str(folder))
    assert len(network) == 4
    assert network.sink.sum() == 1
    mouth = network.outlet[~network.sink[network.outlet]][0]
    assert network.upstream_area[mouth] == 100 + 103 + 104
    assert network.width[mouth] == 504


def test_water_runs_down_it(folder: Path) -> None:
    network = open_network(str(folder))
    made = channel(network, np.full(4, 1.0))
    assert made.length.tolist() == network.channel_length.tolist()
    run = route_inertial(network, np.full((3, 4), 2e3), made)
    assert run.mass_error < 1e-11


def test_width_and_depth_may_be_absent(folder: Path) -> None:
    (folder / "rivwth.bin").unlink()
    found = read_cama(str(folder))
    assert found.width is None
    assert found.depth is not None


def test_damage_is_refused(folder: Path) -> None:
    data = (folder / "ctmare.bin").read_bytes()
    (folder / "ctmare.bin").write_bytes(data[:-4])
    with pytest.raises(InputError, match=r"ctmare\.bin: found 20 bytes, expected 24"):
        read_cama(str(folder))
    (folder / "ctmare.bin").write_bytes(data)
    np.array([NEXT_X, NEXT_Y], ">i4").tofile(folder / "nextxy.bin")
    with pytest.raises(InputError, match=r"nextxy\.bin"):
        read_cama(str(folder))
    into_ocean = np.array([NEXT_X, NEXT_Y], "<i4")
    into_ocean[:, 0, 0] = 2, 1
    into_ocean.tofile(folder / "nextxy.bin")
    with pytest.raises(InputError, match=r"at 0.625S 178.125E found the next cell \(2, 1\), expected a land cell"):
        read_cama(str(folder))


def test_a_floodplain_that_falls_is_refused(folder: Path) -> None:
    heights = np.arange(10, 0, -1)[:, None] * np.ones(6)
    heights.astype("<f4").tofile(folder / "fldhgt.bin")
    with pytest.raises(InputError, match="layers that rise"):
        read_cama(str(folder))


def test_a_folder_without_its_parameters_is_refused(folder: Path) -> None:
    (folder / "params.txt").write_text("three columns")
    with pytest.raises(InputError, match="expected columns, rows, layers"):
        read_cama(str(folder))
