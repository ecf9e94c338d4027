"""The grid's corners, and draws within them."""

import numpy as np
import pytest

from sciml.stellar import labels
from sciml.stellar.labels import PARAMETERS, RANGES


def test_nodes_are_the_papers() -> None:
    nodes = labels.nodes()
    assert nodes.shape == (253 * 7, 7)
    assert labels.in_grid(nodes).all()
    assert len(np.unique(nodes[:, 0])) * len(np.unique(nodes[:, 1])) == 26 * 11


def test_the_staircase_has_one_shape_from_either_side() -> None:
    for teff in np.arange(3500.0, 9751.0, 125.0):
        low = labels.lowest_logg(np.array(teff))
        assert labels.highest_teff(low) >= teff
        if low > 0:
            assert labels.highest_teff(low - 0.01) < teff


@pytest.mark.parametrize("prior", ["paper", "nuisance"])
def test_draws_lie_in_the_grid_and_fill_it(prior: labels.Prior) -> None:
    found = labels.draw(512, 3, prior)
    assert found.shape == (512, 7)
    assert labels.in_grid(found).all()
    for name in ("teff", "logg", "feh", "vsini"):
        low, high = RANGES[name]
        share, _ = np.histogram(found[:, PARAMETERS.index(name)], np.linspace(low, high, 5))
        assert share.min() > 70
    np.testing.assert_array_equal(found, labels.draw(512, 3, prior))
    assert (found != labels.draw(512, 4, prior)).any()


def test_usual_microturbulence_is_that_of_stars() -> None:
    assert labels.usual_vmic(5777.0, 4.44, 0.0) == pytest.approx(1.06, abs=0.1)
    assert labels.usual_vmic(4500.0, 2.0, 0.0) == pytest.approx(1.5, abs=0.3)
    assert labels.usual_alpha(np.array([-2.0, 0.0, 0.4])).tolist() == [0.4, 0.0, 0.0]
