"""Figures of emulators: what stands at their axes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sciml.data.stores import create_store, write_region
from sciml.generated import land as generated
from sciml.land.figures import of_parameters
from sciml.land.forcing import DemandKind, Record
from sciml.land.source import LandSource, Layout
from sciml.land.steps import fit_template, model_for

LAT, LON = (grid.ravel() for grid in np.meshgrid(45.25 + 0.5 * np.arange(8), 5.25 + 0.5 * np.arange(8)))


def made(demand: DemandKind) -> list[Record]:
    record = generated.record(generated.LandConfig(cells=1, first="2000-01", stop="2000-03"))
    return [replace(record, forcing=replace(record.forcing, demand_kind=demand))]


@pytest.mark.parametrize(
    ("model", "demand", "expected"),
    [
        ("paper", "humidity_deficit", ["snow share [1]", "melt rate [kg m⁻² d⁻¹ K⁻ᵡ]", "melt temperature [K]"]),
        ("closed", "humidity_deficit", ["wetland rate [d⁻¹]", "evaporation rate [kg m⁻² d⁻¹]"]),
        ("closed", "potential_evaporation", ["wetland rate [d⁻¹]", "evaporation rate [1]"]),
        ("linear_reservoir", "humidity_deficit", ["demand factor [kg m⁻² d⁻¹]", "reservoir days [d]"]),
        ("linear_reservoir", "potential_evaporation", ["demand factor [1]", "reservoir days [d]"]),
    ],
)
def test_colour_bars_of_parameters_have_units(
    model: str, demand: DemandKind, expected: list[str], tmp_path: Path
) -> None:
    source = LandSource("generated", made=made, settings=demand)
    forcing = source.records()[0].forcing
    cells = len(LAT)
    where = Layout(tuple(map(str, range(cells))), LAT, LON, np.ones(cells), forcing.dates, (), cells)
    template = fit_template(where, model_for(model, forcing))
    arrays = {
        name: np.random.default_rng(0).uniform(1.0, 2.0, shape).astype(variable.dtype)
        for name, variable in template.variables.items()
        for shape in [[template.sizes[dim] for dim in variable.dims]]
    }
    url = str(tmp_path / "fit")
    create_store(url, template)
    write_region(url, template, {"cell_start": 0, "cell_stop": cells}, arrays)
    (_, maps) = of_parameters({model: url}, source, where)
    labels = {text for axes in maps.figure.axes for text in (axes.get_xlabel(), axes.get_ylabel())}
    assert set(expected) <= labels
