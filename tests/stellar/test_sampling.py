import numpy as np
import pytest
import torch

from sciml.core.errors import InputError
from sciml.stellar.broadening import frequencies, instrument, pixel
from sciml.stellar.sampling import PixelGrid, Sampler
from sciml.stellar.wavelengths import GRID, SPEED_OF_LIGHT, LogGrid

SMALL = LogGrid(5100.0, 2.5e-6, 4000)


def lines(seed: int = 0) -> np.ndarray:
    """Flux on SMALL with narrow saturated lines, none near an end."""
    draws = np.random.default_rng(seed)
    velocity = np.arange(SMALL.size) * SMALL.velocity_step
    depth = sum(
        strength * np.exp(-0.5 * ((velocity - at) / 1.6) ** 2)
        for at, strength in zip(draws.uniform(450, 2550, 60), draws.exponential(1.0, 60), strict=True)
    )
    return np.exp(-depth)


def small_pixels(count: int = 900) -> PixelGrid:
    start = np.array([[5105.0], [5115.0]])
    return PixelGrid(start + np.cumsum(np.linspace(0.0145, 0.0120, count))[None], 115_000.0)


def parameters(vsini: list[float], vmac: float = 0.0) -> torch.Tensor:
    made = torch.zeros(len(vsini), 7)
    made[:, 3], made[:, 6] = torch.tensor(vsini), vmac
    return made


def dense(fourier: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """The band-limited function itself at any wavelength: 64 times as many samples, then linear."""
    many = np.zeros(32 * SMALL.size + 1, complex)
    many[: len(fourier)] = fourier
    values = np.fft.irfft(many) * 64
    return np.interp(SMALL.position(wave) * 64, np.arange(len(values)), values)


def test_samples_against_dense_transform() -> None:
    pixels = PixelGrid(5105.0 * np.exp(2.7e-6 * np.arange(1800)).reshape(2, -1), 115_000.0)
    fourier = np.fft.rfft(lines())
    f = torch.from_numpy(frequencies(SMALL))
    blurred = fourier * (instrument(f, 115_000.0) * pixel(f, 2.7e-6 * SPEED_OF_LIGHT)).numpy()
    found = Sampler(pixels, SMALL).observe(
        torch.from_numpy(fourier[None]).to(torch.complex64), parameters([0.0]), torch.tensor([0.6])
    )
    assert found.shape == (1, *pixels.shape)
    np.testing.assert_allclose(found[0].numpy(), dense(blurred, pixels.wave), atol=1e-4)


@pytest.mark.parametrize("grows", [0.0, 8e-6])
def test_pixels_hold_means_over_their_own_width(grows: float) -> None:
    """Against quadrature of the instrument's Gaussian and the pixel's box in wavelength."""
    steps = 0.0105 + grows * np.arange(1000)
    pixels = PixelGrid(5107.0 + np.cumsum(steps)[None], 115_000.0)
    deviation, found, expected = 0.025, 0.0, 0.0
    for centre in (5108.0, 5112.0, 5117.0):
        depth = 0.8 * np.exp(-0.5 * ((SMALL.wave - centre) / deviation) ** 2)
        blur = np.hypot(deviation, centre / 115_000 / 2.3548200450309493)
        places = pixels.wave[0][:, None] + steps[:, None] * np.linspace(-0.5, 0.5, 201)
        expected += 0.8 * (deviation / blur * np.exp(-0.5 * ((places - centre) / blur) ** 2)).mean(1)
        fourier = torch.fft.rfft(torch.from_numpy(depth[None]).float())
        found += Sampler(pixels, SMALL).observe(fourier, parameters([0.0]), torch.tensor([0.6]))[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_area_of_a_line_does_not_depend_on_rotation() -> None:
    pixels = PixelGrid(np.exp(np.linspace(np.log(5105.0), np.log(5145.0), 4000))[None], 115_000.0)
    fourier = torch.fft.rfft(torch.from_numpy(1 - lines()[None]).float()).expand(3, -1)
    found = Sampler(pixels, SMALL).observe(fourier, parameters([0.0, 5.0, 30.0], 4.0), torch.full((3,), 0.6))
    area = found.sum((1, 2))
    torch.testing.assert_close(area, area[:1].expand(3), rtol=1e-4, atol=0)


def test_a_receding_star_is_a_star_at_rest_seen_at_shorter_wavelengths() -> None:
    pixels, rv = small_pixels(), 40.0
    rest = PixelGrid(pixels.wave / (1 + rv / SPEED_OF_LIGHT), 115_000.0)
    fourier = torch.fft.rfft(torch.from_numpy(lines()[None]).float())
    star, epsilon = parameters([4.0]), torch.tensor([0.6])
    moving = Sampler(pixels, SMALL).observe(fourier, star, epsilon, torch.tensor([rv]))
    torch.testing.assert_close(moving, Sampler(rest, SMALL).observe(fourier, star, epsilon), rtol=0, atol=2e-4)


def test_stars_of_a_batch_do_not_mix() -> None:
    fourier = torch.fft.rfft(torch.from_numpy(np.stack([lines(1), lines(2)])).float())
    sampler, epsilon, rv = Sampler(small_pixels(), SMALL), torch.tensor([0.3, 0.8]), torch.tensor([3.0, -20.0])
    stars = parameters([2.0, 17.0], 3.0)
    both = sampler.observe(fourier, stars, epsilon, rv)
    for n in range(2):
        alone = sampler.observe(fourier[n : n + 1], stars[n : n + 1], epsilon[n : n + 1], rv[n : n + 1])
        torch.testing.assert_close(both[n : n + 1], alone, rtol=0, atol=1e-6)


def test_highest_frequencies_may_be_left_out() -> None:
    fourier = torch.fft.rfft(torch.from_numpy(lines()[None]).float())
    sampler, star, epsilon = Sampler(small_pixels(), SMALL), parameters([0.0]), torch.tensor([0.6])
    enough = int((frequencies(SMALL) < 0.5).sum())
    assert enough < 0.8 * fourier.shape[1]
    whole, part = (sampler.observe(one, star, epsilon) for one in (fourier, fourier[:, :enough]))
    torch.testing.assert_close(part, whole, rtol=0, atol=1e-4)


def test_pixels_off_the_grid_are_masked_and_finite() -> None:
    pixels = PixelGrid(np.linspace(5090.0, 5180.0, 800).reshape(2, -1), 115_000.0)
    sampler = Sampler(pixels, SMALL)
    flux = sampler.observe(torch.fft.rfft(torch.ones(1, SMALL.size)), parameters([1.0]), torch.tensor([0.6]))
    assert flux.isfinite().all()
    inside = (pixels.wave > 5102.0) & (pixels.wave < SMALL.wave[-1] - 2.0)
    covered = sampler.covered.numpy()
    assert covered[inside].all()
    assert not covered[(pixels.wave < SMALL.start) | (pixels.wave > SMALL.wave[-1])].any()
    moved = sampler.covered_at(torch.tensor([300.0]))[0].numpy()
    lost = pixels.wave < 5100.0 * (1 + 300 / SPEED_OF_LIGHT)
    assert covered[lost].any() and not moved[lost].any()


def test_forward_and_backward_derivatives_agree() -> None:
    fourier = torch.fft.rfft(torch.from_numpy(lines()[None]).float())
    sampler = Sampler(PixelGrid(5110.0 + 0.0137 * np.arange(40)[None], 115_000.0), SMALL)

    def flux(star: torch.Tensor) -> torch.Tensor:
        seen = sampler.observe(fourier, parameters([0.0]) + star[:7], star[7:8], star[8:9])
        return seen.flatten()

    at = torch.tensor([0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 2.0, 0.6, 1.0])
    forward, backward = torch.func.jacfwd(flux)(at), torch.func.jacrev(flux)(at)
    assert forward[:, [3, 6, 7, 8]].abs().amax(0).min() > 1e-4
    torch.testing.assert_close(forward, backward, rtol=1e-3, atol=1e-5)


def test_geometry_of_harps_n(real_data) -> None:
    with np.load(real_data / "stellar" / "harpsn_geometry.npz") as found:
        pixels = PixelGrid(found["wave"], 115_000.0)
    assert 0.6 < pixels.widths.min() < 0.82 < pixels.widths.max() < 1.0
    sampler = Sampler(pixels)
    assert sampler.covered.all()
    assert sampler.covered_at(torch.tensor([-200.0, 200.0])).all()
    assert sampler.size == GRID.size


@pytest.mark.parametrize(
    ("wave", "power", "says"),
    [
        (np.linspace(5000, 5001, 10), 1e5, "shape"),
        (np.array([[5000.0, 5001.0, np.nan]]), 1e5, "do not rise at pixel 1"),
        (np.array([[5000.0, 5001.0], [5003.0, 5002.0]]), 1e5, "order 1"),
        (np.array([[5000.0, 5001.0]]), 0.0, "resolving power"),
    ],
)
def test_impossible_pixels_are_refused(wave: np.ndarray, power: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        PixelGrid(wave, power)
