"""The flow of model spectra: every set synthesised in blocks, then put where other runs find it."""

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from sciml.core.digest import fingerprint
from sciml.stellar import grid
from sciml.stellar.config import StellarConfig
from sciml.stellar.grid import PointSet
from sciml.stellar.synthesis import Atlas9Synthesis, require_pysme


def model_stores(config: StellarConfig, engine: Engine | Plan) -> dict[str, StoreRef]:
    """Finish the stores of all sets of model spectra: set -> store."""
    require_pysme()
    synthesis = Atlas9Synthesis(config.atmospheres, config.linelist, config.solar_mixture)
    made_from = {name: fingerprint(getattr(config, name)) for name in ("atmospheres", "linelist")}
    sets = (
        PointSet("nodes"),
        PointSet("test", config.test_points, config.seed),
        PointSet("sobol", config.sobol_points, config.seed),
    )
    return {points.name: engine.stage(_stage(config, points, synthesis, made_from)) for points in sets}


def _stage(
    config: StellarConfig, points: PointSet, synthesis: grid.Synthesis, made_from: dict[str, dict[str, str]]
) -> Stage:
    return Stage(
        f"models_{points.name}",
        grid.GRID_VERSION,
        grid.blocks(points),
        grid.template(points),
        grid.Synthesise(points, synthesis),
        config=config.result_fields("source", "solar_mixture"),
        inputs=made_from,
        seconds=grid.MODELS_PER_ITEM * grid.SECONDS_PER_MODEL,
        memory_bytes=700_000_000,
    )
