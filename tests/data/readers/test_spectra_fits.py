"""Spectra in FITS: e2ds, S2D and s1d by planted files, and the real ones."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from sciml.core.errors import InputError
from sciml.data.readers.harps_e2ds import echelle_orders, theoretical_blaze
from sciml.data.readers.spectra import read_spectra
from sciml.data.spectrum import LIGHT, Spectrum, air_to_vacuum, in_window
from tests.data.readers.spectrum_fixtures import (
    COUNTS,
    ORDERS,
    coefficients,
    observatory_wave,
    star,
    write_e2ds,
    write_image,
    write_s2d,
)


def only(path: Path | str, **options: object) -> Spectrum:
    (found,) = read_spectra(str(path), **options)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("prefix", ["ESO", "TNG"])
def test_e2ds_gives_the_planted_star_in_the_barycentric_frame(tmp_path: Path, prefix: str) -> None:
    counts = write_e2ds(tmp_path / "a.fits", rv=20.0, berv=-12.0, prefix=prefix)
    found = only(tmp_path / "a.fits")
    kept = np.isin(ORDERS, found.orders)
    np.testing.assert_array_equal(found.orders, ORDERS[in_window(observatory_wave()).mean(1) >= 0.05])
    np.testing.assert_allclose(found.wave, observatory_wave()[kept] * (1 - 12.0 / LIGHT), rtol=1e-12)
    np.testing.assert_allclose(found.flux, COUNTS * star(found.wave, 20.0), rtol=1e-5)
    assert found.sigma is not None
    noise = np.sqrt(counts[kept] + 16 * 5.0**2) / theoretical_blaze(observatory_wave()[kept])
    np.testing.assert_allclose(found.sigma, noise, rtol=1e-5)
    assert (found.name, found.berv, found.resolving_power) == ("planted", -12.0, 115000.0)
    assert "night_blaze_A.fits not there" in found.notes[0]


def test_the_blaze_beside_the_file_is_divided_out(tmp_path: Path) -> None:
    wave = observatory_wave()
    shape = 0.3 + 0.7 * np.sin(np.linspace(0.2, 3.0, wave.shape[1]))[None] * np.ones(wave.shape)
    write_e2ds(tmp_path / "a.fits", counts=shape * COUNTS * star(wave))
    write_image(tmp_path / "night_blaze_A.fits", shape * 40.0, {})
    found = only(tmp_path / "a.fits")
    level = found.flux / star(found.wave)
    np.testing.assert_allclose(level / level.mean(1, keepdims=True), 1.0, rtol=1e-5)
    assert not found.notes
    given = only(tmp_path / "a.fits", blaze=str(tmp_path / "night_blaze_A.fits"))
    np.testing.assert_array_equal(given.flux, found.flux)
    write_image(tmp_path / "night_blaze_A.fits", shape[1:], {})
    with pytest.raises(InputError, match=r"night_blaze_A.fits: found a blaze of shape \(15, 2048\), expected"):
        only(tmp_path / "a.fits")


def test_saturated_and_empty_pixels_are_masked_and_counted(tmp_path: Path) -> None:
    wave = observatory_wave()
    counts = COUNTS * star(wave) * theoretical_blaze(wave)
    counts[8, 1000:1004], counts[8, 1010], counts[9, 500:502] = 2e6, np.nan, -3.0
    write_e2ds(tmp_path / "a.fits", counts=counts)
    found = only(tmp_path / "a.fits")
    rows = {int(m): row for row, m in enumerate(found.orders)}  # type: ignore[arg-type]
    assert not found.good[rows[ORDERS[8]], [1000, 1003, 1010]].any()
    assert not found.good[rows[ORDERS[9]], 500:502].any()
    assert found.good[rows[ORDERS[8]], 1004]
    assert "4 saturated" in found.notes[-1]
    assert "3 not positive or not a number" in found.notes[-1]
    counts[:, ::3] = 2e6
    counts[:, 1::3] = np.nan
    write_e2ds(tmp_path / "a.fits", counts=counts)
    with pytest.raises(InputError, match=r"a.fits: 67 % of the \d+ pixels .* cannot be used \(\d+ saturated, "):
        only(tmp_path / "a.fits")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"HIERARCH ESO DRS CAL TH DEG LL": None}, r"no keyword 'HIERARCH ESO\|TNG DRS CAL TH DEG LL'"),
        ({"HIERARCH ESO DRS CAL TH DEG LL": 2}, r"found 16 orders and 64 wavelength coefficients .* expected 3 for"),
        ({"counts": np.full((15, 2048), 1e3)}, r"found 15 orders and 64 .* coefficients .* expected 4 for .* 60"),
        ({"coefficients": coefficients() * 1.2}, r"found 5\d+.\d .. 6\d+.\d A, expected some within 5020 .. 5402 A"),
        ({"coefficients": coefficients()[::-1]}, "do not rise along and across the orders"),
    ],
)
def test_an_e2ds_that_cannot_be_used_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    write_e2ds(tmp_path / "a.fits", **changes)
    with pytest.raises(InputError, match=message) as refused:
        only(tmp_path / "a.fits")
    assert "\n" not in str(refused.value)
    assert "a.fits" in str(refused.value)


def test_calibrations_are_passed_over_among_others_and_refused_alone(tmp_path: Path) -> None:
    write_e2ds(tmp_path / "a.fits")
    write_image(tmp_path / "b_flat.fits", np.ones((16, 2048)), {"HIERARCH ESO DPR CATG": "CALIB", "OBJECT": "LAMP"})
    assert only(tmp_path / "*.fits").name == "planted"
    assert only(tmp_path).name == "planted"
    with pytest.raises(InputError, match=r"b_flat.fits: a calibration \(object 'LAMP'\), no star"):
        only(tmp_path / "b_flat.fits")


def test_a_picture_is_no_spectrum(tmp_path: Path) -> None:
    write_image(tmp_path / "m31.fits", np.ones((300, 300)), {"CRVAL1": 10.7, "CDELT1": -0.001, "CTYPE1": "RA---TAN"})
    with pytest.raises(InputError, match=r"found an image of shape \(300, 300\) without wavelengths .* no spectrum"):
        only(tmp_path / "m31.fits")


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    write_e2ds(tmp_path / "a.fits")
    whole = (tmp_path / "a.fits").read_bytes()
    for length in (whole.__len__() // 2, 2000):
        (tmp_path / "a.fits").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a.fits: .*truncated"):
            only(tmp_path / "a.fits")
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(whole)[:-4000])
    with pytest.raises(InputError, match=r"a.fits.gz: gzip cannot be read to its end"):
        only(tmp_path / "a.fits.gz")


@pytest.mark.parametrize("vacuum", [False, True])
def test_s2d_in_air_and_in_vacuum(tmp_path: Path, vacuum: bool) -> None:
    wave = write_s2d(tmp_path / "a.fits", vacuum=vacuum)
    found = only(tmp_path / "a.fits")
    kept = in_window(wave).mean(1) >= 0.05
    np.testing.assert_allclose(found.wave, wave[kept], rtol=1e-12)
    np.testing.assert_allclose(found.flux, COUNTS * star(wave[kept]), rtol=1e-6)
    assert (found.berv, found.catalogue_rv, found.resolving_power) == (7.5, 0.25, 140000.0)


def test_s2d_without_good_pixels_or_extensions_is_refused(tmp_path: Path) -> None:
    quality = np.zeros((16, 2048), np.int16)
    quality[:, :100] = 4
    write_s2d(tmp_path / "a.fits", QUALDATA=quality)
    assert not only(tmp_path / "a.fits").good[3, :100].any()
    write_s2d(tmp_path / "a.fits", QUALDATA=quality + 1)
    with pytest.raises(InputError, match=r"100 % of the .* rejected by QUALDATA"):
        only(tmp_path / "a.fits")
    write_s2d(tmp_path / "a.fits", ERRDATA=np.ones((3, 4)))
    with pytest.raises(InputError, match=r"found SCIDATA \(16, 2048\), ERRDATA \(3, 4\).*expected one shape"):
        only(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        fits.HDUList([hdus[0], hdus["SCIDATA"]]).writeto(tmp_path / "b.fits")
    with pytest.raises(InputError, match=r"b.fits: found extensions PRIMARY, SCIDATA; expected SCIDATA, ERRDATA"):
        only(tmp_path / "b.fits")


def s1d(path: Path, wave: np.ndarray, flux: np.ndarray, **header: object) -> None:
    kept = {"CRVAL1": wave[0], "CDELT1": wave[1] - wave[0], "CRPIX1": 1.0, "INSTRUME": "HARPS", "OBJECT": "planted"}
    write_image(path, flux, kept | header)


def test_s1d_images_in_air_vacuum_nanometres_and_logarithm(tmp_path: Path) -> None:
    wave = np.arange(4900.0, 5500.0, 0.02)
    s1d(tmp_path / "air.fits", wave, star(wave))
    s1d(tmp_path / "nm.fits", wave / 10, star(wave), CUNIT1="nm", CTYPE1="AWAV")
    s1d(tmp_path / "vac.fits", wave, star(wave / 1.000278), CTYPE1="WAVE")
    s1d(tmp_path / "said.fits", wave, star(wave / 1.000278), AIRORVAC="vac")
    s1d(tmp_path / "ref.fits", wave, star(wave), CRPIX1=101.0, CRVAL1=wave[100])
    log = np.log10(4900.0) + 2e-6 * np.arange(25000)
    s1d(tmp_path / "log.fits", log, star(10**log), **{"DC-FLAG": 1})
    for name in ("air", "nm", "ref", "log"):
        found = only(tmp_path / f"{name}.fits")
        np.testing.assert_allclose(found.flux, star(found.wave), atol=2e-4, err_msg=name)
        assert 5009.9 < found.wave.min() < 5010.1
        assert not found.notes
    for name in ("vac", "said"):
        found = only(tmp_path / f"{name}.fits")
        shown = air_to_vacuum(found.wave)
        assert np.abs(shown / 0.02 - np.round(shown / 0.02)).max() < 1e-3  # the file's own pixels
        np.testing.assert_allclose(found.flux, star(shown / 1.000278), atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    ("ucd", "name", "vacuum"),
    [("em.wl;obs.atmos", "WAVE", False), ("em.wl", "WAVE", True), ("", "wavelength_air", False)],
)
def test_tables_with_a_row_a_pixel_or_all_in_one(tmp_path: Path, ucd: str, name: str, vacuum: bool) -> None:
    wave = np.arange(5000.0, 5450.0, 0.02)
    flux, sigma = 300.0 * star(wave), np.full(wave.size, 3.0)
    n = wave.size
    one = [fits.Column(c, f"{n}D", array=[v]) for c, v in ((name, wave), ("FLUX", flux), ("ERR", sigma))]
    many = [fits.Column(c, "D", array=v) for c, v in ((name, wave), ("FLUX", flux), ("ERR", sigma))]
    for columns in (one, many):
        main, table = fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)
        main.header["SPEC_RP"] = 66000.0
        table.header["TUCD1"] = ucd
        fits.HDUList([main, table]).writeto(tmp_path / "a.fits", overwrite=True)
        found = only(tmp_path / "a.fits")
        shown = air_to_vacuum(found.wave) if vacuum else found.wave
        np.testing.assert_allclose(found.flux, 300 * star(shown), rtol=1e-6)
        assert found.sigma is not None
        assert set(found.sigma.ravel()) == {3.0}
        assert found.resolving_power == 66000.0


def test_topocentric_wavelengths_are_corrected(tmp_path: Path) -> None:
    wave = np.arange(5000.0, 5450.0, 0.02)
    s1d(tmp_path / "a.fits", wave, star(wave), SPECSYS="TOPOCENT", **{"HIERARCH ESO QC VRAD BARYCOR": 30.0})
    found = only(tmp_path / "a.fits")
    np.testing.assert_allclose(found.flux, star(found.wave / (1 + 30.0 / LIGHT)), atol=1e-5)


def test_an_s1d_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    wave = np.arange(5000.0, 5450.0, 0.02)
    path = tmp_path / "a.fits"
    for changes, message in (
        ({"CRVAL1": None}, "keywords CRVAL1 and CDELT1: found None and 0.0"),
        ({"CDELT1": -0.02}, "found 5000.0 and -0.02, expected .* a positive step"),
        ({"CRVAL1": 6500.0}, r"found 6500.0 .. 6950.0 A, expected some within"),
        ({"CRVAL1": 1.0e-3, "CDELT1": 1e-8}, "expected visible light in A, nm or um"),
        ({"INSTRUME": "homemade"}, "resolving power unknown"),
    ):
        s1d(path, wave, star(wave), **changes)
        with pytest.raises(InputError, match=message):
            only(path)
    assert only(path, resolution=30000.0).resolving_power == 30000.0
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("RA", "D", array=wave)])]).writeto(
        path, overwrite=True
    )
    with pytest.raises(InputError, match="found a table with columns RA; expected a wavelength"):
        only(path)


def test_a_real_e2ds(real_data: Path) -> None:
    folder = real_data / "stellar/acid"
    found = only(folder / "*e2ds_A.fits")
    assert found.orders is not None
    assert found.orders.tolist() == [122, 121, 120, 119, 118, 117, 116, 114, 113]  # 115 falls between the detectors
    assert found.catalogue_rv == -2.3
    assert found.sigma is not None
    (file,) = folder.glob("*e2ds_A.fits")
    header = fits.getheader(file)
    first = header["ESO DRS CAL TH ORDER START"] - 40  # the header's own count of orders
    assert found.orders[1] == first
    # photon and read noise agree with the signal to noise that the pipeline wrote for the orders' centres
    written = [header[f"ESO DRS SPE EXT SN{index}"] for index in range(39, 48)]
    middle = slice(1848, 2248)
    ours = np.nanmedian((found.flux / found.sigma)[:, middle], axis=1)
    np.testing.assert_allclose(ours, written, rtol=0.06)
    # each of the wavelengths that two orders share holds the same spectrum
    for upper, lower in zip(range(1, 6), range(2, 7), strict=True):
        shared = found.wave[upper] > found.wave[lower, 100]
        other = np.interp(found.wave[upper, shared], found.wave[lower], found.flux[lower])
        assert np.corrcoef(other, found.flux[upper, shared])[0, 1] > 0.9
    assert len(read_spectra(str(folder / "*.fits"))) == 2  # flat and lamp are no stars


def test_real_s1d_of_the_same_exposure_has_the_same_lines(real_data: Path) -> None:
    by_order = only(real_data / "stellar/acid/*e2ds_A.fits")
    merged = only(real_data / "stellar/acid/*s1d_A.fits")
    assert merged.berv == by_order.berv
    assert "3295 not positive" in merged.notes[-1]  # the missing order
    wave, flux = by_order.wave[3, 1000:3000], by_order.flux[3, 1000:3000]
    velocities = np.arange(-1.0, 1.01, 0.1)
    other = [np.interp(wave * (1 + v / LIGHT), merged.wave[0], merged.flux[0]) for v in velocities]
    likeness = [np.corrcoef(values, flux)[0, 1] for values in other]
    assert abs(velocities[int(np.argmax(likeness))]) < 0.11  # our barycentric correction is the pipeline's


def test_a_real_sun(real_data: Path) -> None:
    found = only(real_data / "stellar/fasma/Sun_HARPS.fits")
    assert found.name == "Ganymede"
    assert np.isnan(found.catalogue_rv)  # the header has -99999
    gap = found.wave[0, ~found.good[0]]
    assert 5304 < gap.min() < gap.max() < 5338


def test_the_theoretical_blaze_is_harpss(real_data: Path) -> None:
    with np.load(real_data / "stellar/harps_e2ds_5030_5440.npz") as arrays:
        blaze = arrays["hd189733_blaze"].astype(float)
        wave = np.stack([np.polyval(c[::-1], np.arange(4096.0)) for c in arrays["hd189733_wave_coeff"]])
    np.testing.assert_array_equal(echelle_orders(wave), [121, 120, 119, 118, 117, 116, 114, 113])
    np.testing.assert_allclose(theoretical_blaze(wave), blaze, atol=0.12)
