"""Merged spectra as text: columns wavelength, flux and perhaps standard deviation; blanks, tabs or commas between.

Lines that start with `#` are comments; those of the form `# R = 47000`, `# name = bet Hyi`, `# medium = vacuum` say
resolving power, name and medium. A first line of column names is passed over. Wavelengths in A, nm or um, by value.
"""

import io
import math
import re

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.data.readers.fits_files import stem
from sciml.data.readers.harps_s1d import angstrom_factor
from sciml.data.spectrum import Spectrum, checked, cut, vacuum_to_air

_REMARK = re.compile(r"^#\s*([A-Za-z_ ]+?)\s*[=:]\s*(.+?)\s*$", re.MULTILINE)
_RESOLUTION = ("r", "resolution", "resolving power", "resolving_power")


def text_spectrum(data: bytes, file: str, *, resolution: float | None = None) -> Spectrum:
    """The part within 5020-5402 A and 10 A beside. Falling wavelengths are turned. Raises InputError."""
    text = _decoded(data, file)
    remarks = {key.lower(): value for key, value in _REMARK.findall(text)}
    table = _table(text, file)
    if table.shape[0] and table[0, 0] > table[-1, 0]:
        table = table[::-1]
    wave = table[:, 0] * angstrom_factor(float(np.nanmedian(table[:, 0])), file)
    medium = remarks.get("medium", "").lower()
    notes = () if medium else ("the file does not say whether its wavelengths are of air or vacuum: taken as air",)
    said = next((remarks[key] for key in _RESOLUTION if key in remarks), None)
    spectrum = Spectrum(
        name=remarks.get("name", stem(file)),
        wave=(vacuum_to_air(wave) if medium.startswith("vac") else wave)[None],
        flux=table[None, :, 1],
        sigma=table[None, :, 2] if table.shape[1] > 2 and (table[:, 2] > 0).mean() > 0.5 else None,
        resolving_power=_resolving_power(said, resolution, file),
        instrument=remarks.get("instrument", ""),
        notes=notes,
    )
    return checked(cut(spectrum, file), file)


def _decoded(data: bytes, file: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: neither FITS, npz nor text; expected a spectrum") from error
    if "\x00" in text:
        raise InputError(f"{file}: neither FITS, npz nor text; expected a spectrum")
    return text


def _table(text: str, file: str) -> np.ndarray:
    """(pixel, column) of the first two or three columns. Raises InputError that names the line."""
    lines = [
        (place, line) for place, line in enumerate(text.splitlines(), 1) if line.strip() and line.strip()[0] != "#"
    ]
    if lines and not _is_number(re.split(r"[\s,;]+", lines[0][1].strip())[0]):
        lines = lines[1:]  # names of columns
    body = "\n".join(line.strip() for _, line in lines)
    try:
        frame = pd.read_csv(io.StringIO(body), sep=r"[\s,;]+", header=None, engine="python", dtype=str)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(
            f"{file}: no table ({' '.join(str(error).split())[:120]}); expected columns wavelength, flux, perhaps sigma"
        ) from error
    if frame.shape[1] < 2:
        raise InputError(f"{file}: found {frame.shape[1]} column, expected wavelength, flux and perhaps sigma")
    values = frame.iloc[:, :3].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values[:, 0]))
    if wrong.size:
        place, line = lines[int(wrong[0])]
        raise InputError(f"{file}: line {place}: found {line.strip()[:40]!r}, expected wavelength and flux as numbers")
    return values


def _resolving_power(said: str | None, given: float | None, file: str) -> float:
    if given is not None:
        return given
    if said is None:
        return math.nan
    digits = said.replace(",", "").split()[0]
    if not _is_number(digits):
        raise InputError(f"{file}: comment 'R = {said}': expected a number; correct it")
    return float(digits)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
