"""The flow of real stars: every spectrum measured with the emulator and the networks of a training run, then told.

Run again with more files it measures those alone: whoever has a place in a store keeps it.
"""

from collections.abc import Mapping, Sequence

from cluster.job import Engine, Plan
from cluster.ledger import read_json
from cluster.stages import Stage
from sciml.core.digest import fingerprint
from sciml.core.errors import InputError
from sciml.core.urls import absolute, exists, join, remove
from sciml.data.stores import open_store
from sciml.stellar import star_files, star_page, star_record, trained
from sciml.stellar.apply_output import write_failed, write_labels
from sciml.stellar.config import APPLY_OPTIONS, StellarConfig
from sciml.stellar.star_files import Measure, StarFile
from sciml.stellar.star_record import read_record

PLACES = "stars.json"  # in the run directory: file and spectrum of every place of its stores
WRITTEN = ("labels.csv", "labels.fits", "labels.parquet", "report.html", "metrics.json", "failed.csv")


def job(config: StellarConfig, engine: Engine) -> str:
    """Measure what is new and write all that was asked for. Raises InputError at the end for files that failed."""
    stores, taken, notes = _found(config, engine.run.url)
    for note in notes:
        print(note, flush=True)
    stages = _stages(config, stores)
    checkpoint = absolute(config.checkpoint)
    trained.load_tools(checkpoint, trained.identity(checkpoint))  # refuse a bad one before any work
    engine.run.write_json(PLACES, {"places": taken})
    urls = {number: engine.stage(stage).url for number, stage in stages.items()}
    places = [(number, item) for number, items in stores.items() for item in items]
    records = [read_record(open_store(urls[number]), item.star) for number, item in places]
    failed = {item.title: kept.reason for (_, item), kept in zip(places, records, strict=True) if kept.reason}
    for name in WRITTEN:
        remove(join(engine.run.url, name))
    if failed:
        listed = write_failed(engine.run.url, failed)
    measured = [(where, kept) for where, kept in zip(places, records, strict=True) if not kept.reason]
    if not measured:
        first = next(iter(failed.values()))
        raise InputError(first if len(failed) == 1 else f"none of {len(failed)} spectra could be measured: {first}")
    write_labels(engine.run.url, [kept for _, kept in measured], [item.title for (_, item), _ in measured])
    shown = {
        row: read_record(open_store(urls[number]), item.star, spectra=True)
        for row, ((number, item), _) in enumerate(measured)
        if row in star_page.drawn([kept for _, kept in measured])
    }
    page = star_page.write(
        config,
        engine.run.url,
        engine.run.stores,
        [(item.title, kept) for (_, item), kept in measured],
        shown,
        failed,
        notes,
    )
    if failed:
        raise InputError(
            f"{len(failed)} of {len(records)} spectra could not be measured, see {listed}; the others are in {page};"
            f" the first: {next(iter(failed.values()))}"
        )
    return page


def plan(config: StellarConfig, planned: Plan) -> None:
    """The stages of all spectra; files are looked into, none is measured."""
    stores, _, notes = _found(config, config.run_dir)
    for note in notes:
        print(note, flush=True)
    for stage in _stages(config, stores).values():
        planned.stage(stage)


def _found(
    config: StellarConfig, run_url: str
) -> tuple[Mapping[int, Sequence[StarFile]], Sequence[Sequence[str]], Sequence[str]]:
    """Items by store, who has which place now, and what is to be said."""
    if config.blaze and not exists(config.blaze):
        raise InputError(f"--blaze {config.blaze}: no such file; check the path")
    known = join(run_url, PLACES)
    earlier = read_json(known).get("places", []) if exists(known) else []
    spectra, notes = star_files.found(config.apply)
    stores, taken = star_files.placed(spectra, earlier)
    return stores, taken, notes


def _stages(config: StellarConfig, stores: Mapping[int, Sequence[StarFile]]) -> dict[int, Stage]:
    checkpoint = absolute(config.checkpoint)
    methods, identity = star_files.methods_of(checkpoint), trained.identity(checkpoint)
    blaze = absolute(config.blaze) if config.blaze else None
    function = Measure(checkpoint, identity, config.resolving_power, blaze, config.expected_rv, config.seed)
    told = [name for name in APPLY_OPTIONS if name != "blaze"]
    return {
        number: Stage(
            f"stars_{number:03d}",
            star_files.VERSION,
            items,
            star_record.template(methods),
            function,
            config=config.result_fields("seed", *told),
            inputs={"models": identity} | ({"blaze": fingerprint(blaze)} if blaze else {}),
            seconds=star_files.SECONDS,
            memory_bytes=star_files.MEMORY_BYTES,
            open_ended=True,
        )
        for number, items in stores.items()
    }
