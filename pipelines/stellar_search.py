"""The search of `stellar_parameters`: settings of our network, judged on emulated stars that nothing else has."""

from cluster.job import Engine, Plan
from cluster.plan import PlanRow
from cluster.tune import Search, search
from pipelines import stellar_networks
from pipelines.stellar_grid import model_stores
from sciml.core.digest import digest
from sciml.core.urls import join
from sciml.stellar.config import StellarConfig
from sciml.stellar.networks import NETS_VERSION, OURS
from sciml.stellar.search import Objective, drawn_of, shorter
from sciml.stellar.steps import at_snr
from tune_spaces.stellar_sciml import SPACE

SECONDS_PER_TRIAL = 120.0


def job(config: StellarConfig, engine: Engine) -> str:
    """Search and return the URL of RUN/search.json, which --search-result takes."""
    (task,) = stellar_networks.tasks_of(config, engine, model_stores(config, engine))
    default = shorter(at_snr(config.settings, task.setup.experiment))
    fields = config.result_fields("seed", "search_trials")
    found = search(
        Search(
            OURS,
            digest([NETS_VERSION, fields, task.depends, SPACE, default.of(OURS)]),
            SPACE,
            Objective(task.setup, default),
            trials=config.search_trials,
            steps=default.estimating.epochs,
            seed=config.seed,
            default=drawn_of(default),
        ),
        engine.run,
        engine.executor,
    )
    best, first = found["best"], found["default"]
    before = f"; the preset's settings {first['score']:.4f}" if first else ""
    drawn = ", ".join(f"{name} {best['settings'][name]:.4g}" for name in SPACE)
    print(f"search {OURS}: {len(found['trials'])} trials, best mean -ln L {best['score']:.4f} with {drawn}{before}")
    return join(engine.run.url, "search.json")


def plan(config: StellarConfig, planned: Plan) -> None:
    """The model spectra, their emulator and the trials, most of which are stopped early."""
    stellar_networks.tasks_of(config, planned, model_stores(config, planned))
    planned.rows.append(
        PlanRow(f"search_{OURS}", config.search_trials, 0, int(2e9), SECONDS_PER_TRIAL * config.search_trials)
    )
