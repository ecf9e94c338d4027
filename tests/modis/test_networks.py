"""Networks learn a planted relation, are as large as they should be, and are the same bits when made again."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from sciml.modis import degradation
from sciml.modis.config import NETWORK_SETTINGS, ModisConfig
from sciml.modis.images import Images
from sciml.modis.interpolation import bicubic, bilinear
from sciml.modis.networks import NETWORKS, OURS, WITH_MEMORY, Asked, Settings, new_network, train_network

SIZE = 32
TINY = {
    "vdsr": Settings(16, 4, 1, 10, 4, 2e-3, "cosine", 0.0),
    "dmcn": Settings(8, 2, 1, 10, 4, 2e-3, "cosine", 0.0),
    "mrunet": Settings(4, 0, 1, 12, 4, 6e-3, "cosine", 0.0),
    OURS: Settings(16, 1, 1, 8, 4, 3e-3),
    WITH_MEMORY: Settings(16, 1, 1, 8, 4, 3e-3),
}


def made(count: int, seed: int, guided: bool = False, contrast: float = 3.0) -> Images:
    """Plaids of waves of 11 to 16 pixels, which interpolation flattens and a network can sharpen.

    guided: the detail is that of NDVI instead, -6 K x NDVI, which no temperature shows.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    wave = rng.uniform(11, 16, (2, count, 1, 1))
    phase = rng.uniform(0, 2 * np.pi, (2, count, 1, 1))
    plaid = np.sin(2 * np.pi * x / wave[0] + phase[0]) + np.sin(2 * np.pi * y / wave[1] + phase[1])
    ndvi = np.full((count, SIZE, SIZE), np.nan)
    lst = 290 - 20 * np.log2(contrast / 3) + contrast * plaid
    if guided:
        ndvi = 0.5 + 0.2 * rng.uniform(-1, 1, (count, SIZE, SIZE))
        lst = 290 + 0.5 * plaid - 6 * ndvi
    date = np.datetime64("2020-01-01") + np.arange(count)
    return Images(lst, ndvi, date, np.ones(count, bool), np.arange(count), 926.6, "planted")


def rmse(fine: np.ndarray, images: Images) -> float:
    return float(np.sqrt(np.mean((fine - images.lst) ** 2)))


@pytest.mark.parametrize("name", ["vdsr", "dmcn", "mrunet", OURS])
def test_each_learns_what_interpolation_flattens(name: str) -> None:
    settings, test = TINY[name], made(16, seed=1)
    state = train_network(name, made(64, seed=0), settings, 4, seed=0)
    coarse = degradation.box_t4(test.lst, 4)
    fine, sigma = Asked(name, settings, [state], 4)(coarse, 4, test.guidance())
    start = bicubic if name == OURS else bilinear

    assert rmse(fine, test) < 0.9 * rmse(start(coarse, 4)[0], test)
    assert (sigma > 0).all() and sigma.shape == fine.shape == test.lst.shape


def test_ours_learns_from_guidance_what_it_cannot_see() -> None:
    settings, test = replace(TINY[OURS], epochs=15), made(16, seed=1, guided=True)
    state = train_network(OURS, made(48, seed=0, guided=True), settings, 4, seed=0)
    coarse = degradation.box_t4(test.lst, 4)
    asked = Asked(OURS, settings, [state], 4)
    guided, blind = (asked(coarse, 4, g)[0] for g in (test.guidance(), None))
    assert rmse(guided, test) < 0.8 * rmse(blind, test)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_twice_and_others_for_another_seed(name: str) -> None:
    settings, images = replace(TINY[name], epochs=2), made(8, seed=0, guided=True)
    memory = np.zeros(images.lst.shape, np.float32) if name == WITH_MEMORY else None
    once, twice, other = (train_network(name, images, settings, 4, seed, memory)["model"] for seed in (3, 3, 4))
    assert all(torch.equal(once[key], twice[key]) for key in once)
    assert any(not torch.equal(once[key], other[key]) for key in once)


def test_sizes_of_the_papers_networks() -> None:
    def millions(name: str) -> float:
        settings = NETWORK_SETTINGS["paper"][name]
        return sum(p.numel() for p in new_network(name, settings, 4).parameters()) / 1e6

    assert millions("mrunet") == pytest.approx(45, abs=1)
    assert millions("vdsr") == pytest.approx(0.665, abs=0.01)
    assert millions(OURS) < 45 / 20


def test_settings_of_the_paper_and_those_that_are_told() -> None:
    paper = ModisConfig.parse(["--preset", "paper", "--patches", "x.nc"])
    assert asdict(paper.settings("mrunet")) | {"schedule": "drop", "learning_rate": 1e-4, "batch_size": 32} == asdict(
        paper.settings("mrunet")
    )
    told = ModisConfig.parse(["--epochs", "2", "--members", "3"])
    assert (told.settings(OURS).epochs, told.settings(OURS).members) == (2, 3)
    assert (told.settings("vdsr").epochs, told.settings("vdsr").members) == (2, 1)


def test_members_and_positions_are_averaged_and_the_input_is_kept() -> None:
    images = made(3, seed=2, guided=True)
    settings = TINY[OURS]
    states = [train_network(OURS, images, replace(settings, epochs=2), 4, seed) for seed in (0, 1)]
    coarse, guidance = degradation.box_t4(images.lst, 4), images.guidance()
    both = Asked(OURS, settings, states, 4)(coarse, 4, guidance)[0]
    each = [Asked(OURS, settings, [state], 4)(coarse, 4, guidance)[0] for state in states]
    np.testing.assert_allclose(both, np.mean(each, axis=0), atol=2e-3)
    for turns in (1, 8):
        fine = Asked(OURS, settings, states, 4, turns)(coarse, 4, guidance)[0]
        np.testing.assert_allclose(degradation.box_t4(fine, 4), coarse, atol=1e-9)


def test_all_positions_make_the_answer_turn_with_the_image() -> None:
    images = made(2, seed=2, guided=True)
    state = train_network(OURS, images, replace(TINY[OURS], epochs=2), 4, seed=0)
    coarse, guidance = degradation.box_t4(images.lst, 4), images.guidance()
    difference = {}
    for turns in (1, 8):
        asked = Asked(OURS, TINY[OURS], [state], 4, turns)
        straight = asked(coarse, 4, guidance)[0]
        upright = replace(guidance, ndvi=guidance.ndvi.swapaxes(1, 2))
        difference[turns] = np.abs(asked(coarse.swapaxes(1, 2), 4, upright)[0].swapaxes(1, 2) - straight).max()
    assert difference[8] < 1e-3 and difference[1] > 10 * difference[8]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_missing_input_stays_missing_and_the_rest_is_answered(name: str) -> None:
    settings, images = TINY[name], made(2, seed=0)
    coarse = degradation.box_t4(images.lst, 4)
    coarse[0, 2:4, 3] = np.nan
    state = {
        "model": new_network(name, settings, 4).state_dict(),
        "scaling": {"mean": torch.tensor(290.0), "deviation": torch.tensor(10.0)},
    }
    fine, sigma = Asked(name, settings, [state], 4)(coarse, 4, images.guidance())
    expected = degradation.replicate(np.isnan(coarse), 4)
    np.testing.assert_array_equal(np.isnan(fine), expected)
    np.testing.assert_array_equal(np.isnan(sigma), expected)


def test_an_image_with_a_hole_trains_without_it() -> None:
    """What would stand in a hole changes no parameter; the other networks' weights are 0 there too."""
    images = made(8, seed=0)
    found = []
    for stand_in in (np.nan, np.inf):
        lst = images.lst.copy()
        lst[:, 4:9, 7:12] = stand_in
        for name in (OURS, "vdsr"):
            if np.isinf(stand_in) and name == "vdsr":
                continue  # its largest temperature would be infinite
            state = train_network(name, replace(images, lst=lst), replace(TINY[name], epochs=1), 4, seed=0)
            assert all(torch.isfinite(x).all() for x in state["model"].values())
            found.append((name, state["model"]))
    ours = [model for name, model in found if name == OURS]
    assert all(torch.equal(ours[0][key], ours[1][key]) for key in ours[0])


def test_a_network_learns_the_scanner_it_is_told_of() -> None:
    """Trained on images that the scanner blurred and asked about such: better than one trained on plain means."""
    train, test, settings = made(64, seed=0), made(16, seed=1), replace(TINY[OURS], epochs=15)
    seen = degradation.mtf(test.lst, 4)
    error = {}
    for name in ("box_t4", "mtf"):
        state = train_network(OURS, train, settings, 4, seed=0, degradation=name)
        asked = Asked(OURS, settings, [state], 4, turns=8, degradation=name)
        error[name] = rmse(asked(seen, 4, test.guidance())[0], test)
    assert error["mtf"] < 0.8 * error["box_t4"]
