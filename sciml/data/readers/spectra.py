"""Spectra of stars from any file we know: e2ds, S2D and s1d in FITS, text, npz. The content tells the format."""

import gzip

from astropy.io import fits

from sciml.core.errors import InputError
from sciml.core.urls import files_in, is_folder, members, read_bytes
from sciml.data.readers.fits_files import is_calibration, keyword, opened_fits, primary
from sciml.data.readers.harps_e2ds import blaze_beside, e2ds_spectrum
from sciml.data.readers.harps_s1d import s1d_spectrum
from sciml.data.readers.harps_s2d import s2d_spectrum
from sciml.data.readers.spectrum_npz import npz_names, npz_spectra
from sciml.data.readers.spectrum_text import text_spectrum
from sciml.data.spectrum import Spectrum

_ENDINGS = (".fits", ".fit", ".fits.gz", ".npz", ".txt", ".dat", ".csv", ".asc", ".txt.gz", ".dat.gz")


def spectrum_files(url: str) -> list[str]:
    """Files that a path, folder, pattern or list separated by commas names, local or s3://."""
    return [file for name in members(url) for file in (files_in(name, _ENDINGS) if is_folder(name) else [name])]


def read_spectra(url: str, *, resolution: float | None = None, blaze: str | None = None) -> list[Spectrum]:
    """Spectra of every file of a path, folder or pattern.

    resolution: resolving power, where a file does not say its own; it overrides the file's. blaze: of e2ds, see there.
    Calibrations (flats, lamps, blazes) among several files are passed over; a single one is refused. Raises InputError
    at the first file that is no spectrum; `read_file` reads one alone.
    """
    files = spectrum_files(url)
    found: list[Spectrum] = []
    for file in files:
        data = read_bytes(file)
        if len(files) == 1 or not _is_calibration(file, data):
            found += read_file(file, resolution=resolution, blaze=blaze, data=data)
    if not found:
        raise InputError(f"{url}: found {len(files)} files, all of them calibrations; expected a star's spectrum")
    return found


def read_file(
    file: str,
    *,
    resolution: float | None = None,
    blaze: str | None = None,
    data: bytes | None = None,
    only: str | None = None,
) -> list[Spectrum]:
    """Spectra of one file; an npz may hold several, of which `only` one may be named. data: its bytes where they were
    read before. Raises InputError."""
    data = read_bytes(file) if data is None else data
    if _unzipped(data, file)[:2] == b"PK":
        return npz_spectra(data, file, resolution=resolution, only=only)
    if _is_fits(data, file):
        return [_fits_spectrum(file, data, resolution, blaze)]
    return [text_spectrum(_unzipped(data, file), file, resolution=resolution)]


def names_in(file: str, data: bytes) -> list[str]:
    """Names of an npz's spectra; one empty name for another file; none of a calibration. Raises InputError."""
    if _unzipped(data, file)[:2] == b"PK":
        return npz_names(data, file)
    return [] if _is_calibration(file, data) else [""]


def blaze_of(file: str, data: bytes) -> str | None:
    """The file of the blaze that reading a file would use beside it, if any. Raises InputError."""
    if not _is_fits(data, file):
        return None
    with opened_fits(file, data) as hdus:
        return blaze_beside(primary(hdus), file)


def _fits_spectrum(file: str, data: bytes, resolution: float | None, blaze: str | None) -> Spectrum:
    with opened_fits(file, data) as hdus:
        header = primary(hdus)
        names = {hdu.name for hdu in hdus}
        if "SCIDATA" in names:
            return s2d_spectrum(hdus, file, resolution=resolution)
        if keyword(header, "DRS CAL TH DEG LL") is not None and header.get("NAXIS") == 2:
            return e2ds_spectrum(hdus, file, blaze=blaze, resolution=resolution)
        if is_calibration(header):
            raise InputError(
                f"{file}: a calibration (object {header.get('OBJECT', 'unnamed')!r}), no star; give an e2ds, S2D or s1d"
            )
        if header.get("NAXIS") == 2 and _looks_echelle(hdus):
            return e2ds_spectrum(hdus, file, blaze=blaze, resolution=resolution)  # which says what is missing
        return s1d_spectrum(hdus, file, resolution=resolution)


def _looks_echelle(hdus: fits.HDUList) -> bool:
    shape = hdus[0].shape
    return len(shape) == 2 and shape[0] < 200 and shape[1] >= 1024 and "CRVAL1" not in hdus[0].header


def _is_fits(data: bytes, file: str) -> bool:
    return _unzipped(data, file)[:6] == b"SIMPLE"


def _is_calibration(file: str, data: bytes) -> bool:
    if not _is_fits(data, file):
        return False
    with opened_fits(file, data) as hdus:
        return is_calibration(primary(hdus))


def _unzipped(data: bytes, file: str) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise InputError(f"{file}: gzip cannot be read to its end ({error}); fetch it again") from error
