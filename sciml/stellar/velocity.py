"""A star's radial velocity, found before anything else: least squares of a template's lines over all velocities.

In each order (or stretch of 50 A of a merged spectrum) the deviation d from a smooth continuum is fitted by the
template's absorption t shifted by v and by a polynomial, sum w (d + a t(v) - sum_k c_k P_k)^2 -> min, with one depth a
for all. The fall in chi-square is

  Q(v) = (sum cov)^2 / sum var,   cov = sum w d t - sum_k (w d P_k)(w t P_k),   var = sum w t^2 - sum_k (w t P_k)^2

(P_k orthonormal under w): cross-correlations in log wavelength, all velocities at once. The greatest |cov| / sqrt(var)
with a > 0 is refined at the spectrum's own pixels, where Q is a parabola; its curvature gives the error, with noise
taken from the residuals, so that a template of another star widens it.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.interpolate import BSpline, make_interp_spline
from scipy.ndimage import gaussian_filter1d

from sciml.core.errors import InputError
from sciml.data.spectrum import LIGHT, Spectrum, air_to_vacuum, refraction
from sciml.stellar.wavelengths import GRID

DEGREE = 3  # of the continuum in a stretch
STRETCH = 50.0  # [A] into which merged spectra are cut
WIDTHS = (0.0, 8.0, 16.0)  # [km s-1] deviations of Gaussians beside the instrument's: slow and fast rotators
SIGNIFICANT = 6.0  # peak over the scatter of the correlation elsewhere; noise alone reaches 4.5, a star's lines 20
APART = 60.0  # [km s-1] what counts as elsewhere
NEARBY = 40.0  # [km s-1] most stars near the Sun are slower
_FWHM = 2.3548


@dataclass(frozen=True, eq=False)
class Velocity:
    """rv, sigma [km s-1]: wavelengths are those at rest times 1 + rv/c. by_order, by_order_sigma (stretch,) [km s-1],
    NaN where a stretch has no lines: the scatter beyond its sigmas is the template's fault and is within `sigma`.

    depth: of the star's lines over the template's. significance: of the peak, in scatters of the correlation elsewhere.
    flags: `no_lines`, `emission`, `rv_at_edge`, `vacuum` (the wavelengths are those of vacuum), `vacuum_or_fast`
    (83 km/s too fast for a star nearby: vacuum or indeed such a star; the spectrum cannot tell).
    """

    rv: float
    sigma: float
    by_order: np.ndarray
    by_order_sigma: np.ndarray
    depth: float
    significance: float
    flags: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Stretch:
    wave: np.ndarray
    deviation: np.ndarray
    weight: np.ndarray


def line_template(wave: np.ndarray, depth: np.ndarray, width: float = 3.0) -> np.ndarray:
    """(29400,) flux on GRID of Gaussian lines at wavelengths (line,) [A, air] of central depths (line,) in 0..1.

    width: their deviation [km s-1]. For velocities where no synthetic spectrum is at hand.
    """
    absorption = np.zeros(GRID.size)
    place = np.round(GRID.position(np.asarray(wave, float))).astype(int)
    inside = (place >= 0) & (place < GRID.size)
    deviation = width / GRID.velocity_step
    peak = deviation * np.sqrt(2 * np.pi)
    np.add.at(absorption, place[inside], -np.log1p(-np.clip(np.asarray(depth, float)[inside], 0.0, 0.99)) * peak)
    return np.exp(-gaussian_filter1d(absorption, deviation, mode="constant"))


def find_velocity(
    spectrum: Spectrum, template: np.ndarray, *, span: float = 300.0, expected: float | None = None
) -> Velocity:
    """Velocity within +-span [km s-1] of a spectrum against a template (29400,): flux over continuum on GRID, at rest.

    expected: a velocity known otherwise [km s-1], against which wavelengths of vacuum show; else the header's. Raises
    InputError for a template of another shape or without lines, and where a spectrum has nothing to correlate.
    """
    absorption = 1.0 - np.asarray(template, np.float64)
    if absorption.shape != (GRID.size,) or not absorption.std() > 1e-4:
        raise InputError(f"template: found shape {absorption.shape} and scatter {absorption.std():.2g}, expected lines")
    stretches, emission = _stretches(spectrum)
    if not stretches:
        raise InputError(f"{spectrum.name}: no stretch of 200 pixels to correlate within the window")
    instrument = LIGHT / spectrum.resolving_power / _FWHM
    templates = [gaussian_filter1d(absorption, np.hypot(instrument, more) / GRID.velocity_step) for more in WIDTHS]
    lags, correlation = _search(stretches, templates, span)
    width, lag = np.unravel_index(np.argmax(correlation), correlation.shape)
    curve = correlation[width]
    elsewhere = curve[np.abs(lags - lags[lag]) * GRID.velocity_step > APART]
    scatter = 1.4826 * float(np.median(np.abs(elsewhere - np.median(elsewhere))))
    significance = float(curve[lag] / scatter) if scatter > 0 else 0.0
    start = LIGHT * np.expm1(float(lags[lag]) * GRID.step)
    spline = make_interp_spline(np.arange(GRID.size), templates[width], k=3)
    rv, sigma, each, depth = _refined(stretches, spline, start)
    flags = [] if significance >= SIGNIFICANT else ["no_lines"]
    upside_down = -float(correlation.min())
    if emission or (upside_down > correlation.max() and upside_down > SIGNIFICANT * scatter):
        flags.append("emission")
    if abs(rv) > span - 2 * GRID.velocity_step:
        flags.append("rv_at_edge")
    known = spectrum.catalogue_rv if expected is None else expected
    if not flags:
        flags += vacuum_flags(rv, known)
    return Velocity(float(rv), float(sigma), each[0], each[1], depth, significance, tuple(flags))


def vacuum_flags(rv: float, known: float) -> list[str]:
    """Whether a velocity [km s-1] is off by that of vacuum against air, 83 km/s. known: the star's, NaN without.

    The difference of the two wavelengths changes by 0.3 km/s alone over the window. With a Sun's synthetic spectrum
    seven stars gave that change to +-0.4 of itself: too little to tell a fast star from wavelengths of vacuum where no
    velocity is known.
    """
    offset = vacuum_offset()
    if np.isfinite(known):
        return ["vacuum"] if abs(rv - known - offset) < offset / 4 else []
    return ["vacuum_or_fast"] if abs(rv - offset) < NEARBY else []


def vacuum_offset() -> float:
    """Velocity [km s-1] that wavelengths of vacuum feign when taken as air, at the window's middle."""
    middle = GRID.wave[GRID.size // 2]
    return float(LIGHT * refraction(air_to_vacuum(middle)))


def _stretches(spectrum: Spectrum) -> tuple[list[_Stretch], bool]:
    """Deviations from the continuum by order, or by 50 A; and whether lines go up rather than down."""
    found, skew = [], []
    for row in range(len(spectrum.wave)):
        wave, flux, good = spectrum.wave[row], spectrum.flux[row], spectrum.good[row]
        inside = (wave >= GRID.wave[0]) & (wave <= GRID.wave[-1]) & good
        pieces = 1 if len(spectrum.wave) > 1 else max(int(np.ptp(wave) / STRETCH), 1)
        edges = np.linspace(wave[0], wave[-1] * (1 + 1e-12), pieces + 1)
        for low, high in itertools.pairwise(edges):
            kept = inside & (wave >= low) & (wave < high)
            if kept.sum() < 200:
                continue
            x, y = wave[kept], flux[kept]
            smooth = _smooth(x, y)
            deviation = y / smooth - 1.0
            sigma = np.full(len(x), 1.0) if spectrum.sigma is None else spectrum.sigma[row][kept] / smooth
            low_tail, middle, high_tail = np.percentile(deviation, [1.0, 50.0, 99.0])
            skew.append(((high_tail - middle) - (middle - low_tail)) / max(high_tail - low_tail, 1e-12))
            noise = 1.4826 * np.median(np.abs(deviation - middle))
            weight = np.where(deviation > middle + max(6 * noise, 0.3), 0.0, 1.0 / sigma**2)  # cosmic rays
            found.append(_Stretch(x, deviation - np.average(deviation, weights=weight), weight))
    return found, bool(skew) and float(np.median(skew)) > 0.4


def _smooth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Polynomial through the middle of a stretch, outliers of either side left out."""
    unit = 2 * (x - x[0]) / (x[-1] - x[0]) - 1
    kept = np.ones(len(x), bool)
    for _ in range(4):
        fit = np.polynomial.Legendre.fit(unit[kept], y[kept], DEGREE, domain=[-1, 1])(unit)
        rest = y - fit
        spread = 1.4826 * np.median(np.abs(rest[kept] - np.median(rest[kept])))
        kept = np.abs(rest - np.median(rest[kept])) <= 3 * max(spread, 1e-12 * np.abs(y).max())
    return np.maximum(fit, 0.05 * np.median(y))


def _basis(wave: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(degree + 1, pixel) polynomials, orthonormal under the weights."""
    unit = 2 * (wave - wave[0]) / (wave[-1] - wave[0]) - 1
    root = np.sqrt(weight)
    orthogonal = np.linalg.qr(np.polynomial.legendre.legvander(unit, DEGREE) * root[:, None])[0].T
    return np.divide(orthogonal, root, out=np.zeros_like(orthogonal), where=root > 0)


def _search(stretches: list[_Stretch], templates: list[np.ndarray], span: float) -> tuple[np.ndarray, np.ndarray]:
    """Lags (lag,) in steps of GRID, and cov / sqrt(var) (template, lag)."""
    most = int(np.ceil(span / GRID.velocity_step))
    size = next_fast_len(GRID.size + 2 * most, real=True)
    spectra = [(rfft(t, size).conj(), rfft(t * t, size).conj()) for t in templates]
    cov = np.zeros((len(templates), 2 * most + 1))
    var = np.zeros_like(cov)
    for stretch in stretches:
        wave, d, w = _on_grid(stretch)
        basis = _basis(wave, w)
        first = int(np.round(GRID.position(wave[0])))
        rows = np.zeros((2 + len(basis), GRID.size))
        rows[:, first : first + len(wave)] = np.concatenate([[w * d, w], w * basis])
        transformed = rfft(rows, size)
        along = rows[2:, first : first + len(wave)] @ d
        for k, (line, square) in enumerate(spectra):
            many = np.roll(irfft(transformed * line, size), most, axis=-1)[:, : 2 * most + 1]
            squares = np.roll(irfft(transformed[1] * square, size), most)[: 2 * most + 1]
            cov[k] -= many[0] - along @ many[2:]  # d falls where the template absorbs
            var[k] += squares - (many[2:] ** 2).sum(0)
    floor = 1e-6 * var.max(axis=1, keepdims=True)
    return np.arange(-most, most + 1), cov / np.sqrt(np.maximum(var, floor))


def _on_grid(stretch: _Stretch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelengths of GRID that a stretch covers, its deviations there, its weights there (0 in gaps)."""
    first, last = np.ceil(GRID.position(stretch.wave[0])), np.floor(GRID.position(stretch.wave[-1]))
    wave = GRID.wave[int(first) : int(last) + 1]
    right = np.clip(np.searchsorted(stretch.wave, wave), 1, len(stretch.wave) - 1)
    gap = (stretch.wave[right] - stretch.wave[right - 1]) > 4 * np.median(np.diff(stretch.wave))
    weight = np.where(gap, 0.0, np.interp(wave, stretch.wave, stretch.weight))
    return wave, np.interp(wave, stretch.wave, stretch.deviation), weight


def _refined(stretches: list[_Stretch], spline: BSpline, start: float) -> tuple[float, float, np.ndarray, float]:
    """rv, sigma, velocities and sigmas by stretch (2, stretch), depth of the lines."""
    rv = start
    for step in (1.0, 0.5, 0.5):
        offsets = step * np.arange(-3, 4)
        cov, var = _moments(stretches, spline, rv + offsets)
        gain = cov.sum(0) ** 2 / np.maximum(var.sum(0), 1e-300)
        curve = np.polynomial.polynomial.polyfit(offsets, gain, 2)
        if curve[2] >= 0:
            break  # no peak: noise
        rv += float(np.clip(-curve[1] / (2 * curve[2]), -3 * step, 3 * step))
    cov, var = _moments(stretches, spline, rv + offsets)
    depth = float(cov.sum(0)[3] / max(var.sum(0)[3], 1e-300))
    noise = np.array([_variance(s, spline, rv, depth) for s in stretches])
    each = np.array([_peak(offsets, c**2 / np.maximum(v, 1e-300), n) for c, v, n in zip(cov, var, noise, strict=True)])
    each[:, 0] = np.where(cov[:, 3] > 0, each[:, 0], np.nan)
    whole = _peak(offsets, (cov / noise[:, None]).sum(0) ** 2 / (var / noise[:, None]).sum(0), 1.0)
    by_order = np.where(np.isfinite(each[:, 0]), rv + each[:, 0], np.nan)
    usable = np.isfinite(by_order) & (np.abs(each[:, 0]) < 3.0)
    scatter = 0.0
    if usable.sum() > 2:
        weight = 1.0 / each[usable, 1] ** 2
        mean = np.average(by_order[usable], weights=weight)
        scatter = np.sqrt(np.average((by_order[usable] - mean) ** 2, weights=weight) / (usable.sum() - 1))
    formal = float(whole[1]) if np.isfinite(whole[1]) else float("inf")
    return rv, max(formal, float(scatter)), np.stack([by_order, each[:, 1]]), depth


def _moments(stretches: list[_Stretch], spline: BSpline, velocities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cov and var (stretch, velocity) at the spectrum's own pixels."""
    cov, var = np.zeros((2, len(stretches), len(velocities)))
    for k, stretch in enumerate(stretches):
        basis = _basis(stretch.wave, stretch.weight) * stretch.weight
        for j, velocity in enumerate(velocities):
            t = _absorption(spline, stretch.wave, velocity)
            inner = basis @ t
            cov[k, j] = -((stretch.weight * stretch.deviation * t).sum() - inner @ (basis @ stretch.deviation))
            var[k, j] = (stretch.weight * t * t).sum() - (inner**2).sum()
    return cov, var


def _absorption(spline: BSpline, wave: np.ndarray, velocity: float) -> np.ndarray:
    place = np.clip(GRID.position(wave / (1.0 + velocity / LIGHT)), 0, GRID.size - 1)
    return np.asarray(spline(place))


def _variance(stretch: _Stretch, spline: BSpline, rv: float, depth: float) -> float:
    """Residual chi-square per degree of freedom in a stretch: 1 where weights are right and the template fits."""
    t = _absorption(spline, stretch.wave, rv)
    rest = stretch.deviation + depth * t
    basis = _basis(stretch.wave, stretch.weight)
    rest = rest - (basis * stretch.weight @ rest) @ basis
    return float((stretch.weight * rest**2).sum() / max(len(rest) - DEGREE - 2, 1))


def _peak(offsets: np.ndarray, gain: np.ndarray, variance: float) -> tuple[float, float]:
    """Place and sigma of a parabola's maximum; NaN where it has none."""
    curve = np.polynomial.polynomial.polyfit(offsets, gain, 2)
    if curve[2] >= 0:
        return float("nan"), float("nan")
    return -curve[1] / (2 * curve[2]), float(np.sqrt(variance / -curve[2]))
