"""Every setting that is searched exists, and every value that can be drawn is accepted."""

from dataclasses import fields
from importlib import import_module

import pytest

from tune_spaces import grace_lstm

SPACES = {
    name: (getattr(grace_lstm, f"{name}_CONFIG"), space)
    for name, space in vars(grace_lstm).items()
    if name.isupper() and isinstance(space, dict)
}


def ends(draw: tuple) -> list:
    kind, *values = draw
    assert kind in ("choice", "uniform", "loguniform", "integer")
    if kind == "choice":
        assert len(set(values[0])) == len(values[0]) > 1
        return list(values[0])
    low, high = values
    assert low < high and (kind != "loguniform" or low > 0) and (kind != "integer" or isinstance(low, int))
    return [low, high]


@pytest.mark.parametrize("name", sorted(SPACES))
def test_settings_exist_and_values_are_accepted(name: str) -> None:
    path, space = SPACES[name]
    module, attribute = path.split(":")
    config = getattr(import_module(module), attribute)
    known = {field.name for field in fields(config)}
    for setting, draw in space.items():
        assert setting in known, f"{path} has no setting {setting}"
        for value in ends(draw):
            assert getattr(config(**{setting: value}), setting) == value


def test_spaces_were_found() -> None:
    assert "LOCAL" in SPACES
