import numpy as np
import pytest
import torch
from scipy.integrate import quad

from sciml.stellar.broadening import Broadening, frequencies, instrument, macroturbulence, pixel, rotation
from sciml.stellar.wavelengths import GRID, SPEED_OF_LIGHT, LogGrid

SMALL = LogGrid(5020.0, 2.5e-6, 3000)


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gray_rotation(v: float, vsini: float, epsilon: float) -> float:
    """Gray 2005, eq. 18.14."""
    disk = max(1 - (v / vsini) ** 2, 0.0)
    return (2 * (1 - epsilon) * np.sqrt(disk) + np.pi / 2 * epsilon * disk) / (np.pi * vsini * (1 - epsilon / 3))


def gray_macroturbulence(v: float, zeta: float) -> float:
    """Gray 2005, eq. 17.6 with A_R = A_T = 1 / 2."""
    integral = quad(lambda u: np.exp(-1 / u**2) if u else 0.0, 0, zeta / abs(v))[0]
    return 2 * abs(v) / (np.sqrt(np.pi) * zeta**2) * integral


@pytest.mark.parametrize("epsilon", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("vsini", [2.0, 30.0])
def test_rotation_is_the_transform_of_grays_profile(vsini: float, epsilon: float) -> None:
    for frequency in (0.0, 0.011, 0.06, 0.2, 0.6):
        turn = 2 * np.pi * frequency
        expected = 2 * quad(gray_rotation, 0, vsini, (vsini, epsilon), weight="cos", wvar=turn)[0]
        found = rotation(doubles(frequency), doubles(vsini), doubles(epsilon))
        assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("zeta", [0.7, 8.0])
def test_macroturbulence_is_the_transform_of_grays_profile(zeta: float) -> None:
    for frequency in (0.0, 0.01, 0.08, 0.3):
        turn = 2 * np.pi * frequency
        expected = 2 * quad(gray_macroturbulence, 1e-9, 6 * zeta, (zeta,), weight="cos", wvar=turn)[0]
        assert macroturbulence(doubles(frequency), doubles(zeta)).item() == pytest.approx(expected, abs=2e-6)


def test_variances_of_profiles() -> None:
    """The transform of a profile is 1 - 2 (pi f)^2 variance near 0."""
    f, zeta, vsini, width = doubles(1e-4), 5.0, 20.0, 3.0

    def variance(factor: torch.Tensor) -> float:
        return ((1 - factor) / (2 * (np.pi * f) ** 2)).item()

    assert variance(macroturbulence(f, doubles(zeta))) == pytest.approx(zeta**2 / 4, rel=1e-3)
    assert variance(rotation(f, doubles(vsini), doubles(0.0))) == pytest.approx(vsini**2 / 4, rel=1e-3)
    assert variance(rotation(f, doubles(vsini), doubles(1.0))) == pytest.approx(vsini**2 / 5, rel=1e-3)
    assert variance(pixel(f, width)) == pytest.approx(width**2 / 12, rel=1e-3)
    fwhm = SPEED_OF_LIGHT / 115_000
    assert variance(instrument(f, 115_000.0)) == pytest.approx(fwhm**2 / (8 * np.log(2)), rel=1e-3)


def test_gaussian_instruments_add_in_quadrature() -> None:
    f = torch.from_numpy(frequencies())
    both = 1 / np.sqrt(1 / 115_000**2 + 1 / 47_000**2)
    torch.testing.assert_close(instrument(f, 115_000.0) * instrument(f, 47_000.0), instrument(f, both))


def test_factors_between_computed_frequencies() -> None:
    f = torch.from_numpy(frequencies())
    vsini, vmac, epsilon = doubles(0.0, 3.0, 12.0, 30.0), doubles(8.0, 0.0, 3.0, 0.0), doubles(0.6, 0.3, 1.0, 0.0)
    exact = rotation(f, vsini[:, None], epsilon[:, None]) * macroturbulence(f, vmac[:, None])
    found = Broadening(115_000.0).double().stars(vsini, vmac, epsilon)
    assert found.shape == exact.shape
    assert (found - exact).abs().max() < 1e-5


def test_nothing_widens_nothing() -> None:
    zero = torch.zeros(1)
    assert torch.equal(Broadening(115_000.0).stars(zero, zero, zero + 0.6), torch.ones(1, len(frequencies())))


@pytest.mark.parametrize("widening", ["vsini", "vmac"])
def test_a_line_against_direct_convolution(widening: str) -> None:
    """A Gaussian line convolved with Gray's profile by quadrature on velocities."""
    velocity = (np.arange(SMALL.size) - SMALL.size // 2) * SMALL.velocity_step
    line = np.exp(-0.5 * (velocity / 2.5) ** 2)
    fine = np.linspace(-40, 40, 8001)[1:-1:2]
    if widening == "vsini":
        kernel = np.array([gray_rotation(v, 15.0, 0.6) for v in fine])
        arguments = doubles(15.0), doubles(0.0)
    else:
        kernel = np.array([gray_macroturbulence(v, 6.0) for v in fine[::4]])
        fine, arguments = fine[::4], (doubles(0.0), doubles(6.0))
    places = velocity[1400:1600]
    expected = np.exp(-0.5 * ((places[:, None] - fine) / 2.5) ** 2) @ kernel * (fine[1] - fine[0])
    factor = Broadening(115_000.0, 0.0, SMALL).double().stars(*arguments, doubles(0.6))
    found = np.fft.irfft(np.fft.rfft(line) * factor[0].numpy(), n=SMALL.size)[1400:1600]
    assert np.abs(found - expected).max() < 2e-4


def test_shift_by_whole_samples_is_a_roll() -> None:
    flux = np.random.default_rng(1).random(GRID.size)
    samples = 137
    rv = SPEED_OF_LIGHT * np.expm1(samples * GRID.step)
    phase = Broadening(115_000.0).double().phase(doubles(rv, -0.0))
    moved = np.fft.irfft(np.fft.rfft(flux) * phase[0].numpy(), n=GRID.size)
    np.testing.assert_allclose(moved, np.roll(flux, samples), atol=1e-7)
    np.testing.assert_allclose(phase[1].numpy(), 1.0)


def test_shifts_compose() -> None:
    made = Broadening(115_000.0).double()
    there, back = doubles(50.0), SPEED_OF_LIGHT * (1 / (1 + doubles(50.0) / SPEED_OF_LIGHT) - 1)
    torch.testing.assert_close(made.phase(there) * made.phase(back), torch.ones_like(made.phase(there)))


def test_gradients_against_differences() -> None:
    made = Broadening(115_000.0, 0.8, SMALL).double()

    def flux(vsini: torch.Tensor, vmac: torch.Tensor, epsilon: torch.Tensor, rv: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(made(vsini, vmac, epsilon, rv), n=SMALL.size)[:, :20]

    at = [value.requires_grad_() for value in (doubles(7.3), doubles(3.0), doubles(0.6), doubles(11.0))]
    assert torch.autograd.gradcheck(flux, at, atol=1e-5)


def test_gradients_are_finite_and_vanish_at_rest() -> None:
    vsini, vmac = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    Broadening(115_000.0)(vsini, vmac, torch.full((1,), 0.6)).sum().backward()
    assert vsini.grad is not None and vsini.grad.item() == 0.0
    assert vmac.grad is not None and vmac.grad.item() == 0.0
