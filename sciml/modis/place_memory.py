"""Memory of places: the detail of a window on other dates, for windows that were seen in training.

Detail is what an image has and its super-resolution from the coarse grid has not. It is geography remembered, not
super-resolution: where a window was never seen there is none. `PlaceMemory` remembers the mean detail,
`PlaceRegression` how the detail of a window went with what its coarse image showed, so that the weather scales it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from sciml.core.errors import InputError
from sciml.modis.degradation import box_t4, consistent
from sciml.modis.images import UNKNOWN_WINDOW, Guidance, Images
from sciml.modis.interpolation import backprojection, bicubic, fill

BLOCK_DAYS = 30  # dates this near to each other are left out together
TOWARDS_ZERO = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # k that are tried [images]
RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # that are tried [K2]
TOWARDS_BOTH = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 1e6)  # m that are tried [images]; the last makes day and night one


@dataclass(frozen=True, eq=False)
class Shrinkage:
    """How far a mean of n details is trusted.

    Of both times of day together: total / (n + k). Of one time of day: (its total + m x the former) / (its n + m).
    """

    towards_zero: float
    towards_both: float

    def mean(self, total: np.ndarray, count: np.ndarray, axis: int) -> np.ndarray:
        """Shrunk means; `axis` is (night, day) in both arguments and in the result."""
        both = _ratio(total.sum(axis=axis, keepdims=True), count.sum(axis=axis, keepdims=True) + self.towards_zero)
        return _ratio(total + self.towards_both * both, count + self.towards_both)


@dataclass(frozen=True, eq=False)
class PlaceMemory:
    """What is remembered of each window.

    window: (place,) ascending numbers. total: (place, night or day, Y, X) sum of details [K], count: how many images
    knew that pixel. factor: between the resolutions the details lie between.
    """

    window: np.ndarray
    total: np.ndarray
    count: np.ndarray
    factor: int
    shrinkage: Shrinkage

    @classmethod
    def fit(cls, images: Images, factor: int, fine: np.ndarray | None = None) -> "PlaceMemory":
        """Remember the details of these images; fine: their super-resolution (image, Y, X) [K], by default by
        back-projection. The shrinkage is chosen by leaving out blocks of BLOCK_DAYS days in turn."""
        details = _details(images, factor, fine)
        seen = np.isfinite(details)
        windows = np.unique(images.window[images.window != UNKNOWN_WINDOW])
        total, count = np.zeros((2, windows.size, 2, *images.lst.shape[1:]))
        for place, members in enumerate(_members(images, windows)):
            for day in (False, True):
                which = members[images.day[members] == day]
                total[place, int(day)] = np.where(seen[which], details[which], 0.0).sum(axis=0)
                count[place, int(day)] = seen[which].sum(axis=0)
        return cls(windows, total, count, factor, chosen_shrinkage(images, details))

    def detail(self, guidance: Guidance) -> np.ndarray:
        """(image, Y, X) [K]: what is remembered of each image's window at its time of day, 0 of an unknown one."""
        place = np.searchsorted(self.window, guidance.window).clip(max=max(self.window.size - 1, 0))
        known = self.window[place] == guidance.window if self.window.size else np.zeros(len(guidance.window), bool)
        result = np.zeros((len(known), *self.total.shape[2:]))
        mean = self.shrinkage.mean(self.total, self.count, axis=1)
        result[known] = mean[place[known], np.asarray(guidance.day)[known].astype(int)]
        return result

    def add(self, fine: np.ndarray, coarse: np.ndarray, guidance: Guidance) -> np.ndarray:
        """`fine` with the detail of its window, seen as `coarse` by a coarse sensor: (image, Y, X) [K]. An image of an
        unknown window comes back as it was."""
        _check_shape(fine, self.total)
        known = np.isin(guidance.window, self.window)
        result = np.array(fine, float)
        result[known] = consistent((result + self.detail(guidance))[known], coarse[known], self.factor)
        return result

    def super_resolve(
        self, lst: np.ndarray, factor: int, guidance: Guidance | None = None, sigma: float = np.nan
    ) -> tuple[np.ndarray, np.ndarray]:
        """Back-projection with the detail of the window; back-projection alone where it is unknown."""
        return _added(self, lst, factor, guidance, sigma)


@dataclass(frozen=True, eq=False)
class PlaceRegression:
    """Ridge regression, window by window, of the fine detail of an image on its coarse detail.

    detail = D^T (H H^T + ridge I)^-1 H h, with a window's remembered images as the rows of H and D. Coarse detail h is
    what the coarse image has and its own half resolution has not. It has no constant: a flat image gets nothing.

    window: (image,) remembered, coarse: (image, y x) their h, over the root of its length [K], fine: (image, Y, X)
    their details [K], factor: between the resolutions, ridge [K2].
    """

    window: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray
    factor: int
    ridge: float

    @classmethod
    def fit(cls, images: Images, factor: int, fine: np.ndarray | None = None) -> "PlaceRegression":
        """Remember these images; arguments as for `PlaceMemory.fit`. The ridge is chosen by leaving out blocks of
        BLOCK_DAYS days in turn."""
        images, coarse, details = _regression_pairs(images, factor, fine)
        ridge = chosen_ridge(images, coarse, details)
        return cls(images.window, coarse, details.astype(np.float32), factor, ridge)

    def detail(self, coarse: np.ndarray, guidance: Guidance) -> np.ndarray:
        """(image, Y, X) [K]: the detail that goes with coarse images (image, y, x) [K], 0 of an unknown window."""
        result = np.zeros((len(coarse), *self.fine.shape[1:]))
        shown = coarse_detail(coarse)
        for window in np.unique(guidance.window):
            there, asked = np.flatnonzero(self.window == window), np.flatnonzero(guidance.window == window)
            if there.size:
                weight = _ridge_weights(self.coarse[there], shown[asked], self.ridge)
                result[asked] = np.tensordot(weight, self.fine[there], axes=1)
        return result

    def add(self, fine: np.ndarray, coarse: np.ndarray, guidance: Guidance) -> np.ndarray:
        """As `PlaceMemory.add`."""
        _check_shape(fine, self.fine)
        known = np.isin(guidance.window, self.window)
        result = np.array(fine, float)
        result[known] = consistent((result + self.detail(coarse, guidance))[known], coarse[known], self.factor)
        return result

    def super_resolve(
        self, lst: np.ndarray, factor: int, guidance: Guidance | None = None, sigma: float = np.nan
    ) -> tuple[np.ndarray, np.ndarray]:
        """Back-projection with the detail of the window; back-projection alone where it is unknown."""
        return _added(self, lst, factor, guidance, sigma)


def _added(
    memory: PlaceMemory | PlaceRegression, lst: np.ndarray, factor: int, guidance: Guidance | None, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    fine, spread = backprojection(lst, factor, sigma=sigma)
    if guidance is None:
        return fine, spread
    _check_factor(factor, memory.factor)
    return memory.add(fine, lst, guidance), spread


def coarse_detail(coarse: np.ndarray) -> np.ndarray:
    """What coarse images (image, y, x) [K] have and their own half resolution has not, 0 where missing:
    (image, y x), over the root of its length."""
    complete = fill(coarse)
    detail = complete - bicubic(box_t4(complete, 2), 2)[0]
    return np.where(np.isfinite(coarse), detail, 0.0).reshape(len(coarse), -1) / np.sqrt(coarse[0].size)


def regression_left_out(
    images: Images, factor: int, ridge: float, fine: np.ndarray | None = None, block_days: int = 1
) -> np.ndarray:
    """Each image with what a `PlaceRegression` without its date gives it. Arguments as for `left_out`."""
    coarse = box_t4(images.lst, factor)
    fine = backprojection(coarse, factor)[0] if fine is None else fine
    shown = coarse_detail(coarse)
    details = np.nan_to_num(images.lst - fine)
    remembered = np.zeros_like(details)
    for members in _members(images):
        weight = _weights_left_out(shown[members], _blocks(images, block_days)[members], ridge)
        remembered[members] = np.tensordot(weight, details[members], axes=1)
    return consistent(fine + remembered, coarse, factor)


def chosen_ridge(images: Images, shown: np.ndarray, details: np.ndarray) -> float:
    """The ridge that, without each block of dates, comes nearest to its details (least squares)."""
    block = _blocks(images, BLOCK_DAYS)
    flat = details.reshape(len(details), np.prod(details.shape[1:], dtype=int))
    error = np.zeros(len(RIDGES))
    for members in _members(images):
        gram = flat[members] @ flat[members].T
        for number, ridge in enumerate(RIDGES):
            weight = _weights_left_out(shown[members], block[members], ridge)
            error[number] += np.sum((weight @ gram - 2 * gram) * weight)
    return RIDGES[int(error.argmin())] if error.any() else RIDGES[len(RIDGES) // 2]


def _regression_pairs(images: Images, factor: int, fine: np.ndarray | None) -> tuple[Images, np.ndarray, np.ndarray]:
    details = np.nan_to_num(_details(images, factor, fine))
    coarse = coarse_detail(box_t4(images.lst, factor))
    placed = images.window != UNKNOWN_WINDOW
    return images.select(placed), coarse[placed], details[placed]


def _ridge_weights(known: np.ndarray, asked: np.ndarray, ridge: float) -> np.ndarray:
    """(asked image, known image): how much of each known detail an asked image gets."""
    system = known @ known.T + ridge * np.eye(len(known))
    return np.linalg.solve(system, known @ asked.T).T


def _weights_left_out(shown: np.ndarray, block: np.ndarray, ridge: float) -> np.ndarray:
    weight = np.zeros((len(shown), len(shown)))
    for one in np.unique(block):
        asked, known = np.flatnonzero(block == one), np.flatnonzero(block != one)
        if known.size:
            weight[np.ix_(asked, known)] = _ridge_weights(shown[known], shown[asked], ridge)
    return weight


def left_out(
    images: Images, factor: int, shrinkage: Shrinkage, fine: np.ndarray | None = None, block_days: int = 1
) -> np.ndarray:
    """Each image with the detail of its window on all other dates (image, Y, X) [K].

    block_days: how many days' images are left out with the image's own. fine: as for `PlaceMemory.fit`.
    """
    coarse = box_t4(images.lst, factor)
    fine = backprojection(coarse, factor)[0] if fine is None else fine
    details = images.lst - fine
    seen = np.isfinite(details)
    details = np.where(seen, details, 0.0)
    remembered = np.zeros_like(details)
    block = _blocks(images, block_days)
    for members in _members(images):
        for image in members:
            others = members[block[members] != block[image]]
            sides = [others[images.day[others] == day] for day in (False, True)]
            total = np.stack([details[side].sum(axis=0) for side in sides])
            count = np.stack([seen[side].sum(axis=0) for side in sides])
            remembered[image] = shrinkage.mean(total, count, axis=0)[int(images.day[image])]
    return consistent(fine + remembered, coarse, factor)


def chosen_shrinkage(images: Images, details: np.ndarray) -> Shrinkage:
    """The shrinkage whose means of the other blocks of dates are nearest to the details of each block (least squares).

    A pixel that is missing counts as one without detail. Where no window has two blocks of dates, the middle ones.
    """
    complete = np.where(np.isfinite(details), details, 0.0).reshape(len(details), -1)
    block = _blocks(images, BLOCK_DAYS)
    options = [Shrinkage(k, m) for k, m in product(TOWARDS_ZERO, TOWARDS_BOTH)]
    error = np.zeros(len(options))
    for members in _members(images):
        # all errors follow from the products of the window's images with each other
        gram = complete[members] @ complete[members].T
        other = (block[members][:, None] != block[members]).astype(float)
        if not other.any():
            continue
        day = images.day[members].astype(int)
        sides = np.stack([other * (day == side) for side in (0, 1)], axis=1)  # (image, night or day, other image)
        count = np.broadcast_to(sides.sum(axis=2, keepdims=True), sides.shape)
        for number, option in enumerate(options):
            weight = option.mean(sides, count, axis=1)[np.arange(len(members)), day]
            error[number] += np.sum((weight @ gram - 2 * gram) * weight)
    if not error.any():
        return Shrinkage(TOWARDS_ZERO[len(TOWARDS_ZERO) // 2], TOWARDS_BOTH[len(TOWARDS_BOTH) // 2])
    return options[int(error.argmin())]


def _check_shape(fine: np.ndarray, remembered: np.ndarray) -> None:
    if fine.shape[1:] != remembered.shape[-2:]:
        raise InputError(
            f"image of temperature: {fine.shape[1:]} pixels found, expected {remembered.shape[-2:]} as remembered of "
            "each window; use no place memory on images of other windows"
        )


def _check_factor(factor: int, remembered: int) -> None:
    if factor != remembered:
        raise InputError(f"place memory: factor {factor} found, expected the remembered {remembered}; fit it anew")


def _details(images: Images, factor: int, fine: np.ndarray | None) -> np.ndarray:
    if fine is None:
        fine, _ = backprojection(box_t4(images.lst, factor), factor)
    return images.lst - fine


def _members(images: Images, windows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Indices of the images of each known window."""
    windows = np.unique(images.window[images.window != UNKNOWN_WINDOW]) if windows is None else windows
    for window in windows:
        yield np.flatnonzero(images.window == window)


def _blocks(images: Images, days: int) -> np.ndarray:
    day = np.asarray(images.date, "datetime64[D]").astype(int)
    return (day - day.min(initial=0)) // days


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, total / np.where(count > 0, count, 1.0), 0.0)
