"""The flow of granules: ingest tiles day by day, sharpen them with the networks of another run, draw maps.

Run again with more granules it does the new ones alone: stores keep their names, finished images are not touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from sciml.core.digest import digest, fingerprint
from sciml.core.urls import join
from sciml.data.stores import open_store
from sciml.modis import apply, granule_maps, granule_report, ingest
from sciml.modis.apply import Apply, Composites, TileImage
from sciml.modis.config import ModisConfig
from sciml.modis.export import parse_crs
from sciml.modis.granule_maps import DrawMaps
from sciml.modis.granule_report import Product
from sciml.modis.ingest import TileYear
from sciml.modis.sharpen import checkpoint_files, load_models
from sciml.report.page import Page, provenance, write_page
from sciml.report.results import write_metrics

WHOLE_TILE = 1200**2  # pixels that the times and memories of stages are of


@dataclass(frozen=True)
class Found:
    """What the options name: granules by tile and year, composites by tile, and what is to be said about them."""

    tile_years: Sequence[TileYear]
    composites: Mapping[str, Composites]
    notes: Sequence[str]

    def guides(self, tile_year: TileYear) -> Composites:
        return self.composites.get(str(tile_year.tile), Composites())


def job(config: ModisConfig, engine: Engine) -> str:
    """Ingest, sharpen and draw what is new; the page is of all that the stores hold."""
    found = _found(config)
    if config.apply:
        load_models(config.checkpoint)
    products = [_product(config, engine, tile_year, found.guides(tile_year)) for tile_year in found.tile_years]
    sections = granule_report.sections(products, found.notes)
    guides = {tile: len(composites.headers) for tile, composites in found.composites.items()}
    counts = granule_report.counts(products)
    facts = provenance(
        data=granule_report.data_read(products, guides, config.checkpoint),
        split={},
        sample_size={f"{one}, {half}": n["images"] for one, both in counts.items() for half, n in both.items()},
        seed=config.seed,
        stores=engine.run.stores,
        config=config.model_dump(mode="json"),
    )
    title = "Land surface temperature of whole tiles" + (", sharpened" if config.apply else "")
    url = write_page(engine.run.url, Page(title, sections[0].paragraphs[:1], sections, facts))
    write_metrics(engine.run.url, config.pipeline, {}, facts | {"Counts": counts})
    return url


def plan(config: ModisConfig, planned: Plan) -> None:
    """The stages of every tile and year; headers are read, no pixel is."""
    found = _found(config)
    for tile_year in found.tile_years:
        _stages(config, planned, tile_year, found.guides(tile_year), maps="")


def _found(config: ModisConfig) -> Found:
    """Raises InputError for granules that cannot be used together; says what was left out."""
    if config.crs:
        parse_crs(config.crs)
    tile_years, notes = ingest.find(config.granules)
    composites, more = apply.find_composites(config.ndvi_granules, tile_years, config.factor)
    found = Found(tile_years, composites, [*notes, *more])
    if config.apply:
        bare = [note for one in tile_years for note in apply.unguided_note(one, found.guides(one))]
        found = Found(tile_years, composites, [*found.notes, *bare])
    for note in found.notes:
        print(note, flush=True)
    return found


def _product(config: ModisConfig, engine: Engine, tile_year: TileYear, guides: Composites) -> Product:
    maps = join(engine.run.url, "maps")
    made = _stages(config, engine, tile_year, guides, maps)
    pixels = open_store(made.urls["counts"])["pixels"].values
    for item in made.items:
        if made.draw.lost(item, pixels[item.time, item.overpass]):
            made.draw(item)
    observed, sharpened = made.urls["observed"], made.urls.get("sharpened", "")
    return Product(tile_year, observed, sharpened, pixels, made.items, made.function)


@dataclass(frozen=True)
class Made:
    """Stores of a tile's year by role, the images, and what made them."""

    urls: Mapping[str, str]
    items: Sequence[TileImage]
    function: Apply | None
    draw: DrawMaps


def _stages(config: ModisConfig, engine: Engine | Plan, tile_year: TileYear, guides: Composites, maps: str) -> Made:
    """Granules as they were distributed, with --apply their images sharpened, maps of one or the other."""
    days, share = ingest.items(tile_year), tile_year.pixels**2 / WHOLE_TILE
    observed = engine.stage(
        Stage(
            tile_year.name,
            ingest.VERSION,
            days,
            ingest.template(tile_year),
            ingest.ingest(tile_year),
            config=tile_year.config,
            seconds=ingest.SECONDS * share,
            memory_bytes=int(ingest.MEMORY_BYTES * share),
            open_ended=True,
        )
    )
    if not config.apply:
        items = apply.observed_items(days)
        draw = DrawMaps(observed.url, {"lst_dn": "lst"}, tile_year.product.lower(), maps, config.crs)
        counts = engine.stage(_maps_stage(tile_year, items, draw, observed, tile_year.pixels))
        return Made({"observed": observed.url, "counts": counts.url}, items, None, draw)
    items = apply.items(days, guides)
    function = apply.apply(tile_year, observed.url, guides, config.checkpoint, config.factor)
    sharpened = engine.stage(
        Stage(
            f"sharpened_{tile_year.name.removeprefix('granules_')}",
            apply.VERSION,
            items,
            apply.template(tile_year, config.factor),
            function,
            config=tile_year.config | config.result_fields("factor"),
            inputs={"granules": observed.digest, "models": _digest_of(config.checkpoint)},
            seconds=apply.SECONDS * share,
            memory_bytes=int(apply.MEMORY_BYTES * share),
            open_ended=True,
        )
    )
    draw = DrawMaps(sharpened.url, {"lst": "lst", "sigma": "sigma"}, tile_year.product.lower(), maps, config.crs)
    counts = engine.stage(_maps_stage(tile_year, items, draw, sharpened, tile_year.pixels * config.factor))
    urls = {"observed": observed.url, "sharpened": sharpened.url, "counts": counts.url}
    return Made(urls, items, function, draw)


def _maps_stage(
    tile_year: TileYear, items: Sequence[TileImage], draw: DrawMaps, images: StoreRef, pixels: int
) -> Stage:
    return Stage(
        f"maps_{tile_year.name.removeprefix('granules_')}",
        granule_maps.VERSION,
        items,
        granule_maps.template(tile_year),
        draw,
        config={"crs": draw.crs, "variables": sorted(draw.variables)},
        inputs={"images": images.digest},
        seconds=granule_maps.SECONDS_PER_MEGAPIXEL * pixels**2 / 1e6 * len(draw.variables),
        memory_bytes=granule_maps.BYTES_PER_PIXEL * pixels**2,
        open_ended=True,
    )


def _digest_of(checkpoint: str) -> str:
    """Of the models in a run directory, wherever it lies."""
    said, files = checkpoint_files(checkpoint)
    return digest([said, {name: [fingerprint(file) for file in each] for name, each in files.items()}])
