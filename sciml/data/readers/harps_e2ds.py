"""HARPS and HARPS-N spectra by order (e2ds): one image, a row an order, wavelengths as polynomials in the header.

Keywords, each `HIERARCH ESO ...` (HARPS) or `HIERARCH TNG ...` (HARPS-N):
  DRS CAL TH DEG LL        degree d of the polynomials in the pixel, counted from 0
  DRS CAL TH COEFF LLn     coefficient n = order (d + 1) + power [A, air, frame of the observatory]
  DRS BERV                 velocity of the observatory towards the star [km s-1]: wave (1 + BERV/c) is barycentric
  DRS BLAZE FILE           file of the blaze, an image of the same shape
  DRS CCD SIGDET, CONAD    read noise [electrons a pixel of the detector], electrons a count
  DRS SPE EXT WINDOW       detector pixels that were summed across the order
The values are electrons: the header's own SNR of an order's centre is the square root of its flux. So

  sigma^2 = flux + window SIGDET^2,

photon and read noise alone; the pipeline's division by the flat field is taken to leave that unchanged.
"""

import numpy as np
from astropy.io import fits

from sciml.core.errors import InputError
from sciml.core.urls import exists
from sciml.data.readers.fits_files import (
    catalogue_velocity,
    image,
    instrument,
    is_harps,
    keyword,
    number,
    opened_fits,
    resolving_power,
    star,
)
from sciml.data.spectrum import Spectrum, checked, in_window, refuse_window, shifted

# Order times wavelength at the blaze's peak [A], and the blaze's width, sinc^2(width (m - peak/wave)): HARPS and
# HARPS-N share the grating. Fitted to a star's continuum and to a lamp, which they follow to 5 and 11 %
GRATING, WIDTH = 611_840.0, 0.88
READ_NOISE, EXTRACTED = 4.7, 17.0  # [electrons], [pixels]: where the header lacks them
SHORTEST_SHARE = 0.05  # of an order within the window, below which it is left out
_FAINTEST = 0.02  # of the blaze's peak: beyond there is no light
_PROFILE = 3.6  # [pixels] equivalent width of an order across
_CONVERTER = 65535.0  # largest count


def e2ds_spectrum(
    hdus: fits.HDUList, file: str, *, blaze: str | None = None, resolution: float | None = None
) -> Spectrum:
    """The orders that overlap 5020-5402 A, blaze divided out.

    blaze: its file; else that which the header names, in the same folder; else the grating's theoretical one, which
    `notes` says. Raises InputError for a header without wavelengths, for another number of orders than it describes,
    and for a file of another window.
    """
    header = hdus[0].header
    counts = image(hdus[0], file)
    wave = wavelengths(header, counts.shape, file)
    kept = in_window(wave).mean(1) >= SHORTEST_SHARE
    if not kept.any():
        refuse_window(wave, file)
    shape, notes = _blaze(header, counts.shape, wave, file, blaze)
    berv = number(header, "DRS BERV")
    if np.isnan(berv):
        notes.append("no keyword DRS BERV: wavelengths and velocity are those of the observatory")
    else:
        wave = shifted(wave, berv)
    window = number(header, "DRS SPE EXT WINDOW")
    noise = number(header, "DRS CCD SIGDET")
    if np.isnan(noise):
        notes.append(f"no keyword DRS CCD SIGDET: read noise taken as {READ_NOISE:g} electrons")
    gain = number(header, "DRS CCD CONAD")
    return orders_spectrum(
        star(header, file),
        wave[kept],
        counts[kept],
        shape[kept],
        file=file,
        read_noise=READ_NOISE if np.isnan(noise) else noise,
        extracted=EXTRACTED if np.isnan(window) else window,
        gain=1.36 if np.isnan(gain) else gain,
        resolving_power=resolving_power(header, resolution),
        orders=echelle_orders(wave[kept]) if is_harps(header) else None,
        berv=berv,
        instrument=instrument(header),
        catalogue_rv=catalogue_velocity(header),
        notes=tuple(notes),
    )


def wavelengths(header: fits.Header, shape: tuple[int, ...], file: str) -> np.ndarray:
    """(order, pixel) [A, air, observatory's frame] for an image of a shape. Raises InputError."""
    if len(shape) != 2:
        raise InputError(f"{file}: found an image of {len(shape)} dimensions, expected (order, pixel)")
    degree = number(header, "DRS CAL TH DEG LL")
    if np.isnan(degree):
        raise InputError(
            f"{file}: no keyword 'HIERARCH ESO|TNG DRS CAL TH DEG LL' (object {header.get('OBJECT', 'unnamed')!r}): an "
            "image without wavelengths; give an e2ds of a star as HARPS's or HARPS-N's pipeline writes it"
        )
    powers = int(degree) + 1
    found: list[float] = []
    while (value := keyword(header, f"DRS CAL TH COEFF LL{len(found)}")) is not None:
        found.append(float(value))
    if len(found) != shape[0] * powers:
        raise InputError(
            f"{file}: found {shape[0]} orders and {len(found)} wavelength coefficients (DRS CAL TH COEFF LLn), expected"
            f" {powers} for each order, {shape[0] * powers}; image and header belong to different files"
        )
    wave = polynomials(np.array(found).reshape(shape[0], powers), shape[1])
    if (np.diff(wave, axis=1) <= 0).any() or (np.diff(wave[:, 0]) <= 0).any():
        raise InputError(f"{file}: wavelengths of the header do not rise along and across the orders; damaged?")
    return wave


def polynomials(coefficients: np.ndarray, pixels: int) -> np.ndarray:
    """(order, pixel) values of polynomials (order, power) at pixels 0, 1, .. ; power 0 first."""
    return np.polynomial.polynomial.polyval(np.arange(float(pixels)), coefficients.T)


def echelle_orders(wave: np.ndarray) -> np.ndarray:
    """(order,) diffraction orders of HARPS and HARPS-N from wavelengths (order, pixel) [A]: m wave is one number."""
    return np.round(GRATING / wave[:, wave.shape[1] // 2]).astype(np.int64)


def theoretical_blaze(wave: np.ndarray) -> np.ndarray:
    """(order, pixel) of HARPS's grating at wavelengths (order, pixel) [A, observatory's frame]; 1 at its peak."""
    return np.sinc(WIDTH * (echelle_orders(wave)[:, None] - GRATING / wave)) ** 2


def orders_spectrum(
    name: str,
    wave: np.ndarray,
    counts: np.ndarray,
    blaze: np.ndarray,
    *,
    file: str,
    read_noise: float,
    extracted: float,
    gain: float,
    **rest: object,
) -> Spectrum:
    """Spectrum of counts (order, pixel) [electrons]: noise, saturation, blaze. rest: fields of Spectrum."""
    saturated = counts > _CONVERTER * gain * _PROFILE
    dark = blaze < _FAINTEST
    usable = (counts > 0) & ~saturated & ~dark
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = np.where(usable, counts / blaze, np.nan)
        sigma = np.where(usable, np.sqrt(np.maximum(counts, 0.0) + extracted * read_noise**2) / blaze, np.nan)
    inside = in_window(wave)
    reasons = {"saturated": int((saturated & inside).sum()), "without light": int((dark & ~saturated & inside).sum())}
    return checked(Spectrum(name, wave, flux, sigma, **rest), file, reasons)  # type: ignore[arg-type]


def blaze_beside(header: fits.Header, file: str) -> str | None:
    """The blaze that a header names, where it lies in the folder of its file."""
    named = keyword(header, "DRS BLAZE FILE")
    if named is None:
        return None
    folder = file[: file.rfind("/") + 1]
    return next((folder + name for name in (named, named.replace(":", "_")) if exists(folder + name)), None)


def _blaze(
    header: fits.Header, shape: tuple[int, ...], wave: np.ndarray, file: str, given: str | None
) -> tuple[np.ndarray, list[str]]:
    """(order, pixel) with peaks of 1, and what is to be said about it."""
    found = given or blaze_beside(header, file)
    if found is None:
        if not is_harps(header):
            return np.ones(shape), ["no blaze found: not divided out"]
        named = keyword(header, "DRS BLAZE FILE") or ""
        return theoretical_blaze(wave), [f"blaze file {named} not there: the grating's theoretical blaze"]
    with opened_fits(found) as hdus:
        blaze = image(hdus[0], found)
    if blaze.shape != shape:
        raise InputError(f"{found}: found a blaze of shape {blaze.shape}, expected that of {file}, {shape}")
    return blaze / np.nanmax(blaze, axis=1, keepdims=True), []
