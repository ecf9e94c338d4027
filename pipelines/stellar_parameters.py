"""Stellar parameters from echelle spectra: `python pipelines/stellar_parameters.py [--field value ...]`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":  # from a checkout or a submitted working directory, installed or not
    sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.job import Engine, Plan, run_job
from pipelines import stellar_apply, stellar_grid, stellar_networks, stellar_search
from sciml.stellar.config import StellarConfig


def job(config: StellarConfig, engine: Engine) -> str:
    """Run what is asked for and return the URL of what came of it."""
    return _flow(config).job(config, engine)


def plan(config: StellarConfig, planned: Plan) -> None:
    """Say what `job` would do."""
    _flow(config).plan(config, planned)


def _flow(config: StellarConfig) -> ModuleType:
    if config.apply:
        return stellar_apply
    if config.search:
        return stellar_search
    return stellar_grid if config.only == "grid" else stellar_networks


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 only if the run is complete."""
    return run_job(StellarConfig, job, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
