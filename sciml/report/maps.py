"""Maps of packed cells: values on a regular latitude-longitude grid, the coast drawn from the cells themselves.

A map that spans more than half the globe is drawn in the Equal Earth projection (equal areas, so a dry Sahara looks as
large as it is); a region in plain longitude and latitude with true proportions at its middle. Cells that form a few
islands far apart (a generated Earth, a sample of mascons) are shown as tiles side by side, all at one scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from scipy import ndimage

from sciml.report import style
from sciml.report.projection import equal_earth, equal_earth_inverse

WIDTH = 10.0  # inches
GLOBAL_DEGREES = 180.0  # wider than this is drawn as the globe
PIXELS_ACROSS = 1600  # of the globe's picture
MOST_TILES = 8


@dataclass(frozen=True, eq=False)
class Cells:
    """Where packed cells lie. latitude, longitude: (cell,) centres [degrees north, degrees east in -180..180];
    resolution: size of a cell [degrees]; land_latitude, land_longitude: centres of all land cells, for the coast
    (default: the cells themselves are the land); borders: (cell,) integer label, lines are drawn where it changes."""

    latitude: np.ndarray
    longitude: np.ndarray
    resolution: float
    land_latitude: np.ndarray | None = None
    land_longitude: np.ndarray | None = None
    borders: np.ndarray | None = None

    def __post_init__(self) -> None:
        if np.shape(self.latitude) != np.shape(self.longitude) or np.ndim(self.latitude) != 1 or not len(self.latitude):
            raise ValueError(f"cells: latitude {np.shape(self.latitude)} and longitude {np.shape(self.longitude)}")


@dataclass(frozen=True)
class Scale:
    """Colours of values. label: quantity with unit; kind: "diverging" (centred on zero, or on `centre`), "sequential"
    or "skill" (centred on zero, other colours than storage); low, high: ends (default from the data: 1st and 99th
    percentile, rounded outwards to a plain number). classes: names of the values 0, 1, ..., worse upwards, in place of
    all these."""

    label: str
    kind: str = "diverging"
    low: float | None = None
    high: float | None = None
    centre: float = 0.0
    classes: tuple[str, ...] = ()

    def resolve(self, values: np.ndarray) -> tuple[Colormap, Normalize, str]:
        """Colour map, norm and the ends that values exceed ("neither", "min", "max", "both")."""
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise ValueError(f"map of {self.label}: no finite value; a blank panel is a mistake")
        if self.classes:
            colours = ["white", *matplotlib.colormaps[style.CLASSES](np.linspace(0.1, 1.0, len(self.classes) - 1))]
            return ListedColormap(colours), Normalize(-0.5, len(self.classes) - 0.5), "neither"
        low, high = np.quantile(finite, [0.01, 0.99])
        if self.kind == "sequential":
            low = _plain(low, up=False) if self.low is None else self.low
            high = _plain(high, up=True) if self.high is None else self.high
            if high <= low:
                high = low + max(abs(low), 1.0) * 0.1
        else:
            reach = max(abs(low - self.centre), abs(high - self.centre), 1e-6)
            if self.high is not None:
                reach = self.high - self.centre
            elif self.low is not None:
                reach = self.centre - self.low
            else:
                reach = _plain(reach, up=True)
            low, high = self.centre - reach, self.centre + reach
        name = {"diverging": style.DIVERGING, "sequential": style.SEQUENTIAL, "skill": style.SKILL}[self.kind]
        beyond = (finite.min() < low - 1e-9 * abs(low), finite.max() > high + 1e-9 * abs(high))
        extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[beyond]
        return matplotlib.colormaps[name], Normalize(low, high), extend


@dataclass(frozen=True, eq=False)
class Layer:
    """One map of a figure. values: (cell,), NaN is drawn as land without data."""

    title: str
    values: np.ndarray
    scale: Scale


def map_figure(cells: Cells, layers: Sequence[Layer]) -> Figure:
    """Maps of the same cells. Layers that share one `Scale` object share colours and one colour bar.

    Raises ValueError for a layer without any finite value or of another length than the cells.
    """
    for layer in layers:
        if np.shape(layer.values) != np.shape(cells.latitude):
            raise ValueError(f"map {layer.title!r}: {np.shape(layer.values)} values for {len(cells.latitude)} cells")
        if not np.isfinite(layer.values).any():
            raise ValueError(f"map {layer.title!r}: no finite value; a blank panel is a mistake")
    frames = [_Frame(cells, index) for index in tiles(cells)]
    with style.rc():
        return _tiled(frames, layers) if len(frames) > 1 else _gallery(frames[0], layers)


def tiles(cells: Cells) -> list[np.ndarray]:
    """Index arrays of the islands worth a panel of their own: (cell,) each, west to east, north to south; one array
    for one map.

    Islands are groups of cells more than two degrees (or four cells) apart. They get panels only if there are at most
    MOST_TILES of them, each of some size, and they leave three tenths of the box around all cells empty.
    """
    everything = np.arange(len(cells.latitude))
    row, column = _steps(cells.latitude, cells.resolution), _steps(cells.longitude, cells.resolution)
    occupied = np.zeros((row.max() + 1, column.max() + 1), bool)
    occupied[row, column] = True
    apart = max(2, round(1.0 / cells.resolution))
    grown = ndimage.binary_dilation(np.pad(occupied, apart), iterations=apart, structure=np.ones((3, 3)))
    label, count = ndimage.label(grown, structure=np.ones((3, 3)))
    island = label[row + apart, column + apart]
    parts = [np.flatnonzero(island == k) for k in range(1, count + 1)]
    boxes = sum((np.ptp(row[p]) + 1) * (np.ptp(column[p]) + 1) for p in parts)
    crumbs = any(len(p) < 0.03 * len(everything) for p in parts)
    if not 1 < count <= MOST_TILES or crumbs or boxes > 0.7 * occupied.size:
        return [everything]
    return sorted(parts, key=lambda p: (float(cells.longitude[p].min()), -float(cells.latitude[p].max())))


class _Frame:
    """One tile: its grid, coast and borders, ready to be drawn several times."""

    def __init__(self, cells: Cells, index: np.ndarray) -> None:
        self.index, self.resolution = index, cells.resolution
        latitude, longitude = cells.latitude[index], cells.longitude[index]
        self.is_globe = bool(np.ptp(longitude) + cells.resolution > GLOBAL_DEGREES)
        margin = 0.0 if self.is_globe else max(cells.resolution, 0.04 * max(np.ptp(latitude), np.ptp(longitude)))
        margin = np.ceil(margin / cells.resolution) * cells.resolution
        half = cells.resolution / 2
        self.south, self.north = latitude.min() - half - margin, latitude.max() + half + margin
        self.west, self.east = longitude.min() - half - margin, longitude.max() + half + margin
        if self.is_globe:
            self.west, self.east, self.south = -180.0, 180.0, min(self.south, -56.0)
            self.north = max(self.north, 80.0)
        height, width = self.north - self.south, self.east - self.west
        self.shape = (round(height / self.resolution), round(width / self.resolution))
        self.row, self.column = self._place(latitude, longitude)
        self.land = np.zeros(self.shape, bool)
        self.land[self.row, self.column] = True
        if cells.land_latitude is not None and cells.land_longitude is not None:
            inside = (cells.land_latitude > self.south) & (cells.land_latitude < self.north)
            inside &= (cells.land_longitude > self.west) & (cells.land_longitude < self.east)
            self.land[self._place(cells.land_latitude[inside], cells.land_longitude[inside])] = True
        self.coast = self._lines(self.land.astype(int))
        self.borders = None
        if cells.borders is not None:
            label = np.full(self.shape, -1, dtype=np.int64)
            label[self.row, self.column] = cells.borders[index]
            self.borders = self._lines(label, both_sides=True)
        width, height = self._extent()
        self.aspect = width / height
        self.pixels = self._pixels() if self.is_globe else None

    def draw(self, axes: Axes, values: np.ndarray, colours: Colormap, norm: Normalize) -> None:
        """values: (cell,) of all cells; this tile's are taken."""
        field = np.full(self.shape, np.nan)
        field[self.row, self.column] = values[self.index]
        land = np.where(self.land, 1.0, np.nan)
        axes.grid(False)
        grey = ListedColormap([style.LAND])
        place: dict[str, Any] = {"origin": "lower", "extent": self._limits(), "interpolation": "nearest"}
        axes.imshow(self._picture(land), cmap=grey, vmin=0, vmax=1, **place)
        axes.imshow(self._picture(field), cmap=colours, norm=norm, **place)
        if self.borders is not None:
            axes.add_collection(LineCollection(self.borders, colors="#222222", linewidths=0.35, alpha=0.65))
        axes.add_collection(LineCollection(self.coast, colors=style.COAST, linewidths=0.3 if self.is_globe else 0.7))
        self._dress(axes)

    def _place(self, latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        row = np.floor((np.asarray(latitude) - self.south) / self.resolution).astype(int)
        column = np.floor((np.asarray(longitude) - self.west) / self.resolution).astype(int)
        return row.clip(0, self.shape[0] - 1), column.clip(0, self.shape[1] - 1)

    def _extent(self) -> tuple[float, float]:
        if self.is_globe:
            left, right, bottom, top = self._limits()
            return right - left, top - bottom
        return (self.east - self.west) * self._squeeze(), self.north - self.south

    def _squeeze(self) -> float:
        return float(np.cos(np.radians(np.clip((self.south + self.north) / 2, -75, 75))))

    def _limits(self) -> tuple[float, float, float, float]:
        if not self.is_globe:
            return self.west, self.east, self.south, self.north
        edge = equal_earth(np.array([0.0, self.south, self.north]), np.array([180.0, 0.0, 0.0]))
        return -edge[0][0], edge[0][0], edge[1][1], edge[1][2]

    def _picture(self, field: np.ndarray) -> np.ndarray:
        """The field on the pixels of the projection: nearest cell, NaN beyond the globe's edge."""
        if self.pixels is None:
            return field
        row, column, beyond = self.pixels
        return np.where(beyond, np.nan, field[row, column])

    def _pixels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        left, right, bottom, top = self._limits()
        pixel = (right - left) / PIXELS_ACROSS
        x = np.arange(left + pixel / 2, right, pixel)
        y = np.arange(bottom + pixel / 2, top, pixel)
        # latitude depends on y alone: one Newton iteration per line, not per pixel
        latitude, longitude = equal_earth_inverse(x[None, :], y[:, None])
        beyond = np.abs(longitude) > 180
        row, column = self._place(np.broadcast_to(latitude, beyond.shape), np.where(beyond, 0.0, longitude))
        return row, column, beyond

    def _lines(self, label: np.ndarray, *, both_sides: bool = False) -> list[np.ndarray]:
        """Segments between neighbouring cells of different label, collinear runs joined. both_sides: only where both
        are cells (label >= 0)."""
        segments = []
        for transposed in (False, True):
            grid = label.T if transposed else label
            change = grid[:, 1:] != grid[:, :-1]
            if both_sides:
                change &= (grid[:, 1:] >= 0) & (grid[:, :-1] >= 0)
            edges = np.diff(np.pad(change, ((1, 1), (0, 0))).astype(np.int8), axis=0)
            starts, stops = np.argwhere(edges.T == 1), np.argwhere(edges.T == -1)
            for (position, a), (_, b) in zip(starts, stops, strict=True):
                across = np.full(2, position + 1.0)
                along = np.array([a, b], float)
                if self.is_globe and not transposed and b - a > 4:
                    along = np.linspace(a, b, (b - a) // 4 + 2)  # meridians bend
                    across = np.full(len(along), position + 1.0)
                x, y = (along, across) if transposed else (across, along)
                segments.append(self._project(self.south + y * self.resolution, self.west + x * self.resolution))
        return segments

    def _project(self, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        x, y = equal_earth(latitude, longitude) if self.is_globe else (longitude, latitude)
        return np.stack([x, y], axis=-1)

    def _dress(self, axes: Axes) -> None:
        left, right, bottom, top = self._limits()
        axes.set(xlim=(left, right), ylim=(bottom, top))
        if not self.is_globe:
            axes.set_aspect(1 / self._squeeze())
            axes.set_facecolor(style.OCEAN)
            few = 5 if self.aspect > 0.6 else 2
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(few, steps=[1, 2, 3, 5, 10]))
            axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, steps=[1, 2, 3, 5, 10]))
            axes.xaxis.set_major_formatter(lambda v, _: _degrees(v, "E", "W"))
            axes.yaxis.set_major_formatter(lambda v, _: _degrees(v, "N", "S"))
            axes.spines[["top", "right"]].set_visible(True)
            return
        axes.set_aspect("equal")
        axes.axis("off")
        sides = np.linspace(self.south, self.north, 200)
        rim = np.concatenate(
            [self._project(sides, np.full(200, 180.0)), self._project(sides[::-1], np.full(200, -180.0))]
        )
        axes.fill(*rim.T, facecolor=style.OCEAN, edgecolor="none", zorder=-2)
        closed = np.vstack([rim, rim[:1]])
        axes.add_collection(LineCollection([closed], colors=style.COAST, linewidths=0.6, clip_on=False))
        parallels = [self._project(np.full(2, v), np.array([-180.0, 180.0])) for v in (-30.0, 0.0, 30.0, 60.0)]
        meridians = [self._project(sides, np.full(200, v)) for v in np.arange(-120.0, 121.0, 60.0)]
        axes.add_collection(LineCollection([*parallels, *meridians], colors="#c9d1d9", linewidths=0.4, zorder=-1))


def _gallery(frame: _Frame, layers: Sequence[Layer]) -> Figure:
    """One tile: the layers as a grid of panels, a colour bar under each, or one for all if they share the scale."""
    shared = _one_scale(layers)
    columns = 1 if len(layers) == 1 else 2 if len(layers) in (2, 4) or frame.aspect > 1.6 else min(3, len(layers))
    rows = -(-len(layers) // columns)
    # a tall region is drawn narrower rather than higher than a screen
    width = min(WIDTH / columns, max((7.0 if rows == 1 else 4.2) * frame.aspect, 2.4))
    height = (width - (0 if frame.is_globe else 0.5)) / frame.aspect + 0.4 + (0 if shared else 0.6)
    figure = style.new_figure(max(width * columns, 4.5), rows * height + (0.75 if shared else 0))
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(layers) :]:
        axes.remove()
    drawn = list(panels.flat[: len(layers)])
    colours = _resolved(layers, frame.index)
    for axes, layer in zip(drawn, layers, strict=True):
        frame.draw(axes, layer.values, *colours[id(layer.scale)][:2])
        axes.set_title(layer.title)
        if not shared:
            _bar(figure, [axes], layer.scale, *colours[id(layer.scale)])
    if shared:
        _bar(figure, drawn, layers[0].scale, *colours[id(layers[0].scale)])
    return figure


def _tiled(frames: Sequence[_Frame], layers: Sequence[Layer]) -> Figure:
    """Several tiles: one row per tile and one column per layer, for layers side by side are easy to compare; one layer
    alone, or more than four, the other way round. Colour bars below each column of a layer, beside each row of a layer,
    or one for all if they share the scale."""
    shared = _one_scale(layers)
    across = 1 < len(layers) <= 4
    aspects = np.array([f.aspect for f in frames])
    columns = len(layers) if across else min(len(frames), 4) if len(layers) == 1 else len(frames)
    rows = len(layers) * len(frames) // columns + (len(layers) * len(frames) % columns > 0)
    widths = np.full(columns, aspects.max()) if across or columns < len(frames) else aspects
    height = min((WIDTH - 0.6 * columns) / widths.sum(), 2.4)
    beside = 0.0 if shared or across else 0.9
    figure = style.new_figure(
        max(height * widths.sum() + 0.6 * columns + beside, 5.0), (height + 0.35) * rows + (0.4 if beside else 1.0)
    )
    panels = figure.subplots(rows, columns, squeeze=False, width_ratios=widths.tolist())
    for axes in panels.flat[len(layers) * len(frames) :]:
        axes.remove()
    strips = panels.T if across else panels.reshape(1, -1) if len(layers) == 1 else panels
    colours = _resolved(layers, np.concatenate([f.index for f in frames]))
    for number, (layer, strip) in enumerate(zip(layers, strips, strict=True)):
        drawn = list(strip[: len(frames)])
        for frame, axes in zip(frames, drawn, strict=True):
            frame.draw(axes, layer.values, *colours[id(layer.scale)][:2])
            below = across or len(layers) == 1 or number == len(layers) - 1
            axes.tick_params(labelsize=7.5, labelbottom=below, labelleft=number == 0 or not across)
        drawn[0].set_title(layer.title)
        if not shared:
            where = "bottom" if across else "right"
            _bar(figure, drawn, layer.scale, *colours[id(layer.scale)], location=where)
    if shared:
        _bar(figure, list(panels.flat), layers[0].scale, *colours[id(layers[0].scale)])
    return figure


def _one_scale(layers: Sequence[Layer]) -> bool:
    return len(layers) > 1 and len({id(layer.scale) for layer in layers}) == 1


def _resolved(layers: Sequence[Layer], index: np.ndarray) -> dict[int, tuple[Colormap, Normalize, str]]:
    """Colours of each scale from all layers that share it."""
    values: dict[int, list[np.ndarray]] = {}
    for layer in layers:
        values.setdefault(id(layer.scale), []).append(layer.values[index])
    return {id(x.scale): x.scale.resolve(np.concatenate(values[id(x.scale)])) for x in layers}


def _bar(
    figure: Figure,
    axes: list[Axes],
    scale: Scale,
    colours: Colormap,
    norm: Normalize,
    extend: str,
    *,
    location: str = "bottom",
) -> None:
    lying = location == "bottom"
    several = len(axes) > 1
    bar = figure.colorbar(
        ScalarMappable(norm, colours),
        ax=axes,
        location=location,
        extend=extend,
        shrink=(0.5 if several else 0.75) if lying else 0.9,
        aspect=(45 if several else 32) if lying else 16,
        pad=0.03 if lying else 0.02,
    )
    if scale.classes:
        bar.set_ticks(range(len(scale.classes)), labels=scale.classes)
        bar.ax.tick_params(length=0)
    elif lying and not several:  # under one panel there is room for few numbers
        bar.locator = matplotlib.ticker.MaxNLocator(4, steps=[1, 2, 5, 10])
        bar.update_ticks()
    bar.set_label(scale.label)
    bar.outline.set_linewidth(0.4)


def _steps(centres: np.ndarray, resolution: float) -> np.ndarray:
    return np.round((centres - centres.min()) / resolution).astype(int)


def _plain(value: float, *, up: bool) -> float:
    """Nearest plain number (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten) above or below in value."""
    if value == 0:
        return 0.0
    power = 10.0 ** np.floor(np.log10(abs(value)))
    steps = np.array([1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10])
    outward = up == (value > 0)
    scaled = abs(value) / power
    step = steps[steps >= scaled - 1e-9].min() if outward else steps[steps <= scaled + 1e-9].max()
    return float(np.sign(value) * step * power)


def _degrees(value: float, positive: str, negative: str) -> str:
    side = positive if value > 0 else negative if value < 0 else ""
    return f"{abs(value):g}°{side}"
