"""Configuration: preset, then file, then options; a mistake is one line with the nearest valid name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

from sciml.core.config import Config
from sciml.core.errors import ScimlError


class JobConfig(Config):
    pipeline: ClassVar[str] = "job"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"demo": {}, "large": {"members": 50, "lead_days": 3}}
    members: int = Field(8, ge=2, description="members of the ensemble")
    lead_days: int = Field(1, description="days ahead")
    models: tuple[str, ...] = Field(("lstm", "ridge"), description="what is fitted")
    source: Literal["generated", "gridded"] = Field("generated", description="where data come from")
    cross_validate: bool = Field(False, description="folds instead of a test period")


def refusal(*argv: str) -> str:
    with pytest.raises(ScimlError) as caught:
        JobConfig.parse(argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_options_beat_the_file_which_beats_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("preset: large\nlead_days: 5\n")
    assert JobConfig.parse([]).members == 8
    assert JobConfig.parse(["--preset", "large"]).lead_days == 3
    found = JobConfig.parse(["--config", str(file), "--members=4"])
    assert (found.members, found.lead_days, found.preset) == (4, 5, "large")
    assert JobConfig.parse(["--config", str(file), "--preset", "demo"]).members == 8


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    found = JobConfig.parse(["--models", "ridge,lstm", "--cross-validate", "--seed", "3"])
    assert found.models == ("ridge", "lstm") and found.cross_validate and found.run_dir == "runs/job"
    (tmp_path / "config.yaml").write_text(f"# pipeline: job\n{found.to_yaml()}")
    assert JobConfig.parse(["--config", str(tmp_path / "config.yaml")]) == found


def test_a_switch_takes_a_value_or_none() -> None:
    assert not JobConfig.parse(["--cross-validate", "false"]).cross_validate
    assert JobConfig.parse(["--cross-validate", "--seed", "1"]).cross_validate


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--membrs", "3"], r"--membrs: no such option; did you mean 'members'\?"),
        (["--lead-day", "3"], r"did you mean 'lead-days'\?"),
        (["--preset", "lage"], r"no such preset; did you mean 'large'\?"),
        (["--members", "1"], r"--members: .*greater than or equal to 2; found '1'"),
        (["--members", "many"], r"--members: .*integer.*found 'many'"),
        (["--source", "grided"], r"--source: .*'generated' or 'gridded'"),
        (["--seed", "1", "--seed", "2"], r"--seed is given twice"),
        (["--members"], r"--members needs a value"),
        (["--members", "--seed"], r"--members needs a value"),
        (["members"], r"'members': an option starts with --"),
        (["--executor", "dask"], r"--executor: .*'ray' or 'serial'"),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], expected: str) -> None:
    assert re.search(expected, refusal(*argv))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("membrs: 3", "no field 'membrs'; did you mean 'members'"),
        ("- 1", "found list, expected a mapping"),
        ("a: [", "not a YAML file"),
        ("!!python/object/apply:os.system ['true']", "not a YAML file"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    found = refusal("--config", str(tmp_path / "job.yaml"))
    assert "job.yaml" in found and expected in found
    assert "nothing.yaml" in refusal("--config", str(tmp_path / "nothing.yaml"))


def test_help_names_every_option_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        JobConfig.parse(["--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0
    for name, field in JobConfig.model_fields.items():
        assert f"--{name.replace('_', '-')}" in out and str(field.description) in out
    assert "(generated | gridded)" in out and "presets: demo, large" in out


def test_engine_settings_never_enter_a_digest() -> None:
    made = JobConfig.parse(["--workers", "4", "--seed", "2"])
    assert made.result_fields("seed", "members") == {"seed": 2, "members": 8}
    with pytest.raises(ValueError, match="workers"):
        made.result_fields("workers")
