import numpy as np
import pytest

from sciml.generated.spectra import SUN, LineModel, limb_darkening
from sciml.stellar.labels import ATMOSPHERIC, PARAMETERS, draw
from sciml.stellar.wavelengths import GRID

MODEL = LineModel(seed=3)
COLUMNS = [PARAMETERS.index(name) for name in ATMOSPHERIC]


def star(**changes: float) -> np.ndarray:
    made = SUN.copy()
    for name, value in changes.items():
        made[ATMOSPHERIC.index(name)] = value
    return made


def width(parameters: np.ndarray, low: float = 0.0, high: float = 1e9) -> float:
    """Sum of depths between two wavelengths [A]: an equivalent width in samples."""
    return float((1 - MODEL(parameters)[0])[(GRID.wave > low) & (GRID.wave < high)].sum())


def test_same_seed_same_stars() -> None:
    assert np.array_equal(MODEL(SUN)[0], LineModel(seed=3)(SUN)[0])
    assert not np.array_equal(MODEL(SUN)[0], LineModel(seed=4)(SUN)[0])
    assert MODEL(SUN)[0].dtype == np.float32


def test_every_star_of_the_grid_is_a_spectrum() -> None:
    for parameters in draw(60, 1, "nuisance")[:, COLUMNS]:
        flux, epsilon = MODEL(parameters)
        assert flux.shape == (GRID.size,)
        assert np.isfinite(flux).all() and flux.min() > 0 and flux.max() <= 1
        assert 0 < epsilon < 1


def test_lines_stand_where_they_are_listed() -> None:
    flux, strength = MODEL(SUN)[0], MODEL.strength(SUN)
    place = np.round(GRID.position(MODEL.wave)).astype(int)
    alone = np.abs(np.diff(MODEL.wave, prepend=0, append=1e9))
    lonely = (alone[1:] > 0.6) & (alone[:-1] > 0.6) & (strength > 0.1) & (place > 50) & (place < GRID.size - 50)
    assert lonely.sum() > 30
    for at in place[lonely]:
        assert np.argmin(flux[at - 20 : at + 21]) in (19, 20, 21) or np.ptp(flux[at - 1 : at + 2]) < 0.01
    deep = 1 - flux[place[lonely]]
    assert np.corrcoef(np.argsort(np.argsort(deep)), np.argsort(np.argsort(strength[lonely])))[0, 1] > 0.95


def test_metals_scale_lines_and_alpha_its_own() -> None:
    ratio = MODEL.strength(star(alpha=0.3)) / MODEL.strength(SUN)
    enhanced = np.isin(MODEL.names, ["Mg I", "MgH", "Ti I", "Ti II", "Ca I"])
    np.testing.assert_allclose(ratio, np.where(enhanced, 10**0.3, 1.0))
    hot = star(teff=9000.0)  # no electrons from metals there
    np.testing.assert_allclose(MODEL.strength(star(teff=9000.0, feh=0.5)) / MODEL.strength(hot), 10**0.5, rtol=0.02)


def test_excitation_follows_boltzmann() -> None:
    """Between two temperatures the logarithms of iron's strengths change by -chi times the change of 5040 / T."""
    iron = MODEL.names == "Fe I"
    change = np.log10(MODEL.strength(star(teff=4500.0)) / MODEL.strength(SUN))[iron]
    chi = MODEL._planted["chi"][iron]
    slope, _ = np.polyfit(chi, change, 1)
    assert slope == pytest.approx(-5040 / 0.87 * (1 / 4500 - 1 / 5777), rel=1e-6)


def test_ions_of_iron_tell_gravity() -> None:
    def median(name: str, logg: float) -> float:
        return float(np.median(MODEL.strength(star(logg=logg))[MODEL.names == name]))

    assert median("Fe II", 1.5) / median("Fe I", 1.5) > 3 * median("Fe II", 4.5) / median("Fe I", 4.5)


def test_wings_of_the_triplet_grow_with_gravity() -> None:
    wing = (GRID.wave > 5183.9) & (GRID.wave < 5184.7)
    dwarf, giant = (np.median(1 - MODEL(star(teff=5500.0, logg=logg))[0][wing]) for logg in (4.6, 1.5))
    assert dwarf > 2 * giant > 0.01


def test_curve_of_growth() -> None:
    """Weak lines grow with the metals and not with turbulence; saturated ones slower, and with turbulence."""
    poor, rich = star(feh=-2.5, teff=6500.0), star(feh=0.4, teff=4500.0)
    calm = (5230.0, 5402.0)  # without the triplet

    def growth(parameters: np.ndarray, name: str, step: float) -> float:
        changed = parameters.copy()
        changed[ATMOSPHERIC.index(name)] += step
        return np.log10(width(changed, *calm) / width(parameters, *calm))

    assert growth(rich, "feh", 0.1) < 0.6 * growth(poor, "feh", 0.1)
    assert growth(rich, "vmic", 1.0) > 2 * abs(growth(poor, "vmic", 1.0))


def test_hot_stars_lose_lines_and_cool_ones_have_molecules() -> None:
    widths = [width(star(teff=teff), 5230.0) for teff in (4500.0, 5777.0, 7500.0, 9500.0)]
    assert widths == sorted(widths, reverse=True)
    molecules = MODEL.names == "MgH"
    assert MODEL.strength(star(teff=4000.0))[molecules].min() > 20 * MODEL.strength(SUN)[molecules].min()


def test_limb_darkening_falls_with_temperature() -> None:
    found = [limb_darkening(teff) for teff in (3500.0, 5000.0, 7000.0, 9750.0)]
    assert found == sorted(found, reverse=True)
