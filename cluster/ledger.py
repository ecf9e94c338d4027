"""What is finished: one small JSON object an item, written after its data.

An item counts as done only if every object it wrote is still there with the size it had. The ledger of a store lies in
`RUN/ledger/<stage>-<digest12>/`: `stage.json` says what the store should hold, `items/` holds the entries.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sciml.core.digest import canonical_json, digest
from sciml.core.errors import RunError
from sciml.core.urls import exists, filesystem, join, list_sizes, read_bytes, remove, write_bytes


@dataclass(frozen=True)
class Entry:
    """One finished item.

    item: its address. seed: the run's root seed. seconds: the function alone; total_seconds: with validation and
    writing. peak_memory_bytes: of the worker process so far. keys: objects written, with sizes [bytes].
    """

    item: Mapping[str, Any]
    seed: int
    seconds: float
    total_seconds: float
    peak_memory_bytes: int
    keys: Mapping[str, int]


def item_key(item: Any) -> str:
    """An item's key: its canonical JSON."""
    return canonical_json(item)


def read_json(url: str) -> dict[str, Any]:
    """One of a run's own JSON files. Raises RunError where it is damaged."""
    try:
        return dict(json.loads(read_bytes(url)))
    except (ValueError, TypeError) as error:
        raise RunError(f"{url}: not readable as JSON ({error}); run the job again, it writes a new one") from error


class Ledger:
    """The ledger of one store, at a local path or s3:// URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def _entry_url(self, item: Mapping[str, Any]) -> str:
        return join(self.url, "items", f"{digest(item)[:16]}.json")

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        write_bytes(join(self.url, "stage.json"), json.dumps(manifest, indent=1, sort_keys=True).encode())

    def manifest(self) -> dict[str, Any]:
        return read_json(join(self.url, "stage.json"))

    def known_items(self) -> list[Mapping[str, Any]]:
        """What the manifest promises, or, where there is none to be read, what was finished."""
        try:
            return list(self.manifest()["items"]) if exists(join(self.url, "stage.json")) else []
        except RunError:
            return [entry.item for entry in self.entries()]

    def write(self, entry: Entry) -> None:
        write_bytes(self._entry_url(entry.item), canonical_json(entry).encode())

    def forget(self, item: Mapping[str, Any]) -> None:
        remove(self._entry_url(item))

    def entries(self) -> list[Entry]:
        """All readable entries; one that does not parse, or lies under another item's name, does not count."""
        found = []
        folder = join(self.url, "items")
        fs, path = filesystem(folder)
        names = [name for name in list_sizes(folder) if name.endswith(".json")]
        blobs = fs.cat([join(path, name) for name in names], on_error="omit") if names else {}
        for blob_name, blob in blobs.items():
            try:
                values = json.loads(blob)
                entry = Entry(**{field.name: values[field.name] for field in dataclasses.fields(Entry)})
            except (ValueError, KeyError, TypeError):
                continue
            if blob_name.endswith(f"{digest(entry.item)[:16]}.json"):
                found.append(entry)
        return found

    def done(self, store_sizes: Mapping[str, int]) -> dict[str, Entry]:
        """Entries whose objects all lie in the store with the sizes they had, by item key."""
        return {
            item_key(entry.item): entry
            for entry in self.entries()
            if entry.keys and all(store_sizes.get(key) == size for key, size in entry.keys.items())
        }


def seconds_of(entries: Sequence[Entry]) -> float:
    """Sum of the items' own work [s]."""
    return sum(entry.seconds for entry in entries)
