"""Velocities: planted ones are found with honest errors; what has none is flagged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter1d

from sciml.core.errors import InputError
from sciml.data.readers.spectra import read_spectra
from sciml.data.spectrum import LIGHT, Spectrum, air_to_vacuum, shifted
from sciml.stellar.velocity import find_velocity, line_template, vacuum_offset
from sciml.stellar.wavelengths import GRID
from tests.data.readers.spectrum_fixtures import line_list, star, write_e2ds

TEMPLATE = star(GRID.wave)


def observed(rv: float, snr: float, seed: int = 0, *, orders: int = 3) -> Spectrum:
    """Orders of the planted star, bent by a blaze and a slope, with white noise."""
    edges = np.linspace(5030.0, 5390.0, orders + 1)
    wave = np.stack([np.linspace(edges[k], edges[k] + 55.0, 4096) for k in range(orders)])
    x = np.linspace(-1, 1, 4096)
    clean = star(wave, rv) * (1 + 0.3 * x - 0.5 * x**2) * np.arange(1.0, orders + 1)[:, None] * 700
    sigma = np.full(wave.shape, 700 / snr) * np.arange(1.0, orders + 1)[:, None]
    noise = np.random.default_rng(seed).normal(size=wave.shape) * sigma
    return Spectrum("planted", wave, clean + noise, sigma, 1e6)


@pytest.mark.parametrize("rv", [-280.0, -83.0, 0.0, 0.3, 54.26, 250.0])
def test_planted_velocities_are_found_through_blaze_and_slope(rv: float) -> None:
    found = find_velocity(observed(rv, 200.0), TEMPLATE, expected=rv)
    assert found.rv == pytest.approx(rv, abs=0.02)
    assert found.flags == ()
    assert found.depth == pytest.approx(1.0, abs=0.1)


def test_the_error_is_that_of_the_noise() -> None:
    pulls = []
    for seed in range(25):
        found = find_velocity(observed(12.0, 15.0, seed), TEMPLATE)
        pulls.append((found.rv - 12.0) / found.sigma)
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.3
    assert abs(np.mean(pulls)) < 0.7
    sigmas = [find_velocity(observed(12.0, snr), TEMPLATE).sigma for snr in (20.0, 80.0)]
    assert sigmas[0] / sigmas[1] == pytest.approx(4.0, rel=0.35)


def test_without_sigmas_the_residuals_give_the_error() -> None:
    known = find_velocity(observed(12.0, 30.0), TEMPLATE)
    unknown = find_velocity(replace(observed(12.0, 30.0), sigma=None), TEMPLATE)
    assert unknown.rv == pytest.approx(known.rv, abs=2 * known.sigma)
    assert unknown.sigma == pytest.approx(known.sigma, rel=0.5)


def test_a_fast_rotator_is_found_by_a_sharp_template() -> None:
    spectrum = observed(-37.0, 50.0)
    wide = gaussian_filter1d(TEMPLATE, 14.0 / GRID.velocity_step)  # some 25 km/s of rotation
    turned = np.interp(GRID.position(spectrum.wave / (1 - 37.0 / LIGHT)), np.arange(GRID.size), wide)
    found = find_velocity(replace(spectrum, flux=spectrum.flux / star(spectrum.wave, -37.0) * turned), TEMPLATE)
    assert abs(found.rv + 37.0) < max(3 * found.sigma, 0.1)
    assert found.flags == ()


def test_masked_pixels_cosmic_rays_and_one_long_order() -> None:
    spectrum = observed(20.0, 100.0)
    flux = spectrum.flux.copy()
    flux[0, 500:900] = np.nan
    flux[1, ::97] *= 8.0
    assert find_velocity(replace(spectrum, flux=flux), TEMPLATE).rv == pytest.approx(20.0, abs=0.05)
    wave = np.arange(5025.0, 5400.0, 0.015)[None]
    gap = np.where((wave > 5304) & (wave < 5337), np.nan, star(wave, 20.0))
    merged = find_velocity(Spectrum("one", wave, gap, None, 1e6), TEMPLATE)
    assert merged.rv == pytest.approx(20.0, abs=0.02)
    assert len(merged.by_order) == 7


def test_a_mask_of_lines_serves_as_template() -> None:
    mask = line_template(*line_list())
    assert find_velocity(observed(33.0, 100.0), mask).rv == pytest.approx(33.0, abs=0.1)
    wave, depth = line_list()
    strong = np.flatnonzero((wave > 5030) & (wave < 5390) & (depth > 0.5))
    assert (mask[np.round(GRID.position(wave[strong])).astype(int)] < 0.55).all()
    np.testing.assert_allclose(line_template(np.array([5200.0]), np.array([0.6])).min(), 0.4, atol=0.02)


def test_noise_alone_has_no_lines() -> None:
    for seed in range(6):
        spectrum = observed(0.0, 50.0, seed)
        noise = np.random.default_rng(seed).normal(1.0, 0.02, spectrum.flux.shape)
        found = find_velocity(replace(spectrum, flux=noise, sigma=None), TEMPLATE)
        assert found.flags == ("no_lines",)


def test_emission_is_flagged() -> None:
    spectrum = observed(0.0, 200.0)
    continuum = spectrum.flux / star(spectrum.wave)
    assert "emission" in find_velocity(replace(spectrum, flux=2 * continuum - spectrum.flux), TEMPLATE).flags
    rng = np.random.default_rng(1)
    lamp = sum(
        np.exp(-0.5 * ((spectrum.wave - w) / 0.03) ** 2) * s for w, s in rng.uniform((5030, 3), (5400, 30), (150, 2))
    )
    assert "emission" in find_velocity(replace(spectrum, flux=100.0 + 50 * lamp, sigma=None), TEMPLATE).flags


def test_a_star_beyond_the_search_is_flagged() -> None:
    found = find_velocity(observed(140.0, 100.0), TEMPLATE, span=100.0)
    assert found.flags


def test_wavelengths_of_vacuum_show_where_the_velocity_is_known() -> None:
    spectrum = observed(-2.0, 100.0)
    vacuum = replace(spectrum, wave=air_to_vacuum(spectrum.wave))
    assert find_velocity(vacuum, TEMPLATE).rv == pytest.approx(-2.0 + vacuum_offset(), abs=0.3)
    assert find_velocity(vacuum, TEMPLATE, expected=-2.3).flags == ("vacuum",)
    assert find_velocity(replace(vacuum, catalogue_rv=-2.3), TEMPLATE).flags == ("vacuum",)
    assert find_velocity(vacuum, TEMPLATE).flags == ("vacuum_or_fast",)
    assert find_velocity(observed(80.0, 100.0), TEMPLATE, expected=80.5).flags == ()
    assert vacuum_offset() == pytest.approx(83.4, abs=0.2)  # 1.45 A at 5200 A


def test_a_file_read_and_then_found(tmp_path: Path) -> None:
    write_e2ds(tmp_path / "a.fits", rv=25.0, berv=-17.0)
    (spectrum,) = read_spectra(str(tmp_path / "a.fits"))
    assert find_velocity(spectrum, TEMPLATE).rv == pytest.approx(25.0, abs=0.02)


def test_bad_templates_and_empty_spectra_are_refused() -> None:
    with pytest.raises(InputError, match="template: found shape"):
        find_velocity(observed(0.0, 50.0), np.ones(GRID.size))
    with pytest.raises(InputError, match="template: found shape"):
        find_velocity(observed(0.0, 50.0), TEMPLATE[1:])
    off = observed(0.0, 50.0)
    with pytest.raises(InputError, match="no stretch of 200 pixels"):
        find_velocity(replace(off, wave=off.wave + 600), TEMPLATE)


@pytest.fixture(scope="module")
def iron(real_data: Path) -> np.ndarray:
    """A mask of the Sun's lines of iron-like atoms: depth by strength at 5000 K."""
    table = pd.read_csv(real_data / "stellar/linelists/solar_calibrated_5030_5370.csv.gz")
    table = table[table["species"].str.strip().isin(["Fe 1", "Ti 1", "Cr 1", "Ni 1", "Ca 1"])]
    strength = 10 ** (table["gflog"] - 5040 / 5000 * table["excit"] + 4.5)
    return line_template(table["wlcent"].to_numpy(), (0.85 * strength / (1 + strength)).to_numpy())


def test_real_stars_against_a_crude_mask(real_data: Path, iron: np.ndarray) -> None:
    for pattern in ("acid/*e2ds_A.fits", "acid/*s1d_A.fits", "harps_e2ds_5030_5440.npz"):
        (spectrum,) = read_spectra(str(real_data / "stellar" / pattern))
        found = find_velocity(spectrum, iron)
        assert found.rv == pytest.approx(-2.2, abs=0.4)  # HD 189733 at -2.2, +-0.2 by its planet
        assert found.sigma < 0.1
        assert found.flags == ()
    for spectrum in read_spectra(str(real_data / "stellar/observed_s1d_5030_5410.npz")):
        found = find_velocity(spectrum, iron)
        at_rest = not spectrum.name.startswith("hd189733")
        assert abs(found.rv - (0.0 if at_rest else -2.2)) < 0.5
        assert found.significance > 15
        assert found.flags == ()


def test_a_real_star_in_vacuum(real_data: Path, iron: np.ndarray) -> None:
    (spectrum,) = read_spectra(str(real_data / "stellar/acid/*e2ds_A.fits"))
    assert find_velocity(replace(spectrum, wave=air_to_vacuum(spectrum.wave)), iron).flags == ("vacuum",)
    fast = replace(spectrum, wave=shifted(spectrum.wave, 81.0), catalogue_rv=float("nan"))
    found = find_velocity(fast, iron)
    assert found.flags == ("vacuum_or_fast",)
    assert found.rv == pytest.approx((1 - 2.0 / LIGHT) * 81.0 - 2.0, abs=0.3)
