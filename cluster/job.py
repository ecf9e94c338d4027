"""The frame of every pipeline's `main`: options in, one line for a user's mistake, an exit status."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from cluster.run import Run, open_run
from sciml.core.config import Config
from sciml.core.errors import ScimlError

C = TypeVar("C", bound=Config)

REFUSED = 2
INTERRUPTED = 130


def run_job(
    config_class: type[C],
    job: Callable[[C, Run], str],
    plan: Callable[[C], str],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse options, take the run directory, do the job; 0 only if it is complete.

    job: (config, run) -> the report's URL, printed last. plan: config -> what would be done, for --dry-run, which takes
    no run directory and writes nothing.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for noisy in ("distributed", "botocore", "aiobotocore", "s3fs", "fsspec", "asyncio", "bokeh", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        config = config_class.parse(argv)
        if config.dry_run:
            print(plan(config))
            return 0
        with open_run(config) as run:
            print(job(config, run), flush=True)
    except ScimlError as error:
        print(f"{config_class.pipeline}: {error}", file=sys.stderr, flush=True)
        return REFUSED
    except KeyboardInterrupt:
        print(f"{config_class.pipeline}: interrupted; the same command goes on from here", file=sys.stderr, flush=True)
        return INTERRUPTED
    return 0
