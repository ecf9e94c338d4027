"""Decode a run's stores and checkpoints, hold them against the ledger, forget bad items so that they are made again."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from cluster.ledger import Entry, Ledger, item_key, read_json
from cluster.run import Run, pipeline_of
from cluster.train import CHECKPOINTS
from sciml.core.errors import InputError, RunError
from sciml.core.urls import exists, join, list_sizes, read_bytes
from sciml.data.stores import Variable, value_complaint
from sciml.nn.checkpoint import load_checkpoint


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: which store, which item, what."""

    store: str
    item: str
    complaint: str

    def __str__(self) -> str:
        return f"{self.store}: item {self.item}: {self.complaint}"


def current_stores(url: str) -> dict[str, str]:
    """Stage -> store of a run, as its last start left them; older stores beside them belong to other configurations."""
    if pipeline_of(url) is None:
        raise RunError(f"{url}: not a run directory: no config.yaml of ours in it")
    listing = join(url, "stores.json")
    return read_json(listing) if exists(listing) else {}


def verify_run(url: str) -> tuple[int, list[Finding]]:
    """Check all that is current; removes the ledger entry of each bad item. Returns (objects decoded, findings)."""
    decoded, findings = 0, []
    for store in current_stores(url).values():
        checked, found = _verify_store(url, store)
        decoded += checked
        findings += found
    return decoded, findings


def _verify_store(run_url: str, store: str) -> tuple[int, list[Finding]]:
    ledger = Ledger(join(run_url, "ledger", store))
    if not exists(join(ledger.url, "stage.json")):
        return 0, [Finding(store, "-", "no manifest: the stage was never started to its end; run the job again")]
    try:
        manifest = ledger.manifest()
    except RunError as error:
        return 0, [Finding(store, "-", str(error))]
    url, is_store = _folder(run_url, store, manifest), "template" in manifest
    variables = {n: _variable(v) for n, v in manifest["template"]["variables"].items()} if is_store else {}
    entries = {item_key(entry.item): entry for entry in ledger.entries()}
    sizes, decoded, findings = list_sizes(url), 0, []
    for item in manifest["items"]:
        entry = entries.get(item_key(item))
        if entry is None:
            findings.append(Finding(store, item_key(item), "not finished: no readable ledger entry"))
            continue
        complaints = list(_complaints(url, entry, sizes, variables))
        decoded += len(entry.keys)
        if complaints:
            ledger.forget(entry.item)
            findings += [Finding(store, item_key(item), complaint) for complaint in complaints]
    return decoded, findings


def _folder(run_url: str, store: str, manifest: Mapping[str, Any]) -> str:
    """Where the objects of a ledger lie: in a store of its own, or among the checkpoints."""
    return join(run_url, "stages", store) if "template" in manifest else join(run_url, CHECKPOINTS)


def _variable(spec: Mapping[str, Any]) -> Variable:
    limits = spec.get("valid_range")
    return Variable(
        dims=tuple(spec["dims"]),
        units=spec.get("units", "1"),
        dtype=spec["dtype"],
        valid_range=tuple(limits) if limits else None,
        may_be_missing=bool(spec.get("may_be_missing")),
    )


def _complaints(url: str, entry: Entry, sizes: Mapping[str, int], variables: Mapping[str, Variable]) -> Iterator[str]:
    for key, size in entry.keys.items():
        if key not in sizes:
            yield f"{key}: missing"
        elif sizes[key] != size:
            yield f"{key}: {sizes[key]} bytes, expected {size}"
        elif key.endswith(".pt"):
            yield from _checkpoint_complaints(join(url, key), key)
        else:
            name = key.split("/c/")[0]
            try:
                values = _decode(url, name, key)
            except (RuntimeError, ValueError, OSError, zarr.errors.BaseZarrError) as error:
                yield f"{key}: cannot be decoded: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
                continue
            complaint = value_complaint(variables[name], values) if name in variables else None
            if complaint:
                yield f"{key}: {complaint}"


def _checkpoint_complaints(url: str, key: str) -> Iterator[str]:
    """A checkpoint is a zip archive, whose checksums torch does not look at."""
    try:
        load_checkpoint(url)
        with zipfile.ZipFile(io.BytesIO(read_bytes(url))) as archive:
            damaged = archive.testzip()
    except (InputError, zipfile.BadZipFile) as error:
        yield f"{key}: {error}"
    else:
        if damaged:
            yield f"{key}: checksum of {damaged} does not match"


def _decode(url: str, name: str, key: str) -> np.ndarray:
    array = zarr.open_array(url, path=name, mode="r", zarr_format=3)
    index = [int(part) for part in key.split("/c/")[1].split("/")] if array.ndim else []
    place = tuple(
        slice(i * n, min((i + 1) * n, size)) for i, n, size in zip(index, array.chunks, array.shape, strict=True)
    )
    return np.asarray(array[place])


def progress_of(run: Run | str) -> dict[str, tuple[int, int]]:
    """Finished and expected items of each current stage, by the ledger and one listing a store."""
    url = run if isinstance(run, str) else run.url
    found = {}
    for stage, store in current_stores(url).items():
        ledger = Ledger(join(url, "ledger", store))
        if not exists(join(ledger.url, "stage.json")):
            found[stage] = (0, 1)
            continue
        manifest = ledger.manifest()
        items, done = manifest["items"], ledger.done(list_sizes(_folder(url, store, manifest)))
        found[stage] = (sum(item_key(item) in done for item in items), len(items))
    return found
