"""The flow of model spectra: every set synthesised in blocks, then put where other runs find it."""

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from sciml.core.digest import digest, fingerprint
from sciml.core.errors import RunError
from sciml.core.urls import absolute, exists, join, list_sizes, read_bytes, write_bytes
from sciml.generated import spectra as generated
from sciml.stellar import grid
from sciml.stellar.config import StellarConfig
from sciml.stellar.grid import PointSet
from sciml.stellar.synthesis import Atlas9Synthesis, require_inputs

ROOT = "zarr.json"  # of a Zarr group


def job(config: StellarConfig, engine: Engine) -> str:
    """Make the model spectra, put them where --store says and return that, or the run's own."""
    stores = model_stores(config, engine)
    if not config.store:
        return join(engine.run.url, "stages")
    for name, store in stores.items():
        _publish(store.url, join(config.store, name))
    return config.store


def plan(config: StellarConfig, planned: Plan) -> None:
    """Say what `job` would do."""
    model_stores(config, planned)


def model_stores(config: StellarConfig, engine: Engine | Plan) -> dict[str, StoreRef]:
    """The stores of all sets of model spectra, made now or read from --store: set -> store."""
    if config.store and config.only != "grid":
        return {points.name: _found(join(config.store, points.name)) for points in point_sets(config)}
    return {points.name: engine.stage(_stage(config, points)) for points in point_sets(config)}


def point_sets(config: StellarConfig) -> tuple[PointSet, ...]:
    """Which models: those of the paper, those that test, those at continuous labels to learn from."""
    count = config.size("sobol_points")
    return (
        PointSet("nodes", config.size("node_step")),
        PointSet("test", config.size("test_points"), config.seed),
        PointSet("sobol", count, config.seed),
        PointSet("cool", count * 2 // 5, config.seed),
    )


def _stage(config: StellarConfig, points: PointSet) -> Stage:
    made_from: dict[str, object]
    if config.source == "generated":
        synthesis: grid.Synthesis = generated.LineModel(config.seed)
        made_from, seconds = {"lines": generated.VERSION, "seed": config.seed}, 0.003
    else:
        atlas9 = Atlas9Synthesis(config.atmospheres, config.linelist, config.solar_mixture)
        require_inputs(atlas9)
        synthesis = atlas9
        made_from = {name: fingerprint(getattr(config, name)) for name in ("atmospheres", "linelist")}
        seconds = grid.SECONDS_PER_MODEL
    return Stage(
        f"models_{points.name}",
        grid.GRID_VERSION,
        grid.blocks(points),
        grid.template(points),
        grid.Synthesise(points, synthesis),
        config=config.result_fields("source", "solar_mixture"),
        inputs=made_from,
        seconds=grid.MODELS_PER_ITEM * seconds,
        memory_bytes=700_000_000,
    )


def _found(url: str) -> StoreRef:
    grid.require_models(url)
    return StoreRef(absolute(url), digest(fingerprint(url)))


def _publish(store: str, target: str) -> None:
    """Copy a finished store to where other runs find it; one that is there already stays."""
    made = read_bytes(join(store, ROOT))
    if exists(join(target, ROOT)):
        if read_bytes(join(target, ROOT)) != made:
            raise RunError(f"--store {target}: holds model spectra of other points or another version; give a new name")
        return
    for name in list_sizes(store):
        if name != ROOT:
            write_bytes(join(target, name), read_bytes(join(store, name)))
    write_bytes(join(target, ROOT), made)  # last: without it there is no store
