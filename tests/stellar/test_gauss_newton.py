"""Steps on interpolated projections: places and derivatives, the least error that is possible, what is missing."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.core.errors import ConfigError
from sciml.nn.training import seeded
from sciml.stellar.gaussian_process import kernel, kernel_slope
from sciml.stellar.heads import PRIOR_PRECISION, gaussian, physical, scaled
from sciml.stellar.labels import RANGES
from sciml.stellar.posterior import moments, to_working
from sciml.stellar.projected_grid import ProjectedGrid, from_places, tabulate, to_places
from sciml.stellar.samples import SNR, draw
from sciml.stellar.sciml_net import SciMLConfig, SciMLNet, compression, score_directions
from sciml.stellar.sciml_training import fit_gauss_newton, projected_samples
from tests.stellar.toy import ToyLines

SOURCE = ToyLines(orders=2, pixels=128, lines=30)
COMPONENTS = 12


def projected(model: SciMLNet, labels: Tensor) -> Tensor:
    clean = SOURCE.clean(labels)
    whole = torch.ones_like(clean, dtype=torch.bool)
    return model.project(clean, torch.full((len(clean),), torch.inf), whole)[0].flatten(1)


@pytest.fixture(scope="module")
def model() -> SciMLNet:
    """With steps, whose estimator knows nothing: starts are up to the tests."""
    with seeded(1):
        net = SciMLNet(*SOURCE.shape, COMPONENTS, SciMLConfig(16, 1, 16, atmospheres=800))
    learned = draw(SOURCE, SNR(50, 50), 300, seed=1)[1]
    net.load(compression(learned.clean, COMPONENTS, score_directions(SOURCE.jacobian(learned.labels), 50.0)))
    fit_gauss_newton(net, SOURCE, projected_samples(net, SOURCE, SNR(20, 200), 2000, 2000, seed=2), seed=3)
    return net.eval()


@pytest.fixture(scope="module")
def stars() -> Tensor:
    """Labels (200, 4) where the toy's lines are seen: 4500 K on, metals enough."""
    labels = draw(SOURCE, SNR(50, 50), 400, seed=5)[1].labels
    return labels[(labels[:, 0] > 4500) & (labels[:, 2] > -1.5)][:200]


def test_the_slope_of_the_kernel_is_that_of_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = (2 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 1 for n in (5, 7))
    lengths, step = torch.tensor([0.7, 2.0, 3.0], dtype=torch.float64), 1e-5
    found = kernel_slope(left, right, lengths)
    for k in range(3):
        move = step * torch.eye(3, dtype=torch.float64)[k]
        known = (kernel(left + move, right, lengths) - kernel(left - move, right, lengths)) / (2 * step)
        assert torch.allclose(found[:, k], known, rtol=1e-5, atol=1e-6)


def test_places_and_labels_are_one_another(stars: Tensor) -> None:
    places = to_places(stars)
    back, rate = from_places(places, torch.zeros(len(stars)))
    assert torch.allclose(back.float(), scaled(stars), atol=1e-5)
    places, rate = places[stars[:, 3] > 3.0], rate[stars[:, 3] > 3.0]
    for k in range(4):
        move = 1e-4 * torch.eye(4, dtype=torch.float64)[k]
        ends = [from_places(places + sign * move, torch.zeros(len(places)))[0][:, k] for sign in (-1, 1)]
        assert torch.allclose(rate[:, k], (ends[1] - ends[0]) / 2e-4, rtol=1e-3)
    ends = torch.tensor([[RANGES[name][side] for name in ("teff", "logg", "feh", "vsini")] for side in (0, 1)])
    assert torch.allclose(to_places(ends), torch.tensor([[-1.0], [1.0]]).double().expand(2, 4))


def test_between_atmospheres_projections_are_known_and_better_from_more(model: SciMLNet, stars: Tensor) -> None:
    truth = projected(model, stars)
    spread = truth.std(0).mean()

    def error(atmospheres: int) -> float:
        grid = tabulate(
            lambda clean: model.project(clean, torch.full((len(clean),), torch.inf), clean > -9)[0].flatten(1),
            SOURCE,
            atmospheres,
            seed=1,
        )
        return float((grid(to_places(stars))[0] - truth).square().mean().sqrt() / spread)

    few, many = error(50), error(800)
    assert many < 0.03 and many < 0.3 * few


def test_derivatives_of_projections_are_those_of_differences(model: SciMLNet, stars: Tensor) -> None:
    assert model.gauss_newton is not None
    grid: ProjectedGrid = model.gauss_newton.grid
    places, step = to_places(stars[:20]), 1e-2
    slope = grid(places)[1]
    for k in range(4):
        move = step * torch.eye(4, dtype=torch.float64)[k]
        known = (grid(places + move)[0] - grid(places - move)[0]) / (2 * step)
        assert torch.allclose(slope[:, k], known, atol=0.02 * float(known.abs().max()))


def answers(model: SciMLNet, stars: Tensor, snr: float, missing: int | None = None, off: float = 0.05) -> Tensor:
    """(n, 14) from starts that are off by a share of half ranges."""
    assert model.gauss_newton is not None
    generator = torch.Generator().manual_seed(4)
    seen = projected(model, stars).view(len(stars), 2, COMPONENTS)
    seen = seen + torch.randn(seen.shape, generator=generator) / snr
    there = torch.ones(len(stars), 2)
    if missing is not None:
        seen[:, missing], there[:, missing] = 0.0, 0.0
    first = torch.zeros(len(stars), 14)
    first[:, :4] = scaled(stars) + off * torch.randn(len(stars), 4, generator=generator)
    with torch.no_grad():
        return model.gauss_newton.stepped(seen, torch.full((len(stars),), snr), there, first)[0]


@pytest.mark.parametrize("missing", [None, 1])
def test_the_error_is_the_least_possible_and_known(model: SciMLNet, stars: Tensor, missing: int | None) -> None:
    """Against derivatives of whole spectra, of the orders that are there, at all stars whose labels they tell."""
    output = answers(model, stars, 100.0, missing)
    jacobian = SOURCE.jacobian(stars)
    if missing is not None:
        jacobian[:, :, missing] = 0.0
    flat = jacobian.flatten(2)
    eye = torch.eye(4, dtype=torch.double)
    least = torch.linalg.inv(flat @ flat.mT * 100.0**2 + PRIOR_PRECISION * eye).diagonal(dim1=1, dim2=2).sqrt()
    told = (least < 0.1).all(1) & (stars[:, 3] > 3.0)
    assert told.sum() > 30
    error = (output[:, :4] - scaled(stars)).double()[told]
    assert 0.85 < float((error / least[told]).square().mean().sqrt()) < 1.2
    over = gaussian(output)[1].square().sum(2).sqrt().double()[told] / least[told]
    assert torch.allclose(over.median(0).values, torch.ones(4, dtype=torch.double), rtol=0.05)
    assert float((over.log().abs() < 0.3).double().mean()) > 0.95


def test_where_an_order_is_missing_what_it_holds_is_nothing(model: SciMLNet, stars: Tensor) -> None:
    assert model.gauss_newton is not None
    seen = projected(model, stars).view(len(stars), 2, COMPONENTS)
    there = torch.tensor([1.0, 0.0]).expand(len(stars), 2)
    first, snr = torch.zeros(len(stars), 14), torch.full((len(stars),), 50.0)
    other = seen.clone()
    other[:, 1] = 7.0
    with torch.no_grad():
        one, two = (model.gauss_newton(values, snr, there, first) for values in (seen, other))
    assert torch.equal(one, two)


@pytest.mark.parametrize(("snr", "start"), [(0.01, 0.0), (100.0, 50.0), (100.0, -50.0)])
def test_from_far_off_and_at_no_signal_answers_are_of_the_grid(
    model: SciMLNet, stars: Tensor, snr: float, start: float
) -> None:
    assert model.gauss_newton is not None
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        output, _ = model.gauss_newton.stepped(
            torch.randn(len(stars), 2, COMPONENTS, generator=generator),
            torch.full((len(stars),), snr),
            torch.ones(len(stars), 2),
            torch.full((len(stars), 14), start),
        )
    assert torch.isfinite(output).all() and (output[:, :4].abs() < 1.001).all()


def test_a_start_below_all_stars_is_the_coolest(model: SciMLNet, stars: Tensor) -> None:
    """Not the hottest: inverse temperatures of less than nothing would be."""
    assert model.gauss_newton is not None
    cool = stars[:40].clone()
    cool[:, 0] = 4600.0
    seen, there = projected(model, cool).view(len(cool), 2, COMPONENTS), torch.ones(len(cool), 2)
    first = scaled(cool).new_zeros(len(cool), 14)
    first[:, :4] = scaled(cool)
    found = []
    for start in (-1.0, -9.0):
        first[:, 0] = start
        with torch.no_grad():
            found.append(model.gauss_newton.stepped(seen, torch.full((len(cool),), 100.0), there, first)[0][:, 0])
    assert torch.equal(*found)


def test_the_posterior_is_that_of_many_draws(model: SciMLNet) -> None:
    """Beside `posterior.moments`, of stars within the grid and near its ends."""
    assert model.gauss_newton is not None
    labels = torch.tensor([[5800.0, 4.4, 0.0, 8.0], [5000.0, 4.9, 0.4, 12.0], [9600.0, 4.0, -1.0, 25.0]])
    place = to_places(labels)
    spread = torch.tensor([0.01, 0.05, 0.05, 0.03], dtype=torch.float64)
    covariance = torch.diag(spread**2).expand(3, 4, 4)
    mean, factor, _ = model.gauss_newton._posterior(place, covariance)
    working = to_working(labels.double().numpy())
    step = 1e-5
    rate = [
        (
            to_working(
                np.array(physical(from_places(place + step * torch.eye(4).double()[k], 0.0)[0], torch.eye(4))[0])
            )
            - to_working(np.array(physical(from_places(place, 0.0)[0], torch.eye(4))[0]))
        )[:, k]
        / step
        for k in range(4)
    ]  # of each working coordinate by its place
    known = [np.diag((np.array(rate)[:, i] * spread.numpy()) ** 2) for i in range(3)]
    expected, deviation = moments(working, np.array(known))
    found, covariance_found = physical(mean, factor)
    sigma = np.sqrt(np.einsum("nii->ni", deviation))
    assert np.abs((found - expected) / sigma).max() < 0.15
    assert np.sqrt(np.einsum("nii->ni", covariance_found)) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("missing", [0.02, 0.1])
def test_missing_pixels_are_filled_to_within_the_noise(model: SciMLNet, stars: Tensor, missing: float) -> None:
    assert model.gauss_newton is not None
    generator = torch.Generator().manual_seed(8)
    clean, snr = SOURCE.clean(stars), torch.full((len(stars),), 100.0)
    mask = torch.rand(clean.shape, generator=generator) > missing
    flux = torch.where(mask, clean + torch.randn(clean.shape, generator=generator) / 100.0, 5.0)
    first = torch.zeros(len(stars), 14)
    first[:, :4] = scaled(stars)
    with torch.no_grad():
        output, _ = model.gauss_newton.stepped(*_seen(model, flux, snr, mask), first)
    told = (gaussian(output)[1].square().sum(2).sqrt() < 0.1).all(1) & (stars[:, 3] > 3.0)
    away = (output[:, :4] - scaled(stars)) / gaussian(output)[1].square().sum(2).sqrt()
    assert told.sum() > 30 and float(away[told].square().mean().sqrt()) < 1.4


def _seen(model: SciMLNet, flux: Tensor, snr: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    seen, there = model.project(flux, snr, mask)
    return seen, snr, there


def test_asked_with_spectra_the_whole_network_is_calibrated(model: SciMLNet) -> None:
    """Its estimator is untrained, so that all is the steps' and the head's."""
    snr, drawn = draw(SOURCE, SNR(50, 50), 1000, seed=11)
    with torch.no_grad():
        mean, factor = gaussian(model(drawn.flux, snr, drawn.mask))
    away = (scaled(drawn.labels) - mean) / factor.square().sum(2).sqrt()
    assert float((away.abs() < 1).float().mean()) == pytest.approx(0.683, abs=0.06)


def test_a_source_that_has_no_table_is_refused(model: SciMLNet) -> None:
    class Drawn:
        shape, draw = SOURCE.shape, SOURCE.draw

    with pytest.raises(ConfigError, match="no table"):
        fit_gauss_newton(model, Drawn(), projected_samples(model, SOURCE, SNR(20, 20), 100, 100, seed=1), seed=1)
