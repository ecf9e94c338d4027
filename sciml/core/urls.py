"""Files by URL: a local path or s3://, one set of verbs for both.

`AWS_ENDPOINT_URL` and the usual AWS variables are honoured by s3fs itself.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from sciml.core.errors import InputError


def is_remote(url: str | os.PathLike[str]) -> bool:
    """Whether a URL names an object store rather than a disk."""
    text = str(url)
    return "://" in text and not text.startswith("file://")


def join(url: str | os.PathLike[str], *parts: str) -> str:
    """Path below a URL, with single slashes."""
    return "/".join([str(url).rstrip("/"), *(part.strip("/") for part in parts)])


def absolute(url: str) -> str:
    """The same place for a process that works in another folder, as Ray's do."""
    return url if is_remote(url) else str(Path(url).absolute())


def filesystem(url: str | os.PathLike[str]) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL and the path on it.

    Listings are never cached: other processes write to the same store.
    """
    options: dict[str, Any] = {"use_listings_cache": False} if str(url).startswith("s3://") else {}
    return url_to_fs(str(url), **options)


def exists(url: str | os.PathLike[str]) -> bool:
    fs, path = filesystem(url)
    with refused(url, "read"):
        return bool(fs.exists(path))


def members(url: str | os.PathLike[str]) -> list[str]:
    """What an option names: one file, folder or store; a list separated by commas; or a pattern with `*`, `?`, `[`.

    A pattern's come in order of their names. What is there under the very name is that. Raises InputError for a pattern
    without a match.
    """
    text = str(url)
    fs, path = filesystem(text)
    with refused(text, "read"):
        if fs.exists(path) or not set(text) & set(",*?["):
            return [text]
        if "," in text:
            return [name for part in text.split(",") if part.strip() for name in members(part.strip())]
        found = fs.glob(path)
    return _named(fs, found, text, "matches")


def files_in(url: str | os.PathLike[str], endings: tuple[str, ...]) -> list[str]:
    """Files of a folder that end so, in order of their names. Raises InputError where there is none."""
    fs, path = filesystem(url)
    with refused(url, "read"):
        found = [name for name in fs.ls(path, detail=False) if name.endswith(endings)]
    return _named(fs, found, str(url), f"ends in {', '.join(endings)}")


def is_folder(url: str | os.PathLike[str]) -> bool:
    fs, path = filesystem(url)
    with refused(url, "read"):
        return bool(fs.isdir(path))


def _named(fs: fsspec.AbstractFileSystem, found: list[str], url: str, wanted: str) -> list[str]:
    if not found:
        raise InputError(f"{url}: no file {wanted}; check the path or the pattern")
    return [fs.unstrip_protocol(name) if is_remote(url) else name for name in sorted(found)]


def read_bytes(url: str | os.PathLike[str]) -> bytes:
    fs, path = filesystem(url)
    with refused(url, "read"):
        return bytes(fs.cat_file(path))


def write_bytes(url: str | os.PathLike[str], data: bytes, *, exclusive: bool = False) -> None:
    """Write a whole object or nothing: by rename on a disk, by one PUT on S3.

    exclusive: raise FileExistsError where something is there already (atomic on both).
    """
    fs, path = filesystem(url)
    with refused(url, "write"):
        if is_remote(url):
            fs.pipe_file(path, data, mode="create" if exclusive else "overwrite")
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if exclusive:
                os.link(temporary, target)
            else:
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def list_sizes(url: str | os.PathLike[str]) -> dict[str, int]:
    """Every object below a URL with its size [bytes]: keys relative to the URL. One listing."""
    fs, path = filesystem(url)
    with refused(url, "list"):
        if not fs.exists(path):
            return {}
        found = fs.find(path, detail=True)
    root = path.rstrip("/") + "/"
    return {name.removeprefix(root): int(info["size"]) for name, info in found.items()}


def remove(url: str | os.PathLike[str]) -> None:
    """Remove an object or everything below a URL; nothing happens where nothing is."""
    fs, path = filesystem(url)
    with refused(url, "remove"):
        if fs.exists(path):
            fs.rm(path, recursive=True)


@contextlib.contextmanager
def refused(url: str | os.PathLike[str], verb: str) -> Iterator[None]:
    """Turn the many exceptions of disks and object stores into one line that names the URL.

    FileExistsError passes: exclusive creation is a question, not a failure.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except FileExistsError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{url}: cannot {verb}: no such file, folder or bucket; check the path") from error
    except (OSError, BotoCoreError, ClientError) as error:
        raise InputError(f"{url}: cannot {verb}: {error}; check access, free space and endpoint") from error
