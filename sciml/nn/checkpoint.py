"""Checkpoints: one file of plain tensors, numbers and strings, written whole or not at all, here or on S3."""

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sciml.core.errors import ConfigError, InputError
from sciml.core.urls import read_bytes, write_bytes

FORMAT = "sciml-checkpoint-1"


def save_checkpoint(url: str, state: Mapping[str, Any]) -> None:
    """Write a training state (nested dicts and lists of tensors, numbers and strings) to a path or s3:// URL."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_bytes(url, buffer.getvalue())


def load_checkpoint(url: str) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, on the CPU and without executing anything that the file holds.

    Raises InputError where the file is no such checkpoint or is damaged.
    """
    data = read_bytes(url)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way; each of them means the same to the user
        raise InputError(f"{url}: not a readable checkpoint ({_first_line(error)}); remove it to train anew") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{url}: not a checkpoint of this program (expected format {FORMAT!r}); name another file")
    return {key: value for key, value in state.items() if key != "format"}


def require_same_config(stored: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """ConfigError that names the first setting in which a checkpoint differs from the run that would resume it."""
    for key in sorted(stored.keys() | current.keys()):
        if stored.get(key) != current.get(key):
            raise ConfigError(
                f"checkpoint: made with {key}={stored.get(key)!r}, this run has {key}={current.get(key)!r}; "
                "use the same configuration or another run directory"
            )


def require_same_tensors(stored: Mapping[str, Tensor], current: Mapping[str, Tensor], what: str) -> None:
    """ConfigError that names the first tensor whose name or shape differs between a checkpoint and the run."""
    for name in sorted(stored.keys() | current.keys()):
        found, expected = stored.get(name), current.get(name)
        if found is None or expected is None or found.shape != expected.shape:
            raise ConfigError(
                f"checkpoint: {what} '{name}' is {_shape(found)}, this run has {_shape(expected)}; "
                "use the same configuration or another run directory"
            )


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"of shape {tuple(tensor.shape)}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__
