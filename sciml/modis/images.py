"""What super-resolution works on: images of surface temperature with their guidance, and what every method does."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

UNKNOWN_WINDOW = -1


@dataclass(frozen=True, eq=False)
class Guidance:
    """What a method may know beside the coarse image.

    ndvi: (image, Y, X) [1] on the fine grid, NaN where unknown. day: (image,) whether the sun shone. fine_pixel_m: side
    of a fine pixel [m]. window: (image,) number of the place, for place memory alone, UNKNOWN_WINDOW where it has none.
    reflectance: (image, 2, Y, X) red and near-infrared [1], NaN where unknown; None where there are none.
    """

    ndvi: np.ndarray
    day: np.ndarray
    fine_pixel_m: float
    window: np.ndarray
    reflectance: np.ndarray | None = None


class Method(Protocol):
    """How every method is called."""

    def __call__(self, lst: np.ndarray, factor: int, guidance: Guidance | None = None) -> tuple[np.ndarray, np.ndarray]:
        """lst: (image, y, x) [K], NaN missing -> temperature and its standard deviation, both (image, factor y,
        factor x) [K], NaN where the input is missing."""
        ...


@dataclass(frozen=True, eq=False)
class Images:
    """Images at their finest resolution, on a regular grid.

    lst: (image, Y, X) [K], NaN missing. ndvi: the same shape [1], NaN unknown. date: (image,) datetime64[D].
    day: (image,) bool. window: (image,) number of the place. fine_pixel_m: side of a pixel [m]. reflectance: (image, 2,
    Y, X) red and near-infrared [1], NaN unknown; None where there are none. notes: what the reader had to say.
    """

    lst: np.ndarray
    ndvi: np.ndarray
    date: np.ndarray
    day: np.ndarray
    window: np.ndarray
    fine_pixel_m: float
    source: str
    reflectance: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lst)

    def select(self, which: np.ndarray) -> "Images":
        """Some of the images: a mask or indices (image,)."""
        return Images(
            self.lst[which],
            self.ndvi[which],
            self.date[which],
            self.day[which],
            self.window[which],
            self.fine_pixel_m,
            self.source,
            None if self.reflectance is None else self.reflectance[which],
            self.notes,
        )

    def guidance(self) -> Guidance:
        """Everything a method may know of these images but their temperature."""
        return Guidance(self.ndvi, self.day, self.fine_pixel_m, self.window, self.reflectance)
