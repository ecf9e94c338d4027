"""Configuration of a job: a pydantic model filled from a preset, a YAML file and `--field value` options in turn."""

import difflib
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from sciml.core.errors import ConfigError
from sciml.core.urls import read_bytes


class Config(BaseModel):
    """What every job can be told. A job's own model adds its fields, `pipeline` and `presets`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    pipeline: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"demo": {}}
    engine_fields: ClassVar[frozenset[str]] = frozenset(
        {"run_dir", "executor", "workers", "ray_address", "dry_run", "retries"}
    )

    preset: str = Field("demo", description="named set of values, overridden by everything else given")
    run_dir: str = Field("", description="folder or s3:// URL for all results [runs/<pipeline>]")
    seed: int = Field(0, ge=0, description="root of every random number")
    executor: Literal["ray", "serial"] = Field("ray", description="ray, or serial in this process")
    workers: int = Field(0, ge=0, description="parallel workers; 0 takes one for each CPU of the cluster")
    ray_address: str = Field("", description="a running Ray cluster, host:port; a submitted job finds its own")
    retries: int = Field(2, ge=0, description="how often a failed item is tried again")
    dry_run: bool = Field(False, description="print items, bytes, memory and time, and do nothing")

    @property
    def amends(self) -> bool:
        """Whether the job amends a finished run: what that was told stays recorded until the job has succeeded."""
        return False

    def result_fields(self, *names: str) -> dict[str, Any]:
        """The named fields as JSON values, for a stage's digest; engine settings never belong to one."""
        wrong = self.engine_fields.intersection(names)
        if wrong:
            raise ValueError(f"{sorted(wrong)} do not change results and must not enter a digest")
        values = self.model_dump(mode="json")
        return {name: values[name] for name in names}

    def to_yaml(self) -> str:
        """The resolved configuration, readable again with --config."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @classmethod
    def parse(cls, argv: Sequence[str] | None = None) -> Self:
        """Configuration from command-line options; raises ConfigError with one line, or SystemExit(0) after --help."""
        options = options_of(cls, list(sys.argv[1:] if argv is None else argv))
        from_file = _from_yaml(cls, options.pop("config")) if "config" in options else {}
        preset = options.get("preset", from_file.get("preset", cls.model_fields["preset"].default))
        if preset not in cls.presets:
            raise ConfigError(f"--preset {preset}: no such preset{_nearest(str(preset), cls.presets)}")
        values = {"run_dir": f"runs/{cls.pipeline}"} | dict(cls.presets[preset]) | from_file | options
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise ConfigError(_first_complaint(error)) from error

    @classmethod
    def help(cls) -> str:
        """One line an option: name, default, meaning."""
        lines = [f"usage: python pipelines/{cls.pipeline}.py [--config FILE.yaml] [--field value ...]", ""]
        lines.append(f"presets: {', '.join(cls.presets)}")
        for name, field in cls.model_fields.items():
            default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
            lines.append(f"  --{name.replace('_', '-'):<26} {field.description or ''} [{default}]{_choices(field)}")
        return "\n".join(lines)


def _choices(field: Any) -> str:
    values = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
    return f" ({' | '.join(map(str, values))})" if values else ""


def options_of(cls: type[Config], argv: list[str]) -> dict[str, Any]:
    """`--field value`, `--field=value`, or a bare `--field` for a switch."""
    found: dict[str, Any] = {}
    position = 0
    while position < len(argv):
        word = argv[position]
        position += 1
        if word in ("-h", "--help"):
            print(cls.help())
            raise SystemExit(0)
        if not word.startswith("--"):
            raise ConfigError(f"{word!r}: an option starts with --; see --help")
        flag, has_value, value = word[2:].partition("=")
        name = flag.replace("-", "_")
        if name != "config" and name not in cls.model_fields:
            raise ConfigError(f"--{flag}: no such option{_nearest(name, cls.model_fields)}; see --help")
        if name in found:
            raise ConfigError(f"--{flag} is given twice")
        if not has_value:
            following = argv[position] if position < len(argv) else None
            if _is_switch(cls, name) and following not in ("true", "false"):
                value = "true"
            elif following is None or following.startswith("--"):
                raise ConfigError(f"--{flag} needs a value")
            else:
                value, position = following, position + 1
        found[name] = _split(cls, name, value)
    return found


def _is_switch(cls: type[Config], name: str) -> bool:
    return name in cls.model_fields and cls.model_fields[name].annotation is bool


def _split(cls: type[Config], name: str, value: str) -> Any:
    """A comma-separated word becomes a tuple where the field holds one."""
    if name not in cls.model_fields:
        return value
    annotation = cls.model_fields[name].annotation
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if any(typing.get_origin(kind) is tuple for kind in kinds):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _from_yaml(cls: type[Config], url: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(read_bytes(url)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{url}: not a YAML file: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{url}: found {type(values).__name__}, expected a mapping of field names to values")
    for name in values:
        if name not in cls.model_fields:
            raise ConfigError(f"{url}: no field {name!r}{_nearest(str(name), cls.model_fields)}")
    return values


def _nearest(name: str, valid: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    spelled = [item.replace("_", "-") if name not in valid else item for item in close]
    return f"; did you mean {spelled[0]!r}?" if spelled else f"; there are: {', '.join(valid)}"


def _first_complaint(error: pydantic.ValidationError) -> str:
    complaint = error.errors()[0]
    place = ".".join(str(part) for part in complaint["loc"])
    name = f"--{place.replace('_', '-')}: " if place else ""
    message = str(complaint["msg"]).removeprefix("Value error, ")
    return f"{name}{message}; found {complaint['input']!r}" if place else message
