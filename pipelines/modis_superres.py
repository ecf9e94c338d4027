"""Sharpen MODIS land surface temperature: `python pipelines/modis_superres.py [--field value ...]`.

Images are degraded, every method puts back the detail, and all are scored on the same pixels; networks so trained then
sharpen 1 km to 250 m, against ASTER or over whole tiles.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":  # from a checkout or a submitted working directory, installed or not
    sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.job import Engine, Plan, run_job
from pipelines import modis_granules, modis_pairs, modis_patches, modis_search
from sciml.modis.config import ModisConfig

FLOWS = {"generated": modis_patches, "patches": modis_patches, "pairs": modis_pairs, "granules": modis_granules}


def job(config: ModisConfig, engine: Engine) -> str:
    """Run what the source calls for and return the report's URL."""
    return _flow(config).job(config, engine)


def plan(config: ModisConfig, planned: Plan) -> None:
    """Say what `job` would do."""
    _flow(config).plan(config, planned)


def _flow(config: ModisConfig) -> ModuleType:
    return modis_search if config.search else FLOWS[config.source]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 only if the run is complete."""
    return run_job(ModisConfig, job, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
