"""Sub-areas of nested gauges: their volumes add up to what the gauges have."""

import numpy as np

from sciml.land.subareas import subarea_runoff


def test_volumes_of_sub_areas_add_up() -> None:
    rng = np.random.default_rng(0)
    areas, depth = np.array([3.0, 5.0, 16.0]), rng.gamma(1.0, 2.0, (50, 3))
    own = np.diff(areas, prepend=0.0)
    above = np.cumsum(own * depth, axis=1) / areas
    np.testing.assert_allclose(subarea_runoff(above, areas), depth, rtol=1e-10, atol=1e-12)


def test_no_sub_area_takes_water() -> None:
    assert (subarea_runoff(np.array([[2.0, 0.1]]), np.array([1.0, 2.0])) == [[2.0, 0.0]]).all()
