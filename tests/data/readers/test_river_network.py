"""Directions of rivers: both codes, both orders of latitude, the date line, estuaries, refusals."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio import Affine

from sciml.core.errors import InputError
from sciml.core.grid import cell_area_km2
from sciml.data.readers.river_network import ESRI, KEYPAD, SEA, SINK, read_directions

NO = np.nan


def write(path: Path, code: np.ndarray, lat: list, lon: list, *, name: str = "x_ldd", **more: np.ndarray) -> str:
    maps = {name: (("lat", "lon"), code)} | {key: (("lat", "lon"), v, {"units": "km2"}) for key, v in more.items()}
    xr.Dataset(maps, coords={"lat": lat, "lon": lon}).to_netcdf(path)
    return f"{path}:{name}"


def test_both_codes_say_the_same_and_latitude_may_run_either_way(tmp_path: Path) -> None:
    same = {(0, 0): 5} | {move: code for code, move in KEYPAD.items()}
    esri = np.array([[NO, NO, NO, NO], [NO, 2, 4, NO], [1, 128, 0, NO], [NO, NO, NO, NO]])
    moves = {**ESRI, 0: (0, 0)}
    ldd = np.array([[NO if np.isnan(c) else same[moves[int(c)]] for c in row] for row in esri])
    lat, lon = [1.5, 0.5, -0.5, -1.5], [10.5, 11.5, 12.5, 13.5]
    down = read_directions(write(tmp_path / "a.nc", ldd, lat, lon))
    other = read_directions(write(tmp_path / "b.nc", esri, lat, lon, name="x_fdr"))
    assert (down.target == other.target).all()
    assert down.target.tolist() == [4, 4, 3, 1, SEA]  # row by row: (0.5N 11.5E) runs southeast, (0.5N 12.5E) south, ..
    up = read_directions(write(tmp_path / "c.nc", ldd[::-1], lat[::-1], lon))
    way = {(a, b): (up.lat[t], up.lon[t]) for a, b, t in zip(up.lat, up.lon, up.target, strict=True) if t >= 0}
    assert way == {
        (a, b): (down.lat[t], down.lon[t]) for a, b, t in zip(down.lat, down.lon, down.target, strict=True) if t >= 0
    }


def test_the_date_line_is_no_edge_of_a_global_map_but_one_of_a_region(tmp_path: Path) -> None:
    lon = np.arange(-179.5, 180)
    code = np.full((3, 360), NO)
    code[1, -1], code[1, 0] = 6, 5
    whole = read_directions(write(tmp_path / "a.nc", code, [1.5, 0.5, -0.5], lon))
    assert whole.target.tolist() == [SEA, 0]
    part = read_directions(write(tmp_path / "b.nc", code[:, 200:], [1.5, 0.5, -0.5], lon[200:]))
    assert part.target.tolist() == [SEA]
    turned = read_directions(write(tmp_path / "c.nc", np.roll(code, 180, 1), [1.5, 0.5, -0.5], lon + 180))
    assert sorted(turned.lon) == [-179.5, 179.5]
    assert turned.target[turned.lon > 0] == np.flatnonzero(turned.lon < 0)


def test_a_pit_among_land_is_a_sink_unless_it_is_an_estuary(tmp_path: Path) -> None:
    code = np.full((9, 9), NO)
    code[1:8, 1:8] = 6  # everything runs east, and from the last column into the water
    code[4, 4] = 5
    lat, lon = list(np.arange(9.0)), list(np.arange(9.0))
    lone = read_directions(write(tmp_path / "a.nc", code, lat, lon))
    assert (lone.target == SINK).sum() == 1
    assert (lone.target == SEA).sum() == 7
    code[4, 5:7] = 5  # three pits in a row, the last touches a cell that itself runs into the water
    chain = read_directions(write(tmp_path / "b.nc", code, lat, lon))
    assert (chain.target == SINK).sum() == 0


def test_areas_are_of_the_file_or_of_the_sphere(tmp_path: Path) -> None:
    code, lat, lon = np.array([[6.0, 5.0], [NO, NO]]), [60.25, 59.75], [0.25, 0.75]
    own = read_directions(write(tmp_path / "a.nc", code, lat, lon))
    np.testing.assert_allclose(own.area, 1e6 * cell_area_km2(60.25, 0.5))
    area, upstream = np.full((2, 2), 7.0), np.array([[7.0, 14.0], [NO, NO]])
    given = read_directions(write(tmp_path / "b.nc", code, lat, lon, cell_area=area, x_upstream_area=upstream))
    assert given.area.tolist() == [7e6, 7e6]
    assert given.upstream_area.tolist() == [7e6, 14e6]


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        ([[6, 11], [NO, 5]], "x_ldd", "at 1N 1E found code 11, expected 1 .. 9"),
        ([[16, 3], [NO, 0]], "x_ldd", "code 16"),
        ([[8, 1], [NO, 4]], "river", "legal both for PCRaster and for ESRI"),
        ([[NO, NO], [NO, NO]], "x_ldd", "no cell with a direction"),
    ],
)
def test_codes_that_are_none_are_refused_by_place(tmp_path: Path, code: list, name: str, words: str) -> None:
    source = write(tmp_path / "a.nc", np.array(code, float), [1.0, 0.0], [0.0, 1.0], name=name)
    with pytest.raises(InputError, match=words):
        read_directions(source)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nc", np.array([[6.0, 5.0]] * 2), [1.0, 0.0], [0.0, 1.0])
    with pytest.raises(InputError, match=r"variable 'y_ldd' missing.*found lat, lon, x_ldd"):
        read_directions(source.replace("x_ldd", "y_ldd"))
    with pytest.raises(InputError, match="expected FILE:variable"):
        read_directions(str(tmp_path / "a.nc"))
    with pytest.raises(InputError, match="no such file"):
        read_directions(str(tmp_path / "b.nc:x_ldd"))
    (tmp_path / "a.map").write_bytes(b"no map")
    with pytest.raises(InputError, match="expected PCRaster or GeoTIFF"):
        read_directions(str(tmp_path / "a.map"))


def test_a_map_of_one_band(tmp_path: Path) -> None:
    code = np.array([[6, 2, 255], [255, 6, 5]], np.uint8)
    profile = {"height": 2, "width": 3, "count": 1, "dtype": "uint8", "nodata": 255}
    grid = Affine(0.5, 0.0, 4.0, 0.0, -0.5, 50.0)
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", transform=grid, **profile) as out:
        out.write(code, 1)
    found = read_directions(str(tmp_path / "a.tif"))
    assert found.target.tolist() == [1, 2, 3, SEA]
    assert found.lat.tolist() == [49.75, 49.75, 49.25, 49.25]
    assert found.lon.tolist() == [4.25, 4.75, 4.75, 5.25]


def test_the_rhine_and_the_meuse(real_data: Path) -> None:
    found = read_directions(str(real_data / "hydro/rhine_meuse/RhineMeuse_lddsound_30min.map"))
    assert len(found.target) == 103
    assert (found.target == SEA).sum() == 2
