"""Our network: a stem that keeps what spectra say, gaps filled, noise as projected, sigma that follows SNR."""

import itertools

import numpy as np
import pytest
import torch

from sciml.core.errors import InputError
from sciml.nn.training import TrainingConfig, fit, seeded
from sciml.stellar.heads import PRIOR_PRECISION, gaussian
from sciml.stellar.samples import SNR, draw
from sciml.stellar.sciml_net import (
    Compression,
    SciMLConfig,
    SciMLNet,
    compression,
    likelihood_and_misfit,
    price_of_compression,
    score_directions,
)
from sciml.stellar.sciml_training import projected_samples
from tests.stellar.toy import ToyLines

SOURCE = ToyLines(orders=2, pixels=128, lines=30)
COMPONENTS = 12


def made(source: ToyLines = SOURCE, components: int = COMPONENTS) -> Compression:
    return compression(draw(source, SNR(50, 50), 300, seed=1)[1].clean, components)


def net(source: ToyLines = SOURCE, components: int = COMPONENTS) -> SciMLNet:
    with seeded(2):
        model = SciMLNet(*source.shape, components, SciMLConfig(48, 1, 32))
    model.load(made(source, components))
    return model.eval()


def test_directions_are_orthonormal_and_the_leading_components() -> None:
    clean = draw(SOURCE, SNR(50, 50), 300, seed=1)[1].clean
    found = compression(clean, COMPONENTS)
    for order in range(2):
        v = found.directions[order]
        assert torch.allclose(v @ v.T, torch.eye(COMPONENTS), atol=1e-5)
        apart = (clean[:, order] - clean[:, order].mean(0)).double().numpy()
        best = np.linalg.svd(apart, compute_uv=False)[:COMPONENTS]
        assert found.spread[order].numpy() == pytest.approx(best / np.sqrt(299), rel=1e-2, abs=2e-4)


def test_directions_that_span_the_derivatives_cost_nothing() -> None:
    labels = draw(SOURCE, SNR(50, 50), 3, seed=3)[1].labels
    jacobian = SOURCE.jacobian(labels)
    clean = draw(SOURCE, SNR(50, 50), 300, seed=1)[1].clean
    exact = compression(clean, 12, score_directions(jacobian, 50.0))
    assert torch.allclose(price_of_compression(exact, jacobian, 50.0), torch.ones(3, 4, dtype=torch.double), atol=1e-6)


def test_score_directions_cost_less_than_as_many_components() -> None:
    """Over stars that neither was made from; an independent sum of Fisher matrices confirms the price."""
    train, test = (draw(SOURCE, SNR(50, 50), 150, seed=seed)[1] for seed in (1, 2))
    jacobian = SOURCE.jacobian(test.labels)
    scores = compression(train.clean, 8, score_directions(SOURCE.jacobian(train.labels), 50.0))
    components = compression(train.clean, 8)
    by_scores, by_components = (price_of_compression(x, jacobian, 50.0) for x in (scores, components))
    assert (by_scores >= 1 - 1e-9).all()
    assert (by_scores.mean(0) < by_components.mean(0)).all()

    kept = np.einsum("jop,okp->jok", jacobian[0].double().numpy(), scores.directions.double().numpy()).reshape(4, -1)
    whole = jacobian[0].double().flatten(1).numpy()
    sigma = [np.sqrt(np.linalg.inv(2500 * j @ j.T + PRIOR_PRECISION * np.eye(4)).diagonal()) for j in (kept, whole)]
    assert by_scores[0].numpy() == pytest.approx(sigma[0] / sigma[1], rel=1e-6)


def test_a_gap_is_filled_from_the_rest_and_a_missing_order_is_known() -> None:
    model = net(components=20)
    snr, drawn = draw(SOURCE, SNR(1000, 1000), 50, seed=4)
    whole, all_there = model.project(drawn.clean, snr, drawn.mask)
    mask = drawn.mask.clone()
    mask[:, 0, 60:63], mask[:, 1] = False, False
    torn = torch.where(mask, drawn.clean, 7.0)
    filled, there = model.project(torn, snr, mask)
    once = torch.where(mask[:, 0], drawn.clean[:, 0] - model.mean[0], 0.0) @ model.directions[0].T
    assert (filled[:, 0] - whole[:, 0]).square().mean() < 0.5 * (once - whole[:, 0]).square().mean()
    assert (filled[:, 1] == 0).all() and (all_there == 1).all()
    assert there[0].tolist() == pytest.approx([125 / 128, 0.0])


def test_pixels_that_no_spectrum_has_are_nothing_to_the_network() -> None:
    """They may be masked, or hold anything, and nothing counts as missing."""
    clean = draw(SOURCE, SNR(50, 50), 100, seed=1)[1].clean
    clean[:, 0, :20] = 1.0
    model = net()
    model.load(compression(clean, COMPONENTS))
    assert not model.used[0, :20].any() and model.used[0, 40:].any()
    snr, drawn = draw(SOURCE, SNR(50, 50), 5, seed=4)
    mask, other = drawn.mask.clone(), drawn.flux.clone()
    mask[:, 0, :20], other[:, 0, :20] = False, 0.5
    for a, b in zip(model.project(drawn.flux, snr, drawn.mask), model.project(other, snr, mask), strict=True):
        assert torch.equal(a, b)
    assert (model.project(other, snr, mask)[1] == 1).all()


def test_a_cosmic_ray_counts_little() -> None:
    model = net()
    snr, drawn = draw(SOURCE, SNR(100, 100), 5, seed=4)
    struck = drawn.clean.clone()
    struck[:, 0, 64] = 50.0
    gone = model.project(struck, snr, drawn.mask)[0] - model.project(drawn.clean, snr, drawn.mask)[0]
    assert gone.abs().max() < 0.5


@pytest.mark.parametrize("masked", [0.0, 0.02])
def test_projected_samples_are_spread_as_projected_spectra(masked: float) -> None:
    """Noise given to projections has the covariance of the projections of noise."""
    source = ToyLines(orders=2, pixels=128, lines=30, masked=masked)
    model, snr = net(source), SNR(25, 25)
    data = projected_samples(model, source, snr, 1000, 4000, seed=1)
    if not masked:
        assert torch.allclose(data.noise, torch.eye(COMPONENTS).expand(2, -1, -1), atol=0.25)
    with seeded(5):
        (projected, values, there), target, _ = data.batch(torch.arange(4000))
    with torch.no_grad():
        nearest = torch.cdist(target, data.labels).argmin(1)
        added = (projected - data.projected[nearest]).flatten(1) * 25
        values2, drawn = draw(source, snr, 2000, seed=9)
        flux = torch.where(drawn.mask, drawn.flux, 1.0)
        directly = model.project(flux, values2, drawn.mask)[0] - model.project(drawn.clean, values2, drawn.mask)[0]
    assert (values == 25).all() and there.shape == (4000, 2)
    assert torch.allclose(torch.cov(added.T), torch.cov(25 * directly.flatten(1).T), atol=0.2)


def test_sigma_falls_as_snr_rises_and_never_exceeds_the_range() -> None:
    """Before any training, and far from SNRs that a training would see."""
    model = net()
    _, drawn = draw(SOURCE, SNR(50, 50), 4, seed=6)
    with torch.no_grad():
        found = [
            gaussian(model(drawn.clean, torch.full((4,), snr), drawn.mask))[1].diagonal(dim1=1, dim2=2)
            for snr in (0.1, 10.0, 100.0, 1000.0)
        ]
    assert all((a > b).all() for a, b in itertools.pairwise(found))
    assert (found[0] < 1.01 / PRIOR_PRECISION**0.5).all()
    assert torch.allclose(found[2] / found[3], torch.tensor(10.0), rtol=0.5)


def test_learns_the_labels_from_projections_and_is_asked_with_spectra() -> None:
    """Against the best that is possible: the mean of RMSE over the bound from the derivatives."""
    model, snr = net(), SNR(20, 200)
    data = projected_samples(model, SOURCE, snr, 3000, 10240, seed=1)
    config = TrainingConfig(8, 256, 5e-3, clip_norm=1.0)
    fit(model.estimator, data, config, seed=1, loss=likelihood_and_misfit)
    values, drawn = draw(SOURCE, SNR(50, 50), 400, seed=11)
    with torch.no_grad():
        mean, factor = gaussian(model.eval()(drawn.flux, values, drawn.mask))
    truth = (drawn.labels - torch.tensor([6625.0, 2.5, -1.0, 15.0])) / torch.tensor([3125.0, 2.5, 1.5, 15.0])
    jacobian = SOURCE.jacobian(drawn.labels).flatten(2)
    bound = torch.linalg.inv(jacobian @ jacobian.mT * 2500 + PRIOR_PRECISION * torch.eye(4, dtype=torch.double))
    used = bound.diagonal(dim1=1, dim2=2).sqrt() < 1 / 3
    ratio = ((mean - truth).double().square() / bound.diagonal(dim1=1, dim2=2))[used].mean().sqrt()
    assert 0.9 < ratio < 2.0
    inside = torch.linalg.solve_triangular(factor, (truth - mean)[..., None], upper=False).square().sum((1, 2))
    assert float((inside < 4.72).float().mean()) == pytest.approx(0.683, abs=0.15)  # chi-square of four


def test_too_few_spectra_are_refused() -> None:
    clean = draw(SOURCE, SNR(50, 50), 10, seed=1)[1].clean
    with pytest.raises(InputError, match="10 spectra"):
        compression(clean, 12)
    with pytest.raises(InputError, match="20 spectra have order 0"):
        projected_samples(net(), SOURCE, SNR(20, 20), 20, 20, seed=1)
