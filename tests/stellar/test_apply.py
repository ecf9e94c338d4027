"""Stars from file to labels: planted ones come back, what is no star of the grid is flagged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sciml.core.errors import InputError
from sciml.data.readers.harps_e2ds import theoretical_blaze
from sciml.data.readers.spectra import read_file
from sciml.data.spectrum import LIGHT, Spectrum, air_to_vacuum
from sciml.generated.spectra import LineModel
from sciml.stellar import apply
from sciml.stellar.apply import METHODS_DISAGREE, broadened, measure
from sciml.stellar.emulator import Emulator
from sciml.stellar.forward import ForwardModel
from sciml.stellar.instrument import Spectrograph, generated
from sciml.stellar.labels import PARAMETERS
from sciml.stellar.network_view import TrainedNetwork, seen
from sciml.stellar.sampling import PixelGrid
from sciml.stellar.star_fit import StarFit, fit_star
from tests.data.readers.spectrum_fixtures import observatory_wave, write_e2ds
from tests.stellar.conftest import SUN, faulty, observed

FATAL = {"no_lines", "emission", "outside_grid", "poor_fit"}


def planted(**changes: float) -> np.ndarray:
    star = SUN.copy()
    for name, value in changes.items():
        star[PARAMETERS.index(name)] = value
    return star


def test_a_planted_star_far_from_rest(emulator: Emulator, line_model: LineModel) -> None:
    star = measure(observed(SUN, line_model, rv=-57.3), emulator)
    (best,) = star.methods
    assert best.method == "chi2"
    assert best.vsini_is == "rotation"
    assert np.isnan(best.vsini_limit)
    assert (np.abs(best.mean - SUN[:4]) < [40, 0.12, 0.05, 0.4]).all()
    assert (best.sigma[:3] > METHODS_DISAGREE[:3]).all()
    assert star.rv == pytest.approx(-57.3, abs=0.01)
    assert star.velocity.sigma < 0.02
    assert star.flags == ()


def test_common_errors_of_models_are_added_in_squares(emulator: Emulator, line_model: LineModel) -> None:
    spectrum = observed(SUN, line_model)
    without, with_them = (measure(spectrum, emulator, model_error=error) for error in ((0.0,) * 4, (50.0, 0.1, 0.1, 0)))
    np.testing.assert_allclose(
        with_them.methods[0].covariance - without.methods[0].covariance, np.diag([2500, 0.01, 0.01, 0]), atol=1e-9
    )


@pytest.mark.parametrize("teff", [4800.0, 6600.0])
@pytest.mark.parametrize("feh", [-1.5, 0.2])
def test_stars_all_over_the_grid_have_no_flags(
    emulator: Emulator, line_model: LineModel, teff: float, feh: float
) -> None:
    star = planted(teff=teff, feh=feh, logg=3.5, vsini=8.0, alpha=0.4 if feh < -1 else 0.0)
    found = measure(observed(star, line_model, rv=31.0, snr=80.0), emulator)
    assert found.flags == ()
    assert (np.abs(found.methods[0].mean - star[:4]) < 3 * found.methods[0].sigma + [30, 0.1, 0.05, 0.5]).all()


@pytest.mark.parametrize(
    "star",
    [planted(vsini=45.0), planted(feh=1.3), planted(logg=-1.0, teff=5000.0), planted(vsini=90.0, teff=7000.0)],
    ids=["45 km/s", "[M/H] 1.3", "log g -1", "90 km/s"],
)
def test_stars_outside_the_grid_are_flagged(emulator: Emulator, line_model: LineModel, star: np.ndarray) -> None:
    assert FATAL & set(measure(observed(star, line_model, rv=8.0, snr=60.0), emulator).flags)


def test_two_stars_at_once_are_flagged(emulator: Emulator, line_model: LineModel) -> None:
    left, right = (observed(SUN, line_model, rv=rv) for rv in (-60.0, 60.0))
    assert FATAL & set(measure(replace(left, flux=left.flux + right.flux), emulator).flags)


def test_noise_without_a_star_is_not_measured(emulator: Emulator) -> None:
    wave = np.arange(5025.0, 5390.0, 0.0145)[None]
    noise = np.random.default_rng(0).normal(1.0, 0.05, wave.shape)
    star = measure(Spectrum("none", wave, noise, None, 115_000.0), emulator)
    assert star.flags == ("no_lines",)
    assert star.fit is None
    assert np.isnan(star.methods[0].mean).all()


def test_emission_is_not_measured(emulator: Emulator, line_model: LineModel) -> None:
    spectrum = observed(SUN, line_model)
    level = np.percentile(spectrum.flux, 95, axis=1, keepdims=True)
    star = measure(replace(spectrum, flux=np.maximum(2 * level - spectrum.flux, 1.0)), emulator)
    assert "emission" in star.flags
    assert np.isnan(star.methods[0].covariance).all()


def test_snr_of_two_is_flagged_and_wide(emulator: Emulator, line_model: LineModel) -> None:
    star = measure(observed(SUN, line_model, rv=-12.0, snr=2.0), emulator)
    assert "low_snr" in star.flags
    best = star.methods[0]
    assert (np.abs(best.mean - SUN[:4]) < 4 * best.sigma).all()
    assert best.sigma[0] > 1.2 * METHODS_DISAGREE[0]


def test_cool_stars_are_marked(emulator: Emulator, line_model: LineModel) -> None:
    assert "cool" in measure(observed(planted(teff=4000.0), line_model, snr=100.0), emulator).flags


def test_slow_rotation_is_an_upper_limit(emulator: Emulator, line_model: LineModel) -> None:
    best = measure(observed(planted(vsini=0.8), line_model), emulator).methods[0]
    assert "vsini_upper_limit" in best.flags
    assert best.mean[3] < best.vsini_limit < 2.5
    less = measure(observed(planted(vsini=3.0), line_model, power=47_000.0), emulator).methods[0]
    assert "vsini_upper_limit" in less.flags  # 3 km/s show at 115,000 and hide at 47,000
    assert less.vsini_limit > 2.5


def test_no_star_turns_by_less_than_nothing() -> None:
    mean, covariance = np.array([5000.0, 4.5, 0.0, -0.4]), np.diag([60.0, 0.1, 0.1, 0.8]) ** 2
    found = apply._measured("sciml", mean, covariance, "rotation", (), 115_000.0)
    assert found.mean[3] == 0.0 and mean[3] == -0.4
    assert found.vsini_limit == pytest.approx(1.645 * 0.8) and found.flags == ("vsini_upper_limit",)


def test_wavelengths_of_vacuum_are_found_and_converted(emulator: Emulator, line_model: LineModel) -> None:
    spectrum = observed(SUN, line_model, rv=5.0)
    vacuum = replace(spectrum, wave=air_to_vacuum(spectrum.wave))
    known = measure(vacuum, emulator, expected_rv=5.3)
    assert known.flags == ("vacuum",)
    assert known.rv == pytest.approx(5.0, abs=0.05)
    assert measure(vacuum, emulator).flags == ("vacuum_or_fast",)


def test_another_window_is_one_line(emulator: Emulator, line_model: LineModel) -> None:
    spectrum = observed(SUN, line_model)
    with pytest.raises(InputError, match="no stretch of 200 pixels") as caught:
        measure(replace(spectrum, wave=spectrum.wave + 800), emulator)
    assert "\n" not in str(caught.value)


def test_from_an_e2ds_file(emulator: Emulator, line_model: LineModel, tmp_path: Path) -> None:
    wave, berv, rv = observatory_wave(), 12.0, -20.5
    sampled = ForwardModel(emulator, PixelGrid(wave * (1 + berv / LIGHT) / (1 + rv / LIGHT), 115_000.0))
    with torch.no_grad():
        flux = sampled(torch.from_numpy(SUN[None]))[0].numpy()
    counts = np.random.default_rng(0).poisson(40_000 * np.clip(flux, 0, 2) * theoretical_blaze(wave)).astype(float)
    counts[12, 900:905] = 1e7  # saturated
    write_e2ds(tmp_path / "star.fits", berv=berv, counts=counts)
    (spectrum,) = read_file(str(tmp_path / "star.fits"))
    star = measure(spectrum, emulator)
    assert star.flags == ()
    assert star.rv == pytest.approx(rv, abs=0.02)
    assert (np.abs(star.methods[0].mean - SUN[:4]) < [20, 0.05, 0.03, 0.3]).all()


class Told:
    """A network that remembers what it was shown and says what it is told."""

    def __init__(self, mean: np.ndarray) -> None:
        self.mean, self.shown = mean, []

    def __call__(self, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.shown.append((flux, snr, mask))
        return self.mean[None, :4], np.diag([100.0, 1e-4, 1e-4, 1e-2])[None]


@pytest.fixture(scope="module")
def spectrograph() -> Spectrograph:
    return generated(8, 1024)


def test_a_network_sees_the_star_at_rest_over_its_continuum(
    emulator: Emulator, line_model: LineModel, spectrograph: Spectrograph
) -> None:
    told = Told(SUN)
    spectrum = observed(SUN, line_model, rv=44.0, snr=100.0)
    star = measure(spectrum, emulator, [TrainedNetwork("sciml", told, spectrograph)])
    flux, snr, mask = told.shown[0]
    assert flux.shape == (1, 8, 1024)
    assert mask.mean() > 0.8
    assert (flux[~mask] == 1).all()
    model = ForwardModel(emulator, spectrograph.pixels)
    with torch.no_grad():
        truth = model(torch.from_numpy(SUN[None]))[0].numpy()
    rest = (flux - truth)[mask[0][None]]
    assert np.std(rest) < 0.014  # noise of 0.01 and less where orders overlap
    assert abs(np.mean(rest)) < 0.002
    assert snr[0] == pytest.approx(100.0, rel=0.1)
    assert [one.method for one in star.methods] == ["chi2", "sciml"]
    assert star.methods[1].vsini_is == "total"
    assert "disagrees" not in star.methods[1].flags


def test_a_network_hears_of_the_misfit_not_of_the_photons(emulator: Emulator, spectrograph: Spectrograph) -> None:
    told = Told(SUN)
    star = measure(
        observed(SUN, faulty(1), snr=1000.0),
        emulator,
        [TrainedNetwork("sciml", told, spectrograph)],
        model_error=[0] * 4,
    )
    assert star.fit is not None
    assert 30 < told.shown[0][1][0] < 200
    assert star.methods[1].covariance[0, 0] == pytest.approx(100.0 * star.fit.shared)


def test_a_network_that_is_far_off_is_flagged(
    emulator: Emulator, line_model: LineModel, spectrograph: Spectrograph
) -> None:
    off = TrainedNetwork("sciml", Told(planted(teff=5300.0)), spectrograph)
    star = measure(observed(SUN, line_model), emulator, [off])
    assert "disagrees" in star.methods[1].flags
    assert "disagrees" not in star.methods[0].flags


def test_a_network_is_not_asked_about_blurred_lines(
    emulator: Emulator, line_model: LineModel, spectrograph: Spectrograph
) -> None:
    told = Told(SUN)
    star = measure(observed(SUN, line_model, power=47_000.0), emulator, [TrainedNetwork("sciml", told, spectrograph)])
    assert told.shown == []
    assert "lower_resolution" in star.flags
    assert np.isnan(star.methods[1].mean).all()
    assert np.isfinite(star.methods[0].mean).all()


@pytest.fixture(scope="module")
def fit(emulator: Emulator, line_model: LineModel) -> StarFit:
    return fit_star(observed(SUN, line_model), emulator)


def test_missing_orders_are_masked_and_mostly_missing_ones_not_asked(
    emulator: Emulator, line_model: LineModel, spectrograph: Spectrograph, fit: StarFit
) -> None:
    told = Told(SUN)
    network = TrainedNetwork("sciml", told, spectrograph)
    whole = seen(network, fit, 115_000.0)[1]
    spectrum = observed(SUN, line_model)

    def only(rows: list[int]) -> Spectrum:
        return replace(spectrum, wave=spectrum.wave[rows], flux=spectrum.flux[rows], sigma=spectrum.sigma[rows])

    measure(only([0, 1, 2, 3, 5, 6]), emulator, [network])
    assert 0.1 < whole.mean() - told.shown[0][2].mean() < 0.2
    star = measure(only([0, 1]), emulator, [network])
    assert len(told.shown) == 1
    assert "partly_observed" in star.methods[1].flags


def test_sharper_spectra_are_blurred_to_the_network(
    emulator: Emulator, line_model: LineModel, spectrograph: Spectrograph
) -> None:
    sharp, plain = (fit_star(observed(SUN, line_model, power=power, snr=5000.0), emulator) for power in (190e3, 115e3))
    network = TrainedNetwork("sciml", Told(SUN), spectrograph)
    (blurred, mask), (same, _) = seen(network, sharp, 190_000.0), seen(network, plain, 115_000.0)
    (raw, _) = seen(network, sharp, 115_000.0)
    assert np.std((blurred - same)[mask]) < 0.6 * np.std((raw - same)[mask])


def test_renormalised_as_in_training(spectrograph: Spectrograph, fit: StarFit) -> None:
    network = TrainedNetwork("sciml", Told(SUN), spectrograph)
    flux, mask = seen(network, fit, 115_000.0)
    again, _ = seen(replace(network, renormalise=True), fit, 115_000.0)
    ratio = (again / flux)[mask]
    assert 0.95 < ratio.min()
    assert ratio.max() < 1.05
    assert np.std(ratio) > 0
    used = np.zeros(spectrograph.wave.shape, bool)
    used[2:4] = True
    assert not seen(replace(network, used=used), fit, 115_000.0)[1][[0, 1, 4, 5, 6, 7]].any()


def test_broadened_template_keeps_the_area_of_lines(emulator: Emulator) -> None:
    narrow, wide = (broadened(emulator, planted(vsini=v)) for v in (0.0, 20.0))
    assert wide.min() > narrow.min() + 0.1
    assert wide.mean() == pytest.approx(narrow.mean(), abs=1e-5)
