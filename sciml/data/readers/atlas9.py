"""ATLAS9 model atmospheres as R. Kurucz's programs write them: `m05_5750_4.5.dat`, alone in folders or in one archive.

Castelli & Kurucz 2003, IAU Symp. 210, A20 (arXiv astro-ph/0405087). A file has two header lines, abundances and a table
of 72 layers: RHOX [g cm-2], T [K], P [dyn cm-2], XNE [cm-3], ABROSS [cm2 g-1] and more that is not read.
"""

import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sciml.core.errors import InputError
from sciml.core.urls import filesystem, is_folder, read_bytes, refused
from sciml.data.readers.common import reading, require_file

LAYERS = 72
COLUMNS = ("column_mass", "temperature", "gas_pressure", "electron_density")  # [g cm-2, K, dyn cm-2, cm-3]
_TEFF = re.compile(r"^TEFF\s+([\d.]+)\s+GRAVITY\s+([\d.]+)", re.MULTILINE)
_TITLE = re.compile(r"^TITLE\s+\[\s*([+-]?[\d.]+)([aA]?)\]?.*?VTURB\s*=\s*([\d.]+)", re.MULTILINE)
_TABLE = re.compile(r"^READ DECK6\s+(\d+)\s+RHOX,T,P,XNE", re.MULTILINE)
_NAME = re.compile(r"[mp]\d\d_\d+_[\d.]+\.dat$")
_NUMBER = re.compile(r"-?\d+\.\d*(?:E[+-]\d+)?")  # columns may touch


@dataclass(frozen=True, eq=False)
class Atmosphere:
    """One model: teff [K], logg [dex], feh [M/H], alpha_enhanced, vturb [km/s] of its opacities; layers (layer, 4) in
    COLUMNS."""

    name: str
    teff: float
    logg: float
    feh: float
    alpha_enhanced: bool
    vturb: float
    layers: np.ndarray


def read_atmospheres(url: str) -> list[Atmosphere]:
    """Every model of an archive (.tar, .tar.gz, .tar.xz), of a folder with its folders, or of one .dat file.

    Files whose names are none of a grid's nodes are passed over. Raises InputError for a damaged archive, a file with
    another number of layers than it says, and one that holds several models.
    """
    require_file(url)
    found = [parse(text, f"{url}: {name}") for name, text in _texts(url)]
    if not found:
        raise InputError(f"{url}: no model atmosphere in it; expected files like p00_5750_4.5.dat of an ATLAS9 grid")
    return found


def parse(text: str, file: str) -> Atmosphere:
    """The model in a file's text. file: how messages name it."""
    headers = _TEFF.findall(text)
    if len(headers) > 1:
        others = ", ".join(f"{teff} K / {logg}" for teff, logg in headers[1:3])
        raise InputError(
            f"{file}: {len(headers)} models in one file: after {headers[0][0]} K / {headers[0][1]} come {others};"
            " expected one; split the file"
        )
    title, table = _TITLE.search(text), _TABLE.search(text)
    if not (headers and title and table):
        missing = "TEFF" if not headers else "TITLE [M/H] VTURB" if not title else "READ DECK6"
        raise InputError(f"{file}: no line {missing}; expected an ATLAS9 model with its header")
    count, rows = int(table.group(1)), text[table.end() :].splitlines()[1:]
    values = [[float(number) for number in _NUMBER.findall(row)[:4]] for row in rows[:count]]
    short = next((place for place, row in enumerate(values) if len(row) < 4), None)
    if short is not None or len(values) < count:
        raise InputError(
            f"{file}: layer {len(values) if short is None else short}: table ends; expected {count} layers of"
            " RHOX, T, P, XNE; truncated? fetch it again"
        )
    layers = np.array(values)
    if not (layers > 0).all() or not (np.diff(layers[:, 0]) > 0).all():
        raise InputError(f"{file}: column mass does not grow with depth, or a value is not positive; damaged?")
    (teff, logg), (feh, alpha, vturb) = headers[0], title.groups()
    return Atmosphere(file, float(teff), float(logg), float(feh), bool(alpha), float(vturb), layers)


def _texts(url: str) -> Iterator[tuple[str, str]]:
    if is_folder(url):
        fs, path = filesystem(url)
        with refused(url, "read"):
            names = [name for name in sorted(fs.find(path)) if _NAME.search(name)]
            for name in names:
                yield name.removeprefix(path).strip("/"), fs.cat_file(name).decode(errors="replace")
        return
    data = read_bytes(url)
    if url.endswith(".dat"):
        yield url.rpartition("/")[2], data.decode(errors="replace")
        return
    with reading(url):
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    if member.isfile() and _NAME.search(member.name):
                        file = archive.extractfile(member)
                        assert file is not None
                        yield member.name.removeprefix("./"), file.read().decode(errors="replace")
        except (tarfile.TarError, lzma.LZMAError, zlib.error) as error:
            raise InputError(
                f"{url}: no readable archive of model atmospheres ({error}); expected .tar.xz, .tar.gz, .tar, a folder"
                " or a .dat file"
            ) from error
