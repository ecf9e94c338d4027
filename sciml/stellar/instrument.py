"""Spectrographs as stars meet them: the wavelengths of each pixel, the blaze of each order."""

import io
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sciml.core import urls
from sciml.core.errors import InputError
from sciml.stellar.sampling import PixelGrid

HARPS_POWER = 115_000.0  # resolving power of HARPS and HARPS-N
HARPS_MISSING = 115  # the order of the grating between HARPS's two detectors; HARPS-N has it
_LOWEST_BLAZE = 1e-3


@dataclass(frozen=True, eq=False)
class Spectrograph:
    """orders: (order,) numbers m of the grating. wave: (order, pixel) [A, air]. blaze: (order, pixel), at most 1."""

    name: str
    orders: np.ndarray
    wave: np.ndarray
    blaze: np.ndarray
    resolving_power: float

    def __post_init__(self) -> None:
        for name, expected in (("blaze", self.wave.shape), ("orders", self.wave.shape[:1])):
            found = getattr(self, name).shape
            if found != expected:
                raise InputError(f"{self.name}: {name} have shape {found}; expected {expected} as the wavelengths have")
        wrong = ~(self.blaze >= _LOWEST_BLAZE)  # NaN too
        if wrong.any():
            order, pixel = (int(place[0]) for place in np.nonzero(wrong))
            raise InputError(
                f"{self.name}: blaze of order {self.orders[order]} is {self.blaze[order, pixel]:.3g} at pixel {pixel}, "
                f"expected {_LOWEST_BLAZE:g} of its highest or more; leave dark pixels out"
            )

    @cached_property
    def pixels(self) -> PixelGrid:
        return PixelGrid(self.wave, self.resolving_power, self.name)


def harpsn(url: str) -> Spectrograph:
    """HARPS-N from an .npz file with `wave` (order, pixel), `m` (order,) and one `blaze...` whose name may end with
    the orders it holds (`_m121_120_...`), each row by its order; without, as `m`.

    Orders without a blaze take the mean of their neighbours', pixel by pixel, weighted by distance: orders of HARPS two
    apart differ by 2 % at most. Raises InputError.
    """
    held = _arrays(url)
    names = [name for name in held if name.startswith("blaze")]
    if len(names) != 1 or not {"wave", "m"} <= set(held):
        raise InputError(f"{url}: has {', '.join(held) or 'no arrays'}; expected wave, m and one array named blaze...")
    orders, wave, blaze = held["m"], held["wave"].astype(float), held[names[0]].astype(float)
    if wave.ndim != 2 or blaze.ndim != 2 or blaze.shape[1:] != wave.shape[1:] or orders.shape != wave.shape[:1]:
        raise InputError(
            f"{url}: wave {wave.shape}, {names[0]} {blaze.shape} and m {orders.shape} do not fit; "
            "expected (order, pixel) twice and (order,)"
        )
    ending = re.search(r"_m(\d+(?:_\d+)*)$", names[0])
    known = np.array(ending[1].split("_"), int) if ending else orders
    if len(known) != len(blaze):
        raise InputError(f"{url}: {names[0]} names {len(known)} orders and has {len(blaze)} rows; expected as many")
    rising = np.argsort(known)
    filled = np.array([_between(order, known[rising], blaze[rising]) for order in orders])
    return Spectrograph(str(url), orders.astype(int), wave, filled / filled.max(1, keepdims=True), HARPS_POWER)


def generated(
    orders: int = 8, pixels: int = 4096, start: float = 5026.0, stop: float = 5394.0, power: float = HARPS_POWER
) -> Spectrograph:
    """An echelle between two wavelengths [A]: orders 1.3 free spectral ranges long, so that neighbours overlap; pixels
    that shrink along an order as HARPS's do; the blaze of a plain grating, sinc^2."""
    free = (stop - start) / (orders + 0.3)
    middle = (start + stop) / 2
    number = max(round(middle / free), orders)  # of the grating, at the middle
    numbers = number + orders // 2 - np.arange(orders)
    centre = middle * number / numbers
    half = 0.65 * centre / numbers
    low, high = (centre - half).min(), (centre + half).max()
    scale = (stop - start) / (high - low)
    u = np.linspace(0.0, 1.0, pixels)
    along = u + 0.13 * u * (1 - u)
    wave = start + scale * ((centre - half)[:, None] - low + 2 * half[:, None] * along)
    blaze = np.sinc(1.1 * (along - along[np.argmin(abs(along - 0.5))])) ** 2
    return Spectrograph("generated", numbers, wave, np.tile(blaze / blaze.max(), (orders, 1)), power)


def _between(order: int, known: np.ndarray, blaze: np.ndarray) -> np.ndarray:
    """(pixel,) of an order between known ones (rising), or of the nearest beyond them."""
    right = int(np.clip(np.searchsorted(known, order), 0, len(known) - 1))
    left = max(right - 1, 0) if known[right] > order else right
    if left == right:
        return blaze[right]
    share = (order - known[left]) / (known[right] - known[left])
    return (1 - share) * blaze[left] + share * blaze[right]


def _arrays(url: str) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(urls.read_bytes(url)), allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise InputError(f"{url}: is no .npz file of plain arrays: {error}; check the file") from error
