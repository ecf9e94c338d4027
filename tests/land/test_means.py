"""Means of a day: those of the two ends of its step, and nothing else is changed."""

from types import SimpleNamespace

import numpy as np
import pytest

from sciml.land.means import MEANS
from sciml.land.registry import MODELS
from sciml.land.run import simulate

CASES = [(name, scheme) for name, model in MEANS.items() for scheme in model.steps]


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_stores_are_means_of_a_step_and_fluxes_are_the_same(name: str, scheme: str) -> None:
    ends, means = MODELS[name], MEANS[name]
    assert means.parameters == ends.parameters
    assert set(means.steps) == set(ends.steps)
    rng, days, cells = np.random.default_rng(1), 400, 3
    sky = {
        "rain": 8.0 * rng.random((days, cells)),
        "snowfall": 3.0 * rng.random((days, cells)),
        "temperature": 273.15 + 8.0 * rng.standard_normal((days, cells)),
        "demand": 0.003 * rng.random((days, cells)),
        "cos_year": np.ones((days, cells)),
        "sin_year": np.zeros((days, cells)),
    }
    forcing = SimpleNamespace(dates=np.arange(days).astype("datetime64[D]"), **sky)
    theta = ends.prior(cells)
    one, last = simulate(ends, forcing, theta, ends.start(cells), scheme=scheme)
    two, same = simulate(means, forcing, theta, means.start(cells), scheme=scheme)
    np.testing.assert_array_equal(same, last)
    for row, output in enumerate(ends.outputs):
        if output in ("snow", "soil_upper", "soil_lower") or (name == "sciml" and output == "groundwater"):
            np.testing.assert_allclose(two[1:, row], 0.5 * (one[1:, row] + one[:-1, row]), rtol=1e-9, atol=1e-9)
        else:
            np.testing.assert_allclose(two[:, row], one[:, row], rtol=1e-12, atol=1e-12)
