"""Wavelengths: media, velocities, and what counts as a spectrum."""

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.spectrum import (
    LIGHT,
    Spectrum,
    air_to_vacuum,
    checked,
    cut,
    refraction,
    shifted,
    to_rest,
    vacuum_to_air,
)

WAVE = np.linspace(5000.0, 5420.0, 4200)[None]


def made(flux: np.ndarray | None = None, **changes: object) -> Spectrum:
    rng = np.random.default_rng(0)
    values = 1.0 - 0.3 * rng.random(WAVE.shape) if flux is None else flux
    return Spectrum(**({"name": "s", "wave": WAVE, "flux": values, "sigma": None, "resolving_power": 1e5} | changes))  # type: ignore[arg-type]


def test_air_and_vacuum_are_each_others_inverse() -> None:
    wave = np.linspace(3800.0, 6900.0, 500)
    np.testing.assert_allclose(vacuum_to_air(air_to_vacuum(wave)), wave, rtol=1e-13)


def test_refraction_agrees_with_another_formula_and_with_measured_lines() -> None:
    vacuum = np.linspace(4000.0, 7000.0, 301)
    s2 = (1e4 / vacuum) ** 2  # Birch and Downs 1994, as Morton 2000 gives it
    morton = 8.34254e-5 + 2.406147e-2 / (130 - s2) + 1.5998e-4 / (38.9 - s2)
    np.testing.assert_allclose(refraction(vacuum), morton, atol=2e-8)  # 6 m/s
    assert vacuum_to_air(np.array(5891.583264)) == pytest.approx(5889.950954, abs=2e-4)  # Na D2
    assert vacuum_to_air(np.array(6564.614)) == pytest.approx(6562.801, abs=2e-3)  # H alpha


def test_a_velocity_shifts_and_rest_takes_it_back() -> None:
    moved = shifted(WAVE, 54.0)
    np.testing.assert_allclose(LIGHT * (moved / WAVE - 1), 54.0, rtol=1e-9)
    np.testing.assert_allclose(to_rest(made(wave=moved), 54.0).wave, WAVE, rtol=1e-14)


def test_bad_pixels_are_masked_counted_and_told() -> None:
    flux = np.full(WAVE.shape, 2.0) + np.linspace(0, 1, WAVE.size)
    flux[0, [700, 800, 900]] = np.nan, -1.0, 0.0
    found = checked(made(flux), "f")
    assert np.flatnonzero(~found.good[0]).tolist() == [700, 800, 900]
    assert found.notes[-1].startswith("3 not positive or not a number of ")


def test_a_bad_sigma_masks_its_pixel() -> None:
    sigma = np.full(WAVE.shape, 0.1)
    sigma[0, 1000] = 0.0
    found = checked(made(sigma=sigma), "f")
    assert np.flatnonzero(~found.good[0]).tolist() == [1000]


def test_cutting_keeps_a_margin() -> None:
    found = cut(made(), "f")
    assert found.wave[0, 0] == pytest.approx(5010, abs=0.1)
    assert found.wave[0, -1] == pytest.approx(5412, abs=0.1)
    assert found.flux.shape == found.wave.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flux": np.ones((1, 3))}, r"found shape \(1, 3\), expected that of the wavelengths"),
        ({"wave": WAVE[:, ::-1]}, r"wavelengths do not rise: found 5420.0000 and then 5419"),
        ({"wave": WAVE + 1000}, r"found 6000.0 .. 6420.0 A, expected some within 5020 .. 5402 A"),
        ({"wave": WAVE - 370}, r"found 300 pixels within 5020 .. 5402 A, expected 500"),
        ({"flux": np.full(WAVE.shape, 7.0)}, "every pixel holds 7: a flat line"),
        ({"resolving_power": float("nan")}, "resolving power unknown"),
        ({"flux": np.where(WAVE < 5250, np.nan, WAVE)}, r"6\d % of the \d+ pixels in 5020 .. 5402 A cannot be used"),
    ],
)
def test_what_is_no_spectrum_is_refused(changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(made(**changes), "f")  # type: ignore[arg-type]
