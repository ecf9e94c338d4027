"""A star's spectrum as read from a file, and what a wavelength means: medium, frame, velocity."""

from dataclasses import dataclass, replace

import numpy as np

from sciml.core.errors import InputError

LIGHT = 299792.458  # [km s-1]
WINDOW = (5020.0, 5402.0)  # [A, air] what the models cover
MARGIN = 10.0  # [A] kept on either side of it: 580 km/s
FEWEST_PIXELS = 500  # in the window: some 5 A
MOST_BAD = 0.5  # share of masked pixels from which on a file is refused


@dataclass(frozen=True, eq=False)
class Spectrum:
    """name: the star's or the file's. wave (order, pixel) [A, air, barycentric unless `berv` is NaN]; flux (order,
    pixel), NaN where masked, blaze divided out where known; sigma (order, pixel), its standard deviation, or None where
    the file says nothing. Spectra that were merged have one order.

    resolving_power: wavelength over FWHM. orders (order,): diffraction orders m, None where unknown. berv [km s-1]: the
    barycentric correction within `wave`, NaN where it is unknown. catalogue_rv [km s-1]: the velocity that the header
    gives, NaN without. notes: one line each, for the person.
    """

    name: str
    wave: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray | None
    resolving_power: float
    orders: np.ndarray | None = None
    berv: float = float("nan")
    instrument: str = ""
    catalogue_rv: float = float("nan")
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> np.ndarray:
        """(order, pixel) which pixels count."""
        return np.isfinite(self.flux) if self.sigma is None else np.isfinite(self.flux) & np.isfinite(self.sigma)


def refraction(vacuum: np.ndarray) -> np.ndarray:
    """Index of standard air (15 C, 101325 Pa, 450 ppm CO2) less 1, for wavelengths in vacuum [A] of any shape.

    Source: Ciddor 1996, Applied Optics 35, 1566, equation 1.
    """
    wavenumber = (1e4 / np.asarray(vacuum, float)) ** 2  # [um-2]
    return 0.05792105 / (238.0185 - wavenumber) + 0.00167917 / (57.362 - wavenumber)


def vacuum_to_air(vacuum: np.ndarray) -> np.ndarray:
    """[A] of any shape."""
    return np.asarray(vacuum, float) / (1.0 + refraction(vacuum))


def air_to_vacuum(air: np.ndarray) -> np.ndarray:
    """[A] of any shape: the fixed point of vacuum = air n(vacuum), which three steps reach to 1e-14."""
    vacuum = np.asarray(air, float)
    for _ in range(4):
        vacuum = np.asarray(air, float) * (1.0 + refraction(vacuum))
    return vacuum


def shifted(wave: np.ndarray, velocity: float) -> np.ndarray:
    """Wavelengths of a source that recedes: wave (1 + v/c), v [km s-1]; the pipelines' definition of a velocity."""
    return np.asarray(wave, float) * (1.0 + velocity / LIGHT)


def to_rest(spectrum: Spectrum, rv: float) -> Spectrum:
    """The spectrum with wavelengths in the frame of a star of radial velocity rv [km s-1]."""
    return replace(spectrum, wave=spectrum.wave / (1.0 + rv / LIGHT))


def in_window(wave: np.ndarray, window: tuple[float, float] = WINDOW) -> np.ndarray:
    return (wave >= window[0]) & (wave <= window[1])


def cut(spectrum: Spectrum, file: str, window: tuple[float, float] = WINDOW, margin: float = MARGIN) -> Spectrum:
    """A merged spectrum (1, pixel) without what lies beyond the window and its margin."""
    kept = in_window(spectrum.wave[0], (window[0] - margin, window[1] + margin))
    if not kept.any():
        refuse_window(spectrum.wave, file, window)
    sigma = None if spectrum.sigma is None else spectrum.sigma[:, kept]
    return replace(spectrum, wave=spectrum.wave[:, kept], flux=spectrum.flux[:, kept], sigma=sigma)


def refuse_window(wave: np.ndarray, file: str, window: tuple[float, float] = WINDOW) -> None:
    raise InputError(
        f"{file}: wavelengths: found {np.nanmin(wave):.1f} .. {np.nanmax(wave):.1f} A, expected some within "
        f"{window[0]:g} .. {window[1]:g} A, which the models cover; give another file or order range"
    )


def checked(spectrum: Spectrum, file: str, reasons: dict[str, int] | None = None) -> Spectrum:
    """The spectrum if it is one, with infinite and non-positive pixels masked and the masked ones counted in `notes`.

    reasons: what a reader has masked already, by its cause. Raises InputError, in one line, for shapes that differ,
    wavelengths that do not rise, no pixels in the window, more than half of them masked, one value throughout, and an
    unknown resolving power.
    """
    wave, flux, sigma = spectrum.wave, spectrum.flux, spectrum.sigma
    if wave.ndim != 2 or wave.shape != flux.shape or (sigma is not None and sigma.shape != flux.shape):
        raise InputError(f"{file}: flux: found shape {flux.shape}, expected that of the wavelengths, {wave.shape}")
    if not np.isfinite(wave).all() or (np.diff(wave, axis=1) <= 0).any():
        row, pixel = np.argwhere(~(np.diff(wave, axis=1) > 0))[0]
        raise InputError(
            f"{file}: wavelengths do not rise: found {wave[row, pixel]:.4f} and then {wave[row, pixel + 1]:.4f} A at "
            f"pixel {pixel} of order {row}; sort the file and remove what is there twice"
        )
    inside = in_window(wave)
    if inside.sum() < FEWEST_PIXELS:
        if not inside.any():
            refuse_window(wave, file)
        raise InputError(
            f"{file}: found {inside.sum()} pixels within {WINDOW[0]:g} .. {WINDOW[1]:g} A, expected {FEWEST_PIXELS}"
        )
    counts = dict(reasons or {})
    positive = np.isfinite(flux) & (flux > 0)
    if sigma is not None:
        positive &= np.isfinite(sigma) & (sigma > 0)
    counts["not positive or not a number"] = int((inside & ~positive).sum()) - sum(counts.values())
    bad = float((inside & ~positive).sum()) / float(inside.sum())
    told = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count > 0)
    if bad > MOST_BAD:
        raise InputError(
            f"{file}: {100 * bad:.0f} % of the {inside.sum()} pixels in {WINDOW[0]:g} .. {WINDOW[1]:g} A cannot be used"
            f" ({told}); expected at most {100 * MOST_BAD:.0f} %"
        )
    values = flux[positive & inside]
    if np.ptp(values) <= 1e-6 * np.median(values):
        raise InputError(
            f"{file}: flux: every pixel holds {values[0]:g}: a flat line, no star's spectrum; check the file"
        )
    if not 1000 < spectrum.resolving_power < 1e6:
        raise InputError(
            f"{file}: resolving power unknown (found {spectrum.resolving_power:g}), expected 1e3 .. 1e6; give it"
        )
    notes = (f"{told} of {inside.sum()} pixels masked",) if told else ()
    return replace(
        spectrum,
        flux=np.where(positive, flux, np.nan),
        sigma=None if sigma is None else np.where(positive, sigma, np.nan),
        notes=spectrum.notes + notes,
    )
