"""Downscaling: what GRACE saw comes back, borders carry no step, s tells knowledge from noise, bands are wide
enough."""

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.grace.downscale import (
    Cells,
    coarse_operator,
    contrast,
    detail_sigma,
    downscale,
    fit_share,
    gap_sigma,
)
from sciml.grace.mascons import border_jump_ratio, grace_view, super_mascons
from tests.grace.test_interpolation import block, centres

MEMBERS, TIMES = 12, 36
MONTHS = np.arange("2003-01", "2006-01", dtype="datetime64[M]")


@pytest.fixture(scope="module")
def cells() -> Cells:
    latitude, longitude, parent, area = block(4, 4, 6)
    coast = longitude < 10 + 12 - 1.2 * (1 + np.sin(latitude))
    latitude, longitude, parent, area = (x[coast] for x in (latitude, longitude, parent, area))
    return Cells(parent, latitude, longitude, area)


def fields(cells: Cells, seed: int, length: float = 1.5) -> np.ndarray:
    """Random fields (cell, time) with structure inside mascons, smooth over `length` degrees."""
    rng = np.random.default_rng(seed)
    place = np.stack([cells.latitude, cells.longitude], axis=-1)
    distance = ((place[:, None] - place[None]) ** 2).sum(axis=-1)
    factor = np.linalg.cholesky(np.exp(-distance / 2 / length**2) + 1e-6 * np.eye(len(place)))
    return 60 * factor @ rng.standard_normal((len(place), TIMES))


def downscaled(cells: Cells, predicted: np.ndarray, seen: np.ndarray, sigma: float, share: float = 0.7):
    return downscale(
        predicted,
        seen,
        np.full(seen.shape, sigma),
        MONTHS,
        share,
        cells,
        cells.operator(),
        gap_sigma=np.full(cells.mascons, 2.0 * sigma),
        detail_sigma=np.full(cells.mascons, 10.0),
        seed=3,
    )


def members_about(field: np.ndarray, spread: float) -> np.ndarray:
    noise = np.random.default_rng(9).standard_normal((len(field), MEMBERS, field.shape[1]))
    return (field[:, None, :] + spread * noise).astype(np.float32)


def test_months_with_data_return_what_grace_saw(cells: Cells) -> None:
    seen = cells.mean(fields(cells, 0)) + 20
    seen[:, 5] = np.nan
    seen[2, 9] = np.nan
    predicted = members_about(fields(cells, 1), 5.0)
    out = downscaled(cells, predicted, seen, 15.0)
    there = np.isfinite(seen)
    mean = cells.mean(out.members.astype(float))
    assert np.abs(mean - out.targets).max() < 1e-4
    assert np.abs(mean.mean(axis=1) - seen)[there].max() < 1e-4
    own = cells.mean(predicted.astype(float)).mean(axis=1)
    assert np.abs(mean.mean(axis=1) - own)[~there].max() < 1e-4
    np.testing.assert_array_equal(out.gap_month, np.arange(TIMES) == 5)
    np.testing.assert_array_equal(out.gap, ~there)


def test_members_carry_graces_error_and_more_of_it_in_gaps(cells: Cells) -> None:
    seen = cells.mean(fields(cells, 0))
    seen[:, ::3] = np.nan
    out = downscaled(cells, members_about(fields(cells, 1), 0.0), seen, 15.0)
    spread = out.targets.std(axis=1, ddof=1)
    gap = out.gap_month
    assert np.sqrt((spread[:, ~gap] ** 2).mean()) == pytest.approx(15.0, rel=0.1)
    assert np.sqrt((spread[:, gap] ** 2).mean()) == pytest.approx(30.0, rel=0.1)


def test_a_piece_of_the_period_gives_the_same(cells: Cells) -> None:
    seen, predicted = cells.mean(fields(cells, 0)), members_about(fields(cells, 1), 5.0)
    whole = downscaled(cells, predicted, seen, 15.0)
    sigma = np.full((cells.mascons, 6), 15.0)
    part = downscale(
        predicted[..., 10:16],
        seen[:, 10:16],
        sigma,
        MONTHS[10:16],
        0.7,
        cells,
        cells.operator(),
        gap_sigma=np.full(cells.mascons, 30.0),
        detail_sigma=np.full(cells.mascons, 10.0),
        seed=3,
    )
    np.testing.assert_allclose(part.members, whole.members[..., 10:16], rtol=1e-6, atol=1e-4)


def test_borders_carry_no_step_even_where_means_differ_wildly(cells: Cells) -> None:
    seen = np.random.default_rng(0).normal(0, 60, (cells.mascons, TIMES))
    rough = fields(cells, 1, length=0.6)
    out = downscaled(cells, members_about(rough, 0.0), seen, 5.0, share=1.0)
    assert border_jump_ratio(out.members.mean(axis=1), cells.parent, cells.latitude, cells.longitude) < 1.1
    blocky = rough + (seen - cells.mean(rough))[cells.parent]
    assert border_jump_ratio(blocky, cells.parent, cells.latitude, cells.longitude) > 1.3


def test_a_constant_predictor_gives_the_interpolation_alone(cells: Cells) -> None:
    seen = cells.mean(fields(cells, 0))
    flat = np.full((len(cells.parent), 1, TIMES), 7.0, np.float32)
    out = downscale(
        flat, seen, np.zeros(seen.shape), MONTHS, 1.0, cells, cells.operator(),
        gap_sigma=np.zeros(cells.mascons), detail_sigma=np.zeros(cells.mascons), seed=0,
    )  # fmt: skip
    np.testing.assert_allclose(out.members[:, 0], cells.operator().interpolate(seen), atol=1e-3)


def share_of(cells: Cells, predicted: np.ndarray, observed: np.ndarray):
    blocks = super_mascons(*centres(cells.latitude, cells.longitude, cells.parent))
    noise = np.full(observed.shape, 3.0)
    return fit_share(predicted, observed, noise, MONTHS, coarse_operator(cells, blocks))


def test_the_share_is_the_planted_one(cells: Cells) -> None:
    truth = cells.mean(fields(cells, 0, length=2.0))
    noise = np.random.default_rng(2).normal(0, 3, truth.shape)
    for planted in (0.5, 0.8):
        found = share_of(cells, truth / planted, truth + noise)
        assert abs(found.share - planted) < 0.05 + 2 * found.standard_error
    assert share_of(cells, 0.5 * truth, truth + noise).share == 1.0  # s is at most 1


def test_predictors_without_information_get_no_share(cells: Cells) -> None:
    truth = cells.mean(fields(cells, 0, length=2.0))
    shares = [share_of(cells, cells.mean(fields(cells, seed, length=2.0)), truth).share for seed in range(10, 30)]
    assert np.mean(shares) < 0.03 and max(shares) < 0.2
    assert share_of(cells, -truth, truth).share == 0.0


def test_too_few_years_are_refused(cells: Cells) -> None:
    truth = cells.mean(fields(cells, 0))
    truth[:, 12:] = np.nan
    with pytest.raises(InputError, match="1 training years"):
        share_of(cells, np.nan_to_num(truth), truth)


def test_bands_cover_a_planted_truth(cells: Cells) -> None:
    operator = cells.operator()
    truth, net_error = fields(cells, 0, length=0.9), fields(cells, 1, length=0.6)
    seen = cells.mean(truth) + np.random.default_rng(4).normal(0, 15, (cells.mascons, TIMES))
    net = 0.8 * truth + 0.5 * net_error
    detail = np.sqrt(cells.mean((contrast(truth - net, operator) ** 2).mean(axis=1)))
    out = downscale(
        members_about(net, 0.0), seen, np.full(seen.shape, 15.0), MONTHS, 1.0, cells, operator,
        gap_sigma=np.full(cells.mascons, 30.0), detail_sigma=detail, seed=0,
    )  # fmt: skip
    error = np.abs(out.members.mean(axis=1) - truth)
    assert 0.85 < (error < 1.645 * out.members.std(axis=1, ddof=1)).mean() < 0.95


def test_gap_and_detail_errors_from_training(cells: Cells) -> None:
    rng = np.random.default_rng(0)
    truth = cells.mean(fields(cells, 0, length=2.0))
    sigma = gap_sigma(truth + rng.normal(0, 25, truth.shape), truth, np.full(truth.shape, 10.0))
    assert np.sqrt((sigma**2).mean()) == pytest.approx(25.0, rel=0.1)
    never = gap_sigma(truth, truth, np.full(truth.shape, 10.0))
    assert (never > 10.0).all()  # a gap is never better known than a month with data
    share = share_of(cells, truth, truth + rng.normal(0, 30, truth.shape))
    good = share_of(cells, truth, truth)
    net = fields(cells, 1)
    operator = cells.operator()
    assert (detail_sigma(net, share, cells, operator) > detail_sigma(net, good, cells, operator)).all()
    wild = detail_sigma(50 * net, share, cells, operator, truth)
    np.testing.assert_allclose(wild, truth.std(axis=1))


def test_the_share_is_learned_through_the_eyes_of_grace(cells: Cells) -> None:
    truth = cells.mean(fields(cells, 0, length=2.0))
    area = np.bincount(cells.parent, cells.area)
    view = grace_view(*centres(cells.latitude, cells.longitude, cells.parent), area)
    blurred = view @ truth
    assert share_of(cells, truth, blurred).share < 0.6
    assert share_of(cells, view @ truth, blurred).share == pytest.approx(1.0)
