"""Deleted pixels: which they are, and what they do to networks whose attention is known."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sciml.stellar.attention import AttentionConfig, AttentionNet
from sciml.stellar.attention_check import DELETED, DRAWS, deleted, deletion_scores, errors
from sciml.stellar.attention_page import deletion_table, verdict
from sciml.stellar.labels import LABELS

SHAPE = (4, 200)


@dataclass(frozen=True)
class Planted:
    """Labels are means of flux over some pixels of all; attention is given."""

    used: np.ndarray
    attention: np.ndarray

    def __call__(self, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = np.where(mask, flux, 1.0)[:, self.used].mean(1)
        return np.repeat(seen[:, None], len(LABELS), 1), np.zeros((len(flux), 4, 4))

    def maps(self, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.attention, (len(flux), 3, *SHAPE))


def scores(attention: np.ndarray, used: np.ndarray) -> dict:
    rng = np.random.default_rng(3)
    flux = 0.7 + 0.2 * rng.random((60, *SHAPE))
    truth = np.repeat(flux[:, used].mean(1)[:, None], 4, 1) + rng.normal(0, 0.01, (60, 4))
    found = errors(Planted(used, attention), flux, np.full(60, 20.0), np.ones(flux.shape, bool), truth, list(range(60)))
    return deletion_scores(found, np.repeat(np.arange(30), 2), resamples=200)


def planted() -> tuple[np.ndarray, np.ndarray]:
    used = np.zeros(SHAPE, bool)
    used[1, 50:70] = used[3, 10:40] = True
    attention = np.where(used, 1.0, 0.01)
    return used, attention / attention.sum()


def test_attention_on_what_is_used_hurts_and_attention_elsewhere_does_not() -> None:
    used, attention = planted()
    right, wrong = scores(attention, used), scores(np.roll(attention, 100, 1), used)
    for label in LABELS:
        assert right[f"deletion_ratio_{label}_ci"][0] > 2.0
        assert wrong[f"deletion_ratio_{label}_ci"][1] < 1.0
    assert "surely" not in verdict({"attention": right}) and "rests on" not in verdict({"attention": right})
    assert "less for" in verdict({"attention": wrong}) and "rests on" in verdict({"attention": wrong})
    assert len(deletion_table({"attention": right, "dae_attention": wrong}).rows) == 8


def test_even_attention_hurts_as_much_as_chance() -> None:
    even = scores(np.full(SHAPE, 1 / np.prod(SHAPE)), np.ones(SHAPE, bool))
    for label in LABELS:
        assert even[f"deletion_ratio_{label}"] == pytest.approx(1.0, abs=0.02)


def test_as_many_pixels_of_each_order_in_the_same_runs_and_none_that_was_missing() -> None:
    rng = np.random.default_rng(1)
    attention, mask = np.repeat(rng.random((4, 50)), 4, 1), rng.random(SHAPE) > 0.2
    gone = deleted(attention, mask, 5)
    assert gone.shape == (1 + DRAWS, *SHAPE) and not (gone & ~mask).any()
    assert gone[0].sum() == round(DELETED * mask.sum())
    assert attention[gone[0]].min() >= np.sort(attention[mask])[-gone[0].sum()]
    assert (gone.sum(2) == gone[0].sum(1)).all()
    for case in gone:
        for row in range(4):
            kept = [part[row, mask[row]] for part in (gone[0], case)]
            ends = [(np.diff(np.append(part, part[0]).astype(int)) == 1).sum() for part in kept]
            assert ends[0] == ends[1]
    assert len({case.tobytes() for case in gone}) == 1 + DRAWS
    assert np.array_equal(gone, deleted(attention, mask, 5))
    assert not np.array_equal(gone, deleted(attention, mask, 6))


def test_maps_of_the_network_sum_to_one() -> None:
    torch.manual_seed(1)
    network = AttentionNet(3, 64, AttentionConfig((4, 4, 8, 8), stride=2, between=4, stretches=4, dense=8)).eval()
    with torch.no_grad():
        maps = network.maps(torch.rand(5, 3, 64), torch.ones(5, 3, 64, dtype=torch.bool))
    assert torch.allclose(maps.sum((2, 3)), torch.ones(5, 3), atol=1e-5)
