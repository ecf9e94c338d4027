"""Spectra in an .npz, one or several, each array `<name>_<what>`.

Merged, or by order, then each (order, pixel): `_wave` [A, air], `_flux`, perhaps `_sigma`. By order, as an e2ds:
`_flux` (order, pixel) [electrons], `_wave_coeff` (order, power) [A, air, observatory's frame], `_blaze`, `_berv_kms`,
`_order_index` (counted from the pipeline's first). Resolving power: of a name that starts with R<number>_ that number,
else HARPS's 115,000. Values of 0 are no data. Read noise of e2ds: HARPS's 4.7 electrons over 17 pixels.
"""

import io
import math
import re
import zipfile

import numpy as np

from sciml.core.errors import InputError
from sciml.data.readers.harps_e2ds import (
    EXTRACTED,
    READ_NOISE,
    echelle_orders,
    orders_spectrum,
    polynomials,
    theoretical_blaze,
)
from sciml.data.readers.harps_s1d import angstrom_factor
from sciml.data.spectrum import Spectrum, checked, cut, shifted

_R = re.compile(r"^R(\d+)_")
_HARPS = 115000.0


def npz_names(data: bytes, file: str) -> list[str]:
    """Names of the spectra in the file, in its order. Raises InputError."""
    return _names(_arrays(data, file), file)


def npz_spectra(data: bytes, file: str, *, resolution: float | None = None, only: str | None = None) -> list[Spectrum]:
    """Every spectrum of the file, in its order, or `only` that of a name. Raises InputError."""
    arrays = _arrays(data, file)
    return [
        _one(
            name,
            {k.removeprefix(f"{name}_"): v for k, v in arrays.items() if k.startswith(f"{name}_")},
            file,
            resolution,
        )
        for name in _names(arrays, file)
        if only in (None, name)
    ]


def _arrays(data: bytes, file: str) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as opened:
            return {name: opened[name] for name in opened.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: no readable npz ({' '.join(str(error).split())[:160]}); fetch it again") from error


def _names(arrays: dict[str, np.ndarray], file: str) -> list[str]:
    names = [key.removesuffix("_flux") for key in arrays if key.endswith("_flux")]
    known = [name for name in names if f"{name}_wave" in arrays or f"{name}_wave_coeff" in arrays]
    if not known:
        raise InputError(
            f"{file}: found arrays {', '.join(list(arrays)[:6])}; expected <name>_flux with <name>_wave or "
            "<name>_wave_coeff"
        )
    return known


def _one(name: str, arrays: dict[str, np.ndarray], file: str, resolution: float | None) -> Spectrum:
    place = f"{file}, {name}"
    match = _R.match(name)
    power = resolution or (float(match[1]) if match else _HARPS)
    if "wave" not in arrays:
        return _by_order(name, arrays, place, power)
    wave, flux = (np.atleast_2d(np.asarray(arrays[key], np.float64)) for key in ("wave", "flux"))
    sigma = np.atleast_2d(np.asarray(arrays["sigma"], np.float64)) if "sigma" in arrays else None
    if wave.shape != flux.shape:
        raise InputError(f"{place}: flux: found shape {flux.shape}, expected that of the wavelengths, {wave.shape}")
    wave = wave * angstrom_factor(float(np.median(wave)), place)
    spectrum = Spectrum(name, wave, flux, sigma, power)
    return checked(cut(spectrum, place) if len(wave) == 1 else spectrum, place)


def _by_order(name: str, arrays: dict[str, np.ndarray], place: str, power: float) -> Spectrum:
    counts = np.asarray(arrays["flux"], np.float64)
    coefficients = np.asarray(arrays["wave_coeff"], np.float64)
    if counts.ndim != 2 or coefficients.ndim != 2 or len(counts) != len(coefficients):
        raise InputError(
            f"{place}: found flux of shape {counts.shape} and wave_coeff of shape {coefficients.shape}; expected "
            "(order, pixel) and (order, power)"
        )
    wave = polynomials(coefficients, counts.shape[1])
    blaze = np.asarray(arrays["blaze"], np.float64) if "blaze" in arrays else theoretical_blaze(wave)
    if blaze.shape != counts.shape:
        raise InputError(f"{place}: found a blaze of shape {blaze.shape}, expected that of the flux, {counts.shape}")
    berv = float(arrays["berv_kms"]) if "berv_kms" in arrays else math.nan
    notes = [] if "blaze" in arrays else ["no blaze: the grating's theoretical one"]
    if math.isnan(berv):
        notes.append("no berv_kms: wavelengths and velocity are those of the observatory")
    return orders_spectrum(
        name,
        wave if math.isnan(berv) else shifted(wave, berv),
        counts,
        blaze,
        file=place,
        read_noise=READ_NOISE,
        extracted=EXTRACTED,
        gain=1.36,
        resolving_power=power,
        orders=echelle_orders(wave),
        berv=berv,
        instrument="HARPS",
        notes=tuple(notes),
    )
