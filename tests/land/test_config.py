"""Options of emulator_fit: what is taken, and what is refused in one line."""

import pytest

from sciml.core.errors import ConfigError
from sciml.land.config import EMULATORS, EmulatorFitConfig, years_of

FILES = ["--source", "pcrglobwb", "--files", "pred_*.csv"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--source", "modis"], "--source"),
        (["--files", "a.csv"], "--files would not be read by --source generated"),
        (["--source", "caravan"], "--source caravan needs --files"),
        (["--train", "1981-1990"], "--train 1981-1990: expected FIRST:LAST, as 1981:1995"),
        (["--test", "1990:1981"], "--test 1990:1981: expected FIRST:LAST"),
        (["--train", "1981:1995", "--test", "1995:2000"], "--train 1981:1995 and --test 1995:2000 share years"),
        ([*FILES, "--experiment", "planted"], "--experiment planted needs --source generated"),
        (["--experiment", "discharge"], "--experiment discharge needs --source pcrglobwb"),
        (["--source", "caravan", "--files", "a.csv", "--experiment", "discharge"], "which has routed discharge"),
        (["--experiment", "floods"], "--experiment"),
        (["--models", "sciml,matsiro"], "--models"),
        (["--weights", "runoff"], "--weights runoff: expected VARIABLE=WEIGHT with one of snow, soil_upper"),
        (["--weights", "rain=1"], "--weights rain=1: expected VARIABLE=WEIGHT"),
        (["--weights", "runoff=-1"], "--weights runoff=-1: expected VARIABLE=WEIGHT"),
        (["--starts", "0"], "--starts"),
        (["--cells-per-item", "none"], "--cells-per-item"),
        (["--fit", "global"], "--fit"),
        (["--scheme", "euler"], "--scheme"),
        (["--trian", "1981:1990"], "did you mean 'train'"),
    ],
)
def test_bad_options_are_one_line(options: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        EmulatorFitConfig.parse(options)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_what_is_tried_where_nothing_is_asked_for() -> None:
    assert EmulatorFitConfig.parse([]).experiments == ("free_run", "planted", "speed")
    assert EmulatorFitConfig.parse(FILES).experiments == ("free_run", "discharge", "speed")
    assert EmulatorFitConfig.parse(["--source", "grid", "--files", "a.nc"]).experiments == ("free_run", "speed")
    assert EmulatorFitConfig.parse([*FILES, "--experiment", "warmer"]).experiments == ("warmer",)


def test_models_in_one_order() -> None:
    assert EmulatorFitConfig.parse([]).emulators == EMULATORS
    assert EmulatorFitConfig.parse(["--models", "sciml,paper"]).emulators == ("paper", "sciml")
    assert EmulatorFitConfig.parse(["--models", "sciml,all"]).emulators == EMULATORS


def test_weights_and_years() -> None:
    config = EmulatorFitConfig.parse(["--weights", "runoff=2.5,groundwater=0"])
    assert config.fitting_weights == (("runoff", 2.5), ("groundwater", 0.0))
    assert years_of("", "train") is None and years_of("1981:1981", "train") == (1981, 1981)
