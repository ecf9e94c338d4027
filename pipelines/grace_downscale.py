"""Downscale GRACE water storage: `python pipelines/grace_downscale.py [--field value ...]`.

Predictors are averaged over GRACE's own windows, networks learn storage of mascons from them, and what they say of
cells sharpens the interpolated observation. On the generated Earth the truth of every cell is known and scored.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":  # from a checkout or a submitted working directory, installed or not
    sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.job import Engine, Plan, run_job
from pipelines import grace_basins, grace_gridded, grace_search, grace_update, grace_wells
from sciml.grace.config import GraceConfig

FLOWS = {"generated": grace_gridded, "gridded": grace_gridded, "basins": grace_basins, "wells": grace_wells}


def job(config: GraceConfig, engine: Engine) -> str:
    """Run what the source calls for and return the report's URL."""
    return _flow(config).job(config, engine)


def plan(config: GraceConfig, planned: Plan) -> None:
    """Say what `job` would do."""
    _flow(config).plan(config, planned)


def _flow(config: GraceConfig) -> ModuleType:
    if config.update:
        return grace_update
    return grace_search if config.search else FLOWS[config.source]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 only if the run is complete."""
    return run_job(GraceConfig, job, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
