"""Files of planted spectra in the layouts of HARPS, ESPRESSO, ESO's archive and text."""

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from sciml.data.readers.harps_e2ds import GRATING, theoretical_blaze
from sciml.data.spectrum import LIGHT

ORDERS = np.arange(126, 110, -1)  # 4856-5512 A
PIXELS = 2048
COUNTS = 5000.0


def line_list(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths [A, air] and depths of 160 planted lines, fewer strong ones than weak."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(4850, 5520, 280)), 0.05 + 0.8 * rng.beta(1, 3, 280)


def star(wave: np.ndarray, rv: float = 0.0, width: float = 4.0) -> np.ndarray:
    """Flux over continuum at wavelengths of any shape for Gaussian lines of deviation `width` [km s-1]."""
    flux = np.ones(np.shape(wave))
    rest = np.asarray(wave) / (1.0 + rv / LIGHT)
    for centre, depth in zip(*line_list(), strict=True):
        flux *= 1.0 - depth * np.exp(-0.5 * (LIGHT * (rest / centre - 1.0) / width) ** 2)
    return flux


def coefficients(orders: np.ndarray = ORDERS) -> np.ndarray:
    """(order, 4) of a wavelength solution like HARPS's: some 57 A an order, bent."""
    centre = GRATING / orders
    step = centre * 0.0113 / PIXELS
    return np.stack([centre - step * PIXELS / 2, step * 1.08, -0.08 * step / PIXELS, 0.0 * step], axis=1)


def observatory_wave(orders: np.ndarray = ORDERS) -> np.ndarray:
    x = np.arange(float(PIXELS))
    return np.stack([sum(c * x**k for k, c in enumerate(row)) for row in coefficients(orders)])


def write_e2ds(path: Path, *, rv: float = 0.0, berv: float = 0.0, prefix: str = "ESO", **changes: Any) -> np.ndarray:
    """An e2ds of the planted star; the counts (order, pixel) that it holds. changes: keywords, None leaves one out."""
    wave = observatory_wave()
    counts = np.array(changes.pop("counts", COUNTS * star(wave * (1 + berv / LIGHT), rv) * theoretical_blaze(wave)))
    header = {
        "INSTRUME": "HARPS" if prefix == "ESO" else "HARPN",
        "OBJECT": "planted",
        f"HIERARCH {prefix} DRS CAL TH DEG LL": 3,
        f"HIERARCH {prefix} DRS BERV": berv,
        f"HIERARCH {prefix} DRS CCD SIGDET": 5.0,
        f"HIERARCH {prefix} DRS CCD CONAD": 1.36,
        f"HIERARCH {prefix} DRS SPE EXT WINDOW": 16,
        f"HIERARCH {prefix} DRS BLAZE FILE": "night_blaze_A.fits",
    }
    header |= {
        f"HIERARCH {prefix} DRS CAL TH COEFF LL{n}": value
        for n, value in enumerate(changes.pop("coefficients", coefficients()).ravel())
    }
    write_image(path, counts, header | changes)
    return counts


def write_image(path: Path, values: np.ndarray, header: dict[str, Any]) -> None:
    hdu = fits.PrimaryHDU(values.astype(np.float32))
    for key, value in header.items():
        if value is not None:
            hdu.header[key] = value
    hdu.writeto(path, overwrite=True)


def write_s2d(path: Path, *, vacuum: bool = False, **changes: np.ndarray) -> np.ndarray:
    """An S2D of the planted star; its wavelengths in air."""
    from sciml.data.spectrum import air_to_vacuum

    wave = observatory_wave()
    flux = COUNTS * star(wave)
    parts = {"SCIDATA": flux, "ERRDATA": np.sqrt(flux), "QUALDATA": np.zeros(flux.shape, np.int16)}
    parts |= {"WAVEDATA_VAC_BARY": air_to_vacuum(wave)} if vacuum else {"WAVEDATA_AIR_BARY": wave}
    parts |= changes
    main = fits.PrimaryHDU()
    main.header["INSTRUME"] = "ESPRESSO"
    main.header["OBJECT"] = "planted"
    main.header["HIERARCH ESO QC BERV"] = 7.5
    main.header["HIERARCH ESO QC CCF RV"] = 0.25
    hdus = [main, *(fits.ImageHDU(values, name=name) for name, values in parts.items())]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return wave
