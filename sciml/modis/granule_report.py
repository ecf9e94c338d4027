"""The page and the numbers of a job on granules: what was there, what was made of it; without truth no scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sciml.data.readers.mod11a1 import OVERPASSES
from sciml.data.sinusoidal import TILE_M
from sciml.data.stores import open_store
from sciml.modis.apply import HOW_NAMES, SHARPENED, Apply, TileImage
from sciml.modis.figures import TEMPERATURE, Scene, colour_bar, image_figure, limits_of, picture
from sciml.modis.ingest import TileYear
from sciml.report import style
from sciml.report.page import Cell, Illustration, Section, Table

SHOWN = 64  # coarse pixels of the close-up's side
SEARCHED = 16  # coarse pixels from one candidate for it to the next
OVERVIEW = 600  # pixels of a whole tile on the page, at most
WAYS = ("#c9ced6", "#E69F00", "#0072B2")  # colours of HOW_NAMES


@dataclass(frozen=True, eq=False)
class Product:
    """What a job made of a tile's year. observed, sharpened: URLs of its stores, the latter empty without --apply;
    pixels: (time, overpass, how) numbers of all images that the stores hold; items: those of this run."""

    tile_year: TileYear
    observed: str
    sharpened: str
    pixels: np.ndarray
    items: Sequence[TileImage]
    function: Apply | None

    @property
    def label(self) -> str:
        return f"{self.tile_year.product} {self.tile_year.tile} {self.tile_year.year}"

    @property
    def fine_pixel_m(self) -> float:
        factor = 1 if self.function is None else self.function.factor
        return TILE_M / (self.tile_year.pixels * factor)


def counts(products: Sequence[Product]) -> dict[str, Any]:
    """Images and pixels by overpass and by how they were made, for metrics.json."""
    found: dict[str, Any] = {}
    for product in products:
        there = product.pixels.sum(axis=2) > 0
        for number, overpass in enumerate(OVERPASSES):
            pixels = product.pixels[:, number].sum(axis=0)
            names = HOW_NAMES if product.function else ("missing", "observed")
            found.setdefault(product.label, {})[overpass] = {
                "images": int(there[:, number].sum()),
                **{name: int(n) for name, n in zip(names, pixels, strict=False)},
            }
    return found


def sections(products: Sequence[Product], notes: Sequence[str]) -> list[Section]:
    """A table of what is there, notes, and pictures of the image with most to see."""
    blocks: list[Illustration | Table] = [_table(products)]
    product = max(products, key=lambda p: _rank(p)[0])
    value, image = _rank(product)
    paragraphs = [_summary(products)]
    if image is None or not any(value):
        paragraphs.append("No pixel of this run's images was observed: there is nothing to show.")
    else:
        blocks += _illustrations(product, image)
    found = [Section("Images", paragraphs, blocks)]
    return found + ([Section("Notes", list(notes))] if notes else [])


def _rank(product: Product) -> tuple[tuple[int, ...], TileImage | None]:
    """The image of this run with most sharpened, then most other pixels."""
    best = max(product.items, key=lambda i: tuple(product.pixels[i.time, i.overpass, :0:-1]), default=None)
    return (() if best is None else tuple(map(int, product.pixels[best.time, best.overpass, :0:-1]))), best


def _summary(products: Sequence[Product]) -> str:
    pixels = sum(p.pixels.sum(axis=(0, 1)) for p in products)
    images = sum(int((p.pixels.sum(axis=2) > 0).sum()) for p in products)
    missing, plain, sharp = pixels / max(1, pixels.sum())
    if products[0].function is None:
        return f"{images:,} images; {plain:.1%} of their pixels were observed."
    size = products[0].fine_pixel_m
    return (
        f"{images:,} images at {size:.0f} m: {sharp:.1%} of their pixels are sharpened, {plain:.1%} are back-projected"
        f" (night, clouds near, snow, or no NDVI), {missing:.1%} are missing as in the input. There is no truth at this"
        " scale: the standard deviation is what the method expects of itself."
    )


def _table(products: Sequence[Product]) -> Table:
    names = [name.replace("_", "-") for name in HOW_NAMES] if products[0].function else ["missing", "observed"]
    rows = []
    for product in products:
        for number, overpass in enumerate(OVERPASSES):
            pixels = product.pixels[:, number, : len(names)]
            total = max(1, int(pixels.sum()))
            images = int((pixels.sum(axis=1) > 0).sum())
            shares = [Cell(f"{int(n) / total:.1%}") for n in pixels.sum(axis=0)]
            rows.append([Cell(f"{product.label}, {overpass}"), Cell(f"{images:,}"), *shares])
    return Table("Images in the stores, and shares of their pixels.", ["", "images", *names], rows)


def _illustrations(product: Product, image: TileImage) -> list[Illustration]:
    title = f"{image.tile}, {image.day}, {OVERPASSES[image.overpass]}"
    coarse = open_store(product.observed)["lst_dn"][image.time, image.overpass].values.astype(float)
    if product.function is None:
        return [_overview(title, coarse, None)]
    found = open_store(product.sharpened)
    how = found["how"][image.time, image.overpass].values
    factor = product.function.factor
    rows, columns = _close_up(how[::factor, ::factor])
    fine = tuple(slice(factor * side.start, factor * side.stop) for side in (rows, columns))
    lst, sigma = (found[name][image.time, image.overpass].values[fine].astype(float) for name in ("lst", "sigma"))
    guidance = product.function.guidance(image, how.shape)
    ndvi = None if guidance is None else guidance.ndvi[0][fine]
    label = "sharpened" if (how[fine] == SHARPENED).any() else "back-projected"
    scene = Scene(title, coarse[rows, columns], None, ndvi, product.fine_pixel_m)
    close = Illustration(
        "close-up",
        image_figure(scene, {f"{label}, {product.fine_pixel_m:.0f} m": (lst, sigma)}),
        f"Rows {rows.start} to {rows.stop} and columns {columns.start} to {columns.stop} of the tile: the input, what"
        " was made of it, the detail added and its standard deviation.",
        "A part of the tile before and after, the difference, the spread and the vegetation index.",
    )
    return [_overview(title, coarse, how[::factor, ::factor]), close]


def _close_up(how: np.ndarray) -> tuple[slice, slice]:
    """The square of SHOWN coarse pixels with most that are sharpened, then most known. how: (y, x)."""
    side = min(SHOWN, *how.shape)
    score = np.where(how == SHARPENED, 1000, how > 0)
    places = [
        (row, column)
        for row in range(0, how.shape[0] - side + 1, SEARCHED)
        for column in range(0, how.shape[1] - side + 1, SEARCHED)
    ]
    row, column = max(places, key=lambda p: int(score[p[0] : p[0] + side, p[1] : p[1] + side].sum()))
    return slice(row, row + side), slice(column, column + side)


def _overview(title: str, coarse: np.ndarray, how: np.ndarray | None) -> Illustration:
    """The whole tile; every few pixels where it has more than a page shows."""
    step = -(-max(coarse.shape) // OVERVIEW)
    shown, limits = coarse[::step, ::step], limits_of(coarse)
    kilometres = TILE_M / 1000
    extent = (0.0, kilometres, kilometres, 0.0)
    with style.rc():
        figure: Figure = style.new_figure(10.0 if how is not None else 5.6, 4.6)
        panels = figure.subplots(1, 2 if how is not None else 1, squeeze=False)[0]
        picture(panels[0], shown, TEMPERATURE, limits, extent, f"observed, {title}")
        colour_bar(figure, panels[:1], TEMPERATURE, limits, "surface temperature [K]", "both")
        if how is not None:
            axes = panels[1]
            axes.grid(False)
            colours = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in WAYS], np.uint8)
            axes.imshow(colours[how[::step, ::step]], extent=extent, interpolation="nearest")
            axes.set_title("how pixels were made", fontsize=9.5, fontweight="normal")
            said = [Patch(color=c, label=n.replace("_", "-")) for c, n in zip(WAYS, HOW_NAMES, strict=True)]
            axes.legend(handles=said, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
        for axes in panels:
            axes.set(xlabel="km", ylabel="km")
        known = float(np.isfinite(coarse).mean())
        return Illustration(
            "tile",
            figure,
            f"{title}: {known:.1%} of the tile was observed.",
            "The whole tile's surface temperature" + ("." if how is None else ", and where it was sharpened."),
        )


def data_read(products: Sequence[Product], guides: Mapping[str, int], checkpoint: str) -> dict[str, str]:
    """What was read, for the page's provenance. guides: tile -> composites."""
    found = {p.label: f"{len(p.tile_year.granules)} granules, collection {p.tile_year.collection}" for p in products}
    found |= {f"NDVI of {tile}": f"{number} composites" for tile, number in guides.items()}
    return found | ({"models": checkpoint} if checkpoint else {})
