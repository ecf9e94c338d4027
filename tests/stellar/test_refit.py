"""Steps of a fit within the grid: the best place that a quadratic has there, and never away from it."""

import numpy as np
import pytest
from scipy.optimize import minimize

from sciml.stellar import labels
from sciml.stellar.posterior import to_working
from sciml.stellar.refit import Fitting, _bounded, refit
from tests.stellar.generated_stars import forward


@pytest.mark.parametrize("seed", range(6))
def test_a_bounded_step_is_the_least_of_its_quadratic(seed: int) -> None:
    random = np.random.default_rng(seed)
    half = random.standard_normal((4, 4))
    matrix = half @ half.T + 0.01 * np.eye(4)
    slope = 3 * random.standard_normal(4)
    low, high = -random.random(4), random.random(4)

    def loss(step: np.ndarray) -> float:
        return 0.5 * step @ matrix @ step - slope @ step

    found = _bounded(matrix, slope, low, high)
    best = minimize(loss, np.zeros(4), bounds=list(zip(low, high, strict=True)), options={"ftol": 1e-14})
    assert np.all((found >= low) & (found <= high))
    assert loss(found) <= best.fun + 1e-7
    assert loss(found) < 0


def test_fits_of_the_grid_s_own_spectra_come_back_from_far() -> None:
    stars = labels.draw(24, 8, "paper")
    flux = forward().at(to_working(stars)).numpy()
    points = labels.draw(64, 0, "paper")
    spectra = forward().at(to_working(points)).numpy()
    nearest = np.square(flux[:, None] - spectra).sum((2, 3)).argmin(1)
    sigma = np.full(flux.shape, 0.01, np.float32)
    found = refit(forward(), flux, sigma, points[nearest, :4], Fitting(rounds=20))
    left = found.residual.square().flatten(1).sum(1).numpy()
    assert (left < 0.5).mean() > 0.9  # some end in a minimum of their own
