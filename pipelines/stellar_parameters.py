"""Stellar parameters from echelle spectra: `python pipelines/stellar_parameters.py [--field value ...]`."""

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # from a checkout or a submitted working directory, installed or not
    sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.job import Engine, Plan, run_job
from pipelines import stellar_grid
from sciml.stellar.config import StellarConfig


def job(config: StellarConfig, engine: Engine) -> str:
    """Make the model spectra and return where they are."""
    stores = stellar_grid.model_stores(config, engine)
    return stores["nodes"].url


def plan(config: StellarConfig, planned: Plan) -> None:
    """Say what `job` would do."""
    stellar_grid.model_stores(config, planned)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 only if the run is complete."""
    return run_job(StellarConfig, job, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
