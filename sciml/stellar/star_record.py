"""Measured stars in a store: one place a star, numbers of all methods, flags as bits, what figures need.

Stores have room for more stars than a run begins with, so that files that come later find their place and no other is
measured again. A file that cannot be used keeps its place too: `reason` says why and everything else is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.stores import Template, Variable
from sciml.stellar.apply import MEANING, Measured, Star
from sciml.stellar.labels import COUNT, LABELS, NUISANCES

FLAGS = tuple(MEANING)
MEANINGS = ("", "rotation", "total")  # of v sin i
PLACES = 256  # stars of one store
ORDERS, PIXELS = 32, 8192  # room for; longer orders are kept thinned
LETTERS = {"name": 64, "notes": 1024, "reason": 512}
_NUMBERS = {
    "rv": "radial velocity, barycentric where the file has the correction",
    "rv_sigma": "standard deviation of rv",
    "snr": "median signal to noise of a pixel, of photons",
    "misfit": "rms of the residual beyond noise, over the continuum",
    "pixels_together": "pixels that err together",
    "resolving_power": "wavelength over FWHM",
}


@dataclass(frozen=True, eq=False)
class Record:
    """A star as a store keeps it. rv, rv_sigma [km/s], NaN where there are no lines; nuisances (3,); order_wave [A],
    order_chi_square (order,). wave [A, at rest], flux, model (order, pixel) over continuum; residual: NaN where a pixel
    was not used. notes: of the reader; reason: why it could not be measured, empty where it was."""

    name: str
    methods: tuple[Measured, ...]
    flags: tuple[str, ...]
    rv: float
    rv_sigma: float
    nuisances: np.ndarray
    snr: float
    misfit: float
    pixels_together: float
    resolving_power: float
    order_wave: np.ndarray
    order_chi_square: np.ndarray
    wave: np.ndarray
    flux: np.ndarray
    model: np.ndarray
    residual: np.ndarray
    notes: str = ""
    reason: str = ""

    def method(self, name: str) -> Measured | None:
        """What a method says, None where it was not asked or said nothing."""
        found = next((one for one in self.methods if one.method == name), None)
        return found if found is not None and np.isfinite(found.mean).all() else None


def record(star: Star) -> Record:
    """What is kept of a measured star."""
    fit, nan, none = star.fit, float("nan"), np.empty((0, 0))
    lost = bool({"no_lines", "emission"} & set(star.flags))
    residual = none if fit is None else np.where(fit.used, fit.flux - fit.model, np.nan)
    return Record(
        star.name,
        star.methods,
        star.flags,
        nan if lost else star.velocity.rv,
        nan if lost else star.velocity.sigma,
        np.full(len(NUISANCES), nan) if fit is None else fit.best[COUNT:],
        nan if fit is None else fit.snr,
        nan if fit is None else fit.misfit,
        nan if fit is None else fit.shared,
        star.spectrum.resolving_power,
        np.empty(0) if fit is None else fit.order_wave,
        np.empty(0) if fit is None else fit.order_chi_square,
        none if fit is None else fit.wave,
        none if fit is None else fit.flux,
        none if fit is None else fit.model,
        residual,
        "; ".join(star.spectrum.notes),
    )


def unusable(name: str, reason: str, methods: Sequence[str]) -> Record:
    """In the place of a star that could not be measured."""
    nan, none, empty = float("nan"), np.empty((0, 0)), np.empty(0)
    nothing = tuple(Measured(one, np.full(COUNT, nan), np.full((COUNT, COUNT), nan), "", nan, ()) for one in methods)
    numbers = (nan, nan, np.full(len(NUISANCES), nan), nan, nan, nan, nan)
    return Record(name, nothing, (), *numbers, empty, empty, none, none, none, none, "", reason)


def template(methods: Sequence[str]) -> Template:
    """Store of PLACES stars; an object of each variable is one star's."""

    def number(*dims: str, units: str = "1", name: str = "", dtype: str = "float64") -> Variable:
        return Variable(("star", *dims), units, name, dtype=dtype, may_be_missing=True)

    bits = {
        "flag_masks": [1 << place for place in range(len(FLAGS))],
        "flag_meanings": " ".join(FLAGS),
    }
    kinds = {"flag_values": list(range(len(MEANINGS))), "flag_meanings": "unknown rotation total_broadening"}
    units = {"rv": "km s-1", "rv_sigma": "km s-1"}
    variables = {name: number(units=units.get(name, "1"), name=text) for name, text in _NUMBERS.items()}
    variables |= {
        "flags": Variable(("star",), "1", "flags of the spectrum", dtype="int32", more=bits),
        "mean": number("method", "label", units="K, dex, dex, km/s", name=", ".join(LABELS)),
        "covariance": number("method", "label", "label_", name="of mean, in its units"),
        "vsini_limit": number("method", units="km s-1", name="95 % upper limit of v sin i where it is not resolved"),
        "vsini_is": Variable(("star", "method"), "1", "what v sin i means", dtype="int8", more=kinds),
        "method_flags": Variable(("star", "method"), "1", "flags of the answer", dtype="int32", more=bits),
        "nuisances": number("nuisance", units="km/s, dex, km/s", name=", ".join(NUISANCES)),
        "order_wave": number("order", units="angstrom", name="middle of an order, in air, at rest"),
        "order_chi_square": number("order", name="reduced chi-square of an order, photon noise alone"),
        "wave": number("order", "pixel", units="angstrom", name="wavelength in air, at rest"),
    }
    for name in ("flux", "model", "residual"):
        variables[name] = number("order", "pixel", name=f"{name}, over the continuum", dtype="float32")
    for name in LETTERS:
        variables[name] = Variable(("star", f"letter_of_{name}"), "1", f"{name}, as UTF-8", dtype="uint8")
    sizes = {"star": PLACES, "method": len(methods), "label": COUNT, "label_": COUNT, "nuisance": len(NUISANCES)}
    sizes |= {"order": ORDERS, "pixel": PIXELS} | {f"letter_of_{name}": most for name, most in LETTERS.items()}
    words = {"method": methods, "label": LABELS, "label_": LABELS, "nuisance": NUISANCES}
    return Template(
        sizes,
        variables,
        {"star": 1},
        {name: xr.Variable(name, np.array(values, dtype=object)) for name, values in words.items()},
    )


def arrays(kept: Record) -> dict[str, np.ndarray]:
    """Of the template, for one place. Raises InputError for more orders than there is room for."""
    if len(kept.wave) > ORDERS:
        raise InputError(
            f"{kept.name}: found {len(kept.wave)} orders within the window, expected {ORDERS} at most; merge them"
        )
    found: dict[str, np.ndarray] = {name: np.float64(getattr(kept, name)) for name in _NUMBERS}
    found |= {
        "flags": _bits(kept.flags),
        "mean": np.array([one.mean for one in kept.methods], float),
        "covariance": np.array([one.covariance for one in kept.methods], float),
        "vsini_limit": np.array([one.vsini_limit for one in kept.methods], float),
        "vsini_is": np.array([MEANINGS.index(one.vsini_is) for one in kept.methods], np.int8),
        "method_flags": np.array([_bits(one.flags) for one in kept.methods], np.int32),
        "nuisances": np.asarray(kept.nuisances, float),
    }
    for name in ("order_wave", "order_chi_square"):
        values = np.asarray(getattr(kept, name), float)
        found[name] = np.pad(values, (0, ORDERS - len(values)), constant_values=np.nan)
    for name in ("wave", "flux", "model", "residual"):
        kind = np.float64 if name == "wave" else np.float32
        found[name] = _padded(getattr(kept, name), kind)
    found |= {name: _letters(getattr(kept, name), most) for name, most in LETTERS.items()}
    return {name: values[None] for name, values in found.items()}


def read_record(store: xr.Dataset, place: int, spectra: bool = False) -> Record:
    """The star in a place. spectra: whether to read wave, flux, model and residual too."""
    long = ("wave", "flux", "model", "residual")
    one = (store if spectra else store.drop_vars(long)).isel(star=place).load()
    methods = tuple(
        Measured(
            str(name),
            one["mean"].values[row],
            one["covariance"].values[row],
            MEANINGS[int(one["vsini_is"].values[row])],
            float(one["vsini_limit"].values[row]),
            _names(int(one["method_flags"].values[row])),
        )
        for row, name in enumerate(one["method"].values)
    )
    orders = np.isfinite(one["order_wave"].values)
    kept = {name: np.empty((0, 0)) for name in long}
    if spectra and orders.any():
        rows = {name: one[name].values[orders] for name in long}
        there = np.isfinite(rows["wave"]).all(0)
        kept = {name: values[:, there] for name, values in rows.items()}
    return Record(
        name=_text(one["name"].values),
        methods=methods,
        flags=_names(int(one["flags"])),
        nuisances=one["nuisances"].values,
        order_wave=one["order_wave"].values[orders],
        order_chi_square=one["order_chi_square"].values[orders],
        notes=_text(one["notes"].values),
        reason=_text(one["reason"].values),
        **{name: float(one[name]) for name in _NUMBERS},
        **kept,
    )


def _bits(flags: Sequence[str]) -> np.ndarray:
    return np.int32(sum(1 << FLAGS.index(flag) for flag in set(flags)))


def _names(bits: int) -> tuple[str, ...]:
    return tuple(flag for place, flag in enumerate(FLAGS) if bits >> place & 1)


def _padded(values: np.ndarray, kind: type) -> np.ndarray:
    """(ORDERS, PIXELS), every so many-th pixel of orders that are longer."""
    thinned = values[:, :: max(-(-values.shape[1] // PIXELS), 1)] if values.size else np.empty((0, 0))
    made = np.full((ORDERS, PIXELS), np.nan, kind)
    made[: thinned.shape[0], : thinned.shape[1]] = thinned
    return made


def _letters(text: str, most: int) -> np.ndarray:
    data = text.encode()[:most].decode(errors="ignore").encode()
    return np.pad(np.frombuffer(data, np.uint8), (0, most - len(data)))


def _text(letters: np.ndarray) -> str:
    return letters.astype(np.uint8).tobytes().rstrip(b"\0").decode()
