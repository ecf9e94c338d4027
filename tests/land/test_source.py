"""Cells of a job: the same, whether a grid is read whole or block by block."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.data.catalogue import DAY
from sciml.generated import land as generated
from sciml.land.forcing import Record
from sciml.land.source import LandSource, held_bytes, layout
from sciml.land.steps import FitCells, Years


@pytest.fixture(scope="module")
def made() -> Record:
    """Three cells of the generated Earth, three years."""
    return generated.record(generated.LandConfig(cells=1, first="1996-01", stop="1999-01"))


@pytest.fixture
def grid(made: Record, tmp_path: Path) -> LandSource:
    """The same as a packed store, daily means in CF units."""
    forcing, values = made.forcing, made.targets.values
    humidity = np.full_like(forcing.demand, 0.004)
    fields = {
        "pr": (forcing.precipitation / DAY, "kg m-2 s-1"),
        "prsn": (forcing.snowfall / DAY, "kg m-2 s-1"),
        "tas": (forcing.temperature, "K"),
        "huss": (humidity, "1"),
        "ps": (np.full_like(humidity, 9e4), "Pa"),
        "mrro": (values["runoff"] / DAY, "kg m-2 s-1"),
        "evspsbl": (values["evaporation"] / DAY, "kg m-2 s-1"),
        "snw": (values["snow"], "kg m-2"),
    }
    days = (forcing.dates - np.datetime64("1990-01-01")).astype(float)
    ds = xr.Dataset(
        {name: (("time", "cell"), series, {"units": units}) for name, (series, units) in fields.items()},
        {"time": ("time", days, {"units": "days since 1990-01-01"}), "cell": np.arange(3),
         "lat": ("cell", forcing.lat), "lon": ("cell", forcing.lon), "area_km2": ("cell", forcing.area_km2)},
    )  # fmt: skip
    ds.chunk({"cell": 2}).to_zarr(tmp_path / "grid.zarr", zarr_format=3, consolidated=False)
    return LandSource("grid", str(tmp_path / "grid.zarr"))


def test_blocks_of_a_grid_are_its_record(grid: LandSource) -> None:
    (whole,) = grid.records()
    where = layout(grid, 2)
    assert where.names == whole.names and [item.cell_stop for item in where.items] == [2, 3]
    np.testing.assert_array_equal(where.dates, whole.forcing.dates)
    np.testing.assert_array_equal(where.lat, whole.forcing.lat)
    for item in where.items:
        part, expected = item.of(grid), whole.select(slice(item.cell_start, item.cell_stop))
        assert part.names == expected.names and part.targets.stamp == "mean"
        for name, series in expected.targets.values.items():
            np.testing.assert_array_equal(part.targets.values[name], series)
        np.testing.assert_array_equal(part.forcing.demand, expected.forcing.demand)


def test_a_grid_is_outlined_by_some_cells(grid: LandSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sciml.land.source.OUTLINED", 2)
    other = LandSource("grid", grid.files, "humidity_deficit")  # not what was read before
    (outline,) = other.outline()
    assert len(outline.names) == 2 and outline.forcing.demand_kind == "humidity_deficit"
    assert held_bytes([outline]) == 8 * len(outline.forcing.dates) * 2 * (4 + len(outline.targets.values))


def test_a_block_of_a_grid_is_fitted_as_in_company(grid: LandSource) -> None:
    fit = FitCells(grid, "linear_reservoir", Years(1996, 1998), starts=1, method="descent")
    whole = fit.fit(grid.records()[0])
    for item in layout(grid, 2).items:
        found = fit(item)
        np.testing.assert_array_equal(
            found["theta"], whole.theta[:, :, item.cell_start : item.cell_stop].transpose(2, 1, 0)
        )
