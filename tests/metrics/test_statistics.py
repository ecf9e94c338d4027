"""Statistics merge; scores obey their identities; independent libraries agree."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sciml.core.errors import InputError
from sciml.metrics import scores
from sciml.metrics.ensembles import central_interval, crps, pit_distribution, ranks
from sciml.metrics.statistics import Statistics, statistics

FINITE = st.floats(-1e4, 1e4, allow_nan=False, width=32)


def sample(seed: int, units: int = 4, members: int = 7, records: int = 40, offset: float = 0.0):
    random = np.random.default_rng(seed)
    observed = offset + random.normal(size=(units, records))
    return observed, observed[:, None] + 0.1 + random.normal(size=(units, members, records))


def values(s: Statistics) -> np.ndarray:
    return np.stack([score(s) for score in (scores.nse, scores.r, scores.rmse, scores.bias, scores.crps,
                                            scores.coverage90)])  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    data=hnp.arrays(np.float64, (5, 12), elements=FINITE),
    cuts=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    offset=st.sampled_from([0.0, 300.0]),
)
def test_merged_parts_are_the_whole(data, cuts, offset):
    observed, members = data[None, 0] + offset, data[None, 1:] + offset
    edges = [0, *sorted(cuts), 12]
    parts = [statistics(observed[:, a:b], members[..., a:b]) for a, b in itertools.pairwise(edges)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    whole = statistics(observed, members)
    for name in Statistics.__dataclass_fields__:
        a, b = getattr(merged, name), getattr(whole, name)
        # squares and products of deviations round relative to the squares of the data, not to their own (smaller) sum
        scale = np.abs(data + offset).max() ** (1 + (("square" in name) or name == "product"))
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(scale, 1), err_msg=name)


def test_counts_repeat_parts():
    observed, members = sample(0)
    parts = [statistics(observed[:, a : a + 10], members[..., a : a + 10]) for a in (0, 10, 20)]
    stacked = Statistics(**{k: np.stack([getattr(p, k) for p in parts]) for k in Statistics.__dataclass_fields__})
    again = np.r_[0:10, 0:10, 20:30]
    direct = statistics(observed[:, again], members[..., again])
    np.testing.assert_allclose(values(stacked.merged(np.array([2, 0, 1]))), values(direct), rtol=1e-10)


def test_offset_costs_no_digits():
    observed, members = sample(1)
    a, b = values(statistics(observed, members)), values(statistics(observed + 2.0**20, members + 2.0**20))
    np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@settings(max_examples=60, deadline=None)
@given(data=hnp.arrays(np.float64, (4, 10), elements=FINITE))
def test_bounds(data):
    s = statistics(data[None, 0], data[None, 1:])
    nse, r = scores.nse(s), scores.r(s)
    assert np.isnan(nse).all() or (nse <= 1).all()
    assert np.isnan(r).all() or (np.abs(r) <= 1).all()
    assert scores.rmse(s) >= np.abs(scores.bias(s)) - 1e-9
    # 1 - r^2 is the least NSE loss any linear correction of the prediction can reach
    if np.isfinite(nse).all() and np.isfinite(r).all():
        assert (nse <= r**2 + 1e-6).all()


def test_perfect_mean_and_flat_predictions():
    observed = np.arange(12.0)[None]
    perfect = statistics(observed, observed[:, None])
    assert scores.nse(perfect) == 1 and np.isclose(scores.r(perfect), 1) and scores.rmse(perfect) == 0
    flat = statistics(observed, np.full((1, 1, 12), observed.mean()))
    assert scores.nse(flat) == 0 and np.isnan(scores.r(flat))
    constant = statistics(np.ones((1, 12)), np.ones((1, 1, 12)))
    assert np.isnan(scores.nse(constant))


def test_mask_equals_selection_and_unmasked_nan_is_refused():
    observed, members = sample(2)
    keep = np.random.default_rng(3).random(observed.shape[1]) < 0.6
    holed = np.where(keep, observed, np.nan)
    holed_members = np.where(keep, members, np.nan)
    np.testing.assert_allclose(
        values(statistics(holed, holed_members, mask=keep)),
        values(statistics(observed[:, keep], members[..., keep])),
        rtol=1e-12,
    )
    with pytest.raises(InputError, match=r"observed values: found .* first at unit 0, record"):
        statistics(holed, members)
    with pytest.raises(InputError, match="predicted values"):
        statistics(observed, holed_members)
    with pytest.raises(InputError, match="uncertainty values"):
        statistics(observed, members, uncertainty=holed)
    nothing = statistics(observed, members, mask=np.zeros(observed.shape, bool))
    assert np.isnan(values(nothing)).all() and (nothing.n == 0).all()


def test_empty_part_is_neutral():
    observed, members = sample(4)
    s = statistics(observed, members)
    empty = statistics(observed, members, mask=np.zeros(observed.shape, bool))
    np.testing.assert_array_equal(values(s + empty), values(s))


@pytest.mark.parametrize("members", [1, 2, 9, 50])
def test_crps_of_an_independent_library(members):
    xs = pytest.importorskip("xskillscore")
    observed, x = sample(5, members=members)
    theirs = xs.crps_ensemble(
        xr.DataArray(observed, dims=("unit", "record")), xr.DataArray(x, dims=("unit", "member", "record")), dim=[]
    )
    np.testing.assert_allclose(crps(observed, x, fair=False), theirs.values, rtol=1e-10, atol=1e-12)


def test_scores_of_an_independent_library():
    xs = pytest.importorskip("xskillscore")
    observed, x = sample(6)
    o, p = (xr.DataArray(a, dims=("unit", "record")) for a in (observed, x.mean(axis=1)))
    s = statistics(observed, x)
    for ours, theirs in ((scores.r, xs.pearson_r), (scores.rmse, xs.rmse)):
        np.testing.assert_allclose(ours(s), theirs(o, p, "record").values, rtol=1e-10)
    # xskillscore's "r2" is the coefficient of determination of the prediction as it is, the NSE
    np.testing.assert_allclose(scores.nse(s), xs.r2(o, p, "record").values, rtol=1e-10)
    np.testing.assert_allclose(-scores.bias(s), xs.me(o, p, "record").values, rtol=1e-9, atol=1e-12)


def test_fair_crps_by_its_definition():
    observed, x = sample(7, units=2, members=6, records=5)
    pairs = np.abs(x[:, :, None] - x[:, None]).sum(axis=(1, 2))
    expected = np.abs(x - observed[:, None]).mean(axis=1) - pairs / (2 * 6 * 5)
    np.testing.assert_allclose(crps(observed, x), expected, rtol=1e-12)


def test_crps_of_one_member_is_the_absolute_error():
    observed, x = sample(8, members=1)
    s = statistics(observed, x)
    np.testing.assert_allclose(scores.crps(s), np.abs(x[:, 0] - observed).mean(axis=1), rtol=1e-14)
    assert np.isnan(scores.coverage90(s)).all()


def test_fair_crps_does_not_depend_on_the_size_of_the_ensemble():
    random = np.random.default_rng(9)
    observed = random.normal(size=(1, 200_000))
    exact = 1 / np.sqrt(np.pi)  # CRPS of N(0, 1) against its own draws
    for members in (2, 5, 20):
        fair = crps(observed, random.normal(size=(1, members, 200_000)), fair=True)
        assert abs(fair.mean() - exact) < 4 * fair.std() / np.sqrt(fair.size)


@pytest.mark.parametrize("members", [2, 5, 10, 18, 19, 20, 30, 50])
def test_interval_of_a_calibrated_ensemble_covers_its_level(members):
    random = np.random.default_rng(10)
    records = 60_000
    observed = random.normal(size=(1, records))
    s = statistics(observed, random.normal(size=(1, members, records)))
    # 4 standard errors, and half a percent for interpolating between order statistics of a curved distribution
    assert abs(scores.coverage90(s)[0] - 0.9) < 4 * np.sqrt(0.09 / records) + 0.005


def test_interval_shows_a_narrow_ensemble():
    random = np.random.default_rng(11)
    observed = random.normal(size=(1, 5000))
    for members in (8, 50):
        s = statistics(observed, 0.5 * random.normal(size=(1, members, 5000)))
        assert scores.coverage90(s)[0] < 0.75


def test_interval_is_the_members_own_quantiles_for_any_distribution():
    random = np.random.default_rng(12)
    lower, upper = central_interval(random.exponential(size=(1, 4999, 3)))
    np.testing.assert_allclose(lower, -np.log(0.95), rtol=0.2)
    np.testing.assert_allclose(upper, -np.log(0.05), rtol=0.1)


@pytest.mark.parametrize("members", [1, 4, 9, 50])
def test_pit_is_uniform_for_a_calibrated_ensemble_of_any_size(members):
    random = np.random.default_rng(13)
    rank = ranks(random.normal(size=40_000), random.normal(size=(members, 40_000)))
    at = np.linspace(0, 1, 41)
    np.testing.assert_allclose(pit_distribution(rank, members, at), at, atol=0.012)


def test_pit_of_a_narrow_ensemble_is_a_bowl():
    random = np.random.default_rng(14)
    rank = ranks(random.normal(size=5000), 0.4 * random.normal(size=(20, 5000)))
    density = np.diff(pit_distribution(rank, 20, np.linspace(0, 1, 11))) * 10
    assert density[0] > 2 and density[-1] > 2 and density[4:6].max() < 0.7
    assert np.isclose(density.sum(), 10)


def test_ties_share_their_rank():
    assert ranks(np.zeros(1), np.array([[-1.0], [0.0], [0.0], [2.0]])) == 2.0


def test_rmse_over_uncertainty_of_errors_of_that_size():
    random = np.random.default_rng(14)
    sigma = np.array([[2.0], [10.0]]) * np.ones((2, 20_000))
    observed = random.normal(size=sigma.shape)
    s = statistics(observed, (observed + sigma * random.normal(size=sigma.shape))[:, None], uncertainty=sigma)
    np.testing.assert_allclose(scores.rmse_over_uncertainty(s), 1, atol=0.03)
    assert np.isnan(scores.rmse_over_uncertainty(statistics(observed, observed[:, None]))).all()
