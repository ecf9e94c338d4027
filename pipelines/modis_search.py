"""The search of `modis_superres`: settings of our network, judged on places left out within the training images."""

from dataclasses import asdict

from cluster.job import Engine, Plan
from cluster.plan import PlanRow
from cluster.tune import Search, search
from pipelines import modis_patches
from sciml.core.digest import digest
from sciml.core.urls import join
from sciml.modis.config import ModisConfig
from sciml.modis.networks import NETS_VERSION, OURS
from sciml.modis.search import Objective
from tune_spaces.modis_sciml import SPACE

SECONDS_PER_TRIAL = 300.0


def job(config: ModisConfig, engine: Engine) -> str:
    """Search and return the URL of RUN/search.json, which --search-result takes."""
    setup, inputs = modis_patches.searched(config, engine.run)
    default = config.settings(OURS)
    fields = config.result_fields("factor", "degradation", "seed", "search_trials")
    found = search(
        Search(
            OURS,
            digest([NETS_VERSION, fields, inputs, SPACE, asdict(default)]),
            SPACE,
            Objective(setup, default),
            trials=config.search_trials,
            steps=default.epochs,
            seed=config.seed,
            default=asdict(default),
        ),
        engine.run,
        engine.executor,
    )
    # what tells which images the search has seen
    engine.run.write_json("search.json", {OURS: found | {"seed": config.seed}})
    best, first = found["best"], found["default"]
    before = f"; the preset's settings {first['score']:.4f}" if first else ""
    drawn = ", ".join(f"{name} {best['settings'][name]:.4g}" for name in SPACE)
    print(f"search {OURS}: {len(found['trials'])} trials, best ln(RMSE) {best['score']:.4f} with {drawn}{before}")
    return join(engine.run.url, "search.json")


def plan(config: ModisConfig, planned: Plan) -> None:
    """The trials, most of which are stopped early."""
    planned.rows.append(
        PlanRow(f"search_{OURS}", config.search_trials, 0, int(2e9), SECONDS_PER_TRIAL * config.search_trials)
    )
