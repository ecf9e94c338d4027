"""Spectra by order (S2D) of ESPRESSO's pipeline, which HARPS and HARPS-N use by now as well.

Extensions, each (order, pixel): SCIDATA [electrons], ERRDATA (its standard deviation), QUALDATA (0 where good),
WAVEDATA_AIR_BARY or WAVEDATA_VAC_BARY [A, barycentric]. Main header: `HIERARCH ESO|TNG QC BERV` (already within the
wavelengths), `QC CCF RV`, `PRO CATG`: S2D_A has its blaze divided out, S2D_BLAZE_A has not. Written to the description
of those files; not tried on a real one.
"""

import numpy as np
from astropy.io import fits

from sciml.core.errors import InputError
from sciml.data.readers.fits_files import (
    catalogue_velocity,
    image,
    instrument,
    is_harps,
    keyword,
    number,
    primary,
    resolving_power,
    star,
)
from sciml.data.readers.harps_e2ds import SHORTEST_SHARE, echelle_orders, theoretical_blaze
from sciml.data.spectrum import Spectrum, checked, in_window, refuse_window, shifted, vacuum_to_air

_LAYOUT = "SCIDATA, ERRDATA, QUALDATA and WAVEDATA_AIR_BARY or WAVEDATA_VAC_BARY"


def s2d_spectrum(hdus: fits.HDUList, file: str, *, resolution: float | None = None) -> Spectrum:
    """The orders that overlap 5020-5402 A. Raises InputError for extensions that lack or differ in shape."""
    header = primary(hdus)
    names = {hdu.name: hdu for hdu in hdus}
    medium = next((name for name in ("WAVEDATA_AIR_BARY", "WAVEDATA_VAC_BARY") if name in names), None)
    missing = [name for name in ("SCIDATA", "ERRDATA") if name not in names]
    if medium is None or missing:
        raise InputError(f"{file}: found extensions {', '.join(filter(None, names))}; expected {_LAYOUT}")
    parts = {name: image(names[name], file) for name in ("SCIDATA", "ERRDATA", "QUALDATA", medium) if name in names}
    shapes = {name: part.shape for name, part in parts.items()}
    if len(set(shapes.values())) != 1 or len(shapes["SCIDATA"]) != 2:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"{file}: found {told}; expected one shape (order, pixel); a damaged file")
    wave = vacuum_to_air(parts[medium]) if medium == "WAVEDATA_VAC_BARY" else parts[medium]
    kept = in_window(wave).mean(1) >= SHORTEST_SHARE
    if not kept.any():
        refuse_window(wave, file)
    wave, flux, sigma = wave[kept], parts["SCIDATA"][kept], parts["ERRDATA"][kept]
    rejected = parts["QUALDATA"][kept] != 0 if "QUALDATA" in parts else np.zeros(flux.shape, bool)
    berv = number(header, "QC BERV")
    notes = [] if "QUALDATA" in parts else ["no QUALDATA: bad pixels unknown"]
    if "BLAZE" in str(keyword(header, "PRO CATG") or "").upper():
        if is_harps(header):
            observed = shifted(wave, 0.0 if np.isnan(berv) else -berv)
            blaze = theoretical_blaze(observed)
            flux, sigma = flux / blaze, sigma / blaze
            notes.append("blaze not divided out in the file: the grating's theoretical blaze")
        else:
            notes.append("blaze not divided out")
    spectrum = Spectrum(
        name=star(header, file),
        wave=wave,
        flux=np.where(rejected, np.nan, flux),
        sigma=sigma,
        resolving_power=resolving_power(header, resolution),
        orders=echelle_orders(wave) if is_harps(header) else None,
        berv=berv,
        instrument=instrument(header),
        catalogue_rv=catalogue_velocity(header),
        notes=tuple(notes),
    )
    return checked(spectrum, file, {"rejected by QUALDATA": int((rejected & in_window(wave)).sum())})
