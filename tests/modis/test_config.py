"""Options of super-resolution: what is refused in one line, and what settings follow."""

import json
from pathlib import Path

import pytest

from sciml.core.errors import ConfigError
from sciml.modis.config import ModisConfig, networks_of, without_places
from sciml.modis.networks import OURS, WITH_MEMORY


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--source patches", "--source patches needs --patches"),
        ("--source pairs --checkpoint R", "--source pairs needs --pairs"),
        ("--source pairs --pairs x.nc", "--source pairs needs --checkpoint"),
        ("--source granules", "--source granules needs --granules"),
        ("--source granules --granules x.hdf --apply", "--source granules needs --checkpoint"),
        ("--apply", "--apply needs --source granules"),
        ("--experiment aster", "--source generated has no experiment aster; it has random_split, date_split"),
        ("--experiment test_patches --source patches --patches x.nc", "--experiment test_patches needs --test-patches"),
        ("--models srcnn", "--models"),
        ("--factor 1", "--factor"),
        ("--degradation mean", "--degradation"),
        ("--preset large", "--preset large: no such preset"),
        ("--epoch 3", "--epoch: no such option; did you mean 'epochs'?"),
        ("--search --source pairs --pairs x --checkpoint R", "--search needs --source patches or generated"),
        ("--search --search-result x.json", "--search-result would not be read by --search"),
        ("--search-trials 0", "--search-trials"),
    ],
)
def test_refusals(options: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ModisConfig.parse(options.split())
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_methods_and_experiments() -> None:
    every = ModisConfig.parse(["--models", "all"]).methods
    assert {"bilinear", "place_memory", "mrunet", OURS, WITH_MEMORY} < set(every) and len(every) == len(
        set(every)
    ) == 12
    assert ModisConfig.parse(["--models", "sciml,vdsr"]).methods == ("backprojection", "vdsr", OURS)
    assert networks_of(every) == ("vdsr", "dmcn", "mrunet", OURS, WITH_MEMORY)
    assert {WITH_MEMORY, "place_memory", "place_regression"} == set(every) - set(without_places(every))
    patches = ["--source", "patches", "--patches", "x.nc"]
    assert ModisConfig.parse(patches).experiments == ("place_split",)
    assert ModisConfig.parse([*patches, "--test-patches", "y.nc"]).experiments == ("test_patches",)


def result(folder: Path, **settings: object) -> str:
    """A file as a search leaves it."""
    space = {name: ["choice", [value]] for name, value in settings.items()}
    path = folder / "search.json"
    path.write_text(json.dumps({OURS: {"space": space, "best": {"settings": {**settings, "epochs": 999}}}}))
    return str(path)


def test_settings_from_a_search(tmp_path: Path) -> None:
    """What was searched is taken by both networks of ours, the rest stays the preset's or what is told."""
    url = result(tmp_path, width=24, learning_rate=0.004)
    config, plain = ModisConfig.parse(["--search-result", url, "--members", "3"]), ModisConfig.parse([])
    for name in (OURS, WITH_MEMORY):
        found = config.settings(name)
        assert (found.width, found.learning_rate, found.members) == (24, 0.004, 3)
        assert (found.epochs, found.blocks) == (plain.settings(name).epochs, plain.settings(name).blocks)
    assert config.settings("vdsr") == plain.settings("vdsr")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "not the result of a search of sciml"),
        ("{}", "not the result of a search of sciml (KeyError: 'sciml')"),
        ('{"sciml": {"space": {"depth": []}, "best": {"settings": {"depth": 3}}}}', "KeyError: 'depth'"),
        (
            '{"sciml": {"space": {"width": []}, "best": {"settings": {"width": 3.5}}}}',
            "width 3.5 found, expected a int",
        ),
    ],
)
def test_a_file_that_is_no_result_is_a_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "search.json").write_text(text)
    config = ModisConfig.parse(["--search-result", str(tmp_path / "search.json")])
    with pytest.raises(ConfigError) as refused:
        config.settings(OURS)
    assert said in str(refused.value) and "\n" not in str(refused.value)
