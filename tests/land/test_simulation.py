"""A run's cells are found in its forcing by place; draws of members do not depend on blocks."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import ConfigError, InputError
from sciml.data.stores import Template, Variable, create_store, write_region
from sciml.land import simulation
from sciml.land.forcing import Forcing, Record, Targets
from sciml.land.least_squares import Space
from sciml.land.registry import MODELS
from sciml.land.simulation import CellYear, RunYear, check_outputs, check_store, places, years_of_run
from sciml.land.source import LandSource

MODEL = MODELS["linear_reservoir"]
DATES = np.arange(np.datetime64("2001-01-01"), np.datetime64("2002-01-01"))
LAT, LON = np.array([10.25, 10.25, 10.75]), np.array([-0.25, 0.25, 0.25])


def record(shift: float) -> list[Record]:
    """Three cells; shift: of longitudes, a whole turn is the same place."""
    rng, shape = np.random.default_rng(0), (len(DATES), 3)
    forcing = Forcing(
        DATES, rng.gamma(0.5, 6.0, shape), np.zeros(shape), np.full(shape, 285.0), np.full(shape, 3e-3),
        "humidity_deficit", np.arange(3), LAT, LON + shift, np.full(3, 3e3),
    )  # fmt: skip
    return [Record(forcing, Targets(DATES), ("a", "b", "c"))]


def store(url: str, which: list[int], names: tuple[str, ...] | None = None) -> str:
    """Parameters of some of the cells, in the order given."""
    parameter = names or tuple(p.name for p in MODEL.parameters)
    sizes = {"cell": len(which), "month": 1, "parameter": len(parameter), "other": len(parameter)}
    dims = ("cell", "month", "parameter")
    variables = {name: Variable(dims, dtype="float64") for name in ("theta", "free")}
    variables["covariance"] = Variable((*dims, "other"), dtype="float64")
    coordinates = {
        "cell": xr.Variable("cell", np.array([f"cell {i}" for i in which])),
        "lat": xr.Variable("cell", LAT[which]),
        "lon": xr.Variable("cell", LON[which]),
        "area_km2": xr.Variable("cell", np.full(len(which), 3e3)),
        "parameter": xr.Variable("parameter", np.array(parameter)),
    }
    template = Template(sizes, variables, {}, coordinates)
    create_store(url, template)
    space, k = Space.of(MODEL.parameters), len(parameter)
    free = np.broadcast_to(np.array(which)[:, None, None] * 0.1, (len(which), 1, k)) + np.zeros(k)
    theta = space.real(free) if names is None else free
    covariance = np.broadcast_to(0.04 * np.eye(k), (len(which), 1, k, k)).copy()
    write_region(url, template, {}, {"theta": theta, "free": free, "covariance": covariance})
    return url


@pytest.mark.parametrize("shift", [0.0, 360.0])
def test_cells_are_found_by_place_in_any_order(shift: float, tmp_path) -> None:
    source = LandSource("generated", made=record, settings=shift)
    found = places(source, store(str(tmp_path / "R"), [2, 0]))
    assert found.names == ("cell 0", "cell 2")
    assert list(found.forcing) == [0, 2] and list(found.parameter) == [1, 0]
    assert "1 of 3 cells of the forcing have no parameters" in found.notes[0]


def test_a_forcing_without_a_cell_is_refused_by_place_and_distance(tmp_path) -> None:
    source = LandSource("generated", made=lambda _: [record(0.0)[0].select(slice(0, 2))], settings=1)
    with pytest.raises(InputError, match=r"1 of 3 cells .* first at 10.75 N 0.25 E, 56 km from the nearest"):
        places(source, store(str(tmp_path / "R"), [0, 1, 2]))


def test_two_cells_at_one_place_are_refused(tmp_path) -> None:
    source = LandSource("generated", made=record, settings=0.0)
    with pytest.raises(InputError, match="two cells at one place"):
        places(source, store(str(tmp_path / "R"), [0, 1, 0]))


def test_members_do_not_depend_on_blocks(tmp_path) -> None:
    run = RunYear(
        LandSource("generated", made=record, settings=0.0), MODEL.name, store(str(tmp_path / "R"), [1, 2, 0]), 2001,
        ("runoff",), members=3, spin_up=1,
    )  # fmt: skip
    whole = run(CellYear(0, 0, 3), None)
    parts = [run(CellYear(0, a, b), None) for a, b in ((0, 2), (2, 3))]
    for name in whole:
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts], axis=-1), whole[name])
    assert (np.ptp(np.nansum(whole["runoff"][0], axis=1), axis=0) > 0).all()
    other = replace(run, seed=1)(CellYear(0, 0, 3), None)
    np.testing.assert_array_equal(other["runoff"][0, 0], whole["runoff"][0, 0])
    assert (other["runoff"][0, 1, :365] != whole["runoff"][0, 1, :365]).any()


def test_parameters_of_another_model_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="differ in melt_speed"):
        check_store(store(str(tmp_path / "R"), [0], ("melt_speed", *[p.name for p in MODEL.parameters])), MODEL)


def test_outputs_that_a_model_lacks_are_left_out_and_unknown_ones_refused() -> None:
    assert check_outputs(MODELS["paper"], ("runoff", "soil_lower", "snow")) == ("runoff", "snow")
    with pytest.raises(ConfigError, match="--outputs rain"):
        check_outputs(MODEL, ("runoff", "rain"))


def test_whole_years_are_run() -> None:
    dates = np.arange(np.datetime64("1999-03-01"), np.datetime64("2002-07-01"))
    assert years_of_run(dates, None, "F") == range(2000, 2002)
    with pytest.raises(InputError, match="no whole calendar year"):
        years_of_run(dates[:400], None, "F")


def test_memory_is_of_a_year_not_of_the_run() -> None:
    assert simulation.memory_bytes(4096, 4, 31, 0) < 1 << 30
