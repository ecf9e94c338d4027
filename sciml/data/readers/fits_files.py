"""What the readers of FITS spectra share: opening with one-line refusals, keywords of ESO and of the TNG."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from sciml.core.errors import InputError
from sciml.core.urls import read_bytes

# wavelength over FWHM, by the word in INSTRUME; ESPRESSO's by its mode (high resolution, single telescope)
RESOLVING_POWERS = {"HARPS": 115000.0, "HARPN": 115000.0, "HARPS-N": 115000.0, "ESPRESSO": 140000.0}


@contextlib.contextmanager
def opened_fits(file: str, data: bytes | None = None) -> Iterator[fits.HDUList]:
    """The parts of a FITS file, local or s3://, plain or gzip, in memory. data: its bytes where they were read before.

    Raises InputError for a missing, damaged or truncated file.
    """
    content = read_bytes(file) if data is None else data
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # cards of old pipelines that break the standard
            with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as hdus:
                if not len(hdus):
                    raise OSError("empty")
                yield hdus
    except (OSError, VerifyError, EOFError) as error:
        raise InputError(
            f"{file}: no readable FITS file ({_short(error)}); truncated or damaged? fetch it again"
        ) from error


def image(hdu: Any, file: str) -> np.ndarray:
    """Values of a part as float64. Raises InputError where the file ends before them."""
    try:
        values = np.asarray(hdu.data, np.float64)
    except (TypeError, ValueError, OSError) as error:
        raise InputError(
            f"{file}: part '{hdu.name}' cannot be read ({_short(error)}); truncated? fetch it again"
        ) from error
    return values


def keyword(header: fits.Header, *names: str) -> Any:
    """The first of the keywords that a header has, each looked for plainly, as ESO's and as the TNG's; else None."""
    for name in names:
        for full in (name, f"ESO {name}", f"TNG {name}"):
            if full in header and header[full] not in ("", None):
                return header[full]
    return None


def number(header: fits.Header, *names: str) -> float:
    """A keyword as a number, NaN where there is none."""
    value = keyword(header, *names)
    try:
        return math.nan if value is None else float(value)
    except ValueError:
        return math.nan


def star(header: fits.Header, file: str) -> str:
    """The star's name, else the file's."""
    return str(keyword(header, "OBJECT", "OBS TARG NAME") or stem(file)).strip()


def stem(file: str) -> str:
    """A file's name without folder and ending."""
    name = file.rstrip("/").rsplit("/", 1)[-1]
    for ending in (".gz", ".fits", ".fit", ".txt", ".dat", ".csv", ".npz"):
        name = name.removesuffix(ending)
    return name


def instrument(header: fits.Header) -> str:
    return str(keyword(header, "INSTRUME") or "").strip()


def is_harps(header: fits.Header) -> bool:
    """HARPS or HARPS-N: the same grating, so the same product of order and wavelength."""
    return instrument(header).upper() in ("HARPS", "HARPN", "HARPS-N")


def resolving_power(header: fits.Header, given: float | None) -> float:
    """Given, else as the header says (SPEC_RP of ESO's archive), else the instrument's; NaN where unknown."""
    if given is not None:
        return float(given)
    said = number(header, "SPEC_RP", "SPECRP")
    return said if said > 0 else RESOLVING_POWERS.get(instrument(header).upper(), math.nan)


def catalogue_velocity(header: fits.Header) -> float:
    """Radial velocity [km s-1] that a pipeline found or the observer gave; NaN where neither is there."""
    for name in ("DRS CCF RVC", "QC CCF RV", "DRS CCF RV", "OBS TARG RADVEL", "TEL TARG RADVEL"):
        value = number(header, name)
        if abs(value) < 1000:  # -99999 stands for none
            return value
    return math.nan


def is_calibration(header: fits.Header) -> bool:
    """Exposures of lamps, flats and what is made of them."""
    category = str(keyword(header, "DPR CATG", "OBS-TYPE") or "").upper()
    return category.startswith("CALIB") or str(header.get("OBJECT", "")).upper().startswith(("LAMP", "WAVE", "BIAS"))


def primary(hdus: fits.HDUList) -> fits.Header:
    """The main header; keywords of the first extension where the main part has none of an instrument."""
    header: fits.Header = hdus[0].header
    if "INSTRUME" in header or len(hdus) == 1:
        return header
    merged = hdus[1].header.copy(strip=True)
    merged.update(header.copy(strip=True))
    return merged


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
