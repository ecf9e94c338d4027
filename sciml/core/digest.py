"""Digests of configurations and inputs: equal content, equal digest."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from sciml.core.urls import filesystem, is_remote, members, refused

_BLOCK = 1 << 22


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, no NaN. Takes JSON values, mappings and dataclasses."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def fingerprint(url: str | os.PathLike[str]) -> dict[str, Any]:
    """What identifies an input: size and content hash of a local file or folder, size and ETag of S3 objects.

    A pattern or a list (`urls.members`) is identified by the name and content of each member, not by its folder.
    """
    names = members(url)
    if len(names) > 1:
        each = [[name.rstrip("/").rsplit("/", 1)[-1], fingerprint(name)] for name in names]
        return {"files": len(each), "sha256": digest(each)}
    url = names[0]
    fs, path = filesystem(url)
    with refused(url, "read"):
        info = fs.info(path)
        if info["type"] == "directory":
            found = fs.find(path, detail=True)
            parts = {name.removeprefix(path): _identity(fs, name, item, url) for name, item in sorted(found.items())}
            return {"files": len(parts), "sha256": digest(parts)}
        return _identity(fs, path, info, url)


def _identity(fs: Any, path: str, info: Mapping[str, Any], url: str | os.PathLike[str]) -> dict[str, Any]:
    if is_remote(url):
        return {"size": int(info["size"]), "etag": str(info.get("ETag", "")).strip('"')}
    hasher = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    return {"size": int(info["size"]), "sha256": hasher.hexdigest()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a digest cannot hold {value}")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a digest cannot hold {type(value).__name__}: {value!r}")
