import pytest

from sciml.core.errors import ConfigError, InputError, RunError, ScimlError


@pytest.mark.parametrize("kind", [ConfigError, InputError, RunError])
def test_an_error_is_one_line_whatever_it_was_made_from(kind: type[ScimlError]) -> None:
    error = kind("file.nc: found\n  'cm',\texpected 'mm'")
    assert isinstance(error, ScimlError)
    assert str(error) == "file.nc: found 'cm', expected 'mm'"
