"""Searches over a model's settings on Ray Tune: random trials steered by Optuna, poor ones stopped early (ASHA).

A search is a job of its own and its result is a file, RUN/search.json; no other job searches unasked. A search whose
driver was killed keeps its finished trials and runs the others again.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.executors import Executor, RayExecutor
from cluster.run import Run
from sciml.core.errors import ConfigError, RunError
from sciml.core.urls import exists, join, read_bytes

SCORE = "score"


@dataclass(frozen=True)
class Search:
    """What is searched.

    space: setting -> how it is drawn, as in `tune_spaces`. function: (config, settings, report) -> None; it calls
    `report(score)` after each of at most `steps` steps (epochs, folds), the lowest last score wins. digest: of all that
    the scores depend on. trials: how many settings are tried.
    """

    name: str
    digest: str
    space: Mapping[str, Sequence[Any]]
    function: Callable[[Mapping[str, Any], Mapping[str, Any], Callable[[float], None]], None]
    config: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 20
    steps: int = 10
    seed: int = 0


def search(task: Search, run: Run, executor: Executor) -> dict[str, Any]:
    """Best settings with their score, and all trials; the same as in RUN/search.json, where it is reused.

    As many trials run at once as the executor has workers. Raises RunError where every trial fails.
    """
    url = join(run.url, "search.json")
    if exists(url):
        before = dict(json.loads(read_bytes(url)))
        if before.get("digest") == task.digest and before.get("name") == task.name:
            return before
    if not isinstance(executor, RayExecutor):
        raise ConfigError(f"search {task.name}: needs Ray; give --executor ray")
    executor.release()  # its idle workers would keep the CPUs from the trials
    results = _tuner(task, run, executor).fit()
    scored = [result for result in results if result.metrics and SCORE in result.metrics]
    if not scored:
        reason = str(results.errors[0]).strip().splitlines()[-1] if results.errors else "no score was reported"
        raise RunError(
            f"search {task.name}: all {len(results)} trials failed: {reason}; mend the cause and run it again"
        )
    trials = sorted(
        (
            {"settings": _settings(result.config), SCORE: result.metrics[SCORE], "steps": _steps(result.metrics)}
            for result in scored
        ),
        key=lambda trial: trial[SCORE],
    )
    found = {"name": task.name, "digest": task.digest, "best": trials[0], "failed": len(results) - len(scored)}
    found["trials"] = trials
    run.write_json("search.json", found)
    return found


def _tuner(task: Search, run: Run, executor: RayExecutor) -> Any:
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # with verbose=0 the quieter of the two
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    def trial(settings: Mapping[str, Any]) -> None:
        task.function(task.config, settings, lambda score: tune.report({SCORE: float(score)}))

    trainable = tune.with_resources(trial, {"cpu": 1, "gpu": executor.accelerators})
    storage, name = join(run.url, ".ray"), f"{task.name}-{task.digest[:12]}"
    path = join(storage, name)
    if tune.Tuner.can_restore(path):
        return tune.Tuner.restore(path, trainable=trainable, resume_unfinished=True, resume_errored=True)
    return tune.Tuner(
        trainable,
        param_space={setting: _domain(setting, drawn) for setting, drawn in task.space.items()},
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="min",
            num_samples=task.trials,
            max_concurrent_trials=executor.workers,  # more would wait for CPUs that never come free
            scheduler=ASHAScheduler(max_t=task.steps, grace_period=max(1, task.steps // 4), reduction_factor=2),
            search_alg=OptunaSearch(seed=task.seed % 2**32),
        ),
        run_config=tune.RunConfig(name=name, storage_path=storage, verbose=0),
    )


def _domain(setting: str, drawn: Sequence[Any]) -> Any:
    """Ray's spelling of one entry of a search space."""
    from ray import tune

    match list(drawn):
        case ["choice", values]:
            return tune.choice(list(values))
        case ["uniform", low, high]:
            return tune.uniform(low, high)
        case ["loguniform", low, high]:
            return tune.loguniform(low, high)
        case ["integer", low, high]:
            return tune.randint(low, high + 1)
    raise ConfigError(
        f"search space: {setting} is drawn by {drawn!r}; expected ('choice', [...]), ('uniform', low, high),"
        " ('loguniform', low, high) or ('integer', low, high)"
    )


def _settings(config: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value.item() if hasattr(value, "item") else value for name, value in (config or {}).items()}


def _steps(metrics: Mapping[str, Any]) -> int:
    return int(metrics["training_iteration"])
