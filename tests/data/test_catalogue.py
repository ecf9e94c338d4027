import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data import catalogue
from sciml.data.catalogue import CATALOGUE, check, check_range, convert


@pytest.mark.parametrize(
    ("name", "units", "seconds", "found", "expected"),
    [
        # known physical values: what a meteorologist would say on both sides
        ("pr", "mm day-1", None, 8.64, 1e-4),  # 8.64 mm a day is 1e-4 kg m-2 s-1
        ("pr", "m", 86400.0, 0.001, 1 / 86400),  # a millimetre in a day
        ("pr", "mm month-1", 31 * 86400.0, 26.784, 1e-5),  # January
        ("pr", "m of water equivalent per day", None, 0.00864, 1e-4),
        ("mrros", "kg m-2", 3 * 3600.0, 1.08, 1e-4),  # GLDAS: the sum of 3 hours
        ("tas", "degC", None, 0.0, 273.15),
        ("tas", "Kelvin", None, 273.16, 273.16),  # triple point
        ("lst", "Celsius", None, -40.0, 233.15),
        ("ps", "hPa", None, 1013.25, 101325.0),
        ("hfls", "J m**-2", 86400.0, 8.64e6, 100.0),  # ERA5-Land, a day
        ("snw", "m of water equivalent", None, 0.1, 100.0),
        ("twsa", "cm", None, 1.0, 10.0),
        ("twsa", "m", None, -0.02807, -28.07),
        ("twsa", "mm", None, 5.0, 5.0),
        ("mrso", "kg/m^2", None, 300.0, 300.0),
        ("evspsbl", "kg m**-2 s**-1", None, 3e-5, 3e-5),
        ("huss", "kg kg**-1", None, 0.01, 0.01),
    ],
)
def test_conversions_of_known_values(name, units, seconds, found, expected):
    assert convert(name, np.array(found), units=units, file="f", seconds=seconds) == pytest.approx(expected, rel=1e-12)


def test_latent_heat_and_evaporation_agree_on_the_heat_of_vaporisation():
    """1 mm of water a day takes 28.9 W m-2 (2.5 MJ kg-1): both conversions must tell the same story."""
    water = convert("evspsbl", 1.0, units="mm day-1", file="f")
    heat = convert("hfls", 2.5e6, units="J m-2 day-1", file="f")
    assert heat / water == pytest.approx(2.5e6)


@pytest.mark.parametrize(("name", "units"), [("pr", "furlong"), ("tas", "mm"), ("twsa", "W m-2"), ("hfls", "J m-2")])
def test_units_that_mean_something_else_are_refused(name, units):
    with pytest.raises(InputError, match=f"f.nc: variable '{name}': found units '{units}', expected '") as refusal:
        convert(name, np.ones(3), units=units, file="f.nc")
    assert CATALOGUE[name].units in str(refusal.value) and "\n" not in str(refusal.value)


def storage(deviation, places=20, times=60, seed=0):
    return np.random.default_rng(seed).normal(0, deviation, (places, times))


@pytest.mark.parametrize(
    ("units", "scale", "says"),
    [
        ("mm", 0.1, "looks 10 x too small: cm taken for mm"),
        ("cm", 1.0, "looks 10 x too large: mm taken for cm"),
        ("mm", 0.001, "looks 1000 x too small: m taken for mm"),
        (None, 0.1, "no units attribute.*looks 10 x too small: cm taken for mm"),
    ],
)
def test_storage_in_the_wrong_unit_is_named_with_its_factor(units, scale, says):
    with pytest.raises(InputError, match=says) as refusal:
        check("twsa", storage(60.0) * scale, file="mascon.nc", units=units, axis=1)
    assert "mascon.nc: variable 'twsa'" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(("units", "scale"), [("mm", 1.0), ("cm", 0.1), ("m", 0.001), ("kg m-2", 1.0)])
@pytest.mark.parametrize("deviation", [12.0, 60.0, 200.0])
def test_storage_in_the_right_unit_passes(units, scale, deviation):
    out = check("twsa", storage(deviation) * scale, file="f", units=units, axis=1)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, storage(deviation), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("pr", np.full((3, 300), 3e-8), "looks 1000 x too small: m taken for mm"),  # m per day called mm per day
        ("pr", np.full((3, 300), 3.0), "looks 86400 x too large: a daily amount taken for a rate per second"),
        ("tas", np.full((3, 300), 15.0), "looks like degC taken for K: add 273.15"),
        ("hfls", np.full((3, 300), 60.0 * 86400), "looks 86400 x too large"),
        ("mrso", np.full((3, 300), 0.3), "looks 1000 x too small"),
        ("snw", np.full((3, 300), np.nan), "found no valid value"),
        ("tas", np.array([280.0, 9.96921e36]), "check units and fill value"),
    ],
)
def test_fields_of_impossible_size_are_refused(name, values, says):
    with pytest.raises(InputError, match=says):
        check_range(name, values, file="f")


def test_a_dry_month_in_a_small_place_is_no_wrong_unit():
    check_range("pr", np.zeros((24, 4)), file="f")
    check_range("pr", np.full((24, 4), 1e-9), file="f", judge_size=False)


def test_a_single_impossible_value_is_refused_whatever_the_mean():
    values = np.full(10_000, 280.0)
    check_range("tas", values, file="f")
    values[77] = 400.0
    with pytest.raises(InputError, match=r"found 280 \.\. 400, expected 170 \.\. 345 K"):
        check_range("tas", values, file="f")


def test_names_are_cf_and_limits_are_ordered():
    for name, known in CATALOGUE.items():
        assert known.name == name and known.valid_min < known.valid_max and known.typical[0] < known.typical[1]
        assert known.valid_min <= known.typical[1] <= known.valid_max
        assert catalogue.canonical_units(known.units) == known.units
