"""Merged spectra in FITS: an image whose header has the wavelengths (HARPS's s1d), or a table (ESO's archive, S1D).

Image: wave = CRVAL1 + (pixel + 1 - CRPIX1) CDELT1 (or CD1_1); logarithmic where DC-FLAG is 1 (powers of ten) or CTYPE1
ends in -LOG (FITS paper III). Table: a column of wavelengths and one of flux, standard deviations optional, a row a
pixel or all of them in one row.

Medium: CTYPE1 `AWAV` is air, `WAVE` vacuum; AIRORVAC; in tables the columns' names (wavelength_air), TUCD `em.wl` is
vacuum and `em.wl;obs.atmos` air. HARPS's own s1d is air and barycentric. Where nothing is said, air, with a note.
Frame: SPECSYS TOPOCENT is corrected by the header's BERV.
"""

import numpy as np
from astropy.io import fits

from sciml.core.errors import InputError
from sciml.data.readers.fits_files import (
    catalogue_velocity,
    image,
    instrument,
    is_harps,
    number,
    primary,
    resolving_power,
    star,
)
from sciml.data.spectrum import Spectrum, checked, cut, shifted, vacuum_to_air

_WAVE = ("wavelength_air", "wave_air", "wave", "wavelength", "lambda", "waveobs", "awav")
_FLUX = ("flux", "flux_reduced", "flux_norm", "intensity")
_SIGMA = ("err", "error", "sigma", "flux_err", "err_reduced", "e_flux")


def s1d_spectrum(hdus: fits.HDUList, file: str, *, resolution: float | None = None) -> Spectrum:
    """The part of a merged spectrum within 5020-5402 A and 10 A beside. Raises InputError."""
    header = primary(hdus)
    table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
    notes: list[str] = []
    if table is None:
        wave, vacuum = _axis(header, image(hdus[0], file), file)
        flux, sigma = image(hdus[0], file), None
    else:
        wave, flux, sigma, vacuum = _columns(table, file)
    if vacuum is None:
        vacuum = str(header.get("AIRORVAC", "air")).strip().lower().startswith("vac")
        if "AIRORVAC" not in header and not is_harps(header):
            notes.append("the file does not say whether its wavelengths are of air or vacuum: taken as air")
    wave = wave * angstrom_factor(float(np.nanmedian(wave)), file)
    berv = number(header, "DRS BERV", "QC BERV", "QC VRAD BARYCOR")
    if str(header.get("SPECSYS", "")).strip().upper().startswith("TOPO"):
        if np.isnan(berv):
            notes.append("SPECSYS TOPOCENT without a barycentric velocity: the velocity found is the observatory's")
        else:
            wave = shifted(wave, berv)
    spectrum = Spectrum(
        name=star(header, file),
        wave=(vacuum_to_air(wave) if vacuum else wave)[None],
        flux=flux[None],
        sigma=None if sigma is None else sigma[None],
        resolving_power=resolving_power(header, resolution),
        berv=berv,
        instrument=instrument(header),
        catalogue_rv=catalogue_velocity(header),
        notes=tuple(notes),
    )
    return checked(cut(spectrum, file), file)


def _axis(header: fits.Header, flux: np.ndarray, file: str) -> tuple[np.ndarray, bool | None]:
    """Wavelengths (pixel,) of an image in the header's unit; whether in vacuum, None where unsaid."""
    if flux.ndim != 1:
        raise InputError(
            f"{file}: found an image of shape {flux.shape} without wavelengths of orders, expected one row of pixels or"
            " an e2ds; no spectrum?"
        )
    start, step = number(header, "CRVAL1"), number(header, "CDELT1", "CD1_1")
    if np.isnan(start) or np.isnan(step) or step <= 0:
        raise InputError(
            f"{file}: keywords CRVAL1 and CDELT1: found {header.get('CRVAL1')} and {header.get('CDELT1')}, expected "
            "the first wavelength and a positive step; add them to the header"
        )
    reference = number(header, "CRPIX1")
    offset = (np.arange(float(len(flux))) + 1.0 - (1.0 if np.isnan(reference) else reference)) * step
    kind = str(header.get("CTYPE1", "")).strip().upper()
    if number(header, "DC-FLAG") == 1:
        wave = 10.0 ** (start + offset)
    elif kind.endswith("-LOG"):
        wave = start * np.exp(offset / start)
    else:
        wave = start + offset
    return wave, {"AWAV": False, "WAVE": True}.get(kind.removesuffix("-LOG"))


def _columns(table: fits.BinTableHDU, file: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, bool | None]:
    """Wavelengths, flux, sigma or None, each (pixel,); whether in vacuum, None where unsaid."""
    there = {name.lower(): name for name in table.columns.names}
    wave = next((there[name] for name in _WAVE if name in there), None)
    flux = next((there[name] for name in _FLUX if name in there), None)
    if wave is None or flux is None:
        raise InputError(
            f"{file}: found a table with columns {', '.join(there.values())}; expected a wavelength "
            f"({', '.join(_WAVE[:4])}) and a flux"
        )
    error = next((there[name] for name in _SIGMA if name in there), None)
    values, flow = _column(table, wave, file), _column(table, flux, file)
    sigma = None if error is None else _column(table, error, file)
    if sigma is not None and (np.isfinite(sigma) & (sigma > 0)).mean() <= 0.5:
        sigma = None  # archives fill the column with NaN or 0 where the pipeline had no errors
    ucd = str(table.header.get(f"TUCD{table.columns.names.index(wave) + 1}", "")).lower()
    if wave.lower() in ("wavelength_air", "wave_air", "awav") or "obs.atmos" in ucd:
        return values, flow, sigma, False
    return values, flow, sigma, True if ucd.startswith("em.wl") else None


def _column(table: fits.BinTableHDU, name: str, file: str) -> np.ndarray:
    """Values (pixel,) of a column, a row a pixel or all in one row."""
    try:
        return np.asarray(table.data[name], np.float64).ravel()
    except (TypeError, ValueError, OSError) as error:
        raise InputError(
            f"{file}: column '{name}' cannot be read ({' '.join(str(error).split())[:120]}); truncated? fetch it again"
        ) from error


def angstrom_factor(middle: float, file: str) -> float:
    """Factor to Angstrom of wavelengths about `middle`: visible light is 3000-30,000 A."""
    for factor in (1.0, 10.0, 1e4, 1e10):
        if 2000 <= middle * factor <= 30000:
            return factor
    raise InputError(f"{file}: wavelengths about {middle:g}: expected visible light in A, nm or um")
