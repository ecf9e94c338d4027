"""Spectra as text and in npz."""

from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.core.urls import write_bytes
from sciml.data.readers.harps_e2ds import theoretical_blaze
from sciml.data.readers.spectra import read_spectra
from sciml.data.spectrum import LIGHT, Spectrum, air_to_vacuum
from tests.data.readers.spectrum_fixtures import COUNTS, coefficients, observatory_wave, star

WAVE = np.arange(5005.0, 5420.0, 0.02)


def written(path: Path, *columns: np.ndarray, head: str = "", separator: str = " ") -> Path:
    lines = [separator.join(f"{value:.8g}" for value in row) for row in np.stack(columns, axis=1)]
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def only(path: Path, **options: object) -> Spectrum:
    (found,) = read_spectra(str(path), **options)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("scale", "separator", "head"),
    [
        (1.0, " ", "# R = 47000\n# name: bet Hyi\n# medium = air\n"),
        (0.1, "\t", "# R = 47000\n# name = bet Hyi\n# medium = air\nwaveobs\tflux\n"),
        (1e-4, ", ", "# Resolving power: 47,000\n#name = bet Hyi\n# medium = air\n\n"),
    ],
)
def test_text_in_any_unit_says_its_own_resolving_power(tmp_path: Path, scale: float, separator: str, head: str) -> None:
    found = only(written(tmp_path / "a.txt", WAVE * scale, star(WAVE), head=head, separator=separator))
    np.testing.assert_allclose(found.flux, star(found.wave), atol=1e-4)
    assert (found.name, found.resolving_power, found.notes, found.sigma) == ("bet Hyi", 47000.0, (), None)
    assert 5009.9 < found.wave.min() < found.wave.max() < 5412.1


def test_text_with_sigmas_falling_wavelengths_and_vacuum(tmp_path: Path) -> None:
    columns = (air_to_vacuum(WAVE)[::-1], 80 * star(WAVE)[::-1], np.sqrt(80 * star(WAVE))[::-1])
    found = only(written(tmp_path / "a.txt", *columns, head="# medium = vacuum\n"), resolution=5e4)
    np.testing.assert_allclose(found.flux, 80 * star(found.wave), rtol=1e-3)
    assert found.sigma is not None
    np.testing.assert_allclose(found.sigma**2, found.flux, rtol=1e-5)
    assert found.name == "a"


def test_text_that_does_not_say_its_medium_is_air_with_a_note(tmp_path: Path) -> None:
    found = only(written(tmp_path / "a.txt", WAVE, star(WAVE)), resolution=5e4)
    assert "air or vacuum: taken as air" in found.notes[0]


def test_text_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    body = "\n".join(f"{w:.2f} {f:.5f}" for w, f in zip(WAVE, star(WAVE), strict=True))
    for text, message in (
        (body, "resolving power unknown"),
        (body.replace("5100.00 ", "51OO.00 "), "line 4751: found '51OO.00 .*expected wavelength and flux as numbers"),
        ("\n".join(line.split()[0] for line in body.splitlines()), "found 1 column, expected wavelength, flux"),
        ("# nothing\n", "no table"),
        ("# R = high\n" + body, "comment 'R = high': expected a number"),
        (body.replace("5100.00 ", "5099.00 "), "wavelengths do not rise: found 5099.9800 and then 5099.0000 A"),
        ("\n".join(f"{w:.2f} 1.0" for w in WAVE), "resolving power|flat line"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            only(path)
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match="neither FITS, npz nor text"):
        only(path)


def test_npz_with_several_stars(tmp_path: Path) -> None:
    flux = star(WAVE)
    flux[:700] = 0.0
    np.savez(tmp_path / "a.npz", sun_wave=WAVE, sun_flux=flux, R47000_x_wave=WAVE / 10, R47000_x_flux=star(WAVE))
    sun, other = read_spectra(str(tmp_path / "a.npz"))
    assert (sun.name, sun.resolving_power) == ("sun", 115000.0)
    assert (other.name, other.resolving_power) == ("R47000_x", 47000.0)
    np.testing.assert_array_equal(sun.good[0], sun.wave[0] > WAVE[699])
    np.testing.assert_allclose(other.flux, star(other.wave), atol=1e-6)


def test_npz_by_order(tmp_path: Path) -> None:
    wave = observatory_wave()
    blaze = theoretical_blaze(wave)
    counts = COUNTS * star(wave * (1 + 5.0 / LIGHT)) * blaze
    arrays = {"flux": counts, "wave_coeff": coefficients(), "blaze": blaze, "berv_kms": np.array(5.0)}
    np.savez(tmp_path / "a.npz", **{f"s_{key}": value for key, value in arrays.items()})
    found = only(tmp_path / "a.npz")
    np.testing.assert_allclose(found.flux, COUNTS * star(found.wave), rtol=1e-9)
    np.testing.assert_allclose(found.wave, wave * (1 + 5.0 / LIGHT), rtol=1e-12)
    np.savez(tmp_path / "a.npz", **{f"s_{key}": value[1:] if key == "flux" else value for key, value in arrays.items()})
    with pytest.raises(InputError, match=r"a.npz, s: found flux of shape \(15, 2048\) and wave_coeff of shape"):
        only(tmp_path / "a.npz")


def test_npz_without_spectra_or_damaged_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", wave=WAVE, centre=WAVE)
    with pytest.raises(InputError, match="found arrays wave, centre; expected <name>_flux with <name>_wave"):
        only(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", s_wave=WAVE, s_flux=WAVE[1:])
    with pytest.raises(InputError, match=r"a.npz, s: flux: found shape"):
        only(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:3000])
    with pytest.raises(InputError, match="no readable npz"):
        only(tmp_path / "a.npz")


def test_missing_files_and_s3(tmp_path: Path, s3: str) -> None:
    with pytest.raises(InputError, match=r"none.fits: cannot read: no such file"):
        only(tmp_path / "none.fits")
    path = written(tmp_path / "a.txt", WAVE, star(WAVE), head="# R = 47000\n")
    write_bytes(f"{s3}/a.txt", path.read_bytes())
    (found,) = read_spectra(f"{s3}/*.txt")
    np.testing.assert_array_equal(found.flux, only(path).flux)


def test_the_real_npz_of_orders_is_the_fits_file(real_data: Path) -> None:
    (npz,) = read_spectra(str(real_data / "stellar/harps_e2ds_5030_5440.npz"))
    (file,) = read_spectra(str(real_data / "stellar/acid/*e2ds_A.fits"))
    assert npz.orders is not None
    assert file.orders is not None
    rows = np.isin(file.orders, npz.orders)
    np.testing.assert_array_equal(file.orders[rows], npz.orders)
    np.testing.assert_allclose(npz.wave, file.wave[rows], rtol=1e-14)
    assert npz.sigma is not None
    assert file.sigma is not None
    np.testing.assert_allclose(npz.flux / npz.sigma, (file.flux / file.sigma)[rows], rtol=0.01)  # another read noise


def test_the_real_npz_of_stars(real_data: Path) -> None:
    found = read_spectra(str(real_data / "stellar/observed_s1d_5030_5410.npz"))
    assert len(found) == 7
    assert [spectrum.resolving_power for spectrum in found] == [115000.0] * 3 + [47000.0] * 4
    (original,) = read_spectra(str(real_data / "stellar/fasma/Sun_HARPS.fits"))
    same = np.interp(found[0].wave[0], original.wave[0], np.nan_to_num(original.flux[0]))
    kept = found[0].good[0] & (same > 0)
    np.testing.assert_allclose(found[0].flux[0, kept], same[kept], atol=2e-3)
