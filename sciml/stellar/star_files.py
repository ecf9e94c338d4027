"""Which spectra a run is given, where each is kept, and the stage function that measures one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sciml.core.errors import InputError
from sciml.core.urls import absolute, read_bytes
from sciml.data.readers.fits_files import stem
from sciml.data.readers.spectra import blaze_of, names_in, read_file, spectrum_files
from sciml.stellar import trained
from sciml.stellar.apply import CHI2, measure
from sciml.stellar.star_record import PLACES, arrays, record, unusable

VERSION = 2  # of the stage: raise it where the same file gives other numbers
SECONDS, MEMORY_BYTES = 6.0, 1_000_000_000  # of one spectrum; from a run on HARPS stars
_DIGITS = 16


@dataclass(frozen=True)
class StarFile:
    """Address of a spectrum. star: its place in the store. file: absolute; spectrum: its name in an npz, else empty.
    content: what identifies the bytes that it is made from."""

    star: int
    file: str
    spectrum: str
    content: str

    @property
    def title(self) -> str:
        """For a person."""
        return f"{self.file}, {self.spectrum}" if self.spectrum else self.file


@dataclass(frozen=True)
class Measure:
    """Stage function: a spectrum's labels by the best model and by the networks of a training run. checkpoint: that
    run's directory; identity: of what it holds.

    A file that is no spectrum that can be measured leaves the reason in its place; one that cannot be fetched now
    fails, to be tried again.
    """

    checkpoint: str
    identity: str
    resolving_power: float | None
    blaze: str | None
    expected_rv: float | None
    seed: int

    def __call__(self, item: StarFile) -> dict[str, np.ndarray]:
        emulator, networks = trained.load_tools(self.checkpoint, self.identity)
        data = read_bytes(item.file)
        methods = (CHI2, *(one.name for one in networks))
        try:
            (spectrum,) = read_file(
                item.file, resolution=self.resolving_power, blaze=self.blaze, data=data, only=item.spectrum or None
            )
            star = measure(spectrum, emulator, networks, expected_rv=self.expected_rv, seed=self.seed)
            made = arrays(record(star))
        except InputError as error:
            said = str(error) if item.file in str(error) else f"{item.title}: {error}"
            made = arrays(unusable(item.spectrum or stem(item.file), said, methods))
        return made


def found(urls: str) -> tuple[list[StarFile], list[str]]:
    """Spectra of a file, folder, pattern or list, each in place 0 yet, and what is to be said of files passed over.

    Calibrations among several files are passed over. What cannot be read is left to be refused as it is measured.
    """
    files = [absolute(file) for file in spectrum_files(urls)]
    spectra, skipped = [], 0
    for file in files:
        data = read_bytes(file)
        content = hashlib.sha256(data)
        try:
            names = names_in(file, data)
            blaze = blaze_of(file, data)
        except InputError:
            names, blaze = [""], None
        if blaze:
            content.update(read_bytes(blaze))
        skipped += not names and len(files) > 1
        spectra += [
            StarFile(0, file, name, content.hexdigest()[:_DIGITS])
            for name in names or ([""] if len(files) == 1 else [])
        ]
    if not spectra:
        raise InputError(f"{urls}: found {len(files)} files, all of them calibrations; expected a star's spectrum")
    passed = f"{skipped} calibration file{'s' if skipped > 1 else ''} (flats, lamps, blazes) passed over"
    return spectra, [passed] if skipped else []


def placed(
    spectra: Sequence[StarFile], earlier: Sequence[Sequence[str]]
) -> tuple[Mapping[int, list[StarFile]], list[list[str]]]:
    """Items of each store, store -> items, and the places that are taken now: (file, spectrum) by place.

    earlier: those of a run before this. Whoever has a place keeps it.
    """
    taken = [list(one) for one in earlier]
    place = {tuple(one): number for number, one in enumerate(taken)}
    stores: dict[int, list[StarFile]] = {}
    for one in spectra:
        key = (one.file, one.spectrum)
        if key not in place:
            place[key] = len(taken)
            taken.append(list(key))
        store, star = divmod(place[key], PLACES)
        stores.setdefault(store, []).append(StarFile(star, one.file, one.spectrum, one.content))
    return stores, taken


def methods_of(checkpoint: str) -> tuple[str, ...]:
    """Names of the methods that a training run can be asked by."""
    chosen = trained.read_trained(checkpoint).chosen
    return (CHI2, *(() if chosen is None else (one.name for one in chosen.networks)))
